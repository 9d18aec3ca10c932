#include "server/io/run_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/json.h"
#include "common/base/json_scan.h"
#include "common/base/say.h"

#define METRICS_BYTES_MAX (256u << 20)

/* ---- going on ---- */

/* The number behind "updates"; UINT64_MAX: it is no line of ours. */
static uint64_t updates_of(const char *line, size_t size) {
    struct tw_json_scan scan = tw_json_scan(line, size);
    uint64_t updates = UINT64_MAX;
    char key[64];
    tw_scan_open(&scan, '{');
    while (tw_scan_key(&scan, key, sizeof key))
        if (strcmp(key, "updates") == 0)
            updates = tw_scan_unsigned(&scan);
        else
            tw_scan_skip(&scan);
    tw_scan_end(&scan);
    return scan.wrong ? UINT64_MAX : updates;
}

/* Bytes of the lines before the first that is of a later update, or is cut. */
static size_t lines_up_to(const char *text, size_t size, uint64_t version) {
    size_t at = 0;
    const char *end;
    while (at < size && (end = memchr(text + at, '\n', size - at)) &&
           updates_of(text + at, (size_t)(end - text) - at) <= version)
        at = (size_t)(end - text) + 1;
    return at;
}

static enum tw_status cut_metrics(struct tw_run_directory *directory, uint64_t version,
                                  struct tw_error *error) {
    char *text;
    size_t size;
    enum tw_status status =
        tw_file_read(directory->metrics_path, METRICS_BYTES_MAX, &text, &size, error);
    if (status != TW_OK)
        return status;
    directory->metrics_bytes = (int64_t)lines_up_to(text, size, version);
    free(text);
    if (ftruncate(directory->metrics, directory->metrics_bytes) != 0)
        return tw_error_set(error, TW_IO, "cannot cut %s: %s", directory->metrics_path,
                            strerror(errno));
    return TW_OK;
}

enum tw_status tw_run_directory_open(struct tw_run_directory *directory, const char *folder,
                                     int64_t version, struct tw_error *error) {
    *directory = (struct tw_run_directory){.folder = folder, .metrics = -1};
    if (tw_path_join(directory->metrics_path, TW_PATH_MAX, folder, "metrics.jsonl") != TW_OK ||
        tw_path_join(directory->model_path, TW_PATH_MAX, folder, "model.safetensors") != TW_OK ||
        tw_path_join(directory->ema_path, TW_PATH_MAX, folder, "model-ema.safetensors") != TW_OK)
        return tw_error_set(error, TW_LIMIT, "the path of the run directory is too long");
    int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (version < 0 ? O_EXCL : 0);
    directory->metrics = open(directory->metrics_path, flags, 0666);
    if (directory->metrics < 0)
        return tw_error_set(error, TW_IO, "cannot make %s: %s", directory->metrics_path,
                            strerror(errno));
    if (version >= 0) { /* of an earlier end */
        unlink(directory->model_path);
        unlink(directory->ema_path);
    }
    enum tw_status status = version < 0 ? TW_OK : cut_metrics(directory, (uint64_t)version, error);
    if (status != TW_OK)
        tw_run_directory_close(directory);
    return status;
}

void tw_run_directory_close(struct tw_run_directory *directory) {
    if (directory->metrics >= 0)
        close(directory->metrics);
    directory->metrics = -1;
    tw_text_fini(&directory->line);
}

/* ---- metrics ---- */

static void write_ratios(struct tw_json *json, const struct tw_border *border) {
    if (!border->update_ratio) {
        tw_json_null(json, "update_ratio_at");
        tw_json_null(json, "update_ratio");
        return;
    }
    tw_json_unsigned(json, "update_ratio_at", border->update_ratio_at);
    tw_json_begin_object(json, "update_ratio");
    for (int t = 0; t < border->tensors->count; t++)
        tw_json_real(json, border->tensors->tensors[t].name, border->update_ratio[t]);
    tw_json_end_object(json);
}

static void write_chunks(struct tw_json *json, const struct tw_chunk_staleness *chunks) {
    if (!chunks->chunks) {
        tw_json_null(json, "chunk_staleness_mean");
        tw_json_null(json, "chunk_staleness_max");
        return;
    }
    tw_json_real(json, "chunk_staleness_mean", (double)chunks->sum / (double)chunks->chunks);
    tw_json_unsigned(json, "chunk_staleness_max", chunks->most);
}

/* Those that the loss has not are left out, but for two that everybody reads. */
static void write_test(struct tw_json *json, const struct tw_metric_values *test) {
    tw_json_real(json, "test_loss", test->loss);
    tw_json_real(json, "test_accuracy", test->accuracy);
#define X(name)                                                                                    \
    if (!isnan(test->name))                                                                        \
        tw_json_real(json, "test_" #name, test->name);
    TW_METRIC_VALUES_MORE(X)
#undef X
}

static void write_line(struct tw_text *text, const struct tw_border *border) {
    struct tw_json json;
    tw_text_clear(text);
    tw_json_init(&json, text);
    tw_json_begin_object(&json, NULL);
    /* The update that ends an epoch rarely ends exactly with it. */
    tw_json_real(&json, "epoch", border->whole ? floor(border->epoch) : border->epoch);
    tw_json_unsigned(&json, "updates", border->version);
    tw_json_unsigned(&json, "samples", border->samples);
    tw_json_real(&json, "seconds", border->seconds);
    tw_json_real(&json, "samples_per_second", border->samples_per_second);
    tw_json_real(&json, "lr", border->lr);
    tw_json_real(&json, "train_loss", border->train_loss);
    tw_json_real(&json, "train_accuracy", border->train_accuracy);
    write_test(&json, &border->test);
    tw_json_real(&json, "staleness_mean", border->staleness_mean);
    tw_json_unsigned(&json, "staleness_max", border->staleness_max);
    write_chunks(&json, &border->chunks);
    tw_json_unsigned(&json, "dropped", border->dropped);
    tw_json_unsigned(&json, "not_finite", border->not_finite);
    tw_json_real(&json, "computing", border->times.computing);
    tw_json_real(&json, "waiting", border->times.waiting);
    tw_json_real(&json, "network", border->times.network);
    tw_json_real(&json, "away", border->times.away);
    if (border->times.culprit >= 0)
        tw_json_integer(&json, "waited_for", border->times.culprit);
    else
        tw_json_null(&json, "waited_for");
    tw_json_real(&json, "waited_for_seconds", border->times.culprit_seconds);
    write_ratios(&json, border);
    tw_json_end_object(&json);
    tw_text_add_bytes(text, "\n", 1);
}

/* Takes back what was written of a line. */
static void fail_line(struct tw_run_directory *directory, const char *why) {
    if (ftruncate(directory->metrics, directory->metrics_bytes) != 0)
        why = "a line is cut, and the rest cannot be removed";
    if (directory->failed.status != TW_OK)
        return;
    tw_error_set(&directory->failed, TW_IO, "cannot write %s: %s", directory->metrics_path, why);
    tw_say("%s; training goes on", directory->failed.text);
}

void tw_run_directory_add(struct tw_run_directory *directory, const struct tw_border *border) {
    struct tw_text *line = &directory->line;
    write_line(line, border);
    if (line->failed) {
        fail_line(directory, strerror(ENOMEM));
        return;
    }
    size_t done = 0;
    while (done < line->size) {
        ssize_t count = write(directory->metrics, line->at + done, line->size - done);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            fail_line(directory, strerror(count < 0 ? errno : ENOSPC));
            return;
        }
        done += (size_t)count;
    }
    directory->metrics_bytes += (int64_t)line->size;
}
