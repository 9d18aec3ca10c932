/* What a server tells of its run, for people and as JSON (`talweg status`). */
#ifndef TW_CLI_STATUS_TEXT_H
#define TW_CLI_STATUS_TEXT_H

#include "common/base/text.h"
#include "proto/frame.h"

/* Copies of what frames lend. */
struct tw_told_rank {
    struct tw_rank_status status; /* its peer points nowhere */
    char peer[64];
};

struct tw_told_run {
    struct tw_run_status status; /* its texts point nowhere */
    char mode[64], waiting[TW_ERROR_TEXT];
    uint32_t count; /* ranks that were told */
    struct tw_told_rank *rank;
};

/* Of more ranks than this people are shown the ones that matter most. */
#define TW_STATUS_LINES 20

/* Several lines. With `all`, every rank has one. */
void tw_status_to_text(struct tw_text *out, const struct tw_told_run *run, const char *name,
                       bool all);

/* One object on one line, with its newline. */
void tw_status_to_json(struct tw_text *out, const struct tw_told_run *run, const char *name);

#endif
