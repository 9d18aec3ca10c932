#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report_json.h"

static struct tw_report full_report(enum tw_report_kind kind) {
    struct tw_report report = {
        .kind = kind,
        .port = 4711,
        .rank = 3,
        .incarnation = 2,
        .updates = 10,
        .samples = 1280,
        .samples_total = 60000,
        .epoch = 0.1,
        .seconds = 1.5,
        .samples_per_second = 853.3333333333334,
        .train_loss = 2.3,
        .test_loss = 2.25,
        .test_accuracy = 0.125,
        .staleness_mean = 1e-3,
    };
    strcpy(report.host, "127.0.0.1");
    strcpy(report.peer, "[::1]:80");
    strcpy(report.text, "a \"quoted\" reason\\");
    report.result = (struct tw_result){
        .status = TW_IO,
        .updates = 11,
        .samples = 12,
        .seconds = 0.25,
        .samples_per_second = 48,
        .train_loss = 1,
        .test_loss = 2,
        .test_accuracy = 0.5,
        .train_accuracy = 0.75,
        .staleness_mean = 3.5,
        .staleness_max = 7,
        .dropped = 9,
        .not_finite = 4,
        .evicted = 4,
        .stopped = "loss",
    };
    strcpy(report.result.error, "no space left");
    strcpy(report.result.model, "runs/x/model.safetensors");
    strcpy(report.result.model_sha256, "ab");
    strcpy(report.result.model_ema, "runs/x/model-ema.safetensors");
    strcpy(report.result.model_ema_sha256, "cd");
    return report;
}

static struct tw_report round_trip(const struct tw_report *report) {
    struct tw_text text = {0};
    struct tw_report back;
    struct tw_error error;
    tw_report_to_json(&text, report);
    assert_int_equal(text.at[text.size - 1], '\n');
    assert_int_equal(tw_report_from_json(&back, text.at, text.size, &error), TW_OK);
    assert_int_equal(back.kind, report->kind);
    tw_text_fini(&text);
    return back;
}

static void address_comes_back(void **state) {
    struct tw_report report = full_report(TW_REPORT_LISTENING), back = round_trip(&report);
    assert_string_equal(back.host, "127.0.0.1");
    assert_int_equal(back.port, 4711);
    assert_int_equal(back.updates, 0); /* not what this kind carries */
}

static void members_come_back(void **state) {
    struct tw_report report = full_report(TW_REPORT_LEFT), back = round_trip(&report);
    assert_int_equal(back.rank, 3);
    assert_int_equal(back.incarnation, 2);
    assert_string_equal(back.peer, "[::1]:80");
    assert_string_equal(back.text, report.text);
}

static void numbers_come_back_exactly(void **state) {
    struct tw_report report = full_report(TW_REPORT_EPOCH);
    report.train_loss = 0.1 + 0.2;
    report.test_loss = 1.0 / 3;
    struct tw_report back = round_trip(&report);
    assert_int_equal(back.updates, 10);
    assert_int_equal(back.samples, 1280);
    assert_int_equal(back.samples_total, 60000);
    assert_true(back.train_loss == report.train_loss);
    assert_true(back.test_loss == report.test_loss);
    assert_true(back.samples_per_second == report.samples_per_second);
    assert_true(back.staleness_mean == report.staleness_mean);
}

static void nan_comes_back_as_nan(void **state) {
    struct tw_report report = full_report(TW_REPORT_DONE);
    report.result.test_accuracy = (double)NAN;
    report.result.train_loss = (double)INFINITY;
    struct tw_report back = round_trip(&report);
    assert_true(isnan(back.result.test_accuracy));
    assert_true(isnan(back.result.train_loss));
}

static void result_comes_back(void **state) {
    struct tw_report report = full_report(TW_REPORT_DONE), back = round_trip(&report);
    assert_int_equal(back.result.status, TW_IO);
    assert_string_equal(back.result.error, "no space left");
    assert_int_equal(back.result.updates, 11);
    assert_int_equal(back.result.staleness_max, 7);
    assert_int_equal(back.result.dropped, 9);
    assert_int_equal(back.result.not_finite, 4);
    assert_string_equal(back.result.stopped, "loss");
    assert_int_equal(back.result.evicted, 4);
    assert_string_equal(back.result.model, "runs/x/model.safetensors");
    assert_string_equal(back.result.model_sha256, "ab");
    assert_string_equal(back.result.model_ema, "runs/x/model-ema.safetensors");
    assert_string_equal(back.result.model_ema_sha256, "cd");
    assert_true(back.result.train_accuracy == 0.75);
}

static void each_kind_comes_back(void **state) {
    for (int kind = TW_REPORT_LISTENING; kind <= TW_REPORT_DONE; kind++) {
        struct tw_report report = full_report((enum tw_report_kind)kind);
        round_trip(&report);
    }
}

