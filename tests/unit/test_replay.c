#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "tests/unit/replay_desk.h"
#include "worker/nn/gemm.h"

static void every_log_gives_the_bits_of_the_reference(void **state) {
    static const struct {
        uint32_t slots, width, parts, local;
    } shapes[] = {{1, 1, 1, 1}, {2, 1, 1, 1}, {3, 1, 1, 1}, {7, 1, 1, 1},
                  {8, 1, 1, 1}, {4, 4, 1, 1}, {8, 2, 1, 1}, {3, 1, 4, 1},
                  {4, 2, 2, 1}, {3, 1, 1, 3}, {4, 2, 2, 2}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int optimizer = 0; optimizer < tw_optimizer_count; optimizer++)
            for (int fresh = 0; fresh < 2; fresh++) {
                struct desk *d = desk_new(shapes[i].slots, shapes[i].width, optimizer,
                                          1 + i * 10 + (uint64_t)optimizer);
                d->config.parts = shapes[i].parts;
                d->config.local = (struct tw_local_steps){shapes[i].local, 0.1, 0};
                d->config.shaping.local_steps = shapes[i].local;
                d->config.fresh = d->config.changed = fresh;
                desk_start(d);
                while (d->version < 25)
                    desk_happens(d);
                assert_int_equal(tw_replay_total(d->replay)->samples, d->samples);
                desk_free(d);
            }
}

static void elastic_slots_keep_weights_of_their_own(void **state) {
    static const struct {
        uint32_t slots, width, parts, local;
    } shapes[] = {{1, 1, 1, 1}, {4, 1, 1, 1}, {3, 1, 2, 3}, {4, 2, 2, 2}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int way = 0; way < 4; way++) {
            struct desk *d =
                desk_new(shapes[i].slots, shapes[i].width, 0, 1 + i * 10 + (uint64_t)way);
            d->config.parts = shapes[i].parts;
            d->config.local = (struct tw_local_steps){shapes[i].local, 0.1, 1.5};
            d->config.shaping.sum = true;
            d->config.fresh = d->config.changed = way % 2;
            d->config.push = d->config.pull = way / 2 ? TW_ENCODING_BF16 : TW_ENCODING_F32;
            desk_start(d);
            while (d->version < 40)
                desk_happens(d);
            desk_free(d);
        }
}

static void with_every_encoding_too(void **state) {
    static const struct {
        uint32_t slots, width, parts;
    } shapes[] = {{3, 1, 2}, {4, 4, 1}, {8, 2, 1}};
    for (uint32_t way = 1; way < TW_ENCODINGS * TW_ENCODINGS; way++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            struct desk *d = desk_new(shapes[i].slots, shapes[i].width, 0, 1 + i * 10 + way);
            d->config.parts = shapes[i].parts;
            d->config.push = way % TW_ENCODINGS;
            d->config.pull = way / TW_ENCODINGS;
            d->config.fresh = d->config.changed = way % 2;
            desk_start(d);
            while (d->version < 25)
                desk_happens(d);
            desk_free(d);
        }
}

static void scalars_are_those_of_the_log_unless_the_rule_is_another(void **state) {
    for (int own = 0; own < 2; own++) {
        struct desk *d = desk_new(1, 1, 0, 3);
        float before;
        d->config.own_scalars = own;
        desk_start(d);
        desk_release(d, 0, false);
        struct tw_record record = desk_record(d, TW_RECORD_COMMIT);
        d->contribution[0] = (struct tw_contribution){.step = 1, .read = 1};
        record.version = 1;
        record.count = 1;
        record.contributions = d->contribution;
        desk_update(d, &record, (const uint32_t[]){0});
        before = d->weights[0];
        d->scalars[0] = 0; /* the log says: a rate of 0 */
        assert_int_equal(tw_replay_record(d->replay, &record, &d->error), TW_OK);
        desk_fill(d, d->weights);
        float expected = own ? before : d->weights[0];
        assert_true(tw_replay_weights(d->replay)[0] == expected);
        assert_true(before != d->weights[0]);
        desk_free(d);
    }
}

