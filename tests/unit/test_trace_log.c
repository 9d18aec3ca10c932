#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/trace_samples.h"

/* A file being read. */
struct reading {
    struct log_memory memory;
    struct tw_trace_reader *reader;
    struct tw_trace_entry entry;
    struct tw_error error;
};

static void begin(struct reading *r, const void *bytes, size_t size, size_t piece) {
    *r = (struct reading){.memory = {.bytes = bytes, .size = size, .piece = piece}};
    assert_int_equal(tw_trace_reader_new(&r->reader, log_source, &r->memory, NULL), TW_OK);
}

static enum tw_status next(struct reading *r) {
    return tw_trace_next(r->reader, &r->entry, &r->error);
}

static void end(struct reading *r) {
    tw_trace_reader_free(r->reader);
}

static struct tw_text all_samples(void) {
    struct tw_text file = {0};
    for (int i = 0; i < TRACE_SAMPLES; i++)
        trace_add(&file, &trace_samples[i]);
    assert_false(file.failed);
    return file;
}

/* Both have the same kind and the same bits in every field of it. */
static void assert_same(const struct tw_trace_entry *a, const struct tw_trace_entry *b) {
    assert_int_equal(a->kind, b->kind);
    const struct tw_trace_shape *shape = tw_trace_shape(a->kind);
    for (size_t i = 0; i < shape->count; i++) {
        const struct tw_trace_field *field = &shape->field[i];
        size_t size = field->type == TW_TRACE_COUNT32 ? 4
                      : field->type == TW_TRACE_BYTES ? sizeof(struct tw_trace_data)
                                                      : 8;
        if (memcmp((const char *)a + field->offset, (const char *)b + field->offset, size) != 0)
            fail_msg("%s.%s differs", shape->name, field->name);
    }
}

static void entries_come_back_with_every_bit(void **state) {
    (void)state;
    struct tw_text file = all_samples();
    for (size_t piece = 0; piece < 4; piece++) {
        struct reading r;
        begin(&r, file.at, file.size, piece);
        for (int i = 0; i < TRACE_SAMPLES; i++) {
            assert_int_equal(next(&r), TW_OK);
            assert_same(&r.entry, &trace_samples[i]);
        }
        assert_int_equal(next(&r), TW_CLOSED);
        assert_int_equal(next(&r), TW_CLOSED);
        assert_int_equal(tw_trace_skipped(r.reader), 0);
        end(&r);
    }
    tw_text_fini(&file);
}

/* What the stock protobuf library of Python writes for the same values. */
static void the_bytes_are_those_of_stock_protobuf(void **state) {
    (void)state;
    static const unsigned char worker[] = {0x17, 0x12, 0x15, 0x08, 0x02, 0x10, 0x80, 0x8c,
                                           0xee, 0x89, 0x1a, 0x18, 0xc0, 0x84, 0x3d, 0x20,
                                           0x81, 0x89, 0x7a, 0x28, 0xe2, 0xb0, 0x8c, 0x01};
    static const unsigned char hash[] = {0x0d, 0x32, 0x0b, 0x08, 0x05, 0x11, 0x10,
                                         0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe};
    unsigned char out[TW_TRACE_ENTRY_MAX];
    assert_int_equal(tw_trace_pack(&trace_samples[5], out), sizeof hash);
    assert_memory_equal(out, hash, sizeof hash);
    size_t size = tw_trace_pack(&trace_samples[1], out);
    assert_int_equal(size, sizeof worker);
    assert_memory_equal(out, worker, sizeof worker);
}

static void the_largest_entries_fit(void **state) {
    (void)state;
    for (int kind = TW_TRACE_HEADER; kind <= TW_TRACE_INPUT; kind++) {
        struct tw_trace_entry entry;
        unsigned char out[TW_TRACE_ENTRY_MAX];
        memset(&entry, 0xff, sizeof entry);
        entry.kind = (enum tw_trace_kind)kind;
        entry.input.data.size = kind == TW_TRACE_INPUT ? TW_TRACE_DATA_MAX : UINT32_MAX;
        assert_true(tw_trace_pack(&entry, out) <= sizeof out);
    }
}

static void every_cut_gives_the_entries_before_it_and_says_where(void **state) {
    (void)state;
    struct tw_text file = all_samples();
    unsigned char out[TW_TRACE_ENTRY_MAX];
    size_t border[TRACE_SAMPLES + 1] = {0};
    for (int i = 0; i < TRACE_SAMPLES; i++)
        border[i + 1] = border[i] + tw_trace_pack(&trace_samples[i], out);
    for (size_t cut = 0; cut < file.size; cut++) {
        struct reading r;
        int whole = 0;
        char place[64];
        char *copy = malloc(cut + 1);
        memcpy(copy, file.at, cut);
        begin(&r, copy, cut, 5);
        while (next(&r) == TW_OK)
            assert_same(&r.entry, &trace_samples[whole++]);
        assert_true(border[whole] <= cut && cut < border[whole + 1]);
        snprintf(place, sizeof place, "at byte %zu, after entry %d: cut", border[whole], whole);
        if (cut == border[whole])
            assert_int_equal(r.error.status, TW_CLOSED);
        else
            assert_ptr_equal(strstr(r.error.text, place), r.error.text);
        end(&r);
        free(copy);
    }
    tw_text_fini(&file);
}

