/* Eigenvalues, Hessians, and theory beside what is measured. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "common/base/rng.h"
#include "lab/theory.h"
#include "tests/lib/variant_text.h"

static struct tw_objective_options surface;
static const struct tw_objective *objective;
static struct tw_theory theory;

static void compare(const char *line) {
    struct tw_error error;
    if (tw_objective_find(&objective, &surface, tw_test_variant(line), &error))
        fail_msg("%s: %s", line, error.text);
    tw_theory_compare(&theory, objective, &surface);
}

static const struct tw_theory_row *row(const char *key) {
    for (int i = 0; i < theory.rows; i++)
        if (strcmp(theory.row[i].key, key) == 0)
            return &theory.row[i];
    fail_msg("there is no row %s", key);
    return NULL;
}

static void assert_near(double got, double exact, double relative) {
    if (!(fabs(got - exact) <= relative * fabs(exact)))
        fail_msg("%.17g where %.17g would be right", got, exact);
}

static void assert_row(const char *key, double exact, double predicted, double measured) {
    assert_near(row(key)->predicted, exact, predicted);
    assert_near(row(key)->measured, exact, measured);
}

static void eigenvectors_are_stretched_by_their_eigenvalues(void **state) {
    static double matrix[TW_OBJECTIVE_MAX][TW_OBJECTIVE_MAX];
    static double copy[TW_OBJECTIVE_MAX][TW_OBJECTIVE_MAX];
    static struct tw_spectrum spectrum;
    struct tw_rng rng;
    tw_rng_init(&rng, 1, TW_STREAM_INIT, 0, 0);
    for (int n = 1; n <= TW_OBJECTIVE_MAX; n = 2 * n + 1 < 64 ? 2 * n + 1 : n < 64 ? 64 : 65) {
        double trace = 0, sum = 0;
        for (int i = 0; i < n; i++)
            for (int k = 0; k <= i; k++)
                matrix[i][k] = matrix[k][i] = 2 * tw_rng_uniform(&rng) - 1;
        for (int i = 0; i < n; i++)
            trace += matrix[i][i];
        memcpy(copy, matrix, sizeof copy);
        spectrum.n = n;
        tw_spectrum_of(&spectrum, matrix);
        for (int k = 0; k < n; k++) {
            sum += spectrum.value[k];
            assert_true(k == 0 || spectrum.value[k] >= spectrum.value[k - 1]);
            for (int i = 0; i < n; i++) {
                double stretched = 0;
                for (int j = 0; j < n; j++)
                    stretched += copy[i][j] * spectrum.vector[k][j];
                assert_true(fabs(stretched - spectrum.value[k] * spectrum.vector[k][i]) < 1e-12);
            }
        }
        assert_true(fabs(trace - sum) < 1e-12);
    }
}

static void hessians_have_the_spectra_of_textbooks(void **state) {
    compare("rosenbrock"); /* {802, -400; -400, 200} */
    assert_near(theory.spectrum.value[0], 501 - sqrt(501. * 501 - 400), 1e-9);
    assert_near(theory.spectrum.value[1], 501 + sqrt(501. * 501 - 400), 1e-12);
    compare("plateau");
    assert_near(theory.spectrum.value[0], 2, 1e-9);
    compare("quadratic spectrum=[5,2,9,1] rotation=[17,-40,111]");
    for (int k = 0; k < 4; k++)
        assert_near(theory.spectrum.value[k], (double[]){1, 2, 5, 9}[k], 1e-13);
    /* At the foot of the wall: the bowl's .1 and that of the wall, e^(x / w) / w^2, by
     * x / 10 = -e^(x / w) / w. */
    compare("cliff");
    assert_near(theory.spectrum.value[0], .1, 1e-9);
    assert_near(theory.spectrum.value[1], .1 - theory.at[0] / 10 / 1e-3, 1e-5);
    assert_true(theory.spectrum.error < 1e-9);
}

static void a_ravine_is_as_the_lecture_says(void **state) {
    compare("ravine");
    assert_int_equal(theory.kind, TW_THEORY_MINIMUM);
    assert_near(theory.condition, 50, 1e-13);
    assert_row("gd_limit", .02, 1e-13, 1e-12);
    assert_row("gd_lr", 2. / 102, 1e-13, 1e-9);
    assert_row("gd_rate", 49. / 51, 1e-13, 1e-12);
    assert_row("gd_steps", 346, 0, 0);
    assert_row("hb_lr", .030702094441, 1e-10, 1e-9);
    assert_row("hb_momentum", .565806816485, 1e-10, 1e-9);
    assert_row("hb_rate", .752201, 1e-6, 1e-6);
    assert_row("hb_steps", 64, 0, 0);
}

static void the_other_convention_halves_the_rates(void **state) {
    compare("quadratic spectrum=[10,1] convention=2Hx");
    assert_row("gd_limit", .1, 1e-13, 1e-12);
    compare("quadratic spectrum=[10,1]");
    assert_row("gd_limit", .2, 1e-13, 1e-12);
}

