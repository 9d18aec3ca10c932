/* Laws of memoryless asynchrony that means and variances over schedules obey, on the virtual
 * cluster (see test_laws.c): how E x^2 splits; and that updates which touch different weights do
 * not care about order at all. Where E x^2 stops being finite: test_laws_of_tails.c.
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

/* ---- what is drawn apart ---- */

struct apart {
    double noise[8], sum, squares;
    uint64_t count;
};

static void draw_noise(struct world_desk *desk, uint32_t slot, uint64_t step, const float *weights,
                       float *out) {
    struct apart *apart = desk->context;
    struct tw_rng rng;
    tw_rng_init(&rng, desk->seed, TW_STREAM_NOISE, slot, step);
    apart->noise[slot] = tw_rng_normal(&rng);
    out[0] = 0;
}

static void multiply_by_staleness(struct world_desk *desk, const struct tw_record *record,
                                  uint64_t now_ns) {
    struct apart *apart = desk->context;
    for (uint32_t i = 0; record->kind == TW_RECORD_COMMIT && i < record->count; i++) {
        const struct tw_contribution *c = &record->contributions[i];
        double product = ((double)c->staleness - (desk->workers - 1)) * apart->noise[c->slot];
        apart->sum += product;
        apart->squares += product * product;
        apart->count++;
    }
}

/* Of the same seed, too: noise says nothing about how long its step took. */
static void noise_knows_nothing_of_the_schedule(void **state) {
    for (uint32_t workers = 2; workers <= 8; workers *= 2)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            struct apart apart = {.count = 0};
            struct world_desk desk = {.workers = workers,
                                      .mode = "async",
                                      .delay = "exponential",
                                      .updates = sampled(40000),
                                      .seed = seed,
                                      .delay_seed = seed,
                                      .gradient = draw_noise,
                                      .on_record = multiply_by_staleness,
                                      .context = &apart};
            run(&desk);
            within("noise times staleness", apart.sum / (double)apart.count, 0,
                   5 * sqrt(apart.squares) / (double)apart.count);
        }
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
        assert_int_equal(differing("hogwild", laws[i], false), 0);
    }
    assert_true(differing("async", "exponential", true) > PARTIES * BLOCK / 2);
    assert_true(differing("hogwild", "exponential", true) > PARTIES * BLOCK / 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mean_square_is_path_and_schedule_and_noise),
        cmocka_unit_test(noise_knows_nothing_of_the_schedule),
        cmocka_unit_test(updates_of_different_weights_commute),
    };
    cmocka_set_test_filter(getenv("TALWEG_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
