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

static const char *const every_mode[] = {"sync",      "async",           "ssp:2",
                                         "backup:2",  "k-sync:3",        "k-batch-sync:3",
                                         "k-async:3", "k-batch-async:3", "softsync:2",
                                         "hogwild",   "stale-uniform:4", "stale-geometric:1"};
enum { MODES = sizeof every_mode / sizeof *every_mode };

static void conservation_holds_in_every_mode_for_every_law(void **state) {
    static const char *const laws[] = {"constant",         "exponential",
                                       "pareto shape=1.5", "heterogeneous_gamma",
                                       "two_state",        "gamma cv=.17"};
    for (size_t m = 0; m < MODES; m++)
        for (size_t l = 0; l < sizeof laws / sizeof *laws; l++)
            for (uint32_t workers = 10; workers <= 16; workers += 6)
                staleness_of(workers, every_mode[m], laws[l], 40); /* run() looks */
}

/* Of reads that are lost each counts up to where it is lost, those of a server that dies, too: then
 * the run begins again from a checkpoint, with sums from there. */
static void conservation_holds_whoever_dies(void **state) {
    static const struct tw_mishap mishaps[] = {{TW_MISHAP_DEATH, 0, 2.25, 1},
                                               {TW_MISHAP_DEATH, 3, 3.5, .5},
                                               {TW_MISHAP_PAUSE, 1, 4, 3},
                                               {TW_MISHAP_ABSENCE, 2, 2, 0},
                                               {TW_MISHAP_SERVER_DEATH, 0, 6.2, 1}};
    for (size_t m = 0; m < MODES; m++)
        for (size_t some = 4; some <= 5; some++) {
            struct world_desk desk = {.workers = 10,
                                      .mode = every_mode[m],
                                      .servers = 2,
                                      .delay = "exponential",
                                      .elements = 20000, /* two chunks */
                                      .latency = .02,
                                      .updates = 60,
                                      .checkpoint_every = 4,
                                      .delay_seed = 13,
                                      .mishaps = mishaps,
                                      .mishap_count = some};
            run(&desk);
            assert_int_equal(desk.rollbacks, some - 4);
        }
}

/* P(tau = k) = p (1 - p)^k: chi-square over cells that expect enough. */
static void memoryless_staleness_is_geometric(void **state) {
    static const uint32_t workers[] = {8, 3, 20};
    for (int w = 0; w < 3; w++) {
        struct staleness s = staleness_of(workers[w], "async", "exponential", sampled(200000));
        double p = 1.0 / workers[w], n = (double)s.count, chance = p, chi = 0, left = n;
        uint64_t seen = 0, large = s.count;
        int cells = 0;
        for (; n * chance > 8; cells++, chance *= 1 - p) {
            double off = (double)s.histogram[cells] - n * chance;
            chi += off * off / (n * chance);
            left -= n * chance;
            seen += s.histogram[cells];
        }
        chi += (n - (double)seen - left) * (n - (double)seen - left) / left;
        for (int tau = 0; tau <= 16; tau++)
            large -= s.histogram[tau];
        assert_true(chi < rarely(cells));
        within("mean", s.sum / n, workers[w] - 1.0, .1);
        within("more than 16", (double)large / n, pow(1 - p, 17), roughly(.005));
        within("sd", sd_of(&s), sqrt(1 - p) / p, roughly(.02 / p));
    }
}

static void constant_steps_are_round_robin(void **state) {
    static const uint32_t workers[] = {2, 8, 9, 30};
    for (int i = 0; i < 4; i++) {
        struct staleness s = staleness_of(workers[i], "async", "constant", 20 * workers[i]);
        assert_true(sd_of(&s) == 0);
        within("tau", s.sum / (double)s.count, workers[i] - 1.0, 0);
    }
}

