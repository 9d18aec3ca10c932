/* The frame codec with frames that are right: every kind, every split, and the
 * forms that other protobuf libraries may write. Wrong ones: test_frame_wrong.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/file.h"
#include "common/base/rng.h"
#include "proto/frame_pack.h"
#include "proto/varint.h"
#include "tests/lib/frame_recorder.h"
#include "tests/lib/frame_samples.h"

static void add_frame(struct tw_text *out, const struct tw_frame *frame, const void *data) {
    size_t size = tw_frame_prefix_bytes(frame);
    unsigned char *prefix = malloc(size);
    assert_int_equal(tw_frame_encode(frame, prefix, size), size);
    tw_text_add_bytes(out, prefix, size);
    if (frame->data_bytes > 0) {
        tw_text_add_bytes(out, data, frame->data_bytes);
    }
    free(prefix);
}

/* A frame from its parts, which may be anything. */
static void add_raw(struct tw_text *out, const struct tw_text *content) {
    unsigned char length[TW_VARINT_MAX];
    tw_text_add_bytes(out, length, tw_varint_put(length, content->size));
    tw_text_add_bytes(out, content->at, content->size);
}

static void add_data_field(struct tw_text *out, const void *data, size_t size) {
    unsigned char head[2 + TW_VARINT_MAX] = {0xfa, 0x7f};
    tw_text_add_bytes(out, head, 2 + tw_varint_put(head + 2, size));
    tw_text_add_bytes(out, data, size);
}

/* Push{slot: 1, chunk: 9} as a field of Frame. */
static const char push_field[] = {0x4a, 0x04, 0x08, 0x01, 0x30, 0x09};
static const struct tw_frame push_frame = {.body = TW_BODY_PUSH, .push = {.slot = 1, .chunk = 9}};

static unsigned char *make_data(size_t size) {
    unsigned char *data = malloc(size);
    for (size_t i = 0; i < size; i++) {
        data[i] = (unsigned char)(i * 7 + i / 251);
    }
    return data;
}

/* All samples, and chunks of several sizes among them. */
static void make_stream(struct tw_text *stream) {
    static const size_t sizes[] = {1, 4, 500, 511, 512, 513, 16384, 16385, 70000, 262144, 12};
    for (size_t i = 0; i < FRAME_SAMPLES; i++) {
        add_frame(stream, &frame_samples[i].frame, frame_samples[i].data);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct tw_frame frame = frame_samples[i % 2 ? 8 : 10].frame;
        unsigned char *data = make_data(sizes[i]);
        frame.data_bytes = sizes[i];
        add_frame(stream, &frame, data);
        add_frame(stream, &frame_samples[(i * 5) % 8].frame, NULL);
        free(data);
    }
}

static void expect_record(struct frame_recorder *recorder, const struct tw_text *expected) {
    assert_int_equal(recorder->out.size, expected->size);
    assert_memory_equal(recorder->out.at, expected->at, expected->size);
}

/* Feeds all of `stream`, and expects `expected` in the record. */
static void expect_decodes(const struct tw_text *stream, const struct tw_text *expected) {
    struct frame_recorder *recorder = frame_recorder_new();
    enum tw_status status = frame_recorder_feed(recorder, stream->at, stream->size, NULL, NULL);
    assert_string_equal(recorder->error.text, "");
    assert_int_equal(status, TW_OK);
    assert_false(tw_decoder_mid_frame(&recorder->decoder));
    expect_record(recorder, expected);
    frame_recorder_free(recorder);
}

static void encodes_the_golden_bytes(void **state) {
    for (size_t i = 0; i < FRAME_SAMPLES; i++) {
        char path[128];
        char *golden;
        size_t size;
        struct tw_error error;
        struct tw_text encoded = {0};
        snprintf(path, sizeof path, "tests/golden/frames/%s.bin", frame_samples[i].name);
        assert_int_equal(tw_file_read(path, 4096, &golden, &size, &error), TW_OK);
        add_frame(&encoded, &frame_samples[i].frame, frame_samples[i].data);
        assert_int_equal(encoded.size, size);
        assert_memory_equal(encoded.at, golden, size);
        free(golden);
        tw_text_fini(&encoded);
    }
}

