/* Corrections that change gradients: golden values against plain loops in double, nothing done to
 * what is fresh, the same bits for every split and instruction set, and what a job may stack. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "server/core/memory_plan.h"
#include "server/core/shard.h"
#include "tests/lib/corrections_text.h"
#include "tests/lib/cpu.h"

enum { COUNT = 1003 };

struct arrays {
    float g[COUNT], w[COUNT], read[COUNT], state[COUNT], out[COUNT];
};

/* No cancelling: gradient and step of the weights have one sign, so that a unit in the last place
 * means something. */
static struct arrays draw(uint64_t seed) {
    struct arrays a;
    struct tw_rng rng;
    tw_rng_init(&rng, seed, TW_STREAM_NOISE, 0, 0);
    for (int i = 0; i < COUNT; i++) {
        a.g[i] = (float)fabs(tw_rng_normal(&rng));
        a.read[i] = (float)tw_rng_normal(&rng);
        a.w[i] = a.read[i] + (float)fabs(tw_rng_normal(&rng));
        a.state[i] = (float)(0.1 + tw_rng_uniform(&rng));
        a.out[i] = 0;
    }
    return a;
}

static void run(const struct tw_corrections *stack, struct arrays *a, uint64_t staleness,
                size_t first, size_t count) {
    struct tw_correction_work work = {.count = count,
                                      .gradient = a->g + first,
                                      .weights = a->w + first,
                                      .read = a->read + first,
                                      .examples = 8,
                                      .updates = 5};
    struct tw_correction_states states = {{NULL}, {NULL}};
    for (uint32_t i = 0; i < stack->count; i++)
        if (stack->at[i].kind->state) {
            states.in[i] = a->state + first;
            states.out[i] = (stack->at[i].kind->observe ? a->out : a->state) + first;
        }
    tw_corrections_correct(stack, staleness, work, &states);
}

static void assert_near(double value, double expected, const char *what) {
    int exponent;
    frexp(expected, &exponent);
    if (fabs(value - expected) > 4 * ldexp(1, exponent - 24))
        fail_msg("%s: %.9g, not %.9g", what, value, expected);
}

/* ---- golden ---- */

static void delay_compensation_is_that_of_its_formula(void **state) {
    struct tw_corrections stack = tw_test_corrections("dc_asgd lambda=.04", NULL);
    struct arrays before = draw(1), after = before;
    run(&stack, &after, 3, 0, COUNT);
    for (int i = 0; i < COUNT; i++) {
        double g = (double)before.g[i] / 8, moved = (double)before.w[i] - (double)before.read[i];
        assert_near((double)after.g[i], 8 * (g + .04 * g * g * moved), "dc_asgd");
    }
}

static void adaptive_compensation_goes_by_the_mean_square(void **state) {
    struct tw_corrections stack = tw_test_corrections("dc_asgd_adaptive", NULL);
    struct arrays before = draw(2), after = before;
    run(&stack, &after, 1, 0, COUNT);
    for (int i = 0; i < COUNT; i++) {
        double g = (double)before.g[i] / 8, moved = (double)before.w[i] - (double)before.read[i];
        double square = .95 * (double)before.state[i] + .05 * g * g;
        assert_near((double)after.out[i], square, "mean square");
        assert_near((double)after.g[i], 8 * (g + 2 / sqrt(square + 1e-7) * g * g * moved),
                    "dc_asgd_adaptive");
    }
    assert_memory_equal(after.state, before.state, sizeof before.state); /* not yet committed */
}

static void gaps_are_counted_in_usual_steps(void **state) {
    struct tw_corrections stack = tw_test_corrections("gap_aware rho=.9", NULL);
    struct arrays before = draw(3), after = before;
    run(&stack, &after, 7, 0, COUNT);
    for (int i = 0; i < COUNT; i++) {
        double gap = (double)before.w[i] - (double)before.read[i];
        double usual = sqrt((double)before.state[i] / (1 - pow(.9, 5))) + 1e-8;
        assert_near((double)after.g[i], (double)before.g[i] / (1 + gap / usual), "gap_aware");
    }
}

static void momentum_leads_ahead_and_grows(void **state) {
    struct tw_corrections stack = tw_test_corrections("dana momentum=.75", NULL);
    struct arrays before = draw(7), after = before;
    run(&stack, &after, 3, 0, COUNT);
    for (int i = 0; i < COUNT; i++) {
        double g = (double)before.g[i] / 8, v = .75 * (double)before.state[i] + g;
        assert_near((double)after.out[i], v, "momentum");
        assert_near((double)after.g[i], 8 * (g + .75 * v), "dana");
    }
    assert_memory_equal(after.state, before.state, sizeof before.state); /* not yet committed */
    struct arrays fresh = before;
    run(&stack, &fresh, 0, 0, COUNT); /* late or not is all the same to it */
    assert_memory_equal(&fresh, &after, sizeof after);
}

