/* Inputs of the sequencer as entries of the trace log and back, and an order made again from
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/base/rng.h"
#include "sim/reenact.h"
#include "tests/lib/variant_text.h"

enum { WORKERS = 4 };

static struct tw_trace_input put(const struct tw_sequencer_event *event) {
    struct tw_trace_input input;
    tw_input_of_event(event, &input);
    input.sequence = 7;
    return input;
}

static struct tw_sequencer_event there_and_back(const struct tw_sequencer_event *event) {
    struct tw_trace_input input = put(event);
    struct tw_sequencer_event back;
    struct tw_error error;
    if (tw_event_of_input(&input, WORKERS, &back, &error) != TW_OK)
        fail_msg("%s", error.text);
    assert_int_equal(back.kind, event->kind);
    return back;
}

static void pushes_come_back_with_every_bit(void **state) {
    struct tw_sequencer_event event = {
        .kind = TW_SEQ_READY,
        .ready = {1, 2, 3, 4, 5, 6, 7, -.125, true, 8, 9, UINT64_MAX, 10, 11}};
    struct tw_ready ready = there_and_back(&event).ready;
    assert_memory_equal(&ready, &event.ready, offsetof(struct tw_ready, finite));
    assert_true(ready.finite && ready.bad_tensor == 8 && ready.correct == 9);
    assert_true(ready.chunks == UINT64_MAX && ready.ages == 10 && ready.oldest == 11);
    event = (struct tw_sequencer_event){.kind = TW_SEQ_WANT, .want = {3, 2, 1}};
    struct tw_want want = there_and_back(&event).want;
    assert_true(want.slot == 3 && want.incarnation == 2 && want.step == 1);
}

static void sums_come_back_with_every_bit(void **state) {
    struct tw_sequencer_event event = {.kind = TW_SEQ_SUMS, .sums = {1, 2, true, {.word = {0}}}};
    assert_int_equal(put(&event).data.size, 0); /* most have none */
    assert_true(there_and_back(&event).sums.finite);
    for (int i = 0; i < TW_EXACT_SUM_WORDS; i++)
        event.sums.squares.word[i] = UINT64_C(0xfedcba9876543210) * (uint64_t)(i + 1);
    struct tw_sums sums = there_and_back(&event).sums;
    assert_memory_equal(sums.squares.word, event.sums.squares.word, sizeof sums.squares.word);
    struct tw_exact_sum sum = event.sums.squares;
    event = (struct tw_sequencer_event){.kind = TW_SEQ_SQUARES, .squares = {1, 2, 3, .of = {sum}}};
    event.squares.of.step.not_finite = true;
    struct tw_squares squares = there_and_back(&event).squares;
    assert_memory_equal(squares.of.weights.word, sum.word, sizeof sum.word);
    assert_true(squares.of.step.not_finite && !squares.of.weights.not_finite);
    assert_true(squares.shard == 1 && squares.tensor == 2 && squares.version == 3);
}

static void members_and_all_others_come_back(void **state) {
    struct tw_sequencer_event event = {.kind = TW_SEQ_JOIN};
    event.join = (struct tw_sequencer_join){5, true, 2, 3, 4, "a numerics id"};
    struct tw_sequencer_join join = there_and_back(&event).join;
    assert_true(join.any_rank && join.rank == 2 && join.incarnation == 3 && join.read == 4);
    assert_string_equal(join.numerics, "a numerics id");
    assert_int_equal(join.ticket, 7); /* whatever it was: no record has it */
    event = (struct tw_sequencer_event){.kind = TW_SEQ_ATTACHED};
    event.rank = 1;
    event.attempt = 2;
    event.shard = 3;
    struct tw_sequencer_event back = there_and_back(&event);
    assert_true(back.rank == 1 && back.attempt == 2 && back.shard == 3);
    event = (struct tw_sequencer_event){.kind = TW_SEQ_TURN};
    assert_int_equal(tw_dial_parse("ssp:3", (struct tw_where){0}, WORKERS, &event.turn.dial, NULL),
                     TW_OK);
    back = there_and_back(&event);
    assert_string_equal(back.turn.dial.word, "ssp:3");
    assert_int_equal(back.turn.dial.clock_bound, 3);
    event = (struct tw_sequencer_event){.kind = TW_SEQ_ASK, .samples = 1000};
    assert_int_equal(there_and_back(&event).samples, 1000);
    event = (struct tw_sequencer_event){.kind = TW_SEQ_EVALUATED, .loss = .5};
    assert_true(there_and_back(&event).loss == .5);
    event = (struct tw_sequencer_event){.kind = TW_SEQ_EVICT, .evict = 3};
    assert_int_equal(there_and_back(&event).evict, 3);
    event = (struct tw_sequencer_event){.kind = TW_SEQ_STOP, .saves = true};
    assert_true(there_and_back(&event).saves);
    event = (struct tw_sequencer_event){.kind = TW_SEQ_EVALUATOR, .present = true};
    assert_true(there_and_back(&event).present);
}

