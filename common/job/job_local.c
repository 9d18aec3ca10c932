/* local_steps: how many steps a slot makes by itself between two pushes. */
#include "common/job/job_read.h"

#define RATE_MAX 1e6

static enum tw_status read_rate(const struct tw_job_reader *reader, const struct tw_yaml *map) {
    static const struct tw_option_rule rule = {
        .key = "lr", .type = TW_OPTION_REAL, .max = RATE_MAX, .min_open = true};
    const struct tw_yaml *node = tw_yaml_find(map, "lr");
    struct tw_option option;
    struct tw_option_value value;
    if (!node)
        return TW_OK;
    enum tw_status status = tw_need_scalar(reader, node, &option);
    if (status == TW_OK)
        status = tw_option_value_read(&value, "local_steps", &rule, &option, reader->error);
    if (status != TW_OK)
        return status;
    reader->job->local.rate = value.real;
    reader->job->local_rate_given = true;
    return TW_OK;
}

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

enum tw_status tw_read_local_steps(const struct tw_job_reader *reader) {
    static const char *const names[] = {"steps", "lr", NULL};
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
            status = read_rate(reader, map);
    }
    if (status == TW_OK)
        status = tw_read_integer(reader, map, key, 1, TW_LOCAL_STEPS_MAX, &steps);
    reader->job->local.steps = (uint32_t)steps;
    if (status != TW_OK || steps == 1)
        return status;
    reader->job->local_where = node->where;
    return check_update(reader);
}
