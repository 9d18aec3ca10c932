/* Layer-wise rules: what the sequencer makes of the squares that shards say of each tensor. */
#include <math.h>

#include "tests/unit/sequencer_desk.h"

static double quotient(const double *scalars, double weights, double step) {
    (void)scalars;
    return weights / step;
}

static const struct tw_optimizer layer_wise = {
    .name = "layer-wise", .prepare = desk_prepare_scalars, .ratio = quotient};

static void start(struct desk *desk, uint32_t shards, uint32_t tensors) {
    struct tw_sequencer_config config = desk_config("sync", 1, shards);
    config.optimizer = &layer_wise;
    config.tensors = tensors;
    desk_init(desk, &config);
    desk_start(desk);
}

static void squares_on(struct desk *desk, uint32_t shard, uint32_t tensor, double weights,
                       double step) {
    struct tw_sequencer_event event = {.kind = TW_SEQ_SQUARES};
    event.squares =
        (struct tw_squares){.shard = shard, .tensor = tensor, .version = desk->version + 1};
    tw_exact_sum_add(&event.squares.of.weights, weights);
    tw_exact_sum_add(&event.squares.of.step, step);
    desk_step(desk, &event);
}

static void sums_on(struct desk *desk, uint32_t shard) {
    struct tw_sequencer_event event = {.kind = TW_SEQ_SUMS};
    event.sums = (struct tw_sums){.shard = shard, .version = desk->version + 1, .finite = true};
    desk_step(desk, &event);
}

static double ratio(const struct desk *desk, uint32_t tensor) {
    const struct tw_record *commit = desk_record(desk, TW_RECORD_COMMIT, 0);
    assert_int_equal(commit->ratio_count, desk->config.tensors);
    return commit->ratios[tensor];
}

/* Tensor 1 lies on both shards. */
static void parts_of_a_tensor_are_added_up(void **state) {
    struct desk desk;
    start(&desk, 2, 3);
    for (int update = 1; update <= 2; update++) { /* the second begins at 0 again */
        desk_ready(&desk, 0);
        squares_on(&desk, 1, 1, 5, 1);
        squares_on(&desk, 1, 2, 1, 4);
        sums_on(&desk, 1);
        squares_on(&desk, 0, 0, 36, 4);
        squares_on(&desk, 0, 1, 4, 0);
        assert_int_equal(desk.version, update - 1);
        sums_on(&desk, 0);
        assert_int_equal(desk.version, update);
        assert_true(ratio(&desk, 0) == 3 && ratio(&desk, 1) == 3 && ratio(&desk, 2) == .5);
    }
    desk_fini(&desk);
}

static void what_comes_at_another_time_does_not_count(void **state) {
    struct desk desk;
    start(&desk, 2, 1);
    squares_on(&desk, 0, 0, 1e9, 1); /* nothing is prepared */
    desk_ready(&desk, 0);
    squares_on(&desk, 0, 0, 8, 1);
    squares_on(&desk, 0, 1, 1e9, 1); /* no such tensor */
    squares_on(&desk, 2, 0, 1e9, 1); /* no such shard */
    sums_on(&desk, 0);
    squares_on(&desk, 0, 0, 1e9, 1); /* it has answered */
    squares_on(&desk, 1, 0, 8, 3);
    sums_on(&desk, 1);
    assert_true(ratio(&desk, 0) == 2);
    desk_fini(&desk);
}

static void a_step_that_is_not_finite_is_dropped(void **state) {
    struct desk desk;
    start(&desk, 1, 2);
    desk_ready(&desk, 0);
    squares_on(&desk, 0, 0, 1, 1);
    squares_on(&desk, 0, 1, 1, NAN);
    sums_on(&desk, 0);
    assert_int_equal(desk.version, 0);
    assert_non_null(desk_record(&desk, TW_RECORD_DROP, 0));
    desk_ready(&desk, 0); /* the next one is none the worse */
    squares_on(&desk, 0, 0, 1, 1);
    squares_on(&desk, 0, 1, 1, 1);
    sums_on(&desk, 0);
    assert_int_equal(desk.version, 1);
    desk_fini(&desk);
}

static void other_rules_have_none(void **state) {
    struct desk desk;
    struct tw_sequencer_config config = desk_config("sync", 1, 1);
    config.tensors = 2;
    desk_init(&desk, &config);
    desk_start(&desk);
    desk_ready(&desk, 0);
    squares_on(&desk, 0, 1, 1, NAN);
    sums_on(&desk, 0);
    assert_int_equal(desk_record(&desk, TW_RECORD_COMMIT, 0)->ratio_count, 0);
    desk_fini(&desk);
}

/* A shard is told beforehand what it will apply with. */
static void prepare_says_what_commit_says(void **state) {
    struct desk desk;
    start(&desk, 1, 1);
    desk_ready(&desk, 0);
    const struct tw_prepare *prepare = NULL;
    for (size_t i = 0; i < desk.effects; i++)
        if (desk.effect[i].kind == TW_SEQ_PREPARE)
            prepare = &desk.effect[i].prepare;
    assert_non_null(prepare);
    struct tw_prepare kept = *prepare;
    double scalars[TW_OPTIMIZER_SCALARS];
    assert_int_equal(kept.scalar_count, TW_OPTIMIZER_SCALARS);
    memcpy(scalars, kept.scalars, sizeof scalars);
    assert_true(kept.rate == desk_options.lr && scalars[1] == desk_options.lr + 1);
    squares_on(&desk, 0, 0, 1, 1);
    sums_on(&desk, 0);
    const struct tw_record *commit = desk_record(&desk, TW_RECORD_COMMIT, 0);
    assert_true(commit->examples == kept.examples && commit->rate == kept.rate);
    assert_int_equal(commit->scalar_count, TW_OPTIMIZER_SCALARS);
    assert_memory_equal(commit->scalars, scalars, sizeof scalars);
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_of_a_tensor_are_added_up),
        cmocka_unit_test(what_comes_at_another_time_does_not_count),
        cmocka_unit_test(a_step_that_is_not_finite_is_dropped),
        cmocka_unit_test(other_rules_have_none),
        cmocka_unit_test(prepare_says_what_commit_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
