/* Borders leave in order, each when its evaluation has come. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/core/sequencer_state.h"
#include "server/io/borders.h"

static struct tw_node_event border_of(uint64_t version, uint64_t samples, bool evaluated) {
    return (struct tw_node_event){
        .kind = TW_EVENT_BORDER,
        .version = version,
        .samples = samples,
        .evaluated = evaluated,
        .rate = 0.5,
        .stretch = {.updates = 10,
                    .contributions = 20,
                    .examples = 50,
                    .loss = 100,
                    .staleness_sum = 30,
                    .staleness_max = 4,
                    .dropped = 1},
    };
}

static struct tw_node_event evaluation_of(uint64_t version, double loss) {
    return (struct tw_node_event){.kind = TW_EVENT_EVALUATED,
                                  .version = version,
                                  .values = {.loss = loss, .accuracy = 0.75, .top5 = 0.875}};
}

static void what_the_event_says(void **state) {
    struct tw_borders borders;
    struct tw_border border;
    struct tw_node_event first = border_of(10, 100, false), second = border_of(20, 150, false);
    tw_borders_init(&borders);
    assert_false(tw_borders_next(&borders, &border));
    tw_borders_begin(&borders, &first, 100, 2);
    tw_borders_begin(&borders, &second, 100, 4);
    assert_true(tw_borders_next(&borders, &border));
    assert_true(border.version == 10 && border.samples == 100 && border.epoch == 1 && border.whole);
    assert_true(border.seconds == 2 && border.samples_per_second == 50 && border.lr == 0.5);
    assert_true(border.train_loss == 2 && border.staleness_mean == 1.5 && border.dropped == 1);
    assert_true(isnan(border.test.loss) && isnan(border.test.accuracy));
    assert_int_equal(border.times.culprit, -1);
    assert_true(tw_borders_next(&borders, &border));
    assert_true(border.epoch == 1.5 && !border.whole && border.samples_per_second == 25);
    assert_false(tw_borders_next(&borders, &border));
}

static void a_complete_one_waits_behind_one_that_waits(void **state) {
    struct tw_borders borders;
    struct tw_border border;
    tw_borders_init(&borders);
    for (uint64_t version = 1; version <= 2; version++) {
        struct tw_node_event event = border_of(version, version, true);
        tw_borders_begin(&borders, &event, 1, (double)version);
    }
    struct tw_node_event second = evaluation_of(2, 0.25), first = evaluation_of(1, 0.5);
    tw_borders_evaluated(&borders, &second);
    assert_false(tw_borders_next(&borders, &border));
    tw_borders_evaluated(&borders, &first);
    assert_true(tw_borders_next(&borders, &border));
    assert_true(border.version == 1 && border.test.loss == 0.5 && border.test.accuracy == 0.75);
    assert_true(border.test.top5 == 0.875);
    struct tw_report report = tw_border_report(&border);
    assert_true(report.kind == TW_REPORT_EPOCH && report.updates == 1 && report.test_loss == 0.5);
    assert_true(tw_borders_next(&borders, &border));
    assert_true(border.version == 2 && border.test.loss == 0.25);
}

static void let_go_they_leave_without_an_evaluation(void **state) {
    struct tw_borders borders;
    struct tw_border border;
    tw_borders_init(&borders);
    for (uint64_t version = 1; version <= TW_HELD_BORDERS; version++) {
        struct tw_node_event event = border_of(version, version, true);
        tw_borders_begin(&borders, &event, 1, (double)version);
    }
    assert_false(tw_borders_next(&borders, &border));
    tw_borders_let_go(&borders);
    for (uint64_t version = 1; version <= TW_HELD_BORDERS; version++) {
        assert_true(tw_borders_next(&borders, &border));
        assert_true(border.version == version && isnan(border.test.loss));
    }
    assert_false(tw_borders_next(&borders, &border));
}

/* Of the last whole stretch where there was one, else of all until now; of the test data only what
 * the very model at the end was given. */
static void the_end_tells_of_its_own_model(void **state) {
    static struct tw_sequencer sequencer = {
        .version = 12,
        .total = {.contributions = 24,
                  .examples = 60,
                  .loss = 180,
                  .staleness_sum = 36,
                  .staleness_max = 4,
                  .dropped = 2,
                  .not_finite = 1},
    };
    struct tw_borders borders;
    struct tw_border border;
    struct tw_result result = {.evicted = 7};
    tw_borders_init(&borders);
    tw_borders_result(&borders, &sequencer, 3, &result);
    assert_true(result.updates == 12 && result.samples == 60 && result.seconds == 3);
    assert_true(result.samples_per_second == 20 && result.train_loss == 3);
    assert_true(result.staleness_mean == 1.5 && result.staleness_max == 4);
    assert_true(result.dropped == 2 && result.not_finite == 1 && result.evicted == 7);
    assert_true(isnan(result.test_loss) && isnan(result.test_accuracy));

    struct tw_node_event at_10 = border_of(10, 50, true), scores = evaluation_of(10, 0.5);
    tw_borders_begin(&borders, &at_10, 50, 2);
    tw_borders_evaluated(&borders, &scores);
    assert_true(tw_borders_next(&borders, &border));
    tw_borders_result(&borders, &sequencer, 0, &result);
    assert_true(result.train_loss == 2 && result.samples_per_second == 0);
    assert_true(isnan(result.test_loss) && isnan(result.test_accuracy));

    sequencer.version = 10;
    tw_borders_result(&borders, &sequencer, 3, &result);
    assert_true(result.test_loss == 0.5 && result.test_accuracy == 0.75);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_end_tells_of_its_own_model),
        cmocka_unit_test(what_the_event_says),
        cmocka_unit_test(a_complete_one_waits_behind_one_that_waits),
        cmocka_unit_test(let_go_they_leave_without_an_evaluation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
