#include "common/job/job_memory.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"

#define BLOCK_BYTES ((size_t)16 << 10)

struct tw_job_block {
    struct tw_job_block *next;
    size_t used, room;
    max_align_t bytes[];
};

static struct tw_job_block *add_block(struct tw_job_memory *memory, size_t size) {
    size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;
    struct tw_job_block *block = calloc(1, sizeof *block + room);
    if (!block)
        return NULL;
    block->room = room;
    block->next = memory->blocks;
    memory->blocks = block;
    return block;
}

void *tw_job_memory_get(struct tw_job_memory *memory, size_t size) {
    if (size > TW_JOB_MEMORY_MAX)
        return NULL;
    size_t align = _Alignof(max_align_t);
    size = size ? (size + align - 1) / align * align : align;
    if (size > TW_JOB_MEMORY_MAX - memory->total)
        return NULL;
    struct tw_job_block *block = memory->blocks;
    if (!block || size > block->room - block->used)
        block = add_block(memory, size);
    if (!block)
        return NULL;
    void *piece = (char *)block->bytes + block->used;
    block->used += size;
    memory->total += size;
    return piece;
}

char *tw_job_memory_copy(struct tw_job_memory *memory, const char *bytes, size_t size) {
    char *copy = tw_job_memory_get(memory, size + 1);
    if (copy && size)
        memcpy(copy, bytes, size);
    return copy;
}

char *tw_job_memory_text(struct tw_job_memory *memory, const char *format, ...) {
    va_list list;
    va_start(list, format);
    int size = vsnprintf(NULL, 0, format, list);
    va_end(list);
    char *text = size < 0 ? NULL : tw_job_memory_get(memory, (size_t)size + 1);
    if (!text)
        return NULL;
    va_start(list, format);
    vsnprintf(text, (size_t)size + 1, format, list);
    va_end(list);
    return text;
}

enum tw_status tw_job_memory_error(struct tw_error *error) {
    return tw_error_set(error, TW_NO_MEMORY,
                        "out of memory while reading the job; it may use %u MiB",
                        TW_JOB_MEMORY_MAX >> 20);
}

void tw_job_memory_fini(struct tw_job_memory *memory) {
    while (memory->blocks) {
        struct tw_job_block *next = memory->blocks->next;
        free(memory->blocks);
        memory->blocks = next;
    }
    memory->total = 0;
}
