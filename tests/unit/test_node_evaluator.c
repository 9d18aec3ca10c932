/* Several evaluators at one node: who gets which part, whose part goes to whom, and what is
 * refused. One worker in async, an epoch of 10 examples, so every update is a border; labels of
 * three classes, and 1000 samples of test data: four batches, four portions. */
#include "tests/unit/node_desk.h"

#include "common/base/tally.h"

enum { SAMPLES = 1000, EVALUATORS = 3 };

struct party {
    struct desk desk;
    uint32_t worker; /* bulk */
    uint32_t control[EVALUATORS], bulk[EVALUATORS];
};

static struct tw_frame join_frame(uint64_t samples, const char *numerics) {
    struct tw_frame frame = desk_join_frame(TW_ROLE_EVALUATOR, -1);
    frame.join.samples = samples;
    frame.join.numerics = (struct tw_view){numerics, strlen(numerics)};
    return frame;
}

static void join(struct party *p, int i) {
    struct tw_frame frame = join_frame(SAMPLES, "desk");
    p->control[i] = desk_join_with(&p->desk, &frame);
    assert_true(p->desk.link[p->control[i]].last.welcome.portions);
    p->bulk[i] = desk_attach(&p->desk, p->control[i], TW_ROLE_EVALUATOR);
}

static void begin(struct party *p, int evaluators, bool judged, uint32_t classes) {
    struct tw_node_config config = desk_config(&p->desk, "async", 1);
    config.sequencer.samples = 10;
    config.sequencer.evaluator = true;
    config.scoring = (struct tw_node_scoring){.outputs = classes, .classes = classes};
    if (judged)
        config.sequencer.end = (struct tw_judge){
            .by_loss = true, .watch = TW_WATCH_TEST, .patience = -1, .enough = -1};
    desk_init(&p->desk, &config);
    for (int i = 0; i < evaluators; i++)
        join(p, i);
    p->worker = desk_worker(&p->desk, 0, NULL);
}

static enum tw_status ask(struct party *p, int i) {
    struct tw_frame frame = {.body = TW_BODY_ASK};
    frame.ask.samples = 10;
    return desk_say(&p->desk, p->control[i], &frame, NULL);
}

static void update(struct party *p) {
    desk_push_all(&p->desk, p->worker, 0, 1);
    desk_work(&p->desk);
}

static struct tw_portion portion(const struct party *p, int i) {
    const struct tw_frame *last = &p->desk.link[p->control[i]].last;
    assert_int_equal(last->body, TW_BODY_PORTION);
    return last->portion;
}

static bool has_portion(const struct party *p, int i) {
    return p->desk.link[p->control[i]].last.body == TW_BODY_PORTION;
}

/* Half of its samples are right, each with a loss of `loss`. */
static struct tw_frame tally_of(struct tw_portion portion, double loss) {
    static uint8_t bytes[TW_EXACT_SUM_BYTES];
    struct tw_exact_sum sum = {0};
    for (uint64_t i = 0; i < portion.samples; i++)
        tw_exact_sum_add(&sum, loss);
    tw_exact_sum_put(bytes, &sum);
    struct tw_frame frame = {.body = TW_BODY_TALLY};
    frame.tally = (struct tw_tally_frame){.position = portion.position,
                                          .first = portion.first,
                                          .samples = portion.samples,
                                          .correct = portion.samples / 2,
                                          .loss = {bytes, sizeof bytes}};
    return frame;
}

static enum tw_status answer(struct party *p, int i) {
    struct tw_frame frame = tally_of(portion(p, i), 0.1);
    return desk_say(&p->desk, p->control[i], &frame, NULL);
}

static const struct tw_node_event *last_event(const struct party *p, enum tw_node_event_kind kind) {
    for (int i = p->desk.events; i-- > 0;)
        if (p->desk.event[i].kind == kind)
            return &p->desk.event[i];
    return NULL;
}

static void assert_evaluated(const struct party *p, int times) {
    assert_int_equal(desk_count(&p->desk, TW_EVENT_EVALUATED), times);
    const struct tw_metric_values *values = &last_event(p, TW_EVENT_EVALUATED)->values;
    assert_true(values->loss == 0.1 && values->accuracy == 0.5); /* the mean of exact sums */
    assert_true(isnan(values->auc) && isnan(values->r2));
}

