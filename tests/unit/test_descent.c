/* Paths against closed forms and golden values, and what is said of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "lab/landscape.h"
#include "tests/lib/variant_text.h"

static struct tw_objective_options surface;
static const struct tw_objective *objective;
static struct tw_optimizer_options rule_options;
static struct tw_error error;

static void take(const char *line) {
    struct tw_variant variant = *tw_test_variant(line);
    if (tw_objective_find(&objective, &surface, &variant, &error))
        fail_msg("%s: %s", line, error.text);
}

/* From the start of the objective that was taken. */
static struct tw_path follow(const char *rule, size_t steps) {
    struct tw_descent descent = {
        .objective = objective, .surface = &surface, .rule_options = &rule_options, .seed = 1};
    struct tw_path path;
    if (tw_optimizer_find(&descent.rule, &rule_options, tw_test_variant(rule), &error))
        fail_msg("%s: %s", rule, error.text);
    tw_descent_begin(&descent, surface.start.at);
    assert_int_equal(tw_path_init(&path, &descent, steps, &error), TW_OK);
    return path;
}

static void assert_near(double got, double exact, double relative) {
    if (!(fabs(got - exact) <= relative * fabs(exact)))
        fail_msg("%.17g where %.17g would be right", got, exact);
}

static void rosenbrock_has_the_golden_values_after_5000_steps(void **state) {
    static const struct {
        const char *rule;
        double f;
    } golden[] = {
        {"sgd lr=1e-3", .0037609231},
        {"momentum lr=1e-4", .0035826819},
        {"nesterov lr=1e-4 nesterov=lookup", .0036568934},
        {"adagrad lr=.1 eps=1e-8 eps_at=inside", .0199075754},
    };
    take("rosenbrock");
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
        struct tw_path path = follow(golden[i].rule, 5000);
        assert_near(path.f[0], 24.2, 1e-14);
        assert_near(path.f[5000], golden[i].f, 1e-7);
        tw_path_fini(&path);
    }
    struct tw_path path = follow("adam lr=.01", 5000);
    assert_near(path.f[5000], 4.7238e-10, 1e-4);
    tw_path_fini(&path);
}

static void a_ravine_has_its_closed_form(void **state) {
    take("ravine");
    for (int i = 0; i < 3; i++) {
        static const double rates[] = {.001, .015, .0201};
        char rule[32];
        snprintf(rule, sizeof rule, "sgd lr=%g", rates[i]);
        struct tw_path path = follow(rule, 100);
        for (int t = 0; t <= 100; t++) {
            assert_near(path.x[2 * t], 4 * pow(1 - 2 * rates[i], t), 1e-12);
            assert_near(path.x[2 * t + 1], .5 * pow(1 - 100 * rates[i], t), 1e-11);
        }
        tw_path_fini(&path);
    }
    struct tw_path best = follow("sgd lr=0.0196078431372549", 100);
    assert_near(best.f[100], .009550489822743, 1e-11);
    tw_path_fini(&best);
    struct tw_path edge = follow("sgd lr=.02", 100);
    assert_near(fabs(edge.x[201]), .5, 1e-12);
    tw_path_fini(&edge);
}

static void a_path_ends_where_its_numbers_do(void **state) {
    take("ravine");
    struct tw_path path = follow("sgd lr=1", 1000);
    /* x2 = .5 (-99)^t; its square is finite up to t = 77. */
    assert_int_equal(path.last, 76);
    assert_int_equal(path.steps, 1000);
    assert_true(isfinite(path.f[path.last]));
    assert_near(path.x[2 * 76 + 1], .5 * pow(99, 76), 1e-11);
    tw_path_fini(&path);
}

static void noise_is_drawn_anew_for_each_step_and_seed(void **state) {
    take("ravine noise=.1");
    struct tw_path path = follow("sgd lr=.01", 5), again = follow("sgd lr=.01", 5);
    const struct tw_part one = tw_whole_step(1);
    float draw[2];
    tw_objective_noise(&surface, 1, 0, 3, &one, draw);
    assert_near(path.x[8], path.x[6] - .01 * (2 * path.x[6] + (double)draw[0]), 1e-15);
    assert_memory_equal(path.x, again.x, 12 * sizeof *path.x);
    tw_path_fini(&path);
    tw_path_fini(&again);
}

