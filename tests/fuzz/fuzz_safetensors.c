/* Fuzz target of the reader of safetensors headers.
 *
 * Input: 8 bytes, how many bytes follow the header (little-endian); then the header. What must
 * hold:
 *   - what is taken has no holes, no two tensors of one name, and ends where the bytes end;
 *   - what is refused has a message, and leaves nothing behind.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/tensor/safetensors_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "fuzz_safetensors: %s\n", what);
        abort();
    }
}

static void check(const struct tw_safetensors_list *list, uint64_t data) {
    uint64_t end = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct tw_safetensors_entry *entry = &list->entry[i];
        must(entry->begin == end && entry->end >= end, "no holes");
        must(entry->dims <= TW_DIMS_MAX, "dimensions are within limits");
        must(memchr(entry->name, '\0', sizeof entry->name), "names end");
        end = entry->end;
        for (size_t j = 0; j < i; j++)
            must(strcmp(entry->name, list->entry[j].name) != 0, "names differ");
    }
    must(end == data, "it ends where the bytes end");
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    struct tw_safetensors_list list;
    struct tw_error error = {.status = TW_OK};
    uint64_t data = 0;
    if (size < 8)
        return 0;
    for (int i = 0; i < 8; i++)
        data |= (uint64_t)input[i] << (8 * i);
    enum tw_status status = tw_safetensors_parse(&list, input + 8, size - 8, data, &error);
    if (status == TW_OK)
        check(&list, data);
    else
        must(error.text[0] && !list.entry, "what is refused is named and leaves nothing");
    tw_safetensors_list_fini(&list);
    return 0;
}
