#include "common/base/tally.h"

#include <math.h>
#include <string.h>

#include "common/base/bytes.h"

bool tw_tally_ranks(const struct tw_tally *tally) {
    return !tally->valued && tally->classes == 2;
}

void tw_tally_clear(struct tw_tally *tally) {
    tally->samples = tally->correct = tally->among_five = tally->scores = 0;
    tally->loss = (struct tw_exact_sum){0};
    tally->unordered = false;
    for (uint32_t i = 0; tally->fit && i < tally->outputs; i++)
        tally->fit[i] = (struct tw_tally_fit){.least = (double)INFINITY, .most = -(double)INFINITY};
}

/* ---- numbers ---- */

double tw_tally_loss(const struct tw_tally *tally) {
    return tw_exact_sum_value(&tally->loss) / (double)tally->samples;
}

double tw_tally_accuracy(const struct tw_tally *tally) {
    return tally->valued ? (double)NAN : (double)tally->correct / (double)tally->samples;
}

double tw_tally_top_five(const struct tw_tally *tally) {
    return tally->valued || tally->classes <= 5
               ? (double)NAN
               : (double)tally->among_five / (double)tally->samples;
}

/* Mann and Whitney's U: of all pairs of a positive and a negative sample, in how many the positive
 * one has the larger score; equal ones count half. In halves, so that it is a whole number. */
double tw_tally_area(const struct tw_tally *tally) {
    const struct tw_tally_score *score = tally->score;
    uint64_t negatives = 0, positives = 0, halves = 0;
    if (!score || tally->unordered)
        return (double)NAN;
    for (uint64_t i = 0, end; i < tally->scores; i = end) {
        uint64_t above = 0, below = 0;
        for (end = i; end < tally->scores && score[end].score == score[i].score; end++)
            *(score[end].positive ? &above : &below) += 1;
        halves += above * (2 * negatives + below);
        positives += above;
        negatives += below;
    }
    if (positives == 0 || negatives == 0)
        return (double)NAN;
    return (double)halves / (2.0 * (double)positives * (double)negatives);
}

/* The mean over the outputs of 1 - sum (t - z)^2 / sum (t - mean t)^2; an output whose targets are
 * all the same has none. */
double tw_tally_r_squared(const struct tw_tally *tally) {
    double sum = 0, n = (double)tally->samples;
    if (!tally->valued)
        return (double)NAN;
    for (uint32_t i = 0; i < tally->outputs; i++) {
        const struct tw_tally_fit *fit = &tally->fit[i];
        double total = tw_exact_sum_value(&fit->above) - tw_exact_sum_value(&fit->below);
        double spread = tw_exact_sum_value(&fit->square) - total * total / n;
        bool varies = fit->least < fit->most && spread > 0; /* rounding may leave constants some */
        sum += varies ? 1 - tw_exact_sum_value(&fit->residual) / spread : (double)NAN;
    }
    return sum / (int)tally->outputs;
}

struct tw_metric_values tw_tally_values(const struct tw_tally *tally) {
    return (struct tw_metric_values){.loss = tw_tally_loss(tally),
                                     .accuracy = tw_tally_accuracy(tally),
                                     .top5 = tw_tally_top_five(tally),
                                     .auc = tw_tally_area(tally),
                                     .r2 = tw_tally_r_squared(tally)};
}

/* ---- bytes ---- */

static uint8_t *put_real(uint8_t *at, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    tw_put_u64(at, bits);
    return at + 8;
}

static const uint8_t *get_real(const uint8_t *at, double *value) {
    uint64_t bits = tw_get_u64(at);
    memcpy(value, &bits, sizeof bits);
    return at + 8;
}

void tw_tally_put_fits(const struct tw_tally_fit *fit, uint32_t fits, uint8_t *out) {
    for (uint32_t i = 0; i < fits; i++, fit++) {
        out = tw_exact_sum_put(tw_exact_sum_put(out, &fit->residual), &fit->square);
        out = tw_exact_sum_put(tw_exact_sum_put(out, &fit->above), &fit->below);
        out = put_real(put_real(out, fit->least), fit->most);
    }
}

void tw_tally_put_scores(const struct tw_tally_score *score, uint64_t scores, uint8_t *out) {
    for (uint64_t i = 0; i < scores; i++, score++) {
        out = put_real(out, score->score);
        *out++ = score->positive;
    }
}

static const uint8_t *get_fit(const uint8_t *at, struct tw_tally_fit *fit) {
    at = tw_exact_sum_get(tw_exact_sum_get(at, &fit->residual), &fit->square);
    at = tw_exact_sum_get(tw_exact_sum_get(at, &fit->above), &fit->below);
    return get_real(get_real(at, &fit->least), &fit->most);
}

static void merge_fit(struct tw_tally_fit *into, const struct tw_tally_fit *from) {
    tw_exact_sum_merge(&into->residual, &from->residual);
    tw_exact_sum_merge(&into->square, &from->square);
    tw_exact_sum_merge(&into->above, &from->above);
    tw_exact_sum_merge(&into->below, &from->below);
    into->least = from->least < into->least ? from->least : into->least;
    into->most = from->most > into->most ? from->most : into->most;
}

enum tw_status tw_tally_merge_fits(struct tw_tally_fit *fit, uint32_t fits, const uint8_t *bytes,
                                   struct tw_error *error) {
    struct tw_tally_fit one;
    const uint8_t *at = bytes;
    for (uint32_t i = 0; i < fits; i++) {
        at = get_fit(at, &one);
        if (!isfinite(one.least) || !isfinite(one.most) || one.least > one.most)
            return tw_error_set(error, TW_MALFORMED, "targets from %g to %g", one.least, one.most);
    }
    for (uint32_t i = 0; i < fits; i++) {
        bytes = get_fit(bytes, &one);
        merge_fit(&fit[i], &one);
    }
    return TW_OK;
}

static enum tw_status check_order(const uint8_t *bytes, uint64_t scores, struct tw_error *error) {
    double before = -(double)INFINITY, now;
    for (uint64_t i = 0; i < scores; i++) {
        bytes = get_real(bytes, &now) + 1;
        if (!(before <= now))
            return tw_error_set(error, TW_MALFORMED, "scores that are not in ascending order");
        before = now;
    }
    return TW_OK;
}

/* From the largest down, into the room behind those that are there. */
enum tw_status tw_tally_merge_scores(struct tw_tally *tally, const uint8_t *bytes, uint64_t scores,
                                     struct tw_error *error) {
    struct tw_tally_score *all = tally->score;
    uint64_t old = tally->scores, to = old + scores;
    double score;
    enum tw_status status = check_order(bytes, scores, error);
    if (status != TW_OK)
        return status;
    while (scores > 0) {
        const uint8_t *flag = get_real(bytes + (scores - 1) * TW_TALLY_SCORE_BYTES, &score);
        if (old > 0 && all[old - 1].score > score) {
            all[--to] = all[--old];
            continue;
        }
        all[--to] = (struct tw_tally_score){score, *flag != 0};
        scores--;
        tally->scores++;
    }
    return TW_OK;
}
