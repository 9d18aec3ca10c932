/* Laws of distributed stochastic gradients, checked on the virtual cluster: the very nodes and
 * clients of a real one. Expected values come from closed forms; what a finite run may be off comes
 * from its own standard error, five of them unless said. Seeds are fixed: a pass is a pass every
 * time.
 *
 * M workers, p = 1/M; h = rate x curvature; staleness counts from 0. Sources: memoryless staleness
 * and momentum, Mitliagkas 2016; K-sync and K-async, Dutta 2018; SSP, Ho 2013; floors and edges of
 * constant delay from the characteristic equation z^(tau+1) - z^tau + h = 0.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/laws.h"

/* ---- staleness ---- */

static void conservation_holds_in_every_mode_for_every_law(void **state) {
    static const char *const modes[] = {"sync",      "async",           "ssp:2",
                                        "backup:2",  "k-sync:3",        "k-batch-sync:3",
                                        "k-async:3", "k-batch-async:3", "softsync:2",
                                        "hogwild",   "stale-uniform:4"};
    static const char *const laws[] = {"constant",         "exponential",
                                       "pareto shape=1.5", "heterogeneous_gamma",
                                       "two_state",        "gamma cv=.17"};
    for (size_t m = 0; m < sizeof modes / sizeof *modes; m++)
        for (size_t l = 0; l < sizeof laws / sizeof *laws; l++)
            staleness_of(7, modes[m], laws[l], 40); /* run() looks */
}

/* P(tau = k) = p (1 - p)^k: chi-square over cells that expect enough. */
static void memoryless_staleness_is_geometric(void **state) {
    static const uint32_t workers[] = {8, 3};
    for (int w = 0; w < 2; w++) {
        struct staleness s = staleness_of(workers[w], "async", "exponential", longer(12000));
        double p = 1.0 / workers[w], n = (double)s.count, chance = p, chi = 0, left = n;
        uint64_t seen = 0;
        int cells = 0;
        for (; n * chance > 40; cells++, chance *= 1 - p) {
            double off = (double)s.histogram[cells] - n * chance;
            chi += off * off / (n * chance);
            left -= n * chance;
            seen += s.histogram[cells];
        }
        chi += (n - (double)seen - left) * (n - (double)seen - left) / left;
        within("chi-square", chi, cells, 5 * sqrt(2.0 * cells));
        within("mean", s.sum / n, workers[w] - 1.0, 5 * sqrt((1 - p) / (p * p * n)));
        within("sd", sd_of(&s), sqrt(1 - p) / p, .06 / p);
    }
}

static void constant_steps_are_round_robin(void **state) {
    for (uint32_t workers = 2; workers <= 9; workers += 7) {
        struct staleness s = staleness_of(workers, "async", "constant", 200);
        assert_true(sd_of(&s) == 0);
        within("tau", s.sum / (double)s.count, workers - 1.0, 0);
    }
}

/* Worker i is geometric with p_i = r_i / sum r; the mean over updates stays M - 1. */
static void fast_and_slow_workers_have_their_own_staleness(void **state) {
    static const double rate[2][4] = {{1, 1, 1, .25}, {1, 2, 3, 4}};
    static const char *const laws[2] = {"exponential speeds=[1,1,1,.25]",
                                        "exponential speeds=[1,2,3,4]"};
    for (int c = 0; c < 2; c++) {
        struct staleness s = staleness_of(4, "async", laws[c], longer(12000));
        double total = 0;
        for (int i = 0; i < 4; i++)
            total += rate[c][i];
        for (int i = 0; i < 4; i++) {
            double p = rate[c][i] / total, n = (double)s.of_slot[i];
            within("mean of a worker", (double)s.sum_of_slot[i] / n, (1 - p) / p,
                   5 * sqrt((1 - p) / (p * p * n)));
        }
        within("mean", s.sum / (double)s.count, 3, .05);
    }
}

