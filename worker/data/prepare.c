#include "worker/data/prepare.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/tensor/clones.h"

/* Of one element, while the samples go by. */
struct column {
    double sum, squares; /* squares: of differences from the mean */
    float least, most;
    uint32_t count; /* that are not missing */
};

struct learner {
    const struct tw_dataset *data;
    size_t elements;
    struct column *columns; /* [elements] */
    float *x;               /* [elements], the present sample */
};

static void look(struct learner *l) {
    for (uint32_t i = 0; i < l->data->count; i++) {
        tw_dataset_row(l->data, i, l->x);
        for (size_t e = 0; e < l->elements; e++) {
            struct column *column = &l->columns[e];
            float x = l->x[e];
            if (isnan(x))
                continue;
            column->least = column->count == 0 || x < column->least ? x : column->least;
            column->most = column->count == 0 || x > column->most ? x : column->most;
            column->sum += (double)x;
            column->count++;
        }
    }
}

/* Once more, when the means are known: a difference of two large sums would not do. */
static void measure(struct learner *l) {
    for (uint32_t i = 0; i < l->data->count; i++) {
        tw_dataset_row(l->data, i, l->x);
        for (size_t e = 0; e < l->elements; e++) {
            struct column *column = &l->columns[e];
            double difference = (double)l->x[e] - column->sum / column->count;
            if (!isnan(l->x[e]))
                column->squares += difference * difference;
        }
    }
}

static enum tw_status conclude(struct learner *l, struct tw_preparation *out,
                               struct tw_error *error) {
    for (size_t e = 0; e < l->elements; e++) {
        const struct column *column = &l->columns[e];
        if (column->count == 0)
            return tw_error_set(error, TW_DATA,
                                "%s: element %zu (counted from 0) of the samples is missing in "
                                "all of them; leave it out",
                                l->data->samples_name, e);
        bool constant = column->least == column->most;
        double deviation = sqrt(column->squares / column->count);
        out->mean[e] = constant ? column->least : (float)(column->sum / column->count);
        out->factor[e] = constant || deviation < (double)FLT_MIN ? 1.0f : (float)(1 / deviation);
    }
    return TW_OK;
}

enum tw_status tw_prepare(struct tw_preparation *out, const struct tw_dataset *train, bool scales,
                          struct tw_error *error) {
    struct learner l = {.data = train, .elements = (size_t)train->elements};
    enum tw_status status;
    *out = (struct tw_preparation){.elements = train->elements, .scales = scales};
    l.columns = calloc(l.elements, sizeof *l.columns);
    l.x = calloc(l.elements, sizeof *l.x);
    out->mean = calloc(l.elements, sizeof *out->mean);
    out->factor = calloc(l.elements, sizeof *out->factor);
    if (l.columns == NULL || l.x == NULL || out->mean == NULL || out->factor == NULL) {
        status = tw_error_set(error, TW_NO_MEMORY, "out of memory for the means of %zu elements",
                              l.elements);
    } else {
        look(&l);
        measure(&l);
        status = conclude(&l, out, error);
    }
    free(l.x);
    free(l.columns);
    if (status != TW_OK)
        tw_preparation_fini(out);
    return status;
}

TW_CLONES static void fill(float *restrict x, const float *restrict mean, int64_t elements) {
    for (int64_t e = 0; e < elements; e++)
        x[e] = x[e] != x[e] ? mean[e] : x[e];
}

TW_CLONES static void standardise(float *restrict x, const float *restrict mean,
                                  const float *restrict factor, int64_t elements) {
    for (int64_t e = 0; e < elements; e++)
        x[e] = x[e] != x[e] ? 0.0f : (x[e] - mean[e]) * factor[e];
}

void tw_prepare_row(const struct tw_preparation *preparation, float *x) {
    if (preparation->scales)
        standardise(x, preparation->mean, preparation->factor, preparation->elements);
    else
        fill(x, preparation->mean, preparation->elements);
}

void tw_preparation_fini(struct tw_preparation *preparation) {
    free(preparation->mean);
    free(preparation->factor);
    *preparation = (struct tw_preparation){0};
}
