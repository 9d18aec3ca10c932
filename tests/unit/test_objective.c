/* Objectives: values, gradients, noise, and what optimizers do on them in double. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "common/base/rng.h"
#include "server/core/schedule.h"
#include "tests/lib/variant_text.h"
#include "worker/nn/objective.h"

static const struct tw_objective *objective;
static struct tw_objective_options options;
static struct tw_error error;

static enum tw_status find(const char *line) {
    struct tw_variant variant = *tw_test_variant(line);
    variant.path = "model.objective";
    return tw_objective_find(&objective, &options, &variant, &error);
}

static void take(const char *line) {
    if (find(line) != TW_OK)
        fail_msg("%s: %s", line, error.text);
}

static double value_at(double x1, double x2) {
    return objective->value(&options, (double[]){x1, x2}, NULL);
}

static void assert_near(double got, double exact, double relative) {
    if (!(fabs(got - exact) <= relative * fabs(exact)))
        fail_msg("%.17g where %.17g would be right", got, exact);
}

static const char *const all[] = {
    "quadratic spectrum=[10,1] rotation=30",
    "quadratic spectrum=[4,1,.5,-1] rotation=[10,20,30,40,50,60] convention=2Hx",
    "ravine c=10",
    "rosenbrock",
    "rosenbrock a=2 b=5",
    "saddle",
    "beale",
    "plateau",
    "cliff width=.3",
};
enum { ALL = sizeof all / sizeof all[0] };

/* By the five-point formula, whose error is about h^4 f^(5) / 30. */
static double slope_of(const double *x, int coordinate) {
    static const double weight[] = {1, -8, 8, -1}, step[] = {-2, -1, 1, 2};
    const double h = 1e-3;
    double sum = 0, at[TW_OBJECTIVE_MAX];
    memcpy(at, x, sizeof at);
    for (int i = 0; i < 4; i++) {
        at[coordinate] = x[coordinate] + step[i] * h;
        sum += weight[i] * objective->value(&options, at, NULL);
    }
    return sum / (12 * h);
}

static void gradients_are_those_of_the_values(void **state) {
    struct tw_rng rng;
    tw_rng_init(&rng, 1, TW_STREAM_INIT, 0, 0);
    for (int k = 0; k < ALL; k++) {
        take(all[k]);
        for (int trial = 0; trial < 50; trial++) {
            double x[TW_OBJECTIVE_MAX] = {0}, gradient[TW_OBJECTIVE_MAX];
            for (int i = 0; i < options.n; i++)
                x[i] = 4 * tw_rng_uniform(&rng) - 2;
            double with = objective->value(&options, x, gradient);
            assert_true(with == objective->value(&options, x, NULL));
            for (int i = 0; i < options.n; i++)
                assert_true(fabs(gradient[i] - slope_of(x, i)) < 1e-6 * (1 + fabs(gradient[i])));
        }
    }
}

static void values_are_the_textbooks(void **state) {
    take("rosenbrock");
    assert_near(value_at(-1.2, 1), 24.2, 1e-14);
    assert_true(value_at(1, 1) == 0);
    take("beale");
    assert_true(value_at(3, .5) == 0);
    assert_near(value_at(1, 1), 14.203125, 1e-14);
    take("ravine");
    assert_near(value_at(4, .5), 28.5, 1e-14);
    take("saddle");
    assert_true(value_at(3, 2) == 5);
    take("plateau");
    assert_near(value_at(4, 4), 32.0 / 33, 1e-14);
    take("cliff");
    assert_near(value_at(2, 1), 1.25, 1e-14);
    assert_near(value_at(-2, 1), .25, 1e-14);
    assert_near(value_at(0, 0), .5, 1e-14);
    assert_true(isfinite(value_at(1e150, 0)) && isfinite(value_at(-1e150, 0)));
}

static void the_gradient_is_zero_at_the_bottom(void **state) {
    static const char *const more[] = {"cliff", "cliff height=-2", "cliff height=0",
                                       "cliff width=1e-9", "rosenbrock a=-3"};
    for (int k = 0; k < ALL + 5; k++) {
        double x[TW_OBJECTIVE_MAX], gradient[TW_OBJECTIVE_MAX], steepest = 0;
        take(k < ALL ? all[k] : more[k - ALL]);
        tw_objective_bottom(objective, &options, x);
        objective->value(&options, x, gradient);
        for (int i = 0; i < options.n; i++)
            steepest = fmax(steepest, fabs(gradient[i]));
        assert_true(steepest < 1e-12);
    }
    take("cliff"); /* the foot of the wall, not its top */
    double x[2];
    tw_objective_bottom(objective, &options, x);
    assert_true(x[0] < 0 && x[0] > -.1 && value_at(x[0], x[1]) < 1e-4);
}

