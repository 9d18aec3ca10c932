/* talweg bench: how fast this machine is with Talweg, and without it. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"
#include "cli/command.h"
#include "common/base/limits.h"
#include "common/tensor/encoding.h"

static const struct tw_bench_subject subjects[] = {
    {.name = "wire",
     .summary = "gradients and weights between processes, beside raw send() and recv()",
     .by_workers = true,
     .by_encoding = true,
     .run = tw_bench_wire},
    {.name = "cluster",
     .summary = "one server under the load of many workers, up to a thousand",
     .by_workers = true,
     .run = tw_bench_cluster},
    {.name = "optimizer",
     .summary = "update rules, beside a loop that moves the same bytes",
     .run = tw_bench_optimizer},
};
enum { SUBJECTS = sizeof subjects / sizeof subjects[0] };

struct bench_options {
    struct tw_bench_options common;
    const char *cores;
};

enum { KEY_LONG = 0x200, KEY_BYTES, KEY_WORKERS, KEY_CORES, KEY_ENCODING };

static const struct argp_option options[] = {
    {"long", KEY_LONG, NULL, 0, "All rows; the default leaves some out to end within 30 s", 1},
    {"bytes", KEY_BYTES, "N", 0, "Only the rows of this size", 1},
    {"workers", KEY_WORKERS, "N", 0, "Only the rows with so many workers; for wire and cluster", 1},
    {"cores", KEY_CORES, "A,B", 0,
     "Two CPU cores: the server and receivers run on A, workers and senders on B. Default: the"
     " first two that this process may use",
     1},
    {"encoding", KEY_ENCODING, "E", 0,
     "How gradients and weights travel, such as bf16 (docs/job.md, Encodings); for wire. Sizes"
     " and GB/s are those of float32 all the same, and so is the yardstick",
     1},
    TW_ARGS_JSON,
    {0},
};

static const char doc[] =
    "Measures this machine, each row in turns with its yardstick: for the wire raw send() and"
    " recv() between two processes on the same cores in the same seconds, for an update rule a"
    " loop that moves the same bytes, for a cluster as many messages through a plain epoll server."
    " Compare within one table; a shared machine is at times half as fast as before."
    "\v"
    "Subjects:\n"
    "  wire       gradients and weights between a server and its workers. push:\n"
    "             from the first byte until the update is committed and its weights\n"
    "             begin to arrive. pull: from then on (weights of one chunk:\n"
    "             from the end of the push). pushpull: from first to last, bytes\n"
    "             counted once. Then the round trip of the smallest size, memcpy,\n"
    "             and pushes of 64 bytes per second, 1, 8 and 64 under way over\n"
    "             one pair of connections, and 64 over a pair for each\n"
    "  cluster    many workers in a few processes: what a push costs the server\n"
    "             as their number grows, and a further worker in an update, its\n"
    "             memory, how long workers wait\n"
    "  optimizer  each update rule on one core, in cache and from memory\n"
    "\n"
    "Examples:\n"
    "  talweg bench wire\n"
    "  talweg bench wire --long --json\n"
    "  talweg bench cluster\n"
    "  talweg bench optimizer\n"
    "\n"
    "Exit codes:\n"
    "  0    measured\n"
    "  1    it could not be measured\n"
    "  2    wrong usage\n";

static error_t take_encoding(struct tw_args *args, uint32_t *out, const char *text) {
    char known[128] = "";
    for (*out = 0; *out < TW_ENCODINGS; ++*out) {
        size_t used = strlen(known);
        if (strcmp(tw_encodings[*out].name, text) == 0)
            return 0;
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "",
                 tw_encodings[*out].name);
    }
    return tw_args_wrong(args, "--encoding %s: it must be one of %s", text, known);
}

static error_t parse(int key, char *text, struct argp_state *state) {
    struct tw_args *args = state->input;
    struct bench_options *own = args->own;
    char *end;
    long workers;
    switch (key) {
    case KEY_LONG:
        own->common.all = true;
        return 0;
    case KEY_BYTES:
        own->common.bytes = strtoull(text, &end, 10);
        return own->common.bytes > 0 && *end == '\0'
                   ? 0
                   : tw_args_wrong(args, "--bytes %s: it must be a whole number above 0", text);
    case KEY_WORKERS:
        workers = strtol(text, &end, 10);
        if (workers < 1 || workers > TW_WORKERS_MAX || *end != '\0')
            return tw_args_wrong(args, "--workers %s: it must be a whole number from 1 to %d", text,
                                 TW_WORKERS_MAX);
        own->common.workers = (int)workers;
        return 0;
    case KEY_CORES:
        own->cores = text;
        return 0;
    case KEY_ENCODING:
        return take_encoding(args, &own->common.encoding, text);
    default:
        return tw_args_usual(key, state);
    }
}

static const struct argp_child children[] = {{&tw_args_run, 0, NULL, 0}, {0}};
static const struct argp argp = {options, parse, "SUBJECT", doc, children, NULL, NULL};

/* ---- the command ---- */

