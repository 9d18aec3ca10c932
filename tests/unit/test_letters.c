/* Votes and orders as frames and back: the same values, also of orders in many parts; and
 * what is cut, mixed or too large is refused with a status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <math.h>

#include <cmocka.h>

#include "server/core/letters.h"

static struct tw_node_vote round_trip(const struct tw_node_vote *vote, uint32_t shard) {
    struct tw_frame frame;
    struct tw_node_vote back;
    struct tw_error error;
    uint8_t scratch[TW_SAMPLE_SUMS_BYTES];
    memset(&back, 0xAA, sizeof(back));
    tw_vote_frame(vote, &frame, scratch);
    assert_int_equal(tw_vote_of_frame(&frame, shard, &back, &error), TW_OK);
    assert_int_equal(back.kind, vote->kind);
    return back;
}

static void votes_come_back(void **state) {
    struct tw_node_vote vote = {.kind = TW_VOTE_READY};
    vote.ready = (struct tw_ready){3,    7,    2, UINT64_MAX, 5, 6,          1ULL << 40,
                                   -0.5, true, 9, 7,          8, 1ULL << 50, 9};
    struct tw_node_vote back = round_trip(&vote, 3);
    assert_int_equal(back.ready.shard, 3);
    assert_int_equal(back.ready.slot, 7);
    assert_int_equal(back.ready.incarnation, 2);
    assert_true(back.ready.step == UINT64_MAX && back.ready.read == 5);
    assert_true(back.ready.correct == 7 && back.ready.examples == 6);
    assert_true(back.ready.regather == 1ULL << 40);
    assert_true(back.ready.loss == -0.5 && back.ready.finite && back.ready.bad_tensor == 9);
    vote = (struct tw_node_vote){.kind = TW_VOTE_SUMS, .sums = {2, 11, true, {{0}, false}}};
    for (uint64_t i = 0; i < TW_EXACT_SUM_WORDS - 1; i++)
        vote.sums.squares.word[i] = (i + 1) * 0x0102030405060708ULL;
    back = round_trip(&vote, 2);
    assert_int_equal(back.sums.shard, 2);
    assert_true(back.sums.version == 11 && back.sums.finite);
    assert_memory_equal(&back.sums.squares, &vote.sums.squares, sizeof(back.sums.squares));
    for (int lost = 0; lost < 2; lost++) {
        vote = (struct tw_node_vote){.kind = lost ? TW_VOTE_LOST : TW_VOTE_ATTACHED};
        vote.rank = 5;
        vote.attempt = 8;
        back = round_trip(&vote, 4);
        assert_true(back.rank == 5 && back.attempt == 8 && back.shard == 4);
    }
}

static void examples_that_cannot_be_are_refused(void **state) {
    static const struct {
        uint64_t examples, correct;
        enum tw_status status;
    } said[] = {
        {1, 0, TW_OK},
        {6, 7, TW_OK},
        {TW_ELEMENTS_MAX, 0, TW_OK},
        {0, 0, TW_MALFORMED},
        {TW_ELEMENTS_MAX + 1ULL, 0, TW_MALFORMED},
        {UINT64_MAX, 0, TW_MALFORMED},
        {6, 8, TW_MALFORMED},
        {6, UINT64_MAX, TW_MALFORMED},
    };
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        struct tw_frame frame = {.body = TW_BODY_READY};
        struct tw_node_vote vote;
        struct tw_error error;
        frame.ready.examples = said[i].examples;
        frame.ready.correct = said[i].correct;
        assert_int_equal(tw_vote_of_frame(&frame, 1, &vote, &error), said[i].status);
    }
}

static void fill_sum(struct tw_exact_sum *sum, uint64_t seed) {
    for (int i = 0; i < TW_EXACT_SUM_WORDS; i++)
        sum->word[i] = (seed + (uint64_t)i) * 0x9E3779B97F4A7C15ULL;
    sum->not_finite = seed % 2;
}

static void assert_sum(const struct tw_exact_sum *a, const struct tw_exact_sum *b) {
    assert_memory_equal(a->word, b->word, sizeof(a->word));
    assert_int_equal(a->not_finite, b->not_finite);
}

static void samples_come_back_and_not_with_other_sizes(void **state) {
    struct tw_node_vote vote = {.kind = TW_VOTE_SAMPLE};
    vote.sample.version = 4;
    vote.sample.hashed = true;
    vote.sample.hash = 0x0123456789ABCDEFULL;
    fill_sum(&vote.sample.gradient, 1);
    fill_sum(&vote.sample.update, 2);
    fill_sum(&vote.sample.weights, 3);
    struct tw_node_vote back = round_trip(&vote, 1);
    assert_true(back.sample.version == 4 && back.sample.hash == vote.sample.hash);
    assert_true(back.sample.hashed && !back.sample.summed);
    assert_sum(&back.sample.gradient, &vote.sample.gradient);
    assert_sum(&back.sample.update, &vote.sample.update);
    assert_sum(&back.sample.weights, &vote.sample.weights);

    struct tw_frame frame;
    struct tw_error error;
    uint8_t scratch[TW_SAMPLE_SUMS_BYTES];
    tw_vote_frame(&vote, &frame, scratch);
    for (size_t size = 0; size < TW_SAMPLE_SUMS_BYTES; size++) {
        frame.sample.sums.size = size;
        assert_int_equal(tw_vote_of_frame(&frame, 1, &back, &error), TW_MALFORMED);
    }
}

static void squares_come_back_and_not_with_other_sizes(void **state) {
    struct tw_node_vote vote = {.kind = TW_VOTE_SQUARES};
    vote.squares = (struct tw_squares){.shard = 2, .tensor = 1023, .version = 1ULL << 40};
    tw_exact_sum_add(&vote.squares.of.weights, 0x1p-298);
    tw_exact_sum_add(&vote.squares.of.weights, 0x1.8p255);
    tw_exact_sum_add(&vote.squares.of.step, INFINITY);
    for (int applied = 0; applied < 2; applied++) {
        vote.squares.applied = applied;
        struct tw_node_vote back = round_trip(&vote, 2);
        assert_int_equal(back.squares.shard, 2);
        assert_true(back.squares.tensor == 1023 && back.squares.version == 1ULL << 40);
        assert_int_equal(back.squares.applied, applied);
        assert_memory_equal(back.squares.of.weights.word, vote.squares.of.weights.word,
                            sizeof(vote.squares.of.weights.word));
        assert_true(back.squares.of.step.not_finite && !back.squares.of.weights.not_finite);
    }
    uint8_t sums[TW_SAMPLE_SUMS_BYTES] = {0};
    struct tw_error error;
    for (size_t size = 0; size <= sizeof(sums); size++) {
        struct tw_frame frame = {.body = TW_BODY_SQUARES, .squares = {.sums = {sums, size}}};
        assert_int_equal(tw_vote_of_frame(&frame, 1, &vote, &error),
                         size == TW_TENSOR_SUMS_BYTES ? TW_OK : TW_MALFORMED);
    }
}

/* The lead is told of a shard's squares: `value`, in `size` bytes. */
static enum tw_status tell_squares(double value, size_t size, bool finite, struct tw_error *error) {
    struct tw_node_vote vote = {.kind = TW_VOTE_SUMS, .sums = {1, 4, finite, {{0}, false}}}, back;
    struct tw_frame frame;
    uint8_t scratch[TW_SAMPLE_SUMS_BYTES];
    tw_exact_sum_add(&vote.sums.squares, value);
    tw_vote_frame(&vote, &frame, scratch);
    frame.sums.squares.size = size;
    return tw_vote_of_frame(&frame, 1, &back, error);
}

