/* Ranks: who gets which, who is refused and how, and what a takeover does to the
 * update under way. */
#include "tests/unit/sequencer_desk.h"

static void refused(const struct desk *desk, enum tw_status status) {
    assert_int_equal(desk->effects, 1);
    assert_int_equal(desk->effect[0].kind, TW_SEQ_REFUSED);
    assert_int_equal(desk->effect[0].refused.status, status);
    assert_int_equal(desk->effect[0].refused.ticket, desk->ticket);
}

static uint32_t joined_rank(const struct desk *desk) {
    const struct tw_sequencer_effect *joined = desk_effect(desk, TW_SEQ_JOINED, 0);
    assert_non_null(joined);
    assert_int_equal(joined->joined.ticket, desk->ticket);
    return joined->joined.rank;
}

static void init(struct desk *desk, const char *mode, uint32_t workers, uint32_t shards) {
    struct tw_sequencer_config config = desk_config(mode, workers, shards);
    desk_init(desk, &config);
}

static void test_any_rank_is_the_lowest_free(void **state) {
    struct desk desk;
    init(&desk, "sync", 4, 1);
    desk_join(&desk, 1);
    desk_join(&desk, -1);
    assert_int_equal(joined_rank(&desk), 0);
    desk_join(&desk, -1);
    assert_int_equal(joined_rank(&desk), 2);
    desk_fini(&desk);
}

static void test_a_rank_never_held_goes_before_one_that_is_lost(void **state) {
    struct desk desk;
    init(&desk, "async", 3, 1);
    desk_join(&desk, -1);
    desk_join(&desk, -1);
    desk_lose(&desk, 0);
    desk_lose(&desk, 1);
    desk_join(&desk, -1);
    assert_int_equal(joined_rank(&desk), 2);
    desk_join(&desk, -1);
    assert_int_equal(joined_rank(&desk), 0);
    desk_join(&desk, -1);
    assert_int_equal(joined_rank(&desk), 1);
    desk_join(&desk, -1);
    refused(&desk, TW_NO_FREE_RANK);
    desk_fini(&desk);
}

static void test_a_rank_that_is_held_is_taken(void **state) {
    struct desk desk;
    init(&desk, "sync", 2, 1);
    desk_join(&desk, 1);
    desk_join(&desk, 1);
    refused(&desk, TW_RANK_TAKEN);
    desk_attach_all(&desk, 1);
    desk_join(&desk, 1);
    refused(&desk, TW_RANK_TAKEN);
    desk_fini(&desk);
}

static void test_a_rank_out_of_range_is_over_a_limit(void **state) {
    struct desk desk;
    init(&desk, "sync", 2, 1);
    desk_join(&desk, 2);
    refused(&desk, TW_LIMIT);
    struct tw_sequencer_event event = desk_join_event(&desk, 2);
    event.join.incarnation = 1;
    desk_step(&desk, &event);
    refused(&desk, TW_LIMIT);
    desk_fini(&desk);
}

static void test_a_first_join_is_incarnation_1_and_gathers_nothing_again(void **state) {
    struct desk desk;
    init(&desk, "sync", 2, 1);
    desk_join(&desk, 0);
    assert_int_equal(desk_effect(&desk, TW_SEQ_JOINED, 0)->joined.incarnation, 1);
    assert_int_equal(desk_effect(&desk, TW_SEQ_JOINED, 0)->joined.last_step, 0);
    assert_true(desk_logs(&desk, TW_RECORD_JOIN));
    assert_false(desk_logs(&desk, TW_RECORD_REGATHER));
    desk_fini(&desk);
}

static void test_the_release_comes_when_all_shards_are_attached(void **state) {
    struct desk desk;
    init(&desk, "sync", 2, 3);
    desk_join(&desk, 0);
    desk_attach(&desk, 0, 2);
    desk_attach(&desk, 0, 2);
    desk_attach(&desk, 0, 0);
    assert_int_equal(desk.effects, 0);
    desk_attach(&desk, 0, 1);
    assert_true(desk_released(&desk, 0));
    assert_int_equal(desk.slot[0].step, 1);
    desk_fini(&desk);
}

