/* Chunks that are applied as they come: at once, each once, with staleness counted for each. */
#include <math.h>

#include "tests/unit/shard_desk.h"

#define BATCH 40 /* DESK_EXAMPLES of each of four slots */

static void begin(struct desk *desk, const char *rule) {
    desk_init_shard(desk, false, DESK_SLOTS, TW_CHUNK_BYTES_MIN, 1, 0, rule);
    struct tw_shard_config config = desk->config;
    desk_fini(desk);
    config.ahead = 0;
    config.on_arrival = true;
    config.batch = BATCH;
    desk_init_as(desk, &config);
}

/* With the terms of its push. */
static void release(struct desk *desk, uint32_t slot) {
    struct tw_record record = desk_record(desk, TW_RECORD_RELEASE);
    record.slot = slot;
    record.step = desk->slot[slot].step = desk->slot[slot].settled + 1;
    record.rate = desk->config.options.lr;
    desk->slot[slot].read = record.position;
    desk->config.optimizer->prepare(&desk->config.options, desk->version + 1, record.rate,
                                    desk->scalars);
    record.scalar_count = TW_OPTIMIZER_SCALARS;
    record.scalars = desk->scalars;
    tw_shard_record(desk->shard, &record);
}

/* All slots hold their first weights. */
static void start(struct desk *desk, const char *rule) {
    begin(desk, rule);
    for (uint32_t slot = 0; slot < DESK_SLOTS; slot++) {
        desk_join(desk, slot);
        release(desk, slot);
    }
    desk_work(desk);
    desk_sent(desk);
}

static float weight(const struct desk *desk, uint32_t chunk) {
    return tw_shard_weights(desk->shard, chunk)[0];
}

/* What plain descent makes of the first element. */
static float stepped(const struct desk *desk, float before, uint32_t slot, uint32_t chunk) {
    const struct tw_chunk *c = &desk->chunk[chunk];
    float g = desk_gradient(slot, desk->slot[slot].step, c->tensor, c->first) / DESK_EXAMPLES;
    return before - (float)desk->config.options.lr * g;
}

static void a_chunk_is_applied_when_it_arrives(void **state) {
    struct desk desk;
    start(&desk, "sgd");
    float before[DESK_CHUNKS];
    for (uint32_t c = 0; c < DESK_CHUNKS; c++)
        before[c] = weight(&desk, c);
    desk_push(&desk, 1, 2);
    assert_true(weight(&desk, 2) == stepped(&desk, before[2], 1, 2));
    for (uint32_t c = 0; c < DESK_CHUNKS; c++)
        assert_true((weight(&desk, c) == before[c]) == (c != 2));
    desk_fini(&desk);
}

static void a_whole_push_is_a_vote_that_says_how_stale_its_chunks_were(void **state) {
    struct desk desk;
    start(&desk, "adam");
    desk_push(&desk, 0, 3);
    desk_push(&desk, 2, 3);
    desk_push(&desk, 2, 0);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_READY), 0);
    for (uint32_t c = 0; c < DESK_CHUNKS; c++)
        desk_push(&desk, 1, c);
    desk_end(&desk, 1);
    desk_work(&desk);
    const struct tw_shard_effect *effect = desk_said(&desk, TW_SHARD_READY, 0);
    assert_non_null(effect);
    assert_int_equal(effect->ready.slot, 1);
    assert_int_equal(effect->ready.chunks, DESK_CHUNKS);
    assert_int_equal(effect->ready.ages, 3); /* 2 at chunk 3, 1 at chunk 0 */
    assert_int_equal(effect->ready.oldest, 2);
    assert_int_equal(tw_shard_check_staleness(desk.shard, NULL), TW_OK);
    desk_fini(&desk);
}

/* Its COMMIT changes no weight, and is told when it is swept. */
static void a_commit_only_counts(void **state) {
    struct desk desk;
    start(&desk, "momentum");
    desk_push_all(&desk, 3);
    desk_work(&desk);
    float before = weight(&desk, 4);
    desk_commit(&desk, 3, 1);
    release(&desk, 3);
    desk_work(&desk);
    assert_int_equal(desk.applied_count, 1);
    assert_int_equal(desk.applied.version, 1);
    assert_null(desk.applied.sample);
    assert_true(weight(&desk, 4) == before);
    assert_int_equal(desk_count(&desk, TW_SHARD_SEND), DESK_CHUNKS);
    desk_fini(&desk);
}