/* All steps alike: C is that step, whatever rho is, and a gap of k of them divides by k + 1. */
static void a_gap_of_three_equal_steps_divides_by_four(void **state) {
    struct tw_corrections stack = tw_test_corrections("gap_aware rho=.75", NULL);
    float before[1] = {1}, after[1] = {1.5F}, square[1] = {0}, g[1] = {8};
    float w[1] = {4}, read[1] = {2.5F};
    struct tw_correction_states states = {{square}, {square}};
    for (int i = 0; i < 5; i++)
        tw_corrections_applied(&stack, before, after, 1, &states);
    struct tw_correction_work work = {
        .count = 1, .gradient = g, .weights = w, .read = read, .examples = 1, .updates = 5};
    tw_corrections_correct(&stack, 3, work, &states);
    assert_near((double)g[0], 2, "gap_aware");
}

static void what_is_fresh_keeps_its_bits_but_is_observed(void **state) {
    struct tw_corrections stack = tw_test_corrections("gap_aware", "dc_asgd_adaptive", NULL);
    struct arrays before = draw(4), after = before;
    before.g[0] = after.g[0] = -0.0F;
    run(&stack, &after, 0, 0, COUNT);
    assert_memory_equal(after.g, before.g, sizeof before.g);
    assert_memory_not_equal(after.out, before.out, sizeof before.out);
}

/* ---- bits ---- */

static const char *const lines[] = {"dc_asgd", "dc_asgd_adaptive", "gap_aware", "dana"};
enum { LINES = sizeof lines / sizeof *lines };

static void the_split_does_not_matter(void **state) {
    for (int l = 0; l < LINES; l++) {
        struct tw_corrections stack = tw_test_corrections(lines[l], NULL);
        struct arrays whole = draw(5), parts = whole;
        run(&stack, &whole, 2, 0, COUNT);
        for (size_t first = 0, count; first < COUNT; first += count) {
            count = first + 17 < COUNT ? 17 : COUNT - first;
            run(&stack, &parts, 2, first, count);
        }
        assert_memory_equal(&whole, &parts, sizeof whole);
    }
}

#define DECLARE(set)                                                                               \
    extern const struct tw_correction set##_tw_correction_dc_asgd,                                 \
        set##_tw_correction_dc_asgd_adaptive, set##_tw_correction_gap_aware,                       \
        set##_tw_correction_dana;
