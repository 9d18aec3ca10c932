/* The evaluators: who is there, what each of them scores, and what they say.
 *
 * To the sequencer there is one evaluator. It asks when all who work have asked; its RELEASE goes
 * to those who ask then, each of whom scores a portion of the test data, and, when it asks again,
 * another one as long as any waits. Portions are tallied here, where they come from in which order
 * changes no bit, and the last of them is the evaluation. One evaluator alone scores all of the
 * data and says the numbers itself; so does one that knows nothing of portions, beside whom there
 * is no other.
 *
 * Who is lost gives its portion back, for one of those that hold the same weights. Where nobody
 * holds them any more the sequencer is told that another evaluator is in its place: it evaluates
 * the same weights once more, if training waits for that, and else gives it up.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "server/core/node_state.h"

#define ULL(x) ((unsigned long long)(x))

/* ---- memory ---- */

static bool ranks(const struct tw_node_config *config) {
    return config->shard.index == 0 && config->scoring.classes == 2;
}

static uint32_t fits(const struct tw_node_config *config) {
    const struct tw_node_scoring *scoring = &config->scoring;
    bool kept =
        config->shard.index == 0 && scoring->values && scoring->outputs <= TW_SPREAD_OUTPUTS_MAX;
    return kept ? scoring->outputs : 0;
}

size_t tw_node_evaluation_bytes(const struct tw_node_config *config) {
    return fits(config) * sizeof(struct tw_tally_fit) +
           (ranks(config) ? TW_SPREAD_SCORES_MAX : 0) * sizeof(struct tw_tally_score);
}

void tw_node_evaluation_init(struct tw_node *n, void *memory) {
    struct tw_tally *tally = &n->evaluation.tally;
    tally->outputs = n->config.scoring.outputs;
    tally->classes = n->config.scoring.classes;
    struct tw_tally_fit *fit = memory;
    struct tw_tally_score *score = (void *)(fit + fits(&n->config));
    tally->fit = fits(&n->config) ? fit : NULL;
    tally->score = ranks(&n->config) ? score : NULL;
    tally->room = ranks(&n->config) ? TW_SPREAD_SCORES_MAX : 0;
    n->evaluation.sole = TW_NOBODY;
    for (uint32_t i = 0; i < TW_EVALUATORS_MAX; i++) {
        n->evaluator[i].member.control = n->evaluator[i].member.bulk = TW_NO_CONNECTION;
        n->evaluator[i].portion = TW_NO_PORTION;
    }
}

/* ---- coming ---- */

/* Whether two or more may share these test data out; the message of the error says why not. */
static enum tw_status check_spread(const struct tw_node *n, uint64_t samples, bool valued,
                                   struct tw_error *error) {
    const struct tw_node_scoring *scoring = &n->config.scoring;
    if (!samples || !(valued ? scoring->values : scoring->classes > 0))
        return tw_error_set(error, TW_RANK_TAKEN,
                            "there is an evaluator already, and one of the two scores all of the "
                            "test data or none");
    if (valued && scoring->outputs > TW_SPREAD_OUTPUTS_MAX)
        return tw_error_set(error, TW_LIMIT,
                            "there is an evaluator already: R^2 of %u outputs cannot be put "
                            "together by several, of at most %d it can",
                            scoring->outputs, TW_SPREAD_OUTPUTS_MAX);
    if (!valued && scoring->classes == 2 && samples > TW_SPREAD_SCORES_MAX)
        return tw_error_set(error, TW_LIMIT,
                            "there is an evaluator already: the area under the curve of %llu test "
                            "samples cannot be put together by several, of at most %u it can",
                            ULL(samples), TW_SPREAD_SCORES_MAX);
    return TW_OK;
}

