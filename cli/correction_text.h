/* The tables of the corrections for late gradients, for people and for programs: `talweg
 * correction`.
 */
#ifndef TW_CLI_CORRECTION_TEXT_H
#define TW_CLI_CORRECTION_TEXT_H

#include "common/base/text.h"
#include "server/core/correction.h"

/* Name, formula, source, options with their defaults; lines of TW_TEXT_COLUMNS. */
void tw_correction_text(struct tw_text *out, const struct tw_correction *kind);

/* {"corrections":[{"name":...,"formula":...,"source":...,"options":[...]},...]} and the end of the
 * line (tw_json_option_rules()). */
void tw_corrections_json(struct tw_text *out, const struct tw_correction *const *kinds, int count);

#endif
