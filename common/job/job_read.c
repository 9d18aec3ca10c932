#include "common/job/job_read.h"

#include <stdio.h>
#include <string.h>

#include "common/base/text.h"

bool tw_is_utf8(const char *text) {
    size_t left = strlen(text), size;
    while ((size = tw_utf8_length(text, left))) {
        text += size;
        left -= size;
    }
    return left == 0;
}

enum tw_status tw_node_error(const struct tw_job_reader *reader, const struct tw_yaml *node,
                             const char *format, ...) {
    char text[TW_ERROR_TEXT], path[TW_YAML_PATH];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return tw_job_error(reader->error, node->where, tw_yaml_path(node, path), "%s", text);
}

enum tw_status tw_missing_error(const struct tw_job_reader *reader, const struct tw_yaml *map,
                                const char *key, const char *what) {
    char path[TW_YAML_PATH], key_path[TW_KEY_PATH];
    struct tw_where where = map->where;
    if (map == reader->root)
        where = (struct tw_where){reader->job->path, 0};
    return tw_job_error(reader->error, where, tw_key_path(tw_yaml_path(map, path), key, key_path),
                        "missing; %s", what);
}

enum tw_status tw_need_kind(const struct tw_job_reader *reader, const struct tw_yaml *node,
                            enum tw_yaml_kind kind, const char *what) {
    const char *shape = kind == TW_YAML_MAP ? "keys and values" : "a list";
    if (node->kind != kind)
        return tw_node_error(reader, node, "%s where %s should stand: %s", tw_yaml_kind_text(node),
                             shape, what);
    if (node->count == 0)
        return tw_node_error(reader, node, "empty; give %s", what);
    return TW_OK;
}

enum tw_status tw_need_scalar(const struct tw_job_reader *reader, const struct tw_yaml *node,
                              struct tw_option *out) {
    if (node->kind != TW_YAML_SCALAR)
        return tw_node_error(reader, node, "%s where one value should stand; write key: value",
                             tw_yaml_kind_text(node));
    if (tw_yaml_is_null(node))
        return tw_node_error(reader, node, "no value; give one, or take the key out");
    *out = (struct tw_option){
        .key = node->key ? node->key : "",
        .text = node->text,
        .quoted = node->quoted,
        .where = node->where,
    };
    return TW_OK;
}

enum tw_status tw_need_keys(const struct tw_job_reader *reader, const struct tw_yaml *map,
                            const char *const *names) {
    char path[TW_YAML_PATH];
    int count = 0;
    while (names[count])
        count++;
    for (const struct tw_yaml *child = map->first; child; child = child->next) {
        int i = 0;
        while (i < count && strcmp(names[i], child->key) != 0)
            i++;
        if (i == count)
            return tw_unknown_key(reader->error, child->where, tw_yaml_path(map, path), child->key,
                                  names, count, sizeof *names);
    }
    return TW_OK;
}

/* The value at `node`, by `rule`. */
static enum tw_status read_value(const struct tw_job_reader *reader, const struct tw_yaml *node,
                                 const struct tw_option_rule *rule, struct tw_option_value *out) {
    char path[TW_YAML_PATH];
    struct tw_option option;
    enum tw_status status = tw_need_scalar(reader, node, &option);
    if (status != TW_OK)
        return status;
    /* The rule has no key: the path is that of the node itself. */
    return tw_option_value_read(out, tw_yaml_path(node, path), rule, &option, reader->error);
}

static enum tw_status read_integer_at(const struct tw_job_reader *reader,
                                      const struct tw_yaml *node, int64_t min, int64_t max,
                                      int64_t *out) {
    struct tw_option_rule rule = {
        .key = "", .type = TW_OPTION_INTEGER, .min = (double)min, .max = (double)max};
    struct tw_option_value value;
    enum tw_status status = read_value(reader, node, &rule, &value);
    if (status == TW_OK)
        *out = value.integer;
    return status;
}

enum tw_status tw_read_integer(const struct tw_job_reader *reader, const struct tw_yaml *map,
                               const char *key, int64_t min, int64_t max, int64_t *inout) {
    const struct tw_yaml *node = map ? tw_yaml_find(map, key) : NULL;
    return node ? read_integer_at(reader, node, min, max, inout) : TW_OK;
}

enum tw_status tw_read_real(const struct tw_job_reader *reader, const struct tw_yaml *map,
                            const char *key, struct tw_option_rule rule, double *inout) {
    const struct tw_yaml *node = map ? tw_yaml_find(map, key) : NULL;
    struct tw_option_value value;
    rule.key = "";
    rule.type = TW_OPTION_REAL;
    enum tw_status status = node ? read_value(reader, node, &rule, &value) : TW_OK;
    if (node && status == TW_OK)
        *inout = value.real;
    return status;
}

enum tw_status tw_read_name(const struct tw_job_reader *reader, const struct tw_yaml *map,
                            const char *key, const char *const *names, int *inout) {
    const struct tw_yaml *node = map ? tw_yaml_find(map, key) : NULL;
    if (!node)
        return TW_OK;
    struct tw_option_rule rule = {.key = "", .type = TW_OPTION_ENUM, .names = names};
    struct tw_option_value value;
    enum tw_status status = read_value(reader, node, &rule, &value);
    if (status == TW_OK)
        *inout = value.name;
    return status;
}

enum tw_status tw_read_shape(const struct tw_job_reader *reader, const struct tw_yaml *node,
                             int *dims, int64_t *shape) {
    *dims = 0;
    if (node->kind == TW_YAML_SCALAR) {
        *dims = 1;
        return read_integer_at(reader, node, 1, TW_ELEMENTS_MAX, &shape[0]);
    }
    if (node->kind != TW_YAML_LIST)
        return tw_node_error(reader, node,
                             "a mapping where a shape should stand, such as [28, 28]");
    if (node->count > TW_DIMS_MAX)
        return tw_node_error(reader, node, "%d dimensions; a shape has at most %d", node->count,
                             TW_DIMS_MAX);
    for (const struct tw_yaml *child = node->first; child; child = child->next) {
        enum tw_status status = read_integer_at(reader, child, 1, TW_ELEMENTS_MAX, &shape[*dims]);
        if (status != TW_OK)
            return status;
        (*dims)++;
    }
    return TW_OK;
}

enum tw_status tw_find_section(const struct tw_job_reader *reader, const char *key,
                               const char *const *names, const char *what,
                               const struct tw_yaml **out) {
    *out = tw_yaml_find(reader->root, key);
    if (!*out)
        return TW_OK;
    enum tw_status status = tw_need_kind(reader, *out, TW_YAML_MAP, what);
    return status == TW_OK ? tw_need_keys(reader, *out, names) : status;
}

enum tw_status tw_read_flag(const struct tw_job_reader *reader, const struct tw_yaml *map,
                            const char *key, bool *inout) {
    static const struct tw_option_rule flag = {.type = TW_OPTION_BOOL};
    const struct tw_yaml *node = map ? tw_yaml_find(map, key) : NULL;
    struct tw_option_rule rule = flag;
    struct tw_option_value value;
    struct tw_option option;
    char path[TW_YAML_PATH];
    if (!node)
        return TW_OK;
    rule.key = key;
    enum tw_status status = tw_need_scalar(reader, node, &option);
    if (status == TW_OK)
        status =
            tw_option_value_read(&value, tw_yaml_path(map, path), &rule, &option, reader->error);
    if (status == TW_OK)
        *inout = value.boolean;
    return status;
}
