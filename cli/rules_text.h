/* Tables of options as people read them, in lines of at most TW_TEXT_COLUMNS. Used by
 * `talweg help job` and `talweg optimizer`.
 */
#ifndef TW_CLI_RULES_TEXT_H
#define TW_CLI_RULES_TEXT_H

#include "common/base/text.h"
#include "common/job/options.h"

#define TW_TEXT_COLUMNS 100

/* Appends the words of `text`, broken between words where a line is full; `column` is
 * where the text now stands, `indent` where further lines begin. Ends the line. */
void tw_add_wrapped(struct tw_text *out, int column, int indent, const char *text);

/* One entry per rule: key, what it is, and its values or default. */
void tw_add_option_rules(struct tw_text *out, const struct tw_option_rule *rules, int count);

#endif
