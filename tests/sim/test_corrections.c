/* What corrections for late gradients do, in the virtual cluster of the laws: f(x) = h x^2 / 2,
 * whose edges of stability are known in closed form. */
#include <stdio.h>
#include <string.h>

#include "common/base/rng.h"
#include "tests/lib/corrections_text.h"
#include "tests/sim/laws.h"

/* ---- nothing late, nothing changed ---- */

static void without_staleness_no_bit_changes(void **state) {
    static const char *const modes[] = {"sync", "backup:2", "k-sync:3", "k-batch-sync:3"};
    for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
        struct world_desk plain = {.workers = 6,
                                   .mode = modes[m],
                                   .delay = "exponential",
                                   .optimizer = "adam lr=.1",
                                   .elements = 40,
                                   .curvature = 1,
                                   .noise = 1,
                                   .start = 1,
                                   .updates = 60,
                                   .delay_seed = 4};
        struct world_desk corrected = plain;
        corrected.corrections = tw_test_corrections("staleness_power power=2", "staleness_exp a=1",
                                                    "staleness_limit most=0", "gap_aware",
                                                    "dc_asgd_adaptive", "dc_asgd", NULL);
        run(&plain);
        run(&corrected);
        assert_true(plain.log == corrected.log); /* rates, scalars and divisors are in it */
        assert_memory_equal(plain.x, corrected.x, sizeof plain.x);
    }
}

/* ---- stability ---- */

static bool grows(uint32_t workers, const char *delay, double h, const char *correction,
                  uint64_t updates) {
    struct world_desk desk = {.workers = workers,
                              .mode = "async",
                              .delay = delay,
                              .rate = h,
                              .corrections = tw_test_corrections(correction, NULL),
                              .curvature = 1,
                              .start = 1,
                              .updates = updates,
                              .delay_seed = 17};
    return swing_grows(&desk);
}

/* With equal steps every tau is M - 1, and the edge moves from 2 sin(pi / (2 (2 tau + 1))) to that
 * by f(tau). */
static void the_edge_of_constant_delay_moves_by_the_factor(void **state) {
    static const struct {
        uint32_t workers;
        const char *line;
        double factor;
    } cases[] = {
        {8, "staleness_power", 1.0 / 7},
        {4, "staleness_power power=2", 1.0 / 9},
        {8, "staleness_power power=.5 from=zero", 0.35355339059327373},
        {4, "staleness_exp a=.4", 0.30119421191220214},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double tau = cases[i].workers - 1.0;
        double h = 2 * sin(M_PI / (2 * (2 * tau + 1))) / cases[i].factor;
        assert_false(grows(cases[i].workers, "constant", .98 * h, cases[i].line, 2000));
        assert_true(grows(cases[i].workers, "constant", 1.02 * h, cases[i].line, 2000));
    }
}

struct end {
    double squares;
    uint64_t from, count;
};

static void add_square(struct world_desk *desk, uint64_t version) {
    struct end *e = desk->context;
    float x[1];
    tw_world_weights(desk->world, x);
    if (version > e->from) {
        e->squares += (double)x[0] * (double)x[0];
        e->count++;
    }
}

/* Zhang 2015: 30 workers, a learning rate of 1. Far above the edge without the division, well below
 * it with: that is 29 x .05324 = 1.544 for constant steps, and between 1.5 and 1.7 here. */
static void division_by_staleness_restores_convergence(void **state) {
    struct end end = {.from = 400};
    struct world_desk desk = {.workers = 30,
                              .mode = "async",
                              .delay = "gamma cv=.1",
                              .rate = 1,
                              .curvature = 1,
                              .start = 1,
                              .updates = 600,
                              .delay_seed = 23,
                              .on_version = add_square,
                              .context = &end};
    run(&desk);
    assert_true(fabs((double)desk.x[0]) > 1e6); /* fixed */
    end = (struct end){.from = 400};
    desk.corrections = tw_test_corrections("staleness_power", NULL);
    run(&desk);
    assert_true(end.squares / (double)end.count < .01);
    assert_false(grows(30, "gamma cv=.1", 1.4, "staleness_power", 4000));
    assert_true(grows(30, "gamma cv=.1", 1.8, "staleness_power", 4000));
}