static void test_attaching_by_an_older_attempt_is_ignored(void **state) {
    struct desk desk;
    init(&desk, "sync", 2, 1);
    desk_join(&desk, 0);
    desk_resume(&desk, 0, 0);
    assert_int_equal(desk.slot[0].attempt, 2);
    desk.slot[0].attempt = 1;
    desk_attach_all(&desk, 0);
    assert_int_equal(desk.effects, 0);
    desk.slot[0].attempt = 2;
    desk_attach(&desk, 0, 1); /* there is no such shard */
    desk_attach(&desk, 0, 0);
    assert_true(desk_released(&desk, 0));
    desk_fini(&desk);
}

static void test_losing_an_older_attempt_changes_nothing(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 2, 1);
    desk_resume(&desk, 0, desk.slot[0].read);
    desk.slot[0].attempt--;
    desk_lose(&desk, 0);
    desk.slot[0].attempt++;
    desk_join(&desk, 0);
    refused(&desk, TW_RANK_TAKEN);
    desk_fini(&desk);
}

/* ---- coming back ---- */

static void test_resuming_with_the_weights_of_the_last_release_gets_no_other(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 2, 1);
    desk_ready(&desk, 0);
    desk_lose(&desk, 0);
    desk_resume(&desk, 0, desk.slot[0].read);
    assert_int_equal(desk_effect(&desk, TW_SEQ_JOINED, 0)->joined.incarnation, 1);
    assert_false(desk_logs(&desk, TW_RECORD_JOIN));
    desk_attach_all(&desk, 0);
    assert_int_equal(desk.effects, 0);
    desk_ready(&desk, 1); /* its vote from before still counts */
    assert_true(desk.preparing);
    desk_fini(&desk);
}

static void test_resuming_without_them_cancels_the_read_and_gets_a_release(void **state) {
    struct desk desk;
    desk_started(&desk, "async", 2, 1);
    desk_update(&desk);
    desk_lose(&desk, 1);
    desk_resume(&desk, 1, 0);
    desk_attach_all(&desk, 1);
    assert_true(desk_released(&desk, 1));
    assert_int_equal(desk.slot[1].step, 1);
    assert_int_equal(tw_sequencer_staleness(desk.sequencer).dropped, 1);
    desk_fini(&desk);
}

/* All shards have it, so its worker can have nothing else to say of that step. */
static void test_a_whole_push_counts_whatever_its_worker_says_it_holds(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 2, 1);
    desk_ready(&desk, 0);
    desk_resume(&desk, 0, 0);
    desk_attach_all(&desk, 0);
    assert_false(desk_released(&desk, 0));
    desk_ready(&desk, 1);
    assert_true(desk.preparing);
    desk_fini(&desk);
}

static void test_a_worker_that_is_gone_is_released_when_it_is_back(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 2, 1);
    desk_ready(&desk, 0);
    desk_ready(&desk, 1);
    desk_lose(&desk, 1);
    desk_sums(&desk, true);
    assert_true(desk_released(&desk, 0));
    assert_false(desk_released(&desk, 1));
    desk_resume(&desk, 1, desk.slot[1].read);
    assert_int_equal(desk_effect(&desk, TW_SEQ_JOINED, 0)->joined.last_step, 1);
    desk_attach_all(&desk, 1);
    assert_true(desk_released(&desk, 1));
    assert_int_equal(desk.slot[1].step, 2);
    desk_fini(&desk);
}

/* ---- taking over ---- */

static void test_a_takeover_has_the_next_incarnation_and_drops_the_push(void **state) {
    struct desk desk;
    desk_started(&desk, "async", 2, 1);
    desk_update(&desk);
    desk_ready_on(&desk, 1, 0);
    desk_sums(&desk, true);
    desk_lose(&desk, 1);
    desk_join(&desk, 1);
    const struct tw_sequencer_effect *joined = desk_effect(&desk, TW_SEQ_JOINED, 0);
    assert_int_equal(joined->joined.incarnation, 2);
    assert_int_equal(joined->joined.last_step, 1);
    const struct tw_record *join = desk_record(&desk, TW_RECORD_JOIN, 0);
    assert_int_equal(join->rank, 1);
    assert_int_equal(join->incarnation, 2);
    desk_attach_all(&desk, 1);
    assert_int_equal(desk.slot[1].step, 2);
    desk_fini(&desk);
}

