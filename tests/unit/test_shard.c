/* A shard: pushes, votes and reducing. What it does with records, and the weights
 * that come out, are in test_shard_weights.c. */
#include <float.h>
#include <math.h>

#include "tests/unit/shard_desk.h"

static void says(const struct desk *desk, const char *words) {
    if (!strstr(desk->error.text, words))
        fail_msg("\"%s\" does not say \"%s\"", desk->error.text, words);
}

/* ---- votes ---- */

static void test_a_vote_needs_all_chunks_and_the_end(void **state) {
    struct desk desk;
    desk_init(&desk, false, 2);
    desk_start(&desk);
    for (uint32_t c = 1; c < DESK_CHUNKS; c++)
        desk_push(&desk, 1, c);
    desk_end(&desk, 1);
    desk_work(&desk);
    assert_int_equal(desk.said_count, 0);
    desk_push(&desk, 1, 0);
    desk_work(&desk);
    assert_int_equal(desk.said_count, 1);
    desk_fini(&desk);
}

static void test_a_vote_says_what_was_pushed(void **state) {
    struct desk desk;
    desk_init(&desk, true, 2);
    desk_start(&desk);
    desk_regather(&desk);
    desk_push_all(&desk, 1);
    desk_work(&desk);
    const struct tw_ready *ready = &desk_said(&desk, TW_SHARD_READY, 0)->ready;
    assert_int_equal(ready->shard, 0);
    assert_int_equal(ready->slot, 1);
    assert_int_equal(ready->incarnation, 1);
    assert_int_equal(ready->step, 1);
    assert_int_equal(ready->read, desk.slot[1].read);
    assert_int_equal(ready->examples, DESK_EXAMPLES);
    assert_int_equal(ready->regather, desk.regather);
    assert_true(ready->loss == 1);
    assert_true(ready->finite);
    desk_fini(&desk);
}

static void test_a_push_is_voted_once(void **state) {
    struct desk desk;
    desk_init(&desk, false, 1);
    desk_start(&desk);
    desk_push_all(&desk, 0);
    desk_end(&desk, 0);
    desk_work(&desk);
    desk_end(&desk, 0);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_READY), 1);
    desk_fini(&desk);
}

static void test_a_vote_names_the_first_tensor_that_is_not_finite(void **state) {
    struct desk desk;
    desk_init(&desk, false, 1);
    desk_start(&desk);
    desk_begin(&desk, 0, 4)[0] = INFINITY;
    desk_arrived(&desk, 0, 4);
    desk_begin(&desk, 0, 3)[6] = NAN;
    desk_arrived(&desk, 0, 3);
    for (uint32_t c = 0; c < 3; c++)
        desk_push(&desk, 0, c);
    desk_end(&desk, 0);
    desk_work(&desk);
    const struct tw_ready *ready = &desk_said(&desk, TW_SHARD_READY, 0)->ready;
    assert_false(ready->finite);
    assert_int_equal(ready->bad_tensor, 1);
    desk_fini(&desk);
}

static void test_a_loss_that_is_not_finite_is_named(void **state) {
    struct desk desk;
    desk_init(&desk, false, 1);
    desk_start(&desk);
    for (uint32_t c = 0; c < DESK_CHUNKS; c++)
        desk_push(&desk, 0, c);
    struct tw_end end = desk_end_of(&desk, 0);
    end.loss = NAN;
    assert_int_equal(tw_shard_end(desk.shard, &end, NULL), TW_OK);
    desk_work(&desk);
    const struct tw_ready *ready = &desk_said(&desk, TW_SHARD_READY, 0)->ready;
    assert_false(ready->finite);
    assert_int_equal(ready->bad_tensor, TW_TENSORS_MAX);
    desk_fini(&desk);
}

static void test_the_verdict_stays_with_bytes_that_were_reduced_already(void **state) {
    struct desk desk;
    desk_init(&desk, true, 1);
    desk_start(&desk);
    desk_begin(&desk, 0, 0)[3] = NAN;
    desk_arrived(&desk, 0, 0);
    desk_work(&desk); /* alone: its bytes are the sum */
    desk_release(&desk, 0);
    for (uint32_t c = 1; c < DESK_CHUNKS; c++)
        desk_push(&desk, 0, c);
    desk_end(&desk, 0);
    desk_work(&desk);
    assert_false(desk_said(&desk, TW_SHARD_READY, 0)->ready.finite);
    desk_fini(&desk);
}