/* Not even together can shards make the sum run over: then nobody would clip. */
static void squares_that_cannot_be_are_refused(void **state) {
    struct tw_error error;
    for (size_t size = 0; size < TW_SAMPLE_SUMS_BYTES; size++)
        assert_int_equal(tell_squares(1, size, true, &error),
                         size == TW_SQUARES_BYTES ? TW_OK : TW_MALFORMED);
    assert_int_equal(tell_squares(1, 0, true, &error), TW_MALFORMED);
    assert_string_equal(error.text, "Sums with a sum of squares of 0 bytes, not 80");
    const double most = TW_SQUARES_LIMIT * (1 - 0x1p-53);
    assert_int_equal(tell_squares(most, TW_SQUARES_BYTES, true, &error), TW_OK);
    assert_int_equal(tell_squares(TW_SQUARES_LIMIT, TW_SQUARES_BYTES, true, &error), TW_MALFORMED);
    assert_non_null(strstr(error.text, "more than finite gradients can have"));
    assert_int_equal(tell_squares(0x1p319, TW_SQUARES_BYTES, false, &error), TW_OK); /* dropped */
    struct tw_exact_sum all = {0};
    for (int i = 0; i < TW_SERVERS_MAX; i++)
        tw_exact_sum_add(&all, most);
    assert_false(all.not_finite);
}

