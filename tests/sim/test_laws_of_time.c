/* Laws of how long distributed steps take, on the virtual cluster (see test_laws.c). Sources:
 * K-sync and K-async, Dutta 2018; SSP, Ho 2013.
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

/* ---- how long things take ---- */

static double seconds_for(uint32_t workers, const char *mode, const char *delay, uint64_t updates) {
    struct world_desk desk = {
        .workers = workers, .mode = mode, .delay = delay, .updates = updates, .delay_seed = 21};
    run(&desk);
    return desk.seconds / (double)updates;
}

static double harmonic(int n) {
    double sum = 0;
    for (int i = 1; i <= n; i++)
        sum += 1.0 / i;
    return sum;
}

/* Time of a round that waits for K of P: H_P - H_{P-K}. */
static void check_round(uint32_t workers, int k) {
    const unsigned rounds = sampled(45000);
    const double mean = harmonic((int)workers) - harmonic((int)workers - k);
    char mode[32];
    snprintf(mode, sizeof mode, "k-sync:%d", k);
    within(mode, seconds_for(workers, mode, "exponential", rounds) / mean, 1, roughly(.01));
    double shifted = seconds_for(workers, mode, "shifted_exponential mean=1 shift=.5", rounds);
    within("shifted", shifted / (mean + .5), 1, roughly(.01));
}

/* Of Pareto steps: Gamma(n+1) Gamma(n-k+1-1/a) / (Gamma(n-k+1) Gamma(n+1-1/a)). */
static double pareto_round(int n, int k, double a) {
    return exp(lgamma(n + 1) + lgamma(n - k + 1 - 1 / a) - lgamma(n - k + 1) -
               lgamma(n + 1 - 1 / a));
}

static void a_round_waits_for_its_slowest(void **state) {
    within("table", harmonic(8), 2.7179, 5e-5);
    within("table", harmonic(8) - harmonic(4), .6345, 5e-5);
    within("table", pareto_round(8, 8, 2.5), 3.4727, 5e-5);
    check_round(8, 8);
    check_round(8, 7);
    check_round(8, 4);
    check_round(5, 3);
    const unsigned rounds = sampled(150000);
    within("sync is K = P", seconds_for(8, "sync", "exponential", rounds / 4) / harmonic(8), 1,
           roughly(.01));
    within("pareto 2.5",
           seconds_for(8, "sync", "pareto shape=2.5 minimum=1", rounds) / pareto_round(8, 8, 2.5),
           1, roughly(.01));
    within("pareto 4, 6 of 8",
           seconds_for(8, "k-sync:6", "pareto shape=4 minimum=1", rounds / 4) /
               pareto_round(8, 6, 4),
           1, roughly(.01));
}

/* P / E[X] updates a second for any law, or the sum of the workers' speeds over E[X]; an update of
 * K pushes takes K of them. */
static void asynchrony_loses_no_time(void **state) {
    static const struct {
        const char *delay;
        double mean, cv; /* of independent steps that would be as far off */
        uint32_t workers;
        double speeds; /* of all together */
    } laws[] = {{"constant", 1, 0, 8, 8},
                {"exponential mean=2", 2, 1, 8, 8},
                {"exponential speeds=[1,1,1,.25]", 1, 1, 8, 6.5},
                {"gamma cv=.5", 1, .5, 8, 8},
                {"gamma mean=.3 cv=1.5", .3, 1.5, 5, 5},
                {"shifted_exponential mean=1 shift=.5", 1.5, .67, 8, 8},
                {"two_state to_slow=.2 to_fast=.4", 1, 1.1, 8, 8},
                {"heterogeneous_gamma mean=2 machine_cv=0", 2, .1, 8, 8},
                {"pareto shape=3 minimum=1", 1.5, .58, 8, 8}};
    for (size_t i = 0; i < sizeof laws / sizeof *laws; i++) {
        unsigned updates = sampled(20000 + (unsigned)(160000 * laws[i].cv * laws[i].cv));
        double seconds = seconds_for(laws[i].workers, "async", laws[i].delay, updates);
        within(laws[i].delay, seconds * laws[i].speeds / laws[i].mean, 1, roughly(.01));
        seconds = seconds_for(laws[i].workers, "k-batch-async:4", laws[i].delay, updates / 4);
        within(laws[i].delay, seconds * laws[i].speeds / laws[i].mean / 4, 1, roughly(.01));
    }
    /* Without a variance the mean of many is still off by some that are very long. */
    within("pareto 1.5", seconds_for(8, "async", "pareto shape=1.5 minimum=1", sampled(800000)) * 8,
           3, roughly(.15));
}

