/* CHECKPOINT and ROLLBACK as the sequencer decides them: when, one at a time, and that a run that
 * is begun again goes on as if it had never stopped. */
#include "tests/lib/variant_text.h"
#include "tests/unit/sequencer_desk.h"

static void saved(struct desk *desk) {
    desk_step(desk, &(struct tw_sequencer_event){.kind = TW_SEQ_SAVED});
}

static void start(struct desk *desk, const char *mode, uint32_t workers, uint64_t every) {
    struct tw_sequencer_config config = desk_config(mode, workers, 2);
    config.checkpoint_every = every;
    desk_init(desk, &config);
    desk_start(desk);
}

static void test_every_so_many_updates(void **state) {
    struct desk desk;
    start(&desk, "sync", 2, 2);
    desk_update(&desk);
    assert_false(desk_logs(&desk, TW_RECORD_CHECKPOINT));
    desk_update(&desk);
    const struct tw_record *record = desk_record(&desk, TW_RECORD_CHECKPOINT, 0);
    const struct tw_sequencer_snapshot *snapshot = tw_sequencer_snapshot(desk.sequencer);
    assert_int_equal(record->version, 2);
    assert_int_equal(snapshot->position, record->position);
    assert_int_equal(snapshot->version, 2);
    assert_int_equal(snapshot->total.updates, 2);
    assert_int_equal(snapshot->step[1], 2);
    assert_string_equal(snapshot->mode, "sync");
    assert_int_equal(desk_record(&desk, TW_RECORD_RELEASE, 0)->position, record->position + 1);
    desk_fini(&desk);
}

static void test_one_at_a_time(void **state) {
    struct desk desk;
    start(&desk, "sync", 2, 1);
    desk_update(&desk);
    assert_true(desk_logs(&desk, TW_RECORD_CHECKPOINT));
    desk_update(&desk);
    assert_false(desk_logs(&desk, TW_RECORD_CHECKPOINT)); /* the first is not safe yet */
    saved(&desk);
    assert_int_equal(desk.effects, 0); /* it comes with a COMMIT */
    desk_update(&desk);
    assert_int_equal(desk_record(&desk, TW_RECORD_CHECKPOINT, 0)->version, 3);
    desk_fini(&desk);
}

static void test_when_asked(void **state) {
    struct desk desk;
    start(&desk, "async", 2, 0);
    desk_step(&desk, &(struct tw_sequencer_event){.kind = TW_SEQ_CHECKPOINT});
    assert_int_equal(desk.effects, 0);
    desk_ready(&desk, 1);
    desk_sums(&desk, true);
    assert_true(desk_logs(&desk, TW_RECORD_CHECKPOINT));
    assert_int_equal(tw_sequencer_snapshot(desk.sequencer)->step[0], 0);
    assert_int_equal(tw_sequencer_snapshot(desk.sequencer)->step[1], 1);
    desk_fini(&desk);
}

static void stop(struct desk *desk, bool saves) {
    desk_step(desk, &(struct tw_sequencer_event){.kind = TW_SEQ_STOP, .saves = saves});
}

static void test_before_the_end_that_a_signal_makes(void **state) {
    for (int saves = 0; saves < 2; saves++) {
        struct desk desk;
        start(&desk, "sync", 2, 0);
        desk_update(&desk);
        desk_ready(&desk, 0);
        stop(&desk, saves);
        assert_int_equal(desk_logs(&desk, TW_RECORD_CHECKPOINT), saves);
        assert_true(desk_says(&desk, TW_SEQ_FINISHED));
        desk_fini(&desk);
    }
}

static void test_none_where_nothing_was_added(void **state) {
    struct desk desk;
    start(&desk, "sync", 2, 1);
    stop(&desk, true);
    assert_false(desk_logs(&desk, TW_RECORD_CHECKPOINT)); /* the start needs none */
    desk_fini(&desk);
    start(&desk, "sync", 2, 1);
    desk_update(&desk);
    saved(&desk);
    stop(&desk, true);
    assert_false(desk_logs(&desk, TW_RECORD_CHECKPOINT));
    desk_fini(&desk);
}

