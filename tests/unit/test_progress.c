#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/progress.h"
#include "cli/words.h"

/* What the progress writes, as text; time is whatever the test says. */
struct fixture {
    struct tw_text shown;
    struct tw_progress progress;
    struct tw_report report;
};

static void keep(void *context, const char *bytes, size_t size) {
    struct fixture *fixture = context;
    tw_text_add_bytes(&fixture->shown, bytes, size);
}

static void look(struct fixture *fixture, bool terminal, bool colour, int width) {
    struct tw_progress_look how = {.terminal = terminal, .colour = colour, .width = width};
    tw_progress_init(&fixture->progress, how, keep, fixture);
}

static int begin(void **state) {
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->report = (struct tw_report){
        .kind = TW_REPORT_PROGRESS,
        .updates = 1172,
        .samples = 150016,
        .samples_total = 600000,
        .epoch = 150016.0 / 60000,
        .seconds = 3.1,
        .samples_per_second = 48321.4,
        .train_loss = 0.34567,
        .test_loss = 0.41234,
        .test_accuracy = 0.8512,
        .train_accuracy = 0.9012,
        .staleness_mean = 0,
    };
    look(fixture, true, false, 80);
    *state = fixture;
    return 0;
}

static int end(void **state) {
    struct fixture *fixture = *state;
    tw_text_fini(&fixture->shown);
    free(fixture);
    return 0;
}

static void show(struct fixture *fixture, enum tw_report_kind kind, uint64_t now_ms) {
    fixture->report.kind = kind;
    tw_progress_report(&fixture->progress, &fixture->report, now_ms);
}

/* Everything shown since the last look. */
static void assert_shown(struct fixture *fixture, const char *text) {
    assert_string_equal(fixture->shown.at ? fixture->shown.at : "", text);
    tw_text_clear(&fixture->shown);
    if (fixture->shown.at)
        fixture->shown.at[0] = '\0';
}

static void bar_fills_the_width_but_the_last_column(void **state) {
    struct fixture *fixture = *state;
    show(fixture, TW_REPORT_PROGRESS, 1000);
    assert_int_equal(fixture->shown.size - strlen("\r\x1b[K"), 79);
    assert_shown(fixture, "\r\x1b[Kepoch 3/10 #####...............  25%"
                          "  48,321 samples/s  loss 0.3457  9.3 s left");
}

static void bar_has_colours_when_asked(void **state) {
    struct fixture *fixture = *state;
    look(fixture, true, true, 80);
    show(fixture, TW_REPORT_PROGRESS, 1000);
    assert_shown(fixture, "\r\x1b[Kepoch 3/10 \x1b[36m#####\x1b[0m...............  25%"
                          "  48,321 samples/s  loss 0.3457  9.3 s left");
}

static void bar_does_not_grow_when_the_text_shrinks(void **state) {
    struct fixture *fixture = *state;
    show(fixture, TW_REPORT_PROGRESS, 1000);
    tw_text_clear(&fixture->shown);
    fixture->report.samples_per_second = 800000;
    fixture->report.train_loss = (double)NAN;
    show(fixture, TW_REPORT_PROGRESS, 2000);
    assert_shown(fixture, "\r\x1b[Kepoch 3/10 #####...............  25%"
                          "  800,000 samples/s  0.6 s left");
}

static void narrow_terminal_loses_bar_then_time_then_the_end(void **state) {
    struct fixture *fixture = *state;
    look(fixture, true, false, 62);
    show(fixture, TW_REPORT_PROGRESS, 1000);
    assert_shown(fixture, "\r\x1b[Kepoch 3/10  25%  48,321 samples/s  loss 0.3457  9.3 s left");
    look(fixture, true, false, 50);
    show(fixture, TW_REPORT_PROGRESS, 1000);
    assert_shown(fixture, "\r\x1b[Kepoch 3/10  25%  48,321 samples/s  loss 0.3457");
    look(fixture, true, false, 30);
    show(fixture, TW_REPORT_PROGRESS, 1000);
    assert_shown(fixture, "\r\x1b[Kepoch 3/10  25%  48,321 sampl");
}

static void no_width_is_ever_exceeded(void **state) {
    struct fixture *fixture = *state;
    for (int width = 20; width < 200; width++) {
        look(fixture, true, false, width);
        tw_text_clear(&fixture->shown);
        show(fixture, TW_REPORT_PROGRESS, 1000);
        assert_true(fixture->shown.size - strlen("\r\x1b[K") < (size_t)width);
    }
}

