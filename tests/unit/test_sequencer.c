/* The sequencer: gathering, votes, commits, drops and the end. Ranks are in
 * test_membership.c, epochs and the evaluator in test_evaluation.c. */
#include "common/base/rng.h"
#include "tests/unit/sequencer_desk.h"

/* ---- gathering ---- */

static void test_sync_waits_for_all(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 3, 1);
    desk_ready(&desk, 2);
    assert_int_equal(desk.effects, 0);
    desk_ready(&desk, 0);
    assert_int_equal(desk.effects, 0);
    desk_ready(&desk, 1);
    assert_int_equal(desk.effects, 1);
    const struct tw_prepare *prepare = &desk_effect(&desk, TW_SEQ_PREPARE, 0)->prepare;
    assert_int_equal(prepare->version, 1);
    assert_int_equal(prepare->count, 3);
    desk_fini(&desk);
}

static void test_async_prepares_each_alone(void **state) {
    struct desk desk;
    desk_started(&desk, "async", 3, 1);
    desk_ready(&desk, 1);
    const struct tw_prepare *prepare = &desk_effect(&desk, TW_SEQ_PREPARE, 0)->prepare;
    assert_int_equal(prepare->count, 1);
    assert_int_equal(prepare->contributions[0].slot, 1);
    desk_fini(&desk);
}

static void test_one_prepare_at_a_time_in_order_of_votes(void **state) {
    struct desk desk;
    desk_started(&desk, "async", 3, 1);
    desk_ready(&desk, 1);
    desk_ready(&desk, 2);
    assert_int_equal(desk.effects, 0);
    desk_ready(&desk, 0);
    assert_int_equal(desk.effects, 0);
    desk_sums(&desk, true);
    assert_int_equal(desk_effect(&desk, TW_SEQ_PREPARE, 0)->prepare.contributions[0].slot, 2);
    desk_sums(&desk, true);
    assert_int_equal(desk_effect(&desk, TW_SEQ_PREPARE, 0)->prepare.contributions[0].slot, 0);
    desk_fini(&desk);
}

static void test_contributors_are_in_slot_order(void **state) {
    struct desk desk;
    static const uint32_t order[] = {3, 0, 2, 1};
    desk_started(&desk, "sync", 4, 1);
    for (int i = 0; i < 4; i++)
        desk_ready(&desk, order[i]);
    desk_sums(&desk, true);
    const struct tw_record *commit = desk_record(&desk, TW_RECORD_COMMIT, 0);
    assert_int_equal(commit->count, 4);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(commit->contributions[i].slot, i);
    desk_fini(&desk);
}

static void test_no_update_before_all_have_joined(void **state) {
    struct desk desk;
    struct tw_sequencer_config config = desk_config("async", 2, 1);
    desk_init(&desk, &config);
    desk_join(&desk, 0);
    desk_attach_all(&desk, 0);
    assert_true(desk_released(&desk, 0));
    desk_ready(&desk, 0);
    assert_int_equal(desk.effects, 0);
    desk_join(&desk, 1);
    desk_attach_all(&desk, 1);
    assert_true(desk_says(&desk, TW_SEQ_STARTED));
    assert_true(desk_says(&desk, TW_SEQ_PREPARE));
    desk_fini(&desk);
}

/* ---- commits ---- */

static void test_commit_then_its_contributors_are_released(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 2, 1);
    desk_update(&desk);
    assert_int_equal(desk.effects, 3);
    assert_int_equal(desk.effect[0].record.kind, TW_RECORD_COMMIT);
    assert_int_equal(desk.effect[0].record.version, 1);
    for (uint32_t slot = 0; slot < 2; slot++) {
        assert_int_equal(desk.effect[1 + slot].record.kind, TW_RECORD_RELEASE);
        assert_int_equal(desk.effect[1 + slot].record.slot, slot);
        assert_int_equal(desk.effect[1 + slot].record.step, 2);
    }
    desk_fini(&desk);
}

static void test_async_releases_only_the_contributor(void **state) {
    struct desk desk;
    desk_started(&desk, "async", 3, 1);
    desk_ready(&desk, 1);
    desk_sums(&desk, true);
    assert_true(desk_released(&desk, 1));
    assert_false(desk_released(&desk, 0) || desk_released(&desk, 2));
    desk_fini(&desk);
}

