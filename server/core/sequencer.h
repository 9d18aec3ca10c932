/* The sequencer: decides the order, and nothing else.
 *
 * It sees ranks, slots, steps, votes and membership, never a tensor; its output
 * is the order log (record.h). It lives in the lead (server 0).
 *
 * Life of an update (rule COMMIT): votes READY come in from all shards; when the
 * dial's condition is met it asks the shards to PREPARE; when all answered SUMS
 * it logs COMMIT, then the RELEASEs that the dial allows. At most one PREPARE is
 * under way. A join that would change an update under way waits for it.
 *
 * Life of a slot:  idle -RELEASE-> reading -READY*-> ready -COMMIT/DROP-> idle
 *
 * With `admission` an update's contributors are named before anything of their pushes is
 * received: PERMIT, as soon as as many have begun to push as the dial gathers, first come, first
 * served. There is one PERMIT at a time, for the next update, the same on all shards: so two
 * shards never wait for each other. When one of them is lost before its push is whole, or somebody
 * takes its place, the PERMIT is taken back (one that names nobody), and all that it named send
 * again when they have a new one.
 *
 * Where the dial says so (`on_arrival`), shards apply the chunks of a push as they come, with the
 * scalars that its RELEASE brought: those of the update that would be next when it left. READY
 * means that all of it was applied; there is no PREPARE, and the COMMIT counts it. What of a push
 * is in the weights cannot be taken out again, so its step is over when its worker is lost; and at
 * the end all that is out is dropped, so that the weights stay as they are.
 *
 * A turn of the dial (DIAL) and an eviction (EVICT) cancel what is out or not committed; they,
 * too, wait for a PREPARE that they would change.
 *
 * Pure: step(state, event) -> effects. Memory is handed to it at init; the
 * effects of a step are valid until the next one.
 */
#ifndef TW_CORE_SEQUENCER_H
#define TW_CORE_SEQUENCER_H

#include <math.h>

#include "common/base/limits.h"
#include "server/core/dial.h"
#include "server/core/record.h"
#include "server/core/schedule.h"
#include "server/core/shaping.h"
#include "server/core/verdict.h"

struct tw_sequencer_config {
    struct tw_dial dial;              /* at the start */
    const struct tw_dial_turn *turns; /* [turn_count], by update; borrowed */
    uint32_t turn_count;
    uint32_t workers;          /* ranks; each owns the slot of its number */
    uint32_t shards;           /* <= TW_SERVERS_MAX */
    uint32_t tensors;          /* of the model; what layer-wise rules need */
    uint64_t samples;          /* n of the data set: an epoch; 0: no epochs */
    uint64_t end_samples;      /* end when so many examples are applied; 0: no such end */
    uint64_t end_updates;      /* end at this version; 0: no such end */
    uint64_t checkpoint_every; /* updates between two CHECKPOINTs; 0: only when asked */
    bool admission; /* shards have no memory for everybody's push: where the dial does not say
                             who makes an update, a PERMIT does, before they push */
    bool evaluator; /* no update before one is there */
    bool inexact;   /* ranks with different numerics ids may mix */
    bool goes_on;   /* also after TW_NOT_FINITE_MAX that are not finite */
    const struct tw_optimizer *optimizer;
    struct tw_optimizer_options options;
    struct tw_pace pace; /* what of the options moves */
    struct tw_shaping shaping;
    struct tw_judge end; /* when the run ends before that */
    uint64_t seed;       /* of staleness that the dial imposes */
};

enum tw_sequencer_event_kind {
    TW_SEQ_JOIN,       /* join */
    TW_SEQ_ATTACHED,   /* rank, attempt, shard: its bulk connection is there */
    TW_SEQ_LOST,       /* rank, attempt: its connections are gone, or it left */
    TW_SEQ_READY,      /* ready */
    TW_SEQ_WANT,       /* want: bytes of this push wait at the lead's shard */
    TW_SEQ_SUMS,       /* sums */
    TW_SEQ_SQUARES,    /* squares, of a step that would be taken */
    TW_SEQ_EVALUATOR,  /* present: an evaluator is attached, or gone; while one is there: another is
                          in its place, which has neither asked nor been given anything */
    TW_SEQ_ASK,        /* samples: the evaluator wants weights, at the next border >= samples */
    TW_SEQ_EVALUATED,  /* loss: the evaluator has answered the last RELEASE */
    TW_SEQ_TURN,       /* turn: the dial is to have another setting; answered by TURNED */
    TW_SEQ_EVICT,      /* evict: this rank has been gone for long enough */
    TW_SEQ_CHECKPOINT, /* one is wanted: it comes with the next COMMIT */
    TW_SEQ_SAVED,      /* the last CHECKPOINT is saved, or given up: another one may come */
    TW_SEQ_RESUME,     /* resume: the first event of a run that is begun again */
    TW_SEQ_STOP,       /* stop now, as after a signal; saves: with a CHECKPOINT before the end */
};

