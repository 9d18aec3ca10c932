/* One layer on a desk: made from a line such as "leaky_relu slope=0.2", with memory of its own
 * for one call of forward and backward, and numbers that a few lines of Python make, too
 * (tests/golden/layers/make_vectors.py).
 *
 * The layer's worth is value = sum over outputs of output * out_gradient; its slopes by inputs
 * and weights are what backward() gives. */
#ifndef TW_TEST_LAYER_DESK_H
#define TW_TEST_LAYER_DESK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/nn/gemm.h"
#include "worker/nn/layer.h"

struct layer_desk {
    const struct tw_layer *layer;
    void *options;
    int rows, tensors;
    struct tw_shape in_shape, out_shape;
    struct tw_tensor tensor[TW_LAYER_TENSORS_MAX];
    tw_real *in, *out, *out_gradient, *in_gradient;
    tw_real *weight[TW_LAYER_TENSORS_MAX], *gradient[TW_LAYER_TENSORS_MAX];
    uint8_t *kept;
    void *scratch;
    struct tw_dice dice;
};

/* The same as numbers() of make_vectors.py: multiples of 2^-15 in [-1, 1), exact in float. */
static inline double desk_number(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(*state >> 48) - 32768) / 32768;
}

static inline tw_real *desk_numbers(int64_t count, uint64_t *state) {
    tw_real *out = malloc((size_t)count * sizeof *out);
    assert_non_null(out);
    for (int64_t i = 0; i < count; i++)
        out[i] = (tw_real)desk_number(state);
    return out;
}

/* "name key=value key=value" as a variant; cuts `line`. */
static inline struct tw_variant desk_variant(char *line, struct tw_option *options) {
    char *rest;
    struct tw_variant variant = {.name = strtok_r(line, " ", &rest), .path = "model.layers[3]"};
    variant.where = (struct tw_where){"job.yaml", 7};
    variant.options = options;
    for (char *word; (word = strtok_r(NULL, " ", &rest)) != NULL; variant.count++) {
        char *equals = strchr(word, '=');
        assert_non_null(equals);
        *equals = '\0';
        options[variant.count] =
            (struct tw_option){.key = word, .text = equals + 1, .where = variant.where};
    }
    return variant;
}

/* Checks and makes the layer; its memory comes with desk_fill(). */
static inline enum tw_status desk_make(struct layer_desk *desk, const char *line, int dims,
                                       const int64_t *shape, int rows, struct tw_error *error) {
    struct tw_option options[8];
    char words[256];
    memset(desk, 0, sizeof *desk);
    snprintf(words, sizeof words, "%s", line);
    struct tw_variant variant = desk_variant(words, options);
    enum tw_status status = tw_layer_find(&desk->layer, &variant, error);
    if (status != TW_OK)
        return status;
    const struct tw_layer *layer = desk->layer;
    desk->rows = rows;
    desk->options = calloc(1, layer->options_size + 1);
    assert_non_null(desk->options);
    status = tw_options_read(&variant, layer->rules, layer->rule_count, desk->options, error);
    assert_true(tw_shape_set(&desk->in_shape, dims, shape));
    if (status == TW_OK)
        status = layer->shape(&variant, desk->options, &desk->in_shape, &desk->out_shape, error);
    if (status == TW_OK && layer->tensors != NULL)
        desk->tensors =
            layer->tensors(desk->options, &desk->in_shape, &desk->out_shape, desk->tensor);
    return status;
}

