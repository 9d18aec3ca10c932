/* A shard whose gradients and weights travel shorter than they are computed. */
#include "common/tensor/encoding.h"
#include "tests/unit/shard_desk.h"

static void init_with(struct desk *desk, uint32_t push, uint32_t pull, uint32_t slots) {
    desk_init(desk, true, slots);
    desk_fini(desk);
    struct tw_shard_config config = desk->config;
    config.push = push;
    config.pull = pull;
    desk_init_as(desk, &config);
}

static void gradient_of(const struct desk *desk, uint32_t slot, uint32_t chunk, float *out) {
    const struct tw_chunk *c = &desk->chunk[chunk];
    for (uint32_t i = 0; i < c->count; i++)
        out[i] = desk_gradient(slot, desk->slot[slot].step, c->tensor, c->first + i);
}

/* As desk_push_all(), encoded. */
static void push_encoded(struct desk *desk, uint32_t slot) {
    float *gradient = malloc(TW_BLOCK_BYTES);
    for (uint32_t c = 0; c < DESK_CHUNKS; c++) {
        struct tw_push push = desk_push_of(desk, slot, c);
        size_t bytes = tw_encoding_bytes(desk->config.push, desk->chunk[c].count);
        void *place;
        assert_int_equal(tw_shard_place(desk->shard, &push, bytes, &place, &desk->error), TW_OK);
        gradient_of(desk, slot, c, gradient);
        tw_encodings[desk->config.push].encode(place, gradient, desk->chunk[c].count);
        tw_shard_arrived(desk->shard, &push);
    }
    desk_end(desk, slot);
    free(gradient);
}

static void update(struct desk *desk, uint32_t slots) {
    for (uint32_t slot = 0; slot < slots; slot++)
        push_encoded(desk, slot);
    desk_work(desk);
    desk_prepare(desk, 0, slots);
    desk_work(desk);
    desk_forget(desk);
    desk_commit(desk, 0, slots);
    desk_work(desk);
}

static void test_gradients_are_what_arrives_of_them(void **state) {
    for (uint32_t push = TW_ENCODING_BF16; push < TW_ENCODINGS; push++) {
        struct desk desk;
        float *expected[DESK_CHUNKS], *g = malloc(TW_BLOCK_BYTES), *h = malloc(TW_BLOCK_BYTES);
        init_with(&desk, push, TW_ENCODING_F32, 2);
        desk_start(&desk);
        for (uint32_t c = 0; c < DESK_CHUNKS; c++) {
            uint32_t n = desk.chunk[c].count;
            expected[c] = malloc(n * sizeof(float));
            gradient_of(&desk, 0, c, g);
            gradient_of(&desk, 1, c, h);
            tw_encoding_round(push, g, g, n);
            tw_encoding_round(push, h, h, n);
            for (uint32_t i = 0; i < n; i++) {
                float mean = (g[i] + h[i]) / 20, step = 0.25F * mean;
                expected[c][i] = tw_shard_weights(desk.shard, c)[i] - step;
            }
        }
        update(&desk, 2);
        for (uint32_t c = 0; c < DESK_CHUNKS; c++) {
            assert_memory_equal(tw_shard_weights(desk.shard, c), expected[c], desk_bytes(&desk, c));
            free(expected[c]);
        }
        free(g);
        free(h);
        desk_fini(&desk);
    }
}

static void test_a_chunk_has_the_bytes_of_its_encoding_or_is_refused(void **state) {
    struct desk desk;
    void *place;
    init_with(&desk, TW_ENCODING_F16, TW_ENCODING_F32, 1);
    desk_start(&desk);
    struct tw_push push = desk_push_of(&desk, 0, 3);
    const size_t wrong[] = {0, 13, 15, 28};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(tw_shard_place(desk.shard, &push, wrong[i], &place, &desk.error),
                         TW_MALFORMED);
        assert_non_null(strstr(desk.error.text, "chunk 3 has 14 bytes as f16, the push brings"));
        assert_null(place);
    }
    desk_fini(&desk);
}

