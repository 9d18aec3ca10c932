/* The gradient of a block of slots, against single slots added up by the tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/tree_sum.h"
#include "common/tensor/kernels.h"
#include "tests/unit/net_job.h"
#include "worker/io/shares.h"
#include "worker/nn/gemm.h"

#define SAMPLES 53
#define PIXELS 12
#define BATCH 21 /* over 8 slots: five with 3 rows, three with 2 */
#define SLOTS 8
#define MODEL                                                                                      \
    "  input: [12]\n  layers: [dense: 9, relu, dropout: 0.7, dense: 3]\n  loss: "                  \
    "softmax_cross_entropy\n"

struct fixture {
    struct tw_model *model;
    struct tw_dataset data;
    uint8_t samples[SAMPLES * PIXELS];
    int32_t labels[SAMPLES];
    float *weights[4];
    int elements; /* of all tensors */
};

static void fixture_init(struct fixture *f) {
    struct tw_error error;
    memset(f, 0, sizeof(*f));
    if (build_model(&f->model, MODEL, &error) != TW_OK)
        fail_msg("%s", error.text);
    for (int i = 0; i < SAMPLES * PIXELS; i++)
        f->samples[i] = (uint8_t)(i * 89 % 251);
    for (int i = 0; i < SAMPLES; i++)
        f->labels[i] = i * 7 % 3;
    f->data = (struct tw_dataset){.count = SAMPLES,
                                  .dims = 1,
                                  .shape = {PIXELS},
                                  .elements = PIXELS,
                                  .rows = f->samples,
                                  .labels = f->labels};
    assert_int_equal(f->model->list.count, 4);
    for (int t = 0; t < 4; t++) {
        int count = (int)f->model->list.tensors[t].elements;
        f->elements += count;
        f->weights[t] = malloc((size_t)count * sizeof(float));
        for (int i = 0; i < count; i++)
            f->weights[t][i] = (float)((i * 37 + t) % 101 - 50) / 77;
    }
}

static void fixture_fini(struct fixture *f) {
    for (int t = 0; t < 4; t++)
        free(f->weights[t]);
    tw_model_free(f->model);
}

static int wanted_for; /* more questions; -1: for ever */

static bool unwanted(void *context) {
    assert_null(context);
    return wanted_for >= 0 && wanted_for-- == 0;
}

static struct tw_shares *make(struct fixture *f, uint32_t slot, uint32_t width) {
    wanted_for = -1;
    struct tw_shares_config config = {.unwanted = unwanted,
                                      .model = f->model,
                                      .weights = (const float *const *)f->weights,
                                      .data = &f->data,
                                      .seeds = {.sampling = 3},
                                      .batch = BATCH,
                                      .slot = slot,
                                      .width = width,
                                      .slots = SLOTS};
    struct tw_shares *shares;
    struct tw_error error;
    if (tw_shares_new(&shares, &config, &error) != TW_OK)
        fail_msg("%s", error.text);
    return shares;
}

/* The gradient of a block's step, tensor after tensor; each tensor final once. */
static void step_of(struct fixture *f, struct tw_shares *shares, uint64_t step, float *out) {
    struct tw_error error;
    int first, tensors, seen = 0;
    assert_int_equal(tw_shares_begin(shares, step, &error), TW_OK);
    while (tw_shares_next(shares, &first, &tensors)) {
        for (int t = first; t < first + tensors; t++) {
            size_t at = 0, count = (size_t)f->model->list.tensors[t].elements;
            for (int before = 0; before < t; before++)
                at += (size_t)f->model->list.tensors[before].elements;
            memcpy(out + at, tw_shares_gradient(shares, t), count * sizeof(float));
            seen++;
        }
    }
    assert_int_equal(seen, 4);
}

/* What the servers make of blocks of this width: gradient, and loss. */
static double update_of(struct fixture *f, uint32_t width, uint64_t step, float *out) {
    float *block[SLOTS];
    struct tw_tree_sum loss = {0};
    uint64_t examples = 0;
    for (uint32_t i = 0; i < SLOTS / width; i++) {
        struct tw_shares *shares = make(f, i * width, width);
        block[i] = malloc((size_t)f->elements * sizeof(float));
        struct tw_error error;
        if (i % 2) /* ahead of its time, also for a step that never comes */
            assert_int_equal(tw_shares_ready(shares, step + i / 2, &error), TW_OK);
        step_of(f, shares, step, block[i]);
        examples += tw_shares_examples(shares);
        tw_tree_sum_add(&loss, tw_shares_loss(shares));
        tw_shares_free(shares);
    }
    assert_int_equal(examples, BATCH);
    tw_sum_tree(out, (const float *const *)block, (int)(SLOTS / width), (size_t)f->elements);
    for (uint32_t i = 0; i < SLOTS / width; i++)
        free(block[i]);
    return tw_tree_sum_total(&loss);
}

static void the_sum_does_not_depend_on_who_owns_the_slots(void **state) {
    struct fixture f;
    fixture_init(&f);
    size_t bytes = (size_t)f.elements * sizeof(float);
    float *single = malloc(bytes), *blocks = malloc(bytes);
    for (uint64_t step = 1; step <= 5; step++) { /* over borders of epochs */
        double loss = update_of(&f, 1, step, single);
        for (uint32_t width = 2; width <= SLOTS; width *= 2) {
            assert_true(update_of(&f, width, step, blocks) == loss);
            assert_memory_equal(single, blocks, bytes);
        }
    }
    free(single);
    free(blocks);
    fixture_fini(&f);
}

