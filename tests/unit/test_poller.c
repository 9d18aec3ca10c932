/* The system calls of polling are this file's: so what happens while somebody polls is decided
 * here, and looks are counted instead of time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/resource.h>

#include "common/net/poller.h"

#define FOUR_S_US 4000000u

static struct world {
    int looks, yields;
    int send_at_look;  /* the event comes just before that look; 0: never */
    int away_at_yield; /* that one takes a ms; */
    bool evicts;       /* ... because somebody else had the core */
    long evictions;
    uv_async_t *event;
} world;

int poll(struct pollfd *fds, nfds_t count, int timeout) {
    static const struct timespec now = {0, 0};
    assert_int_equal(timeout, 0);
    if (++world.looks == world.send_at_look)
        uv_async_send(world.event);
    return ppoll(fds, count, &now, NULL);
}

int sched_yield(void) {
    if (++world.yields == world.away_at_yield) {
        uv_sleep(1);
        world.evictions += world.evicts;
    }
    return 0;
}

int getrusage(__rusage_who_t who, struct rusage *usage) {
    assert_int_equal(who, RUSAGE_THREAD);
    usage->ru_nivcsw = world.evictions;
    return 0;
}

struct fixture {
    uv_loop_t loop;
    uv_async_t event;
    uv_timer_t timer;
    uv_idle_t idle;
    struct tw_poller poller;
    int events;
};

static void on_event(uv_async_t *event) {
    struct fixture *fixture = event->data;
    fixture->events++;
}

static void on_timer(uv_timer_t *timer) {
    struct fixture *fixture = timer->data;
    uv_async_send(&fixture->event);
}

static void on_idle(uv_idle_t *idle) {}

static struct fixture *begin(struct fixture *fixture, uint32_t poll_us, uint32_t window_ns) {
    *fixture = (struct fixture){.events = 0};
    assert_int_equal(uv_loop_init(&fixture->loop), 0);
    tw_poller_init(&fixture->poller, &fixture->loop, poll_us);
    uv_async_init(&fixture->loop, &fixture->event, on_event);
    uv_timer_init(&fixture->loop, &fixture->timer);
    uv_idle_init(&fixture->loop, &fixture->idle);
    fixture->event.data = fixture->timer.data = fixture;
    uv_run(&fixture->loop, UV_RUN_NOWAIT); /* what is to be watched is, from here on */
    fixture->poller.spin.window_ns = window_ns;
    world = (struct world){.event = &fixture->event, .evictions = 7};
    return fixture;
}

static void end(struct fixture *fixture) {
    uv_close((uv_handle_t *)&fixture->event, NULL);
    uv_close((uv_handle_t *)&fixture->timer, NULL);
    uv_close((uv_handle_t *)&fixture->idle, NULL);
    while (tw_poller_turn(&fixture->poller) != 0)
        ;
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
}

/* A wait of 5 ms, by a timer. */
static void wait_long(struct fixture *fixture) {
    int before = fixture->events;
    uv_update_time(&fixture->loop);
    uv_timer_start(&fixture->timer, on_timer, 5, 0);
    while (fixture->events == before)
        assert_int_not_equal(tw_poller_turn(&fixture->poller), 0);
}

static void what_comes_while_it_polls_is_not_slept_for(void **state) {
    struct fixture fixture;
    begin(&fixture, FOUR_S_US, FOUR_S_US * 1000);
    world.send_at_look = 3;
    uint64_t idle_ns = uv_metrics_idle_time(&fixture.loop);
    assert_int_not_equal(tw_poller_turn(&fixture.poller), 0);
    assert_int_equal(fixture.events, 1);
    assert_int_equal(world.looks, 3);
    assert_int_equal(world.yields, 2);
    assert_int_equal(uv_metrics_idle_time(&fixture.loop), idle_ns);
    assert_int_equal(fixture.poller.spin.window_ns, FOUR_S_US * 1000);
    end(&fixture);
}

