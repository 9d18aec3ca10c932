/* The queue of frames that wait to leave: what is taken, and what is taken back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "proto/send_queue.h"

static char released_tokens[16];

/* Those of lane 7 are capital letters. */
static void on_released(void *context, uint32_t lane, void *token) {
    assert_int_equal(lane, (intptr_t)token < 'a' ? 7 : 0);
    size_t length = strlen(released_tokens);
    released_tokens[length] = (char)(intptr_t)token;
    released_tokens[length + 1] = 0;
}

static void ignore(void *context, uint32_t lane, void *token) {}

static char data[2 * TW_SEND_COPIED_MAX];

static void put(struct tw_send_queue *queue, char token, size_t data_bytes) {
    struct tw_frame frame = {.body = data_bytes ? TW_BODY_WEIGHTS : TW_BODY_ATTACHED,
                             .lane = token >= 'A' && token <= 'Z' ? 7 : 0,
                             .data_bytes = data_bytes};
    assert_int_equal(tw_send_queue_put(queue, &frame, tw_frame_measure(&frame), NULL, data,
                                       (void *)(intptr_t)token),
                     TW_OK);
}

static size_t gathered(const struct tw_send_queue *queue) {
    struct iovec pieces[TW_GATHER_PIECES];
    size_t bytes;
    tw_send_queue_gather(queue, pieces, &bytes);
    return bytes;
}

static void start(struct tw_send_queue *queue) {
    memset(queue, 0, sizeof *queue);
    released_tokens[0] = 0;
}

static void end(struct tw_send_queue *queue) {
    tw_send_queue_take(queue, queue->bytes, on_released, NULL);
    tw_send_queue_fini(queue);
}

static void frames_with_data_that_have_not_begun_are_taken_back(void **state) {
    struct tw_send_queue queue;
    start(&queue);
    put(&queue, 'a', 100);
    size_t first = queue.bytes;
    put(&queue, '-', 0);
    size_t two = queue.bytes;
    put(&queue, 'c', 100);
    put(&queue, 'd', 50);
    tw_send_queue_take(&queue, 10, on_released, NULL);
    tw_send_queue_drop_data(&queue, 0, 0, on_released, NULL);
    assert_string_equal(released_tokens, "cd");
    assert_int_equal(queue.entries, 2);
    assert_int_equal(queue.bytes, two - 10);
    assert_int_equal(gathered(&queue), two - 10);
    put(&queue, 'e', 100); /* the end of the queue is where it was */
    assert_int_equal(gathered(&queue), two - 10 + first);
    end(&queue);
    assert_string_equal(released_tokens, "cdae");
}

static void what_libuv_is_writing_stays(void **state) {
    struct tw_send_queue queue;
    start(&queue);
    put(&queue, 'a', 100);
    put(&queue, 'b', 100);
    size_t flying = queue.bytes;
    put(&queue, 'c', 100);
    tw_send_queue_drop_data(&queue, 0, flying, on_released, NULL);
    assert_string_equal(released_tokens, "c");
    assert_int_equal(queue.bytes, flying);
    end(&queue);
    assert_string_equal(released_tokens, "cab");
}

static void all_of_a_queue_can_be_taken_back(void **state) {
    struct tw_send_queue queue;
    start(&queue);
    put(&queue, 'a', 100);
    put(&queue, 'b', 100);
    tw_send_queue_drop_data(&queue, 0, 0, on_released, NULL);
    assert_string_equal(released_tokens, "ab");
    assert_int_equal(queue.bytes, 0);
    put(&queue, 'c', 10);
    assert_true(gathered(&queue) > 10);
    end(&queue);
}

static void what_other_lanes_send_stays(void **state) {
    struct tw_send_queue queue;
    start(&queue);
    put(&queue, 'a', 100);
    put(&queue, 'B', 100);
    put(&queue, 'c', 100);
    put(&queue, 'D', 50);
    tw_send_queue_drop_data(&queue, 7, 0, on_released, NULL);
    assert_string_equal(released_tokens, "BD");
    end(&queue);
    assert_string_equal(released_tokens, "BDac");
}

/* ---- pieces ---- */

static void what_is_small_lies_side_by_side(void **state) {
    enum { FRAMES = TW_GATHER_FRAMES };
    struct tw_send_queue queue;
    struct iovec pieces[TW_GATHER_PIECES];
    size_t bytes;
    start(&queue);
    for (int i = 0; i < FRAMES; i++)
        put(&queue, '-', i % 2 ? 64 : 0);
    assert_true(tw_send_queue_gather(&queue, pieces, &bytes) <= FRAMES / 3);
    assert_int_equal(bytes, queue.bytes);
    put(&queue, '-', 64);
    assert_int_equal(gathered(&queue), bytes); /* the peer can begin with these */
    tw_send_queue_drop_data(&queue, 0, 0, ignore, NULL);
    tw_send_queue_take(&queue, queue.bytes, ignore, NULL);
    end(&queue);
}

