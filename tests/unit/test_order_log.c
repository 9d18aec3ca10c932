#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/log_samples.h"

/* A file being read. */
struct reading {
    struct log_memory memory;
    struct tw_order_log_reader *reader;
    struct tw_record record;
    struct tw_error error;
};

static void begin(struct reading *r, const void *bytes, size_t size, size_t piece) {
    *r = (struct reading){.memory = {.bytes = bytes, .size = size, .piece = piece}};
    assert_int_equal(tw_order_log_reader_new(&r->reader, log_source, &r->memory, NULL), TW_OK);
}

static enum tw_status next(struct reading *r) {
    return tw_order_log_next(r->reader, &r->record, &r->error);
}

static void end(struct reading *r) {
    tw_order_log_reader_free(r->reader);
}

static struct tw_text all_samples(void) {
    struct tw_text file = {0};
    for (int i = 0; i < LOG_SAMPLES; i++)
        log_add(&file, &log_samples[i]);
    assert_false(file.failed);
    return file;
}

static void assert_same_contributions(const struct tw_record *a, const struct tw_record *b) {
    assert_int_equal(a->count, b->count);
    for (uint32_t i = 0; i < a->count; i++) {
        const struct tw_contribution *x = &a->contributions[i], *y = &b->contributions[i];
        assert_true(x->slot == y->slot && x->step == y->step && x->read == y->read);
        assert_true(x->staleness == y->staleness && x->examples == y->examples);
        assert_memory_equal(&x->loss, &y->loss, sizeof x->loss);
    }
}

static void assert_same_commit(const struct tw_record *a, const struct tw_record *b) {
    assert_int_equal(a->examples, b->examples);
    assert_memory_equal(&a->loss, &b->loss, sizeof a->loss);
    assert_memory_equal(&a->divisor, &b->divisor, sizeof a->divisor);
    assert_memory_equal(&a->chunks, &b->chunks, sizeof a->chunks);
    if (a->ratio_count)
        assert_memory_equal(a->ratios, b->ratios, a->ratio_count * sizeof *a->ratios);
}

static void assert_same_rollback(const struct tw_record *a, const struct tw_record *b) {
    assert_int_equal(a->generation, b->generation);
    assert_int_equal(a->to, b->to);
    assert_memory_equal(a->steps, b->steps, a->ranks * sizeof *a->steps);
}

static void assert_same_body(const struct tw_record *a, const struct tw_record *b) {
    if (a->kind == TW_RECORD_COMMIT)
        assert_same_commit(a, b);
    if (a->kind == TW_RECORD_DROP)
        assert_int_equal(a->not_finite, b->not_finite);
    if (a->kind == TW_RECORD_JOIN || a->kind == TW_RECORD_EVICT)
        assert_int_equal(a->rank, b->rank);
    if (a->kind == TW_RECORD_JOIN) {
        assert_int_equal(a->incarnation, b->incarnation);
        assert_string_equal(a->numerics, b->numerics);
    }
    if (a->kind == TW_RECORD_DIAL || a->kind == TW_RECORD_ROLLBACK)
        assert_string_equal(a->mode, b->mode);
    if (a->kind == TW_RECORD_ROLLBACK)
        assert_same_rollback(a, b);
    if (a->kind == TW_RECORD_VERDICT)
        assert_memory_equal(&a->verdict, &b->verdict, sizeof a->verdict);
}

static void assert_same(const struct tw_record *a, const struct tw_record *b) {
    assert_int_equal(a->position, b->position);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->version, b->version);
    assert_int_equal(a->slot, b->slot);
    assert_int_equal(a->step, b->step);
    assert_int_equal(tw_record_scalar_count(a), tw_record_scalar_count(b));
    if (tw_record_scalar_count(a))
        assert_memory_equal(a->scalars, b->scalars, tw_record_scalar_count(a) * sizeof *a->scalars);
    assert_memory_equal(&a->rate, &b->rate, sizeof a->rate);
    assert_int_equal(a->ratio_count, b->ratio_count);
    assert_int_equal(a->ranks, b->ranks);
    assert_same_contributions(a, b);
    assert_same_body(a, b);
}

static void records_come_back_with_every_bit(void **state) {
    (void)state;
    struct tw_text file = all_samples();
    for (size_t piece = 0; piece < 4; piece++) {
        struct reading r;
        begin(&r, file.at, file.size, piece);
        for (int i = 0; i < LOG_SAMPLES; i++) {
            assert_int_equal(next(&r), TW_OK);
            assert_same(&r.record, &log_samples[i]);
            assert_int_equal(tw_order_log_position(r.reader), i + 1);
        }
        assert_int_equal(next(&r), TW_CLOSED);
        assert_int_equal(next(&r), TW_CLOSED);
        assert_int_equal(tw_order_log_offset(r.reader), file.size);
        end(&r);
    }
    tw_text_fini(&file);
}

