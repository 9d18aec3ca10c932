#include "common/base/realmath.h"

#include <math.h>

/* ln 2 = LN2_HIGH + LN2_LOW; the low 25 bits of LN2_HIGH are zero, so that its
 * product with an exponent (11 bits) is exact. */
#define LN2_HIGH 0x1.62e42fep-1
#define LN2_LOW 0x1.f473de6af278fp-30
#define LOG2_E 0x1.71547652b82fep0

static uint64_t bits_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static double from_bits(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* 2^n for a normal result, -1022 <= n <= 1023. */
static double power_of_two(int n) {
    return from_bits((uint64_t)(n + 1023) << 52);
}

/* c[0] + c[1] x + ... + c[degree] x^degree, by Horner's rule. */
static double polynomial(const double *c, int degree, double x) {
    double y = c[degree];
    while (degree-- > 0)
        y = y * x + c[degree];
    return y;
}

double tw_exp(double x) {
    /* 1/2!, 1/3!, ...: the rest of the series is below 2^-57 for |r| <= ln 2 / 2. */
    static const double c[] = {
        1.0 / 2,       1.0 / 6,          1.0 / 24,          1.0 / 120,
        1.0 / 720,     1.0 / 5040,       1.0 / 40320,       1.0 / 362880,
        1.0 / 3628800, 1.0 / 39916800.0, 1.0 / 479001600.0, 1.0 / 6227020800.0,
    };
    if (isnan(x))
        return x;
    if (x > 710.0)
        return INFINITY;
    if (x < -746.0)
        return 0.0;
    /* Adding 1.5 * 2^52 rounds to an integer. x = n ln 2 + (high - low). */
    double n = (x * LOG2_E + 0x1.8p52) - 0x1.8p52;
    double high = x - n * LN2_HIGH; /* exact */
    double low = n * LN2_LOW;
    double r = high - low;
    double rest = r * r * polynomial(c, 11, r);
    double y = 1.0 + (high + (rest - low));
    /* In two steps: 2^1024 does not exist, and an underflow must round once. */
    int exponent = (int)n, half = exponent / 2;
    return y * power_of_two(half) * power_of_two(exponent - half);
}

double tw_log(double x) {
    /* log(1 + f) = 2 artanh(s), s = f / (2 + f) = 2 s + 2 s^3/3 + 2 s^5/5 + ...;
     * these are the terms from s^3 on, divided by s^3. For |s| < 0.172 the rest is
     * below 2^-60 of the sum. */
    static const double c[] = {
        2.0 / 3,  2.0 / 5,  2.0 / 7,  2.0 / 9,  2.0 / 11,
        2.0 / 13, 2.0 / 15, 2.0 / 17, 2.0 / 19, 2.0 / 21,
    };
    if (isnan(x) || x == INFINITY)
        return x;
    if (x <= 0.0)
        return x == 0.0 ? -INFINITY : NAN;
    int exponent = 0;
    if (x < 0x1p-1022) { /* subnormal */
        x *= 0x1p54;
        exponent = -54;
    }
    /* x = 2^exponent * m with sqrt(1/2) <= m < sqrt(2): the sum moves the border
     * between two exponents from 1 to sqrt(2). */
    uint64_t bits = bits_of(x) + (bits_of(1.0) - bits_of(0x1.6a09e667f3bcdp-1));
    exponent += (int)(bits >> 52) - 1023;
    double m = from_bits((bits & 0xfffffffffffffu) + bits_of(0x1.6a09e667f3bcdp-1));

    /* 2 s = f - s f, and s f = f^2/2 - s f^2/2, so that only small terms round. */
    double f = m - 1.0;
    double s = f / (2.0 + f);
    double square = s * s;
    double rest = square * polynomial(c, 9, square);
    double half_f2 = 0.5 * f * f;
    double n = exponent;
    double small = s * (half_f2 + rest) + n * LN2_LOW;
    return n * LN2_HIGH - ((half_f2 - small) - f);
}

double tw_cos_pi(double x) {
    /* cos t = 1 - t^2/2 + t^4/24 - ..., sin t = t - t^3/6 + ...; for |t| <= pi / 4 the rest is
     * below 2^-57. */
    static const double cosine[] = {
        1.0,
        -1.0 / 2,
        1.0 / 24,
        -1.0 / 720,
        1.0 / 40320,
        -1.0 / 3628800,
        1.0 / 479001600.0,
        -1.0 / 87178291200.0,
        1.0 / 20922789888000.0,
    };
    static const double sine[] = {
        1.0,
        -1.0 / 6,
        1.0 / 120,
        -1.0 / 5040,
        1.0 / 362880,
        -1.0 / 39916800.0,
        1.0 / 6227020800.0,
        -1.0 / 1307674368000.0,
        1.0 / 355687428096000.0,
    };
    const double pi = 0x1.921fb54442d18p1;
    x = fabs(x);
    if (!(x < INFINITY))
        return NAN;
    if (x >= 0x1p53) /* an even integer */
        return 1;
    uint64_t whole = (uint64_t)x;
    double r = x - (double)whole; /* this and all differences below are exact */
    double sign = whole % 2 ? -1 : 1;
    if (r > 0.5) {
        sign = -sign;
        r = 1 - r;
    }
    double t = pi * (r <= 0.25 ? r : 0.5 - r);
    return r <= 0.25 ? sign * polynomial(cosine, 8, t * t) : sign * t * polynomial(sine, 8, t * t);
}

double tw_power(double base, double exponent) {
    if (!(fabs(exponent) < 0x1p53) || exponent != (double)(int64_t)exponent)
        return tw_exp(exponent * tw_log(base));
    uint64_t left = (uint64_t)fabs(exponent);
    double result = 1;
    for (double square = base; left > 0; left >>= 1, square *= square)
        if (left & 1)
            result *= square;
    return exponent < 0 ? 1 / result : result;
}

/* Ratio of two polynomials of degree 7, as AS241 has three of them. */
static double ratio(const double above[8], const double below[8], double x) {
    return polynomial(above, 7, x) / polynomial(below, 7, x);
}

/* For 0 < tail <= 0.075: minus the quantile of `tail`. */
static double tail_quantile(double tail) {
    static const double middle_above[8] = {
        1.42343711074968357734e0,  4.63033784615654529590e0,  5.76949722146069140550e0,
        3.64784832476320460504e0,  1.27045825245236838258e0,  2.41780725177450611770e-1,
        2.27238449892691845833e-2, 7.74545014278341407640e-4,
    };
    static const double middle_below[8] = {
        1.0,
        2.05319162663775882187e0,
        1.67638483018380384940e0,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    };
    static const double far_above[8] = {
        6.65790464350110377720e0,  5.46378491116411436990e0,  1.78482653991729133580e0,
        2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
        2.71155556874348757815e-5, 2.01033439929228813265e-7,
    };
    static const double far_below[8] = {
        1.0,
        5.99832206555887937690e-1,
        1.36929880922735805310e-1,
        1.48753612908506148525e-2,
        7.86869131145613259100e-4,
        1.84631831751005468180e-5,
        1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    };
    double r = __builtin_sqrt(-tw_log(tail));
    return r <= 5.0 ? ratio(middle_above, middle_below, r - 1.6)
                    : ratio(far_above, far_below, r - 5.0);
}

double tw_normal_quantile(double p) {
    static const double central_above[8] = {
        3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
        1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
        3.3430575583588128105e4, 2.5090809287301226727e3,
    };
    static const double central_below[8] = {
        1.0,
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    };
    if (!(p >= 0.0 && p <= 1.0))
        return NAN;
    if (p == 0.0 || p == 1.0)
        return p == 0.0 ? -INFINITY : INFINITY;
    double q = p - 0.5;
    if (q >= -0.425 && q <= 0.425)
        return q * ratio(central_above, central_below, 0.180625 - q * q);
    return q < 0.0 ? -tail_quantile(p) : tail_quantile(1.0 - p);
}
