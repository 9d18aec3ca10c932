/* Borders of epochs, the evaluator, holding, and the last evaluation. */
#include "tests/lib/variant_text.h"
#include "tests/unit/sequencer_desk.h"

/* Two workers in sync, 20 examples an update, an epoch of 40, ends at `updates`. */
static void evaluated_desk(struct desk *desk, uint64_t updates) {
    struct tw_sequencer_config config = desk_config("sync", 2, 1);
    config.samples = 40;
    config.end_updates = updates;
    config.evaluator = true;
    desk_init(desk, &config);
    desk_evaluator(desk, true);
    desk_start(desk);
    assert_true(desk_says(desk, TW_SEQ_STARTED));
}

static const struct tw_record *evaluator_release(const struct desk *desk) {
    const struct tw_record *record;
    for (int i = 0; (record = desk_record(desk, TW_RECORD_RELEASE, i)); i++)
        if (record->slot == TW_SLOT_EVALUATOR)
            return record;
    return NULL;
}

/* A worker's slot is released by the last event. */
static bool workers_go_on(const struct desk *desk) {
    return desk_released(desk, 0) && desk_released(desk, 1);
}

static void test_no_update_before_the_evaluator_is_there(void **state) {
    struct desk desk;
    struct tw_sequencer_config config = desk_config("sync", 1, 1);
    config.evaluator = true;
    desk_init(&desk, &config);
    desk_start(&desk);
    desk_ready(&desk, 0);
    assert_false(desk.preparing);
    desk_evaluator(&desk, true);
    assert_true(desk_says(&desk, TW_SEQ_STARTED));
    assert_true(desk.preparing);
    desk_fini(&desk);
}

static void test_an_ask_is_answered_right_after_the_commit_that_crossed(void **state) {
    struct desk desk;
    evaluated_desk(&desk, 100);
    desk_ask(&desk, 40);
    assert_int_equal(desk.effects, 0);
    desk_update(&desk);
    assert_null(evaluator_release(&desk));
    desk_update(&desk);
    const struct tw_record *release = evaluator_release(&desk);
    assert_non_null(release);
    assert_int_equal(release->step, 1);
    assert_int_equal(release->version, 2);
    assert_int_equal(release->position, desk_record(&desk, TW_RECORD_COMMIT, 0)->position + 1);
    assert_true(workers_go_on(&desk));
    desk_fini(&desk);
}

static void test_a_border_says_what_the_epoch_amounted_to(void **state) {
    struct desk desk;
    evaluated_desk(&desk, 100);
    desk_ask(&desk, 40);
    desk_update(&desk);
    assert_int_equal(tw_sequencer_stretch(desk.sequencer).updates, 1);
    desk_update(&desk);
    const struct tw_sequencer_effect *border = desk_effect(&desk, TW_SEQ_BORDER, 0);
    assert_int_equal(border->border.samples, 40);
    assert_int_equal(border->border.version, 2);
    assert_int_equal(border->border.stretch.updates, 2);
    assert_int_equal(border->border.stretch.examples, 40);
    assert_true(border->border.stretch.loss == 4);
    assert_true(border->border.evaluated);
    assert_int_equal(tw_sequencer_stretch(desk.sequencer).updates, 0);
    assert_int_equal(tw_sequencer_total(desk.sequencer).updates, 2);
    desk_fini(&desk);
}

static void test_a_border_may_be_stepped_over(void **state) {
    struct desk desk;
    struct tw_sequencer_config config = desk_config("async", 1, 1);
    config.samples = 15; /* of 10 each: borders at 20, 30 (met exactly), 50, 60 */
    static const bool expected[] = {false, true, true, false, true, true, false};
    desk_init(&desk, &config);
    desk_start(&desk);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        desk_update(&desk);
        assert_int_equal(desk_says(&desk, TW_SEQ_BORDER), expected[i]);
    }
    desk_fini(&desk);
}

static void test_an_ask_for_later_lets_a_border_pass(void **state) {
    struct desk desk;
    evaluated_desk(&desk, 100);
    desk_ask(&desk, 80);
    for (int i = 0; i < 2; i++)
        desk_update(&desk);
    assert_false(desk_effect(&desk, TW_SEQ_BORDER, 0)->border.evaluated);
    assert_null(evaluator_release(&desk));
    for (int i = 0; i < 2; i++)
        desk_update(&desk);
    assert_non_null(evaluator_release(&desk));
    desk_fini(&desk);
}

