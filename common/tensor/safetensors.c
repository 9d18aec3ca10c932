#include "common/tensor/safetensors.h"

#include <endian.h>
#include <inttypes.h>

#include "common/base/json.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are written as they lie in memory, and the format is little-endian"
#endif

#define ALIGNMENT 8

/* {"name":{"dtype":"F32","shape":[..],"data_offsets":[begin,end]},...} and spaces.
 * Returns the bytes of all tensors. */
static uint64_t header(struct tw_text *text, const struct tw_tensor_list *list) {
    struct tw_json json;
    uint64_t offset = 0;
    tw_json_init(&json, text);
    tw_json_begin_object(&json, NULL);
    for (int t = 0; t < list->count; t++) {
        const struct tw_tensor *tensor = &list->tensors[t];
        tw_json_begin_object(&json, tensor->name);
        tw_json_string(&json, "dtype", "F32");
        tw_json_begin_array(&json, "shape");
        for (int d = 0; d < tensor->dims; d++) {
            tw_json_integer(&json, NULL, tensor->shape[d]);
        }
        tw_json_end_array(&json);
        tw_json_begin_array(&json, "data_offsets");
        tw_json_unsigned(&json, NULL, offset);
        offset += (uint64_t)tensor->elements * sizeof(float);
        tw_json_unsigned(&json, NULL, offset);
        tw_json_end_array(&json);
        tw_json_end_object(&json);
    }
    tw_json_end_object(&json);
    while (text->size % ALIGNMENT != 0 && !text->failed) {
        tw_text_add_bytes(text, " ", 1);
    }
    return offset;
}

static enum tw_status append(struct tw_safetensors *file, const void *bytes, size_t size,
                             struct tw_error *error) {
    enum tw_status status =
        file->unwritten ? TW_OK : tw_draft_write(&file->draft, bytes, size, error);
    if (status == TW_OK) {
        tw_sha256_update(&file->sha, bytes, size);
    }
    return status;
}

enum tw_status tw_safetensors_open(struct tw_safetensors *file, const char *path,
                                   const struct tw_tensor_list *list, struct tw_error *error) {
    struct tw_text text = {0};
    file->missing = header(&text, list);
    if (text.failed) {
        tw_text_fini(&text);
        return tw_error_set(error, TW_NO_MEMORY, "%s: no memory for the header of a model file",
                            path ? path : "model");
    }
    tw_sha256_init(&file->sha);
    file->unwritten = path == NULL;
    if (file->unwritten) {
        file->draft = (struct tw_draft){.fd = -1};
    }
    enum tw_status status = path ? tw_draft_open(&file->draft, path, error) : TW_OK;
    if (status == TW_OK) {
        uint64_t length = htole64(text.size);
        status = append(file, &length, sizeof length, error);
        if (status == TW_OK) {
            status = append(file, text.at, text.size, error);
        }
    }
    tw_text_fini(&text);
    return status;
}

enum tw_status tw_safetensors_write(struct tw_safetensors *file, const float *elements,
                                    size_t count, struct tw_error *error) {
    if (count > file->missing / sizeof(float)) {
        tw_safetensors_discard(file);
        return tw_error_set(error, TW_INTERNAL, "%s: %zu floats too many for the model's tensors",
                            file->draft.path, count - (size_t)(file->missing / sizeof(float)));
    }
    file->missing -= count * sizeof(float);
    return append(file, elements, count * sizeof(float), error);
}

enum tw_status tw_safetensors_commit(struct tw_safetensors *file, uint8_t sha[TW_SHA256_BYTES],
                                     struct tw_error *error) {
    if (file->missing > 0) {
        tw_safetensors_discard(file);
        return tw_error_set(error, TW_INTERNAL,
                            "%s: %" PRIu64 " bytes of the model's tensors were never written",
                            file->draft.path, file->missing);
    }
    tw_sha256_final(&file->sha, sha);
    return file->unwritten ? TW_OK : tw_draft_commit(&file->draft, error);
}

void tw_safetensors_discard(struct tw_safetensors *file) {
    if (!file->unwritten) {
        tw_draft_discard(&file->draft);
    }
}