/* Returns whether it is plain. */
static bool expect_plain_is_the_same(const struct tw_frame *frame) {
    unsigned char *room = malloc(TW_PLAIN_MAX), expected[1024];
    const unsigned char *start;
    size_t size = tw_frame_write_plain(frame, room, &start);
    if (size > 0) {
        assert_true(start >= room && start + size <= room + TW_PLAIN_MAX);
        assert_int_equal(tw_frame_encode(frame, expected, sizeof expected), size);
        assert_memory_equal(start, expected, size);
    }
    free(room);
    return size > 0;
}

/* Also with the largest numbers that there are. */
static void plain_frames_have_the_same_bytes_without_being_counted(void **state) {
    int plain = 0;
    for (size_t i = 0; i < FRAME_SAMPLES; i++) {
        struct tw_frame frame = frame_samples[i].frame;
        if (!expect_plain_is_the_same(&frame))
            continue;
        plain++;
        if (frame.body == TW_BODY_PING)
            continue;
        memset(&frame, 0xff, sizeof frame);
        frame.body = frame_samples[i].frame.body;
        frame.data_bytes = TW_CHUNK_BYTES_MAX;
        assert_true(expect_plain_is_the_same(&frame));
    }
    assert_int_equal(plain, 4);
}

static void pings_are_plain_up_to_a_size(void **state) {
    struct tw_measure measures[17];
    struct tw_frame frame = {.body = TW_BODY_PING, .lane = UINT32_MAX};
    memset(measures, 0xff, sizeof measures);
    frame.ping = (struct tw_ping){
        .step = UINT64_MAX, .nonce = UINT64_MAX, .measures = 16, .measure = measures};
    assert_true(expect_plain_is_the_same(&frame));
    frame.ping.measures = 17;
    assert_false(expect_plain_is_the_same(&frame));
}

static void every_sample_is_another_kind(void **state) {
    bool seen[TW_BODY_LAST + 1] = {false};
    for (size_t i = 0; i < FRAME_SAMPLES; i++) {
        assert_false(seen[frame_samples[i].frame.body]);
        seen[frame_samples[i].frame.body] = true;
    }
    assert_int_equal(FRAME_SAMPLES, TW_BODY_LAST);
}

static void decodes_what_it_encodes(void **state) {
    struct tw_text stream = {0};
    make_stream(&stream);
    expect_decodes(&stream, &stream);
    tw_text_fini(&stream);
}

static size_t one(void *context) {
    return 1;
}

static void decodes_byte_by_byte(void **state) {
    struct tw_text stream = {0};
    struct frame_recorder *recorder = frame_recorder_new();
    make_stream(&stream);
    assert_int_equal(frame_recorder_feed(recorder, stream.at, stream.size, one, NULL), TW_OK);
    expect_record(recorder, &stream);
    frame_recorder_free(recorder);
    tw_text_fini(&stream);
}

/* Mostly small pieces, some large. */
static size_t random_split(void *context) {
    struct tw_rng *rng = context;
    static const uint64_t most[] = {2, 16, 600, 20000, 300000};
    return 1 + (size_t)tw_rng_below(rng, most[tw_rng_below(rng, 5)]);
}

static void decodes_any_split(void **state) {
    struct tw_text stream = {0};
    make_stream(&stream);
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct tw_rng rng;
        struct frame_recorder *recorder = frame_recorder_new();
        tw_rng_init(&rng, seed, TW_STREAM_DELAY, 0, 0);
        recorder->again = recorder->again_left = (unsigned)(seed % 3);
        enum tw_status status =
            frame_recorder_feed(recorder, stream.at, stream.size, random_split, &rng);
        if (status != TW_OK || recorder->out.size != stream.size) {
            fail_msg("seed %d: %s", (int)seed, recorder->error.text);
        }
        expect_record(recorder, &stream);
        frame_recorder_free(recorder);
    }
    tw_text_fini(&stream);
}

static void thrown_away_data_leaves_the_rest_whole(void **state) {
    struct tw_text stream = {0};
    struct frame_recorder *recorder = frame_recorder_new();
    recorder->throw_away = true;
    make_stream(&stream);
    assert_int_equal(frame_recorder_feed(recorder, stream.at, stream.size, NULL, NULL), TW_OK);
    assert_int_equal(recorder->frames, FRAME_SAMPLES + 22);
    assert_int_equal(recorder->asked, 13);
    frame_recorder_free(recorder);
    tw_text_fini(&stream);
}