/* Rows that are asked for before they are needed are the same rows, in the same order. */
static void reading_ahead_changes_nothing(void **state) {
    struct fixture f;
    fixture_init(&f);
    size_t bytes = (size_t)f.elements * sizeof(float);
    float *held = malloc(bytes), *streamed = malloc(bytes);
    void *file =
        mmap(NULL, sizeof f.samples, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(file != MAP_FAILED);
    memcpy(file, f.samples, sizeof f.samples);
    for (uint64_t step = 1; step <= 5; step++) {
        f.data.rows = f.samples;
        f.data.streams = false;
        double loss = update_of(&f, 2, step, held);
        f.data.rows = file;
        f.data.mapping = (struct tw_mapping){file, sizeof f.samples};
        f.data.streams = true;
        assert_true(update_of(&f, 2, step, streamed) == loss);
        assert_memory_equal(held, streamed, bytes);
    }
    munmap(file, sizeof f.samples);
    free(held);
    free(streamed);
    fixture_fini(&f);
}

static void a_step_may_be_computed_again(void **state) {
    struct fixture f;
    fixture_init(&f);
    size_t bytes = (size_t)f.elements * sizeof(float);
    float *first = malloc(bytes), *again = malloc(bytes);
    struct tw_shares *shares = make(&f, 4, 4);
    step_of(&f, shares, 2, first);
    double loss = tw_shares_loss(shares);
    step_of(&f, shares, 3, again);
    assert_memory_not_equal(first, again, bytes);
    step_of(&f, shares, 2, again);
    assert_memory_equal(first, again, bytes);
    assert_true(tw_shares_loss(shares) == loss);
    tw_shares_free(shares);
    free(first);
    free(again);
    fixture_fini(&f);
}

/* Wherever it is left, in the way there and back of any slot, the next step is the same. */
static void one_can_compute_for_all_ranks(void **state) {
    struct fixture f;
    fixture_init(&f);
    size_t bytes = (size_t)f.elements * sizeof(float);
    float *own = malloc(bytes), *shared = malloc(bytes);
    struct tw_error error;
    for (uint32_t width = 1; width <= 4; width *= 4) {
        struct tw_shares *one = make(&f, 0, width);
        for (uint64_t step = 1; step <= 3; step++)
            for (uint32_t slot = 0; slot < SLOTS; slot += width) {
                struct tw_shares *alone = make(&f, slot, width);
                f.weights[3][0] += .25F; /* each has its own weights */
                step_of(&f, alone, step, own);
                assert_int_equal(tw_shares_bind(one, slot, (const float *const *)f.weights, &error),
                                 TW_OK);
                step_of(&f, one, step, shared);
                assert_memory_equal(own, shared, bytes);
                assert_true(tw_shares_loss(alone) == tw_shares_loss(one));
                assert_int_equal(tw_shares_examples(alone), tw_shares_examples(one));
                tw_shares_free(alone);
            }
        tw_shares_free(one);
    }
    free(own);
    free(shared);
    fixture_fini(&f);
}

static void a_step_that_is_given_up_leaves_no_trace(void **state) {
    struct fixture f;
    struct tw_error error;
    fixture_init(&f);
    size_t bytes = (size_t)f.elements * sizeof(float);
    float *first = malloc(bytes), *again = malloc(bytes);
    struct tw_shares *shares = make(&f, 4, 4);
    step_of(&f, shares, 2, first);
    double loss = tw_shares_loss(shares);
    int places = 0;
    for (;; places++) {
        wanted_for = places;
        enum tw_status status = tw_shares_begin(shares, 1, &error);
        bool whole = wanted_for >= 0; /* nobody asked that often */
        wanted_for = -1;
        assert_int_equal(status, whole ? TW_OK : TW_STALE);
        if (whole)
            break;
        step_of(&f, shares, 2, again);
        assert_memory_equal(first, again, bytes);
        assert_true(tw_shares_loss(shares) == loss);
    }
    assert_true(places >= 4 + 3 * 2);
    tw_shares_free(shares);
    free(first);
    free(again);
    fixture_fini(&f);
}

static void what_cannot_be_is_refused(void **state) {
    struct fixture f;
    struct tw_error error;
    struct tw_shares *shares;
    fixture_init(&f);
    struct tw_shares_config config = {.model = f.model,
                                      .weights = (const float *const *)f.weights,
                                      .data = &f.data,
                                      .batch = SLOTS - 1, /* the last slot has no example */
                                      .slot = 4,
                                      .width = 4,
                                      .slots = SLOTS};
    assert_int_equal(tw_shares_new(&shares, &config, &error), TW_JOB);
    assert_null(shares);
    shares = make(&f, 0, 2);
    assert_int_equal(tw_shares_begin(shares, 0, &error), TW_LIMIT);
    assert_int_equal(tw_shares_ready(shares, UINT64_MAX, &error), TW_LIMIT);
    tw_shares_free(shares);
    fixture_fini(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sum_does_not_depend_on_who_owns_the_slots),
        cmocka_unit_test(reading_ahead_changes_nothing),
        cmocka_unit_test(a_step_may_be_computed_again),
        cmocka_unit_test(one_can_compute_for_all_ranks),
        cmocka_unit_test(a_step_that_is_given_up_leaves_no_trace),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    struct tw_error error;
    if (tw_gemm_start(NULL, &error) != TW_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