static void test_training_holds_while_the_evaluator_is_busy(void **state) {
    struct desk desk;
    evaluated_desk(&desk, 100);
    desk_ask(&desk, 40);
    for (int i = 0; i < 3; i++)
        desk_update(&desk);
    assert_false(tw_sequencer_holding(desk.sequencer));
    desk_update(&desk); /* the next border, and the first evaluation is not done */
    assert_true(tw_sequencer_holding(desk.sequencer));
    assert_false(workers_go_on(&desk));
    desk_wants(&desk, false, false, false);
    assert_null(evaluator_release(&desk));
    desk_evaluated(&desk);
    assert_int_equal(desk.effects, 0);
    desk_ask(&desk, 80);
    assert_non_null(evaluator_release(&desk));
    assert_int_equal(evaluator_release(&desk)->step, 2);
    assert_int_equal(evaluator_release(&desk)->version, 4);
    assert_true(workers_go_on(&desk));
    assert_false(tw_sequencer_holding(desk.sequencer));
    desk_fini(&desk);
}

static void test_nothing_is_prepared_while_holding(void **state) {
    struct desk desk;
    struct tw_sequencer_config config = desk_config("async", 2, 1);
    config.samples = 10;
    desk_init(&desk, &config);
    desk_evaluator(&desk, true);
    desk_start(&desk);
    desk_ready(&desk, 0);
    desk_sums(&desk, true); /* a border, and it has not asked */
    assert_true(tw_sequencer_holding(desk.sequencer));
    desk_ready(&desk, 1);
    assert_int_equal(desk.effects, 0);
    desk_ask(&desk, 10);
    assert_true(desk_released(&desk, 0));
    assert_true(desk.preparing);
    desk_fini(&desk);
}

static void test_a_join_while_holding_is_released_afterwards(void **state) {
    struct desk desk;
    evaluated_desk(&desk, 100);
    for (int i = 0; i < 2; i++)
        desk_update(&desk);
    assert_true(tw_sequencer_holding(desk.sequencer));
    desk_lose(&desk, 1);
    desk_join(&desk, 1);
    desk_attach_all(&desk, 1);
    assert_false(desk_logs(&desk, TW_RECORD_RELEASE));
    desk_ask(&desk, 40);
    assert_true(workers_go_on(&desk));
    desk_fini(&desk);
}

static void test_losing_the_evaluator_ends_holding(void **state) {
    struct desk desk;
    evaluated_desk(&desk, 100);
    for (int i = 0; i < 2; i++)
        desk_update(&desk);
    assert_true(tw_sequencer_holding(desk.sequencer));
    desk_evaluator(&desk, false);
    assert_false(tw_sequencer_holding(desk.sequencer));
    assert_true(workers_go_on(&desk));
    for (int i = 0; i < 2; i++)
        desk_update(&desk);
    assert_false(desk_effect(&desk, TW_SEQ_BORDER, 0)->border.evaluated);
    assert_true(workers_go_on(&desk));
    desk_fini(&desk);
}

static void test_one_who_is_gone_when_holding_ends_is_released_when_back(void **state) {
    struct desk desk;
    evaluated_desk(&desk, 100);
    for (int i = 0; i < 2; i++)
        desk_update(&desk);
    desk_lose(&desk, 1);
    desk_ask(&desk, 40);
    assert_true(desk_released(&desk, 0));
    assert_false(desk_released(&desk, 1));
    desk_resume(&desk, 1, desk.slot[1].read);
    desk_attach_all(&desk, 1);
    assert_true(desk_released(&desk, 1));
    desk_fini(&desk);
}

static void test_asks_out_of_turn_are_ignored(void **state) {
    struct desk desk;
    evaluated_desk(&desk, 100);
    desk_ask(&desk, 40);
    desk_ask(&desk, 80); /* one at a time */
    for (int i = 0; i < 2; i++)
        desk_update(&desk);
    assert_non_null(evaluator_release(&desk));
    desk_ask(&desk, 80); /* it has not answered */
    for (int i = 0; i < 2; i++)
        desk_update(&desk);
    assert_null(evaluator_release(&desk));
    assert_true(tw_sequencer_holding(desk.sequencer));
    desk_evaluator(&desk, false);
    desk_ask(&desk, 80); /* nobody is there */
    for (int i = 0; i < 2; i++)
        desk_update(&desk);
    assert_null(evaluator_release(&desk));
    desk_fini(&desk);
}

