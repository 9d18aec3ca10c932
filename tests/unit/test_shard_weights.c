/* A shard's weights: sweeping records over chunks, copy-on-write, and the numbers
 * that come out, against plain loops. */
#include "tests/unit/shard_desk.h"

/* All slots push, and the update is committed; nothing of it is worked on yet. */
static void update(struct desk *desk) {
    for (uint32_t slot = 0; slot < desk->config.slots; slot++)
        desk_push_all(desk, slot);
    desk_work(desk);
    desk_prepare(desk, 0, desk->config.slots);
    desk_work(desk);
    assert_int_equal(desk_count(desk, TW_SHARD_SUMS), 1);
    desk_forget(desk);
    desk_commit(desk, 0, desk->config.slots);
}

static float *copy_of(const struct desk *desk, uint32_t chunk) {
    float *copy = malloc(desk_bytes(desk, chunk));
    memcpy(copy, tw_shard_weights(desk->shard, chunk), desk_bytes(desk, chunk));
    return copy;
}

/* ---- numbers ---- */

static void test_weights_start_as_the_tensors_say(void **state) {
    struct desk desk;
    desk_init(&desk, true, 1);
    for (uint32_t c = 0; c < DESK_CHUNKS; c++) {
        const struct tw_chunk *chunk = &desk.chunk[c];
        float *expected = malloc(desk_bytes(&desk, c));
        tw_tensor_fill(&desk.tensors[chunk->tensor], (int)chunk->tensor, 7, chunk->first,
                       chunk->count, expected);
        assert_memory_equal(tw_shard_weights(desk.shard, c), expected, desk_bytes(&desk, c));
        free(expected);
    }
    desk_fini(&desk);
}

/* Plain descent by hand: w -= lr * (((g0 + g1) + g2) / examples). */
static void check_against_loop(const struct desk *desk, float *const *before, uint32_t slots,
                               uint64_t step) {
    for (uint32_t c = 0; c < DESK_CHUNKS; c++) {
        const struct tw_chunk *chunk = &desk->chunk[c];
        const float *after = tw_shard_weights(desk->shard, c);
        for (uint32_t i = 0; i < chunk->count; i++) {
            int64_t e = chunk->first + i;
            float sum = desk_gradient(0, step, chunk->tensor, e);
            for (uint32_t slot = 1; slot < slots; slot++)
                sum = sum + desk_gradient(slot, step, chunk->tensor, e);
            float mean = sum / (float)(slots * DESK_EXAMPLES);
            float expected = before[c][i] - 0.25F * mean;
            if (memcmp(&expected, &after[i], sizeof(expected)) != 0)
                fail_msg("chunk %u, element %u: %a, not %a", c, i, after[i], expected);
        }
    }
}

static void test_an_update_equals_a_plain_loop(void **state) {
    for (uint32_t slots = 1; slots <= 3; slots++) {
        struct desk desk;
        desk_init(&desk, true, slots);
        desk_start(&desk);
        for (uint64_t step = 1; step <= 3; step++) {
            float *before[DESK_CHUNKS];
            for (uint32_t c = 0; c < DESK_CHUNKS; c++)
                before[c] = copy_of(&desk, c);
            update(&desk);
            for (uint32_t slot = 0; slot < slots; slot++)
                desk_release(&desk, slot);
            assert_int_equal(desk_work(&desk), TW_SHARD_IDLE);
            check_against_loop(&desk, before, slots, step);
            desk_sent(&desk);
            for (uint32_t c = 0; c < DESK_CHUNKS; c++)
                free(before[c]);
        }
        desk_fini(&desk);
    }
}

static void test_async_applies_only_the_contributor(void **state) {
    struct desk desk;
    desk_init(&desk, false, 3);
    desk_start(&desk);
    for (uint32_t slot = 0; slot < 3; slot++)
        desk_push_all(&desk, slot);
    float before = tw_shard_weights(desk.shard, 4)[0];
    desk_work(&desk);
    desk_prepare(&desk, 1, 1);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_SUMS), 1);
    desk_commit(&desk, 1, 1);
    desk_work(&desk);
    float expected = before - 0.25F * (desk_gradient(1, 1, 2, 0) / DESK_EXAMPLES);
    assert_memory_equal(tw_shard_weights(desk.shard, 4), &expected, sizeof(expected));
    desk_fini(&desk);
}

