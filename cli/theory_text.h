/* What `talweg theory` prints. */
#ifndef TW_CLI_THEORY_TEXT_H
#define TW_CLI_THEORY_TEXT_H

#include "common/base/text.h"
#include "lab/theory.h"

void tw_theory_text(struct tw_text *out, const char *title, const struct tw_objective *objective,
                    const struct tw_theory *theory);

/* One line: {"objective":...,"at":[...],"kind":"minimum","spectrum":[...],"hessian_error":x,
 * "condition":k,"rows":[{"name":"gd_lr","predicted":x,"measured":y},...]}. What is not finite is
 * null. */
void tw_theory_json(struct tw_text *out, const struct tw_objective *objective,
                    const struct tw_theory *theory);

#endif
