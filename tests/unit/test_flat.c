/* Messages that are packed field by field: the same bytes and values as those of protobuf-c, or
 * left to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <string.h>

#include "common/base/rng.h"
#include "proto/flat.h"
#include "proto/frame.h"

/* A message as protobuf-c has it, and as we have it. */
struct theirs {
    ProtobufCMessage base;
    uint32_t u32;
    uint64_t u64;
    double real;
    protobuf_c_boolean flag;
    int32_t word; /* an enumeration */
    ProtobufCBinaryData bytes;
    char *text;
    uint64_t bits;
    size_t n_list, n_reals;
    uint64_t *list;
    double *reals;
};

enum word { WORD_NONE, WORD_LAST = INT32_MAX };

struct ours {
    uint32_t u32;
    uint64_t u64;
    double real;
    bool flag;
    enum word word;
    struct tw_view bytes, text;
};

static const struct tw_flat_field table[] = {
    TW_FLAT_FIELD(1, TW_FLAT_U32, offsetof(struct ours, u32), 0),
    TW_FLAT_FIELD(2, TW_FLAT_U64, offsetof(struct ours, u64), 0),
    TW_FLAT_FIELD(5, TW_FLAT_REAL, offsetof(struct ours, real), 0),
    TW_FLAT_FIELD(6, TW_FLAT_FLAG, offsetof(struct ours, flag), 0),
    TW_FLAT_FIELD(16, TW_FLAT_U32, offsetof(struct ours, word), 0),
    TW_FLAT_FIELD(17, TW_FLAT_BYTES, offsetof(struct ours, bytes), 0),
    TW_FLAT_FIELD(18, TW_FLAT_TEXT, offsetof(struct ours, text), 0),
};
enum { COUNT = sizeof table / sizeof table[0], TEXT_MAX = 7 };

#define NUMBER(number, name, kind, member)                                                         \
    {                                                                                              \
        name, number, PROTOBUF_C_LABEL_NONE, kind, 0, offsetof(struct theirs, member), NULL, NULL, \
            0, 0, NULL, NULL                                                                       \
    }
#define LIST(number, name, kind, count, member)                                                    \
    {                                                                                              \
        name, number, PROTOBUF_C_LABEL_REPEATED, kind, offsetof(struct theirs, count),             \
            offsetof(struct theirs, member), NULL, NULL, PROTOBUF_C_FIELD_FLAG_PACKED, 0, NULL,    \
            NULL                                                                                   \
    }
static const ProtobufCFieldDescriptor fields[] = {
    NUMBER(1, "u32", PROTOBUF_C_TYPE_UINT32, u32),
    NUMBER(2, "u64", PROTOBUF_C_TYPE_UINT64, u64),
    NUMBER(5, "real", PROTOBUF_C_TYPE_DOUBLE, real),
    NUMBER(6, "flag", PROTOBUF_C_TYPE_BOOL, flag),
    NUMBER(16, "word", PROTOBUF_C_TYPE_ENUM, word),
    NUMBER(17, "bytes", PROTOBUF_C_TYPE_BYTES, bytes),
    NUMBER(18, "text", PROTOBUF_C_TYPE_STRING, text),
    NUMBER(19, "bits", PROTOBUF_C_TYPE_FIXED64, bits),
    LIST(20, "list", PROTOBUF_C_TYPE_UINT64, n_list, list),
    LIST(21, "reals", PROTOBUF_C_TYPE_DOUBLE, n_reals, reals),
};
enum { FIELDS = sizeof fields / sizeof fields[0] };
static const unsigned by_name[FIELDS] = {7, 5, 3, 8, 2, 9, 6, 0, 1, 4};
static const ProtobufCIntRange ranges[] = {{1, 0}, {5, 2}, {16, 4}, {0, FIELDS}};

static void init(ProtobufCMessage *message);
static const ProtobufCMessageDescriptor descriptor = {
    PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
    "test.Numbers",
    "Numbers",
    "Test__Numbers",
    "test",
    sizeof(struct theirs),
    FIELDS,
    fields,
    by_name,
    3,
    ranges,
    init,
    NULL,
    NULL,
    NULL,
};

