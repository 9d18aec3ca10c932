/* Update rules against closed forms: what theory says of constant gradients, ravines
 * and counter-examples. Double precision. */
#include "common/base/rng.h"
#include "tests/unit/optimizer_desk.h"

static const double script[5] = {1, -2, 3, .5, -.25};

/* torch.optim.SGD(nesterov=True), as its source says it. */
static void nesterov_outside_follows_pytorch_when_lr_changes(void **unused) {
    struct point point = start("nesterov lr=.1", .7);
    double x = .7, buffer = 0;
    for (int t = 1; t <= 5; t++) {
        double lr = .1 / t, g = script[t - 1];
        buffer = t == 1 ? g : .9 * buffer + g;
        x -= lr * (g + .9 * buffer);
        step(&point, lr, g);
        near("lookahead, outside", point.x, x);
    }
}

/* x is never published: the weights are x + momentum * velocity. */
static void nesterov_lookup_publishes_the_point_ahead_of_x(void **unused) {
    struct point point = start("nesterov lr=.1 nesterov=lookup lr_at=inside", .7);
    struct point ahead = start("nesterov lr=.1 nesterov=lookahead lr_at=inside", .7);
    double x = .7, velocity = 0;
    assert_int_equal(point.rule->states, 2);
    assert_int_equal(ahead.rule->states, 1);
    for (int t = 1; t <= 5; t++) {
        double lr = .1 / t, g = script[t - 1];
        velocity = .9 * velocity - lr * g;
        x += velocity;
        step(&point, lr, g);
        step(&ahead, lr, g);
        near("x", point.state[1], x);
        near("x + momentum * velocity", point.x, x + .9 * velocity);
        near("the same from lookahead", ahead.x, x + .9 * velocity);
    }
}

static void momentum_under_a_constant_gradient_is_a_geometric_sum(void **unused) {
    for (int inside = 0; inside < 2; inside++) {
        struct point point =
            start(inside ? "momentum lr=.01 lr_at=inside" : "momentum lr=.01 lr_at=outside", 0);
        for (int t = 1; t <= 100; t++) {
            double before = point.x;
            step(&point, .01, 1);
            near("step", before - point.x, .01 * (1 - pow(.9, t)) / (1 - .9));
            if (t == 100) {
                assert_true(fabs(before - point.x - .0999973439) < 1e-10);
            }
        }
    }
}

static void adam_under_a_constant_gradient_steps_by_lr(void **unused) {
    const double gradients[] = {1, -3, 1e-3};
    for (int k = 0; k < 3; k++) {
        double g = gradients[k];
        struct point point = start("adam lr=.01 eps=.1", 0);
        for (int t = 1; t <= 2000; t++) {
            double before = point.x;
            step(&point, .01, g);
            near("step", before - point.x, .01 * g / (fabs(g) + .1));
        }
    }
}

static void adam_without_powers_overshoots_as_its_closed_form(void **unused) {
    struct point point = start("adam lr=1 eps=0 bias=nopower", 0);
    double peak = 0, last = 0;
    int peak_at = 0;
    for (int t = 1; t <= 20000; t++) {
        double before = point.x;
        step(&point, 1, 2);
        last = before - point.x;
        if (last > peak) {
            peak = last;
            peak_at = t;
        }
        if (t < 1000) {
            double form = (1 - pow(.9, t)) / (1 - .9) / sqrt((1 - pow(.999, t)) / (1 - .999));
            assert_true(fabs(last - form) < 1e-10);
        }
    }
    assert_int_equal(peak_at, 12);
    assert_true(fabs(peak - 2.0771) < 1e-4);
    assert_true(fabs(last - .31623) < 1e-5);
}

static void adam_without_bias_correction_starts_too_fast(void **unused) {
    static const double steps[][2] = {{1, 3.1623}, {10, 6.528}, {100, 3.241}, {1000, 1.2576}};
    struct point point = start("adam lr=1 eps=0 bias=none", 0);
    int row = 0;
    for (int t = 1; t <= 1000; t++) {
        double before = point.x;
        step(&point, 1, 5);
        if (t == (int)steps[row][0]) {
            assert_true(fabs(before - point.x - steps[row][1]) < 1e-3);
            row++;
        }
    }
    assert_int_equal(row, 4);
}

static void the_ravine_contracts_as_gradient_descent_should(void **unused) {
    const double eta = 2.0 / 102;
    struct point a = start("sgd lr=.01", 4), b = start("sgd lr=.01", .5);
    for (int t = 1; t <= 100; t++) {
        step(&a, eta, 2 * a.x);
        step(&b, eta, 100 * b.x);
    }
    near("f after 100 steps", a.x * a.x + 50 * b.x * b.x, .009550489822743);
}

