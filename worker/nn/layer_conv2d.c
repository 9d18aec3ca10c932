/* Two-dimensional convolution (cross-correlation, as everywhere in this field): images [C, H, W]
 * become [O, H', W'], with weights [O, C, K, K] and a bias for each of the O channels:
 *
 *     out[o][y][x] = bias[o] +
 *         sum over c, i, j of weight[o][c][i][j] in[c][y S + i - P][x S + j - P]
 *
 * with stride S, and zeros where P reaches out of the image.
 *
 * Rows are taken 16 at a time, side by side (lanes.h). Three correlations (correlate.h) do it:
 *     forward     taps (c, i, j) on the padded image
 *     weights     the same taps, summed over places and, at the end, over the 16 lanes
 *     inputs      taps (o, i, j) on the slopes of the outputs. With a stride the inputs fall
 *                 into S x S phases: one whose row is a modulo S meets kernel rows a, a + S, ...
 *                 only, so each phase is a correlation of its own, with these taps.
 * A sample's outputs and slopes do not depend on the number of rows; the sums over rows do.
 */
#include <string.h>

#include "worker/nn/correlate.h"
#include "worker/nn/weight_init.h"
#include "worker/nn/window.h"

#define CHANNELS_MAX (1 << 20)

struct options {
    int64_t channels;
    struct tw_window window;
    struct tw_weight_init init;
};

static const struct tw_option_rule rules[] = {
    {.key = "channels",
     .type = TW_OPTION_INTEGER,
     .offset = offsetof(struct options, channels),
     .required = true,
     .min = 1,
     .max = CHANNELS_MAX,
     .text = "of the output"},
    TW_WINDOW_RULE(offsetof(struct options, window), kernel, .required = true, .min = 1,
                   .text = "height and width"),
    TW_WINDOW_RULE(offsetof(struct options, window), stride, .fallback = 1, .min = 1,
                   .text = "places between kernels"),
    TW_WINDOW_RULE(offsetof(struct options, window), padding, .fallback = 0, .min = 0,
                   .text = "zeros around the image"),
    TW_WEIGHT_INIT_RULES(options),
};

static enum tw_status shape(const struct tw_variant *variant, const void *options,
                            const struct tw_shape *in, struct tw_shape *out,
                            struct tw_error *error) {
    const struct options *conv = options;
    enum tw_status status = tw_weight_init_check(variant, &conv->init, error);
    if (status == TW_OK)
        status = tw_window_shape(variant, &conv->window, conv->channels, in, out, error);
    const int64_t area = conv->window.kernel * conv->window.kernel;
    if (status == TW_OK && (in->size[0] * area > INT32_MAX || conv->channels * area > INT32_MAX))
        return tw_job_error(
            error, variant->where, variant->path,
            "a kernel of %lld x %lld for %lld and %lld channels: more than 2^31 - 1 "
            "weights meet in one place",
            (long long)conv->window.kernel, (long long)conv->window.kernel, (long long)in->size[0],
            (long long)conv->channels);
    return status;
}

static int tensors(const void *options, const struct tw_shape *in, const struct tw_shape *out,
                   struct tw_tensor *list) {
    const struct options *conv = options;
    const int64_t kernel = conv->window.kernel;
    double area = (double)(kernel * kernel);
    list[0] = (struct tw_tensor){
        .name = "weight",
        .dims = 4,
        .shape = {conv->channels, in->size[0], kernel, kernel},
        .init = tw_weight_init_of(&conv->init, (double)in->size[0] * area,
                                  (double)conv->channels * area),
    };
    list[1] = (struct tw_tensor){
        .name = "bias", .dims = 1, .shape = {conv->channels}, .init = tw_bias_init_of(&conv->init)};
    return 2;
}

/* ---- the memory of a call ---- */

struct image {
    ptrdiff_t channels, height, width;
};

struct plan {
    ptrdiff_t kernel, stride, padding;
    struct image in, out;
    struct image padded; /* the input with zeros around it */
    struct image spread; /* slopes of the outputs with zeros around them, ... */
    ptrdiff_t before;    /* ... so many above and at the left */
    int taps;            /* of a kernel: C K K */
    /* In the scratch, one after the other: */
    tw_lanes *in_lanes;    /* of `padded` */
    tw_lanes *out_lanes;   /* of `spread`; forward: the outputs */
    tw_lanes *slope_lanes; /* of `in`, or on the way to the two above */
    tw_lanes *sums;        /* [O, taps] slopes of the weights, [O] of the biases */
    ptrdiff_t *offset;     /* [taps] */
    ptrdiff_t *back;       /* [O K K] those of the phases, one phase after the other */
    tw_real *weight;       /* as many as the layer has, by tw_correlate_order(); phases likewise */
};

