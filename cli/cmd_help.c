/* talweg help [COMMAND | job | laws]. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/help_job.h"
#include "cli/help_laws.h"

static void print_overview(FILE *to) {
    fprintf(to, "Usage: talweg COMMAND [OPTION...]\n"
                "Talweg trains models across processes and machines: servers hold the weights,\n"
                "workers compute gradients and push them over TCP.\n\n");
    for (int i = 0; i < tw_command_count; i++)
        fprintf(to, "  %-9s %s\n", tw_commands[i].name, tw_commands[i].summary);
    fprintf(to, "\nExample:\n"
                "  talweg run examples/fashion-mnist-mlp.yaml\n\n"
                "'talweg help COMMAND' lists a command's options, examples and exit codes,\n"
                "'talweg help job' what may stand in a job file, 'talweg help laws' how long\n"
                "things take in a simulation.\n\n" TW_ARGS_EXIT_CODES);
}

static int print(void (*help)(struct tw_text *out)) {
    struct tw_text text = {0};
    help(&text);
    bool ok = !text.failed && fwrite(text.at, 1, text.size, stdout) == text.size;
    tw_text_fini(&text);
    return ok ? TW_EXIT_DONE : TW_EXIT_FAILED;
}

static int refuse(const char *topic) {
    const char *near = tw_nearest_name(topic, tw_commands, tw_command_count, sizeof tw_commands[0]);
    fprintf(stderr, "talweg help: unknown command \"%s\"%s%s%s\nTry 'talweg help'.\n", topic,
            near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    return TW_EXIT_WRONG;
}

int tw_cmd_help(int argc, char **argv) {
    if (argc > 2) {
        fprintf(stderr, "talweg help: one command at a time\nTry 'talweg help'.\n");
        return TW_EXIT_WRONG;
    }
    if (argc == 2 && strcmp(argv[1], "job") == 0)
        return print(tw_help_job);
    if (argc == 2 && strcmp(argv[1], "laws") == 0)
        return print(tw_help_laws);
    const struct tw_command *command = tw_command_find(argc < 2 ? "help" : argv[1]);
    if (!command && strcmp(argv[1], "--help") != 0 && strcmp(argv[1], "-h") != 0)
        return refuse(argv[1]);
    if (!command || command->run == tw_cmd_help) {
        print_overview(stdout);
        return TW_EXIT_DONE;
    }
    char *arguments[] = {argv[1], (char *)"--help", NULL};
    return command->run(2, arguments);
}
