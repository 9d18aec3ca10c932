#include "common/tensor/initial.h"

#include <stdlib.h>

#include "common/base/text.h"
#include "common/tensor/weights_read.h"

static enum tw_status load_tensor(struct tw_initial *out, const struct tw_weights_reader *reader,
                                  const struct tw_tensor *tensor, int index, struct tw_sha256 *sha,
                                  struct tw_error *error) {
    size_t bytes = (size_t)tensor->elements * sizeof(float);
    out->value[index] = malloc(bytes);
    if (!out->value[index])
        return tw_error_set(error, TW_NO_MEMORY, "no memory for tensor %.64s", tensor->name);
    enum tw_status status = tw_weights_read(reader, tensor, out->value[index], error);
    if (status == TW_OK)
        tw_sha256_update(sha, out->value[index], bytes);
    return status;
}

static enum tw_status load_all(struct tw_initial *out, const struct tw_weights_reader *reader,
                               const char *pattern, const struct tw_tensor_list *list,
                               struct tw_error *error) {
    uint8_t digest[TW_SHA256_BYTES];
    struct tw_sha256 sha;
    enum tw_status status = TW_OK;
    int taken = 0;
    out->count = list->count;
    out->value = calloc((size_t)list->count, sizeof *out->value);
    if (!out->value)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    tw_sha256_init(&sha);
    for (int t = 0; status == TW_OK && t < list->count; t++) {
        if (!tw_pattern_fits(pattern, list->tensors[t].name))
            continue;
        status = load_tensor(out, reader, &list->tensors[t], t, &sha, error);
        taken++;
    }
    if (status == TW_OK && taken == 0)
        return tw_error_set(error, TW_JOB, "\"%.60s\" fits none of the %d tensors; the first is %s",
                            pattern, list->count, list->tensors[0].name);
    tw_sha256_final(&sha, digest);
    tw_hex(digest, sizeof digest, out->sha256);
    return status;
}

enum tw_status tw_initial_load(struct tw_initial *out, const char *name, const char *pattern,
                               const struct tw_tensor_list *list, struct tw_error *error) {
    struct tw_weights_reader *reader;
    *out = (struct tw_initial){0};
    enum tw_status status = tw_weights_open(&reader, name, error);
    if (status == TW_OK)
        status = load_all(out, reader, pattern, list, error);
    tw_weights_close(reader);
    if (status != TW_OK)
        tw_initial_fini(out);
    return status;
}

void tw_initial_fini(struct tw_initial *initial) {
    for (int t = 0; t < initial->count && initial->value; t++)
        free(initial->value[t]);
    free(initial->value);
    *initial = (struct tw_initial){0};
}