/* Whether it can work beside another that is there. */
static enum tw_status check_beside(const struct tw_node *n, const struct tw_join *join,
                                   const struct tw_node_evaluator *other, struct tw_error *error) {
    const struct tw_view *numerics = &join->numerics;
    enum tw_status status = check_spread(n, other->test ? join->samples : 0, join->valued, error);
    if (status != TW_OK)
        return status;
    if (join->samples != other->test || join->valued != other->valued)
        return tw_error_set(error, TW_WRONG_JOB,
                            "its test data has %llu samples%s, that of the evaluator that is there "
                            "%llu%s; give both the same file",
                            ULL(join->samples), join->valued ? " with real targets" : "",
                            ULL(other->test), other->valued ? " with real targets" : "");
    bool same = numerics->size == strlen(other->numerics) &&
                memcmp(other->numerics, numerics->size ? numerics->bytes : "", numerics->size) == 0;
    if (!same && !n->config.sequencer.inexact)
        return tw_error_set(
            error, TW_NUMERICS,
            "the evaluator computes with other numerics than the one that is there "
            "(another build, BLAS or CPU type), so that the numbers would depend on "
            "who scores what; set worker.blas_core for both, or start the server "
            "with --inexact");
    return TW_OK;
}

/* One that was never held, so that whoever lost its connection can come back; but one that scores
 * everything takes the place of the one before. */
static uint32_t free_number(const struct tw_node *n, bool takes_portions) {
    uint32_t number = TW_NOBODY;
    for (uint32_t i = TW_EVALUATORS_MAX; i-- > 0;)
        if (n->evaluator[i].member.control == TW_NO_CONNECTION)
            number = i;
    for (uint32_t i = TW_EVALUATORS_MAX; takes_portions && i-- > 0;)
        if (!n->evaluator[i].member.incarnation)
            number = i;
    return number;
}

enum tw_status tw_node_number_evaluator(const struct tw_node *n, const struct tw_join *join,
                                        uint32_t *number, struct tw_error *error) {
    bool back = join->incarnation != 0;
    if (back && (join->rank >= TW_EVALUATORS_MAX ||
                 join->incarnation != n->evaluator[join->rank].member.incarnation))
        return tw_error_set(error, TW_FENCED, "another evaluator has taken over");
    for (uint32_t i = 0; i < TW_EVALUATORS_MAX; i++) {
        const struct tw_node_evaluator *other = &n->evaluator[i];
        if (other->member.control == TW_NO_CONNECTION || (back && i == join->rank))
            continue;
        enum tw_status status = check_beside(n, join, other, error);
        if (status != TW_OK)
            return status;
    }
    *number = back ? join->rank : free_number(n, join->samples > 0);
    if (*number == TW_NOBODY)
        return tw_error_set(error, TW_LIMIT, "there are %d evaluators already", TW_EVALUATORS_MAX);
    return TW_OK;
}

void tw_node_note_evaluator(struct tw_node *n, uint32_t number, const struct tw_join *join) {
    struct tw_node_evaluator *evaluator = &n->evaluator[number];
    evaluator->test = join->samples;
    evaluator->valued = join->valued;
    memset(evaluator->numerics, 0, sizeof(evaluator->numerics));
    if (join->numerics.size)
        memcpy(evaluator->numerics, join->numerics.bytes, join->numerics.size);
}

/* ---- giving ---- */

static void give(struct tw_node *n, uint32_t number, uint64_t first, uint64_t samples) {
    struct tw_node_evaluator *evaluator = &n->evaluator[number];
    evaluator->state = TW_EVALUATOR_WORKING;
    evaluator->holds = true;
    n->evaluation.to |= UINT64_C(1) << number;
    if (evaluator->test)
        tw_node_say(n, evaluator->member.control, TW_BODY_PORTION)->portion =
            (struct tw_portion){n->evaluation.position, first, samples};
}

/* False: none waits. */
static bool give_next(struct tw_node *n, uint32_t number) {
    struct tw_portions *portions = &n->evaluation.portions;
    uint32_t portion = tw_portions_take(portions);
    n->evaluator[number].portion = portion;
    if (portion != TW_NO_PORTION)
        give(n, number, tw_portions_first(portions, portion),
             tw_portions_samples(portions, portion));
    return portion != TW_NO_PORTION;
}

/* To those who have these weights and nothing to do. */
static void give_again(struct tw_node *n) {
    const struct tw_node_evaluation *evaluation = &n->evaluation;
    for (uint32_t i = 0; evaluation->open && evaluation->sole == TW_NOBODY && i < TW_EVALUATORS_MAX;
         i++)
        if (n->evaluator[i].holds && n->evaluator[i].state == TW_EVALUATOR_ASKING &&
            !give_next(n, i))
            return;
}