static void any_rotation_and_dimension(void **state) {
    compare("quadratic spectrum=[5,2,9,1] rotation=[10,20,30]");
    assert_row("gd_rate", .8, 1e-12, 1e-12);
    assert_row("hb_rate", .5, 1e-12, 1e-6);
    assert_row("hb_lr", .25, 1e-12, 1e-8);
}

static void one_step_when_all_directions_are_alike(void **state) {
    compare("quadratic spectrum=[3,3]");
    assert_near(theory.condition, 1, 1e-14);
    assert_true(row("gd_rate")->predicted == 0 && row("gd_rate")->measured < 1e-15);
    assert_true(row("gd_steps")->predicted == 1 && row("gd_steps")->measured == 1);
}

static void curved_valleys_behave_like_their_hessians(void **state) {
    static const char *const lines[] = {"rosenbrock", "beale", "cliff", "cliff width=1e-6"};
    for (int i = 0; i < 4; i++) {
        compare(lines[i]);
        assert_int_equal(theory.kind, TW_THEORY_MINIMUM);
        assert_int_equal(theory.rows, TW_THEORY_ROWS);
        for (int r = 0; r < theory.rows; r++)
            assert_near(theory.row[r].measured, theory.row[r].predicted, 3e-3);
    }
}

static void noise_is_left_out(void **state) {
    compare("ravine noise=3");
    assert_row("gd_rate", 49. / 51, 1e-13, 1e-12);
}

static void what_has_no_minimum_is_named(void **state) {
    compare("saddle");
    assert_int_equal(theory.kind, TW_THEORY_SADDLE);
    assert_true(isnan(theory.condition));
    assert_row("gd_limit", 1, 1e-13, 1e-12);
    assert_row("escape", 2, 1e-13, 1e-12);
    compare("quadratic spectrum=[1,0]");
    assert_int_equal(theory.kind, TW_THEORY_FLAT);
    assert_true(isinf(theory.condition));
    assert_int_equal(theory.rows, 1);
    compare("quadratic spectrum=[-1,-2]");
    assert_int_equal(theory.kind, TW_THEORY_HILL);
    assert_int_equal(theory.rows, 0);
    compare("quadratic spectrum=[0,0]");
    assert_int_equal(theory.kind, TW_THEORY_HILL);
}

static void what_takes_too_long_is_not_measured(void **state) {
    compare("quadratic spectrum=[1e6,1]");
    assert_near(row("gd_steps")->predicted, 6907756, 1e-6);
    assert_true(isnan(row("gd_steps")->measured));
}

/* Size of the error after many steps at `share` of the limit that the rule's table names. */
static double error_at(const char *line, double share) {
    struct tw_descent descent;
    const struct tw_optimizer *rule;
    struct tw_optimizer_options options;
    struct tw_error error;
    double start[TW_OBJECTIVE_MAX] = {1e-3, 1e-3};
    assert_int_equal(tw_optimizer_find(&rule, &options, tw_test_variant(line), &error), TW_OK);
    assert_non_null(rule->limit.factor);
    options.lr = share * rule->limit.factor(&options) / 10;
    compare("quadratic spectrum=[10,1]");
    descent = (struct tw_descent){
        .rule = rule, .rule_options = &options, .objective = objective, .surface = &surface};
    tw_descent_begin(&descent, start);
    for (int step = 0; step < 20000; step++)
        tw_descent_step(&descent);
    return fabs(descent.weights[0]) + fabs(descent.weights[1]);
}

static void rules_are_stable_up_to_their_limits_and_not_beyond(void **state) {
    static const char *const lines[] = {
        "sgd lr=1",
        "momentum lr=1",
        "momentum lr=1 momentum=.5 dampening=.3",
        "momentum lr=1 lr_at=inside",
        "nesterov lr=1",
        "nesterov lr=1 momentum=.3 nesterov=lookup",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        if (!(error_at(lines[i], 0.999) < 1e-4))
            fail_msg("%s: not stable below its limit", lines[i]);
        if (!(error_at(lines[i], 1.001) > 1))
            fail_msg("%s: stable above its limit", lines[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eigenvectors_are_stretched_by_their_eigenvalues),
        cmocka_unit_test(hessians_have_the_spectra_of_textbooks),
        cmocka_unit_test(a_ravine_is_as_the_lecture_says),
        cmocka_unit_test(the_other_convention_halves_the_rates),
        cmocka_unit_test(any_rotation_and_dimension),
        cmocka_unit_test(one_step_when_all_directions_are_alike),
        cmocka_unit_test(curved_valleys_behave_like_their_hessians),
        cmocka_unit_test(noise_is_left_out),
        cmocka_unit_test(what_has_no_minimum_is_named),
        cmocka_unit_test(what_takes_too_long_is_not_measured),
        cmocka_unit_test(rules_are_stable_up_to_their_limits_and_not_beyond),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