/* K-batch-async: (M - 1)/K; K-async: (M - K)/K. */
static void gathering_divides_staleness(void **state) {
    struct staleness s = staleness_of(8, "k-batch-async:4", "exponential", longer(3000));
    within("k-batch-async:4", s.sum / (double)s.count, 7.0 / 4, .06);
    s = staleness_of(8, "k-async:4", "exponential", longer(3000));
    within("k-async:4", s.sum / (double)s.count, 1, .06);
    s = staleness_of(6, "k-async:2", "gamma cv=.3", longer(3000));
    within("k-async:2", s.sum / (double)s.count, 2, .06);
}

/* Gamma with the CV that real clusters have: sd of tau at M = 8 is 1.10 for cv .1, 1.58 for .17. */
static void real_clusters_are_nearly_round_robin(void **state) {
    struct staleness s = staleness_of(8, "async", "gamma cv=.1", longer(6000));
    within("cv .1", sd_of(&s), 1.10, .08);
    s = staleness_of(8, "async", "gamma cv=.17", longer(6000));
    within("cv .17", sd_of(&s), 1.58, .12);
}

/* ---- stability ---- */

static bool grows(uint32_t workers, double h, double mu, uint64_t updates) {
    char rule[96];
    snprintf(rule, sizeof rule, "momentum lr=%.17g momentum=%.17g", h, mu);
    struct world_desk desk = {.workers = workers,
                              .mode = "async",
                              .optimizer = rule,
                              .curvature = 1,
                              .start = 1,
                              .updates = updates};
    return swing_grows(&desk);
}

/* Edge of constant delay tau: h* = 2 sin(pi / (2 (2 tau + 1))); with momentum h* = 2 sin(w/2)
 * sqrt(1 - 2 mu cos w + mu^2), where (tau - 1/2) w + arg(e^iw - mu) = pi/2. */
static double edge(double tau, double mu) {
    double low = 1e-9, high = M_PI;
    if (mu == 0)
        return 2 * sin(M_PI / (2 * (2 * tau + 1)));
    for (int i = 0; i < 100; i++) {
        double w = (low + high) / 2;
        bool above = (tau - .5) * w + atan2(sin(w), cos(w) - mu) > M_PI / 2;
        low = above ? low : w;
        high = above ? w : high;
    }
    return 2 * sin(low / 2) * sqrt(1 - 2 * mu * cos(low) + mu * mu);
}

static void constant_delay_is_stable_up_to_its_edge(void **state) {
    within("table", edge(7, 0), .209057, 1e-6);
    within("table", edge(7, .5), .095753, 1e-6);
    within("table", edge(3, .9), .034784, 1e-6);
    static const struct {
        uint32_t workers;
        double mu;
    } cases[] = {{2, 0}, {4, 0}, {8, 0}, {2, .5}, {4, .5}, {4, .9}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double h = edge(cases[i].workers - 1.0, cases[i].mu);
        assert_false(grows(cases[i].workers, .98 * h, cases[i].mu, 2000));
        assert_true(grows(cases[i].workers, 1.02 * h, cases[i].mu, 2000));
    }
}

/* ---- floors ---- */

static struct floor floor_of(uint32_t workers, const char *delay, double h, unsigned updates) {
    return floor_in("async", workers, delay, h, updates);
}

static double memoryless_floor(double p, double h) {
    return h / (2 * p * (1 + h) / (p + h) - h);
}

static void noise_ends_on_the_floor_of_its_staleness(void **state) {
    within("table", constant_floor(7, .05) / fresh_floor(.05), 1.4321, 1e-4);
    within("table", memoryless_floor(.125, .05) / fresh_floor(.05), 1.3448, 1e-4);
    struct floor f = floor_of(1, "constant", .05, longer(2500));
    within("fresh", f.squares / fresh_floor(.05), 1, .025);
    /* Off by one in tau would be 1.358 or 1.512. */
    f = floor_of(8, "constant", .05, longer(4000));
    within("constant", f.squares / fresh_floor(.05), 1.4321, .036);
    f = floor_of(4, "constant", .1, longer(2500));
    within("constant, M = 4", f.squares / constant_floor(3, .1), 1, .03);
    f = floor_of(8, "exponential", .05, longer(4000));
    within("memoryless", f.squares / fresh_floor(.05), 1.3448, .04);
}

