/* What a lead that lies is refused, with a sentence, before it reaches the shard; what an
 * honest one says is not: tests/sim has every order checked, too. */
#include <math.h>

#include "server/core/order_check.h"
#include "tests/unit/shard_desk.h"

static void assert_refused(enum tw_status status, const struct desk *desk, const char *words) {
    assert_int_equal(status, TW_UNEXPECTED);
    if (!strstr(desk->error.text, words))
        fail_msg("\"%s\" does not say \"%s\"", desk->error.text, words);
}

static void prepare_is(struct desk *desk, uint64_t version, uint32_t count,
                       const struct tw_contribution *c, const char *words) {
    struct tw_prepare prepare = {.version = version, .count = count, .contributions = c};
    enum tw_status status = tw_prepare_check(desk->shard, &prepare, &desk->error);
    if (words)
        assert_refused(status, desk, words);
    else
        assert_int_equal(status, TW_OK);
}

/* The record that would come next, as `change` has it; the desk's position stays. */
static void record_is(struct desk *desk, struct tw_record record, const char *words) {
    record.position = desk->position + 1;
    enum tw_status status = tw_record_check(desk->shard, &record, desk->position, &desk->error);
    if (words)
        assert_refused(status, desk, words);
    else
        assert_int_equal(status, TW_OK);
}

static struct tw_record settling(const struct desk *desk, enum tw_record_kind kind, uint32_t count,
                                 const struct tw_contribution *c) {
    return (struct tw_record){.kind = kind,
                              .version = desk->version + (kind == TW_RECORD_COMMIT),
                              .count = count,
                              .contributions = c};
}

static void ready(struct desk *desk, bool sync, uint32_t slots, uint32_t pushes) {
    desk_init(desk, sync, slots);
    desk_start(desk);
    for (uint32_t slot = 0; slot < pushes; slot++)
        desk_push_all(desk, slot);
    desk_work(desk);
}

static void positions_have_no_gaps(void **state) {
    struct desk desk;
    ready(&desk, false, 2, 0);
    struct tw_record record = {.kind = TW_RECORD_REGATHER, .version = 1};
    for (uint64_t position = 0; position < 12; position++) {
        record.position = position;
        enum tw_status status = tw_record_check(desk.shard, &record, 7, &desk.error);
        if (position == 8)
            assert_int_equal(status, TW_OK);
        else
            assert_refused(status, &desk, "behind position 7");
    }
    desk_fini(&desk);
}

static void only_whole_pushes_are_prepared(void **state) {
    for (int sync = 0; sync < 2; sync++) {
        struct desk desk;
        struct tw_contribution c[DESK_SLOTS];
        ready(&desk, sync, 2, 1);
        desk_contributions(&desk, 0, 2, c);
        prepare_is(&desk, 1, 2, c, "slot 1, step 1, which is not whole");
        desk_push(&desk, 1, 0);
        prepare_is(&desk, 1, 2, c, "slot 1, step 1, which is not whole");
        desk_end(&desk, 1);
        prepare_is(&desk, 1, 2, c, "slot 1, step 1, which is not whole");
        for (uint32_t chunk = 1; chunk < DESK_CHUNKS; chunk++)
            desk_push(&desk, 1, chunk);
        prepare_is(&desk, 1, 2, c, NULL);
        prepare_is(&desk, 2, 2, c, "has version 2, not 1");
        prepare_is(&desk, 1, 0, c, "has 0 pushes");
        prepare_is(&desk, 1, 1, c, sync ? "has 1 pushes" : NULL);
        desk_prepare(&desk, 0, 2);
        prepare_is(&desk, 1, 2, c, "two updates");
        desk_fini(&desk);
    }
}

static void pushes_are_known_and_in_order(void **state) {
    struct desk desk;
    struct tw_contribution c[3];
    ready(&desk, false, 2, 2);
    desk_contributions(&desk, 0, 2, c);
    struct tw_contribution twice[] = {c[0], c[0]}, back[] = {c[1], c[0]};
    struct tw_contribution far[] = {c[0], {.slot = 2, .step = 1}};
    struct tw_contribution later[] = {c[0], {.slot = 1, .step = 2}};
    prepare_is(&desk, 1, 2, twice, "order of slots");
    prepare_is(&desk, 1, 2, back, "order of slots");
    prepare_is(&desk, 1, 2, far, "slot 2, step 1: there is none");
    prepare_is(&desk, 1, 2, later, "slot 1, step 2: there is none");
    record_is(&desk, settling(&desk, TW_RECORD_DROP, 2, back), "order of slots");
    record_is(&desk, settling(&desk, TW_RECORD_DROP, 2, later), "there is none");
    record_is(&desk, settling(&desk, TW_RECORD_DROP, 2, c), NULL);
    desk_fini(&desk);
}

