/* The virtual cluster: that it ends, is the same run every time, and takes the time that the
 * config says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/world_desk.h"

static const char *const modes[] = {
    "sync",           "async",     "ssp:0",           "ssp:2",      "backup:1",        "k-sync:2",
    "k-batch-sync:3", "k-async:2", "k-batch-async:2", "softsync:2", "stale-uniform:3", "hogwild"};
enum { MODES = sizeof modes / sizeof *modes };

static struct world_desk a_desk(const char *mode) {
    return (struct world_desk){
        .workers = 4,
        .mode = mode,
        .delay = "gamma cv=.5",
        .rate = .05,
        .elements = 5,
        .curvature = 1,
        .noise = 1,
        .start = 3,
        .updates = 60,
        .seed = 7,
        .delay_seed = 7,
    };
}

static void run(struct world_desk *desk) {
    if (world_desk_run(desk) != TW_OK)
        fail_msg("%s: %s", desk->mode, desk->error.text);
    assert_int_equal(desk->version, desk->updates);
}

static void the_identity_holds(const struct world_desk *desk) {
    assert_int_equal(desk->sums.applied + desk->sums.in_flight + desk->sums.dropped,
                     desk->sums.outstanding);
}

static void every_mode_ends_and_the_identity_holds(void **state) {
    for (int m = 0; m < MODES; m++)
        for (uint32_t servers = 1; servers <= 3; servers++) {
            struct world_desk desk = a_desk(modes[m]);
            desk.servers = servers;
            desk.elements = 40000; /* three chunks */
            desk.noise = 0;
            desk.updates = 20;
            run(&desk);
            the_identity_holds(&desk);
            assert_true(desk.seconds > 0);
        }
}

/* Its PREPARE and COMMIT, as letters to the other server, are longer than any stage for them. */
static void an_update_of_many_workers_reaches_all_servers(void **state) {
    struct world_desk desk = a_desk("sync");
    desk.workers = 700;
    desk.servers = 2;
    desk.elements = 20000; /* two chunks */
    desk.noise = 0;
    desk.updates = 1;
    run(&desk);
    the_identity_holds(&desk);
}

static void twice_the_same(struct world_desk *desk) {
    struct world_desk again = *desk;
    run(desk);
    run(&again);
    the_identity_holds(desk);
    assert_int_equal(again.log, desk->log);
    assert_int_equal(again.events, desk->events);
    assert_memory_equal(again.x, desk->x, sizeof desk->x);
    assert_true(again.seconds == desk->seconds);
}

static void it_is_the_same_run_every_time(void **state) {
    static const struct tw_mishap mishaps[] = {{TW_MISHAP_DEATH, 1, 3.3, 2.5},
                                               {TW_MISHAP_PAUSE, 2, 5.1, 4},
                                               {TW_MISHAP_ABSENCE, 3, 1.5, 0}};
    for (int m = 0; m < MODES; m++) {
        struct world_desk desk = a_desk(modes[m]);
        twice_the_same(&desk);
        desk.latency = .01;
        desk.bandwidth = 1e4;
        desk.service = "exponential mean=.05";
        desk.mishaps = mishaps;
        desk.mishap_count = 3;
        twice_the_same(&desk);
        desk.servers = 2;
        desk.elements = 20000;
        desk.noise = 0;
        desk.updates = 20;
        desk.bandwidth = 1e6;
        twice_the_same(&desk);
    }
}

static void another_schedule_is_another_run_on_the_same_data(void **state) {
    struct world_desk one = a_desk("sync"), other = a_desk("sync");
    run(&one);
    other.delay = "exponential";
    other.delay_seed = 8;
    run(&other);
    assert_int_equal(one.data, other.data); /* every slot has seen the same at every step */
    assert_memory_equal(one.x, other.x, sizeof one.x);
    assert_true(one.seconds != other.seconds);

    struct world_desk early = a_desk("async"), late = a_desk("async");
    late.delay_seed = 8;
    run(&early);
    run(&late);
    assert_true(early.log != late.log);
    late.delay_seed = 7;
    late.seed = 8; /* other data, the same schedule */
    run(&late);
    assert_true(early.data != late.data);
    assert_true(early.seconds == late.seconds);
}

