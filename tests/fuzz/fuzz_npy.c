/* Fuzz target of the NPY reader. Input: the file. What must hold: the elements of what is taken lie
 * within the file, and all can be read; what is refused has a message that names the file. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/data/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "fuzz_npy: %s\n", what);
        abort();
    }
}

static void check(const struct tw_npy *npy) {
    float *x = malloc((size_t)npy->elements * sizeof *x);
    int32_t *labels = malloc((size_t)npy->elements * sizeof *labels);
    int64_t at;
    must(x != NULL && labels != NULL, "memory");
    tw_npy_floats(npy, x);
    if (npy->kind != 'f') {
        bool good = tw_npy_labels(npy, labels, &at);
        for (int64_t i = 0; i < at; i++)
            must(labels[i] >= 0, "labels are from 0");
        must(good == (at == npy->elements), "all labels are read, or the first wrong one is named");
    }
    free(labels);
    free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    struct tw_npy npy;
    struct tw_error error = {.status = TW_OK};
    enum tw_status status = tw_npy_parse(&npy, "f.npy", input, size, &error);
    if (status != TW_OK) {
        must(strncmp(error.text, "f.npy: ", 7) == 0, "what is refused is named");
        return 0;
    }
    must(npy.bytes >= input && npy.bytes + npy.elements * npy.size == input + size,
         "the elements end where the file ends");
    check(&npy);
    return 0;
}
