/* CRC-32C: the values of RFC 3720, appendix B.4, whole and in pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/crc32c.h"

static void test_known_values(void **state) {
    unsigned char bytes[32];
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(tw_crc32c(0, bytes, sizeof bytes), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(tw_crc32c(0, bytes, sizeof bytes), 0x62a8ab43);
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)i;
    assert_int_equal(tw_crc32c(0, bytes, sizeof bytes), 0x46dd794e);
    assert_int_equal(tw_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(tw_crc32c(0, NULL, 0), 0);
}

static void test_pieces(void **state) {
    unsigned char bytes[100];
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 37 + 11);
    uint32_t whole = tw_crc32c(0, bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut++)
        assert_int_equal(tw_crc32c(tw_crc32c(0, bytes, cut), bytes + cut, sizeof bytes - cut),
                         whole);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known_values),
                                       cmocka_unit_test(test_pieces)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
