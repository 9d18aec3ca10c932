/* The sequencer's insides, shared by sequencer.c (events), gather.c (votes,
 * updates), admission.c (permits), release.c (reads and clocks), membership.c (ranks), turn.c (the
 * dial), checkpoint.c (CHECKPOINT, ROLLBACK) and evaluation.c (borders, the end). Private to them.
 *
 * Invariants, checked after every step when built with TALWEG_CHECKS (Debug):
 *   - reads_out is the number of open reads, of the queue, and of the PREPARE;
 *   - a slot has an open read, or a whole push that waits, never both;
 *   - the staleness identity;
 *   - after the end no COMMIT, and no RELEASE but to the evaluator.
 */
#ifndef TW_CORE_SEQUENCER_STATE_H
#define TW_CORE_SEQUENCER_STATE_H

#include "common/base/ring.h"
#include "server/core/sequencer.h"

/* A push for which all shards have voted, and which waits to be part of an update. */
struct tw_whole {
    uint32_t slot;
    bool released; /* its slot has gone on: it was accepted */
    bool finite;   /* on all shards */
    uint32_t bad_tensor;
    uint64_t step, read_position, read_version;
    uint64_t examples, correct; /* correct: as in tw_end */
    double loss;
    double rate;                      /* that its RELEASE gave it, where chunks are applied as */
    struct tw_chunk_staleness chunks; /* they come; and those that were, on all shards */
};

struct tw_slot_state {
    uint64_t begun;       /* last step that was released */
    uint64_t settled;     /* last step that was committed, dropped or cancelled */
    uint64_t released;    /* last step that a RELEASE named since its JOIN: what shards know;
                             above `begun` while it is to be released again */
    uint64_t clock;       /* what a clock bound compares */
    bool reading;         /* step `begun` is out, its push not yet whole */
    bool waiting;         /* its whole push is in the queue or a PREPARE, not released */
    bool release_due;     /* owed a RELEASE when holding or a bound allows it */
    uint64_t votes;       /* bit per shard, of the open read */
    bool wants;           /* it has begun to push the open read, without a permit */
    bool listed;          /* in the list of those that want */
    bool permitted;       /* its push makes the next update */
    bool drawn;           /* imposed staleness: its next update is to be made of ... */
    uint64_t from;        /* ... this version */
    struct tw_whole read; /* the open read, as far as it is known */
};

enum tw_member_state {
    TW_MEMBER_VACANT, /* never held */
    TW_MEMBER_JOINED, /* has its rank, not yet all bulk connections */
    TW_MEMBER_HERE,   /* takes part */
    TW_MEMBER_GONE,   /* its connections are lost; its incarnation may come back */
};

struct tw_member {
    enum tw_member_state state;
    uint32_t incarnation;               /* 0: never held */
    uint32_t attempt;                   /* count of its joins, also of the same incarnation */
    uint64_t attached;                  /* bit per shard */
    bool was_here;                      /* counted for the start */
    uint64_t resume_read;               /* position it says it holds; 0 none */
    char numerics[TW_NUMERICS_MAX + 1]; /* of its incarnation */
    bool evicted;                       /* does not take part; no COMMIT waits for it */
    bool evict_due;                     /* as soon as the PREPARE under way is answered */
    bool deferred;                      /* `join` waits for the PREPARE under way */
    struct tw_sequencer_join join;
};

struct tw_sequencer {
    struct tw_sequencer_config config;
    uint64_t position, version;
    uint64_t stalest;   /* the largest staleness that is applied */
    uint64_t regather;  /* position of the last REGATHER; a vote from before it is void */
    bool regather_due;  /* a join or an eviction of this step wants one */
    uint32_t live;      /* members that are not evicted */
    uint32_t here_once; /* members that were here at least once */
    bool started;
    uint32_t turns;  /* of the job's: how many are behind us */
    bool turn_asked; /* `asked` waits for the PREPARE under way */
    struct tw_sequencer_turn asked;
    uint32_t next_slot;          /* imposed staleness: it makes the next update */
    uint32_t dues;               /* slots whose release_due is set */
    bool look;                   /* any of them may have its RELEASE now; false: one that was held
                                    back by others' clocks, or waits for ... */
    uint64_t soonest;            /* ... this version at least */
    uint32_t slowest;            /* slots that take part, at clock_min; 0: not counted */
    bool deferring;              /* a member's join or eviction waits for the PREPARE under way */
    bool checkpoint_due, saving; /* a CHECKPOINT is wanted; one is not saved yet */
    struct tw_sequencer_snapshot snapshot; /* of the last */
    uint64_t reads_out; /* open reads, and whole pushes neither committed nor dropped */
    uint64_t clock_min;

