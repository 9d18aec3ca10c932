#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdio.h>

#include "common/base/digest.h"
#include "common/base/realmath.h"
#include "common/base/rng.h"

/* How far `got` is from `exact`, in units of the last place of a double there. */
static double ulps(double got, long double exact) {
    double nearest = fabs((double)exact);
    double unit = nextafter(nearest, INFINITY) - nearest;
    return (double)(fabsl((long double)got - exact) / (long double)unit);
}

static double uniform(struct tw_rng *rng, double from, double to) {
    return from + tw_rng_uniform(rng) * (to - from);
}

static void start(struct tw_rng *rng) {
    tw_rng_init(rng, 1, TW_STREAM_NOISE, 0, 0);
}

/* The reference is the C library's long double, which has 11 bits more (on x86). */
static void exp_is_within_one_ulp(void **state) {
    struct tw_rng rng;
    start(&rng);
    for (int i = 0; i < 100000; i++) {
        double x = i % 2 ? uniform(&rng, -708, 709.7) : uniform(&rng, -1, 1);
        assert_true(ulps(tw_exp(x), expl(x)) < 1.0);
    }
}

static void exp_underflows_gradually(void **state) {
    struct tw_rng rng;
    start(&rng);
    for (int i = 0; i < 10000; i++) {
        double x = uniform(&rng, -745.1, -708);
        assert_true(ulps(tw_exp(x), expl(x)) < 1.0);
    }
    assert_true(tw_exp(-745.13) == DBL_TRUE_MIN);
    assert_true(tw_exp(-745.14) == 0.0);
}

static void exp_at_the_edges(void **state) {
    assert_true(tw_exp(0.0) == 1.0);
    assert_true(tw_exp(-0.0) == 1.0);
    assert_true(tw_exp(DBL_TRUE_MIN) == 1.0);
    assert_true(isfinite(tw_exp(709.78)));
    assert_true(tw_exp(709.79) == INFINITY);
    assert_true(tw_exp(1e300) == INFINITY);
    assert_true(tw_exp(INFINITY) == INFINITY);
    assert_true(tw_exp(-1e300) == 0.0);
    assert_true(tw_exp(-INFINITY) == 0.0);
    assert_true(isnan(tw_exp(NAN)));
}

static void log_is_within_one_ulp(void **state) {
    struct tw_rng rng;
    start(&rng);
    for (int i = 0; i < 100000; i++) {
        double x = i % 3 == 0   ? tw_exp(uniform(&rng, -744, 709))
                   : i % 3 == 1 ? uniform(&rng, 0.5, 2)
                                : uniform(&rng, 0.999, 1.001);
        if (x != 1.0)
            assert_true(ulps(tw_log(x), logl(x)) < 1.0);
    }
}

static void log_at_the_edges(void **state) {
    assert_true(tw_log(1.0) == 0.0);
    assert_true(tw_log(0.0) == -INFINITY);
    assert_true(tw_log(-0.0) == -INFINITY);
    assert_true(isnan(tw_log(-1.0)));
    assert_true(isnan(tw_log(-INFINITY)));
    assert_true(isnan(tw_log(NAN)));
    assert_true(tw_log(INFINITY) == INFINITY);
    assert_true(ulps(tw_log(DBL_MAX), logl(DBL_MAX)) < 1.0);
    assert_true(ulps(tw_log(DBL_MIN), logl(DBL_MIN)) < 1.0);
    assert_true(ulps(tw_log(DBL_TRUE_MIN), logl(DBL_TRUE_MIN)) < 1.0);
}

static void expf_is_within_one_and_a_half_ulp(void **state) {
    float unit, nearest;
    for (float x = -87.3f; x < 88.72f; x = nextafterf(x + 3e-4f, INFINITY)) {
        double exact = exp(x);
        nearest = (float)exact;
        unit = nextafterf(nearest, INFINITY) - nearest;
        assert_true(fabs(tw_expf(x) - exact) < 1.5 * unit);
    }
    for (float x = -104.0f; x < -87.3f; x += 1e-3f)
        assert_true(fabs(tw_expf(x) - exp(x)) < 1.5 * FLT_TRUE_MIN);
}

static void expf_at_the_edges(void **state) {
    assert_true(tw_expf(0.0f) == 1.0f);
    assert_true(tw_expf(-0.0f) == 1.0f);
    assert_true(isfinite(tw_expf(88.72f)));
    assert_true(tw_expf(88.73f) == INFINITY);
    assert_true(tw_expf(FLT_MAX) == INFINITY);
    assert_true(tw_expf(INFINITY) == INFINITY);
    assert_true(tw_expf(-103.9f) == FLT_TRUE_MIN);
    assert_true(tw_expf(-103.98f) == 0.0f);
    assert_true(tw_expf(-FLT_MAX) == 0.0f);
    assert_true(tw_expf(-INFINITY) == 0.0f);
    assert_true(isnan(tw_expf(NAN)));
}

/* The compiler may vectorise the one and not the other. */
static void expf_has_the_same_bits_in_a_loop_and_alone(void **state) {
    enum { N = 1003 };
    static float in[N], out[N];
    struct tw_rng rng;
    start(&rng);
    for (int i = 0; i < N; i++)
        in[i] = (float)uniform(&rng, -110, 95);
    for (int i = 0; i < N; i++)
        out[i] = tw_expf(in[i]);
    for (int i = 0; i < N; i++) {
        volatile float alone = in[i];
        assert_true(tw_expf(alone) == out[i]);
    }
}