static void what_is_no_input_is_refused(void **state) {
    static const struct {
        struct tw_trace_input input;
        const char *says;
    } cases[] = {
        {{.kind = 0}, "no kind 0"},
        {{.kind = TW_INPUT_STOP + 1}, "no kind 17"},
        {{.kind = TW_INPUT_JOIN, .data = {TW_NUMERICS_MAX + 1, "too long"}}, "data is wrong"},
        {{.kind = TW_INPUT_JOIN, .data = {3, "a\0b"}}, "data is wrong"},
        {{.kind = TW_INPUT_SUMS, .data = {80, {1}}}, "data is wrong"},
        {{.kind = TW_INPUT_SQUARES, .data = {81, {1}}}, "data is wrong"},
        {{.kind = TW_INPUT_TURN, .data = {4, "sink"}}, "data is wrong"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tw_sequencer_event event;
        struct tw_error error;
        assert_int_equal(tw_event_of_input(&cases[i].input, WORKERS, &event, &error), TW_DATA);
        assert_non_null(strstr(error.text, cases[i].says));
    }
}

/* ---- an order ---- */

static uint64_t records;

static enum tw_status on_record(void *context, const struct tw_record *record,
                                struct tw_error *error) {
    records++;
    return TW_OK;
}

static struct tw_reenact_config a_config(const char *mode) {
    struct tw_reenact_config config = {.record = on_record};
    config.sequencer = (struct tw_sequencer_config){
        .workers = WORKERS, .shards = 1, .tensors = 1, .end_updates = 1000, .checkpoint_every = 1};
    assert_int_equal(
        tw_dial_parse(mode, (struct tw_where){0}, WORKERS, &config.sequencer.dial, NULL), TW_OK);
    assert_int_equal(tw_optimizer_find(&config.sequencer.optimizer, &config.sequencer.options,
                                       tw_test_variant("sgd lr=1"), NULL),
                     TW_OK);
    return config;
}

static struct tw_reenactment *an_order(const char *mode) {
    struct tw_reenact_config config = a_config(mode);
    struct tw_reenactment *made;
    assert_int_equal(tw_reenact_new(&made, &config, NULL), TW_OK);
    return made;
}

static void a_point_that_there_was_not_is_refused(void **state) {
    struct tw_reenactment *order = an_order("async");
    struct tw_error error;
    struct tw_trace_input resume = {.kind = TW_INPUT_RESUME, .incarnation = 1, .read = 9};
    assert_int_equal(tw_reenact_input(order, &resume, &error), TW_DATA);
    assert_non_null(strstr(error.text, "where no checkpoint was"));
    resume.read = 0; /* the start */
    assert_int_equal(tw_reenact_input(order, &resume, &error), TW_OK);
    tw_reenact_free(order);
}

static void a_generation_that_cannot_be_is_refused(void **state) {
    struct tw_reenactment *order = an_order("async"), *none;
    struct tw_reenact_config config = a_config("async");
    struct tw_error error;
    config.sequencer.shards = TW_SERVERS_MAX;
    assert_int_equal(tw_reenact_configure(order, &config.sequencer, &error), TW_OK);
    config.sequencer.shards = 0;
    assert_int_equal(tw_reenact_configure(order, &config.sequencer, &error), TW_DATA);
    assert_non_null(strstr(error.text, "on 0 servers cannot be"));
    assert_int_equal(tw_reenact_new(&none, &config, &error), TW_DATA);
    assert_null(none);
    config.sequencer.shards = TW_SERVERS_MAX + 1;
    assert_int_equal(tw_reenact_configure(order, &config.sequencer, &error), TW_DATA);
    config.sequencer.shards = 1;
    config.sequencer.workers = WORKERS + 1;
    assert_int_equal(tw_reenact_configure(order, &config.sequencer, &error), TW_DATA);
    assert_non_null(strstr(error.text, "goes on with 5"));
    tw_reenact_free(order);
}

static void put_mode(struct tw_trace_input *turn, const char *mode) {
    turn->data.size = (uint32_t)strlen(mode);
    memcpy(turn->data.at, mode, turn->data.size);
}

static void a_turn_that_no_server_makes_is_refused(void **state) {
    static const char *const modes[] = {"async", "hogwild"};
    for (int i = 0; i < 2; i++) {
        struct tw_reenactment *order = an_order(modes[i]);
        struct tw_error error;
        for (int to = 0; to < 2; to++) {
            struct tw_trace_input turn = {.sequence = 5, .kind = TW_INPUT_TURN};
            put_mode(&turn, modes[to]);
            enum tw_status status = tw_reenact_input(order, &turn, &error);
            assert_int_equal(status, to == i ? TW_OK : TW_DATA);
            if (to != i)
                assert_non_null(strstr(error.text, "which this run cannot have"));
        }
        tw_reenact_free(order);
    }
}

/* Workers would go on while their pushes wait, which they have permits for. */
static void permits_where_workers_go_on_are_refused(void **state) {
    struct tw_reenact_config config = a_config("async"), ahead = a_config("k-batch-async:2");
    struct tw_trace_input turn = {.sequence = 5, .kind = TW_INPUT_TURN};
    struct tw_reenactment *order, *none;
    struct tw_error error;
    ahead.sequencer.admission = config.sequencer.admission = true;
    assert_int_equal(tw_reenact_new(&none, &ahead, &error), TW_DATA);
    assert_null(none);
    assert_non_null(strstr(error.text, "cannot have mode \"k-batch-async:2\""));
    assert_int_equal(tw_reenact_new(&order, &config, &error), TW_OK);
    put_mode(&turn, "k-batch-async:2");
    assert_int_equal(tw_reenact_input(order, &turn, &error), TW_DATA);
    assert_int_equal(tw_reenact_configure(order, &ahead.sequencer, &error), TW_DATA);
    const struct tw_dial_turn later = {.update = 3, .dial = ahead.sequencer.dial};
    config.sequencer.turns = &later;
    config.sequencer.turn_count = 1;
    assert_int_equal(tw_reenact_configure(order, &config.sequencer, &error), TW_DATA);
    config.sequencer.admission = false;
    assert_int_equal(tw_reenact_configure(order, &config.sequencer, &error), TW_OK);
    tw_reenact_free(order);
}

/* It begins again in the mode that it had, not in the one that it was configured with. */
static void a_checkpoint_of_a_mode_that_cannot_be_is_refused(void **state) {
    static const char *const modes[] = {"k-batch-async:2", "hogwild"};
    struct tw_reenact_config config = a_config("async");
    const struct tw_trace_input resume = {.sequence = 5, .kind = TW_INPUT_RESUME, .incarnation = 1};
    config.sequencer.admission = true;
    for (int i = 0; i < 2; i++) {
        struct tw_reenactment *order = an_order(modes[i]);
        struct tw_error error;
        assert_int_equal(tw_reenact_input(order, &resume, &error), TW_OK);
        assert_int_equal(tw_reenact_configure(order, &config.sequencer, &error), TW_OK);
        assert_int_equal(tw_reenact_input(order, &resume, &error), TW_DATA);
        assert_non_null(strstr(error.text, modes[i]));
        assert_non_null(strstr(error.text, "which this run cannot have"));
        tw_reenact_free(order);
    }
}

static void a_configuration_begins_with_its_resume(void **state) {
    struct tw_reenact_config plain = a_config("async"), permits = a_config("async");
    const struct tw_trace_input resume = {.kind = TW_INPUT_RESUME, .incarnation = 1};
    struct tw_trace_input turn = {.sequence = 5, .kind = TW_INPUT_TURN};
    struct tw_reenactment *order;
    struct tw_error error;
    put_mode(&turn, "k-batch-async:2");
    permits.sequencer.admission = true;
    assert_int_equal(tw_reenact_new(&order, &permits, &error), TW_OK);
    assert_int_equal(tw_reenact_configure(order, &plain.sequencer, &error), TW_OK);
    assert_int_equal(tw_reenact_input(order, &turn, &error), TW_DATA);
    assert_int_equal(tw_reenact_input(order, &resume, &error), TW_OK);
    assert_int_equal(tw_reenact_input(order, &turn, &error), TW_OK);
    tw_reenact_free(order);
}

/* A lead that has permits goes on as one that has not, or the other way round. */
static void configure_at_random(struct tw_reenactment *order, struct tw_reenact_config *config,
                                struct tw_rng *rng) {
    struct tw_trace_input resume = {.sequence = 1, .kind = TW_INPUT_RESUME, .incarnation = 1};
    struct tw_reenact_config other = *config;
    struct tw_error error;
    if (tw_rng_next(rng) % 20)
        return;
    other.sequencer.admission = !other.sequencer.admission;
    if (tw_reenact_configure(order, &other.sequencer, &error) == TW_OK)
        *config = other;
    if (tw_rng_next(rng) % 2)
        (void)tw_reenact_input(order, &resume, &error);
}

/* Small numbers, so that many of them mean something. */
static void any_inputs_in_any_order_do_no_harm(void **state) {
    static const char *const modes[] = {"sync",  "async",   "stale-uniform:2",
                                        "ssp:1", "hogwild", "k-batch-async:2"};
    enum { PERMITS = 4 }; /* so many of them may have them */
    enum { MODES = sizeof modes / sizeof *modes };
    struct tw_rng rng;
    tw_rng_init(&rng, 3, TW_STREAM_NOISE, 0, 0);
    records = 0;
    for (int run = 0; run < 50; run++) {
        struct tw_reenact_config config = a_config(modes[run % MODES]);
        struct tw_reenactment *order;
        config.sequencer.admission = run % MODES < PERMITS && run / MODES % 2;
        assert_int_equal(tw_reenact_new(&order, &config, NULL), TW_OK);
        for (uint64_t i = 1; i <= 400; i++) {
            struct tw_error error;
#define DRAW(n) (tw_rng_next(&rng) % (n))
            struct tw_trace_input input = {.sequence = i,
                                           .kind = (uint32_t)DRAW(18),
                                           .rank = (uint32_t)DRAW(WORKERS + 1),
                                           .shard = (uint32_t)(DRAW(8) == 0),
                                           .incarnation = (uint32_t)DRAW(3),
                                           .step = DRAW(4),
                                           .read = DRAW(12),
                                           .examples = DRAW(3),
                                           .loss = (double)DRAW(3),
                                           .flag = DRAW(4) > 0,
                                           .number = DRAW(6)};
            if (input.kind == TW_INPUT_TURN)
                put_mode(&input, modes[DRAW(MODES)]);
            if (i > 2 * WORKERS) {
                configure_at_random(order, &config, &rng);
            } else { /* all come first */
                input.kind = i % 2 ? TW_INPUT_JOIN : TW_INPUT_ATTACHED;
                input.rank = (uint32_t)(i - 1) / 2;
                input.incarnation = i % 2 ? 0 : 1;
                input.flag = input.shard = 0;
            }
            if (input.kind == TW_INPUT_STOP)
                continue;
            enum tw_status status = tw_reenact_input(order, &input, &error);
            assert_true(status == TW_OK || status == TW_DATA);
        }
        tw_reenact_free(order);
    }
    assert_true(records >= 50 * 2 * WORKERS); /* of each a JOIN and a RELEASE */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pushes_come_back_with_every_bit),
        cmocka_unit_test(sums_come_back_with_every_bit),
        cmocka_unit_test(members_and_all_others_come_back),
        cmocka_unit_test(what_is_no_input_is_refused),
        cmocka_unit_test(a_point_that_there_was_not_is_refused),
        cmocka_unit_test(permits_where_workers_go_on_are_refused),
        cmocka_unit_test(a_generation_that_cannot_be_is_refused),
        cmocka_unit_test(a_turn_that_no_server_makes_is_refused),
        cmocka_unit_test(a_checkpoint_of_a_mode_that_cannot_be_is_refused),
        cmocka_unit_test(a_configuration_begins_with_its_resume),
        cmocka_unit_test(any_inputs_in_any_order_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