static void only_what_was_prepared_is_committed(void **state) {
    struct desk desk;
    struct tw_contribution c[2];
    ready(&desk, false, 2, 2);
    desk_contributions(&desk, 0, 2, c);
    record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 2, c), "not prepared");
    desk_prepare(&desk, 0, 2);
    record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 2, c), "not prepared");
    record_is(&desk, settling(&desk, TW_RECORD_DROP, 1, c), "being summed");
    desk_work(&desk);
    record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 0, c), "not prepared");
    record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 1, c), "not prepared");
    struct tw_record ahead = settling(&desk, TW_RECORD_COMMIT, 2, c);
    ahead.version = 2;
    record_is(&desk, ahead, "has version 2, not 1");
    record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 2, c), NULL);
    desk_commit(&desk, 0, 2);
    record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 2, c), "there is none to be settled");
    record_is(&desk, settling(&desk, TW_RECORD_DROP, 2, c), "there is none to be settled");
    desk_fini(&desk);
}

/* One finite ratio for each tensor, where the rule is layer-wise; else none. */
static void ratios_are_those_of_the_rule(void **state) {
    static const double good[] = {0, 1, 1e30, 4}, bad[] = {1, INFINITY, 1}, below[] = {1, 1, -1};
    for (int layer_wise = 0; layer_wise < 2; layer_wise++) {
        struct desk desk;
        struct tw_contribution c[2];
        desk_init_shard(&desk, false, 2, TW_CHUNK_BYTES_MIN, 1, 0, layer_wise ? "lamb" : "adam");
        desk_start(&desk);
        desk_push_all(&desk, 0);
        desk_work(&desk);
        desk_contributions(&desk, 0, 1, c);
        desk_prepare(&desk, 0, 1);
        desk_work(&desk);
        struct tw_record commit = settling(&desk, TW_RECORD_COMMIT, 1, c);
        record_is(&desk, commit, layer_wise ? "ratios of 0 tensors, not 3" : NULL);
        commit.ratios = good;
        commit.ratio_count = 4;
        record_is(&desk, commit, "ratios of 4 tensors");
        commit.ratio_count = 3;
        record_is(&desk, commit, layer_wise ? NULL : "ratios of 3 tensors, not 0");
        commit.ratios = layer_wise ? bad : good;
        record_is(&desk, commit, layer_wise ? "a ratio of inf" : "ratios of 3 tensors");
        commit.ratios = layer_wise ? below : good;
        record_is(&desk, commit, layer_wise ? "a ratio of -1" : "ratios of 3 tensors");
        desk_fini(&desk);
    }
}

/* What is prepared anew takes the place of what was prepared before. */
static void what_was_summed_is_not_prepared_again(void **state) {
    struct desk desk;
    struct tw_contribution c[2];
    ready(&desk, false, 2, 2);
    desk_contributions(&desk, 0, 2, c);
    desk_prepare(&desk, 0, 1);
    desk_work(&desk);
    prepare_is(&desk, 1, 1, c, "slot 0, step 1, which is not whole");
    prepare_is(&desk, 1, 1, c + 1, NULL);
    desk_prepare(&desk, 1, 1);
    desk_work(&desk);
    record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 1, c), "not prepared");
    record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 1, c + 1), NULL);
    desk_fini(&desk);
}

/* In sync the sums are there before anybody asks for them. */
static void sums_alone_are_not_committed(void **state) {
    struct desk desk;
    struct tw_contribution c[2];
    ready(&desk, true, 2, 2);
    desk_contributions(&desk, 0, 2, c);
    record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 2, c), "not prepared");
    desk_prepare(&desk, 0, 2);
    record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 2, c), "not prepared");
    desk_work(&desk);
    record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 2, c), NULL);
    desk_commit(&desk, 0, 2);
    for (uint32_t slot = 0; slot < 2; slot++) {
        desk_release(&desk, slot);
        desk_work(&desk);
        desk_push_all(&desk, slot);
    }
    desk_work(&desk);
    desk_contributions(&desk, 0, 2, c);
    record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 2, c), "not prepared"); /* the last was */
    desk_fini(&desk);
}

static void sums_that_are_cleared_are_not_committed(void **state) {
    struct desk desk;
    struct tw_contribution c[2];
    ready(&desk, true, 2, 2);
    desk_contributions(&desk, 0, 2, c);
    desk_prepare(&desk, 0, 2);
    desk_work(&desk);
    desk_regather(&desk);
    record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 2, c), "not prepared");
    desk_fini(&desk);
}

