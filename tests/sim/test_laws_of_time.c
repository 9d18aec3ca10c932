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
static void a_round_waits_for_its_slowest(void **state) {
    unsigned rounds = longer(2500);
    for (int k = 4; k <= 8; k += 2) {
        char mode[32];
        double mean = harmonic(8) - harmonic(8 - k), variance = 0;
        for (int i = 8 - k + 1; i <= 8; i++)
            variance += 1.0 / (i * i);
        double allowed = 5 * sqrt(variance / rounds);
        snprintf(mode, sizeof mode, "k-sync:%d", k);
        within(mode, seconds_for(8, mode, "exponential", rounds), mean, allowed);
        within("shifted", seconds_for(8, mode, "shifted_exponential mean=1 shift=.5", rounds),
               mean + .5, allowed);
    }
    within("sync is K = P", seconds_for(8, "sync", "exponential", rounds), harmonic(8),
           5 * sqrt(1.53 / rounds));
    /* Pareto: Gamma(n+1) Gamma(n-k+1-1/a) / (Gamma(n-k+1) Gamma(n+1-1/a)). */
    double a = 4, pareto = exp(lgamma(9) + lgamma(1 - 1 / a) - lgamma(9 - 1 / a));
    within("pareto", seconds_for(8, "sync", "pareto shape=4 minimum=1", rounds), pareto,
           5 * .55 / sqrt(rounds));
}

/* P / E[X] updates a second for any law; an update of K pushes takes K of them. */
static void asynchrony_loses_no_time(void **state) {
    static const struct {
        const char *delay;
        double mean, cv;
    } laws[] = {{"constant", 1, 0},
                {"exponential mean=2", 2, 1},
                {"gamma cv=.5", 1, .5},
                {"shifted_exponential mean=1 shift=.5", 1.5, .67},
                {"pareto shape=3 minimum=1", 1.5, .58}};
    unsigned updates = longer(4000);
    for (size_t i = 0; i < sizeof laws / sizeof *laws; i++)
        within(laws[i].delay, seconds_for(8, "async", laws[i].delay, updates) * 8 / laws[i].mean, 1,
               5 * laws[i].cv / sqrt(updates) + 8.0 / updates);
    within("k-batch-async:4", seconds_for(8, "k-batch-async:4", "exponential", updates / 4) * 2, 1,
           5 / sqrt(updates) + 8.0 / updates);
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

static void ssp_waits_less_the_wider_its_bound(void **state) {
    static const struct {
        unsigned bound;
        double rate;
    } table[] = {{0, .3679}, {1, .557}, {2, .661}, {4, .771}, {8, .860}};
    unsigned updates = longer(8000);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char mode[16];
        struct clocks clocks = {.bound = table[i].bound, .workers = 8};
        snprintf(mode, sizeof mode, "ssp:%u", table[i].bound);
        struct world_desk desk = {.workers = 8,
                                  .mode = mode,
                                  .delay = "exponential",
                                  .updates = updates,
                                  .delay_seed = 31,
                                  .on_record = watch_clocks,
                                  .context = &clocks};
        run(&desk);
        within(mode, updates / 8.0 / desk.seconds / table[i].rate, 1, 6 / sqrt(updates));
    }
}

/* It does not help against one that is always slow: 4 s a step, whatever the bound. */
static void ssp_does_not_help_a_permanent_straggler(void **state) {
    for (uint64_t bound = 1; bound <= 16; bound *= 4) {
        char mode[16];
        struct clocks clocks = {.bound = bound, .workers = 4};
        snprintf(mode, sizeof mode, "ssp:%u", (unsigned)bound);
        struct world_desk desk = {.workers = 4,
                                  .mode = mode,
                                  .delay = "constant speeds=[1,1,1,.25]",
                                  .updates = 4 * 100 + 3 * bound,
                                  .on_record = watch_clocks,
                                  .context = &clocks};
        run(&desk);
        within(mode, desk.seconds, 4 * 100, 4);
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
    uint32_t workers = longer(1) > 1 ? 1000 : 200;
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
