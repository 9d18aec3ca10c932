/* The dial is turned and ranks are evicted, by the job and by hand, at any moment. The desk
 * checks after every event that positions, steps and the staleness identity hold. */
#include "common/base/rng.h"
#include "tests/unit/sequencer_desk.h"

static struct tw_dial dial_of(const char *mode, uint32_t workers) {
    struct tw_dial dial;
    assert_int_equal(tw_dial_parse(mode, (struct tw_where){"desk", 1}, (int)workers, &dial, NULL),
                     TW_OK);
    return dial;
}

static void ask_turn(struct desk *desk, const char *mode) {
    struct tw_sequencer_event event = {.kind = TW_SEQ_TURN};
    event.turn.ticket = ++desk->ticket;
    event.turn.dial = dial_of(mode, desk->config.workers);
    desk_step(desk, &event);
}

static void evict(struct desk *desk, uint32_t rank) {
    desk_step(desk, &(struct tw_sequencer_event){.kind = TW_SEQ_EVICT, .evict = rank});
}

static void assert_answer(const struct desk *desk, uint64_t ticket, enum tw_status status) {
    const struct tw_sequencer_effect *answer = desk_effect(desk, TW_SEQ_TURNED, 0);
    assert_non_null(answer);
    assert_int_equal(answer->turned.ticket, ticket);
    assert_int_equal(answer->turned.status, status);
}

/* The n-th record of the last event is of this kind. */
static const struct tw_record *record_at(const struct desk *desk, int n, enum tw_record_kind kind) {
    for (size_t i = 0; i < desk->effects; i++)
        if (desk->effect[i].kind == TW_SEQ_RECORD && n-- == 0) {
            assert_int_equal(desk->effect[i].record.kind, kind);
            return &desk->effect[i].record;
        }
    fail_msg("so many records were not logged");
    return NULL;
}

/* ---- turning ---- */

static void test_a_turn_cancels_and_releases_everybody(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 3, 2);
    desk_ready(&desk, 1);
    desk_ready_on(&desk, 2, 0);
    ask_turn(&desk, "async");
    assert_string_equal(record_at(&desk, 0, TW_RECORD_DIAL)->mode, "async");
    for (int i = 0; i < 3; i++) {
        const struct tw_record *release = record_at(&desk, 1 + i, TW_RECORD_RELEASE);
        assert_int_equal(release->slot, i);
        assert_int_equal(release->step, 2); /* the first is over, wherever it arrives */
    }
    assert_answer(&desk, desk.ticket, TW_OK);
    assert_int_equal(desk_effect(&desk, TW_SEQ_CANCEL, 0)->cancel.slot, 0);
    assert_int_equal(desk_effect(&desk, TW_SEQ_CANCEL, 1)->cancel.slot, 2); /* 1 is not at work */
    assert_null(desk_effect(&desk, TW_SEQ_CANCEL, 2));
    assert_int_equal(tw_sequencer_total(desk.sequencer).dropped, 3);
    assert_string_equal(tw_sequencer_dial(desk.sequencer)->word, "async");
    desk_ready(&desk, 2); /* it is async from here on */
    assert_true(desk.preparing);
    desk_sums(&desk, true);
    assert_int_equal(desk.version, 1);
    desk_fini(&desk);
}

static void test_a_vote_from_before_the_turn_is_void(void **state) {
    struct desk desk;
    desk_started(&desk, "async", 2, 2);
    struct tw_sequencer_event vote = desk_vote(&desk, 0, 0);
    desk_step(&desk, &vote);
    vote = desk_vote(&desk, 0, 1);
    ask_turn(&desk, "ssp:1");
    assert_int_equal(desk_step(&desk, &vote), 0);
    desk_ready_on(&desk, 0, 0);
    assert_false(desk.preparing); /* the other shard's counts no more */
    desk_ready_on(&desk, 0, 1);
    assert_true(desk.preparing);
    desk_fini(&desk);
}

static void test_a_turn_waits_for_the_update_under_way(void **state) {
    struct desk desk;
    desk_started(&desk, "k-sync:1", 3, 1);
    desk_ready(&desk, 1);
    assert_true(desk.preparing);
    ask_turn(&desk, "sync");
    assert_int_equal(desk.effects, 0);
    desk_sums(&desk, true);
    record_at(&desk, 0, TW_RECORD_COMMIT);
    record_at(&desk, 1, TW_RECORD_DIAL); /* and no DROP of what the old mode leaves behind */
    record_at(&desk, 2, TW_RECORD_RELEASE);
    record_at(&desk, 4, TW_RECORD_RELEASE);
    assert_answer(&desk, desk.ticket, TW_OK);
    desk_fini(&desk);
}