static void what_is_sent_again_is_not_applied_again(void **state) {
    struct desk desk;
    void *place;
    start(&desk, "sgd");
    desk_push(&desk, 0, 0);
    float once = weight(&desk, 0);
    struct tw_push push = desk_push_of(&desk, 0, 0);
    assert_int_equal(desk_place(&desk, &push, &place), TW_OK);
    assert_null(place);
    release(&desk, 0); /* its weights leave once more, for the same step */
    desk_work(&desk);
    desk_sent(&desk);
    push = desk_push_of(&desk, 0, 0);
    assert_int_equal(desk_place(&desk, &push, &place), TW_OK);
    assert_null(place);
    for (uint32_t c = 1; c < DESK_CHUNKS; c++)
        desk_push(&desk, 0, c);
    desk_end(&desk, 0);
    desk_work(&desk);
    assert_int_equal(desk_said(&desk, TW_SHARD_READY, 0)->ready.chunks, DESK_CHUNKS);
    assert_true(weight(&desk, 0) == once);
    assert_int_equal(tw_shard_check_staleness(desk.shard, NULL), TW_OK);
    desk_fini(&desk);
}

static void half_a_push_stays_when_its_worker_is_replaced(void **state) {
    struct desk desk;
    void *place;
    start(&desk, "sgd");
    desk_push(&desk, 0, 0);
    float half = weight(&desk, 0);
    struct tw_push old = desk_push_of(&desk, 0, 1);
    desk_join(&desk, 0);
    desk.slot[0].settled = desk.slot[0].step; /* the step is over */
    assert_true(weight(&desk, 0) == half);
    assert_int_equal(desk_place(&desk, &old, &place), TW_OK);
    assert_null(place); /* of a predecessor */
    release(&desk, 0);
    desk_work(&desk);
    desk_sent(&desk);
    desk_push_all(&desk, 0);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_READY), 1);
    assert_true(weight(&desk, 0) == stepped(&desk, half, 0, 0));
    assert_int_equal(tw_shard_check_staleness(desk.shard, NULL), TW_OK);
    desk_fini(&desk);
}

static void what_is_dropped_leaves_the_rest_out(void **state) {
    struct desk desk;
    void *place;
    start(&desk, "sgd");
    desk_push(&desk, 2, 1);
    float half = weight(&desk, 1), rest = weight(&desk, 0);
    desk_settle(&desk, TW_RECORD_DROP, 0, DESK_SLOTS);
    for (uint32_t slot = 0; slot < DESK_SLOTS; slot++) {
        struct tw_push push = desk_push_of(&desk, slot, 0);
        assert_int_equal(desk_place(&desk, &push, &place), TW_OK);
        assert_null(place);
    }
    assert_true(weight(&desk, 1) == half && weight(&desk, 0) == rest);
    assert_int_equal(tw_shard_check_staleness(desk.shard, NULL), TW_OK);
    desk_fini(&desk);
}

static void a_chunk_that_is_being_sent_is_written_elsewhere_or_waits(void **state) {
    struct desk desk;
    begin(&desk, "sgd");
    for (uint32_t slot = 0; slot < 3; slot++)
        desk_join(&desk, slot);
    release(&desk, 0);
    desk_work(&desk); /* being sent, to the end of this test */
    const float *sent = desk_said(&desk, TW_SHARD_SEND, 0)->send.data;
    float value = *sent;
    desk_push(&desk, 0, 0); /* into the spare */
    assert_true(weight(&desk, 0) != value && *sent == value);
    release(&desk, 1);
    release(&desk, 2);
    desk_work(&desk);
    float spare = weight(&desk, 0);
    desk_push(&desk, 1, 0); /* both copies are being sent */
    desk_push(&desk, 2, 0);
    assert_true(weight(&desk, 0) == spare);
    assert_int_equal(desk_work_once(&desk), TW_SHARD_BLOCKED);
    float expected = stepped(&desk, stepped(&desk, spare, 1, 0), 2, 0);
    desk_sent(&desk);
    assert_int_equal(desk_work(&desk), TW_SHARD_IDLE);
    assert_true(weight(&desk, 0) == expected);
    assert_int_equal(tw_shard_check_staleness(desk.shard, NULL), TW_OK);
    desk_fini(&desk);
}