/* Worker i is geometric with p_i = r_i / sum r; the mean over updates stays M - 1. */
static void fast_and_slow_workers_have_their_own_staleness(void **state) {
    static const struct {
        uint32_t workers;
        double rate[6];
        const char *law;
    } cases[] = {{4, {1, 1, 1, .25}, "exponential speeds=[1,1,1,.25]"},
                 {4, {1, 2, 3, 4}, "exponential speeds=[1,2,3,4]"},
                 {6, {2, 1, 1, 1, 1, .5}, "exponential mean=3 speeds=[2,1,1,1,1,.5]"}};
    for (int c = 0; c < 3; c++) {
        uint32_t workers = cases[c].workers;
        struct staleness s = staleness_of(workers, "async", cases[c].law, sampled(250000));
        double total = 0;
        for (uint32_t i = 0; i < workers; i++)
            total += cases[c].rate[i];
        for (uint32_t i = 0; i < workers; i++) {
            double p = cases[c].rate[i] / total, expected = (1 - p) / p;
            within("mean of a worker", (double)s.sum_of_slot[i] / (double)s.of_slot[i], expected,
                   roughly(.03 * expected));
        }
        within("mean", s.sum / (double)s.count, workers - 1.0, roughly(.005));
    }
}

/* K-batch-async: (M - 1)/K; K-async: (M - K)/K. */
static void gathering_divides_staleness(void **state) {
    const unsigned updates = sampled(30000);
    struct staleness s = staleness_of(8, "k-batch-async:4", "exponential", updates);
    within("k-batch-async:4", s.sum / (double)s.count, 7.0 / 4, roughly(.02));
    s = staleness_of(8, "k-async:4", "exponential", updates);
    within("k-async:4", s.sum / (double)s.count, 1, roughly(.02));
    s = staleness_of(6, "k-async:2", "gamma cv=.3", updates);
    within("k-async:2", s.sum / (double)s.count, 2, roughly(.02));
}

