/* The consistency dial: what the sequencer needs to know of a mode.
 *
 * A mode's name is a preset of these settings (DESIGN.md §5; terms of Dutta et
 * al. 2018, Ho et al. 2013, Chen et al. 2016). The sequencer reads the settings
 * only; names appear nowhere but in the table of dial.c.
 */
#ifndef TW_CORE_DIAL_H
#define TW_CORE_DIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/job/options.h"

/* When the slot of an accepted push gets its next weights. */
enum tw_release_rule {
    TW_RELEASE_AT_COMMIT, /* when the update that contains it is committed */
};

struct tw_dial {
    const char *name;        /* of the preset, for people */
    uint32_t gather;         /* pushes per update */
    bool distinct;           /* at most one push of a rank per update */
    bool members_known;      /* an update's contributors are all slots: gradients may be
                                reduced as they arrive, before PREPARE */
    int64_t staleness_bound; /* what the mode promises; -1: none */
    enum tw_release_rule release;
};

/* Reads "sync", "async", ... for a cluster of `workers`. TW_JOB with where, key
 * and what would be right; modes that are known by name but not available yet are
 * TW_UNSUPPORTED and say so. */
enum tw_status tw_dial_parse(const char *mode, struct tw_where where, int workers,
                             struct tw_dial *out, struct tw_error *error);

#endif
