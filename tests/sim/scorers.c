#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/sim/scorers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/tally.h"

#define VERSIONS 256

struct scorers {
    struct tw_tally tally;
    struct tw_tally_score score[SCORERS_SAMPLES];
    uint8_t loss[TW_EXACT_SUM_BYTES], scores[SCORERS_SAMPLES * TW_TALLY_SCORE_BYTES];
    struct tw_tally_frame frame; /* the last */
    /* By version, from those who had its weights. */
    bool known[VERSIONS];
    struct tw_metric_values expected[VERSIONS];
    /* Of the last position. */
    uint64_t position;
    bool given[SCORERS_SAMPLES / TW_EVALUATION_ROWS + 1];
    uint32_t here; /* evaluators */
    struct scorers_counts counts;
};

void scorers_configure(struct tw_node_config *node, bool several, bool judged) {
    if (several)
        node->scoring = (struct tw_node_scoring){.outputs = 2, .classes = 2};
    if (judged)
        node->sequencer.end = (struct tw_judge){
            .by_loss = true, .watch = TW_WATCH_TEST, .patience = -1, .enough = -(double)INFINITY};
}

struct scorers *scorers_new(void) {
    struct scorers *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->tally =
        (struct tw_tally){.outputs = 2, .classes = 2, .score = s->score, .room = SCORERS_SAMPLES};
    return s;
}

void scorers_free(struct scorers *s) {
    free(s);
}

static int by_score(const void *a, const void *b) {
    double x = ((const struct tw_tally_score *)a)->score;
    double y = ((const struct tw_tally_score *)b)->score;
    return (x > y) - (x < y);
}

static void count(struct scorers *s, double weight, uint64_t first, uint64_t samples) {
    struct tw_tally *tally = &s->tally;
    tw_tally_clear(tally);
    for (uint64_t i = first; i < first + samples; i++) {
        tw_exact_sum_add(&tally->loss, fabs(weight) * (double)(i + 1) + 0.1);
        tally->correct += i * 31 % 7 < 4;
        tally->samples++;
        s->score[tally->scores++] =
            (struct tw_tally_score){weight * (double)(i * 7919 % 101), /* many are equal */
                                    i % 3 == 0};
    }
    qsort(s->score, tally->scores, sizeof(s->score[0]), by_score);
}

struct tw_client_event scorers_score(struct scorers *s, const struct tw_client *client,
                                     double weight) {
    struct tw_client_event event = {.kind = TW_CLIENT_ON_REPORT};
    uint64_t first = client->portion.first, samples = client->portion.samples;
    assert_true(client->held.version < VERSIONS);
    count(s, weight, 0, SCORERS_SAMPLES);
    s->known[client->held.version] = true;
    s->expected[client->held.version] = tw_tally_values(&s->tally);
    event.values = &s->expected[client->held.version];
    if (!client->portions || samples == SCORERS_SAMPLES)
        return event;
    count(s, weight, first, samples);
    tw_exact_sum_put(s->loss, &s->tally.loss);
    tw_tally_put_scores(s->score, samples, s->scores);
    event.kind = TW_CLIENT_ON_TALLY;
    s->frame = (struct tw_tally_frame){.correct = s->tally.correct,
                                       .loss = {s->loss, sizeof(s->loss)},
                                       .scores = {s->scores, samples * TW_TALLY_SCORE_BYTES}};
    event.tally = &s->frame;
    return event;
}

void scorers_given(struct scorers *s, const struct tw_portion *portion) {
    if (portion->samples == SCORERS_SAMPLES)
        return;
    if (portion->position != s->position)
        memset(s->given, 0, sizeof(s->given));
    s->position = portion->position;
    bool *given = &s->given[portion->first / TW_EVALUATION_ROWS];
    s->counts.portions++;
    s->counts.again += *given;
    *given = true;
}

/* As bits: none of these is a NaN with a payload. */
static void assert_same(double said, double expected) {
    if (!(said == expected || (isnan(said) && isnan(expected))))
        fail_msg("an evaluation says %.17g where one evaluator would say %.17g", said, expected);
}

void scorers_event(struct scorers *s, const struct tw_node_event *event) {
    s->counts.given_up += event->kind == TW_EVENT_GIVEN_UP;
    if (event->kind == TW_EVENT_EVALUATOR)
        s->here = event->ranks;
    if (event->kind == TW_EVENT_BORDER && s->here && !event->evaluated)
        fail_msg("the border at version %llu is passed over, though %u evaluators are there",
                 (unsigned long long)event->version, s->here);
    if (event->kind != TW_EVENT_EVALUATED)
        return;
    s->counts.evaluated++;
    assert_true(event->version < VERSIONS && s->known[event->version]);
    const struct tw_metric_values *expected = &s->expected[event->version];
    assert_same(event->values.loss, expected->loss);
    assert_same(event->values.accuracy, expected->accuracy);
    assert_same(event->values.top5, expected->top5);
    assert_same(event->values.auc, expected->auc);
    assert_same(event->values.r2, expected->r2);
}

struct scorers_counts scorers_counts(const struct scorers *s) {
    return s ? s->counts : (struct scorers_counts){0};
}
