#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <Random123/philox.h>
#include <cmocka.h>

#include "common/base/philox.h"

/* A million blocks, each from the one before, beside the authors' own code. */
static void a_long_chain_of_blocks_is_the_same_as_random123(void **state) {
    uint64_t key[2] = {1, 2}, ours[4] = {3, 4, 5, 6};
    philox4x64_ctr_t theirs = {{3, 4, 5, 6}};
    for (int i = 0; i < 1000000; i++) {
        philox4x64_key_t their_key = {{key[0], key[1]}};
        tw_philox_block(key, ours, ours);
        theirs = philox4x64_R(10, theirs, their_key);
        assert_memory_equal(ours, theirs.v, sizeof ours);
        key[0] = ours[0];
        key[1] ^= ours[3];
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_chain_of_blocks_is_the_same_as_random123),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