static void an_empty_file_ends_at_once(void **state) {
    (void)state;
    struct reading r;
    begin(&r, "", 0, 0);
    assert_int_equal(next(&r), TW_CLOSED);
    assert_int_equal(tw_order_log_position(r.reader), 0);
    end(&r);
}

static void every_cut_gives_the_records_before_it_and_says_where(void **state) {
    (void)state;
    struct tw_text file = {0};
    size_t border[LOG_SAMPLES + 1] = {0};
    for (int i = 0; i < LOG_SAMPLES; i++) {
        log_add(&file, &log_samples[i]);
        border[i + 1] = file.size;
    }
    for (size_t cut = 0; cut < file.size; cut++) {
        struct reading r;
        int whole = 0;
        char place[64];
        char *copy = malloc(cut + 1); /* of this size, so that reading on is seen */
        memcpy(copy, file.at, cut);
        begin(&r, copy, cut, 7);
        while (next(&r) == TW_OK)
            assert_same(&r.record, &log_samples[whole++]);
        assert_true(border[whole] <= cut && cut < border[whole + 1]);
        if (cut == border[whole]) {
            assert_int_equal(r.error.status, TW_CLOSED);
        } else {
            assert_int_equal(r.error.status, TW_DATA);
            snprintf(place, sizeof place, "at byte %zu, after record %d: cut", border[whole],
                     whole);
            assert_ptr_equal(strstr(r.error.text, place), r.error.text);
        }
        assert_int_equal(tw_order_log_offset(r.reader), border[whole]);
        end(&r);
        free(copy);
    }
    tw_text_fini(&file);
}

/* The first record is good, the second is `bytes`. */
static void assert_corrupt(const void *bytes, size_t size, const char *why) {
    struct tw_text file = {0};
    struct reading r;
    log_add(&file, &log_samples[0]);
    size_t first = file.size;
    tw_text_add_bytes(&file, bytes, size);
    begin(&r, file.at, file.size, 0);
    assert_int_equal(next(&r), TW_OK);
    assert_int_equal(next(&r), TW_DATA);
    char place[64];
    snprintf(place, sizeof place, "at byte %zu, after record 1: corrupt", first);
    assert_non_null(strstr(r.error.text, place));
    if (!strstr(r.error.text, why))
        fail_msg("%s: no \"%s\"", r.error.text, why);
    assert_int_equal(next(&r), TW_DATA); /* it stays */
    assert_non_null(strstr(r.error.text, place));
    end(&r);
    tw_text_fini(&file);
}

#define CORRUPT(bytes, why) assert_corrupt(bytes, sizeof(bytes) - 1, why)

static void corrupt_records_are_named(void **state) {
    (void)state;
    CORRUPT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "not the length of a record");
    CORRUPT("\xff\xff\xff\xff\xff\x01 and more", "a record of 68719476735 bytes");
    CORRUPT("\x00", "a record of 0 bytes");
    CORRUPT("\x04\xff\xff\xff\xff", "not a valid message");
    CORRUPT("\x02\x08\x02", "of a kind that this version of Talweg does not know");
    CORRUPT("\x04\x08\x02\x72\x00", "of a kind that this version of Talweg does not know");
    CORRUPT("\x04\x08\x02\x2a\x00", "no contributions");
    CORRUPT("\x04\x08\x02\x32\x00", "no contributions");
    CORRUPT("\x04\x08\x03\x3a\x00", "has position 3");
}

static void too_long_a_numerics_id_is_refused(void **state) {
    (void)state;
    char bytes[256] = "\x9f\x01\x08\x02\x1a\x9a\x01\x22\x97\x01";
    memset(bytes + 10, 'x', 151);
    assert_corrupt(bytes, 161, "its numerics id has 151 bytes; it must be 0 to 128");
}

static void a_mode_that_is_too_long_is_refused(void **state) {
    (void)state;
    unsigned char bytes[80] = {73, 8, 2, 0x4a, 69, 10, 67};
    memset(bytes + 7, 'x', 67);
    assert_corrupt(bytes, 74, "its mode has 67 bytes; it must be 1 to 64");
    static const unsigned char none[] = {4, 8, 2, 0x4a, 0};
    assert_corrupt(none, 5, "its mode has 0 bytes");
}

static void text_that_is_not_ascii_is_refused(void **state) {
    (void)state;
    CORRUPT("\x0a\x08\x02\x1a\x06\x22\x04"
            "a b\xb2",
            "byte 3 of its numerics id is 0xb2");
    CORRUPT("\x09\x08\x02\x4a\x05\x0a\x03"
            "a\x1b"
            "b",
            "byte 1 of its mode is 0x1b");
}

