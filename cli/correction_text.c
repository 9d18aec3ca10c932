#include "cli/correction_text.h"

#include "cli/rules_text.h"

void tw_correction_text(struct tw_text *out, const struct tw_correction *kind) {
    tw_text_add(out, "%s\n", kind->name);
    tw_add_labelled(out, "does", kind->formula);
    tw_add_labelled(out, "source", kind->source);
    tw_text_add(out, "  options\n");
    tw_add_option_rules(out, kind->rules, kind->rule_count);
}

void tw_corrections_json(struct tw_text *out, const struct tw_correction *const *kinds, int count) {
    struct tw_json json;
    tw_json_init(&json, out);
    tw_json_begin_object(&json, NULL);
    tw_json_begin_array(&json, "corrections");
    for (int i = 0; i < count; i++) {
        tw_json_begin_object(&json, NULL);
        tw_json_string(&json, "name", kinds[i]->name);
        tw_json_string(&json, "formula", kinds[i]->formula);
        tw_json_string(&json, "source", kinds[i]->source);
        tw_json_option_rules(&json, kinds[i]->rules, kinds[i]->rule_count);
        tw_json_end_object(&json);
    }
    tw_json_end_array(&json);
    tw_json_end_object(&json);
    tw_text_add(out, "\n");
}
