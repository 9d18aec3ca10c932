/* What is done around the rules: divisors, groups, and one update by hand for each of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "server/core/shaping.h"
#include "tests/lib/variant_text.h"

static struct tw_error error;

static const struct tw_optimizer *rule(const char *line, struct tw_optimizer_options *options) {
    const struct tw_optimizer *optimizer;
    if (tw_optimizer_find(&optimizer, options, tw_test_variant(line), &error) != TW_OK)
        fail_msg("%s", error.text);
    return optimizer;
}

/* ---- what the sequencer decides ---- */

static void a_mean_needs_no_saying(void **state) {
    struct tw_shaping shaping = {.rates = 1, .rate = {1}};
    assert_true(tw_shaping_divisor(&shaping, 128, 128, 1e9) == 0);
    shaping.sum = true;
    assert_true(tw_shaping_divisor(&shaping, 128, 128, 1e9) == 1);
}

/* 4 of 32 examples each: the sum of their means, whose norm is what is clipped. */
static void of_local_steps_the_means_are_added(void **state) {
    struct tw_shaping shaping = {.rates = 1, .rate = {1}, .local_steps = 4};
    assert_true(tw_shaping_divisor(&shaping, 128, 128, 1e9) == 32);
    assert_true(tw_shaping_norm(&shaping, 128, 64 * 64) == 2);
    shaping.clip_norm = 1;
    assert_true(tw_shaping_divisor(&shaping, 128, 128, 64 * 64) == 64);
    assert_true(tw_shaping_divisor(&shaping, 128, 128, 32 * 32) == 32);
}

static void clips_by_the_norm_of_what_is_applied(void **state) {
    struct tw_shaping shaping = {.clip_norm = 1};
    assert_true(tw_shaping_divisor(&shaping, 1, 1, 25) == 5);
    assert_true(tw_shaping_divisor(&shaping, 5, 5, 25) == 0); /* the mean has norm 1: not above */
    assert_true(tw_shaping_divisor(&shaping, 4, 4, 25) == 5);
    assert_true(tw_shaping_divisor(&shaping, 1, 1, 0) == 0);
    shaping = (struct tw_shaping){.clip_norm = 2, .sum = true};
    assert_true(tw_shaping_divisor(&shaping, 100, 100, 25) == 2.5);
    assert_true(tw_shaping_divisor(&shaping, 100, 100, 4) == 1);
}

static void every_rate_has_scalars_of_its_own(void **state) {
    struct tw_optimizer_options options;
    const struct tw_optimizer *adam = rule("adam lr=.1", &options);
    const struct tw_pace still = {.epoch_samples = 0};
    struct tw_shaping shaping = {.rates = 3, .rate = {1, .5, 4}};
    double got[TW_RECORD_SCALARS] = {0}, exact[TW_OPTIMIZER_SCALARS];
    assert_int_equal(tw_shaping_scalars(&shaping), 3 * TW_OPTIMIZER_SCALARS);
    assert_true(tw_shaping_prepare(&shaping, &still, adam, &options, 1, 6, 0, got) == .1);
    for (int i = 0; i < 3; i++) {
        adam->prepare(&options, 7, shaping.rate[i] * .1, exact);
        assert_memory_equal(got + i * TW_OPTIMIZER_SCALARS, exact, sizeof exact);
    }
    for (int i = 3 * TW_OPTIMIZER_SCALARS; i < TW_RECORD_SCALARS; i++)
        assert_true(got[i] == 0);
}

/* ---- what shards do ---- */

/* One update of sgd with lr 1: from weights and the summed gradient to new weights. */
static void apply(const struct tw_shaping *shaping, uint32_t tensor, uint64_t examples,
                  double squares, float weights[2], float gradient[2]) {
    struct tw_optimizer_options options;
    const struct tw_optimizer *sgd = rule("sgd lr=1", &options);
    const struct tw_pace still = {.epoch_samples = 0};
    double scalars[TW_RECORD_SCALARS];
    float out[2];
    struct tw_update_terms terms = {.examples = examples, .scalars = scalars};
    terms.rate = tw_shaping_prepare(shaping, &still, sgd, &options, 1, 0, 0, scalars);
    terms.divisor = tw_shaping_divisor(shaping, examples, (double)examples, squares);
    struct tw_optimizer_float work = {.count = 2, .weights_in = weights, .weights_out = out};
    tw_shaping_apply(shaping, sgd, &options, &terms, tensor, &work, gradient);
    memcpy(weights, out, sizeof out);
}

