#include "cli/progress.h"

#include <math.h>

#include "cli/words.h"

/* Sentences begin with two spaces less than the pieces that they are made of. */
static void add_first(struct tw_text *out, const struct tw_text *pieces) {
    if (pieces->size > 2 && !pieces->failed)
        tw_text_add_bytes(out, pieces->at + 2, pieces->size - 2);
}

static void count_line(struct tw_progress *progress, const struct tw_result *result) {
    char updates[TW_WORDS_MAX], samples[TW_WORDS_MAX], time[TW_WORDS_MAX];
    struct tw_text out = {0};
    tw_text_add(&out, "%s update%s, %s samples in %s", tw_count_words(result->updates, updates),
                result->updates == 1 ? "" : "s", tw_count_words(result->samples, samples),
                tw_seconds_words(result->seconds, time));
    tw_add_rate(&out, result->samples_per_second);
    tw_progress_text(progress, TW_TONE_PLAIN, &out);
}

static void quality_line(struct tw_progress *progress, const struct tw_result *result) {
    struct tw_text pieces = {0}, out = {0};
    tw_add_number(&pieces, "test accuracy", result->test_accuracy);
    tw_add_number(&pieces, "test loss", result->test_loss);
    tw_add_number(&pieces, "train accuracy", result->train_accuracy);
    tw_add_number(&pieces, "train loss", result->train_loss);
    add_first(&out, &pieces);
    if (out.size)
        tw_progress_text(progress, TW_TONE_PLAIN, &out);
    tw_text_fini(&pieces);
}

static void staleness_line(struct tw_progress *progress, const struct tw_result *result) {
    struct tw_text out = {0};
    char most[TW_WORDS_MAX], dropped[TW_WORDS_MAX];
    if (!isfinite(result->staleness_mean))
        return;
    if (result->staleness_max == 0)
        tw_text_add(&out, "staleness 0: every gradient was computed on fresh weights");
    else
        tw_text_add(&out, "staleness %.2f updates on average, at most %s", result->staleness_mean,
                    tw_count_words(result->staleness_max, most));
    if (result->dropped)
        tw_text_add(&out, "; %s gradient%s dropped", tw_count_words(result->dropped, dropped),
                    result->dropped == 1 ? "" : "s");
    tw_progress_text(progress, TW_TONE_PLAIN, &out);
}

static void not_finite_line(struct tw_progress *progress, const struct tw_result *result) {
    struct tw_text out = {0};
    char count[TW_WORDS_MAX];
    if (!result->not_finite || result->status == TW_NOT_FINITE)
        return;
    tw_text_add(&out, "%s time%s gradients were not finite and were left out",
                tw_count_words(result->not_finite, count), result->not_finite == 1 ? "" : "s");
    tw_progress_text(progress, TW_TONE_CARE, &out);
}

static void evictions_line(struct tw_progress *progress, const struct tw_result *result) {
    struct tw_text out = {0};
    char count[TW_WORDS_MAX];
    if (!result->evicted)
        return;
    tw_text_add(&out, "%s eviction%s: what an evicted worker has of the data was not seen",
                tw_count_words(result->evicted, count), result->evicted == 1 ? "" : "s");
    tw_progress_text(progress, TW_TONE_CARE, &out);
}

void tw_progress_summary(struct tw_progress *progress, const struct tw_summary *summary) {
    const struct tw_result *result = &summary->result;
    struct tw_text out = {0};
    bool done = result->status == TW_OK;
    tw_progress_clear(progress);
    progress->finished = true;
    tw_text_add(&out, "%s", tw_summary_status(summary));
    if (!done && *result->error)
        tw_text_add(&out, ": %s", result->error);
    tw_progress_text(progress, done ? TW_TONE_GOOD : TW_TONE_BAD, &out);
    if (summary->counted && result->updates > 0) {
        count_line(progress, result);
        quality_line(progress, result);
        staleness_line(progress, result);
        not_finite_line(progress, result);
        evictions_line(progress, result);
    }
    if (*result->model)
        tw_text_add(&out, "the model lies in %s", result->model);
    else if (summary->run)
        tw_text_add(&out, "no model was written; the logs are in %s", summary->run);
    if (out.size)
        tw_progress_text(progress, TW_TONE_PLAIN, &out);
    if (*result->model_ema)
        tw_text_add(&out, "its weights averaged over updates lie in %s", result->model_ema);
    if (out.size)
        tw_progress_text(progress, TW_TONE_PLAIN, &out);
}