/* Content of a Push frame in an unusual form -> what it means. */
static void expect_push(const struct tw_text *content, const void *data, size_t size) {
    struct tw_text stream = {0};
    struct tw_text expected = {0};
    struct tw_frame frame = push_frame;
    frame.data_bytes = size;
    add_raw(&stream, content);
    add_frame(&stream, &frame_samples[0].frame, NULL); /* the stream goes on behind it */
    add_frame(&expected, &frame, data);
    add_frame(&expected, &frame_samples[0].frame, NULL);
    expect_decodes(&stream, &expected);
    tw_text_fini(&stream);
    tw_text_fini(&expected);
}

static const size_t slow_sizes[] = {1, 100, 16370, 16384, 100000};

static void body_after_data(void **state) {
    for (size_t i = 0; i < sizeof slow_sizes / sizeof slow_sizes[0]; i++) {
        struct tw_text content = {0};
        unsigned char *data = make_data(slow_sizes[i]);
        add_data_field(&content, data, slow_sizes[i]);
        tw_text_add_bytes(&content, push_field, sizeof push_field);
        expect_push(&content, data, slow_sizes[i]);
        free(data);
        tw_text_fini(&content);
    }
}

static void last_of_several_data_wins(void **state) {
    for (size_t i = 0; i < sizeof slow_sizes / sizeof slow_sizes[0]; i++) {
        struct tw_text content = {0};
        unsigned char *data = make_data(slow_sizes[i] + 1);
        add_data_field(&content, data, slow_sizes[i]);
        tw_text_add_bytes(&content, push_field, sizeof push_field);
        add_data_field(&content, "other", 5);
        add_data_field(&content, data + 1, slow_sizes[i]);
        expect_push(&content, data + 1, slow_sizes[i]);
        free(data);
        tw_text_fini(&content);
    }
}

static void empty_data_is_no_data(void **state) {
    struct tw_text content = {0};
    tw_text_add_bytes(&content, push_field, sizeof push_field);
    add_data_field(&content, "", 0);
    expect_push(&content, NULL, 0);
    tw_text_fini(&content);
}

static void last_of_several_bodies_wins(void **state) {
    static const char ask[] = {0x62, 0x02, 0x08, 0x05};
    static const char other_push[] = {0x4a, 0x02, 0x08, 0x07};
    struct tw_text content = {0};
    tw_text_add_bytes(&content, other_push, sizeof other_push);
    tw_text_add_bytes(&content, ask, sizeof ask);
    tw_text_add_bytes(&content, push_field, sizeof push_field);
    add_data_field(&content, "data", 4);
    expect_push(&content, "data", 4);
    tw_text_fini(&content);
}

/* Of every wire type, at the top and in the body. */
static void unknown_fields_are_skipped(void **state) {
    static const char strange[] = {
        (char)0xa0, 0x06, (char)0xff, 0x01,                       /* 100, varint */
        (char)0xa9, 0x06, 1,          2,    3,   4,   5, 6, 7, 8, /* 101, 64 bits */
        (char)0xb2, 0x06, 3,          'a',  'b', 'c',             /* 102, bytes */
        (char)0xbd, 0x06, 1,          2,    3,   4,               /* 103, 32 bits */
    };
    struct tw_text content = {0};
    char push[sizeof push_field + sizeof strange];
    memcpy(push, push_field, sizeof push_field);
    memcpy(push + sizeof push_field, strange, sizeof strange);
    push[1] = (char)(push[1] + (int)sizeof strange);
    tw_text_add_bytes(&content, strange, sizeof strange);
    tw_text_add_bytes(&content, push, sizeof push);
    tw_text_add_bytes(&content, strange, sizeof strange);
    add_data_field(&content, "data", 4);
    expect_push(&content, "data", 4);
    tw_text_add_bytes(&content, strange, sizeof strange);
    expect_push(&content, "data", 4);
    tw_text_fini(&content);
}

/* The Push above, on this lane, and no tensor bytes. */
static void expect_on_lane(const char *content, size_t size, uint32_t lane) {
    struct tw_text given = {0}, expected = {0};
    struct tw_text raw = {.at = (char *)(uintptr_t)content, .size = size};
    struct tw_frame frame = push_frame;
    frame.lane = lane;
    add_raw(&given, &raw);
    add_frame(&expected, &frame, NULL);
    expect_decodes(&given, &expected);
    tw_text_fini(&given);
    tw_text_fini(&expected);
}