static void test_parts_are_given_until_all_are_answered(void **state) {
    struct party p;
    begin(&p, 2, false, 3);
    ask(&p, 0);
    ask(&p, 1);
    update(&p);
    uint64_t next = 0;
    for (int turn = 0; next < SAMPLES; turn++) {
        struct tw_portion given = portion(&p, turn % 2);
        assert_int_equal(given.first, next);
        next += given.samples;
        if (turn < 2) /* the weights once, to each of them */
            assert_int_equal(p.desk.link[p.bulk[turn]].last.weights.position, given.position);
        assert_int_equal(answer(&p, turn % 2), TW_OK);
        ask(&p, turn % 2);
    }
    assert_int_equal(p.desk.link[p.bulk[0]].frames, p.desk.link[p.bulk[1]].frames);
    assert_evaluated(&p, 1);
    desk_fini(&p.desk);
}

static void test_one_alone_scores_all_and_says_the_numbers(void **state) {
    struct party p;
    struct tw_frame frame = {.body = TW_BODY_EVALUATION};
    begin(&p, 2, false, 3);
    ask(&p, 0);
    update(&p);
    assert_int_equal(portion(&p, 0).samples, SAMPLES);
    assert_false(has_portion(&p, 1));
    frame.evaluation.position = portion(&p, 0).position;
    frame.evaluation.loss = 0.25;
    struct tw_frame other = frame;
    assert_int_equal(desk_say(&p.desk, p.control[0], &frame, NULL), TW_OK);
    assert_true(last_event(&p, TW_EVENT_EVALUATED)->values.loss == 0.25);
    ask(&p, 0); /* both, from the next border on */
    ask(&p, 1);
    update(&p);
    assert_true(portion(&p, 0).samples < SAMPLES && portion(&p, 1).samples < SAMPLES);
    other.evaluation.position = portion(&p, 0).position;
    assert_int_equal(desk_say(&p.desk, p.control[0], &other, NULL), TW_UNEXPECTED);
    desk_closed(&p.desk, p.control[0], TW_UNEXPECTED, "was not given all");
    desk_fini(&p.desk);
}

static void test_the_part_of_who_dies_goes_to_another(void **state) {
    struct party p;
    begin(&p, 3, false, 3);
    for (int i = 0; i < 3; i++)
        ask(&p, i);
    update(&p);
    struct tw_portion lost = portion(&p, 1);
    answer(&p, 0);
    ask(&p, 0); /* the fourth */
    answer(&p, 2);
    ask(&p, 2); /* none is left, for now */
    p.desk.link[p.control[2]].last.body = TW_BODY_NONE;
    desk_lose(&p.desk, p.bulk[1]);
    assert_int_equal(portion(&p, 2).first, lost.first);
    assert_int_equal(portion(&p, 2).position, lost.position);
    answer(&p, 0);
    assert_int_equal(desk_count(&p.desk, TW_EVENT_EVALUATED), 0);
    answer(&p, 2);
    assert_evaluated(&p, 1);
    assert_int_equal(last_event(&p, TW_EVENT_EVALUATOR)->ranks, 2);
    desk_fini(&p.desk);
}

/* One that is given everything, and a late one, which does not have these weights. */
static void begin_beside_a_late_one(struct party *p, bool judged) {
    begin(p, 1, judged, 3);
    ask(p, 0);
    update(p);
    join(p, 1);
}

static void test_what_training_waits_for_is_evaluated_again_by_who_is_left(void **state) {
    struct party p;
    begin_beside_a_late_one(&p, true);
    ask(&p, 1);
    uint64_t first = portion(&p, 0).position;
    assert_true(tw_sequencer_holding(tw_node_sequencer(p.desk.node)));
    desk_lose(&p.desk, p.control[0]);
    desk_work(&p.desk);
    assert_true(tw_sequencer_holding(tw_node_sequencer(p.desk.node)));
    assert_int_equal(portion(&p, 1).samples, SAMPLES);
    assert_true(portion(&p, 1).position > first);
    assert_int_equal(p.desk.link[p.bulk[1]].last.weights.version, 1);
    assert_int_equal(desk_count(&p.desk, TW_EVENT_GIVEN_UP), 0);
    desk_lose(&p.desk, p.control[1]); /* nobody is left: as with one */
    assert_false(tw_sequencer_holding(tw_node_sequencer(p.desk.node)));
    desk_fini(&p.desk);
}

