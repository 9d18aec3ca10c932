/* Tables of options as people read them, in lines of at most TW_TEXT_COLUMNS. Used by
 * `talweg help job`, `talweg optimizer` and `talweg correction`.
 */
#ifndef TW_CLI_RULES_TEXT_H
#define TW_CLI_RULES_TEXT_H

#include "common/base/json.h"
#include "common/job/options.h"

#define TW_TEXT_COLUMNS 100

/* Appends the words of `text`, broken between words where a line is full; `column` is
 * where the text now stands, `indent` where further lines begin. Ends the line. */
void tw_add_wrapped(struct tw_text *out, int column, int indent, const char *text);

/* A line "  label     text", its text wrapped in a column of its own. */
void tw_add_labelled(struct tw_text *out, const char *label, const char *text);

/* One entry per rule: key, what it is, and its values or default. */
void tw_add_option_rules(struct tw_text *out, const struct tw_option_rule *rules, int count);

/* "options": [{"name":...,"default":...,"text":...},...] of the object that is open. The default is
 * null for an option that must be given; one of a few words has them as `values`. */
void tw_json_option_rules(struct tw_json *json, const struct tw_option_rule *rules, int count);

#endif