static void test_the_verdict_of_a_push_does_not_pass_to_the_next(void **state) {
    struct desk desk;
    desk_init(&desk, true, 1);
    desk_start(&desk);
    desk_begin(&desk, 0, 0)[3] = NAN;
    desk_arrived(&desk, 0, 0);
    desk_work(&desk);
    desk_regather(&desk);
    desk_push_all(&desk, 0);
    desk_work(&desk);
    assert_true(desk_said(&desk, TW_SHARD_READY, 0)->ready.finite);
    desk_fini(&desk);
}

/* ---- places ---- */

static void test_bytes_that_are_here_are_thrown_away(void **state) {
    struct desk desk;
    void *place;
    desk_init(&desk, false, 1);
    desk_start(&desk);
    desk_push(&desk, 0, 2);
    struct tw_push push = desk_push_of(&desk, 0, 2);
    assert_int_equal(desk_place(&desk, &push, &place), TW_OK);
    assert_null(place);
    desk_fini(&desk);
}

static void test_bytes_that_were_reduced_are_thrown_away(void **state) {
    struct desk desk;
    void *place;
    desk_init(&desk, true, 2);
    desk_start(&desk);
    desk_push(&desk, 0, 2);
    desk_push(&desk, 1, 2);
    desk_work(&desk);
    struct tw_push push = desk_push_of(&desk, 1, 2);
    assert_int_equal(desk_place(&desk, &push, &place), TW_OK);
    assert_null(place);
    desk_fini(&desk);
}

static void test_bytes_cut_off_are_asked_for_again(void **state) {
    struct desk desk;
    desk_init(&desk, false, 1);
    desk_start(&desk);
    desk_begin(&desk, 0, 1);
    struct tw_push push = desk_push_of(&desk, 0, 1);
    tw_shard_aborted(desk.shard, &push);
    desk_push_all(&desk, 0);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_READY), 1);
    desk_fini(&desk);
}

static void test_a_place_that_is_being_filled_is_not_given_twice(void **state) {
    struct desk desk;
    void *place;
    desk_init(&desk, false, 1);
    desk_start(&desk);
    desk_begin(&desk, 0, 1);
    struct tw_push push = desk_push_of(&desk, 0, 1);
    assert_int_equal(desk_place(&desk, &push, &place), TW_AGAIN);
    assert_null(place);
    desk_fini(&desk);
}

/* Until an old connection lets go, its bytes may still land in the buffer. */
static void old_connection(enum tw_record_kind kind, bool lost) {
    struct desk desk;
    void *place;
    desk_init(&desk, false, 1);
    desk_start(&desk);
    struct tw_push old = desk_push_of(&desk, 0, 1);
    desk_begin(&desk, 0, 1);
    if (kind == TW_RECORD_JOIN)
        desk_join(&desk, 0);
    desk_release(&desk, 0);
    struct tw_push push = desk_push_of(&desk, 0, 1);
    assert_int_equal(desk_place(&desk, &push, &place), TW_AGAIN);
    if (lost)
        tw_shard_aborted(desk.shard, &old);
    else
        tw_shard_arrived(desk.shard, &old);
    desk_push_all(&desk, 0); /* would fail if the old bytes counted */
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_READY), 1);
    desk_fini(&desk);
}

static void test_a_takeover_waits_until_the_old_connection_lets_go(void **state) {
    old_connection(TW_RECORD_JOIN, true);
    old_connection(TW_RECORD_JOIN, false);
}

static void test_a_new_release_waits_until_the_old_connection_lets_go(void **state) {
    old_connection(TW_RECORD_RELEASE, true);
    old_connection(TW_RECORD_RELEASE, false);
}

