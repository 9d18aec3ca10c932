/* Records of the order log as values, and as bytes of the file order.log
 * (docs/order-log.md, order_log.proto).
 *
 * The log is the one thing that a run's weights depend on besides the gradients.
 * The sequencer makes records (server/core/record.h says when), server/io writes
 * them, `talweg log` and `talweg replay` read them.
 *
 * Writing: tw_order_log_room(), then tw_order_log_pack() into memory of the
 * caller's. Reading trusts nothing: a file that is cut, corrupt or made to hurt gives
 * its records up to there, and then says at which byte, behind which position,
 * and why. Memory is bounded whatever the bytes are: that of one record.
 * Nothing here opens files: bytes come from a function.
 */
#ifndef TW_PROTO_ORDER_LOG_H
#define TW_PROTO_ORDER_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "common/base/status.h"
#include "proto/delimited.h"

#define TW_RECORD_SCALARS (TW_RATES_MAX * TW_RULE_SCALARS)

/* The numbers are those of the fields of Record. */
enum tw_record_kind {
    TW_RECORD_JOIN = 3,   /* rank, incarnation, slot, numerics */
    TW_RECORD_RELEASE,    /* slot, step: the weights at this position leave; rate, scalars */
    TW_RECORD_COMMIT,     /* version, contributions, examples, loss, rate, scalars */
    TW_RECORD_DROP,       /* contributions, not_finite: these are not applied, pushed or to come */
    TW_RECORD_REGATHER,   /* version: its sums and votes are cleared, all send again */
    TW_RECORD_PERMIT,     /* contributions: these make the next update; none: they do not */
    TW_RECORD_DIAL,       /* mode: what is out or not committed of all slots is cancelled */
    TW_RECORD_EVICT,      /* rank, slot: likewise of this one, which takes part no more */
    TW_RECORD_ROLLBACK,   /* generation, to, mode, steps: the records behind `to` are taken back */
    TW_RECORD_CHECKPOINT, /* weights and state as they are at this position are saved */
    TW_RECORD_VERDICT,    /* verdict: on the learning rate from here on, or on the end */
};

/* A push that an update applies (or a DROP forgets). */
struct tw_contribution {
    uint32_t slot;
    uint64_t step;
    uint64_t read;      /* position of the RELEASE that it was computed on */
    uint64_t staleness; /* versions applied between that RELEASE and this COMMIT */
    uint64_t examples;
    double loss; /* sum over the examples */
};

/* How stale a gradient was, chunk by chunk, where chunks are applied as they come. */
struct tw_chunk_staleness {
    uint64_t chunks; /* that were applied */
    uint64_t sum;    /* over them, of the gradients applied to the chunk between the time that its
                        weights left and the time that it was applied */
    uint64_t most;   /* of one of them */
};

static inline void tw_chunk_staleness_add(struct tw_chunk_staleness *to,
                                          const struct tw_chunk_staleness *more) {
    to->chunks += more->chunks;
    to->sum += more->sum;
    to->most = more->most > to->most ? more->most : to->most;
}

/* What a verdict is on. */
enum tw_verdict_on { TW_VERDICT_RATE, TW_VERDICT_END, TW_VERDICTS };

/* What of the job's `stop` ends the run. */
enum tw_stop_reason { TW_STOP_NOT, TW_STOP_PATIENCE, TW_STOP_LOSS, TW_STOP_GRADIENT, TW_STOPS };

/* What a loss means for the learning rate or the end (server/core/verdict.h). */
struct tw_verdict {
    double loss, best;   /* the last one, and the best so far; TW_STOP_GRADIENT: loss is the norm */
    uint64_t bad;        /* in a row without a better one */
    uint64_t cooldown;   /* to come for which that is not counted */
    uint64_t reductions; /* of the learning rate so far; END: patience has run out */
    uint32_t on;         /* enum tw_verdict_on */
    uint32_t stop;       /* enum tw_stop_reason; RATE: always TW_STOP_NOT */
};

/* The slot of a RELEASE that goes to the evaluator. */
#define TW_SLOT_EVALUATOR UINT32_MAX

/* What the kinds have in common, and of what only some have, each kind its own: nothing else of it
 * may be looked at. What a kind has and is not said is 0. */