/* It was in the queue of an update that was not complete: its bytes are gone with it. */
static void test_a_takeover_forgets_a_whole_push_that_waits(void **state) {
    struct desk desk;
    desk_started(&desk, "k-async:2", 3, 1);
    desk_ready(&desk, 1);
    desk_lose(&desk, 1);
    desk_join(&desk, 1);
    assert_int_equal(desk_effect(&desk, TW_SEQ_JOINED, 0)->joined.last_step, 0);
    desk_ready(&desk, 0);
    assert_false(desk.preparing);
    desk_attach_all(&desk, 1);
    assert_true(desk_released(&desk, 1));
    assert_int_equal(desk.slot[1].step, 1);
    desk_ready(&desk, 1);
    assert_true(desk.preparing);
    desk_sums(&desk, true);
    assert_int_equal(desk.version, 1);
    desk_fini(&desk);
}

static void test_the_predecessor_is_fenced(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 2, 1);
    desk_lose(&desk, 1);
    desk_join(&desk, 1);
    desk_attach_all(&desk, 1);
    struct tw_sequencer_event event = desk_join_event(&desk, 1);
    event.join.incarnation = 1;
    desk_step(&desk, &event);
    refused(&desk, TW_FENCED);
    desk_fini(&desk);
}

static void test_an_incarnation_that_never_was_is_refused(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 2, 1);
    struct tw_sequencer_event event = desk_join_event(&desk, 1);
    event.join.incarnation = 2;
    desk_step(&desk, &event);
    refused(&desk, TW_UNEXPECTED);
    desk_fini(&desk);
}

static void test_sums_that_may_hold_old_bytes_are_gathered_again(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 2, 1);
    desk_lose(&desk, 1);
    desk_join(&desk, 1);
    const struct tw_record *regather = desk_record(&desk, TW_RECORD_REGATHER, 0);
    assert_non_null(regather);
    assert_int_equal(regather->version, 1);
    assert_true(regather->position > desk_record(&desk, TW_RECORD_JOIN, 0)->position);
    desk_fini(&desk);
}

/* A shard that had all of a push has lost it: its vote is needed anew. */
static void test_after_a_regather_every_shard_votes_again(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 2, 2);
    desk_ready_on(&desk, 0, 0);
    desk_lose(&desk, 1);
    desk_join(&desk, 1);
    assert_true(desk_logs(&desk, TW_RECORD_REGATHER));
    desk_attach_all(&desk, 1);
    desk_ready(&desk, 1);
    desk_ready_on(&desk, 0, 1);
    assert_false(desk.preparing);
    desk_ready_on(&desk, 0, 0);
    assert_true(desk.preparing);
    desk_fini(&desk);
}

static void test_pushes_kept_apart_are_not_gathered_again(void **state) {
    struct desk desk;
    desk_started(&desk, "async", 2, 1);
    desk_lose(&desk, 1);
    desk_join(&desk, 1);
    assert_true(desk_logs(&desk, TW_RECORD_JOIN));
    assert_false(desk_logs(&desk, TW_RECORD_REGATHER));
    desk_fini(&desk);
}

/* ---- in the middle of an update ---- */

static void prepare_and_lose(struct desk *desk, uint32_t workers, uint32_t lost) {
    desk_started(desk, "sync", workers, 1);
    for (uint32_t slot = 0; slot < workers; slot++)
        desk_ready(desk, slot);
    assert_true(desk->preparing);
    for (uint32_t rank = 0; rank < lost; rank++)
        desk_lose(desk, rank);
}

