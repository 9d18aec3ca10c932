/* Laws of slots that make steps of their own (docs/local-steps.md), on the virtual cluster, with
 * what real workers compute with. Sources: Local SGD, Stich 2018; elastic averaging, Zhang 2015.
 *
 * On a quadratic a step is linear in where it starts, so that averaging and stepping commute: the
 * mean of where slots are is, after each local step, the path of synchronous SGD on the same draws,
 * however many steps H lie between two averages. In numbers that are rounded that holds up to
 * rounding: here once where nothing is ever rounded, and once with a bound of all roundings.
 */
#include "tests/sim/laws.h"

#include <float.h>
#include <stdio.h>

#include "common/base/rng.h"
#include "tests/sim/walkers.h"
#include "worker/data/sampler.h"

enum { STEPS = 128, SLOTS = 8, ROWS = 4 };

/* ---- without any rounding ---- */

/* Linear regression on integers: out = sum of z_k w_k for each of two outputs, where every sample
 * has the same z, (1, -1, 1) and the bias's 1, and the gradient of a row is (out - y) z. So the
 * Hessian is z z^T, its eigenvalues are 0 and |z|^2 = 4, and lr times that is what the case is
 * about: with 2, out' = -out + 2 y turns over in each step and forgets nothing, and all numbers are
 * small multiples of a power of two as long as one likes. With 1 it is out' = y. With others it is
 * a fraction, and each step needs a bit more, so that few steps are exact.
 */
enum { INPUTS = 3, OUTPUTS = 2, FACTORS = INPUTS + 1, WEIGHTS = FACTORS * OUTPUTS, SAMPLES = 96 };
static const float z[FACTORS] = {1, -1, 1, 1};

#define REGRESSION "  input: [3]\n  layers: [dense: 2]\n  loss: mean_squared_error\n"

struct exact {
    uint32_t slots, rows;
    double rate;
    uint32_t steps; /* in all */
    double unit;    /* of which all numbers on the way are multiples */
};

static const struct exact exact[] = {
    {4, 2, .5, STEPS, 0x1p-8},  {2, 1, .5, STEPS, 0x1p-8}, {8, 4, .5, STEPS, 0x1p-10},
    {4, 1, .25, STEPS, 0x1p-8}, {2, 1, .125, 8, 0x1p-16},  {4, 2, .375, 8, 0x1p-17},
};

struct twins {
    const struct exact *of;
    const float *targets; /* [SAMPLES][OUTPUTS] */
    struct tw_sampler *sampler[SLOTS];
    double w[WEIGHTS]; /* the servers' */
    double at[SLOTS][STEPS][WEIGHTS], push[SLOTS][WEIGHTS];
    double (*path)[WEIGHTS]; /* [steps + 1], of synchronous SGD */
    bool synchronous;        /* this run makes the path */
    unsigned apart;          /* local steps after which slots are at different places */
};

/* A number that float32 has, next to all others on the way. */
static double whole(const struct twins *t, double value) {
    double units = value / t->of->unit;
    if (!(units == floor(units) && fabs(units) <= 0x1p24))
        fail_msg("%.17g is no multiple of %g, or too large: it would be rounded", value,
                 t->of->unit);
    return value;
}

/* The gradient at x, summed over the rows of a slot's local step. */
static void sum_of_rows(const struct twins *t, uint32_t slot, uint64_t step, const double *x,
                        double *sum) {
    uint32_t taken[ROWS];
    double sizes[WEIGHTS] = {0};
    assert_int_equal(tw_sampler_take(t->sampler[slot], step, taken), TW_OK);
    memset(sum, 0, WEIGHTS * sizeof *sum);
    for (uint32_t row = 0; row < t->of->rows; row++)
        for (int j = 0; j < OUTPUTS; j++) {
            double out = 0, size = 0;
            for (int k = 0; k < FACTORS; k++) {
                out += (double)z[k] * x[k * OUTPUTS + j];
                size += fabs(x[k * OUTPUTS + j]);
            }
            whole(t, size);
            double off = out - (double)t->targets[taken[row] * OUTPUTS + (uint32_t)j];
            whole(t, 2 * off);
            for (int k = 0; k < FACTORS; k++) {
                sum[k * OUTPUTS + j] += (double)z[k] * off;
                sizes[k * OUTPUTS + j] += fabs(off);
            }
        }
    for (int i = 0; i < WEIGHTS; i++)
        whole(t, sizes[i]); /* in any order */
}