/* x_t = x_0 - lr sum over i of (1 - momentum^(t-i)) / (1 - momentum) g_i: each gradient
 * counts the more the longer ago it was. */
static void momentum_is_a_sum_of_growing_shares_of_all_gradients(void **unused) {
    struct tw_rng rng;
    double gradient[60];
    struct point point = start("momentum lr=.01 momentum=.9", .7);
    tw_rng_init(&rng, 3, TW_STREAM_NOISE, 0, 0);
    for (int t = 1; t <= 60; t++) {
        gradient[t - 1] = tw_rng_normal(&rng);
        step(&point, .01, gradient[t - 1]);
        double x = .7;
        for (int i = 0; i < t; i++) {
            x -= .01 * (1 - pow(.9, t - i)) / (1 - .9) * gradient[i];
        }
        near("x", point.x, x);
    }
}

static double size_of_step(struct point *point, double gradient) {
    double before = point->x;
    step(point, point->options.lr, gradient);
    return before - point->x;
}

static void under_a_constant_gradient_adagrad_slows_down_by_the_root_of_t(void **unused) {
    struct point point = start("adagrad lr=.1 eps=0", 0);
    struct point decaying = start("adagrad lr=.1 eps=0 lr_decay=.5", 0);
    for (int t = 1; t <= 1000; t++) {
        near("step", size_of_step(&point, -7), -.1 / sqrt(t));
        near("step", size_of_step(&decaying, 3), .1 / (1 + .5 * (t - 1)) / sqrt(t));
    }
}

static void under_a_constant_gradient_rmsprop_starts_too_fast(void **unused) {
    struct point fast = start("rmsprop lr=.1 eps=0", 0);
    struct point slow = start("rmsprop lr=.1 eps=0 rho=.99", 0);
    for (int t = 1; t <= 500; t++) {
        double a = size_of_step(&fast, 5), b = size_of_step(&slow, 5);
        near("rho .9", a, .1 / sqrt(1 - pow(.9, t)));
        near("rho .99", b, .1 / sqrt(1 - pow(.99, t)));
        if (t == 1) {
            assert_true(fabs(a / .1 - 3.1623) < 1e-4 && fabs(b / .1 - 10) < 1e-12);
        }
    }
}

/* The mean square and the square of the mean fade alike: the variance of a constant is
 * what their first values left, (1 - rho^t) rho^t g^2. When that is lost in rounding, the
 * root is still of no negative number. */
static void under_a_constant_gradient_centered_rmsprop_divides_by_what_is_left(void **unused) {
    struct point point = start("rmsprop lr=1 eps=1e-3 centered=true", 0);
    for (int t = 1; t <= 3000; t++) {
        double is = size_of_step(&point, 3), fade = pow(.9, t);
        assert_true(is > 0 && is <= 3e3);
        if (t <= 50) {
            assert_true(fabs(is / (3 / (3 * sqrt((1 - fade) * fade) + 1e-3)) - 1) < 1e-11);
        }
    }
    struct tw_optimizer_options options;
    const struct tw_optimizer *rule;
    assert_int_equal(
        tw_optimizer_find(&rule, &options, tw_test_variant("rmsprop eps=1e-3 centered=true"), NULL),
        TW_OK);
    float g = 1.1f, w = 0, r = 0, m = 0;
    for (uint64_t t = 1; t <= 3000; t++) {
        double scalars[TW_OPTIMIZER_SCALARS];
        rule->prepare(&options, t, options.lr, scalars);
        struct tw_optimizer_float work = {1, &g, &w, &w, {&r, &m}, scalars, 1};
        rule->apply_float(&options, &work);
    }
    assert_true(isfinite(w) && w < 0);
}

static void adadelta_begins_with_the_root_of_eps(void **unused) {
    struct point point = start("adadelta", 0);
    double first = size_of_step(&point, 1);
    near("step", first, sqrt(1e-6 / (.05 + 1e-6)));
    assert_true(fabs(first - .0044721) < 1e-7);
}

static void under_a_constant_gradient_adamax_steps_by_lr(void **unused) {
    struct point point = start("adamax lr=.1 eps=0", 0);
    struct point slides = start("adamax lr=.1 eps=0 bias=none", 0);
    for (int t = 1; t <= 300; t++) {
        near("step", size_of_step(&point, -3), -.1);
        near("D5", size_of_step(&slides, -3), -.1 * (1 - pow(.9, t)));
    }
}

