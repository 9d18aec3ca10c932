/* The sequencer's insides, shared by sequencer.c (events, gathering, commits),
 * membership.c (ranks) and evaluation.c (borders, the end). Private to them.
 *
 * Invariants, checked after every step when built with TALWEG_CHECKS (Debug):
 *   - reads_out is the number of slots with a read; a ready slot has a read;
 *   - the ready queue holds exactly the ready slots that are not in a PREPARE;
 *   - the staleness identity;
 *   - after the end no COMMIT, and no RELEASE but to the evaluator.
 */
#ifndef TW_CORE_SEQUENCER_STATE_H
#define TW_CORE_SEQUENCER_STATE_H

#include "server/core/sequencer.h"

/* One step's effects can hold a COMMIT, DROPs until the run ends, and a PREPARE,
 * each with contributions of its own. */
#define TW_CONTRIBUTION_SIDES (TW_NOT_FINITE_MAX + 1)

struct tw_slot_state {
    uint64_t settled;       /* last step that was committed or dropped */
    bool reading;           /* a RELEASE is out, its push neither committed nor dropped */
    uint64_t read_position; /* of that RELEASE */
    uint64_t read_version;
    uint64_t votes;   /* bit per shard */
    bool ready;       /* all shards have voted */
    bool in_prepare;  /* part of the update under way */
    bool release_due; /* owed a RELEASE when holding ends */
    bool finite;      /* on all shards that voted */
    uint32_t bad_tensor;
    uint64_t examples; /* of the vote */
    double loss;
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
    bool deferred;                      /* `join` waits for the PREPARE under way */
    struct tw_sequencer_join join;
};

struct tw_sequencer {
    struct tw_sequencer_config config;
    uint64_t position, version;
    uint64_t regather;  /* position of the last REGATHER; a vote from before it is void */
    bool regather_due;  /* a join of this step wants one */
    uint32_t here_once; /* members that were here at least once */
    bool started;
    uint64_t reads_out;

    uint32_t *ready; /* ring [workers] of slots in the order in which they got ready */
    uint32_t ready_first, ready_count;

    bool preparing;
    uint64_t sums; /* bit per shard that answered */
    bool sums_finite;
    int side; /* which of the arrays below is in use */
    struct tw_contribution *contribution[TW_CONTRIBUTION_SIDES]; /* [workers] each */
    uint32_t contributions;
    uint32_t not_finite_in_a_row;

    struct tw_stretch total, stretch;
    struct tw_staleness staleness;

    bool evaluator, asking, evaluating, due, holding;
    uint64_t ask_samples, evaluations;

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

/* sequencer.c */
struct tw_sequencer_effect *tw_sequencer_emit(struct tw_sequencer *s,
                                              enum tw_sequencer_effect_kind kind);
struct tw_record *tw_sequencer_log(struct tw_sequencer *s, enum tw_record_kind kind);
void tw_sequencer_release(struct tw_sequencer *s, uint32_t slot);
void tw_sequencer_cancel_read(struct tw_sequencer *s, uint32_t slot);
void tw_sequencer_form(struct tw_sequencer *s);
void tw_sequencer_regather(struct tw_sequencer *s);

/* membership.c */
void tw_sequencer_on_join(struct tw_sequencer *s, const struct tw_sequencer_join *join);
void tw_sequencer_on_attached(struct tw_sequencer *s, uint32_t rank, uint32_t attempt,
                              uint32_t shard);
void tw_sequencer_on_lost(struct tw_sequencer *s, uint32_t rank, uint32_t attempt);
void tw_sequencer_run_deferred_joins(struct tw_sequencer *s);
void tw_sequencer_maybe_start(struct tw_sequencer *s);

/* evaluation.c */
void tw_sequencer_after_commit(struct tw_sequencer *s, uint64_t samples_before);
void tw_sequencer_on_evaluator(struct tw_sequencer *s, bool present);
void tw_sequencer_on_ask(struct tw_sequencer *s, uint64_t samples);
void tw_sequencer_on_evaluated(struct tw_sequencer *s);
void tw_sequencer_end(struct tw_sequencer *s, enum tw_status status);

#endif