static void wide_terminal_has_a_bar_of_forty(void **state) {
    struct fixture *fixture = *state;
    look(fixture, true, false, 200);
    fixture->report.samples = 600000;
    fixture->report.epoch = 10;
    show(fixture, TW_REPORT_PROGRESS, 1000);
    assert_shown(fixture, "\r\x1b[Kepoch 10/10 ######################################## 100%"
                          "  48,321 samples/s  loss 0.3457  0.0 s left");
}

static void bar_is_drawn_ten_times_a_second_at_most(void **state) {
    struct fixture *fixture = *state;
    int drawn = 0;
    for (uint64_t now = 1000; now < 3000; now += 7) {
        tw_text_clear(&fixture->shown);
        show(fixture, TW_REPORT_PROGRESS, now);
        drawn += fixture->shown.size > 0;
    }
    assert_in_range(drawn, 18, 20);
}

static void what_came_too_early_is_drawn_by_a_tick(void **state) {
    struct fixture *fixture = *state;
    show(fixture, TW_REPORT_PROGRESS, 1000);
    fixture->report.samples = 300000;
    fixture->report.epoch = 5;
    show(fixture, TW_REPORT_PROGRESS, 1001);
    tw_text_clear(&fixture->shown);
    tw_progress_tick(&fixture->progress, 1099);
    assert_int_equal(fixture->shown.size, 0);
    tw_progress_tick(&fixture->progress, 1100);
    assert_shown(fixture, "\r\x1b[Kepoch 6/10 ##########..........  50%"
                          "  48,321 samples/s  loss 0.3457  6.2 s left");
    tw_progress_tick(&fixture->progress, 1300);
    assert_int_equal(fixture->shown.size, 0); /* nothing new */
}

static void line_wipes_the_bar_and_it_comes_back(void **state) {
    struct fixture *fixture = *state;
    show(fixture, TW_REPORT_PROGRESS, 1000);
    tw_text_clear(&fixture->shown);
    show(fixture, TW_REPORT_EPOCH, 2000);
    assert_shown(fixture,
                 "\r\x1b[Kepoch 2.50  train loss 0.3457  train accuracy 0.9012  test loss 0.4123"
                 "  test accuracy 0.8512  mean staleness 0.00  3.1 s\n"
                 "\r\x1b[Kepoch 3/10 #####...............  25%"
                 "  48,321 samples/s  loss 0.3457  9.3 s left");
}

static void resizing_draws_anew(void **state) {
    struct fixture *fixture = *state;
    show(fixture, TW_REPORT_PROGRESS, 1000);
    tw_text_clear(&fixture->shown);
    tw_progress_resize(&fixture->progress, 50, 1001);
    assert_shown(fixture, "\r\x1b[Kepoch 3/10  25%  48,321 samples/s  loss 0.3457");
}

static void end_leaves_a_clean_line(void **state) {
    struct fixture *fixture = *state;
    show(fixture, TW_REPORT_PROGRESS, 1000);
    tw_text_clear(&fixture->shown);
    show(fixture, TW_REPORT_DONE, 2000);
    assert_shown(fixture, "\r\x1b[K");
    show(fixture, TW_REPORT_PROGRESS, 3000); /* too late */
    tw_progress_clear(&fixture->progress);
    assert_int_equal(fixture->shown.size, 0);
}

static void echo_of_ctrl_c_is_wiped(void **state) {
    struct fixture *fixture = *state;
    tw_progress_disturbed(&fixture->progress);
    tw_progress_line(&fixture->progress, TW_TONE_CARE, "stopping");
    assert_shown(fixture, "\r\x1b[Kstopping\n");
    look(fixture, false, false, 80);
    tw_progress_disturbed(&fixture->progress);
    tw_progress_line(&fixture->progress, TW_TONE_CARE, "stopping");
    assert_shown(fixture, "stopping\n");
}

static void plain_lines_have_no_escapes_and_are_rare(void **state) {
    struct fixture *fixture = *state;
    look(fixture, false, false, 80);
    show(fixture, TW_REPORT_STARTED, 1000);
    for (uint64_t now = 1000; now <= 24000; now += 100)
        show(fixture, TW_REPORT_PROGRESS, now);
    assert_shown(fixture, "epoch 3/10  48,321 samples/s  loss 0.3457  9.3 s left\n"
                          "epoch 3/10  48,321 samples/s  loss 0.3457  9.3 s left\n");
}