#define PUSH_FIELDS "\x08\x01\x30\x09"
#define ON_LANE(content, lane) expect_on_lane(content, sizeof content - 1, lane)

static void a_lane_may_stand_anywhere_and_the_last_counts(void **state) {
    ON_LANE("\x4a\x04" PUSH_FIELDS "\xf0\x7f\x05", 5);
    ON_LANE("\xf0\x7f\x05\x4a\x04" PUSH_FIELDS, 5);
    ON_LANE("\xf0\x7f\x06\x4a\x04" PUSH_FIELDS "\xf0\x7f\x07", 7);
    ON_LANE("\x4a\x04" PUSH_FIELDS "\xf0\x7f\x07\xf0\x7f\x00", 0);
    ON_LANE("\xf0\x7f\x85\x80\x80\x80\x80\x80\x80\x80\x80\x00\x4a\x04" PUSH_FIELDS, 5);
    ON_LANE("\xf0\xff\x80\x80\x00\xff\xff\xff\xff\x0f\x4a\x04" PUSH_FIELDS, UINT32_MAX);
    ON_LANE("\x4a\x04" PUSH_FIELDS "\xf0\x7f\x83\x80\x80\x80\x10", 3); /* 2^32 + 3 */
    ON_LANE("\x4a\x02\x08\x07\xf0\x7f\x02\x4a\x04" PUSH_FIELDS, 2);    /* another body before it */
}

static void heads_of_a_body_may_be_padded(void **state) {
    ON_LANE("\xca\x80\x80\x80\x00\x04" PUSH_FIELDS, 0);
    ON_LANE("\x4a\x84\x80\x80\x00" PUSH_FIELDS, 0);
    ON_LANE("\x4a\x84\x80\x80\x80\x00" PUSH_FIELDS, 0);
    ON_LANE("\xca\x80\x80\x80\x00\x84\x80\x80\x80\x00" PUSH_FIELDS, 0);
}

static void a_length_may_be_padded_to_five_bytes(void **state) {
    static const char stream[] = {(char)0x83, (char)0x80, (char)0x80, (char)0x80,
                                  0x00,       (char)0x92, 0x01,       0x00}; /* Bye */
    struct tw_text given = {0};
    struct tw_text expected = {0};
    tw_text_add_bytes(&given, stream, sizeof stream);
    add_frame(&expected, &frame_samples[17].frame, NULL);
    expect_decodes(&given, &expected);
    tw_text_fini(&given);
    tw_text_fini(&expected);
}

/* Larger than the stage, so that it is collected. */
static void a_large_join_arrives_whole(void **state) {
    enum { COUNT = 900 };
    static char names[COUNT][24];
    static const uint64_t shape[] = {512, 3, 3, 1024};
    struct tw_tensor_shape *tensors = calloc(COUNT, sizeof *tensors);
    struct tw_frame frame = frame_samples[3].frame;
    struct tw_text stream = {0};
    for (int i = 0; i < COUNT; i++) {
        int size = snprintf(names[i], sizeof names[i], "stage%d.block%d.w", i / 30, i);
        tensors[i] = (struct tw_tensor_shape){{names[i], (size_t)size}, 4, shape};
    }
    frame.join.tensors = COUNT;
    frame.join.tensor = tensors;
    add_frame(&stream, &frame, NULL);
    assert_true(stream.size > TW_STAGE_BYTES);
    expect_decodes(&stream, &stream);
    free(tensors);
    tw_text_fini(&stream);
}

static bool is_in(const void *at, const unsigned char *stage) {
    return (const unsigned char *)at >= stage && (const unsigned char *)at < stage + TW_STAGE_BYTES;
}

