/* stop: when a run ends before its `epochs` or `updates`. */
#include <math.h>
#include <stddef.h>

#include "common/job/job_read.h"

#define PATIENCE_MAX 1000000000

static const struct tw_option_rule rules[] = {
    {.key = "patience",
     .type = TW_OPTION_INTEGER,
     .offset = offsetof(struct tw_job_stop, patience),
     .min = 0,
     .max = PATIENCE_MAX},
    {.key = "threshold",
     .type = TW_OPTION_REAL,
     .offset = offsetof(struct tw_job_stop, threshold),
     .min = 0,
     .max = 1},
    {.key = "loss", .type = TW_OPTION_REAL, .offset = offsetof(struct tw_job_stop, loss)},
    {.key = "gradient_norm",
     .type = TW_OPTION_REAL,
     .offset = offsetof(struct tw_job_stop, gradient_norm),
     .min = 0,
     .max = 1e300,
     .min_open = true},
};

static enum tw_status read_rule(const struct tw_job_reader *reader, const struct tw_yaml *map,
                                const struct tw_option_rule *rule) {
    const struct tw_yaml *node = tw_yaml_find(map, rule->key);
    void *out = (char *)&reader->job->stop + rule->offset;
    struct tw_option option;
    struct tw_option_value value;
    if (!node)
        return TW_OK;
    enum tw_status status = tw_need_scalar(reader, node, &option);
    if (status == TW_OK)
        status = tw_option_value_read(&value, "stop", rule, &option, reader->error);
    if (status == TW_OK && rule->type == TW_OPTION_INTEGER)
        *(int64_t *)out = value.integer;
    else if (status == TW_OK)
        *(double *)out = value.real;
    return status;
}

/* Without data there is nothing to evaluate. */
static enum tw_status read_watch(const struct tw_job_reader *reader, const struct tw_yaml *map) {
    static const char *const words[] = {"test", "train", NULL};
    struct tw_job *job = reader->job;
    int train = !tw_job_has_data(job);
    enum tw_status status = tw_read_name(reader, map, "watch", words, &train);
    job->stop.train = train;
    if (status == TW_OK && !train && !tw_job_has_data(job))
        return tw_node_error(
            reader, tw_yaml_find(map, "watch"),
            "test, but this job has no data; write train: the loss of each update");
    bool by_loss = job->stop.patience >= 0 || !isnan(job->stop.loss);
    if (status == TW_OK && by_loss && !train && !job->has_test)
        return tw_node_error(reader, map,
                             "goes by the loss of data.test, and the job has none; give it some, "
                             "or write watch: train");
    return status;
}

enum tw_status tw_read_stop(const struct tw_job_reader *reader) {
    static const char *const names[] = {"patience",      "threshold", "loss",
                                        "gradient_norm", "watch",     NULL};
    const struct tw_yaml *map = tw_yaml_find(reader->root, "stop");
    struct tw_job_stop *stop = &reader->job->stop;
    *stop = (struct tw_job_stop){.patience = -1, .loss = (double)NAN};
    if (!map)
        return TW_OK;
    stop->given = true;
    enum tw_status status = tw_need_kind(reader, map, TW_YAML_MAP, "{patience: 5}");
    if (status == TW_OK)
        status = tw_need_keys(reader, map, names);
    for (size_t i = 0; status == TW_OK && i < sizeof rules / sizeof rules[0]; i++)
        status = read_rule(reader, map, &rules[i]);
    if (status == TW_OK && stop->patience < 0 && isnan(stop->loss) && stop->gradient_norm == 0)
        return tw_node_error(reader, map, "says not when; give patience, loss or gradient_norm");
    if (status == TW_OK && stop->gradient_norm > 0 && reader->job->local.rho > 0)
        return tw_node_error(reader, tw_yaml_find(map, "gradient_norm"),
                             "with local_steps.rho no gradient is pushed whose norm could be "
                             "looked at; give patience or loss");
    return status == TW_OK ? read_watch(reader, map) : status;
}
