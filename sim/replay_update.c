/* What shards do: the sum of an update's gradients, and the update.
 *
 * Weights are copy-on-write: a version that slots still read stays as it is, and the
 * update writes the next one elsewhere; nothing is ever copied. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/tensor/kernels.h"
#include "sim/replay_state.h"

/* An update goes through the weights in pieces that stay in the cache: blocks. */
#define PIECE ((size_t)TW_BLOCK_FLOATS)

/* ---- versions ---- */

static enum tw_status make_version(struct tw_replay *replay, struct tw_version **out,
                                   struct tw_error *error) {
    const struct tw_tensor_list *list = &replay->config.model->list;
    struct tw_version *version = calloc(1, sizeof *version);
    const float **tensors = calloc((size_t)list->count, sizeof *tensors);
    struct tw_plane plane;
    if (version == NULL || tensors == NULL || tw_replay_plane(replay, &plane, error) != TW_OK) {
        free(version);
        free(tensors);
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for a version of the weights");
    }
    *version = (struct tw_version){.plane = plane, .tensors = tensors};
    size_t at = 0;
    for (int t = 0; t < list->count; t++) {
        tensors[t] = plane.at + at;
        at += (size_t)list->tensors[t].elements;
    }
    *out = version;
    return TW_OK;
}

enum tw_status tw_version_take(struct tw_replay *replay, struct tw_version **out,
                               struct tw_error *error) {
    enum tw_status status = TW_OK;
    *out = replay->unused;
    if (*out != NULL)
        replay->unused = (*out)->next;
    else
        status = make_version(replay, out, error);
    if (status == TW_OK)
        (*out)->refs = 1;
    return status;
}

void tw_version_drop(struct tw_replay *replay, struct tw_version *version) {
    if (version == NULL || --version->refs > 0)
        return;
    version->next = replay->unused;
    replay->unused = version;
}

/* ---- sums ---- */

static void add_two(float *out, const float *a, const float *b, size_t count) {
    tw_sum_tree(out, (const float *const[]){a, b}, 2, count);
}

/* The tree of tw_sum_tree(), taken apart: two neighbouring sums of equally many are
 * added as soon as both are there, what is left at the end is folded from the right. */
enum tw_status tw_replay_add(struct tw_replay *replay, int base, uint32_t parts, bool last,
                             struct tw_error *error) {
    while (replay->sums > base && (last || replay->sum_parts[replay->sums - 1] == parts)) {
        int top = --replay->sums;
        add_two(replay->sum[top].at, replay->sum[top].at, replay->gradient, replay->elements);
        replay->gradient = replay->sum[top].at;
        parts += replay->sum_parts[top];
    }
    if (last)
        return TW_OK;
    assert(replay->sums < TW_SUMS_MAX);
    struct tw_plane *sum = &replay->sum[replay->sums];
    if (sum->at == NULL && tw_replay_plane(replay, sum, error) != TW_OK)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for a gradient");
    if (replay->gradient != sum->at)
        memcpy(sum->at, replay->gradient, replay->elements * sizeof(float));
    replay->sum_parts[replay->sums++] = parts;
    return TW_OK;
}

void tw_replay_round(struct tw_replay *replay) {
    const struct tw_tensor_list *list = &replay->config.model->list;
    float *at = replay->gradient;
    for (int t = 0; t < list->count; t++) {
        size_t count = (size_t)list->tensors[t].elements;
        tw_encoding_round(tw_tensor_push_encoding(&list->tensors[t], replay->config.push), at, at,
                          count);
        at += count;
    }
}

/* ---- corrections ---- */

enum tw_status tw_replay_make_corrections(struct tw_replay *replay, struct tw_error *error) {
    const struct tw_corrections *corrections = &replay->config.shaping.corrections;
    for (uint32_t i = 0; i < corrections->count; i++) {
        uint32_t count = tw_correction_states_of(corrections->at[i].kind, replay->ranks);
        if (!count)
            continue;
        struct tw_plane *planes = replay->correction[i] = calloc(count, sizeof *planes);
        if (planes == NULL)
            return tw_error_set(error, TW_NO_MEMORY, "out of memory");
        for (uint32_t n = 0; n < count; n++) {
            enum tw_status status = tw_replay_plane(replay, &planes[n], error);
            if (status != TW_OK)
                return status;
            memset(planes[n].at, 0, replay->elements * sizeof(float));
        }
    }
    return TW_OK;
}

void tw_replay_free_corrections(struct tw_replay *replay) {
    const struct tw_corrections *corrections = &replay->config.shaping.corrections;
    for (uint32_t i = 0; i < corrections->count; i++) {
        uint32_t count = tw_correction_states_of(corrections->at[i].kind, replay->ranks);
        for (uint32_t n = 0; replay->correction[i] != NULL && n < count; n++)
            free(replay->correction[i][n].memory);
        free(replay->correction[i]);
    }
}

/* States are changed in place: here nothing is dropped after it was begun. */
static struct tw_correction_states states_at(const struct tw_replay *replay, uint32_t rank,
                                             size_t first) {
    const struct tw_corrections *corrections = &replay->config.shaping.corrections;
    struct tw_correction_states states = {{NULL}, {NULL}};
    for (uint32_t i = 0; i < corrections->count; i++)
        if (replay->correction[i] != NULL)
            states.in[i] = states.out[i] =
                replay->correction[i][corrections->at[i].kind->of_worker ? rank : 0].at + first;
    return states;
}

