#include "cli/rules_text.h"

#include <string.h>

/* Where labels, keys of options, and what is said of them begin. */
enum { LABEL_COLUMN = 2, SAID_COLUMN = 12, KEY_COLUMN = 6, TEXT_COLUMN = 21 };

void tw_add_wrapped(struct tw_text *out, int column, int indent, const char *text) {
    bool first = true;
    while (*(text += strspn(text, " "))) {
        int size = (int)strcspn(text, " ");
        if (!first && column + 1 + size > TW_TEXT_COLUMNS) {
            tw_text_add(out, "\n%*s", indent, "");
            column = indent;
            first = true;
        }
        tw_text_add(out, "%s%.*s", first ? "" : " ", size, text);
        column += size + !first;
        first = false;
        text += size;
    }
    tw_text_add(out, "\n");
}

void tw_add_labelled(struct tw_text *out, const char *label, const char *text) {
    tw_text_add(out, "%*s%-*s", LABEL_COLUMN, "", SAID_COLUMN - LABEL_COLUMN, label);
    tw_add_wrapped(out, SAID_COLUMN, SAID_COLUMN, text);
}

static void add_range(struct tw_text *out, const struct tw_option_rule *rule) {
    if (rule->type == TW_OPTION_ENUM) {
        for (int i = 0; rule->names[i]; i++)
            tw_text_add(out, "%s%s", i ? " | " : "", rule->names[i]);
        if (!rule->required)
            tw_text_add(out, "; default %s", rule->names[(int)rule->fallback]);
    } else if (rule->type == TW_OPTION_BOOL) {
        tw_text_add(out, "true | false; default %s", rule->fallback != 0 ? "true" : "false");
    } else if (rule->type == TW_OPTION_PATH) {
        tw_text_add(out, "a file");
    } else if (rule->type == TW_OPTION_LIST) {
        tw_text_add(out, "numbers");
    } else if (rule->type == TW_OPTION_TEXT) {
        tw_text_add(out, rule->required ? "text; required" : "text");
    } else if (rule->type == TW_OPTION_WORDS) {
        tw_text_add(out, rule->required ? "words; required" : "words");
    } else if (rule->required) {
        tw_text_add(out, "%s; required",
                    rule->type == TW_OPTION_INTEGER ? "a whole number" : "a number");
    } else {
        tw_text_add(out, "default ");
        tw_text_add_real(out, rule->fallback);
    }
}

void tw_add_option_rules(struct tw_text *out, const struct tw_option_rule *rules, int count) {
    struct tw_text words = {0};
    for (int i = 0; i < count; i++) {
        tw_text_clear(&words);
        tw_text_add(&words, "%s (", rules[i].text);
        add_range(&words, &rules[i]);
        tw_text_add(&words, ")");
        tw_text_add(out, "%*s%-*s", KEY_COLUMN, "", TEXT_COLUMN - KEY_COLUMN, rules[i].key);
        tw_add_wrapped(out, TEXT_COLUMN, TEXT_COLUMN, words.failed ? "?" : words.at);
    }
    tw_text_fini(&words);
}

static void add_default(struct tw_json *json, const struct tw_option_rule *rule) {
    if (rule->required)
        tw_json_null(json, "default");
    else if (rule->type == TW_OPTION_ENUM)
        tw_json_string(json, "default", rule->names[(int)rule->fallback]);
    else if (rule->type == TW_OPTION_BOOL)
        tw_json_bool(json, "default", rule->fallback != 0);
    else
        tw_json_real(json, "default", rule->fallback);
}

static void add_option(struct tw_json *json, const struct tw_option_rule *rule) {
    tw_json_begin_object(json, NULL);
    tw_json_string(json, "name", rule->key);
    add_default(json, rule);
    if (rule->type == TW_OPTION_ENUM) {
        tw_json_begin_array(json, "values");
        for (int i = 0; rule->names[i]; i++)
            tw_json_string(json, NULL, rule->names[i]);
        tw_json_end_array(json);
    }
    tw_json_string(json, "text", rule->text);
    tw_json_end_object(json);
}

void tw_json_option_rules(struct tw_json *json, const struct tw_option_rule *rules, int count) {
    tw_json_begin_array(json, "options");
    for (int i = 0; i < count; i++)
        add_option(json, &rules[i]);
    tw_json_end_array(json);
}
