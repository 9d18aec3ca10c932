/* How an update rule becomes two kernels: one body, for float and for double.
 *
 * Included by the files of the rules (optimizer_adam.c, ...) and optimizer.c only.
 * A rule writes its loop once, in terms of `real`:
 *
 *     TW_KERNEL(sgd, {
 *         const real rate = (real)scalars[RATE];
 *         EACH_ELEMENT { w_out[i] = w_in[i] - rate * g[i]; }
 *     })
 *
 * which makes sgd_float() and sgd_double() for its table. In the body stand
 *     real, root()   the type, and its exactly rounded square root
 *     g, w_in, w_out gradient, weights before and after; the last two may be the
 *                    same array
 *     s0, s1, s2, s3 the rule's states, updated in place; NULL where it has none
 *     scalars        what prepare() made for this update
 *     ratio          of this tensor, of layer-wise rules, in double
 *     EACH_ELEMENT   for i = 0 ... count - 1, in any order
 *
 * What keeps the bits the same for every split and instruction set: an element
 * depends on nothing but its own values and the scalars; only + - * / and root(),
 * which IEEE 754 rounds exactly, may be used; nothing is contracted
 * (-ffp-contract=off). What does not depend on the element belongs into prepare(),
 * where it is computed once, in double.
 */
#ifndef TW_CORE_OPTIMIZER_KERNELS_H
#define TW_CORE_OPTIMIZER_KERNELS_H

#include <math.h>
#include <string.h>

#include "common/tensor/clones.h"
#include "server/core/optimizer.h"

#define root(x) _Generic((x), float : sqrtf(x), double : sqrt(x))

#define EACH_ELEMENT TW_INDEPENDENT for (size_t i = 0; i < count; i++)

/* Elements that a body sees in one go, and how far ahead of them the next are asked for. A rule
 * that computes more than a few instructions for a weight fills the CPU's window with them: too few
 * loads are under way to keep the memory busy, and what the CPU fetches by itself does not make up
 * for it. A hint changes no bits. */
enum { TW_KERNEL_BLOCK = 64, TW_KERNEL_AHEAD = 4 * TW_KERNEL_BLOCK, TW_CACHE_LINE = 64 };

/* Inlined early, or gcc takes it for a function without effect and drops the calls. */
static inline __attribute__((always_inline)) void tw_kernel_fetch(const void *array, size_t from,
                                                                  size_t bytes) {
    if (array)
        for (size_t byte = 0; byte < bytes; byte += TW_CACHE_LINE)
            __builtin_prefetch((const char *)array + from + byte);
}

/* A body has commas of its own, hence the dots. */
#define TW_KERNEL(name, ...)                                                                       \
    TW_KERNEL_OF(name##_float, float, struct tw_optimizer_float, __VA_ARGS__)                      \
    TW_KERNEL_OF(name##_double, double, struct tw_optimizer_double, __VA_ARGS__)

#define TW_KERNEL_OF(function, type, work_type, ...)                                               \
    static inline __attribute__((always_inline)) void function##_block(                            \
        const struct tw_optimizer_options *options, const work_type *work, size_t from,            \
        size_t count) {                                                                            \
        typedef type real;                                                                         \
        const double *const scalars = work->scalars;                                               \
        const double ratio = work->ratio;                                                          \
        const real *const g = work->gradient + from;                                               \
        const real *const w_in = work->weights_in + from;                                          \
        real *const w_out = work->weights_out + from;                                              \
        real *const s0 = work->state[0] ? work->state[0] + from : NULL;                            \
        real *const s1 = work->state[1] ? work->state[1] + from : NULL;                            \
        real *const s2 = work->state[2] ? work->state[2] + from : NULL;                            \
        real *const s3 = work->state[3] ? work->state[3] + from : NULL;                            \
        (void)options, (void)ratio, (void)s0, (void)s1, (void)s2, (void)s3;                        \
        __VA_ARGS__                                                                                \
    }                                                                                              \
    TW_CLONES static void function(const struct tw_optimizer_options *options,                     \
                                   const work_type *work) {                                        \
        const size_t bytes = TW_KERNEL_BLOCK * sizeof(type);                                       \
        for (size_t from = 0; from < work->count; from += TW_KERNEL_BLOCK) {                       \
            size_t left = work->count - from;                                                      \
            if (left >= TW_KERNEL_AHEAD + TW_KERNEL_BLOCK) {                                       \
                size_t ahead = (from + TW_KERNEL_AHEAD) * sizeof(type);                            \
                tw_kernel_fetch(work->gradient, ahead, bytes);                                     \
                tw_kernel_fetch(work->weights_in, ahead, bytes);                                   \
                for (int s = 0; s < TW_OPTIMIZER_STATES; s++)                                      \
                    tw_kernel_fetch(work->state[s], ahead, bytes);                                 \
            }                                                                                      \
            function##_block(options, work, from,                                                  \
                             left < TW_KERNEL_BLOCK ? left : TW_KERNEL_BLOCK);                     \
        }                                                                                          \
    }

/* What rules say in their tables of options: a member of the options' struct, and
 * the common ranges of real numbers. */
#define TW_MEMBER(member) .key = #member, .offset = offsetof(struct tw_optimizer_options, member)
#define TW_POSITIVE                                                                                \
    .type = TW_OPTION_REAL, .min = 0, .min_open = true, .max = INFINITY, .max_open = true
#define TW_NOT_NEGATIVE .type = TW_OPTION_REAL, .min = 0, .max = INFINITY, .max_open = true
#define TW_DECAY .type = TW_OPTION_REAL, .min = 0, .max = 1, .max_open = true
#define TW_COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* Writes all scalars of an update, those that a rule does not use as 0: they travel
 * as bits. TW_SET_SCALARS(out, [RATE] = lr, ...) */
#define TW_SET_SCALARS(out, ...)                                                                   \
    memcpy(out, (const double[TW_OPTIMIZER_SCALARS]){__VA_ARGS__},                                 \
           TW_OPTIMIZER_SCALARS * sizeof(double))

/* base^t by squaring: unlike pow() the same bits with every C library. Its relative
 * error, about t / 2^53, is that of rounding the base in the first place. */
double tw_integer_power(double base, uint64_t t);

/* trust * weights / step, of norms; 1 where one of them is 0: weights that start at 0 could never
 * leave it, and a step of 0 is one anyhow. At most 2^100, so that no product with a step of that
 * size is infinite. */
double tw_trust_ratio(double trust, double weights, double step);

#endif