/* In this order: inputs, weights, slopes of the outputs. */
static inline void desk_fill(struct layer_desk *desk, uint64_t seed) {
    const struct tw_layer *layer = desk->layer;
    int64_t in = desk->rows * desk->in_shape.elements, out = desk->rows * desk->out_shape.elements;
    desk->in = desk_numbers(in, &seed);
    for (int64_t i = 0; layer->below != NULL && i < in; i++)
        desk->in[i] =
            (tw_real)floor((double)(desk->in[i] + 1) / 2 * (double)layer->below(desk->options));
    for (int t = 0; t < desk->tensors; t++) {
        struct tw_tensor *tensor = &desk->tensor[t];
        tensor->elements = 1;
        for (int i = 0; i < tensor->dims; i++)
            tensor->elements *= tensor->shape[i];
        desk->weight[t] = desk_numbers(tensor->elements, &seed);
        desk->gradient[t] = calloc((size_t)tensor->elements, sizeof(tw_real));
        assert_non_null(desk->gradient[t]);
        memset(desk->gradient[t], 0xff, (size_t)tensor->elements * sizeof(tw_real));
    }
    desk->out_gradient = desk_numbers(out, &seed);
    desk->out = calloc((size_t)out, sizeof(tw_real));
    desk->in_gradient = malloc((size_t)in * sizeof(tw_real));
    assert_true(desk->out != NULL && desk->in_gradient != NULL);
    memset(desk->in_gradient, 0xff, (size_t)in * sizeof(tw_real));
    if (layer->kept != NULL)
        desk->kept = calloc(
            1, (size_t)layer->kept(desk->options, &desk->in_shape, &desk->out_shape, desk->rows));
    if (layer->scratch != NULL) {
        int64_t bytes = layer->scratch(desk->options, &desk->in_shape, &desk->out_shape);
        desk->scratch = aligned_alloc(64, ((size_t)bytes + 63) & ~(size_t)63);
        assert_non_null(desk->scratch);
        memset(desk->scratch, 0xff, (size_t)bytes); /* NaN: nobody may rely on it */
    }
    desk->dice.per_row = desk->in_shape.elements;
    desk->dice.part = tw_whole_step((uint32_t)desk->rows);
}

static inline void desk_drop(struct layer_desk *desk) {
    for (int t = 0; t < desk->tensors; t++) {
        free(desk->weight[t]);
        free(desk->gradient[t]);
    }
    free(desk->options);
    free(desk->in);
    free(desk->out);
    free(desk->out_gradient);
    free(desk->in_gradient);
    free(desk->kept);
    free(desk->scratch);
    memset(desk, 0, sizeof *desk);
}

static inline struct tw_layer_pass desk_pass(struct layer_desk *desk) {
    return (struct tw_layer_pass){
        .options = desk->options,
        .rows = desk->rows,
        .training = true,
        .in_shape = &desk->in_shape,
        .out_shape = &desk->out_shape,
        .weights = (const tw_real *const *)desk->weight,
        .gradients = desk->gradient,
        .in = desk->in,
        .out = desk->out,
        .kept = desk->kept,
        .scratch = desk->scratch,
        .dice = &desk->dice,
    };
}

static inline void desk_forward(struct layer_desk *desk) {
    struct tw_layer_pass pass = desk_pass(desk);
    if (desk->layer->view)
        memcpy(desk->out, desk->in,
               (size_t)(desk->rows * desk->in_shape.elements) * sizeof(tw_real));
    else
        desk->layer->forward(&pass);
}

/* What it does not say that it reads, it does not get. */
static inline void desk_backward(struct layer_desk *desk) {
    struct tw_layer_pass pass = desk_pass(desk);
    pass.in = desk->layer->needs_in ? pass.in : NULL;
    pass.out = desk->layer->needs_out ? pass.out : NULL;
    pass.out_gradient = desk->out_gradient;
    pass.in_gradient = desk->in_gradient;
    if (desk->layer->view)
        memcpy(desk->in_gradient, desk->out_gradient,
               (size_t)(desk->rows * desk->in_shape.elements) * sizeof(tw_real));
    else
        desk->layer->backward(&pass);
}

static inline double desk_value(struct layer_desk *desk) {
    double sum = 0;
    desk_forward(desk);
    for (int64_t i = 0; i < desk->rows * desk->out_shape.elements; i++)
        sum += (double)desk->out[i] * (double)desk->out_gradient[i];
    return sum;
}

#endif
