/* The tables of the update rules, for people and for programs: `talweg optimizer`.
 */
#ifndef TW_CLI_OPTIMIZER_TEXT_H
#define TW_CLI_OPTIMIZER_TEXT_H

#include "common/base/text.h"
#include "server/core/optimizer.h"

/* Name, formula, source, options with their defaults; lines of TW_TEXT_COLUMNS. */
void tw_optimizer_text(struct tw_text *out, const struct tw_optimizer *rule);

/* {"optimizers":[{"name":...,"formula":...,"source":...,"states":["m"],"options":[{"name":...,
 * "default":...,"text":...},...]},...]} and the end of the line (tw_json_option_rules()). */
void tw_optimizers_json(struct tw_text *out, const struct tw_optimizer *const *rules, int count);

#endif
