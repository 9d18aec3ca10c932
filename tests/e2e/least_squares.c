/* How far the weights of a model with one dense layer are from the least-squares solution on
 * the training data of its job, as LAPACK finds it in double precision:
 *
 *     least_squares JOB MODEL.safetensors      prints {"samples": N, "farthest": D}
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/tensor/safetensors_read.h"
#include "worker/data/datasets.h"
#include "worker/nn/model.h"

/* LAPACK, which is part of OpenBLAS: min |A x - b|, by QR; all in columns. */
void dgels_(const char *trans, const int *m, const int *n, const int *nrhs, double *a,
            const int *lda, double *b, const int *ldb, double *work, const int *lwork, int *info);

static void stop_if(enum tw_status status, const struct tw_error *error) {
    if (status == TW_OK)
        return;
    fprintf(stderr, "least_squares: %s\n", error->text);
    exit(1);
}

/* solution[features + 1]: the weights and then the bias. */
static void solve(const struct tw_dataset *data, double *solution) {
    int rows = (int)data->count, columns = (int)data->elements + 1, one = 1, info = 0;
    int room = 64 * columns;
    double *a = calloc((size_t)rows * (size_t)columns, sizeof *a);
    double *b = calloc((size_t)rows, sizeof *b), *work = calloc((size_t)room, sizeof *work);
    float *x = calloc((size_t)columns, sizeof *x), y;
    struct tw_batch batch = {.x = x, .targets = &y};
    for (uint32_t i = 0; i < data->count; i++) {
        tw_dataset_gather(data, &i, 1, &batch);
        for (int j = 0; j + 1 < columns; j++)
            a[(size_t)j * (size_t)rows + i] = (double)x[j];
        a[(size_t)(columns - 1) * (size_t)rows + i] = 1;
        b[i] = (double)y;
    }
    dgels_("N", &rows, &columns, &one, a, &rows, b, &rows, work, &room, &info);
    if (info != 0) {
        fprintf(stderr, "least_squares: dgels says %d\n", info);
        exit(1);
    }
    for (int j = 0; j < columns; j++)
        solution[j] = b[j];
    free(x);
    free(work);
    free(b);
    free(a);
}

int main(int argc, char **argv) {
    struct tw_safetensors_reader reader;
    struct tw_datasets datasets;
    struct tw_model *model;
    struct tw_error error;
    struct tw_job *job;
    if (argc != 3)
        return 2;
    stop_if(tw_job_load(&job, argv[1], NULL, 0, &error), &error);
    stop_if(tw_model_build(&model, &job->model, &error), &error);
    struct tw_data_needs needs = tw_model_needs(model);
    stop_if(tw_datasets_open(&datasets, job, &needs, TW_WANT_TRAIN, &error), &error);
    size_t count = (size_t)datasets.train->elements + 1;
    double *solution = calloc(count, sizeof *solution), farthest = 0;
    float *ours = calloc(count, sizeof *ours);
    solve(datasets.train, solution);
    stop_if(tw_safetensors_read_open(&reader, argv[2], &error), &error);
    /* "dense1.bias" comes before "dense1.weight" only if somebody sorts them: look. */
    for (size_t i = 0; i < reader.list.count; i++) {
        const struct tw_safetensors_entry *entry = &reader.list.entry[i];
        float *to = entry->dims == 1 ? ours + count - 1 : ours;
        stop_if(tw_safetensors_read(&reader, entry->begin, to, entry->end - entry->begin, &error),
                &error);
    }
    for (size_t i = 0; i < count; i++)
        farthest = fmax(farthest, fabs((double)ours[i] - solution[i]));
    printf("{\"samples\": %u, \"farthest\": %.17g}\n", datasets.train->count, farthest);
    tw_safetensors_read_close(&reader);
    free(ours);
    free(solution);
    tw_datasets_close(&datasets);
    tw_model_free(model);
    tw_job_free(job);
    return 0;
}
