/* talweg log: the order log of a run, or its trace, for people and for programs. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/log_file.h"
#include "cli/log_text.h"
#include "cli/trace_file.h"
#include "cli/trace_text.h"

struct log_options {
    bool csv, trace;
};

enum { KEY_CSV = 0x200, KEY_TRACE };

static const struct argp_option options[] = {
    {"trace", KEY_TRACE, NULL, 0, "Print trace.log: times, hashes and sums of squares", 1},
    {"csv", KEY_CSV, NULL, 0, "Print rows of CSV, the columns' names first", 1},
    {"json", TW_ARGS_KEY_JSON, NULL, 0, "Print one JSON object per record", 1},
    {0},
};

static const char doc[] =
    "Prints the order log of a run: who joined, which weights left for whom, and what each"
    " update applied, in the order in which it happened. With --trace, its trace log: when"
    " everything was asked, received, computed, applied, and hashes of the weights on the way. A"
    " log that is cut or corrupt is printed up to there."
    "\v"
    "Examples:\n"
    "  talweg log runs/job-20261122T005534Z\n"
    "  talweg log runs/job-20261122T005534Z --csv >order.csv\n"
    "  talweg log runs/job-20261122T005534Z --trace --json | grep HASH\n"
    "\n"
    "Exit codes:\n"
    "  0    printed, all of it\n"
    "  1    stdout cannot be written\n"
    "  2    wrong usage, no run directory, or a log that is cut or corrupt\n";

static error_t parse(int key, char *text, struct argp_state *state) {
    struct tw_args *args = state->input;
    struct log_options *own = args->own;
    switch (key) {
    case KEY_CSV:
        own->csv = true;
        return 0;
    case KEY_TRACE:
        own->trace = true;
        return 0;
    case ARGP_KEY_END:
        return own->csv && args->json ? tw_args_wrong(args, "--csv and --json exclude each other")
                                      : 0;
    default:
        return tw_args_usual(key, state);
    }
}

static const struct argp_child children[] = {{&tw_args_run, 0, NULL, 0}, {0}};
static const struct argp argp = {options, parse, "RUN", doc, children, NULL, NULL};

/* TW_CLOSED: whoever reads has had enough (`| head`). */
static enum tw_status check_stdout(bool written, struct tw_error *error) {
    if (written)
        return TW_OK;
    if (errno == EPIPE)
        return TW_CLOSED;
    return tw_error_set(error, TW_IO, "stdout cannot be written: %s", strerror(errno));
}

static enum tw_status print(struct tw_text *text, struct tw_error *error) {
    if (text->failed)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    size_t size = text->size;
    bool written = fwrite(text->at, 1, size, stdout) == size;
    tw_text_clear(text);
    return check_stdout(written, error);
}

static enum tw_status print_records(const struct tw_args *args, struct tw_log_file *file,
                                    struct tw_error *error) {
    const struct log_options *own = args->own;
    struct tw_text text = {0};
    struct tw_record record;
    enum tw_status status = TW_OK;
    if (own->csv)
        tw_record_csv_head(&text);
    while (status == TW_OK) {
        status = tw_log_file_next(file, &record, error);
        if (status != TW_OK)
            break;
        if (own->csv)
            tw_record_to_csv(&text, &record);
        else if (args->json)
            tw_record_to_json(&text, &record);
        else
            tw_record_to_text(&text, &record);
        status = print(&text, error);
    }
    if (text.size && status == TW_CLOSED)
        status = print(&text, error); /* the head of an empty log */
    tw_text_fini(&text);
    if (status == TW_CLOSED || status == TW_OK)
        status = check_stdout(fflush(stdout) == 0, error);
    return status == TW_CLOSED ? TW_OK : status;
}

static enum tw_status print_entries(const struct tw_args *args, struct tw_trace_file *file,
                                    struct tw_error *error) {
    const struct log_options *own = args->own;
    struct tw_text text = {0};
    struct tw_trace_entry entry;
    enum tw_status status = TW_OK;
    if (own->csv)
        tw_trace_csv_head(&text);
    while (status == TW_OK && (status = tw_trace_file_next(file, &entry, error)) == TW_OK) {
        if (own->csv)
            tw_trace_to_csv(&text, &entry);
        else if (args->json)
            tw_trace_to_json(&text, &entry);
        else
            tw_trace_to_text(&text, &entry);
        status = print(&text, error);
    }
    if (text.size && status == TW_CLOSED)
        status = print(&text, error);
    tw_text_fini(&text);
    if (status == TW_CLOSED || status == TW_OK)
        status = check_stdout(fflush(stdout) == 0, error);
    return status == TW_CLOSED ? TW_OK : status;
}

/* RUN must be the directory of a run, also for its trace. */
static enum tw_status print_trace(const struct tw_args *args, struct tw_error *error) {
    struct tw_trace_file file;
    enum tw_status status = tw_trace_file_open(&file, args->job, error);
    if (status == TW_CLOSED)
        return tw_error_set(error, TW_DATA, "%s has no trace.log; the job says trace: {on: false}",
                            args->job);
    if (status == TW_OK)
        status = print_entries(args, &file, error);
    tw_trace_file_close(&file);
    return status;
}

int tw_cmd_log(int argc, char **argv) {
    struct tw_args args;
    struct log_options own = {0};
    struct tw_log_file file;
    struct tw_error error = {0};
    int code = TW_EXIT_DONE;
    if (tw_args_parse(&args, "log", &argp, &own, argc, argv)) {
        code = tw_command_refuse(&args, &args.error);
    } else if (!args.help) {
        if (tw_log_file_open(&file, args.job, &error) ||
            (own.trace ? print_trace(&args, &error) : print_records(&args, &file, &error)))
            code = tw_command_refuse(&args, &error);
        tw_log_file_close(&file);
    }
    tw_args_fini(&args);
    return code;
}
