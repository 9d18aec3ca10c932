/* Laws of memoryless asynchrony that means and variances over schedules obey, on the virtual
 * cluster (see test_laws.c): how E x^2 splits, where it stops being finite, and the tails that this
 * leaves; and that updates which touch different weights do not care about order at all.
 *
 * M workers, p = 1/M, one of them pushes next, each as likely; it read r_k when it pushed last.
 * x' = x - h r_k - e, r_k' = x'. So the moments E x^2, E x r, E r_i^2 and E r_i r_j (i != j) are
 * a linear recursion in four numbers, and the means another in two.
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

#include "common/base/rng.h"
#include "tests/sim/laws.h"

/* ---- the recursion ---- */

struct moments {
    double workers, h, variance; /* of e */
    double x, r;                 /* means: of the weight, of a read */
    double xx, xr, rr, rs;       /* E x^2, E x r_i, E r_i^2, E r_i r_j */
};

static struct moments moments_at(double workers, double h, double variance, double start) {
    double square = start * start;
    return (struct moments){workers, h, variance, start, start, square, square, square, square};
}

static void advance(struct moments *m) {
    double p = 1 / m->workers, h = m->h;
    double pushed = m->xr - h * m->rr; /* E x' r_k */
    double xx = m->xx - 2 * h * m->xr + h * h * m->rr + m->variance;
    double xr = m->xr - h * (p * m->rr + (1 - p) * m->rs) + p * (xx - pushed);
    double rs = (1 - 2 * p) * m->rs + 2 * p * (m->xr - h * m->rs);
    m->rr += p * (xx - m->rr);
    m->xx = xx;
    m->xr = xr;
    m->rs = rs;
    m->x -= h * m->r;
    m->r += p * (m->x - m->r);
}

/* By how much all of it grows in the end: power iteration. */
static double growth(double workers, double h) {
    struct moments m = moments_at(workers, h, 0, 1);
    double scale = 1;
    for (int t = 0; t < 20000; t++) {
        advance(&m);
        scale = fabs(m.xx) + fabs(m.xr) + fabs(m.rr) + fabs(m.rs);
        m.xx /= scale;
        m.xr /= scale;
        m.rr /= scale;
        m.rs /= scale;
    }
    return scale;
}

static double mean_square_edge(double workers) {
    double p = 1 / workers;
    return (p + sqrt(p * p + 8 * p)) / 2;
}

static void mean_squares_are_finite_up_to_their_edge(void **state) {
    static const double table[][2] = {
        {2, 1.2808}, {4, .8431}, {8, .5664}, {16, .3862}, {32, .2661}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        double low = .1, high = 2;
        for (int k = 0; k < 50; k++) {
            double middle = (low + high) / 2;
            bool grows = growth(table[i][0], middle) > 1;
            low = grows ? low : middle;
            high = grows ? middle : high;
        }
        within("edge", low, mean_square_edge(table[i][0]), 1e-9);
        within("table", low, table[i][1], 6e-5);
    }
}

/* ---- what the cluster makes of it ---- */

enum { TIMES = 3, COPIES = 24 };
static const uint64_t times[TIMES] = {10, 20, 40};

/* Copies of x see the same schedule, each with noise of its own. */
static void note_split(struct world_desk *desk, uint64_t version) {
    float x[COPIES];
    double *now = desk->context;
    for (int i = 0; i < TIMES; i++) {
        if (version != times[i])
            continue;
        double sum = 0, squares = 0;
        tw_world_weights(desk->world, x);
        for (int c = 0; c < COPIES; c++)
            sum += (double)x[c];
        for (int c = 0; c < COPIES; c++)
            squares += ((double)x[c] - sum / COPIES) * ((double)x[c] - sum / COPIES);
        now[i] = sum / COPIES;
        now[TIMES + i] = squares / (COPIES - 1);
    }
}

static void run_schedule(uint32_t workers, double h, double noise, uint64_t number,
                         double now[2 * TIMES]) {
    struct world_desk desk = {.workers = workers,
                              .mode = "async",
                              .delay = "exponential",
                              .rate = h,
                              .curvature = 1,
                              .noise = noise,
                              .start = 1,
                              .elements = COPIES,
                              .updates = times[TIMES - 1],
                              .seed = 500 + number,
                              .delay_seed = 900 + number,
                              .on_version = note_split,
                              .context = now};
    run(&desk);
}

/* Within a part of the value where an optimised build makes so many schedules that this is some
 * standard errors; else within five of those that there are. */
static void near(const char *what, double value, double expected, double part, double error) {
    within(what, value, expected, in_full() ? part * expected : 5 * error);
}