static void score_all(struct tw_node *n, uint32_t number) {
    n->evaluation.sole = number;
    give(n, number, 0, n->evaluator[number].test);
}

void tw_node_deal(struct tw_node *n, const struct tw_record *record) {
    struct tw_node_evaluation *evaluation = &n->evaluation;
    uint32_t takers = 0, first = TW_NOBODY;
    for (uint32_t i = TW_EVALUATORS_MAX; i-- > 0;) {
        n->evaluator[i].holds = false;
        n->evaluator[i].portion = TW_NO_PORTION;
        if (n->evaluator[i].state != TW_EVALUATOR_ASKING)
            continue;
        takers++;
        first = i;
    }
    assert(takers > 0 && !evaluation->open);
    evaluation->asked = false;
    evaluation->open = true;
    evaluation->to = 0;
    evaluation->sole = TW_NOBODY;
    evaluation->position = record->position;
    evaluation->version = record->version;
    evaluation->tally.valued = n->evaluator[first].valued;
    if (takers > 1)
        tw_portions_cut(&evaluation->portions, n->evaluator[first].test, takers,
                        tw_tally_ranks(&evaluation->tally));
    if (takers == 1 || evaluation->portions.count == 1) {
        score_all(n, first);
        return;
    }
    tw_tally_clear(&evaluation->tally);
    for (uint32_t i = first; i < TW_EVALUATORS_MAX; i++)
        if (n->evaluator[i].state == TW_EVALUATOR_ASKING && !give_next(n, i))
            return;
}

/* The sequencer is asked when nobody works any more: each evaluation has all that there are. */
static void pass_ask(struct tw_node *n) {
    uint64_t least = UINT64_MAX;
    bool asking = false;
    if (!n->evaluation.present || n->evaluation.open || n->evaluation.asked)
        return;
    for (uint32_t i = 0; i < TW_EVALUATORS_MAX; i++) {
        const struct tw_node_evaluator *evaluator = &n->evaluator[i];
        if (evaluator->state == TW_EVALUATOR_WORKING)
            return;
        if (evaluator->state != TW_EVALUATOR_ASKING)
            continue;
        asking = true;
        least = evaluator->wanted < least ? evaluator->wanted : least;
    }
    if (!asking)
        return;
    n->evaluation.asked = true;
    tw_node_sequence(n, &(struct tw_sequencer_event){.kind = TW_SEQ_ASK, .samples = least});
}

/* ---- coming and going ---- */

static uint32_t count_here(const struct tw_node *n) {
    uint32_t here = 0;
    for (uint32_t i = 0; i < TW_EVALUATORS_MAX; i++)
        here += n->evaluator[i].state != TW_EVALUATOR_AWAY;
    return here;
}

static void tell(struct tw_node *n, uint32_t number, bool present) {
    struct tw_node_event *event = tw_node_tell(n, TW_EVENT_EVALUATOR);
    event->present = present;
    event->rank = number;
    event->ranks = count_here(n);
}

static void sequence_present(struct tw_node *n, bool present) {
    n->evaluation.asked = false;
    n->evaluation.present = present;
    tw_node_sequence(n, &(struct tw_sequencer_event){.kind = TW_SEQ_EVALUATOR, .present = present});
}

void tw_node_evaluator_here(struct tw_node *n, uint32_t number) {
    n->evaluator[number].state = TW_EVALUATOR_IDLE;
    tell(n, number, true);
    n->evaluation.begun |= count_here(n) >= n->config.evaluators;
    if (n->evaluation.present || !n->evaluation.begun)
        return;
    sequence_present(n, true);
    pass_ask(n); /* of those who were early */
}

static bool anybody_holds(const struct tw_node *n) {
    for (uint32_t i = 0; i < TW_EVALUATORS_MAX; i++)
        if (n->evaluator[i].holds)
            return true;
    return false;
}