static void test_commit_sums_examples_and_loss(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 2, 1);
    struct tw_sequencer_event vote = desk_vote(&desk, 0, 0);
    vote.ready.examples = 7;
    vote.ready.loss = 2.5;
    desk_step(&desk, &vote);
    desk_ready(&desk, 1);
    desk_sums(&desk, true);
    assert_int_equal(desk_record(&desk, TW_RECORD_COMMIT, 0)->examples, 17);
    struct tw_stretch total = tw_sequencer_total(desk.sequencer);
    assert_int_equal(total.updates, 1);
    assert_int_equal(total.contributions, 2);
    assert_int_equal(total.examples, 17);
    assert_true(total.loss == 3.5);
    desk_fini(&desk);
}

static void test_staleness_counts_the_versions_since_the_release(void **state) {
    struct desk desk;
    desk_started(&desk, "async", 2, 1);
    for (int i = 0; i < 3; i++) {
        desk_ready(&desk, 0);
        desk_sums(&desk, true);
        assert_int_equal(desk_record(&desk, TW_RECORD_COMMIT, 0)->contributions[0].staleness, 0);
    }
    desk_ready(&desk, 1);
    desk_sums(&desk, true);
    assert_int_equal(desk_record(&desk, TW_RECORD_COMMIT, 0)->contributions[0].staleness, 3);
    assert_int_equal(tw_sequencer_total(desk.sequencer).staleness_sum, 3);
    assert_int_equal(tw_sequencer_total(desk.sequencer).staleness_max, 3);
    desk_fini(&desk);
}

/* DESIGN.md: in plain async with N workers the sum is (N - 1) T. */
static void test_async_staleness_is_workers_less_one_per_update(void **state) {
    struct desk desk;
    struct tw_rng rng;
    desk_started(&desk, "async", 4, 1);
    tw_rng_init(&rng, 5, TW_STREAM_DELAY, 0, 0);
    for (uint64_t t = 1; t <= 60; t++) {
        desk_ready(&desk, (uint32_t)tw_rng_below(&rng, 4));
        desk_sums(&desk, true);
        struct tw_staleness s = tw_sequencer_staleness(desk.sequencer);
        assert_int_equal(s.outstanding, 3 * t);
        assert_int_equal(s.applied + s.in_flight, 3 * t);
    }
    desk_fini(&desk);
}

/* ---- votes ---- */

static void ignored(struct desk *desk, struct tw_sequencer_event event) {
    assert_int_equal(desk_step(desk, &event), 0);
    assert_false(desk->preparing);
}

static void test_votes_that_name_something_else_are_ignored(void **state) {
    struct desk desk;
    struct tw_sequencer_event vote;
    desk_started(&desk, "async", 2, 1);
    desk_ready(&desk, 0);
    desk_sums(&desk, true);
    const struct tw_sequencer_event good = desk_vote(&desk, 0, 0);
    vote = good, vote.ready.incarnation--, ignored(&desk, vote);
    vote = good, vote.ready.incarnation++, ignored(&desk, vote);
    vote = good, vote.ready.step--, ignored(&desk, vote);
    vote = good, vote.ready.step++, ignored(&desk, vote);
    vote = good, vote.ready.read--, ignored(&desk, vote);
    vote = good, vote.ready.read++, ignored(&desk, vote);
    vote = good, vote.ready.regather++, ignored(&desk, vote);
    vote = good, vote.ready.slot = 2, ignored(&desk, vote);
    vote = good, vote.ready.shard = 1, ignored(&desk, vote);
    desk_step(&desk, &good);
    assert_true(desk_says(&desk, TW_SEQ_PREPARE));
    desk_fini(&desk);
}

static void test_a_vote_from_before_a_regather_is_ignored(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 2, 1);
    struct tw_sequencer_event old = desk_vote(&desk, 0, 0);
    desk_lose(&desk, 1);
    desk_join(&desk, 1);
    assert_true(desk_logs(&desk, TW_RECORD_REGATHER));
    desk_attach_all(&desk, 1);
    desk_step(&desk, &old);
    desk_ready(&desk, 1);
    assert_false(desk.preparing);
    desk_ready(&desk, 0);
    assert_true(desk.preparing);
    desk_fini(&desk);
}