static void most_tensor_bytes_arrive_in_place(void **state) {
    struct tw_text stream = {0};
    struct tw_frame frame = push_frame;
    struct frame_recorder *recorder = frame_recorder_new();
    unsigned char *data = make_data(TW_CHUNK_BYTES_DEFAULT);
    frame.data_bytes = TW_CHUNK_BYTES_DEFAULT;
    add_frame(&stream, &frame, data);
    for (int i = 0; i < 2; i++) {
        struct tw_decoder *decoder = &recorder->decoder;
        size_t fed = 0, in_place = 0;
        while (fed < stream.size) {
            void *at;
            size_t room;
            tw_decoder_want(decoder, &at, &room);
            bool staged = is_in(at, decoder->stage) || is_in(at, recorder->arena.stage);
            assert_true(!staged || fed + room <= (i == 0 ? TW_STAGE_BYTES : 512));
            in_place += staged ? 0 : 1;
            size_t piece = room < stream.size - fed ? room : stream.size - fed;
            memcpy(at, stream.at + fed, piece);
            fed += piece;
            assert_int_equal(tw_decoder_advance(decoder, piece, NULL), TW_OK);
        }
        assert_int_equal(in_place, 1);
    }
    assert_int_equal(recorder->frames, 2);
    frame_recorder_free(recorder);
    free(data);
    tw_text_fini(&stream);
}

static void knows_what_it_is_receiving(void **state) {
    struct tw_text stream = {0};
    struct frame_recorder *recorder = frame_recorder_new();
    struct tw_decoder *decoder = &recorder->decoder;
    add_frame(&stream, &frame_samples[8].frame, frame_samples[8].data);
    assert_false(tw_decoder_mid_frame(decoder));
    assert_null(tw_decoder_receiving(decoder));
    frame_recorder_feed(recorder, stream.at, 5, NULL, NULL);
    assert_true(tw_decoder_mid_frame(decoder));
    assert_null(tw_decoder_receiving(decoder));
    frame_recorder_feed(recorder, stream.at + 5, stream.size - 6, NULL, NULL);
    assert_true(tw_decoder_mid_frame(decoder));
    assert_int_equal(tw_decoder_receiving(decoder)->push.step, 5000000000);
    frame_recorder_feed(recorder, stream.at + stream.size - 1, 1, NULL, NULL);
    assert_false(tw_decoder_mid_frame(decoder));
    assert_null(tw_decoder_receiving(decoder));
    frame_recorder_free(recorder);
    tw_text_fini(&stream);
}

static void encode_refuses_a_short_buffer(void **state) {
    unsigned char out[64];
    for (size_t room = 0; room < tw_frame_prefix_bytes(&push_frame); room++) {
        assert_int_equal(tw_frame_encode(&push_frame, out, room), 0);
    }
    assert_int_equal(tw_frame_encode(&push_frame, out, sizeof out), sizeof push_field + 1);
}

static void names_of_bodies(void **state) {
    assert_string_equal(tw_body_name(TW_BODY_PUSH), "Push");
    assert_string_equal(tw_body_name(TW_BODY_BYE), "Bye");
    assert_string_equal(tw_body_name(TW_BODY_NONE), "?");
    assert_string_equal(tw_body_name((enum tw_body)(TW_BODY_LAST + 1)), "?");
    assert_string_equal(tw_body_name((enum tw_body) - 1), "?");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_the_golden_bytes),
        cmocka_unit_test(plain_frames_have_the_same_bytes_without_being_counted),
        cmocka_unit_test(pings_are_plain_up_to_a_size),
        cmocka_unit_test(every_sample_is_another_kind),
        cmocka_unit_test(decodes_what_it_encodes),
        cmocka_unit_test(decodes_byte_by_byte),
        cmocka_unit_test(decodes_any_split),
        cmocka_unit_test(thrown_away_data_leaves_the_rest_whole),
        cmocka_unit_test(body_after_data),
        cmocka_unit_test(last_of_several_data_wins),
        cmocka_unit_test(empty_data_is_no_data),
        cmocka_unit_test(last_of_several_bodies_wins),
        cmocka_unit_test(unknown_fields_are_skipped),
        cmocka_unit_test(a_lane_may_stand_anywhere_and_the_last_counts),
        cmocka_unit_test(heads_of_a_body_may_be_padded),
        cmocka_unit_test(a_length_may_be_padded_to_five_bytes),
        cmocka_unit_test(a_large_join_arrives_whole),
        cmocka_unit_test(most_tensor_bytes_arrive_in_place),
        cmocka_unit_test(knows_what_it_is_receiving),
        cmocka_unit_test(encode_refuses_a_short_buffer),
        cmocka_unit_test(names_of_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