static void test_a_turn_follows_an_update_that_is_not_finite(void **state) {
    struct desk desk;
    desk_started(&desk, "async", 2, 1);
    desk_ready(&desk, 0);
    ask_turn(&desk, "sync");
    desk_sums(&desk, false);
    record_at(&desk, 0, TW_RECORD_DROP);
    record_at(&desk, 1, TW_RECORD_DIAL);
    record_at(&desk, 2, TW_RECORD_RELEASE);
    record_at(&desk, 3, TW_RECORD_RELEASE);
    desk_update(&desk);
    assert_int_equal(desk.version, 1);
    desk_fini(&desk);
}

static void test_the_job_turns_right_after_its_update(void **state) {
    struct desk desk;
    struct tw_sequencer_config config = desk_config("sync", 2, 1);
    struct tw_dial_turn turns[] = {{2, dial_of("async", 2)}, {3, dial_of("k-async:2", 2)}};
    config.turns = turns;
    config.turn_count = 2;
    config.samples = 40;
    desk_init(&desk, &config);
    desk_start(&desk);
    desk_evaluator(&desk, true);
    desk_ask(&desk, 40);
    desk_update(&desk);
    assert_false(desk_logs(&desk, TW_RECORD_DIAL));
    desk_update(&desk); /* an epoch is over, too */
    record_at(&desk, 0, TW_RECORD_COMMIT);
    assert_string_equal(record_at(&desk, 1, TW_RECORD_DIAL)->mode, "async");
    assert_int_equal(record_at(&desk, 2, TW_RECORD_RELEASE)->slot, TW_SLOT_EVALUATOR);
    assert_int_equal(record_at(&desk, 3, TW_RECORD_RELEASE)->slot, 0);
    assert_int_equal(record_at(&desk, 4, TW_RECORD_RELEASE)->slot, 1);
    assert_int_equal(tw_sequencer_total(desk.sequencer).dropped, 0); /* nothing was out */
    desk_update(&desk);
    assert_string_equal(desk_record(&desk, TW_RECORD_DIAL, 0)->mode, "k-async:2");
    desk_ready(&desk, 0);
    assert_false(desk.preparing);
    desk_ready(&desk, 1);
    assert_true(desk.preparing);
    desk_fini(&desk);
}

static void test_two_turns_at_once_are_both_in_the_log(void **state) {
    struct desk desk;
    struct tw_sequencer_config config = desk_config("sync", 2, 1);
    struct tw_dial_turn planned = {1, dial_of("async", 2)};
    config.turns = &planned;
    config.turn_count = 1;
    desk_init(&desk, &config);
    desk_start(&desk);
    desk_ready(&desk, 0);
    desk_ready(&desk, 1);
    ask_turn(&desk, "ssp:2");
    desk_sums(&desk, true);
    assert_string_equal(record_at(&desk, 1, TW_RECORD_DIAL)->mode, "async");
    assert_string_equal(record_at(&desk, 2, TW_RECORD_DIAL)->mode, "ssp:2");
    assert_null(desk_record(&desk, TW_RECORD_RELEASE, 2));
    desk_fini(&desk);
}

static void test_one_turn_waits_at_a_time(void **state) {
    struct desk desk;
    desk_started(&desk, "async", 2, 1);
    desk_ready(&desk, 0);
    ask_turn(&desk, "sync");
    uint64_t first = desk.ticket;
    ask_turn(&desk, "ssp:1");
    assert_answer(&desk, desk.ticket, TW_UNEXPECTED);
    desk_sums(&desk, true);
    assert_answer(&desk, first, TW_OK);
    assert_string_equal(tw_sequencer_dial(desk.sequencer)->word, "sync");
    desk_fini(&desk);
}

