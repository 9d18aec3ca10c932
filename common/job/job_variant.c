/* Variants (an optimizer, a layer, a loss, a data format) as a job may write them:
 *
 *     sgd                          its name alone
 *     {name: adam, lr: 0.001}      a mapping with its name
 *     dense: 256                   short: one argument without a key
 *     dense: {units: 256}          short: options
 */
#include <stdio.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/text.h"
#include "common/job/job_read.h"

/* Longer names and keys are nobody's. */
#define WORD_MAX 64

static bool is_number(const struct tw_option *value) {
    return !value->quoted && strspn(value->text, "0123456789+-.eE") == strlen(value->text);
}

/* A word in quotes, with as few escapes as will do. */
static bool add_word(struct tw_text *out, const char *word) {
    tw_text_add(out, "\"");
    for (; *word; word++) {
        if ((unsigned char)*word < 0x20 || *word == 0x7f)
            return false;
        tw_text_add(out, "%s%c", *word == '"' || *word == '\\' ? "\\" : "", *word);
    }
    tw_text_add(out, "\"");
    return true;
}

/* A list of numbers, as "[1, 2]", or of words, as "["a", "b"]". */
static enum tw_status read_list(const struct tw_job_reader *reader, const struct tw_yaml *node,
                                struct tw_option *out) {
    struct tw_text text = {0};
    enum tw_status status = TW_OK;
    tw_text_add(&text, "[");
    for (const struct tw_yaml *child = node->first; child && status == TW_OK; child = child->next) {
        struct tw_option value = {0};
        tw_text_add(&text, "%s", child == node->first ? "" : ", ");
        status = tw_need_scalar(reader, child, &value);
        if (status == TW_OK && is_number(&value))
            tw_text_add(&text, "%s", value.text);
        else if (status == TW_OK && (!*value.text || !add_word(&text, value.text)))
            status = tw_node_error(reader, child,
                                   "empty, or with control characters; a list of an option holds "
                                   "numbers or words, such as [1, 2.5] or [age, height]");
    }
    tw_text_add(&text, "]");
    if (status == TW_OK) {
        *out = (struct tw_option){.key = node->key, .where = node->where, .is_list = true};
        out->text = text.failed ? NULL : tw_job_memory_copy(reader->memory, text.at, text.size);
        if (!out->text)
            status = tw_job_memory_error(reader->error);
    }
    tw_text_fini(&text);
    return status;
}

static enum tw_status read_option(const struct tw_job_reader *reader, const struct tw_yaml *node,
                                  const struct tw_variant_form *form, struct tw_option *out) {
    char path[TW_PATH_MAX];
    enum tw_status status = node->kind == TW_YAML_LIST ? read_list(reader, node, out)
                                                       : tw_need_scalar(reader, node, out);
    if (status == TW_OK && strlen(out->key) > WORD_MAX)
        return tw_node_error(reader, node, "a key longer than any that is known");
    if (status != TW_OK || !form->paths || out->is_list)
        return status;
    const char *folder = node->folder ? node->folder : reader->job->folder;
    if (tw_path_join(path, sizeof path, folder, node->text) != TW_OK)
        return tw_node_error(reader, node, "longer than a path may be (%d bytes)", TW_PATH_MAX - 1);
    if (!tw_is_utf8(path))
        return tw_node_error(
            reader, node, "lies in a folder whose name is not valid UTF-8; give an absolute path");
    out->path = tw_job_memory_copy(reader->memory, path, strlen(path));
    return out->path ? TW_OK : tw_job_memory_error(reader->error);
}

static enum tw_status read_name(const struct tw_job_reader *reader, const struct tw_yaml *node,
                                const struct tw_variant_form *form, struct tw_variant *out) {
    struct tw_option option;
    enum tw_status status = tw_need_scalar(reader, node, &option);
    if (status != TW_OK)
        return status;
    if (!*option.text || strlen(option.text) > WORD_MAX)
        return tw_node_error(reader, node, "%s; give %s",
                             *option.text ? "longer than any name" : "an empty name", form->what);
    out->name = option.text;
    out->where = node->where;
    return TW_OK;
}

/* All children of `map` but the one that holds the name. */
static enum tw_status read_options(const struct tw_job_reader *reader, const struct tw_yaml *map,
                                   const struct tw_yaml *name, const struct tw_variant_form *form,
                                   struct tw_variant *out) {
    if (map->count > TW_JOB_OPTIONS_MAX)
        return tw_node_error(reader, map, "%d options; none knows more than %d", map->count,
                             TW_JOB_OPTIONS_MAX);
    out->options = tw_job_memory_get(reader->memory, (size_t)map->count * sizeof *out->options);
    if (!out->options)
        return tw_job_memory_error(reader->error);
    for (const struct tw_yaml *child = map->first; child; child = child->next) {
        if (child == name)
            continue;
        enum tw_status status = read_option(reader, child, form, &out->options[out->count]);
        if (status != TW_OK)
            return status;
        out->count++;
    }
    return TW_OK;
}

/* `dense: 256` or `dense: {units: 256}`: the name is the key. */
static enum tw_status read_short(const struct tw_job_reader *reader, const struct tw_yaml *entry,
                                 const struct tw_variant_form *form, struct tw_variant *out) {
    out->name = entry->key;
    out->where = entry->where;
    if (strlen(out->name) > WORD_MAX)
        return tw_node_error(reader, entry, "longer than any name; give %s", form->what);
    if (entry->kind == TW_YAML_MAP)
        return read_options(reader, entry, NULL, form, out);
    out->options = tw_job_memory_get(reader->memory, sizeof *out->options);
    if (!out->options)
        return tw_job_memory_error(reader->error);
    enum tw_status status = read_option(reader, entry, form, &out->options[0]);
    out->options[0].key = "";
    out->count = status == TW_OK;
    return status;
}

/* By the files that it names. */
static enum tw_status guess_name(const struct tw_job_reader *reader, const struct tw_yaml *map,
                                 const struct tw_variant_form *form, struct tw_variant *out) {
    for (const struct tw_yaml *child = map->first; child && !out->name; child = child->next)
        if (child->kind == TW_YAML_SCALAR)
            out->name = form->guess(child->text);
    out->where = map->where;
    return out->name ? TW_OK : tw_missing_error(reader, map, form->key, form->what);
}

enum tw_status tw_read_variant(const struct tw_job_reader *reader, const struct tw_yaml *node,
                               const struct tw_variant_form *form, struct tw_variant *out) {
    char path[TW_YAML_PATH];
    tw_yaml_path(node, path);
    *out = (struct tw_variant){.path = tw_job_memory_copy(reader->memory, path, strlen(path))};
    if (!out->path)
        return tw_job_memory_error(reader->error);
    if (node->kind == TW_YAML_SCALAR)
        return read_name(reader, node, form, out);
    enum tw_status status = tw_need_kind(reader, node, TW_YAML_MAP, form->what);
    if (status != TW_OK)
        return status;
    const struct tw_yaml *name = tw_yaml_find(node, form->key);
    if (!name && form->shorthand && node->count == 1)
        return read_short(reader, node->first, form, out);
    if (!name && form->shorthand)
        return tw_node_error(reader, node,
                             "%d names in one entry, \"%.40s\" and \"%.40s\"; give %s", node->count,
                             node->first->key, node->first->next->key, form->what);
    if (!name && form->guess)
        status = guess_name(reader, node, form, out);
    else if (!name)
        return tw_missing_error(reader, node, form->key, form->what);
    else
        status = read_name(reader, name, form, out);
    return status == TW_OK ? read_options(reader, node, name, form, out) : status;
}
