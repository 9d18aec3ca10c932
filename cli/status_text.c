#include "cli/status_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/words.h"
#include "common/base/json.h"

/* Seconds without a word from a worker that are worth a word: its heart beats once a
 * second. */
#define SILENT_S 3.0

static const char *phase_name(enum tw_phase phase) {
    switch (phase) {
    case TW_PHASE_GATHERING:
        return "gathering";
    case TW_PHASE_TRAINING:
        return "training";
    case TW_PHASE_EVALUATING:
        return "evaluating";
    case TW_PHASE_ENDING:
        return "ending";
    }
    return "?"; /* of a newer server */
}

static const char *state_name(enum tw_rank_state state) {
    switch (state) {
    case TW_RANK_ABSENT:
        return "absent";
    case TW_RANK_GONE:
        return "gone";
    case TW_RANK_RECEIVING:
        return "receiving";
    case TW_RANK_COMPUTING:
        return "computing";
    case TW_RANK_SENDING:
        return "sending";
    case TW_RANK_WAITING:
        return "waiting";
    }
    return "?";
}

/* ---- for people ---- */

static const char *phase_words(enum tw_phase phase) {
    switch (phase) {
    case TW_PHASE_GATHERING:
        return "waiting until all workers have joined";
    case TW_PHASE_EVALUATING:
        return "standing still until the evaluator has caught up";
    default:
        return phase_name(phase);
    }
}

static void add_head(struct tw_text *out, const struct tw_told_run *run, const char *name) {
    const struct tw_run_status *s = &run->status;
    char updates[TW_WORDS_MAX], time[TW_WORDS_MAX];
    tw_text_add(out, "%s: %s, %s, %u worker%s\n", name, phase_words(s->phase), run->mode,
                s->workers, s->workers == 1 ? "" : "s");
    tw_text_add(out, "%s update%s", tw_count_words(s->version, updates),
                s->version == 1 ? "" : "s");
    if (s->epoch > 0)
        tw_text_add(out, "  epoch %.2f", s->epoch);
    tw_text_add(out, "  %s of training", tw_seconds_words(s->seconds, time));
    tw_add_rate(out, s->samples_per_second);
    tw_add_number(out, "train loss", s->train_loss);
    tw_text_add_bytes(out, "\n", 1);
}

static void add_counts(struct tw_text *out, const struct tw_told_run *run) {
    const struct tw_run_status *s = &run->status;
    char samples[TW_WORDS_MAX], total[TW_WORDS_MAX], most[TW_WORDS_MAX], dropped[TW_WORDS_MAX];
    tw_text_add(out, "%s", tw_count_words(s->samples, samples));
    if (s->samples_total)
        tw_text_add(out, " of %s", tw_count_words(s->samples_total, total));
    tw_text_add(out, " samples  staleness %.2f on average, at most %s", s->staleness_mean,
                tw_count_words(s->staleness_max, most));
    if (s->dropped)
        tw_text_add(out, "  %s dropped", tw_count_words(s->dropped, dropped));
    tw_text_add_bytes(out, "\n", 1);
}

/* "12 ms", "1.2 s". */
static void add_duration(struct tw_text *out, double seconds) {
    char time[TW_WORDS_MAX];
    if (seconds < 0.1)
        tw_text_add(out, "%.2g ms", seconds * 1e3);
    else
        tw_text_add(out, "%s", tw_seconds_words(seconds, time));
}

static void add_wait(struct tw_text *out, const struct tw_told_run *run) {
    const struct tw_run_status *s = &run->status;
    if (s->update_seconds > 0) {
        tw_text_add(out, "an update comes every ");
        add_duration(out, s->update_seconds);
        tw_text_add(out, "; the last one ");
        add_duration(out, s->since_update);
        tw_text_add(out, " ago\n");
    }
    if (*run->waiting)
        tw_text_add(out, "waiting %s\n", run->waiting);
}

/* "computing for 4.3 s, silent for 12 s" */
static void say_state(const struct tw_rank_status *rank, char *out, size_t room) {
    char time[TW_WORDS_MAX], silent[TW_WORDS_MAX];
    bool here = rank->state != TW_RANK_ABSENT && rank->state != TW_RANK_GONE;
    if (rank->state == TW_RANK_ABSENT) {
        snprintf(out, room, "has not joined");
        return;
    }
    int used =
        snprintf(out, room, "%s %s", state_name(rank->state), tw_seconds_words(rank->since, time));
    if (here && rank->silent >= SILENT_S)
        snprintf(out + used, room - (size_t)used, ", silent %s",
                 tw_seconds_words(rank->silent, silent));
}

static void add_rank(struct tw_text *out, const struct tw_rank_status *rank, bool away) {
    char state[2 * TW_WORDS_MAX + 32], time[TW_WORDS_MAX];
    double all = (rank->computing + rank->waiting + rank->network + rank->away) / 100;
    say_state(rank, state, sizeof state);
    tw_text_add(out, "%6u %9llu  %-29s", rank->rank, (unsigned long long)rank->step, state);
    if (all > 0)
        tw_text_add(out, " %7.0f %% %5.0f %% %5.0f %%", rank->computing / all, rank->waiting / all,
                    rank->network / all);
    if (all > 0 && away)
        tw_text_add(out, " %3.0f %%", rank->away / all);
    if (all > 0 && rank->culprit)
        tw_text_add(out, "  worker %u (%s)", rank->culprit - 1,
                    tw_seconds_words(rank->culprit_seconds, time));
    tw_text_add_bytes(out, "\n", 1);
}