/* w - rate * (sum / divisor), each number of it. */
static double descend(const struct twins *t, double w, double sum, double divisor) {
    return whole(t, w - whole(t, t->of->rate * whole(t, whole(t, sum) / divisor)));
}

/* What a slot does by itself, and that it has pushed the very sum of that. */
static void walk_too(struct walkers *walkers, uint32_t slot, uint64_t step, const float *push) {
    struct twins *t = walkers->context;
    const uint32_t many = walkers->local.steps;
    double x[WEIGHTS], sum[WEIGHTS];
    memcpy(x, t->w, sizeof x);
    memset(t->push[slot], 0, sizeof t->push[slot]);
    for (uint32_t h = 0; h < many; h++) {
        sum_of_rows(t, slot, (step - 1) * many + 1 + h, x, sum);
        for (int i = 0; i < WEIGHTS; i++) {
            t->push[slot][i] = whole(t, t->push[slot][i] + sum[i]);
            x[i] = descend(t, x[i], sum[i], t->of->rows);
        }
        memcpy(t->at[slot][h], x, sizeof x);
    }
    for (int i = 0; i < WEIGHTS; i++)
        assert_true((double)push[i] == t->push[slot][i]);
}

/* The mean of where the slots are after a local step, which the synchronous path is, too. */
static void compare_mean(struct twins *t, uint32_t h, const double *path) {
    const uint32_t slots = t->of->slots;
    bool apart = false;
    for (int i = 0; i < WEIGHTS; i++) {
        double mean = 0, size = 0;
        for (uint32_t slot = 0; slot < slots; slot++) {
            mean += t->at[slot][h][i] / slots;
            size += fabs(t->at[slot][h][i]);
            apart = apart || t->at[slot][h][i] != t->at[0][h][i];
        }
        whole(t, size);
        assert_true(mean == path[i]);
    }
    t->apart += apart;
}

static void compare_with_path(struct walkers *walkers, uint64_t version, const float *x) {
    struct twins *t = walkers->context;
    const uint32_t many = walkers->local.steps, slots = t->of->slots;
    for (int i = 0; i < WEIGHTS; i++) {
        double sum = 0, size = 0;
        for (uint32_t slot = 0; slot < slots; slot++) {
            sum += t->push[slot][i];
            size += fabs(t->push[slot][i]);
        }
        whole(t, size);
        t->w[i] = descend(t, t->w[i], sum, (double)slots * t->of->rows);
        assert_true((double)x[i] == t->w[i]);
        if (t->synchronous)
            t->path[version][i] = (double)x[i];
        within("from the synchronous path", (double)x[i], t->path[version * many][i], 0);
    }
    for (uint32_t h = 0; h < many; h++)
        compare_mean(t, h, t->path[(version - 1) * many + 1 + h]);
}

/* The run with `many` local steps at a time; returns after how many of all slots were apart. */
static unsigned run_exactly(struct twins *t, uint32_t many, const struct tw_dataset *data) {
    struct walkers walkers = {.model = REGRESSION,
                              .data = data,
                              .slots = t->of->slots,
                              .rows = t->of->rows,
                              .local = {.steps = many, .rate = t->of->rate},
                              .delay = "exponential",
                              .updates = t->of->steps / many,
                              .seed = 5,
                              .start = 1,
                              .pushed = walk_too,
                              .moved = compare_with_path,
                              .context = t};
    struct tw_error error;
    walkers_open(&walkers);
    for (uint32_t slot = 0; slot < t->of->slots; slot++) {
        struct tw_sampler_config sampler = {.seed = walkers.drawn_from,
                                            .slot = slot,
                                            .slots = t->of->slots,
                                            .samples = SAMPLES,
                                            .rows = t->of->rows};
        assert_int_equal(tw_sampler_new(&t->sampler[slot], &sampler, &error), TW_OK);
    }
    for (int i = 0; i < WEIGHTS; i++)
        t->w[i] = walkers.start;
    t->synchronous = many == 1;
    t->apart = 0;
    walkers_run(&walkers);
    for (uint32_t slot = 0; slot < t->of->slots; slot++)
        tw_sampler_free(t->sampler[slot]);
    walkers_close(&walkers);
    return t->apart;
}