static void what_is_being_summed_is_left_alone(void **state) {
    struct desk desk;
    ready(&desk, false, 2, 2);
    desk_prepare(&desk, 0, 1);
    struct tw_record join = {.kind = TW_RECORD_JOIN, .incarnation = 2};
    struct tw_record evict = {.kind = TW_RECORD_EVICT};
    struct tw_record release = {.kind = TW_RECORD_RELEASE, .step = 1};
    record_is(&desk, join, "being summed");
    record_is(&desk, evict, "being summed");
    record_is(&desk, release, "being summed");
    join.rank = join.slot = evict.rank = evict.slot = release.slot = 1;
    record_is(&desk, join, NULL);
    record_is(&desk, evict, NULL);
    record_is(&desk, release, NULL);
    join.rank = 0;
    record_is(&desk, join, "JOIN of rank 0 names slot 1");
    desk_fini(&desk);
}

static void checkpoints_come_one_at_a_time(void **state) {
    struct desk desk;
    ready(&desk, true, 2, 0);
    struct tw_record checkpoint = {.kind = TW_RECORD_CHECKPOINT};
    record_is(&desk, checkpoint, NULL);
    struct tw_record record = desk_record(&desk, TW_RECORD_CHECKPOINT);
    tw_shard_record(desk.shard, &record);
    record_is(&desk, checkpoint, "before the last one is saved");
    desk_work(&desk);
    for (uint32_t c = 0; c < desk.layout.chunks; c++) {
        record_is(&desk, checkpoint, "before the last one is saved");
        tw_shard_saved(desk.shard);
    }
    record_is(&desk, checkpoint, NULL);
    desk_fini(&desk);
}

static void a_rollback_is_the_first_record(void **state) {
    static const uint64_t steps[2] = {7, 8};
    struct desk desk;
    struct tw_error error;
    desk_init(&desk, true, 2);
    struct tw_record rollback = {.position = 100,
                                 .kind = TW_RECORD_ROLLBACK,
                                 .version = 5,
                                 .generation = 1,
                                 .to = 50,
                                 .mode = "sync",
                                 .ranks = 2,
                                 .steps = steps};
    assert_int_equal(tw_record_check(desk.shard, &rollback, 0, &error), TW_OK);
    assert_int_equal(tw_record_check(desk.shard, &rollback, 99, &error), TW_UNEXPECTED);
    assert_non_null(strstr(error.text, "ROLLBACK behind position 99"));
    rollback.ranks = 3;
    assert_int_equal(tw_record_check(desk.shard, &rollback, 0, &error), TW_UNEXPECTED);
    rollback.ranks = 2;
    rollback.mode = "nonsense";
    assert_int_equal(tw_record_check(desk.shard, &rollback, 0, &error), TW_UNEXPECTED);
    assert_non_null(strstr(error.text, "ROLLBACK to a mode"));
    desk_fini(&desk);
}

static void steps_are_released_in_turn(void **state) {
    struct desk desk;
    ready(&desk, false, 2, 1);
    struct tw_record release = {.kind = TW_RECORD_RELEASE, .slot = 2, .step = 1};
    record_is(&desk, release, "there are 2");
    release.slot = 1;
    release.step = 2;
    record_is(&desk, release, "before its push is settled"); /* nothing has come of it */
    desk_begin(&desk, 1, 0);
    record_is(&desk, release, "before its push is settled");
    release.slot = 0;
    record_is(&desk, release, NULL); /* accepted */
    release.step = 0;
    record_is(&desk, release, "which is over");
    desk_prepare(&desk, 0, 1);
    desk_work(&desk);
    desk_commit(&desk, 0, 1);
    release.version = release.step = 1;
    record_is(&desk, release, "which is over"); /* settled, and the last that was released */
    release.slot = TW_SLOT_EVALUATOR;
    record_is(&desk, release, NULL);
    desk_fini(&desk);
}

/* As many as a lead may accept before it must commit; the desk's slots and twice as many. */
static void pushes_are_accepted_while_there_is_room(void **state) {
    struct desk desk;
    ready(&desk, false, 2, 1);
    struct tw_record release = {.kind = TW_RECORD_RELEASE, .slot = 0, .step = 1};
    for (uint32_t accepted = 0; accepted < 4; accepted++) {
        release.step++;
        record_is(&desk, release, NULL);
        desk.slot[0].step = release.step;
        desk.slot[0].read = release.position = ++desk.position;
        tw_shard_record(desk.shard, &release);
        desk_work(&desk);
        release.step--;
        record_is(&desk, release, "which is over");
        release.step++;
        desk_push_all(&desk, 0);
        desk_work(&desk);
    }
    release.step++;
    record_is(&desk, release, "before its push is settled");
    desk_fini(&desk);
}

static void in_sync_no_push_is_accepted_ahead(void **state) {
    struct desk desk;
    ready(&desk, true, 2, 1);
    struct tw_record release = {.kind = TW_RECORD_RELEASE, .slot = 0, .step = 2};
    record_is(&desk, release, "before its push is settled");
    desk_fini(&desk);
}

