#include "cli/landscape_runs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/job/option_value.h"

/* ---- words ---- */

enum { WORDS_MAX = 64 };

/* A text cut at its commas. */
struct words {
    char *memory; /* ours */
    int count;
    char *at[WORDS_MAX];
};

static enum tw_status split(struct words *out, const char *flag, const char *text,
                            struct tw_error *error) {
    *out = (struct words){.memory = strdup(text)};
    if (!out->memory)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    for (char *rest = out->memory; rest;) {
        if (out->count == WORDS_MAX)
            return tw_error_set(error, TW_USAGE, "%s: more than %d words", flag, WORDS_MAX);
        out->at[out->count] = strsep(&rest, ",");
        if (!*out->at[out->count++])
            return tw_error_set(error, TW_USAGE, "%s %s: there is nothing %s a comma", flag, text,
                                rest ? "before" : "behind");
    }
    return TW_OK;
}

/* ---- rules ---- */

enum { OPTIONS_MAX = 24 };

struct rule_word {
    struct tw_variant variant;
    struct tw_option option[OPTIONS_MAX + 1]; /* and lr */
};

static enum tw_status add_option(struct rule_word *rule, char *text, struct tw_error *error) {
    struct tw_variant *variant = &rule->variant;
    char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return tw_error_set(error, TW_USAGE,
                            "--optimizers %s: \"%s\" is not KEY=VALUE; write, for example, "
                            "momentum:lr=0.1,momentum=.5",
                            variant->name, text);
    if (variant->count == OPTIONS_MAX)
        return tw_error_set(error, TW_USAGE, "--optimizers %s: more than %d options", variant->name,
                            OPTIONS_MAX);
    *equals = '\0';
    for (int i = 0; i < variant->count; i++)
        if (strcmp(variant->options[i].key, text) == 0)
            return tw_error_set(error, TW_USAGE, "--optimizers %s: %s is given twice",
                                variant->name, text);
    variant->options[variant->count++] =
        (struct tw_option){.key = text, .text = equals + 1, .where = variant->where};
    return TW_OK;
}

static bool belongs_to_the_left(const char *word) {
    const char *equals = strchr(word, '=');
    return equals && !memchr(word, ':', (size_t)(equals - word));
}

/* The rule that begins at words->at[*at]; *at goes on behind it. */
static enum tw_status read_rule(struct rule_word *out, const struct words *words, int *at,
                                struct tw_error *error) {
    char *name = words->at[(*at)++], *colon = strchr(name, ':');
    enum tw_status status = TW_OK;
    *out = (struct rule_word){.variant = {.name = name, .where.file = "--optimizers"}};
    out->variant.path = name;
    out->variant.options = out->option;
    if (belongs_to_the_left(name))
        return tw_error_set(error, TW_USAGE,
                            "--optimizers %s: of which rule? write, for example, sgd:lr=0.1", name);
    if (colon) {
        *colon = '\0';
        status = add_option(out, colon + 1, error);
    }
    while (!status && *at < words->count && belongs_to_the_left(words->at[*at]))
        status = add_option(out, words->at[(*at)++], error);
    return status;
}

/* Whether the rule has an lr that was not said. */
static bool wants_lr(const struct tw_variant *variant) {
    for (int i = 0; i < variant->count; i++)
        if (strcmp(variant->options[i].key, "lr") == 0)
            return false;
    for (int i = 0; i < tw_optimizer_count; i++)
        if (strcmp(tw_optimizers[i]->name, variant->name) == 0)
            for (int k = 0; k < tw_optimizers[i]->rule_count; k++)
                if (strcmp(tw_optimizers[i]->rules[k].key, "lr") == 0)
                    return true;
    return false;
}

/* ---- cases ---- */

struct reading {
    struct tw_landscape_cases *cases;
    struct words optimizers, lr, steps;
    size_t all_steps;
    struct tw_error *error;
};

static void write_label(struct tw_landscape_case *out, const struct tw_variant *variant) {
    size_t size = (size_t)snprintf(out->label, sizeof out->label, "%s", variant->name);
    for (int i = 0; i < variant->count && size < sizeof out->label; i++)
        size +=
            (size_t)snprintf(out->label + size, sizeof out->label - size, "%s%s=%s",
                             i ? ", " : "  ", variant->options[i].key, variant->options[i].text);
    if (size >= sizeof out->label)
        tw_text_mark_cut(out->label, sizeof out->label);
}