static void sync_has_the_same_bits_whatever_happens_to_workers(void **state) {
    static const struct tw_mishap mishaps[] = {{TW_MISHAP_DEATH, 0, 2.25, 1},
                                               {TW_MISHAP_DEATH, 0, 9.5, 0},
                                               {TW_MISHAP_DEATH, 3, 9.5, .5},
                                               {TW_MISHAP_PAUSE, 1, 4, 3},
                                               {TW_MISHAP_ABSENCE, 2, 2, 0}};
    struct world_desk plain = a_desk("sync"), hit = a_desk("sync");
    plain.elements = hit.elements = 20000; /* two chunks */
    plain.noise = hit.noise = 0;
    plain.updates = hit.updates = 20;
    run(&plain);
    hit.mishaps = mishaps;
    hit.mishap_count = 5;
    hit.latency = .02;
    hit.servers = 2;
    run(&hit);
    assert_memory_equal(plain.x, hit.x, sizeof plain.x);
    assert_true(hit.seconds > plain.seconds + 4);
}

/* ---- how long things take ---- */

static double seconds_of(struct world_desk desk) {
    run(&desk);
    return desk.seconds;
}

static void assert_near(double value, double expected) {
    if (fabs(value - expected) > 1e-6)
        fail_msg("%.9g is not %.9g", value, expected);
}

static struct world_desk a_round(void) {
    struct world_desk desk = a_desk("sync");
    desk.delay = "constant mean=2";
    desk.updates = 10;
    return desk;
}

static void a_round_takes_what_its_parts_take(void **state) {
    struct world_desk desk = a_round();
    assert_near(seconds_of(desk), 20);
    desk.service = "constant mean=.1"; /* four pushes, one after the other */
    assert_near(seconds_of(desk), 10 * 2.4);
    desk.service = NULL;
    desk.latency = .25;
    /* Connecting: control opened, greeted and joined, bulk opened, greeted and attached. Then each
     * round there and back, but the last one, whose weights nobody waits for. */
    double first = 10 * (2 + 2 * .25) - .25;
    double joined = seconds_of(desk) - first;
    assert_true(joined > 0 && fabs(joined / .25 - round(joined / .25)) < 1e-6);
    desk.updates = 20;
    assert_near(seconds_of(desk), joined + 20 * 2.5 - .25);
}

/* At a million bytes a second: 4 chunks of pushes share the way into the server, and 4 of weights
 * the way out. */
static void bandwidth_is_shared_at_the_server(void **state) {
    struct world_desk desk = a_round();
    desk.elements = 1000;
    desk.bandwidth = 1e6;
    desk.updates = 10;
    double ten = seconds_of(desk);
    desk.updates = 20;
    double round = (seconds_of(desk) - ten) / 10;
    double chunk = 4000 + 64, end = 64;
    /* The first weights are out after one chunk; the last worker has to wait for all four. Pushes
     * come in one after the other, too. */
    double least = 2 + 4 * chunk / 1e6 + (chunk + end) / 1e6;
    double most = 2 + 8 * (chunk + end) / 1e6 + 1e-3;
    if (!(round >= least && round <= most))
        fail_msg("%.9g s is not between %.9g and %.9g", round, least, most);
}

/* A chunk takes 100 s of a line, far longer than a client waits for an answer to its heartbeats;
 * these share the line. Four pushes share the way into the server, and four answers the way out. */
static void heartbeats_pass_tensors(void **state) {
    struct world_desk desk = a_round();
    desk.elements = 1000;
    desk.bandwidth = 1e6;
    desk.stands_for = 25000;
    desk.updates = 2;
    double two = seconds_of(desk);
    desk.updates = 4;
    double round = (seconds_of(desk) - two) / 2;
    if (!(round >= 2 + 4 * 100 + 4 * 100 && round <= 803))
        fail_msg("%.9g s is not 802 s and what heartbeats take", round);
}

