/* Where time goes, by the lead's account, in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "server/core/record.h"
#include "server/core/waiting.h"

struct desk {
    struct tw_waiting *w;
    uint64_t now;
};

static struct desk desk_new(uint32_t workers) {
    void *memory = calloc(1, tw_waiting_bytes(workers));
    assert_non_null(memory);
    return (struct desk){tw_waiting_init(memory, workers), 1000};
}

/* Everybody is here, training begins, everybody has got the weights of step 1. */
static struct desk desk_started(uint32_t workers) {
    struct desk desk = desk_new(workers);
    for (uint32_t i = 0; i < workers; i++)
        tw_waiting_here(desk.w, i, false, desk.now);
    tw_waiting_start(desk.w, desk.now);
    for (uint32_t i = 0; i < workers; i++)
        tw_waiting_released(desk.w, i, 1, desk.now);
    return desk;
}

static void commit(struct desk *desk, uint32_t first, uint32_t last) {
    struct tw_contribution contribution[64];
    for (uint32_t i = first; i <= last; i++)
        contribution[i - first] = (struct tw_contribution){.slot = i};
    tw_waiting_committed(desk->w, contribution, last - first + 1, desk->now);
}

static struct tw_waiting_view view(const struct desk *desk, uint32_t rank) {
    struct tw_waiting_view view = tw_waiting_view(desk->w, rank, desk->now);
    assert_int_equal(view.sums.computing_ns + view.sums.waiting_ns + view.sums.network_ns +
                         view.sums.away_ns,
                     view.elapsed_ns);
    return view;
}

static void expect_times(const struct desk *desk, uint32_t rank, uint64_t computing,
                         uint64_t waiting, uint64_t network, uint64_t away) {
    struct tw_waiting_view v = view(desk, rank);
    assert_int_equal(v.sums.computing_ns, computing);
    assert_int_equal(v.sums.waiting_ns, waiting);
    assert_int_equal(v.sums.network_ns, network);
    assert_int_equal(v.sums.away_ns, away);
}

static void test_a_step_is_cut_into_its_parts(void **state) {
    struct desk desk = desk_started(1);
    desk.now += 10;
    tw_waiting_served(desk.w, 0, desk.now);
    desk.now += 100;
    assert_int_equal(view(&desk, 0).state, TW_RANK_COMPUTING);
    assert_int_equal(view(&desk, 0).state_ns, 100);
    assert_int_equal(view(&desk, 0).step_ns, 110);
    assert_false(tw_waiting_is_arriving(desk.w, 0));
    tw_waiting_arriving(desk.w, 0, desk.now);
    assert_true(tw_waiting_is_arriving(desk.w, 0));
    desk.now += 20;
    tw_waiting_arrived(desk.w, 0, 1, desk.now);
    assert_false(tw_waiting_is_arriving(desk.w, 0));
    assert_int_equal(tw_waiting_last_step_ns(desk.w, 0), 130);
    desk.now += 5;
    expect_times(&desk, 0, 100, 5, 30, 0);
    assert_int_equal(view(&desk, 0).step_ns, 0);
    free(desk.w);
}

static void test_time_before_the_start_does_not_count(void **state) {
    struct desk desk = desk_new(2);
    tw_waiting_here(desk.w, 0, false, desk.now);
    desk.now += 500;
    assert_int_equal(view(&desk, 0).elapsed_ns, 0);
    expect_times(&desk, 0, 0, 0, 0, 0);
    assert_int_equal(view(&desk, 1).state, TW_RANK_ABSENT);
    tw_waiting_start(desk.w, desk.now);
    desk.now += 7;
    expect_times(&desk, 0, 0, 7, 0, 0);
    expect_times(&desk, 1, 0, 0, 0, 7);
    free(desk.w);
}

static void test_the_workers_own_measure_cuts_a_step_better(void **state) {
    for (int early = 0; early < 2; early++) {
        struct desk desk = desk_started(1);
        tw_waiting_served(desk.w, 0, desk.now += 10);
        tw_waiting_arriving(desk.w, 0, desk.now += 50);
        if (early) /* its control connection was faster */
            tw_waiting_measured(desk.w, 0, 1, 90);
        tw_waiting_arrived(desk.w, 0, 1, desk.now += 60);
        if (!early) {
            expect_times(&desk, 0, 50, 0, 70, 0);
            tw_waiting_released(desk.w, 0, 2, desk.now);
            tw_waiting_measured(desk.w, 0, 1, 90);
        }
        tw_waiting_measured(desk.w, 0, 1, 3); /* once is enough */
        expect_times(&desk, 0, 90, 0, 30, 0);
        free(desk.w);
    }
}

