/* What a job says of its updates around the rule: gradient, clip, weight_decay, groups, average,
 * corrections. */
#include <math.h>
#include <string.h>

#include "common/job/job_read.h"

/* One above 0. */
static enum tw_status read_positive(const struct tw_job_reader *reader, const struct tw_yaml *map,
                                    const char *key, double *inout) {
    static const struct tw_option_rule rule = {.min_open = true, .max = INFINITY, .max_open = true};
    return tw_read_real(reader, map, key, rule, inout);
}

/* {one: x} or {other: x}, not both. */
static enum tw_status read_either(const struct tw_job_reader *reader, const char *key,
                                  const char *const names[3], const char *what, double *one,
                                  double *other) {
    const struct tw_yaml *node = tw_yaml_find(reader->root, key);
    if (!node)
        return TW_OK;
    enum tw_status status = tw_need_kind(reader, node, TW_YAML_MAP, what);
    if (status == TW_OK)
        status = tw_need_keys(reader, node, names);
    if (status == TW_OK && node->count > 1)
        return tw_node_error(reader, node, "%s and %s; give one of the two", names[0], names[1]);
    if (status == TW_OK)
        status = read_positive(reader, node, names[0], one);
    return status == TW_OK ? read_positive(reader, node, names[1], other) : status;
}

static enum tw_status read_average(const struct tw_job_reader *reader) {
    static const char *const names[] = {"ema", "evaluate", NULL};
    static const char *const scored[] = {"weights", "average", NULL};
    static const struct tw_option_rule rule = {.min_open = true, .max = 1, .max_open = true};
    struct tw_job *job = reader->job;
    const struct tw_yaml *node = tw_yaml_find(reader->root, "average");
    int evaluate = 0;
    if (!node)
        return TW_OK;
    enum tw_status status = tw_need_kind(reader, node, TW_YAML_MAP, "{ema: 0.999}");
    if (status == TW_OK)
        status = tw_need_keys(reader, node, names);
    if (status == TW_OK && !tw_yaml_find(node, "ema"))
        return tw_missing_error(reader, node, "ema",
                                "which share of itself the average keeps with each update, such as "
                                "0.999");
    if (status == TW_OK)
        status = tw_read_real(reader, node, "ema", rule, &job->average.ema);
    if (status == TW_OK)
        status = tw_read_name(reader, node, "evaluate", scored, &evaluate);
    job->average.evaluate = evaluate;
    return status;
}

static enum tw_status read_corrections(const struct tw_job_reader *reader) {
    static const struct tw_variant_form form = {
        .key = "name", .what = "a correction such as {name: staleness_power}"};
    struct tw_job *job = reader->job;
    const struct tw_yaml *node = tw_yaml_find(reader->root, "corrections");
    if (!node || (node->kind == TW_YAML_LIST && !node->count)) /* [] takes away those of a file */
        return TW_OK;
    enum tw_status status =
        tw_need_kind(reader, node, TW_YAML_LIST, "corrections such as [{name: staleness_power}]");
    if (status != TW_OK)
        return status;
    if (node->count > TW_CORRECTIONS_MAX)
        return tw_node_error(reader, node, "%d corrections; at most %d can be stacked", node->count,
                             TW_CORRECTIONS_MAX);
    job->corrections =
        tw_job_memory_get(reader->memory, (size_t)node->count * sizeof *job->corrections);
    if (!job->corrections)
        return tw_job_memory_error(reader->error);
    for (const struct tw_yaml *child = node->first; child && status == TW_OK; child = child->next)
        status = tw_read_variant(reader, child, &form, &job->corrections[job->correction_count++]);
    return status;
}

static enum tw_status read_pattern(const struct tw_job_reader *reader, const struct tw_yaml *group,
                                   struct tw_job_group *out) {
    const struct tw_yaml *node = tw_yaml_find(group, "tensors");
    struct tw_option option;
    if (!node)
        return tw_missing_error(reader, group, "tensors", "a pattern of names, such as \"*.bias\"");
    enum tw_status status = tw_need_scalar(reader, node, &option);
    if (status != TW_OK)
        return status;
    if (!*option.text || strlen(option.text) > TW_NAME_MAX)
        return tw_node_error(reader, node, "%zu bytes; give a pattern of names, such as \"*.bias\"",
                             strlen(option.text));
    out->pattern = option.text;
    out->where = node->where;
    return TW_OK;
}

static enum tw_status read_group(const struct tw_job_reader *reader, const struct tw_yaml *node,
                                 struct tw_job_group *out) {
    static const char *const names[] = {"tensors", "lr", "decay", NULL};
    static const char *const answers[] = {"false", "true", NULL};
    int decay = 1;
    out->rate = 1;
    enum tw_status status =
        tw_need_kind(reader, node, TW_YAML_MAP, "{tensors: \"*.bias\", decay: false}");
    if (status == TW_OK)
        status = tw_need_keys(reader, node, names);
    if (status == TW_OK)
        status = read_pattern(reader, node, out);
    if (status == TW_OK)
        status = read_positive(reader, node, "lr", &out->rate);
    if (status == TW_OK)
        status = tw_read_name(reader, node, "decay", answers, &decay);
    out->decay = decay;
    return status;
}

static enum tw_status read_groups(const struct tw_job_reader *reader) {
    struct tw_job *job = reader->job;
    const struct tw_yaml *node = tw_yaml_find(reader->root, "groups");
    if (!node)
        return TW_OK;
    enum tw_status status = tw_need_kind(reader, node, TW_YAML_LIST,
                                         "groups such as [{tensors: \"*.bias\", decay: false}]");
    if (status != TW_OK)
        return status;
    if (node->count > TW_GROUPS_MAX)
        return tw_node_error(reader, node, "%d groups; at most %d are possible", node->count,
                             TW_GROUPS_MAX);
    job->groups = tw_job_memory_get(reader->memory, (size_t)node->count * sizeof *job->groups);
    if (!job->groups)
        return tw_job_memory_error(reader->error);
    for (const struct tw_yaml *child = node->first; child && status == TW_OK; child = child->next)
        status = read_group(reader, child, &job->groups[job->group_count++]);
    return status;
}

enum tw_status tw_read_update(const struct tw_job_reader *reader) {
    static const char *const scales[] = {"mean", "sum", NULL};
    static const char *const clips[] = {"norm", "value", NULL};
    static const char *const decays[] = {"l2", "decoupled", NULL};
    struct tw_job *job = reader->job;
    int sum = 0;
    enum tw_status status = tw_read_name(reader, reader->root, "gradient", scales, &sum);
    job->gradient_sum = sum;
    if (status == TW_OK)
        status = read_either(reader, "clip", clips, "{norm: 1} or {value: 0.5}", &job->clip_norm,
                             &job->clip_value);
    if (status == TW_OK)
        status = read_either(reader, "weight_decay", decays, "{l2: 1e-4} or {decoupled: 0.01}",
                             &job->l2, &job->decoupled);
    const struct tw_yaml *decay = tw_yaml_find(reader->root, "weight_decay");
    if (decay)
        job->decay_where = decay->where;
    if (status == TW_OK)
        status = read_average(reader);
    if (status == TW_OK)
        status = read_corrections(reader);
    return status == TW_OK ? read_groups(reader) : status;
}