/* P(Z <= z) by the C library's complementary error function. */
static void the_normal_quantile_inverts_the_distribution(void **state) {
    static const double p[] = {1e-300, 1e-100, 1.3e-11, 1.4e-11, 1e-5, 0.01,  0.0749999, 0.0750001,
                               0.2,    0.4,    0.49999, 0.6,     0.9,  0.925, 0.9250001, 0.999};
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) {
        long double z = tw_normal_quantile(p[i]);
        long double density = expl(-z * z / 2) / 2.5066282746310005024L;
        long double away = (erfcl(-z / 1.4142135623730950488L) / 2 - (long double)p[i]) / density;
        assert_true(fabsl(away / z) < 2e-15L);
    }
}

static void the_normal_quantile_at_the_edges(void **state) {
    assert_true(tw_normal_quantile(0.5) == 0.0);
    assert_true(tw_normal_quantile(0.25) == -tw_normal_quantile(0.75));
    assert_true(tw_normal_quantile(0x1p-53) == -tw_normal_quantile(1 - 0x1p-53));
    assert_true(tw_normal_quantile(0x1p-53) > -8.3);
    assert_true(tw_normal_quantile(0.0) == -INFINITY);
    assert_true(tw_normal_quantile(1.0) == INFINITY);
    assert_true(isnan(tw_normal_quantile(-0.1)));
    assert_true(isnan(tw_normal_quantile(1.1)));
    assert_true(isnan(tw_normal_quantile(NAN)));
}

/* The bits themselves: this hash must never change, whatever compiler, optimisation
 * or machine. Where it does, runs recorded before no longer replay. */
static void the_bits_are_what_they_always_were(void **state) {
    struct tw_sha256 sha;
    struct tw_rng rng;
    uint8_t digest[TW_SHA256_BYTES];
    char hex[TW_SHA256_HEX];
    start(&rng);
    tw_sha256_init(&sha);
    for (int i = 0; i < 20000; i++) {
        double exponential = tw_exp(uniform(&rng, -746, 710));
        double logarithm = tw_log(exponential + tw_rng_uniform(&rng));
        double normal = tw_rng_normal(&rng);
        float exponential_f = tw_expf((float)uniform(&rng, -105, 90));
        tw_sha256_update(&sha, &exponential, sizeof exponential);
        tw_sha256_update(&sha, &logarithm, sizeof logarithm);
        tw_sha256_update(&sha, &normal, sizeof normal);
        tw_sha256_update(&sha, &exponential_f, sizeof exponential_f);
    }
    tw_sha256_final(&sha, digest);
    tw_hex(digest, sizeof digest, hex);
    assert_string_equal(hex, "9d0b6fb1b92004c2afa32ee872248b51171f505b2e9d9970850d117e5c86d23d");
}

/* Against long double: pi x is rounded to 64 bits there, so x is kept small. */
static void cos_pi_is_within_its_error_and_exact_at_the_quarters(void **state) {
    struct tw_rng rng;
    start(&rng);
    for (int i = 0; i < 100000; i++) {
        double x = i % 2 ? uniform(&rng, -1, 1) : uniform(&rng, -20, 20);
        long double exact = cosl(3.14159265358979323846264338327950288L * (long double)x);
        assert_true(fabsl((long double)tw_cos_pi(x) - exact) < 0x1p-52L);
    }
    for (int i = -9; i <= 9; i++) {
        assert_true(tw_cos_pi(2 * i) == 1 && tw_cos_pi(2 * i + 1) == -1);
        assert_true(tw_cos_pi(i + 0.5) == 0);
    }
    assert_true(tw_cos_pi(0.125) == tw_cos_pi(4294967296.125));
    assert_true(tw_cos_pi(0x1p53) == 1 && tw_cos_pi(1e300) == 1);
    assert_true(isnan(tw_cos_pi(INFINITY)) && isnan(tw_cos_pi(NAN)));
}

static void powers_are_exact_where_they_can_be(void **state) {
    struct tw_rng rng;
    start(&rng);
    assert_true(tw_power(3, 20) == 3486784401.0 && tw_power(2, -3) == 0.125);
    assert_true(tw_power(0.3, 0) == 1 && tw_power(0, 0) == 1);
    assert_true(tw_power(0, 2) == 0 && tw_power(0, 0.5) == 0 && tw_power(1, 0.3) == 1);
    for (int i = 0; i < 10000; i++) {
        double base = uniform(&rng, 0, 2), exponent = uniform(&rng, -8, 8);
        if (i % 2)
            exponent = floor(100 * exponent);
        long double exact = powl((long double)base, (long double)exponent);
        assert_true(fabsl((long double)tw_power(base, exponent) / exact - 1) < 1e-12L ||
                    exact > (long double)DBL_MAX || exact < (long double)DBL_MIN);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_within_one_ulp),
        cmocka_unit_test(exp_underflows_gradually),
        cmocka_unit_test(exp_at_the_edges),
        cmocka_unit_test(log_is_within_one_ulp),
        cmocka_unit_test(log_at_the_edges),
        cmocka_unit_test(expf_is_within_one_and_a_half_ulp),
        cmocka_unit_test(expf_at_the_edges),
        cmocka_unit_test(expf_has_the_same_bits_in_a_loop_and_alone),
        cmocka_unit_test(the_normal_quantile_inverts_the_distribution),
        cmocka_unit_test(the_normal_quantile_at_the_edges),
        cmocka_unit_test(cos_pi_is_within_its_error_and_exact_at_the_quarters),
        cmocka_unit_test(powers_are_exact_where_they_can_be),
        cmocka_unit_test(the_bits_are_what_they_always_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