static void test_what_nothing_waits_for_is_given_up(void **state) {
    struct party p;
    begin_beside_a_late_one(&p, false);
    desk_lose(&p.desk, p.control[0]);
    assert_int_equal(last_event(&p, TW_EVENT_GIVEN_UP)->version, 1);
    assert_false(tw_sequencer_holding(tw_node_sequencer(p.desk.node)));
    desk_work(&p.desk);
    update(&p); /* it has not asked yet: the next border waits for it */
    ask(&p, 1);
    desk_work(&p.desk);
    assert_int_equal(p.desk.link[p.bulk[1]].last.weights.version, 2);
    desk_fini(&p.desk);
}

static void test_an_ask_dies_with_who_asked(void **state) {
    struct party p;
    begin(&p, 2, false, 3);
    ask(&p, 0);
    desk_lose(&p.desk, p.control[0]);
    update(&p);
    assert_false(has_portion(&p, 1));
    ask(&p, 1);
    desk_work(&p.desk);
    assert_int_equal(portion(&p, 1).samples, SAMPLES);
    desk_fini(&p.desk);
}

/* Each of these is refused by name, and another takes the part over. */
static void test_wrong_tallies_are_refused_and_nothing_is_lost(void **state) {
    static const struct {
        enum tw_status status;
        const char *words;
    } cases[] = {
        {TW_UNEXPECTED, "was not given these"}, {TW_UNEXPECTED, "was not given these"},
        {TW_UNEXPECTED, "was not given these"}, {TW_UNEXPECTED, "was not given these"},
        {TW_MALFORMED, "257 of 256 samples"},   {TW_MALFORMED, "300 of 256 samples"},
        {TW_MALFORMED, "a sum of 80 bytes"},    {TW_MALFORMED, "2304 bytes of scores"},
        {TW_MALFORMED, "340 of fits"},          {TW_UNEXPECTED, "has answered"},
    };
    static const uint8_t zeros[2304];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct party p;
        begin(&p, 2, false, 3);
        ask(&p, 0);
        ask(&p, 1);
        update(&p);
        struct tw_frame frame = tally_of(portion(&p, 0), 0.1);
        struct tw_tally_frame *said = &frame.tally;
        said->position += i == 0;
        said->first += i == 1 ? 1 << 20 : i == 2 ? 256 : 0; /* there is none; another's */
        said->samples *= i == 3 ? 100 : 1;
        said->correct = i == 4 ? 257 : said->correct;
        said->among_five = i == 5 ? 300 : 0;
        said->loss.size -= i == 6;
        if (i == 7)
            said->scores = (struct tw_view){zeros, 2304};
        if (i == 8)
            said->fits = (struct tw_view){zeros, TW_TALLY_FIT_BYTES};
        if (i == 9) /* twice the same */
            assert_int_equal(answer(&p, 0), TW_OK);
        assert_int_equal(desk_say(&p.desk, p.control[0], &frame, NULL), cases[i].status);
        desk_closed(&p.desk, p.control[0], cases[i].status, cases[i].words);
        for (int left = i == 9 ? 3 : 4; left > 0; left--) {
            assert_int_equal(answer(&p, 1), TW_OK);
            ask(&p, 1);
        }
        assert_evaluated(&p, 1);
        desk_fini(&p.desk);
    }
}

/* Of two classes: scores come in order, and as many as samples. */
static void test_scores_are_put_in_order(void **state) {
    struct party p;
    uint8_t bytes[256 * TW_TALLY_SCORE_BYTES];
    begin(&p, 2, false, 2);
    ask(&p, 0);
    ask(&p, 1);
    update(&p);
    for (int turn = 0; turn < 4; turn++) {
        struct tw_portion given = portion(&p, turn % 2);
        struct tw_tally_score score[256];
        for (uint64_t i = 0; i < given.samples; i++) /* the later half of the data is positive */
            score[i] =
                (struct tw_tally_score){(double)(given.first + i), given.first + i >= SAMPLES / 2};
        tw_tally_put_scores(score, given.samples, bytes);
        struct tw_frame frame = tally_of(given, 0.1);
        frame.tally.scores = (struct tw_view){bytes, given.samples * TW_TALLY_SCORE_BYTES};
        assert_int_equal(desk_say(&p.desk, p.control[turn % 2], &frame, NULL), TW_OK);
        ask(&p, turn % 2);
    }
    assert_true(last_event(&p, TW_EVENT_EVALUATED)->values.auc == 1);
    desk_fini(&p.desk);
}