static void three_and_four_clipped_by_norm_one_are_exactly_point_six_and_point_eight(void **state) {
    const struct tw_shaping shaping = {.clip_norm = 1};
    float w[2] = {0, 0}, g[2] = {3, 4};
    apply(&shaping, 0, 1, 25, w, g);
    assert_true(w[0] == -.6f && w[1] == -.8f);
    float v[2] = {0, 0}, h[2] = {9, 12}; /* the sum over three examples */
    apply(&shaping, 0, 3, 225, v, h);
    assert_true(v[0] == -.6f && v[1] == -.8f);
}

static void values_are_clipped_after_the_mean(void **state) {
    const struct tw_shaping shaping = {.clip_value = .5};
    float w[2] = {1, 1}, g[2] = {-4, .5f};
    apply(&shaping, 0, 2, 0, w, g);
    assert_true(w[0] == 1.5f && w[1] == .75f);
}

static void a_penalty_is_part_of_the_gradient_and_a_decay_is_not(void **state) {
    const struct tw_shaping penalty = {.l2 = .25}, decay = {.decoupled = .25};
    float w[2] = {8, -4}, g[2] = {1, 0};
    apply(&penalty, 0, 1, 0, w, g);
    assert_true(w[0] == 8 - (1 + 2) && w[1] == -4 + 1);
    float v[2] = {8, -4}, h[2] = {1, 0};
    apply(&decay, 0, 1, 0, v, h);
    assert_true(v[0] == 8 * .75f - 1 && v[1] == -4 * .75f);
}

static void the_decay_is_outside_of_adams_moments(void **state) {
    struct tw_optimizer_options options;
    const struct tw_optimizer *adam = rule("adam lr=.5 eps=0", &options);
    const struct tw_pace still = {.epoch_samples = 0};
    const struct tw_shaping shaping = {.decoupled = .1};
    double scalars[TW_RECORD_SCALARS];
    float w = 2, g = -7, m = 0, v = 0;
    struct tw_update_terms terms = {.examples = 1, .scalars = scalars};
    terms.rate = tw_shaping_prepare(&shaping, &still, adam, &options, 1, 0, 0, scalars);
    struct tw_optimizer_float work = {
        .count = 1, .weights_in = &w, .weights_out = &w, .state = {&m, &v}};
    tw_shaping_apply(&shaping, adam, &options, &terms, 0, &work, &g);
    /* Adam's first step is lr, whatever the gradient: 2 (1 - .05) + .5 */
    assert_true(fabsf(w - 2.4f) < 1e-6f);
    assert_true(fabsf(m + .7f) < 1e-6f);
}

static void groups_have_rates_and_no_decay(void **state) {
    const struct tw_treatment treatment[] = {{.decay = true}, {.rate = 1}};
    const struct tw_shaping shaping = {
        .rates = 2, .rate = {1, .5}, .l2 = 1, .treatment = treatment};
    float w[2] = {8, 8}, g[2] = {2, 2}, v[2] = {8, 8}, h[2] = {2, 2};
    apply(&shaping, 0, 1, 0, w, g);
    assert_true(w[0] == 8 - (2 + 8));
    apply(&shaping, 1, 1, 0, v, h);
    assert_true(v[0] == 8 - 1);
}