/* `updates` of all slots on every shard of a layout; the weights, tensor by tensor. */
static float *train(uint32_t chunk_bytes, uint32_t servers, const char *rule) {
    size_t total = 0, at[DESK_TENSORS];
    for (int t = 0; t < DESK_TENSORS; t++) {
        at[t] = total;
        total += (size_t)desk_elements[t];
    }
    float *weights = calloc(total, sizeof(float));
    for (uint32_t index = 0; index < servers; index++) {
        struct desk desk;
        desk_init_shard(&desk, true, 3, chunk_bytes, servers, index, rule);
        desk_start(&desk);
        for (int i = 0; i < 4; i++) {
            update(&desk);
            for (uint32_t slot = 0; slot < 3; slot++)
                desk_release(&desk, slot);
            desk_work(&desk);
            desk_sent(&desk);
        }
        for (uint32_t c = desk.layout.shard_first[index]; c < desk.layout.shard_first[index + 1];
             c++)
            memcpy(weights + at[desk.chunk[c].tensor] + desk.chunk[c].first,
                   tw_shard_weights(desk.shard, c), desk_bytes(&desk, c));
        desk_fini(&desk);
    }
    return weights;
}

static void test_bits_do_not_depend_on_chunks_and_servers(void **state) {
    static const struct {
        uint32_t chunk_bytes, servers;
    } cases[] = {{TW_CHUNK_BYTES_MIN, 2},     {TW_CHUNK_BYTES_MIN, 3}, {TW_CHUNK_BYTES_MIN, 5},
                 {2 * TW_CHUNK_BYTES_MIN, 1}, {TW_CHUNK_BYTES_MAX, 1}, {TW_CHUNK_BYTES_MAX, 3}};
    static const char *const rules[] = {"sgd", "momentum", "adam"};
    size_t bytes = sizeof(float) * (2 * TW_BLOCK_FLOATS + 5 + 7 + 1);
    for (size_t r = 0; r < sizeof(rules) / sizeof(rules[0]); r++) {
        float *first = train(TW_CHUNK_BYTES_MIN, 1, rules[r]);
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            float *other = train(cases[i].chunk_bytes, cases[i].servers, rules[r]);
            assert_memory_equal(first, other, bytes);
            free(other);
        }
        free(first);
    }
}

static void test_nothing_is_touched_before_the_commit(void **state) {
    struct desk desk;
    float *before[DESK_CHUNKS];
    desk_init(&desk, true, 2);
    desk_start(&desk);
    for (uint32_t c = 0; c < DESK_CHUNKS; c++)
        before[c] = copy_of(&desk, c);
    desk_push_all(&desk, 0);
    desk_push_all(&desk, 1);
    desk_work(&desk);
    desk_prepare(&desk, 0, 2);
    desk_work(&desk);
    desk_settle(&desk, TW_RECORD_DROP, 0, 2);
    assert_int_equal(desk_work(&desk), TW_SHARD_IDLE);
    for (uint32_t c = 0; c < DESK_CHUNKS; c++) {
        assert_memory_equal(tw_shard_weights(desk.shard, c), before[c], desk_bytes(&desk, c));
        free(before[c]);
    }
    desk_fini(&desk);
}

/* ---- releases ---- */

static void test_a_release_sends_every_chunk_in_order(void **state) {
    struct desk desk;
    desk_init(&desk, true, 1);
    desk_join(&desk, 0);
    desk_release(&desk, 0);
    desk_work(&desk);
    assert_int_equal(desk.said_count, DESK_CHUNKS);
    for (uint32_t c = 0; c < DESK_CHUNKS; c++) {
        const struct tw_shard_send *send = &desk.said[c].send;
        assert_int_equal(send->chunk, c);
        assert_int_equal(send->slot, 0);
        assert_int_equal(send->position, 2);
        assert_int_equal(send->version, 0);
        assert_int_equal(send->step, 1);
        assert_int_equal(send->bytes, desk.chunk[c].count * sizeof(float));
        assert_ptr_equal(send->data, tw_shard_weights(desk.shard, c));
    }
    desk_fini(&desk);
}

