/* What the tests of laws share. */
#ifndef TW_TESTS_LAWS_H
#define TW_TESTS_LAWS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/world_desk.h"

/* To see a law within its own tolerance takes seconds in an optimised build, minutes in one with
 * sanitizers or checks. There samples are a tenth as large, and bounds of what is drawn the root of
 * ten as wide. TALWEG_LONG=1: as large as elsewhere. */
static inline bool in_full(void) {
#if !defined(TALWEG_CHECKS) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    return true;
#else
    const char *all = getenv("TALWEG_LONG");
    return all && *all == '1';
#endif
}

static inline unsigned sampled(unsigned number) {
    return in_full() ? number : number / 10;
}

static inline double roughly(double tolerance) {
    return in_full() ? tolerance : tolerance * sqrt(10);
}

static inline void within(const char *what, double value, double expected, double allowed) {
    if (!(fabs(value - expected) <= allowed))
        fail_msg("%s: %.6g, expected %.6g +- %.2g", what, value, expected, allowed);
}

static inline void identity(const struct world_desk *desk) {
    assert_int_equal(desk->sums.applied + desk->sums.in_flight + desk->sums.dropped,
                     desk->sums.outstanding);
}

/* Seeds are fixed, so that a pass is a pass every time. TALWEG_SEED=n makes others of them all:
 * tests/sim/any-seed asks whether the bounds hold for them, too. */
static inline uint64_t seed_of(uint64_t seed) {
    const char *other = getenv("TALWEG_SEED");
    return seed + (other ? strtoull(other, NULL, 10) * 1000000007 : 0);
}

static inline enum tw_status run_to_an_end(struct world_desk *desk) {
    uint64_t seed = desk->seed, delay_seed = desk->delay_seed;
    desk->seed = seed_of(seed);
    desk->delay_seed = seed_of(delay_seed);
    enum tw_status status = world_desk_run(desk);
    desk->seed = seed;
    desk->delay_seed = delay_seed;
    return status;
}

static inline void run(struct world_desk *desk) {
    if (run_to_an_end(desk) != TW_OK)
        fail_msg("%s: %s", desk->mode, desk->error.text);
    identity(desk);
}

/* ---- staleness ---- */

enum { TAUS = 4096 };

struct staleness {
    uint64_t count, histogram[TAUS], of_slot[DESK_WORKERS], sum_of_slot[DESK_WORKERS];
    double sum, squares, products; /* products: of each and the one before it */
    uint64_t skip;                 /* versions at the start */
    uint64_t before;
};

static inline void count_staleness(struct world_desk *desk, const struct tw_record *record,
                                   uint64_t now_ns) {
    struct staleness *s = desk->context;
    if (record->kind != TW_RECORD_COMMIT || record->version <= s->skip)
        return;
    for (uint32_t i = 0; i < record->count; i++) {
        const struct tw_contribution *c = &record->contributions[i];
        s->count++;
        s->histogram[c->staleness < TAUS ? c->staleness : TAUS - 1]++;
        s->of_slot[c->slot]++;
        s->sum_of_slot[c->slot] += c->staleness;
        s->sum += (double)c->staleness;
        s->squares += (double)c->staleness * (double)c->staleness;
        s->products += (double)c->staleness * (double)(s->count > 1 ? s->before : 0);
        s->before = c->staleness;
    }
}

static inline double sd_of(const struct staleness *s) {
    double mean = s->sum / (double)s->count;
    return sqrt(s->squares / (double)s->count - mean * mean);
}

/* What a chi-square variable of so many degrees of freedom exceeds once in a thousand times (Wilson
 * and Hilferty). */
static inline double rarely(int degrees) {
    double part = 2.0 / (9 * degrees), root = 1 - part + 3.0902 * sqrt(part);
    return degrees * root * root * root;
}

/* Correlation of each staleness with the one before it. */
static inline double lag_one(const struct staleness *s) {
    double n = (double)s->count, mean = s->sum / n, sd = sd_of(s);
    return (s->products / (n - 1) - mean * mean) / (sd * sd);
}

