/* Every rule against torch, or where torch has it not or wrong against its paper: 200
 * updates of three weights for each line of tests/golden/optimizers, whose
 * make_vectors.py says what a line holds. Double precision. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/optimizer_desk.h"

#define FOLDER "tests/golden/optimizers"

enum { STEPS = 200, SIZE = 3, MARKS = 6, LINE_MAX_BYTES = 4096 };

static const int marks[MARKS] = {1, 2, 10, 100, 101, 200};

/* The same as gradients() of make_vectors.py: exact numbers of 20 bits. */
static double next_gradient(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    double size = (double)((*state >> 40 & 0xfffff) + 0x80000);
    int exponent = (int)(*state >> 33 & 7) - 24;
    if (*state >> 61 == 5 && (*state >> 32 & 1))
        return 0;
    return ldexp(*state >> 60 & 1 ? -size : size, exponent);
}

struct vector {
    const char *options;
    uint64_t seed;
    int fall; /* the last update before lr falls to a tenth; 0: it stays */
    double x[MARKS][SIZE];
};

/* Cuts a line into its fields. */
static struct vector read_vector(char *line) {
    char *xs; /* what is left of the line */
    struct vector vector = {.options = strtok_r(line, "|", &xs)};
    const char *seed = strtok_r(NULL, "|", &xs), *fall = strtok_r(NULL, "|", &xs);
    assert_true(seed != NULL && fall != NULL);
    vector.seed = strtoull(seed, NULL, 10);
    vector.fall = atoi(fall);
    for (int i = 0; i < MARKS * SIZE; i++) {
        char *end;
        vector.x[i / SIZE][i % SIZE] = strtod(xs, &end);
        assert_true(end > xs);
        xs = end;
    }
    return vector;
}

struct tensor {
    const struct tw_optimizer *rule;
    struct tw_optimizer_options options;
    double x[SIZE], state[TW_OPTIMIZER_STATES][SIZE];
};

static void begin(struct tensor *tensor, const struct vector *vector) {
    *tensor = (struct tensor){0};
    assert_int_equal(
        tw_optimizer_find(&tensor->rule, &tensor->options, tw_test_variant(vector->options), NULL),
        TW_OK);
    for (int i = 0; i < SIZE; i++)
        tensor->x[i] = ((double)(vector->seed >> 8 * i & 0xff) - 128) / 64;
    for (int s = 0; s < tensor->rule->states; s++)
        if (tensor->rule->state[s].start == TW_STATE_WEIGHTS)
            memcpy(tensor->state[s], tensor->x, sizeof tensor->x);
}

static void update(struct tensor *tensor, uint64_t t, double lr, const double *gradient) {
    double scalars[TW_OPTIMIZER_SCALARS], scratch[SIZE];
    struct tw_optimizer_double work = {.count = SIZE,
                                       .gradient = gradient,
                                       .weights_in = tensor->x,
                                       .weights_out = tensor->x,
                                       .scalars = scalars};
    for (int s = 0; s < tensor->rule->states; s++)
        work.state[s] = tensor->state[s];
    tensor->rule->prepare(&tensor->options, t, lr, scalars);
    tw_optimizer_apply_tensor(tensor->rule, &tensor->options, &work, scratch);
}

/* The largest distance, as a part of |x| or of 1. */
static double run(const struct vector *vector) {
    struct tensor tensor;
    uint64_t state = vector->seed;
    double worst = 0;
    begin(&tensor, vector);
    for (int t = 1, mark = 0; t <= STEPS; t++) {
        double gradient[SIZE];
        for (int i = 0; i < SIZE; i++)
            gradient[i] = next_gradient(&state);
        update(&tensor, (uint64_t)t,
               tensor.options.lr / (vector->fall && t > vector->fall ? 10 : 1), gradient);
        for (int i = 0; t == marks[mark] && i < SIZE; i++) {
            double x = vector->x[mark][i];
            worst = fmax(worst, fabs(tensor.x[i] - x) / fmax(1, fabs(x)));
        }
        mark += t == marks[mark];
    }
    return worst;
}

static void compare(const char *name, double tolerance) {
    char path[256], line[LINE_MAX_BYTES];
    int vectors = 0;
    double worst = 0;
    snprintf(path, sizeof path, FOLDER "/%s.txt", name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        struct vector vector = read_vector(line);
        double distance = run(&vector);
        if (!(distance <= tolerance))
            fail_msg("%s: %s: %.3g away", name, vector.options, distance);
        worst = fmax(worst, distance);
        vectors++;
    }
    fclose(file);
    assert_true(vectors >= 20);
    print_message("%-18s %d settings, at most %.1e away\n", name, vectors, worst);
}

static void rules_follow_torch(void **state) {
    static const char *const names[] = {"sgd",      "momentum", "nesterov", "adagrad",
                                        "adadelta", "adam",     "adamax",   "amsgrad",
                                        "adamw",    "radam",    "rmsprop"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        compare(names[i], 1e-12);
}

static void rules_follow_their_papers(void **state) {
    static const char *const names[] = {"nadam",       "lion", "ftrl-proximal", "rmsprop_nesterov",
                                        "adam_inside", "lars", "lamb"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        compare(names[i], 1e-12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_follow_torch),
        cmocka_unit_test(rules_follow_their_papers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