static void test_no_turn_after_the_end(void **state) {
    struct desk desk;
    struct tw_sequencer_config config = desk_config("async", 2, 1);
    struct tw_dial_turn planned = {2, dial_of("sync", 2)};
    config.end_updates = 2;
    config.turns = &planned;
    config.turn_count = 1;
    desk_init(&desk, &config);
    desk_start(&desk);
    desk_update(&desk);
    desk_ready(&desk, 0);
    ask_turn(&desk, "ssp:1");
    desk_sums(&desk, true); /* the last */
    assert_false(desk_logs(&desk, TW_RECORD_DIAL));
    assert_answer(&desk, desk.ticket, TW_STOPPED);
    ask_turn(&desk, "ssp:1");
    assert_answer(&desk, desk.ticket, TW_STOPPED);
    assert_int_equal(desk.effects, 1);
    desk_fini(&desk);
}

static void test_a_stop_answers_a_turn_that_waits(void **state) {
    struct desk desk;
    desk_started(&desk, "async", 1, 1);
    desk_ready(&desk, 0);
    ask_turn(&desk, "sync");
    desk_stop(&desk);
    assert_answer(&desk, desk.ticket, TW_STOPPED);
    desk_fini(&desk);
}

static void test_clocks_begin_again_side_by_side(void **state) {
    struct desk desk;
    desk_started(&desk, "async", 2, 1);
    for (int i = 0; i < 5; i++)
        desk_update(&desk); /* all of slot 0 */
    ask_turn(&desk, "ssp:1");
    desk_update(&desk);
    assert_true(desk_released(&desk, 0)); /* one ahead */
    desk_ready(&desk, 0);
    desk_sums(&desk, true);
    assert_false(desk_released(&desk, 0)); /* two would be too many */
    desk_ready(&desk, 1);
    desk_sums(&desk, true);
    assert_true(desk_released(&desk, 0) && desk_released(&desk, 1));
    desk_fini(&desk);
}

static void test_who_is_away_gets_weights_when_it_is_back(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 2, 1);
    uint64_t read = desk.slot[1].read;
    desk_lose(&desk, 1);
    ask_turn(&desk, "async");
    assert_false(desk_released(&desk, 1));
    desk_resume(&desk, 1, read);
    assert_int_equal(desk_effect(&desk, TW_SEQ_JOINED, 0)->joined.last_step, 1);
    desk_attach_all(&desk, 1);
    assert_int_equal(desk_record(&desk, TW_RECORD_RELEASE, 0)->step, 2);
    desk_fini(&desk);
}

/* Its weights of step 1 were replaced; while training stands still it has none. */
static void test_a_step_that_waits_to_be_released_again_is_over_too(void **state) {
    struct desk desk;
    struct tw_sequencer_config config = desk_config("async", 2, 1);
    config.samples = 10;
    desk_init(&desk, &config);
    desk_start(&desk);
    desk_evaluator(&desk, true);
    desk_ready(&desk, 0);
    desk_sums(&desk, true);
    assert_true(tw_sequencer_holding(desk.sequencer));
    desk_lose(&desk, 1);
    desk_resume(&desk, 1, 0);
    desk_attach_all(&desk, 1);
    ask_turn(&desk, "sync");
    assert_false(desk_logs(&desk, TW_RECORD_RELEASE));
    desk_evaluator(&desk, false);
    assert_true(desk_released(&desk, 0) && desk_released(&desk, 1));
    assert_int_equal(desk.slot[1].step, 2);
    desk_fini(&desk);
}

/* ---- evicting ---- */

static void test_the_others_go_on_without_one_that_is_evicted(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 3, 2);
    desk_ready(&desk, 0);
    desk_ready(&desk, 1);
    desk_lose(&desk, 1);
    evict(&desk, 1);
    assert_int_equal(record_at(&desk, 0, TW_RECORD_EVICT)->rank, 1);
    record_at(&desk, 1, TW_RECORD_REGATHER); /* sums may hold its bytes */
    assert_int_equal(tw_sequencer_live(desk.sequencer), 2);
    desk_ready(&desk, 2);
    assert_false(desk.preparing);
    desk_ready(&desk, 0);
    assert_true(desk.preparing);
    desk_sums(&desk, true);
    assert_int_equal(record_at(&desk, 0, TW_RECORD_COMMIT)->count, 2);
    desk_fini(&desk);
}