/* While a server is busy with a push it hears what is not one. */
static void heartbeats_are_heard_by_a_busy_server(void **state) {
    struct world_desk desk = a_round();
    desk.service = "constant mean=100";
    assert_near(seconds_of(desk), 10 * 402);
}

/* On the network 100 weights that stand for 1,000 take as long as 1,000. */
static void a_small_model_stands_for_a_large_one(void **state) {
    struct world_desk large = a_round(), small = a_round();
    large.bandwidth = small.bandwidth = 1e5;
    large.elements = 1000;
    small.elements = 100;
    double expected = seconds_of(large);
    assert_true(seconds_of(small) < expected);
    small.stands_for = 10;
    assert_true(seconds_of(small) == expected);
}

/* Three chunks, each of which takes 10 s of a line: the weights are there at 30 s, and all of the
 * gradient at 62. */
static struct world_desk a_slow_wire(const struct tw_mishap *mishap) {
    struct world_desk desk = a_round();
    desk.workers = 1;
    desk.elements = 3 * (1 << 14);
    desk.noise = 0;
    desk.bandwidth = 65536 / 10.;
    desk.updates = 1;
    desk.mishaps = mishap;
    desk.mishap_count = mishap ? 1 : 0;
    return desk;
}

static void assert_about(double value, double expected) {
    if (fabs(value - expected) > 1.5) /* handshakes, and heads of frames */
        fail_msg("%.9g is not about %.9g", value, expected);
}

/* At 5 s the first chunk is half way: it comes to its end, for nothing, the two behind it do not
 * leave any more. */
static void what_waits_for_a_dead_connection_is_thrown_away(void **state) {
    static const struct tw_mishap again = {TW_MISHAP_DEATH, 0, 5, 0};
    assert_about(seconds_of(a_slow_wire(NULL)), 62);
    assert_about(seconds_of(a_slow_wire(&again)), 10 + 62);
}

/* The first chunk of its gradient leaves; the second follows when it goes on. */
static void who_stands_still_sends_nothing_more(void **state) {
    static const struct tw_mishap pause = {TW_MISHAP_PAUSE, 0, 37, 100};
    assert_about(seconds_of(a_slow_wire(&pause)), 137 + 20);
}

static struct world_desk hit_by(const struct tw_mishap *mishaps, size_t count,
                                double loss_seconds) {
    struct world_desk desk = a_round();
    desk.mishaps = mishaps;
    desk.mishap_count = count;
    desk.loss_seconds = loss_seconds;
    return desk;
}

static void who_stands_still_loses_that_time(void **state) {
    static const struct tw_mishap pause = {TW_MISHAP_PAUSE, 2, 5, 7};
    struct world_desk desk = hit_by(&pause, 1, 0);
    assert_near(seconds_of(desk), 27);
}

static void who_dies_takes_the_step_along(void **state) {
    static const struct tw_mishap death = {TW_MISHAP_DEATH, 2, 5, 7};
    struct world_desk desk = hit_by(&death, 1, 0);
    assert_near(seconds_of(desk), 12 + 16); /* it begins its third step anew at 12 s */
}

static void who_comes_late_is_waited_for(void **state) {
    static const struct tw_mishap late = {TW_MISHAP_ABSENCE, 2, 6, 0};
    struct world_desk desk = hit_by(&late, 1, 0);
    assert_near(seconds_of(desk), 26);
}

static void who_is_gone_for_too_long_is_evicted(void **state) {
    static const struct tw_mishap death = {TW_MISHAP_DEATH, 2, 5, INFINITY};
    struct world_desk desk = hit_by(&death, 1, 9);
    run(&desk);
    assert_int_equal(desk.evictions, 1);
    assert_near(desk.seconds, 14 + 14); /* the others have been waiting with their third step */
}