/* Far above the edge weights run away; steps that are divided by how far they have run cannot. */
static void gaps_bound_what_would_diverge(void **state) {
    struct end end = {.from = 200};
    struct world_desk desk = {.workers = 30,
                              .mode = "async",
                              .delay = "gamma cv=.1",
                              .rate = 1,
                              .corrections = tw_test_corrections("gap_aware", NULL),
                              .curvature = 1,
                              .start = 1,
                              .updates = 1000,
                              .delay_seed = 23,
                              .on_version = add_square,
                              .context = &end};
    run(&desk);
    assert_true(end.squares / (double)end.count < 100);
}

/* ---- compensation ---- */

enum { WIDE = 16, MOST_WORKERS = 16 };

/* The last gradient of each worker, with the weights that it was computed on. */
struct last {
    float g[MOST_WORKERS][64], read[MOST_WORKERS][64];
};

/* Gradients of the quadratic f(x) = curvature x^2 / 2 that are TWO_POINTS or minus that, such that
 * they are right in the mean. */
#define TWO_POINTS 2.0F

struct two_points {
    struct last last;
    double sequential[WIDE], furthest;
};

static void one_of_two_points(struct world_desk *desk, uint32_t slot, uint64_t step,
                              const float *weights, float *out) {
    struct last *last = &((struct two_points *)desk->context)->last;
    struct tw_rng rng;
    tw_rng_init(&rng, desk->seed, TW_STREAM_NOISE, slot, step);
    for (int i = 0; i < WIDE; i++) {
        double right = desk->curvature * (double)weights[i];
        bool up = 2 * tw_rng_uniform(&rng) < 1 + right / (double)TWO_POINTS;
        last->read[slot][i] = weights[i];
        last->g[slot][i] = out[i] = up ? TWO_POINTS : -TWO_POINTS;
    }
}

/* The same draws of the noise, each added to the gradient of the weights as they are: that is the
 * sequential path, in double. */
static void go_on_with_the_same_draws(struct world_desk *desk, const struct tw_record *record,
                                      uint64_t now_ns) {
    struct two_points *p = desk->context;
    if (record->kind != TW_RECORD_COMMIT)
        return;
    for (int i = 0; i < WIDE; i++) {
        double noise = 0;
        for (uint32_t k = 0; k < record->count; k++) {
            uint32_t slot = record->contributions[k].slot;
            noise += (double)p->last.g[slot][i] - desk->curvature * (double)p->last.read[slot][i];
        }
        noise /= record->count;
        p->sequential[i] -= desk->rate * (desk->curvature * p->sequential[i] + noise);
    }
}

static void compare_with_sequential(struct world_desk *desk, uint64_t version) {
    struct two_points *p = desk->context;
    float x[WIDE];
    tw_world_weights(desk->world, x);
    for (int i = 0; i < WIDE; i++)
        p->furthest = fmax(p->furthest, fabs((double)x[i] - p->sequential[i]));
}

/* How far from the sequential path a run gets. */
static double strays_at(double rate, uint64_t updates, const char *mode, const char *delay,
                        const char *correction) {
    struct two_points p = {.furthest = 0};
    struct world_desk desk = {.workers = 8,
                              .mode = mode,
                              .delay = delay,
                              .rate = rate,
                              .curvature = 1,
                              .elements = WIDE,
                              .start = 1,
                              .updates = updates,
                              .seed = 3,
                              .delay_seed = 5,
                              .gradient = one_of_two_points,
                              .on_record = go_on_with_the_same_draws,
                              .on_version = compare_with_sequential,
                              .context = &p};
    if (correction)
        desk.corrections = tw_test_corrections(correction, NULL);
    for (int i = 0; i < WIDE; i++)
        p.sequential[i] = desk.start;
    run(&desk);
    return p.furthest;
}

static double strays(const char *mode, const char *delay, const char *correction) {
    return strays_at(.1, 1000, mode, delay, correction);
}

/* Where all squares of gradients are 4 a curvature of 1 is lambda g g with lambda 1 / 4: so DC-ASGD
 * has the Hessian itself, and the path is the sequential one: to the bit where nothing is rounded
 * (at rate 1 all numbers are integers; at 1/2 each update needs a bit more, and 20 fit), else up to
 * what float32 rounds. With another lambda, or without, it is another path. */