static void test_a_regather_clears_votes(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 3, 2);
    desk_ready(&desk, 0);
    desk_ready_on(&desk, 1, 0);
    desk_lose(&desk, 2);
    desk_join(&desk, 2);
    desk_attach_all(&desk, 2);
    desk_ready(&desk, 2);
    desk_ready_on(&desk, 1, 1); /* the vote of shard 0 is gone */
    desk_ready_on(&desk, 0, 1);
    assert_false(desk.preparing);
    desk_ready_on(&desk, 1, 0);
    assert_false(desk.preparing);
    desk_ready_on(&desk, 0, 0);
    assert_true(desk.preparing);
    desk_fini(&desk);
}

static void test_a_vote_counts_once(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 2, 2);
    desk_ready_on(&desk, 0, 0);
    desk_ready_on(&desk, 0, 0);
    desk_ready_on(&desk, 1, 0);
    desk_ready_on(&desk, 1, 1);
    desk_ready_on(&desk, 1, 1);
    assert_false(desk.preparing);
    desk_ready_on(&desk, 0, 1);
    assert_true(desk.preparing);
    desk_fini(&desk);
}

/* Every order in which the votes of two slots on three shards can come. */
static void test_votes_may_come_in_any_order(void **state) {
    for (uint32_t shards = 1; shards <= 3; shards++) {
        for (uint64_t seed = 0; seed < 60; seed++) {
            struct desk desk;
            struct tw_rng rng;
            uint32_t votes[6], left = 2 * shards;
            desk_started(&desk, "sync", 2, shards);
            tw_rng_init(&rng, seed, TW_STREAM_DELAY, shards, 0);
            for (uint32_t i = 0; i < left; i++)
                votes[i] = i;
            while (left) {
                assert_false(desk.preparing);
                uint32_t pick = (uint32_t)tw_rng_below(&rng, left);
                desk_ready_on(&desk, votes[pick] % 2, votes[pick] / 2);
                votes[pick] = votes[--left];
            }
            assert_true(desk.preparing);
            assert_int_equal(desk.prepared, 2);
            desk_fini(&desk);
        }
    }
}

static void test_a_settled_push_cannot_be_voted_again(void **state) {
    struct desk desk;
    desk_started(&desk, "async", 2, 1);
    struct tw_sequencer_event vote = desk_vote(&desk, 0, 0);
    desk_step(&desk, &vote);
    desk_sums(&desk, true);
    ignored(&desk, vote);
    assert_int_equal(desk.version, 1);
    desk_fini(&desk);
}

/* ---- sums ---- */

static void test_commit_needs_the_sums_of_all_shards(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 1, 3);
    desk_ready(&desk, 0);
    desk_sums_on(&desk, 2, true);
    desk_sums_on(&desk, 2, true);
    desk_sums_on(&desk, 0, true);
    assert_int_equal(desk.version, 0);
    desk_sums_on(&desk, 1, true);
    assert_int_equal(desk.version, 1);
    desk_fini(&desk);
}

static void test_sums_of_another_version_or_shard_are_ignored(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 1, 1);
    struct tw_sequencer_event sums = {.kind = TW_SEQ_SUMS};
    sums.sums = (struct tw_sums){.version = 1, .finite = true};
    assert_int_equal(desk_step(&desk, &sums), 0); /* nothing is under way */
    desk_ready(&desk, 0);
    sums.sums.version = 2;
    assert_int_equal(desk_step(&desk, &sums), 0);
    sums.sums.version = 1;
    sums.sums.shard = 1;
    assert_int_equal(desk_step(&desk, &sums), 0);
    desk_sums(&desk, true);
    assert_int_equal(desk.version, 1);
    desk_fini(&desk);
}

