/* Fuzz target of the LIBSVM reader. Input: a byte of options, then the file. What must hold:
 *   - indices of what is taken go up and are below the number of features, rows do not overlap;
 *   - what is refused has a message, and leaves nothing behind.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/data/dataset.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "fuzz_libsvm: %s\n", what);
        abort();
    }
}

static void check(const struct tw_dataset *set) {
    const float *values = set->rows;
    must(set->count > 0 && set->first[0] == 0, "there are rows");
    for (uint32_t row = 0; row < set->count; row++) {
        must(set->first[row] <= set->first[row + 1], "rows do not overlap");
        for (uint64_t i = set->first[row]; i < set->first[row + 1]; i++) {
            must(set->index[i] < 1000 && isfinite(values[i]), "elements are within the sample");
            must(i == set->first[row] || set->index[i] > set->index[i - 1], "indices go up");
        }
        must(set->outputs > 0 ? isfinite(set->targets[row])
                              : set->labels[row] >= 0 && set->labels[row] < (int32_t)set->count,
             "a label or target for each");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    if (size < 1)
        return 0;
    struct tw_option options[] = {
        {.key = "file", .text = "f.svm"},
        {.key = "features", .text = "1000"},
        {.key = "targets", .text = input[0] & 1 ? "classes" : "numbers"},
    };
    struct tw_variant variant = {
        .name = "libsvm", .path = "data.train", .count = 3, .options = options};
    struct tw_dataset *set;
    struct tw_error error = {.status = TW_OK};
    if (tw_dataset_parse(&set, &variant, NULL, input + 1, size - 1, &error) == TW_OK)
        check(set);
    else
        must(set == NULL && strncmp(error.text, "job: data.train: ", 17) == 0,
             "what is refused is named and leaves nothing");
    tw_dataset_free(set);
    return 0;
}