/* E x^2 = mean^2 + V of schedules + V of noise, each to 3%. */
static void check_split(uint32_t workers, double h, double noise, unsigned schedules) {
    struct moments quiet = moments_at(workers, h, 0, 1), noisy = quiet;
    double mean[TIMES], of_schedules[TIMES], of_noise[TIMES];
    double s1[TIMES] = {0}, s2[TIMES] = {0}, s4[TIMES] = {0}, v1[TIMES] = {0}, v2[TIMES] = {0};
    noisy.variance = h * h * noise * noise;
    for (uint64_t t = 1, i = 0; i < TIMES; t++) {
        advance(&quiet);
        advance(&noisy);
        if (t != times[i])
            continue;
        mean[i] = quiet.x;
        of_schedules[i] = quiet.xx - quiet.x * quiet.x;
        of_noise[i++] = noisy.xx - quiet.xx;
    }
    for (unsigned r = 0; r < schedules; r++) {
        double now[2 * TIMES];
        run_schedule(workers, h, noise, r, now);
        for (int i = 0; i < TIMES; i++) {
            double off = now[i] - mean[i], square = off * off, spread = now[TIMES + i];
            s1[i] += off;
            s2[i] += square - spread / COPIES; /* what noise leaves in a mean of copies */
            s4[i] += square * square;
            v1[i] += spread;
            v2[i] += spread * spread;
        }
    }
    for (int i = 0; i < TIMES; i++) {
        double n = schedules, square = s2[i] / n, spread = v1[i] / n;
        double path = mean[i] + s1[i] / n, error = sqrt((square + spread / COPIES) / n);
        near("path", path * path, mean[i] * mean[i], .03, 2 * fabs(mean[i]) * error);
        near("schedules", square, of_schedules[i], .03, sqrt((s4[i] / n - square * square) / n));
        near("noise", spread, of_noise[i], .03, sqrt((v2[i] / n - spread * spread) / n));
    }
}

static void mean_square_is_path_and_schedule_and_noise(void **state) {
    static const double table[TIMES][3] = {
        {.1761, .0253, .0571}, {.0878, .0273, .0612}, {.0072, .0112, .0679}};
    struct moments quiet = moments_at(8, .2, 0, 1), noisy = moments_at(8, .2, .01, 1);
    for (uint64_t t = 1, i = 0; i < TIMES; t++) {
        advance(&quiet);
        advance(&noisy);
        if (t != times[i])
            continue;
        within("mean^2", quiet.x * quiet.x, table[i][0], 6e-5);
        within("schedules", quiet.xx - quiet.x * quiet.x, table[i][1], 6e-5);
        within("noise", noisy.xx - quiet.xx, table[i][2], 6e-5);
        i++;
    }
    check_split(8, .2, .5, in_full() ? 60000 : 500);
    check_split(16, .1, .5, in_full() ? 20000 : 500);
}

/* ---- tails ---- */

struct tail {
    double *size; /* |x| of every thin-th update */
    size_t count, room, thin;
};

static void note_tail(struct world_desk *desk, uint64_t version) {
    struct tail *tail = desk->context;
    float x[1];
    if (version < 500 || version % tail->thin || tail->count == tail->room)
        return;
    tw_world_weights(desk->world, x);
    tail->size[tail->count++] = fabs((double)x[0]);
}

