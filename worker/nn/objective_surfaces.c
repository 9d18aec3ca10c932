/* Surfaces of two coordinates on which optimizers are shown. */
#include "worker/nn/objective_tables.h"

static const struct tw_option_rule rosenbrock_rules[] = {
    {TW_OBJECTIVE_MEMBER(a), TW_OBJECTIVE_REAL, .fallback = 1, .text = "x1 of the minimum"},
    {TW_OBJECTIVE_MEMBER(b), TW_OBJECTIVE_REAL, .fallback = 100, .text = "how steep the walls are"},
    TW_OBJECTIVE_COMMON,
};

static double rosenbrock(const struct tw_objective_options *options, const double *x,
                         double *gradient) {
    double along = options->a - x[0], across = x[1] - x[0] * x[0];
    return tw_objective_two(along * along + options->b * (across * across), gradient,
                            -2 * along - 4 * options->b * x[0] * across, 2 * options->b * across);
}

static void rosenbrock_bottom(const struct tw_objective_options *options, double *x) {
    x[0] = options->a;
    x[1] = options->a * options->a;
}

const struct tw_objective tw_objective_rosenbrock = {
    .name = "rosenbrock",
    .formula = "(a - x1)^2 + b (x2 - x1^2)^2; minimum 0 at (a, a^2)",
    .source = "Rosenbrock 1960",
    TW_OBJECTIVE_TABLE(rosenbrock_rules),
    .dims = 2,
    .beginning = {-1.2, 1},
    .value = rosenbrock,
    .bottom = rosenbrock_bottom,
};

static const struct tw_option_rule common_rules[] = {TW_OBJECTIVE_COMMON};

static double saddle(const struct tw_objective_options *options, const double *x,
                     double *gradient) {
    return tw_objective_two(x[0] * x[0] - x[1] * x[1], gradient, 2 * x[0], -2 * x[1]);
}

const struct tw_objective tw_objective_saddle = {
    .name = "saddle",
    .formula = "x1^2 - x2^2; no minimum: without noise, a start with x2 = 0 ends in the saddle",
    TW_OBJECTIVE_TABLE(common_rules),
    .dims = 2,
    .beginning = {1, 1e-3},
    .value = saddle,
};

static double beale(const struct tw_objective_options *options, const double *x, double *gradient) {
    double y = x[1], y2 = y * y, y3 = y2 * y;
    double f1 = 1.5 - x[0] + x[0] * y, f2 = 2.25 - x[0] + x[0] * y2, f3 = 2.625 - x[0] + x[0] * y3;
    return tw_objective_two(f1 * f1 + f2 * f2 + f3 * f3, gradient,
                            2 * (f1 * (y - 1) + f2 * (y2 - 1) + f3 * (y3 - 1)),
                            2 * x[0] * (f1 + 2 * f2 * y + 3 * f3 * y2));
}

static void beale_bottom(const struct tw_objective_options *options, double *x) {
    x[0] = 3;
    x[1] = 0.5;
}

const struct tw_objective tw_objective_beale = {
    .name = "beale",
    .formula = "(1.5 - x1 + x1 x2)^2 + (2.25 - x1 + x1 x2^2)^2 + (2.625 - x1 + x1 x2^3)^2; "
               "minimum 0 at (3, 0.5)",
    .source = "Beale 1958",
    TW_OBJECTIVE_TABLE(common_rules),
    .dims = 2,
    .beginning = {1, 1},
    .value = beale,
    .bottom = beale_bottom,
};

static double plateau(const struct tw_objective_options *options, const double *x,
                      double *gradient) {
    double square = x[0] * x[0] + x[1] * x[1], below = 1 + square;
    double slope = 2 / (below * below);
    return tw_objective_two(square / below, gradient, slope * x[0], slope * x[1]);
}

const struct tw_objective tw_objective_plateau = {
    .name = "plateau",
    .formula = "r^2 / (1 + r^2), r^2 = x1^2 + x2^2: a hole in a plain; gradients fall with r^-3",
    TW_OBJECTIVE_TABLE(common_rules),
    .dims = 2,
    .beginning = {4, 4},
    .value = plateau,
};

static const struct tw_option_rule cliff_rules[] = {
    {TW_OBJECTIVE_MEMBER(height), TW_OBJECTIVE_REAL, .fallback = 1, .text = "of the wall"},
    {TW_OBJECTIVE_MEMBER(width), .type = TW_OPTION_REAL, .min = 0, .min_open = true,
     .max = INFINITY, .max_open = true, .fallback = 1e-3, .text = "of the wall"},
    TW_OBJECTIVE_COMMON,
};

/* The logistic function of t, and its derivative, for any t. */
static double logistic(double t, double *slope) {
    double e = tw_exp(-fabs(t)), small = e / (1 + e);
    *slope = small / (1 + e);
    return t < 0 ? small : 1 - small;
}

static double cliff(const struct tw_objective_options *options, const double *x, double *gradient) {
    double slope, wall = logistic(x[0] / options->width, &slope);
    return tw_objective_two((x[0] * x[0] + x[1] * x[1]) / 20 + options->height * wall, gradient,
                            x[0] / 10 + options->height * slope / options->width, x[1] / 10);
}

/* The wall moves the bottom of the bowl to its foot. Between 0 and where the bowl alone is as
 * steep as the wall at its edge, the slope along x1 has one zero and only grows: bisection. */
static void cliff_bottom(const struct tw_objective_options *options, double *x) {
    double at[2] = {0, 0}, gradient[2];
    double below = -2.5 * options->height / options->width, above = 0;
    if (below > above) {
        above = below;
        below = 0;
    }
    while ((at[0] = below + (above - below) / 2) != below && at[0] != above) {
        cliff(options, at, gradient);
        if (gradient[0] > 0)
            above = at[0];
        else
            below = at[0];
    }
    x[0] = at[0];
}

const struct tw_objective tw_objective_cliff = {
    .name = "cliff",
    .formula =
        "(x1^2 + x2^2) / 20 + height / (1 + e^(-x1 / width)): one step at its edge, where the "
        "slope is height / (4 width), leads far away unless it is clipped",
    .source = "after Pascanu, Mikolov and Bengio 2013, figure 6",
    TW_OBJECTIVE_TABLE(cliff_rules),
    .dims = 2,
    .beginning = {2, 1},
    .value = cliff,
    .bottom = cliff_bottom,
};
