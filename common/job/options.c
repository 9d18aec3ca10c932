#include "common/job/options.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/base/text.h"
#include "common/job/option_value.h"

/* Words longer than this are near to nothing. */
#define WORD_MAX 48

enum tw_status tw_job_error(struct tw_error *error, struct tw_where where, const char *path,
                            const char *format, ...) {
    char text[TW_ERROR_TEXT];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    char line[16] = "";
    if (where.line)
        snprintf(line, sizeof line, ":%d", where.line);
    return tw_error_set(error, TW_JOB, "%s%s: %s%s%s", where.file ? where.file : "job", line, path,
                        *path ? ": " : "", text);
}

static const char *name_at(const void *names, int index, size_t stride) {
    const char *name;
    memcpy(&name, (const char *)names + (size_t)index * stride, sizeof name);
    return name;
}

static int lower(char c) {
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

static int least(int a, int b) {
    return a < b ? a : b;
}

/* How many letters must be added, dropped, changed or swapped with their neighbour
 * (optimal string alignment). Both words have at most WORD_MAX letters. */
static int edits_between(const char *a, const char *b) {
    int rows[3][WORD_MAX + 1];
    int *before = rows[0], *last = rows[1], *row = rows[2];
    int width = (int)strlen(b);
    for (int j = 0; j <= width; j++)
        before[j] = last[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        row[0] = i;
        for (int j = 1; j <= width; j++) {
            int same = lower(a[i - 1]) == lower(b[j - 1]);
            row[j] = least(last[j - 1] + !same, least(last[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1]))
                row[j] = least(row[j], before[j - 2] + 1);
        }
        int *oldest = before;
        before = last;
        last = row;
        row = oldest;
    }
    return last[width];
}

const char *tw_nearest_name(const char *word, const void *names, int count, size_t stride) {
    const char *nearest = NULL;
    size_t size = strlen(word);
    if (size > WORD_MAX)
        return NULL;
    int best = (int)(size + 2) / 3 + 1;
    for (int i = 0; i < count; i++) {
        const char *name = name_at(names, i, stride);
        if (strlen(name) > WORD_MAX)
            continue;
        int edits = edits_between(word, name);
        if (edits < best && edits < (int)strlen(name)) {
            best = edits;
            nearest = name;
        }
    }
    return nearest;
}

/* "; did you mean "x"? known: a, b, c" */
static void add_known(struct tw_text *text, const char *word, const void *names, int count,
                      size_t stride) {
    const char *near = tw_nearest_name(word, names, count, stride);
    if (near)
        tw_text_add(text, "; did you mean \"%s\"? known: ", near);
    else
        tw_text_add(text, "; known: ");
    for (int i = 0; i < count; i++)
        tw_text_add(text, "%s%s", i ? ", " : "", name_at(names, i, stride));
}

static enum tw_status finish(struct tw_text *text, struct tw_error *error, struct tw_where where,
                             const char *path) {
    enum tw_status status =
        tw_job_error(error, where, path, "%s", text->failed ? "not known" : text->at);
    tw_text_fini(text);
    return status;
}

enum tw_status tw_unknown_variant(const struct tw_variant *variant, const char *what,
                                  const void *names, int count, size_t stride,
                                  struct tw_error *error) {
    char shown[TW_SHOWN];
    struct tw_text text = {0};
    tw_text_add(&text, "unknown %s %s", what, tw_shown(variant->name, shown));
    add_known(&text, variant->name, names, count, stride);
    return finish(&text, error, variant->where, variant->path);
}

enum tw_status tw_unknown_key(struct tw_error *error, struct tw_where where, const char *path,
                              const char *key, const void *names, int count, size_t stride) {
    char key_path[TW_KEY_PATH];
    struct tw_text text = {0};
    tw_text_add(&text, "unknown key");
    add_known(&text, key, names, count, stride);
    return finish(&text, error, where, tw_key_path(path, key, key_path));
}

const struct tw_option *tw_option_find(const struct tw_variant *variant,
                                       const struct tw_option_rule *rules, int index) {
    for (int i = 0; i < variant->count; i++) {
        const char *key = variant->options[i].key;
        if (strcmp(key, rules[index].key) == 0 || (index == 0 && !*key))
            return &variant->options[i];
    }
    return NULL;
}

static bool is_known(const struct tw_option_rule *rules, int count, const char *key) {
    for (int i = 0; i < count; i++)
        if (strcmp(rules[i].key, key) == 0)
            return true;
    return count > 0 && !*key;
}

enum tw_status tw_options_check_keys(const struct tw_variant *variant,
                                     const struct tw_option_rule *rules, int count,
                                     struct tw_error *error) {
    char key_path[TW_KEY_PATH];
    for (int i = 0; i < variant->count; i++) {
        const struct tw_option *option = &variant->options[i];
        if (is_known(rules, count, option->key))
            continue;
        if (count == 0)
            return tw_job_error(error, option->where,
                                tw_key_path(variant->path, option->key, key_path),
                                "%s has no options; write its name alone", variant->name);
        return tw_unknown_key(error, option->where, variant->path, option->key, rules, count,
                              sizeof *rules);
    }
    for (int i = 0; i < count; i++)
        if (rules[i].required && !tw_option_find(variant, rules, i))
            return tw_job_error(error, variant->where,
                                tw_key_path(variant->path, rules[i].key, key_path),
                                "missing; %s needs it (%s)", variant->name,
                                rules[i].text ? rules[i].text : "see docs/job.md");
    return TW_OK;
}

static void store(void *out, const struct tw_option_rule *rule, struct tw_option_value value) {
    void *at = (char *)out + rule->offset;
    switch (rule->type) {
    case TW_OPTION_INTEGER:
        memcpy(at, &value.integer, sizeof value.integer);
        break;
    case TW_OPTION_REAL:
        memcpy(at, &value.real, sizeof value.real);
        break;
    case TW_OPTION_BOOL:
        memcpy(at, &value.boolean, sizeof value.boolean);
        break;
    case TW_OPTION_ENUM:
        memcpy(at, &value.name, sizeof value.name);
        break;
    case TW_OPTION_PATH:
        memcpy(at, &value.path, sizeof value.path);
        break;
    case TW_OPTION_LIST:
        memcpy(at, &value.list, sizeof value.list);
        break;
    case TW_OPTION_TEXT:
    case TW_OPTION_WORDS:
        memcpy(at, &value.text, sizeof value.text);
        break;
    }
}

enum tw_status tw_options_read(const struct tw_variant *variant, const struct tw_option_rule *rules,
                               int count, void *out, struct tw_error *error) {
    enum tw_status status = tw_options_check_keys(variant, rules, count, error);
    for (int i = 0; status == TW_OK && i < count; i++) {
        const struct tw_option *option = tw_option_find(variant, rules, i);
        struct tw_option_value value = tw_option_value_default(&rules[i]);
        if (option)
            status = tw_option_value_read(&value, variant->path, &rules[i], option, error);
        if (status == TW_OK)
            store(out, &rules[i], value);
    }
    return status;
}