    struct tw_whole *ready; /* ring [ready_room], in the order in which they got whole */
    uint32_t ready_first, ready_count, ready_room;
    struct tw_whole *prepared; /* [ready_room] of the update under way, by slot and step */
    uint32_t prepared_count;

    uint32_t *want; /* [workers] slots, first come first */
    uint32_t wants;
    uint32_t permitted; /* pushes that the last PERMIT named, and that are not settled */

    bool preparing;
    uint64_t sums; /* bit per shard that answered */
    bool sums_finite;
    struct tw_exact_sum squares;      /* of those that answered */
    uint32_t tensors;                 /* of a layer-wise rule; else 0 */
    struct tw_tensor_squares *tensor; /* [tensors] of the shards that have said so */
    double *ratio;                    /* [tensors] of the last COMMIT */
    /* Ring of those that the last effects, and the terms of the update under way, point to. */
    double *scalar;
    size_t scalars;
    double weighted;         /* examples of the update under way, as tw_corrections_examples() */
    struct tw_prepare terms; /* of the update under way */
    /* Ring of those that the last effects point to. */
    struct tw_contribution *contribution; /* [contribution_room] */
    uint32_t contributions, contribution_room;
    /* [workers] each: those of the update under way, and of the one before, to which the last
     * effects may point, too. */
    struct tw_contribution *named[2];
    uint32_t not_finite_in_a_row;

    struct tw_stretch total, stretch;
    double rate; /* of the last update */
    struct tw_staleness staleness;

    bool evaluator, asking, evaluating, due, holding;
    uint64_t ask_samples, evaluations;
    uint64_t evaluating_version; /* of the last RELEASE to it */
    struct tw_judge judge[TW_VERDICTS];
    struct tw_verdict verdict[TW_VERDICTS];
    bool verdict_due; /* the evaluation that is due decides on something, */
    bool judging;     /* ... or the one that is under way: training holds */

    bool ending;   /* the condition is met; perhaps a last evaluation */
    bool finished; /* told */
    enum tw_status end_status;

    bool has_numerics;
    char numerics[TW_NUMERICS_MAX + 1];

    struct tw_slot_state *slot; /* [workers] */
    struct tw_member *member;   /* [workers] */
    struct tw_sequencer_effect *effect;
    size_t effects, effect_room;
};

static inline struct tw_whole *tw_sequencer_ready(struct tw_sequencer *s, uint32_t i) {
    return &s->ready[tw_ring_at(s->ready_first, i, s->ready_room)];
}

/* Who makes the next update is known before it is prepared. */
static inline bool tw_sequencer_knows(const struct tw_sequencer *s) {
    return s->config.dial.members_known || s->config.admission;
}

/* Pushes that make an update: where all take part, all that are left. */
static inline uint32_t tw_sequencer_gather(const struct tw_sequencer *s) {
    if (!s->config.dial.members_known)
        return s->config.dial.gather;
    return s->live ? s->live : 1;
}

/* sequencer.c */
/* The caller fills in all that belongs to this kind. */
struct tw_sequencer_effect *tw_sequencer_emit(struct tw_sequencer *s,
                                              enum tw_sequencer_effect_kind kind);
struct tw_record *tw_sequencer_log(struct tw_sequencer *s, enum tw_record_kind kind);
/* Memory for the scalars of one more record, or of the update that is prepared. */
double *tw_sequencer_take_scalars(struct tw_sequencer *s);

/* release.c */
void tw_sequencer_release(struct tw_sequencer *s, uint32_t slot);
void tw_sequencer_release_due(struct tw_sequencer *s);
/* The slot after next_slot, of those that take part, is next. */
void tw_sequencer_pass_on(struct tw_sequencer *s);
/* Turns have moved: who has which update is another matter now. */
void tw_sequencer_draw_again(struct tw_sequencer *s);
void tw_sequencer_owe_release(struct tw_sequencer *s, uint32_t slot, bool due);
/* All of these slots are owed a RELEASE, too. */
void tw_sequencer_release_contributors(struct tw_sequencer *s,
                                       const struct tw_contribution *contribution, uint32_t count);
