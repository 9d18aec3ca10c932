#include "server/core/waiting.h"

#include <string.h>

#define CULPRITS 8
/* Measures come in batches of at most 16 steps (docs/protocol.md, Ping). */
#define SPANS 32

/* The time between a step's RELEASE and its End, as far as it is known. */
struct span {
    uint64_t step; /* 0: none */
    uint64_t busy_ns;
    uint64_t computing_ns; /* of busy_ns: counted as computing so far */
    uint64_t measured_ns;
    bool is_measured, is_over;
};

struct culprit {
    uint32_t rank;
    uint64_t ns; /* 0: this place is free */
};

struct rank {
    enum tw_rank_state state;
    uint64_t state_ns;   /* when it began */
    uint64_t counted_ns; /* up to here time is counted */
    uint64_t step, released_ns, arrived_ns, last_step_ns;
    struct tw_waiting_sums sums;
    uint64_t evaluator_ns, blamed_ns;
    uint64_t held_ns; /* w->held_ns when its wait began */
    struct culprit culprit[CULPRITS];
    struct span span[SPANS]; /* of step s: at s % SPANS */
};

struct tw_waiting {
    uint32_t workers;
    bool started, stopped, holds;
    uint64_t start_ns, stop_ns;
    uint64_t held_ns, hold_ns; /* sum of all holds that are over; when the present one began */
    uint32_t last_rank;        /* of the last COMMIT: whose push came last */
    uint64_t last_arrived_ns, last_commit_ns;
    struct rank rank[];
};

size_t tw_waiting_bytes(uint32_t workers) {
    return sizeof(struct tw_waiting) + workers * sizeof(struct rank);
}

struct tw_waiting *tw_waiting_init(void *memory, uint32_t workers) {
    struct tw_waiting *w = memory;
    w->workers = workers;
    w->last_rank = TW_NOBODY;
    return w;
}

/* ---- counting ---- */

static uint64_t *sum_of(struct tw_waiting_sums *sums, enum tw_rank_state state) {
    switch (state) {
    case TW_RANK_COMPUTING:
        return &sums->computing_ns;
    case TW_RANK_WAITING:
        return &sums->waiting_ns;
    case TW_RANK_RECEIVING:
    case TW_RANK_SENDING:
        return &sums->network_ns;
    default:
        return &sums->away_ns;
    }
}

static bool is_busy(enum tw_rank_state state) {
    return state == TW_RANK_RECEIVING || state == TW_RANK_COMPUTING || state == TW_RANK_SENDING;
}

static struct span *span_of(struct rank *r, uint64_t step) {
    struct span *span = &r->span[step % SPANS];
    return step && span->step == step ? span : NULL;
}

/* The time that has passed since it was counted last. */
static uint64_t uncounted(const struct tw_waiting *w, const struct rank *r, uint64_t now_ns) {
    bool counts = w->started && !w->stopped && now_ns > r->counted_ns;
    return counts ? now_ns - r->counted_ns : 0;
}

/* Counts the time up to now as what the rank was doing. */
static void count(const struct tw_waiting *w, struct rank *r, uint64_t now_ns) {
    uint64_t passed = uncounted(w, r, now_ns);
    if (!passed)
        return;
    r->counted_ns = now_ns;
    *sum_of(&r->sums, r->state) += passed;
    struct span *span = is_busy(r->state) ? span_of(r, r->step) : NULL;
    if (!span)
        return;
    span->busy_ns += passed;
    span->computing_ns += r->state == TW_RANK_COMPUTING ? passed : 0;
}

static void set_state(struct rank *r, enum tw_rank_state state, uint64_t now_ns) {
    if (r->state == state)
        return;
    r->state = state;
    r->state_ns = now_ns;
}

static void enter(const struct tw_waiting *w, struct rank *r, enum tw_rank_state state,
                  uint64_t now_ns) {
    count(w, r, now_ns);
    set_state(r, state, now_ns);
}

/* The worker knows better how much of a step was computing. */
static void settle(struct rank *r, struct span *span) {
    if (!span->is_over || !span->is_measured)
        return;
    uint64_t computing = span->measured_ns < span->busy_ns ? span->measured_ns : span->busy_ns;
    r->sums.computing_ns += computing - span->computing_ns; /* modulo 2^64: may take away */
    r->sums.network_ns += span->computing_ns - computing;
    span->step = 0;
}

