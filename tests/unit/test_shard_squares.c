/* What a shard says of whole tensors: of steps before an update, of changes behind it; against
 * plain loops, and with numbers that show what is rounded, and when. */
#include <math.h>

#include "tests/unit/shard_desk.h"

enum { SLOTS = 2 };

static bool near_to(double is, double should) {
    return fabs(is - should) <= 1e-5 * fabs(should);
}

static double mean_gradient(uint32_t tensor, int64_t element) {
    double sum = 0;
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        sum += (double)desk_gradient(slot, 1, tensor, element);
    return sum / (SLOTS * DESK_EXAMPLES);
}

/* Squares that this shard should say of a tensor before the first update, where m and v are 0:
 * of the weights, and of the step of lamb, which is sign(g) but for eps, or the gradient. */
static void expect(const struct desk *desk, uint32_t tensor, bool lamb, double *weights,
                   double *step) {
    const uint32_t *first = &desk->layout.shard_first[desk->config.index];
    *weights = *step = 0;
    for (uint32_t c = first[0]; c < first[1]; c++) {
        const struct tw_chunk *chunk = &desk->chunk[c];
        const float *w = tw_shard_weights(desk->shard, c);
        for (uint32_t i = 0; chunk->tensor == tensor && i < chunk->count; i++) {
            double g = mean_gradient(tensor, chunk->first + i);
            double s = lamb ? g / (fabs(g) + 1e-8) + .01 * (double)w[i] : g;
            *weights += (double)w[i] * (double)w[i];
            *step += s * s;
        }
    }
}

static void begin(struct desk *desk, bool sync, uint32_t servers, uint32_t index, bool lamb) {
    desk_init_shard(desk, sync, SLOTS, TW_CHUNK_BYTES_MIN, servers, index, lamb ? "lamb" : "lars");
    desk->config.options.weight_decay = .01;
    desk->config.options.trust = 1;
    desk->config.sums_every = 1;
    free(desk->memory);
    struct tw_shard_config config = desk->config;
    desk_init_as(desk, &config);
    for (int t = 0; t < DESK_TENSORS; t++)
        desk->ratios[t] = 1 + t;
    desk_start(desk);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        desk_push_all(desk, slot);
    desk_work(desk);
    desk_forget(desk);
}

/* Of each tensor that is here once, in order, then SUMS; and nothing has been touched. */
static void steps_are_measured(struct desk *desk, bool lamb) {
    uint32_t first = desk->layout.shard_first[desk->config.index];
    float before = tw_shard_weights(desk->shard, first)[0];
    desk_prepare(desk, 0, SLOTS);
    desk_work(desk);
    int said = 0;
    for (uint32_t t = 0; t < DESK_TENSORS; t++) {
        double weights, step;
        expect(desk, t, lamb, &weights, &step);
        if (weights == 0)
            continue; /* on another server */
        const struct tw_squares *squares = &desk->said[said].squares;
        assert_int_equal(desk->said[said++].kind, TW_SHARD_SQUARES);
        assert_true(squares->tensor == t && squares->version == 1 && !squares->applied);
        assert_int_equal(squares->shard, desk->config.index);
        assert_true(near_to(tw_exact_sum_value(&squares->of.weights), weights));
        assert_true(near_to(tw_exact_sum_value(&squares->of.step), step));
    }
    assert_true(said > 0 && said + 1 == desk->said_count);
    assert_int_equal(desk->said[said].kind, TW_SHARD_SUMS);
    assert_true(before == tw_shard_weights(desk->shard, first)[0]);
}

static void steps_are_measured_before_an_update(void **state) {
    for (int way = 0; way < 8; way++)
        for (uint32_t servers = 1; servers <= 3; servers++)
            for (uint32_t index = 0; index < servers; index++) {
                struct desk desk;
                begin(&desk, way & 1, servers, index, way & 2);
                steps_are_measured(&desk, way & 2);
                if (way & 4) { /* dropped: the next one begins anew */
                    desk_settle(&desk, TW_RECORD_DROP, 0, SLOTS);
                    desk_fini(&desk);
                    continue;
                }
                desk_commit(&desk, 0, SLOTS);
                desk_forget(&desk);
                desk_work(&desk);
                assert_int_equal(desk.applied_count, 1);
                desk_fini(&desk);
            }
}

/* The ratio of each tensor is that of the COMMIT; the change of lamb is lr times ratio times the
 * step. It is told for each tensor, and together it is the sample. */
static void changes_are_told_behind_it(void **state) {
    struct desk desk;
    begin(&desk, true, 1, 0, true);
    double steps[DESK_TENSORS], weights;
    for (uint32_t t = 0; t < DESK_TENSORS; t++)
        expect(&desk, t, true, &weights, &steps[t]);
    steps_are_measured(&desk, true);
    desk_forget(&desk);
    desk_commit(&desk, 0, SLOTS);
    desk_work(&desk);
    struct tw_tensor_squares all = {0};
    for (uint32_t t = 0; t < DESK_TENSORS; t++) {
        const struct tw_squares *squares = &desk_said(&desk, TW_SHARD_SQUARES, (int)t)->squares;
        assert_true(squares->tensor == t && squares->version == 1 && squares->applied);
        double length = .25 * (1 + t) * sqrt(steps[t]);
        assert_true(fabs(sqrt(tw_exact_sum_value(&squares->of.step)) / length - 1) < 1e-5);
        tw_tensor_squares_merge(&all, &squares->of);
    }
    assert_int_equal(desk_count(&desk, TW_SHARD_SQUARES), DESK_TENSORS);
    assert_int_equal(desk.applied_count, 1);
    assert_non_null(desk.applied.sample);
    assert_memory_equal(&all.weights, &desk.applied.sample->weights, sizeof all.weights);
    assert_memory_equal(&all.step, &desk.applied.sample->update, sizeof all.step);
    desk_fini(&desk);
}