static void test_a_measure_is_never_more_than_the_step(void **state) {
    struct desk desk = desk_started(1);
    tw_waiting_measured(desk.w, 0, 1, UINT64_MAX);
    tw_waiting_arrived(desk.w, 0, 1, desk.now += 40);
    expect_times(&desk, 0, 40, 0, 0, 0);
    tw_waiting_measured(desk.w, 0, 99, 7);
    tw_waiting_measured(desk.w, 0, 0, 7);
    expect_times(&desk, 0, 40, 0, 0, 0);
    free(desk.w);
}

static void test_whoever_came_last_is_blamed(void **state) {
    struct desk desk = desk_started(3);
    tw_waiting_arrived(desk.w, 0, 1, desk.now += 10);
    tw_waiting_arrived(desk.w, 2, 1, desk.now += 20);
    tw_waiting_arrived(desk.w, 1, 1, desk.now += 70);
    desk.now += 5;
    commit(&desk, 0, 2);
    for (uint32_t i = 0; i < 3; i++)
        tw_waiting_released(desk.w, i, 2, desk.now);
    assert_int_equal(view(&desk, 0).culprit, 1);
    assert_int_equal(view(&desk, 0).culprit_ns, 90); /* 5 were the server's own work */
    assert_int_equal(view(&desk, 0).sums.waiting_ns, 95);
    assert_int_equal(view(&desk, 2).culprit, 1);
    assert_int_equal(view(&desk, 2).culprit_ns, 70);
    assert_int_equal(view(&desk, 1).culprit, TW_NOBODY);
    assert_int_equal(view(&desk, 1).sums.waiting_ns, 5);
    assert_int_equal(view(&desk, 1).blamed_ns, 160);
    free(desk.w);
}

/* ssp: a fast worker goes on when the slowest one's clock has moved. */
static void test_a_bound_that_holds_one_back_is_the_fault_of_the_slowest(void **state) {
    struct desk desk = desk_started(2);
    tw_waiting_arrived(desk.w, 0, 1, desk.now += 10);
    commit(&desk, 0, 0);
    desk.now += 200;
    tw_waiting_arrived(desk.w, 1, 1, desk.now);
    commit(&desk, 1, 1);
    tw_waiting_released(desk.w, 1, 2, desk.now);
    tw_waiting_released(desk.w, 0, 2, desk.now);
    assert_int_equal(view(&desk, 0).culprit, 1);
    assert_int_equal(view(&desk, 0).culprit_ns, 200);
    assert_int_equal(view(&desk, 1).culprit, TW_NOBODY);
    free(desk.w);
}

static void test_nobody_is_blamed_for_what_was_there_before(void **state) {
    struct desk desk = desk_started(2);
    tw_waiting_arrived(desk.w, 1, 1, desk.now += 10);
    tw_waiting_arrived(desk.w, 0, 1, desk.now += 10);
    commit(&desk, 1, 1); /* of a push that came before rank 0 began to wait */
    tw_waiting_released(desk.w, 0, 2, desk.now += 30);
    assert_int_equal(view(&desk, 0).culprit, TW_NOBODY);
    assert_int_equal(view(&desk, 0).sums.waiting_ns, 30);
    free(desk.w);
}

static void test_waiting_for_the_evaluator_is_known(void **state) {
    struct desk desk = desk_started(1);
    tw_waiting_arrived(desk.w, 0, 1, desk.now += 10);
    tw_waiting_hold(desk.w, true, desk.now += 1);
    tw_waiting_hold(desk.w, true, desk.now += 100);
    tw_waiting_hold(desk.w, false, desk.now += 100);
    tw_waiting_released(desk.w, 0, 2, desk.now += 1);
    assert_int_equal(view(&desk, 0).sums.waiting_ns, 202);
    assert_int_equal(view(&desk, 0).evaluator_ns, 200);
    free(desk.w);
}