static void test_a_join_waits_for_the_update_that_its_rank_is_part_of(void **state) {
    struct desk desk;
    prepare_and_lose(&desk, 2, 1);
    desk_join(&desk, 0);
    assert_int_equal(desk.effects, 0);
    desk_sums(&desk, true);
    assert_int_equal(desk.version, 1);
    assert_int_equal(joined_rank(&desk), 0);
    const struct tw_record *join = desk_record(&desk, TW_RECORD_JOIN, 0);
    assert_true(join->position > desk_record(&desk, TW_RECORD_COMMIT, 0)->position);
    assert_int_equal(desk_effect(&desk, TW_SEQ_JOINED, 0)->joined.last_step, 1);
    desk_fini(&desk);
}

static void test_a_join_of_a_rank_outside_the_update_does_not_wait(void **state) {
    struct desk desk;
    desk_started(&desk, "async", 2, 1);
    desk_ready(&desk, 0);
    assert_true(desk.preparing);
    desk_lose(&desk, 1);
    desk_join(&desk, 1);
    assert_int_equal(joined_rank(&desk), 1);
    desk_fini(&desk);
}

static void test_a_rank_that_is_waited_for_is_taken(void **state) {
    struct desk desk;
    prepare_and_lose(&desk, 2, 1);
    desk_join(&desk, 0);
    uint64_t first = desk.ticket;
    desk_join(&desk, 0);
    refused(&desk, TW_AGAIN); /* the first may be gone by then */
    desk_join(&desk, -1);
    refused(&desk, TW_AGAIN);
    desk_sums(&desk, true);
    assert_int_equal(desk_effect(&desk, TW_SEQ_JOINED, 0)->joined.ticket, first);
    desk_join(&desk, 0);
    refused(&desk, TW_RANK_TAKEN);
    desk_join(&desk, -1);
    refused(&desk, TW_NO_FREE_RANK);
    desk_fini(&desk);
}

static void test_the_old_process_goes_before_one_that_waits_for_its_rank(void **state) {
    struct desk desk;
    prepare_and_lose(&desk, 2, 1);
    desk_join(&desk, 0);
    uint64_t first = desk.ticket;
    desk_resume(&desk, 0, desk.slot[0].read);
    const struct tw_sequencer_effect *refusal = desk_effect(&desk, TW_SEQ_REFUSED, 0);
    assert_int_equal(refusal->refused.ticket, first);
    assert_int_equal(refusal->refused.status, TW_RANK_TAKEN);
    desk_sums(&desk, true);
    assert_int_equal(joined_rank(&desk), 0);
    assert_false(desk_logs(&desk, TW_RECORD_JOIN));
    desk_fini(&desk);
}

static void test_many_that_waited_cause_one_regather(void **state) {
    struct desk desk;
    prepare_and_lose(&desk, 6, 5);
    for (int rank = 0; rank < 5; rank++)
        desk_join(&desk, rank);
    desk_sums(&desk, true);
    assert_non_null(desk_record(&desk, TW_RECORD_JOIN, 4));
    assert_non_null(desk_record(&desk, TW_RECORD_REGATHER, 0));
    assert_null(desk_record(&desk, TW_RECORD_REGATHER, 1));
    assert_true(desk_record(&desk, TW_RECORD_REGATHER, 0)->position >
                desk_record(&desk, TW_RECORD_JOIN, 4)->position);
    desk_fini(&desk);
}

static void test_a_join_that_waits_is_answered_when_the_run_is_stopped(void **state) {
    struct desk desk;
    prepare_and_lose(&desk, 2, 1);
    desk_join(&desk, 0);
    desk_stop(&desk);
    assert_true(desk_says(&desk, TW_SEQ_FINISHED));
    assert_int_equal(desk_effect(&desk, TW_SEQ_REFUSED, 0)->refused.status, TW_STOPPED);
    assert_int_equal(desk_effect(&desk, TW_SEQ_REFUSED, 0)->refused.ticket, desk.ticket);
    desk_fini(&desk);
}