static void a_rollback_that_cannot_be_is_refused(void **state) {
    (void)state;
    CORRUPT("\x0e\x08\x02\x5a\x0a\x10\x01\x1a\x01\x07\x22\x03ssp", "generation 0");
    CORRUPT("\x10\x08\x02\x5a\x0c\x08\x01\x10\x02\x1a\x01\x07\x22\x03ssp", "back to position 2");
    CORRUPT("\x0b\x08\x02\x5a\x07\x08\x01\x22\x03ssp", "steps of 0 workers");
    CORRUPT("\x09\x08\x02\x5a\x05\x08\x01\x1a\x01\x07", "its mode has 0 bytes");
}

static void too_many_scalars_are_refused(void **state) {
    (void)state;
    char bytes[600] = "\x90\x04\x08\x02\x2a\x8b\x04\x22\x88\x04";
    assert_corrupt(bytes, 530, "65 scalars");
}

static void the_largest_record_goes_through(void **state) {
    (void)state;
    struct tw_contribution *all = calloc(TW_RECORD_CONTRIBUTIONS_MAX, sizeof *all);
    for (uint32_t i = 0; i < TW_RECORD_CONTRIBUTIONS_MAX; i++)
        all[i] = (struct tw_contribution){.slot = UINT32_MAX - TW_RECORD_CONTRIBUTIONS_MAX + i,
                                          .step = UINT64_MAX,
                                          .read = UINT64_MAX,
                                          .staleness = UINT64_MAX,
                                          .examples = UINT64_MAX,
                                          .loss = -HUGE_VAL};
    struct tw_record record = {.position = 1,
                               .kind = TW_RECORD_COMMIT,
                               .version = UINT64_MAX,
                               .count = TW_RECORD_CONTRIBUTIONS_MAX,
                               .contributions = all,
                               .examples = UINT64_MAX,
                               .loss = (double)NAN,
                               .scalar_count = 8,
                               .scalars = (const double[]){1, 2, 3, 4, 5, 6, 7, 8}};
    struct tw_text file = {0};
    struct reading r;
    log_add(&file, &record);
    assert_true(file.size < TW_ORDER_LOG_RECORD_MAX);
    record.position = 2;
    log_add(&file, &record);
    begin(&r, file.at, file.size, 4096);
    assert_int_equal(next(&r), TW_OK);
    assert_int_equal(next(&r), TW_OK);
    assert_same(&r.record, &record);
    assert_int_equal(next(&r), TW_CLOSED);
    end(&r);
    tw_text_fini(&file);
    free(all);
}

static void what_a_peer_calls_itself_cannot_make_the_file_invalid(void **state) {
    (void)state;
    struct tw_record record = {
        .position = 1, .kind = TW_RECORD_JOIN, .numerics = "bad \xff\x1b[2J \xc3\xa9"};
    struct tw_text file = {0};
    struct reading r;
    log_add(&file, &record);
    begin(&r, file.at, file.size, 0);
    assert_int_equal(next(&r), TW_OK);
    assert_string_equal(r.record.numerics, "bad ??[2J ??");
    end(&r);
    tw_text_fini(&file);
}

static ptrdiff_t broken_source(void *context, void *out, size_t room, struct tw_error *error) {
    (void)context;
    (void)out;
    (void)room;
    tw_error_set(error, TW_IO, "the disk is gone");
    return -1;
}

static void what_the_source_says_is_passed_on(void **state) {
    (void)state;
    struct tw_order_log_reader *reader;
    struct tw_record record;
    struct tw_error error;
    assert_int_equal(tw_order_log_reader_new(&reader, broken_source, NULL, &error), TW_OK);
    assert_int_equal(tw_order_log_next(reader, &record, &error), TW_IO);
    assert_string_equal(error.text, "the disk is gone");
    tw_order_log_reader_free(reader);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_back_with_every_bit),
        cmocka_unit_test(an_empty_file_ends_at_once),
        cmocka_unit_test(every_cut_gives_the_records_before_it_and_says_where),
        cmocka_unit_test(corrupt_records_are_named),
        cmocka_unit_test(too_long_a_numerics_id_is_refused),
        cmocka_unit_test(text_that_is_not_ascii_is_refused),
        cmocka_unit_test(a_rollback_that_cannot_be_is_refused),
        cmocka_unit_test(too_many_scalars_are_refused),
        cmocka_unit_test(a_mode_that_is_too_long_is_refused),
        cmocka_unit_test(the_largest_record_goes_through),
        cmocka_unit_test(what_a_peer_calls_itself_cannot_make_the_file_invalid),
        cmocka_unit_test(what_the_source_says_is_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
