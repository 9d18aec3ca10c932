/* What `talweg model` prints. */
#ifndef TW_CLI_MODEL_TEXT_H
#define TW_CLI_MODEL_TEXT_H

#include "cli/job_check.h"
#include "common/base/text.h"

/* What there is to say of a job's model besides its layers. */
struct tw_model_summary {
    int rows;                 /* that a worker computes at once: of a part of a slot's share */
    size_t worker, evaluator; /* bytes of their nets, sums and weights; 0: there is none */
    int64_t parameters;
    double forward, backward; /* FLOP of one sample */
};

/* TW_NO_MEMORY. */
enum tw_status tw_model_summarise(struct tw_model_summary *out,
                                  const struct tw_checked_job *checked, struct tw_error *error);

void tw_model_text(struct tw_text *out, const struct tw_checked_job *checked,
                   const struct tw_model_summary *summary);

/* One line: {"job":...,"input":[...],"layers":[{"number":0,"layer":"dense","input":[...],
 * "output":[...],"parameters":n,"flop_forward":n,"flop_backward":n},...],"loss":...,
 * "tensors":[{"name":...,"shape":[...]},...],"parameters":n,"flop_forward":n,"flop_backward":n,
 * "rows":n,"worker_bytes":n,"evaluator_bytes":n,"symmetric_layer":n or null}. */
void tw_model_json(struct tw_text *out, const struct tw_checked_job *checked,
                   const struct tw_model_summary *summary);

/* Of a model whose units stay identical: what is wrong, and what would be right. Empty: nothing. */
void tw_model_warning(struct tw_text *out, const struct tw_model *model);

#endif