static void who_hears_nothing_stops_polling(void **state) {
    static const uint32_t expected[] = {40000, 20000, 10000, 0};
    struct fixture fixture;
    begin(&fixture, 1, 80000);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        uint32_t before = fixture.poller.spin.window_ns;
        while (fixture.poller.spin.window_ns == before) /* no wait when we stood still till then */
            wait_long(&fixture);
        assert_int_equal(fixture.poller.spin.window_ns, expected[i]);
    }
    world.looks = 0;
    for (int i = 0; i < 10; i++)
        wait_long(&fixture);
    assert_int_equal(world.looks, 0);
    end(&fixture);
}

/* The whole of a wait counts, also what of it was slept. */
static void a_wait_below_the_cap_makes_it_poll(void **state) {
    struct fixture fixture;
    begin(&fixture, FOUR_S_US, 0);
    wait_long(&fixture);
    assert_true(fixture.poller.spin.window_ns >= TW_SPIN_FIRST_NS);
    world.looks = 0;
    world.send_at_look = 1;
    tw_poller_turn(&fixture.poller);
    assert_int_equal(world.looks, 1);
    assert_int_equal(fixture.events, 2);
    end(&fixture);
}

static void it_stops_when_others_had_the_core(void **state) {
    struct fixture fixture;
    begin(&fixture, FOUR_S_US, FOUR_S_US * 1000);
    world.away_at_yield = 2;
    world.evicts = true;
    uv_timer_start(&fixture.timer, on_timer, 5, 0);
    tw_poller_turn(&fixture.poller);
    assert_int_equal(world.yields, 2);
    assert_int_equal(world.looks, 2);
    assert_true(fixture.poller.spin.rested_ns > 0);
    end(&fixture);
}

static void who_only_stood_still_goes_on(void **state) {
    struct fixture fixture;
    begin(&fixture, FOUR_S_US, FOUR_S_US * 1000);
    world.away_at_yield = 2;
    world.send_at_look = 5;
    tw_poller_turn(&fixture.poller);
    assert_int_equal(world.looks, 5);
    assert_int_equal(fixture.events, 1);
    assert_int_equal(fixture.poller.spin.rested_ns, 0);
    end(&fixture);
}

static void set_flag(uv_timer_t *timer) {
    struct fixture *fixture = timer->data;
    fixture->events = 1;
}

/* It wakes nobody by itself, and a loop that has run it would sleep on. */
static void a_timer_ends_a_turn(void **state) {
    struct fixture fixture;
    begin(&fixture, FOUR_S_US, FOUR_S_US * 1000);
    uv_update_time(&fixture.loop);
    uv_timer_start(&fixture.timer, set_flag, 5, 0);
    tw_poller_turn(&fixture.poller);
    assert_int_equal(fixture.events, 1);
    assert_true(world.looks > 0);
    end(&fixture);
}

static void it_does_not_poll_when_told_not_to(void **state) {
    struct fixture fixture;
    begin(&fixture, 0, 0);
    for (int i = 0; i < 3; i++)
        wait_long(&fixture);
    assert_int_equal(fixture.events, 3);
    assert_int_equal(world.looks, 0);
    end(&fixture);
}

static void it_does_not_poll_when_there_is_work(void **state) {
    struct fixture fixture;
    begin(&fixture, FOUR_S_US, FOUR_S_US * 1000);
    uv_idle_start(&fixture.idle, on_idle);
    for (int i = 0; i < 3; i++)
        tw_poller_turn(&fixture.poller);
    assert_int_equal(world.looks, 0);
    end(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_while_it_polls_is_not_slept_for),
        cmocka_unit_test(who_hears_nothing_stops_polling),
        cmocka_unit_test(a_wait_below_the_cap_makes_it_poll),
        cmocka_unit_test(it_stops_when_others_had_the_core),
        cmocka_unit_test(who_only_stood_still_goes_on),
        cmocka_unit_test(a_timer_ends_a_turn),
        cmocka_unit_test(it_does_not_poll_when_told_not_to),
        cmocka_unit_test(it_does_not_poll_when_there_is_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