static void hostile_lines_are_refused(void **state) {
    static const char *const lines[] = {
        "",
        "\n",
        "{",
        "[]",
        "null",
        "{}",
        "{\"kind\":7}",
        "{\"kind\":\"sabotage\"}",
        "{\"kind\":\"done\"}",
        "{\"kind\":\"waiting\"}",
        "{\"kind\":\"waiting\",\"text\":null}",
        "{\"kind\":\"waiting\",\"text\":\"a\",\"text\":\"b\"}",
        "{\"kind\":\"waiting\",\"text\":\"a\\u0000b\"}",
        "{\"kind\":\"waiting\",\"text\":\"\xff\"}",
        "{\"kind\":\"waiting\",\"text\":\"a\"} more",
        "{\"kind\":\"listening\",\"host\":\"h\",\"port\":-1}",
        "{\"kind\":\"listening\",\"host\":\"h\",\"port\":65536}",
        "{\"kind\":\"listening\",\"host\":\"h\",\"port\":\"80\"}",
        "{\"kind\":\"listening\",\"host\":\"h\",\"port\":1.5}",
        "{\"kind\":\"listening\",\"host\":\"h\",\"port\":99999999999999999999}",
        "{\"kind\":\"listening\",\"host\":{},\"port\":1}",
        "{\"kind\":\"joined\",\"rank\":4294967296,\"incarnation\":1,\"peer\":\"\"}",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct tw_report report;
        struct tw_error error;
        if (tw_report_from_json(&report, lines[i], strlen(lines[i]), &error) != TW_MALFORMED)
            fail_msg("taken: %s", lines[i]);
        assert_true(strlen(error.text) > 0);
    }
}

static void deep_and_long_lines_are_refused(void **state) {
    struct tw_report report;
    struct tw_error error;
    size_t size = TW_REPORT_LINE_MAX;
    char *line = malloc(size + 1);
    memset(line, '[', size + 1);
    assert_int_equal(tw_report_from_json(&report, line, size, &error), TW_MALFORMED);
    assert_int_equal(tw_report_from_json(&report, line, size + 1, &error), TW_MALFORMED);
    assert_non_null(strstr(error.text, "at most 65536"));
    free(line);
}

static void long_text_is_cut_and_control_characters_go(void **state) {
    struct tw_report report;
    struct tw_error error;
    struct tw_text text = {0};
    tw_text_add(&text, "{\"kind\":\"waiting\",\"text\":\"\\u001b[2J%04000d\"}", 0);
    assert_int_equal(tw_report_from_json(&report, text.at, text.size, &error), TW_OK);
    assert_int_equal(strlen(report.text), sizeof report.text - 1);
    assert_memory_equal(report.text, "?[2J", 4);
    tw_text_fini(&text);
}

static void assert_summary(const struct tw_summary *summary, const char *expected) {
    struct tw_text text = {0};
    tw_summary_to_json(&text, summary);
    assert_string_equal(text.at, expected);
    tw_text_fini(&text);
}

static void summary_has_the_fields_of_the_contract(void **state) {
    struct tw_summary summary = {
        .counted = true, .mode = "sync", .servers = 1, .workers = 2, .run = "runs/x"};
    summary.result = full_report(TW_REPORT_DONE).result;
    summary.result.status = TW_OK;
    assert_summary(&summary,
                   "{\"status\":\"done\",\"error\":null,\"mode\":\"sync\",\"servers\":1,"
                   "\"workers\":2,\"updates\":11,\"samples\":12,\"seconds\":0.25,"
                   "\"samples_per_second\":48,\"train_loss\":1,\"test_loss\":2,"
                   "\"test_accuracy\":0.5,\"train_accuracy\":0.75,\"staleness_mean\":3.5,"
                   "\"staleness_max\":7,\"not_finite\":4,\"stopped\":\"loss\","
                   "\"model\":\"runs/x/model.safetensors\",\"model_sha256\":\"ab\","
                   "\"model_ema\":\"runs/x/model-ema.safetensors\",\"model_ema_sha256\":\"cd\","
                   "\"run\":\"runs/x\"}\n");
}

static void summary_without_a_run_has_nulls(void **state) {
    struct tw_summary summary = {0};
    summary.result.status = TW_JOB;
    strcpy(summary.result.error, "job.yaml:3: batch: what?");
    assert_summary(
        &summary,
        "{\"status\":\"failed\",\"error\":\"job.yaml:3: batch: what?\",\"mode\":null,"
        "\"servers\":null,\"workers\":null,\"updates\":null,\"samples\":null,"
        "\"seconds\":null,\"samples_per_second\":null,\"train_loss\":null,"
        "\"test_loss\":null,\"test_accuracy\":null,\"train_accuracy\":null,\"staleness_mean\":null,"
        "\"staleness_max\":null,\"not_finite\":null,\"stopped\":null,\"model\":null,\"model_"
        "sha256\":"
        "null,\"model_ema\":null,\"model_ema_sha256\":null,\"run\":null}\n");
}

static void each_end_has_its_word(void **state) {
    struct tw_summary summary = {0};
    assert_string_equal(tw_summary_status(&summary), "done");
    summary.result.status = TW_INTERRUPTED;
    assert_string_equal(tw_summary_status(&summary), "interrupted");
    summary.result.status = TW_NOT_FINITE;
    assert_string_equal(tw_summary_status(&summary), "failed");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(address_comes_back),
        cmocka_unit_test(members_come_back),
        cmocka_unit_test(numbers_come_back_exactly),
        cmocka_unit_test(nan_comes_back_as_nan),
        cmocka_unit_test(result_comes_back),
        cmocka_unit_test(each_kind_comes_back),
        cmocka_unit_test(hostile_lines_are_refused),
        cmocka_unit_test(deep_and_long_lines_are_refused),
        cmocka_unit_test(long_text_is_cut_and_control_characters_go),
        cmocka_unit_test(summary_has_the_fields_of_the_contract),
        cmocka_unit_test(summary_without_a_run_has_nulls),
        cmocka_unit_test(each_end_has_its_word),
    };
    return cmocka_run_group_tests_name("report_json", tests, NULL, NULL);
}