static void under_a_constant_gradient_radam_waits_and_is_then_rectified(void **unused) {
    struct point point = start("radam lr=.1 eps=0", 0);
    double limit = 2 / (1 - .999) - 1;
    for (int t = 1; t <= 3000; t++) {
        double power = pow(.999, t), rho = limit - 2 * t * power / (1 - power);
        double rect = sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho));
        assert_true((rho > 5) == (t > 5));
        near("step", size_of_step(&point, 4), rho > 5 ? .1 * rect : .1 * 4);
    }
    struct point never = start("radam lr=.1 beta2=.6", 0);
    for (int t = 1; t <= 50; t++) {
        near("no divisor", size_of_step(&never, 4), .1 * 4);
    }
}

static void lion_steps_by_lr_in_the_direction_of_the_sign(void **unused) {
    struct point point = start("lion lr=.1", 0);
    near("up", size_of_step(&point, 1e-9), .1);
    near("m outweighs g", size_of_step(&point, -1e-13), .1);
    near("g outweighs m", size_of_step(&point, -1), -.1);
    struct point still = start("lion lr=.1 weight_decay=.5", 2);
    near("nothing but decay", size_of_step(&still, 0), .1 * .5 * 2);
}

static void adamw_decays_beside_the_step(void **unused) {
    struct point decays = start("adamw lr=.1 weight_decay=.3", 2);
    struct point adam = start("adam lr=.1", 2), both = start("adamw lr=.1 weight_decay=.3", 2);
    for (int t = 1; t <= 20; t++) {
        step(&decays, .1, 0);
        near("no gradient", decays.x, 2 * pow(1 - .03, t));
        double from = both.x, plain = size_of_step(&adam, sin(t));
        near("step and decay", size_of_step(&both, sin(t)), .03 * from + plain);
    }
}

/* Section 2.1 of the paper: without beta, l1 and l2 it is gradient descent with a rate
 * of alpha / sqrt(sum of g^2) for each weight, which is adagrad. */
static void ftrl_without_penalties_is_adagrad(void **unused) {
    struct point ftrl = start("ftrl-proximal alpha=.1 beta=0", 0);
    struct point adagrad = start("adagrad lr=.1 eps=0", 0);
    for (int t = 1; t <= 200; t++) {
        double g = sin(3 * t) + .2;
        step(&ftrl, .1, g);
        step(&adagrad, .1, g);
        near("x", ftrl.x, adagrad.x);
    }
}

static void ftrl_keeps_a_weight_at_zero_until_l1_is_overcome(void **unused) {
    struct point point = start("ftrl-proximal alpha=.5 beta=2 l1=1 l2=.25", 0);
    step(&point, .5, .75);
    assert_true(point.x == 0 && !signbit(point.x));
    step(&point, .5, .75); /* z = 1.5, n = 1.125 */
    near("w", point.x, -(1.5 - 1) / ((2 + sqrt(1.125)) / .5 + .25));
    struct point untouched = start("ftrl-proximal alpha=1 beta=0", 0);
    step(&untouched, 1, 0);
    assert_true(untouched.x == 0);
}

/* The publishing point of RMSProp's velocity, against the rule as the decks write it:
 * the gradient is taken at x + momentum * velocity. */
static void rmsprop_with_nesterov_publishes_the_point_ahead(void **unused) {
    static const char *const lines[] = {
        "rmsprop lr=.1 eps=.1 momentum=.9 lr_at=inside nesterov=lookup",
        "rmsprop lr=.1 eps=.1 momentum=.9 lr_at=inside nesterov=lookahead",
        "rmsprop lr=.1 eps=.1 momentum=.9 lr_at=inside nesterov=lookup centered=true",
        "rmsprop lr=.1 eps=.1 momentum=.9 lr_at=inside nesterov=lookahead centered=true",
    };
    for (int l = 0; l < 4; l++) {
        struct point point = start(lines[l], .7);
        double x = .7, velocity = 0, r = 0, m = 0;
        for (int t = 1; t <= 50; t++) {
            double g = sin(2 * t), lr = .1 / t;
            r = .9 * r + .1 * g * g;
            m = l < 2 ? 0 : .9 * m + .1 * g;
            velocity = .9 * velocity - lr * g / (sqrt(r - m * m) + .1);
            x += velocity;
            step(&point, lr, g);
            near(lines[l], point.x, x + .9 * velocity);
            if (l % 2 == 0) {
                near(lines[l], point.state[2], x);
            }
        }
    }
}