/* ---- the last one ---- */

static void test_the_end_waits_for_the_last_evaluation(void **state) {
    struct desk desk;
    evaluated_desk(&desk, 3);
    desk_ask(&desk, 40);
    for (int i = 0; i < 3; i++)
        desk_update(&desk);
    assert_true(desk_effect(&desk, TW_SEQ_BORDER, 0)->border.evaluated);
    assert_false(desk_says(&desk, TW_SEQ_FINISHED));
    assert_true(tw_sequencer_holding(desk.sequencer));
    desk_evaluated(&desk); /* of version 2 */
    assert_false(desk_says(&desk, TW_SEQ_FINISHED));
    desk_ask(&desk, 80); /* a border that never comes: the end is as good */
    assert_int_equal(evaluator_release(&desk)->version, 3);
    assert_false(desk_says(&desk, TW_SEQ_FINISHED));
    desk_evaluated(&desk);
    assert_int_equal(desk_effect(&desk, TW_SEQ_FINISHED, 0)->finished.status, TW_OK);
    desk_fini(&desk);
}

static void test_an_ask_outstanding_is_answered_with_the_final_weights(void **state) {
    struct desk desk;
    evaluated_desk(&desk, 1);
    desk_ask(&desk, 40);
    desk_update(&desk);
    assert_int_equal(evaluator_release(&desk)->version, 1);
    assert_false(workers_go_on(&desk));
    desk_evaluated(&desk);
    assert_true(desk_says(&desk, TW_SEQ_FINISHED));
    desk_fini(&desk);
}

static void test_losing_the_evaluator_ends_the_run_that_waits_for_it(void **state) {
    struct desk desk;
    evaluated_desk(&desk, 1);
    desk_update(&desk);
    assert_false(desk_says(&desk, TW_SEQ_FINISHED));
    desk_evaluator(&desk, false);
    assert_int_equal(desk_effect(&desk, TW_SEQ_FINISHED, 0)->finished.status, TW_OK);
    desk_fini(&desk);
}

static void test_stop_does_not_wait_for_the_evaluator(void **state) {
    struct desk desk;
    evaluated_desk(&desk, 1);
    desk_update(&desk);
    desk_stop(&desk);
    assert_int_equal(desk_effect(&desk, TW_SEQ_FINISHED, 0)->finished.status, TW_INTERRUPTED);
    desk_fini(&desk);
}

static void test_stop_ends_holding(void **state) {
    struct desk desk;
    evaluated_desk(&desk, 100);
    for (int i = 0; i < 2; i++)
        desk_update(&desk);
    assert_true(tw_sequencer_holding(desk.sequencer));
    desk_stop(&desk);
    assert_int_equal(desk.effects, 1);
    assert_true(desk_says(&desk, TW_SEQ_FINISHED));
    assert_false(tw_sequencer_holding(desk.sequencer));
    desk_fini(&desk);
}

/* ---- the learning rate goes by a loss ---- */

/* As evaluated_desk(), with patience 0: each loss that is no better halves the rate of 0.5. */
static void judged_desk(struct desk *desk, const char *schedule) {
    struct tw_error error;
    struct tw_sequencer_config config = desk_config("sync", 2, 1);
    if (tw_pace_find(&config.pace, tw_test_variant(schedule), NULL, tw_optimizers[0], &desk_options,
                     true, &error))
        fail_msg("%s", error.text);
    config.samples = 40;
    config.end_updates = 100;
    config.evaluator = true;
    desk_init(desk, &config);
    desk_evaluator(desk, true);
    desk_start(desk);
}

static const struct tw_verdict *verdict(const struct desk *desk) {
    return &desk_record(desk, TW_RECORD_VERDICT, 0)->verdict;
}

static double rate_of_next(struct desk *desk) {
    desk_update(desk);
    return desk_record(desk, TW_RECORD_COMMIT, 0)->rate;
}