static void test_the_weights_of_a_release_are_those_of_its_position(void **state) {
    struct desk desk;
    desk_init(&desk, false, 2);
    desk_start(&desk);
    desk_push_all(&desk, 0);
    desk_work(&desk);
    desk_prepare(&desk, 0, 1);
    desk_work(&desk);
    desk_forget(&desk);
    float before = tw_shard_weights(desk.shard, 4)[0];
    desk_release(&desk, TW_SLOT_EVALUATOR); /* before the update */
    desk_commit(&desk, 0, 1);
    desk_release(&desk, 0); /* after it */
    desk_work(&desk);
    for (int i = 0; i < desk.said_count; i++) {
        const struct tw_shard_send *send = &desk.said[i].send;
        bool evaluator = send->slot == TW_SLOT_EVALUATOR;
        assert_int_equal(send->version, evaluator ? 0 : 1);
        if (send->chunk == 4)
            assert_int_equal(*(const float *)send->data == before, evaluator);
    }
    assert_int_equal(desk.said_count, 2 * DESK_CHUNKS);
    desk_fini(&desk);
}

static void test_the_first_chunk_leaves_before_the_last_is_updated(void **state) {
    struct desk desk;
    desk_init(&desk, true, 1);
    desk_start(&desk);
    update(&desk);
    desk_release(&desk, 0);
    float before = tw_shard_weights(desk.shard, 4)[0];
    while (desk.said_count == 0)
        assert_int_not_equal(desk_work_once(&desk), TW_SHARD_IDLE);
    assert_int_equal(desk.said[0].send.chunk, 0);
    assert_int_equal(desk.said[0].send.version, 1);
    assert_true(tw_shard_weights(desk.shard, 4)[0] == before);
    desk_work(&desk);
    assert_false(tw_shard_weights(desk.shard, 4)[0] == before);
    desk_fini(&desk);
}

static void test_a_superseded_release_is_not_sent(void **state) {
    struct desk desk;
    desk_init(&desk, true, 1);
    desk_join(&desk, 0);
    desk_release(&desk, 0);
    desk_release(&desk, 0);
    desk_work(&desk);
    assert_int_equal(desk.said_count, DESK_CHUNKS);
    for (int i = 0; i < desk.said_count; i++)
        assert_int_equal(desk.said[i].send.position, 3);
    desk_fini(&desk);
}

static void test_a_release_superseded_in_mid_sweep_stops(void **state) {
    struct desk desk;
    desk_init(&desk, true, 1);
    desk_join(&desk, 0);
    desk_release(&desk, 0);
    while (desk.said_count < 2)
        desk_work_once(&desk);
    desk_release(&desk, 0);
    desk_work(&desk);
    assert_int_equal(desk.said_count, 2 + DESK_CHUNKS);
    for (int i = 2; i < desk.said_count; i++) {
        assert_int_equal(desk.said[i].send.position, 3);
        assert_int_equal(desk.said[i].send.chunk, i - 2);
    }
    desk_fini(&desk);
}

/* A peer that reconnects again and again must not fill the list of work. */
static void test_any_number_of_releases_has_room(void **state) {
    struct desk desk;
    desk_init(&desk, true, 2);
    desk_join(&desk, 0);
    desk_join(&desk, 1);
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i <= round; i++) {
            desk_release(&desk, (uint32_t)i % 2);
            desk_release(&desk, TW_SLOT_EVALUATOR);
        }
        desk_work_once(&desk); /* a sweep begins with what is there */
        desk_sent(&desk);
    }
    desk_work(&desk);
    assert_int_equal(desk_work_once(&desk), TW_SHARD_IDLE);
    desk_fini(&desk);
}

/* ---- copy-on-write ---- */

static void test_a_chunk_that_is_being_sent_is_never_written(void **state) {
    struct desk desk;
    desk_init(&desk, true, 1);
    desk_join(&desk, 0);
    desk_release(&desk, 0);
    desk_work(&desk);
    struct tw_shard_send sends[DESK_CHUNKS];
    float *then[DESK_CHUNKS];
    for (int c = 0; c < DESK_CHUNKS; c++) {
        sends[c] = desk.said[c].send;
        then[c] = copy_of(&desk, (uint32_t)c);
    }
    desk_forget(&desk);
    update(&desk);
    assert_int_equal(desk_work(&desk), TW_SHARD_IDLE);
    for (uint32_t c = 0; c < DESK_CHUNKS; c++) {
        assert_memory_equal(sends[c].data, then[c], desk_bytes(&desk, c));
        assert_ptr_not_equal(sends[c].data, tw_shard_weights(desk.shard, c));
        free(then[c]);
    }
    desk_fini(&desk);
}