/* Reddi, Kale and Kumar 2018, section 3: Adam walks away from the minimum. */
static void amsgrad_finds_the_minimum_that_adam_leaves(void **unused) {
    struct point adam = start("adam lr=.1 beta1=0 beta2=.1", 0);
    struct point amsgrad = start("amsgrad lr=.1 beta1=0 beta2=.1", 0);
    struct point *both[2] = {&adam, &amsgrad};
    for (int t = 1; t <= 100000; t++) {
        for (int k = 0; k < 2; k++) {
            step(both[k], .1 / sqrt(t), t % 3 == 1 ? 3 : -1);
            both[k]->x = fmin(1, fmax(-1, both[k]->x));
        }
    }
    assert_true(fabs(adam.x - .99967) < 1e-5);
    assert_true(amsgrad.x == -1);
}

static double rosenbrock_at(double x, double y) {
    return (1 - x) * (1 - x) + 100 * (y - x * x) * (y - x * x);
}

static void rosenbrock(const char *line, bool at_state_x, double f, double relative) {
    struct point x = start(line, -1.2), y = start(line, 1);
    for (int t = 1; t <= 5000; t++) {
        double gx = -2 * (1 - x.x) - 400 * x.x * (y.x - x.x * x.x);
        double gy = 200 * (y.x - x.x * x.x);
        step(&x, x.options.lr, gx);
        step(&y, y.options.lr, gy);
    }
    double is = at_state_x ? rosenbrock_at(x.state[1], y.state[1]) : rosenbrock_at(x.x, y.x);
    if (!(fabs(is / f - 1) <= relative)) {
        fail_msg("%s: f = %.10g, should be %.10g", line, is, f);
    }
}

/* The known value of nesterov is that of x; the point ahead of it is elsewhere. */
static void rosenbrock_ends_where_others_ended(void **unused) {
    rosenbrock("sgd lr=1e-3", false, .0037609231, 1e-6);
    rosenbrock("momentum lr=1e-4", false, .0035826819, 1e-6);
    rosenbrock("nesterov lr=1e-4 nesterov=lookup", true, .0036568934, 1e-6);
    rosenbrock("nesterov lr=1e-4 nesterov=lookup", false, .0036539813, 1e-6);
    rosenbrock("nesterov lr=1e-4", false, .0036539813, 1e-6);
    rosenbrock("adagrad lr=.1 eps=1e-8 eps_at=inside", false, .0199075754, 1e-6);
    rosenbrock("adam lr=.01", false, 4.7238e-10, .01);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nesterov_outside_follows_pytorch_when_lr_changes),
        cmocka_unit_test(nesterov_lookup_publishes_the_point_ahead_of_x),
        cmocka_unit_test(momentum_under_a_constant_gradient_is_a_geometric_sum),
        cmocka_unit_test(adam_under_a_constant_gradient_steps_by_lr),
        cmocka_unit_test(adam_without_powers_overshoots_as_its_closed_form),
        cmocka_unit_test(adam_without_bias_correction_starts_too_fast),
        cmocka_unit_test(the_ravine_contracts_as_gradient_descent_should),
        cmocka_unit_test(momentum_is_a_sum_of_growing_shares_of_all_gradients),
        cmocka_unit_test(under_a_constant_gradient_adagrad_slows_down_by_the_root_of_t),
        cmocka_unit_test(under_a_constant_gradient_rmsprop_starts_too_fast),
        cmocka_unit_test(under_a_constant_gradient_centered_rmsprop_divides_by_what_is_left),
        cmocka_unit_test(adadelta_begins_with_the_root_of_eps),
        cmocka_unit_test(under_a_constant_gradient_adamax_steps_by_lr),
        cmocka_unit_test(under_a_constant_gradient_radam_waits_and_is_then_rectified),
        cmocka_unit_test(lion_steps_by_lr_in_the_direction_of_the_sign),
        cmocka_unit_test(adamw_decays_beside_the_step),
        cmocka_unit_test(ftrl_without_penalties_is_adagrad),
        cmocka_unit_test(ftrl_keeps_a_weight_at_zero_until_l1_is_overcome),
        cmocka_unit_test(rmsprop_with_nesterov_publishes_the_point_ahead),
        cmocka_unit_test(amsgrad_finds_the_minimum_that_adam_leaves),
        cmocka_unit_test(rosenbrock_ends_where_others_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
