/* The kernels' bits: the same for every split, in place or not, on every
 * instruction set; and floats close to the double path of the same source. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "server/core/optimizer.h"
#include "tests/lib/cpu.h"
#include "tests/lib/variant_text.h"

#define DECLARE(prefix)                                                                            \
    extern const int prefix##_tw_optimizer_count;                                                  \
    enum tw_status prefix##_tw_optimizer_find(const struct tw_optimizer **,                        \
                                              struct tw_optimizer_options *,                       \
                                              const struct tw_variant *, struct tw_error *);
#define SET(prefix) {#prefix, &prefix##_tw_optimizer_count, prefix##_tw_optimizer_find},
TW_TEST_SETS(DECLARE)

/* All rules as compiled by tests/lib/kernel_sets.cmake for one instruction set each. */
static const struct set {
    const char *name;
    const int *count;
    enum tw_status (*find)(const struct tw_optimizer **, struct tw_optimizer_options *,
                           const struct tw_variant *, struct tw_error *);
} sets[] = {TW_TEST_SETS(SET)};

static const char *const lines[] = {
    "sgd lr=.1",
    "momentum lr=.1 dampening=.3",
    "momentum lr=.1 lr_at=inside",
    "nesterov lr=.1",
    "nesterov lr=.1 nesterov=lookup",
    "adagrad lr_decay=.1",
    "adagrad eps=.1 eps_at=inside",
    "rmsprop",
    "rmsprop eps_at=inside eps=1e-5",
    "rmsprop eps=1e-4 centered=true",
    "rmsprop momentum=.9",
    "rmsprop eps=1e-4 momentum=.9 centered=true lr_at=inside",
    "rmsprop momentum=.9 nesterov=lookahead",
    "rmsprop momentum=.9 nesterov=lookup",
    "rmsprop eps=1e-4 momentum=.9 nesterov=lookup centered=true",
    "adadelta",
    "adam",
    "adam eps_at=inside",
    "adam eps_at=hat eps=1e-5",
    "adam bias=none",
    "adamax",
    "amsgrad",
    "amsgrad form=paper",
    "amsgrad form=vhat eps_at=inside",
    "adamw weight_decay=.3",
    "nadam",
    "radam",
    "radam beta2=.9",
    "lion weight_decay=.3",
    "ftrl-proximal alpha=1 l1=.01 l2=.01",
    "lars lr=.1",
    "lars lr=.1 lr_at=outside weight_decay=.3",
    "lamb",
    "lamb eps_at=inside weight_decay=.3",
};
#define LINES (sizeof lines / sizeof lines[0])

enum { COUNT = 1003, STEPS = 3 };

/* All arrays of a run; place 0 holds the gradient, 1 and 2 the weights, then states. */
struct arrays {
    float at[3 + TW_OPTIMIZER_STATES][COUNT];
};

static struct arrays arrays_before(const struct tw_optimizer *rule) {
    struct arrays a;
    struct tw_rng rng;
    tw_rng_init(&rng, 1, TW_STREAM_NOISE, 0, 0);
    memset(&a, 0, sizeof a);
    for (int i = 0; i < COUNT; i++) {
        int exponent = (int)tw_rng_below(&rng, 16) - 12;
        a.at[0][i] = i % 97 == 0 ? 0 : (float)ldexp(tw_rng_normal(&rng), exponent);
        a.at[1][i] = (float)tw_rng_normal(&rng);
        for (int s = 0; s < rule->states; s++) {
            a.at[3 + s][i] = rule->state[s].start == TW_STATE_WEIGHTS ? a.at[1][i] : 0;
        }
    }
    return a;
}

typedef void kernel(const struct tw_optimizer_options *, const struct tw_optimizer_float *);

static void apply_part(const struct tw_optimizer *rule, kernel *apply,
                       const struct tw_optimizer_options *options, const double *scalars,
                       struct arrays *a, int in, int out, size_t first, size_t count) {
    struct tw_optimizer_float work = {.count = count,
                                      .gradient = a->at[0] + first,
                                      .weights_in = a->at[in] + first,
                                      .weights_out = a->at[out] + first,
                                      .scalars = scalars,
                                      .ratio = 0.37};
    for (int s = 0; s < rule->states; s++) {
        work.state[s] = a->at[3 + s] + first;
    }
    apply(options, &work);
}