/* No sums this time, no squares. */
static void what_is_not_sampled_is_not_told(void **state) {
    struct desk desk;
    desk_init(&desk, true, 1);
    desk.config.sums_every = 2;
    free(desk.memory);
    struct tw_shard_config config = desk.config;
    desk_init_as(&desk, &config);
    desk_start(&desk);
    for (int update = 1; update <= 4; update++) {
        desk_push_all(&desk, 0);
        desk_work(&desk);
        desk_prepare(&desk, 0, 1);
        desk_work(&desk);
        desk_forget(&desk);
        desk_commit(&desk, 0, 1);
        desk_work(&desk);
        assert_int_equal(desk_count(&desk, TW_SHARD_SQUARES), update % 2 ? 0 : DESK_TENSORS);
        assert_int_equal(desk.applied.sample != NULL, update % 2 == 0);
        assert_int_equal(desk.applied_count, update);
        desk_release(&desk, 0);
        desk_work(&desk);
        desk_sent(&desk);
    }
    desk_fini(&desk);
}

/* ---- where it is rounded ---- */

/* Tensor a has three blocks; these are the first elements of each, and all else is 0. */
struct numbers {
    float of_block[3][2];
};

static void push_numbers(struct desk *desk, uint32_t slot, const struct numbers *numbers) {
    for (uint32_t c = desk->layout.shard_first[1]; c-- > 0;) {
        const struct tw_chunk *chunk = &desk->chunk[c];
        float *at = desk_begin(desk, slot, c);
        memset(at, 0, chunk->count * sizeof *at);
        for (uint32_t i = 0; chunk->tensor == 0 && i < chunk->count; i += TW_BLOCK_FLOATS)
            memcpy(at + i, numbers->of_block[(chunk->first + i) / TW_BLOCK_FLOATS],
                   sizeof numbers->of_block[0]);
        desk_arrived(desk, slot, c);
    }
    desk_end(desk, slot);
}

/* What clipping by norm goes by: the squares of the sum over all slots, over the whole model. */
static double squares_of(const struct numbers *numbers, uint32_t slots, uint32_t chunk_bytes) {
    struct desk desk;
    desk_init_shard(&desk, true, slots, chunk_bytes, 1, 0, "sgd");
    desk.config.shaping.clip_norm = 1;
    free(desk.memory);
    struct tw_shard_config config = desk.config;
    desk_init_as(&desk, &config);
    desk_start(&desk);
    for (uint32_t slot = 0; slot < slots; slot++)
        push_numbers(&desk, slot, &numbers[slot]);
    desk_work(&desk);
    desk_prepare(&desk, 0, slots);
    desk_work(&desk);
    double told = tw_exact_sum_value(&desk_said(&desk, TW_SHARD_SUMS, 0)->sums.squares);
    desk_fini(&desk);
    return told;
}

/* 1 + 2^-53 + 2^-53. A double has no 1 + 2^-53: whoever rounds the sum of the first two blocks, or
 * of a chunk that has them both, has lost the last, too. */
static void squares_are_rounded_once_whatever_the_chunks(void **state) {
    static const struct numbers one = {{{1}, {0x1p-27F, 0x1p-27F}, {0x1p-27F, 0x1p-27F}}};
    for (uint32_t blocks = 1; blocks <= 3; blocks++)
        assert_true(squares_of(&one, 1, blocks * TW_CHUNK_BYTES_MIN) == 1 + 0x1p-52);
}

/* In float32 (1 + 2^-24) + 2^-24 is 1: both are ties, and 1 is even. In a wider sum it is more, or
 * when the two small ones are added to each other first, as the last two of four are. */
static void gradients_are_summed_by_the_tree_in_float32(void **state) {
    static const struct numbers three[] = {{{{1}}}, {{{0x1p-24F}}}, {{{0x1p-24F}}}};
    static const struct numbers four[] = {{{{1}}}, {{{0x1p-24F}}}, {{{0x1p-24F}}}, {{{0x1p-24F}}}};
    assert_true(squares_of(three, 3, TW_CHUNK_BYTES_MIN) == 1);
    assert_true(squares_of(four, 4, TW_CHUNK_BYTES_MIN) == (1 + 0x1p-23) * (1 + 0x1p-23));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_measured_before_an_update),
        cmocka_unit_test(changes_are_told_behind_it),
        cmocka_unit_test(what_is_not_sampled_is_not_told),
        cmocka_unit_test(squares_are_rounded_once_whatever_the_chunks),
        cmocka_unit_test(gradients_are_summed_by_the_tree_in_float32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
