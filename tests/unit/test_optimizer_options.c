/* The tables of the rules: found by name, defaults, and what they refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "server/core/optimizer.h"
#include "tests/lib/variant_text.h"

static const struct tw_optimizer *rule;
static struct tw_optimizer_options options;
static struct tw_error error;

static enum tw_status find(const char *line) {
    error.text[0] = 0;
    return tw_optimizer_find(&rule, &options, tw_test_variant(line), &error);
}

static void every_rule_is_complete(void **unused) {
    const char *const names[] = {"sgd",      "momentum", "nesterov", "adagrad",       "rmsprop",
                                 "adadelta", "adam",     "adamax",   "amsgrad",       "adamw",
                                 "nadam",    "radam",    "lion",     "ftrl-proximal", "lars",
                                 "lamb",     "none"};
    assert_int_equal(tw_optimizer_count, sizeof names / sizeof names[0]);
    for (int i = 0; i < tw_optimizer_count; i++) {
        const struct tw_optimizer *r = tw_optimizers[i];
        assert_string_equal(r->name, names[i]);
        assert_true(r->formula[0] != 0 && r->source[0] != 0);
        assert_in_range(r->states, 0, TW_OPTIMIZER_STATES);
        for (int s = 0; s < r->states; s++) {
            assert_non_null(r->state[s].name);
        }
        assert_true(r->prepare != NULL && r->apply_float != NULL && r->apply_double != NULL);
        assert_true((r->ratio != NULL) == (r->step_float != NULL));
        assert_true((r->ratio != NULL) == (r->step_double != NULL));
        for (int k = 0; k < r->rule_count; k++) {
            assert_true(r->rules[k].key[0] != 0 && r->rules[k].text[0] != 0);
        }
    }
}

static void defaults_are_those_of_the_papers(void **unused) {
    assert_int_equal(find("adam"), TW_OK);
    assert_string_equal(rule->name, "adam");
    assert_true(options.lr == 1e-3 && options.beta1 == .9 && options.beta2 == .999 &&
                options.eps == 1e-8 && options.eps_at == 0 && options.bias == 0);
    assert_int_equal(find("momentum lr=.5"), TW_OK);
    assert_true(options.lr == .5 && options.momentum == .9 && options.dampening == 0 &&
                options.lr_at == 0);
    assert_int_equal(find("nesterov lr=.5"), TW_OK);
    assert_true(options.momentum == .9 && options.nesterov == 0);
    assert_int_equal(find("adagrad"), TW_OK);
    assert_true(options.lr == .01 && options.lr_decay == 0 && options.eps == 1e-10);
    assert_int_equal(find("rmsprop"), TW_OK);
    assert_true(options.lr == .001 && options.rho == .9 && options.eps == 1e-8 &&
                !options.centered && options.momentum == 0 && options.nesterov == 0);
    assert_int_equal(find("adadelta"), TW_OK);
    assert_true(options.lr == 1 && options.rho == .95 && options.eps == 1e-6);
    assert_int_equal(find("adamax"), TW_OK);
    assert_true(options.lr == .002 && options.beta1 == .9 && options.beta2 == .999);
    assert_int_equal(find("lars lr=.5"), TW_OK);
    assert_true(options.momentum == .9 && options.trust == 1e-3 && options.weight_decay == 5e-4 &&
                options.lr_at == 1);
    assert_int_equal(find("lamb"), TW_OK);
    assert_true(options.lr == 1e-3 && options.beta1 == .9 && options.beta2 == .999 &&
                options.eps == 1e-6 && options.weight_decay == .01);
    assert_int_equal(find("adamw"), TW_OK);
    assert_true(options.lr == .001 && options.weight_decay == .01);
    assert_int_equal(find("nadam"), TW_OK);
    assert_true(options.lr == .002 && options.momentum_decay == .004);
    assert_int_equal(find("lion"), TW_OK);
    assert_true(options.lr == 1e-4 && options.beta1 == .9 && options.beta2 == .99 &&
                options.weight_decay == 0);
    assert_int_equal(find("ftrl-proximal alpha=.25"), TW_OK);
    assert_true(options.lr == .25 && options.beta == 1 && options.l1 == 0 && options.l2 == 0);
}

static void the_form_of_nesterov_chooses_its_states(void **unused) {
    assert_int_equal(find("nesterov lr=1 nesterov=lookahead"), TW_OK);
    assert_int_equal(rule->states, 1);
    assert_int_equal(find("nesterov lr=1 nesterov=lookup"), TW_OK);
    assert_int_equal(rule->states, 2);
    assert_string_equal(rule->name, "nesterov");
    assert_string_equal(rule->state[1].name, "x");
    assert_int_equal(rule->state[1].start, TW_STATE_WEIGHTS);
}

static void the_form_of_rmsprop_has_the_states_it_needs(void **unused) {
    static const struct {
        const char *line;
        int states;
        const char *last;
    } forms[] = {
        {"rmsprop", 1, "r"},
        {"rmsprop nesterov=lookup", 1, "r"}, /* without momentum there is no velocity */
        {"rmsprop centered=true", 2, "m"},
        {"rmsprop momentum=.5", 2, "b"},
        {"rmsprop momentum=.5 nesterov=lookahead", 2, "b"},
        {"rmsprop momentum=.5 centered=true", 3, "m"},
        {"rmsprop momentum=.5 nesterov=lookup", 3, "x"},
        {"rmsprop momentum=.5 nesterov=lookup centered=true", 4, "m"},
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        assert_int_equal(find(forms[i].line), TW_OK);
        assert_string_equal(rule->name, "rmsprop");
        assert_int_equal(rule->states, forms[i].states);
        assert_string_equal(rule->state[rule->states - 1].name, forms[i].last);
    }
}