void tw_replay_correct(struct tw_replay *replay, uint32_t rank, const float *read,
                       uint64_t staleness, uint64_t examples) {
    const struct tw_shaping *shaping = &replay->config.shaping;
    const struct tw_tensor_list *list = &replay->config.model->list;
    float weight = (float)tw_corrections_weight(&shaping->corrections, staleness, replay->freshest);
    bool kernels = tw_corrections_have_kernels(&shaping->corrections);
    size_t first = 0;
    for (int t = 0; t < list->count; first += (size_t)list->tensors[t].elements, t++) {
        if (!tw_shaping_trains(shaping, (uint32_t)t))
            continue;
        struct tw_correction_work work = {
            .count = (size_t)list->tensors[t].elements,
            .gradient = replay->gradient + first,
            .weights = replay->current->plane.at + first,
            .read = read + first,
            .examples = examples,
            .updates = replay->total.version,
        };
        struct tw_correction_states states = states_at(replay, rank, first);
        if (kernels)
            tw_corrections_correct(&shaping->corrections, staleness, work, &states);
        if (weight != 1)
            tw_multiply(work.gradient, work.gradient, weight, work.count);
    }
}

/* ---- the update ---- */

double tw_replay_squares(const struct tw_replay *replay) {
    const struct tw_tensor_list *list = &replay->config.model->list;
    const float *at = replay->gradient;
    struct tw_exact_sum sum = {0};
    for (int t = 0; t < list->count; at += list->tensors[t].elements, t++)
        if (tw_shaping_trains(&replay->config.shaping, (uint32_t)t))
            tw_add_squares(&sum, at, (size_t)list->tensors[t].elements);
    return tw_exact_sum_value(&sum);
}

/* The step of some elements, which it adds to those of its tensor. */
static void add_step(const struct tw_replay *replay, uint32_t tensor, size_t first, size_t count,
                     const struct tw_update_terms *terms, struct tw_tensor_squares *squares) {
    const struct tw_replay_config *config = &replay->config;
    float step[PIECE];
    struct tw_optimizer_float work = {
        .count = count,
        .weights_in = replay->current->plane.at + first,
        .weights_out = step,
    };
    for (int i = 0; i < config->optimizer->states; i++)
        work.state[i] = replay->state[i].at + first;
    tw_shaping_step(&config->shaping, config->optimizer, &config->options, terms, tensor, &work,
                    replay->gradient + first);
    tw_add_squares(&squares->weights, work.weights_in, count);
    tw_add_squares(&squares->step, step, count);
}

enum tw_status tw_replay_ratios(const struct tw_replay *replay, const struct tw_update_terms *terms,
                                double *ratios, struct tw_error *error) {
    const struct tw_replay_config *config = &replay->config;
    const struct tw_tensor_list *list = &config->model->list;
    size_t first = 0, end = 0;
    for (int t = 0; t < list->count; t++) {
        struct tw_tensor_squares squares = {0};
        end += (size_t)list->tensors[t].elements;
        for (size_t count; first < end; first += count) {
            count = end - first < PIECE ? end - first : PIECE;
            add_step(replay, (uint32_t)t, first, count, terms, &squares);
        }
        ratios[t] = tw_shaping_ratio(&config->shaping, config->optimizer, terms->scalars,
                                     (uint32_t)t, &squares);
        if (!isfinite(ratios[t]))
            return tw_error_set(error, TW_NOT_FINITE, "the step of tensor %s is not finite",
                                list->tensors[t].name);
    }
    return TW_OK;
}

/* One that lies in one tensor. */
static void apply_piece(struct tw_replay *replay, uint32_t tensor, size_t first, size_t count,
                        const struct tw_update_terms *terms, const float *from, float *to) {
    const struct tw_replay_config *config = &replay->config;
    struct tw_optimizer_float work = {
        .count = count,
        .weights_in = from + first,
        .weights_out = to + first,
    };
    for (int i = 0; i < config->optimizer->states; i++)
        work.state[i] = replay->state[i].at + first;
    tw_shaping_apply(&config->shaping, config->optimizer, &config->options, terms, tensor, &work,
                     replay->gradient + first);
    if (tw_shaping_trains(&config->shaping, tensor)) {
        struct tw_correction_states states = states_at(replay, 0, first);
        tw_corrections_applied(&config->shaping.corrections, from + first, to + first, count,
                               &states);
    }
    float *average = replay->average.at;
    if (average != NULL)
        tw_shaping_average(&config->shaping, average + first, to + first, average + first, count);
}

enum tw_status tw_replay_apply(struct tw_replay *replay, const struct tw_update_terms *terms,
                               struct tw_error *error) {
    const struct tw_tensor_list *list = &replay->config.model->list;
    struct tw_version *before = replay->current, *after = before;
    bool sampled = tw_replay_begin_sample(replay, replay->total.version + 1);
    size_t first = 0, end = 0;
    bool compared =
        replay->sample.summed || tw_corrections_watch(&replay->config.shaping.corrections);
    if (before->refs > 1 || compared) {
        enum tw_status status = tw_version_take(replay, &after, error);
        if (status != TW_OK)
            return status;
    }
    for (int t = 0; t < list->count; t++) {
        end += (size_t)list->tensors[t].elements;
        for (size_t count; first < end; first += count) {
            count = end - first < PIECE ? end - first : PIECE;
            apply_piece(replay, (uint32_t)t, first, count, terms, before->plane.at,
                        after->plane.at);
        }
    }
    if (sampled)
        tw_replay_sample(replay, before->plane.at, after->plane.at);
    replay->current = after;
    if (after != before)
        tw_version_drop(replay, before);
    return TW_OK;
}