/* Who is missing comes first, then whoever has been at a step for longest. */
static double weight(const struct tw_rank_status *rank) {
    switch (rank->state) {
    case TW_RANK_ABSENT:
    case TW_RANK_GONE:
        return 1e12 + rank->since;
    case TW_RANK_WAITING:
        return -1e12 + rank->blamed;
    default:
        return rank->since;
    }
}

static int heavier(const void *a, const void *b) {
    const struct tw_told_rank *x = *(struct tw_told_rank *const *)a;
    const struct tw_told_rank *y = *(struct tw_told_rank *const *)b;
    double wx = weight(&x->status), wy = weight(&y->status);
    if (wx != wy)
        return wx > wy ? -1 : 1;
    return x->status.rank < y->status.rank ? -1 : x->status.rank > y->status.rank;
}

/* Most often nobody was: then there is no column for it. */
static bool anybody_was_away(const struct tw_told_run *run) {
    for (uint32_t i = 0; i < run->count; i++)
        if (run->rank[i].status.away > 0)
            return true;
    return false;
}

static void add_heaviest(struct tw_text *out, const struct tw_told_run *run, bool away) {
    const struct tw_told_rank **list = calloc(run->count, sizeof *list);
    if (!list) {
        out->failed = true;
        return;
    }
    for (uint32_t i = 0; i < run->count; i++)
        list[i] = &run->rank[i];
    qsort(list, run->count, sizeof *list, heavier);
    for (uint32_t i = 0; i < TW_STATUS_LINES; i++)
        add_rank(out, &list[i]->status, away);
    tw_text_add(out, "and %u more; --all shows every worker\n", run->count - TW_STATUS_LINES);
    free(list);
}

void tw_status_to_text(struct tw_text *out, const struct tw_told_run *run, const char *name,
                       bool all) {
    add_head(out, run, name);
    add_counts(out, run);
    add_wait(out, run);
    bool away = anybody_was_away(run);
    tw_text_add(out, "\n%6s %9s  %-29s computing waiting network%s  waited for\n", "worker", "step",
                "now", away ? "  away" : "");
    if (run->count > TW_STATUS_LINES && !all) {
        add_heaviest(out, run, away);
        return;
    }
    for (uint32_t i = 0; i < run->count; i++)
        add_rank(out, &run->rank[i].status, away);
}

/* ---- for programs ---- */

static void rank_to_json(struct tw_json *json, const struct tw_told_rank *told) {
    const struct tw_rank_status *rank = &told->status;
    tw_json_begin_object(json, NULL);
    tw_json_unsigned(json, "rank", rank->rank);
    tw_json_string(json, "state", state_name(rank->state));
    tw_json_unsigned(json, "step", rank->step);
    tw_json_real(json, "since", rank->since);
    tw_json_real(json, "silent", rank->silent);
    tw_json_real(json, "computing", rank->computing);
    tw_json_real(json, "waiting", rank->waiting);
    tw_json_real(json, "network", rank->network);
    tw_json_real(json, "away", rank->away);
    if (rank->culprit)
        tw_json_unsigned(json, "waited_for", rank->culprit - 1);
    else
        tw_json_null(json, "waited_for");
    tw_json_real(json, "waited_for_seconds", rank->culprit_seconds);
    tw_json_real(json, "others_waited", rank->blamed);
    tw_json_string(json, "peer", *told->peer ? told->peer : NULL);
    tw_json_end_object(json);
}

void tw_status_to_json(struct tw_text *out, const struct tw_told_run *run, const char *name) {
    const struct tw_run_status *s = &run->status;
    struct tw_json json;
    tw_json_init(&json, out);
    tw_json_begin_object(&json, NULL);
    tw_json_string(&json, "status", "running");
    tw_json_null(&json, "error");
    tw_json_string(&json, "run", name);
    tw_json_string(&json, "mode", run->mode);
    tw_json_string(&json, "phase", phase_name(s->phase));
    tw_json_unsigned(&json, "workers", s->workers);
    tw_json_unsigned(&json, "updates", s->version);
    tw_json_unsigned(&json, "samples", s->samples);
    if (s->samples_total)
        tw_json_unsigned(&json, "samples_total", s->samples_total);
    else
        tw_json_null(&json, "samples_total");
    tw_json_real(&json, "epoch", s->epoch);
    tw_json_real(&json, "seconds", s->seconds);
    tw_json_real(&json, "samples_per_second", s->samples_per_second);
    tw_json_real(&json, "train_loss", s->train_loss);
    tw_json_real(&json, "staleness_mean", s->staleness_mean);
    tw_json_unsigned(&json, "staleness_max", s->staleness_max);
    tw_json_unsigned(&json, "dropped", s->dropped);
    tw_json_real(&json, "update_seconds", s->update_seconds > 0 ? s->update_seconds : (double)NAN);
    tw_json_real(&json, "since_update", s->since_update);
    tw_json_string(&json, "waiting", *run->waiting ? run->waiting : NULL);
    tw_json_begin_array(&json, "ranks");
    for (uint32_t i = 0; i < run->count; i++)
        rank_to_json(&json, &run->rank[i]);
    tw_json_end_array(&json);
    tw_json_end_object(&json);
    tw_text_add_bytes(out, "\n", 1);
}