/* The first entry is good, the second is `bytes`. */
static void assert_corrupt(const void *bytes, size_t size, const char *why) {
    struct tw_text file = {0};
    struct reading r;
    trace_add(&file, &trace_samples[0]);
    tw_text_add_bytes(&file, bytes, size);
    begin(&r, file.at, file.size, 0);
    assert_int_equal(next(&r), TW_OK);
    assert_int_equal(next(&r), TW_DATA);
    assert_non_null(strstr(r.error.text, "after entry 1: corrupt"));
    if (!strstr(r.error.text, why))
        fail_msg("%s: no \"%s\"", r.error.text, why);
    assert_int_equal(next(&r), TW_DATA); /* it stays */
    end(&r);
    tw_text_fini(&file);
}

static void corrupt_entries_are_named(void **state) {
    (void)state;
    assert_corrupt("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11, "not the length");
    assert_corrupt("\xff\xff\xff\xff\xff\x01 and more", 15, "an entry of 68719476735 bytes");
    assert_corrupt("\x00", 1, "an entry of 0 bytes");
    assert_corrupt("\x04\xff\xff\xff\xff", 5, "not a valid message");
    assert_corrupt("\x04\x0a\x02\x08\x01", 5, "a second header");
    char large[186] = "\xb8\x01\x3a\xb5\x01\x82\x01\xb1\x01"; /* 177 bytes of data */
    assert_corrupt(large, sizeof large, "data of more than 176 bytes");
}

static void a_file_that_is_no_trace_log_is_refused(void **state) {
    (void)state;
    struct tw_text file = {0};
    struct reading r;
    trace_add(&file, &trace_samples[1]);
    begin(&r, file.at, file.size, 0);
    assert_int_equal(next(&r), TW_DATA);
    assert_non_null(strstr(r.error.text, "the first entry is no header"));
    end(&r);
    begin(&r, "\x04\x0a\x02\x08\x02", 5, 0);
    assert_int_equal(next(&r), TW_DATA);
    assert_non_null(strstr(r.error.text, "format 2; this version of Talweg reads format 1"));
    end(&r);
    tw_text_fini(&file);
}

static void entries_of_later_versions_are_skipped_and_counted(void **state) {
    (void)state;
    struct tw_text file = {0};
    struct reading r;
    trace_add(&file, &trace_samples[0]);
    tw_text_add_bytes(&file, "\x05\xfa\x01\x02hi", 6); /* field 31 */
    trace_add(&file, &trace_samples[5]);
    tw_text_add_bytes(&file, "\x02\x78\x05", 3); /* field 15, a varint */
    begin(&r, file.at, file.size, 1);
    assert_int_equal(next(&r), TW_OK);
    assert_int_equal(next(&r), TW_OK);
    assert_same(&r.entry, &trace_samples[5]);
    assert_int_equal(next(&r), TW_CLOSED);
    assert_int_equal(tw_trace_skipped(r.reader), 2);
    end(&r);
    tw_text_fini(&file);
}

static void unknown_fields_cannot_use_up_memory(void **state) {
    (void)state;
    enum { SIZE = 16000 };
    struct tw_text file = {0};
    struct reading r;
    char bytes[SIZE];
    for (int i = 0; i < SIZE; i += 2)
        memcpy(bytes + i, "\x78\x05", 2);
    trace_add(&file, &trace_samples[0]);
    tw_text_add_bytes(&file, "\x80\x7d", 2); /* 16000 */
    tw_text_add_bytes(&file, bytes, SIZE);
    begin(&r, file.at, file.size, 0);
    assert_int_equal(next(&r), TW_OK);
    assert_int_equal(next(&r), TW_CLOSED);
    assert_int_equal(tw_trace_skipped(r.reader), 1);
    end(&r);
    tw_text_fini(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_back_with_every_bit),
        cmocka_unit_test(the_bytes_are_those_of_stock_protobuf),
        cmocka_unit_test(the_largest_entries_fit),
        cmocka_unit_test(every_cut_gives_the_entries_before_it_and_says_where),
        cmocka_unit_test(corrupt_entries_are_named),
        cmocka_unit_test(a_file_that_is_no_trace_log_is_refused),
        cmocka_unit_test(entries_of_later_versions_are_skipped_and_counted),
        cmocka_unit_test(unknown_fields_cannot_use_up_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