static inline struct staleness staleness_of(uint32_t workers, const char *mode, const char *delay,
                                            unsigned updates) {
    struct staleness s = {.skip = 4 * workers};
    struct world_desk desk = {.workers = workers,
                              .mode = mode,
                              .delay = delay,
                              .updates = updates,
                              .delay_seed = 11,
                              .on_record = count_staleness,
                              .context = &s};
    run(&desk);
    if (strcmp(mode, "async") == 0) /* as an exact sum of integers, whatever the law */
        assert_int_equal(desk.sums.outstanding, (uint64_t)(workers - 1) * updates);
    return s;
}

/* ---- floors ---- */

enum { COORDINATES = 256, MANY_COORDINATES = 1000 };

struct floor {
    int coordinates;
    uint64_t skip, times;
    double squares; /* sum over times of the mean over coordinates */
    double stale, fresh, both, gap;
    uint64_t pairs;
};

static inline void add_squares(struct world_desk *desk, uint64_t version) {
    struct floor *f = desk->context;
    float x[MANY_COORDINATES];
    double sum = 0;
    if (version <= f->skip)
        return;
    tw_world_weights(desk->world, x);
    for (int i = 0; i < f->coordinates; i++)
        sum += (double)x[i] * (double)x[i];
    f->squares += sum / f->coordinates;
    f->times++;
}

/* What a gradient was computed on, next to what it will be applied to. */
static inline void compare_read(struct world_desk *desk, const float *read) {
    struct floor *f = desk->context;
    float x[MANY_COORDINATES];
    if (f->times == 0)
        return;
    tw_world_weights(desk->world, x);
    for (int i = 0; i < f->coordinates; i++) {
        double a = (double)read[i], b = (double)x[i];
        f->stale += a * a;
        f->fresh += b * b;
        f->both += a * b;
        f->gap += (a - b) * (a - b);
    }
    f->pairs++;
}

static inline struct floor floor_in(const char *mode, uint32_t workers, const char *delay, double h,
                                    int coordinates, unsigned updates) {
    struct floor f = {.coordinates = coordinates, .skip = 600};
    struct world_desk desk = {.workers = workers,
                              .mode = mode,
                              .delay = delay,
                              .rate = h,
                              .curvature = 1,
                              .noise = 1,
                              .elements = coordinates,
                              .updates = f.skip + updates,
                              .seed = 3,
                              .delay_seed = 5,
                              .on_version = add_squares,
                              .on_gradient = compare_read,
                              .context = &f};
    run(&desk);
    f.squares /= (double)f.times;
    return f;
}

/* Of SGD: h^2 / (h (2 - h)), in units of the noise at curvature 1. */
static inline double fresh_floor(double h) {
    return h / (2 - h);
}

static inline double constant_floor(double tau, double h) {
    double phi = 2 * asin(h / 2);
    return h * h * (1 + sin((2 * tau + 1) * phi / 2)) /
           (2 * h * cos((2 * tau + 1) * phi / 2) * cos(phi / 2));
}

/* ---- stability ---- */

struct swing {
    double early, late; /* largest loss in the second quarter, and in the last */
    uint64_t updates;
};

static inline void watch_swing(struct world_desk *desk, const struct tw_record *record,
                               uint64_t now_ns) {
    struct swing *s = desk->context;
    if (record->kind != TW_RECORD_COMMIT)
        return;
    if (record->version > s->updates / 4 && record->version <= s->updates / 2)
        s->early = fmax(s->early, record->loss);
    if (record->version > 3 * s->updates / 4)
        s->late = fmax(s->late, record->loss);
}

/* Whether the run's loss grows, possibly until no float has it, rather than shrinks. */
static inline bool swing_grows(struct world_desk *desk) {
    struct swing swing = {.updates = desk->updates};
    desk->on_record = watch_swing;
    desk->context = &swing;
    enum tw_status status = run_to_an_end(desk);
    if (status != TW_NOT_FINITE && status != TW_OK)
        fail_msg("%s: %s", desk->mode, desk->error.text);
    return status == TW_NOT_FINITE || swing.late > swing.early;
}

#endif
