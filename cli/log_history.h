/* What the order log of a run amounts to when the run was begun again: which records were taken
 * back by a ROLLBACK, and where the log ends.
 *
 * Used by replay, timeline and curves, which look at the records that stand only, and by
 * `--resume`, which goes on behind the last one. Memory: one entry per ROLLBACK.
 */
#ifndef TW_CLI_LOG_HISTORY_H
#define TW_CLI_LOG_HISTORY_H

#include "cli/log_file.h"

struct tw_log_rollback {
    uint64_t position, to; /* records between the two are taken back */
};

struct tw_log_history {
    uint64_t position; /* of the last whole record; 0: there is none */
    uint64_t bytes;    /* of the whole records */
    uint64_t version;  /* of the run there */
    uint32_t generation;
    uint32_t workers; /* as the last ROLLBACK has it; 0: there is none */
    bool torn;        /* behind the last whole record a part of one follows, and nothing else */
    size_t count;
    struct tw_log_rollback *rollback; /* [count], in the order of the log */
};

/* Reads RUN/order.log to its end. A log that is cut or corrupt is one up to there; TW_DATA only
 * where none can be opened, or its generations are not 1, 2, 3, ...; TW_NO_MEMORY. `end` says how
 * it ends: TW_CLOSED: whole; TW_DATA with the reason. The caller frees with tw_log_history_fini(),
 * also after a failure. */
enum tw_status tw_log_history_read(struct tw_log_history *history, const char *run,
                                   struct tw_error *end, struct tw_error *error);
void tw_log_history_fini(struct tw_log_history *history);

/* Whether the record at this position was not taken back. */
bool tw_log_history_stands(const struct tw_log_history *history, uint64_t position);

/* The next record that stands; as tw_log_file_next(). */
enum tw_status tw_log_history_next(const struct tw_log_history *history, struct tw_log_file *file,
                                   struct tw_record *record, struct tw_error *error);

#endif
