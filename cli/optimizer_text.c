#include "cli/optimizer_text.h"

#include "cli/rules_text.h"

/* Where names and what is said of them begin. */
enum { INDENT = 2, LABEL = 10 };

void tw_optimizer_text(struct tw_text *out, const struct tw_optimizer *rule) {
    tw_text_add(out, "%s\n%*s%-*s", rule->name, INDENT, "", LABEL, "rule");
    tw_add_wrapped(out, INDENT + LABEL, INDENT + LABEL, rule->formula);
    tw_text_add(out, "%*s%-*s", INDENT, "", LABEL, "source");
    tw_add_wrapped(out, INDENT + LABEL, INDENT + LABEL, rule->source);
    tw_text_add(out, "%*s%-*s", INDENT, "", LABEL, "state");
    for (int s = 0; s < rule->states; s++)
        tw_text_add(out, "%s%s", s ? ", " : "", rule->state[s].name);
    tw_text_add(out, "%s\n", rule->states ? "" : "none");
    tw_text_add(out, "%*s%s\n", INDENT, "", rule->rule_count ? "options" : "options   none");
    tw_add_option_rules(out, rule->rules, rule->rule_count);
}

void tw_optimizers_json(struct tw_text *out, const struct tw_optimizer *const *rules, int count) {
    struct tw_json json;
    tw_json_init(&json, out);
    tw_json_begin_object(&json, NULL);
    tw_json_begin_array(&json, "optimizers");
    for (int i = 0; i < count; i++) {
        tw_json_begin_object(&json, NULL);
        tw_json_string(&json, "name", rules[i]->name);
        tw_json_string(&json, "formula", rules[i]->formula);
        tw_json_string(&json, "source", rules[i]->source);
        tw_json_begin_array(&json, "states");
        for (int s = 0; s < rules[i]->states; s++)
            tw_json_string(&json, NULL, rules[i]->state[s].name);
        tw_json_end_array(&json);
        tw_json_option_rules(&json, rules[i]->rules, rules[i]->rule_count);
        tw_json_end_object(&json);
    }
    tw_json_end_array(&json);
    tw_json_end_object(&json);
    tw_text_add(out, "\n");
}
