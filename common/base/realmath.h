/* exp, log and cos of our own, so that bits do not depend on the C library.
 *
 * libm promises no bits: two versions of glibc, or one on two CPUs, may differ in
 * the last place, and a run would not replay elsewhere. These use only + - * /
 * and integer operations on the bits of a number, each of which IEEE 754 fixes,
 * so (compiled with -ffp-contract=off, rounding to nearest) they give the same
 * bits on every machine.
 *
 * Who uses it: random normals, losses, layers, schedules, delay laws; nothing
 * whose bits are promised calls libm's instead. sqrt is not here: IEEE 754
 * already fixes it. They set no errno and raise no signal; NaN in, NaN out.
 */
#ifndef TW_BASE_REALMATH_H
#define TW_BASE_REALMATH_H

#include <stdint.h>
#include <string.h>

/* e^x, error below 1 ulp; exactly 1 at 0. Above 709.79 infinity, below -745.14 0,
 * gradual underflow between. */
double tw_exp(double x);

/* Natural logarithm, error below 1 ulp; exactly 0 at 1. -infinity at 0, NaN below. */
double tw_log(double x);

/* cos(pi x), error below 2^-52; exact where it is 0, 1 or -1, and the same for every period. NaN
 * for infinities. */
double tw_cos_pi(double x);

/* base^exponent for base >= 0. Whole exponents by squaring: exact where the powers are, else with
 * a relative error of about |exponent| / 2^53, that of rounding the base in the first place;
 * others by exp and log. */
double tw_power(double base, double exponent);

/* z with P(Z <= z) = p for a standard normal Z (Wichura, AS241 PPND16), relative
 * error about 1e-15. -infinity at 0, infinity at 1, NaN outside [0, 1]. */
double tw_normal_quantile(double p);

/* e^x in float, error below 1.5 ulp; exactly 1 at 0. Above 88.73 infinity, below
 * -103.98 0, gradual underflow between. Without branches, calls or tables, so that
 * a loop over it vectorises; the same bits for every instruction set. */
static inline float tw_expf(float x) {
    const float to_integer = 0x1.8p23f; /* added, it rounds to an integer in the low bits */
    const float ln2_high = 0x1.62e4p-1f, ln2_low = 0x1.7f7d1cp-20f;
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    /* x = n ln 2 + r, |r| <= ln 2 / 2; n * ln2_high is exact. */
    float shifted = x * 0x1.715476p0f + to_integer;
    float n = shifted - to_integer;
    float r = (x - n * ln2_high) - n * ln2_low;
    /* e^r = 1 + r + r^2 (1/2! + r/3! + ...). */
    float p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    float y = 1.0f + (r + r * r * p);
    /* 2^n in two factors: n = 128 and n < -126 have none of their own. */
    int32_t exponent, half;
    memcpy(&exponent, &shifted, sizeof exponent);
    exponent = (int32_t)((uint32_t)exponent - 0x4b400000u);
    half = exponent >> 1;
    uint32_t first_bits = (uint32_t)(half + 127) << 23;
    uint32_t second_bits = (uint32_t)(exponent - half + 127) << 23;
    float first, second;
    memcpy(&first, &first_bits, sizeof first);
    memcpy(&second, &second_bits, sizeof second);
    return y * first * second;
}

#endif
