/* Fuzz target of the CSV reader.
 *
 * Input: a byte of options, then the file. What must hold:
 *   - what is taken has samples of one size, finite but where values are missing, and a label or
 *     target for each;
 *   - what is refused has a message with the place in the job, and leaves nothing behind;
 *   - read again, as test data of itself, it is the same.
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
        fprintf(stderr, "fuzz_csv: %s\n", what);
        abort();
    }
}

static void check(const struct tw_dataset *set) {
    const float *x = set->rows;
    must(set->count > 0 && set->elements > 0, "there are samples");
    for (size_t i = 0; i < set->count * (size_t)set->elements; i++)
        must(isfinite(x[i]) || (set->missing && isnan(x[i])), "samples are finite");
    for (uint32_t i = 0; i < set->count; i++)
        must(set->outputs > 0 ? isfinite(set->targets[i * (size_t)set->outputs])
                              : set->labels[i] >= 0 && set->labels[i] < (int32_t)set->count,
             "a label or target for each");
}

static void check_again(const struct tw_dataset *set, const struct tw_variant *variant,
                        const uint8_t *file, size_t size) {
    struct tw_dataset *again;
    struct tw_error error;
    must(tw_dataset_parse(&again, variant, set, file, size, &error) == TW_OK, "it is read again");
    must(again->count == set->count && again->elements == set->elements, "in the same shape");
    must(memcmp(again->rows, set->rows, set->count * (size_t)set->elements * sizeof(float)) == 0,
         "with the same samples");
    tw_dataset_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    static const char *const missing[] = {"refuse", "mean", "zero", "skip"};
    if (size < 1)
        return 0;
    uint8_t how = input[0];
    struct tw_option options[] = {
        {.key = "file", .text = "f.csv"},
        {.key = "target", .text = "1"},
        {.key = "targets", .text = how & 1 ? "classes" : "numbers"},
        {.key = "header", .text = how & 2 ? "true" : "false"},
        {.key = "missing", .text = missing[how >> 2 & 3]},
        {.key = how & 16 ? "categories" : "indices", .text = "2"},
        {.key = "delimiter", .text = how & 32 ? ";" : ","},
    };
    struct tw_variant variant = {
        .name = "csv", .path = "data.train", .count = 7, .options = options};
    struct tw_dataset *set;
    struct tw_error error = {.status = TW_OK};
    variant.count -= how & 64 ? 0 : 1;
    enum tw_status status = tw_dataset_parse(&set, &variant, NULL, input + 1, size - 1, &error);
    if (status != TW_OK) {
        must(set == NULL && strncmp(error.text, "job: data.train: ", 17) == 0,
             "what is refused is named and leaves nothing");
        return 0;
    }
    check(set);
    check_again(set, &variant, input + 1, size - 1);
    tw_dataset_free(set);
    return 0;
}
