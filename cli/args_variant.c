#include "cli/args_variant.h"

#include <stdlib.h>
#include <string.h>

void tw_args_variant_init(struct tw_args_variant *out) {
    *out = (struct tw_args_variant){.variant = {.path = ""}};
    out->variant.options = out->option;
}

error_t tw_args_variant_add(struct tw_args *args, struct tw_args_variant *out, const char *text) {
    struct tw_variant *variant = &out->variant;
    const char *equals = strchr(text, '=');
    if (!variant->name) {
        variant->name = variant->where.file = text;
        return 0;
    }
    if (!equals || equals == text)
        return tw_args_wrong(args, "%s: is not KEY=VALUE; write, for example, lr=0.1", text);
    if (variant->count == TW_JOB_OPTIONS_MAX)
        return tw_args_wrong(args, "more than %d options", TW_JOB_OPTIONS_MAX);
    char *key = strndup(text, (size_t)(equals - text));
    out->key[variant->count] = key;
    if (!key)
        return tw_args_wrong(args, "out of memory");
    for (int i = 0; i < variant->count; i++)
        if (strcmp(variant->options[i].key, key) == 0)
            return tw_args_wrong(args, "%s: %s is given twice", text, key);
    variant->options[variant->count++] =
        (struct tw_option){.key = key, .text = equals + 1, .where.file = text};
    return 0;
}

/* Behind this option: the next comma outside brackets, or the end. */
static const char *end_of_option(const char *text) {
    int depth = 0;
    for (; *text && (*text != ',' || depth > 0); text++)
        depth += (*text == '[') - (*text == ']');
    return text;
}

static error_t add_piece(struct tw_args *args, struct tw_args_variant *out, const char *flag,
                         const char *text, size_t size) {
    struct tw_variant *variant = &out->variant;
    const char *equals = memchr(text, '=', size);
    if (!equals || equals == text)
        return tw_args_wrong(args, "%s: \"%.*s\" is not KEY=VALUE", flag, (int)size, text);
    if (variant->count == TW_JOB_OPTIONS_MAX)
        return tw_args_wrong(args, "%s: more than %d options", flag, TW_JOB_OPTIONS_MAX);
    char *key = strndup(text, size);
    out->key[variant->count] = key;
    if (!key)
        return tw_args_wrong(args, "out of memory");
    key[equals - text] = '\0';
    for (int i = 0; i < variant->count; i++)
        if (strcmp(variant->options[i].key, key) == 0)
            return tw_args_wrong(args, "%s: %s is given twice", flag, key);
    variant->options[variant->count++] = (struct tw_option){
        .key = key, .text = key + (equals - text) + 1, .where.file = variant->where.file};
    return 0;
}

error_t tw_args_variant_split(struct tw_args *args, struct tw_args_variant *out, const char *flag,
                              const char *text) {
    const char *colon = strchrnul(text, ':');
    if (out->variant.name)
        return tw_args_wrong(args, "%s is given twice", flag);
    out->name = strndup(text, (size_t)(colon - text));
    if (!out->name)
        return tw_args_wrong(args, "out of memory");
    out->variant.name = out->name;
    out->variant.where.file = flag;
    for (const char *at = colon; *at;) {
        const char *end = end_of_option(at + 1);
        error_t failed = add_piece(args, out, flag, at + 1, (size_t)(end - at - 1));
        if (failed)
            return failed;
        at = end;
    }
    return 0;
}

void tw_args_variant_title(struct tw_text *out, const struct tw_variant *variant) {
    tw_text_add(out, "%s", variant->name);
    for (int i = 0; i < variant->count; i++)
        tw_text_add(out, "%s%s=%s", i ? ", " : "  ", variant->options[i].key,
                    variant->options[i].text);
}

void tw_args_variant_fini(struct tw_args_variant *out) {
    for (int i = 0; i < TW_JOB_OPTIONS_MAX; i++)
        free(out->key[i]);
    free(out->name);
    *out = (struct tw_args_variant){.variant.count = 0};
}
