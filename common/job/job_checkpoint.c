/* checkpoint: how often everything is saved, and how many are kept. */
#include "common/job/job_read.h"

#define SECONDS_MAX 1e6 /* 11 days */
#define SECONDS_MIN 1e-3
#define KEEP_MAX 1000

enum tw_status tw_read_checkpoint(const struct tw_job_reader *reader) {
    static const char *const names[] = {"every", "seconds", "keep", NULL};
    static const struct tw_option_rule seconds = {.max = SECONDS_MAX};
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
        status = tw_read_real(reader, map, "seconds", seconds, &job->checkpoint.seconds);
    if (status == TW_OK && job->checkpoint.seconds > 0 && job->checkpoint.seconds < SECONDS_MIN)
        return tw_node_error(reader, tw_yaml_find(map, "seconds"),
                             "%g is too short; it must be 0, not by time, or a number from %.10g "
                             "to %.10g",
                             job->checkpoint.seconds, SECONDS_MIN, SECONDS_MAX);
    if (status == TW_OK && job->checkpoint.every && !tw_yaml_find(map, "seconds"))
        job->checkpoint.seconds = 0; /* counted in updates instead */
    if (status == TW_OK)
        status = tw_read_integer(reader, map, "keep", 1, KEEP_MAX, &job->checkpoint.keep);
    return status;
}