static void test_none_after_the_last_update(void **state) {
    struct desk desk;
    struct tw_sequencer_config config = desk_config("sync", 2, 1);
    config.checkpoint_every = 1;
    config.end_updates = 1;
    desk_init(&desk, &config);
    desk_start(&desk);
    desk_update(&desk);
    assert_true(desk_says(&desk, TW_SEQ_FINISHED));
    assert_false(desk_logs(&desk, TW_RECORD_CHECKPOINT));
    desk_fini(&desk);
}

/* Begins again, in a new sequencer, from what the first one had at its last CHECKPOINT. */
static void resume(struct desk *desk, const struct desk *before, uint32_t generation) {
    struct tw_sequencer_event event = {.kind = TW_SEQ_RESUME};
    const struct tw_sequencer_snapshot *from = tw_sequencer_snapshot(before->sequencer);
    desk_init(desk, &before->config);
    event.resume = (struct tw_sequencer_resume){
        .from = from, .generation = generation, .position = before->position};
    desk->position = before->position;
    desk->version = from->version;
    for (uint32_t i = 0; i < before->config.workers; i++)
        desk->slot[i].settled = desk->slot[i].step = from->step[i];
    desk_step(desk, &event);
}

static void test_going_on_in_sync(void **state) {
    struct desk first, second;
    start(&first, "sync", 2, 2);
    desk_update(&first);
    desk_update(&first);
    desk_update(&first); /* it is taken back */
    resume(&second, &first, 1);
    const struct tw_record *rollback = desk_record(&second, TW_RECORD_ROLLBACK, 0);
    assert_int_equal(rollback->position, first.position + 1);
    assert_int_equal(rollback->version, 2);
    assert_int_equal(rollback->generation, 1);
    assert_int_equal(rollback->to, tw_sequencer_snapshot(first.sequencer)->position);
    assert_string_equal(rollback->mode, "sync");
    assert_int_equal(rollback->ranks, 2);
    assert_int_equal(rollback->steps[0], 2);
    desk_start(&second);
    assert_int_equal(second.slot[0].step, 3);
    desk_update(&second);
    /* Exactly the update that was taken back. */
    assert_int_equal(tw_sequencer_version(second.sequencer), 3);
    assert_int_equal(tw_sequencer_total(second.sequencer).examples,
                     tw_sequencer_total(first.sequencer).examples);
    assert_true(tw_sequencer_total(second.sequencer).loss ==
                tw_sequencer_total(first.sequencer).loss);
    desk_fini(&first);
    desk_fini(&second);
}

/* A turn of the dial that is behind the CHECKPOINT stays, and is not made again; reads and pushes
 * that were out are gone; clocks are level. */
static void test_going_on_after_a_turn(void **state) {
    struct desk first, second;
    struct tw_dial_turn turn = {.update = 1};
    struct tw_sequencer_config config = desk_config("sync", 3, 1);
    assert_int_equal(tw_dial_parse("ssp:1", (struct tw_where){"desk", 1}, 3, &turn.dial, NULL),
                     TW_OK);
    config.turns = &turn;
    config.turn_count = 1;
    config.checkpoint_every = 3;
    desk_init(&first, &config);
    desk_start(&first);
    desk_update(&first);
    assert_true(desk_logs(&first, TW_RECORD_DIAL));
    for (uint32_t i = 0; i < 2; i++) {
        desk_ready(&first, i);
        desk_sums(&first, true);
    }
    assert_true(desk_logs(&first, TW_RECORD_CHECKPOINT));
    desk_ready(&first, 2);
    resume(&second, &first, 1);
    assert_string_equal(desk_record(&second, TW_RECORD_ROLLBACK, 0)->mode, "ssp:1");
    assert_string_equal(tw_sequencer_dial(second.sequencer)->word, "ssp:1");
    desk_start(&second);
    assert_false(desk_logs(&second, TW_RECORD_DIAL));
    assert_int_equal(second.slot[0].step, second.slot[2].step + 1);
    assert_true(second.slot[0].reading && second.slot[2].reading);
    desk_ready(&second, 0);
    desk_sums(&second, true);
    assert_true(desk_released(&second, 0)); /* it may be one ahead of rank 2, */
    desk_ready(&second, 0);
    desk_sums(&second, true);
    assert_false(desk_released(&second, 0)); /* not two */
    desk_fini(&first);
    desk_fini(&second);
}