/* An epoch whose test loss is this. */
static void judged_epoch(struct desk *desk, double loss) {
    desk_ask(desk, 40);
    desk_update(desk);
    desk_update(desk);
    assert_non_null(evaluator_release(desk));
    assert_false(workers_go_on(desk));
    assert_true(tw_sequencer_holding(desk->sequencer));
    desk_evaluated_as(desk, loss);
    assert_true(workers_go_on(desk));
}

static void test_training_waits_for_the_verdict_and_obeys_it(void **state) {
    struct desk desk;
    judged_desk(&desk, "reduce_on_plateau factor=.5 patience=0");
    judged_epoch(&desk, 1.0);
    assert_true(verdict(&desk)->loss == 1 && verdict(&desk)->best == 1);
    assert_int_equal(verdict(&desk)->reductions, 0);
    judged_epoch(&desk, 1.0);
    assert_int_equal(verdict(&desk)->reductions, 1);
    assert_int_equal(desk_record(&desk, TW_RECORD_VERDICT, 0)->version, 4);
    assert_true(rate_of_next(&desk) == 0.25);
    desk_fini(&desk);
}

static void test_the_loss_of_training_decides_at_once(void **state) {
    struct desk desk;
    judged_desk(&desk, "reduce_on_plateau factor=.5 patience=0 watch=train");
    desk_ask(&desk, 40);
    desk_update(&desk);
    desk_update(&desk);
    assert_true(verdict(&desk)->loss == 0.1); /* 1 for 10 examples */
    assert_true(workers_go_on(&desk));
    desk_update(&desk);
    desk_update(&desk);
    assert_int_equal(verdict(&desk)->reductions, 1);
    desk_evaluated_as(&desk, 7);
    assert_false(desk_logs(&desk, TW_RECORD_VERDICT));
    desk_ask(&desk, 80); /* the second epoch's evaluation, which training waits for */
    assert_true(workers_go_on(&desk));
    assert_true(rate_of_next(&desk) == 0.25);
    desk_fini(&desk);
}

static void test_a_warm_up_has_no_verdicts(void **state) {
    struct desk desk;
    judged_desk(&desk, "reduce_on_plateau patience=0 warmup=3 warmup_from=.1");
    desk_ask(&desk, 40);
    desk_update(&desk);
    desk_update(&desk);
    assert_true(workers_go_on(&desk));
    desk_update(&desk);
    desk_update(&desk); /* a second border, while the first is being evaluated */
    assert_false(workers_go_on(&desk));
    desk_evaluated_as(&desk, 1);
    assert_false(desk_logs(&desk, TW_RECORD_VERDICT));
    assert_false(workers_go_on(&desk));
    desk_ask(&desk, 80);
    assert_non_null(evaluator_release(&desk));
    assert_false(workers_go_on(&desk));
    desk_evaluated_as(&desk, 2);
    assert_true(verdict(&desk)->loss == 2);
    assert_true(workers_go_on(&desk));
    desk_fini(&desk);
}

/* Weights are with the evaluator, and training waits for what it says. */
static void awaited_desk(struct desk *desk) {
    judged_desk(desk, "reduce_on_plateau patience=0");
    desk_ask(desk, 40);
    desk_update(desk);
    desk_update(desk);
    assert_non_null(evaluator_release(desk));
    assert_false(workers_go_on(desk));
}

static void test_an_evaluator_that_is_lost_decides_nothing(void **state) {
    struct desk desk;
    awaited_desk(&desk);
    desk_evaluator(&desk, false);
    assert_false(desk_logs(&desk, TW_RECORD_VERDICT));
    assert_true(workers_go_on(&desk));
    desk_evaluated_as(&desk, 1);
    assert_int_equal(desk.effects, 0);
    desk_fini(&desk);
}

/* Another in its place, which neither asks nor has weights. */
static void test_what_training_waits_for_is_evaluated_again(void **state) {
    struct desk desk;
    awaited_desk(&desk);
    uint64_t version = evaluator_release(&desk)->version;
    desk_evaluator(&desk, true);
    assert_false(workers_go_on(&desk));
    assert_false(desk_says(&desk, TW_SEQ_GIVEN_UP));
    desk_evaluated_as(&desk, 1); /* of those that nobody has */
    assert_false(desk_logs(&desk, TW_RECORD_VERDICT));
    desk_ask(&desk, 40);
    assert_int_equal(evaluator_release(&desk)->version, version);
    assert_int_equal(evaluator_release(&desk)->step, 2);
    assert_false(workers_go_on(&desk));
    desk_evaluated_as(&desk, 1);
    assert_true(verdict(&desk)->loss == 1);
    assert_true(workers_go_on(&desk));
    desk_fini(&desk);
}

