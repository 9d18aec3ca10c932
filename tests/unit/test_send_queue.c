/* The queue of frames that wait to leave: what is taken, and what is taken back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proto/send_queue.h"

static char released_tokens[16];

/* Those of lane 7 are capital letters. */
static void on_released(void *context, uint32_t lane, void *token) {
    assert_int_equal(lane, (intptr_t)token < 'a' ? 7 : 0);
    size_t length = strlen(released_tokens);
    released_tokens[length] = (char)(intptr_t)token;
    released_tokens[length + 1] = 0;
}

static const char data[100];

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_with_data_that_have_not_begun_are_taken_back),
        cmocka_unit_test(what_libuv_is_writing_stays),
        cmocka_unit_test(all_of_a_queue_can_be_taken_back),
        cmocka_unit_test(what_other_lanes_send_stays),
    };
    return cmocka_run_group_tests_name("send_queue", tests, NULL, NULL);
}