static void end_span(struct rank *r) {
    struct span *span = span_of(r, r->step);
    if (!span)
        return;
    span->is_over = true;
    settle(r, span);
}

static uint64_t held(const struct tw_waiting *w, uint64_t now_ns) {
    return w->held_ns + (w->holds ? now_ns - w->hold_ns : 0);
}

void tw_waiting_start(struct tw_waiting *w, uint64_t now_ns) {
    if (w->started)
        return;
    w->started = true;
    w->start_ns = now_ns;
    for (uint32_t i = 0; i < w->workers; i++)
        w->rank[i].counted_ns = now_ns;
}

void tw_waiting_hold(struct tw_waiting *w, bool holds, uint64_t now_ns) {
    if (w->holds == holds)
        return;
    w->held_ns = held(w, now_ns);
    w->holds = holds;
    w->hold_ns = now_ns;
}

/* ---- blame ---- */

/* With a place for each there is no error. With more culprits than places, all of them
 * lose what the newcomer brings, up to the least of them (Misra and Gries 1982): whoever
 * has most keeps most. */
static void blame(struct tw_waiting *w, struct rank *r, uint32_t culprit, uint64_t ns) {
    struct culprit *least = &r->culprit[0];
    w->rank[culprit].blamed_ns += ns;
    for (int i = 0; i < CULPRITS; i++) {
        struct culprit *place = &r->culprit[i];
        if (place->ns && place->rank == culprit) {
            place->ns += ns;
            return;
        }
        least = place->ns < least->ns ? place : least;
    }
    uint64_t lost = least->ns < ns ? least->ns : ns;
    for (int i = 0; i < CULPRITS; i++)
        r->culprit[i].ns -= lost;
    if (ns > lost)
        *least = (struct culprit){culprit, ns - lost};
}

/* A wait is over, by a RELEASE or by the end of the run. */
static void find_guilt(struct tw_waiting *w, struct rank *r, uint32_t rank, uint64_t now_ns) {
    uint64_t begun = r->state_ns > w->start_ns ? r->state_ns : w->start_ns;
    if (!w->started || w->stopped)
        return;
    r->evaluator_ns += held(w, now_ns) - r->held_ns;
    if (w->last_rank != TW_NOBODY && w->last_rank != rank && w->last_commit_ns >= begun &&
        w->last_arrived_ns > begun)
        blame(w, r, w->last_rank, w->last_arrived_ns - begun);
}

static void begin_waiting(const struct tw_waiting *w, struct rank *r, uint64_t now_ns) {
    enter(w, r, TW_RANK_WAITING, now_ns);
    r->held_ns = held(w, now_ns);
}

static void count_all(struct tw_waiting *w, uint64_t now_ns) {
    for (uint32_t i = 0; i < w->workers; i++) {
        if (w->rank[i].state == TW_RANK_WAITING)
            find_guilt(w, &w->rank[i], i, now_ns);
        count(w, &w->rank[i], now_ns);
    }
}

void tw_waiting_stop(struct tw_waiting *w, uint64_t now_ns) {
    if (!w->started || w->stopped)
        return;
    count_all(w, now_ns);
    w->stopped = true;
    w->stop_ns = now_ns;
}

void tw_waiting_again(struct tw_waiting *w, uint64_t died_ns) {
    count_all(w, died_ns);
    for (uint32_t i = 0; i < w->workers; i++) {
        struct rank *r = &w->rank[i];
        enter(w, r, TW_RANK_GONE, died_ns);
        memset(r->span, 0, sizeof r->span);
        r->step = 0;
    }
    w->last_rank = TW_NOBODY;
}

void tw_waiting_committed(struct tw_waiting *w, const struct tw_contribution *contribution,
                          size_t count, uint64_t now_ns) {
    w->last_rank = TW_NOBODY;
    w->last_commit_ns = now_ns;
    for (size_t i = 0; i < count; i++) {
        uint32_t rank = contribution[i].slot;
        uint64_t arrived_ns = w->rank[rank].arrived_ns;
        if (w->last_rank != TW_NOBODY && arrived_ns <= w->last_arrived_ns)
            continue;
        w->last_rank = rank;
        w->last_arrived_ns = arrived_ns;
    }
}