static void test_only_who_is_gone_is_evicted(void **state) {
    struct desk desk;
    struct tw_sequencer_config config = desk_config("async", 3, 1);
    desk_init(&desk, &config);
    desk_join(&desk, 0);
    desk_attach_all(&desk, 0);
    desk_lose(&desk, 0);
    evict(&desk, 0);
    assert_int_equal(desk.effects, 0); /* before the start everybody is waited for */
    desk_resume(&desk, 0, 0);
    desk_attach_all(&desk, 0);
    desk_join(&desk, 1);
    desk_attach_all(&desk, 1);
    desk_join(&desk, 2);
    desk_attach_all(&desk, 2);
    evict(&desk, 0);
    evict(&desk, 3);
    assert_int_equal(desk.effects, 0);
    desk_lose(&desk, 0);
    evict(&desk, 0);
    assert_true(desk_logs(&desk, TW_RECORD_EVICT));
    assert_false(desk_logs(&desk, TW_RECORD_REGATHER)); /* pushes are kept apart */
    evict(&desk, 0);
    assert_int_equal(desk.effects, 0);
    desk_fini(&desk);
}

static void test_an_eviction_waits_for_an_update_that_it_is_part_of(void **state) {
    struct desk desk;
    desk_started(&desk, "async", 2, 1);
    desk_ready(&desk, 1);
    desk_lose(&desk, 1);
    evict(&desk, 1);
    assert_int_equal(desk.effects, 0);
    desk_sums(&desk, true);
    assert_int_equal(record_at(&desk, 0, TW_RECORD_COMMIT)->contributions[0].slot, 1);
    assert_int_equal(record_at(&desk, 1, TW_RECORD_EVICT)->rank, 1);
    desk_fini(&desk);
}

static void test_who_comes_back_meanwhile_is_not_evicted(void **state) {
    struct desk desk;
    desk_started(&desk, "async", 2, 1);
    desk_ready(&desk, 1);
    desk_lose(&desk, 1);
    evict(&desk, 1);
    desk_join(&desk, 1); /* waits, too */
    desk_sums(&desk, true);
    assert_false(desk_logs(&desk, TW_RECORD_EVICT));
    assert_true(desk_says(&desk, TW_SEQ_JOINED));
    desk_fini(&desk);
}

static void test_the_evicted_holds_nobody_back(void **state) {
    struct desk desk;
    desk_started(&desk, "ssp:0", 2, 1);
    desk_update(&desk);
    assert_false(desk_released(&desk, 0));
    desk_lose(&desk, 1);
    evict(&desk, 1);
    assert_true(desk_released(&desk, 0));
    desk_update(&desk);
    assert_true(desk_released(&desk, 0));
    desk_join(&desk, 1); /* a successor begins beside the slowest */
    desk_attach_all(&desk, 1);
    assert_true(desk_released(&desk, 1));
    desk_fini(&desk);
}

/* As a new process, or as the one that it was. */
static void test_one_that_was_evicted_comes_back_by_a_join(void **state) {
    for (int same = 0; same < 2; same++) {
        struct desk desk;
        desk_started(&desk, "sync", 2, 1);
        uint64_t read = desk.slot[1].read;
        desk_lose(&desk, 1);
        evict(&desk, 1);
        desk_update(&desk);
        if (same)
            desk_resume(&desk, 1, read);
        else
            desk_join(&desk, 1);
        assert_int_equal(record_at(&desk, 0, TW_RECORD_JOIN)->incarnation, same ? 1 : 2);
        record_at(&desk, 1, TW_RECORD_REGATHER); /* the next update is one of both */
        desk_attach_all(&desk, 1);
        assert_int_equal(desk_record(&desk, TW_RECORD_RELEASE, 0)->step, 2);
        desk_update(&desk);
        assert_int_equal(desk_record(&desk, TW_RECORD_COMMIT, 0)->count, 2);
        desk_fini(&desk);
    }
}

static void test_too_few_for_a_gather_wait(void **state) {
    struct desk desk;
    desk_started(&desk, "k-async:2", 2, 1);
    desk_lose(&desk, 0);
    evict(&desk, 0);
    desk_ready(&desk, 1);
    assert_false(desk.preparing);
    struct tw_standing standing = tw_sequencer_standing(desk.sequencer, 0);
    assert_true(standing.wanted && standing.evicted && !standing.here);
    assert_false(tw_sequencer_standing(desk.sequencer, 1).wanted);
    desk_join(&desk, 0);
    desk_attach_all(&desk, 0);
    desk_ready(&desk, 0);
    assert_true(desk.preparing);
    desk_fini(&desk);
}