static void with_the_hessian_itself_nothing_is_late(void **state) {
    static const char *const modes[] = {"async", "ssp:3", "k-async:3"};
    static const char *const delays[] = {"constant", "gamma cv=.1", "exponential"};
    for (int m = 0; m < 3; m++)
        for (int d = 0; d < 3; d++) {
            const char *hessian = "dc_asgd lambda=.25";
            within("from the sequential path", strays(modes[m], delays[d], hessian), 0, 3e-6);
            if (m == 2)
                continue; /* thirds are rounded */
            within("exactly", strays_at(1, 1000, modes[m], delays[d], hessian), 0, 0);
            within("exactly", strays_at(.5, 20, modes[m], delays[d], hessian), 0, 0);
        }
    within("exactly", strays_at(1, 9, "k-async:4", "exponential", "dc_asgd lambda=.25"), 0, 0);
    assert_true(strays_at(1, 1000, "async", "constant", NULL) > 1);
    assert_true(strays("async", "constant", "dc_asgd lambda=.2") > .01);
    assert_true(strays("async", "constant", NULL) > .1);
}

/* ---- DANA ---- */

/* The same in a plain loop, in double: x, the momentum of each worker (or one for all), and the
 * point ahead that leaves. */
struct momenta {
    struct last last;
    double momentum;
    bool shared;
    double x[64], v[MOST_WORKERS][64], ahead[64];
    double gap; /* root mean square of x - what was read, summed from `from` on */
    uint64_t from, count;
};

static void noisy(struct world_desk *desk, uint32_t slot, uint64_t step, const float *weights,
                  float *out) {
    struct momenta *m = desk->context;
    struct tw_rng rng;
    tw_rng_init(&rng, desk->seed, TW_STREAM_NOISE, slot, step);
    for (int i = 0; i < 64; i++) {
        out[i] = (float)(desk->curvature * (double)weights[i] + tw_rng_normal(&rng));
        m->last.read[slot][i] = weights[i];
        m->last.g[slot][i] = out[i];
    }
}

static void add_gap(struct momenta *m, uint32_t slot) {
    double squares = 0;
    for (int i = 0; i < 64; i++) {
        double far = m->x[i] - (double)m->last.read[slot][i];
        squares += far * far;
    }
    m->gap += sqrt(squares / 64);
    m->count++;
}

static void step_of_momentum(struct world_desk *desk, const struct tw_record *record,
                             uint64_t now_ns) {
    struct momenta *m = desk->context;
    if (record->kind != TW_RECORD_COMMIT)
        return;
    uint32_t slot = record->contributions[0].slot;
    if (record->version > m->from)
        add_gap(m, slot);
    for (int i = 0; i < 64; i++) {
        double *v = &m->v[m->shared ? 0 : slot][i], all = 0;
        *v = m->momentum * *v + (double)m->last.g[slot][i];
        m->x[i] -= desk->rate * *v;
        for (uint32_t k = 0; k < MOST_WORKERS; k++)
            all += m->v[k][i];
        m->ahead[i] = m->x[i] - desk->rate * m->momentum * all;
    }
}

static void assert_ahead(struct world_desk *desk, uint64_t version) {
    const struct momenta *m = desk->context;
    float w[64];
    tw_world_weights(desk->world, w);
    for (int i = 0; i < 64; i++)
        within("the point that leaves", (double)w[i], m->ahead[i], 1e-5);
}

/* The mean gap between x and what gradients of it were computed on. */
static double gap(uint32_t workers, const char *optimizer, const char *correction, double momentum,
                  bool shared) {
    struct momenta m = {.momentum = momentum, .shared = shared, .from = 1000};
    struct world_desk desk = {.workers = workers,
                              .mode = "async",
                              .delay = "gamma cv=.1",
                              .rate = .002,
                              .optimizer = optimizer,
                              .curvature = 1,
                              .elements = 64,
                              .updates = 3000,
                              .seed = 7,
                              .delay_seed = 31,
                              .gradient = noisy,
                              .on_record = step_of_momentum,
                              .on_version = assert_ahead,
                              .context = &m};
    if (correction)
        desk.corrections = tw_test_corrections(correction, NULL);
    run(&desk);
    return m.gap / (double)m.count;
}

/* Hakimi 2019. One momentum for all workers has gone on in the others' directions by the time that
 * a gradient arrives; momenta of their own are nearly where they were expected. Every point that
 * leaves is that of the paper's x - lr momentum (v_1 + ... + v_N). */