static bool anybody_asks(const struct tw_node *n) {
    for (uint32_t i = 0; i < TW_EVALUATORS_MAX; i++)
        if (n->evaluator[i].state == TW_EVALUATOR_ASKING)
            return true;
    return false;
}

void tw_node_evaluator_gone(struct tw_node *n, uint32_t number) {
    struct tw_node_evaluator *evaluator = &n->evaluator[number];
    struct tw_node_evaluation *evaluation = &n->evaluation;
    if (evaluation->open && evaluator->portion != TW_NO_PORTION)
        tw_portions_back(&evaluation->portions, evaluator->portion);
    evaluator->portion = TW_NO_PORTION;
    evaluator->state = TW_EVALUATOR_AWAY;
    evaluator->holds = false;
    tell(n, number, false);
    bool lost = evaluation->open && !anybody_holds(n);
    bool unasked = evaluation->asked && !anybody_asks(n);
    evaluation->open = evaluation->open && !lost;
    if (!count_here(n) && evaluation->present)
        sequence_present(n, false);
    else if (lost || unasked)
        sequence_present(n, true); /* another in its place */
    give_again(n);
    pass_ask(n);
}

/* ---- what they say ---- */

enum tw_status tw_node_on_ask(struct tw_node *n, uint32_t number, uint64_t samples,
                              struct tw_error *error) {
    struct tw_node_evaluator *evaluator = &n->evaluator[number];
    const struct tw_node_evaluation *evaluation = &n->evaluation;
    /* All others would wait for the rest of it; this way one of them scores it. */
    if (evaluator->portion != TW_NO_PORTION || (evaluation->open && evaluation->sole == number))
        return tw_error_set(error, TW_UNEXPECTED,
                            "an Ask before the Evaluation, or all of the Tally, of what was given");
    if (evaluator->state == TW_EVALUATOR_AWAY || evaluator->state == TW_EVALUATOR_ASKING)
        return TW_OK;
    evaluator->state = TW_EVALUATOR_ASKING;
    evaluator->wanted = samples;
    give_again(n);
    pass_ask(n);
    return TW_OK;
}

static void conclude(struct tw_node *n, const struct tw_metric_values *values) {
    n->evaluation.open = false;
    struct tw_node_event *event = tw_node_tell(n, TW_EVENT_EVALUATED);
    event->version = n->evaluation.version;
    event->values = *values;
    tw_node_sequence(n,
                     &(struct tw_sequencer_event){.kind = TW_SEQ_EVALUATED, .loss = values->loss});
    pass_ask(n);
}

enum tw_status tw_node_on_evaluation(struct tw_node *n, uint32_t number,
                                     const struct tw_evaluation *said, struct tw_error *error) {
    const struct tw_node_evaluation *evaluation = &n->evaluation;
    if (said->position > evaluation->position || !said->position)
        return tw_error_set(error, TW_UNEXPECTED,
                            "an evaluation of position %llu, but the weights sent were those of "
                            "position %llu",
                            ULL(said->position), ULL(evaluation->position));
    if (said->position < evaluation->position || !evaluation->open)
        return TW_OK; /* sent again after a reconnect, or too late */
    if (evaluation->sole != number)
        return tw_error_set(error, TW_UNEXPECTED,
                            "an evaluation of all of the test data, of which this evaluator was "
                            "not given all");
    struct tw_metric_values values = tw_evaluation_values(said);
    conclude(n, &values);
    return TW_OK;
}

static enum tw_status check_counts(const struct tw_tally_frame *said, struct tw_error *error) {
    uint64_t most = said->correct > said->among_five ? said->correct : said->among_five;
    if (most > said->samples)
        return tw_error_set(error, TW_MALFORMED, "a Tally with %llu of %llu samples right",
                            ULL(most), ULL(said->samples));
    if (said->loss.size != TW_EXACT_SUM_BYTES)
        return tw_error_set(error, TW_MALFORMED, "a Tally with a sum of %zu bytes, not %d",
                            said->loss.size, TW_EXACT_SUM_BYTES);
    return TW_OK;
}

static void add_counts(struct tw_tally *tally, const struct tw_tally_frame *said) {
    struct tw_exact_sum loss;
    tw_exact_sum_get(said->loss.bytes, &loss);
    tw_exact_sum_merge(&tally->loss, &loss);
    tally->samples += said->samples;
    tally->correct += said->correct;
    tally->among_five += said->among_five;
}

