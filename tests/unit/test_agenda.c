/* The event queue of virtual time: a total order, whatever goes in and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>

#include "common/base/rng.h"
#include "sim/agenda.h"

enum { ROOM = 300 };

static struct tw_agenda_event heap[ROOM];
static struct tw_agenda agenda;

static int compare(const void *left, const void *right) {
    const struct tw_agenda_event *a = left, *b = right;
    const uint64_t keys[][2] = {{a->time_ns, b->time_ns},
                                {a->priority, b->priority},
                                {a->worker, b->worker},
                                {a->sequence, b->sequence}};
    for (int i = 0; i < 4; i++)
        if (keys[i][0] != keys[i][1])
            return keys[i][0] < keys[i][1] ? -1 : 1;
    return 0;
}

/* Few different values, so that every key decides now and then. */
static struct tw_agenda_event any_event(struct tw_rng *rng, uint64_t not_before) {
    return (struct tw_agenda_event){.time_ns = not_before + tw_rng_below(rng, 8),
                                    .priority = (uint32_t)tw_rng_below(rng, 3),
                                    .worker = (uint32_t)tw_rng_below(rng, 3)};
}

static void all_come_out_in_the_total_order(void **state) {
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct tw_agenda_event expected[ROOM], event;
        struct tw_rng rng;
        tw_rng_init(&rng, seed, TW_STREAM_JITTER, 0, 0);
        size_t count = 1 + tw_rng_below(&rng, ROOM);
        tw_agenda_init(&agenda, heap, ROOM);
        for (size_t i = 0; i < count; i++) {
            expected[i] = any_event(&rng, 0);
            expected[i].value = expected[i].sequence = i;
            assert_int_equal(tw_agenda_put(&agenda, &expected[i]), TW_OK);
        }
        qsort(expected, count, sizeof *expected, compare);
        for (size_t i = 0; i < count; i++) {
            assert_true(tw_agenda_take(&agenda, &event));
            assert_int_equal(event.value, expected[i].value);
            assert_int_equal(event.sequence, expected[i].sequence);
        }
        assert_false(tw_agenda_take(&agenda, &event));
    }
}

static void time_never_goes_back_while_events_make_events(void **state) {
    struct tw_agenda_event last = {.time_ns = 0}, event;
    struct tw_rng rng;
    tw_rng_init(&rng, 7, TW_STREAM_JITTER, 0, 0);
    tw_agenda_init(&agenda, heap, ROOM);
    for (int i = 0; i < ROOM / 2; i++) {
        event = any_event(&rng, 0);
        assert_int_equal(tw_agenda_put(&agenda, &event), TW_OK);
    }
    for (int i = 0; i < 20000; i++) {
        assert_true(tw_agenda_take(&agenda, &event));
        assert_true(event.time_ns >= last.time_ns);
        last = event;
        event = any_event(&rng, last.time_ns + 1);
        assert_int_equal(tw_agenda_put(&agenda, &event), TW_OK);
    }
}

static void a_full_one_says_so_and_keeps_what_it_has(void **state) {
    struct tw_agenda_event event = {.time_ns = 5};
    tw_agenda_init(&agenda, heap, 2);
    assert_int_equal(tw_agenda_put(&agenda, &event), TW_OK);
    event.time_ns = 4;
    assert_int_equal(tw_agenda_put(&agenda, &event), TW_OK);
    event.time_ns = 1;
    assert_int_equal(tw_agenda_put(&agenda, &event), TW_LIMIT);
    assert_true(tw_agenda_take(&agenda, &event));
    assert_int_equal(event.time_ns, 4);
    assert_true(tw_agenda_take(&agenda, &event));
    assert_int_equal(event.time_ns, 5);
    assert_false(tw_agenda_take(&agenda, &event));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_come_out_in_the_total_order),
        cmocka_unit_test(time_never_goes_back_while_events_make_events),
        cmocka_unit_test(a_full_one_says_so_and_keeps_what_it_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
