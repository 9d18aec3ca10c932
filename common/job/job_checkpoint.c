/* checkpoint: how often everything is saved, and how many are kept. */
#include "common/job/job_read.h"

#define SECONDS_MAX 1e6 /* 11 days */
#define KEEP_MAX 1000

static enum tw_status read_seconds(const struct tw_job_reader *reader, const struct tw_yaml *map) {
    static const struct tw_option_rule rule = {
        .key = "seconds", .type = TW_OPTION_REAL, .max = SECONDS_MAX};
    const struct tw_yaml *node = tw_yaml_find(map, "seconds");
    struct tw_option option;
    struct tw_option_value value;
    if (!node) {
        if (reader->job->checkpoint.every)
            reader->job->checkpoint.seconds = 0; /* counted in updates instead */
        return TW_OK;
    }
    enum tw_status status = tw_need_scalar(reader, node, &option);
    if (status == TW_OK)
        status = tw_option_value_read(&value, "checkpoint", &rule, &option, reader->error);
    if (status == TW_OK)
        reader->job->checkpoint.seconds = value.real;
    return status;
}

enum tw_status tw_read_checkpoint(const struct tw_job_reader *reader) {
    static const char *const names[] = {"every", "seconds", "keep", NULL};
    struct tw_job *job = reader->job;
    const struct tw_yaml *map = tw_yaml_find(reader->root, "checkpoint");
    if (!map)
        return TW_OK;
    enum tw_status status = tw_need_kind(reader, map, TW_YAML_MAP, "{every: 1000, keep: 2}");
    if (status == TW_OK)
        status = tw_need_keys(reader, map, names);
    if (status == TW_OK)
        status = tw_read_integer(reader, map, "every", 0, TW_JOB_EVERY_MAX, &job->checkpoint.every);
    if (status == TW_OK)
        status = read_seconds(reader, map);
    if (status == TW_OK)
        status = tw_read_integer(reader, map, "keep", 1, KEEP_MAX, &job->checkpoint.keep);
    return status;
}
