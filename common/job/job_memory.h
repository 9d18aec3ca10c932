/* The memory of one job: everything its tree and its struct point to, freed at
 * once.
 *
 * Who uses it: only this room. It hands out pieces from blocks that grow, never
 * takes one back, and never hands out more than TW_JOB_MEMORY_MAX in all, so that
 * no file can make it grow further.
 */
#ifndef TW_JOB_JOB_MEMORY_H
#define TW_JOB_JOB_MEMORY_H

#include <stddef.h>

#include "common/base/status.h"

/* Of zeros it is empty and ready. */
struct tw_job_memory {
    struct tw_job_block *blocks;
    size_t total; /* bytes asked for so far */
};

/* `size` zeroed bytes, aligned for anything; NULL when there is no more. */
void *tw_job_memory_get(struct tw_job_memory *memory, size_t size);

/* A copy of `size` bytes with a zero behind them; NULL as above. */
char *tw_job_memory_copy(struct tw_job_memory *memory, const char *bytes, size_t size);

/* Text as printf would make it; NULL as above. */
char *tw_job_memory_text(struct tw_job_memory *memory, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What to say when one of these gave NULL: TW_NO_MEMORY. */
enum tw_status tw_job_memory_error(struct tw_error *error);

/* Frees everything; harmless when done twice. */
void tw_job_memory_fini(struct tw_job_memory *memory);

#endif