static void test_the_last_one_may_be_evicted(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 1, 1);
    desk_lose(&desk, 0);
    evict(&desk, 0);
    assert_int_equal(tw_sequencer_live(desk.sequencer), 0);
    desk_join(&desk, 0);
    desk_attach_all(&desk, 0);
    desk_update(&desk);
    assert_int_equal(desk.version, 1);
    desk_fini(&desk);
}

/* ---- anything, in any order ---- */

static void random_event(struct desk *desk, struct tw_rng *rng) {
    static const char *const modes[] = {"sync",     "async",     "ssp:1",
                                        "k-sync:1", "k-async:1", "backup:0"};
    uint32_t rank = (uint32_t)tw_rng_below(rng, desk->config.workers);
    uint64_t pick = tw_rng_below(rng, 100);
    if (pick < 55)
        desk_ready_on(desk, rank, (uint32_t)tw_rng_below(rng, desk->config.shards));
    else if (pick < 77)
        desk_sums_on(desk, (uint32_t)tw_rng_below(rng, desk->config.shards), pick != 55);
    else if (pick < 80)
        desk_lose(desk, rank);
    else if (pick < 84)
        evict(desk, rank);
    else if (pick < 86)
        desk_join(desk, (int)rank);
    else if (pick < 89)
        desk_resume(desk, rank, tw_rng_below(rng, 2) ? desk->slot[rank].read : 0);
    else if (pick < 95)
        desk_attach_all(desk, rank);
    else
        ask_turn(desk, modes[tw_rng_below(rng, 6)]);
}

static void test_invariants_hold_after_any_events(void **state) {
    uint64_t commits = 0, dropped = 0, turns = 0, evicted = 0;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct desk desk;
        struct tw_rng rng;
        tw_rng_init(&rng, seed, TW_STREAM_DELAY, 1, 0);
        desk_started(&desk, seed % 2 ? "sync" : "async", 1 + (uint32_t)tw_rng_below(&rng, 4),
                     1 + (uint32_t)tw_rng_below(&rng, 2));
        for (int i = 0; i < 500; i++) {
            random_event(&desk, &rng);
            turns += desk_logs(&desk, TW_RECORD_DIAL);
            evicted += desk_logs(&desk, TW_RECORD_EVICT);
        }
        commits += desk.version;
        dropped += tw_sequencer_total(desk.sequencer).dropped;
        desk_fini(&desk);
    }
    assert_true(commits > 1000 && dropped > 1000 && turns > 1000 && evicted > 500);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_turn_cancels_and_releases_everybody),
        cmocka_unit_test(test_a_vote_from_before_the_turn_is_void),
        cmocka_unit_test(test_a_turn_waits_for_the_update_under_way),
        cmocka_unit_test(test_a_turn_follows_an_update_that_is_not_finite),
        cmocka_unit_test(test_the_job_turns_right_after_its_update),
        cmocka_unit_test(test_two_turns_at_once_are_both_in_the_log),
        cmocka_unit_test(test_one_turn_waits_at_a_time),
        cmocka_unit_test(test_no_turn_after_the_end),
        cmocka_unit_test(test_a_stop_answers_a_turn_that_waits),
        cmocka_unit_test(test_clocks_begin_again_side_by_side),
        cmocka_unit_test(test_who_is_away_gets_weights_when_it_is_back),
        cmocka_unit_test(test_a_step_that_waits_to_be_released_again_is_over_too),
        cmocka_unit_test(test_the_others_go_on_without_one_that_is_evicted),
        cmocka_unit_test(test_only_who_is_gone_is_evicted),
        cmocka_unit_test(test_an_eviction_waits_for_an_update_that_it_is_part_of),
        cmocka_unit_test(test_who_comes_back_meanwhile_is_not_evicted),
        cmocka_unit_test(test_the_evicted_holds_nobody_back),
        cmocka_unit_test(test_one_that_was_evicted_comes_back_by_a_join),
        cmocka_unit_test(test_too_few_for_a_gather_wait),
        cmocka_unit_test(test_the_last_one_may_be_evicted),
        cmocka_unit_test(test_invariants_hold_after_any_events),
    };
    return cmocka_run_group_tests_name("turn", tests, NULL, NULL);
}
