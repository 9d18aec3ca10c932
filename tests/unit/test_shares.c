/* The gradient of a block of slots, against single slots added up by the tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
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
#define TENSORS 4
#define MODEL                                                                                      \
    "  input: [12]\n  layers: [dense: 9, relu, dropout: 0.7, dense: 3]\n  loss: "                  \
    "softmax_cross_entropy\n"

struct fixture {
    struct tw_model *model;
    struct tw_dataset data;
    uint8_t samples[SAMPLES * PIXELS];
    int32_t labels[SAMPLES];
    float *weights[TENSORS];
    int elements; /* of all tensors */
    int64_t batch;
    uint32_t slots, parts;
    struct tw_local_steps local;
};

static void fixture_init_model(struct fixture *f, const char *text) {
    struct tw_error error;
    memset(f, 0, sizeof(*f));
    f->batch = BATCH;
    f->slots = SLOTS;
    f->parts = 1;
    f->local.steps = 1;
    if (build_model(&f->model, text, &error) != TW_OK)
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

static void fixture_init(struct fixture *f) {
    fixture_init_model(f, MODEL);
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

/* Weights that come when they are asked for: until then nobody may read them. */
static struct {
    struct fixture *f; /* NULL: they are there */
    float *value[4];
    bool here[4];
    int questions, last; /* the answer to question `last` is no */
} late;

static bool weights_come(void *context, int first, int tensors) {
    assert_null(context);
    for (int t = first; t < first + tensors; t++) {
        size_t count = (size_t)late.f->model->list.tensors[t].elements;
        if (!late.here[t])
            memcpy(late.f->weights[t], late.value[t], count * sizeof(float));
        late.here[t] = true;
    }
    return late.questions++ != late.last;
}

static struct tw_shares *make(struct fixture *f, uint32_t slot, uint32_t width) {
    wanted_for = -1;
    struct tw_shares_config config = {.unwanted = unwanted,
                                      .there = late.f ? weights_come : NULL,
                                      .model = f->model,
                                      .weights = (const float *const *)f->weights,
                                      .data.all = &f->data,
                                      .seeds = {.sampling = 3},
                                      .batch = f->batch,
                                      .slot = slot,
                                      .width = width,
                                      .slots = f->slots,
                                      .parts = f->parts,
                                      .local = f->local};
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
    for (uint32_t i = 0; i < f->slots / width; i++) {
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
    assert_int_equal(examples, f->batch * f->local.steps);
    tw_sum_tree(out, (const float *const *)block, (int)(f->slots / width), (size_t)f->elements);
    for (uint32_t i = 0; i < f->slots / width; i++)
        free(block[i]);
    return tw_tree_sum_total(&loss);
}

static void the_sum_does_not_depend_on_who_owns_the_slots(void **state) {
    struct fixture f;
    fixture_init(&f);
    size_t bytes = (size_t)f.elements * sizeof(float);
    float *single = malloc(bytes), *blocks = malloc(bytes);
    f.local.rate = .2;
    for (f.parts = 1; f.parts <= 2; f.parts++)
        for (uint64_t step = 1; step <= 5; step++) { /* over borders of epochs */
            f.local.steps = (uint32_t)step;
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

/* Taken apart, a share has the same examples with the same random numbers: what differs is how
 * sums are rounded. */
static void parts_change_only_the_rounding(void **state) {
    struct fixture f;
    fixture_init(&f);
    size_t bytes = (size_t)f.elements * sizeof(float);
    float *whole = malloc(bytes), *parts = malloc(bytes);
    f.slots = 2; /* with 11 rows, and 10 */
    for (uint64_t step = 1; step <= 5; step++) {
        f.parts = 1;
        double loss = update_of(&f, 1, step, whole), largest = 0;
        for (int i = 0; i < f.elements; i++)
            largest = fmax(largest, fabs((double)whole[i]));
        for (f.parts = 2; f.parts <= 8; f.parts *= 2) {
            assert_true(fabs(update_of(&f, 2, step, parts) / loss - 1) < 1e-5);
            for (int i = 0; i < f.elements; i++)
                assert_true(fabs((double)parts[i] - (double)whole[i]) < 1e-5 * largest);
        }
    }
    free(whole);
    free(parts);
    fixture_fini(&f);
}

/* Where nothing is drawn for a slot, and steps and epochs can be shared out evenly. */
static void the_parts_of_a_single_slot_are_so_many_slots(void **state) {
    struct fixture f;
    fixture_init_model(&f, "  input: [12]\n  layers: [dense: 9, relu, dense: 3]\n"
                           "  loss: softmax_cross_entropy\n");
    size_t bytes = (size_t)f.elements * sizeof(float);
    float *slots = malloc(bytes), *parts = malloc(bytes);
    f.data.count = 48;
    f.batch = 24;
    for (uint32_t number = 2; number <= 8; number *= 2)
        for (uint64_t step = 1; step <= 5; step++) {
            f.slots = number;
            f.parts = 1;
            double loss = update_of(&f, 1, step, slots);
            f.slots = 1;
            f.parts = number;
            assert_true(update_of(&f, 1, step, parts) == loss);
            assert_memory_equal(slots, parts, bytes);
        }
    free(slots);
    free(parts);
    fixture_fini(&f);
}

/* Weights that walk by hand, and a step of one slot on each: their sum, in order, comes out. */
static void local_steps_are_steps_on_the_way(void **state) {
    enum { STEPS = 3 };
    struct fixture f;
    fixture_init(&f);
    size_t bytes = (size_t)f.elements * sizeof(float);
    float *sum = malloc(bytes), *one = malloc(bytes), *found = malloc(bytes), *start[TENSORS];
    f.slots = 2;
    for (int t = 0; t < TENSORS; t++)
        start[t] = malloc((size_t)f.model->list.tensors[t].elements * sizeof(float));
    for (f.parts = 1; f.parts <= 2; f.parts++)
        for (uint64_t step = 1; step <= 4; step++) {
            struct tw_tree_sum loss = {0};
            for (int t = 0; t < TENSORS; t++)
                memcpy(start[t], f.weights[t],
                       (size_t)f.model->list.tensors[t].elements * sizeof(float));
            memset(sum, 0, bytes);
            f.local = (struct tw_local_steps){.steps = 1};
            for (uint64_t h = 1; h <= STEPS; h++) {
                struct tw_shares *shares = make(&f, 1, 1);
                step_of(&f, shares, (step - 1) * STEPS + h, one);
                assert_int_equal(tw_shares_examples(shares), 10);
                tw_tree_sum_add(&loss, tw_shares_loss(shares));
                tw_shares_free(shares);
                for (int t = 0, at = 0; t < TENSORS; t++)
                    for (int i = 0; i < (int)f.model->list.tensors[t].elements; i++, at++) {
                        sum[at] = h == 1 ? one[at] : sum[at] + one[at];
                        f.weights[t][i] -= .3F * (one[at] / 10);
                    }
            }
            for (int t = 0; t < TENSORS; t++)
                memcpy(f.weights[t], start[t],
                       (size_t)f.model->list.tensors[t].elements * sizeof(float));
            f.local = (struct tw_local_steps){.steps = STEPS, .rate = .3};
            struct tw_shares *shares = make(&f, 1, 1);
            step_of(&f, shares, step, found);
            assert_memory_equal(found, sum, bytes);
            assert_int_equal(tw_shares_examples(shares), 10 * STEPS);
            assert_true(tw_shares_loss(shares) == tw_tree_sum_total(&loss));
            tw_shares_free(shares);
        }
    for (int t = 0; t < TENSORS; t++)
        free(start[t]);
    free(sum);
    free(one);
    free(found);
    fixture_fini(&f);
}

/* What is counted is what the nets of a part take, and the sums. */
static void parts_need_less_memory(void **state) {
    struct fixture f;
    struct tw_error error;
    size_t bytes[5], expected;
    fixture_init(&f);
    for (int i = 0; i < 5; i++) {
        struct tw_shares_config config = {.model = f.model,
                                          .batch = 1024,
                                          .width = 1,
                                          .slots = 1,
                                          .parts = 1U << i,
                                          .local = {.steps = 1}};
        assert_int_equal(tw_shares_bytes(&config, &bytes[i], &error), TW_OK);
        assert_int_equal(tw_net_bytes(f.model, 1024 >> i, true, &expected, &error), TW_OK);
        assert_int_equal(bytes[i], expected + (size_t)i * (size_t)f.elements * sizeof(float));
        assert_true(i == 0 || bytes[i] < bytes[i - 1]);
    }
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
        f.parts = width == 1 ? 1 : 2;
        f.local = (struct tw_local_steps){.steps = width, .rate = .2};
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

/* The weights of the next step are on their way. */
static void weights_leave(struct fixture *f) {
    late.questions = 0;
    for (int t = 0; t < 4; t++) {
        late.here[t] = false;
        for (int64_t i = 0; i < f->model->list.tensors[t].elements; i++)
            f->weights[t][i] = NAN;
    }
}

static void weights_may_come_layer_by_layer(void **state) {
    static const struct {
        uint32_t width, parts;
        struct tw_local_steps local;
    } variants[] = {
        {1, 1, {.steps = 1}},
        {4, 1, {.steps = 1}},
        {2, 2, {.steps = 1}},
        {2, 1, {.steps = 3, .rate = .125}},
        {2, 2, {.steps = 2, .rate = .125, .rho = .5}},
    };
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
        struct fixture f;
        struct tw_error error;
        fixture_init(&f);
        f.parts = variants[v].parts;
        f.local = variants[v].local;
        size_t bytes = (size_t)f.elements * sizeof(float);
        float *whole = malloc(bytes), *layers = malloc(bytes);
        struct tw_shares *one = make(&f, 0, variants[v].width);
        late.f = &f;
        late.last = -1;
        struct tw_shares *other = make(&f, 0, variants[v].width);
        for (int t = 0; t < 4; t++) {
            size_t count = (size_t)f.model->list.tensors[t].elements * sizeof(float);
            late.value[t] = malloc(count);
            memcpy(late.value[t], f.weights[t], count);
        }
        for (uint64_t step = 1; step <= 3; step++) {
            step_of(&f, one, step, whole);
            double loss = tw_shares_loss(one);
            weights_leave(&f);
            late.last = step == 2 ? (int)v % 2 : -1; /* some do not come; another time */
            if (step == 2) {
                assert_int_equal(tw_shares_begin(other, step, &error), TW_STALE);
                assert_int_equal(late.questions, late.last + 1);
                late.last = -1;
                weights_leave(&f);
            }
            step_of(&f, other, step, layers);
            assert_memory_equal(whole, layers, bytes);
            assert_true(tw_shares_loss(other) == loss);
        }
        for (int t = 0; t < 4; t++)
            free(late.value[t]);
        late.f = NULL;
        tw_shares_free(one);
        tw_shares_free(other);
        free(whole);
        free(layers);
        fixture_fini(&f);
    }
}

static void what_cannot_be_is_refused(void **state) {
    struct fixture f;
    struct tw_error error;
    struct tw_shares *shares;
    fixture_init(&f);
    struct tw_shares_config config = {.model = f.model,
                                      .weights = (const float *const *)f.weights,
                                      .data.all = &f.data,
                                      .batch = SLOTS - 1, /* the last slot has no example */
                                      .slot = 4,
                                      .width = 4,
                                      .slots = SLOTS,
                                      .parts = 1,
                                      .local = {.steps = 1}};
    assert_int_equal(tw_shares_new(&shares, &config, &error), TW_JOB);
    assert_null(shares);
    config.batch = BATCH;
    config.parts = 4;
    assert_int_equal(tw_shares_new(&shares, &config, &error), TW_JOB);
    assert_string_equal(error.text, "slot 4 has 3 examples of each update: too few for 4 parts");
    shares = make(&f, 0, 2);
    assert_int_equal(tw_shares_begin(shares, 0, &error), TW_LIMIT);
    assert_int_equal(tw_shares_ready(shares, UINT64_MAX, &error), TW_LIMIT);
    tw_shares_free(shares);
    f.local.steps = 1 << 16;
    shares = make(&f, 0, 2);
    assert_int_equal(tw_shares_ready(shares, 0, &error), TW_LIMIT);
    assert_int_equal(tw_shares_ready(shares, UINT64_C(1) << 48, &error), TW_LIMIT);
    tw_shares_free(shares);
    fixture_fini(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sum_does_not_depend_on_who_owns_the_slots),
        cmocka_unit_test(parts_change_only_the_rounding),
        cmocka_unit_test(the_parts_of_a_single_slot_are_so_many_slots),
        cmocka_unit_test(local_steps_are_steps_on_the_way),
        cmocka_unit_test(parts_need_less_memory),
        cmocka_unit_test(reading_ahead_changes_nothing),
        cmocka_unit_test(a_step_may_be_computed_again),
        cmocka_unit_test(one_can_compute_for_all_ranks),
        cmocka_unit_test(a_step_that_is_given_up_leaves_no_trace),
        cmocka_unit_test(weights_may_come_layer_by_layer),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    struct tw_error error;
    if (tw_gemm_start(NULL, &error) != TW_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
