/* talweg: one program, one subcommand per file. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/supervised.h"
#include "common/net/listen.h"

const struct tw_command tw_commands[] = {
    {"run", "train a job with a cluster of processes on this machine", tw_cmd_run},
    {"server", "serve a job to workers, also on other machines", tw_cmd_server},
    {"worker", "compute gradients for a server", tw_cmd_worker},
    {"dial", "turn the consistency of a run while it goes on", tw_cmd_dial},
    {"status", "tell how a run goes, and who waits for whom", tw_cmd_status},
    {"log", "print the order log of a run", tw_cmd_log},
    {"replay", "make a recorded run again, to the bit, or with one thing changed", tw_cmd_replay},
    {"sim", "train a job in virtual time, with as many workers as you like", tw_cmd_sim},
    {"timeline", "draw what the workers of a run did when", tw_cmd_timeline},
    {"model", "show the layers of a job: shapes, parameters, memory, FLOP", tw_cmd_model},
    {"optimizer", "list the update rules, or follow one step by step", tw_cmd_optimizer},
    {"correction", "list the corrections for late gradients", tw_cmd_correction},
    {"landscape", "draw the ways of optimizers on a function", tw_cmd_landscape},
    {"theory", "tell what theory says of descending a function, and what happens", tw_cmd_theory},
    {"curves", "draw the losses of several runs in one picture", tw_cmd_curves},
    {"predict", "say what models answer to data, and what that is worth", tw_cmd_predict},
    {"average", "make one model of several: the mean of their weights", tw_cmd_average},
    {"bench", "measure this machine, with and without Talweg", tw_cmd_bench},
    {"help", "explain a command", tw_cmd_help},
    {"version", "print versions of Talweg and what it stands on", tw_cmd_version},
};
const int tw_command_count = sizeof tw_commands / sizeof tw_commands[0];

const struct tw_command *tw_command_find(const char *name) {
    for (int i = 0; i < tw_command_count; i++)
        if (strcmp(tw_commands[i].name, name) == 0)
            return &tw_commands[i];
    return NULL;
}

int main(int argc, char **argv) {
    tw_supervised_tie(argc, argv);
    tw_ignore_broken_pipes();
    if (argc < 2) {
        fprintf(stderr, "talweg: no command is given\nTry 'talweg help'.\n");
        return TW_EXIT_WRONG;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    if (strcmp(name, "--version") == 0)
        name = "version";
    const struct tw_command *command = tw_command_find(name);
    if (command)
        return command->run(argc - 1, argv + 1);
    const char *near = tw_nearest_name(name, tw_commands, tw_command_count, sizeof tw_commands[0]);
    fprintf(stderr, "talweg: unknown command \"%s\"%s%s%s\nTry 'talweg help'.\n", name,
            near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    return TW_EXIT_WRONG;
}
