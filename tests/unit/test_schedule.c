/* What schedules compute: golden values, ends, warm-up, units. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "server/core/schedule.h"
#include "server/core/verdict.h"
#include "tests/lib/variant_text.h"

static struct tw_pace pace;
static const struct tw_optimizer_options plain = {.lr = .1};

/* A schedule of the rate, from one line as "linear to=.001 over=100". */
static void take(const char *line) {
    struct tw_error error;
    if (tw_pace_find(&pace, tw_test_variant(line), NULL, tw_optimizers[0], &plain, true, &error) !=
        TW_OK)
        fail_msg("%s: %s", line, error.text);
}

static double rate(double lr, uint64_t updates) {
    const struct tw_optimizer_options options = {.lr = lr};
    return tw_pace_rate(&pace, &options, updates, 0);
}

static void assert_near(double got, double exact) {
    if (!(fabs(got - exact) <= 1e-12 * fabs(exact)))
        fail_msg("%.17g where %.17g would be right", got, exact);
}

static void linear_ends_at_its_floor_and_stays_there(void **state) {
    take("linear to=.001 over=100");
    assert_true(rate(.1, 0) == .1);
    assert_near(rate(.1, 50), .0505);
    assert_true(rate(.1, 100) == .001 && rate(.1, 101) == .001 && rate(.1, UINT64_MAX) == .001);
}

static void exponential_and_inverse_time_have_their_golden_values(void **state) {
    take("exponential decay=.01");
    assert_true(rate(.1, 0) == .1);
    assert_near(rate(.1, 100), .1 * 0.367879441171442321596);
    take("inverse_time decay=.01");
    assert_true(rate(.1, 0) == .1);
    assert_near(rate(.1, 100), .05);
}

static void triangular_has_its_golden_values(void **state) {
    static const double exact[] = {.001, .0035, .006, .0035, .001};
    take("cyclical peak=.006 over=2000");
    for (uint64_t i = 0; i < 5; i++)
        assert_near(rate(.001, 1000 * i), exact[i]);
    assert_near(rate(.001, 6000), .006);
}

static void later_cycles_are_lower(void **state) {
    take("cyclical peak=.009 over=10 form=triangular2");
    assert_near(rate(.001, 10), .009);
    assert_near(rate(.001, 30), .005);
    assert_near(rate(.001, 50), .003);
    assert_near(rate(.001, 55), .002);
    take("cyclical peak=.009 over=10 form=exp_range gamma=.99");
    assert_near(rate(.001, 10), .001 + .008 * 0.90438207500880452);
    assert_near(rate(.001, 5), .001 + .004 * 0.95099004989999999);
}

static void steps_come_when_they_are_due(void **state) {
    take("step every=30 factor=.5");
    assert_true(rate(.8, 29) == .8 && rate(.8, 30) == .4 && rate(.8, 60) == .2);
    take("multi_step at=[30,60,80]");
    assert_true(rate(1, 29) == 1);
    assert_near(rate(1, 30), .1);
    assert_near(rate(1, 79), .01);
    assert_near(rate(1, 80), .001);
    assert_near(rate(1, 1000000), .001);
}

static void roots_and_powers(void **state) {
    take("inverse_sqrt decay=.25");
    assert_true(rate(.5, 0) == .5);
    assert_near(rate(.5, 12), .25);
    take("polynomial to=.01 over=4 power=2");
    assert_near(rate(.17, 1), .01 + .16 * 9 / 16);
    assert_true(rate(.17, 4) == .01 && rate(.17, 5) == .01);
    take("polynomial over=4 power=.5");
    assert_near(rate(1, 3), .5);
    assert_true(rate(1, 4) == 0);
}

static void cosine_falls_over_its_period(void **state) {
    take("cosine over=12 to=.1");
    assert_true(rate(1.1, 0) == 1.1);
    assert_near(rate(1.1, 6), .6);
    assert_near(rate(1.1, 3), .1 + .5 * (1 + 0.70710678118654752440));
    assert_near(rate(1.1, 4), .1 + .5 * 1.5);
    assert_true(rate(1.1, 12) == .1 && rate(1.1, 1000) == .1);
}

static void cosine_begins_anew_and_its_periods_grow(void **state) {
    take("cosine over=12 restart=true");
    assert_true(rate(1, 12) == 1 && rate(1, 24) == 1);
    assert_near(rate(1, 18), .5);
    take("cosine over=10 restart=true grow=2"); /* periods begin at 0, 10, 30, 70, 150, ... */
    for (uint64_t i = 0, begin = 0, period = 10; i < 40; begin += period, period *= 2, i++) {
        assert_true(rate(1, begin) == 1);
        assert_near(rate(1, begin + period / 2), .5);
        assert_true(rate(1, begin + period - 1) < .03);
    }
    take("cosine over=10 restart=true grow=1.5"); /* 0, 10, 25, 47.5 */
    assert_near(rate(1, 25), 1);
    assert_near(rate(1, 40), .5 * (1 + cos(M_PI * 15 / 22.5)));
    take("cosine over=1 restart=true grow=1.000000001");
    double last = rate(1, UINT64_C(1) << 62); /* no walk through the periods */
    assert_true(last >= 0 && last <= 1);
}

