/* The tables of the schedules: complete, and what they refuse, by key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "server/core/schedule.h"
#include "tests/lib/variant_text.h"

static struct tw_error error;

static enum tw_status find(const char *line, bool of_momentum, const char *rule, bool has_epochs) {
    const struct tw_variant *words = tw_test_variant(line);
    const struct tw_optimizer *optimizer = NULL;
    struct tw_pace pace;
    for (int i = 0; i < tw_optimizer_count; i++)
        if (strcmp(tw_optimizers[i]->name, rule) == 0)
            optimizer = tw_optimizers[i];
    const struct tw_optimizer_options options = {
        .lr = .1, .momentum = .9, .beta1 = .9, .beta2 = .99, .beta = 1};
    return tw_pace_find(&pace, of_momentum ? NULL : words, of_momentum ? words : NULL, optimizer,
                        &options, has_epochs, &error);
}

static void every_schedule_is_complete(void **state) {
    assert_int_equal(tw_schedule_count, 12);
    for (int i = 0; i < tw_schedule_count; i++) {
        const struct tw_schedule *s = tw_schedules[i];
        int count;
        assert_true(*s->name && *s->formula && s->value != NULL);
        assert_ptr_equal(tw_schedule_rules(s->name, &count), s->rules);
        assert_int_equal(count, s->rule_count);
        assert_string_equal(s->rules[count - 3].key, "unit");
        assert_string_equal(s->rules[count - 1].key, "warmup_from");
        for (int k = 0; k < count; k++)
            assert_true(*s->rules[k].key && *s->rules[k].text);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(s->name, tw_schedules[k]->name);
    }
}

static void what_a_table_does_not_allow_is_refused_by_key(void **state) {
    static const struct {
        const char *line, *words;
    } wrong[] = {
        {"linera to=0 over=1", "unknown schedule \"linera\"; did you mean \"linear\"?"},
        {"reduce_on_plataeu", "did you mean \"reduce_on_plateau\""},
        {"reduce_on_plateau factor=1", ".factor"},
        {"reduce_on_plateau patience=-1", ".patience"},
        {"reduce_on_plateau patience=1.5", ".patience"},
        {"reduce_on_plateau threshold=-1", ".threshold"},
        {"reduce_on_plateau cooldown=x", ".cooldown"},
        {"reduce_on_plateau min_lr=-1", ".min_lr"},
        {"reduce_on_plateau watch=loss", ".watch: \"loss\" is not known here"},
        {"linear over=1", ".to: missing"},
        {"linear to=0", ".over: missing"},
        {"linear to=0 over=0", ".over"},
        {"linear to=-1 over=5", ".to"},
        {"linear to=nan over=5", ".to"},
        {"linear to=0 ovr=5", "did you mean \"over\""},
        {"step every=-3", ".every"},
        {"step every=3 factor=0", ".factor"},
        {"multi_step at=[30,20]", ".at: each must be larger than the one before"},
        {"multi_step at=[30,30]", ".at: each must be larger than the one before"},
        {"multi_step at=[]", ".at: an empty list"},
        {"multi_step at=[0,1]", ".at: 0 is not right"},
        {"multi_step at=[1,x]", ".at: x is not right"},
        {"exponential decay=0", ".decay"},
        {"exponential decay=inf", ".decay"},
        {"inverse_time", ".decay: missing"},
        {"polynomial over=5 power=0", ".power"},
        {"cosine over=5 grow=.5", ".grow"},
        {"cosine over=5 restart=1", ".restart"},
        {"cyclical over=5", ".peak: missing"},
        {"cyclical peak=1 over=5 form=triangle", ".form: \"triangle\""},
        {"cyclical peak=1 over=5 gamma=2", ".gamma"},
        {"one_cycle peak=1 over=5 to=0 rise=1", ".rise"},
        {"constant unit=week", ".unit"},
        {"constant warmup=-1", ".warmup"},
        {"constant warmup=1 warmup_from=-1", ".warmup_from"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(find(wrong[i].line, false, "sgd", true), TW_JOB);
        if (!strstr(error.text, wrong[i].words) || !strstr(error.text, "job.yaml:7"))
            fail_msg("%s: \"%s\" does not say \"%s\"", wrong[i].line, error.text, wrong[i].words);
    }
}

static void epochs_need_data(void **state) {
    assert_int_equal(find("step every=1 unit=epoch", false, "sgd", true), TW_OK);
    assert_int_equal(find("step every=1 unit=epoch", false, "sgd", false), TW_JOB);
    assert_non_null(strstr(error.text, "unit: epochs are passes over data"));
    assert_int_equal(find("reduce_on_plateau", false, "sgd", true), TW_OK);
    assert_int_equal(find("reduce_on_plateau", false, "sgd", false), TW_JOB);
    assert_non_null(strstr(error.text, "decides at the end of each pass over the data"));
}

static void momentum_stays_a_momentum(void **state) {
    assert_int_equal(find("linear to=.5 over=9", true, "momentum", true), TW_OK);
    assert_int_equal(find("linear to=.5 over=9", true, "adam", true), TW_OK);
    assert_int_equal(find("linear to=.5 over=9", true, "sgd", true), TW_JOB);
    assert_non_null(strstr(error.text, "sgd has neither momentum nor beta1"));
    assert_int_equal(find("linear to=1 over=9", true, "momentum", true), TW_JOB);
    assert_non_null(strstr(error.text, ".to: a momentum must be"));
    assert_int_equal(find("cyclical peak=1.5 over=9", true, "momentum", true), TW_JOB);
    assert_non_null(strstr(error.text, ".peak: a momentum must be"));
    assert_int_equal(find("constant warmup=2 warmup_from=1", true, "momentum", true), TW_JOB);
    assert_int_equal(find("step every=2 factor=1.1", true, "momentum", true), TW_JOB);
    assert_int_equal(find("reduce_on_plateau", true, "momentum", true), TW_JOB);
    assert_non_null(strstr(error.text, "reduce_on_plateau is for the learning rate only"));
}

static void a_momentum_of_0_that_keeps_no_velocity_cannot_move(void **state) {
    const struct tw_variant *words;
    const struct tw_optimizer_options none = {.lr = .1, .rho = .9}, some = {.momentum = .1};
    const struct tw_optimizer *momentum, *rmsprop = NULL;
    struct tw_optimizer_options options;
    struct tw_pace pace;
    assert_int_equal(tw_optimizer_find(&rmsprop, &options, tw_test_variant("rmsprop"), &error), 0);
    words = tw_test_variant("linear to=.5 over=9");
    assert_int_equal(tw_pace_find(&pace, NULL, words, rmsprop, &none, true, &error), TW_JOB);
    assert_non_null(strstr(error.text, "with momentum: 0, rmsprop has no velocity"));
    assert_ptr_not_equal(rmsprop->form(&some), rmsprop);
    assert_int_equal(tw_pace_find(&pace, NULL, words, rmsprop->form(&some), &some, true, &error),
                     TW_OK);
    assert_int_equal(
        tw_optimizer_find(&momentum, &options, tw_test_variant("momentum lr=1 momentum=0"), &error),
        0);
    words = tw_test_variant("linear to=.5 over=9");
    assert_int_equal(tw_pace_find(&pace, NULL, words, momentum, &none, true, &error), TW_OK);
}

static void a_rule_that_divides_by_the_rate_gets_none_of_0(void **state) {
    static const char *const wrong[] = {"linear to=0 over=5", "cosine over=5",
                                        "polynomial over=5",  "cyclical peak=0 over=5",
                                        "constant warmup=5",  "reduce_on_plateau"};
    static const char *const right[] = {"linear to=.1 over=5", "exponential decay=1",
                                        "step every=2", "constant warmup=5 warmup_from=.1",
                                        "reduce_on_plateau min_lr=1e-6"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(find(wrong[i], false, "ftrl-proximal", true), TW_JOB);
        assert_non_null(strstr(error.text, "ftrl-proximal divides by the learning rate"));
        assert_int_equal(find(wrong[i], false, "adam", true), TW_OK);
    }
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        assert_int_equal(find(right[i], false, "ftrl-proximal", true), TW_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_schedule_is_complete),
        cmocka_unit_test(what_a_table_does_not_allow_is_refused_by_key),
        cmocka_unit_test(epochs_need_data),
        cmocka_unit_test(momentum_stays_a_momentum),
        cmocka_unit_test(a_momentum_of_0_that_keeps_no_velocity_cannot_move),
        cmocka_unit_test(a_rule_that_divides_by_the_rate_gets_none_of_0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
