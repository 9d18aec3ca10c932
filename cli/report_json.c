#include "cli/report_json.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/json.h"

/* What a kind of report carries, as groups of fields. */
enum {
    HAS_ADDRESS = 1 << 0, /* host, port */
    HAS_MEMBER = 1 << 1,  /* rank, incarnation, peer */
    HAS_TEXT = 1 << 2,
    HAS_COUNTS = 1 << 3, /* updates ... train_loss */
    HAS_TEST = 1 << 4,   /* train_accuracy, test_loss, test_accuracy, staleness_mean */
    HAS_RESULT = 1 << 5,
};

static const struct kind {
    const char *name;
    unsigned has;
} kinds[] = {
    [TW_REPORT_LISTENING] = {"listening", HAS_ADDRESS},
    [TW_REPORT_JOINED] = {"joined", HAS_MEMBER},
    [TW_REPORT_LEFT] = {"left", HAS_MEMBER | HAS_TEXT},
    [TW_REPORT_EVICTED] = {"evicted", HAS_MEMBER | HAS_TEXT},
    [TW_REPORT_RESUMED] = {"resumed", HAS_TEXT},
    [TW_REPORT_WAITING] = {"waiting", HAS_TEXT},
    [TW_REPORT_STRAGGLER] = {"straggler", HAS_TEXT},
    [TW_REPORT_NOTE] = {"note", HAS_TEXT},
    [TW_REPORT_STARTED] = {"started", HAS_COUNTS},
    [TW_REPORT_PROGRESS] = {"progress", HAS_COUNTS},
    [TW_REPORT_EPOCH] = {"epoch", HAS_COUNTS | HAS_TEST},
    [TW_REPORT_TIMES] = {"times", HAS_TEXT},
    [TW_REPORT_STEPS] = {"steps", HAS_TEXT},
    [TW_REPORT_DONE] = {"done", HAS_RESULT},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static void write_result(struct tw_json *json, const struct tw_result *result) {
    tw_json_integer(json, "status", result->status);
    tw_json_string(json, "error", result->error);
    tw_json_unsigned(json, "updates", result->updates);
    tw_json_unsigned(json, "samples", result->samples);
    tw_json_real(json, "seconds", result->seconds);
    tw_json_real(json, "samples_per_second", result->samples_per_second);
    tw_json_real(json, "train_loss", result->train_loss);
    tw_json_real(json, "train_accuracy", result->train_accuracy);
    tw_json_real(json, "test_loss", result->test_loss);
    tw_json_real(json, "test_accuracy", result->test_accuracy);
    tw_json_real(json, "staleness_mean", result->staleness_mean);
    tw_json_unsigned(json, "staleness_max", result->staleness_max);
    tw_json_unsigned(json, "dropped", result->dropped);
    tw_json_unsigned(json, "not_finite", result->not_finite);
    tw_json_unsigned(json, "evicted", result->evicted);
    tw_json_string(json, "stopped", result->stopped);
    tw_json_string(json, "model", result->model);
    tw_json_string(json, "model_sha256", result->model_sha256);
    tw_json_string(json, "model_ema", result->model_ema);
    tw_json_string(json, "model_ema_sha256", result->model_ema_sha256);
}

static void write_counts(struct tw_json *json, const struct tw_report *report) {
    tw_json_unsigned(json, "updates", report->updates);
    tw_json_unsigned(json, "samples", report->samples);
    tw_json_unsigned(json, "samples_total", report->samples_total);
    tw_json_real(json, "epoch", report->epoch);
    tw_json_real(json, "seconds", report->seconds);
    tw_json_real(json, "samples_per_second", report->samples_per_second);
    tw_json_real(json, "train_loss", report->train_loss);
}

void tw_report_to_json(struct tw_text *text, const struct tw_report *report) {
    const struct kind *kind = &kinds[report->kind];
    struct tw_json json;
    tw_json_init(&json, text);
    tw_json_begin_object(&json, NULL);
    tw_json_string(&json, "kind", kind->name);
    if (kind->has & HAS_ADDRESS) {
        tw_json_string(&json, "host", report->host);
        tw_json_integer(&json, "port", report->port);
    }
    if (kind->has & HAS_MEMBER) {
        tw_json_unsigned(&json, "rank", report->rank);
        tw_json_unsigned(&json, "incarnation", report->incarnation);
        tw_json_string(&json, "peer", report->peer);
    }
    if (kind->has & HAS_TEXT)
        tw_json_string(&json, "text", report->text);
    if (kind->has & HAS_COUNTS)
        write_counts(&json, report);
    if (kind->has & HAS_TEST) {
        tw_json_real(&json, "train_accuracy", report->train_accuracy);
        tw_json_real(&json, "test_loss", report->test_loss);
        tw_json_real(&json, "test_accuracy", report->test_accuracy);
        tw_json_real(&json, "staleness_mean", report->staleness_mean);
    }
    if (kind->has & HAS_RESULT)
        write_result(&json, &report->result);
    tw_json_end_object(&json);
    tw_text_add_bytes(text, "\n", 1);
}

/* Reads fields of one object; the first that is missing or of the wrong type is
 * remembered, later reads give zeros. */
struct reader {
    json_t *object;
    const char *bad;
};

static json_t *field(struct reader *reader, const char *key) {
    json_t *value = json_object_get(reader->object, key);
    if (!value && !reader->bad)
        reader->bad = key;
    return value;
}

static uint64_t read_unsigned(struct reader *reader, const char *key, uint64_t max) {
    json_t *value = field(reader, key);
    json_int_t number = json_integer_value(value); /* 0 for any other type */
    if (!json_is_integer(value) || number < 0 || (uint64_t)number > max) {
        if (!reader->bad)
            reader->bad = key;
        return 0;
    }
    return (uint64_t)number;
}

static double read_real(struct reader *reader, const char *key) {
    json_t *value = field(reader, key);
    if (json_is_null(value))
        return (double)NAN;
    if (!json_is_number(value) && !reader->bad)
        reader->bad = key;
    return json_number_value(value);
}

static void read_string(struct reader *reader, const char *key, char *out, size_t room) {
    json_t *value = field(reader, key);
    if (!json_is_string(value) && !reader->bad)
        reader->bad = key;
    const char *text = json_string_value(value);
    snprintf(out, room, "%s", text ? text : "");
    tw_text_clean(out);
}

static void read_result(struct reader *reader, struct tw_result *result) {
    result->status = (enum tw_status)read_unsigned(reader, "status", TW_INTERNAL);
    read_string(reader, "error", result->error, sizeof result->error);
    result->updates = read_unsigned(reader, "updates", INT64_MAX);
    result->samples = read_unsigned(reader, "samples", INT64_MAX);
    result->seconds = read_real(reader, "seconds");
    result->samples_per_second = read_real(reader, "samples_per_second");
    result->train_loss = read_real(reader, "train_loss");
    result->train_accuracy = read_real(reader, "train_accuracy");
    result->test_loss = read_real(reader, "test_loss");
    result->test_accuracy = read_real(reader, "test_accuracy");
    result->staleness_mean = read_real(reader, "staleness_mean");
    result->staleness_max = read_unsigned(reader, "staleness_max", INT64_MAX);
    result->dropped = read_unsigned(reader, "dropped", INT64_MAX);
    result->not_finite = read_unsigned(reader, "not_finite", INT64_MAX);
    result->evicted = read_unsigned(reader, "evicted", INT64_MAX);
    read_string(reader, "stopped", result->stopped, sizeof result->stopped);
    read_string(reader, "model", result->model, sizeof result->model);
    read_string(reader, "model_sha256", result->model_sha256, sizeof result->model_sha256);
    read_string(reader, "model_ema", result->model_ema, sizeof result->model_ema);
    read_string(reader, "model_ema_sha256", result->model_ema_sha256,
                sizeof result->model_ema_sha256);
}

static void read_counts(struct reader *reader, struct tw_report *report) {
    report->updates = read_unsigned(reader, "updates", INT64_MAX);
    report->samples = read_unsigned(reader, "samples", INT64_MAX);
    report->samples_total = read_unsigned(reader, "samples_total", INT64_MAX);
    report->epoch = read_real(reader, "epoch");
    report->seconds = read_real(reader, "seconds");
    report->samples_per_second = read_real(reader, "samples_per_second");
    report->train_loss = read_real(reader, "train_loss");
}

static void read_fields(struct reader *reader, unsigned has, struct tw_report *report) {
    if (has & HAS_ADDRESS) {
        read_string(reader, "host", report->host, sizeof report->host);
        report->port = (int)read_unsigned(reader, "port", 65535);
    }
    if (has & HAS_MEMBER) {
        report->rank = (uint32_t)read_unsigned(reader, "rank", UINT32_MAX);
        report->incarnation = (uint32_t)read_unsigned(reader, "incarnation", UINT32_MAX);
        read_string(reader, "peer", report->peer, sizeof report->peer);
    }
    if (has & HAS_TEXT)
        read_string(reader, "text", report->text, sizeof report->text);
    if (has & HAS_COUNTS)
        read_counts(reader, report);
    if (has & HAS_TEST) {
        report->train_accuracy = read_real(reader, "train_accuracy");
        report->test_loss = read_real(reader, "test_loss");
        report->test_accuracy = read_real(reader, "test_accuracy");
        report->staleness_mean = read_real(reader, "staleness_mean");
    }
    if (has & HAS_RESULT)
        read_result(reader, &report->result);
}

enum tw_status tw_report_from_json(struct tw_report *report, const char *line, size_t size,
                                   struct tw_error *error) {
    memset(report, 0, sizeof *report);
    if (size > TW_REPORT_LINE_MAX)
        return tw_error_set(error, TW_MALFORMED, "a report of %zu bytes; at most %u are allowed",
                            size, TW_REPORT_LINE_MAX);
    json_error_t wrong;
    json_t *object = json_loadb(line, size, JSON_REJECT_DUPLICATES, &wrong);
    if (!object)
        return tw_error_set(error, TW_MALFORMED, "a report that is no JSON: %s", wrong.text);
    const char *name = json_string_value(json_object_get(object, "kind"));
    int kind = 0;
    while (kind < KINDS && (!name || strcmp(name, kinds[kind].name) != 0))
        kind++;
    enum tw_status status = TW_OK;
    if (kind == KINDS) {
        status = tw_error_set(error, TW_MALFORMED, "a report of an unknown kind");
    } else {
        struct reader reader = {object, NULL};
        report->kind = (enum tw_report_kind)kind;
        read_fields(&reader, kinds[kind].has, report);
        if (reader.bad)
            status = tw_error_set(error, TW_MALFORMED,
                                  "a report \"%s\" whose field \"%s\" is missing or wrong",
                                  kinds[kind].name, reader.bad);
    }
    json_decref(object);
    return status;
}

const char *tw_summary_status(const struct tw_summary *summary) {
    switch (summary->result.status) {
    case TW_OK:
        return "done";
    case TW_INTERRUPTED:
        return "interrupted";
    default:
        return "failed";
    }
}

static const char *or_null(const char *text) {
    return text && *text ? text : NULL;
}

static void write_count(struct tw_json *json, const char *key, bool known, uint64_t value) {
    if (known)
        tw_json_unsigned(json, key, value);
    else
        tw_json_null(json, key);
}

void tw_summary_to_json(struct tw_text *text, const struct tw_summary *summary) {
    const struct tw_result *result = &summary->result;
    bool known = summary->counted;
    double none = (double)NAN; /* written as null */
    struct tw_json json;
    tw_json_init(&json, text);
    tw_json_begin_object(&json, NULL);
    tw_json_string(&json, "status", tw_summary_status(summary));
    tw_json_string(&json, "error", result->status == TW_OK ? NULL : or_null(result->error));
    tw_json_string(&json, "mode", or_null(summary->mode));
    write_count(&json, "servers", summary->servers > 0, (uint64_t)summary->servers);
    write_count(&json, "workers", summary->workers > 0, (uint64_t)summary->workers);
    write_count(&json, "updates", known, result->updates);
    write_count(&json, "samples", known, result->samples);
    tw_json_real(&json, "seconds", known ? result->seconds : none);
    tw_json_real(&json, "samples_per_second", known ? result->samples_per_second : none);
    tw_json_real(&json, "train_loss", known ? result->train_loss : none);
    tw_json_real(&json, "test_loss", known ? result->test_loss : none);
    tw_json_real(&json, "test_accuracy", known ? result->test_accuracy : none);
    tw_json_real(&json, "train_accuracy", known ? result->train_accuracy : none);
    tw_json_real(&json, "staleness_mean", known ? result->staleness_mean : none);
    write_count(&json, "staleness_max", known, result->staleness_max);
    write_count(&json, "not_finite", known, result->not_finite);
    tw_json_string(&json, "stopped", or_null(result->stopped));
    tw_json_string(&json, "model", or_null(result->model));
    tw_json_string(&json, "model_sha256", or_null(result->model_sha256));
    tw_json_string(&json, "model_ema", or_null(result->model_ema));
    tw_json_string(&json, "model_ema_sha256", or_null(result->model_ema_sha256));
    tw_json_string(&json, "run", or_null(summary->run));
    tw_json_end_object(&json);
    tw_text_add_bytes(text, "\n", 1);
}
