/* Curves from order.log and metrics.jsonl; see curves.h. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/curves.h"
#include "cli/log_file.h"
#include "cli/log_history.h"
#include "common/base/file.h"

#define METRICS_MAX ((size_t)1 << 30)

const char *const tw_curves_by_names[] = {"updates", "epochs", "seconds", NULL};

/* All losses of a run, before they are put into bins. */
struct losses {
    size_t count, room;
    double *x, *loss;
    bool failed;
};

static void add(struct losses *losses, double x, double loss) {
    if (losses->count == losses->room && !losses->failed) {
        size_t room = losses->room ? 2 * losses->room : 1024;
        double *xs = realloc(losses->x, room * sizeof *xs);
        losses->x = xs ? xs : losses->x;
        double *all = realloc(losses->loss, room * sizeof *all);
        losses->loss = all ? all : losses->loss;
        losses->failed = !xs || !all;
        losses->room = losses->failed ? losses->room : room;
    }
    if (losses->failed || !isfinite(x) || !isfinite(loss))
        return;
    losses->x[losses->count] = x;
    losses->loss[losses->count++] = loss;
}

static double number(const json_t *line, const char *key) {
    const json_t *value = json_object_get(line, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

/* Calls `each` with every line of metrics.jsonl that is whole. */
static enum tw_status read_metrics(const char *run, void (*each)(void *context, const json_t *line),
                                   void *context, struct tw_error *error) {
    char path[TW_PATH_MAX], *text, *rest, *line;
    size_t size;
    if (tw_path_join(path, sizeof path, run, "metrics.jsonl") != TW_OK)
        return tw_error_set(error, TW_LIMIT, "%.200s...: this path is too long", run);
    enum tw_status status = tw_file_read(path, METRICS_MAX, &text, &size, error);
    if (status != TW_OK)
        return error->status = status == TW_NO_MEMORY ? status : TW_DATA;
    rest = text;
    while ((line = strsep(&rest, "\n"))) {
        json_t *object = json_loads(line, 0, NULL);
        if (json_is_object(object))
            each(context, object);
        json_decref(object);
    }
    free(text);
    return TW_OK;
}

struct epochs {
    const struct tw_curves *curves;
    struct losses *losses;
};

static void add_epoch(void *context, const json_t *line) {
    static const char *const keys[] = {"updates", "epoch", "seconds"};
    const struct epochs *epochs = context;
    add(epochs->losses, number(line, keys[epochs->curves->by]),
        number(line, epochs->curves->test ? "test_loss" : "train_loss"));
}

/* Samples of an epoch. */
static void find_epoch(void *context, const json_t *line) {
    double *samples = context, epoch = number(line, "epoch");
    if (epoch > 0)
        *samples = number(line, "samples") / epoch;
}

static enum tw_status read_order(struct losses *losses, const char *run, double per_epoch,
                                 struct tw_error *error) {
    struct tw_log_file log = {.file.fd = -1};
    struct tw_log_history history = {.position = 0};
    struct tw_record record;
    struct tw_error end;
    uint64_t samples = 0;
    enum tw_status status = tw_log_file_open(&log, run, error);
    if (status == TW_OK)
        status = tw_log_history_read(&history, run, &end, error);
    while (status == TW_OK && tw_log_history_next(&history, &log, &record, &end) == TW_OK) {
        if (record.kind != TW_RECORD_COMMIT || record.examples == 0)
            continue;
        add(losses, per_epoch > 0 ? (double)samples / per_epoch : (double)record.version - 1,
            record.loss / (double)record.examples);
        samples += record.examples;
    }
    tw_log_file_close(&log);
    tw_log_history_fini(&history);
    return status;
}

/* Neighbours share a bin; each has one loss at least. */
static enum tw_status bin(struct tw_curve *curve, const struct losses *losses, size_t most,
                          struct tw_error *error) {
    size_t bins = losses->count < most ? losses->count : most;
    curve->losses = losses->count;
    curve->point = calloc(bins, sizeof *curve->point);
    if (losses->failed || !curve->point)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    for (size_t b = 0; b < bins; b++) {
        size_t first = b * losses->count / bins, end = (b + 1) * losses->count / bins;
        struct tw_curve_point *point = &curve->point[curve->count++];
        *point = (struct tw_curve_point){.low = INFINITY, .high = -INFINITY};
        for (size_t i = first; i < end; i++) {
            point->x += losses->x[i] / (double)(end - first);
            point->mean += losses->loss[i] / (double)(end - first);
            point->low = fmin(point->low, losses->loss[i]);
            point->high = fmax(point->high, losses->loss[i]);
        }
    }
    return TW_OK;
}

/* The last part of the path. */
static void name_run(struct tw_curve *curve, const char *run) {
    size_t end = strlen(run);
    while (end > 1 && run[end - 1] == '/')
        end--;
    size_t first = end;
    while (first > 0 && run[first - 1] != '/')
        first--;
    snprintf(curve->label, sizeof curve->label, "%.*s", (int)(end - first), run + first);
    tw_text_clean(curve->label);
}

enum tw_status tw_curve_read(struct tw_curve *curve, const struct tw_curves *curves,
                             const char *run, struct tw_error *error) {
    struct losses losses = {0};
    struct epochs epochs = {curves, &losses};
    double per_epoch = 0;
    enum tw_status status = TW_OK;
    *curve = (struct tw_curve){0};
    name_run(curve, run);
    if (curves->test || curves->by == TW_CURVES_SECONDS) {
        status = read_metrics(run, add_epoch, &epochs, error);
    } else {
        if (curves->by == TW_CURVES_EPOCHS)
            status = read_metrics(run, find_epoch, &per_epoch, error);
        if (status == TW_OK && curves->by == TW_CURVES_EPOCHS && !(per_epoch > 0))
            status = tw_error_set(error, TW_DATA,
                                  "%s: no epoch of it is over, or it has no data; try --by updates",
                                  run);
        if (status == TW_OK)
            status = read_order(&losses, run, per_epoch, error);
    }
    if (status == TW_OK && losses.count == 0)
        status = tw_error_set(error, TW_DATA, "%s: there is no %s loss in it yet", run,
                              curves->test ? "test" : "train");
    if (status == TW_OK)
        status = bin(curve, &losses, curves->panels ? TW_CURVES_PANEL_BINS : TW_CURVES_BINS, error);
    free(losses.x);
    free(losses.loss);
    return status;
}

void tw_curve_fini(struct tw_curve *curve) {
    free(curve->point);
    *curve = (struct tw_curve){0};
}
