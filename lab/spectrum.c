#include "lab/spectrum.h"

#include <math.h>
#include <string.h>

/* ---- eigenvalues ---- */

enum { CYCLES = 30 };

/* Turns coordinates p and q so that matrix[p][q] becomes 0. */
static void turn(struct tw_spectrum *out, double matrix[][TW_OBJECTIVE_MAX], int p, int q) {
    double theta = (matrix[q][q] - matrix[p][p]) / (2 * matrix[p][q]);
    double t = copysign(1, theta) / (fabs(theta) + hypot(theta, 1));
    double c = 1 / hypot(t, 1), s = t * c;
    for (int i = 0; i < out->n; i++) {
        double left = matrix[i][p], right = matrix[i][q];
        matrix[i][p] = c * left - s * right;
        matrix[i][q] = s * left + c * right;
    }
    for (int i = 0; i < out->n; i++) {
        double upper = matrix[p][i], lower = matrix[q][i];
        matrix[p][i] = c * upper - s * lower;
        matrix[q][i] = s * upper + c * lower;
        double first = out->vector[p][i], second = out->vector[q][i];
        out->vector[p][i] = c * first - s * second;
        out->vector[q][i] = s * first + c * second;
    }
}

static void swap(struct tw_spectrum *out, int a, int b) {
    double value = out->value[a], vector[TW_OBJECTIVE_MAX];
    out->value[a] = out->value[b];
    out->value[b] = value;
    memcpy(vector, out->vector[a], sizeof vector);
    memcpy(out->vector[a], out->vector[b], sizeof vector);
    memcpy(out->vector[b], vector, sizeof vector);
}

void tw_spectrum_of(struct tw_spectrum *out, double matrix[][TW_OBJECTIVE_MAX]) {
    memset(out->vector, 0, sizeof out->vector);
    for (int i = 0; i < out->n; i++)
        out->vector[i][i] = 1;
    /* They converge quadratically; ten would do. */
    for (int cycle = 0; cycle < CYCLES; cycle++)
        for (int p = 0; p < out->n; p++)
            for (int q = p + 1; q < out->n; q++)
                if (matrix[p][q] != 0)
                    turn(out, matrix, p, q);
    for (int i = 0; i < out->n; i++)
        out->value[i] = matrix[i][i];
    for (int i = 0; i < out->n; i++)
        for (int k = i + 1; k < out->n; k++)
            if (out->value[k] < out->value[i])
                swap(out, i, k);
}

/* ---- the Hessian ---- */

static void differences(const struct tw_objective *objective,
                        const struct tw_objective_options *options, const double *x, double h,
                        double out[][TW_OBJECTIVE_MAX]) {
    static const double weight[] = {1, -8, 8, -1}, step[] = {-2, -1, 1, 2};
    int n = options->n;
    double at[TW_OBJECTIVE_MAX], gradient[TW_OBJECTIVE_MAX];
    memcpy(at, x, (size_t)n * sizeof *at);
    for (int k = 0; k < n; k++) {
        for (int i = 0; i < n; i++)
            out[k][i] = 0;
        for (int s = 0; s < 4; s++) {
            at[k] = x[k] + step[s] * h;
            objective->value(options, at, gradient);
            for (int i = 0; i < n; i++)
                out[k][i] += weight[s] * gradient[i] / (12 * h);
        }
        at[k] = x[k];
    }
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++)
            out[i][k] = out[k][i] = (out[i][k] + out[k][i]) / 2;
}

/* Distances. A change below TRUSTED is no accident of rounding; one MUCH larger than the least so
 * far ends the search. */
#define NEAREST 0x1p-40
#define FARTHEST 1
#define TRUSTED 1e-6
#define MUCH 100
#define ROUNDING 1e-14

static double change(int n, double a[][TW_OBJECTIVE_MAX], double b[][TW_OBJECTIVE_MAX]) {
    double most = 0, largest = 0;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++) {
            most = fmax(most, fabs(a[i][k] - b[i][k]));
            largest = fmax(largest, fabs(a[i][k]));
        }
    return largest > 0 ? most / largest : most;
}

void tw_spectrum_at(struct tw_spectrum *out, const struct tw_objective *objective,
                    const struct tw_objective_options *options, const double *x) {
    double before[TW_OBJECTIVE_MAX][TW_OBJECTIVE_MAX], now[TW_OBJECTIVE_MAX][TW_OBJECTIVE_MAX];
    double best[TW_OBJECTIVE_MAX][TW_OBJECTIVE_MAX];
    double h = NEAREST;
    out->n = options->n;
    out->error = INFINITY;
    differences(objective, options, x, h, before);
    memcpy(best, before, sizeof best);
    while ((h *= 2) <= FARTHEST) {
        differences(objective, options, x, h, now);
        double error = change(out->n, now, before);
        if (error < out->error) {
            out->error = error;
            memcpy(best, now, sizeof best);
        } else if (out->error < TRUSTED && error > MUCH * fmax(out->error, ROUNDING)) {
            break;
        }
        memcpy(before, now, sizeof before);
    }
    tw_spectrum_of(out, best);
}
