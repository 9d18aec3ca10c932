/* A shard with next to no memory for gradients: a home for each chunk, and a few spare buffers.
 * The desk's shard has five chunks. That it never starves: tests/sim/test_tight.c. */
#include "common/tensor/kernels.h"
#include "tests/unit/shard_desk.h"

static void start(struct desk *desk, bool sync, uint32_t slots, uint32_t pool) {
    desk_init(desk, sync, slots);
    desk_fini(desk);
    desk->config.pool = pool;
    desk->config.ahead = 0;
    size_t bytes = tw_shard_bytes(&desk->config);
    desk->memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    memset(desk->memory, 0, bytes);
    desk->shard = tw_shard_init(desk->memory, &desk->config);
    desk_start(desk);
}

static enum tw_status try(struct desk *desk, uint32_t slot, uint32_t chunk, void **place) {
    struct tw_push push = desk_push_of(desk, slot, chunk);
    return desk_place(desk, &push, place);
}

static void assert_waits(struct desk *desk, uint32_t slot, uint32_t chunk) {
    struct tw_push push = desk_push_of(desk, slot, chunk);
    void *place;
    assert_int_equal(desk_place(desk, &push, &place), TW_AGAIN);
    assert_false(tw_shard_has_place(desk->shard, &push));
}

static void permit(struct desk *desk, uint32_t first, uint32_t count) {
    struct tw_contribution contributions[DESK_SLOTS];
    struct tw_record record = desk_record(desk, TW_RECORD_PERMIT);
    record.count = desk_contributions(desk, first, count, contributions);
    record.contributions = contributions;
    tw_shard_record(desk->shard, &record);
}

static void test_the_least_is_what_the_tree_needs(void **state) {
    static const uint32_t slots[] = {1, 2, 3, 4, 5, 8, 9, 1000, 4096};
    static const uint32_t least[] = {1, 1, 2, 2, 3, 3, 4, 10, 12};
    for (size_t i = 0; i < sizeof(slots) / sizeof(*slots); i++)
        assert_int_equal(tw_shard_pool_min(slots[i]), least[i]);
}

/* Four slots, chunk by chunk, in any order of arrival that there is room for: the bits of the
 * tree. */
static void test_the_sum_is_that_of_the_tree(void **state) {
    struct desk desk;
    start(&desk, true, 4, 2);
    float before = tw_shard_weights(desk.shard, 4)[0];
    for (uint32_t c = DESK_CHUNKS; c-- > 0;)
        for (uint32_t slot = 0; slot < 4; slot++) {
            desk_push(&desk, slot, c);
            desk_work(&desk);
        }
    for (uint32_t slot = 0; slot < 4; slot++)
        desk_end(&desk, slot);
    desk_prepare(&desk, 0, 4);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_SUMS), 1);
    desk_commit(&desk, 0, 4);
    desk_work(&desk);
    float input[4], sum;
    const float *inputs[4];
    for (uint32_t slot = 0; slot < 4; slot++) {
        input[slot] = desk_gradient(slot, 1, 2, 0);
        inputs[slot] = &input[slot];
    }
    tw_sum_tree(&sum, inputs, 4, 1);
    assert_true(tw_shard_weights(desk.shard, 4)[0] == before - 0.25F * (sum / (4 * DESK_EXAMPLES)));
    desk_fini(&desk);
}

/* What has no buffer yet waits, and may come when it is its turn. */
static void test_the_last_buffers_are_for_whose_turn_it_is(void **state) {
    struct desk desk;
    void *place;
    start(&desk, true, 4, 2);
    desk_push(&desk, 0, 4);
    desk_push(&desk, 0, 3);
    desk_work(&desk);
    assert_waits(&desk, 2, 4); /* 1 goes first */
    assert_int_equal(try(&desk, 1, 4, &place), TW_OK);
    assert_waits(&desk, 1, 3); /* the first chunk that 0 sent is not done */
    desk_fini(&desk);
}

