/* The consistency dial: what the sequencer needs to know of a mode.
 *
 * A mode's name is a preset of these settings (DESIGN.md §5; terms of Dutta et
 * al. 2018, Ho et al. 2013, Chen et al. 2016). The sequencer reads the settings
 * only; no name decides anything outside the table of dial.c.
 */
#ifndef TW_CORE_DIAL_H
#define TW_CORE_DIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "common/job/options.h"
#include "server/core/imposed.h"

/* When the slot of a whole push gets its next weights. */
enum tw_release_rule {
    TW_RELEASE_AT_COMMIT,     /* when the update that contains it is committed */
    TW_RELEASE_AT_ACCEPTANCE, /* when it is counted in; the one that completes the gather:
                                 at its commit */
};

/* What becomes of gradients that an update has left behind. */
enum tw_late_rule {
    TW_LATE_USE,    /* they count for a later update */
    TW_LATE_DROP,   /* they are dropped when they come */
    TW_LATE_CANCEL, /* they are dropped at the commit, also those still being computed */
};

struct tw_dial {
    char word[TW_MODE_MAX + 1]; /* with its number, "ssp:3": what it is parsed from */
    uint32_t gather;            /* pushes per update */
    bool members_known;         /* an update's contributors are all slots: gradients may be
                                reduced as they arrive, before PREPARE */
    enum tw_late_rule late;
    int64_t clock_bound; /* a slot begins clock c only while c - slowest <= this; -1: none */
    enum tw_release_rule release;
    /* Slots take turns, and a slot gets weights when those are there whose age was drawn for its
     * update, not before; NULL: staleness is as it comes. */
    const struct tw_imposed_law *imposed;
    uint32_t imposed_number;
    /* A chunk is applied as soon as it is here, with terms that its RELEASE brought, and before the
     * rest of its push: the one exception from rule COMMIT. The COMMIT of a push, without PREPARE,
     * only says that all of it was. */
    bool on_arrival;
};

/* The job turns the dial right after this update. */
struct tw_dial_turn {
    uint64_t update;
    struct tw_dial dial;
};

/* Pushes that may wait, accepted, while their slots go on to the next step. */
static inline uint32_t tw_dial_ahead(const struct tw_dial *dial) {
    return dial->release == TW_RELEASE_AT_ACCEPTANCE ? dial->gather : 0;
}

/* Reads "sync", "ssp:3", ... for a cluster of `workers`. TW_JOB with where, key
 * and what would be right. */
enum tw_status tw_dial_parse(const char *mode, struct tw_where where, int workers,
                             struct tw_dial *out, struct tw_error *error);
/* The same of a mode that stands at another key than consistency.mode. */
enum tw_status tw_dial_parse_at(const char *mode, struct tw_where where, const char *key,
                                int workers, struct tw_dial *out, struct tw_error *error);

#endif