static void test_sums_that_are_not_finite_drop_all_pushes(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 2, 2);
    desk_ready(&desk, 0);
    desk_ready(&desk, 1);
    desk_sums_on(&desk, 0, false);
    desk_sums_on(&desk, 1, true);
    assert_int_equal(desk.version, 0);
    assert_int_equal(desk_record(&desk, TW_RECORD_DROP, 0)->count, 2);
    const struct tw_sequencer_effect *dropped = desk_effect(&desk, TW_SEQ_DROPPED, 0);
    assert_int_equal(dropped->dropped.tensor, TW_TENSORS_MAX + 1);
    assert_int_equal(dropped->dropped.step, 1);
    for (uint32_t slot = 0; slot < 2; slot++) {
        assert_true(desk_released(&desk, slot));
        assert_int_equal(desk.slot[slot].step, 2); /* the next step on the same version */
        assert_int_equal(desk.slot[slot].read_version, 0);
    }
    desk_update(&desk);
    assert_int_equal(desk.version, 1);
    desk_fini(&desk);
}

static void vote_not_finite(struct desk *desk, uint32_t slot, uint32_t shard, uint32_t tensor) {
    struct tw_sequencer_event vote = desk_vote(desk, slot, shard);
    vote.ready.finite = false;
    vote.ready.bad_tensor = tensor;
    desk_step(desk, &vote);
}

static void test_a_push_that_is_not_finite_is_dropped_unprepared(void **state) {
    struct desk desk;
    desk_started(&desk, "async", 2, 2);
    desk_ready_on(&desk, 1, 0);
    vote_not_finite(&desk, 1, 1, 7);
    assert_false(desk_says(&desk, TW_SEQ_PREPARE));
    const struct tw_sequencer_effect *dropped = desk_effect(&desk, TW_SEQ_DROPPED, 0);
    assert_int_equal(dropped->dropped.slot, 1);
    assert_int_equal(dropped->dropped.tensor, 7);
    assert_int_equal(desk_record(&desk, TW_RECORD_DROP, 0)->contributions[0].slot, 1);
    assert_true(desk_released(&desk, 1));
    assert_false(desk_released(&desk, 0));
    desk_fini(&desk);
}

static void test_three_in_a_row_end_the_run(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 2, 1);
    for (int i = 0; i < TW_NOT_FINITE_MAX; i++) {
        assert_false(desk_says(&desk, TW_SEQ_FINISHED));
        desk_ready(&desk, 0);
        vote_not_finite(&desk, 1, 0, 3);
        assert_int_equal(desk_effect(&desk, TW_SEQ_DROPPED, 0)->dropped.slot, 1);
        assert_null(desk_effect(&desk, TW_SEQ_DROPPED, 1));
    }
    const struct tw_sequencer_effect *finished = desk_effect(&desk, TW_SEQ_FINISHED, 0);
    assert_int_equal(finished->finished.status, TW_NOT_FINITE);
    assert_false(desk_logs(&desk, TW_RECORD_RELEASE));
    desk_fini(&desk);
}

static void test_a_run_that_goes_on_ends_only_when_nothing_changes(void **state) {
    struct desk desk;
    struct tw_sequencer_config config = desk_config("sync", 2, 1);
    config.goes_on = true;
    desk_init(&desk, &config);
    desk_start(&desk);
    for (int i = 0; i < TW_NOT_FINITE_ENOUGH; i++) {
        assert_false(desk_says(&desk, TW_SEQ_FINISHED));
        desk_ready(&desk, 0);
        vote_not_finite(&desk, 1, 0, 3);
        assert_true(desk_record(&desk, TW_RECORD_DROP, 0)->not_finite);
    }
    assert_int_equal(desk_effect(&desk, TW_SEQ_FINISHED, 0)->finished.status, TW_NOT_FINITE);
    assert_int_equal(tw_sequencer_total(desk.sequencer).not_finite, TW_NOT_FINITE_ENOUGH);
    desk_fini(&desk);
}

static void test_an_update_in_between_starts_the_count_anew(void **state) {
    struct desk desk;
    desk_started(&desk, "async", 1, 1);
    for (int i = 0; i < 4 * TW_NOT_FINITE_MAX; i++) {
        if (i % TW_NOT_FINITE_MAX == TW_NOT_FINITE_MAX - 1)
            desk_update(&desk);
        else
            vote_not_finite(&desk, 0, 0, 0);
        assert_false(desk_says(&desk, TW_SEQ_FINISHED));
    }
    desk_fini(&desk);
}

/* ---- the end ---- */