/* ---- orders ---- */

struct desk {
    struct tw_order_outbox out;
    struct tw_order_inbox in;
    struct tw_contribution contributions[TW_SLOTS_MAX];
    struct tw_node_order order, back;
    struct tw_error error;
};

static struct desk *new_desk(void) {
    struct desk *desk = calloc(1, sizeof(*desk));
    assert_non_null(desk);
    for (uint32_t i = 0; i < TW_SLOTS_MAX; i++)
        desk->contributions[i] = (struct tw_contribution){
            i, (1ULL << 60) + i, (1ULL << 61) + i, (1ULL << 59) + i, (1ULL << 50) + i, i / 3.0};
    return desk;
}

/* Sends desk->order; how many frames it took. */
static int send(struct desk *desk) {
    struct tw_frame frame;
    int frames = 0;
    enum tw_status status = TW_AGAIN;
    tw_order_put(&desk->out, &desk->order);
    while (tw_order_next(&desk->out, &frame)) {
        assert_int_equal(status, TW_AGAIN);
        assert_true(frame.order.record.size <= TW_ORDER_PART_BYTES || frame.body == TW_BODY_MEMBER);
        status = tw_order_take(&desk->in, &frame, &desk->back, &desk->error);
        frames++;
    }
    assert_int_equal(status, TW_OK);
    assert_int_equal(desk->back.kind, desk->order.kind);
    return frames;
}

static void assert_contributions(const struct desk *desk, const struct tw_contribution *back,
                                 uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const struct tw_contribution *c = &desk->contributions[i];
        assert_true(back[i].slot == c->slot && back[i].step == c->step && back[i].read == c->read);
        assert_true(back[i].staleness == c->staleness && back[i].examples == c->examples);
        assert_true(back[i].loss == c->loss);
    }
}

static void records_come_back(void **state) {
    struct desk *desk = new_desk();
    const uint32_t counts[] = {1, 2, TW_SLOTS_MAX};
    double ratios[TW_TENSORS_MAX];
    for (int t = 0; t < TW_TENSORS_MAX; t++)
        ratios[t] = 1.0 / (t + 1);
    for (int i = 0; i < 3; i++) {
        desk->order.kind = TW_ORDER_RECORD;
        desk->order.record = (struct tw_record){.position = 99,
                                                .kind = TW_RECORD_COMMIT,
                                                .version = 12,
                                                .count = counts[i],
                                                .contributions = desk->contributions,
                                                .examples = 77,
                                                .loss = 0.1,
                                                .rate = 1e-3,
                                                .scalar_count = 2,
                                                .scalars = (const double[]){1.5, -2},
                                                .ratio_count = i ? TW_TENSORS_MAX : 0,
                                                .ratios = ratios};
        int frames = send(desk);
        const struct tw_record *back = &desk->back.record;
        assert_true(i < 2 ? frames == 1 : frames > 1);
        assert_true(back->position == 99 && back->version == 12 && back->examples == 77);
        assert_true(back->kind == TW_RECORD_COMMIT && back->count == counts[i]);
        assert_true(back->loss == 0.1 && back->rate == 1e-3);
        assert_int_equal(back->scalar_count, 2);
        assert_memory_equal(back->scalars, desk->order.record.scalars, 2 * sizeof(double));
        assert_contributions(desk, back->contributions, counts[i]);
        assert_int_equal(back->ratio_count, i ? TW_TENSORS_MAX : 0);
        if (i)
            assert_memory_equal(back->ratios, ratios, sizeof(ratios));
    }
    free(desk);
}

static void what_is_to_be_prepared_comes_back(void **state) {
    struct desk *desk = new_desk();
    desk->order.kind = TW_ORDER_PREPARE;
    desk->order.prepare = (struct tw_prepare){
        31, TW_SLOTS_MAX, desk->contributions, 1ULL << 40, 0.1, 3, (const double[]){2.5, 0, -1}};
    assert_true(send(desk) > 1);
    assert_true(desk->back.prepare.version == 31 && desk->back.prepare.count == TW_SLOTS_MAX);
    assert_true(desk->back.prepare.examples == 1ULL << 40 && desk->back.prepare.rate == 0.1);
    assert_int_equal(desk->back.prepare.scalar_count, 3);
    assert_memory_equal(desk->back.prepare.scalars, desk->order.prepare.scalars,
                        3 * sizeof(double));
    assert_contributions(desk, desk->back.prepare.contributions, TW_SLOTS_MAX);
    free(desk);
}