static void test_a_join_that_waits_is_refused_when_the_update_was_the_last(void **state) {
    struct desk desk;
    struct tw_sequencer_config config = desk_config("sync", 1, 1);
    config.end_updates = 1;
    desk_init(&desk, &config);
    desk_start(&desk);
    desk_ready(&desk, 0);
    desk_lose(&desk, 0);
    desk_join(&desk, 0);
    desk_sums(&desk, true);
    assert_true(desk_says(&desk, TW_SEQ_FINISHED));
    assert_int_equal(desk_effect(&desk, TW_SEQ_REFUSED, 0)->refused.status, TW_STOPPED);
    desk_fini(&desk);
}

/* Gradients of others end the run while the update is under way: no SUMS will be heard. */
static void test_a_join_that_waits_is_refused_when_the_run_fails(void **state) {
    struct desk desk;
    desk_started(&desk, "async", 2, 1);
    desk_ready(&desk, 0);
    assert_true(desk.preparing);
    desk_lose(&desk, 0);
    desk_join(&desk, 0);
    uint64_t ticket = desk.ticket;
    for (int i = 0; i < TW_NOT_FINITE_MAX; i++) {
        assert_false(desk_says(&desk, TW_SEQ_REFUSED));
        struct tw_sequencer_event vote = desk_vote(&desk, 1, 0);
        vote.ready.finite = false;
        desk_step(&desk, &vote);
    }
    assert_true(desk_says(&desk, TW_SEQ_FINISHED));
    assert_true(desk_says(&desk, TW_SEQ_REFUSED));
    assert_int_equal(desk_effect(&desk, TW_SEQ_REFUSED, 0)->refused.status, TW_STOPPED);
    assert_int_equal(desk_effect(&desk, TW_SEQ_REFUSED, 0)->refused.ticket, ticket);
    desk_fini(&desk);
}

/* ---- numerics ---- */

static void join_with(struct desk *desk, int rank, const char *numerics) {
    struct tw_sequencer_event event = desk_join_event(desk, rank);
    strcpy(event.join.numerics, numerics);
    desk_step(desk, &event);
}

static void test_ranks_with_other_numerics_than_the_first_are_refused(void **state) {
    struct desk desk;
    init(&desk, "sync", 3, 1);
    join_with(&desk, 0, "haswell");
    assert_int_equal(joined_rank(&desk), 0);
    join_with(&desk, 1, "zen");
    refused(&desk, TW_NUMERICS);
    join_with(&desk, 1, "haswell");
    assert_int_equal(joined_rank(&desk), 1);
    desk_fini(&desk);
}

static void test_inexact_lets_numerics_mix(void **state) {
    struct desk desk;
    struct tw_sequencer_config config = desk_config("sync", 3, 1);
    config.inexact = true;
    desk_init(&desk, &config);
    join_with(&desk, 0, "haswell");
    join_with(&desk, 1, "zen");
    assert_int_equal(joined_rank(&desk), 1);
    desk_fini(&desk);
}

static void test_a_refused_join_leaves_no_mark(void **state) {
    struct desk desk;
    init(&desk, "sync", 2, 1);
    join_with(&desk, 7, "zen"); /* refused before its numerics are looked at */
    refused(&desk, TW_LIMIT);
    join_with(&desk, 0, "haswell");
    assert_int_equal(joined_rank(&desk), 0);
    assert_int_equal(desk_effect(&desk, TW_SEQ_JOINED, 0)->joined.incarnation, 1);
    desk_fini(&desk);
}

/* ---- how ranks stand ---- */

static void test_an_update_wants_those_whose_votes_are_missing(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 3, 1);
    desk_ready(&desk, 0);
    desk_wants(&desk, false, true, true);
    assert_true(tw_sequencer_standing(desk.sequencer, 1).here);
    assert_true(tw_sequencer_standing(desk.sequencer, 1).reading);
    assert_false(tw_sequencer_standing(desk.sequencer, 0).reading);
    desk_lose(&desk, 1);
    desk_wants(&desk, false, true, true);
    assert_false(tw_sequencer_standing(desk.sequencer, 1).here);
    assert_true(tw_sequencer_standing(desk.sequencer, 1).came);
    desk_ready(&desk, 1);
    desk_wants(&desk, false, false, true);
    desk_ready(&desk, 2);
    desk_wants(&desk, false, false, false);
    desk_fini(&desk);
}

