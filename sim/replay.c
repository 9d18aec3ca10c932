/* Records and bookkeeping; see replay.h. */
#include "sim/replay.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arith.h"
#include "common/base/tree_sum.h"
#include "common/tensor/kernels.h"
#include "server/core/dial.h"
#include "sim/replay_state.h"

enum { LINE = 64, STAGGER = 17 * LINE };

enum tw_status tw_replay_plane(struct tw_replay *replay, struct tw_plane *plane,
                               struct tw_error *error) {
    size_t bytes, shift = replay->planes % 32 * STAGGER;
    *plane = (struct tw_plane){.memory = NULL};
    if (tw_size_multiply(replay->elements, sizeof(float), &bytes) &&
        tw_size_add(bytes, shift + LINE, &bytes))
        plane->memory = aligned_alloc(LINE, bytes / LINE * LINE);
    if (plane->memory == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for %zu weights", replay->elements);
    replay->planes++;
    plane->at = (float *)(void *)((char *)plane->memory + shift);
    return TW_OK;
}

/* ---- making ---- */

/* It starts as the weights. */
static enum tw_status make_average(struct tw_replay *replay, struct tw_error *error) {
    const struct tw_tensor_list *list = &replay->config.model->list;
    enum tw_status status = tw_replay_plane(replay, &replay->average, error);
    if (status != TW_OK)
        return status;
    memcpy(replay->average.at, replay->current->plane.at, replay->elements * sizeof(float));
    replay->average_tensors = calloc((size_t)list->count, sizeof *replay->average_tensors);
    if (replay->average_tensors == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    size_t at = 0;
    for (int t = 0; t < list->count; t++) {
        replay->average_tensors[t] = replay->average.at + at;
        at += (size_t)list->tensors[t].elements;
    }
    return TW_OK;
}

/* Weights and state as they start. */
static enum tw_status make_weights(struct tw_replay *replay, struct tw_error *error) {
    const struct tw_tensor_list *list = &replay->config.model->list;
    const struct tw_optimizer *optimizer = replay->config.optimizer;
    size_t bytes = replay->elements * sizeof(float), at = 0;
    enum tw_status status = tw_version_take(replay, &replay->current, error);
    if (status != TW_OK)
        return status;
    for (int t = 0; t < list->count; t++) {
        const float *initial = replay->config.initial ? replay->config.initial[t] : NULL;
        float *weights = replay->current->plane.at + at;
        if (initial)
            memcpy(weights, initial, (size_t)list->tensors[t].elements * sizeof(float));
        else
            tw_tensor_fill(&list->tensors[t], t, replay->config.seeds.init, 0,
                           list->tensors[t].elements, weights);
        at += (size_t)list->tensors[t].elements;
    }
    for (int i = 0; i < optimizer->states; i++) {
        status = tw_replay_plane(replay, &replay->state[i], error);
        if (status != TW_OK)
            return status;
        if (optimizer->state[i].start == TW_STATE_WEIGHTS)
            memcpy(replay->state[i].at, replay->current->plane.at, bytes);
        else
            memset(replay->state[i].at, 0, bytes);
    }
    status = tw_replay_make_corrections(replay, error);
    if (status != TW_OK)
        return status;
    return replay->config.shaping.average > 0 ? make_average(replay, error) : TW_OK;
}

enum tw_status tw_replay_new(struct tw_replay **out, const struct tw_replay_config *config,
                             struct tw_error *error) {
    assert(tw_model_computes(config->model) && config->slots >= 1);
    assert((tw_train_data_any(&config->train) == NULL) == (config->model->objective != NULL));
    assert(config->slots <= TW_SLOTS_MAX && config->parts >= 1 && config->parts <= TW_PARTS_MAX);
    static_assert((uint64_t)TW_SLOTS_MAX * TW_PARTS_MAX < 1U << (TW_SUMS_MAX - 2),
                  "two trees, one on the other");
    *out = NULL;
    struct tw_replay *replay = calloc(1, sizeof *replay);
    if (replay == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    replay->config = *config;
    replay->total.train_accuracy = (double)NAN;
    replay->total.train_loss = replay->total.border_staleness = (double)NAN;
    for (int on = 0; on < TW_VERDICTS; on++)
        replay->total.verdict[on] = tw_verdict_start((enum tw_verdict_on)on);
    for (int t = 0; t < config->model->list.count; t++)
        replay->elements += (size_t)config->model->list.tensors[t].elements;
    replay->slot = calloc(config->slots, sizeof *replay->slot);
    replay->ranks = config->slots / config->width;
    replay->rank = calloc(replay->ranks, sizeof *replay->rank);
    replay->read_memory = calloc(2 * (size_t)replay->ranks, sizeof *replay->read_memory);
    replay->change = calloc((size_t)config->model->list.count, sizeof *replay->change);
    enum tw_status status = replay->slot && replay->rank && replay->read_memory && replay->change
                                ? TW_OK
                                : tw_error_set(error, TW_NO_MEMORY, "out of memory");
    for (uint32_t i = 0; status == TW_OK && i < 2 * replay->ranks; i++) {
        replay->read_memory[i].next = replay->unused_read;
        replay->unused_read = &replay->read_memory[i];
    }
    if (status == TW_OK)
        status = make_weights(replay, error);
    if (status == TW_OK)
        status = tw_replay_share_batch(replay, error);
    if (status == TW_OK)
        *out = replay;
    else
        tw_replay_free(replay);
    return status;
}

static struct tw_read **find_read(struct tw_replay_rank *rank, uint64_t step);
static void end_read(struct tw_replay *replay, struct tw_read **at);

static void free_version(struct tw_version *version) {
    if (version == NULL)
        return;
    free(version->plane.memory);
    free(version->tensors);
    free(version);
}

void tw_replay_free(struct tw_replay *replay) {
    if (replay == NULL)
        return;
    for (uint32_t i = 0; replay->rank != NULL && i < replay->ranks; i++)
        while (replay->rank[i].reads != NULL)
            end_read(replay, &replay->rank[i].reads);
    for (uint32_t i = 0; replay->slot != NULL && i < replay->config.slots; i++) {
        tw_sampler_free(replay->slot[i].sampler);
        tw_version_drop(replay, replay->slot[i].own);
    }
    tw_version_drop(replay, replay->current);
    tw_version_drop(replay, replay->received);
    tw_version_drop(replay, replay->local);
    while (replay->unused != NULL) {
        struct tw_version *version = replay->unused;
        replay->unused = version->next;
        free_version(version);
    }
    for (int i = 0; i < TW_OPTIMIZER_STATES; i++)
        free(replay->state[i].memory);
    tw_replay_free_corrections(replay);
    free(replay->average.memory);
    free(replay->path.memory);
    free(replay->average_tensors);
    for (int i = 0; i < TW_SUMS_MAX; i++)
        free(replay->sum[i].memory);
    tw_net_free(replay->net[0]);
    tw_net_free(replay->net[1]);
    free(replay->samples);
    free(replay->slot);
    free(replay->rank);
    free(replay->read_memory);
    free(replay->change);
    free(replay);
}

/* ---- JOIN, RELEASE ---- */

/* The read of a step, or where one would be. */
static struct tw_read **find_read(struct tw_replay_rank *rank, uint64_t step) {
    struct tw_read **at = &rank->reads;
    while (*at != NULL && (*at)->step != step)
        at = &(*at)->next;
    return at;
}

/* A read is over: committed, dropped or replaced. */
static void end_read(struct tw_replay *replay, struct tw_read **at) {
    struct tw_read *read = *at;
    if (read == NULL)
        return;
    *at = read->next;
    tw_version_drop(replay, read->weights);
    read->next = replay->unused_read;
    replay->unused_read = read;
}

/* The worker whose first slot this is. */
static struct tw_replay_rank *rank_of(const struct tw_replay *replay, uint32_t slot) {
    return &replay->rank[slot / replay->config.width];
}

static enum tw_status check_slot(const struct tw_replay *replay, uint32_t slot,
                                 struct tw_error *error) {
    const struct tw_replay_config *config = &replay->config;
    if (slot < config->slots && slot % config->width == 0)
        return TW_OK;
    return tw_error_set(error, TW_DATA,
                        "it names slot %u, but the job has %u workers with %u slot%s each", slot,
                        replay->ranks, config->width, config->width > 1 ? "s" : "");
}

static enum tw_status on_join(struct tw_replay *replay, const struct tw_record *record,
                              struct tw_error *error) {
    const struct tw_replay_config *config = &replay->config;
    enum tw_status status = check_slot(replay, record->slot, error);
    if (status != TW_OK)
        return status;
    if (!config->inexact && strcmp(record->numerics, config->numerics) != 0)
        return tw_error_set(error, TW_NUMERICS,
                            "rank %u computed with \"%s\", here it is \"%s\": other bits. Use the "
                            "same versions, and OPENBLAS_CORETYPE or worker.blas_core for the same "
                            "core; --inexact goes on all the same",
                            record->rank, record->numerics, config->numerics);
    struct tw_replay_rank *rank = rank_of(replay, record->slot);
    while (rank->reads != NULL)
        end_read(replay, &rank->reads);
    tw_replay_forget_own(replay, record->slot);
    return TW_OK;
}

static enum tw_status on_release(struct tw_replay *replay, const struct tw_record *record,
                                 struct tw_error *error) {
    if (record->slot == TW_SLOT_EVALUATOR)
        return TW_OK;
    enum tw_status status = check_slot(replay, record->slot, error);
    if (status != TW_OK)
        return status;
    struct tw_replay_rank *rank = rank_of(replay, record->slot);
    if (record->step <= rank->settled)
        return tw_error_set(error, TW_DATA,
                            "slot %u is to compute step %" PRIu64 ", but it is at %" PRIu64,
                            record->slot, record->step, rank->settled);
    end_read(replay, find_read(rank, record->step)); /* asked for again */
    struct tw_read *read = replay->unused_read;
    if (read == NULL)
        return tw_error_set(error, TW_DATA, "more gradients are being computed than %u workers can",
                            replay->ranks);
    replay->unused_read = read->next;
    *read = (struct tw_read){.position = record->position,
                             .version = replay->total.version,
                             .step = record->step,
                             .weights = replay->current,
                             .next = rank->reads};
    rank->reads = read;
    replay->current->refs++;
    return TW_OK;
}

/* ---- DIAL, EVICT ---- */

/* All that is out of a rank, or not committed, is over. */
static void cancel_rank(struct tw_replay *replay, struct tw_replay_rank *rank) {
    while (rank->reads != NULL) {
        rank->settled = rank->reads->step > rank->settled ? rank->reads->step : rank->settled;
        replay->total.dropped++;
        end_read(replay, &rank->reads);
    }
}

static enum tw_status on_dial(struct tw_replay *replay, const struct tw_record *record,
                              struct tw_error *error) {
    struct tw_dial dial;
    struct tw_error why;
    enum tw_status status = tw_dial_parse(record->mode, (struct tw_where){"the job", 0},
                                          (int)replay->ranks, &dial, &why);
    if (status != TW_OK)
        return tw_error_set(error, TW_DATA, "it turns to a mode that is not for this job: %s",
                            why.text);
    for (uint32_t i = 0; i < replay->ranks; i++)
        cancel_rank(replay, &replay->rank[i]);
    return TW_OK;
}

static enum tw_status on_evict(struct tw_replay *replay, const struct tw_record *record,
                               struct tw_error *error) {
    enum tw_status status = check_slot(replay, record->slot, error);
    if (status == TW_OK)
        cancel_rank(replay, rank_of(replay, record->slot));
    return status;
}

/* ---- ROLLBACK ---- */

/* What stands behind `to` was not given to us: so the weights are those of `to`, and what is left
 * is to forget what was out there. */
static enum tw_status on_rollback(struct tw_replay *replay, const struct tw_record *record,
                                  struct tw_error *error) {
    if (record->ranks != replay->ranks)
        return tw_error_set(error, TW_DATA, "it has steps of %u workers, but the job has %u",
                            record->ranks, replay->ranks);
    for (uint32_t i = 0; i < replay->ranks; i++) {
        struct tw_replay_rank *rank = &replay->rank[i];
        while (rank->reads != NULL)
            end_read(replay, &rank->reads);
        rank->settled = record->steps[i];
        tw_replay_forget_own(replay, i * replay->config.width);
    }
    return TW_OK;
}

/* ---- COMMIT, DROP ---- */

static enum tw_status check_contribution(const struct tw_replay *replay,
                                         const struct tw_contribution *c, struct tw_error *error) {
    enum tw_status status = check_slot(replay, c->slot, error);
    if (status != TW_OK)
        return status;
    const struct tw_read *read = *find_read(rank_of(replay, c->slot), c->step);
    if (read == NULL || c->read != read->position)
        return tw_error_set(error, TW_DATA,
                            "it has step %" PRIu64 " of slot %u on the weights of position %" PRIu64
                            ", which did not leave for it",
                            c->step, c->slot, c->read);
    if (c->staleness != replay->total.version - read->version)
        return tw_error_set(error, TW_DATA,
                            "slot %u, step %" PRIu64 ": its staleness is %" PRIu64
                            ", the record says %" PRIu64,
                            c->slot, c->step, replay->total.version - read->version, c->staleness);
    return TW_OK;
}

/* By slot, then step: so none is there twice. */
static enum tw_status check_contributions(const struct tw_replay *replay,
                                          const struct tw_record *record, struct tw_error *error) {
    for (uint32_t i = 0; i < record->count; i++) {
        const struct tw_contribution *c = &record->contributions[i];
        if (i > 0 && (c->slot < c[-1].slot || (c->slot == c[-1].slot && c->step <= c[-1].step)))
            return tw_error_set(error, TW_DATA, "its contributions are not in slot order");
        enum tw_status status = check_contribution(replay, c, error);
        if (status != TW_OK)
            return status;
    }
    return TW_OK;
}

static void settle(struct tw_replay *replay, const struct tw_contribution *c) {
    struct tw_replay_rank *rank = rank_of(replay, c->slot);
    end_read(replay, find_read(rank, c->step));
    rank->settled = c->step > rank->settled ? c->step : rank->settled;
}

/* What was computed is what was recorded. */
static enum tw_status compare(const struct tw_replay *replay, const struct tw_contribution *c,
                              const struct tw_score *score, struct tw_error *error) {
    if (replay->config.changed)
        return TW_OK;
    if ((uint64_t)score->examples != c->examples)
        return tw_error_set(error, TW_DATA,
                            "slot %u brings %" PRIu64 " examples; by the job it is %" PRIu64,
                            c->slot, c->examples, (uint64_t)score->examples);
    if (replay->config.inexact || memcmp(&score->loss, &c->loss, sizeof c->loss) == 0)
        return TW_OK;
    return tw_error_set(error, TW_NUMERICS,
                        "update %" PRIu64 " is the first that differs: the loss of slot %u, step "
                        "%" PRIu64 ", was %.17g in the run and is %.17g here",
                        replay->total.version + 1, c->slot, c->step, c->loss, score->loss);
}

static void account(struct tw_replay *replay, uint64_t staleness, const struct tw_score *score) {
    struct tw_replay_total *total = &replay->total;
    total->samples += (uint64_t)score->examples;
    total->contributions++;
    total->staleness_sum += staleness;
    if (staleness > total->staleness_max)
        total->staleness_max = staleness;
    total->correct += (uint64_t)score->correct;
    replay->stretch_correct += (uint64_t)score->correct;
    replay->stretch_samples += (uint64_t)score->examples;
    replay->stretch_staleness += staleness;
    replay->stretch_contributions++;
    if (staleness > replay->stretch_staleness_max)
        replay->stretch_staleness_max = staleness;
}

void tw_replay_end_stretch(struct tw_replay *replay) {
    const struct tw_replay_config *config = &replay->config;
    struct tw_replay_total *total = &replay->total;
    total->borders++;
    total->train_loss = replay->stretch_loss / (double)replay->stretch_samples;
    const struct tw_dataset *train = tw_train_data_any(&config->train);
    if (train != NULL && train->outputs == 0)
        total->train_accuracy = (double)replay->stretch_correct / (double)replay->stretch_samples;
    replay->stretch_correct = 0;
    total->border_staleness =
        (double)replay->stretch_staleness / (double)replay->stretch_contributions;
    total->border_staleness_max = replay->stretch_staleness_max;
    replay->stretch_loss = 0;
    replay->stretch_samples = replay->stretch_contributions = 0;
    replay->stretch_staleness = replay->stretch_staleness_max = 0;
}

/* Ends an epoch, or the run: as the sequencer does it. */
static void pass_border(struct tw_replay *replay, uint64_t samples_before) {
    const struct tw_replay_config *config = &replay->config;
    struct tw_replay_total *total = &replay->total;
    uint64_t n = config->epoch_samples;
    bool end = (config->end_samples && total->samples >= config->end_samples) ||
               (config->end_updates && total->version >= config->end_updates);
    if (end || (n != 0 && total->samples / n != samples_before / n))
        tw_replay_end_stretch(replay);
}

/* What a worker pushed, rounded once, is added to the sum of the update. */
static enum tw_status add_contribution(struct tw_replay *replay, const struct tw_contribution *c,
                                       bool last, struct tw_score *score, struct tw_error *error) {
    const struct tw_read *read = *find_read(rank_of(replay, c->slot), c->step);
    const struct tw_version *weights = replay->config.fresh ? replay->current : read->weights;
    enum tw_status status = tw_replay_receive(replay, weights, &weights, error);
    if (status == TW_OK)
        status = tw_replay_push(replay, c->slot, c->step, weights, score, error);
    if (status == TW_OK) {
        uint64_t staleness = replay->config.fresh ? 0 : c->staleness;
        tw_replay_round(replay);
        tw_replay_correct(replay, c->slot / replay->config.width, read->weights->plane.at,
                          staleness, (uint64_t)score->examples);
        replay->weighted +=
            (double)score->examples *
            tw_corrections_weight(&replay->config.shaping.corrections, staleness, replay->freshest);
        status = tw_replay_add(replay, 0, replay->config.width, last, error);
    }
    return status == TW_OK ? compare(replay, c, score, error) : status;
}

/* All gradients of the update, summed into replay->gradient; and their reads end. */
static enum tw_status sum_gradients(struct tw_replay *replay, const struct tw_record *record,
                                    struct tw_error *error) {
    struct tw_tree_sum loss = {0};
    uint64_t before = replay->total.samples;
    replay->sums = 0;
    replay->weighted = 0;
    replay->freshest =
        replay->config.fresh ? 0 : tw_contributions_freshest(record->contributions, record->count);
    for (uint32_t i = 0; i < record->count; i++) {
        const struct tw_contribution *c = &record->contributions[i];
        struct tw_score score;
        enum tw_status status = add_contribution(replay, c, i + 1 == record->count, &score, error);
        if (status != TW_OK)
            return status;
        settle(replay, c);
        account(replay, replay->config.fresh ? 0 : c->staleness, &score);
        tw_tree_sum_add(&loss, score.loss);
    }
    replay->total.loss += tw_tree_sum_total(&loss);
    replay->total.update_loss = tw_tree_sum_total(&loss) / (double)(replay->total.samples - before);
    replay->stretch_loss += tw_tree_sum_total(&loss);
    return TW_OK;
}

static enum tw_status on_commit(struct tw_replay *replay, const struct tw_record *record,
                                struct tw_error *error) {
    struct tw_replay_terms own;
    struct tw_update_terms terms;
    uint64_t before = replay->total.samples;
    struct tw_replay_total kept = replay->total;
    enum tw_status status = check_contributions(replay, record, error);
    if (status == TW_OK)
        status = sum_gradients(replay, record, error);
    if (status == TW_OK && !tw_all_finite(replay->gradient, replay->elements))
        status =
            tw_error_set(error, TW_NOT_FINITE, "update %" PRIu64 " is not finite", record->version);
    if (status == TW_OK && replay->config.end.small > 0)
        replay->total.norm =
            tw_shaping_norm(&replay->config.shaping, replay->weighted, tw_replay_squares(replay));
    if (status == TW_OK)
        status = tw_replay_terms(replay, record, before, &own, &terms, error);
    if (status == TW_OK)
        status = tw_replay_apply(replay, &terms, error);
    if (status != TW_OK) {
        replay->total = kept;
        return status;
    }
    replay->total.version++;
    replay->total.rate = terms.rate;
    pass_border(replay, before);
    return tw_replay_check(replay, error);
}

/* What is dropped without being taken back (it was not finite) has moved its slots' own weights. */
static enum tw_status walk_dropped(struct tw_replay *replay, const struct tw_contribution *c,
                                   struct tw_error *error) {
    const struct tw_version *weights = (*find_read(rank_of(replay, c->slot), c->step))->weights;
    struct tw_score score;
    weights = replay->config.fresh ? replay->current : weights;
    enum tw_status status = tw_replay_receive(replay, weights, &weights, error);
    replay->sums = 0;
    return status == TW_OK ? tw_replay_push(replay, c->slot, c->step, weights, &score, error)
                           : status;
}

static enum tw_status on_drop(struct tw_replay *replay, const struct tw_record *record,
                              struct tw_error *error) {
    enum tw_status status = check_contributions(replay, record, error);
    for (uint32_t i = 0; status == TW_OK && i < record->count; i++) {
        if (replay->config.local.rho > 0)
            status = walk_dropped(replay, &record->contributions[i], error);
        settle(replay, &record->contributions[i]);
    }
    if (status == TW_OK)
        replay->total.dropped += record->count;
    if (status == TW_OK)
        replay->total.not_finite += record->not_finite;
    return status;
}

/* ---- records ---- */

static enum tw_status check_place(const struct tw_replay *replay, const struct tw_record *record,
                                  struct tw_error *error) {
    uint64_t version = replay->total.version;
    if (record->kind == TW_RECORD_COMMIT || record->kind == TW_RECORD_REGATHER)
        version++;
    bool follows = record->kind == TW_RECORD_ROLLBACK
                       ? record->to == replay->total.position
                       : record->position == replay->total.position + 1;
    if (!follows)
        return tw_error_set(error, TW_DATA, "it follows record %" PRIu64, replay->total.position);
    if (record->version != version)
        return tw_error_set(error, TW_DATA,
                            "its version is %" PRIu64 ", where %" PRIu64 " would be right",
                            record->version, version);
    return TW_OK;
}

static enum tw_status carry_out(struct tw_replay *replay, const struct tw_record *record,
                                struct tw_error *error) {
    enum tw_status status = check_place(replay, record, error);
    if (status != TW_OK)
        return status;
    switch (record->kind) {
    case TW_RECORD_JOIN:
        return on_join(replay, record, error);
    case TW_RECORD_RELEASE:
        return on_release(replay, record, error);
    case TW_RECORD_COMMIT:
        return on_commit(replay, record, error);
    case TW_RECORD_DROP:
        return on_drop(replay, record, error);
    case TW_RECORD_DIAL:
        return on_dial(replay, record, error);
    case TW_RECORD_EVICT:
        return on_evict(replay, record, error);
    case TW_RECORD_VERDICT:
        return tw_replay_verdict(replay, record, error);
    case TW_RECORD_ROLLBACK:
        return on_rollback(replay, record, error);
    case TW_RECORD_REGATHER:
    case TW_RECORD_PERMIT:
    case TW_RECORD_CHECKPOINT:
        break; /* they change no weights */
    }
    return TW_OK;
}

enum tw_status tw_replay_record(struct tw_replay *replay, const struct tw_record *record,
                                struct tw_error *error) {
    assert(!replay->over);
    enum tw_status status = carry_out(replay, record, error);
    if (status == TW_OK) {
        replay->total.position = record->position;
        return TW_OK;
    }
    replay->over = true;
    return tw_error_wrap(error, "record %" PRIu64 " (%s)", record->position,
                         tw_record_name(record->kind));
}

/* ---- looking ---- */

const struct tw_replay_total *tw_replay_total(const struct tw_replay *replay) {
    return &replay->total;
}
const float *tw_replay_weights(const struct tw_replay *replay) {
    return replay->current->plane.at;
}
const float *tw_replay_average(const struct tw_replay *replay) {
    return replay->average.at;
}
const float *const *tw_replay_evaluated(const struct tw_replay *replay) {
    return replay->config.shaping.scores_average ? replay->average_tensors
                                                 : replay->current->tensors;
}
size_t tw_replay_elements(const struct tw_replay *replay) {
    return replay->elements;
}