static void test_committed_bytes_are_not_overwritten_before_they_are_applied(void **state) {
    struct desk desk;
    void *place;
    desk_init(&desk, true, 1);
    desk_start(&desk);
    desk_push_all(&desk, 0);
    desk_work(&desk);
    desk_prepare(&desk, 0, 1);
    desk_work(&desk);
    desk_commit(&desk, 0, 1);
    desk_release(&desk, 0);
    struct tw_push push = desk_push_of(&desk, 0, 0);
    assert_int_equal(desk_place(&desk, &push, &place), TW_AGAIN);
    desk_work(&desk);
    assert_int_equal(desk_place(&desk, &push, &place), TW_OK);
    assert_non_null(place);
    desk_fini(&desk);
}

/* ---- what is over is thrown away, what cannot be is refused ---- */

static void thrown_away(struct desk *desk, struct tw_push push) {
    void *place = &place;
    assert_int_equal(desk_place(desk, &push, &place), TW_OK);
    assert_null(place);
    struct tw_end end = desk_end_of(desk, push.slot);
    end.incarnation = push.incarnation;
    end.step = push.step;
    assert_int_equal(tw_shard_end(desk->shard, &end, &desk->error), TW_OK);
    desk_work(desk);
    assert_int_equal(desk_count(desk, TW_SHARD_READY), 0);
}

static void test_pushes_that_are_over_are_thrown_away(void **state) {
    struct desk desk;
    desk_init(&desk, false, 1);
    desk_start(&desk);
    struct tw_push first = desk_push_of(&desk, 0, 0);
    desk_push_all(&desk, 0);
    desk_work(&desk);
    desk_forget(&desk);
    desk_settle(&desk, TW_RECORD_DROP, 0, 1);
    thrown_away(&desk, first); /* settled, and nothing released yet */
    desk_release(&desk, 0);
    thrown_away(&desk, first); /* a step that is over */
    struct tw_push second = desk_push_of(&desk, 0, 0);
    desk_join(&desk, 0);
    thrown_away(&desk, second); /* an incarnation that is over */
    desk_fini(&desk);
}

static void refuse_push(struct desk *desk, struct tw_push push, size_t bytes,
                        enum tw_status expected, const char *words) {
    void *place = &place;
    assert_int_equal(tw_shard_place(desk->shard, &push, bytes, &place, &desk->error), expected);
    assert_null(place);
    says(desk, words);
}

static void test_pushes_that_cannot_be_are_refused(void **state) {
    struct desk desk;
    desk_init(&desk, false, 2);
    desk_start(&desk);
    const struct tw_push good = desk_push_of(&desk, 0, 3);
    size_t bytes = desk_bytes(&desk, 3);
    struct tw_push push;
    push = good, push.slot = 2;
    refuse_push(&desk, push, bytes, TW_MALFORMED, "rank 2 is out of range: there are 2");
    push = good, push.chunk = DESK_CHUNKS;
    refuse_push(&desk, push, bytes, TW_MALFORMED, "chunk 5 is not on this server");
    refuse_push(&desk, good, bytes + 4, TW_MALFORMED,
                "chunk 3 has 28 bytes as f32, the push brings 32");
    refuse_push(&desk, good, 0, TW_MALFORMED, "chunk 3 has 28 bytes as f32, the push brings 0");
    push = good, push.step++;
    refuse_push(&desk, push, bytes, TW_UNEXPECTED, "rank 0 pushes step 2");
    push = good, push.incarnation++;
    refuse_push(&desk, push, bytes, TW_UNEXPECTED, "held by incarnation 1, not 2");
    desk_fini(&desk);
}

static void test_a_chunk_of_another_server_is_refused(void **state) {
    struct desk desk;
    desk_init_shard(&desk, false, 1, TW_CHUNK_BYTES_MIN, 2, 1, "sgd");
    desk_start(&desk);
    assert_true(desk.layout.shard_first[1] > 0);
    struct tw_push push = desk_push_of(&desk, 0, desk.layout.shard_first[1] - 1);
    refuse_push(&desk, push, desk_bytes(&desk, push.chunk), TW_MALFORMED, "not on this server");
    desk_fini(&desk);
}

static void refuse_end(struct desk *desk, struct tw_end end, enum tw_status expected,
                       const char *words) {
    assert_int_equal(tw_shard_end(desk->shard, &end, &desk->error), expected);
    says(desk, words);
}

