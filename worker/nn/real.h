/* The type of the numbers in a net, and the functions on it that layers use.
 *
 * In Talweg it is float. The tests compile this room a second time with TW_NN_DOUBLE,
 * and compare the very same sources with finite differences and with torch in double
 * precision, where a wrong formula cannot hide behind rounding.
 *
 * Who uses it: layers, losses, nets. The functions use + - * / only, so that loops over
 * them vectorise and give the same bits for every instruction set; NaN in, NaN out.
 */
#ifndef TW_NN_REAL_H
#define TW_NN_REAL_H

#include "common/base/realmath.h"
#include "common/tensor/batch.h" /* tw_real */

static inline tw_real tw_real_exp(tw_real x) {
#ifdef TW_NN_DOUBLE
    return tw_exp(x);
#else
    return tw_expf(x);
#endif
}

/* 1 / (1 + e^-x), within 3 units in the last place; 0 and 1 at the far ends. */
static inline tw_real tw_real_sigmoid(tw_real x) {
    return 1 / (1 + tw_real_exp(-x));
}

#define TW_OVER(n) ((tw_real)(1.0 / (n)))

/* Within 4 units in the last place; exactly odd. Near 0, where the exponentials cancel, by
 * the series of sinh and cosh. */
static inline tw_real tw_real_tanh(tw_real x) {
    const tw_real size = x < 0 ? -x : x, z = x * x;
    tw_real sinh = 1 + z * TW_OVER(72) * (1 + z * TW_OVER(110) * (1 + z * TW_OVER(156)));
    sinh = 1 + z * TW_OVER(6) * (1 + z * TW_OVER(20) * (1 + z * TW_OVER(42) * sinh));
    tw_real cosh = 1 + z * TW_OVER(56) *
                           (1 + z * TW_OVER(90) * (1 + z * TW_OVER(132) * (1 + z * TW_OVER(182))));
    cosh = 1 + z * TW_OVER(2) * (1 + z * TW_OVER(12) * (1 + z * TW_OVER(30) * cosh));
    const tw_real far = 1 - 2 / (tw_real_exp(2 * size) + 1);
    return size < (tw_real)0.5 ? x * sinh / cosh : x < 0 ? -far : far;
}

#endif
