/* Update rules against known numbers: the golden vectors (scalar, x = 0, gradients
 * 1 -2 3 .5 -.25, exact decimal arithmetic) and closed forms. Double precision. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "server/core/optimizer.h"
#include "tests/lib/variant_text.h"

/* One scalar weight under a rule. */
struct point {
    const struct tw_optimizer *rule;
    struct tw_optimizer_options options;
    double x, state[TW_OPTIMIZER_STATES];
    uint64_t t;
};

static struct point start(const char *line, double x) {
    struct tw_error error = {0};
    struct point point = {.x = x};
    if (tw_optimizer_find(&point.rule, &point.options, tw_test_variant(line), &error) != TW_OK) {
        fail_msg("%s: %s", line, error.text);
    }
    for (int s = 0; s < point.rule->states; s++) {
        point.state[s] = point.rule->state[s].start == TW_STATE_WEIGHTS ? x : 0;
    }
    return point;
}

static void apply(struct point *point, const double *scalars, double gradient) {
    struct tw_optimizer_double work = {.count = 1,
                                       .gradient = &gradient,
                                       .weights_in = &point->x,
                                       .weights_out = &point->x,
                                       .scalars = scalars};
    for (int s = 0; s < point->rule->states; s++) {
        work.state[s] = &point->state[s];
    }
    point->rule->apply_double(&point->options, &work);
}

static void step(struct point *point, double lr, double gradient) {
    double scalars[TW_OPTIMIZER_SCALARS];
    point->rule->prepare(&point->options, ++point->t, lr, scalars);
    apply(point, scalars, gradient);
}

static const double script[5] = {1, -2, 3, .5, -.25};

static void near(const char *what, double is, double should) {
    if (!(fabs(is - should) <= 1e-12)) {
        fail_msg("%s: %.15f, should be %.15f", what, is, should);
    }
}

struct row {
    const char *line;
    double x1, x2, x5;
};

#define ADAM "adam lr=.1 beta1=.9 beta2=.99 eps=.1"

static void golden_vectors_at_constant_lr(void **unused) {
    static const struct row rows[] = {
        {"sgd lr=.1", -.1, .1, -.225},
        {"momentum lr=.1", -.1, .01, -.60471},
        {"momentum lr=.1 momentum=.9 lr_at=outside", -.1, .01, -.60471},
        {"momentum lr=.1 momentum=.9 lr_at=inside", -.1, .01, -.60471},
        {"momentum lr=.1 dampening=.9", -.1, -.17, -.42903},
        {"momentum lr=.1 dampening=.9 lr_at=inside", -.1, -.17, -.42903},
        {"momentum lr=.1 momentum=0", -.1, .1, -.225},
        {"nesterov lr=.1", -.19, .109, -.769239},
        {"nesterov lr=.1 nesterov=lookahead lr_at=inside", -.19, .109, -.769239},
        {"nesterov lr=.1 nesterov=lookup", -.19, .109, -.769239},
        {"nesterov lr=.1 nesterov=lookup lr_at=inside", -.19, .109, -.769239},
        {ADAM, -.090909090909091, -.056520004910313, -.147973218703445},
        {ADAM " eps_at=outside bias=paper", -.090909090909091, -.056520004910313,
         -.147973218703445},
        {ADAM " eps_at=inside", -.095346258924559, -.059493400427374, -.154424522747315},
        {ADAM " eps_at=hat", -.05, -.024744944303327, -.100674723909203},
        {ADAM " bias=nopower eps_at=inside", -.095346258924559, -.046589616134986,
         -.210345178767157},
        {ADAM " bias=none", -.05, -.015984614801861, -.145656989512391},
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct point point = start(rows[r].line, 0);
        for (int t = 1; t <= 5; t++) {
            step(&point, point.options.lr, script[t - 1]);
            if (t == 1) {
                near(rows[r].line, point.x, rows[r].x1);
            } else if (t == 2) {
                near(rows[r].line, point.x, rows[r].x2);
            }
        }
        near(rows[r].line, point.x, rows[r].x5);
    }
}

static void golden_vectors_when_lr_falls_to_a_tenth_at_the_third_update(void **unused) {
    static const struct row rows[] = {
        {"momentum lr=.1 lr_at=inside", -.1, .01, .18999},
        {"momentum lr=.1 lr_at=outside", -.1, .01, -.051471},
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct point point = start(rows[r].line, 0);
        for (int t = 1; t <= 5; t++) {
            step(&point, t < 3 ? .1 : .01, script[t - 1]);
        }
        near(rows[r].line, point.x, rows[r].x5);
    }
}

/* Rows of the golden table that have no option, by scalars of their own: that the
 * kernels do what the scalars say, and not what the options say. */
static void golden_vectors_of_test_only_variants(void **unused) {
    struct point ema = start("momentum lr=.1 dampening=.9", 0);
    struct point later = start(ADAM, 0);
    for (int t = 1; t <= 5; t++) {
        double scalars[TW_OPTIMIZER_SCALARS];
        ema.rule->prepare(&ema.options, 2, .1, scalars); /* the first gradient damped too */
        apply(&ema, scalars, script[t - 1]);
        later.rule->prepare(&later.options, (uint64_t)t + 1, .1, scalars);
        apply(&later, scalars, script[t - 1]);
        if (t == 1) {
            near("EMA momentum", ema.x, -.01);
            near("Adam, exponent t + 1", later.x, -.065067130527314);
        }
    }
    near("EMA momentum", ema.x, -.060471);
    near("Adam, exponent t + 1", later.x, -.120658248919923);
}

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
    rosenbrock("adam lr=.01", false, 4.7238e-10, .01);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_vectors_at_constant_lr),
        cmocka_unit_test(golden_vectors_when_lr_falls_to_a_tenth_at_the_third_update),
        cmocka_unit_test(golden_vectors_of_test_only_variants),
        cmocka_unit_test(nesterov_outside_follows_pytorch_when_lr_changes),
        cmocka_unit_test(nesterov_lookup_publishes_the_point_ahead_of_x),
        cmocka_unit_test(momentum_under_a_constant_gradient_is_a_geometric_sum),
        cmocka_unit_test(adam_under_a_constant_gradient_steps_by_lr),
        cmocka_unit_test(adam_without_powers_overshoots_as_its_closed_form),
        cmocka_unit_test(adam_without_bias_correction_starts_too_fast),
        cmocka_unit_test(the_ravine_contracts_as_gradient_descent_should),
        cmocka_unit_test(rosenbrock_ends_where_others_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
