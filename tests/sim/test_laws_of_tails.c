/* Random staleness makes heavy tails, on the virtual cluster (see test_laws.c): with Gaussian noise
 * and f = x^2/2 the weights of memoryless `async` follow a random linear recursion, whose
 * stationary law has a power's tail, P(|x| > u) ~ u^-a. By Kesten's theorem a is where the mean
 * a-th power of the recursion without noise neither grows nor shrinks (Kesten 1973). */
#include "tests/sim/laws.h"

#include <stdio.h>

#include "tests/sim/powers.h"

/* ---- where means of powers end ---- */

static double mean_square_edge(double workers) {
    double p = 1 / workers;
    return (p + sqrt(p * p + 8 * p)) / 2;
}

static void mean_squares_are_finite_up_to_their_edge(void **state) {
    static const double any[] = {1, 2, 3, 4, 5, 8, 16, 32, 100};
    static const struct {
        double workers, edge[3]; /* as the table has it: momentum 0, .5, .9 */
    } table[] = {{2, {1.2808, .7354, .1184}},
                 {4, {.8431, .3896, .0465}},
                 {8, {.5664, .2494, .0256}},
                 {16, {.3862, .1711, .0169}},
                 {32, {.2661, .1205, .0126}}};
    for (size_t i = 0; i < sizeof any / sizeof *any; i++)
        within("edge", edge_of_power(any[i], 0, 2), mean_square_edge(any[i]), 1e-9);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        for (int m = 0; m < 3; m++)
            within("table", edge_of_power(table[i].workers, (const double[]){0, .5, .9}[m], 2),
                   table[i].edge[m], 6e-5);
}

/* ---- the index by growth ---- */

/* Without noise: log of how large the weight and what each worker has read are, after each update
 * of many schedules. */
struct sizes {
    uint32_t workers, pushed;
    size_t updates, count; /* of a schedule; of all so far */
    double read[16];
    double *log;
};

static void note_who_pushes(struct world_desk *desk, const struct tw_record *record,
                            uint64_t now_ns) {
    struct sizes *s = desk->context;
    if (record->kind == TW_RECORD_COMMIT)
        s->pushed = record->contributions[0].slot;
}

static void note_size(struct world_desk *desk, uint64_t version) {
    struct sizes *s = desk->context;
    float x[1];
    double reads = 0;
    tw_world_weights(desk->world, x);
    s->read[s->pushed] = (double)x[0];
    for (uint32_t i = 0; i < s->workers; i++)
        reads += s->read[i] * s->read[i] / s->workers;
    s->log[s->count++] = log((double)x[0] * (double)x[0] + reads) / 2;
}

struct setting {
    uint32_t workers;
    double h, mu;
    unsigned updates;
    int first, second; /* updates, of which the first are enough to forget where they began */
};

/* Schedules are so long that no float32 gets too small where weights shrink by less than a tenth in
 * each of M updates. */
static struct sizes sizes_of(const struct setting *of, const char *delay) {
    const unsigned updates = 300 * of->workers, schedules = sampled(of->updates) / updates;
    char rule[96];
    snprintf(rule, sizeof rule, "momentum lr=%.17g momentum=%.17g", of->h, of->mu);
    struct sizes s = {.workers = of->workers,
                      .updates = updates,
                      .log = calloc((size_t)schedules * updates, sizeof *s.log)};
    for (unsigned r = 0; r < schedules; r++) {
        struct world_desk desk = {.workers = of->workers,
                                  .mode = "async",
                                  .delay = delay,
                                  .optimizer = rule,
                                  .curvature = 1,
                                  .start = 1e20,
                                  .updates = updates,
                                  .delay_seed = 7000 + r,
                                  .on_record = note_who_pushes,
                                  .on_version = note_size,
                                  .context = &s};
        for (uint32_t i = 0; i < of->workers; i++)
            s.read[i] = desk.start;
        run(&desk);
    }
    return s;
}

/* log E (size after n more updates / size)^a. */
static double log_growth(const struct sizes *s, int n, double a) {
    const double least = log(1e-25); /* from there on float32 might end */
    double sum = 0;
    size_t count = 0;
    for (size_t begin = 0; begin < s->count; begin += s->updates)
        for (size_t t = begin + 8 * (size_t)s->workers; t + (size_t)n < begin + s->updates; t += 2)
            if (s->log[t] > least) {
                sum += exp(a * (s->log[t + (size_t)n] - s->log[t]));
                count++;
            }
    return log(sum / (double)count);
}