static void what_a_table_does_not_allow_is_refused_by_key(void **unused) {
    static const struct {
        const char *line, *words;
    } wrong[] = {
        {"sgd", "lr"},
        {"momentum", "lr"},
        {"nesterov momentum=.9", "lr"},
        {"sgd lr=0", "optimizer.lr"},
        {"sgd lr=-1", "optimizer.lr"},
        {"sgd lr=.nan", "optimizer.lr"},
        {"sgd lr=nan", "optimizer.lr"},
        {"sgd lr=.inf", "optimizer.lr"},
        {"sgd lr=inf", "optimizer.lr"},
        {"sgd lr=fast", "optimizer.lr"},
        {"sgd lr=1 momentum=.9", "optimizer.momentum"},
        {"momentum lr=1 momentum=1", "optimizer.momentum"},
        {"momentum lr=1 momentum=-.1", "optimizer.momentum"},
        {"momentum lr=1 dampening=1", "optimizer.dampening"},
        {"momentum lr=1 lr_at=above", "optimizer.lr_at"},
        {"nesterov lr=1 nesterov=lookahed", "lookahead"},
        {"adam lr=0", "optimizer.lr"},
        {"adam beta1=1", "optimizer.beta1"},
        {"adam beta1=-1e-9", "optimizer.beta1"},
        {"adam beta2=1", "optimizer.beta2"},
        {"adam beta2=1.5", "optimizer.beta2"},
        {"adam beta2=nan", "optimizer.beta2"},
        {"adam eps=-1e-8", "optimizer.eps"},
        {"adam eps=inf", "optimizer.eps"},
        {"adam eps_at=paper", "optimizer.eps_at"},
        {"adam bias=yes", "optimizer.bias"},
        {"adam bta1=.9", "beta1"},
        {"adagrad lr_decay=-1", "optimizer.lr_decay"},
        {"adagrad eps_at=hat", "outside, inside"},
        {"rmsprop rho=1", "optimizer.rho"},
        {"rmsprop centered=yes", "optimizer.centered"},
        {"rmsprop nesterov=true", "none, lookahead, lookup"},
        {"rmsprop alpha=.9", "unknown key"},
        {"adadelta eps=-1", "optimizer.eps"},
        {"adamax bias=hat", "paper, nopower, none"},
        {"amsgrad form=toch", "did you mean \"torch\""},
        {"adamw weight_decay=-1", "optimizer.weight_decay"},
        {"nadam momentum_decay=nan", "optimizer.momentum_decay"},
        {"radam beta2=1", "optimizer.beta2"},
        {"lion eps=1", "optimizer.eps"},
        {"ftrl-proximal", "alpha"},
        {"ftrl-proximal alpha=0", "optimizer.alpha"},
        {"ftrl-proximal alpha=1 l1=-1", "optimizer.l1"},
        {"adagard", "did you mean \"adagrad\""},
        {"rmsporp", "did you mean \"rmsprop\""},
        {"adm", "did you mean"},
        {"adm", "adam"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(find(wrong[i].line), TW_JOB);
        if (strstr(error.text, wrong[i].words) == NULL ||
            strstr(error.text, "job.yaml:7") == NULL) {
            fail_msg("%s: \"%s\" does not say \"%s\"", wrong[i].line, error.text, wrong[i].words);
        }
    }
}

static void the_borders_of_the_ranges_are_allowed(void **unused) {
    assert_int_equal(find("adam lr=1e-300 beta1=0 beta2=0 eps=0"), TW_OK);
    assert_int_equal(find("adam beta1=0.9999999 eps_at=hat bias=none"), TW_OK);
    assert_int_equal(find("momentum lr=1e9 momentum=0 dampening=0"), TW_OK);
    assert_int_equal(find("adadelta rho=0 eps=0"), TW_OK);
    assert_int_equal(find("nadam momentum_decay=0"), TW_OK);
    assert_int_equal(find("radam beta2=0"), TW_OK);
}

/* They travel in the COMMIT as bits, so none may be left to chance. */
static void prepare_writes_every_scalar(void **unused) {
    for (int i = 0; i < tw_optimizer_count; i++) {
        double a[TW_OPTIMIZER_SCALARS], b[TW_OPTIMIZER_SCALARS];
        struct tw_optimizer_options some = {.lr = .1, .momentum = .9, .beta1 = .9, .beta2 = .99};
        memset(a, 0x55, sizeof a);
        memset(b, 0xaa, sizeof b);
        tw_optimizers[i]->prepare(&some, 3, .1, a);
        tw_optimizers[i]->prepare(&some, 3, .1, b);
        assert_memory_equal(a, b, sizeof a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_is_complete),
        cmocka_unit_test(defaults_are_those_of_the_papers),
        cmocka_unit_test(the_form_of_nesterov_chooses_its_states),
        cmocka_unit_test(the_form_of_rmsprop_has_the_states_it_needs),
        cmocka_unit_test(what_a_table_does_not_allow_is_refused_by_key),
        cmocka_unit_test(the_borders_of_the_ranges_are_allowed),
        cmocka_unit_test(prepare_writes_every_scalar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
