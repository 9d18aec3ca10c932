/* Layers and losses against torch: 20 random cases of each, from tests/golden/layers, whose
 * make_vectors.py says what a line holds. Built twice: in double, where nothing but rounding
 * may differ, and in float, as Talweg computes. */
#include "tests/unit/layer_desk.h"
#include "worker/nn/loss.h"

#define FOLDER "tests/golden/layers"

enum { SUMS = 3, LINE_BYTES = 4096 };

/* Of a sum, as a part of the sum of what its terms are in size (or of 1, when that is less).
 * Floats have 2^-24 for each rounding; the longest chains here have some hundred, and sigmoid's
 * slope loses a few more where it is flat. */
#ifdef TW_NN_DOUBLE
#define TOLERANCE 1e-13
#else
#define TOLERANCE 1e-6
#endif

static double worst;

static void check_number(const char *line, double found, double expected, double size) {
    double distance = fabs(found - expected) / fmax(1, size);
    if (!(distance <= TOLERANCE))
        fail_msg("%s: %.17g, but torch has %.17g", line, found, expected);
    worst = fmax(worst, distance);
}

static double next_number(char **rest) {
    char *end;
    double x = strtod(*rest, &end);
    assert_true(end > *rest);
    *rest = end;
    return x;
}

static void check_sums(const char *line, const tw_real *x, int64_t count, uint64_t *state,
                       char **rest) {
    double sum[SUMS] = {0}, size = 0;
    for (int64_t i = 0; i < count; i++) {
        size += fabs((double)x[i]);
        for (int k = 0; k < SUMS; k++)
            sum[k] += (double)x[i] * desk_number(state);
    }
    for (int k = 0; k < SUMS; k++)
        check_number(line, sum[k], next_number(rest), size);
}

static void check_layer(char *line) {
    struct layer_desk desk;
    struct tw_error error = {0};
    int64_t shape[TW_DIMS_MAX];
    char *rest, *at;
    int dims = 0;
    const char *words = strtok_r(line, "|", &rest);
    for (char *size = strtok_r(strtok_r(NULL, "|", &rest), ",", &at); size != NULL;
         size = strtok_r(NULL, ",", &at))
        shape[dims++] = atoi(size);
    int rows = atoi(strtok_r(NULL, "|", &rest));
    uint64_t seed = strtoull(strtok_r(NULL, "|", &rest), NULL, 10), state = seed + 1;
    if (desk_make(&desk, words, dims, shape, rows, &error) != TW_OK)
        fail_msg("%s: %s", words, error.text);
    desk_fill(&desk, seed);
    desk_forward(&desk);
    desk_backward(&desk);
    check_sums(words, desk.out, rows * desk.out_shape.elements, &state, &rest);
    check_sums(words, desk.in_gradient, rows * desk.in_shape.elements, &state, &rest);
    for (int t = 0; t < desk.tensors; t++)
        check_sums(words, desk.gradient[t], desk.tensor[t].elements, &state, &rest);
    assert_string_equal(rest, "\n");
    desk_drop(&desk);
}

static void check_loss(char *line) {
    struct tw_option options[8];
    struct tw_error error = {0};
    const struct tw_loss *loss;
    void *values;
    char *rest, words[256];
    snprintf(words, sizeof words, "%s", strtok_r(line, "|", &rest));
    int outputs = atoi(strtok_r(NULL, "|", &rest)), label = atoi(strtok_r(NULL, "|", &rest));
    uint64_t seed = strtoull(strtok_r(NULL, "|", &rest), NULL, 10), state = seed + 1;
    struct tw_variant variant = desk_variant(words, options);
    if (tw_loss_find(&loss, &values, &variant, &error) != TW_OK)
        fail_msg("%s: %s", line, error.text);
    tw_real *out = desk_numbers(outputs, &seed);
    for (int i = 0; i < outputs; i++)
        out[i] *= 8;
    double value = loss->row(values, out, outputs, (struct tw_target){.label = label}, out);
    check_number(line, value, next_number(&rest), 8);
    check_sums(line, out, outputs, &state, &rest);
    free(out);
    free(values);
}

static void compare(const char *name, void (*check)(char *line)) {
    char path[256], line[LINE_BYTES];
    int lines = 0;
    worst = 0;
    snprintf(path, sizeof path, FOLDER "/%s.txt", name);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        fail_msg("%s is missing", path);
    for (; fgets(line, sizeof line, file) != NULL; lines++)
        check(line);
    fclose(file);
    assert_true(lines >= 20);
    print_message("%-22s %d cases, at most %.1e away\n", name, lines, worst);
}

/* Those that compute nothing, whose results are random, that are half of something
 * (test_residual.c), or take sparse rows (test_sparse.c) have no file. */
static bool has_vectors(const char *name) {
    static const char *const without[] = {"flatten", "dropout", "skip", "add", "sparse_dense"};
    for (size_t i = 0; i < sizeof without / sizeof *without; i++)
        if (strcmp(name, without[i]) == 0)
            return false;
    return true;
}

static void layers_follow_torch(void **state) {
    for (int i = 0; i < tw_layer_count; i++)
        if (has_vectors(tw_layers[i]->name))
            compare(tw_layers[i]->name, check_layer);
}

static void losses_follow_torch(void **state) {
    for (int i = 0; i < tw_loss_count; i++)
        compare(tw_losses[i]->name, check_loss);
}

static int start(void **state) {
    struct tw_error error;
    return tw_gemm_start(NULL, &error) != TW_OK;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_follow_torch),
        cmocka_unit_test(losses_follow_torch),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
