/* One array in NumPy's format (NEP 1; versions 1 to 3 of the header): what the header says,
 * checked, and its elements as floats. Pure: bytes in, bytes out.
 *
 * Elements may be booleans, whole numbers of 1 to 8 bytes, or floats of 4 and 8, in either byte
 * order and in C or Fortran order. Anything else (half and long floats, complex numbers, text,
 * objects, records, dates) is refused by its name.
 */
#ifndef TW_DATA_NPY_H
#define TW_DATA_NPY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "common/base/status.h"

struct tw_npy {
    char kind;    /* 'b', 'i', 'u', 'f', as NumPy calls them */
    int size;     /* bytes of an element */
    bool swapped; /* its bytes, highest first */
    bool fortran; /* the first index runs fastest */
    int dims;     /* 1 to TW_DIMS_MAX */
    int64_t shape[TW_DIMS_MAX];
    int64_t elements;
    const uint8_t *bytes; /* [elements * size], within those of the file */
};

/* `name` is that of the file, for messages. TW_DATA: no NPY file, a header that cannot be, a type
 * that is not taken, or more or fewer bytes than the shape needs. */
enum tw_status tw_npy_parse(struct tw_npy *out, const char *name, const void *bytes, size_t size,
                            struct tw_error *error);

/* Whether its bytes are, as they stand, rows of floats or of unsigned bytes. */
bool tw_npy_is_plain(const struct tw_npy *npy, char kind, int size);

/* All elements, in C order, rounded to float. */
void tw_npy_floats(const struct tw_npy *npy, float *out);

/* Likewise as whole numbers, of an array of such. False: one is not from 0 to INT32_MAX; *at
 * is its number. */
bool tw_npy_labels(const struct tw_npy *npy, int32_t *out, int64_t *at);

#endif