/* Stale and fresh gradients: cosine, and |x_t - x_read|^2 = 2 Var (1 - cosine). */
static void stale_gradients_point_nearly_there(void **state) {
    double h = .05, p = 1.0 / 8;
    struct floor f = floor_of(8, "exponential", h, longer(3000));
    within("memoryless", f.both / sqrt(f.stale * f.fresh), p * (1 + h) / (p + h), .02);
    within("gap", f.gap / (double)f.pairs / COORDINATES,
           2 * memoryless_floor(p, h) * (1 - p * (1 + h) / (p + h)), .06 * memoryless_floor(p, h));
    f = floor_of(8, "constant", h, longer(3000));
    double variance = constant_floor(7, h) / (h * h);
    within("constant", f.both / sqrt(f.stale * f.fresh), (h + 1 / (h * variance)) / 2, .015);
}

/* ---- momentum of the mean ---- */

enum { PATH = 24 };

static void note_path(struct world_desk *desk, uint64_t version) {
    double *x = desk->context;
    float now[1];
    tw_world_weights(desk->world, now);
    if (version < PATH)
        x[version] = (double)now[0];
}

static double far_from_momentum(const char *delay, uint32_t workers, double h, unsigned schedules) {
    double sum[PATH] = {0}, squares[PATH] = {0}, theory[PATH], worst = 0;
    for (unsigned r = 0; r < schedules; r++) {
        double x[PATH] = {1};
        struct world_desk desk = {.workers = workers,
                                  .mode = "async",
                                  .delay = delay,
                                  .rate = h,
                                  .curvature = 1,
                                  .start = 1,
                                  .updates = PATH,
                                  .delay_seed = 100 + r,
                                  .on_version = note_path,
                                  .context = x};
        run(&desk);
        for (int t = 0; t < PATH; t++) {
            sum[t] += x[t];
            squares[t] += x[t] * x[t];
        }
    }
    theory[0] = 1;
    theory[1] = 1 - h; /* the first step is a full one */
    for (int t = 1; t + 1 < PATH; t++)
        theory[t + 1] =
            theory[t] + (1 - 1.0 / workers) * (theory[t] - theory[t - 1]) - h / workers * theory[t];
    for (int t = 2; t < PATH; t++) {
        double mean = sum[t] / schedules, variance = squares[t] / schedules - mean * mean;
        worst = fmax(worst, fabs(mean - theory[t]) / sqrt(variance / schedules + 1e-14));
    }
    return worst;
}

/* E x_{t+1} - x_t = (1 - 1/M) (x_t - x_{t-1}) - (h/M) x_t: for the mean over schedules, and for
 * memoryless steps only. */
static void asynchrony_begets_momentum_of_the_mean(void **state) {
    assert_true(far_from_momentum("exponential", 4, .2, longer(120)) < 5);
    assert_true(far_from_momentum("gamma cv=.1", 4, .2, 120) > 10);
}

/* ---- saddles ---- */

struct escape {
    int left;
    double mean; /* sum, while it runs */
    bool out[COORDINATES];
};

static void note_escapes(struct world_desk *desk, uint64_t version) {
    struct escape *e = desk->context;
    float x[COORDINATES];
    tw_world_weights(desk->world, x);
    for (int i = 0; i < COORDINATES; i++)
        if (!e->out[i] && fabs((double)x[i]) > 1) {
            e->out[i] = true;
            e->mean += (double)version;
            e->left--;
        }
}