static void test_ends_that_cannot_be_are_refused(void **state) {
    struct desk desk;
    desk_init(&desk, false, 2);
    desk_start(&desk);
    const struct tw_end good = desk_end_of(&desk, 1);
    struct tw_end end;
    end = good, end.slot = 9;
    refuse_end(&desk, end, TW_MALFORMED, "rank 9 is out of range");
    end = good, end.read--;
    refuse_end(&desk, end, TW_UNEXPECTED, "was computed on the weights of position 3");
    end = good, end.frames = DESK_CHUNKS - 1;
    refuse_end(&desk, end, TW_MALFORMED, "ends after 4 chunks; this server has 5");
    end = good, end.examples = 0;
    refuse_end(&desk, end, TW_MALFORMED, "0 examples");
    end = good, end.examples = UINT64_MAX;
    refuse_end(&desk, end, TW_MALFORMED, "examples");
    end = good, end.correct = end.examples + 2;
    refuse_end(&desk, end, TW_MALFORMED, "examples are said to be right");
    end = good, end.step = 2;
    refuse_end(&desk, end, TW_UNEXPECTED, "pushes step 2");
    end = good, end.incarnation = 2;
    refuse_end(&desk, end, TW_UNEXPECTED, "not 2");
    desk_push_all(&desk, 1); /* none of them has left a mark */
    desk_work(&desk);
    assert_int_equal(desk_said(&desk, TW_SHARD_READY, 0)->ready.examples, DESK_EXAMPLES);
    desk_fini(&desk);
}

static void test_a_push_before_any_release_is_thrown_away(void **state) {
    struct desk desk;
    void *place = &place;
    desk_init(&desk, false, 1);
    struct tw_push push = desk_push_of(&desk, 0, 0);
    assert_int_equal(desk_place(&desk, &push, &place), TW_OK);
    assert_null(place);
    desk_fini(&desk);
}

/* ---- reducing ---- */

static void test_sums_come_after_prepare(void **state) {
    struct desk desk;
    desk_init(&desk, true, 2);
    desk_start(&desk);
    desk_push_all(&desk, 1);
    desk_push_all(&desk, 0);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_SUMS), 0);
    desk_prepare(&desk, 0, 2);
    desk_work(&desk);
    const struct tw_sums *sums = &desk_said(&desk, TW_SHARD_SUMS, 0)->sums;
    assert_int_equal(sums->version, 1);
    assert_true(sums->finite);
    assert_int_equal(desk_count(&desk, TW_SHARD_SUMS), 1);
    desk_fini(&desk);
}

/* Whoever gives work looks at sockets in between: no more often than there are chunks. */
static void test_what_follows_from_the_last_chunk_comes_with_it(void **state) {
    struct desk desk;
    desk_init(&desk, false, 1);
    desk_start(&desk);
    desk_push_all(&desk, 0);
    desk_end(&desk, 0);
    desk_work(&desk);
    desk_prepare(&desk, 0, 1);
    for (uint32_t c = 0; c + 1 < DESK_CHUNKS; c++)
        assert_int_equal(desk_work_once(&desk), TW_SHARD_WORKED);
    assert_int_equal(desk_work_once(&desk), TW_SHARD_EFFECT);
    assert_non_null(desk_said(&desk, TW_SHARD_SUMS, 0));
    assert_int_equal(desk_work_once(&desk), TW_SHARD_IDLE);
    desk_sent(&desk);
    desk_settle(&desk, TW_RECORD_COMMIT, 0, 1);
    for (uint32_t c = 0; c + 1 < DESK_CHUNKS; c++)
        assert_int_equal(desk_work_once(&desk), TW_SHARD_WORKED);
    assert_int_equal(desk_work_once(&desk), TW_SHARD_EFFECT);
    assert_int_equal(desk.applied_count, 1);
    assert_int_equal(desk_work_once(&desk), TW_SHARD_IDLE);
    desk_fini(&desk);
}