static int find_rule(const char *name) {
    for (int i = 0; i < tw_optimizer_count; i++)
        if (strcmp(tw_optimizers[i]->name, name) == 0)
            return i;
    fail_msg("no rule %s", name);
    return 0;
}

/* Each ratio of a layer-wise rule is compared, and a log of another rule is not for it. */
static void ratios_are_those_of_the_log_and_compared(void **state) {
    for (int wrong = 0; wrong < 4; wrong++) {
        struct desk *d = desk_new(1, 1, find_rule(wrong == 3 ? "adam" : "lamb"), 3);
        d->config.changed = wrong == 2;
        desk_start(d);
        desk_release(d, 0, false);
        struct tw_record record = desk_record(d, TW_RECORD_COMMIT);
        d->contribution[0] = (struct tw_contribution){.step = 1, .read = 1};
        record.version = 1;
        record.count = 1;
        record.contributions = d->contribution;
        desk_update(d, &record, (const uint32_t[]){0});
        if (wrong == 3)
            record.ratio_count = 1;
        else
            d->ratios[1] = wrong ? 0 : d->ratios[1];
        enum tw_status status = tw_replay_record(d->replay, &record, &d->error);
        assert_int_equal(status, wrong == 1 ? TW_NUMERICS : wrong == 3 ? TW_DATA : TW_OK);
        if (wrong == 1)
            assert_non_null(strstr(d->error.text, "the ratio of tensor "));
        if (wrong == 3)
            assert_non_null(strstr(d->error.text, "ratios of 1 tensors, where 0"));
        desk_free(d);
    }
}

/* ---- logs that cannot be ---- */

/* Two slots have read at positions 1 and 2, update 1 was made of slot 0's first step
 * (position 3), slot 0 reads again at 4. */
static struct desk *begin(struct tw_record *next) {
    struct desk *d = desk_new(2, 1, 0, 5);
    desk_start(d);
    desk_release(d, 0, false);
    desk_release(d, 1, false);
    struct tw_record record = desk_record(d, TW_RECORD_COMMIT);
    d->contribution[0] = (struct tw_contribution){.slot = 0, .step = 1, .read = 1};
    record.version = ++d->version;
    record.count = 1;
    record.contributions = d->contribution;
    desk_update(d, &record, (const uint32_t[]){0});
    d->read[0].out = false;
    d->settled[0] = 1;
    desk_feed(d, &record);
    desk_release(d, 0, false);
    /* A good one: both slots. */
    *next = desk_record(d, TW_RECORD_COMMIT);
    d->contribution[0] = (struct tw_contribution){.slot = 0, .step = 2, .read = 4};
    d->contribution[1] = (struct tw_contribution){.slot = 1, .step = 1, .read = 2, .staleness = 1};
    next->version = 2;
    next->count = 2;
    next->contributions = d->contribution;
    struct desk *copy = d;
    float *kept = calloc(d->elements, sizeof(float));
    memcpy(kept, d->weights, d->elements * sizeof(float));
    desk_update(copy, next, (const uint32_t[]){0, 1});
    memcpy(d->weights, kept, d->elements * sizeof(float));
    free(kept);
    return d;
}

static void assert_wrong(struct desk *d, const struct tw_record *record, enum tw_status status,
                         const char *words) {
    assert_int_equal(tw_replay_record(d->replay, record, &d->error), status);
    assert_int_equal(d->error.status, status);
    if (strncmp(d->error.text, "record 5 (", 10) != 0 || !strstr(d->error.text, words))
        fail_msg("%s: not \"record 5 (...%s\"", d->error.text, words);
    assert_int_equal(tw_replay_total(d->replay)->version, 1);
    assert_memory_equal(tw_replay_weights(d->replay), d->weights, d->elements * sizeof(float));
    desk_free(d);
}