static void members_come_back(void **state) {
    struct desk *desk = new_desk();
    desk->order.kind = TW_ORDER_MEMBER;
    desk->order.member.role = TW_ROLE_WORKER;
    desk->order.member.rank = 6;
    desk->order.member.incarnation = 2;
    desk->order.member.attempt = 3;
    memset(desk->order.member.session, 0x5C, TW_SESSION_BYTES);
    assert_int_equal(send(desk), 1);
    assert_int_equal(desk->back.member.role, TW_ROLE_WORKER);
    assert_true(desk->back.member.rank == 6 && desk->back.member.incarnation == 2);
    assert_int_equal(desk->back.member.attempt, 3);
    assert_memory_equal(desk->back.member.session, desk->order.member.session, TW_SESSION_BYTES);

    struct tw_frame frame;
    tw_order_put(&desk->out, &desk->order);
    assert_true(tw_order_next(&desk->out, &frame));
    frame.member.session.size--;
    assert_int_equal(tw_order_take(&desk->in, &frame, &desk->back, &desk->error), TW_MALFORMED);
    free(desk);
}

static enum tw_status take(struct desk *desk, const void *bytes, size_t size, bool more,
                           bool prepare) {
    struct tw_frame frame = {.body = TW_BODY_ORDER};
    frame.order = (struct tw_order){.record = {bytes, size}, .more = more, .prepare = prepare};
    return tw_order_take(&desk->in, &frame, &desk->back, &desk->error);
}

/* Every prefix of a record either is no record or lacks something: never the same record. */
static void cut_records_are_refused(void **state) {
    struct desk *desk = new_desk();
    desk->order.kind = TW_ORDER_RECORD;
    desk->order.record =
        (struct tw_record){.position = 5, .kind = TW_RECORD_RELEASE, .slot = 300, .step = 1000};
    tw_order_put(&desk->out, &desk->order);
    for (size_t size = 0; size < desk->out.size; size++) {
        assert_int_equal(take(desk, desk->out.bytes, size, false, false), TW_MALFORMED);
        assert_int_equal(desk->in.size, 0);
    }
    assert_int_equal(take(desk, desk->out.bytes, desk->out.size, false, false), TW_OK);
    assert_int_equal(take(desk, desk->out.bytes, desk->out.size, false, true), TW_MALFORMED);
    free(desk);
}

static void parts_that_do_not_belong_together_are_refused(void **state) {
    static const unsigned char part[TW_ORDER_PART_BYTES];
    struct desk *desk = new_desk();
    struct tw_frame member = {.body = TW_BODY_MEMBER};
    assert_int_equal(take(desk, NULL, 0, true, false), TW_MALFORMED);
    assert_int_equal(take(desk, part, 10, true, false), TW_AGAIN);
    assert_int_equal(take(desk, part, 10, false, true), TW_UNEXPECTED);
    assert_int_equal(tw_order_take(&desk->in, &member, &desk->back, &desk->error), TW_UNEXPECTED);
    desk->in.size = 0;
    for (size_t size = 0; size + sizeof(part) <= TW_ORDER_LOG_RECORD_MAX; size += sizeof(part))
        assert_int_equal(take(desk, part, sizeof(part), true, false), TW_AGAIN);
    assert_int_equal(take(desk, part, 1, true, false), TW_LIMIT);
    free(desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(votes_come_back),
        cmocka_unit_test(examples_that_cannot_be_are_refused),
        cmocka_unit_test(samples_come_back_and_not_with_other_sizes),
        cmocka_unit_test(squares_come_back_and_not_with_other_sizes),
        cmocka_unit_test(squares_that_cannot_be_are_refused),
        cmocka_unit_test(records_come_back),
        cmocka_unit_test(what_is_to_be_prepared_comes_back),
        cmocka_unit_test(members_come_back),
        cmocka_unit_test(cut_records_are_refused),
        cmocka_unit_test(parts_that_do_not_belong_together_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
