/* Staleness that is imposed (modes stale-...), as laws of the virtual cluster: it is what its law
 * says, independent from update to update, whatever steps take; and the variance on which noise
 * ends then is that of a linear recursion. */
#include "tests/sim/laws.h"

static double imposed_chance(const char *mode, unsigned number, uint32_t workers, unsigned k) {
    double q = number / (1.0 + number);
    if (strncmp(mode, "stale-uniform", 13) == 0)
        return k < number ? 1.0 / number : 0;
    return k < workers ? (1 - q) * pow(q, k) / (1 - pow(q, workers)) : 0;
}

static const struct imposed {
    const char *mode;
    unsigned number;
    uint32_t workers;
    const char *delay;
} imposed[] = {{"stale-uniform:8", 8, 8, "exponential"},
               {"stale-uniform:5", 5, 16, "pareto shape=1.5"},
               {"stale-geometric:1", 1, 10, "constant"},
               {"stale-geometric:3", 3, 32, "heterogeneous_gamma"}};
enum { IMPOSED = sizeof imposed / sizeof *imposed };

/* Its law, and nothing that hangs together; where staleness follows from time, it does. */
static void it_is_independent_and_has_its_law(void **state) {
    unsigned updates = sampled(80000);
    for (int i = 0; i < IMPOSED; i++) {
        const struct imposed *c = &imposed[i];
        struct staleness s = staleness_of(c->workers, c->mode, c->delay, updates);
        double n = (double)s.count, chi = 0, rest = n, left = n;
        int cells = 0;
        for (unsigned k = 0; k < c->workers; k++) {
            double expected = n * imposed_chance(c->mode, c->number, c->workers, k);
            double off = (double)s.histogram[k] - expected;
            if (expected < 30)
                continue;
            chi += off * off / expected;
            rest -= expected;
            left -= (double)s.histogram[k];
            cells++;
        }
        if (rest > 1)
            chi += (left - rest) * (left - rest) / rest;
        within("chi-square", chi, cells, 5 * sqrt(2.0 * cells));
        within("lag 1", lag_one(&s), 0, 5 / sqrt(n));
    }
    struct staleness s = staleness_of(8, "async", "exponential", updates);
    within("lag 1 of memoryless steps", lag_one(&s), -.065, 5 / sqrt((double)s.count));
}

/* The order does not depend on time. */
static void it_gives_the_same_bits_under_any_delays(void **state) {
    struct world_desk one = {.workers = 8,
                             .mode = "stale-uniform:6",
                             .delay = "exponential",
                             .rate = .1,
                             .curvature = 1,
                             .noise = 1,
                             .elements = 20,
                             .updates = 500,
                             .seed = 3,
                             .delay_seed = 4};
    struct world_desk other = one;
    other.delay = "pareto shape=1.2";
    other.latency = .3;
    other.bandwidth = 20000; /* enough for nobody to be given up */
    run(&one);
    run(&other);
    assert_memory_equal(one.x, other.x, sizeof one.x);
    assert_true(one.seconds != other.seconds);
    assert_int_equal(one.sums.applied, other.sums.applied);
    other.delay_seed = 5;
    run(&other);
    assert_memory_not_equal(one.x, other.x, sizeof one.x);
}

/* With tau drawn independently the covariances r_k = E x_t x_(t-k) of x' = x - h x_(t-tau) + e are
 * those of r_k = r_(k-1) - h E r_|k-1-tau|, k >= 1, and 2 h E r_tau - h^2 r_0 = Var(e): as many
 * equations as tau has values. r_0, by elimination. `shift` is what tau is late by. */
static double imposed_floor(const struct imposed *c, int shift, double h) {
    enum { MOST = 40 };
    double a[MOST][MOST + 1] = {{0}};
    int n = (int)c->workers + shift;
    a[0][n] = h * h;
    a[0][0] = -h * h;
    for (int k = 0; k < n; k++) {
        for (unsigned t = 0; t < c->workers; t++) {
            double p = imposed_chance(c->mode, c->number, c->workers, t);
            int late = (int)t + shift;
            a[k][k ? abs(k - 1 - late) : late] += (k ? 1 : 2) * h * p;
        }
        a[k][k] += k > 0;
        a[k][k ? k - 1 : 0] -= k > 0;
    }
    for (int k = n; k-- > 1;) /* from the last unknown down: the first is left */
        for (int row = 0; row < k; row++) {
            double factor = a[row][k] / a[k][k];
            for (int i = 0; i <= n; i++)
                a[row][i] -= factor * a[k][i];
        }
    return a[0][n] / a[0][0];
}

static void it_has_its_floor(void **state) {
    const struct imposed round_robin = {"stale-uniform:1", 1, 1, ""};
    within("fresh", imposed_floor(&round_robin, 0, .05), fresh_floor(.05), 1e-12);
    for (int tau = 0; tau < 32; tau++) {
        double h = sin(M_PI / (2 * (2 * tau + 1))); /* half of the edge */
        within("constant", imposed_floor(&round_robin, tau, h) / constant_floor(tau, h), 1, 1e-12);
    }
    for (int i = 0; i < IMPOSED; i++) {
        const struct imposed *c = &imposed[i];
        double h = .15, expected = imposed_floor(c, 0, h);
        struct floor f =
            floor_in(c->mode, c->workers, "exponential", h, COORDINATES, sampled(25000));
        within(c->mode, f.squares / expected, 1, roughly(.01));
        assert_true(imposed_floor(c, 1, h) > 1.15 * expected); /* off by one */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_independent_and_has_its_law),
        cmocka_unit_test(it_gives_the_same_bits_under_any_delays),
        cmocka_unit_test(it_has_its_floor),
    };
    cmocka_set_test_filter(getenv("TALWEG_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
