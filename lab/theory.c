#include "lab/theory.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* An eigenvalue this small, relative to the largest, is zero. */
#define ZERO 1e-9
/* The share by which the slope along an eigenvector may differ from that of a quadratic form. */
#define CURVED 1e-5
#define MILLIONTH 1e-6

enum { LAG_MAX = 128 };

/* ---- running ---- */

struct bench {
    const struct tw_theory *theory;
    const struct tw_objective *objective;
    struct tw_objective_options surface;
    const struct tw_optimizer *rule; /* sgd or momentum */
    struct tw_optimizer_options options;
    const double *low, *high; /* eigenvectors of the least and the largest eigenvalue */
};

static void take_rule(struct bench *bench, const char *name) {
    struct tw_option lr = {.key = "lr", .text = "1"};
    const struct tw_variant variant = {.name = name, .path = "", .count = 1, .options = &lr};
    enum tw_status status = tw_optimizer_find(&bench->rule, &bench->options, &variant, NULL);
    assert(status == TW_OK);
    (void)status;
}

static void begin(const struct bench *bench, struct tw_descent *descent, const double *towards) {
    double start[TW_OBJECTIVE_MAX];
    *descent = (struct tw_descent){.rule = bench->rule,
                                   .rule_options = &bench->options,
                                   .objective = bench->objective,
                                   .surface = &bench->surface};
    for (int i = 0; i < bench->surface.n; i++)
        start[i] = bench->theory->at[i] + bench->theory->distance * towards[i];
    tw_descent_begin(descent, start);
}

static double error_along(const struct bench *bench, const struct tw_descent *descent,
                          const double *direction) {
    double sum = 0;
    for (int i = 0; i < bench->surface.n; i++)
        sum += (descent->weights[i] - bench->theory->at[i]) * direction[i];
    return sum;
}

/* Fills e[4] with the errors along an eigenvector after 0, k, 2 k and 3 k steps; returns k: as many
 * as it takes until the error is clearly another one, so that rounding matters little. */
static int errors_along(const struct bench *bench, const double *direction, double e[4]) {
    struct tw_descent descent;
    int k = 0;
    begin(bench, &descent, direction);
    e[0] = error_along(bench, &descent, direction);
    do {
        tw_descent_step(&descent);
        e[1] = error_along(bench, &descent, direction);
        k++;
    } while (k < LAG_MAX && fabs(e[1]) > 0.3 * fabs(e[0]) && fabs(e[1]) < 3 * fabs(e[0]));
    for (int i = 2; i < 4; i++) {
        for (int step = 0; step < k; step++)
            tw_descent_step(&descent);
        e[i] = error_along(bench, &descent, direction);
    }
    return k;
}

/* The factor by which the error along an eigenvector changes with a step, in the long run. Near
 * the point, and for any k, it obeys e(t + 2k) = p e(t + k) + q e(t), with q = 0 without momentum:
 * p and q follow from four errors, and the factor of k steps is the larger root of
 * z^2 = p z + q. */
static double factor_along(const struct bench *bench, const double *direction) {
    double e[4], factor;
    int k = errors_along(bench, direction, e);
    double determinant = e[1] * e[1] - e[0] * e[2];
    if (bench->options.momentum == 0) {
        factor = fabs(e[1] / e[0]);
    } else if (determinant == 0) {
        factor = e[1] == 0 ? 0 : fabs(e[2] / e[1]);
    } else {
        double p = (e[1] * e[2] - e[0] * e[3]) / determinant;
        double q = (e[1] * e[3] - e[2] * e[2]) / determinant;
        double root = p * p / 4 + q;
        factor = root < 0 ? sqrt(-q) : fabs(p) / 2 + sqrt(root);
    }
    return pow(factor, 1.0 / k);
}

/* Of both ends of the spectrum, the slower one. */
static double factor(const struct bench *bench) {
    return fmax(factor_along(bench, bench->low), factor_along(bench, bench->high));
}