/* ---- ssp ---- */

struct clocks {
    uint64_t done[DESK_WORKERS], bound; /* steps of each */
    uint32_t workers;
};

static void watch_clocks(struct world_desk *desk, const struct tw_record *record, uint64_t now_ns) {
    struct clocks *c = desk->context;
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; record->kind == TW_RECORD_COMMIT && i < record->count; i++)
        c->done[record->contributions[i].slot] = record->contributions[i].step;
    if (record->kind != TW_RECORD_RELEASE)
        return;
    for (uint32_t i = 0; i < c->workers; i++)
        least = c->done[i] < least ? c->done[i] : least;
    assert_true(record->step - 1 - least <= c->bound); /* it begins clock step - 1 */
}

static double clock_rate(uint32_t workers, unsigned bound, unsigned updates) {
    char mode[16];
    struct clocks clocks = {.bound = bound, .workers = workers};
    snprintf(mode, sizeof mode, "ssp:%u", bound);
    struct world_desk desk = {.workers = workers,
                              .mode = mode,
                              .delay = "exponential",
                              .updates = updates,
                              .delay_seed = 31,
                              .on_record = watch_clocks,
                              .context = &clocks};
    run(&desk);
    return updates / (double)workers / desk.seconds;
}

/* The same as a plain race: of the workers that are not too far ahead each is as likely to be done
 * next, after a mean of 1 / their number. */
static double race(uint32_t workers, unsigned bound) {
    const unsigned clocks = 200000;
    uint64_t done[16] = {0}, least = 0;
    double seconds = 0;
    struct tw_rng rng;
    tw_rng_init(&rng, 77, TW_STREAM_DELAY, 0, bound);
    for (unsigned i = 0; i < clocks * workers; i++) {
        uint32_t racing[16] = {0}, count = 0;
        for (uint32_t k = 0; k < workers; k++)
            if (done[k] <= least + bound)
                racing[count++] = k;
        seconds += 1.0 / count;
        done[racing[(uint32_t)(tw_rng_uniform(&rng) * count)]]++;
        least = done[0];
        for (uint32_t k = 1; k < workers; k++)
            least = done[k] < least ? done[k] : least;
    }
    return clocks / seconds;
}