static void test_a_worker_that_comes_back_goes_on_with_its_step(void **state) {
    struct desk desk = desk_started(1);
    tw_waiting_served(desk.w, 0, desk.now);
    tw_waiting_gone(desk.w, 0, desk.now += 30);
    assert_int_equal(view(&desk, 0).state, TW_RANK_GONE);
    tw_waiting_here(desk.w, 0, true, desk.now += 1000);
    tw_waiting_here(desk.w, 0, false, desk.now); /* known already */
    tw_waiting_arrived(desk.w, 0, 1, desk.now += 40);
    tw_waiting_measured(desk.w, 0, 1, 60);
    expect_times(&desk, 0, 60, 0, 10, 1000);
    free(desk.w);
}

static void test_a_cancelled_step_is_computing_all_the_same(void **state) {
    struct desk desk = desk_started(1);
    tw_waiting_served(desk.w, 0, desk.now);
    tw_waiting_released(desk.w, 0, 2, desk.now += 50);
    tw_waiting_arrived(desk.w, 0, 1, desk.now += 5); /* too late */
    assert_int_equal(view(&desk, 0).state, TW_RANK_RECEIVING);
    expect_times(&desk, 0, 50, 0, 5, 0);
    free(desk.w);
}

static void test_after_the_end_nothing_is_counted(void **state) {
    struct desk desk = desk_started(1);
    tw_waiting_served(desk.w, 0, desk.now);
    tw_waiting_stop(desk.w, desk.now += 30);
    tw_waiting_gone(desk.w, 0, desk.now += 100);
    desk.now += 1;
    expect_times(&desk, 0, 30, 0, 0, 0);
    assert_int_equal(view(&desk, 0).elapsed_ns, 30);
    free(desk.w);
}

/* Rank 0 waits for each of the others, for the last one most. */
static void wait_for_many(struct desk *desk, uint32_t others) {
    for (uint64_t step = 1; step <= 40 * others; step++) {
        uint32_t culprit = step % 2 ? others : 1 + (uint32_t)(step / 2 % others);
        tw_waiting_arrived(desk->w, 0, step, desk->now += 1);
        tw_waiting_arrived(desk->w, culprit, step, desk->now += 10);
        commit(desk, culprit, culprit);
        for (uint32_t i = 0; i <= others; i++)
            tw_waiting_released(desk->w, i, step + 1, desk->now);
    }
}

static void test_a_wait_that_the_end_of_the_run_ends_has_a_culprit(void **state) {
    struct desk desk = desk_started(2);
    tw_waiting_arrived(desk.w, 0, 1, desk.now += 100);
    tw_waiting_arrived(desk.w, 1, 1, desk.now += 50);
    commit(&desk, 0, 1);
    tw_waiting_stop(desk.w, desk.now += 5);
    assert_int_equal(view(&desk, 0).culprit, 1);
    assert_int_equal(view(&desk, 0).culprit_ns, 50);
    assert_int_equal(view(&desk, 0).sums.waiting_ns, 55);
    assert_int_equal(view(&desk, 1).culprit, TW_NOBODY);
    free(desk.w);
}

static void test_among_many_culprits_the_worst_is_found(void **state) {
    struct desk few = desk_started(9), many = desk_started(41);
    wait_for_many(&few, 8);
    assert_int_equal(view(&few, 0).culprit, 8);
    assert_int_equal(view(&few, 0).culprit_ns, 10 * (160 + 20));
    wait_for_many(&many, 40);
    assert_int_equal(view(&many, 0).culprit, 40);
    assert_in_range(view(&many, 0).culprit_ns, 10 * 800 / 2, 10 * (800 + 20));
    free(few.w);
    free(many.w);
}

/* Numbers of steps come again, and what is measured of one belongs to the second time. */
static void test_all_are_away_until_a_run_has_begun_again(void **state) {
    struct desk desk = desk_new(1);
    tw_waiting_here(desk.w, 0, false, desk.now);
    tw_waiting_start(desk.w, desk.now);
    tw_waiting_released(desk.w, 0, 1, desk.now);
    tw_waiting_served(desk.w, 0, desk.now += 2);
    tw_waiting_arriving(desk.w, 0, desk.now += 30);
    tw_waiting_arrived(desk.w, 0, 1, desk.now += 4); /* its measure never comes */
    tw_waiting_again(desk.w, desk.now += 5);
    tw_waiting_here(desk.w, 0, false, desk.now += 100);
    tw_waiting_released(desk.w, 0, 1, desk.now += 7);
    tw_waiting_served(desk.w, 0, desk.now += 3);
    tw_waiting_arriving(desk.w, 0, desk.now += 20);
    tw_waiting_arrived(desk.w, 0, 1, desk.now += 6);
    tw_waiting_measured(desk.w, 0, 1, 10);
    struct tw_waiting_view v = view(&desk, 0);
    assert_int_equal(v.sums.computing_ns, 30 + 10);
    assert_int_equal(v.sums.network_ns, 2 + 4 + 3 + 20 + 6 - 10);
    assert_int_equal(v.sums.waiting_ns, 5 + 7);
    assert_int_equal(v.sums.away_ns, 100);
    assert_int_equal(v.elapsed_ns, 177);
    free(desk.w);
}

