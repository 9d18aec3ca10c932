/* talweg model: the layers of a job, and what they cost. */
#include <stdio.h>

#include "cli/command.h"
#include "cli/model_text.h"

static const struct argp_option options[] = {TW_ARGS_JSON, {0}};

static const char doc[] =
    "Shows the model of a job: layers with the shapes of their outputs, parameters, additions and"
    " multiplications (FLOP) of one sample, the memory that a worker needs, and the tensors. The"
    " job is checked as `talweg run` would, its data is not opened, and nothing is started."
    "\v"
    "Examples:\n"
    "  talweg model examples/fashion-mnist-lenet5.yaml\n"
    "  talweg model job.yaml --set batch=1024 --json\n"
    "\n"
    "Exit codes:\n"
    "  0    printed\n"
    "  1    out of memory, or stdout cannot be written\n"
    "  2    wrong usage or job file\n";

static error_t parse(int key, char *text, struct argp_state *state) {
    return tw_args_usual(key, state);
}

static const struct argp_child children[] = {{&tw_args_common, 0, NULL, 0}, {0}};
static const struct argp argp = {options, parse, "JOB", doc, children, NULL, NULL};

static enum tw_status print(const struct tw_args *args, const struct tw_checked_job *checked,
                            struct tw_error *error) {
    struct tw_model_summary summary;
    struct tw_text text = {0};
    enum tw_status status = tw_model_summarise(&summary, checked, error);
    if (!status && args->json)
        tw_model_json(&text, checked, &summary);
    else if (!status)
        tw_model_text(&text, checked, &summary);
    if (!status)
        status = tw_command_print(&text, error);
    tw_text_fini(&text);
    return status;
}

int tw_cmd_model(int argc, char **argv) {
    struct tw_args args;
    struct tw_checked_job checked;
    struct tw_error error = {0};
    int code = TW_EXIT_DONE;
    if (tw_args_parse(&args, "model", &argp, NULL, argc, argv)) {
        code = tw_command_refuse(&args, &args.error);
    } else if (args.help) {
        code = TW_EXIT_DONE;
    } else if (tw_checked_job_load(&checked, args.job, args.settings, args.count, TW_CHECK_NO_DATA,
                                   &error)) {
        code = tw_command_refuse(&args, &error);
    } else {
        if (print(&args, &checked, &error))
            code = tw_command_refuse(&args, &error);
        tw_checked_job_fini(&checked);
    }
    tw_args_fini(&args);
    return code;
}