static void init(ProtobufCMessage *message) {
    memset(message, 0, sizeof(struct theirs));
    message->descriptor = &descriptor;
}

/* A number whose length varies, often 0. */
static uint64_t any_number(struct tw_rng *rng) {
    uint64_t bits = tw_rng_next(rng);
    return tw_rng_below(rng, 4) ? bits >> tw_rng_below(rng, 64) : 0;
}

/* The numbers alone. */
static struct ours any_numbers(struct tw_rng *rng) {
    static const double reals[] = {0, -0.0, 1.5, -1e-300, HUGE_VAL, -HUGE_VAL};
    return (struct ours){.u32 = (uint32_t)any_number(rng),
                         .u64 = any_number(rng),
                         .real = reals[tw_rng_next(rng) % 6],
                         .flag = tw_rng_next(rng) % 2 > 0,
                         .word = (enum word)(any_number(rng) & INT32_MAX)};
}

static struct theirs theirs_of(const struct ours *ours) {
    struct theirs theirs;
    init(&theirs.base);
    theirs.u32 = ours->u32;
    theirs.u64 = ours->u64;
    theirs.real = ours->real;
    theirs.flag = ours->flag;
    theirs.word = (int32_t)ours->word;
    theirs.bytes.data = (uint8_t *)(uintptr_t)ours->bytes.bytes;
    theirs.bytes.len = ours->bytes.size;
    return theirs;
}

static size_t pack(const struct ours *ours, unsigned char *out) {
    return tw_flat_pack(table, COUNT, ours, TEXT_MAX, out, 0);
}

static void the_bytes_are_those_of_protobuf_c(void **state) {
    static const char *const texts[] = {"", "a", "seven s", "more than seven"};
    struct tw_rng rng;
    tw_rng_init(&rng, 1, TW_STREAM_DELAY, 0, 0);
    for (int i = 0; i < 5000; i++) {
        struct ours ours = any_numbers(&rng);
        const char *text = texts[i % 4];
        char cut[TEXT_MAX + 1];
        unsigned char out[128], expected[128];
        snprintf(cut, sizeof cut, "%s", text);
        ours.bytes = (struct tw_view){"\0\1\2", (size_t)(i % 3)};
        ours.text = (struct tw_view){text, strlen(text)};
        struct theirs theirs = theirs_of(&ours);
        theirs.text = cut;
        size_t size = protobuf_c_message_pack(&theirs.base, expected);
        assert_int_equal(pack(&ours, NULL), size);
        assert_int_equal(pack(&ours, out), size);
        assert_memory_equal(out, expected, size);
    }
}

/* Text ends where protobuf-c's does. */
static void text_ends_with_a_zero(void **state) {
    struct ours ours = {.text = {"ab\0cd", 5}};
    unsigned char out[16];
    static const unsigned char expected[] = {0x92, 1, 2, 'a', 'b'};
    assert_int_equal(pack(&ours, out), sizeof expected);
    assert_memory_equal(out, expected, sizeof expected);
}

static size_t put_others(const struct theirs *from, unsigned char *out, size_t at) {
    at = tw_put_fixed(out, at, 19, from->bits);
    at = tw_put_numbers(out, at, 20, from->list, from->n_list);
    return tw_put_reals(out, at, 21, from->reals, from->n_reals);
}

static void so_are_those_of_lists(void **state) {
    struct tw_rng rng;
    tw_rng_init(&rng, 3, TW_STREAM_DELAY, 0, 0);
    for (size_t i = 0; i < 1000; i++) {
        uint64_t list[20];
        double reals[20] = {0, -0.0, 1e300};
        unsigned char out[512], expected[512];
        struct theirs theirs;
        init(&theirs.base);
        for (int k = 0; k < 20; k++)
            list[k] = any_number(&rng);
        theirs.bits = any_number(&rng);
        theirs.list = list;
        theirs.n_list = i % 20;
        theirs.reals = reals;
        theirs.n_reals = i / 20 % 20;
        size_t size = protobuf_c_message_pack(&theirs.base, expected);
        assert_int_equal(put_others(&theirs, NULL, 0), size);
        assert_int_equal(put_others(&theirs, out, 0), size);
        assert_memory_equal(out, expected, size);
    }
}

