#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/base/philox.h"

/* The known answers of Random123 (tests/kat_vectors, philox4x64 10). */
static const struct {
    uint64_t counter[4], key[2], block[4];
} known[] = {
    {{0, 0, 0, 0},
     {0, 0},
     {0x16554d9eca36314c, 0xdb20fe9d672d0fdc, 0xd7e772cee186176b, 0x7e68b68aec7ba23b}},
    {{UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX},
     {UINT64_MAX, UINT64_MAX},
     {0x87b092c3013fe90b, 0x438c3c67be8d0224, 0x9cc7d7c69cd777b6, 0xa09caebf594f0ba0}},
    {{0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89},
     {0x452821e638d01377, 0xbe5466cf34e90c6c},
     {0xa528f45403e61d95, 0x38c72dbd566e9788, 0xa5a1610e72fd18b5, 0x57bd43b5e52b7fe6}},
};

static void the_known_answers_of_random123(void **state) {
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint64_t block[4];
        tw_philox_block(known[i].key, known[i].counter, block);
        assert_memory_equal(block, known[i].block, sizeof block);
    }
}

static void the_block_may_replace_its_counter(void **state) {
    uint64_t words[4];
    memcpy(words, known[2].counter, sizeof words);
    tw_philox_block(known[2].key, words, words);
    assert_memory_equal(words, known[2].block, sizeof words);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_known_answers_of_random123),
        cmocka_unit_test(the_block_may_replace_its_counter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