/* The first part has `size` elements, the others have others. */
static void apply_parts(const struct tw_optimizer *rule, kernel *apply,
                        const struct tw_optimizer_options *options, const double *scalars,
                        struct arrays *a, int out, size_t size) {
    for (size_t at = 0; at < COUNT; at += size, size = size * 7 % 101 + 1) {
        size_t left = COUNT - at;
        apply_part(rule, apply, options, scalars, a, 1, out, at, left < size ? left : size);
    }
}

enum way { IN_PLACE, COPY_ON_WRITE, SPLIT };

/* A few updates in one of the ways; the weights end in at[1]. */
static struct arrays run(const struct tw_optimizer *rule,
                         const struct tw_optimizer_options *options, enum way way) {
    struct arrays a = arrays_before(rule);
    for (uint64_t t = 1; t <= STEPS; t++) {
        double scalars[TW_OPTIMIZER_SCALARS];
        rule->prepare(options, t, options->lr / (double)t, scalars);
        if (way == COPY_ON_WRITE) {
            apply_part(rule, rule->apply_float, options, scalars, &a, 1, 2, 0, COUNT);
            memcpy(a.at[1], a.at[2], sizeof a.at[1]);
            memset(a.at[2], 0, sizeof a.at[2]);
        } else {
            apply_parts(rule, rule->apply_float, options, scalars, &a, 1, way == SPLIT ? t : COUNT);
        }
        if (rule->step_float != NULL) {
            apply_parts(rule, rule->step_float, options, scalars, &a, 2,
                        way == SPLIT ? t + 1 : COUNT);
        }
        for (int i = 0; i < COUNT; i++) { /* another gradient next time */
            a.at[0][i] = a.at[0][i] * -0.75f + 0.01f * a.at[1][i];
        }
    }
    return a;
}

static const struct tw_optimizer *find(const char *line, struct tw_optimizer_options *options) {
    const struct tw_optimizer *rule;
    assert_int_equal(tw_optimizer_find(&rule, options, tw_test_variant(line), NULL), TW_OK);
    return rule;
}

static void same_bits(const char *line, const char *way, const struct arrays *a,
                      const struct arrays *b) {
    if (memcmp(a, b, sizeof *a) != 0) {
        fail_msg("%s: %s gives other bits", line, way);
    }
}

static void a_run_moves_the_weights(void **unused) {
    for (size_t l = 0; l < LINES; l++) {
        struct tw_optimizer_options options;
        const struct tw_optimizer *rule = find(lines[l], &options);
        struct arrays before = arrays_before(rule), after = run(rule, &options, IN_PLACE);
        int moved = 0;
        for (int i = 0; i < COUNT; i++) {
            assert_true(isfinite(after.at[1][i]));
            moved += before.at[1][i] != after.at[1][i];
        }
        assert_true(moved > COUNT * 3 / 4);
    }
}

static void the_split_does_not_matter(void **unused) {
    for (size_t l = 0; l < LINES; l++) {
        struct tw_optimizer_options options;
        const struct tw_optimizer *rule = find(lines[l], &options);
        struct arrays whole = run(rule, &options, IN_PLACE), parts = run(rule, &options, SPLIT);
        same_bits(lines[l], "a split", &whole, &parts);
    }
}

static void a_copy_gives_the_bits_of_work_in_place(void **unused) {
    for (size_t l = 0; l < LINES; l++) {
        struct tw_optimizer_options options;
        const struct tw_optimizer *rule = find(lines[l], &options);
        struct arrays here = run(rule, &options, IN_PLACE);
        struct arrays copy = run(rule, &options, COPY_ON_WRITE);
        same_bits(lines[l], "copy-on-write", &here, &copy);
    }
}

