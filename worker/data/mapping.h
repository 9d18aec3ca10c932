/* A file in the address space, read only: its pages come from the disk when they are touched, and
 * go again when memory is short. So a data set may be larger than memory, and a worker reads only
 * the rows that it computes.
 *
 * A file that is changed while it is mapped changes under the reader; one that is cut short kills
 * it (SIGBUS). Nobody writes to the data of a run.
 */
#ifndef TW_DATA_MAPPING_H
#define TW_DATA_MAPPING_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/status.h"

struct tw_mapping {
    void *at; /* NULL: nothing */
    size_t bytes;
};

/* TW_DATA: no such file, a folder, an empty file; TW_NO_MEMORY. */
enum tw_status tw_mapping_open(struct tw_mapping *mapping, const char *path,
                               struct tw_error *error);

/* Harmless on zeros, and twice. */
void tw_mapping_close(struct tw_mapping *mapping);

/* Rows will be read here and there: the kernel is to fetch no neighbours. */
void tw_mapping_at_random(const struct tw_mapping *mapping);

/* These bytes will be read soon: the kernel begins to fetch them, and nobody waits. They lie within
 * the mapping. */
void tw_mapping_ahead(const struct tw_mapping *mapping, const void *from, size_t bytes);

/* Whether it is more than half of the machine's memory: then it will not stay there. */
bool tw_mapping_is_large(const struct tw_mapping *mapping);

#endif