static void who_is_gone_for_too_long_ends_the_run_if_so_asked(void **state) {
    static const struct tw_mishap death = {TW_MISHAP_DEATH, 2, 5, INFINITY};
    struct world_desk desk = hit_by(&death, 1, 9);
    desk.loss_fails = true;
    assert_int_equal(world_desk_run(&desk), TW_CLOSED);
    assert_string_equal(desk.error.text, "worker 2 has been gone for 9.0 s, since before update 3, "
                                         "and on_worker_loss is fail");
    assert_int_equal(desk.version, 2);
    assert_near(desk.seconds, 14);
}

/* The last one comes at 6 s; so it is evicted at 15, and the others make the first update then. */
static void who_dies_before_the_start_is_evicted_after_it(void **state) {
    static const struct tw_mishap mishaps[] = {{TW_MISHAP_DEATH, 2, 1, INFINITY},
                                               {TW_MISHAP_ABSENCE, 3, 6, 0}};
    struct world_desk desk = hit_by(mishaps, 2, 9);
    run(&desk);
    assert_int_equal(desk.evictions, 1);
    assert_near(desk.seconds, 15 + 18);
}

/* The one that begins at 5 s would have ended at 12, but its process is another one by then. */
static void a_pause_is_not_ended_by_the_end_of_an_earlier_one(void **state) {
    static const struct tw_mishap mishaps[] = {
        {TW_MISHAP_PAUSE, 2, 5, 7}, {TW_MISHAP_DEATH, 2, 6, 1}, {TW_MISHAP_PAUSE, 2, 8, 20}};
    struct world_desk desk = hit_by(mishaps, 3, 0);
    assert_near(seconds_of(desk), 29 + 14);
}

static void what_happens_to_one_that_is_not_there_happens_to_nobody(void **state) {
    static const struct tw_mishap mishaps[] = {
        {TW_MISHAP_DEATH, 2, 5, INFINITY}, {TW_MISHAP_DEATH, 2, 6, 1}, {TW_MISHAP_PAUSE, 2, 7, 1}};
    struct world_desk desk = hit_by(mishaps, 3, 9);
    run(&desk);
    assert_int_equal(desk.evictions, 1);
    assert_near(desk.seconds, 14 + 14);
}

static void one_worker_may_die_several_times(void **state) {
    static const struct tw_mishap mishaps[] = {{TW_MISHAP_DEATH, 1, 3, INFINITY},
                                               {TW_MISHAP_DEATH, 1, 5, INFINITY}};
    struct world_desk desk = hit_by(mishaps, 2, 1);
    desk.workers = 2;
    run(&desk);
    assert_int_equal(desk.evictions, 1);
}

static void servers_have_their_speeds_from_the_first_on(void **state) {
    struct world_desk desk = a_round();
    desk.service = "constant mean=.1 speeds=[1,.5,.25]";
    assert_near(seconds_of(desk), 10 * 2.4);
    desk.elements = 40000;
    desk.noise = 0;
    desk.servers = 2; /* a round is over when the slower one has its pushes */
    assert_near(seconds_of(desk), 10 * 2.8);
}

/* ---- servers ---- */

/* The third round is under way, and over when the server goes on, at 12 s. */
static void a_server_that_stands_still_holds_everybody_up(void **state) {
    static const struct tw_mishap lead = {TW_MISHAP_SERVER_PAUSE, 0, 5, 7},
                                  other = {TW_MISHAP_SERVER_PAUSE, 1, 5, 7};
    assert_near(seconds_of(hit_by(&lead, 1, 0)), 12 + 14);
    struct world_desk desk = hit_by(&other, 1, 0);
    desk.servers = 2;
    desk.elements = 40000;
    desk.noise = 0;
    assert_near(seconds_of(desk), 12 + 14);
}

static void it_does_not_serve_meanwhile(void **state) {
    static const struct tw_mishap pause = {TW_MISHAP_SERVER_PAUSE, 0, 2.05, 1};
    struct world_desk desk = hit_by(&pause, 1, 0);
    desk.service = "constant mean=.1";
    assert_near(seconds_of(desk), 10 * 2.4 + 1);
}