/* ---- where chunks are applied as they come ---- */

/* Two slots hold their first weights. */
static void applying(struct desk *desk) {
    desk_init(desk, false, 2);
    struct tw_shard_config config = desk->config;
    desk_fini(desk);
    config.ahead = 0;
    config.on_arrival = true;
    config.batch = 2 * DESK_EXAMPLES;
    desk_init_as(desk, &config);
    desk_start(desk);
}

static void where_nothing_is_summed_nothing_is_prepared_or_cleared(void **state) {
    struct desk desk;
    struct tw_contribution c[2];
    applying(&desk);
    desk_push_all(&desk, 0);
    desk_push_all(&desk, 1);
    desk_work(&desk);
    desk_contributions(&desk, 0, 2, c);
    prepare_is(&desk, 1, 1, c, "nothing is prepared in this mode");
    record_is(&desk, settling(&desk, TW_RECORD_PERMIT, 1, c), "PERMIT where nobody needs one");
    record_is(&desk, (struct tw_record){.kind = TW_RECORD_REGATHER, .version = 1},
              "REGATHER where nothing is summed");
    struct tw_record dial = {.kind = TW_RECORD_DIAL, .mode = "async"};
    record_is(&desk, dial, "a mode that the job does not turn to");
    dial.mode = "hogwild";
    record_is(&desk, dial, NULL);
    desk_fini(&desk);
}

static void only_whole_pushes_that_were_applied_are_committed(void **state) {
    struct desk desk;
    struct tw_contribution c[2];
    applying(&desk);
    desk_contributions(&desk, 0, 2, c);
    for (uint32_t chunk = 0; chunk < DESK_CHUNKS; chunk++) {
        record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 1, c), "was not applied");
        desk_push(&desk, 0, chunk);
    }
    record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 1, c), "was not applied"); /* no End */
    desk_end(&desk, 0);
    desk_push_all(&desk, 1);
    desk_work(&desk);
    record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 2, c), "was not applied"); /* one each */
    record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 0, c), "was not applied");
    record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 1, c), NULL);
    desk_commit(&desk, 0, 1);
    record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 1, c), "there is none to be settled");
    desk_contributions(&desk, 1, 1, c);
    record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 1, c), NULL);
    desk_release(&desk, 1); /* its weights leave once more, and it ends once more */
    desk_contributions(&desk, 1, 1, c);
    record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 1, c), "was not applied");
    desk_work(&desk);
    record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 1, c), "was not applied");
    desk_end(&desk, 1);
    desk_work(&desk);
    record_is(&desk, settling(&desk, TW_RECORD_COMMIT, 1, c), NULL);
    record_is(&desk, settling(&desk, TW_RECORD_DROP, 1, c), NULL);
    desk_fini(&desk);
}

static void the_dial_turns_to_modes_of_the_job(void **state) {
    struct desk desk;
    ready(&desk, false, 2, 0);
    struct tw_record dial = {.kind = TW_RECORD_DIAL, .mode = "nonsense"};
    record_is(&desk, dial, "DIAL");
    dial.mode = "";
    record_is(&desk, dial, "DIAL");
    dial.mode = "k-batch-async:2";
    record_is(&desk, dial, NULL);
    dial.mode = "sync";
    record_is(&desk, dial, NULL);
    desk_fini(&desk);
    struct tw_shard_config config = desk.config;
    config.ahead = 1; /* of a job that turns to no mode with more */
    desk_init_as(&desk, &config);
    dial.mode = "k-batch-async:2";
    record_is(&desk, dial, "DIAL");
    dial.mode = "k-batch-async:1";
    record_is(&desk, dial, NULL);
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(positions_have_no_gaps),
        cmocka_unit_test(only_whole_pushes_are_prepared),
        cmocka_unit_test(pushes_are_known_and_in_order),
        cmocka_unit_test(only_what_was_prepared_is_committed),
        cmocka_unit_test(ratios_are_those_of_the_rule),
        cmocka_unit_test(what_was_summed_is_not_prepared_again),
        cmocka_unit_test(sums_alone_are_not_committed),
        cmocka_unit_test(sums_that_are_cleared_are_not_committed),
        cmocka_unit_test(what_is_being_summed_is_left_alone),
        cmocka_unit_test(checkpoints_come_one_at_a_time),
        cmocka_unit_test(a_rollback_is_the_first_record),
        cmocka_unit_test(where_nothing_is_summed_nothing_is_prepared_or_cleared),
        cmocka_unit_test(only_whole_pushes_that_were_applied_are_committed),
        cmocka_unit_test(steps_are_released_in_turn),
        cmocka_unit_test(pushes_are_accepted_while_there_is_room),
        cmocka_unit_test(in_sync_no_push_is_accepted_ahead),
        cmocka_unit_test(the_dial_turns_to_modes_of_the_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