/* Two examples, sums of which are 8 and -2; clips, decays and rates are not for statistics. */
static void statistics_become_an_average_of_means(void **state) {
    struct tw_optimizer_options options;
    const struct tw_optimizer *adam = rule("adam lr=1", &options);
    const struct tw_treatment treatment[] = {
        {.decay = true, .rate = 1, .update = TW_TENSOR_RUNNING, .keep = .75},
        {.decay = true, .update = TW_TENSOR_MEAN}};
    const struct tw_shaping shaping = {.sum = true,
                                       .clip_value = .5,
                                       .l2 = 1,
                                       .decoupled = .5,
                                       .rates = 2,
                                       .rate = {1, .1},
                                       .treatment = treatment};
    const double scalars[TW_RECORD_SCALARS] = {0};
    float w[2] = {16, 4}, m[2] = {0}, v[2] = {0}, g[2] = {8, -2};
    struct tw_update_terms terms = {
        .version = 4, .examples = 2, .divisor = 100, .rate = 1, .scalars = scalars};
    struct tw_optimizer_float work = {
        .count = 2, .weights_in = w, .weights_out = w, .state = {m, v}};
    tw_shaping_apply(&shaping, adam, &options, &terms, 0, &work, g);
    assert_true(w[0] == 13 && w[1] == 2.75f); /* 3/4 of itself, 1/4 of 4 and -1 */
    w[0] = 16, w[1] = 4, g[0] = 8, g[1] = -2;
    tw_shaping_apply(&shaping, adam, &options, &terms, 1, &work, g);
    assert_true(w[0] == 13 && w[1] == 2.75f); /* the fourth of four */
    g[0] = 6, g[1] = 10, terms.version = 1;
    tw_shaping_apply(&shaping, adam, &options, &terms, 1, &work, g);
    assert_true(w[0] == 3 && w[1] == 5); /* of what was there before the first nothing is left */
    assert_true(m[0] == 0 && v[0] == 0);
}

/* ---- from the job ---- */

enum { TENSORS = 4 };
static struct tw_treatment treatment[TENSORS];

static enum tw_status find(struct tw_shaping *shaping, struct tw_job *job, const char *optimizer) {
    static const char *const names[] = {"dense1.weight", "dense1.bias", "dense2.weight",
                                        "dense2.bias"};
    static struct tw_tensor tensors[TENSORS];
    const struct tw_tensor_list list = {TENSORS, tensors};
    struct tw_optimizer_options options;
    for (int t = 0; t < TENSORS; t++)
        snprintf(tensors[t].name, sizeof tensors[t].name, "%s", names[t]);
    job->decay_where = (struct tw_where){"job.yaml", 3};
    return tw_shaping_find(shaping, job, rule(optimizer, &options), &list, treatment, &error);
}

static void the_first_group_that_fits_counts(void **state) {
    struct tw_job_group groups[] = {{.pattern = "dense2.*", .rate = 2, .decay = true},
                                    {.pattern = "*.bias", .rate = 1, .decay = false},
                                    {.pattern = "d?nse1.w*t", .rate = 3, .decay = true}};
    struct tw_job job = {.clip_norm = 2, .group_count = 3, .groups = groups};
    struct tw_shaping shaping;
    assert_int_equal(find(&shaping, &job, "sgd lr=1"), TW_OK);
    assert_true(shaping.clip_norm == 2 && shaping.rates == 3 && shaping.rate[0] == 1 &&
                shaping.rate[1] == 2 && shaping.rate[2] == 3);
    static const struct tw_treatment expected[] = {
        {.rate = 2, .decay = true}, {0}, {.rate = 1, .decay = true}, {.rate = 1, .decay = true}};
    for (int t = 0; t < TENSORS; t++)
        assert_true(treatment[t].rate == expected[t].rate &&
                    treatment[t].decay == expected[t].decay);
}

static void patterns(void **state) {
    static const char *const fit[] = {"*", "dense1.weight", "*e*w*", "d*2.bias", "*s", "?ense*"};
    static const char *const unfit[] = {"dense",   "?",       "dense1.weigh", "*x",
                                        "*.biass", "dense3*", "weight"};
    struct tw_shaping shaping;
    for (size_t i = 0; i < sizeof fit / sizeof *fit; i++) {
        struct tw_job_group group = {.pattern = fit[i], .rate = 1};
        struct tw_job job = {.group_count = 1, .groups = &group};
        assert_int_equal(find(&shaping, &job, "sgd lr=1"), TW_OK);
    }
    for (size_t i = 0; i < sizeof unfit / sizeof *unfit; i++) {
        struct tw_job_group group = {.pattern = unfit[i], .rate = 1, .where = {"job.yaml", 9}};
        struct tw_job job = {.group_count = 1, .groups = &group};
        assert_int_equal(find(&shaping, &job, "sgd lr=1"), TW_JOB);
        assert_non_null(strstr(error.text, "job.yaml:9: groups[0].tensors: \""));
        assert_non_null(strstr(error.text, "fits none of the 4 tensors: dense1.weight, dense1.b"));
    }
}

