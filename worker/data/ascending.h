/* Sorting sample and element numbers: the order of qsort() for uint32_t that go up. */
#ifndef TW_DATA_ASCENDING_H
#define TW_DATA_ASCENDING_H

#include <stdint.h>

static inline int tw_ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

#endif
