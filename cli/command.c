#include "cli/command.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/json.h"

int tw_exit_before(enum tw_status status) {
    switch (status) {
    case TW_USAGE:
    case TW_JOB:
    case TW_DATA:
    case TW_UNSUPPORTED:
    case TW_LIMIT: /* a job that is larger than Talweg's limits */
        return TW_EXIT_WRONG;
    default:
        return tw_exit_after(status);
    }
}

int tw_exit_after(enum tw_status status) {
    if (status == TW_OK)
        return TW_EXIT_DONE;
    return status == TW_INTERRUPTED ? TW_EXIT_INTERRUPTED : TW_EXIT_FAILED;
}

static void tell(const struct tw_args *args, const struct tw_error *error) {
    fprintf(stderr, "talweg %s: %s\n", args->command, error->text);
    if (error->status == TW_USAGE)
        fprintf(stderr, "Try 'talweg %s --help'.\n", args->command);
}

int tw_command_fail(const struct tw_args *args, struct tw_summary *summary,
                    const struct tw_error *error) {
    struct tw_summary none = {0};
    if (!summary)
        summary = &none;
    summary->result.status = error->status;
    summary->counted = false;
    snprintf(summary->result.error, sizeof summary->result.error, "%s", error->text);
    tell(args, error);
    if (args->json)
        tw_print_summary_json(summary);
    return tw_exit_before(error->status);
}

int tw_command_refuse(const struct tw_args *args, const struct tw_error *error) {
    tell(args, error);
    if (args->json) {
        struct tw_text text = {0};
        struct tw_json json;
        tw_json_init(&json, &text);
        tw_json_begin_object(&json, NULL);
        tw_json_string(&json, "status", "failed");
        tw_json_string(&json, "error", error->text);
        tw_json_end_object(&json);
        if (!text.failed)
            printf("%s\n", text.at);
        tw_text_fini(&text);
    }
    return tw_exit_before(error->status);
}

void tw_print_summary_json(const struct tw_summary *summary) {
    struct tw_text text = {0};
    tw_summary_to_json(&text, summary);
    if (!text.failed)
        fwrite(text.at, 1, text.size, stdout);
    fflush(stdout);
    tw_text_fini(&text);
}

enum tw_status tw_command_print(const struct tw_text *text, struct tw_error *error) {
    if (text->failed)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    if (fwrite(text->at, 1, text->size, stdout) != text->size || fflush(stdout))
        return tw_error_set(error, TW_IO, "stdout cannot be written");
    return TW_OK;
}

uint64_t tw_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
