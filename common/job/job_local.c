/* local_steps: how many steps a slot makes by itself between two pushes. */
#include <string.h>

#include "common/job/job_read.h"

#define NUMBER_MAX 1e6

/* What would mean one thing for the steps of a slot and another for the update. */
static enum tw_status check_update(const struct tw_job_reader *reader) {
    const struct tw_job *job = reader->job;
    const struct tw_yaml *node = tw_yaml_find(reader->root, "local_steps");
    const char *why = NULL;
    if (job->model.own)
        why = "the gradients of model.tensors come from a program of your own, which can make as "
              "many steps as it likes before it pushes";
    else if (job->gradient_sum)
        why =
            "not together with gradient: sum: a step of a slot goes by the mean over its examples";
    else if (job->l2 > 0 || job->decoupled > 0)
        why = "not together with weight_decay, which the steps of a slot would not have";
    else if (job->group_count > 0)
        why = "not together with groups, which the steps of a slot would not know";
    return why ? tw_node_error(reader, node, "%s; take one of them out", why) : TW_OK;
}

/* What would take a slot's weights back, or make a spring of another stiffness at the servers. The
 * mode is for whoever knows the dial. */
static enum tw_status check_elastic(const struct tw_job_reader *reader) {
    const struct tw_job *job = reader->job;
    const char *why = NULL;
    if (strcmp(job->optimizer.name, "sgd") != 0 || job->schedule.name)
        why =
            "with rho the servers' weights follow a spring at optimizer.lr: the optimizer must be "
            "sgd, without a schedule";
    else if (job->local_rate_given)
        why = "with rho the rate is optimizer.lr on both sides: take lr out";
    else if (job->clip_norm > 0 || job->clip_value > 0)
        why = "with rho no gradient is pushed that could be clipped: take clip out";
    else if (job->correction_count > 0)
        why = "with rho no gradient is pushed that could be late: take corrections out";
    else if (job->turn_count > 0)
        why = "with rho the dial cannot be turned, which takes steps back: take consistency.turns "
              "out";
    else if (job->on_worker_loss.action == TW_LOSS_EVICT)
        why = "with rho on_worker_loss must be wait or fail: what an evicted worker has done by "
              "itself "
              "cannot be taken back";
    return why ? tw_node_error(reader, tw_yaml_find(reader->root, "local_steps"), "%s", why)
               : TW_OK;
}

enum tw_status tw_read_local_steps(const struct tw_job_reader *reader) {
    static const char *const names[] = {"steps", "lr", "rho", NULL};
    static const struct tw_option_rule above_zero = {.max = NUMBER_MAX, .min_open = true};
    struct tw_job *job = reader->job;
    bool elastic = false;
    const struct tw_yaml *map = reader->root, *node = tw_yaml_find(map, "local_steps");
    const char *key = "local_steps";
    int64_t steps = 1;
    enum tw_status status = TW_OK;
    if (node && node->kind == TW_YAML_MAP) {
        map = node;
        key = "steps";
        status = tw_need_keys(reader, map, names);
        if (status == TW_OK && !tw_yaml_find(map, key))
            return tw_missing_error(reader, map, key, "how many a slot makes between two pushes");
        if (status == TW_OK)
            status = tw_read_real(reader, map, "lr", above_zero, &job->local.rate);
        if (status == TW_OK)
            status = tw_read_real(reader, map, "rho", above_zero, &job->local.rho);
        job->local_rate_given = tw_yaml_find(map, "lr") != NULL;
        elastic = tw_yaml_find(map, "rho") != NULL;
    }
    if (status == TW_OK)
        status = tw_read_integer(reader, map, key, 1, TW_LOCAL_STEPS_MAX, &steps);
    job->local.steps = (uint32_t)steps;
    if (status != TW_OK || (steps == 1 && !elastic))
        return status;
    job->local_where = node->where;
    status = check_update(reader);
    return status == TW_OK && elastic ? check_elastic(reader) : status;
}