static void whole_epochs_are_counted_without_decimals(void **state) {
    struct fixture *fixture = *state;
    look(fixture, false, false, 80);
    fixture->report.samples = 60032; /* the update that passed the border */
    fixture->report.epoch = 60032.0 / 60000;
    fixture->report.staleness_mean = 0.987;
    show(fixture, TW_REPORT_EPOCH, 1000);
    assert_shown(fixture, "epoch  1/10  train loss 0.3457  train accuracy 0.9012  test loss 0.4123 "
                          " test accuracy 0.8512"
                          "  mean staleness 0.99  3.1 s\n");
}

static void what_is_not_known_is_not_shown(void **state) {
    struct fixture *fixture = *state;
    fixture->report = (struct tw_report){.updates = 12345, .seconds = 75};
    fixture->report.train_loss = fixture->report.test_loss = fixture->report.test_accuracy =
        fixture->report.train_accuracy = fixture->report.staleness_mean = (double)NAN;
    show(fixture, TW_REPORT_PROGRESS, 1000);
    assert_shown(fixture, "\r\x1b[Kupdate 12,345");
    show(fixture, TW_REPORT_EPOCH, 1001);
    assert_shown(fixture, "\r\x1b[Kupdate 12,345  1 min 15 s\n");
}

static void absurd_numbers_are_survived(void **state) {
    struct fixture *fixture = *state;
    fixture->report.train_loss = 1e300;
    fixture->report.test_loss = -1e300;
    fixture->report.samples_per_second = 1e300;
    fixture->report.samples_total = UINT64_MAX;
    fixture->report.epoch = 1e300;
    fixture->report.seconds = 1e300;
    show(fixture, TW_REPORT_PROGRESS, 1000);
    assert_in_range(fixture->shown.size, 1, 80 + strlen("\r\x1b[K"));
    show(fixture, TW_REPORT_EPOCH, 1001);
    assert_non_null(strstr(fixture->shown.at,
                           "train loss 1.000e+300  train accuracy 0.9012  test loss -1.000e+300"));
}

static void waiting_and_leaving_are_said(void **state) {
    struct fixture *fixture = *state;
    look(fixture, false, false, 80);
    strcpy(fixture->report.text, "for worker 1 since 10 s");
    show(fixture, TW_REPORT_WAITING, 1000);
    assert_shown(fixture, "waiting for worker 1 since 10 s\n");
    fixture->report.rank = 1;
    strcpy(fixture->report.text, "the connection was closed");
    show(fixture, TW_REPORT_LEFT, 1000);
    assert_shown(fixture, "worker 1 left: the connection was closed\n");
    show(fixture, TW_REPORT_JOINED, 1000); /* only for operators of a server */
    assert_shown(fixture, "");
}

static void who_comes_when_training_has_begun_is_said(void **state) {
    struct fixture *fixture = *state;
    look(fixture, false, false, 80);
    show(fixture, TW_REPORT_STARTED, 1000);
    tw_text_clear(&fixture->shown);
    fixture->report.rank = 1;
    strcpy(fixture->report.peer, "10.0.0.2:4711");
    show(fixture, TW_REPORT_JOINED, 1000);
    assert_shown(fixture, "worker 1 joined from 10.0.0.2:4711\n");
}

static void operators_see_who_joins(void **state) {
    struct fixture *fixture = *state;
    look(fixture, false, false, 80);
    fixture->progress.look.members = true;
    strcpy(fixture->report.host, "127.0.0.1");
    fixture->report.port = 7070;
    show(fixture, TW_REPORT_LISTENING, 1000);
    assert_shown(fixture, "listening on 127.0.0.1 port 7070\n");
    strcpy(fixture->report.peer, "10.0.0.2:4711");
    show(fixture, TW_REPORT_JOINED, 1000);
    assert_shown(fixture, "worker 0 joined from 10.0.0.2:4711\n");
}

static struct tw_summary good_summary(void) {
    struct tw_summary summary = {.counted = true, .run = "runs/mlp-1"};
    summary.result = (struct tw_result){
        .updates = 4690,
        .samples = 600320,
        .seconds = 12.4,
        .samples_per_second = 48412.9,
        .train_loss = 0.2212,
        .test_loss = 0.3321,
        .test_accuracy = 0.8834,
        .train_accuracy = 0.9123,
        .model = "runs/mlp-1/model.safetensors",
    };
    return summary;
}