static enum tw_status add_case(struct reading *reading, const struct tw_variant *variant,
                               size_t steps) {
    struct tw_landscape_cases *cases = reading->cases;
    if (cases->count == TW_LANDSCAPE_RUNS)
        return tw_error_set(reading->error, TW_USAGE,
                            "more than %d paths in one picture; name fewer optimizers, learning "
                            "rates or steps",
                            TW_LANDSCAPE_RUNS);
    struct tw_landscape_case *found = &cases->at[cases->count];
    enum tw_status status =
        tw_optimizer_find(&found->rule, &found->options, variant, reading->error);
    if (status)
        return status;
    reading->all_steps += steps;
    if (reading->all_steps > TW_LANDSCAPE_STEPS_ALL)
        return tw_error_set(reading->error, TW_USAGE, "--steps: more than %d steps in all paths",
                            TW_LANDSCAPE_STEPS_ALL);
    found->steps = steps;
    write_label(found, variant);
    cases->count++;
    return TW_OK;
}

/* A rule at each learning rate. */
static enum tw_status add_rule(struct reading *reading, struct rule_word *rule, size_t steps) {
    struct tw_variant *variant = &rule->variant;
    if (reading->lr.count == 0 || !wants_lr(variant))
        return add_case(reading, variant, steps);
    enum tw_status status = TW_OK;
    int count = variant->count;
    /* In front, as people read it. */
    memmove(&rule->option[1], &rule->option[0], (size_t)count * sizeof rule->option[0]);
    variant->count++;
    for (int i = 0; !status && i < reading->lr.count; i++) {
        rule->option[0] =
            (struct tw_option){.key = "lr", .text = reading->lr.at[i], .where.file = "--lr"};
        status = add_case(reading, variant, steps);
    }
    memmove(&rule->option[0], &rule->option[1], (size_t)count * sizeof rule->option[0]);
    variant->count--;
    return status;
}

static enum tw_status read_steps(const char *text, size_t *out, struct tw_error *error) {
    static const struct tw_option_rule rule = {
        .key = "", .type = TW_OPTION_INTEGER, .min = 1, .max = TW_LANDSCAPE_STEPS};
    struct tw_option option = {.key = "", .text = text, .where.file = "--steps"};
    struct tw_option_value value;
    enum tw_status status = tw_option_value_read(&value, "", &rule, &option, error);
    *out = status ? 0 : (size_t)value.integer;
    return status;
}

static enum tw_status read_cases(struct reading *reading) {
    struct rule_word rules[TW_LANDSCAPE_RUNS];
    enum tw_status status = TW_OK;
    int count = 0;
    for (int at = 0; !status && at < reading->optimizers.count; count++) {
        if (count == TW_LANDSCAPE_RUNS)
            return tw_error_set(reading->error, TW_USAGE, "--optimizers: more than %d",
                                TW_LANDSCAPE_RUNS);
        status = read_rule(&rules[count], &reading->optimizers, &at, reading->error);
    }
    for (int s = 0; !status && s < reading->steps.count; s++) {
        size_t steps;
        status = read_steps(reading->steps.at[s], &steps, reading->error);
        for (int r = 0; !status && r < count; r++)
            status = add_rule(reading, &rules[r], steps);
    }
    return status;
}

enum tw_status tw_landscape_cases_read(struct tw_landscape_cases *cases,
                                       const struct tw_landscape_wish *wish,
                                       struct tw_error *error) {
    struct reading reading = {.cases = cases, .error = error};
    *cases = (struct tw_landscape_cases){.count = 0};
    enum tw_status status = split(&reading.optimizers, "--optimizers", wish->optimizers, error);
    if (!status && wish->lr)
        status = split(&reading.lr, "--lr", wish->lr, error);
    if (!status)
        status = split(&reading.steps, "--steps", wish->steps, error);
    if (!status)
        status = read_cases(&reading);
    free(reading.optimizers.memory);
    free(reading.lr.memory);
    free(reading.steps.memory);
    return status;
}

enum tw_status tw_landscape_cases_follow(struct tw_landscape_cases *cases,
                                         const struct tw_objective *objective,
                                         const struct tw_objective_options *options, uint64_t seed,
                                         struct tw_error *error) {
    enum tw_status status = TW_OK;
    for (int i = 0; !status && i < cases->count; i++) {
        struct tw_descent descent = {.rule = cases->at[i].rule,
                                     .rule_options = &cases->at[i].options,
                                     .objective = objective,
                                     .surface = options,
                                     .seed = seed};
        tw_descent_begin(&descent, options->start.at);
        cases->run[i].label = cases->at[i].label;
        status = tw_path_init(&cases->run[i].path, &descent, cases->at[i].steps, error);
    }
    return status;
}

void tw_landscape_cases_fini(struct tw_landscape_cases *cases) {
    for (int i = 0; i < cases->count; i++)
        tw_path_fini(&cases->run[i].path);
}
