/* Each element is kept with probability `keep`, else it is 0 for this step (Srivastava et al.
 * 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting").
 *
 *     form        training             scoring
 *     inverted    x / keep, or 0       x
 *     classic     x, or 0              keep x     (section 4 of the paper)
 *
 * Both have the same mean. Zeros are made by multiplication, so a NaN stays a NaN. Which are kept
 * is a function of the seed, the slot, its step, the row and the element: docs/determinism.md.
 */
#include "common/base/rng.h"
#include "common/tensor/clones.h"
#include "worker/nn/layer.h"

enum form { INVERTED, CLASSIC };
static const char *const form_names[] = {"inverted", "classic", NULL};

struct options {
    double keep;
    int form;
};

static const struct tw_option_rule rules[] = {
    {.key = "keep",
     .type = TW_OPTION_REAL,
     .offset = offsetof(struct options, keep),
     .required = true,
     .min = 0,
     .max = 1,
     .min_open = true,
     .text = "probability with which an element is kept"},
    {.key = "form",
     .type = TW_OPTION_ENUM,
     .offset = offsetof(struct options, form),
     .fallback = INVERTED,
     .names = form_names,
     .text = "inverted: kept elements are divided by keep; classic: scoring multiplies by it"},
};

static int64_t kept(const void *options, const struct tw_shape *in, const struct tw_shape *out,
                    int rows) {
    return rows * in->elements;
}

/* Draws which elements of a row are kept. */
static void draw_row(const struct tw_dice *dice, int row, double keep, int64_t count,
                     uint8_t *kept_row) {
    struct tw_rng rng;
    tw_rng_init(&rng, dice->seed, TW_STREAM_DROPOUT, dice->slot, dice->step);
    tw_rng_seek(&rng,
                (uint64_t)(tw_part_row(&dice->part, (uint32_t)row) * dice->per_row + dice->first));
    for (int64_t i = 0; i < count; i++)
        kept_row[i] = tw_rng_uniform(&rng) < keep;
}

TW_CLONES static void multiply(const tw_real *in, const uint8_t *mask, tw_real factor,
                               int64_t count, tw_real *out) {
    TW_INDEPENDENT
    for (int64_t i = 0; i < count; i++)
        out[i] = in[i] * (mask[i] ? factor : 0);
}

/* What a kept element is multiplied with, in both directions. */
static tw_real factor_of(const struct options *dropout) {
    return (tw_real)(dropout->form == INVERTED ? 1 / dropout->keep : 1);
}

static void forward(const struct tw_layer_pass *pass) {
    const struct options *dropout = pass->options;
    const int64_t elements = pass->in_shape->elements, count = pass->rows * elements;
    if (pass->training) {
        for (int row = 0; row < pass->rows; row++)
            draw_row(pass->dice, row, dropout->keep, elements, pass->kept + row * elements);
        multiply(pass->in, pass->kept, factor_of(dropout), count, pass->out);
        return;
    }
    const tw_real factor = (tw_real)(dropout->form == CLASSIC ? dropout->keep : 1);
    for (int64_t i = 0; i < count; i++)
        pass->out[i] = pass->in[i] * factor;
}

static void backward(const struct tw_layer_pass *pass) {
    const int64_t count = pass->rows * pass->in_shape->elements;
    if (pass->in_gradient != NULL)
        multiply(pass->out_gradient, pass->kept, factor_of(pass->options), count,
                 pass->in_gradient);
}

const struct tw_layer tw_layer_dropout = {
    .name = "dropout",
    .text = "training sets elements to 0 at random; scoring keeps all",
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .options_size = sizeof(struct options),
    .in_place = true,
    .draws = true,
    .shape = tw_layer_same_shape,
    .kept = kept,
    .forward = forward,
    .backward = backward,
};