static struct image image_of(const struct tw_shape *shape) {
    return (struct image){shape->size[0], shape->size[1], shape->size[2]};
}

static int64_t elements_of(const struct image *image) {
    return (int64_t)image->channels * image->height * image->width;
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static struct plan plan_of(const void *options, const struct tw_shape *in,
                           const struct tw_shape *out) {
    const struct tw_window *window = &((const struct options *)options)->window;
    struct plan plan = {.kernel = window->kernel,
                        .stride = window->stride,
                        .padding = window->padding,
                        .in = image_of(in),
                        .out = image_of(out)};
    plan.padded = (struct image){plan.in.channels, plan.in.height + 2 * plan.padding,
                                 plan.in.width + 2 * plan.padding};
    plan.before = (plan.kernel - 1) / plan.stride;
    /* What the last row and column of the input reach for. */
    ptrdiff_t bottom = (plan.padding + plan.in.height - 1) / plan.stride + 1;
    ptrdiff_t right = (plan.padding + plan.in.width - 1) / plan.stride + 1;
    plan.spread = (struct image){plan.out.channels, plan.before + larger(plan.out.height, bottom),
                                 plan.before + larger(plan.out.width, right)};
    plan.taps = (int)(plan.in.channels * plan.kernel * plan.kernel);
    return plan;
}

/* Bytes of the scratch; with `memory`, its parts. */
static int64_t lay_out(struct plan *plan, void *memory) {
    const int64_t kernel = plan->kernel * plan->kernel;
    const int64_t own = larger(elements_of(&plan->in), elements_of(&plan->out));
    const int64_t sums = ((int64_t)plan->taps + 1) * plan->out.channels;
    const int64_t lanes = elements_of(&plan->padded) + elements_of(&plan->spread) + own + sums;
    const int64_t back = plan->out.channels * kernel, offsets = plan->taps + back;
    if (memory != NULL) {
        plan->in_lanes = memory;
        plan->out_lanes = plan->in_lanes + elements_of(&plan->padded);
        plan->slope_lanes = plan->out_lanes + elements_of(&plan->spread);
        plan->sums = plan->slope_lanes + own;
        plan->offset = (ptrdiff_t *)(void *)(plan->sums + sums);
        plan->back = plan->offset + plan->taps;
        plan->weight = (tw_real *)(void *)(plan->back + back);
    }
    return lanes * (int64_t)sizeof(tw_lanes) + offsets * (int64_t)sizeof(ptrdiff_t) +
           plan->taps * plan->out.channels * (int64_t)sizeof(tw_real);
}

static int64_t scratch(const void *options, const struct tw_shape *in, const struct tw_shape *out) {
    struct plan plan = plan_of(options, in, out);
    return lay_out(&plan, NULL);
}

/* The taps of a kernel: (c, i, j) in this order, as the weights lie. */
static void set_offsets(const struct plan *plan) {
    ptrdiff_t *offset = plan->offset;
    for (ptrdiff_t c = 0; c < plan->in.channels; c++)
        for (ptrdiff_t i = 0; i < plan->kernel; i++)
            for (ptrdiff_t j = 0; j < plan->kernel; j++)
                *offset++ = (c * plan->padded.height + i) * plan->padded.width + j;
}

static struct plan start(const struct tw_layer_pass *pass) {
    struct plan plan = plan_of(pass->options, pass->in_shape, pass->out_shape);
    lay_out(&plan, pass->scratch);
    set_offsets(&plan);
    return plan;
}

/* ---- groups of samples ---- */

/* Packs images, by way of `between`, into larger ones, whose other elements stay. */
static void pack_images(const tw_real *from, int samples, const struct image *image,
                        const struct image *into, ptrdiff_t before, tw_lanes *between,
                        tw_lanes *to) {
    const size_t all = (size_t)elements_of(image), row = (size_t)image->width * sizeof(tw_lanes);
    if (all == (size_t)elements_of(into)) {
        tw_lanes_pack(from, all, samples, all, to);
        return;
    }
    tw_lanes_pack(from, all, samples, all, between);
    for (ptrdiff_t c = 0; c < image->channels; c++)
        for (ptrdiff_t y = 0; y < image->height; y++, between += image->width)
            memcpy(to + (c * into->height + y + before) * into->width + before, between, row);
}

static void clear(tw_lanes *lanes, int64_t count) {
    memset(lanes, 0, (size_t)count * sizeof *lanes);
}

static int group_at(const struct tw_layer_pass *pass, int row) {
    return pass->rows - row < TW_LANES ? pass->rows - row : TW_LANES;
}

/* Places of the outputs on the padded image, and in an array of so wide and high planes. */
static struct tw_grid grid_on(const struct plan *plan, const struct image *far) {
    return (struct tw_grid){
        .height = (int)plan->out.height,
        .width = (int)plan->out.width,
        .near_step = plan->stride,
        .near_row = plan->stride * plan->padded.width,
        .far_step = 1,
        .far_row = far->width,
        .far_plane = far->height * far->width,
    };
}

static double flop(const void *options, const struct tw_shape *in, const struct tw_shape *out) {
    return 2.0 * plan_of(options, in, out).taps * (double)out->elements;
}

static void forward(const struct tw_layer_pass *pass) {
    struct plan plan = start(pass);
    const int outs = (int)plan.out.channels;
    const struct tw_taps taps = {outs, plan.taps, plan.offset, plan.weight, pass->weights[1]};
    const struct tw_grid grid = grid_on(&plan, &plan.out);
    const size_t in = (size_t)pass->in_shape->elements, out = (size_t)pass->out_shape->elements;
    for (int o = 0; o < outs; o++)
        for (int t = 0; t < plan.taps; t++)
            plan.weight[tw_correlate_order(outs, plan.taps, o, t)] =
                pass->weights[0][(size_t)o * (size_t)plan.taps + (size_t)t];
    clear(plan.in_lanes, elements_of(&plan.padded));
    for (int row = 0; row < pass->rows; row += TW_LANES) {
        int samples = group_at(pass, row);
        pack_images(pass->in + (size_t)row * in, samples, &plan.in, &plan.padded, plan.padding,
                    plan.slope_lanes, plan.in_lanes);
        tw_correlate(&taps, &grid, plan.in_lanes, plan.out_lanes);
        tw_lanes_unpack(plan.out_lanes, pass->out + (size_t)row * out, out, samples, out);
    }
}

/* ---- backward ---- */

/* Adds what a group of rows gives to the slopes of weights and biases. */
static void add_slopes(const struct plan *plan) {
    const struct tw_taps taps = {(int)plan->out.channels, plan->taps, plan->offset, NULL, NULL};
    const struct tw_grid grid = grid_on(plan, &plan->spread);
    const tw_lanes *slopes = plan->out_lanes + plan->before * plan->spread.width + plan->before;
    tw_lanes *biases = plan->sums + plan->taps * plan->out.channels;
    tw_correlate_slopes(&taps, &grid, plan->in_lanes, slopes, plan->sums);
    for (ptrdiff_t o = 0; o < plan->out.channels; o++)
        for (ptrdiff_t y = 0; y < plan->out.height; y++)
            for (ptrdiff_t x = 0; x < plan->out.width; x++)
                biases[o] += slopes[o * grid.far_plane + y * grid.far_row + x];
}

/* The rows, or columns, of one phase: of the padded image from `first` on, so many in steps of the
 * stride; kernel rows phase, phase + stride, ..., so many. */
struct axis {
    ptrdiff_t first, count, taps;
};

static struct axis axis_of(const struct plan *plan, ptrdiff_t number, ptrdiff_t size) {
    const ptrdiff_t stride = plan->stride;
    struct axis axis = {.first =
                            plan->padding + (number + stride - plan->padding % stride) % stride};
    ptrdiff_t rest = plan->padding + size - axis.first;
    axis.count = rest > 0 ? (rest + stride - 1) / stride : 0;
    axis.taps = number < plan->kernel ? (plan->kernel - number + stride - 1) / stride : 0;
    return axis;
}

struct phase {
    ptrdiff_t a, b; /* of stride x stride */
    struct axis rows, columns;
    struct tw_taps taps; /* for the C inputs as outputs */
};

/* Phase `number`, whose taps stand behind so many of the phases before it. */
static struct phase phase_of(const struct plan *plan, ptrdiff_t number, ptrdiff_t before) {
    const int outs = (int)plan->in.channels;
    struct phase phase = {.a = number / plan->stride, .b = number % plan->stride};
    phase.rows = axis_of(plan, phase.a, plan->in.height);
    phase.columns = axis_of(plan, phase.b, plan->in.width);
    phase.taps =
        (struct tw_taps){outs, (int)(plan->out.channels * phase.rows.taps * phase.columns.taps),
                         plan->back + before, plan->weight + before * outs, NULL};
    return phase;
}

/* The taps (o, i, j) of all phases. */
static void set_phases(const struct plan *plan, const tw_real *weights) {
    const ptrdiff_t kernel = plan->kernel;
    ptrdiff_t *offset = plan->back;
    for (ptrdiff_t number = 0; number < plan->stride * plan->stride; number++) {
        const struct phase phase = phase_of(plan, number, offset - plan->back);
        tw_real *into = plan->weight + (offset - plan->back) * plan->in.channels;
        int tap = 0;
        for (ptrdiff_t o = 0; o < plan->out.channels; o++)
            for (ptrdiff_t i = 0; i < phase.rows.taps; i++)
                for (ptrdiff_t j = 0; j < phase.columns.taps; j++, tap++) {
                    *offset++ = (o * plan->spread.height - i) * plan->spread.width - j;
                    const tw_real *weight = weights + o * plan->taps +
                                            (phase.a + plan->stride * i) * kernel + phase.b +
                                            plan->stride * j;
                    for (int c = 0; c < phase.taps.outs; c++)
                        into[tw_correlate_order(phase.taps.outs, phase.taps.count, c, tap)] =
                            weight[c * kernel * kernel];
                }
    }
}

/* Slopes of the inputs from those of the outputs, for a group of rows. */
static void find_in_slopes(const struct plan *plan) {
    const ptrdiff_t stride = plan->stride;
    ptrdiff_t taps = 0;
    for (ptrdiff_t number = 0; number < stride * stride; number++) {
        const struct phase phase = phase_of(plan, number, taps);
        const struct axis *rows = &phase.rows, *columns = &phase.columns;
        const struct tw_grid grid = {
            .height = (int)rows->count,
            .width = (int)columns->count,
            .near_step = 1,
            .near_row = plan->spread.width,
            .far_step = stride,
            .far_row = stride * plan->in.width,
            .far_plane = plan->in.height * plan->in.width,
        };
        const ptrdiff_t y = rows->first / stride + plan->before;
        const ptrdiff_t x = columns->first / stride + plan->before;
        tw_correlate(&phase.taps, &grid, plan->out_lanes + y * plan->spread.width + x,
                     plan->slope_lanes + (rows->first - plan->padding) * plan->in.width +
                         columns->first - plan->padding);
        taps += phase.taps.count;
    }
}

static void backward(const struct tw_layer_pass *pass) {
    struct plan plan = start(pass);
    const int64_t weights = plan.taps * plan.out.channels;
    const size_t in = (size_t)pass->in_shape->elements, out = (size_t)pass->out_shape->elements;
    clear(plan.in_lanes, elements_of(&plan.padded));
    clear(plan.out_lanes, elements_of(&plan.spread));
    clear(plan.sums, weights + plan.out.channels);
    if (pass->in_gradient != NULL)
        set_phases(&plan, pass->weights[0]);
    for (int row = 0; row < pass->rows; row += TW_LANES) {
        int samples = group_at(pass, row);
        pack_images(pass->in + (size_t)row * in, samples, &plan.in, &plan.padded, plan.padding,
                    plan.slope_lanes, plan.in_lanes);
        pack_images(pass->out_gradient + (size_t)row * out, samples, &plan.out, &plan.spread,
                    plan.before, plan.slope_lanes, plan.out_lanes);
        add_slopes(&plan);
        if (pass->in_gradient == NULL)
            continue;
        find_in_slopes(&plan);
        tw_lanes_unpack(plan.slope_lanes, pass->in_gradient + (size_t)row * in, in, samples, in);
    }
    for (int64_t i = 0; i < weights; i++)
        pass->gradients[0][i] = tw_lanes_sum(&plan.sums[i]);
    for (int64_t o = 0; o < plan.out.channels; o++)
        pass->gradients[1][o] = tw_lanes_sum(&plan.sums[weights + o]);
}

const struct tw_layer tw_layer_conv2d = {
    .name = "conv2d",
    .text = "convolution of images [channels, height, width] with square kernels",
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .options_size = sizeof(struct options),
    .needs_in = true,
    .shape = shape,
    .tensors = tensors,
    .scratch = scratch,
    .flop = flop,
    .forward = forward,
    .backward = backward,
};