static void test_a_chunk_that_nobody_sends_is_updated_in_place(void **state) {
    struct desk desk;
    desk_init(&desk, true, 1);
    desk_start(&desk);
    const float *at = tw_shard_weights(desk.shard, 0);
    update(&desk);
    desk_work(&desk);
    assert_ptr_equal(tw_shard_weights(desk.shard, 0), at);
    desk_fini(&desk);
}

static void test_without_a_spare_an_update_waits_until_something_is_sent(void **state) {
    struct desk desk;
    struct tw_shard_send held[2];
    desk_init(&desk, true, 1);
    desk_join(&desk, 0);
    desk_release(&desk, 0);
    desk_work(&desk);
    for (int i = 0; i < 2; i++) { /* the sends of two versions of chunk 0 stay under way */
        held[i] = desk.said[0].send;
        for (int c = 1; c < DESK_CHUNKS; c++)
            tw_shard_sent(desk.shard, desk.said[c].send.token);
        desk_forget(&desk);
        update(&desk);
        desk_release(&desk, 0);
        assert_int_equal(desk_work(&desk), i ? TW_SHARD_BLOCKED : TW_SHARD_IDLE);
    }
    assert_int_equal(held[0].chunk, 0);
    assert_int_equal(held[1].chunk, 0);
    float newest = *(const float *)held[1].data;
    assert_int_equal(desk_work_once(&desk), TW_SHARD_BLOCKED);
    assert_int_equal(desk.said_count, 0);
    tw_shard_sent(desk.shard, held[0].token);
    assert_int_equal(desk_work(&desk), TW_SHARD_IDLE);
    assert_int_equal(desk.said_count, DESK_CHUNKS);
    assert_int_equal(desk.said[0].send.version, 2);
    assert_true(*(const float *)held[1].data == newest);
    desk_fini(&desk);
}

static void test_votes_are_given_while_an_update_waits(void **state) {
    struct desk desk;
    desk_init(&desk, false, 2);
    desk_start(&desk);
    for (int i = 0; i < 2; i++) {
        desk_push_all(&desk, 0);
        desk_work(&desk);
        desk_prepare(&desk, 0, 1);
        desk_work(&desk);
        desk_release(&desk, TW_SLOT_EVALUATOR);
        desk_commit(&desk, 0, 1);
        desk_release(&desk, 0);
        desk_forget(&desk);
        desk_work(&desk);
    }
    assert_int_equal(desk_work_once(&desk), TW_SHARD_BLOCKED);
    desk_forget(&desk);
    desk_push_all(&desk, 1);
    assert_int_equal(desk_work(&desk), TW_SHARD_BLOCKED);
    assert_int_equal(desk_count(&desk, TW_SHARD_READY), 1);
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights_start_as_the_tensors_say),
        cmocka_unit_test(test_an_update_equals_a_plain_loop),
        cmocka_unit_test(test_async_applies_only_the_contributor),
        cmocka_unit_test(test_bits_do_not_depend_on_chunks_and_servers),
        cmocka_unit_test(test_nothing_is_touched_before_the_commit),
        cmocka_unit_test(test_a_release_sends_every_chunk_in_order),
        cmocka_unit_test(test_the_weights_of_a_release_are_those_of_its_position),
        cmocka_unit_test(test_the_first_chunk_leaves_before_the_last_is_updated),
        cmocka_unit_test(test_a_superseded_release_is_not_sent),
        cmocka_unit_test(test_a_release_superseded_in_mid_sweep_stops),
        cmocka_unit_test(test_any_number_of_releases_has_room),
        cmocka_unit_test(test_a_chunk_that_is_being_sent_is_never_written),
        cmocka_unit_test(test_a_chunk_that_nobody_sends_is_updated_in_place),
        cmocka_unit_test(test_without_a_spare_an_update_waits_until_something_is_sent),
        cmocka_unit_test(test_votes_are_given_while_an_update_waits),
    };
    return cmocka_run_group_tests_name("shard weights", tests, NULL, NULL);
}
