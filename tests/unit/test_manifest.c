/* Manifests of checkpoints: what is written is read back to the bit; everything else is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/crc32c.h"
#include "tests/lib/manifest_samples.h"

static void test_round_trip(void **state) {
    struct tw_manifest sample = manifest_sample(), got;
    struct tw_text text = {0}, again = {0};
    tw_manifest_write(&text, &sample);
    assert_int_equal(tw_manifest_parse(&got, text.at, text.size, NULL), TW_OK);
    assert_memory_equal(got.job, sample.job, sizeof got.job);
    assert_memory_equal(&got.snapshot.total, &sample.snapshot.total, sizeof got.snapshot.total);
    assert_memory_equal(&got.snapshot.stretch, &sample.snapshot.stretch,
                        sizeof got.snapshot.stretch);
    assert_memory_equal(got.snapshot.step, manifest_steps, sizeof manifest_steps);
    assert_string_equal(got.snapshot.mode, "ssp:3");
    assert_int_equal(got.file[0].blocks, 3);
    assert_memory_equal(got.file[0].crc, manifest_crcs, sizeof manifest_crcs);
    tw_manifest_write(&again, &got); /* and so is all the rest */
    assert_int_equal(text.size, again.size);
    assert_memory_equal(text.at, again.at, text.size);
    tw_manifest_fini(&got);
    tw_text_fini(&again);
    tw_text_fini(&text);
}

static void test_every_byte_counts(void **state) {
    struct tw_manifest sample = manifest_sample(), got;
    struct tw_text text = {0};
    tw_manifest_write(&text, &sample);
    for (size_t i = 0; i < text.size; i++) {
        text.at[i] ^= 1;
        assert_int_equal(tw_manifest_parse(&got, text.at, text.size, NULL), TW_DATA);
        tw_manifest_fini(&got);
        text.at[i] ^= 1;
        assert_int_equal(tw_manifest_parse(&got, text.at, i, NULL), TW_DATA);
        tw_manifest_fini(&got);
    }
    tw_text_fini(&text);
}

/* With a checksum that is right. */
static enum tw_status parse_signed(const char *body, struct tw_error *error) {
    struct tw_text text = {0};
    struct tw_manifest got;
    tw_text_add(&text, "%s", body);
    tw_text_add(&text, ",\"crc32c\":\"%08x\"}\n", tw_crc32c(0, body, strlen(body)));
    enum tw_status status = tw_manifest_parse(&got, text.at, text.size, error);
    tw_manifest_fini(&got);
    tw_text_fini(&text);
    return status;
}

/* `from` replaced by `to` in a manifest that is right otherwise. */
static void assert_refused(const char *from, const char *to, const char *words) {
    struct tw_manifest sample = manifest_sample();
    struct tw_text text = {0}, body = {0};
    struct tw_error error = {.status = TW_OK};
    tw_manifest_write(&text, &sample);
    char *at = strstr(text.at, from), *end = strstr(text.at, ",\"crc32c\":\"");
    assert_true(at && end && at < end);
    tw_text_add(&body, "%.*s%s%.*s", (int)(at - text.at), text.at, to,
                (int)(end - at - (ptrdiff_t)strlen(from)), at + strlen(from));
    if (parse_signed(body.at, &error) != TW_DATA || !strstr(error.text, words))
        fail_msg("%s for %s: \"%s\", not: %s", to, from, error.text, words);
    tw_text_fini(&body);
    tw_text_fini(&text);
}

static void test_what_is_refused(void **state) {
    assert_refused("\"format\":1", "\"format\":2", "it is of format 2");
    assert_refused("\"job\":", "\"jab\":", "job is wanted");
    assert_refused("\"generation\":2", "\"generation\":4294967296", "a number below 2^32");
    assert_refused("\"digest\":\"10", "\"digest\":\"1x", "hexadecimal digits");
    assert_refused("\"digest\":\"10", "\"digest\":\"", "hexadecimal digits");
    assert_refused("\"seconds\":\"3ff8", "\"seconds\":\"7ff8", "seconds from 0 to 10^9");
    assert_refused("\"seconds\":\"3ff8", "\"seconds\":\"7ff0", "seconds from 0 to 10^9");
    assert_refused("\"seconds\":\"3ff8", "\"seconds\":\"bff8", "seconds from 0 to 10^9");
    assert_refused("\"border_seconds\":\"3f", "\"border_seconds\":\"4f", "seconds from 0 to 10^9");
    assert_refused("\"steps\":[7,8,18446744073709551615]", "\"steps\":[]", "steps of workers");
    assert_refused("\"block_bytes\":262144", "\"block_bytes\":262145", "a size of blocks");
    assert_refused("\"block_bytes\":262144", "\"block_bytes\":0", "a size of blocks");
    assert_refused("\"mode\":\"ssp:3\"",
                   "\"mode\":\"a mode that is longer than the name of any of them can ever be, by "
                   "a few bytes\"",
                   "a shorter text");
    assert_refused("[0,4294967295,17]", "[0,4294967296,17]", "a checksum");
    struct tw_error error;
    assert_int_equal(parse_signed("{\"format\":1", &error), TW_DATA);
}

static void test_names(void **state) {
    static const char *const bad[] = {"",
                                      "v1-g0",
                                      "v00000001",
                                      "v00000001-g",
                                      "v00000001-g0.tmp",
                                      "x00000001-g0",
                                      "v00000001-g00",
                                      " v00000001-g0"};
    char name[TW_CHECKPOINT_NAME];
    uint64_t version;
    uint32_t generation;
    tw_checkpoint_name(1234, 0, name);
    assert_string_equal(name, "v00001234-g0");
    tw_checkpoint_name(UINT64_MAX, UINT32_MAX, name);
    assert_true(tw_checkpoint_name_parse(name, &version, &generation));
    assert_true(version == UINT64_MAX && generation == UINT32_MAX);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (tw_checkpoint_name_parse(bad[i], &version, &generation))
            fail_msg("\"%s\" is taken", bad[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_byte_counts),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
