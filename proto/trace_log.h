/* Entries of the trace log as values, and as bytes of the file trace.log
 * (docs/trace-log.md, trace_log.proto): measurements of a run, beside its order.
 *
 * server/io writes them, `talweg log`, `talweg replay` and `talweg timeline` read them. A
 * run and its replay do not need them: they say when, how large, and whether the bits
 * are the same.
 *
 * Reading trusts nothing (proto/delimited.h). Entries of a kind that this version does
 * not know are skipped and counted. Nothing here opens files.
 */
#ifndef TW_PROTO_TRACE_LOG_H
#define TW_PROTO_TRACE_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/status.h"
#include "proto/delimited.h"

#define TW_TRACE_FORMAT 1u

/* The numbers are those of the fields of Entry. */
enum tw_trace_kind {
    TW_TRACE_HEADER = 1,
    TW_TRACE_WORKER,
    TW_TRACE_SLOT,
    TW_TRACE_UPDATE,
    TW_TRACE_SUMS,
    TW_TRACE_HASH,
    TW_TRACE_INPUT,
};

struct tw_trace_header {
    uint32_t format;
    uint64_t unix_ns; /* when the times begin */
    uint32_t workers, slots, servers;
    uint64_t hash_every, sums_every;
    uint32_t inexact; /* this and the next three: as in struct tw_sequencer_config */
    uint32_t evaluator, admission;
    uint64_t checkpoint_every;
};

/* Times: nanoseconds since the header, on the lead's monotonic clock; 0: not measured. */
struct tw_trace_worker {
    uint32_t slot;
    uint64_t step;
    uint64_t received, computed, sent;
};
struct tw_trace_slot {
    uint32_t slot;
    uint64_t step, read;
    uint64_t asked, served, arrived;
};
struct tw_trace_update {
    uint64_t version;
    uint64_t prepared, committed, applied;
};

struct tw_trace_sums {
    uint64_t version;
    double gradient, update, weights; /* sums of squares */
};
struct tw_trace_hash {
    uint64_t version, hash;
};

/* What the lead's sequencer was told; the numbers are those of the file. */
enum tw_trace_input_kind {
    TW_INPUT_JOIN = 1,
    TW_INPUT_ATTACHED,
    TW_INPUT_LOST,
    TW_INPUT_READY,
    TW_INPUT_WANT,
    TW_INPUT_SUMS,
    TW_INPUT_SQUARES,
    TW_INPUT_EVALUATOR,
    TW_INPUT_ASK,
    TW_INPUT_EVALUATED,
    TW_INPUT_TURN,
    TW_INPUT_EVICT,
    TW_INPUT_CHECKPOINT,
    TW_INPUT_SAVED,
    TW_INPUT_RESUME,
    TW_INPUT_STOP,
};

#define TW_TRACE_DATA_MAX 176u /* two exact sums, with a byte each; or a numerics id */

struct tw_trace_data {
    uint32_t size;
    unsigned char at[TW_TRACE_DATA_MAX];
};

/* docs/trace-log.md says which kind has which fields; the others are 0. */
struct tw_trace_input {
    uint64_t sequence, time; /* sequence: from 1, without gaps */
    uint32_t kind, rank, shard, incarnation;
    uint64_t step, read, examples, correct, regather;
    double loss;
    uint32_t flag, tensor;
    uint64_t number;
    struct tw_trace_data data;
};

struct tw_trace_entry {
    enum tw_trace_kind kind;
    union {
        struct tw_trace_header header;
        struct tw_trace_worker worker;
        struct tw_trace_slot slot;
        struct tw_trace_update update;
        struct tw_trace_sums sums;
        struct tw_trace_hash hash;
        struct tw_trace_input input;
    };
};

/* ---- what there is, as a table: for whoever prints entries ---- */

enum tw_trace_type {
    TW_TRACE_COUNT32, /* uint32_t */
    TW_TRACE_COUNT,   /* uint64_t, as the next two */
    TW_TRACE_TIME,    /* nanoseconds; 0: not measured */
    TW_TRACE_BITS,    /* a hash */
    TW_TRACE_REAL,    /* double */
    TW_TRACE_BYTES,   /* struct tw_trace_data */
};

struct tw_trace_field {
    const char *name; /* as in the schema */
    enum tw_trace_type type;
    size_t offset; /* in struct tw_trace_entry */
    size_t wire;   /* in the generated struct; for trace_log_pack.c only */
};

struct tw_trace_shape {
    const char *name; /* "WORKER" */
    size_t count;
    const struct tw_trace_field *field; /* [count] */
};

/* NULL for a number that is no kind. */
const struct tw_trace_shape *tw_trace_shape(enum tw_trace_kind kind);

/* ---- bytes ---- */

/* No entry that is written has more bytes, its length in front included. */
#define TW_TRACE_ENTRY_MAX 400u

/* Writes an entry, its length in front; `out` has room for TW_TRACE_ENTRY_MAX. Returns how
 * many bytes. */
size_t tw_trace_pack(const struct tw_trace_entry *entry, unsigned char *out);

struct tw_trace_reader;

/* *out is the caller's. TW_NO_MEMORY. */
enum tw_status tw_trace_reader_new(struct tw_trace_reader **out, tw_byte_source *source,
                                   void *context, struct tw_error *error);

/* NULL is fine. */
void tw_trace_reader_free(struct tw_trace_reader *reader);

/* The next entry of a kind that is known; the first is the HEADER, and no other is. TW_OK;
 * TW_CLOSED: the file ends here, behind a whole entry (no message); TW_DATA: it is cut or
 * corrupt, or of another format, and the message says where and why; what the source said.
 * Every result but TW_OK is final. */
enum tw_status tw_trace_next(struct tw_trace_reader *reader, struct tw_trace_entry *entry,
                             struct tw_error *error);

/* Entries that were skipped so far. */
uint64_t tw_trace_skipped(const struct tw_trace_reader *reader);

#endif