static void summary_of_a_good_run(void **state) {
    struct fixture *fixture = *state;
    struct tw_summary summary = good_summary();
    show(fixture, TW_REPORT_PROGRESS, 1000);
    tw_text_clear(&fixture->shown);
    tw_progress_summary(&fixture->progress, &summary);
    assert_shown(fixture,
                 "\r\x1b[Kdone\n"
                 "4,690 updates, 600,320 samples in 12 s  48,413 samples/s\n"
                 "test accuracy 0.8834  test loss 0.3321  train accuracy 0.9123  train loss "
                 "0.2212\n"
                 "staleness 0: every gradient was computed on fresh weights\n"
                 "the model lies in runs/mlp-1/model.safetensors\n");
}

static void summary_says_how_stale_gradients_were(void **state) {
    struct fixture *fixture = *state;
    struct tw_summary summary = good_summary();
    summary.result.staleness_mean = 3.0123;
    summary.result.staleness_max = 1017;
    look(fixture, false, false, 80);
    tw_progress_summary(&fixture->progress, &summary);
    assert_non_null(
        strstr(fixture->shown.at, "staleness 3.01 updates on average, at most 1,017\n"));
}

static void summary_says_how_many_gradients_were_dropped(void **state) {
    struct fixture *fixture = *state;
    struct tw_summary summary = good_summary();
    summary.result.dropped = 1;
    look(fixture, false, false, 80);
    tw_progress_summary(&fixture->progress, &summary);
    assert_non_null(strstr(fixture->shown.at, " fresh weights; 1 gradient dropped\n"));
    summary.result.dropped = 1200;
    tw_progress_summary(&fixture->progress, &summary);
    assert_non_null(strstr(fixture->shown.at, " fresh weights; 1,200 gradients dropped\n"));
}

static void summary_of_a_failed_run(void **state) {
    struct fixture *fixture = *state;
    struct tw_summary summary = {.run = "runs/mlp-1"};
    summary.result.status = TW_IO;
    strcpy(summary.result.error, "server 0: no space left");
    look(fixture, true, true, 80);
    tw_progress_summary(&fixture->progress, &summary);
    assert_shown(fixture, "\x1b[31mfailed: server 0: no space left\x1b[0m\n"
                          "no model was written; the logs are in runs/mlp-1\n");
}

static void seconds_in_words(void **state) {
    static const struct {
        double seconds;
        const char *words;
    } cases[] = {
        {0, "0.0 s"},           {9.94, "9.9 s"},       {9.96, "10 s"},       {59.4, "59 s"},
        {59.6, "1 min 00 s"},   {3599, "59 min 59 s"}, {7384, "2 h 03 min"}, {-1, "?"},
        {(double)INFINITY, "?"}};
    char out[TW_WORDS_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(tw_seconds_words(cases[i].seconds, out), cases[i].words);
}

static void counts_in_words(void **state) {
    char out[TW_WORDS_MAX];
    assert_string_equal(tw_count_words(0, out), "0");
    assert_string_equal(tw_count_words(999, out), "999");
    assert_string_equal(tw_count_words(1000, out), "1,000");
    assert_string_equal(tw_count_words(UINT64_MAX, out), "18,446,744,073,709,551,615");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(bar_fills_the_width_but_the_last_column),
        TEST(bar_has_colours_when_asked),
        TEST(bar_does_not_grow_when_the_text_shrinks),
        TEST(narrow_terminal_loses_bar_then_time_then_the_end),
        TEST(no_width_is_ever_exceeded),
        TEST(wide_terminal_has_a_bar_of_forty),
        TEST(bar_is_drawn_ten_times_a_second_at_most),
        TEST(what_came_too_early_is_drawn_by_a_tick),
        TEST(line_wipes_the_bar_and_it_comes_back),
        TEST(resizing_draws_anew),
        TEST(end_leaves_a_clean_line),
        TEST(echo_of_ctrl_c_is_wiped),
        TEST(plain_lines_have_no_escapes_and_are_rare),
        TEST(whole_epochs_are_counted_without_decimals),
        TEST(what_is_not_known_is_not_shown),
        TEST(absurd_numbers_are_survived),
        TEST(waiting_and_leaving_are_said),
        TEST(who_comes_when_training_has_begun_is_said),
        TEST(operators_see_who_joins),
        TEST(summary_of_a_good_run),
        TEST(summary_says_how_stale_gradients_were),
        TEST(summary_says_how_many_gradients_were_dropped),
        TEST(summary_of_a_failed_run),
        cmocka_unit_test(seconds_in_words),
        cmocka_unit_test(counts_in_words),
    };
    return cmocka_run_group_tests_name("progress", tests, NULL, NULL);
}