static void what_is_not_finite_is_left_out_chunk_by_chunk(void **state) {
    struct desk desk;
    start(&desk, "sgd");
    float before = weight(&desk, 3), other = weight(&desk, 4);
    desk_begin(&desk, 0, 3)[1] = NAN;
    desk_arrived(&desk, 0, 3);
    assert_true(weight(&desk, 3) == before);
    for (uint32_t c = 0; c < DESK_CHUNKS; c++)
        if (c != 3)
            desk_push(&desk, 0, c);
    desk_end(&desk, 0);
    desk_work(&desk);
    const struct tw_ready *ready = &desk_said(&desk, TW_SHARD_READY, 0)->ready;
    assert_false(ready->finite);
    assert_int_equal(ready->bad_tensor, 1);
    assert_int_equal(ready->chunks, DESK_CHUNKS - 1);
    assert_true(weight(&desk, 4) != other);
    assert_int_equal(tw_shard_check_staleness(desk.shard, NULL), TW_OK);
    desk_fini(&desk);
}

/* Nothing is received before the weights that it answers have left. */
static void an_answer_that_comes_too_early_waits(void **state) {
    struct desk desk;
    void *place;
    begin(&desk, "sgd");
    desk_join(&desk, 0);
    release(&desk, 0);
    struct tw_push push = desk_push_of(&desk, 0, 4);
    assert_int_equal(desk_place(&desk, &push, &place), TW_AGAIN);
    assert_false(tw_shard_has_place(desk.shard, &push));
    tw_shard_freed(desk.shard);
    desk_work(&desk);
    assert_true(tw_shard_freed(desk.shard));
    assert_true(tw_shard_has_place(desk.shard, &push));
    desk_push(&desk, 0, 4);
    desk_fini(&desk);
}

/* All chunks of a push came before its connection was lost: with the weights that leave once more,
 * an End alone would be a vote before they have. */
static void an_end_that_comes_too_early_is_refused(void **state) {
    struct desk desk;
    start(&desk, "sgd");
    for (uint32_t c = 0; c < DESK_CHUNKS; c++)
        desk_push(&desk, 0, c);
    release(&desk, 0); /* for the same step */
    struct tw_end end = desk_end_of(&desk, 0);
    assert_int_equal(tw_shard_end(desk.shard, &end, &desk.error), TW_UNEXPECTED);
    assert_non_null(strstr(desk.error.text, "ends before all of its weights have left"));
    desk_work(&desk);
    desk_end(&desk, 0);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_READY), 1);
    desk_fini(&desk);
}

static void a_push_of_other_examples_is_refused(void **state) {
    struct desk desk;
    start(&desk, "sgd");
    struct tw_end end = desk_end_of(&desk, 0);
    end.examples++;
    assert_int_equal(tw_shard_end(desk.shard, &end, &desk.error), TW_UNEXPECTED);
    assert_non_null(strstr(desk.error.text, "is of 11 examples"));
    assert_non_null(strstr(desk.error.text, "the slot's part of the job's batch, 10"));
    desk_fini(&desk);
}

static void nothing_touches_a_chunk_that_is_being_saved(void **state) {
    struct desk desk;
    start(&desk, "sgd");
    float before = weight(&desk, 0);
    struct tw_record record = desk_record(&desk, TW_RECORD_CHECKPOINT);
    tw_shard_record(desk.shard, &record);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_SAVE), DESK_CHUNKS);
    desk_push(&desk, 0, 0);
    assert_true(weight(&desk, 0) == before);
    tw_shard_saved(desk.shard); /* chunk 0 */
    desk_work(&desk);
    assert_true(weight(&desk, 0) == stepped(&desk, before, 0, 0));
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chunk_is_applied_when_it_arrives),
        cmocka_unit_test(a_whole_push_is_a_vote_that_says_how_stale_its_chunks_were),
        cmocka_unit_test(a_commit_only_counts),
        cmocka_unit_test(what_is_sent_again_is_not_applied_again),
        cmocka_unit_test(half_a_push_stays_when_its_worker_is_replaced),
        cmocka_unit_test(what_is_dropped_leaves_the_rest_out),
        cmocka_unit_test(a_chunk_that_is_being_sent_is_written_elsewhere_or_waits),
        cmocka_unit_test(what_is_not_finite_is_left_out_chunk_by_chunk),
        cmocka_unit_test(an_answer_that_comes_too_early_waits),
        cmocka_unit_test(an_end_that_comes_too_early_is_refused),
        cmocka_unit_test(a_push_of_other_examples_is_refused),
        cmocka_unit_test(nothing_touches_a_chunk_that_is_being_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
