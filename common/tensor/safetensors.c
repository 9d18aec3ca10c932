#include "common/tensor/safetensors.h"

#include <endian.h>
#include <inttypes.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are written as they lie in memory, and the format is little-endian"
#endif

#define ALIGNMENT 8

void tw_safetensors_header_begin(struct tw_safetensors_header *header) {
    *header = (struct tw_safetensors_header){.bytes = 0};
    tw_json_init(&header->json, &header->text);
    tw_json_begin_object(&header->json, NULL);
}

void tw_safetensors_header_add(struct tw_safetensors_header *header, const char *name, int dims,
                               const int64_t *shape, int64_t elements) {
    struct tw_json *json = &header->json;
    tw_json_begin_object(json, name);
    tw_json_string(json, "dtype", "F32");
    tw_json_begin_array(json, "shape");
    for (int d = 0; d < dims; d++)
        tw_json_integer(json, NULL, shape[d]);
    tw_json_end_array(json);
    tw_json_begin_array(json, "data_offsets");
    tw_json_unsigned(json, NULL, header->bytes);
    header->bytes += (uint64_t)elements * sizeof(float);
    tw_json_unsigned(json, NULL, header->bytes);
    tw_json_end_array(json);
    tw_json_end_object(json);
}

bool tw_safetensors_header_end(struct tw_safetensors_header *header) {
    tw_json_end_object(&header->json);
    while (header->text.size % ALIGNMENT != 0 && !header->text.failed)
        tw_text_add_bytes(&header->text, " ", 1);
    return !header->text.failed;
}

static bool header_of(struct tw_safetensors_header *header, const struct tw_tensor_list *list) {
    tw_safetensors_header_begin(header);
    for (int t = 0; t < list->count; t++) {
        const struct tw_tensor *tensor = &list->tensors[t];
        tw_safetensors_header_add(header, tensor->name, tensor->dims, tensor->shape,
                                  tensor->elements);
    }
    return tw_safetensors_header_end(header);
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
    struct tw_safetensors_header header;
    if (!header_of(&header, list)) {
        tw_text_fini(&header.text);
        return tw_error_set(error, TW_NO_MEMORY, "%s: no memory for the header of a model file",
                            path ? path : "model");
    }
    file->missing = header.bytes;
    tw_sha256_init(&file->sha);
    file->unwritten = path == NULL;
    if (file->unwritten) {
        file->draft = (struct tw_draft){.fd = -1};
    }
    enum tw_status status = path ? tw_draft_open(&file->draft, path, error) : TW_OK;
    if (status == TW_OK) {
        uint64_t length = htole64(header.text.size);
        status = append(file, &length, sizeof length, error);
        if (status == TW_OK) {
            status = append(file, header.text.at, header.text.size, error);
        }
    }
    tw_text_fini(&header.text);
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

enum tw_status tw_safetensors_save(const char *path, const struct tw_tensor_list *list,
                                   const float *weights, size_t elements,
                                   char sha256[TW_SHA256_HEX], struct tw_error *error) {
    struct tw_safetensors file;
    uint8_t sha[TW_SHA256_BYTES];
    enum tw_status status = tw_safetensors_open(&file, path, list, error);
    if (status != TW_OK) {
        return status;
    }
    status = tw_safetensors_write(&file, weights, elements, error);
    if (status == TW_OK) {
        status = tw_safetensors_commit(&file, sha, error);
    }
    tw_safetensors_discard(&file);
    if (status == TW_OK) {
        tw_hex(sha, sizeof(sha), sha256);
    }
    return status;
}
