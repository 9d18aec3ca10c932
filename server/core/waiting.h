/* Where the time of each worker goes: computing, waiting for others, waiting for the
 * network, away. And for whom it waited.
 *
 * Who uses it: the shell of the lead (server/io), which says what it sees and when;
 * `talweg status`, the summary and metrics.jsonl show what comes out. It decides
 * nothing, and nothing depends on it.
 *
 * A rank goes round:
 *
 *     WAITING -RELEASE-> RECEIVING -served-> COMPUTING -first bytes-> SENDING -End-> WAITING
 *     any -lost-> GONE -comes back-> where it was
 *
 * Time is cut into these states without gaps, so the four sums of a rank always add up
 * to the time since the start, to the nanosecond. What the lead sees of a step is cut
 * better by the worker's own measure of its computing, which comes later: the step's
 * time between RELEASE and End is then that much computing, and the rest network. Until
 * it comes (and for clients that measure nothing) RECEIVING and SENDING are network.
 *
 * Blame: a wait that a COMMIT ended is the fault of the rank whose push came last into
 * that COMMIT, up to the moment it came. What is left is the server's own work, or the
 * evaluator, of which the holds tell.
 *
 * Pure: the time comes in, in nanoseconds of one clock that never goes back. Events that
 * make no sense (a measure of a step long over, an End twice) change nothing.
 */
#ifndef TW_CORE_WAITING_H
#define TW_CORE_WAITING_H

#include "server/core/node.h"

struct tw_waiting;

size_t tw_waiting_bytes(uint32_t workers);
/* `memory`: zeroed, 8-aligned. */
struct tw_waiting *tw_waiting_init(void *memory, uint32_t workers);

/* Training begins: time is counted from now on. And stands still again: at the end. */
void tw_waiting_start(struct tw_waiting *w, uint64_t now_ns);
void tw_waiting_stop(struct tw_waiting *w, uint64_t now_ns);
/* All processes died then, and the run begins again: everybody is away until it comes, and the
 * numbers of steps come again. */
void tw_waiting_again(struct tw_waiting *w, uint64_t died_ns);

/* ---- what happens to a rank ---- */

/* It is connected, also again; `reading`: a step is out, which it goes on with. */
void tw_waiting_here(struct tw_waiting *w, uint32_t rank, bool reading, uint64_t now_ns);
void tw_waiting_gone(struct tw_waiting *w, uint32_t rank, uint64_t now_ns);
/* The log says that it gets weights for this step; the last of them have left. */
void tw_waiting_released(struct tw_waiting *w, uint32_t rank, uint64_t step, uint64_t now_ns);
void tw_waiting_served(struct tw_waiting *w, uint32_t rank, uint64_t now_ns);
/* Its push begins to arrive; all of it is here. */
void tw_waiting_arriving(struct tw_waiting *w, uint32_t rank, uint64_t now_ns);
/* Whether that is known: who says it of each chunk need not look at a clock any more. */
bool tw_waiting_is_arriving(const struct tw_waiting *w, uint32_t rank);
void tw_waiting_arrived(struct tw_waiting *w, uint32_t rank, uint64_t step, uint64_t now_ns);
/* It says how long it computed on a step. */
void tw_waiting_measured(struct tw_waiting *w, uint32_t rank, uint64_t step, uint64_t computing_ns);

/* An update was committed; `rank`: of each contribution. */
void tw_waiting_committed(struct tw_waiting *w, const struct tw_contribution *contribution,
                          size_t count, uint64_t now_ns);
/* Training stands still for the evaluator, or goes on. */
void tw_waiting_hold(struct tw_waiting *w, bool holds, uint64_t now_ns);

/* ---- what it amounts to ---- */

struct tw_waiting_sums {
    uint64_t computing_ns, waiting_ns, network_ns, away_ns;
};

struct tw_waiting_view {
    enum tw_rank_state state;
    uint64_t step;               /* given to it last; 0: none */
    uint64_t state_ns;           /* in this state; SENDING, COMPUTING: since the state began */
    uint64_t step_ns;            /* since it was given the step that is out; 0: none is */
    struct tw_waiting_sums sums; /* since the start; they add up to elapsed_ns */
    uint64_t elapsed_ns;
    uint64_t evaluator_ns; /* of waiting: for the evaluator */
    uint64_t blamed_ns;    /* that others waited for it, added up over them */
    uint32_t culprit;      /* for whom it waited most; TW_NOBODY */
    uint64_t culprit_ns;   /* at least so long: exact with up to nine workers */
};
struct tw_waiting_view tw_waiting_view(const struct tw_waiting *w, uint32_t rank, uint64_t now_ns);

/* The last time a step took, from its RELEASE to its End; 0: none is over. */
uint64_t tw_waiting_last_step_ns(const struct tw_waiting *w, uint32_t rank);

#endif