/* What a stretch of updates amounted to. */
struct tw_stretch {
    uint64_t updates, contributions, examples;
    uint64_t staleness_sum, staleness_max;
    struct tw_chunk_staleness chunks; /* where they are applied as they come */
    uint64_t dropped;                 /* pushes and reads that were over without being applied */
    uint64_t scored, correct; /* examples of workers that count, and those that were right */
    uint64_t not_finite;      /* times that a push, or a whole update, was left out for that */
    double loss;              /* sum over the examples */
};

/* The share of its examples that was right; NaN: none were applied, or not all were counted. */
static inline double tw_stretch_accuracy(const struct tw_stretch *stretch) {
    bool known = stretch->examples && stretch->scored == stretch->examples;
    return known ? (double)stretch->correct / (double)stretch->examples : (double)NAN;
}

/* What of a sequencer a run can be begun again from: all that decides its order from a CHECKPOINT
 * on, with everything that was not committed there gone. */
struct tw_sequencer_snapshot {
    uint64_t position, version; /* of the CHECKPOINT; 0: the start */
    char mode[TW_MODE_MAX + 1];
    uint32_t turns;                         /* of the job's that are behind it */
    uint64_t evaluations;                   /* RELEASEs to the evaluator */
    uint32_t not_finite;                    /* updates in a row, just before */
    double rate;                            /* of the last update */
    struct tw_verdict verdict[TW_VERDICTS]; /* so far */
    struct tw_stretch total, stretch;
    uint32_t workers;
    uint64_t
        *step; /* [workers] the last that is settled (where chunks are applied as they come: that
                       was released); clocks begin anew with each JOIN */
};

/* All of it, into the caller's array, which `to` has already. */
void tw_sequencer_snapshot_copy(struct tw_sequencer_snapshot *to,
                                const struct tw_sequencer_snapshot *from);

struct tw_sequencer_resume {
    const struct tw_sequencer_snapshot *from; /* borrowed during the step */
    uint32_t generation;                      /* of the run from here on */
    uint64_t position;                        /* of the last record in the log */
};

struct tw_sequencer_join {
    uint64_t ticket; /* comes back in the answer */
    bool any_rank;
    uint32_t rank;
    uint32_t incarnation; /* 0: a new process */
    uint64_t read;        /* position of the weights that it holds complete */
    char numerics[TW_NUMERICS_MAX + 1];
};

struct tw_sequencer_turn {
    uint64_t ticket; /* comes back in the answer; not 0 */
    struct tw_dial dial;
};

struct tw_sequencer_event {
    enum tw_sequencer_event_kind kind;
    union {
        struct tw_sequencer_join join;
        struct {
            uint32_t rank, shard;
            uint32_t attempt; /* of JOINED; what names an older one is over */
        };
        struct tw_ready ready;
        struct tw_want want;
        struct tw_sums sums;
        struct tw_squares squares;
        struct tw_sequencer_turn turn;
        bool present;
        uint64_t samples;
        double loss;
        uint32_t evict;
        struct tw_sequencer_resume resume;
        bool saves; /* STOP */
    };
};

enum tw_sequencer_effect_kind {
    TW_SEQ_RECORD,   /* record: to every shard, and to the log */
    TW_SEQ_PREPARE,  /* prepare: to every shard */
    TW_SEQ_JOINED,   /* joined */
    TW_SEQ_REFUSED,  /* refused */
    TW_SEQ_STARTED,  /* all are there */
    TW_SEQ_BORDER,   /* border: an epoch (or the run) is over */
    TW_SEQ_GIVEN_UP, /* given_up: no evaluation of this version comes any more */
    TW_SEQ_DROPPED,  /* dropped: a push was not finite */
    TW_SEQ_CANCEL,   /* cancel: a step is over while its worker may still compute it */
    TW_SEQ_TURNED,   /* turned: the answer to TURN */
    TW_SEQ_FINISHED, /* finished: no record follows but the last RELEASE to the evaluator */
};