static void test_twice(void **state) {
    struct desk first, second, third;
    start(&first, "sync", 2, 1);
    desk_update(&first);
    resume(&second, &first, 1);
    desk_start(&second);
    desk_update(&second);
    resume(&third, &second, 2);
    assert_int_equal(desk_record(&third, TW_RECORD_ROLLBACK, 0)->generation, 2);
    assert_int_equal(tw_sequencer_version(third.sequencer), 2);
    desk_start(&third);
    desk_update(&third);
    assert_int_equal(tw_sequencer_version(third.sequencer), 3);
    desk_fini(&first);
    desk_fini(&second);
    desk_fini(&third);
}

/* An epoch is two updates; its test loss decides on the learning rate. */
static void start_judged(struct desk *desk, uint64_t every) {
    struct tw_error error;
    struct tw_sequencer_config config = desk_config("sync", 2, 1);
    if (tw_pace_find(&config.pace, tw_test_variant("reduce_on_plateau factor=.5 patience=0"), NULL,
                     tw_optimizers[0], &desk_options, true, &error))
        fail_msg("%s", error.text);
    config.samples = 40;
    config.end_updates = 100;
    config.evaluator = true;
    config.checkpoint_every = every;
    desk_init(desk, &config);
    desk_evaluator(desk, true);
    desk_start(desk);
}

static void epoch(struct desk *desk) {
    desk_ask(desk, 40);
    desk_update(desk);
    desk_update(desk);
}

/* Right after the VERDICT, before anybody goes on, with all that it decided. */
static void test_it_waits_for_the_verdict(void **state) {
    struct desk first, second;
    start_judged(&first, 2);
    epoch(&first);
    assert_false(desk_logs(&first, TW_RECORD_CHECKPOINT));
    desk_evaluated_as(&first, 1);
    uint64_t position = desk_record(&first, TW_RECORD_VERDICT, 0)->position;
    assert_int_equal(desk_record(&first, TW_RECORD_CHECKPOINT, 0)->position, position + 1);
    assert_int_equal(desk_record(&first, TW_RECORD_RELEASE, 0)->position, position + 2);
    saved(&first);
    epoch(&first);
    desk_evaluated_as(&first, 1);
    assert_int_equal(desk_record(&first, TW_RECORD_VERDICT, 0)->verdict.reductions, 1);
    resume(&second, &first, 1);
    desk_evaluator(&second, true);
    desk_start(&second);
    desk_update(&second);
    assert_true(desk_record(&second, TW_RECORD_COMMIT, 0)->rate == 0.25);
    desk_ask(&second, 40);
    desk_update(&second);
    desk_evaluated_as(&second, 1);
    const struct tw_verdict *verdict = &desk_record(&second, TW_RECORD_VERDICT, 0)->verdict;
    assert_true(verdict->best == 1);
    assert_int_equal(verdict->reductions, 2);
    desk_fini(&first);
    desk_fini(&second);
}

static void test_it_does_not_wait_for_an_evaluator_that_is_lost(void **state) {
    struct desk desk;
    start_judged(&desk, 2);
    epoch(&desk);
    desk_evaluator(&desk, false);
    assert_false(desk_logs(&desk, TW_RECORD_VERDICT));
    assert_true(desk_logs(&desk, TW_RECORD_CHECKPOINT));
    desk_fini(&desk);
}

/* What a verdict is still to come for is not saved; the run goes on from the one before. */
static void test_no_last_one_before_the_verdict(void **state) {
    struct desk desk;
    start_judged(&desk, 0);
    epoch(&desk);
    stop(&desk, true);
    assert_false(desk_logs(&desk, TW_RECORD_CHECKPOINT));
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_so_many_updates),
        cmocka_unit_test(test_one_at_a_time),
        cmocka_unit_test(test_when_asked),
        cmocka_unit_test(test_before_the_end_that_a_signal_makes),
        cmocka_unit_test(test_none_where_nothing_was_added),
        cmocka_unit_test(test_none_after_the_last_update),
        cmocka_unit_test(test_going_on_in_sync),
        cmocka_unit_test(test_going_on_after_a_turn),
        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_it_waits_for_the_verdict),
        cmocka_unit_test(test_it_does_not_wait_for_an_evaluator_that_is_lost),
        cmocka_unit_test(test_no_last_one_before_the_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