static int falling(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* Hill's estimate of a in P(|x| > u) ~ u^-a, from the largest hundredth, 2,000 at most. */
static double tail_index(uint32_t workers, const char *delay, double h, unsigned updates) {
    struct tail tail = {.thin = updates < 6000000 ? 3 : updates / 2000000};
    tail.room = updates / tail.thin;
    tail.size = calloc(tail.room, sizeof *tail.size);
    struct world_desk desk = {.workers = workers,
                              .mode = "async",
                              .delay = delay,
                              .rate = h,
                              .curvature = 1,
                              .noise = 1,
                              .updates = updates,
                              .seed = 61,
                              .delay_seed = 62,
                              .on_version = note_tail,
                              .context = &tail};
    run(&desk);
    qsort(tail.size, tail.count, sizeof *tail.size, falling);
    size_t top = tail.count < 200000 ? tail.count / 100 : 2000;
    double sum = 0;
    for (size_t i = 0; i < top; i++)
        sum += log(tail.size[i] / tail.size[top]);
    free(tail.size);
    return (double)top / sum;
}

/* With Gaussian noise and f = x^2/2: random staleness makes |x| a power law, whose index is 2 where
 * the mean square ends, and larger below; constant staleness leaves it Gaussian to its edge.
 *
 * Its largest values come in rare bursts: .15 is a few standard errors of a hundred million
 * updates, minutes of an optimised build: TALWEG_UPDATES=100000000 TALWEG_TEST=... asks for it. */
static void random_staleness_makes_heavy_tails(void **state) {
    const char *asked = getenv("TALWEG_UPDATES");
    unsigned updates = asked ? (unsigned)strtoul(asked, NULL, 10) : sampled(400000);
    bool all = updates >= 100000000;
    double few = all ? .15 : updates > 100000 ? .6 : 1.2;
    for (uint32_t workers = 2; workers <= (all ? 16 : 4); workers *= 2) {
        double index = tail_index(workers, "exponential", mean_square_edge(workers), updates);
        if (all)
            print_message("M = %u: %.3f\n", workers, index);
        within("index", index, 2, all || workers == 2 ? few : 1.2 * few);
    }
    if (all)
        within("M = 8, .5", tail_index(8, "exponential", .5, updates), 3.36, .3);
    assert_true(tail_index(2, "exponential", 1, updates) > (all ? 2.2 : 4));
    assert_true(tail_index(8, "exponential", .2, updates) > (all ? 8 : 5.5));
    assert_true(tail_index(8, "constant", .19, updates) > (all ? 8 : 5.5));
}

/* ---- order that does not matter ---- */

enum { BLOCK = 4, PARTIES = 5 };

struct sparse {
    int first;     /* slot that slot 0 stands for */
    bool overlaps; /* the last weight is everybody's */
    uint64_t steps[PARTIES];
};

/* Logistic regression on examples of which those of one slot have features of their own. */
static void logistic(struct world_desk *desk, uint32_t slot, uint64_t step, const float *weights,
                     float *out) {
    const struct sparse *s = desk->context;
    uint32_t who = slot + (uint32_t)s->first;
    double feature[BLOCK], score = 0;
    struct tw_rng rng;
    tw_rng_init(&rng, 77, TW_STREAM_NOISE, who, step);
    for (int i = 0; i < BLOCK; i++)
        feature[i] = tw_rng_normal(&rng);
    size_t at = (size_t)who * BLOCK;
    for (size_t i = 0; i < BLOCK; i++)
        score += feature[i] * (double)weights[at + i];
    if (s->overlaps)
        score += (double)weights[PARTIES * BLOCK];
    double label = tw_rng_uniform(&rng) < .7 ? 1 : -1, pull = -label / (1 + exp(label * score));
    memset(out, 0, (PARTIES * BLOCK + 1) * sizeof *out);
    for (size_t i = 0; i < BLOCK; i++)
        out[at + i] = (float)(pull * feature[i]);
    if (s->overlaps)
        out[PARTIES * BLOCK] = (float)pull;
}

static void count_steps(struct world_desk *desk, const struct tw_record *record, uint64_t now_ns) {
    struct sparse *s = desk->context;
    for (uint32_t i = 0; record->kind == TW_RECORD_COMMIT && i < record->count; i++)
        s->steps[record->contributions[i].slot]++;
}

/* How many weights differ from those of each party alone, after as many steps. */
static int differing(const char *mode, const char *delay, bool overlaps) {
    struct sparse together = {.overlaps = overlaps};
    struct world_desk desk = {.workers = PARTIES,
                              .mode = mode,
                              .delay = delay,
                              .rate = .3,
                              .elements = PARTIES * BLOCK + 1,
                              .updates = 300,
                              .delay_seed = 12,
                              .latency = .2, /* so that updates meet weights on their way */
                              .gradient = logistic,
                              .on_record = count_steps,
                              .context = &together};
    int differ = 0;
    run(&desk);
    for (int who = 0; who < PARTIES; who++) {
        struct sparse alone = {.first = who, .overlaps = overlaps};
        struct world_desk serial = desk;
        serial.workers = 1;
        serial.mode = "sync";
        serial.updates = together.steps[who];
        serial.context = &alone;
        run(&serial);
        for (int i = who * BLOCK; i < (who + 1) * BLOCK; i++)
            differ += memcmp(&desk.x[i], &serial.x[i], sizeof desk.x[i]) != 0;
    }
    return differ;
}

/* Niu 2011: where no two examples share a feature, races are harmless: to the bit. */
static void updates_of_different_weights_commute(void **state) {
    static const char *const laws[] = {"constant", "exponential", "pareto shape=1.5",
                                       "exponential speeds=[1,1,1,1,.1]"};
    for (size_t i = 0; i < sizeof laws / sizeof *laws; i++) {
        assert_int_equal(differing("async", laws[i], false), 0);
        assert_int_equal(differing("ssp:3", laws[i], false), 0);
    }
    assert_true(differing("async", "exponential", true) > PARTIES * BLOCK / 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mean_squares_are_finite_up_to_their_edge),
        cmocka_unit_test(mean_square_is_path_and_schedule_and_noise),
        cmocka_unit_test(random_staleness_makes_heavy_tails),
        cmocka_unit_test(updates_of_different_weights_commute),
    };
    cmocka_set_test_filter(getenv("TALWEG_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