static void the_mean_goes_the_synchronous_path_to_the_bit(void **state) {
    static float inputs[SAMPLES][INPUTS], targets[SAMPLES][OUTPUTS];
    static double path[STEPS + 1][WEIGHTS];
    static struct twins twins;
    struct tw_dataset data = {.count = SAMPLES,
                              .dims = 1,
                              .shape = {INPUTS},
                              .elements = INPUTS,
                              .kind = TW_ROWS_FLOATS,
                              .rows = inputs,
                              .targets = &targets[0][0],
                              .outputs = OUTPUTS};
    struct tw_rng rng;
    tw_rng_init(&rng, seed_of(9), TW_STREAM_NOISE, 0, 0);
    for (int i = 0; i < SAMPLES; i++) {
        memcpy(inputs[i], z, sizeof inputs[i]);
        for (int j = 0; j < OUTPUTS; j++)
            targets[i][j] = (float)floor(9 * tw_rng_uniform(&rng)) - 4;
    }
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++) {
        unsigned changes = 0;
        twins = (struct twins){.of = &exact[i], .targets = &targets[0][0], .path = path};
        for (uint32_t many = 1; many <= 64 && many <= exact[i].steps; many *= 2) {
            unsigned apart = run_exactly(&twins, many, &data);
            assert_true(apart > exact[i].steps * 3 / 4); /* two slots may draw the same labels */
        }
        for (uint32_t step = 2; step <= exact[i].steps; step++)
            changes += memcmp(path[step], path[step - 1], sizeof path[step]) != 0;
        assert_true(changes > exact[i].steps * 3 / 4);
    }
}

/* ---- with Gaussian noise, and roundings ---- */

enum { N = 3 };
static const double spectrum[N] = {1, 3, 10};
#define QUADRATIC                                                                                  \
    "  objective: {name: quadratic, spectrum: [1, 3, 10], start: [4, -2, 1], noise: 1}\n"

/* Coordinate by coordinate in double, with the same draws; and how far float32 may have got. */
struct bounded {
    double w[N], off[N];       /* the servers' weights, and what these may be off */
    double sum[N], sizes[N];   /* over slots and steps: of the gradients, and of their sizes */
    double of_slots[N];        /* what local roundings add to the next update */
    double path[STEPS + 1][N]; /* as the synchronous run had it, and may be off */
    double path_off[STEPS + 1][N];
    double widest; /* of the bounds */
};

static const double half_ulp = (double)FLT_EPSILON / 2;

/* The local steps of a slot. A gradient is rounded once, a step after that three times: its mean,
 * its product with the rate, its end. An error shrinks as the weights do. */
static void walk_within_bounds(struct walkers *walkers, uint32_t slot, uint64_t step,
                               const float *push) {
    struct bounded *b = walkers->context;
    const uint32_t many = walkers->local.steps, rows = walkers->rows;
    const double rate = (double)(float)walkers->local.rate;
    const struct tw_part part = tw_whole_step(rows);
    double x[N], off[N] = {0};
    float noise[ROWS * N];
    memcpy(x, b->w, sizeof x);
    for (uint32_t h = 0; h < many; h++) {
        tw_objective_noise(&walkers->built->objective_options, walkers->drawn_from, slot,
                           (step - 1) * many + 1 + h, &part, noise);
        for (int i = 0; i < N; i++) {
            double sum = 0;
            for (uint32_t row = 0; row < rows; row++)
                sum += spectrum[i] * x[i] + (double)noise[row * N + (uint32_t)i];
            b->sum[i] += sum;
            b->sizes[i] += fabs(sum);
            b->of_slots[i] += rate * spectrum[i] * off[i] / walkers->slots;
            x[i] -= rate * sum / rows;
            off[i] = fabs(1 - rate * spectrum[i]) * off[i] +
                     half_ulp * (3 * rate * fabs(sum) / rows + fabs(x[i]));
        }
    }
}

/* The update adds the gradients of a slot one after the other and those of slots by a tree, divides
 * once, multiplies once, and subtracts. */