struct tw_record {
    uint64_t position; /* from 1 */
    enum tw_record_kind kind;
    uint32_t slot;         /* RELEASE, JOIN, EVICT: first slot */
    uint64_t version;      /* COMMIT: the version it makes; REGATHER: the one to come; else: the
                              version so far; ROLLBACK: at `to` */
    uint64_t step;         /* RELEASE */
    uint32_t count;        /* COMMIT, DROP, PERMIT; else 0 */
    uint32_t scalar_count; /* with `rate`, at most TW_RECORD_SCALARS */
    uint32_t ratio_count;  /* COMMIT, of layer-wise rules: tensors; else 0 */
    uint32_t ranks;        /* ROLLBACK: of the job; else 0 */
    const struct tw_contribution *contributions; /* [count], by slot, step; borrowed */
    double rate;                                 /* COMMIT: the learning rate; RELEASE, where
                                                    chunks are applied as they come: of its push */
    const double *scalars;                       /* [scalar_count] of the rule, for each of its
                                                    rates; zeros behind them; borrowed */
    union {
        struct {                  /* COMMIT */
            uint64_t examples;    /* of all contributions */
            double loss;          /* likewise */
            double divisor;       /* of the sum of the gradients, where it is not the number of
                                  examples; 0: it is */
            const double *ratios; /* [ratio_count] of their steps; borrowed */
            struct tw_chunk_staleness chunks; /* where they are applied as they come */
        };
        bool not_finite; /* DROP: that is why */
        struct {         /* JOIN; EVICT: rank */
            uint32_t rank, incarnation;
            const char *numerics; /* numerics id of the process; borrowed */
        };
        struct {                   /* DIAL: mode; ROLLBACK */
            const char *mode;      /* "ssp:3", at most TW_MODE_MAX bytes; borrowed */
            uint64_t to;           /* position of a CHECKPOINT; 0: the start */
            const uint64_t *steps; /* [ranks], last settled at `to`; borrowed */
            uint32_t generation;   /* from 1 */
        };
        struct tw_verdict verdict; /* VERDICT */
    };
};

/* A COMMIT has at most one of each slot, or a whole gather; a DROP may have both. */
#define TW_RECORD_CONTRIBUTIONS_MAX (2 * TW_SLOTS_MAX)

/* "JOIN", "RELEASE", ... */
const char *tw_record_name(enum tw_record_kind kind);

/* A record of the core, where slots have the numbers of their ranks, as the file has it, where they
 * have those of first slots: `width` slots to a rank. Its contributions go to `room`, which has as
 * many; nothing happens at width 1. */
void tw_record_name_slots(struct tw_record *record, uint32_t width, struct tw_contribution *room);

/* Scalars without the zeros at the end, which the rule does not have. */
size_t tw_record_scalar_count(const struct tw_record *record);

/* Of scalars [count] as many as there are into out[room], and zeros behind them. */
void tw_scalars_take(double *out, size_t room, const double *scalars, size_t count);

/* No record has more bytes, its length in front included. */
#define TW_ORDER_LOG_RECORD_MAX (512u << 10)

/* As many bytes as the record has in the file, its length in front included, or more. */
size_t tw_order_log_room(const struct tw_record *record);

/* Writes them, and returns how many; `out` has tw_order_log_room(). Characters of the numerics id
 * that are no printable ASCII become '?', so that the file is valid protobuf whatever a peer calls
 * itself. */
size_t tw_order_log_pack(const struct tw_record *record, unsigned char *out);

struct tw_order_log_reader;

/* *out is the caller's. TW_NO_MEMORY. */
enum tw_status tw_order_log_reader_new(struct tw_order_log_reader **out, tw_byte_source *source,
                                       void *context, struct tw_error *error);

/* NULL is fine. */
void tw_order_log_reader_free(struct tw_order_log_reader *reader);

/* The next record; what it points to is valid until the next call. TW_OK; TW_CLOSED: the
 * file ends here, behind a whole record (no message); TW_DATA: it is cut or corrupt,
 * and the message says at which byte, behind which record, and why; what the source
 * said. Every result but TW_OK is final: asking again gives the same status. */
enum tw_status tw_order_log_next(struct tw_order_log_reader *reader, struct tw_record *record,
                                 struct tw_error *error);

/* How far it is: bytes of whole records so far, and the position of the last. */
uint64_t tw_order_log_offset(const struct tw_order_log_reader *reader);
uint64_t tw_order_log_position(const struct tw_order_log_reader *reader);

#endif