static void test_a_sum_that_overflows_is_not_finite(void **state) {
    struct desk desk;
    desk_init(&desk, true, 2);
    desk_start(&desk);
    for (uint32_t slot = 0; slot < 2; slot++) {
        desk_begin(&desk, slot, 4)[0] = FLT_MAX;
        desk_arrived(&desk, slot, 4);
        for (uint32_t c = 0; c < 4; c++)
            desk_push(&desk, slot, c);
        desk_end(&desk, slot);
    }
    desk_work(&desk);
    assert_true(desk_said(&desk, TW_SHARD_READY, 0)->ready.finite);
    assert_true(desk_said(&desk, TW_SHARD_READY, 1)->ready.finite);
    desk_prepare(&desk, 0, 2);
    desk_work(&desk);
    assert_false(desk_said(&desk, TW_SHARD_SUMS, 0)->sums.finite);
    desk_settle(&desk, TW_RECORD_DROP, 0, 2); /* and the next is judged anew */
    desk_forget(&desk);
    for (uint32_t slot = 0; slot < 2; slot++) {
        desk_release(&desk, slot);
        desk_push_all(&desk, slot);
    }
    desk_work(&desk);
    desk_prepare(&desk, 0, 2);
    desk_work(&desk);
    assert_true(desk_said(&desk, TW_SHARD_SUMS, 0)->sums.finite);
    desk_fini(&desk);
}

static void test_a_regather_wants_everything_again(void **state) {
    struct desk desk;
    desk_init(&desk, true, 2);
    desk_start(&desk);
    desk_push_all(&desk, 0);
    desk_push(&desk, 1, 0);
    desk_work(&desk); /* chunk 0 is reduced, slot 0 has voted */
    desk_forget(&desk);
    desk_regather(&desk);
    desk_push_all(&desk, 0); /* fails where no place is given */
    desk_push_all(&desk, 1);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_READY), 2);
    desk_prepare(&desk, 0, 2);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_SUMS), 1);
    desk_fini(&desk);
}

/* Each chunk counts once, also when it was reduced before a REGATHER; the next update begins at
 * 0. */
static void test_sums_have_the_squares_of_what_was_summed(void **state) {
    struct desk desk;
    for (int clipped = 0; clipped < 2; clipped++) {
        desk_init(&desk, true, 2);
        desk.config.shaping.clip_norm = clipped;
        desk.shard = tw_shard_init(desk.memory, &desk.config);
        desk_start(&desk);
        for (uint64_t step = 1; step <= 2; step++) {
            double exact = 0;
            for (uint32_t t = 0; t < DESK_TENSORS; t++)
                for (int64_t i = 0; i < desk_elements[t]; i++)
                    exact += pow(
                        (double)(desk_gradient(0, step, t, i) + desk_gradient(1, step, t, i)), 2);
            for (int again = 0; again < 2; again++) {
                desk_push_all(&desk, 0);
                desk_push_all(&desk, 1);
                desk_work(&desk);
                if (!again)
                    desk_regather(&desk);
            }
            desk_forget(&desk);
            desk_prepare(&desk, 0, 2);
            desk_work(&desk);
            double told = tw_exact_sum_value(&desk_said(&desk, TW_SHARD_SUMS, 0)->sums.squares);
            assert_true(clipped ? fabs(told / exact - 1) < 1e-12 : told == 0);
            desk_settle(&desk, TW_RECORD_DROP, 0, 2);
            desk_release(&desk, 0);
            desk_release(&desk, 1);
        }
        desk_fini(&desk);
    }
}

static void test_a_regather_withdraws_a_vote_not_given_yet(void **state) {
    struct desk desk;
    desk_init(&desk, true, 2);
    desk_start(&desk);
    desk_push_all(&desk, 0);
    desk_regather(&desk);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_READY), 0);
    desk_push_all(&desk, 0);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_READY), 1);
    desk_fini(&desk);
}

static void test_bytes_that_arrive_across_a_regather_count(void **state) {
    struct desk desk;
    desk_init(&desk, true, 1);
    desk_start(&desk);
    desk_begin(&desk, 0, 0);
    desk_regather(&desk); /* the same incarnation sends the same bytes */
    desk_arrived(&desk, 0, 0);
    for (uint32_t c = 1; c < DESK_CHUNKS; c++)
        desk_push(&desk, 0, c);
    desk_end(&desk, 0);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_READY), 1);
    desk_fini(&desk);
}

