/* A shard: the weights and optimizer state of some chunks, the gradients that
 * wait beside them, and the work that the order log says to do with them.
 *
 * Happy path of a push: place() names the buffer that a chunk's bytes belong in;
 * they are received straight into it; arrived(); ...; end(); when all are there
 * the shard votes READY. PREPARE: the pushes are reduced, SUMS answered. COMMIT:
 * update applied. RELEASE: weights sent. Until COMMIT no weight is touched.
 *
 * Records are carried out chunk by chunk: all that have come are done to chunk
 * 0, then to chunk 1, ...: so the first layers' weights leave while the last
 * are still being updated, and each chunk sees the records in log order. One call
 * of next() is one piece of work on one chunk.
 *
 * Weights are copy-on-write: a chunk that is being sent is never written; its
 * update goes into a spare buffer. When no spare is left the update waits.
 *
 * Where there is room for everything, a push has a plane of memory. A slot has one open push;
 * when the log releases its next step before the last one is committed, that one was accepted: it
 * is held in its plane, and the slot goes on in another. Where there is not (`pool`), the log says
 * who contributes to the next update before anything of it is received, by a PERMIT or, in `sync`,
 * because all do; gradients are added up as they arrive, in slot order, and what has no buffer
 * yet is not received.
 *
 * Bytes of a push, chunk by chunk:
 *
 *   EMPTY -place-> RECEIVING -arrived-> HERE -reduced into another-> MERGED
 *     ^               | aborted                |        COMMIT record |
 *     +---------------+ <---- swept ---- COMMITTED <------------------+
 *   JOIN of a new incarnation: HERE -> EMPTY, RECEIVING -> STALE (until its old
 *   connection lets go). REGATHER: HERE and MERGED -> EMPTY. EVICT, and DIAL for all: both.
 *
 * Where the dial says so (`on_arrival`), a chunk is applied as soon as it is HERE, without waiting
 * for the rest of its push, and is MERGED then: into the weights. What a push has changed stays,
 * also when the rest of it never comes. The COMMIT sweeps nothing. Nothing of a push is received
 * before the weights that it answers have left (shard_arrival.c).
 *
 * Encodings (common/tensor/encoding.h): a gradient is received into the end of its place and
 * decoded there when it is whole; weights are encoded once for all who get them of one version,
 * beside the buffer that they are in, and held together with it. Weights, state and sums are
 * float32 always; the evaluator gets them as they are.
 *
 * Pure: no I/O, no clock, no allocation (memory is handed over at init).
 */
#ifndef TW_CORE_SHARD_H
#define TW_CORE_SHARD_H

#include "common/tensor/encoding.h"
#include "common/tensor/layout.h"
#include "common/tensor/sample.h"
#include "proto/frame.h"
#include "server/core/arrays.h"
#include "server/core/record.h"

struct tw_shard_config {
    const struct tw_layout *layout; /* borrowed */
    uint32_t index;                 /* which shard of the layout */
    uint32_t slots;
    bool members_known; /* of the dial at the start: reduce a chunk when all slots have it */
    bool on_arrival;    /* of the dial, for the whole run: chunks are applied as they come; no
                           `members_known`, no `ahead`, no `pool` */
    int64_t batch;   /* then: examples of an update of all slots; each push has its slot's part */
    uint32_t ahead;  /* room for pushes that may wait, accepted, while their slots go on: that of
                           the mode with the most of all that the dial will be turned to */
    uint32_t spares; /* spare weight buffers for copy-on-write, >= 1 */
    uint32_t pool;   /* not 0: pushes have no planes, but so many spare buffers of the size of
                           the largest chunk, tw_shard_pool_min() or more; no `ahead`, no `spares`;
                           shard_pool.h */
    uint32_t push, pull;   /* enum tw_encoding_number: how gradients come and weights leave */
    uint64_t seed;         /* of the initial weights */
    float *const *initial; /* [tensors] that start as these, borrowed during init; NULL of one of
                              them: by its own init; NULL: so do all */
    uint64_t hash_every, sums_every; /* updates between two samples (common/tensor/sample.h) */
    const struct tw_optimizer *optimizer;
    struct tw_optimizer_options options;
    struct tw_shaping shaping;
};

enum tw_shard_effect_kind {
    TW_SHARD_READY,   /* ready: to the sequencer */
    TW_SHARD_SUMS,    /* sums: to the sequencer */
    TW_SHARD_WANT,    /* want: this slot has begun to push, and has no permit */
    TW_SHARD_SQUARES, /* squares: to the sequencer, or, applied, to whom the sample is told */
    TW_SHARD_SEND,    /* send: weights to a slot; answer with tw_shard_sent(token) */
    TW_SHARD_SAVE,    /* save: a chunk as it is at a CHECKPOINT; answer with tw_shard_saved() */
    TW_SHARD_APPLIED, /* applied: the update of this version is in all of its chunks */
};

struct tw_shard_send {
    uint32_t slot; /* or TW_SLOT_EVALUATOR */
    uint64_t position, version, step;
    uint32_t chunk; /* number in the layout */
    const void *data;
    size_t bytes;
    uint32_t token; /* the buffer is held until tw_shard_sent() */
};

struct tw_shard_save {
    uint64_t position; /* of the CHECKPOINT */
    uint32_t chunk;    /* number in the layout */
};