/* Beyond the range of f16 a gradient is infinite, and so is not applied. */
static void test_what_does_not_fit_is_not_finite(void **state) {
    struct desk desk;
    static const uint16_t infinity[7] = {0, 0, 0x7c00};
    void *place;
    init_with(&desk, TW_ENCODING_F16, TW_ENCODING_F32, 1);
    desk_start(&desk);
    push_encoded(&desk, 0);
    desk_work(&desk);
    assert_true(desk_said(&desk, TW_SHARD_READY, 0)->ready.finite);
    desk_regather(&desk);
    desk_forget(&desk);
    struct tw_push push = desk_push_of(&desk, 0, 3);
    assert_int_equal(tw_shard_place(desk.shard, &push, 14, &place, &desk.error), TW_OK);
    memcpy(place, infinity, sizeof infinity);
    tw_shard_arrived(desk.shard, &push);
    for (uint32_t c = 0; c < DESK_CHUNKS; c++) {
        push.chunk = c;
        assert_int_equal(tw_shard_place(desk.shard, &push,
                                        tw_encoding_bytes(TW_ENCODING_F16, desk.chunk[c].count),
                                        &place, &desk.error),
                         TW_OK);
        if (place) {
            memset(place, 0, tw_encoding_bytes(TW_ENCODING_F16, desk.chunk[c].count));
            tw_shard_arrived(desk.shard, &push);
        }
    }
    desk_end(&desk, 0);
    desk_work(&desk);
    const struct tw_ready *ready = &desk_said(&desk, TW_SHARD_READY, 0)->ready;
    assert_false(ready->finite);
    assert_int_equal(ready->bad_tensor, 1);
    desk_fini(&desk);
}

static void test_weights_are_encoded_once_for_all_who_get_them(void **state) {
    for (uint32_t pull = TW_ENCODING_BF16; pull < TW_ENCODINGS; pull++) {
        struct desk desk;
        const void *data[2][DESK_CHUNKS];
        float *back = malloc(TW_BLOCK_BYTES), *rounded = malloc(TW_BLOCK_BYTES);
        init_with(&desk, TW_ENCODING_F32, pull, 2);
        for (uint32_t slot = 0; slot < 2; slot++) {
            desk_join(&desk, slot);
            desk_release(&desk, slot);
        }
        desk_release(&desk, TW_SLOT_EVALUATOR);
        desk_work(&desk);
        for (int i = 0; i < desk.said_count; i++) {
            const struct tw_shard_send *send = &desk.said[i].send;
            const float *weights = tw_shard_weights(desk.shard, send->chunk);
            uint32_t n = desk.chunk[send->chunk].count;
            if (send->slot == TW_SLOT_EVALUATOR) {
                assert_ptr_equal(send->data, weights);
                assert_int_equal(send->bytes, n * sizeof(float));
                continue;
            }
            assert_int_equal(send->bytes, tw_encoding_bytes(pull, n));
            tw_encodings[pull].decode(back, send->data, n);
            tw_encoding_round(pull, rounded, weights, n);
            assert_memory_equal(back, rounded, n * sizeof(float));
            data[send->slot][send->chunk] = send->data;
        }
        assert_int_equal(desk.said_count, 3 * DESK_CHUNKS);
        for (uint32_t c = 0; c < DESK_CHUNKS; c++)
            assert_ptr_equal(data[0][c], data[1][c]);
        free(back);
        free(rounded);
        desk_fini(&desk);
    }
}

/* While some are still being sent an update goes elsewhere, and what is sent of it is new. */
static void test_encoded_weights_that_are_being_sent_are_never_written(void **state) {
    struct desk desk;
    struct tw_shard_send sends[DESK_CHUNKS];
    unsigned char *then[DESK_CHUNKS];
    init_with(&desk, TW_ENCODING_BF16, TW_ENCODING_BF16, 1);
    desk_join(&desk, 0);
    desk_release(&desk, 0);
    desk_work(&desk);
    for (uint32_t c = 0; c < DESK_CHUNKS; c++) {
        sends[c] = desk.said[c].send;
        then[c] = malloc(sends[c].bytes);
        memcpy(then[c], sends[c].data, sends[c].bytes);
    }
    desk_forget(&desk);
    for (int round = 0; round < 3; round++) { /* the other buffer is used again and again */
        update(&desk, 1);
        desk_forget(&desk);
        desk_release(&desk, 0);
        desk_work(&desk);
        assert_int_equal(desk.said_count, DESK_CHUNKS);
        for (uint32_t c = 0; c < DESK_CHUNKS; c++) {
            const struct tw_shard_send *send = &desk.said[c].send;
            uint16_t fresh;
            tw_bf16_encode(&fresh, tw_shard_weights(desk.shard, c), 1);
            assert_memory_equal(send->data, &fresh, sizeof fresh);
            assert_memory_equal(sends[c].data, then[c], sends[c].bytes);
            assert_ptr_not_equal(send->data, sends[c].data);
        }
        desk_sent(&desk);
    }
    for (uint32_t c = 0; c < DESK_CHUNKS; c++)
        free(then[c]);
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients_are_what_arrives_of_them),
        cmocka_unit_test(test_a_chunk_has_the_bytes_of_its_encoding_or_is_refused),
        cmocka_unit_test(test_what_does_not_fit_is_not_finite),
        cmocka_unit_test(test_weights_are_encoded_once_for_all_who_get_them),
        cmocka_unit_test(test_encoded_weights_that_are_being_sent_are_never_written),
    };
    return cmocka_run_group_tests_name("shard encoding", tests, NULL, NULL);
}
