/* A recorded run explained: its order made again from what its lead was told (sim/reenact.h),
 * compared with order.log record for record, and a delay law fitted to its workers' steps.
 *
 * Used by cmd_sim.c. Reads the run directory, and never changes it.
 */
#ifndef TW_CLI_EXPLAINER_H
#define TW_CLI_EXPLAINER_H

#include "cli/job_check.h"
#include "common/base/text.h"
#include "sim/delay_times.h"

struct tw_explained {
    uint64_t inputs;       /* 0: none were kept (trace.inputs), and nothing was compared */
    uint64_t records;      /* that are the same in order.log and here */
    uint64_t differs;      /* position of the first that is not; 0: all are the same */
    struct tw_text here;   /* of that position: what follows from the inputs, */
    struct tw_text logged; /* and what order.log has; empty: nothing */
    uint64_t unwritten;    /* records that follow from the inputs and that a lead that was killed */
    uint64_t unexplained;  /* did not write any more; and those whose inputs it did not */
    bool has_fit;
    struct tw_delay_fit fit;
    struct tw_error no_fit; /* why not */
};

/* Explains RUN, whose job.yaml was loaded as `checked`. TW_DATA: no run directory, a log that is
 * cut or corrupt; TW_LIMIT, TW_NO_MEMORY. A difference is no failure. The caller frees with
 * tw_explained_fini(), also after a failure. */
enum tw_status tw_explain(const char *run, const struct tw_checked_job *checked,
                          struct tw_explained *out, struct tw_error *error);

void tw_explained_fini(struct tw_explained *explained);

/* The fitted law as --delay would have it: "gamma:mean=.1,cv=.2". */
void tw_explained_law(const struct tw_explained *explained, struct tw_text *out);

/* For people, in lines; as one JSON object on a line, whose status is "failed" where a record
 * differs. */
void tw_explained_text(const struct tw_explained *explained, const char *run, struct tw_text *out);
void tw_explained_json(const struct tw_explained *explained, const char *run, struct tw_text *out);

#endif