/* torch.optim.lr_scheduler.OneCycleLR with total_steps T and pct_start p turns at p T - 1
 * and ends at T - 1: over = T - 1, rise = (p T - 1) / (T - 1). */
static void one_cycle_turns_at_its_peak(void **state) {
    take("one_cycle peak=1 over=100 to=0 rise=.25");
    assert_near(rate(.04, 0), .04);
    assert_near(rate(.04, 25), 1);
    assert_near(rate(.04, 10), 1 + (.04 - 1) * .5 * (1 + cos(M_PI * .4)));
    assert_near(rate(.04, 75), .5 * (1 + cos(M_PI * 2 / 3)));
    assert_true(rate(.04, 100) == 0 && rate(.04, 101) == 0);
    take("one_cycle peak=1 over=100 to=.1 rise=.25 form=linear");
    assert_near(rate(.2, 5), .36);
    assert_near(rate(.2, 40), .82);
}

static void a_warm_up_stands_in_front_of_any(void **state) {
    take("linear to=0 over=100 warmup=10 warmup_from=.02");
    assert_true(rate(.1, 0) == .02);
    assert_near(rate(.1, 5), .06);
    assert_true(rate(.1, 10) == .1);
    assert_near(rate(.1, 60), .05);
    take("constant warmup=4");
    assert_true(rate(.1, 0) == 0 && rate(.1, 1) == .025 && rate(.1, 4) == .1 && rate(.1, 9) == .1);
    take("inverse_sqrt warmup=400 decay=.0025"); /* the Transformer's: W = 400 */
    assert_near(rate(1, 100), .25);
    assert_near(rate(1, 1600), .5);
}

static void epochs_are_applied_examples_of_all(void **state) {
    const struct tw_optimizer_options options = {.lr = 1};
    take("step every=2 factor=.5 unit=epoch");
    pace.epoch_samples = 600;
    assert_true(tw_pace_rate(&pace, &options, 77, 0) == 1);
    assert_true(tw_pace_rate(&pace, &options, 77, 1199) == 1);
    assert_true(tw_pace_rate(&pace, &options, 77, 1200) == .5);
    take("linear to=0 over=2 unit=epoch");
    pace.epoch_samples = 600;
    assert_near(tw_pace_rate(&pace, &options, 77, 300), .75);
}

static const struct tw_optimizer *rule(const char *name) {
    for (int i = 0; i < tw_optimizer_count; i++)
        if (strcmp(tw_optimizers[i]->name, name) == 0)
            return tw_optimizers[i];
    fail_msg("no rule %s", name);
    return NULL;
}

/* The scalars are those of prepare() with the moved values, in the very bits. */
static void scalars_are_the_rules_own_with_what_has_moved(void **state) {
    struct tw_variant none = {.name = NULL};
    struct tw_optimizer_options options = {.lr = .5, .momentum = .95, .beta1 = .9, .beta2 = .999};
    static const char *const names[] = {"momentum", "nesterov", "adam"};
    for (size_t i = 0; i < 3; i++) {
        double got[TW_OPTIMIZER_SCALARS], exact[TW_OPTIMIZER_SCALARS];
        struct tw_optimizer_options moved = options;
        struct tw_pace both, rates;
        assert_int_equal(tw_pace_find(&both, &none, tw_test_variant("linear to=.5 over=10"),
                                      rule(names[i]), &options, true, NULL),
                         TW_OK);
        assert_int_equal(tw_pace_find(&rates, tw_test_variant("exponential decay=.1"), NULL,
                                      rule(names[i]), &options, true, NULL),
                         TW_OK);
        both.rate = rates.rate;
        double lr = tw_pace_prepare(&both, rule(names[i]), &options, 1, 4, 0, got);
        assert_near(lr, .5 * exp(-.4));
        moved.momentum = (1 - .4) * .95 + .4 * .5;
        moved.beta1 = (1 - .4) * .9 + .4 * .5;
        rule(names[i])->prepare(&moved, 5, lr, exact);
        assert_memory_equal(got, exact, sizeof got);
    }
}