/* ---- what happens to a rank ---- */

void tw_waiting_here(struct tw_waiting *w, uint32_t rank, bool reading, uint64_t now_ns) {
    struct rank *r = &w->rank[rank];
    if (r->state != TW_RANK_ABSENT && r->state != TW_RANK_GONE)
        return;
    if (reading)
        enter(w, r, TW_RANK_COMPUTING, now_ns);
    else
        begin_waiting(w, r, now_ns);
}

void tw_waiting_gone(struct tw_waiting *w, uint32_t rank, uint64_t now_ns) {
    enter(w, &w->rank[rank], TW_RANK_GONE, now_ns);
}

void tw_waiting_released(struct tw_waiting *w, uint32_t rank, uint64_t step, uint64_t now_ns) {
    struct rank *r = &w->rank[rank];
    if (r->state == TW_RANK_WAITING)
        find_guilt(w, r, rank, now_ns);
    count(w, r, now_ns);
    if (step != r->step)
        end_span(r); /* of a step that was cancelled, or else is over already */
    r->step = step;
    r->released_ns = now_ns;
    if (!span_of(r, step))
        r->span[step % SPANS] = (struct span){.step = step};
    set_state(r, TW_RANK_RECEIVING, now_ns);
}

void tw_waiting_served(struct tw_waiting *w, uint32_t rank, uint64_t now_ns) {
    if (w->rank[rank].state == TW_RANK_RECEIVING)
        enter(w, &w->rank[rank], TW_RANK_COMPUTING, now_ns);
}

void tw_waiting_arriving(struct tw_waiting *w, uint32_t rank, uint64_t now_ns) {
    if (is_busy(w->rank[rank].state))
        enter(w, &w->rank[rank], TW_RANK_SENDING, now_ns);
}

bool tw_waiting_is_arriving(const struct tw_waiting *w, uint32_t rank) {
    return w->rank[rank].state == TW_RANK_SENDING;
}

void tw_waiting_arrived(struct tw_waiting *w, uint32_t rank, uint64_t step, uint64_t now_ns) {
    struct rank *r = &w->rank[rank];
    if (!is_busy(r->state) || step != r->step)
        return;
    begin_waiting(w, r, now_ns);
    r->arrived_ns = now_ns;
    r->last_step_ns = now_ns - r->released_ns;
    end_span(r);
}

void tw_waiting_measured(struct tw_waiting *w, uint32_t rank, uint64_t step,
                         uint64_t computing_ns) {
    struct rank *r = &w->rank[rank];
    struct span *span = span_of(r, step);
    if (!span || span->is_measured || w->stopped)
        return;
    span->is_measured = true;
    span->measured_ns = computing_ns;
    settle(r, span);
}

/* ---- what it amounts to ---- */

struct tw_waiting_view tw_waiting_view(const struct tw_waiting *w, uint32_t rank, uint64_t now_ns) {
    const struct rank *r = &w->rank[rank];
    uint64_t end_ns = w->stopped ? w->stop_ns : now_ns;
    struct tw_waiting_view view = {
        .state = r->state,
        .step = r->step,
        .state_ns = now_ns - r->state_ns,
        .step_ns = is_busy(r->state) ? now_ns - r->released_ns : 0,
        .sums = r->sums,
        .elapsed_ns = w->started ? end_ns - w->start_ns : 0,
        .evaluator_ns = r->evaluator_ns,
        .blamed_ns = r->blamed_ns,
        .culprit = TW_NOBODY,
    };
    *sum_of(&view.sums, r->state) += uncounted(w, r, now_ns);
    for (int i = 0; i < CULPRITS; i++) {
        if (r->culprit[i].ns <= view.culprit_ns)
            continue;
        view.culprit = r->culprit[i].rank;
        view.culprit_ns = r->culprit[i].ns;
    }
    return view;
}

uint64_t tw_waiting_last_step_ns(const struct tw_waiting *w, uint32_t rank) {
    return w->rank[rank].last_step_ns;
}
