/* The client protocol of an evaluator that scores portions of its test data, by scripted frames. */
#include "tests/unit/client_desk.h"

#include "common/base/tally.h"

enum { SAMPLES = 2000 };

static const struct tw_client_config labelled = {
    .role = TW_ROLE_EVALUATOR, .rank = -1, .epoch_samples = 1000, .test_samples = SAMPLES};

static void join(struct desk *desk) {
    struct tw_frame welcome = desk_welcome(desk, 0), attached = {.body = TW_BODY_ATTACHED};
    welcome.welcome.portions = true;
    desk_greet(desk, TW_CLIENT_CONTROL);
    assert_int_equal(desk->last.join.samples, SAMPLES);
    assert_int_equal(desk->last.join.valued, desk->client.config.test_valued);
    desk_frame(desk, TW_CLIENT_CONTROL, &welcome, NULL);
    desk_greet(desk, 1);
    desk_frame(desk, 1, &attached, NULL);
}

static void begin(struct desk *desk, const struct tw_client_config *config) {
    desk_init(desk, 1, config);
    desk_start(desk);
    join(desk);
    desk_pull(desk);
}

static enum tw_status give(struct desk *desk, uint64_t position, uint64_t first, uint64_t samples) {
    struct tw_frame frame = {.body = TW_BODY_PORTION, .portion = {position, first, samples}};
    return desk_frame(desk, TW_CLIENT_CONTROL, &frame, NULL);
}

static enum tw_status tally(struct desk *desk, size_t fits, size_t scores) {
    static const uint8_t bytes[1 << 20];
    struct tw_tally_frame tally = {.correct = 5,
                                   .loss = {bytes, TW_EXACT_SUM_BYTES},
                                   .fits = {bytes, fits * TW_TALLY_FIT_BYTES},
                                   .scores = {bytes, scores * TW_TALLY_SCORE_BYTES}};
    return desk_step(desk, (struct tw_client_event){.kind = TW_CLIENT_ON_TALLY, .tally = &tally});
}

/* It has weights of position 5, and a portion of them. */
static void begin_scoring(struct desk *desk, const struct tw_client_config *config) {
    begin(desk, config);
    assert_int_equal(give(desk, 5, 0, 256), TW_OK);
    desk_arrive_all(desk, 5, 3, 1);
}

/* It has answered, and asks for more. */
static void begin_asking(struct desk *desk) {
    begin_scoring(desk, &labelled);
    assert_int_equal(tally(desk, 0, 0), TW_OK);
    desk_pull(desk);
}

static void weights_and_portion_come_in_any_order(void **state) {
    for (int first = 0; first < 2; first++) {
        struct desk desk;
        begin(&desk, &labelled);
        if (first)
            assert_int_equal(give(&desk, 5, 256, 512), TW_OK);
        desk_arrive_all(&desk, 5, 3, 1);
        assert_int_equal(desk.client.work, first ? TW_CLIENT_COMPUTING : TW_CLIENT_WAITING);
        if (!first)
            assert_int_equal(give(&desk, 5, 256, 512), TW_OK);
        assert_int_equal(desk.client.work, TW_CLIENT_COMPUTING);
        assert_int_equal(tally(&desk, 0, 0), TW_OK);
        assert_int_equal(desk.last.body, TW_BODY_TALLY);
        assert_int_equal(desk.last.tally.position, 5);
        assert_int_equal(desk.last.tally.first, 256);
        assert_int_equal(desk.last.tally.samples, 512);
        assert_int_equal(desk.last.tally.correct, 5);
        desk_fini(&desk);
    }
}

static void another_portion_of_the_same_weights_needs_no_weights(void **state) {
    struct desk desk;
    begin_asking(&desk);
    assert_int_equal(desk.last.body, TW_BODY_ASK);
    assert_int_equal(desk.last.ask.samples, 2000); /* or weights of the next epoch */
    assert_int_equal(desk.client.work, TW_CLIENT_WAITING);
    assert_int_equal(give(&desk, 5, 512, 256), TW_OK);
    assert_int_equal(desk.client.work, TW_CLIENT_COMPUTING);
    assert_int_equal(desk.client.portion.first, 512);
    desk_fini(&desk);
}

static void of_real_targets_fits_leave_in_as_many_frames_as_it_takes(void **state) {
    struct tw_client_config valued = labelled;
    struct desk desk;
    valued.test_valued = true;
    begin_scoring(&desk, &valued);
    int before = desk.sent_count;
    assert_int_equal(tally(&desk, 2 * TW_TALLY_FITS + 1, 0), TW_OK);
    assert_int_equal(desk.sent_count, before + 3);
    assert_int_equal(desk.last.tally.output, 2 * TW_TALLY_FITS);
    assert_int_equal(desk.last.tally.fits.size, TW_TALLY_FIT_BYTES);
    desk_fini(&desk);
}

static void a_portion_ends_with_its_connection(void **state) {
    struct desk desk;
    begin_scoring(&desk, &labelled);
    desk_lose(&desk, TW_CLIENT_CONTROL, TW_CLOSED);
    desk_tick(&desk, 60);
    join(&desk);
    int before = desk.sent_count;
    assert_int_equal(tally(&desk, 0, 0), TW_OK);
    assert_int_equal(desk.sent_count, before); /* somebody else scores it now */
    desk_pull(&desk);
    assert_int_equal(desk.last.body, TW_BODY_ASK);
    desk_fini(&desk);
}