/* Where the mean of the a-th power is as large after the second number of updates as after the
 * first; `most` if that is not below. */
static double kesten_index(const struct setting *of, const char *delay, double most) {
    struct sizes s = sizes_of(of, delay);
    double low = .5, high = most;
    for (int i = 0; i < 20; i++) {
        double a = (low + high) / 2;
        bool grows = log_growth(&s, of->second, a) > log_growth(&s, of->first, a);
        low = grows ? low : a;
        high = grows ? a : high;
    }
    free(s.log);
    return low;
}

static void near_index(const struct setting *of, double expected, double allowed) {
    double index = kesten_index(of, "exponential", 12);
    print_message("M = %u, h = %.4f, momentum %.1f: %.3f\n", of->workers, of->h, of->mu, index);
    within("index", index, expected, roughly(allowed));
}

/* 2 where mean squares end and 4 where mean fourth powers do, whatever the momentum; between these
 * h it falls. Standard errors of the estimate: .013, .03, .03, .035, .05, then .03 and .07. */
static void the_index_is_that_of_the_power_whose_mean_ends(void **state) {
    static const struct setting squares[] = {
        {2, 0, 0, 1000000, 8, 16},    {4, 0, 0, 1000000, 16, 32},  {8, 0, 0, 2000000, 32, 64},
        {16, 0, 0, 2000000, 64, 112}, {8, 0, .5, 2000000, 48, 80},
    };
    for (size_t i = 0; i < sizeof squares / sizeof *squares; i++) {
        struct setting of = squares[i];
        of.h = edge_of_power(of.workers, of.mu, 2);
        near_index(&of, 2, .15);
    }
    struct setting fourth = {2, edge_of_power(2, 0, 4), 0, 1000000, 8, 16};
    near_index(&fourth, 4, .2);
    assert_true(edge_of_power(8, 0, 4) < .5 && .5 < edge_of_power(8, 0, 2));
    near_index(&(struct setting){8, .5, 0, 2000000, 24, 64}, 3.36, .3);
}

static void little_or_equal_staleness_leaves_no_heavy_tail(void **state) {
    static const struct setting quiet = {8, .2, 0, 400000, 32, 64};
    static const struct setting equal = {8, .19, 0, 40000, 32, 64};
    assert_true(kesten_index(&quiet, "exponential", 12) > 8);
    assert_true(kesten_index(&equal, "constant", 12) > 11.9);
}

/* ---- the index by the largest weights ---- */

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

/* Hill's estimate of a, from the largest hundredth, 2,000 at most. */
static double hill_index(uint32_t workers, const char *delay, double h, unsigned updates) {
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

/* With noise: the largest weights of a run. They come in rare bursts: .15 is a few standard errors
 * of a hundred million updates, minutes of an optimised build: TALWEG_UPDATES=100000000
 * TALWEG_TEST=... asks for it. */
static void random_staleness_makes_heavy_tails(void **state) {
    const char *asked = getenv("TALWEG_UPDATES");
    unsigned updates = asked ? (unsigned)strtoul(asked, NULL, 10) : sampled(400000);
    bool all = updates >= 100000000;
    double few = all ? .15 : updates > 100000 ? .6 : 1.2;
    for (uint32_t workers = 2; workers <= (all ? 16 : 4); workers *= 2) {
        double index = hill_index(workers, "exponential", mean_square_edge(workers), updates);
        if (all)
            print_message("M = %u: %.3f\n", workers, index);
        within("index", index, 2, all || workers == 2 ? few : 1.2 * few);
    }
    if (all)
        within("M = 8, .5", hill_index(8, "exponential", .5, updates), 3.36, .3);
    assert_true(hill_index(2, "exponential", 1, updates) > (all ? 2.2 : 4));
    assert_true(hill_index(8, "exponential", .2, updates) > (all ? 8 : 5.5));
    assert_true(hill_index(8, "constant", .19, updates) > (all ? 8 : 5.5));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mean_squares_are_finite_up_to_their_edge),
        cmocka_unit_test(the_index_is_that_of_the_power_whose_mean_ends),
        cmocka_unit_test(little_or_equal_staleness_leaves_no_heavy_tail),
        cmocka_unit_test(random_staleness_makes_heavy_tails),
    };
    cmocka_set_test_filter(getenv("TALWEG_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
