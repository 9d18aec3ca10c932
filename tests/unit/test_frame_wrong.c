/* The frame decoder with bytes that are wrong: each has its name, is refused as
 * soon as it can be known, and costs no memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "proto/varint.h"
#include "tests/lib/frame_recorder.h"
#include "tests/lib/frame_samples.h"

static const char ping[] = {0x05, (char)0x82, 0x01, 0x02, 0x08, 0x01};

/* Feeds ping (so that the peer is known to speak Talweg) and then `bytes`, all
 * at once and byte by byte; expects the same status, and `text` in the message. */
static size_t one(void *context) {
    return 1;
}

static void expect_refused(const void *bytes, size_t size, enum tw_status status,
                           const char *text) {
    for (int pass = 0; pass < 2; pass++) {
        struct frame_recorder *recorder = frame_recorder_new();
        assert_int_equal(frame_recorder_feed(recorder, ping, sizeof ping, NULL, NULL), TW_OK);
        enum tw_status got =
            frame_recorder_feed(recorder, bytes, size, pass == 0 ? NULL : one, NULL);
        if (got != status || recorder->error.status != status ||
            strstr(recorder->error.text, text) == NULL) {
            fail_msg("expected %s with '%s', got %s: %s", tw_status_name(status), text,
                     tw_status_name(got), recorder->error.text);
        }
        assert_int_equal(recorder->frames, 1);
        assert_int_equal(recorder->granted, 0);
        frame_recorder_free(recorder);
    }
}

/* A frame with this content. */
static void expect_content_refused(const void *content, size_t size, enum tw_status status,
                                   const char *text) {
    struct tw_text frame = {0};
    unsigned char length[TW_VARINT_MAX];
    tw_text_add_bytes(&frame, length, tw_varint_put(length, size));
    tw_text_add_bytes(&frame, content, size);
    expect_refused(frame.at, frame.size, status, text);
    tw_text_fini(&frame);
}