static void test_ends_at_its_updates(void **state) {
    struct desk desk;
    struct tw_sequencer_config config = desk_config("sync", 2, 1);
    config.end_updates = 2;
    desk_init(&desk, &config);
    desk_start(&desk);
    desk_update(&desk);
    assert_false(desk_says(&desk, TW_SEQ_FINISHED));
    desk_update(&desk);
    assert_int_equal(desk_effect(&desk, TW_SEQ_FINISHED, 0)->finished.status, TW_OK);
    assert_false(desk_logs(&desk, TW_RECORD_RELEASE));
    desk_fini(&desk);
}

static void test_ends_when_the_samples_are_reached(void **state) {
    struct desk desk;
    struct tw_sequencer_config config = desk_config("async", 2, 1);
    config.end_samples = 25;
    desk_init(&desk, &config);
    desk_start(&desk);
    desk_update(&desk);
    desk_update(&desk);
    assert_false(desk_says(&desk, TW_SEQ_FINISHED));
    desk_update(&desk);
    assert_true(desk_says(&desk, TW_SEQ_FINISHED));
    assert_int_equal(tw_sequencer_total(desk.sequencer).examples, 30);
    desk_fini(&desk);
}

static void test_nothing_happens_after_the_end(void **state) {
    struct desk desk;
    struct tw_sequencer_config config = desk_config("async", 2, 1);
    config.end_updates = 1;
    desk_init(&desk, &config);
    desk_start(&desk);
    desk_update(&desk);
    desk_ready(&desk, 1);
    assert_int_equal(desk.effects, 0);
    desk_sums(&desk, true);
    assert_int_equal(desk.effects, 0);
    desk_stop(&desk);
    assert_int_equal(desk.effects, 0);
    desk_lose(&desk, 0);
    desk_join(&desk, 0);
    assert_int_equal(desk_effect(&desk, TW_SEQ_REFUSED, 0)->refused.status, TW_STOPPED);
    desk_fini(&desk);
}

static void test_stop_ends_at_once_even_in_mid_update(void **state) {
    struct desk desk;
    desk_started(&desk, "sync", 1, 1);
    desk_ready(&desk, 0);
    assert_true(desk.preparing);
    desk_stop(&desk);
    assert_int_equal(desk.effects, 1);
    assert_int_equal(desk.effect[0].kind, TW_SEQ_FINISHED);
    assert_int_equal(desk.effect[0].finished.status, TW_INTERRUPTED);
    desk_sums(&desk, true);
    assert_int_equal(desk.effects, 0);
    assert_int_equal(desk.version, 0);
    desk_fini(&desk);
}

static void test_a_configuration_over_a_limit_has_no_bytes(void **state) {
    struct tw_sequencer_config config = desk_config("sync", 2, 1);
    assert_true(tw_sequencer_bytes(&config) > 0);
    config.workers = 0;
    assert_int_equal(tw_sequencer_bytes(&config), 0);
    config.workers = TW_WORKERS_MAX + 1;
    assert_int_equal(tw_sequencer_bytes(&config), 0);
    config.workers = 1;
    config.shards = TW_SERVERS_MAX + 1;
    assert_int_equal(tw_sequencer_bytes(&config), 0);
}

/* ---- anything, in any order ---- */

static void random_vote(struct desk *desk, struct tw_rng *rng) {
    struct tw_sequencer_event vote =
        desk_vote(desk, (uint32_t)tw_rng_below(rng, desk->config.workers),
                  (uint32_t)tw_rng_below(rng, desk->config.shards));
    switch (tw_rng_below(rng, 12)) {
    case 0:
        vote.ready.step += tw_rng_below(rng, 3) - 1;
        break;
    case 1:
        vote.ready.read += tw_rng_below(rng, 3) - 1;
        break;
    case 2:
        vote.ready.incarnation += (uint32_t)tw_rng_below(rng, 3) - 1;
        break;
    case 3:
        vote.ready.finite = false;
        break;
    default:
        break;
    }
    desk_step(desk, &vote);
}

static void random_member(struct desk *desk, struct tw_rng *rng) {
    uint32_t rank = (uint32_t)tw_rng_below(rng, desk->config.workers);
    switch (tw_rng_below(rng, 5)) {
    case 0:
        desk_lose(desk, rank);
        break;
    case 1:
        desk_join(desk, tw_rng_below(rng, 2) ? (int)rank : -1);
        break;
    case 2:
        if (desk->slot[rank].incarnation)
            desk_resume(desk, rank, tw_rng_below(rng, 2) ? desk->slot[rank].read : 0);
        break;
    default:
        desk_attach_all(desk, rank);
        break;
    }
}

