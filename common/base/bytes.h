/* Numbers as bytes, the least significant first, on any machine.
 *
 * Used where numbers are hashed, or travel inside a field of bytes. */
#ifndef TW_BASE_BYTES_H
#define TW_BASE_BYTES_H

#include <stdint.h>

static inline void tw_put_u64(uint8_t at[8], uint64_t number) {
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(number >> (8 * i));
}

static inline uint64_t tw_get_u64(const uint8_t at[8]) {
    uint64_t number = 0;
    for (int i = 0; i < 8; i++)
        number |= (uint64_t)at[i] << (8 * i);
    return number;
}

#endif