static void test_who_does_not_fit_beside_another_is_refused(void **state) {
    struct party p;
    begin(&p, 1, false, 3);
    struct tw_frame other = join_frame(SAMPLES + 1, "desk");
    desk_closed(&p.desk, desk_join_with(&p.desk, &other), TW_WRONG_JOB,
                "its test data has 1001 samples, that of the evaluator that is there 1000");
    other = join_frame(SAMPLES, "another CPU");
    desk_closed(&p.desk, desk_join_with(&p.desk, &other), TW_NUMERICS, "who scores what");
    other = join_frame(0, "desk");
    desk_closed(&p.desk, desk_join_with(&p.desk, &other), TW_RANK_TAKEN,
                "there is an evaluator already");
    desk_fini(&p.desk);
}

static void test_more_than_can_be_put_together_takes_one(void **state) {
    struct party p;
    struct tw_frame large = join_frame(TW_SPREAD_SCORES_MAX + 1, "desk");
    begin(&p, 0, false, 2);
    uint32_t control = desk_join_with(&p.desk, &large);
    assert_int_equal(p.desk.link[control].last.body, TW_BODY_WELCOME);
    desk_closed(&p.desk, desk_join_with(&p.desk, &large), TW_LIMIT,
                "area under the curve of 262145 test samples cannot be put together");
    desk_fini(&p.desk);
}

enum { OUTPUTS = 40 };

/* Two evaluators of real targets, each of whom was given a portion. */
static void begin_valued(struct party *p) {
    struct tw_frame join = join_frame(SAMPLES, "desk");
    struct tw_node_config config = desk_config(&p->desk, "async", 1);
    config.sequencer.samples = 10;
    config.scoring =
        (struct tw_node_scoring){.outputs = OUTPUTS, .classes = OUTPUTS, .values = true};
    desk_init(&p->desk, &config);
    join.join.valued = true;
    for (int i = 0; i < 2; i++) {
        p->control[i] = desk_join_with(&p->desk, &join);
        p->bulk[i] = desk_attach(&p->desk, p->control[i], TW_ROLE_EVALUATOR);
    }
    p->worker = desk_worker(&p->desk, 0, NULL);
    ask(p, 0);
    ask(p, 1);
    update(p);
}

/* Some outputs of its portion. Of four targets one is -1, the others are 1, so that an R^2 of 3/4
 * comes only of all samples, each once: the sum of the targets counts as its square. */
static enum tw_status say_fits(struct party *p, int i, uint32_t first, uint32_t count) {
    static uint8_t bytes[OUTPUTS * TW_TALLY_FIT_BYTES];
    struct tw_tally_fit fit[OUTPUTS], one = {.least = -1, .most = 1};
    struct tw_portion given = portion(p, i);
    for (uint64_t n = 0; n < given.samples; n++) {
        tw_exact_sum_add(&one.residual, 0.1875);
        tw_exact_sum_add(&one.square, 1);
        tw_exact_sum_add(n % 4 ? &one.above : &one.below, 1);
    }
    for (uint32_t k = 0; k < count; k++)
        fit[k] = one;
    tw_tally_put_fits(fit, count, bytes);
    struct tw_frame frame = tally_of(given, 0.1);
    frame.tally.correct = 0;
    frame.tally.output = first;
    frame.tally.fits = (struct tw_view){bytes, count * (size_t)TW_TALLY_FIT_BYTES};
    return desk_say(&p->desk, p->control[i], &frame, NULL);
}