static enum tw_status choose_cores(struct bench_options *own, struct tw_error *error) {
    cpu_set_t set;
    int found = 0;
    own->common.core[0] = own->common.core[1] = -1;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        CPU_ZERO(&set);
    if (own->cores) {
        unsigned a, b;
        char rest;
        if (sscanf(own->cores, "%u,%u%c", &a, &b, &rest) != 2 || a >= CPU_SETSIZE ||
            b >= CPU_SETSIZE || !CPU_ISSET(a, &set) || !CPU_ISSET(b, &set))
            return tw_error_set(error, TW_USAGE,
                                "--cores %s: not two cores that this process may use, such as 0,1",
                                own->cores);
        own->common.core[0] = (int)a;
        own->common.core[1] = (int)b;
        return TW_OK;
    }
    for (unsigned i = 0; i < CPU_SETSIZE && found < 2; i++)
        if (CPU_ISSET(i, &set))
            own->common.core[found++] = (int)i;
    if (found == 1)
        own->common.core[1] = own->common.core[0];
    return TW_OK;
}

static enum tw_status find_subject(const char *name, const struct tw_bench_subject **out,
                                   struct tw_error *error) {
    for (int i = 0; i < SUBJECTS; i++)
        if (strcmp(subjects[i].name, name) == 0) {
            *out = &subjects[i];
            return TW_OK;
        }
    const char *near = tw_nearest_name(name, subjects, SUBJECTS, sizeof subjects[0]);
    struct tw_text known = {0};
    for (int i = 0; i < SUBJECTS; i++)
        tw_text_add(&known, "%s%s", i ? ", " : "", subjects[i].name);
    tw_error_set(error, TW_USAGE, "unknown subject \"%s\"%s%s%s; known: %s", name,
                 near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "",
                 known.failed ? "out of memory" : known.at);
    tw_text_fini(&known);
    return TW_USAGE;
}

/* An option that would change nothing is refused: nobody is to believe that it did. */
static enum tw_status check_fit(const struct tw_bench_subject *subject,
                                const struct tw_bench_options *asked, struct tw_error *error) {
    if (asked->workers && !subject->by_workers)
        return tw_error_set(error, TW_USAGE, "--workers is for wire and cluster; %s has none",
                            subject->name);
    if (asked->encoding && !subject->by_encoding)
        return tw_error_set(error, TW_USAGE, "--encoding is for wire; %s has only float32",
                            subject->name);
    return TW_OK;
}

static enum tw_status bench(struct tw_args *args, struct tw_text *out, struct tw_error *error) {
    struct bench_options *own = args->own;
    const struct tw_bench_subject *subject = NULL;
    struct tw_json json;
    enum tw_status status = find_subject(args->job, &subject, error);
    if (!status)
        status = check_fit(subject, &own->common, error);
    if (!status)
        status = choose_cores(own, error);
    if (status)
        return status;
    tw_json_init(&json, out);
    tw_json_begin_object(&json, NULL);
    tw_json_string(&json, "subject", subject->name);
    status = subject->run(&own->common, &json, error);
    tw_json_end_object(&json);
    return status;
}

int tw_cmd_bench(int argc, char **argv) {
    struct tw_args args;
    struct bench_options own = {0};
    struct tw_text out = {0};
    struct tw_error error = {0};
    int code = TW_EXIT_DONE;
    if (tw_args_parse(&args, "bench", &argp, &own, argc, argv)) {
        code = tw_command_refuse(&args, &args.error);
    } else if (!args.help) {
        enum tw_status status = bench(&args, &out, &error);
        if (status)
            code = tw_command_refuse(&args, &error);
        else if (args.json && !out.failed)
            printf("%s\n", out.at);
    }
    tw_text_fini(&out);
    tw_args_fini(&args);
    return code;
}
