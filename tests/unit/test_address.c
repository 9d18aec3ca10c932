/* Addresses as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/net/address.h"
#include "common/net/listen.h"

static void expect_parsed(const char *text, const char *host, const char *port) {
    struct tw_host_port out;
    assert_int_equal(tw_host_port_parse(&out, text, NULL), TW_OK);
    assert_string_equal(out.host, host);
    assert_string_equal(out.port, port);
}

static void takes_addresses_apart(void **state) {
    expect_parsed("127.0.0.1:4711", "127.0.0.1", "4711");
    expect_parsed("head-node.example.org:0", "head-node.example.org", "0");
    expect_parsed("[::1]:65535", "::1", "65535");
    expect_parsed("[fe80::1%eth0]:80", "fe80::1%eth0", "80");
}

static void expect_wrong(const char *text, const char *why) {
    struct tw_host_port out;
    struct tw_error error;
    assert_int_equal(tw_host_port_parse(&out, text, &error), TW_USAGE);
    if (strstr(error.text, why) == NULL || strstr(error.text, "write HOST:PORT") == NULL) {
        fail_msg("'%s': %s", text, error.text);
    }
}

static void says_what_is_wrong(void **state) {
    char overlong[TW_HOST_TEXT + 8];
    memset(overlong, 'h', sizeof overlong);
    memcpy(overlong + TW_HOST_TEXT, ":1", 3);
    expect_wrong("", "the port is missing");
    expect_wrong("localhost", "the port is missing");
    expect_wrong("localhost:", "the port must be a number");
    expect_wrong("localhost:http", "the port must be a number");
    expect_wrong("localhost:-1", "the port must be a number");
    expect_wrong("localhost:65536", "the port must be a number");
    expect_wrong("localhost:000080", "the port must be a number");
    expect_wrong("localhost:80x", "the port must be a number");
    expect_wrong(":80", "the host is missing");
    expect_wrong("[]:80", "the host is missing");
    expect_wrong("::1:80", "an IPv6 address needs brackets");
    expect_wrong("[::1:80", "the bracket is not closed");
    expect_wrong("[::1]", "the port is missing");
    expect_wrong("[::1]80", "the port is missing");
    expect_wrong(overlong, "the host name is too long");
}

static void resolve(const char *text, struct sockaddr_storage *out) {
    struct tw_host_port where;
    size_t count;
    assert_int_equal(tw_host_port_parse(&where, text, NULL), TW_OK);
    assert_int_equal(tw_address_resolve(&where, out, 1, &count, NULL), TW_OK);
    assert_int_equal(count, 1);
}

static void names_survive_the_round_trip(void **state) {
    static const char *const texts[] = {"127.0.0.1:4711", "10.20.30.40:1", "[::1]:65535",
                                        "[2001:db8::7]:80"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct sockaddr_storage at;
        char name[TW_ADDRESS_TEXT];
        resolve(texts[i], &at);
        assert_string_equal(tw_address_name((struct sockaddr *)&at, name), texts[i]);
    }
}

static void another_family_has_no_name(void **state) {
    struct sockaddr local = {.sa_family = AF_UNIX};
    char name[TW_ADDRESS_TEXT];
    assert_string_equal(tw_address_name(&local, name), "?");
    assert_false(tw_address_is_loopback(&local));
}

static void knows_loopback(void **state) {
    static const struct {
        const char *text;
        bool loopback;
    } cases[] = {
        {"127.0.0.1:1", true},          {"127.255.1.2:1", true}, {"[::1]:1", true},
        {"[::ffff:127.0.0.1]:1", true}, {"0.0.0.0:1", false},    {"128.0.0.1:1", false},
        {"192.168.1.1:1", false},       {"[::]:1", false},       {"[::ffff:10.0.0.1]:1", false},
        {"[2001:db8::1]:1", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sockaddr_storage at;
        resolve(cases[i].text, &at);
        assert_int_equal(tw_address_is_loopback((struct sockaddr *)&at), cases[i].loopback);
    }
}

static void an_unknown_host_is_named(void **state) {
    struct tw_host_port where = {.host = "no such host", .port = "1"};
    struct sockaddr_storage at;
    struct tw_error error;
    size_t count;
    assert_int_equal(tw_address_resolve(&where, &at, 1, &count, &error), TW_UNREACHABLE);
    assert_memory_equal(error.text, "host 'no such host': ", 21);
    assert_int_equal(count, 0);
}

static void each_try_has_the_next_address_and_each_round_a_look_up(void **state) {
    struct tw_address_round round = {.count = 0};
    struct sockaddr_storage first;
    char name[TW_ADDRESS_TEXT];
    resolve("127.0.0.1:80", &first);
    assert_int_equal(tw_host_port_parse(&round.host, "127.0.0.2:80", NULL), TW_OK);
    assert_int_equal(tw_address_next(&round, NULL), TW_OK);
    assert_int_equal(round.count, 1);
    round.count = 3; /* as of a host that has three */
    round.address[1] = round.address[2] = first;
    for (int i = 1; i < 3; i++) {
        assert_int_equal(tw_address_next(&round, NULL), TW_OK);
        assert_int_equal(round.tried, i);
    }
    assert_int_equal(tw_address_next(&round, NULL), TW_OK);
    assert_int_equal(round.tried, 0);
    assert_int_equal(round.count, 1);
    tw_address_name((struct sockaddr *)&round.address[0], name);
    assert_string_equal(name, "127.0.0.2:80");
}

static void a_host_that_is_not_known_yet_is_looked_up_again(void **state) {
    struct tw_address_round round = {.host = {.host = "no such host", .port = "1"}};
    assert_int_equal(tw_address_next(&round, NULL), TW_UNREACHABLE);
    snprintf(round.host.host, sizeof round.host.host, "127.0.0.1");
    assert_int_equal(tw_address_next(&round, NULL), TW_OK);
    assert_int_equal(round.tried, 0);
    assert_int_equal(round.count, 1);
}

static void ignore(uv_stream_t *listener, int status) {}

static void a_port_in_use_is_named(void **state) {
    uv_loop_t loop;
    uv_tcp_t first;
    uv_tcp_t second;
    bool initialised;
    struct sockaddr_storage at;
    struct tw_error error;
    char expected[128];
    char name[TW_ADDRESS_TEXT];
    uv_loop_init(&loop);
    resolve("127.0.0.1:0", &at);
    assert_int_equal(
        tw_listen(&first, &loop, (struct sockaddr *)&at, 8, ignore, &initialised, &error), TW_OK);
    assert_true(initialised);
    assert_int_equal(tw_listen_address(&first, &at, &error), TW_OK);
    assert_int_equal(
        tw_listen(&second, &loop, (struct sockaddr *)&at, 8, ignore, &initialised, &error), TW_IO);
    assert_true(initialised);
    snprintf(expected, sizeof expected, "cannot listen on %s: address already in use",
             tw_address_name((struct sockaddr *)&at, name));
    assert_string_equal(error.text, expected);
    uv_close((uv_handle_t *)&first, NULL);
    uv_close((uv_handle_t *)&second, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_addresses_apart),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(names_survive_the_round_trip),
        cmocka_unit_test(another_family_has_no_name),
        cmocka_unit_test(knows_loopback),
        cmocka_unit_test(an_unknown_host_is_named),
        cmocka_unit_test(each_try_has_the_next_address_and_each_round_a_look_up),
        cmocka_unit_test(a_host_that_is_not_known_yet_is_looked_up_again),
        cmocka_unit_test(a_port_in_use_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
