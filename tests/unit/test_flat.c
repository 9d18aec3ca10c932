/* Messages of numbers: the same bytes and the same values as protobuf-c, or left to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "common/base/rng.h"
#include "proto/flat.h"

struct numbers {
    ProtobufCMessage base;
    uint32_t u32;
    uint64_t u64, bits;
    double real;
    protobuf_c_boolean flag;
    int32_t word; /* an enumeration */
    size_t n_list;
    uint32_t *list;
};

#define NUMBER(number, name, kind, member)                                                         \
    {                                                                                              \
        name, number, PROTOBUF_C_LABEL_NONE, kind, 0, offsetof(struct numbers, member), NULL,      \
            NULL, 0, 0, NULL, NULL                                                                 \
    }
static const ProtobufCFieldDescriptor fields[] = {
    NUMBER(1, "u32", PROTOBUF_C_TYPE_UINT32, u32),
    NUMBER(2, "u64", PROTOBUF_C_TYPE_UINT64, u64),
    NUMBER(3, "bits", PROTOBUF_C_TYPE_FIXED64, bits),
    NUMBER(5, "real", PROTOBUF_C_TYPE_DOUBLE, real),
    NUMBER(6, "flag", PROTOBUF_C_TYPE_BOOL, flag),
    NUMBER(16, "word", PROTOBUF_C_TYPE_ENUM, word),
    {"list", 17, PROTOBUF_C_LABEL_REPEATED, PROTOBUF_C_TYPE_UINT32,
     offsetof(struct numbers, n_list), offsetof(struct numbers, list), NULL, NULL,
     PROTOBUF_C_FIELD_FLAG_PACKED, 0, NULL, NULL},
};
enum { FIELDS = sizeof fields / sizeof fields[0] };
static const unsigned by_name[FIELDS] = {2, 4, 6, 3, 0, 1, 5};
static const ProtobufCIntRange ranges[] = {{1, 0}, {5, 3}, {16, 5}, {0, FIELDS}};

static void init(ProtobufCMessage *message);
static const ProtobufCMessageDescriptor descriptor = {
    PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
    "test.Numbers",
    "Numbers",
    "Test__Numbers",
    "test",
    sizeof(struct numbers),
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
    memset(message, 0, sizeof(struct numbers));
    message->descriptor = &descriptor;
}

/* A number whose length varies, often 0. */
static uint64_t any_number(struct tw_rng *rng) {
    uint64_t bits = tw_rng_next(rng);
    return tw_rng_below(rng, 4) ? bits >> tw_rng_below(rng, 64) : 0;
}

static struct numbers any_numbers(struct tw_rng *rng) {
    static const double reals[] = {0, -0.0, 1.5, -1e-300, HUGE_VAL, -HUGE_VAL};
    struct numbers numbers;
    init(&numbers.base);
    numbers.u32 = (uint32_t)any_number(rng);
    numbers.u64 = any_number(rng);
    numbers.bits = any_number(rng);
    numbers.real = reals[tw_rng_next(rng) % 6];
    numbers.flag = tw_rng_next(rng) % 2 > 0;
    numbers.word = (int32_t)any_number(rng);
    return numbers;
}

static void the_bytes_are_those_of_protobuf_c(void **state) {
    struct tw_rng rng;
    tw_rng_init(&rng, 1, TW_STREAM_DELAY, 0, 0);
    for (int i = 0; i < 5000; i++) {
        struct numbers numbers = any_numbers(&rng);
        uint32_t list[2] = {1, 300};
        unsigned char ours[128], theirs[128];
        if (i % 7 == 0) { /* not plain: left to protobuf-c */
            numbers.list = list;
            numbers.n_list = 2;
        }
        size_t size = protobuf_c_message_pack(&numbers.base, theirs);
        assert_int_equal(tw_flat_pack(&numbers.base, NULL), size);
        assert_int_equal(tw_flat_pack(&numbers.base, ours), size);
        assert_memory_equal(ours, theirs, size);
    }
}

static void what_is_packed_comes_back(void **state) {
    struct tw_rng rng;
    tw_rng_init(&rng, 2, TW_STREAM_DELAY, 0, 0);
    for (int i = 0; i < 5000; i++) {
        struct numbers sent = any_numbers(&rng), got;
        unsigned char bytes[128];
        sent.word &= INT32_MAX;
        size_t size = protobuf_c_message_pack(&sent.base, bytes);
        assert_true(tw_flat_unpack(&descriptor, bytes, size, &got));
        assert_int_equal(got.u32, sent.u32);
        assert_int_equal(got.u64, sent.u64);
        assert_int_equal(got.bits, sent.bits);
        assert_true(got.real == sent.real);
        assert_int_equal(got.flag, sent.flag);
        assert_int_equal(got.word, sent.word);
        assert_int_equal(got.n_list, 0);
    }
}

#define REFUSED(...)                                                                               \
    do {                                                                                           \
        static const unsigned char bytes[] = {__VA_ARGS__};                                        \
        struct numbers got;                                                                        \
        assert_false(tw_flat_unpack(&descriptor, bytes, sizeof bytes, &got));                      \
    } while (0)

static void whatever_is_not_plain_is_left_to_protobuf_c(void **state) {
    REFUSED(0x08);                                                 /* cut */
    REFUSED(0x08, 0x80);                                           /* cut */
    REFUSED(0x29, 1, 2, 3);                                        /* cut */
    REFUSED(0x08, 1, 0x08, 2);                                     /* twice */
    REFUSED(0x10, 1, 0x08, 2);                                     /* out of order */
    REFUSED(0x20, 1);                                              /* unknown */
    REFUSED(0x98, 0x01, 1);                                        /* unknown, behind all */
    REFUSED(0x00, 1);                                              /* no number at all */
    REFUSED(0x09, 1, 2, 3, 4, 5, 6, 7, 8);                         /* of another type */
    REFUSED(0x28, 1);                                              /* of another type */
    REFUSED(0x08, 0xff, 0xff, 0xff, 0xff, 0x1f);                   /* more than 32 bits */
    REFUSED(0x30, 2);                                              /* neither false nor true */
    REFUSED(0x80, 0x01, 0xff, 0xff, 0xff, 0xff, 0x0f);             /* a negative word */
    REFUSED(0x8a, 0x01, 2, 1, 1);                                  /* a list */
    REFUSED(0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f); /* no key */
}

static void nothing_is_all_zeros(void **state) {
    struct numbers got;
    assert_true(tw_flat_unpack(&descriptor, NULL, 0, &got));
    assert_int_equal(got.u32, 0);
    assert_ptr_equal(got.base.descriptor, &descriptor);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_are_those_of_protobuf_c),
        cmocka_unit_test(what_is_packed_comes_back),
        cmocka_unit_test(whatever_is_not_plain_is_left_to_protobuf_c),
        cmocka_unit_test(nothing_is_all_zeros),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