/* Its clients give it up and come back; nothing is lost by that, nobody is evicted for a time when
 * nobody listened. */
static void a_lead_may_stand_still_for_longer_than_clients_wait(void **state) {
    static const struct tw_mishap pause = {TW_MISHAP_SERVER_PAUSE, 0, 5, 100};
    struct world_desk plain = a_round(), desk = hit_by(&pause, 1, 9);
    plain.elements = desk.elements = 20000;
    plain.noise = desk.noise = 0;
    run(&plain);
    run(&desk);
    assert_memory_equal(plain.x, desk.x, sizeof plain.x);
    assert_int_equal(desk.evictions, 0);
    assert_true(desk.seconds >= 105 + 14);
}

/* One who died while it stood still: the 9 s of its absence begin when the lead hears of it. */
static void a_lead_that_stands_still_hears_of_a_death_when_it_goes_on(void **state) {
    static const struct tw_mishap mishaps[] = {{TW_MISHAP_SERVER_PAUSE, 0, 5, 7},
                                               {TW_MISHAP_DEATH, 2, 5.5, INFINITY}};
    struct world_desk desk = hit_by(mishaps, 2, 9);
    run(&desk);
    assert_int_equal(desk.evictions, 1);
    assert_near(desk.seconds, 12 + 9 + 14);
}

/* One who died just before: 1 s of its absence passed, 8 are left. */
static void a_lead_does_not_count_the_time_when_it_stood_still(void **state) {
    static const struct tw_mishap mishaps[] = {{TW_MISHAP_DEATH, 2, 4.5, INFINITY},
                                               {TW_MISHAP_SERVER_PAUSE, 0, 5.5, 20}};
    struct world_desk desk = hit_by(mishaps, 2, 9);
    run(&desk);
    assert_int_equal(desk.evictions, 1);
    assert_near(desk.seconds, 4.5 + 9 + 20 + 14);
}

/* Four rounds are over at 8 s, and the third is saved: at 14 s it goes on behind that. */
static void a_server_that_dies_takes_the_run_back_to_its_checkpoint(void **state) {
    for (uint32_t index = 0; index < 2; index++) {
        struct tw_mishap death = {TW_MISHAP_SERVER_DEATH, index, 9, 5};
        struct world_desk plain = a_round(), desk = hit_by(&death, 1, 0);
        plain.elements = desk.elements = 40000;
        plain.noise = desk.noise = 0;
        plain.optimizer = desk.optimizer = "adam lr=.1"; /* whose state is saved, too */
        plain.servers = desk.servers = 2;
        desk.checkpoint_every = 3;
        run(&plain);
        run(&desk);
        assert_int_equal(desk.rollbacks, 1);
        assert_near(desk.seconds, 14 + 14);
        assert_memory_equal(plain.x, desk.x, sizeof plain.x);
    }
}

static void without_a_checkpoint_it_begins_at_the_start(void **state) {
    static const struct tw_mishap mishaps[] = {{TW_MISHAP_SERVER_DEATH, 0, 9, 5},
                                               {TW_MISHAP_SERVER_DEATH, 0, 17, 1}};
    struct world_desk plain = a_round(), desk = hit_by(mishaps, 2, 0);
    run(&plain);
    run(&desk);
    assert_int_equal(desk.rollbacks, 2);
    assert_near(desk.seconds, 18 + 20);
    assert_memory_equal(plain.x, desk.x, sizeof plain.x);
}

/* Wanted at 3 and 6 s, taken with the commits at 4 and 8: six rounds are left. */
static void checkpoints_by_time_come_with_the_next_update(void **state) {
    static const struct tw_mishap death = {TW_MISHAP_SERVER_DEATH, 0, 9, 5};
    struct world_desk desk = hit_by(&death, 1, 0);
    desk.checkpoint_seconds = 3;
    assert_near(seconds_of(desk), 14 + 12);
}