/* Of labels: one frame. */
static enum tw_status add_scores(struct tw_tally *tally, const struct tw_tally_frame *said,
                                 struct tw_error *error) {
    size_t size = said->scores.size;
    bool ranked = tw_tally_ranks(tally);
    if (said->fits.size || said->output ||
        (size && (!ranked || size != said->samples * TW_TALLY_SCORE_BYTES)))
        return tw_error_set(error, TW_MALFORMED,
                            "a Tally of %llu samples with labels has %zu bytes of scores and %zu "
                            "of fits",
                            ULL(said->samples), size, said->fits.size);
    if (size) {
        enum tw_status status =
            tw_tally_merge_scores(tally, said->scores.bytes, said->samples, error);
        if (status != TW_OK)
            return status;
    }
    tally->unordered |= ranked && !size; /* one of them is no number */
    add_counts(tally, said);
    return TW_OK;
}

/* Of real targets: as many as it takes. Those that one who is gone had sent come again, and not
 * always in the same frames. */
static enum tw_status add_fits(struct tw_tally *tally, const struct tw_tally_frame *said,
                               uint32_t *outputs, struct tw_error *error) {
    uint64_t count = said->fits.size / TW_TALLY_FIT_BYTES;
    if (said->scores.size || !count || said->fits.size % TW_TALLY_FIT_BYTES ||
        said->output + count > tally->outputs)
        return tw_error_set(error, TW_MALFORMED,
                            "a Tally with %zu bytes of fits from output %u on, and %zu of scores; "
                            "there are %u outputs of %d bytes each",
                            said->fits.size, said->output, said->scores.size, tally->outputs,
                            TW_TALLY_FIT_BYTES);
    if (said->output + count <= *outputs)
        return TW_OK;
    if (said->output > *outputs)
        return tw_error_set(error, TW_UNEXPECTED,
                            "a Tally from output %u on, where %u would be next", said->output,
                            *outputs);
    uint32_t known = *outputs - said->output, fresh = (uint32_t)count - known;
    const uint8_t *bytes = said->fits.bytes;
    enum tw_status status = tw_tally_merge_fits(&tally->fit[*outputs], fresh,
                                                bytes + (size_t)known * TW_TALLY_FIT_BYTES, error);
    if (status != TW_OK)
        return status;
    if (*outputs == 0)
        add_counts(tally, said);
    *outputs += fresh;
    return TW_OK;
}

enum tw_status tw_node_on_tally(struct tw_node *n, uint32_t number,
                                const struct tw_tally_frame *said, struct tw_error *error) {
    struct tw_node_evaluator *evaluator = &n->evaluator[number];
    struct tw_node_evaluation *evaluation = &n->evaluation;
    struct tw_portions *portions = &evaluation->portions;
    struct tw_tally *tally = &evaluation->tally;
    uint32_t portion = evaluator->portion;
    bool ours = evaluation->open && portion != TW_NO_PORTION &&
                said->position == evaluation->position &&
                said->first == tw_portions_first(portions, portion) &&
                said->samples == tw_portions_samples(portions, portion);
    if (!ours)
        return tw_error_set(error, TW_UNEXPECTED,
                            "a Tally of %llu samples from %llu on, at position %llu: this "
                            "evaluator was not given these, or has answered",
                            ULL(said->samples), ULL(said->first), ULL(said->position));
    enum tw_status status = check_counts(said, error);
    if (status == TW_OK)
        status = tally->valued ? add_fits(tally, said, &portions->outputs[portion], error)
                               : add_scores(tally, said, error);
    bool whole =
        !tally->valued || said->output + said->fits.size / TW_TALLY_FIT_BYTES == tally->outputs;
    if (status != TW_OK || !whole)
        return status;
    evaluator->portion = TW_NO_PORTION;
    tw_portions_done(portions, portion);
    if (portions->left)
        return TW_OK;
    struct tw_metric_values values = tw_tally_values(tally);
    conclude(n, &values);
    return TW_OK;
}