static void test_the_last_evaluation_is_begun_again(void **state) {
    struct desk desk;
    evaluated_desk(&desk, 2);
    desk_ask(&desk, 40);
    desk_update(&desk);
    desk_update(&desk);
    assert_non_null(evaluator_release(&desk));
    desk_evaluator(&desk, true);
    assert_false(desk_says(&desk, TW_SEQ_FINISHED));
    desk_wants(&desk, false, false, false);
    desk_ask(&desk, 40);
    assert_int_equal(evaluator_release(&desk)->version, 2);
    desk_evaluated(&desk);
    assert_true(desk_says(&desk, TW_SEQ_FINISHED));
    desk_fini(&desk);
}

static void test_an_evaluation_that_nothing_waits_for_is_given_up(void **state) {
    struct desk desk;
    evaluated_desk(&desk, 100);
    desk_ask(&desk, 40);
    for (int i = 0; i < 4; i++)
        desk_update(&desk);
    assert_true(tw_sequencer_holding(desk.sequencer)); /* for the next one */
    desk_evaluator(&desk, true);
    assert_int_equal(desk_effect(&desk, TW_SEQ_GIVEN_UP, 0)->given_up, 2);
    assert_true(tw_sequencer_holding(desk.sequencer));
    desk_ask(&desk, 40);
    assert_int_equal(evaluator_release(&desk)->version, 4);
    assert_true(workers_go_on(&desk));
    desk_fini(&desk);
}

static void test_after_the_end_nothing_is_decided(void **state) {
    struct desk desk;
    judged_desk(&desk, "reduce_on_plateau patience=0");
    desk_ask(&desk, 40);
    desk_update(&desk);
    desk_update(&desk);
    desk_stop(&desk);
    desk_evaluated_as(&desk, 1);
    assert_false(desk_logs(&desk, TW_RECORD_VERDICT));
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_update_before_the_evaluator_is_there),
        cmocka_unit_test(test_an_ask_is_answered_right_after_the_commit_that_crossed),
        cmocka_unit_test(test_a_border_says_what_the_epoch_amounted_to),
        cmocka_unit_test(test_a_border_may_be_stepped_over),
        cmocka_unit_test(test_an_ask_for_later_lets_a_border_pass),
        cmocka_unit_test(test_training_holds_while_the_evaluator_is_busy),
        cmocka_unit_test(test_nothing_is_prepared_while_holding),
        cmocka_unit_test(test_a_join_while_holding_is_released_afterwards),
        cmocka_unit_test(test_losing_the_evaluator_ends_holding),
        cmocka_unit_test(test_one_who_is_gone_when_holding_ends_is_released_when_back),
        cmocka_unit_test(test_asks_out_of_turn_are_ignored),
        cmocka_unit_test(test_the_end_waits_for_the_last_evaluation),
        cmocka_unit_test(test_an_ask_outstanding_is_answered_with_the_final_weights),
        cmocka_unit_test(test_losing_the_evaluator_ends_the_run_that_waits_for_it),
        cmocka_unit_test(test_stop_does_not_wait_for_the_evaluator),
        cmocka_unit_test(test_stop_ends_holding),
        cmocka_unit_test(test_training_waits_for_the_verdict_and_obeys_it),
        cmocka_unit_test(test_the_loss_of_training_decides_at_once),
        cmocka_unit_test(test_a_warm_up_has_no_verdicts),
        cmocka_unit_test(test_an_evaluator_that_is_lost_decides_nothing),
        cmocka_unit_test(test_what_training_waits_for_is_evaluated_again),
        cmocka_unit_test(test_the_last_evaluation_is_begun_again),
        cmocka_unit_test(test_an_evaluation_that_nothing_waits_for_is_given_up),
        cmocka_unit_test(test_after_the_end_nothing_is_decided),
    };
    return cmocka_run_group_tests_name("evaluation", tests, NULL, NULL);
}