/* In whole milliseconds; 0 of them: never. Else time would not go on. */
static void checkpoints_by_less_than_a_millisecond_are_none(void **state) {
    static const struct tw_mishap death = {TW_MISHAP_SERVER_DEATH, 0, 9, 5};
    struct world_desk desk = hit_by(&death, 1, 0);
    desk.checkpoint_seconds = 1e-10;
    assert_near(seconds_of(desk), 14 + 20);
    desk.checkpoint_seconds = .0019;
    assert_near(seconds_of(desk), 14 + 12);
}

/* It is heard when there are processes again, before they do anything. */
static void it_may_be_stopped_while_all_are_dead(void **state) {
    static const struct tw_mishap mishaps[] = {{TW_MISHAP_SERVER_DEATH, 0, 9, 5},
                                               {TW_MISHAP_PAUSE, 0, 10, 1}};
    struct world_desk desk = hit_by(mishaps, 2, 0);
    desk.checkpoint_every = 3;
    desk.stop_at = 9.5;
    assert_int_equal(world_desk_run(&desk), TW_INTERRUPTED);
    assert_int_equal(desk.rollbacks, 1);
    assert_int_equal(desk.version, 3);
    assert_near(desk.seconds, 14);
}

/* On whatever is on its way, in every mode. The long pause falls on processes that are dead. */
static void every_mode_goes_on_after_its_servers_died(void **state) {
    static const struct tw_mishap mishaps[] = {
        {TW_MISHAP_DEATH, 1, 2.1, INFINITY},    {TW_MISHAP_SERVER_DEATH, 1, 3.3, 2.5},
        {TW_MISHAP_SERVER_PAUSE, 0, 4, 5000},   {TW_MISHAP_PAUSE, 0, 6.5, 1},
        {TW_MISHAP_SERVER_PAUSE, 1, 7.1, 1.25}, {TW_MISHAP_SERVER_DEATH, 0, 9.7, 0}};
    for (int m = 0; m < MODES; m++) {
        struct world_desk desk = a_desk(modes[m]);
        desk.servers = 2;
        desk.elements = 20000;
        desk.noise = 0;
        desk.updates = 60;
        desk.latency = .01;
        desk.bandwidth = 1e6;
        desk.service = "exponential mean=.02";
        desk.checkpoint_every = 2;
        desk.mishaps = mishaps;
        desk.mishap_count = 6;
        twice_the_same(&desk);
        assert_int_equal(desk.rollbacks, 2);
        assert_true(desk.seconds < 5000);
    }
}

static void a_server_that_dies_for_good_ends_the_run(void **state) {
    static const struct tw_mishap death = {TW_MISHAP_SERVER_DEATH, 0, 5, INFINITY};
    struct world_desk desk = hit_by(&death, 1, 0);
    assert_int_equal(world_desk_run(&desk), TW_CLOSED);
    assert_non_null(strstr(desk.error.text, "server 0 was killed before the run was done, after "
                                            "update 2"));
    assert_near(desk.seconds, 5);
}

/* ---- what cannot be ---- */

static void a_run_that_can_never_end_says_so(void **state) {
    static const struct tw_mishap death = {TW_MISHAP_DEATH, 2, 5, INFINITY};
    struct world_desk desk = hit_by(&death, 1, 0);
    assert_int_equal(world_desk_run(&desk), TW_UNEXPECTED);
    assert_non_null(strstr(desk.error.text, "stands still"));
    assert_non_null(strstr(desk.error.text, "it waits for worker"));
}

