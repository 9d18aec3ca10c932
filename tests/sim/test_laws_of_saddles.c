/* How saddles are left, on the virtual cluster (see test_laws.c): f(x) = -x^2/2, from x = 0 with
 * noise, or from 1 without. M workers, h = rate x curvature.
 */
#include "tests/sim/laws.h"

#include "common/base/rng.h"

/* ---- growth ---- */

static void note_size(struct world_desk *desk, uint64_t version) {
    double *x = desk->context;
    float now[1];
    tw_world_weights(desk->world, now);
    x[version] = (double)now[0];
}

/* By how much the mean over schedules grows in an update, between two of them. */
static double mean_growth(uint32_t workers, const char *delay, double h, unsigned schedules) {
    const unsigned from = 5 * workers, to = 10 * workers;
    double sum[2] = {0};
    for (unsigned r = 0; r < schedules; r++) {
        double x[10 * 8 + 1];
        struct world_desk desk = {.workers = workers,
                                  .mode = "async",
                                  .delay = delay,
                                  .rate = h,
                                  .curvature = -1,
                                  .start = 1,
                                  .updates = to,
                                  .delay_seed = 300 + r,
                                  .on_version = note_size,
                                  .context = x};
        run(&desk);
        sum[0] += x[from];
        sum[1] += x[to];
    }
    return pow(sum[1] / sum[0], 1.0 / (to - from));
}

/* The root above 1 of z^(tau+1) - z^tau = h, and of z^2 - (2 - p + h p) z + 1 - p = 0. */
static double constant_growth(double tau, double h) {
    double low = 1, high = 1 + h;
    for (int i = 0; i < 60; i++) {
        double z = (low + high) / 2;
        bool above = pow(z, tau) * (z - 1) > h;
        low = above ? low : z;
        high = above ? z : high;
    }
    return low;
}

static double memoryless_growth(double p, double h) {
    double b = 2 - p + h * p;
    return (b + sqrt(b * b - 4 * (1 - p))) / 2;
}

static void staleness_slows_what_grows(void **state) {
    static const struct {
        uint32_t workers;
        double h, constant, memoryless; /* as the table has it; 0: it has not */
    } cases[] = {{8, .1, 1.06454, 1.06891}, {4, .1, 0, 0}, {8, .3, 0, 0}, {2, .5, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const double h = cases[i].h, workers = cases[i].workers;
        const double constant = constant_growth(workers - 1, h);
        const double memoryless = memoryless_growth(1 / workers, h);
        if (cases[i].constant > 0) {
            within("table", constant, cases[i].constant, 1e-5);
            within("table", memoryless, cases[i].memoryless, 1e-5);
        }
        /* With one step less or more of staleness it would be .003 away. */
        within("constant", mean_growth(cases[i].workers, "constant", h, 1), constant, 3e-4);
        within("memoryless", mean_growth(cases[i].workers, "exponential", h, sampled(2000)),
               memoryless, roughly(.0015));
    }
}

/* ---- escape ---- */

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

static void run_on_a_saddle(struct escape *e, uint32_t workers, const char *delay, double h,
                            double variance, unsigned number) {
    *e = (struct escape){.left = COORDINATES};
    struct world_desk desk = {.workers = workers,
                              .mode = "async",
                              .delay = delay,
                              .rate = h,
                              .curvature = -1,
                              .noise = sqrt(variance),
                              .elements = COORDINATES,
                              .updates = (uint64_t)(26 / h),
                              .seed = 40 + number,
                              .delay_seed = 90 + number,
                              .on_version = note_escapes,
                              .context = e};
    run(&desk);
}

static double escape_time(uint32_t workers, const char *delay, double h, double variance,
                          unsigned runs) {
    double sum = 0;
    for (unsigned r = 0; r < runs; r++) {
        struct escape e;
        run_on_a_saddle(&e, workers, delay, h, variance, r);
        assert_true(e.left <= 1);
        sum += e.mean / (COORDINATES - e.left);
    }
    return sum / runs;
}

/* x' = (1 + h) x + e: mean [ln(1/s) + .6352] / ln(1 + h) + 1/2, s^2 = Var(e) / ((1 + h)^2 - 1).
 * With constant staleness noise of 1 ends as c z^t, z the root above, c = z / ((tau + 1) z - tau).
 */
static double escape_theory(double tau, double h, double variance) {
    double z = constant_growth(tau, h), c = z / ((tau + 1) * z - tau);
    double s = c * h * sqrt(variance / (z * z - 1));
    return (log(1 / s) + .6352) / log(z) + .5;
}

/* Of memoryless steps there is no such form: a plain loop in which each worker is as likely to push
 * next. */
static double escape_in_a_loop(int workers, double h, double variance, unsigned runs) {
    double sum = 0;
    for (unsigned run = 0; run < runs; run++) {
        double x = 0, read[DESK_WORKERS] = {0};
        struct tw_rng rng;
        tw_rng_init(&rng, 4242, TW_STREAM_DELAY, 0, run);
        for (int t = 0; fabs(x) <= 1; t++, sum++) {
            int who = (int)(tw_rng_uniform(&rng) * workers);
            x += h * (read[who] + sqrt(variance) * tw_rng_normal(&rng));
            read[who] = x;
        }
    }
    return sum / runs;
}

static void noise_leaves_saddles_and_staleness_slows_it(void **state) {
    within("table", escape_theory(0, .1, .1), 35.2, .05);
    within("table", escape_theory(0, .1, 1), 23.1, .05);
    within("table", escape_theory(7, .1, .1), 55.5, .2);
    double loop = escape_in_a_loop(8, .1, .1, 40000);
    within("table", loop, 50.7, .5);
    double small = escape_time(1, "constant", .1, .1, sampled(200));
    double large = escape_time(1, "constant", .1, 1, sampled(200));
    within("noise .1", small, escape_theory(0, .1, .1), .5);
    within("noise 1", large, escape_theory(0, .1, 1), .5);
    within("difference", small - large, log(sqrt(10)) / log(1.1), roughly(.3));
    within("h = .05", escape_time(1, "constant", .05, .3, sampled(200)), escape_theory(0, .05, .3),
           1);
    within("M = 8, constant", escape_time(8, "constant", .1, .1, sampled(100)),
           escape_theory(7, .1, .1), roughly(1));
    within("M = 4, constant", escape_time(4, "constant", .1, .3, sampled(100)),
           escape_theory(3, .1, .3), roughly(1));
    within("M = 8, memoryless", escape_time(8, "exponential", .1, .1, sampled(300)), loop,
           roughly(1));
}

static void without_noise_nobody_leaves_a_saddle(void **state) {
    struct escape e;
    for (uint32_t workers = 1; workers <= 8; workers *= 8) {
        run_on_a_saddle(&e, workers, "exponential", .1, 0, 0);
        assert_int_equal(e.left, COORDINATES);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(staleness_slows_what_grows),
        cmocka_unit_test(noise_leaves_saddles_and_staleness_slows_it),
        cmocka_unit_test(without_noise_nobody_leaves_a_saddle),
    };
    cmocka_set_test_filter(getenv("TALWEG_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