/* Any events in any order: the parts add up, and none runs backwards past zero. */
static void test_the_parts_always_add_up(void **state) {
    enum { WORKERS = 5, EVENTS = 20000 };
    struct tw_rng rng;
    struct desk desk = desk_new(WORKERS);
    tw_rng_init(&rng, 7, TW_STREAM_JITTER, 0, 0);
    for (int i = 0; i < EVENTS; i++) {
        uint32_t rank = (uint32_t)tw_rng_below(&rng, WORKERS);
        uint64_t step = view(&desk, rank).step + tw_rng_below(&rng, 3) - (i > 100);
        uint32_t kind = (uint32_t)tw_rng_below(&rng, 44);
        desk.now += tw_rng_below(&rng, 100);
        if (i == 50)
            tw_waiting_start(desk.w, desk.now);
        if (kind >= 11) /* rarely, or little else would happen */
            kind = kind == 43 ? 11 : kind % 11;
        if (kind == 0)
            tw_waiting_here(desk.w, rank, i % 2, desk.now);
        else if (kind == 1)
            tw_waiting_gone(desk.w, rank, desk.now);
        else if (kind <= 3)
            tw_waiting_released(desk.w, rank, step, desk.now);
        else if (kind == 4)
            tw_waiting_served(desk.w, rank, desk.now);
        else if (kind == 5)
            tw_waiting_arriving(desk.w, rank, desk.now);
        else if (kind <= 7)
            tw_waiting_arrived(desk.w, rank, step, desk.now);
        else if (kind == 8)
            tw_waiting_measured(desk.w, rank, step, tw_rng_below(&rng, 200));
        else if (kind == 9)
            commit(&desk, rank, WORKERS - 1);
        else if (kind == 11)
            tw_waiting_again(desk.w, desk.now);
        else
            tw_waiting_hold(desk.w, i % 2, desk.now);
        for (uint32_t r = 0; r < WORKERS; r++) {
            struct tw_waiting_view v = view(&desk, r);
            assert_true(v.sums.computing_ns <= v.elapsed_ns && v.sums.waiting_ns <= v.elapsed_ns);
            assert_true(v.sums.network_ns <= v.elapsed_ns && v.sums.away_ns <= v.elapsed_ns);
            assert_true(v.evaluator_ns <= v.sums.waiting_ns && v.culprit_ns <= v.sums.waiting_ns);
        }
    }
    free(desk.w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_step_is_cut_into_its_parts),
        cmocka_unit_test(test_time_before_the_start_does_not_count),
        cmocka_unit_test(test_the_workers_own_measure_cuts_a_step_better),
        cmocka_unit_test(test_a_measure_is_never_more_than_the_step),
        cmocka_unit_test(test_whoever_came_last_is_blamed),
        cmocka_unit_test(test_a_bound_that_holds_one_back_is_the_fault_of_the_slowest),
        cmocka_unit_test(test_nobody_is_blamed_for_what_was_there_before),
        cmocka_unit_test(test_waiting_for_the_evaluator_is_known),
        cmocka_unit_test(test_a_worker_that_comes_back_goes_on_with_its_step),
        cmocka_unit_test(test_a_cancelled_step_is_computing_all_the_same),
        cmocka_unit_test(test_after_the_end_nothing_is_counted),
        cmocka_unit_test(test_a_wait_that_the_end_of_the_run_ends_has_a_culprit),
        cmocka_unit_test(test_among_many_culprits_the_worst_is_found),
        cmocka_unit_test(test_all_are_away_until_a_run_has_begun_again),
        cmocka_unit_test(test_the_parts_always_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