static void a_quadratic_has_its_spectrum_in_any_position(void **state) {
    double gradient[3], x[3] = {1, 2, 3};
    take("quadratic spectrum=[2,3,5]");
    assert_true(objective->value(&options, x, gradient) == (2 + 12 + 45) / 2.0);
    assert_true(gradient[0] == 2 && gradient[1] == 6 && gradient[2] == 15);
    take("quadratic spectrum=[2,3,5] convention=2Hx");
    assert_true(objective->value(&options, x, gradient) == 59);
    assert_true(gradient[0] == 4 && gradient[1] == 12 && gradient[2] == 30);
    /* A quarter turn in the plane (1,2) exchanges their eigenvalues. */
    take("quadratic spectrum=[2,3,5] rotation=90");
    assert_true(objective->value(&options, x, gradient) == (3 + 8 + 45) / 2.0);
    /* Column k of H at any angle: H is symmetric, with the spectrum's trace and determinant. */
    take("quadratic spectrum=[2,3,5] rotation=[17,-40,111]");
    double h[3][3];
    for (int k = 0; k < 3; k++)
        objective->value(&options, (double[]){k == 0, k == 1, k == 2}, h[k]);
    assert_near(h[0][0] + h[1][1] + h[2][2], 10, 1e-14);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < i; k++)
            assert_true(fabs(h[i][k] - h[k][i]) < 1e-14);
    double determinant = h[0][0] * (h[1][1] * h[2][2] - h[1][2] * h[2][1]) -
                         h[0][1] * (h[1][0] * h[2][2] - h[1][2] * h[2][0]) +
                         h[0][2] * (h[1][0] * h[2][1] - h[1][1] * h[2][0]);
    assert_near(determinant, 30, 1e-13);
    assert_true(fabs(h[0][1]) > .1 && fabs(h[0][2]) > .1 && fabs(h[1][2]) > .1);
}

static void starts_are_said_or_known(void **state) {
    take("rosenbrock");
    assert_true(options.n == 2 && options.start.at[0] == -1.2 && options.start.at[1] == 1);
    take("quadratic spectrum=[3,2,1]");
    assert_true(options.n == 3 && options.start.at[2] == 1);
    take("quadratic spectrum=[3,2,1] start=-7");
    assert_true(options.start.at[0] == -7 && options.start.at[2] == -7);
    take("ravine start=[1,2]");
    assert_true(options.start.count == 2 && options.start.at[1] == 2);
}