static void momenta_of_their_own_close_the_gap(void **state) {
    static const struct {
        uint32_t workers;
        double shared, own; /* at least, at most */
    } cases[] = {{8, 4.5, 1.7}, {16, 6.8, 1.55}};
    for (int i = 0; i < 2; i++) {
        uint32_t workers = cases[i].workers;
        double plain = gap(workers, NULL, NULL, 0, true);
        double shared = gap(workers, "nesterov lr=.002 momentum=.9", NULL, .9, true);
        double own = gap(workers, NULL, "dana momentum=.9", .9, false);
        print_message("%u workers: gaps %.3f of nesterov, %.3f of dana\n", workers, shared / plain,
                      own / plain);
        assert_true(shared / plain >= cases[i].shared);
        assert_true(own / plain <= cases[i].own);
    }
}

/* With one worker there is one momentum; with several that all contribute, its mean. */
static void without_staleness_dana_is_nesterov(void **state) {
    static const uint32_t workers[] = {1, 4};
    for (int i = 0; i < 2; i++) {
        struct world_desk desk = {.workers = workers[i],
                                  .mode = "sync",
                                  .rate = .05,
                                  .curvature = 1,
                                  .noise = 1,
                                  .start = 1,
                                  .elements = 32,
                                  .updates = 200,
                                  .seed = 11,
                                  .corrections = tw_test_corrections("dana momentum=.8", NULL)};
        struct world_desk nesterov = desk;
        nesterov.corrections = (struct tw_corrections){.count = 0};
        nesterov.optimizer = "nesterov lr=.05 momentum=.8";
        run(&desk);
        run(&nesterov);
        for (int e = 0; e < 32; e++)
            within("weights", (double)desk.x[e], (double)nesterov.x[e], 2e-6);
    }
}

/* ---- the limit ---- */

struct seen {
    uint64_t most, dropped;
};

static void note_most(struct world_desk *desk, const struct tw_record *record, uint64_t now_ns) {
    struct seen *seen = desk->context;
    for (uint32_t i = 0; i < record->count; i++)
        if (record->kind == TW_RECORD_COMMIT && record->contributions[i].staleness > seen->most)
            seen->most = record->contributions[i].staleness;
    if (record->kind == TW_RECORD_DROP)
        seen->dropped += record->count;
}

/* run() looks at the staleness identity. A limit that nobody reaches changes nothing. */
static void above_the_limit_nothing_is_applied_and_all_is_counted(void **state) {
    static const char *const modes[] = {"async", "ssp:2", "k-async:3", "k-batch-async:3"};
    for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
        struct seen seen = {0};
        struct world_desk desk = {.workers = 8,
                                  .mode = modes[m],
                                  .delay = "exponential",
                                  .rate = .01,
                                  .curvature = 1,
                                  .start = 1,
                                  .updates = 400,
                                  .delay_seed = 29,
                                  .on_record = note_most,
                                  .context = &seen};
        run(&desk);
        uint64_t most = seen.most, log = desk.log;
        char line[64];
        assert_true(most > 2 && seen.dropped == 0);
        snprintf(line, sizeof line, "staleness_limit most=%d", (int)most);
        desk.corrections = tw_test_corrections(line, NULL);
        run(&desk);
        assert_true(desk.log == log);
        for (uint64_t limit = 0; limit < 3; limit++) {
            snprintf(line, sizeof line, "staleness_limit most=%d", (int)limit);
            desk.corrections = tw_test_corrections(line, NULL);
            seen = (struct seen){0};
            run(&desk);
            assert_int_equal(desk.version, 400);
            assert_int_equal(seen.most, limit);
            assert_true(seen.dropped > 0);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_staleness_no_bit_changes),
        cmocka_unit_test(the_edge_of_constant_delay_moves_by_the_factor),
        cmocka_unit_test(division_by_staleness_restores_convergence),
        cmocka_unit_test(gaps_bound_what_would_diverge),
        cmocka_unit_test(with_the_hessian_itself_nothing_is_late),
        cmocka_unit_test(momenta_of_their_own_close_the_gap),
        cmocka_unit_test(without_staleness_dana_is_nesterov),
        cmocka_unit_test(above_the_limit_nothing_is_applied_and_all_is_counted),
    };
    cmocka_set_test_filter(getenv("TALWEG_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