/* A resumed slot that gets another RELEASE sends everything that was not summed. */
static void test_bytes_that_are_withdrawn_do_not_count(void **state) {
    struct desk desk;
    desk_init(&desk, true, 2);
    desk_start(&desk);
    desk_push(&desk, 0, 0);
    desk_push(&desk, 1, 1);
    desk_push(&desk, 0, 1); /* chunk 1 could be reduced, and is not yet */
    desk_release(&desk, 0);
    desk_push(&desk, 0, 0);
    desk_work(&desk);
    desk_push(&desk, 1, 0); /* fails if anything was reduced without it */
    for (uint32_t c = 1; c < DESK_CHUNKS; c++)
        desk_push(&desk, 0, c);
    for (uint32_t c = 2; c < DESK_CHUNKS; c++)
        desk_push(&desk, 1, c);
    for (uint32_t slot = 0; slot < 2; slot++)
        desk_end(&desk, slot);
    desk_work(&desk);
    desk_prepare(&desk, 0, 2);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_READY), 2);
    assert_int_equal(desk_count(&desk, TW_SHARD_SUMS), 1);
    desk_fini(&desk);
}

static void test_a_join_withdraws_only_its_own_push(void **state) {
    struct desk desk;
    desk_init(&desk, false, 2);
    desk_start(&desk);
    desk_push_all(&desk, 0);
    desk_push_all(&desk, 1);
    desk_join(&desk, 1);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_READY), 1);
    assert_int_equal(desk_said(&desk, TW_SHARD_READY, 0)->ready.slot, 0);
    desk_fini(&desk);
}

/* They were for the process before, and its step is released to the new one again. */
static void test_a_join_withdraws_weights_that_have_not_left(void **state) {
    struct desk desk;
    desk_init(&desk, true, 2);
    desk_join(&desk, 0);
    desk_release(&desk, 0);
    desk_join(&desk, 0);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_SEND), 0);
    desk_release(&desk, 0);
    desk_work(&desk);
    assert_true(desk_count(&desk, TW_SHARD_SEND) > 0);
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_vote_needs_all_chunks_and_the_end),
        cmocka_unit_test(test_a_vote_says_what_was_pushed),
        cmocka_unit_test(test_a_push_is_voted_once),
        cmocka_unit_test(test_a_vote_names_the_first_tensor_that_is_not_finite),
        cmocka_unit_test(test_a_loss_that_is_not_finite_is_named),
        cmocka_unit_test(test_the_verdict_stays_with_bytes_that_were_reduced_already),
        cmocka_unit_test(test_the_verdict_of_a_push_does_not_pass_to_the_next),
        cmocka_unit_test(test_bytes_that_are_here_are_thrown_away),
        cmocka_unit_test(test_bytes_that_were_reduced_are_thrown_away),
        cmocka_unit_test(test_bytes_cut_off_are_asked_for_again),
        cmocka_unit_test(test_a_place_that_is_being_filled_is_not_given_twice),
        cmocka_unit_test(test_a_takeover_waits_until_the_old_connection_lets_go),
        cmocka_unit_test(test_a_new_release_waits_until_the_old_connection_lets_go),
        cmocka_unit_test(test_committed_bytes_are_not_overwritten_before_they_are_applied),
        cmocka_unit_test(test_pushes_that_are_over_are_thrown_away),
        cmocka_unit_test(test_pushes_that_cannot_be_are_refused),
        cmocka_unit_test(test_a_chunk_of_another_server_is_refused),
        cmocka_unit_test(test_ends_that_cannot_be_are_refused),
        cmocka_unit_test(test_a_push_before_any_release_is_thrown_away),
        cmocka_unit_test(test_sums_come_after_prepare),
        cmocka_unit_test(test_what_follows_from_the_last_chunk_comes_with_it),
        cmocka_unit_test(test_a_sum_that_overflows_is_not_finite),
        cmocka_unit_test(test_sums_have_the_squares_of_what_was_summed),
        cmocka_unit_test(test_a_regather_wants_everything_again),
        cmocka_unit_test(test_a_regather_withdraws_a_vote_not_given_yet),
        cmocka_unit_test(test_bytes_that_arrive_across_a_regather_count),
        cmocka_unit_test(test_bytes_that_are_withdrawn_do_not_count),
        cmocka_unit_test(test_a_join_withdraws_only_its_own_push),
        cmocka_unit_test(test_a_join_withdraws_weights_that_have_not_left),
    };
    return cmocka_run_group_tests_name("shard", tests, NULL, NULL);
}
