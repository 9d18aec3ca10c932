/* Quadratic forms: any spectrum in any position, and the ravine of the lectures.
 *
 * H = R diag(spectrum) R^T. R is a product of plane rotations, by the angles of `rotation` in
 * degrees, in the planes (1,2), (1,3), ..., (1,n), (2,3), ...: every rotation is such a
 * product. Rotations by multiples of 90 degrees are exact.
 *
 * Lectures draw the same pictures for two conventions: with f = x^T H x / 2 the gradient is H x
 * and gradient descent diverges from lr = 2 / lambda_max on; with f = x^T H x it is 2 H x and the
 * limit is 1 / lambda_max. Each has its name. */
#include "worker/nn/objective_tables.h"

enum { HX, TWO_HX };
static const char *const convention_names[] = {"Hx", "2Hx", NULL};

static const struct tw_option_rule quadratic_rules[] = {
    {TW_OBJECTIVE_MEMBER(spectrum), TW_OBJECTIVE_LIST, .required = true,
     .text = "the eigenvalues of H, such as [10, 1]"},
    {TW_OBJECTIVE_MEMBER(rotation), TW_OBJECTIVE_LIST,
     .text =
         "angles in degrees, in the planes (1,2), (1,3), ..., (2,3), ...; those left out are 0"},
    {TW_OBJECTIVE_MEMBER(convention), .type = TW_OPTION_ENUM, .fallback = HX,
     .names = convention_names, .text = "the gradient; f = x^T H x / 2, or twice that"},
    TW_OBJECTIVE_COMMON,
};

/* Turns two coordinates by an angle. */
static void turn(double *x, double *y, double degrees, double direction) {
    double cosine = tw_cos_pi(degrees / 180);
    double sine = direction * tw_cos_pi((degrees - 90) / 180);
    double turned = cosine * *x - sine * *y;
    *y = sine * *x + cosine * *y;
    *x = turned;
}

/* Applies the rotations to x [n]: R x, or with `back` R^T x. */
static void rotate(const struct tw_objective_options *options, double *x, bool back) {
    int planes = options->rotation.count;
    for (int k = 0; k < planes; k++) {
        int at = back ? planes - 1 - k : k, first = 0, left = at;
        while (left >= options->n - 1 - first)
            left -= options->n - 1 - first++;
        turn(&x[first], &x[first + 1 + left], options->rotation.at[at], back ? -1 : 1);
    }
}

static double quadratic(const struct tw_objective_options *options, const double *x,
                        double *gradient) {
    double y[TW_OBJECTIVE_MAX], sum = 0;
    double scale = options->convention == HX ? 1 : 2;
    for (int i = 0; i < options->n; i++)
        y[i] = x[i];
    rotate(options, y, true);
    for (int i = 0; i < options->n; i++) {
        double slope = scale * options->spectrum.at[i] * y[i];
        sum += slope * y[i];
        y[i] = slope;
    }
    rotate(options, y, false);
    for (int i = 0; gradient != NULL && i < options->n; i++)
        gradient[i] = y[i];
    return sum / 2;
}

const struct tw_objective tw_objective_quadratic = {
    .name = "quadratic",
    .formula = "x^T H x / 2, or x^T H x by convention 2Hx; H = R diag(spectrum) R^T",
    TW_OBJECTIVE_TABLE(quadratic_rules),
    .beginning = {1},
    .value = quadratic,
};

static const struct tw_option_rule ravine_rules[] = {
    {TW_OBJECTIVE_MEMBER(c), TW_OBJECTIVE_REAL, .fallback = 50, .text = "how steep its walls are"},
    TW_OBJECTIVE_COMMON,
};

static double ravine(const struct tw_objective_options *options, const double *x,
                     double *gradient) {
    return tw_objective_two(x[0] * x[0] + options->c * (x[1] * x[1]), gradient, 2 * x[0],
                            2 * options->c * x[1]);
}

const struct tw_objective tw_objective_ravine = {
    .name = "ravine",
    .formula = "x1^2 + c x2^2",
    TW_OBJECTIVE_TABLE(ravine_rules),
    .dims = 2,
    .beginning = {4, 0.5},
    .value = ravine,
};
