#include "worker/nn/lanes.h"

#include "common/tensor/clones.h"

/* The same at any place in memory. */
typedef tw_real loose_lanes
    __attribute__((vector_size(TW_LANES * sizeof(tw_real)), aligned(sizeof(tw_real))));

/* 16 x 16 numbers change rows for columns in four steps: in step d those blocks of d x d that
 * stand across from each other change places. */
#define FROM_LOW(k, d) ((k) & (d) ? TW_LANES + (k) - (d) : (k))
#define FROM_HIGH(k, d) ((k) & (d) ? TW_LANES + (k) : (k) + (d))
#define EACH(from, d)                                                                              \
    from(0, d), from(1, d), from(2, d), from(3, d), from(4, d), from(5, d), from(6, d),            \
        from(7, d), from(8, d), from(9, d), from(10, d), from(11, d), from(12, d), from(13, d),    \
        from(14, d), from(15, d)
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#define SWAP_BLOCKS(name, d)                                                                       \
    INLINE void name(tw_lanes *rows) {                                                             \
        UNROLL                                                                                     \
        for (int i = 0; i < TW_LANES; i++) {                                                       \
            if (i & (d))                                                                           \
                continue;                                                                          \
            const tw_lanes a = rows[i], b = rows[i + (d)];                                         \
            rows[i] = __builtin_shufflevector(a, b, EACH(FROM_LOW, d));                            \
            rows[i + (d)] = __builtin_shufflevector(a, b, EACH(FROM_HIGH, d));                     \
        }                                                                                          \
    }
SWAP_BLOCKS(swap_1, 1)
SWAP_BLOCKS(swap_2, 2)
SWAP_BLOCKS(swap_4, 4)
SWAP_BLOCKS(swap_8, 8)

INLINE void transpose(tw_lanes *rows) {
    swap_1(rows);
    swap_2(rows);
    swap_4(rows);
    swap_8(rows);
}

/* Where the block after the one at `i` begins: the last may overlap the one before. */
static inline size_t next_block(size_t i, size_t count) {
    return i + 2 * TW_LANES <= count || i + TW_LANES == count ? i + TW_LANES : count - TW_LANES;
}

TW_CLONES static void pack_blocks(const tw_real *from, size_t distance, size_t count,
                                  tw_lanes *to) {
    for (size_t i = 0; i < count; i = next_block(i, count)) {
        tw_lanes rows[TW_LANES];
        UNROLL
        for (size_t s = 0; s < TW_LANES; s++)
            rows[s] = *(const loose_lanes *)(const void *)(from + s * distance + i);
        transpose(rows);
        UNROLL
        for (size_t s = 0; s < TW_LANES; s++)
            to[i + s] = rows[s];
    }
}

TW_CLONES static void unpack_blocks(const tw_lanes *from, tw_real *to, size_t distance,
                                    size_t count) {
    for (size_t i = 0; i < count; i = next_block(i, count)) {
        tw_lanes rows[TW_LANES];
        UNROLL
        for (size_t s = 0; s < TW_LANES; s++)
            rows[s] = from[i + s];
        transpose(rows);
        UNROLL
        for (size_t s = 0; s < TW_LANES; s++)
            *(loose_lanes *)(void *)(to + s * distance + i) = rows[s];
    }
}

void tw_lanes_pack(const tw_real *from, size_t distance, int samples, size_t count, tw_lanes *to) {
    if (samples == TW_LANES && count >= TW_LANES) {
        pack_blocks(from, distance, count, to);
        return;
    }
    for (size_t i = 0; i < count; i++)
        for (int s = 0; s < TW_LANES; s++)
            to[i][s] = s < samples ? from[(size_t)s * distance + i] : 0;
}

void tw_lanes_unpack(const tw_lanes *from, tw_real *to, size_t distance, int samples,
                     size_t count) {
    if (samples == TW_LANES && count >= TW_LANES) {
        unpack_blocks(from, to, distance, count);
        return;
    }
    for (size_t i = 0; i < count; i++)
        for (int s = 0; s < samples; s++)
            to[(size_t)s * distance + i] = from[i][s];
}