static void without_schedules_nothing_moves(void **state) {
    const struct tw_optimizer_options options = {.lr = .3, .momentum = .9};
    const struct tw_pace still = {.epoch_samples = 10};
    double got[TW_OPTIMIZER_SCALARS], exact[TW_OPTIMIZER_SCALARS];
    assert_true(tw_pace_prepare(&still, rule("momentum"), &options, 1, 9, 90, got) == .3);
    rule("momentum")->prepare(&options, 10, .3, exact);
    assert_memory_equal(got, exact, sizeof got);
}

/* What torch.optim.lr_scheduler.ReduceLROnPlateau (1.13) says after each of these losses. */
static void plateaus_are_those_of_torch(void **state) {
    static const double losses[] = {2.5,  2.0,  1.9,    1.95, 1.9, 1.8999, 1.7, 1.71,
                                    1.72, 1.73, 1.74,   1.75, 1.6, 1.6,    1.6, 1.6,
                                    1.6,  1.6,  1.5999, 1.0,  NAN, 1.1,    1.2, 1.3};
    enum { LOSSES = sizeof losses / sizeof *losses };
    static const struct {
        const char *line;
        double rates[LOSSES];
    } rows[] = {
        {"reduce_on_plateau factor=.5 patience=1",
         {.1,      .1,      .1,       .1,       .05,      .05,       .05,       .05,
          .025,    .025,    .0125,    .0125,    .0125,    .0125,     .00625,    .00625,
          .003125, .003125, .0015625, .0015625, .0015625, .00078125, .00078125, .000390625}},
        {"reduce_on_plateau patience=2 threshold=.01 cooldown=2 min_lr=1e-3",
         {.1,   .1,   .1,   .1,   .1,   .01,  .01,  .01,  .01,  .01,  .001, .001,
          .001, .001, .001, .001, .001, .001, .001, .001, .001, .001, .001, .001}},
        {"reduce_on_plateau factor=.5 patience=0 threshold=0 cooldown=1 min_lr=.02",
         {.1,  .1,  .1,  .05, .05, .05, .05, .025, .025, .02, .02, .02,
          .02, .02, .02, .02, .02, .02, .02, .02,  .02,  .02, .02, .02}},
        {"reduce_on_plateau", {.1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1,
                               .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1}},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        take(rows[r].line);
        const struct tw_judge judge = tw_judge_of_rate(&pace);
        struct tw_verdict verdict = tw_verdict_start(TW_VERDICT_RATE);
        for (int i = 0; i < LOSSES; i++) {
            tw_verdict_see(&verdict, &judge, losses[i]);
            pace.rate.options.reductions = verdict.reductions;
            assert_near(rate(.1, (uint64_t)i), rows[r].rates[i]);
        }
    }
}

static void a_plateau_never_raises_the_rate(void **state) {
    take("reduce_on_plateau min_lr=.5 patience=0");
    pace.rate.options.reductions = 3;
    assert_true(rate(.1, 9) == .1);
    assert_true(rate(.9, 9) == .5);
}

static void a_warm_up_stands_in_front_of_a_plateau_too(void **state) {
    take("reduce_on_plateau factor=.5 warmup=10 warmup_from=.02");
    assert_near(rate(.1, 5), .06);
    assert_false(tw_pace_has_begun(&pace, 9, 0));
    assert_true(tw_pace_has_begun(&pace, 10, 0));
    pace.rate.options.reductions = 2;
    assert_near(rate(.1, 10), .025);
    assert_true(tw_pace_watches(&pace, TW_WATCH_TEST));
    assert_false(tw_pace_watches(&pace, TW_WATCH_TRAIN));
    take("linear to=0 over=5");
    assert_false(tw_pace_watches(&pace, TW_WATCH_TEST));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_ends_at_its_floor_and_stays_there),
        cmocka_unit_test(exponential_and_inverse_time_have_their_golden_values),
        cmocka_unit_test(triangular_has_its_golden_values),
        cmocka_unit_test(later_cycles_are_lower),
        cmocka_unit_test(steps_come_when_they_are_due),
        cmocka_unit_test(roots_and_powers),
        cmocka_unit_test(cosine_falls_over_its_period),
        cmocka_unit_test(cosine_begins_anew_and_its_periods_grow),
        cmocka_unit_test(one_cycle_turns_at_its_peak),
        cmocka_unit_test(a_warm_up_stands_in_front_of_any),
        cmocka_unit_test(epochs_are_applied_examples_of_all),
        cmocka_unit_test(scalars_are_the_rules_own_with_what_has_moved),
        cmocka_unit_test(without_schedules_nothing_moves),
        cmocka_unit_test(plateaus_are_those_of_torch),
        cmocka_unit_test(a_plateau_never_raises_the_rate),
        cmocka_unit_test(a_warm_up_stands_in_front_of_a_plateau_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