static void test_the_start_wants_those_who_have_never_come(void **state) {
    struct desk desk;
    init(&desk, "async", 3, 1);
    desk_join(&desk, 1);
    desk_attach_all(&desk, 1);
    desk_wants(&desk, true, false, true);
    desk_fini(&desk);
}

static void test_nobody_is_wanted_while_an_update_is_under_way(void **state) {
    struct desk desk;
    desk_started(&desk, "async", 3, 1);
    desk_wants(&desk, true, true, true);
    desk_ready(&desk, 0);
    assert_true(desk.preparing);
    desk_wants(&desk, false, false, false);
    desk_sums(&desk, true);
    desk_wants(&desk, true, true, true);
    desk_fini(&desk);
}

static void test_who_is_ahead_is_not_wanted(void **state) {
    struct desk desk;
    desk_started(&desk, "ssp:1", 3, 1);
    desk_ready(&desk, 0);
    desk_sums(&desk, true);
    assert_true(desk.slot[0].reading); /* it may go on */
    desk_wants(&desk, false, true, true);
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_update_wants_those_whose_votes_are_missing),
        cmocka_unit_test(test_the_start_wants_those_who_have_never_come),
        cmocka_unit_test(test_nobody_is_wanted_while_an_update_is_under_way),
        cmocka_unit_test(test_who_is_ahead_is_not_wanted),
        cmocka_unit_test(test_any_rank_is_the_lowest_free),
        cmocka_unit_test(test_a_rank_never_held_goes_before_one_that_is_lost),
        cmocka_unit_test(test_a_rank_that_is_held_is_taken),
        cmocka_unit_test(test_a_rank_out_of_range_is_over_a_limit),
        cmocka_unit_test(test_a_first_join_is_incarnation_1_and_gathers_nothing_again),
        cmocka_unit_test(test_the_release_comes_when_all_shards_are_attached),
        cmocka_unit_test(test_attaching_by_an_older_attempt_is_ignored),
        cmocka_unit_test(test_losing_an_older_attempt_changes_nothing),
        cmocka_unit_test(test_resuming_with_the_weights_of_the_last_release_gets_no_other),
        cmocka_unit_test(test_resuming_without_them_cancels_the_read_and_gets_a_release),
        cmocka_unit_test(test_a_whole_push_counts_whatever_its_worker_says_it_holds),
        cmocka_unit_test(test_a_worker_that_is_gone_is_released_when_it_is_back),
        cmocka_unit_test(test_a_takeover_has_the_next_incarnation_and_drops_the_push),
        cmocka_unit_test(test_a_takeover_forgets_a_whole_push_that_waits),
        cmocka_unit_test(test_the_predecessor_is_fenced),
        cmocka_unit_test(test_an_incarnation_that_never_was_is_refused),
        cmocka_unit_test(test_sums_that_may_hold_old_bytes_are_gathered_again),
        cmocka_unit_test(test_after_a_regather_every_shard_votes_again),
        cmocka_unit_test(test_pushes_kept_apart_are_not_gathered_again),
        cmocka_unit_test(test_a_join_waits_for_the_update_that_its_rank_is_part_of),
        cmocka_unit_test(test_a_join_of_a_rank_outside_the_update_does_not_wait),
        cmocka_unit_test(test_a_rank_that_is_waited_for_is_taken),
        cmocka_unit_test(test_the_old_process_goes_before_one_that_waits_for_its_rank),
        cmocka_unit_test(test_many_that_waited_cause_one_regather),
        cmocka_unit_test(test_a_join_that_waits_is_answered_when_the_run_is_stopped),
        cmocka_unit_test(test_a_join_that_waits_is_refused_when_the_update_was_the_last),
        cmocka_unit_test(test_a_join_that_waits_is_refused_when_the_run_fails),
        cmocka_unit_test(test_ranks_with_other_numerics_than_the_first_are_refused),
        cmocka_unit_test(test_inexact_lets_numerics_mix),
        cmocka_unit_test(test_a_refused_join_leaves_no_mark),
    };
    return cmocka_run_group_tests_name("membership", tests, NULL, NULL);
}