/* Their owner may not have been told yet, but need not keep them. */
static void few_tensor_bytes_are_copied_many_are_not(void **state) {
    struct tw_send_queue queue;
    struct iovec pieces[TW_GATHER_PIECES];
    size_t bytes;
    start(&queue);
    data[0] = 1;
    put(&queue, 'a', TW_SEND_COPIED_MAX);
    put(&queue, 'b', TW_SEND_COPIED_MAX + 1);
    data[0] = 2;
    assert_int_equal(tw_send_queue_gather(&queue, pieces, &bytes), 2);
    assert_ptr_equal(pieces[1].iov_base, data);
    const char *copied = pieces[0].iov_base;
    struct tw_frame frame = {.body = TW_BODY_WEIGHTS, .data_bytes = TW_SEND_COPIED_MAX};
    assert_int_equal(copied[tw_frame_measure(&frame).prefix], 1);
    tw_send_queue_take(&queue, pieces[0].iov_len, on_released, NULL);
    assert_string_equal(released_tokens, "a");
    end(&queue);
    assert_string_equal(released_tokens, "ab");
    data[0] = 0;
}

static void pages_are_used_again(void **state) {
    struct tw_send_queue queue;
    start(&queue);
    for (int i = 0; i < 100; i++)
        put(&queue, '-', 0);
    size_t pages = queue.pages;
    assert_true(pages > 1 && pages < TW_SEND_SPARE && queue.spares == 0);
    for (int round = 0; round < 3; round++) {
        tw_send_queue_take(&queue, queue.bytes, ignore, NULL);
        assert_int_equal(queue.pages, 0);
        assert_int_equal(queue.spares, pages);
        for (int i = 0; i < 100; i++)
            put(&queue, '-', 0);
        assert_int_equal(queue.pages, pages);
        assert_int_equal(queue.spares, 0);
    }
    for (int i = 0; i < 1000; i++)
        put(&queue, '-', 0);
    tw_send_queue_take(&queue, queue.bytes, ignore, NULL);
    assert_int_equal(queue.spares, TW_SEND_SPARE);
    end(&queue);
}

static void a_large_page_is_not_kept(void **state) {
    struct tw_send_queue queue;
    char text[2000] = {0};
    struct tw_frame frame = {.body = TW_BODY_PROOF, .proof.proof = {text, sizeof text}};
    for (int i = 0; i < 2; i++, frame.proof.proof.size /= 4) {
        start(&queue);
        assert_int_equal(
            tw_send_queue_put(&queue, &frame, tw_frame_measure(&frame), NULL, NULL, NULL), TW_OK);
        tw_send_queue_take(&queue, queue.bytes, ignore, NULL);
        assert_int_equal(queue.spares, i);
        end(&queue);
    }
}

/* Pushes are taken back and sent anew, again and again, while nothing leaves. */
static void what_was_taken_back_leaves_no_pages(void **state) {
    struct tw_send_queue queue;
    start(&queue);
    put(&queue, 'x', 200);
    tw_send_queue_take(&queue, 1, ignore, NULL);
    size_t cost = 0;
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 10; i++)
            put(&queue, '-', i % 2 ? 200 : 20);
        tw_send_queue_drop_data(&queue, 0, 0, ignore, NULL);
        assert_int_equal(queue.entries, 1);
        assert_true(round == 0 || tw_send_queue_cost(&queue, 0) == cost);
        cost = tw_send_queue_cost(&queue, 0);
    }
    end(&queue);
}

/* ---- against a list of frames ---- */

enum { MOST = 60 };

static struct listed {
    unsigned char bytes[4096];
    size_t size;
    bool has_data;
    uint32_t lane;
    intptr_t token;
} list[MOST]; /* [listed] wait, `gone` bytes of the first have left */
static size_t listed, gone;
static intptr_t expected[MOST], came[MOST];
static size_t expects, cames;

static void on_listed(void *context, uint32_t lane, void *token) {
    came[cames++] = (intptr_t)token;
}

static void unlist(size_t i) {
    if (list[i].has_data)
        expected[expects++] = list[i].token;
    memmove(&list[i], &list[i + 1], (--listed - i) * sizeof list[0]);
}