static void what_a_rule_cannot_have_is_refused(void **state) {
    struct tw_job decoupled = {.decoupled = .1}, l2 = {.l2 = .1};
    struct tw_shaping shaping;
    assert_int_equal(find(&shaping, &decoupled, "adamw lr=1"), TW_JOB);
    assert_non_null(strstr(error.text, "job.yaml:3: weight_decay: optimizer adamw has one"));
    assert_int_equal(find(&shaping, &decoupled, "nesterov lr=1 nesterov=lookup"), TW_JOB);
    assert_non_null(strstr(error.text, "computes its weights from another point"));
    assert_int_equal(find(&shaping, &l2, "nesterov lr=1 nesterov=lookup"), TW_OK);
    struct tw_variant correction = {.name = "dc_asgd"};
    struct tw_job late = {.correction_count = 1, .corrections = &correction};
    assert_int_equal(find(&shaping, &late, "ftrl-proximal alpha=1"), TW_OK);
    correction = (struct tw_variant){
        .name = "staleness_power", .where = {"job.yaml", 7}, .path = "corrections[0]"};
    assert_int_equal(find(&shaping, &late, "adam lr=1"), TW_OK);
    assert_int_equal(find(&shaping, &late, "ftrl-proximal alpha=1"), TW_JOB);
    assert_non_null(strstr(error.text, "job.yaml:7: corrections[0]: not together with optimizer "
                                       "ftrl-proximal"));
    correction.name = "dana";
    late.slots = late.workers + 2;
    assert_int_equal(find(&shaping, &late, "sgd lr=1"), TW_JOB);
    assert_non_null(strstr(error.text, "dana keeps a momentum for each worker"));
    late.slots = late.workers;
    assert_int_equal(find(&shaping, &late, "sgd lr=1"), TW_OK);
    assert_int_equal(find(&shaping, &late, "momentum lr=1"), TW_JOB);
    assert_non_null(strstr(error.text, "corrections[0]: dana is a momentum itself"));
    struct tw_job_group groups[TW_RATES_MAX];
    for (int i = 0; i < TW_RATES_MAX; i++)
        groups[i] = (struct tw_job_group){.pattern = "*", .rate = 2 + i};
    struct tw_job many = {.group_count = TW_RATES_MAX, .groups = groups};
    assert_int_equal(find(&shaping, &many, "sgd lr=1"), TW_JOB);
    assert_non_null(strstr(error.text, "more than 8 different learning rates"));
}

/* With 4 tensors, of 16,384 entries. */
static void a_checkpoint_must_hold_the_arrays_of_corrections(void **state) {
    struct tw_shaping shaping;
    struct tw_variant correction = {
        .name = "dana", .where = {"job.yaml", 7}, .path = "corrections[0]"};
    struct tw_job job = {.correction_count = 1, .corrections = &correction};
    job.slots = job.workers = 4095;
    assert_int_equal(find(&shaping, &job, "sgd lr=1"), TW_OK);
    job.average.ema = .9;
    assert_int_equal(find(&shaping, &job, "sgd lr=1"), TW_JOB);
    assert_non_null(strstr(error.text, "there are 4097 arrays of each of 4 tensors with 4095 "));
    job.slots = job.workers = 4094;
    assert_int_equal(find(&shaping, &job, "sgd lr=1"), TW_OK);
    job.average.ema = 0;
    job.slots = job.workers = 4096;
    assert_int_equal(find(&shaping, &job, "sgd lr=1"), TW_JOB);
    assert_non_null(strstr(error.text, "there are 4097 arrays of each of 4 tensors with 4096 "));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mean_needs_no_saying),
        cmocka_unit_test(of_local_steps_the_means_are_added),
        cmocka_unit_test(clips_by_the_norm_of_what_is_applied),
        cmocka_unit_test(every_rate_has_scalars_of_its_own),
        cmocka_unit_test(three_and_four_clipped_by_norm_one_are_exactly_point_six_and_point_eight),
        cmocka_unit_test(values_are_clipped_after_the_mean),
        cmocka_unit_test(a_penalty_is_part_of_the_gradient_and_a_decay_is_not),
        cmocka_unit_test(the_decay_is_outside_of_adams_moments),
        cmocka_unit_test(groups_have_rates_and_no_decay),
        cmocka_unit_test(statistics_become_an_average_of_means),
        cmocka_unit_test(the_first_group_that_fits_counts),
        cmocka_unit_test(patterns),
        cmocka_unit_test(what_a_rule_cannot_have_is_refused),
        cmocka_unit_test(a_checkpoint_must_hold_the_arrays_of_corrections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
