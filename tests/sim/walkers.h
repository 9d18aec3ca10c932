/* Jobs with local_steps on the virtual cluster: what slots compute is what real workers and
 * `talweg sim` compute with (worker/io/shares.h), and updates are shaped as the job says.
 *
 * Set the first part, then walkers_open(), walkers_run() as often as one likes, walkers_close().
 */
#ifndef TW_TESTS_WALKERS_H
#define TW_TESTS_WALKERS_H

#include "server/core/shaping.h"
#include "tests/lib/world_desk.h"
#include "worker/io/shares.h"

enum { WALKERS_ELEMENTS = 64 };

struct walkers {
    const char *model;             /* lines of the job, indented by two */
    const struct tw_dataset *data; /* NULL: the model is an objective */
    uint32_t slots, rows;          /* rows of each slot in each local step */
    struct tw_local_steps local;   /* the rate is the servers', too */
    const char *mode, *delay;      /* as in a desk */
    uint64_t updates, seed;        /* other seeds shift it, as of all laws (laws.h) */
    double start;                  /* of all weights */
    /* A slot has made its steps, and this leaves; an update has led here. NULL: nobody asks. */
    void (*pushed)(struct walkers *walkers, uint32_t slot, uint64_t step, const float *push);
    void (*moved)(struct walkers *walkers, uint64_t version, const float *x);
    void *context;

    /* From walkers_open() to walkers_close(). */
    struct tw_job *job;
    struct tw_model *built;
    struct tw_shaping shaping;
    struct tw_treatment treatment[4];
    struct tw_shares *shares;
    uint64_t drawn_from; /* the seed after the shift: of samples and of noise */
};

/* Anything that goes wrong fails the test. */
void walkers_open(struct walkers *walkers);
void walkers_run(struct walkers *walkers);
void walkers_close(struct walkers *walkers);

#endif