static void compare_within_bounds(struct walkers *walkers, uint64_t version, const float *x) {
    struct bounded *b = walkers->context;
    const uint32_t many = walkers->local.steps;
    const double rate = (double)(float)walkers->local.rate, all = walkers->slots * walkers->rows;
    const double roundings = many + ceil(log2(walkers->slots)) + 2;
    for (int i = 0; i < N; i++) {
        assert_true(fabs(1 - rate * spectrum[i]) <= 1);
        b->w[i] -= rate * b->sum[i] / all;
        b->off[i] = pow(fabs(1 - rate * spectrum[i]), many) * b->off[i] +
                    1.01 * b->of_slots[i] + /* errors have errors of their own */
                    1.01 * half_ulp * (roundings * rate * b->sizes[i] / all + fabs(b->w[i]));
        b->sum[i] = b->sizes[i] = b->of_slots[i] = 0;
        b->widest = fmax(b->widest, b->off[i]);
        within("from the path in double", (double)x[i], b->w[i], b->off[i]);
        if (many == 1) {
            b->path[version][i] = (double)x[i];
            b->path_off[version][i] = b->off[i];
        }
        within("from the synchronous path", (double)x[i], b->path[version * many][i],
               b->off[i] + b->path_off[version * many][i]);
    }
}

static void the_mean_goes_the_synchronous_path_up_to_rounding(void **state) {
    static const struct {
        uint32_t slots, rows;
        double rate;
    } settings[] = {{4, 1, .05}, {3, 2, .13}, {8, 4, .02}, {5, 1, .15}};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        static struct bounded bounded;
        bounded = (struct bounded){.widest = 0};
        for (uint32_t many = 1; many <= 64; many *= 8) {
            struct walkers walkers = {.model = QUADRATIC,
                                      .slots = settings[i].slots,
                                      .rows = settings[i].rows,
                                      .local = {.steps = many, .rate = settings[i].rate},
                                      .delay = "exponential",
                                      .updates = STEPS / many,
                                      .seed = 17 + i,
                                      .start = 2,
                                      .pushed = walk_within_bounds,
                                      .moved = compare_within_bounds,
                                      .context = &bounded};
            for (int k = 0; k < N; k++) {
                bounded.w[k] = walkers.start;
                bounded.off[k] = 0;
            }
            walkers_open(&walkers);
            walkers_run(&walkers);
            walkers_close(&walkers);
        }
        assert_true(bounded.widest < 2e-4); /* else it would say little */
    }
}

/* ---- elastic averaging ---- */

/* With curvature 1: y the mean of the slots' weights, c the center, h the rate, p slots.
 *
 *     y' = y - h y - e + alpha (c - y)    in the first of H steps;  y' = y - h y - e in the others
 *     c' = c + p alpha (y - c)            with both as they were
 *
 * so that the covariance S of (y, c) solves S = A S A^T + Q. Without a spring y is SGD on the mean
 * of p gradients. Variances are in units of one slot's Var(e). */
struct spring {
    uint32_t slots;
    double h, alpha; /* 0: none */
    uint32_t steps;
};

struct stationary {
    double a[2][2], s[2][2], q;
};

/* A m, or A m A^T. */
static void multiply(const double a[2][2], double m[2][2], bool both) {
    double left[2][2];
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++)
            left[i][j] = a[i][0] * m[0][j] + a[i][1] * m[1][j];
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++)
            m[i][j] = both ? left[i][0] * a[j][0] + left[i][1] * a[j][1] : left[i][j];
}

static struct stationary stationary_of(const struct spring *of) {
    const double p = of->slots, h = of->h, stays = pow(1 - h, of->steps - 1.0);
    struct stationary found = {.a = {{stays * (1 - h - of->alpha), stays * of->alpha},
                                     {p * of->alpha, 1 - p * of->alpha}}};
    for (uint32_t k = 0; k < of->steps; k++)
        found.q += pow(1 - h, 2.0 * k) / p;
    for (int i = 0; i < 5000; i++) {
        multiply((const double(*)[2])found.a, found.s, true);
        found.s[0][0] += found.q;
    }
    return found;
}

/* Times that lie so far apart that squares of number `which` are as good as independent: the sum of
 * the squared autocorrelations. */
static double independent_after(const struct stationary *of, int which) {
    double lagged[2][2], sum = 1;
    memcpy(lagged, of->s, sizeof lagged);
    for (int i = 0; i < 5000; i++) {
        multiply((const double(*)[2])of->a, lagged, false);
        sum += 2 * pow(lagged[which][which] / of->s[which][which], 2);
    }
    return sum;
}

enum { MANY = WALKERS_ELEMENTS, SETTLED = 300, MOST_STEPS = 8 };