static void wrong_mishaps_are_refused(void **state) {
    static const struct {
        struct tw_mishap mishap[2];
        const char *says;
    } cases[] = {
        {{{TW_MISHAP_DEATH, 2, 1, 1}}, "no worker 2"},
        {{{TW_MISHAP_SERVER_DEATH, 1, 1, 1}}, "no server 1: the last of 1 is 0"},
        {{{TW_MISHAP_SERVER_PAUSE, 3, 1, 1}}, "no server 3"},
        {{{TW_MISHAP_SERVER_DEATH, 0, -1, 1}}, "begins at 0"},
        {{{TW_MISHAP_PAUSE, 0, -1, 1}}, "begins at 0"},
        {{{TW_MISHAP_PAUSE, 0, 1, -1}}, "-1 s: nothing lasts less than 0 s"},
        {{{TW_MISHAP_PAUSE, 0, NAN, 1}}, "begins at 0"},
        {{{TW_MISHAP_DEATH, 0, 1, INFINITY}, {TW_MISHAP_DEATH, 1, 1, INFINITY}}, "nobody"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world_desk desk = a_round();
        desk.workers = 2;
        desk.mishaps = cases[i].mishap;
        desk.mishap_count = cases[i].mishap[1].at > 0 ? 2 : 1;
        assert_int_equal(world_desk_run(&desk), TW_USAGE);
        assert_non_null(strstr(desk.error.text, cases[i].says));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mode_ends_and_the_identity_holds),
        cmocka_unit_test(an_update_of_many_workers_reaches_all_servers),
        cmocka_unit_test(it_is_the_same_run_every_time),
        cmocka_unit_test(another_schedule_is_another_run_on_the_same_data),
        cmocka_unit_test(sync_has_the_same_bits_whatever_happens_to_workers),
        cmocka_unit_test(a_round_takes_what_its_parts_take),
        cmocka_unit_test(bandwidth_is_shared_at_the_server),
        cmocka_unit_test(heartbeats_pass_tensors),
        cmocka_unit_test(heartbeats_are_heard_by_a_busy_server),
        cmocka_unit_test(a_small_model_stands_for_a_large_one),
        cmocka_unit_test(what_waits_for_a_dead_connection_is_thrown_away),
        cmocka_unit_test(who_stands_still_sends_nothing_more),
        cmocka_unit_test(who_stands_still_loses_that_time),
        cmocka_unit_test(who_dies_takes_the_step_along),
        cmocka_unit_test(who_comes_late_is_waited_for),
        cmocka_unit_test(who_is_gone_for_too_long_is_evicted),
        cmocka_unit_test(who_is_gone_for_too_long_ends_the_run_if_so_asked),
        cmocka_unit_test(who_dies_before_the_start_is_evicted_after_it),
        cmocka_unit_test(a_pause_is_not_ended_by_the_end_of_an_earlier_one),
        cmocka_unit_test(what_happens_to_one_that_is_not_there_happens_to_nobody),
        cmocka_unit_test(one_worker_may_die_several_times),
        cmocka_unit_test(servers_have_their_speeds_from_the_first_on),
        cmocka_unit_test(a_server_that_stands_still_holds_everybody_up),
        cmocka_unit_test(it_does_not_serve_meanwhile),
        cmocka_unit_test(a_lead_may_stand_still_for_longer_than_clients_wait),
        cmocka_unit_test(a_lead_that_stands_still_hears_of_a_death_when_it_goes_on),
        cmocka_unit_test(a_lead_does_not_count_the_time_when_it_stood_still),
        cmocka_unit_test(a_server_that_dies_takes_the_run_back_to_its_checkpoint),
        cmocka_unit_test(without_a_checkpoint_it_begins_at_the_start),
        cmocka_unit_test(checkpoints_by_time_come_with_the_next_update),
        cmocka_unit_test(checkpoints_by_less_than_a_millisecond_are_none),
        cmocka_unit_test(it_may_be_stopped_while_all_are_dead),
        cmocka_unit_test(every_mode_goes_on_after_its_servers_died),
        cmocka_unit_test(a_server_that_dies_for_good_ends_the_run),
        cmocka_unit_test(a_run_that_can_never_end_says_so),
        cmocka_unit_test(wrong_mishaps_are_refused),
    };
    cmocka_set_test_filter(getenv("TALWEG_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