static void what_does_not_fit_is_refused_by_key(void **state) {
    static const struct {
        const char *line, *words;
    } wrong[] = {
        {"rosenbrok", "did you mean \"rosenbrock\"?"},
        {"quadratic", "model.objective.spectrum: missing"},
        {"quadratic spectrum=[1,inf]", "model.objective.spectrum: inf is not right"},
        {"quadratic spectrum=[1,2] rotation=[1,2]", "rotation: 2 numbers; 2 dimensions have 1"},
        {"quadratic spectrum=[1,2] convention=xH", "model.objective.convention"},
        {"ravine start=[1,2,3]", "model.objective.start: 3 numbers; 1 or 2 would be right"},
        {"saddle noise=-1", "model.objective.noise"},
        {"cliff width=0", "model.objective.width"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(find(wrong[i].line), TW_JOB);
        if (!strstr(error.text, wrong[i].words) || !strstr(error.text, "job.yaml:7"))
            fail_msg("%s: \"%s\" does not say \"%s\"", wrong[i].line, error.text, wrong[i].words);
    }
}

static void noise_is_the_streams_and_of_the_given_size(void **state) {
    enum { ROWS = 5000 };
    static float draws[2 * ROWS], others[2 * ROWS];
    double sum = 0, squares = 0;
    const struct tw_part whole = tw_whole_step(ROWS), one = tw_whole_step(1);
    const struct tw_part third = {.first = 2, .every = 3, .rows = 4};
    take("ravine noise=.5");
    tw_objective_noise(&options, 9, 3, 7, &whole, draws);
    for (int i = 0; i < 2 * ROWS; i++) {
        assert_true(draws[i] ==
                    (float)(.5 * tw_rng_normal_at(9, TW_STREAM_NOISE, 3, 7, (uint64_t)i)));
        sum += (double)draws[i];
        squares += (double)draws[i] * (double)draws[i];
    }
    assert_true(fabs(sum / (2 * ROWS)) < 4 * .5 / 100);
    assert_true(fabs(squares / (2 * ROWS) / .25 - 1) < 4 * 1.4143 / 100);
    tw_objective_noise(&options, 9, 4, 7, &whole, others);
    assert_memory_not_equal(draws, others, sizeof draws);
    tw_objective_noise(&options, 9, 3, 8, &whole, others);
    assert_memory_not_equal(draws, others, sizeof draws);
    tw_objective_noise(&options, 9, 3, 7, &third, others);
    for (int i = 0; i < 4; i++) /* the draws of rows 2, 5, 8, 11 */
        assert_memory_equal(others + 2 * i, draws + 2 * (2 + 3 * i), 2 * sizeof *draws);
    take("ravine");
    tw_objective_noise(&options, 9, 3, 7, &one, draws);
    assert_true(draws[0] == 0 && draws[1] == 0);
}

static void a_push_is_the_sum_over_its_examples(void **state) {
    const float x[] = {4, .5f}, noise[] = {1, 2, -3, .25f, 0, 0};
    float gradient[2];
    struct tw_score score = {.loss = 1, .examples = 1};
    take("ravine");
    tw_objective_add(objective, &options, x, noise, 3, gradient, &score);
    assert_true(gradient[0] == 3 * 8 - 2 && gradient[1] == 3 * 50 + 2.25f);
    assert_true(score.loss == 1 + 3 * 28.5 && score.examples == 4);
}

/* ---- what optimizers do on them, in double ---- */

/* f after so many updates of a rule ("adam lr=.01"), in the very arithmetic of the rules. Of a
 * rule that keeps x beside a point ahead of it (nesterov's lookup form), at that x. */
static double train(const char *rule, int updates, double x[2]) {
    const struct tw_optimizer *optimizer;
    struct tw_optimizer_options of_rule;
    const struct tw_pace still = {.epoch_samples = 0};
    double gradient[2], scalars[TW_OPTIMIZER_SCALARS];
    double states[TW_OPTIMIZER_STATES][2] = {{0}};
    struct tw_optimizer_double work = {
        .count = 2, .gradient = gradient, .weights_in = x, .weights_out = x, .scalars = scalars};
    memcpy(x, options.start.at, 2 * sizeof *x);
    if (tw_optimizer_find(&optimizer, &of_rule, tw_test_variant(rule), &error) != TW_OK)
        fail_msg("%s", error.text);
    double *end = x;
    for (int i = 0; i < optimizer->states; i++) {
        work.state[i] = states[i];
        if (optimizer->state[i].start != TW_STATE_WEIGHTS)
            continue;
        memcpy(states[i], x, 2 * sizeof *x);
        end = states[i];
    }
    for (int t = 0; t < updates; t++) {
        objective->value(&options, x, gradient);
        tw_pace_prepare(&still, optimizer, &of_rule, 1, (uint64_t)t, 0, scalars);
        optimizer->apply_double(&of_rule, &work);
    }
    return objective->value(&options, end, NULL);
}

static void the_ravine_converges_as_its_eigenvalues_say(void **state) {
    double x[2], eta = 2.0 / 102;
    char rule[96];
    take("ravine");
    snprintf(rule, sizeof rule, "sgd lr=%.17g", eta);
    assert_near(train(rule, 100, x), .009550489822743, 1e-12);
    assert_near(x[0], 4 * pow(1 - 2 * eta, 100), 1e-12);
    assert_near(x[1], .5 * pow(1 - 100 * eta, 100), 1e-12);
    train("sgd lr=.02", 100, x);
    assert_near(fabs(x[1]), .5, 1e-12);
    train("sgd lr=.0201", 100, x);
    assert_true(fabs(x[1]) > 1);
}

/* With the optimum of the heavy ball both eigenvalues go with rate^t (t + const): the measured
 * rate comes near to it from above. */
static void the_heavy_ball_has_its_optimal_rate(void **state) {
    double before[2], after[2];
    take("ravine");
    const char *rule = "momentum lr=.030702094441 momentum=.565806816485";
    double first = sqrt(train(rule, 60, before)), last = sqrt(train(rule, 90, after));
    double rate = pow(last / first, 1.0 / 30);
    assert_true(rate > .74 && rate < .78);
    assert_true(train("sgd lr=.0196078431372549", 90, after) > 1e6 * last * last);
}

static void rosenbrock_after_5000_updates(void **state) {
    static const struct {
        const char *rule;
        double f;
    } golden[] = {
        {"sgd lr=1e-3", .0037609231},
        {"momentum lr=1e-4 momentum=.9", .0035826819},
        {"nesterov lr=1e-4 momentum=.9 nesterov=lookup", .0036568934},
        {"nesterov lr=1e-4 momentum=.9", .00365398134616}, /* the point ahead */
    };
    double x[2];
    take("rosenbrock");
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++)
        assert_near(train(golden[i].rule, 5000, x), golden[i].f, 1e-6);
    double f = train("adam lr=.01", 5000, x);
    assert_true(f > 4.5e-10 && f < 5e-10); /* 4.7238e-10 */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_those_of_the_values),
        cmocka_unit_test(values_are_the_textbooks),
        cmocka_unit_test(the_gradient_is_zero_at_the_bottom),
        cmocka_unit_test(a_quadratic_has_its_spectrum_in_any_position),
        cmocka_unit_test(starts_are_said_or_known),
        cmocka_unit_test(what_does_not_fit_is_refused_by_key),
        cmocka_unit_test(noise_is_the_streams_and_of_the_given_size),
        cmocka_unit_test(a_push_is_the_sum_over_its_examples),
        cmocka_unit_test(the_ravine_converges_as_its_eigenvalues_say),
        cmocka_unit_test(the_heavy_ball_has_its_optimal_rate),
        cmocka_unit_test(rosenbrock_after_5000_updates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