struct pulled {
    const struct spring *of;
    double y[MANY], c[MANY], e[MOST_STEPS][MANY]; /* the recursion, on the same draws */
    double squares;
    uint64_t times;
};

static void add_draws(struct walkers *walkers, uint32_t slot, uint64_t step, const float *push) {
    struct pulled *pulled = walkers->context;
    const struct tw_part part = tw_whole_step(1);
    const uint32_t many = walkers->local.steps;
    float noise[MANY];
    for (uint32_t h = 0; h < many; h++) {
        tw_objective_noise(&walkers->built->objective_options, walkers->drawn_from, slot,
                           (step - 1) * many + 1 + h, &part, noise);
        for (int i = 0; i < MANY; i++)
            pulled->e[h][i] += pulled->of->h * (double)noise[i] / walkers->slots;
    }
}

static void go_on_with_the_mean(struct walkers *walkers, uint64_t version, const float *x) {
    struct pulled *pulled = walkers->context;
    const struct spring *of = pulled->of;
    double squares = 0;
    for (int i = 0; i < MANY; i++) {
        double *y = &pulled->y[i], *c = &pulled->c[i], far = *y - *c;
        for (uint32_t k = 0; k < of->steps; k++)
            *y = (1 - of->h) * *y - pulled->e[k][i] - (k == 0 ? of->alpha * far : 0);
        *c += of->slots * of->alpha * far;
        /* A hundred roundings of numbers below 1, which are forgotten again. */
        within("weights", (double)x[i], of->alpha > 0 ? *c : *y, 100 * half_ulp);
        squares += (double)x[i] * (double)x[i];
    }
    memset(pulled->e, 0, sizeof pulled->e);
    if (version > SETTLED) {
        pulled->squares += squares / MANY;
        pulled->times++;
    }
}

/* The variance on which the servers' weights end, in units of Var(e). Two hundredths are four and a
 * half standard errors: sqrt(2 / n) of n independent squares. */
static double variance_of(const struct spring *of, double independent) {
    char ones[2 * MANY], model[256];
    static struct pulled pulled;
    pulled = (struct pulled){.of = of};
    for (size_t i = 0; i < sizeof ones; i++)
        ones[i] = i % 2 ? ',' : '1';
    snprintf(model, sizeof model,
             "  objective: {name: quadratic, noise: 1, start: [0], spectrum: [%.*s]}\n",
             (int)sizeof ones - 1, ones);
    struct walkers walkers = {
        .model = model,
        .slots = of->slots,
        .rows = 1,
        .local = {.steps = of->steps, .rate = of->h, .rho = of->alpha / of->h},
        .delay = "exponential",
        .updates = SETTLED + (uint64_t)ceil(2 * pow(4.5 / .02, 2) * independent / MANY),
        .seed = 71,
        .pushed = add_draws,
        .moved = go_on_with_the_mean,
        .context = &pulled};
    walkers_open(&walkers);
    walkers_run(&walkers);
    walkers_close(&walkers);
    return pulled.squares / (double)pulled.times / (of->h * of->h);
}

static void a_center_is_less_noisy_than_the_mean_gradient(void **state) {
    static const struct spring springs[] = {{4, .1, 0, 1},    {4, .1, .225, 1}, {2, .2, .3, 1},
                                            {8, .2, .1, 1},   {4, .4, .2, 1},   {4, .1, .225, 4},
                                            {3, .15, .25, 8}, {4, .3, 0, 1}};
    for (size_t i = 0; i < sizeof springs / sizeof *springs; i++) {
        const struct spring *of = &springs[i];
        const int which = of->alpha > 0;
        struct stationary theory = stationary_of(of);
        double expected = theory.s[which][which];
        if (i < 2)
            within("table", expected, i == 0 ? 1.3158 : 1.0456, 5e-5);
        if (!which)
            within("minibatch", expected, 1 / (of->slots * of->h * (2 - of->h)), 1e-9);
        double found = variance_of(of, independent_after(&theory, which));
        within("center", found / expected, 1, .02);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_mean_goes_the_synchronous_path_to_the_bit),
        cmocka_unit_test(the_mean_goes_the_synchronous_path_up_to_rounding),
        cmocka_unit_test(a_center_is_less_noisy_than_the_mean_gradient),
    };
    cmocka_set_test_filter(getenv("TALWEG_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