/* With a bound of 0 all wait for the slowest: 1 / H_P. */
static void ssp_waits_less_the_wider_its_bound(void **state) {
    static const struct {
        uint32_t workers;
        unsigned bound;
        double rate; /* as the table has it; 0: it has not */
    } cases[] = {{8, 0, .3679}, {8, 1, .557},  {8, 2, .661}, {8, 4, .771},
                 {8, 8, .860},  {8, 16, .917}, {4, 3, 0},    {12, 2, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double rate = race(cases[i].workers, cases[i].bound);
        unsigned updates = sampled(cases[i].bound < 8 ? 250000 : 800000);
        if (cases[i].bound == 0)
            within("race", rate * harmonic((int)cases[i].workers), 1, .003);
        if (cases[i].rate > 0)
            within("table", rate / cases[i].rate, 1, .006); /* of shorter races */
        within("rate", clock_rate(cases[i].workers, cases[i].bound, updates) / rate, 1,
               roughly(.01));
    }
    for (uint32_t workers = 2; workers <= 8; workers *= 2)
        within("bound 0", clock_rate(workers, 0, sampled(40000) * workers),
               1 / harmonic((int)workers), roughly(.01 / harmonic((int)workers)));
}

/* How many clocks all workers had done when the slow one, the last, ended each of its own. */
struct straggler {
    struct clocks clocks;
    uint64_t all, at[200];
};

static void watch_straggler(struct world_desk *desk, const struct tw_record *record,
                            uint64_t now_ns) {
    struct straggler *s = desk->context;
    const uint32_t slow = s->clocks.workers - 1;
    uint64_t before = s->clocks.done[slow];
    desk->context = &s->clocks;
    watch_clocks(desk, record, now_ns);
    desk->context = s;
    if (record->kind != TW_RECORD_COMMIT)
        return;
    s->all += record->count;
    uint64_t step = s->clocks.done[slow];
    if (step == before || step >= 200)
        return;
    assert_true(now_ns == step * 4000000000); /* it waits for nobody */
    s->at[step] = s->all;
}

/* It does not help against one that is always slow, 4 s a step: once the others are as far ahead as
 * they may be everybody does a quarter of a clock each second, whatever the bound. */
static void ssp_does_not_help_a_permanent_straggler(void **state) {
    for (uint32_t workers = 4; workers <= 8; workers *= 2)
        for (uint64_t bound = 0; bound <= 16; bound += bound ? bound : 1) {
            char mode[16];
            struct straggler s = {.clocks = {.bound = bound, .workers = workers}};
            snprintf(mode, sizeof mode, "ssp:%u", (unsigned)bound);
            struct world_desk desk = {.workers = workers,
                                      .mode = mode,
                                      .delay = workers == 4 ? "constant speeds=[1,1,1,.25]"
                                                            : "constant speeds=[1,2,1,2,1,2,1,.25]",
                                      .updates = workers * (100 + bound),
                                      .on_record = watch_straggler,
                                      .context = &s};
            run(&desk);
            assert_true(s.at[90] > 0);
            for (int step = 40; step < 90; step++)
                assert_int_equal(s.at[step + 1] - s.at[step], workers);
        }
}

/* ---- who waits ---- */

#define STEP_NS UINT64_C(1000000000)

/* A push has ended when its gradient was computed, where the network takes no time for bytes; the
 * weights were complete a step before the next one. */
struct waits {
    uint64_t ended_ns[DESK_WORKERS], sum_ns[DESK_WORKERS], count[DESK_WORKERS];
};

static void count_wait(struct world_desk *desk, uint32_t slot, uint64_t step, const float *weights,
                       float *out) {
    struct waits *w = desk->context;
    uint64_t now_ns = tw_world_now_ns(desk->world);
    memset(out, 0, (size_t)desk->elements * sizeof *out);
    if (w->ended_ns[slot]) {
        w->sum_ns[slot] += now_ns - STEP_NS - w->ended_ns[slot];
        w->count[slot]++;
    }
    w->ended_ns[slot] = now_ns;
}

/* Who still waits for the first time has waited so far. */
static double mean_wait_ns(const struct world_desk *desk, const struct waits *w, uint32_t worker) {
    double open_ns = desk->seconds * 1e9 - (double)w->ended_ns[worker];
    return w->count[worker] ? (double)w->sum_ns[worker] / (double)w->count[worker] : open_ns;
}

static void nobody_waits_longer(struct world_desk *desk, uint64_t rounds) {
    struct waits w = {0};
    double sum_ns = 0, worst_ns = 0;
    uint64_t count = 0, fewest = rounds;
    desk->gradient = count_wait;
    desk->context = &w;
    run(desk);
    for (uint32_t i = 0; i < desk->workers; i++) {
        worst_ns = fmax(worst_ns, mean_wait_ns(desk, &w, i));
        fewest = w.count[i] < fewest ? w.count[i] : fewest;
        sum_ns += (double)w.sum_ns[i];
        count += w.count[i];
    }
    double mean_ns = sum_ns / (double)count;
    if (worst_ns > 2 * mean_ns)
        fail_msg("%s, %u servers: a worker waits %.3f s on average, all together %.3f", desk->mode,
                 desk->servers, worst_ns * 1e-9, mean_ns * 1e-9);
    assert_true(fewest >= rounds / 2);
    assert_true(mean_ns > 0.5e9); /* there is something to wait for */
}

/* All take as long for a step, and there is more to do than can be done in that time: the server is
 * busy with each push (first), or each update has to be agreed upon between two servers. Nobody's
 * mean wait, from the end of a push to complete weights, is more than twice the mean of all. */
static void nobody_waits_twice_as_long_as_all(void **state) {
    static const char *const modes[] = {"sync", "async", "ssp:2", "k-async:8", "k-batch-async:8"};
    enum { ROUNDS = 8 };
    uint32_t workers = in_full() ? 1000 : 200;
    char service[64];
    snprintf(service, sizeof service, "constant mean=%.17g", 2.0 / workers);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        uint64_t gather = strcmp(modes[i], "sync") == 0 ? workers : i > 2 ? 8 : 1;
        struct world_desk desk = {.workers = workers,
                                  .mode = modes[i],
                                  .service = service,
                                  .elements = 1,
                                  .updates = ROUNDS * workers / gather};
        nobody_waits_longer(&desk, ROUNDS);
        desk.servers = 2;
        desk.elements = 16385; /* two chunks */
        desk.service = NULL;
        desk.latency = gather < workers ? 2.0 * (double)gather / workers : .2;
        nobody_waits_longer(&desk, ROUNDS);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_round_waits_for_its_slowest),
        cmocka_unit_test(asynchrony_loses_no_time),
        cmocka_unit_test(ssp_waits_less_the_wider_its_bound),
        cmocka_unit_test(ssp_does_not_help_a_permanent_straggler),
        cmocka_unit_test(nobody_waits_twice_as_long_as_all),
    };
    cmocka_set_test_filter(getenv("TALWEG_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