static void the_log_of_these_tests_is_good(void **state) {
    struct tw_record record;
    struct desk *d = begin(&record);
    assert_int_equal(tw_replay_record(d->replay, &record, &d->error), TW_OK);
    const struct tw_replay_total *total = tw_replay_total(d->replay);
    assert_int_equal(total->contributions, 3);
    assert_int_equal(total->staleness_sum, 1);
    assert_int_equal(total->staleness_max, 1);
    desk_free(d);
}

static void contributions_that_cannot_be(void **state) {
    static const struct {
        int which;
        struct tw_contribution is;
        const char *words;
    } rows[] = {
        {1, {.slot = 2, .step = 1, .read = 2, .staleness = 1}, "slot 2, but the job has 2"},
        {0, {.slot = 0, .step = 1, .read = 1}, "did not leave for it"},
        {0, {.slot = 0, .step = 2, .read = 1}, "did not leave for it"},
        {1, {.slot = 1, .step = 2, .read = 2, .staleness = 1}, "did not leave for it"},
        {1, {.slot = 1, .step = 1, .read = 2}, "its staleness is 1, the record says 0"},
        {1, {.slot = 0, .step = 2, .read = 4}, "not in slot order"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tw_record record;
        struct desk *d = begin(&record);
        d->contribution[rows[i].which] = rows[i].is;
        assert_wrong(d, &record, TW_DATA, rows[i].words);
    }
}

static void turns_and_evictions_that_cannot_be(void **state) {
    struct tw_record record;
    struct desk *d = begin(&record);
    record = desk_record(d, TW_RECORD_DIAL);
    record.mode = "k-sync:3";
    assert_wrong(d, &record, TW_DATA, "it turns to a mode that is not for this job: ");
    d = begin(&record);
    record = desk_record(d, TW_RECORD_EVICT);
    record.rank = record.slot = 2;
    assert_wrong(d, &record, TW_DATA, "slot 2, but the job has 2");
}

static void verdicts_that_cannot_be(void **state) {
    struct tw_record record;
    struct desk *d = begin(&record);
    record = desk_record(d, TW_RECORD_VERDICT);
    assert_wrong(d, &record, TW_DATA, "the job has no schedule that watches a loss");
    d = begin(&record);
    record = desk_record(d, TW_RECORD_VERDICT);
    record.verdict = (struct tw_verdict){.on = TW_VERDICT_END};
    assert_wrong(d, &record, TW_DATA, "the job has no stop that watches a loss");
    d = begin(&record);
    record = desk_record(d, TW_RECORD_VERDICT);
    record.verdict = (struct tw_verdict){.on = TW_VERDICT_END, .stop = TW_STOP_GRADIENT};
    assert_wrong(d, &record, TW_DATA, "the job has no stop that watches a gradient");
}

/* Slot 1 had step 1, slot 0 step 2. */
static void after_a_turn_what_was_out_is_over(void **state) {
    struct tw_record late;
    struct desk *d = begin(&late);
    desk_dial(d, "async");
    assert_int_equal(tw_replay_total(d->replay)->dropped, 2);
    late.position++;
    assert_int_equal(tw_replay_record(d->replay, &late, &d->error), TW_DATA);
    assert_non_null(strstr(d->error.text, "did not leave for it"));
    desk_free(d);
}

static void what_was_recorded_is_compared(void **state) {
    struct tw_record record;
    struct desk *d = begin(&record);
    d->contribution[1].loss = nextafter(d->contribution[1].loss, 1e9);
    assert_wrong(d, &record, TW_NUMERICS, "update 2 is the first that differs: the loss of slot 1");
    d = begin(&record);
    d->contribution[0].examples++;
    assert_wrong(d, &record, TW_DATA, "examples");
}

static void places_that_cannot_be(void **state) {
    struct tw_record record;
    struct desk *d = begin(&record);
    record.version = 3;
    assert_wrong(d, &record, TW_DATA, "its version is 3, where 2 would be right");
    d = begin(&record);
    record = desk_record(d, TW_RECORD_RELEASE);
    record.step = 1;
    assert_wrong(d, &record, TW_DATA, "slot 0 is to compute step 1, but it is at 1");
    d = begin(&record);
    record = desk_record(d, TW_RECORD_RELEASE);
    record.slot = 7;
    assert_wrong(d, &record, TW_DATA, "slot 7");
    d = begin(&record);
    record = desk_record(d, TW_RECORD_JOIN);
    record.numerics = "theirs";
    assert_wrong(d, &record, TW_NUMERICS, "\"theirs\", here it is \"ours\"");
}

static void no_log_makes_it_keep_more_than_workers_can_compute(void **state) {
    struct desk *d = desk_new(2, 1, 0, 5);
    struct tw_record record;
    enum tw_status status = TW_OK;
    desk_start(d);
    for (uint64_t step = 1; status == TW_OK && step < 100; step++) {
        record = desk_record(d, TW_RECORD_RELEASE);
        record.position = step;
        record.step = step;
        status = tw_replay_record(d->replay, &record, &d->error);
    }
    assert_int_equal(status, TW_DATA);
    assert_non_null(strstr(d->error.text, "more gradients are being computed than 2 workers"));
    assert_int_equal(record.step, 5);
    desk_free(d);
}

static void inexact_goes_on(void **state) {
    struct desk *d = desk_new(1, 1, 0, 5);
    d->config.inexact = true;
    desk_start(d);
    struct tw_record record = desk_record(d, TW_RECORD_JOIN);
    record.numerics = "theirs";
    desk_feed(d, &record);
    desk_release(d, 0, false);
    record = desk_record(d, TW_RECORD_COMMIT);
    d->contribution[0] = (struct tw_contribution){.step = 1, .read = 2};
    record.version = ++d->version;
    record.count = 1;
    record.contributions = d->contribution;
    desk_update(d, &record, (const uint32_t[]){0});
    d->contribution[0].loss += 1;
    desk_feed(d, &record);
    desk_free(d);
}

/* A COMMIT of the only slot's next step. */
static enum tw_status commit_next(struct desk *d, const struct desk_read *read, double rate) {
    struct tw_record record = desk_record(d, TW_RECORD_COMMIT);
    d->contribution[0] = (struct tw_contribution){.step = read->step, .read = read->position};
    record.version = d->version + 1;
    record.count = 1;
    record.contributions = d->contribution;
    record.scalar_count = 1;
    record.scalars = &rate;
    return tw_replay_record(d->replay, &record, &d->error);
}

static void an_update_that_is_not_finite_is_named(void **state) {
    struct desk *d = desk_new(1, 1, 0, 5);
    d->config.changed = true;
    desk_start(d);
    desk_release(d, 0, false);
    assert_int_equal(commit_next(d, &d->read[0], 1e38), TW_OK);
    d->version++;
    struct tw_record record = {.position = 3, .kind = TW_RECORD_RELEASE, .version = 1, .step = 2};
    assert_int_equal(tw_replay_record(d->replay, &record, &d->error), TW_OK);
    d->position = 3;
    struct desk_read second = {.step = 2, .position = 3};
    assert_int_equal(commit_next(d, &second, 1), TW_NOT_FINITE);
    assert_non_null(strstr(d->error.text, "record 4 (COMMIT): update 2 is not finite"));
    desk_free(d);
}

/* ---- what is known of the weights ---- */

/* The only slot's next update, to be fed; d->weights are those after it. */
static struct tw_record next_update(struct desk *d) {
    desk_release(d, 0, false);
    struct desk_read *read = desk_find(d, 0, d->begun[0]);
    struct tw_record record = desk_record(d, TW_RECORD_COMMIT);
    d->contribution[0] = (struct tw_contribution){.step = d->begun[0], .read = read->position};
    record.version = ++d->version;
    record.count = 1;
    record.contributions = d->contribution;
    desk_update(d, &record, (const uint32_t[]){(uint32_t)(read - d->read)});
    read->out = false;
    d->settled[0]++;
    return record;
}

static uint64_t hash_of(const struct desk *d) {
    struct tw_sample sample;
    const float *at = d->weights;
    tw_sample_begin(&sample, d->version, true, false);
    for (int t = 0; t < d->model->list.count; t++) {
        size_t count = (size_t)d->model->list.tensors[t].elements;
        tw_sample_hash(&sample, (uint32_t)t, 0, at, count);
        at += count;
    }
    return sample.hash;
}

/* No sums are due in between, which would clear what the last one left. */
static void each_hash_is_of_its_own_update(void **state) {
    struct desk *d = desk_new(1, 1, 0, 5);
    desk_start(d);
    for (uint64_t version = 1; version <= 4; version++) {
        struct tw_record record = next_update(d);
        struct tw_replay_expected expected = {
            .version = version, .hashed = true, .hash = hash_of(d)};
        if (version != 3)
            tw_replay_expect(d->replay, &expected);
        desk_feed(d, &record);
    }
    assert_int_equal(tw_replay_total(d->replay)->checked, 3);
    struct tw_record record = next_update(d);
    tw_replay_expect(d->replay, &(struct tw_replay_expected){
                                    .version = 5, .hashed = true, .hash = hash_of(d) + 1});
    assert_int_equal(tw_replay_record(d->replay, &record, &d->error), TW_NUMERICS);
    desk_free(d);
}

/* ---- borders, evaluation ---- */

static void epochs_end_as_in_the_sequencer(void **state) {
    struct desk *d = desk_new(1, 1, 0, 5);
    d->config.end_updates = 4; /* of 19 samples each: epochs of 50 end in updates 3, 6 ... */
    desk_start(d);
    double loss[4];
    for (int i = 0; i < 4; i++) {
        struct tw_record record = next_update(d);
        loss[i] = d->contribution[0].loss;
        desk_feed(d, &record);
        const struct tw_replay_total *total = tw_replay_total(d->replay);
        assert_int_equal(total->borders, i < 2 ? 0 : i - 1);
        assert_true(i >= 2 || isnan(total->train_loss));
        assert_true(i != 2 || total->train_loss == (loss[0] + loss[1] + loss[2]) / 57);
        assert_true(i != 3 || total->train_loss == loss[3] / 19);
    }
    desk_free(d);
}

static void an_evaluator_would_get_the_weights(void **state) {
    struct desk *d = desk_new(1, 1, 0, 5);
    desk_start(d);
    assert_ptr_equal(tw_replay_evaluated(d->replay)[0], tw_replay_weights(d->replay));
    desk_free(d);
}

static int start(void **state) {
    struct tw_error error;
    if (tw_gemm_start(NULL, &error) != TW_OK)
        fail_msg("%s", error.text);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_log_gives_the_bits_of_the_reference),
        cmocka_unit_test(elastic_slots_keep_weights_of_their_own),
        cmocka_unit_test(with_every_encoding_too),
        cmocka_unit_test(ratios_are_those_of_the_log_and_compared),
        cmocka_unit_test(scalars_are_those_of_the_log_unless_the_rule_is_another),
        cmocka_unit_test(the_log_of_these_tests_is_good),
        cmocka_unit_test(contributions_that_cannot_be),
        cmocka_unit_test(turns_and_evictions_that_cannot_be),
        cmocka_unit_test(verdicts_that_cannot_be),
        cmocka_unit_test(after_a_turn_what_was_out_is_over),
        cmocka_unit_test(what_was_recorded_is_compared),
        cmocka_unit_test(places_that_cannot_be),
        cmocka_unit_test(no_log_makes_it_keep_more_than_workers_can_compute),
        cmocka_unit_test(inexact_goes_on),
        cmocka_unit_test(an_update_that_is_not_finite_is_named),
        cmocka_unit_test(each_hash_is_of_its_own_update),
        cmocka_unit_test(epochs_end_as_in_the_sequencer),
        cmocka_unit_test(an_evaluator_would_get_the_weights),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
