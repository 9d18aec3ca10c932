/* What corrections for late gradients do, in the virtual cluster of the laws: f(x) = h x^2 / 2,
 * whose edges of stability are known in closed form. */
#include <stdio.h>
#include <string.h>

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
        cmocka_unit_test(above_the_limit_nothing_is_applied_and_all_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
