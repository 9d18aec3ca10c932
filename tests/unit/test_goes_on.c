/* A run that is told to go on when gradients are not finite: many updates may be left out at once,
 * and each of their records names its own pushes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/core/sequencer.h"

/* GATHER - 1 pushes wait behind accepted ones of their slots, each before a gather of others. */
enum { GATHER = 12, BAD = GATHER - 1, WORKERS = GATHER + BAD * (GATHER - 1) };

static void prepare(const struct tw_optimizer_options *options, uint64_t t, double lr,
                    double *out) {
    (void)options, (void)t, (void)lr, (void)out;
}

static const struct tw_optimizer rule = {.name = "rule", .prepare = prepare};

struct run {
    struct tw_sequencer *sequencer;
    const struct tw_sequencer_effect *effect; /* of the last event */
    size_t effects;
    uint64_t step[WORKERS], read[WORKERS]; /* of the last RELEASE */
    bool finished;
};

static void say(struct run *run, const struct tw_sequencer_event *event) {
    run->effects = tw_sequencer_step(run->sequencer, event, &run->effect);
    for (size_t i = 0; i < run->effects; i++) {
        const struct tw_record *record = &run->effect[i].record;
        run->finished = run->finished || run->effect[i].kind == TW_SEQ_FINISHED;
        if (run->effect[i].kind != TW_SEQ_RECORD || record->kind != TW_RECORD_RELEASE)
            continue;
        run->step[record->slot] = record->step;
        run->read[record->slot] = record->position;
    }
}

static void start(struct run *run, const char *mode, uint32_t workers, bool goes_on) {
    struct tw_sequencer_config config = {
        .workers = workers, .shards = 1, .optimizer = &rule, .goes_on = goes_on};
    *run = (struct run){.finished = false};
    assert_int_equal(tw_dial_parse(mode, (struct tw_where){0}, (int)workers, &config.dial, NULL),
                     TW_OK);
    run->sequencer = tw_sequencer_init(malloc(tw_sequencer_bytes(&config)), &config);
    for (uint32_t rank = 0; rank < workers; rank++) {
        struct tw_sequencer_event join = {.kind = TW_SEQ_JOIN, .join = {.rank = rank}};
        struct tw_sequencer_event attached = {.kind = TW_SEQ_ATTACHED};
        attached.rank = rank;
        attached.attempt = 1;
        say(run, &join);
        say(run, &attached);
    }
}

static void push(struct run *run, uint32_t slot, bool finite) {
    struct tw_sequencer_event event = {.kind = TW_SEQ_READY};
    event.ready = (struct tw_ready){.slot = slot,
                                    .incarnation = 1,
                                    .step = run->step[slot],
                                    .read = run->read[slot],
                                    .examples = 1,
                                    .finite = finite};
    say(run, &event);
}

static void answer(struct run *run) {
    struct tw_sequencer_event event = {.kind = TW_SEQ_SUMS};
    event.sums.version = tw_sequencer_version(run->sequencer) + 1;
    event.sums.finite = true;
    say(run, &event);
}

static void assert_drop(const struct tw_record *drop, uint32_t bad) {
    uint32_t first = GATHER + bad * (GATHER - 1);
    assert_int_equal(drop->count, GATHER);
    assert_true(drop->not_finite);
    assert_true(drop->contributions[0].slot == bad && drop->contributions[0].step == 2);
    for (uint32_t i = 1; i < GATHER; i++)
        assert_true(drop->contributions[i].slot == first + i - 1 &&
                    drop->contributions[i].step == 1);
}

static void many_updates_left_out_at_once_have_their_own_pushes(void **state) {
    struct run run;
    start(&run, "k-batch-async:12", WORKERS, true);
    for (uint32_t slot = 0; slot < GATHER; slot++)
        push(&run, slot, true);
    for (uint32_t bad = 0; bad < BAD; bad++) {
        push(&run, bad, false);
        for (uint32_t i = 0; i < GATHER - 1; i++)
            push(&run, GATHER + bad * (GATHER - 1) + i, true);
    }
    answer(&run);
    uint32_t drops = 0;
    for (size_t i = 0; i < run.effects; i++) {
        const struct tw_record *record = &run.effect[i].record;
        if (run.effect[i].kind != TW_SEQ_RECORD)
            continue;
        if (record->kind == TW_RECORD_DROP)
            assert_drop(record, drops++);
        for (uint32_t c = 0; record->kind == TW_RECORD_COMMIT && c < GATHER; c++)
            assert_true(record->contributions[c].slot == c && record->contributions[c].step == 1);
    }
    assert_int_equal(drops, BAD);
    assert_int_equal(tw_sequencer_version(run.sequencer), 1);
    assert_false(run.finished);
    free(run.sequencer);
}

static void only_a_thousand_in_a_row_end_it(void **state) {
    struct run run;
    start(&run, "async", 1, true);
    for (int round = 0; round < 2; round++) { /* one that is applied begins the count anew */
        for (int i = 1; i < TW_NOT_FINITE_ENOUGH; i++)
            push(&run, 0, false);
        assert_false(run.finished);
        push(&run, 0, true);
        answer(&run);
    }
    for (int i = 0; i < TW_NOT_FINITE_ENOUGH; i++)
        push(&run, 0, false);
    assert_true(run.finished);
    assert_int_equal(tw_sequencer_version(run.sequencer), 2);
    assert_int_equal(tw_sequencer_total(run.sequencer).not_finite, 3 * TW_NOT_FINITE_ENOUGH - 2);
    free(run.sequencer);
}

static void one_that_is_not_told_to_ends_after_three(void **state) {
    struct run run;
    start(&run, "async", 1, false);
    for (int i = 1; i < TW_NOT_FINITE_MAX; i++)
        push(&run, 0, false);
    assert_false(run.finished);
    push(&run, 0, false);
    assert_true(run.finished);
    free(run.sequencer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_updates_left_out_at_once_have_their_own_pushes),
        cmocka_unit_test(only_a_thousand_in_a_row_end_it),
        cmocka_unit_test(one_that_is_not_told_to_ends_after_three),
    };
    return cmocka_run_group_tests_name("goes_on", tests, NULL, NULL);
}
