#include "cli/help_laws.h"

#include "cli/rules_text.h"
#include "sim/delay.h"

/* Without the options that every law has. */
static void add_law(struct tw_text *out, const struct tw_delay_law *law) {
    tw_text_add(out, "\n%s\n", law->name);
    tw_add_labelled(out, "takes", law->formula);
    tw_add_labelled(out, "source", law->source);
    tw_add_option_rules(out, law->rules, law->rule_count - TW_DELAY_COMMON_RULES);
}

void tw_help_laws(struct tw_text *out) {
    tw_text_add(out,
                "How long things take in `talweg sim`: --delay LAW:KEY=VALUE,... for steps of\n"
                "workers, --service likewise for pushes at servers. Times are in seconds.\n");
    for (int i = 0; i < tw_delay_law_count; i++)
        add_law(out, tw_delay_laws[i]);
    const struct tw_delay_law *any = tw_delay_laws[0];
    tw_text_add(out, "\nEvery law:\n");
    tw_add_option_rules(out, any->rules + any->rule_count - TW_DELAY_COMMON_RULES,
                        TW_DELAY_COMMON_RULES);
}
