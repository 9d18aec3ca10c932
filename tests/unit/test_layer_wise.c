/* Layer-wise rules: the ratio of a tensor, in closed forms; and the step that its norm is taken
 * of, which touches nothing. tests/golden/optimizers has them against their papers. */
#include <string.h>

#include "server/core/shaping.h"
#include "tests/unit/optimizer_desk.h"

enum { COUNT = 5 };

struct layer {
    const struct tw_optimizer *rule;
    struct tw_optimizer_options options;
    double x[COUNT], state[2][COUNT];
    uint64_t t;
    double change; /* |x after - x before| of the last update */
};

static double norm(const double *x) {
    double sum = 0;
    for (int i = 0; i < COUNT; i++)
        sum += x[i] * x[i];
    return sqrt(sum);
}

static struct layer begin(const char *line, const double *x) {
    struct layer layer = {0};
    assert_int_equal(tw_optimizer_find(&layer.rule, &layer.options, tw_test_variant(line), NULL),
                     TW_OK);
    memcpy(layer.x, x, sizeof layer.x);
    return layer;
}

/* Returns the ratio. */
static double update(struct layer *layer, const double *gradient) {
    double scalars[TW_OPTIMIZER_SCALARS], scratch[COUNT], before[COUNT], change[COUNT];
    struct tw_optimizer_double work = {.count = COUNT,
                                       .gradient = gradient,
                                       .weights_in = layer->x,
                                       .weights_out = layer->x,
                                       .state = {layer->state[0], layer->state[1]},
                                       .scalars = scalars};
    memcpy(before, layer->x, sizeof before);
    layer->rule->prepare(&layer->options, ++layer->t, layer->options.lr, scalars);
    double ratio = tw_optimizer_apply_tensor(layer->rule, &layer->options, &work, scratch);
    for (int i = 0; i < COUNT; i++)
        change[i] = layer->x[i] - before[i];
    layer->change = norm(change);
    return ratio;
}

static const double weights[COUNT] = {3, 0, -4, 0, 0};
static const double gradient[COUNT] = {0, 6, 0, 8, 0};

static void without_momentum_a_step_of_lars_is_lr_trust_weights(void **state) {
    struct layer layer = begin("lars lr=2 momentum=0 trust=.01 weight_decay=0", weights);
    near("ratio", update(&layer, gradient), .01 * 5 / 10);
    near("step", layer.change, 2 * .01 * 5);
    /* Also with another size of the gradient: that does not count. */
    double small[COUNT];
    for (int i = 0; i < COUNT; i++)
        small[i] = gradient[i] * 1e-9;
    layer = begin("lars lr=2 momentum=0 trust=.01 weight_decay=0", weights);
    update(&layer, small);
    near("step", layer.change, 2 * .01 * 5);
}

static void the_decay_of_lars_is_part_of_both(void **state) {
    struct layer layer = begin("lars lr=1 momentum=0 trust=.1 weight_decay=2", weights);
    near("ratio", update(&layer, gradient), .1 * 5 / (10 + 2 * 5));
    /* The step is 6, -8 by the decay and 6, 8 by the gradient. */
    near("step", layer.change, .025 * sqrt(6 * 6 + 8 * 8 + 6 * 6 + 8 * 8));
}

static void every_step_of_lamb_is_lr_times_the_weights(void **state) {
    struct layer layer = begin("lamb lr=.1", weights);
    for (int t = 0; t < 20; t++) {
        double before = norm(layer.x);
        update(&layer, gradient);
        near("step", layer.change / before, .1);
    }
}

/* Weights that are all 0 could never leave it, and 0 / 0 is no number. */
static void a_norm_of_0_makes_a_ratio_of_1(void **state) {
    static const double zero[COUNT];
    static const char *const lines[] = {"lars lr=1", "lamb weight_decay=0"};
    for (int l = 0; l < 2; l++) {
        struct layer layer = begin(lines[l], zero);
        assert_true(update(&layer, gradient) == 1);
        assert_true(layer.change > 0);
        layer = begin(lines[l], zero);
        assert_true(update(&layer, zero) == 1);
        assert_true(layer.change == 0);
    }
    struct layer layer = begin("lars lr=1 weight_decay=0", weights);
    assert_true(update(&layer, zero) == 1 && layer.change == 0);
}

/* A gradient may be so small that the quotient of norms is no float. */
static void a_ratio_is_bounded(void **state) {
    struct tw_optimizer_options options;
    const struct tw_optimizer *rule;
    double scalars[TW_OPTIMIZER_SCALARS];
    assert_int_equal(tw_optimizer_find(&rule, &options,
                                       tw_test_variant("lars lr=1 trust=1 weight_decay=0"), NULL),
                     TW_OK);
    rule->prepare(&options, 1, options.lr, scalars);
    assert_true(rule->ratio(scalars, 1e10, 1e-40) == 0x1p100);
    float g = 1e-42F, w = 1e10F, v = 0;
    struct tw_optimizer_float work = {.count = 1,
                                      .gradient = &g,
                                      .weights_in = &w,
                                      .weights_out = &w,
                                      .state = {&v},
                                      .scalars = scalars,
                                      .ratio = 0x1p100};
    rule->apply_float(&options, &work);
    assert_true(isfinite(w) && isfinite(v));
}