static void random_event(struct desk *desk, struct tw_rng *rng) {
    uint64_t pick = tw_rng_below(rng, 100);
    if (pick < 60)
        random_vote(desk, rng);
    else if (pick < 80)
        desk_sums_on(desk, (uint32_t)tw_rng_below(rng, desk->config.shards),
                     tw_rng_below(rng, 40) != 0);
    else if (pick < 90)
        random_member(desk, rng);
    else if (pick < 93)
        desk_evaluator(desk, tw_rng_below(rng, 4) != 0);
    else if (pick < 97)
        desk_ask(desk, tw_rng_below(rng, 400));
    else
        desk_evaluated(desk);
}

/* What the desk checks after every event is the test. */
static void test_invariants_hold_after_any_events(void **state) {
    uint64_t commits = 0, dropped = 0, joins = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct desk desk;
        struct tw_rng rng;
        tw_rng_init(&rng, seed, TW_STREAM_DELAY, 1, 0);
        struct tw_sequencer_config config =
            desk_config(seed % 2 ? "sync" : "async", 1 + (uint32_t)tw_rng_below(&rng, 4),
                        1 + (uint32_t)tw_rng_below(&rng, 3));
        config.samples = seed % 3 ? 35 : 0;
        config.end_updates = 40;
        desk_init(&desk, &config);
        desk_start(&desk);
        for (int i = 0; i < 500; i++)
            random_event(&desk, &rng);
        commits += desk.version;
        dropped += tw_sequencer_staleness(desk.sequencer).dropped;
        for (uint32_t i = 0; i < config.workers; i++)
            joins += desk.slot[i].incarnation;
        desk_fini(&desk);
    }
    assert_true(commits > 1000 && dropped > 100 && joins > 1000); /* it was no dead end */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sync_waits_for_all),
        cmocka_unit_test(test_async_prepares_each_alone),
        cmocka_unit_test(test_one_prepare_at_a_time_in_order_of_votes),
        cmocka_unit_test(test_contributors_are_in_slot_order),
        cmocka_unit_test(test_no_update_before_all_have_joined),
        cmocka_unit_test(test_commit_then_its_contributors_are_released),
        cmocka_unit_test(test_async_releases_only_the_contributor),
        cmocka_unit_test(test_commit_sums_examples_and_loss),
        cmocka_unit_test(test_staleness_counts_the_versions_since_the_release),
        cmocka_unit_test(test_async_staleness_is_workers_less_one_per_update),
        cmocka_unit_test(test_votes_that_name_something_else_are_ignored),
        cmocka_unit_test(test_a_vote_from_before_a_regather_is_ignored),
        cmocka_unit_test(test_a_regather_clears_votes),
        cmocka_unit_test(test_a_vote_counts_once),
        cmocka_unit_test(test_votes_may_come_in_any_order),
        cmocka_unit_test(test_a_settled_push_cannot_be_voted_again),
        cmocka_unit_test(test_commit_needs_the_sums_of_all_shards),
        cmocka_unit_test(test_sums_of_another_version_or_shard_are_ignored),
        cmocka_unit_test(test_sums_that_are_not_finite_drop_all_pushes),
        cmocka_unit_test(test_a_push_that_is_not_finite_is_dropped_unprepared),
        cmocka_unit_test(test_three_in_a_row_end_the_run),
        cmocka_unit_test(test_a_run_that_goes_on_ends_only_when_nothing_changes),
        cmocka_unit_test(test_an_update_in_between_starts_the_count_anew),
        cmocka_unit_test(test_ends_at_its_updates),
        cmocka_unit_test(test_ends_when_the_samples_are_reached),
        cmocka_unit_test(test_nothing_happens_after_the_end),
        cmocka_unit_test(test_stop_ends_at_once_even_in_mid_update),
        cmocka_unit_test(test_a_configuration_over_a_limit_has_no_bytes),
        cmocka_unit_test(test_invariants_hold_after_any_events),
    };
    return cmocka_run_group_tests_name("sequencer", tests, NULL, NULL);
}
