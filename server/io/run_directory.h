/* The server's files in the run directory: metrics.jsonl, which grows by a line at each border;
 * where model.safetensors and model-ema.safetensors will be (shards.c writes them). The directory
 * itself, job.yaml and logs are made by cli/.
 *
 * A disk that is full does not stop training: the first failure is remembered in
 * `failed` and becomes the run's error at the end. metrics.jsonl never holds half
 * a line, and nothing unfinished stays behind.
 */
#ifndef TW_IO_RUN_DIRECTORY_H
#define TW_IO_RUN_DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/file.h"
#include "common/base/metric_values.h"
#include "common/base/text.h"
#include "common/tensor/tensor.h"
#include "proto/order_log.h"
#include "server/core/timesheet.h"

/* A border of epochs: a line of metrics.jsonl, and what the operator is told. */
struct tw_border {
    uint64_t version, samples;
    double epoch; /* samples / n; 0: the job has no epochs */
    bool whole;   /* a whole epoch is over, else the run ends here */
    double seconds, samples_per_second, lr, train_loss;
    double train_accuracy;        /* likewise */
    struct tw_metric_values test; /* NaN: there is none */
    double staleness_mean;
    uint64_t staleness_max;
    struct tw_chunk_staleness chunks; /* where they are applied as they come */
    uint64_t dropped;                 /* gradients that were over without being applied */
    uint64_t not_finite;              /* times that this was since they were not finite */
    struct tw_border_times times;
    const struct tw_tensor_list *tensors;
    const double *update_ratio; /* [tensors] |change| / |weights|, NaN: none; NULL: not sampled */
    uint64_t update_ratio_at;   /* of this update */
    bool awaits;                /* an evaluation of this version is still to come */
};

struct tw_run_directory {
    const char *folder; /* borrowed */
    int metrics;        /* file; -1: none */
    int64_t metrics_bytes;
    char metrics_path[TW_PATH_MAX], model_path[TW_PATH_MAX], ema_path[TW_PATH_MAX];
    struct tw_text line;    /* kept for reuse */
    struct tw_error failed; /* the first failure of a line; TW_OK: none */
};

/* Makes an empty metrics.jsonl; with `version` not negative goes on with the one that is there,
 * from its lines of updates up to that one (none: an empty one). TW_IO when the folder is missing,
 * not writable, or has one already; TW_LIMIT, TW_NO_MEMORY. On failure there is nothing to
 * close. */
enum tw_status tw_run_directory_open(struct tw_run_directory *directory, const char *folder,
                                     int64_t version, struct tw_error *error);

/* Appends a line. A failure is remembered, see above. */
void tw_run_directory_add(struct tw_run_directory *directory, const struct tw_border *border);

/* Harmless after a failed open, and twice. */
void tw_run_directory_close(struct tw_run_directory *directory);

#endif