static void the_instruction_set_does_not_matter(void **unused) {
    int compared = 0;
    TW_TEST_EACH_SET(set, sets) {
        assert_int_equal(*set->count, tw_optimizer_count);
        for (size_t l = 0; l < LINES; l++) {
            struct tw_optimizer_options options;
            const struct tw_optimizer *rule = find(lines[l], &options), *other;
            assert_int_equal(set->find(&other, &options, tw_test_variant(lines[l]), NULL), TW_OK);
            assert_true(other->apply_float != rule->apply_float);
            struct arrays ours = run(rule, &options, IN_PLACE);
            struct arrays theirs = run(other, &options, IN_PLACE);
            same_bits(lines[l], set->name, &ours, &theirs);
            compared++;
        }
    }
    assert_true(compared >= 2 * (int)LINES);
}

/* Units in the last place of a float of that size. */
static double ulp(double size) {
    int exponent;
    frexp(size, &exponent);
    return ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

static double largest(double a, double b, double c) {
    return fmax(fabs(a), fmax(fabs(b), fabs(c)));
}

/* A plausible value of a state for gradients of about this size: of one sign, means of
 * squares above the squares of means, so that nothing cancels and a unit in the last
 * place means something. */
static float state_value(const struct tw_optimizer_state *state, struct tw_rng *rng, float size,
                         float w) {
    double near = size * (0.5 + tw_rng_uniform(rng));
    if (state->start == TW_STATE_WEIGHTS) {
        return w;
    }
    if (strcmp(state->name, "v") == 0 || strcmp(state->name, "n") == 0) {
        return (float)(near * near);
    }
    if (strcmp(state->name, "r") == 0 || strcmp(state->name, "vmax") == 0) {
        return (float)(4 * near * near);
    }
    if (strcmp(state->name, "z") == 0) {
        return (float)(near + 1); /* far from l1 */
    }
    return (float)(strcmp(state->name, "m") == 0 ? near / 2 : near);
}

/* One update of one element in float and, from the same values, in double; returns the
 * units in the last place between them. */
static double distance(const char *line, struct tw_rng *rng, int round) {
    struct tw_optimizer_options options;
    const struct tw_optimizer *rule = find(line, &options);
    float g = (float)ldexp(fabs(tw_rng_normal(rng)), (int)tw_rng_below(rng, 20) - 15);
    float w = round % 2 ? 0 : (float)tw_rng_normal(rng), new_w, s[TW_OPTIMIZER_STATES];
    if (strcmp(rule->name, "ftrl-proximal") == 0) {
        w = -fabsf(w); /* where z pushes it: z += g - s w */
    }
    double gd = g, wd = w, new_wd, sd[TW_OPTIMIZER_STATES], scalars[TW_OPTIMIZER_SCALARS];
    rule->prepare(&options, 1 + (uint64_t)round % 50, options.lr, scalars);
    struct tw_optimizer_float one = {1, &g, &w, &new_w, {0}, scalars, 0.37};
    struct tw_optimizer_double two = {1, &gd, &wd, &new_wd, {0}, scalars, 0.37};
    for (int k = 0; k < rule->states; k++) {
        s[k] = state_value(&rule->state[k], rng, g, w);
        sd[k] = s[k];
        one.state[k] = &s[k];
        two.state[k] = &sd[k];
    }
    rule->apply_float(&options, &one);
    rule->apply_double(&options, &two);
    double worst = fabs(new_w - new_wd) / ulp(largest(wd, new_wd, new_wd - wd));
    for (int k = 0; k < rule->states; k++) {
        worst = fmax(worst, fabs(s[k] - sd[k]) / ulp(largest(sd[k], wd, 0)));
    }
    return worst;
}

static void float_stays_near_double(void **unused) {
    struct tw_rng rng;
    tw_rng_init(&rng, 2, TW_STREAM_NOISE, 0, 0);
    for (size_t l = 0; l < LINES; l++) {
        double worst = 0;
        for (int round = 0; round < 3000; round++) {
            worst = fmax(worst, distance(lines[l], &rng, round));
        }
        if (!(worst <= 4)) {
            fail_msg("%s: %.1f ulp between float and double", lines[l], worst);
        }
        assert_true(worst > 0.4); /* else the test compared nothing */
        print_message("%.2f ulp: %s\n", worst, lines[l]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_moves_the_weights),
        cmocka_unit_test(the_split_does_not_matter),
        cmocka_unit_test(a_copy_gives_the_bits_of_work_in_place),
        cmocka_unit_test(the_instruction_set_does_not_matter),
        cmocka_unit_test(float_stays_near_double),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