/* What is left, by the second evaluator, in two frames each; and the numbers that come of it. */
static void say_the_rest(struct party *p) {
    while (!desk_count(&p->desk, TW_EVENT_EVALUATED)) {
        assert_int_equal(say_fits(p, 1, 0, 30), TW_OK);
        assert_int_equal(say_fits(p, 1, 30, 10), TW_OK);
        ask(p, 1);
    }
    const struct tw_node_event *evaluated = last_event(p, TW_EVENT_EVALUATED);
    assert_true(evaluated->values.r2 == 0.75 && isnan(evaluated->values.accuracy));
    assert_true(evaluated->values.loss == 0.1);
}

/* One dies after so many outputs; what is there of its portion is not counted twice, in whatever
 * frames it comes again. */
static void test_fits_come_in_several_frames(void **state) {
    static const uint32_t before[] = {0, 1, 29, 30, 31, 39};
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        struct party p;
        begin_valued(&p);
        if (before[i])
            assert_int_equal(say_fits(&p, 0, 0, before[i]), TW_OK);
        desk_lose(&p.desk, p.control[0]);
        say_the_rest(&p);
        desk_fini(&p.desk);
    }
}

/* The same file, but another column. */
static void test_targets_of_another_kind_are_refused(void **state) {
    struct party p;
    struct tw_frame other = join_frame(SAMPLES, "desk");
    begin_valued(&p);
    desk_closed(&p.desk, desk_join_with(&p.desk, &other), TW_WRONG_JOB,
                "that of the evaluator that is there 1000 with real targets");
    desk_fini(&p.desk);
}

static void test_fits_after_a_gap_are_refused(void **state) {
    struct party p;
    begin_valued(&p);
    assert_int_equal(say_fits(&p, 0, 0, 10), TW_OK);
    assert_int_equal(say_fits(&p, 0, 11, 10), TW_UNEXPECTED);
    desk_closed(&p.desk, p.control[0], TW_UNEXPECTED, "from output 11 on, where 10 would be next");
    say_the_rest(&p);
    desk_fini(&p.desk);
}

static void test_an_ask_before_the_evaluation_is_refused(void **state) {
    struct party p;
    begin_beside_a_late_one(&p, true);
    assert_int_equal(ask(&p, 1), TW_OK);
    assert_int_equal(ask(&p, 0), TW_UNEXPECTED);
    desk_closed(&p.desk, p.control[0], TW_UNEXPECTED, "an Ask before the Evaluation");
    desk_work(&p.desk);
    assert_int_equal(portion(&p, 1).samples, SAMPLES); /* another does it */
    desk_fini(&p.desk);
}

/* Who asks again without an answer, or after half of one, would never say the rest. */
static void test_an_ask_before_the_answer_is_refused(void **state) {
    for (uint32_t said = 0; said < 2; said++) {
        struct party p;
        begin_valued(&p);
        if (said)
            assert_int_equal(say_fits(&p, 0, 0, 10), TW_OK);
        assert_int_equal(ask(&p, 0), TW_UNEXPECTED);
        desk_closed(&p.desk, p.control[0], TW_UNEXPECTED, "all of the Tally, of what was given");
        say_the_rest(&p);
        desk_fini(&p.desk);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_are_given_until_all_are_answered),
        cmocka_unit_test(test_one_alone_scores_all_and_says_the_numbers),
        cmocka_unit_test(test_the_part_of_who_dies_goes_to_another),
        cmocka_unit_test(test_what_training_waits_for_is_evaluated_again_by_who_is_left),
        cmocka_unit_test(test_what_nothing_waits_for_is_given_up),
        cmocka_unit_test(test_an_ask_dies_with_who_asked),
        cmocka_unit_test(test_wrong_tallies_are_refused_and_nothing_is_lost),
        cmocka_unit_test(test_scores_are_put_in_order),
        cmocka_unit_test(test_who_does_not_fit_beside_another_is_refused),
        cmocka_unit_test(test_more_than_can_be_put_together_takes_one),
        cmocka_unit_test(test_fits_come_in_several_frames),
        cmocka_unit_test(test_targets_of_another_kind_are_refused),
        cmocka_unit_test(test_fits_after_a_gap_are_refused),
        cmocka_unit_test(test_an_ask_before_the_evaluation_is_refused),
        cmocka_unit_test(test_an_ask_before_the_answer_is_refused),
    };
    return cmocka_run_group_tests_name("evaluators of a node", tests, NULL, NULL);
}