static void malformed_content(void **state) {
    static const struct {
        const char *bytes;
        size_t size;
        const char *text;
    } cases[] = {
#define CASE(bytes, text) {bytes, sizeof bytes - 1, text}
        CASE("\xa0\x06\x01", "number 100, which protocol 1 does not know"),
        CASE("\xfa\x7f\x01x", "without a body"),
        CASE("\x48\x01", "wrong wire type"),             /* Push as varint */
        CASE("\x4d\x01\x02\x03\x04", "wrong wire type"), /* Push as 32 bits */
        CASE("\xf8\x7f\x01", "wrong wire type"),         /* data as varint */
        CASE("\x4b\x4c", "unknown wire type"),           /* a group */
        CASE("\x4f\x01", "unknown wire type"),           /* 7 */
        CASE("\x02\x01x", "impossible field number"),    /* 0 */
        CASE("\xfa\xff\xff\xff\x7f\x00", "impossible field number"),
        CASE("\xca\x80\x80\x80\x80\x00\x00", "overlong varint"), /* key of 6 bytes */
        CASE("\x4a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", "overlong varint"),
        CASE("\x4a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "overlong varint"),
        CASE("\x4a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "goes beyond the end"),
        CASE("\x4a\x02\x08", "goes beyond the end"),
        CASE("\x4a", "cut off"),
        CASE("\xfa", "cut off"),
        CASE("\x4a\x02\x08\x01\xfa\x7f", "cut off"),
        CASE("\x4a\x02\x08\x01\xfa\x7f\x05xxxx", "goes beyond the end"),
        CASE("\xa9\x06\x01\x02", "goes beyond the end"),
        /* A length of six bytes, which the scan lets pass. */
        CASE("\x4a\x82\x80\x80\x80\x80\x00\x08\x01", "Push frame are not a valid message"),
        CASE("\xa2\x06\x81\x80\x80\x80\x80\x00x\x4a\x02\x08\x01", "not a valid message"),
        /* A wrong body before one that is right. */
        CASE("\x4a\x02\x09\x01\x4a\x02\x08\x01", "Push frame are not a valid message"),
        /* In the body of a Push: */
        CASE("\x4a\x02\x09\x01", "Push frame are not a valid message"), /* slot as 64 bits */
        CASE("\x4a\x02\x0a\x00", "Push frame are not a valid message"), /* slot as bytes */
        CASE("\x4a\x01\x08", "Push frame are not a valid message"),
        CASE("\x4a\x02\x08\xff", "Push frame are not a valid message"),
        CASE("\x4a\x02\x0b\x0c", "Push frame are not a valid message"),
        CASE("\x22\x02\x08\x03", "unknown role"),
        CASE("\x32\x06\x08\xff\xff\xff\xff\x0f", "unknown role"),
        CASE("\x22\x02\x42\x05", "Join frame are not a valid message"),
#undef CASE
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_content_refused(cases[i].bytes, cases[i].size, TW_MALFORMED, cases[i].text);
    }
}

static void malformed_length(void **state) {
    expect_refused("\x00", 1, TW_MALFORMED, "a frame of 0 bytes");
    expect_refused("\x80\x80\x80\x80\x80", 5, TW_MALFORMED, "length of more than 5 bytes");
    expect_refused("\xff\xff\xff\xff\xff\x01", 6, TW_MALFORMED, "length of more than 5 bytes");
}

static void a_frame_over_the_limit(void **state) {
    unsigned char length[TW_VARINT_MAX];
    size_t size = tw_varint_put(length, TW_FRAME_BYTES_MAX + 1);
    char text[100];
    snprintf(text, sizeof text, "a frame of %u bytes; at most %u are allowed",
             TW_FRAME_BYTES_MAX + 1, TW_FRAME_BYTES_MAX);
    expect_refused(length, size, TW_LIMIT, text);
    expect_refused("\xff\xff\xff\xff\x7f", 5, TW_LIMIT, "a frame of 34359738367 bytes");
}

/* Said by the key and the length alone: nothing was collected for it. */
static void small_fields_over_the_limit(void **state) {
    static const unsigned char one_field[] = {0x81, 0x80, 0x10, 0x4a, 0xfd, 0xff, 0x0f};
    struct frame_recorder *recorder = frame_recorder_new();
    assert_int_equal(frame_recorder_feed(recorder, one_field, sizeof one_field, NULL, NULL),
                     TW_LIMIT);
    assert_non_null(strstr(recorder->error.text, "small fields; at most 65536 are allowed"));
    assert_int_equal(recorder->lent_max, 0);
    frame_recorder_free(recorder);
}

static void many_small_fields_over_the_limit(void **state) {
    struct tw_text content = {0};
    for (int i = 0; i < 40000; i++) {
        tw_text_add_bytes(&content, "\x92\x01\x00", 3); /* Bye, again and again */
    }
    expect_content_refused(content.at, content.size, TW_LIMIT, "small fields");
    tw_text_fini(&content);
}

static void expect_budget(unsigned key, const char *element) {
    struct tw_text content = {0};
    unsigned char head[2 * TW_VARINT_MAX];
    const size_t elements = 30000;
    size_t at = tw_varint_put(head, key);
    tw_text_add_bytes(&content, head, at + tw_varint_put(head + at, 2 * elements));
    for (size_t i = 0; i < elements; i++) {
        tw_text_add_bytes(&content, element, 2);
    }
    expect_content_refused(content.at, content.size, TW_LIMIT, "memory that unpacking may use");
    tw_text_fini(&content);
}

/* 64 KiB of the smallest tensors, or measures, would unpack to megabytes. */
static void unpacking_has_a_budget(void **state) {
    expect_budget(TW_BODY_JOIN << 3 | 2, "\x42\x00");
    expect_budget(TW_BODY_PING << 3 | 2, "\x1a\x00");
}

static void data_in_another_body(void **state) {
    static const char ask[] = "\x62\x00\xfa\x7f\x04"
                              "data";
    static const char early[] = "\xfa\x7f\x04"
                                "data\x62\x00";
    expect_content_refused(ask, sizeof ask - 1, TW_UNEXPECTED,
                           "4 tensor bytes in a frame of kind Ask");
    expect_content_refused(early, sizeof early - 1, TW_UNEXPECTED,
                           "4 tensor bytes in a frame of kind Ask");
}

static void data_where_none_is_allowed(void **state) {
    /* 1 MiB is announced, and refused before it comes. */
    static const unsigned char push[] = {0x89, 0x80, 0x40, 0x4a, 0x02, 0x08,
                                         0x01, 0xfa, 0x7f, 0x80, 0x80, 0x40};
    struct frame_recorder *recorder = frame_recorder_new();
    tw_decoder_limit(&recorder->decoder, TW_FRAME_BYTES_MAX, false);
    assert_int_equal(frame_recorder_feed(recorder, push, sizeof push, NULL, NULL), TW_UNEXPECTED);
    assert_non_null(strstr(recorder->error.text, "1048576 tensor bytes where none are allowed"));
    assert_int_equal(recorder->asked, 0);
    frame_recorder_free(recorder);
}

static void a_new_decoder_takes_only_a_hello(void **state) {
    struct frame_recorder *recorder = frame_recorder_new();
    struct tw_decoder *decoder = &recorder->decoder;
    tw_decoder_init(decoder, decoder->sink, recorder, &recorder->arena, decoder->grow);
    assert_int_equal(frame_recorder_feed(recorder, "\x81\x08", 2, NULL, NULL), TW_LIMIT);
    assert_non_null(strstr(recorder->error.text, "1025 bytes; at most 1024 are allowed"));
    frame_recorder_free(recorder);
}

static void owner_refuses_data(void **state) {
    struct frame_recorder *recorder = frame_recorder_new();
    recorder->refuse = TW_STALE;
    assert_int_equal(
        frame_recorder_feed(recorder, "\x08\x4a\x02\x08\x01\xfa\x7f\x01x", 9, NULL, NULL),
        TW_STALE);
    assert_string_equal(recorder->error.text, "refused by the test");
    assert_int_equal(recorder->frames, 0);
    assert_int_equal(tw_decoder_resume(&recorder->decoder, NULL), TW_STALE);
    frame_recorder_free(recorder);
}

static void owner_stops_between_frames(void **state) {
    struct frame_recorder *recorder = frame_recorder_new();
    char two[2 * sizeof ping];
    memcpy(two, ping, sizeof ping);
    memcpy(two + sizeof ping, ping, sizeof ping);
    recorder->stop_after_frame = true;
    assert_int_equal(frame_recorder_feed(recorder, two, sizeof two, NULL, NULL), TW_STOPPED);
    assert_int_equal(recorder->frames, 1);
    frame_recorder_free(recorder);
}

static void no_memory_for_the_slow_path(void **state) {
    /* data first: a frame of 1 MiB must be collected */
    static const unsigned char early[] = {0x88, 0x80, 0x40, 0xfa, 0x7f, 0x80, 0x80, 0x40};
    struct frame_recorder *recorder = frame_recorder_new();
    recorder->give_no_memory = true;
    assert_int_equal(frame_recorder_feed(recorder, early, sizeof early, NULL, NULL), TW_NO_MEMORY);
    frame_recorder_free(recorder);
}

static void collecting_stays_within_the_frame_limit(void **state) {
    static const unsigned char early[] = {0x88, 0x80, 0x40, 0xfa, 0x7f, 0x80, 0x80, 0x40};
    struct frame_recorder *recorder = frame_recorder_new();
    assert_int_equal(frame_recorder_feed(recorder, early, sizeof early, NULL, NULL), TW_OK);
    assert_int_equal(recorder->lent_max, (1u << 20) + 8);
    frame_recorder_free(recorder);
}

static void other_protocols_are_named(void **state) {
    static const struct {
        const char *bytes, *text;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: x\r\n", "the peer speaks HTTP, not"},
        {"POST /run HTTP/1.1\r\n", "the peer speaks HTTP, not"},
        {"HTTP/1.1 400 Bad Request\r\n", "the peer speaks HTTP, not"},
        {"SSH-2.0-OpenSSH_9.2p1\r\n", "the peer speaks SSH"},
        {"\x16\x03\x01\x02", "the peer speaks TLS"},
        {"\x15\x03\x03\x02", "the peer speaks TLS"},
        {"220 mail.example.org ESMTP Postfix (Debian/GNU) and more of the same\r\n",
         "first bytes are not those of Talweg"},
        {"\xff\xff\xff\xff\xff\xff", "first bytes are not those of Talweg"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int pass = 0; pass < 2; pass++) {
            struct frame_recorder *recorder = frame_recorder_new();
            tw_decoder_limit(&recorder->decoder, TW_HELLO_BYTES_MAX, false);
            enum tw_status status = frame_recorder_feed(
                recorder, cases[i].bytes, strlen(cases[i].bytes), pass == 0 ? NULL : one, NULL);
            if (status == TW_OK || strstr(recorder->error.text, cases[i].text) == NULL) {
                fail_msg("'%s': %s", cases[i].bytes, recorder->error.text);
            }
            frame_recorder_free(recorder);
        }
    }
}

/* Flipped, cut, doubled bytes in valid streams: any status, but never more than
 * the limits allow, and never a silent stop (the sanitizers watch the rest). */
static void mutated_streams_stay_within_limits(void **state) {
    unsigned refused = 0;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct tw_rng rng;
        struct tw_text stream = {0};
        unsigned char prefix[512];
        tw_rng_init(&rng, seed, TW_STREAM_NOISE, 0, 0);
        for (int i = 0; i < 4; i++) {
            const struct frame_sample *sample = &frame_samples[tw_rng_below(&rng, FRAME_SAMPLES)];
            size_t size = tw_frame_encode(&sample->frame, prefix, sizeof prefix);
            tw_text_add_bytes(&stream, prefix, size);
            tw_text_add_bytes(&stream, sample->data, sample->frame.data_bytes);
        }
        for (uint64_t flips = 1 + tw_rng_below(&rng, 4); flips > 0; flips--) {
            stream.at[tw_rng_below(&rng, stream.size)] = (char)tw_rng_next(&rng);
        }
        struct frame_recorder *recorder = frame_recorder_new();
        tw_decoder_limit(&recorder->decoder, 1 << 16, true);
        enum tw_status status = frame_recorder_feed(recorder, stream.at, stream.size, NULL, NULL);
        assert_true(recorder->lent_max <= 1 << 16);
        assert_true(recorder->granted <= 1 << 16);
        assert_true(status == TW_OK || recorder->error.text[0] != '\0');
        refused += status != TW_OK;
        frame_recorder_free(recorder);
        tw_text_fini(&stream);
    }
    assert_in_range(refused, 500, 2900);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_content),
        cmocka_unit_test(malformed_length),
        cmocka_unit_test(a_frame_over_the_limit),
        cmocka_unit_test(small_fields_over_the_limit),
        cmocka_unit_test(many_small_fields_over_the_limit),
        cmocka_unit_test(unpacking_has_a_budget),
        cmocka_unit_test(data_in_another_body),
        cmocka_unit_test(data_where_none_is_allowed),
        cmocka_unit_test(a_new_decoder_takes_only_a_hello),
        cmocka_unit_test(owner_refuses_data),
        cmocka_unit_test(owner_stops_between_frames),
        cmocka_unit_test(no_memory_for_the_slow_path),
        cmocka_unit_test(collecting_stays_within_the_frame_limit),
        cmocka_unit_test(other_protocols_are_named),
        cmocka_unit_test(mutated_streams_stay_within_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
