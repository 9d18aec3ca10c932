/* The usual duration of a thing, and what is unusually long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/core/tempo.h"

static void add(struct tw_tempo *tempo, double seconds, int times) {
    while (times-- > 0)
        tw_tempo_add(tempo, seconds);
}

static void test_a_few_say_nothing(void **state) {
    struct tw_tempo tempo = {.count = 0};
    assert_true(tw_tempo_limit(&tempo) == 0);
    add(&tempo, 2, TW_TEMPO_MIN - 1);
    assert_true(tw_tempo_median(&tempo) == 0);
    assert_true(tw_tempo_limit(&tempo) == 0);
    add(&tempo, 2, 1);
    assert_true(tw_tempo_median(&tempo) == 2);
}

static void test_one_that_is_slow_changes_nothing(void **state) {
    struct tw_tempo tempo = {.count = 0};
    add(&tempo, 0.5, 20);
    add(&tempo, 1000, 9);
    add(&tempo, 0.25, 3);
    assert_true(tw_tempo_median(&tempo) == 0.5);
    assert_true(tw_tempo_limit(&tempo) == 5);
}

static void test_only_the_last_ones_count(void **state) {
    struct tw_tempo tempo = {.count = 0};
    add(&tempo, 1, 1000);
    add(&tempo, 4, TW_TEMPO_WINDOW / 2);
    assert_true(tw_tempo_median(&tempo) == 1);
    add(&tempo, 4, 1);
    assert_true(tw_tempo_median(&tempo) == 4);
    add(&tempo, 8, TW_TEMPO_WINDOW);
    assert_true(tw_tempo_median(&tempo) == 8);
}

static void test_nobody_minds_less_than_a_second(void **state) {
    struct tw_tempo tempo = {.count = 0};
    add(&tempo, 0.0001, 30);
    assert_true(tw_tempo_limit(&tempo) == TW_TEMPO_SLOW_S);
    struct tw_tempo still = {.count = 0};
    add(&still, 0, 30);
    assert_true(tw_tempo_limit(&still) == TW_TEMPO_SLOW_S); /* several at one moment */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_few_say_nothing),
        cmocka_unit_test(test_one_that_is_slow_changes_nothing),
        cmocka_unit_test(test_only_the_last_ones_count),
        cmocka_unit_test(test_nobody_minds_less_than_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