#define SET(set)                                                                                   \
    {#set,                                                                                         \
     {&set##_tw_correction_dc_asgd, &set##_tw_correction_dc_asgd_adaptive,                         \
      &set##_tw_correction_gap_aware, &set##_tw_correction_dana}},
TW_TEST_SETS(DECLARE)

static const struct set {
    const char *name;
    const struct tw_correction *kind[LINES];
} sets[] = {TW_TEST_SETS(SET)};

static void the_instruction_set_does_not_matter(void **state) {
    TW_TEST_EACH_SET(set, sets) {
        for (int l = 0; l < LINES; l++) {
            struct tw_corrections stack = tw_test_corrections(lines[l], NULL);
            struct arrays ours = draw(6), theirs = ours;
            float before[COUNT], after[COUNT];
            run(&stack, &ours, 2, 0, COUNT);
            memcpy(before, ours.w, sizeof before);
            memcpy(after, ours.read, sizeof after);
            if (stack.at[0].kind->watch)
                stack.at[0].kind->watch(&stack.at[0].options, before, after, ours.state, COUNT);
            assert_ptr_not_equal(stack.at[0].kind->correct, set->kind[l]->correct);
            stack.at[0].kind = set->kind[l];
            run(&stack, &theirs, 2, 0, COUNT);
            if (stack.at[0].kind->watch)
                stack.at[0].kind->watch(&stack.at[0].options, before, after, theirs.state, COUNT);
            assert_memory_equal(&ours, &theirs, sizeof ours);
        }
    }
}

/* ---- memory ---- */

#define JOB                                                                                        \
    "model: {tensors: {w: [1000000]}}\nupdates: 1\noptimizer: {name: sgd, lr: 1}\n"                \
    "cluster: {workers: 4}\nconsistency: {mode: async}\n"

static enum tw_status plan(const char *more, struct tw_memory_plan *out, struct tw_error *error) {
    char text[512];
    struct tw_job *job;
    struct tw_layout layout;
    struct tw_chunk chunk[64];
    struct tw_dial dial;
    snprintf(text, sizeof text, JOB "%s", more);
    if (tw_job_parse(&job, "job.yaml", text, strlen(text), NULL, 0, error))
        fail_msg("%s", error->text);
    assert_int_equal(
        tw_layout_init(&layout, &job->model.tensors, job->chunk_bytes, 1, chunk, error), TW_OK);
    assert_int_equal(tw_dial_parse("async", (struct tw_where){0}, 4, &dial, error), TW_OK);
    enum tw_status status = tw_memory_plan(job, &layout, 0, &dial, NULL, 0, out, error);
    tw_job_free(job);
    return status;
}

/* 4 MB of weights and 4 workers: 5 planes without, 9 with, and no way with less. */
static void remembered_weights_count_for_the_memory_in_flight(void **state) {
    struct tw_memory_plan got;
    struct tw_error error;
    assert_int_equal(plan("memory: {inflight: 21MiB}\n", &got, &error), TW_OK);
    assert_true(!got.admission && got.spares == 1);
    assert_int_equal(plan("memory: {inflight: 21MiB}\ncorrections: [dc_asgd]\n", &got, &error),
                     TW_JOB);
    assert_non_null(strstr(error.text, "memory.inflight"));
    assert_non_null(strstr(error.text, "corrections remember weights"));
    assert_int_equal(plan("memory: {inflight: 36MiB}\ncorrections: [dc_asgd]\n", &got, &error),
                     TW_OK);
    assert_true(!got.admission && got.spares == 1);
    assert_int_equal(
        plan("memory: {inflight: 5MiB}\ncorrections: [staleness_power]\n", &got, &error), TW_OK);
    assert_true(got.admission);
    assert_int_equal(plan("corrections: [gap_aware]\n", &got, &error), TW_OK); /* takes its own */
    assert_false(got.admission);
    assert_int_equal(plan("memory: {inflight: 5MiB}\ncorrections: [dana]\n", &got, &error), TW_JOB);
    assert_non_null(strstr(error.text, "corrections look at each gradient as a whole"));
    assert_int_equal(plan("memory: {inflight: 21MiB}\ncorrections: [dana]\n", &got, &error), TW_OK);
    assert_false(got.admission);
}

static void gradients_of_several_weights_are_refused(void **state) {
    static const char *const names[] = {"dc_asgd", "gap_aware", "dana", "staleness_power"};
    for (int i = 0; i < 4; i++) {
        char text[512];
        struct tw_error error;
        struct tw_corrections stack;
        struct tw_job *job;
        snprintf(text, sizeof text, JOB "corrections: [%s]\n", names[i]);
        assert_int_equal(tw_job_parse(&job, "job.yaml", text, strlen(text), NULL, 0, &error),
                         TW_OK);
        job->local = i % 2 ? (struct tw_local_steps){.steps = 1, .rho = .1}
                           : (struct tw_local_steps){.steps = 4};
        assert_int_equal(tw_corrections_find(&stack, job, &error), i < 3 ? TW_JOB : TW_OK);
        if (i < 3)
            assert_non_null(strstr(error.text, "local_steps"));
        tw_job_free(job);
    }
}

static void two_of_a_family_are_refused(void **state) {
    struct tw_error error;
    struct tw_corrections stack;
    struct tw_job *job;
    static const char text[] = JOB "corrections: [dc_asgd, dc_asgd_adaptive]\n";
    assert_int_equal(tw_job_parse(&job, "job.yaml", text, strlen(text), NULL, 0, &error), TW_OK);
    assert_int_equal(tw_corrections_find(&stack, job, &error), TW_JOB);
    assert_non_null(strstr(error.text, "DC-ASGD"));
    tw_job_free(job);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delay_compensation_is_that_of_its_formula),
        cmocka_unit_test(adaptive_compensation_goes_by_the_mean_square),
        cmocka_unit_test(gaps_are_counted_in_usual_steps),
        cmocka_unit_test(momentum_leads_ahead_and_grows),
        cmocka_unit_test(a_gap_of_three_equal_steps_divides_by_four),
        cmocka_unit_test(what_is_fresh_keeps_its_bits_but_is_observed),
        cmocka_unit_test(the_split_does_not_matter),
        cmocka_unit_test(the_instruction_set_does_not_matter),
        cmocka_unit_test(remembered_weights_count_for_the_memory_in_flight),
        cmocka_unit_test(gradients_of_several_weights_are_refused),
        cmocka_unit_test(two_of_a_family_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