struct tw_applied {
    uint64_t version;
    const struct tw_sample *sample; /* of our chunks, NULL: none; valid until the next call */
};

struct tw_shard_effect {
    enum tw_shard_effect_kind kind;
    union {
        struct tw_ready ready;
        struct tw_sums sums;
        struct tw_want want;
        struct tw_squares squares;
        struct tw_shard_send send;
        struct tw_shard_save save;
        struct tw_applied applied;
    };
};

struct tw_shard;

/* Bytes of memory that init needs; 0 when that overflows. The buffers of spares
 * are at the end and untouched until needed. */
size_t tw_shard_bytes(const struct tw_shard_config *config);

/* `memory`: zeroed, 64-aligned, tw_shard_bytes() long. Fills the weights. */
struct tw_shard *tw_shard_init(void *memory, const struct tw_shard_config *config);

/* Bytes of a copy of server `index`'s share; of an encoded one; and of a buffer of its pool. */
struct tw_shard_sizes {
    size_t plane, encoded, spare;
};
struct tw_shard_sizes tw_shard_sizes(const struct tw_layout *layout, uint32_t index, uint32_t pull);
/* The least `pool` that a shard with so many slots can live with. */
uint32_t tw_shard_pool_min(uint32_t slots);

/* Where the bytes of this chunk of a gradient belong. TW_OK with *place NULL: they are not needed
 * (here already, of a step that is over, or to be sent once more). TW_AGAIN: an old connection
 * still holds the buffer, no buffer is free, or there is no permit. TW_STALE, TW_UNEXPECTED,
 * TW_MALFORMED: the peer broke the protocol; the message says how. */
enum tw_status tw_shard_place(struct tw_shard *shard, const struct tw_push *push, size_t data_bytes,
                              void **place, struct tw_error *error);
/* The bytes are in the place that place() gave. */
void tw_shard_arrived(struct tw_shard *shard, const struct tw_push *push);
/* They will not come: the connection was lost in the middle. */
void tw_shard_aborted(struct tw_shard *shard, const struct tw_push *push);
/* Whether place(), which said TW_AGAIN, would now say something else. */
bool tw_shard_has_place(const struct tw_shard *shard, const struct tw_push *push);
/* Whether something was freed since the last time that this was asked. */
bool tw_shard_freed(struct tw_shard *shard);
/* End of a push; statuses as place(). */
enum tw_status tw_shard_end(struct tw_shard *shard, const struct tw_end *end,
                            struct tw_error *error);

/* After an End: bytes of the push were thrown away for want of a buffer, and its worker is to be
 * asked for all of it again. True once. */
bool tw_shard_wants_again(struct tw_shard *shard, uint32_t slot);
/* Of the last COMMIT. */
uint64_t tw_shard_version(const struct tw_shard *shard);
/* Whether pushes have no planes (config.pool). */
bool tw_shard_is_pooled(const struct tw_shard *shard);
/* Pushes that may wait, accepted: of a mode, tw_dial_ahead() may be no more. */
uint32_t tw_shard_ahead(const struct tw_shard *shard);
/* Where chunks are applied as they come, whether the staleness identity holds of each of them. If
 * not, TW_INTERNAL and a sentence: it is a bug. */
enum tw_status tw_shard_check_staleness(const struct tw_shard *shard, struct tw_error *error);
/* The slot contributes to the update to come by a PERMIT. */
bool tw_shard_is_permitted(const struct tw_shard *shard, uint32_t slot);

void tw_shard_prepare(struct tw_shard *shard, const struct tw_prepare *prepare);
/* A record, in log order. What it points to is not kept. The mode of a DIAL is one that
 * tw_dial_parse() knows, and needs no more than `ahead`. */
void tw_shard_record(struct tw_shard *shard, const struct tw_record *record);
void tw_shard_sent(struct tw_shard *shard, uint32_t token);
/* What a SEND brought goes to one more: one more tw_shard_sent() will come for it. Not after the
 * last. */
void tw_shard_hold(struct tw_shard *shard, uint32_t token);

enum tw_shard_work {
    TW_SHARD_IDLE,    /* nothing to do until something comes */
    TW_SHARD_WORKED,  /* a piece of work was done, no effect */
    TW_SHARD_EFFECT,  /* the same, and *effect is to be carried out */
    TW_SHARD_BLOCKED, /* work waits for tw_shard_sent(): no spare buffer */
};

/* Does one piece of work. */
enum tw_shard_work tw_shard_next(struct tw_shard *shard, struct tw_shard_effect *effect);

/* The weights of a chunk of this shard as they are now (complete when IDLE). */
const float *tw_shard_weights(const struct tw_shard *shard, uint32_t chunk);

/* The average of them, likewise; NULL: the job has none. */
const float *tw_shard_average(const struct tw_shard *shard, uint32_t chunk);

/* What a shard keeps for each weight (arrays.h).
 * The elements of a chunk of ours, to be read, or to be filled before the first record but a
 * ROLLBACK. */
uint32_t tw_shard_arrays(const struct tw_shard *shard);
struct tw_arrays tw_shard_arrays_of(const struct tw_shard *shard);
float *tw_shard_array(const struct tw_shard *shard, uint32_t array, uint32_t chunk);

/* All arrays of the next chunk, in their order, are saved: until then no update touches it. */
void tw_shard_saved(struct tw_shard *shard);

#endif
