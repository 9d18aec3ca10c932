/* Arithmetic that says when a result does not fit.
 *
 * Who uses it: whoever multiplies numbers that came from a file or a peer
 * (shapes, counts, sizes) before asking for memory or comparing with a limit.
 *
 * Each function returns true and sets *out when the exact result fits, else
 * false; then *out holds the wrapped result, which nobody should read. Never
 * traps, never saturates. `out` may be one of the operands.
 */
#ifndef TW_BASE_ARITH_H
#define TW_BASE_ARITH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool tw_size_add(size_t a, size_t b, size_t *out) {
    return !__builtin_add_overflow(a, b, out);
}

static inline bool tw_size_multiply(size_t a, size_t b, size_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool tw_i64_add(int64_t a, int64_t b, int64_t *out) {
    return !__builtin_add_overflow(a, b, out);
}

static inline bool tw_i64_multiply(int64_t a, int64_t b, int64_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool tw_u64_add(uint64_t a, uint64_t b, uint64_t *out) {
    return !__builtin_add_overflow(a, b, out);
}

static inline bool tw_u64_multiply(uint64_t a, uint64_t b, uint64_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}

#endif