static void put_any(struct tw_send_queue *queue, struct tw_rng *rng) {
    static const size_t sizes[] = {0, 1, 64, 128, 129, 256};
    static intptr_t number;
    struct listed *to = &list[listed++];
    size_t proof = tw_rng_below(rng, 8) > 0 ? tw_rng_below(rng, 100) : tw_rng_below(rng, 3000);
    struct tw_frame frame = {.body = TW_BODY_PROOF, .lane = (uint32_t)tw_rng_below(rng, 3)};
    unsigned char text[3000];
    memset(text, (int)(number & 0xff), sizeof text);
    frame.proof.proof = (struct tw_view){text, proof};
    frame.data_bytes = sizes[tw_rng_below(rng, 6)];
    struct tw_frame_bytes bytes = tw_frame_measure(&frame);
    tw_frame_write(&frame, bytes, to->bytes);
    memcpy(to->bytes + bytes.prefix, data, frame.data_bytes);
    to->size = bytes.prefix + frame.data_bytes;
    to->has_data = frame.data_bytes > 0;
    to->lane = frame.lane;
    to->token = ++number;
    const unsigned char *written = tw_rng_below(rng, 2) ? to->bytes : NULL;
    assert_int_equal(
        tw_send_queue_put(queue, &frame, bytes, written, data, (void *)(intptr_t)number), TW_OK);
}

static void take_any(struct tw_send_queue *queue, struct tw_rng *rng) {
    size_t bytes = tw_rng_below(rng, queue->bytes + 1);
    tw_send_queue_take(queue, bytes, on_listed, NULL);
    for (gone += bytes; listed > 0 && gone >= list[0].size;) {
        gone -= list[0].size;
        unlist(0);
    }
}

static void drop_any(struct tw_send_queue *queue, struct tw_rng *rng) {
    size_t keep = tw_rng_below(rng, 2) ? tw_rng_below(rng, queue->bytes + 1) : 0, before = 0;
    uint32_t lane = (uint32_t)tw_rng_below(rng, 3);
    tw_send_queue_drop_data(queue, lane, keep, on_listed, NULL);
    for (size_t i = 0; i < listed;) {
        bool begun = i == 0 && gone > 0;
        if (before >= keep && !begun && list[i].has_data && list[i].lane == lane) {
            unlist(i);
            continue;
        }
        before += list[i].size - (begun ? gone : 0);
        i++;
    }
}

static void check_against_list(const struct tw_send_queue *queue) {
    struct iovec pieces[TW_GATHER_PIECES];
    size_t bytes, count = tw_send_queue_gather(queue, pieces, &bytes), frame = 0, at = gone;
    size_t left = 0, seen = 0;
    for (size_t i = 0; i < listed; i++)
        left += list[i].size;
    assert_int_equal(queue->bytes, left - gone);
    assert_int_equal(queue->entries, listed);
    for (size_t i = 0; i < count; i++) {
        const unsigned char *piece = pieces[i].iov_base;
        for (size_t k = 0; k < pieces[i].iov_len; k++, seen++) {
            assert_int_equal(piece[k], list[frame].bytes[at]);
            if (++at == list[frame].size) {
                frame++;
                at = 0;
            }
        }
    }
    assert_int_equal(seen, bytes);
    assert_int_equal(bytes, queue->bytes);
    assert_int_equal(cames, expects);
    assert_memory_equal(came, expected, expects * sizeof came[0]);
    cames = expects = 0;
}

static void it_is_a_list_of_frames(void **state) {
    struct tw_send_queue queue;
    struct tw_rng rng;
    tw_rng_init(&rng, 7, TW_STREAM_DELAY, 0, 0);
    start(&queue);
    listed = gone = 0;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)i;
    for (int i = 0; i < 5000; i++) {
        uint64_t what = tw_rng_below(&rng, 10);
        if (what < 7 && listed < MOST)
            put_any(&queue, &rng);
        else if (what < 9)
            take_any(&queue, &rng);
        else
            drop_any(&queue, &rng);
        check_against_list(&queue);
    }
    tw_send_queue_take(&queue, queue.bytes, ignore, NULL);
    assert_int_equal(queue.pages + queue.entries + queue.taken, 0);
    tw_send_queue_fini(&queue);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_with_data_that_have_not_begun_are_taken_back),
        cmocka_unit_test(what_libuv_is_writing_stays),
        cmocka_unit_test(all_of_a_queue_can_be_taken_back),
        cmocka_unit_test(what_other_lanes_send_stays),
        cmocka_unit_test(what_is_small_lies_side_by_side),
        cmocka_unit_test(few_tensor_bytes_are_copied_many_are_not),
        cmocka_unit_test(pages_are_used_again),
        cmocka_unit_test(a_large_page_is_not_kept),
        cmocka_unit_test(what_was_taken_back_leaves_no_pages),
        cmocka_unit_test(it_is_a_list_of_frames),
    };
    return cmocka_run_group_tests_name("send_queue", tests, NULL, NULL);
}
