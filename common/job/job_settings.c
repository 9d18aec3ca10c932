/* --set key.path=value and the flags that stand for one: each value is a small YAML
 * document of its own, put into the tree where its key says, so that everything is
 * checked in one place, whatever it came from. */
#include <string.h>

#include "common/job/job_read.h"

static struct tw_yaml *new_node(struct tw_job_reader *reader, enum tw_yaml_kind kind,
                                struct tw_where where, const char *key) {
    struct tw_yaml *node = tw_job_memory_get(reader->memory, sizeof *node);
    if (!node)
        return NULL;
    node->kind = kind;
    node->where = where;
    node->key = key;
    return node;
}

/* The setting as the user typed it: "--workers 4", "--set batch=64". */
static const char *say_setting(struct tw_job_reader *reader, const struct tw_job_setting *setting) {
    bool set = strncmp(setting->flag, "--set", 5) == 0;
    return tw_job_memory_text(reader->memory, "%s%s%.60s%s", setting->flag, set ? "=" : " ",
                              setting->value, strlen(setting->value) > 60 ? "..." : "");
}

/* `optimizer: adam` becomes {name: adam} when a setting reaches into it; other
 * values have nothing inside. */
static enum tw_status open_scalar(struct tw_job_reader *reader, struct tw_yaml *node,
                                  struct tw_where where, const char *path) {
    bool variant = strcmp(path, "optimizer") == 0 || strcmp(path, "model.loss") == 0;
    if (node->kind == TW_YAML_LIST)
        return tw_job_error(reader->error, where, path,
                            "is a list; give the whole list, such as --set '%s=[...]'", path);
    if (!variant && !tw_yaml_is_null(node))
        return tw_job_error(reader->error, where, path, "is a single value with no keys in it");
    struct tw_yaml *name = new_node(reader, TW_YAML_SCALAR, node->where, "name");
    if (!name)
        return tw_job_memory_error(reader->error);
    name->text = node->text;
    name->quoted = node->quoted;
    bool empty = tw_yaml_is_null(node);
    node->kind = TW_YAML_MAP;
    node->text = NULL;
    if (!empty)
        tw_yaml_put(node, name);
    return TW_OK;
}

/* The mapping at `key` of `map`, made when it is not there. */
static enum tw_status step_into(struct tw_job_reader *reader, struct tw_yaml **map, const char *key,
                                struct tw_where where) {
    struct tw_yaml *child = tw_yaml_find(*map, key);
    if (!child) {
        child = new_node(reader, TW_YAML_MAP, where, key);
        if (!child)
            return tw_job_memory_error(reader->error);
        tw_yaml_put(*map, child);
    } else if (child->kind != TW_YAML_MAP) {
        char path[TW_YAML_PATH];
        enum tw_status status = open_scalar(reader, child, where, tw_yaml_path(child, path));
        if (status != TW_OK)
            return status;
    }
    *map = child;
    return TW_OK;
}

/* Walks all but the last word of a key path; *key is the last. */
static enum tw_status walk(struct tw_job_reader *reader, const char *path, struct tw_where where,
                           struct tw_yaml **map, const char **key) {
    int depth = 0;
    *map = reader->root;
    if (!tw_is_utf8(path))
        return tw_job_error(reader->error, where, "", "a key that is not valid UTF-8");
    for (;;) {
        size_t size = strcspn(path, ".");
        if (size == 0 || size > TW_NAME_MAX || ++depth > TW_JOB_DEPTH_MAX)
            return tw_job_error(reader->error, where, "",
                                "not the name of a key; write one such as batch or optimizer.lr");
        *key = tw_job_memory_copy(reader->memory, path, size);
        if (!*key)
            return tw_job_memory_error(reader->error);
        if (!path[size])
            return TW_OK;
        enum tw_status status = step_into(reader, map, *key, where);
        if (status != TW_OK)
            return status;
        path += size + 1;
    }
}

static enum tw_status apply(struct tw_job_reader *reader, const struct tw_job_setting *setting,
                            int *nodes) {
    struct tw_where where = {say_setting(reader, setting), 0};
    if (!where.file)
        return tw_job_memory_error(reader->error);
    struct tw_yaml *map, *value;
    const char *key = NULL;
    enum tw_status status = walk(reader, setting->key, where, &map, &key);
    if (status != TW_OK)
        return status;
    struct tw_yaml_source source = {
        .memory = reader->memory,
        .where = where,
        .folder = setting->folder,
        .text = setting->value,
        .size = strlen(setting->value),
        .nodes = *nodes,
        .parent = map,
        .key = key,
    };
    status = tw_yaml_parse(&value, &source, reader->error);
    *nodes = source.nodes;
    if (status != TW_OK)
        return status;
    if (!value) {
        value = new_node(reader, TW_YAML_SCALAR, where, key);
        if (!value)
            return tw_job_memory_error(reader->error);
        value->text = "";
    }
    tw_yaml_put(map, value);
    return TW_OK;
}

enum tw_status tw_apply_settings(struct tw_job_reader *reader,
                                 const struct tw_job_setting *settings, int count, int *nodes) {
    enum tw_status status = TW_OK;
    for (int i = 0; i < count && status == TW_OK; i++)
        status = apply(reader, &settings[i], nodes);
    return status;
}