static void what_is_packed_comes_back(void **state) {
    struct tw_rng rng;
    tw_rng_init(&rng, 2, TW_STREAM_DELAY, 0, 0);
    for (int i = 0; i < 5000; i++) {
        struct ours sent = any_numbers(&rng), got;
        struct theirs theirs = theirs_of(&sent);
        unsigned char bytes[128];
        memset(&got, 0, sizeof got);
        size_t size = protobuf_c_message_pack(&theirs.base, bytes);
        assert_int_equal(tw_flat_unpack(table, COUNT, bytes, size, &got), size);
        assert_int_equal(got.u32, sent.u32);
        assert_int_equal(got.u64, sent.u64);
        assert_true(got.real == sent.real);
        assert_int_equal(got.flag, sent.flag);
        assert_int_equal(got.word, sent.word);
        assert_int_equal(got.bytes.size + got.text.size, 0);
    }
}

/* It stops in front of the last field. */
#define REFUSED(before, ...)                                                                       \
    do {                                                                                           \
        static const unsigned char bytes[] = {__VA_ARGS__};                                        \
        struct ours got;                                                                           \
        assert_int_equal(tw_flat_unpack(table, COUNT, bytes, sizeof bytes, &got), before);         \
    } while (0)

static void whatever_is_not_plain_is_left_to_protobuf_c(void **state) {
    REFUSED(0, 0x08);                                                 /* cut */
    REFUSED(0, 0x08, 0x80);                                           /* cut */
    REFUSED(0, 0x29, 1, 2, 3);                                        /* cut */
    REFUSED(2, 0x08, 1, 0x08, 2);                                     /* twice */
    REFUSED(2, 0x10, 1, 0x08, 2);                                     /* out of order */
    REFUSED(0, 0x20, 1);                                              /* unknown */
    REFUSED(0, 0x98, 0x01, 1);                                        /* unknown, behind all */
    REFUSED(0, 0x00, 1);                                              /* no number at all */
    REFUSED(0, 0x09, 1, 2, 3, 4, 5, 6, 7, 8);                         /* of another type */
    REFUSED(0, 0x28, 1);                                              /* of another type */
    REFUSED(0, 0x28, 1, 2, 3, 4, 5, 6, 7, 8);                         /* of another type */
    REFUSED(2, 0x08, 1, 0x15, 1, 2, 3, 4);                            /* of another type */
    REFUSED(0, 0x08, 0xff, 0xff, 0xff, 0xff, 0x1f);                   /* more than 32 bits */
    REFUSED(0, 0x30, 2);                                              /* neither false nor true */
    REFUSED(0, 0x8a, 0x01, 1, 1);                                     /* bytes */
    REFUSED(2, 0x08, 1, 0x92, 0x01, 1, 'a');                          /* text */
    REFUSED(0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f); /* no key */
}

static void what_is_not_there_is_left_alone(void **state) {
    static const unsigned char bytes[] = {0x10, 3};
    struct ours got = {.u32 = 1, .u64 = 2, .text.size = 4};
    assert_int_equal(tw_flat_unpack(table, COUNT, NULL, 0, &got), 0);
    assert_int_equal(tw_flat_unpack(table, COUNT, bytes, sizeof bytes, &got), sizeof bytes);
    assert_int_equal(got.u32, 1);
    assert_int_equal(got.u64, 3);
    assert_int_equal(got.text.size, 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_are_those_of_protobuf_c),
        cmocka_unit_test(text_ends_with_a_zero),
        cmocka_unit_test(so_are_those_of_lists),
        cmocka_unit_test(what_is_packed_comes_back),
        cmocka_unit_test(whatever_is_not_plain_is_left_to_protobuf_c),
        cmocka_unit_test(what_is_not_there_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