/* Steps until the error, begun along both ends of the spectrum, is a millionth; NaN: too many. */
static double steps_to_a_millionth(const struct bench *bench) {
    struct tw_descent descent;
    double towards[TW_OBJECTIVE_MAX];
    for (int i = 0; i < bench->surface.n; i++)
        towards[i] = (bench->low[i] + bench->high[i]) * sqrt(0.5);
    begin(bench, &descent, towards);
    for (long step = 1; step <= TW_THEORY_STEPS; step++) {
        double sum = 0;
        tw_descent_step(&descent);
        for (int i = 0; i < bench->surface.n; i++) {
            double error = descent.weights[i] - bench->theory->at[i];
            sum += error * error;
        }
        if (sqrt(sum) <= MILLIONTH * bench->theory->distance)
            return (double)step;
    }
    return NAN;
}

/* ---- searching ---- */

/* The learning rate from which on the error along the steepest direction no longer shrinks: first
 * doubled, from one that is small for this curvature, then by bisection. */
static double measured_limit(struct bench *bench, double largest) {
    double low = 0, high = 1 / (64 * largest);
    bench->options.lr = high;
    while (factor_along(bench, bench->high) < 1) {
        low = high;
        bench->options.lr = high *= 2;
    }
    for (int halved = 0; halved < 60; halved++) {
        double middle = bench->options.lr = low + (high - low) / 2;
        if (factor_along(bench, bench->high) < 1)
            low = middle;
        else
            high = middle;
    }
    return high;
}

/* Where the factor is least, for *option between low and high (golden section; Kiefer 1953). */
static double measured_best(struct bench *bench, double *option, double low, double high) {
    const double golden = 0.6180339887498949;
    double before = *option, left = high - golden * (high - low),
           right = low + golden * (high - low);
    *option = left;
    double at_left = factor(bench);
    *option = right;
    double at_right = factor(bench);
    for (int i = 0; i < 70; i++) {
        if (at_left < at_right) {
            high = right;
            right = left;
            at_right = at_left;
            *option = left = high - golden * (high - low);
            at_left = factor(bench);
        } else {
            low = left;
            left = right;
            at_left = at_right;
            *option = right = low + golden * (high - low);
            at_right = factor(bench);
        }
    }
    *option = before;
    return low + (high - low) / 2;
}

/* ---- predicting ---- */

static void add(struct tw_theory *out, struct tw_theory_row row) {
    assert(out->rows < TW_THEORY_ROWS);
    out->row[out->rows++] = row;
}

static double predicted_steps(double rate) {
    return rate > 0 ? fmax(1, ceil(log(MILLIONTH) / log(rate) - 1e-9)) : 1;
}

/* At the optimum both ends have a double root, rate and -rate: begun at rest, their errors are
 * (1 + (1 - rate) t) rate^t and (1 + (1 + rate) t) (-rate)^t. */
static double predicted_momentum_steps(double rate) {
    for (double t = 1; t <= TW_THEORY_STEPS; t++) {
        double error = hypot(1 + (1 - rate) * t, 1 + (1 + rate) * t) * sqrt(0.5) * pow(rate, t);
        if (error <= MILLIONTH)
            return t;
    }
    return NAN;
}

static void add_limit(struct tw_theory *out, struct bench *bench, double largest) {
    take_rule(bench, "sgd");
    add(out, (struct tw_theory_row){"gd_limit", "gradient descent", "stable below lr",
                                    "2 / lambda_max", 2 / largest, measured_limit(bench, largest)});
}

static void add_descent(struct tw_theory *out, struct bench *bench, double least, double largest) {
    double lr = 2 / (least + largest), rate = (largest - least) / (largest + least);
    add_limit(out, bench, largest);
    double measured = measured_best(bench, &bench->options.lr, 0, out->row[0].measured);
    add(out, (struct tw_theory_row){"gd_lr", "gradient descent", "best lr",
                                    "2 / (lambda_min + lambda_max)", lr, measured});
    bench->options.lr = lr;
    add(out, (struct tw_theory_row){"gd_rate", "gradient descent", "error per step there",
                                    "(kappa - 1) / (kappa + 1)", rate, factor(bench)});
    add(out, (struct tw_theory_row){"gd_steps", "gradient descent", "steps to a millionth", "",
                                    predicted_steps(rate), steps_to_a_millionth(bench)});
}

