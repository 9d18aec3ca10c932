/* talweg help [COMMAND]. */
#include <stdio.h>

#include "cli/command.h"

static void print_overview(FILE *to) {
    fprintf(to, "Usage: talweg COMMAND [OPTION...]\n"
                "Talweg trains models across processes and machines: servers hold the weights,\n"
                "workers compute gradients and push them over TCP.\n\n");
    for (int i = 0; i < tw_command_count; i++)
        fprintf(to, "  %-9s %s\n", tw_commands[i].name, tw_commands[i].summary);
    fprintf(to, "\nExample:\n"
                "  talweg run examples/fashion-mnist-mlp.yaml\n\n"
                "'talweg help COMMAND' lists a command's options, examples and exit "
                "codes.\n\n" TW_ARGS_EXIT_CODES);
}

int tw_cmd_help(int argc, char **argv) {
    if (argc < 2) {
        print_overview(stdout);
        return TW_EXIT_DONE;
    }
    const struct tw_command *command = tw_command_find(argv[1]);
    if (argc > 2 || !command) {
        const char *near =
            tw_nearest_name(argv[1], tw_commands, tw_command_count, sizeof tw_commands[0]);
        if (argc > 2)
            fprintf(stderr, "talweg help: one command at a time\n");
        else
            fprintf(stderr, "talweg help: unknown command \"%s\"%s%s%s\n", argv[1],
                    near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
        fprintf(stderr, "Try 'talweg help'.\n");
        return TW_EXIT_WRONG;
    }
    if (command->run == tw_cmd_help) {
        print_overview(stdout);
        return TW_EXIT_DONE;
    }
    char *arguments[] = {argv[1], (char *)"--help", NULL};
    return command->run(2, arguments);
}
