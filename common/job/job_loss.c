/* on_worker_loss: what becomes of a run whose worker is gone; on_divergence: of one whose numbers
 * are. */
#include "common/job/job_read.h"

#define SECONDS_MAX 1e6 /* 11 days */
#define SILENT_MIN 3.0  /* who computes is heard once a second */

const char *const tw_loss_actions[] = {
    [TW_LOSS_WAIT] = "wait", [TW_LOSS_EVICT] = "evict", [TW_LOSS_FAIL] = "fail", NULL};

enum tw_status tw_read_loss(const struct tw_job_reader *reader) {
    static const char *const names[] = {"action", "after", "silent", NULL};
    static const struct tw_option_rule seconds = {.max = SECONDS_MAX};
    const struct tw_yaml *map = reader->root, *node = tw_yaml_find(map, "on_worker_loss");
    const char *key = "on_worker_loss";
    enum tw_status status = TW_OK;
    if (node && node->kind == TW_YAML_MAP) {
        map = node;
        key = "action";
        status = tw_need_keys(reader, map, names);
        if (status == TW_OK && !tw_yaml_find(map, key))
            return tw_missing_error(reader, map, key, "wait, evict or fail");
        if (status == TW_OK)
            status =
                tw_read_real(reader, map, "after", seconds, &reader->job->on_worker_loss.after);
        if (status == TW_OK)
            status =
                tw_read_real(reader, map, "silent", seconds, &reader->job->on_worker_loss.silent);
        double silent = reader->job->on_worker_loss.silent;
        if (status == TW_OK && silent > 0 && silent < SILENT_MIN)
            return tw_node_error(reader, tw_yaml_find(map, "silent"),
                                 "%g is too short: who computes is heard once a second; it must be "
                                 "0 for never, or a number from %.10g to %.10g",
                                 silent, SILENT_MIN, SECONDS_MAX);
    }
    int action = TW_LOSS_WAIT;
    if (status == TW_OK)
        status = tw_read_name(reader, map, key, tw_loss_actions, &action);
    reader->job->on_worker_loss.action = (enum tw_loss_action)action;
    return status;
}

enum tw_status tw_read_divergence(const struct tw_job_reader *reader) {
    static const char *const words[] = {"stop", "go_on", NULL};
    int goes_on = 0;
    enum tw_status status = tw_read_name(reader, reader->root, "on_divergence", words, &goes_on);
    reader->job->goes_on = goes_on;
    return status;
}