static void add_momentum(struct tw_theory *out, struct bench *bench, double least, double largest) {
    double lr = 4 / pow(sqrt(least) + sqrt(largest), 2);
    double rate = (sqrt(largest) - sqrt(least)) / (sqrt(largest) + sqrt(least));
    double momentum = rate * rate;
    take_rule(bench, "momentum");
    bench->options.lr = lr;
    bench->options.momentum = momentum;
    double measured = measured_best(bench, &bench->options.lr, 0, 4 / largest);
    add(out, (struct tw_theory_row){"hb_lr", "momentum", "best lr",
                                    "4 / (sqrt lambda_min + sqrt lambda_max)^2", lr, measured});
    measured = measured_best(bench, &bench->options.momentum, 0, 1);
    add(out, (struct tw_theory_row){"hb_momentum", "momentum", "best momentum",
                                    "((sqrt kappa - 1) / (sqrt kappa + 1))^2", momentum, measured});
    add(out, (struct tw_theory_row){"hb_rate", "momentum", "error per step there",
                                    "(sqrt kappa - 1) / (sqrt kappa + 1)", rate, factor(bench)});
    add(out, (struct tw_theory_row){"hb_steps", "momentum", "steps to a millionth", "",
                                    predicted_momentum_steps(rate), steps_to_a_millionth(bench)});
}

/* How fast a saddle is left: along the lowest direction errors grow. */
static void add_escape(struct tw_theory *out, struct bench *bench, double least, double largest) {
    bench->options.lr = 1 / largest;
    add(out, (struct tw_theory_row){"escape", "gradient descent", "growth at lr = 1 / lambda_max",
                                    "1 - lr lambda_min", 1 - least / largest,
                                    factor_along(bench, bench->low)});
}

/* ---- where ---- */

static bool is_curved(const struct bench *bench, const double *direction, double value,
                      double distance) {
    double x[TW_OBJECTIVE_MAX], gradient[TW_OBJECTIVE_MAX], slope = 0;
    for (int i = 0; i < bench->surface.n; i++)
        x[i] = bench->theory->at[i] + distance * direction[i];
    bench->objective->value(&bench->surface, x, gradient);
    for (int i = 0; i < bench->surface.n; i++)
        slope += gradient[i] * direction[i];
    return !(fabs(slope - distance * value) <= CURVED * fabs(value) * distance);
}

static double near_enough(const struct bench *bench) {
    const struct tw_spectrum *spectrum = &bench->theory->spectrum;
    double distance = 1;
    for (int halved = 0; halved < 60; halved++, distance /= 2)
        if (!is_curved(bench, bench->high, spectrum->value[spectrum->n - 1], distance) &&
            (fabs(spectrum->value[0]) <= ZERO * spectrum->value[spectrum->n - 1] ||
             !is_curved(bench, bench->low, spectrum->value[0], distance)))
            break;
    return distance;
}

static enum tw_theory_kind kind_of(double least, double largest) {
    if (largest <= 0)
        return TW_THEORY_HILL;
    if (least < -ZERO * largest)
        return TW_THEORY_SADDLE;
    return least <= ZERO * largest ? TW_THEORY_FLAT : TW_THEORY_MINIMUM;
}

void tw_theory_compare(struct tw_theory *out, const struct tw_objective *objective,
                       const struct tw_objective_options *options) {
    struct bench bench = {.theory = out, .objective = objective, .surface = *options};
    bench.surface.noise = 0;
    *out = (struct tw_theory){.condition = NAN};
    tw_objective_bottom(objective, options, out->at);
    tw_spectrum_at(&out->spectrum, objective, options, out->at);
    double least = out->spectrum.value[0], largest = out->spectrum.value[options->n - 1];
    bench.low = out->spectrum.vector[0];
    bench.high = out->spectrum.vector[options->n - 1];
    out->kind = kind_of(least, largest);
    if (out->kind == TW_THEORY_HILL)
        return;
    out->distance = near_enough(&bench);
    if (out->kind == TW_THEORY_MINIMUM) {
        out->condition = largest / least;
        add_descent(out, &bench, least, largest);
        add_momentum(out, &bench, least, largest);
        return;
    }
    add_limit(out, &bench, largest);
    if (out->kind == TW_THEORY_FLAT)
        out->condition = INFINITY;
    else
        add_escape(out, &bench, least, largest);
}