void tw_sequencer_tell_cancelled(struct tw_sequencer *s, uint32_t slot);
void tw_sequencer_cancel_read(struct tw_sequencer *s, uint32_t slot);
void tw_sequencer_forget_slot(struct tw_sequencer *s, uint32_t slot);
void tw_sequencer_cancel_slot(struct tw_sequencer *s, uint32_t slot);
void tw_sequencer_level_clocks(struct tw_sequencer *s);
void tw_sequencer_find_slowest(struct tw_sequencer *s);
void tw_sequencer_settle(struct tw_sequencer *s, uint32_t slot, uint64_t step);
bool tw_sequencer_awaits(struct tw_sequencer *s, uint32_t slot, uint64_t position);
bool tw_sequencer_in_prepare(const struct tw_sequencer *s, uint32_t slot);

/* gather.c */
void tw_sequencer_on_ready(struct tw_sequencer *s, const struct tw_ready *ready);
void tw_sequencer_on_sums(struct tw_sequencer *s, const struct tw_sums *sums);
void tw_sequencer_on_squares(struct tw_sequencer *s, const struct tw_squares *squares);
void tw_sequencer_form(struct tw_sequencer *s);
/* Nothing is under way any more: what is out, and what waits, is dropped. */
void tw_sequencer_drop_all(struct tw_sequencer *s);
void tw_sequencer_regather(struct tw_sequencer *s);

/* Memory for `count` contributions of one more record of this step. */
struct tw_contribution *tw_sequencer_take(struct tw_sequencer *s, uint32_t count);
/* The slot's push was here, in whole or in part, and comes once more. */
void tw_sequencer_await_again(struct tw_slot_state *slot);
void tw_sequencer_sort(struct tw_whole *whole, uint32_t count);
/* It is not used: by the dial; and, where updates are formed, by a limit of staleness. */
bool tw_sequencer_is_late(const struct tw_sequencer *s, const struct tw_whole *whole);
bool tw_sequencer_is_stale(const struct tw_sequencer *s, const struct tw_whole *whole);
/* Returns the contributions of the record. */
const struct tw_contribution *tw_sequencer_drop(struct tw_sequencer *s,
                                                const struct tw_whole *whole, uint32_t count,
                                                bool not_finite);

/* admission.c */
void tw_sequencer_on_want(struct tw_sequencer *s, const struct tw_want *want);
/* Names the next update's contributors, when that is due. */
void tw_sequencer_permit(struct tw_sequencer *s);
/* The update is committed, or dropped; or all is cancelled. */
void tw_sequencer_spend_permits(struct tw_sequencer *s);
/* The slot's push will not come, or not as it was. Not while a PREPARE has it. */
void tw_sequencer_take_back(struct tw_sequencer *s, uint32_t slot);

/* membership.c */
void tw_sequencer_on_join(struct tw_sequencer *s, const struct tw_sequencer_join *join);
void tw_sequencer_on_attached(struct tw_sequencer *s, uint32_t rank, uint32_t attempt,
                              uint32_t shard);
void tw_sequencer_on_lost(struct tw_sequencer *s, uint32_t rank, uint32_t attempt);
void tw_sequencer_on_evict(struct tw_sequencer *s, uint32_t rank);
/* What a PREPARE kept waiting: it has been answered, or the run is over. */
void tw_sequencer_run_deferred(struct tw_sequencer *s);
void tw_sequencer_maybe_start(struct tw_sequencer *s);

/* turn.c: false when no turn is due. */
bool tw_sequencer_turn_if_due(struct tw_sequencer *s);
void tw_sequencer_on_turn(struct tw_sequencer *s, const struct tw_sequencer_turn *turn);
void tw_sequencer_refuse_turn(struct tw_sequencer *s);

/* checkpoint.c */
void tw_sequencer_checkpoint_if_due(struct tw_sequencer *s);
void tw_sequencer_checkpoint_after_verdict(struct tw_sequencer *s);
void tw_sequencer_checkpoint_last(struct tw_sequencer *s);
void tw_sequencer_on_resume(struct tw_sequencer *s, const struct tw_sequencer_resume *resume);

/* evaluation.c */
bool tw_sequencer_at_end(const struct tw_sequencer *s);
/* Whether the COMMIT did, before which so many examples were applied. */
bool tw_sequencer_ends_epoch(const struct tw_sequencer *s, uint64_t samples_before);
/* Before all else that follows a COMMIT, of this mean loss and with a gradient of this norm. */
void tw_sequencer_judge(struct tw_sequencer *s, bool ends_epoch, double loss, double norm);
void tw_sequencer_after_commit(struct tw_sequencer *s, bool ends_epoch);
void tw_sequencer_on_evaluator(struct tw_sequencer *s, bool present);
void tw_sequencer_on_ask(struct tw_sequencer *s, uint64_t samples);
void tw_sequencer_on_evaluated(struct tw_sequencer *s, double loss);
void tw_sequencer_end(struct tw_sequencer *s, enum tw_status status);

#endif