static void assert_verdict(const struct tw_path *path, const struct tw_box *box,
                           const char *expected) {
    struct tw_text text = {0};
    tw_landscape_verdict(&text, path, box);
    assert_string_equal(text.at, expected);
    tw_text_fini(&text);
}

static void verdicts_name_what_happened(void **state) {
    const struct tw_box box = {-1, 5, -1, 1};
    take("ravine");
    struct tw_path good = follow("sgd lr=.01", 100), steps = follow("sgd lr=.0201", 100),
                   off = follow("sgd lr=1", 1000);
    assert_verdict(&good, &box, "f = 0.2814 after 100 steps");
    /* .5 * 1.01^70 > 1 */
    assert_verdict(&steps, &box,
                   "f = 91.45 after 100 steps, higher than at the start; leaves the picture at "
                   "step 70");
    assert_verdict(&off, &box,
                   "diverges: no number any more at step 77; leaves the picture at step 1");
    tw_path_fini(&good);
    tw_path_fini(&steps);
    tw_path_fini(&off);
}

static void the_box_shows_start_bottom_and_what_is_near(void **state) {
    take("rosenbrock");
    struct tw_landscape_run run[2] = {{"sgd", follow("sgd lr=1e-3", 500)},
                                      {"too fast", follow("sgd lr=1", 500)}};
    struct tw_landscape landscape = {
        .objective = objective, .surface = &surface, .title = "r", .run = run, .runs = 2};
    tw_landscape_fit(&landscape);
    const struct tw_box *box = &landscape.box;
    assert_true(box->left < -1.2 && box->right > 1 && box->bottom < 1 && box->top > 1);
    assert_true(box->right - box->left < 20 && box->top - box->bottom < 20);
    assert_int_equal(tw_landscape_leaves(&run[0].path, box), 0);
    assert_true(tw_landscape_leaves(&run[1].path, box) > 0);
    tw_path_fini(&run[0].path);
    tw_path_fini(&run[1].path);
}

static int count_of(const char *text, const char *word) {
    int count = 0;
    for (; (text = strstr(text, word)); text += strlen(word))
        count++;
    return count;
}

static void the_picture_has_what_it_promises(void **state) {
    take("ravine");
    struct tw_landscape_run run[2] = {{"gd <a>", follow("sgd lr=.01", 50)},
                                      {"off", follow("sgd lr=1", 50)}};
    for (int panels = 0; panels < 2; panels++) {
        struct tw_landscape landscape = {.objective = objective,
                                         .surface = &surface,
                                         .title = "the ravine",
                                         .run = run,
                                         .runs = 2,
                                         .panels = panels};
        struct tw_text text = {0};
        tw_landscape_fit(&landscape);
        assert_int_equal(tw_landscape_draw(&text, &landscape, &error), TW_OK);
        assert_int_equal(count_of(text.at, "<svg "), 1);
        assert_int_equal(count_of(text.at, "</svg>"), 1);
        assert_int_equal(count_of(text.at, "gd &lt;a&gt;"), 1);
        assert_non_null(strstr(text.at, "the ravine"));
        assert_non_null(strstr(text.at, "x₁² + c x₂²"));
        assert_int_equal(count_of(text.at, "after 50 steps"), 2);
        assert_int_equal(count_of(text.at, "leaves the picture at step"), 1);
        assert_int_equal(count_of(text.at, ">x₁<"), 1 + panels);
        assert_null(strstr(text.at, "nan"));
        assert_null(strstr(text.at, "inf"));
        tw_text_fini(&text);
    }
    tw_path_fini(&run[0].path);
    tw_path_fini(&run[1].path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rosenbrock_has_the_golden_values_after_5000_steps),
        cmocka_unit_test(a_ravine_has_its_closed_form),
        cmocka_unit_test(a_path_ends_where_its_numbers_do),
        cmocka_unit_test(noise_is_drawn_anew_for_each_step_and_seed),
        cmocka_unit_test(verdicts_name_what_happened),
        cmocka_unit_test(the_box_shows_start_bottom_and_what_is_near),
        cmocka_unit_test(the_picture_has_what_it_promises),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