static double escape_time(uint32_t workers, const char *delay, double variance, unsigned runs) {
    double sum = 0;
    for (unsigned r = 0; r < runs; r++) {
        struct escape e = {.left = COORDINATES};
        struct world_desk desk = {.workers = workers,
                                  .mode = "async",
                                  .delay = delay,
                                  .rate = .1,
                                  .curvature = -1,
                                  .noise = sqrt(variance),
                                  .elements = COORDINATES,
                                  .updates = 260,
                                  .seed = 40 + r,
                                  .delay_seed = 90 + r,
                                  .on_version = note_escapes,
                                  .context = &e};
        run(&desk);
        assert_true(e.left <= 1);
        sum += e.mean / (COORDINATES - e.left);
    }
    return sum / runs;
}

/* x' = (1 + h) x + e: mean [ln(1/s) + .6352] / ln(1 + h) + 1/2, s^2 = Var(e) / ((1 + h)^2 - 1). */
static double escape_theory(double variance) {
    double s = sqrt(.01 * variance / (1.1 * 1.1 - 1));
    return (log(1 / s) + .6352) / log(1.1) + .5;
}

static void noise_leaves_saddles_and_staleness_slows_it(void **state) {
    within("table", escape_theory(.1), 35.2, .05);
    within("table", escape_theory(1), 23.1, .05);
    double small = escape_time(1, "constant", .1, 8), large = escape_time(1, "constant", 1, 8);
    within("noise .1", small, escape_theory(.1), 1.3);
    within("noise 1", large, escape_theory(1), 1.3);
    within("difference", small - large, log(sqrt(10)) / log(1.1), 1.2);
    within("M = 8, constant", escape_time(8, "constant", .1, 4), 55.5, 2);
    within("M = 8, memoryless", escape_time(8, "exponential", .1, longer(8)), 50.7, 3);
}

/* ---- bias ---- */

static void add_mean(struct world_desk *desk, uint64_t version) {
    double *sum = desk->context;
    float x[1];
    tw_world_weights(desk->world, x);
    if (version > 1000)
        sum[0] += (double)x[0];
}

/* Each worker its own shard: async ends at the mean weighted by rates, sync at the plain one. */
static void who_is_fast_has_more_say(void **state) {
    static const double target[] = {0, 1, 2, 3, 10};
    unsigned updates = 1000 + longer(12000);
    double sum[1] = {0};
    struct world_desk desk = {.workers = 5,
                              .mode = "async",
                              .delay = "exponential speeds=[1,1,1,1,4]",
                              .rate = .02,
                              .curvature = 1,
                              .target = target,
                              .updates = updates,
                              .delay_seed = 41,
                              .on_version = add_mean,
                              .context = sum};
    run(&desk);
    within("async", sum[0] / (updates - 1000), 5.75, 5 * 4.07 / sqrt(updates));
    desk.mode = "sync";
    desk.updates = 1100;
    sum[0] = 0;
    run(&desk);
    within("sync", sum[0] / 100, 3.2, 1e-4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conservation_holds_in_every_mode_for_every_law),
        cmocka_unit_test(memoryless_staleness_is_geometric),
        cmocka_unit_test(constant_steps_are_round_robin),
        cmocka_unit_test(fast_and_slow_workers_have_their_own_staleness),
        cmocka_unit_test(gathering_divides_staleness),
        cmocka_unit_test(real_clusters_are_nearly_round_robin),
        cmocka_unit_test(constant_delay_is_stable_up_to_its_edge),
        cmocka_unit_test(noise_ends_on_the_floor_of_its_staleness),
        cmocka_unit_test(stale_gradients_point_nearly_there),
        cmocka_unit_test(asynchrony_begets_momentum_of_the_mean),
        cmocka_unit_test(noise_leaves_saddles_and_staleness_slows_it),
        cmocka_unit_test(who_is_fast_has_more_say),
    };
    cmocka_set_test_filter(getenv("TALWEG_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
