/* Spelling out the defaults of variants, so that two files that mean the same
 * become the same. */
#include <inttypes.h>
#include <string.h>

#include "common/base/text.h"
#include "common/job/job.h"
#include "common/job/job_memory.h"
#include "common/job/option_value.h"

static const char *list_text(struct tw_job_memory *memory, const struct tw_option_list *list) {
    char number[TW_REAL_TEXT];
    struct tw_text text = {0};
    for (int i = 0; i < list->count; i++)
        tw_text_add(&text, "%s%s", i ? ", " : "[", tw_real_text(list->at[i], number));
    tw_text_add(&text, "]");
    const char *copy = text.failed ? NULL : tw_job_memory_text(memory, "%s", text.at);
    tw_text_fini(&text);
    return copy;
}

/* A value in its one form. NULL: out of memory. */
static const char *value_text(struct tw_job_memory *memory, const struct tw_option_rule *rule,
                              struct tw_option_value value) {
    char number[TW_REAL_TEXT];
    switch (rule->type) {
    case TW_OPTION_INTEGER:
        return tw_job_memory_text(memory, "%" PRId64, value.integer);
    case TW_OPTION_REAL:
        return tw_job_memory_text(memory, "%s", tw_real_text(value.real, number));
    case TW_OPTION_BOOL:
        return value.boolean ? "true" : "false";
    case TW_OPTION_ENUM:
        return rule->names[value.name];
    case TW_OPTION_PATH:
        return value.path;
    case TW_OPTION_LIST:
        return list_text(memory, &value.list);
    case TW_OPTION_TEXT:
    case TW_OPTION_WORDS:
        return value.text;
    }
    return NULL;
}

static bool has_no_default(enum tw_option_type type) {
    return type == TW_OPTION_PATH || type == TW_OPTION_LIST || type == TW_OPTION_TEXT ||
           type == TW_OPTION_WORDS;
}

static enum tw_status resolve_variant(struct tw_job_memory *memory, struct tw_variant *variant,
                                      const struct tw_rule_book *book, struct tw_error *error) {
    int count = 0;
    const struct tw_option_rule *rules = book->rules_of(variant->path, variant->name, &count);
    if (!rules)
        return TW_OK;
    enum tw_status status = tw_options_check_keys(variant, rules, count, error);
    if (status != TW_OK)
        return status;
    struct tw_option *options = tw_job_memory_get(memory, (size_t)count * sizeof *options);
    if (!options)
        return tw_job_memory_error(error);
    int used = 0;
    for (int i = 0; i < count; i++) {
        const struct tw_option *said = tw_option_find(variant, rules, i);
        struct tw_option_value value = tw_option_value_default(&rules[i]);
        if (said) {
            status = tw_option_value_read(&value, variant->path, &rules[i], said, error);
            if (status != TW_OK)
                return status;
        } else if (has_no_default(rules[i].type)) {
            continue;
        }
        struct tw_option *option = &options[used++];
        option->key = rules[i].key;
        option->text = value_text(memory, &rules[i], value);
        option->path = said ? said->path : NULL;
        option->is_path = rules[i].type == TW_OPTION_PATH;
        option->is_list = rules[i].type == TW_OPTION_LIST || (said && said->is_list);
        option->quoted = said && said->quoted && rules[i].type == TW_OPTION_TEXT;
        option->where = said ? said->where : variant->where;
        if (!option->text)
            return tw_job_memory_error(error);
    }
    variant->options = options;
    variant->count = used;
    return TW_OK;
}

enum tw_status tw_job_resolve(struct tw_job *job, const struct tw_rule_book *book,
                              struct tw_error *error) {
    struct tw_variant *const others[] = {
        &job->model.objective, &job->model.loss,       &job->train, &job->test, &job->optimizer,
        &job->schedule,        &job->schedule_momentum};
    enum tw_status status = TW_OK;
    for (int i = 0; status == TW_OK && i < job->model.layer_count; i++)
        status = resolve_variant(job->memory, &job->model.layers[i], book, error);
    for (int i = 0; status == TW_OK && i < job->correction_count; i++)
        status = resolve_variant(job->memory, &job->corrections[i], book, error);
    for (size_t i = 0; status == TW_OK && i < sizeof others / sizeof *others; i++)
        if (others[i]->name)
            status = resolve_variant(job->memory, others[i], book, error);
    if (status == TW_OK)
        job->resolved = true;
    return status;
}
