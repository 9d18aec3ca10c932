/* What `talweg landscape` prints: f against steps. */
#ifndef TW_CLI_LANDSCAPE_TEXT_H
#define TW_CLI_LANDSCAPE_TEXT_H

#include "cli/landscape_runs.h"

/* The runs with what became of them, then a table: a row for 0, 1, 2, 5, 10, ... steps and for
 * the last ones, a column for each run. */
void tw_landscape_table(struct tw_text *out, const struct tw_landscape *landscape);

/* One line: the object of --json. `png` may be NULL. */
void tw_landscape_json(struct tw_text *out, const struct tw_landscape *landscape,
                       const struct tw_landscape_cases *cases, const char *picture,
                       const char *png);

#endif
