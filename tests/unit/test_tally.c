/* Tallies: the parts of an evaluation, cut and merged in any way, give the numbers of the whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/base/tally.h"

enum { SAMPLES = 300, OUTPUTS = 3 };

struct counted {
    struct tw_tally tally;
    struct tw_tally_fit fit[OUTPUTS];
    struct tw_tally_score score[SAMPLES];
};

static double losses[SAMPLES], scores[SAMPLES], targets[SAMPLES][OUTPUTS];

static void draw(void) {
    struct tw_rng rng;
    tw_rng_init(&rng, 7, TW_STREAM_JITTER, 0, 0);
    for (int i = 0; i < SAMPLES; i++) {
        losses[i] = ldexp(tw_rng_uniform(&rng), (int)tw_rng_below(&rng, 60) - 30);
        scores[i] = (double)tw_rng_below(&rng, 40) - 20;
        for (int k = 0; k < OUTPUTS; k++)
            targets[i][k] = tw_rng_uniform(&rng) - 0.5;
    }
}

static int by_score(const void *a, const void *b) {
    double x = ((const struct tw_tally_score *)a)->score;
    double y = ((const struct tw_tally_score *)b)->score;
    return (x > y) - (x < y);
}

static void begin(struct counted *c, bool valued) {
    memset(c, 0, sizeof *c);
    c->tally = (struct tw_tally){.outputs = OUTPUTS, .classes = 2, .valued = valued};
    c->tally.fit = valued ? c->fit : NULL;
    c->tally.score = valued ? NULL : c->score;
    c->tally.room = SAMPLES;
    tw_tally_clear(&c->tally);
}

static void count(struct counted *c, int first, int end) {
    struct tw_tally *tally = &c->tally;
    for (int i = first; i < end; i++) {
        tw_exact_sum_add(&tally->loss, losses[i]);
        tally->samples++;
        tally->correct += i % 3 == 0;
        for (int k = 0; tally->valued && k < OUTPUTS; k++) {
            double value = targets[i][k];
            tw_exact_sum_add(&tally->fit[k].residual, (value - 0.1) * (value - 0.1));
            tw_exact_sum_add(&tally->fit[k].square, value * value);
            tw_exact_sum_add(value < 0 ? &tally->fit[k].below : &tally->fit[k].above, fabs(value));
            tally->fit[k].least = fmin(tally->fit[k].least, value);
            tally->fit[k].most = fmax(tally->fit[k].most, value);
        }
        if (tally->score)
            tally->score[tally->scores++] = (struct tw_tally_score){scores[i], i % 2};
    }
    qsort(c->score, tally->scores, sizeof c->score[0], by_score);
}

/* As a server does with what an evaluator sent. */
static void merge(struct counted *into, const struct counted *part) {
    static uint8_t fits[OUTPUTS * TW_TALLY_FIT_BYTES], ranked[SAMPLES * TW_TALLY_SCORE_BYTES];
    struct tw_error error;
    into->tally.samples += part->tally.samples;
    into->tally.correct += part->tally.correct;
    tw_exact_sum_merge(&into->tally.loss, &part->tally.loss);
    if (into->tally.valued) {
        tw_tally_put_fits(part->fit, OUTPUTS, fits);
        assert_int_equal(tw_tally_merge_fits(into->fit, OUTPUTS, fits, &error), TW_OK);
        return;
    }
    tw_tally_put_scores(part->score, part->tally.scores, ranked);
    assert_int_equal(tw_tally_merge_scores(&into->tally, ranked, part->tally.scores, &error),
                     TW_OK);
}

static bool same(double a, double b) {
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static void any_cut_in_any_order_gives_the_same_bits(void **state) {
    static struct counted whole, sum, part;
    struct tw_rng rng;
    draw();
    tw_rng_init(&rng, 8, TW_STREAM_JITTER, 0, 0);
    for (int round = 0; round < 60; round++) {
        bool valued = round % 2;
        int parts = 1 + (int)tw_rng_below(&rng, 12), begun = (int)tw_rng_below(&rng, 12);
        begin(&whole, valued);
        count(&whole, 0, SAMPLES);
        begin(&sum, valued);
        for (int p = 0; p < parts; p++) {
            int i = (p + begun) % parts;
            begin(&part, valued);
            count(&part, SAMPLES * i / parts, SAMPLES * (i + 1) / parts);
            merge(&sum, &part);
        }
        struct tw_metric_values a = tw_tally_values(&whole.tally);
        struct tw_metric_values b = tw_tally_values(&sum.tally);
        assert_true(same(a.loss, b.loss) && same(a.accuracy, b.accuracy) && same(a.auc, b.auc) &&
                    same(a.r2, b.r2) && same(a.top5, b.top5));
        assert_int_equal(isnan(a.r2), !valued);
        assert_int_equal(isnan(a.auc), valued);
    }
}

static void scores_that_are_out_of_order_are_refused_whole(void **state) {
    static struct counted sum;
    static const double wrong[][3] = {{1, 3, 2}, {1, 2, (double)NAN}, {(double)NAN, 1, 2}};
    struct tw_error error;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint8_t bytes[3 * TW_TALLY_SCORE_BYTES];
        struct tw_tally_score three[3];
        for (int k = 0; k < 3; k++)
            three[k] = (struct tw_tally_score){wrong[i][k], true};
        tw_tally_put_scores(three, 3, bytes);
        begin(&sum, false);
        assert_int_equal(tw_tally_merge_scores(&sum.tally, bytes, 3, &error), TW_MALFORMED);
        assert_int_equal(sum.tally.scores, 0);
    }
}

static void targets_that_cannot_be_are_refused_whole(void **state) {
    static struct counted part, sum;
    uint8_t bytes[OUTPUTS * TW_TALLY_FIT_BYTES];
    struct tw_error error;
    draw();
    for (int i = 0; i < 3; i++) {
        begin(&part, true);
        count(&part, 0, 10);
        struct tw_tally_fit *last = &part.fit[OUTPUTS - 1];
        last->least = i == 0 ? (double)NAN : i == 1 ? last->most + 1 : -(double)INFINITY;
        tw_tally_put_fits(part.fit, OUTPUTS, bytes);
        begin(&sum, true);
        assert_int_equal(tw_tally_merge_fits(sum.fit, OUTPUTS, bytes, &error), TW_MALFORMED);
        assert_true(tw_exact_sum_value(&sum.fit[0].square) == 0);
    }
}

static void a_score_that_is_no_number_leaves_no_area(void **state) {
    static struct counted sum;
    draw();
    begin(&sum, false);
    count(&sum, 0, SAMPLES);
    assert_false(isnan(tw_tally_area(&sum.tally)));
    sum.tally.unordered = true;
    assert_true(isnan(tw_tally_area(&sum.tally)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_cut_in_any_order_gives_the_same_bits),
        cmocka_unit_test(scores_that_are_out_of_order_are_refused_whole),
        cmocka_unit_test(targets_that_cannot_be_are_refused_whole),
        cmocka_unit_test(a_score_that_is_no_number_leaves_no_area),
    };
    return cmocka_run_group_tests_name("tally", tests, NULL, NULL);
}