/* What is measured is the step that is then taken, from the moments as they will be. */
static void the_step_is_the_one_that_is_taken(void **state) {
    struct tw_optimizer_options options;
    const struct tw_optimizer *rule;
    double scalars[TW_OPTIMIZER_SCALARS];
    double x[COUNT], m[COUNT], v[COUNT], step[COUNT], after[COUNT];
    assert_int_equal(tw_optimizer_find(&rule, &options, tw_test_variant("lamb lr=.3"), NULL),
                     TW_OK);
    rule->prepare(&options, 7, options.lr, scalars);
    for (int i = 0; i < COUNT; i++) {
        x[i] = weights[i];
        m[i] = .1 * i;
        v[i] = .2 * i;
    }
    struct tw_optimizer_double work = {.count = COUNT,
                                       .gradient = gradient,
                                       .weights_in = x,
                                       .weights_out = step,
                                       .state = {m, v},
                                       .scalars = scalars,
                                       .ratio = .5};
    rule->step_double(&options, &work);
    for (int i = 0; i < COUNT; i++)
        assert_true(x[i] == weights[i] && m[i] == .1 * i && v[i] == .2 * i);
    work.weights_out = after;
    rule->apply_double(&options, &work);
    for (int i = 0; i < COUNT; i++)
        near("step", after[i], x[i] - .3 * .5 * step[i]);
}

/* ---- with what is done around a rule ---- */

static void the_step_is_of_the_shaped_gradient(void **state) {
    struct tw_optimizer_options options;
    const struct tw_optimizer *rule;
    double scalars[TW_RECORD_SCALARS] = {0};
    float sum[3] = {8, -80, 0}, w[3] = {1, 2, 3}, v[3] = {0}, step[3];
    const struct tw_shaping shaping = {.clip_value = 5};
    const struct tw_update_terms terms = {.examples = 8, .scalars = scalars};
    assert_int_equal(tw_optimizer_find(&rule, &options, tw_test_variant("lars lr=1"), NULL), TW_OK);
    rule->prepare(&options, 1, 1, scalars);
    struct tw_optimizer_float work = {
        .count = 3, .weights_in = w, .weights_out = step, .state = {v}};
    tw_shaping_step(&shaping, rule, &options, &terms, 0, &work, sum);
    assert_true(step[0] == 1 && step[1] == -5 && step[2] == 0);
    assert_true(sum[0] == 8 && sum[1] == -80 && v[1] == 0);
}

static void sums_that_are_not_finite_make_no_ratio(void **state) {
    struct tw_optimizer_options options;
    const struct tw_optimizer *rule;
    double scalars[TW_RECORD_SCALARS] = {0};
    const struct tw_shaping shaping = {0};
    struct tw_tensor_squares squares = {.weights = {{0}, false}};
    assert_int_equal(tw_optimizer_find(&rule, &options, tw_test_variant("lamb"), NULL), TW_OK);
    rule->prepare(&options, 1, 1, scalars);
    tw_exact_sum_add(&squares.weights, 9);
    tw_exact_sum_add(&squares.step, 4);
    assert_true(tw_shaping_ratio(&shaping, rule, scalars, 0, &squares) == 1.5);
    tw_exact_sum_add(&squares.step, INFINITY);
    assert_true(isnan(tw_shaping_ratio(&shaping, rule, scalars, 0, &squares)));
}

/* decay: false of a group takes its tensors out of the decay of the rule itself, too. */
static void a_group_without_decay_has_none_of_the_rule(void **state) {
    static const char *const lines[] = {"lars lr=1 weight_decay=.5", "lamb weight_decay=.5",
                                        "adamw weight_decay=.5"};
    const struct tw_pace still = {0};
    const struct tw_treatment treatment[] = {{.rate = 0}, {.rate = 1}};
    const struct tw_shaping shaping = {
        .rates = 2, .rate = {1, 1}, .bare = {false, true}, .treatment = treatment};
    for (int l = 0; l < 3; l++) {
        struct tw_optimizer_options options;
        const struct tw_optimizer *rule;
        double scalars[TW_RECORD_SCALARS], ratios[] = {1, 1};
        const struct tw_update_terms terms = {.examples = 1, .scalars = scalars, .ratios = ratios};
        assert_int_equal(tw_optimizer_find(&rule, &options, tw_test_variant(lines[l]), NULL),
                         TW_OK);
        tw_shaping_prepare(&shaping, &still, rule, &options, 1, 0, 0, scalars);
        for (uint32_t tensor = 0; tensor < 2; tensor++) {
            float w = 4, g = 0, m = 0, v = 0;
            struct tw_optimizer_float work = {
                .count = 1, .weights_in = &w, .weights_out = &w, .state = {&m, &v}};
            tw_shaping_apply(&shaping, rule, &options, &terms, tensor, &work, &g);
            assert_true(tensor ? w == 4 : w < 4);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_momentum_a_step_of_lars_is_lr_trust_weights),
        cmocka_unit_test(the_decay_of_lars_is_part_of_both),
        cmocka_unit_test(every_step_of_lamb_is_lr_times_the_weights),
        cmocka_unit_test(a_norm_of_0_makes_a_ratio_of_1),
        cmocka_unit_test(a_ratio_is_bounded),
        cmocka_unit_test(the_step_is_the_one_that_is_taken),
        cmocka_unit_test(the_step_is_of_the_shaped_gradient),
        cmocka_unit_test(sums_that_are_not_finite_make_no_ratio),
        cmocka_unit_test(a_group_without_decay_has_none_of_the_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
