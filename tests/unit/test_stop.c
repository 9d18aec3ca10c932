/* stop: verdicts on the end, alone and in the order. */
#include "tests/unit/sequencer_desk.h"

#include <math.h>

static struct tw_judge judge_of(const char *what) {
    struct tw_judge judge = {.by_loss = true, .patience = -1, .enough = -INFINITY};
    sscanf(what, "patience %ld threshold %lf", &judge.patience, &judge.threshold);
    sscanf(what, "enough %lf", &judge.enough);
    return judge;
}

/* After which of the losses (from 1) it ends, and why; 0: never. */
static int end_of(const char *what, const double *losses, int count, uint32_t *why) {
    const struct tw_judge judge = judge_of(what);
    struct tw_verdict verdict = tw_verdict_start(TW_VERDICT_END);
    for (int i = 0; i < count; i++) {
        tw_verdict_see(&verdict, &judge, losses[i]);
        *why = verdict.stop;
        if (verdict.stop)
            return i + 1;
    }
    return 0;
}

static void test_a_run_of_losses_ends_where_it_should(void **state) {
    static const double losses[] = {3, 2, 2.5, 1.9, 1.95, NAN, 1.85, 1.84, 1.7, 1.7, 1.7, 1.7};
    static const struct {
        const char *what;
        int end;
        uint32_t why;
    } rows[] = {
        {"patience 0", 3, TW_STOP_PATIENCE},
        {"patience 1", 6, TW_STOP_PATIENCE}, /* NaN is no better */
        {"patience 2", 12, TW_STOP_PATIENCE},
        {"patience 2 threshold .1", 5, TW_STOP_PATIENCE}, /* 1.9 is not 10% below 2 */
        {"patience 3 threshold .1", 6, TW_STOP_PATIENCE},
        {"patience 12", 0, TW_STOP_NOT},
        {"enough 2", 2, TW_STOP_LOSS},
        {"enough 1.9", 4, TW_STOP_LOSS},
        {"enough 1", 0, TW_STOP_NOT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t why = 0;
        assert_int_equal(end_of(rows[i].what, losses, sizeof losses / sizeof *losses, &why),
                         rows[i].end);
        assert_int_equal(why, rows[i].why);
    }
}

static void test_a_small_gradient_is_the_end(void **state) {
    const struct tw_judge judge = {.small = 0.5}, none = {0};
    struct tw_verdict verdict = tw_verdict_start(TW_VERDICT_END);
    assert_false(tw_verdict_see_gradient(&verdict, &judge, nextafter(0.5, 1)));
    assert_false(tw_verdict_see_gradient(&verdict, &judge, NAN));
    assert_false(tw_verdict_see_gradient(&verdict, &none, 0));
    assert_true(isinf(verdict.loss));
    assert_true(tw_verdict_see_gradient(&verdict, &judge, 0.5));
    assert_true(verdict.loss == 0.5 && verdict.stop == TW_STOP_GRADIENT);
}

/* ---- in the order ---- */

/* Two workers, 20 examples an update in sync, an epoch of `samples`; losses of training are .1. */
static void stopping_desk(struct desk *desk, const char *mode, uint64_t samples,
                          struct tw_judge judge) {
    struct tw_sequencer_config config = desk_config(mode, 2, 1);
    config.samples = samples;
    config.end_updates = 100;
    config.checkpoint_every = 4;
    config.evaluator = samples > 0;
    config.end = judge;
    config.shaping.norm_wanted = judge.small > 0;
    desk_init(desk, &config);
    if (config.evaluator)
        desk_evaluator(desk, true);
    desk_start(desk);
}

static const struct tw_verdict *verdict(const struct desk *desk) {
    const struct tw_record *record = desk_record(desk, TW_RECORD_VERDICT, 0);
    assert_non_null(record);
    assert_int_equal(record->verdict.on, TW_VERDICT_END);
    return &record->verdict;
}

/* No update follows, whatever comes. */
static void assert_over(struct desk *desk) {
    for (uint32_t slot = 0; slot < 2; slot++)
        if (desk->slot[slot].reading)
            desk_ready(desk, slot);
    assert_false(desk->preparing);
    assert_false(desk_logs(desk, TW_RECORD_RELEASE));
}

static void test_the_test_loss_ends_the_run_at_its_epoch(void **state) {
    struct desk desk;
    stopping_desk(&desk, "sync", 40, judge_of("patience 0"));
    for (int epoch = 0; epoch < 2; epoch++) {
        desk_ask(&desk, 40);
        desk_update(&desk);
        desk_update(&desk);
        assert_true(tw_sequencer_holding(desk.sequencer));
        desk_evaluated_as(&desk, 1);
        assert_int_equal(verdict(&desk)->stop, epoch ? TW_STOP_PATIENCE : TW_STOP_NOT);
    }
    const struct tw_sequencer_effect *end = desk_effect(&desk, TW_SEQ_FINISHED, 0);
    assert_non_null(end);
    assert_int_equal(end->finished.status, TW_OK);
    assert_false(desk_logs(&desk, TW_RECORD_RELEASE)); /* the evaluator knows these weights */
    assert_false(desk_logs(&desk, TW_RECORD_CHECKPOINT));
    assert_over(&desk);
    desk_fini(&desk);
}

/* While the verdict on some weights was awaited, chunks went on being applied: what the run says of
 * its model is of the weights that it ends with. */
static void test_weights_that_went_on_are_evaluated_once_more(void **state) {
    for (int leaves = 0; leaves < 2; leaves++) {
        struct desk desk;
        stopping_desk(&desk, "hogwild", 40, judge_of("enough 1"));
        desk_ask(&desk, 40);
        for (uint32_t update = 0; update < 4; update++)
            desk_ready(&desk, update % 2);
        assert_true(tw_sequencer_holding(desk.sequencer));
        desk_evaluated_as(&desk, 1);
        assert_int_equal(verdict(&desk)->stop, TW_STOP_LOSS);
        assert_true(desk_logs(&desk, TW_RECORD_DROP)); /* from here on they stay */
        assert_false(desk_says(&desk, TW_SEQ_FINISHED));
        if (leaves) {
            desk_evaluator(&desk, false);
        } else {
            desk_ask(&desk, 80);
            const struct tw_record *record = desk_record(&desk, TW_RECORD_RELEASE, 0);
            assert_non_null(record);
            assert_int_equal(record->slot, TW_SLOT_EVALUATOR);
            assert_false(desk_says(&desk, TW_SEQ_FINISHED));
            desk_evaluated_as(&desk, 2);
        }
        const struct tw_sequencer_effect *end = desk_effect(&desk, TW_SEQ_FINISHED, 0);
        assert_non_null(end);
        assert_int_equal(end->finished.status, TW_OK);
        assert_over(&desk);
        desk_fini(&desk);
    }
}

/* Who had the weights is gone, and another is there: the verdict, and the checkpoint that waits for
 * it, come when that one has said what they are worth. */
static void test_a_checkpoint_waits_for_the_verdict_of_another(void **state) {
    static const char *const modes[] = {"async", "hogwild"};
    for (int i = 0; i < 2; i++) {
        struct desk desk;
        stopping_desk(&desk, modes[i], 40, judge_of("enough 1"));
        desk_ask(&desk, 40);
        for (uint32_t update = 0; update < 4; update++) {
            desk_ready(&desk, update % 2);
            if (desk.preparing)
                desk_sums(&desk, true);
        }
        assert_true(tw_sequencer_holding(desk.sequencer));
        assert_false(desk_logs(&desk, TW_RECORD_CHECKPOINT));
        desk_ready(&desk, 0); /* held back; in hogwild its chunks are applied already */
        desk_evaluator(&desk, true);
        assert_int_equal(desk.effects, 0);
        desk_ask(&desk, 40);
        assert_int_equal(desk_record(&desk, TW_RECORD_RELEASE, 0)->version, 4);
        assert_false(desk_logs(&desk, TW_RECORD_CHECKPOINT));
        desk_evaluated_as(&desk, 2);
        assert_true(verdict(&desk)->loss == 2);
        assert_true(desk_logs(&desk, TW_RECORD_CHECKPOINT));
        assert_false(tw_sequencer_holding(desk.sequencer));
        assert_true(desk_released(&desk, 1));
        desk_fini(&desk);
    }
}

static void test_the_train_loss_ends_it_after_a_last_evaluation(void **state) {
    struct desk desk;
    struct tw_judge judge = judge_of("enough .1");
    judge.watch = TW_WATCH_TRAIN;
    stopping_desk(&desk, "sync", 40, judge);
    desk_ask(&desk, 40);
    desk_update(&desk);
    assert_false(desk_logs(&desk, TW_RECORD_VERDICT));
    desk_update(&desk);
    assert_true(verdict(&desk)->loss == .1 && verdict(&desk)->stop == TW_STOP_LOSS);
    assert_true(desk_says(&desk, TW_SEQ_BORDER));
    assert_true(desk_logs(&desk, TW_RECORD_RELEASE));
    assert_false(desk_says(&desk, TW_SEQ_FINISHED));
    desk_evaluated(&desk);
    assert_true(desk_says(&desk, TW_SEQ_FINISHED));
    assert_over(&desk);
    desk_fini(&desk);
}

static void test_without_data_each_update_is_judged(void **state) {
    struct desk desk;
    struct tw_judge judge = judge_of("patience 2");
    judge.watch = TW_WATCH_TRAIN;
    stopping_desk(&desk, "async", 0, judge);
    for (uint64_t update = 1; update <= 4; update++) {
        desk_update(&desk);
        assert_int_equal(verdict(&desk)->stop, update == 4 ? TW_STOP_PATIENCE : TW_STOP_NOT);
    }
    assert_true(desk_says(&desk, TW_SEQ_BORDER) && desk_says(&desk, TW_SEQ_FINISHED));
    assert_over(&desk);
    desk_fini(&desk);
}

/* The norm is that of the mean: sqrt(squares) / 20 examples. */
static void test_the_gradient_ends_it_in_the_middle_of_an_epoch(void **state) {
    static const float gradient[2] = {6, 8};
    struct desk desk;
    stopping_desk(&desk, "sync", 1000, (struct tw_judge){.small = 0.5});
    desk_update(&desk); /* without squares it is 0: the end */
    assert_true(verdict(&desk)->loss == 0);
    desk_fini(&desk);
    for (int larger = 0; larger < 2; larger++) {
        stopping_desk(&desk, "sync", 1000, (struct tw_judge){.small = larger ? 0.4999 : 0.5});
        desk_ready(&desk, 0);
        desk_ready(&desk, 1);
        struct tw_sequencer_event event = {.kind = TW_SEQ_SUMS};
        event.sums = (struct tw_sums){.version = 1, .finite = true};
        tw_add_squares(&event.sums.squares, gradient, 2);
        desk_step(&desk, &event);
        assert_int_equal(desk_logs(&desk, TW_RECORD_VERDICT), !larger);
        if (!larger)
            assert_true(verdict(&desk)->loss == 0.5 && verdict(&desk)->stop == TW_STOP_GRADIENT);
        assert_int_equal(desk_says(&desk, TW_SEQ_BORDER), !larger);
        desk_fini(&desk);
    }
}

static void test_the_last_update_is_not_judged(void **state) {
    struct desk desk;
    struct tw_sequencer_config config = desk_config("sync", 2, 1);
    config.end = judge_of("enough 1");
    config.end.watch = TW_WATCH_TRAIN;
    config.end_updates = 1;
    desk_init(&desk, &config);
    desk_start(&desk);
    desk_update(&desk);
    assert_false(desk_logs(&desk, TW_RECORD_VERDICT));
    assert_true(desk_says(&desk, TW_SEQ_FINISHED));
    desk_fini(&desk);
}

/* The best so far is saved with everything else. */
static void test_patience_goes_on_after_a_rollback(void **state) {
    struct desk desk, again;
    struct tw_judge judge = judge_of("patience 1");
    judge.watch = TW_WATCH_TRAIN;
    stopping_desk(&desk, "sync", 0, judge);
    desk_update(&desk);
    desk_step(&desk, &(struct tw_sequencer_event){.kind = TW_SEQ_CHECKPOINT});
    desk_update(&desk); /* one that was no better */
    assert_true(desk_logs(&desk, TW_RECORD_CHECKPOINT));
    const struct tw_sequencer_snapshot *snapshot = tw_sequencer_snapshot(desk.sequencer);
    assert_int_equal(snapshot->verdict[TW_VERDICT_END].bad, 1);
    desk_init(&again, &desk.config);
    struct tw_sequencer_event event = {.kind = TW_SEQ_RESUME};
    event.resume =
        (struct tw_sequencer_resume){.from = snapshot, .generation = 1, .position = desk.position};
    again.position = desk.position;
    again.version = desk.version;
    desk_step(&again, &event);
    for (uint32_t slot = 0; slot < 2; slot++)
        again.slot[slot].settled = again.slot[slot].step = snapshot->step[slot];
    desk_start(&again);
    desk_update(&again);
    assert_int_equal(verdict(&again)->stop, TW_STOP_PATIENCE);
    desk_fini(&again);
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_run_of_losses_ends_where_it_should),
        cmocka_unit_test(test_a_small_gradient_is_the_end),
        cmocka_unit_test(test_the_test_loss_ends_the_run_at_its_epoch),
        cmocka_unit_test(test_weights_that_went_on_are_evaluated_once_more),
        cmocka_unit_test(test_a_checkpoint_waits_for_the_verdict_of_another),
        cmocka_unit_test(test_the_train_loss_ends_it_after_a_last_evaluation),
        cmocka_unit_test(test_without_data_each_update_is_judged),
        cmocka_unit_test(test_the_gradient_ends_it_in_the_middle_of_an_epoch),
        cmocka_unit_test(test_the_last_update_is_not_judged),
        cmocka_unit_test(test_patience_goes_on_after_a_rollback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
