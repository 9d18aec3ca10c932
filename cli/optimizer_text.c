#include "cli/optimizer_text.h"

#include "cli/rules_text.h"

void tw_optimizer_text(struct tw_text *out, const struct tw_optimizer *rule) {
    tw_text_add(out, "%s\n", rule->name);
    tw_add_labelled(out, "rule", rule->formula);
    tw_add_labelled(out, "source", rule->source);
    tw_text_add(out, "  state     ");
    for (int s = 0; s < rule->states; s++)
        tw_text_add(out, "%s%s", s ? ", " : "", rule->state[s].name);
    tw_text_add(out, "%s\n", rule->states ? "" : "none");
    tw_text_add(out, "  %s\n", rule->rule_count ? "options" : "options   none");
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