/* Gamma with the CV that real clusters have: sd of tau at M = 8 is 1.10 for cv .1, 1.58 for .17. */
static void real_clusters_are_nearly_round_robin(void **state) {
    struct staleness s = staleness_of(8, "async", "gamma cv=.1", sampled(60000));
    within("cv .1", sd_of(&s), 1.10, .08);
    s = staleness_of(8, "async", "gamma cv=.17", sampled(60000));
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
    static const struct {
        uint32_t workers;
        double mu, edge; /* as the table has it; 0: it has not */
    } cases[] = {{1, 0, 2},         {1, .5, 3},        {1, .9, 3.8},      {2, 0, 1},
                 {2, .5, .5},       {2, .9, .1},       {4, 0, .445042},   {4, .5, .199267},
                 {4, .9, .034784},  {8, 0, .209057},   {8, .5, .095753},  {8, .9, .015752},
                 {16, 0, .101298},  {16, .5, .048037}, {16, .9, .007929}, {32, 0, .049861},
                 {32, .5, .024222}, {32, .9, .004179}, {3, .3, 0},        {6, .7, 0},
                 {12, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t workers = cases[i].workers;
        double mu = cases[i].mu, h = workers > 1 ? edge(workers - 1.0, mu) : 2 * (1 + mu);
        if (cases[i].edge > 0)
            within("table", h, cases[i].edge, 1e-6);
        assert_false(grows(workers, .995 * h, mu, 8000));
        assert_true(grows(workers, 1.005 * h, mu, 8000));
    }
}

/* ---- floors ---- */

static double memoryless_floor(double p, double h) {
    return h / (2 * p * (1 + h) / (p + h) - h);
}

/* The variance, the cosine between a gradient of what was read and one of what it will be applied
 * to, and how far these are apart: |x_t - x_read|^2 = 2 Var (1 - cosine). */
static void check_floor(uint32_t workers, const char *delay, double h, int coordinates,
                        unsigned updates, double variance, double cosine) {
    struct floor f = floor_in("async", workers, delay, h, coordinates, updates);
    within("variance", f.squares / variance, 1, roughly(.02));
    within("cosine", f.both / sqrt(f.stale * f.fresh), cosine, roughly(.01));
    if (cosine < 1)
        within("gap", f.gap / (double)f.pairs / coordinates / (2 * variance * (1 - cosine)), 1,
               roughly(.03));
}

static void check_constant_floor(uint32_t workers, double h, int coordinates, unsigned updates) {
    double variance = constant_floor(workers - 1.0, h);
    check_floor(workers, "constant", h, coordinates, updates, variance, (h + h / variance) / 2);
}

static void check_memoryless_floor(uint32_t workers, double h, int coordinates, unsigned updates) {
    double p = 1.0 / workers;
    check_floor(workers, "exponential", h, coordinates, updates, memoryless_floor(p, h),
                p * (1 + h) / (p + h));
}

static void noise_ends_on_the_floor_of_its_staleness(void **state) {
    double h = .05, p = 1.0 / 8, constant = constant_floor(7, h);
    within("table", constant / fresh_floor(h), 1.4321, 1e-4); /* off by one: 1.358 or 1.512 */
    within("table", memoryless_floor(p, h) / fresh_floor(h), 1.3448, 1e-4);
    within("table", p * (1 + h) / (p + h), .75, 1e-4);
    within("table", (h + h / constant) / 2, .7058, 1e-4);
    check_floor(1, "constant", h, COORDINATES, sampled(12000), fresh_floor(h), 1);
    check_constant_floor(8, h, MANY_COORDINATES, sampled(6000));
    check_constant_floor(4, .1, COORDINATES, sampled(12000));
    check_memoryless_floor(8, h, MANY_COORDINATES, sampled(60000));
    check_memoryless_floor(3, .2, COORDINATES, sampled(30000));
}

/* ---- momentum of the mean ---- */

enum { PATH = 6 * 16 + 1 };

static void note_path(struct world_desk *desk, uint64_t version) {
    double *x = desk->context;
    float now[1];
    tw_world_weights(desk->world, now);
    if (version < PATH)
        x[version] = (double)now[0];
}

/* The mean over schedules, and its standard errors. */
struct mean_path {
    uint32_t workers;
    double h;
    double mean[PATH], error[PATH];
};

static struct mean_path mean_path_of(const char *delay, uint32_t workers, double h,
                                     unsigned schedules) {
    struct mean_path path = {.workers = workers, .h = h};
    double squares[PATH] = {0};
    for (unsigned r = 0; r < schedules; r++) {
        double x[PATH] = {1};
        struct world_desk desk = {.workers = workers,
                                  .mode = "async",
                                  .delay = delay,
                                  .rate = h,
                                  .curvature = 1,
                                  .start = 1,
                                  .updates = 6 * workers,
                                  .delay_seed = 100 + r,
                                  .on_version = note_path,
                                  .context = x};
        run(&desk);
        for (uint32_t t = 0; t <= 6 * workers; t++) {
            path.mean[t] += x[t] / schedules;
            squares[t] += x[t] * x[t] / schedules;
        }
    }
    for (int t = 0; t < PATH; t++)
        path.error[t] = sqrt(fmax(squares[t] - path.mean[t] * path.mean[t], 0) / schedules) + 1e-7;
    return path;
}

/* How many errors it is away from the path of heavy ball with 1 - 1/M and h/M. */
static double far_from_momentum(const struct mean_path *path) {
    const double p = 1.0 / path->workers, h = path->h;
    double before = 1, now = 1 - h, worst = 0; /* the first step is a full one */
    for (uint32_t t = 2; t <= 6 * path->workers; t++) {
        double next = now + (1 - p) * (now - before) - h * p * now;
        before = now;
        now = next;
        worst = fmax(worst, fabs(path->mean[t] - now) / path->error[t]);
    }
    return worst;
}

/* Least squares of x_{t+1} - x_t on x_t - x_{t-1} and x_t: momentum, and how much of h there is.
 * The two have to be told apart: a condition number below a thousand. */
static void fit_momentum(const struct mean_path *path, double *mu, double *part) {
    const double *x = path->mean;
    double dd = 0, dx = 0, xx = 0, dy = 0, xy = 0;
    for (uint32_t t = 1; t < 6 * path->workers; t++) {
        double d = x[t] - x[t - 1], y = x[t + 1] - x[t];
        dd += d * d;
        dx += d * x[t];
        xx += x[t] * x[t];
        dy += d * y;
        xy += x[t] * y;
    }
    double determinant = dd * xx - dx * dx;
    double half = (dd + xx) / 2, apart = sqrt(half * half - determinant);
    assert_true((half + apart) / (half - apart) < 1e6);
    *mu = (dy * xx - xy * dx) / determinant;
    *part = -(xy * dd - dy * dx) / determinant / path->h;
}

/* E x_{t+1} - x_t = (1 - 1/M) (x_t - x_{t-1}) - (h/M) x_t: for the mean over schedules, and for
 * memoryless steps only. */
static void asynchrony_begets_momentum_of_the_mean(void **state) {
    static const struct {
        uint32_t workers;
        double h;
    } cases[] = {{2, .2}, {4, .05}, {4, .2}, {8, .05}, {8, .2}, {16, .1}};
    double mu, part;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double p = 1.0 / cases[i].workers;
        struct mean_path path =
            mean_path_of("exponential", cases[i].workers, cases[i].h,
                         sampled(cases[i].workers > 2 ? 4000 : 40000)); /* a short path */
        fit_momentum(&path, &mu, &part);
        within("momentum", mu, 1 - p, roughly(.005));
        within("part of the rate", part, p, roughly(.006));
        assert_true(far_from_momentum(&path) < 5);
    }
    struct mean_path path = mean_path_of("gamma cv=.1", 8, .1, sampled(4000));
    fit_momentum(&path, &mu, &part);
    within("part of the rate", part, .2, .02); /* and not 1/8 */
    assert_true(far_from_momentum(&path) > 10);
    path = mean_path_of("constant", 8, .1, 1);
    fit_momentum(&path, &mu, &part);
    assert_true(fabs(part - .125) > .05);
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
static void check_shards(const char *delay, const double *rates, const double target[5]) {
    unsigned updates = 1000 + sampled(150000);
    double sum[1] = {0}, weighted = 0, plain = 0, all = 0;
    for (int i = 0; i < 5; i++) {
        weighted += rates[i] * target[i];
        plain += target[i] / 5;
        all += rates[i];
    }
    struct world_desk desk = {.workers = 5,
                              .mode = "async",
                              .delay = delay,
                              .rate = .02,
                              .curvature = 1,
                              .target = target,
                              .updates = updates,
                              .delay_seed = 41,
                              .on_version = add_mean,
                              .context = sum};
    run(&desk);
    within("async", sum[0] / (updates - 1000), weighted / all, roughly(.05));
    desk.mode = "sync";
    desk.updates = 1100;
    sum[0] = 0;
    run(&desk);
    within("sync", sum[0] / 100, plain, 1e-4);
}

static void who_is_fast_has_more_say(void **state) {
    static const double listed[] = {1, 1, 1, 1, 4}, others[] = {1, 2, 3, 4, .5};
    check_shards("exponential speeds=[1,1,1,1,4]", listed, (const double[]){0, 1, 2, 3, 10});
    check_shards("exponential speeds=[1,2,3,4,.5]", others, (const double[]){4, -3, 1, 0, 8});
}

static void go_without(uint32_t workers, const char *mode, const char *delay, double rate,
                       const double *target, double rest, double allowed) {
    struct world_desk desk = {.workers = workers,
                              .mode = mode,
                              .delay = delay,
                              .rate = rate,
                              .curvature = 1,
                              .target = target,
                              .updates = 200};
    run(&desk);
    within(mode, (double)desk.x[0], rest, allowed);
}

/* Who is always too late has no say: backups leave the mean of the rest, and not that of all. With
 * a rate of 1 and whole numbers nothing is rounded. */
static void who_is_always_late_has_no_say(void **state) {
    static const double one[] = {0, 1, 2, 9, 10}, two[] = {4, -3, 9, 1, -1, 8};
    for (int i = 0; i < 2; i++) {
        double rate = i ? .3 : 1, allowed = i ? 1e-6 : 0;
        go_without(5, "backup:1", "constant speeds=[1,1,1,1,.3]", rate, one, 3, allowed);
        go_without(6, "backup:2", "constant speeds=[1,1,.4,1,1,.7]", rate, two, .25, allowed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conservation_holds_in_every_mode_for_every_law),
        cmocka_unit_test(conservation_holds_whoever_dies),
        cmocka_unit_test(memoryless_staleness_is_geometric),
        cmocka_unit_test(constant_steps_are_round_robin),
        cmocka_unit_test(fast_and_slow_workers_have_their_own_staleness),
        cmocka_unit_test(gathering_divides_staleness),
        cmocka_unit_test(real_clusters_are_nearly_round_robin),
        cmocka_unit_test(constant_delay_is_stable_up_to_its_edge),
        cmocka_unit_test(noise_ends_on_the_floor_of_its_staleness),
        cmocka_unit_test(asynchrony_begets_momentum_of_the_mean),
        cmocka_unit_test(who_is_fast_has_more_say),
        cmocka_unit_test(who_is_always_late_has_no_say),
    };
    cmocka_set_test_filter(getenv("TALWEG_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