struct tw_sequencer_effect {
    enum tw_sequencer_effect_kind kind;
    union {
        struct tw_record record;
        struct tw_prepare prepare;
        struct {
            uint64_t ticket;
            uint32_t rank, incarnation, attempt;
            uint64_t last_step;
        } joined;
        struct {
            uint64_t ticket;
            enum tw_status status;
            uint32_t rank;
        } refused;
        struct {
            uint64_t samples, version;
            struct tw_stretch stretch;
            double rate;    /* learning rate of the last update */
            bool evaluated; /* an evaluation of this very position will come */
        } border;
        uint64_t given_up;
        struct {
            uint32_t slot,
                tensor; /* tensor: as tw_ready.bad_tensor, or TW_TENSORS_MAX + 1: the sum */
            uint64_t step;
        } dropped;
        struct {
            uint32_t slot;
            uint64_t step;
        } cancel;
        struct {
            uint64_t ticket;
            enum tw_status status; /* TW_OK; TW_STOPPED: the run is over; TW_UNEXPECTED: another
                                      turn waits for the update under way */
        } turned;
        struct {
            enum tw_status status; /* TW_OK, TW_INTERRUPTED, TW_NOT_FINITE */
        } finished;
    };
};

/* Staleness accounting of a generation (DESIGN.md §3): in every run
 * applied + in_flight + dropped == outstanding, exactly. */
struct tw_staleness {
    uint64_t applied;     /* sum of the staleness of applied contributions */
    uint64_t in_flight;   /* sum of the ages of reads that are out now */
    uint64_t dropped;     /* sum of the ages of cancelled and dropped reads */
    uint64_t outstanding; /* sum over updates of (reads out just before - contributions) */
};

struct tw_sequencer;

/* Bytes of memory that init needs; 0 when the configuration is over a limit. */
size_t tw_sequencer_bytes(const struct tw_sequencer_config *config);

/* `memory`: tw_sequencer_bytes() bytes, 16-aligned, which hold everything. */
struct tw_sequencer *tw_sequencer_init(void *memory, const struct tw_sequencer_config *config);

/* One event. Returns the number of effects, in the order in which they are to be
 * carried out, at *effects. An event that names something that is over (a stale
 * vote, a lost connection of an old incarnation) has no effect. */
size_t tw_sequencer_step(struct tw_sequencer *sequencer, const struct tw_sequencer_event *event,
                         const struct tw_sequencer_effect **effects);

uint64_t tw_sequencer_version(const struct tw_sequencer *sequencer);
uint64_t tw_sequencer_position(const struct tw_sequencer *sequencer);
/* Everything since the start. */
struct tw_stretch tw_sequencer_total(const struct tw_sequencer *sequencer);
/* Since the last border. */
struct tw_stretch tw_sequencer_stretch(const struct tw_sequencer *sequencer);
struct tw_staleness tw_sequencer_staleness(const struct tw_sequencer *sequencer);
/* TW_INTERNAL: they do not obey the identity (DESIGN.md §3), which they do after every event. */
enum tw_status tw_sequencer_check_staleness(const struct tw_sequencer *sequencer,
                                            struct tw_error *error);

/* What it was made with; its dial is as it is now. */
const struct tw_sequencer_config *tw_sequencer_config_of(const struct tw_sequencer *sequencer);

/* What moves, with the verdicts so far. */
const struct tw_pace *tw_sequencer_pace(const struct tw_sequencer *sequencer);
/* As it was at the last CHECKPOINT; before any it is the start. Valid until the next step. */
const struct tw_sequencer_snapshot *tw_sequencer_snapshot(const struct tw_sequencer *sequencer);

/* The setting of the dial now. */
const struct tw_dial *tw_sequencer_dial(const struct tw_sequencer *sequencer);

/* Ranks that take part: all but those that were evicted and are not back. */
uint32_t tw_sequencer_live(const struct tw_sequencer *sequencer);

/* Whether training stands still until the evaluator has caught up. */
bool tw_sequencer_holding(const struct tw_sequencer *sequencer);

/* How a rank stands at the moment. */
struct tw_standing {
    bool came, here; /* it was here at least once; its connections are all there */
    bool reading;    /* a step is out: it has not pushed all of it */
    bool wanted;     /* the next update (or the start) waits for it, perhaps among others */
    bool evicted;    /* others are waited for first */
    bool permitted;  /* its push makes the next update, by a PERMIT */
    uint64_t step;   /* that was given to it last */
};
struct tw_standing tw_sequencer_standing(const struct tw_sequencer *sequencer, uint32_t rank);

#endif