static void test_out_of_order_it_is_thrown_away_and_sent_again(void **state) {
    struct desk desk;
    void *place;
    start(&desk, true, 2, 1);
    for (uint32_t c = 0; c < DESK_CHUNKS; c++)
        desk_push(&desk, 0, c);
    desk_work(&desk);
    for (uint32_t c = DESK_CHUNKS; c-- > 1;) {
        assert_int_equal(try(&desk, 1, c, &place), TW_OK);
        assert_null(place);
    }
    desk_push(&desk, 1, 0);
    desk_end(&desk, 1);
    assert_true(tw_shard_wants_again(desk.shard, 1));
    assert_false(tw_shard_wants_again(desk.shard, 1));
    desk_work(&desk);
    for (uint32_t c = 1; c < DESK_CHUNKS; c++) {
        desk_push(&desk, 1, c);
        desk_work(&desk);
    }
    desk_forget(&desk);
    desk_end(&desk, 1);
    assert_false(tw_shard_wants_again(desk.shard, 1));
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_READY), 1);
    desk_fini(&desk);
}

static void test_without_a_permit_nothing_is_received(void **state) {
    struct desk desk;
    void *place;
    start(&desk, false, 2, 2);
    desk_forget(&desk);
    assert_int_equal(try(&desk, 1, 2, &place), TW_AGAIN);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_WANT), 1);
    assert_int_equal(desk_said(&desk, TW_SHARD_WANT, 0)->want.slot, 1);
    assert_waits(&desk, 1, 2); /* and it does not ask twice */
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_WANT), 1);
    permit(&desk, 1, 1);
    assert_true(tw_shard_is_permitted(desk.shard, 1));
    desk_push_all(&desk, 1);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_READY), 1);
    desk_fini(&desk);
}

/* However often that was withdrawn before it could be told. */
static void test_who_begins_again_and_again_is_told_of_once(void **state) {
    struct desk desk;
    void *place;
    start(&desk, false, 2, 2);
    desk_forget(&desk);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(try(&desk, 1, 2, &place), TW_AGAIN);
        desk_join(&desk, 1);
        desk_release(&desk, 1);
    }
    assert_int_equal(try(&desk, 1, 2, &place), TW_AGAIN);
    assert_int_equal(try(&desk, 0, 2, &place), TW_AGAIN);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_WANT), 2);
    assert_int_equal(desk_said(&desk, TW_SHARD_WANT, 0)->want.slot, 1);
    assert_int_equal(desk_said(&desk, TW_SHARD_WANT, 0)->want.incarnation, 6);
    assert_int_equal(desk_said(&desk, TW_SHARD_WANT, 1)->want.slot, 0);
    desk_fini(&desk);
}

static void test_what_came_before_it_was_taken_back_is_gone(void **state) {
    struct desk desk;
    start(&desk, false, 2, 4);
    permit(&desk, 0, 2);
    desk_push(&desk, 0, 4);
    desk_push(&desk, 1, 4);
    desk_begin(&desk, 1, 3);
    desk_work(&desk);
    permit(&desk, 0, 0);
    assert_false(tw_shard_is_permitted(desk.shard, 0));
    desk_arrived(&desk, 1, 3); /* to be thrown away */
    permit(&desk, 1, 1);
    desk_forget(&desk);
    desk_push_all(&desk, 1);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_READY), 1);
    assert_int_equal(desk_said(&desk, TW_SHARD_READY, 0)->ready.regather, desk.position - 1);
    desk_fini(&desk);
}

/* Weights that are being sent stay; without a spare buffer the update waits until they are. */
static void test_copies_take_what_is_left(void **state) {
    struct desk desk;
    start(&desk, false, 1, 1);
    desk_release(&desk, TW_SLOT_EVALUATOR);
    desk_work(&desk); /* five chunks on their way */
    permit(&desk, 0, 1);
    desk_push_all(&desk, 0);
    desk_work(&desk);
    desk_prepare(&desk, 0, 1);
    desk_work(&desk);
    desk_commit(&desk, 0, 1);
    assert_int_equal(desk_work(&desk), TW_SHARD_BLOCKED); /* the second has no copy */
    desk_sent(&desk);
    assert_int_equal(desk_work(&desk), TW_SHARD_IDLE);
    assert_int_equal(desk.applied_count, 1);
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_least_is_what_the_tree_needs),
        cmocka_unit_test(test_the_sum_is_that_of_the_tree),
        cmocka_unit_test(test_the_last_buffers_are_for_whose_turn_it_is),
        cmocka_unit_test(test_out_of_order_it_is_thrown_away_and_sent_again),
        cmocka_unit_test(test_without_a_permit_nothing_is_received),
        cmocka_unit_test(test_who_begins_again_and_again_is_told_of_once),
        cmocka_unit_test(test_what_came_before_it_was_taken_back_is_gone),
        cmocka_unit_test(test_copies_take_what_is_left),
    };
    return cmocka_run_group_tests_name("shard_pool", tests, NULL, NULL);
}