/* Control may live on for a moment; what it brings then is of a membership that is over. */
static void a_portion_that_crosses_the_loss_of_its_weights_is_passed_over(void **state) {
    for (int held = 0; held < 2; held++) {
        struct desk desk;
        begin_asking(&desk);
        desk_lose(&desk, 1, TW_CLOSED);
        assert_int_equal(give(&desk, held ? 5 : 6, 256, 256), TW_OK);
        assert_int_equal(desk.client.work, TW_CLIENT_WAITING);
        desk_tick(&desk, 60);
        join(&desk);
        assert_int_equal(desk.last.body, TW_BODY_ASK);
        assert_int_equal(give(&desk, 7, 512, 256), TW_OK);
        desk_arrive_all(&desk, 7, 4, 2);
        assert_int_equal(desk.client.work, TW_CLIENT_COMPUTING);
        assert_int_equal(tally(&desk, 0, 0), TW_OK);
        assert_int_equal(desk.last.tally.position, 7);
        assert_int_equal(desk.last.tally.first, 512);
        desk_fini(&desk);
    }
}

/* Or the evaluation of the next epoch would be left out. */
static void the_same_weights_once_more_are_no_other_epoch(void **state) {
    struct desk desk;
    begin_scoring(&desk, &labelled);
    desk_lose(&desk, TW_CLIENT_CONTROL, TW_CLOSED);
    desk_tick(&desk, 60);
    join(&desk);
    tally(&desk, 0, 0);
    desk_pull(&desk);
    assert_int_equal(desk.last.ask.samples, 2000);
    give(&desk, 6, 0, 256);
    desk_arrive_all(&desk, 6, 3, 2); /* all who had them are gone */
    tally(&desk, 0, 0);
    desk_pull(&desk);
    assert_int_equal(desk.last.ask.samples, 2000);
    give(&desk, 7, 0, 256);
    desk_arrive_all(&desk, 7, 4, 3);
    tally(&desk, 0, 0);
    desk_pull(&desk);
    assert_int_equal(desk.last.ask.samples, 3000);
    desk_fini(&desk);
}

static void a_question_is_repeated_when_the_portion_has_not_come(void **state) {
    struct desk desk;
    begin(&desk, &labelled);
    desk_arrive_all(&desk, 5, 3, 1);
    desk_lose(&desk, TW_CLIENT_CONTROL, TW_CLOSED);
    desk_tick(&desk, 60);
    join(&desk);
    assert_int_equal(desk.last.body, TW_BODY_ASK);
    desk_fini(&desk);
}

static void portions_that_make_no_sense_are_refused(void **state) {
    static const struct tw_portion wrong[] = {
        {0, 0, 256}, {5, 0, 0}, {5, 1800, 201}, {5, UINT64_MAX - 5, 256}, {5, 0, SAMPLES + 1ull},
        {4, 0, 256}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct desk desk;
        begin_asking(&desk);
        assert_int_equal(give(&desk, wrong[i].position, wrong[i].first, wrong[i].samples),
                         TW_UNEXPECTED);
        assert_int_equal(desk.client.phase, TW_CLIENT_FAILED);
        desk_fini(&desk);
    }
    for (int again = 0; again < 2; again++) { /* two at once; one that nobody asked for */
        struct desk desk;
        begin(&desk, &labelled);
        give(&desk, 5, 0, 256);
        if (again)
            desk_arrive_all(&desk, 5, 3, 1);
        assert_int_equal(give(&desk, 5, 256, 256), TW_UNEXPECTED);
        desk_fini(&desk);
    }
}

static void without_portions_all_is_scored(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &labelled);
    desk_start(&desk);
    desk_join(&desk, 0); /* a server that knows of none */
    desk_pull(&desk);
    desk_arrive_all(&desk, 5, 3, 1);
    assert_int_equal(desk.client.work, TW_CLIENT_COMPUTING);
    assert_int_equal(tally(&desk, 0, 0), TW_UNEXPECTED);
    struct tw_metric_values values = {.loss = 1};
    assert_int_equal(
        desk_step(&desk, (struct tw_client_event){.kind = TW_CLIENT_ON_REPORT, .values = &values}),
        TW_OK);
    desk_fini(&desk);
}

static void tallies_of_a_wrong_size_are_refused(void **state) {
    struct desk desk;
    begin_scoring(&desk, &labelled);
    assert_int_equal(tally(&desk, 1, 0), TW_UNEXPECTED);
    assert_int_equal(tally(&desk, 0, TW_TALLY_SCORES + 1), TW_UNEXPECTED);
    assert_int_equal(tally(&desk, 0, TW_TALLY_SCORES), TW_OK);
    assert_int_equal(tally(&desk, 0, 0), TW_UNEXPECTED); /* twice */
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_and_portion_come_in_any_order),
        cmocka_unit_test(another_portion_of_the_same_weights_needs_no_weights),
        cmocka_unit_test(of_real_targets_fits_leave_in_as_many_frames_as_it_takes),
        cmocka_unit_test(a_portion_ends_with_its_connection),
        cmocka_unit_test(a_portion_that_crosses_the_loss_of_its_weights_is_passed_over),
        cmocka_unit_test(the_same_weights_once_more_are_no_other_epoch),
        cmocka_unit_test(a_question_is_repeated_when_the_portion_has_not_come),
        cmocka_unit_test(portions_that_make_no_sense_are_refused),
        cmocka_unit_test(without_portions_all_is_scored),
        cmocka_unit_test(tallies_of_a_wrong_size_are_refused),
    };
    return cmocka_run_group_tests_name("portions of an evaluator", tests, NULL, NULL);
}
