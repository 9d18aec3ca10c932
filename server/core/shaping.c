#include "server/core/shaping.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/text.h"
#include "common/tensor/kernels.h"
#include "server/core/arrays.h"

/* ---- from the job ---- */

/* The index of a rate; TW_RATES_MAX: there are too many. */
static uint32_t rate_index(struct tw_shaping *shaping, double rate, bool bare) {
    uint32_t i = 0;
    while (i < shaping->rates && (shaping->rate[i] != rate || shaping->bare[i] != bare))
        i++;
    if (i < shaping->rates || i == TW_RATES_MAX)
        return i;
    shaping->rate[i] = rate;
    shaping->bare[i] = bare;
    return shaping->rates++;
}

static bool has_option(const struct tw_optimizer *optimizer, const char *key) {
    for (int i = 0; i < optimizer->rule_count; i++)
        if (strcmp(optimizer->rules[i].key, key) == 0)
            return true;
    return false;
}

static enum tw_status no_tensor(const struct tw_job_group *group, int index,
                                const struct tw_tensor_list *list, struct tw_error *error) {
    char path[40], names[160] = "";
    size_t used = 0;
    snprintf(path, sizeof path, "groups[%d].tensors", index);
    for (int t = 0; t < list->count && used + 1 < sizeof names; t++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", t ? ", " : "",
                                 list->tensors[t].name);
    return tw_job_error(error, group->where, path, "\"%.60s\" fits none of the %d tensors: %s%s",
                        group->pattern, list->count, names, used >= sizeof names ? "..." : "");
}

static enum tw_status take_group(struct tw_shaping *shaping, const struct tw_job_group *group,
                                 int index, const struct tw_optimizer *optimizer,
                                 const struct tw_tensor_list *list, bool *taken,
                                 struct tw_treatment *treatment, struct tw_error *error) {
    bool any = false, bare = !group->decay && has_option(optimizer, "weight_decay");
    uint32_t rate = rate_index(shaping, group->rate, bare);
    if (rate == TW_RATES_MAX)
        return tw_job_error(error, group->where, "groups",
                            "more than %d different learning rates, with and without weight decay",
                            TW_RATES_MAX);
    for (int t = 0; t < list->count; t++) {
        if (!tw_pattern_fits(group->pattern, list->tensors[t].name))
            continue;
        any = true;
        if (!taken[t])
            treatment[t].rate = rate, treatment[t].decay = group->decay;
        taken[t] = true;
    }
    return any ? TW_OK : no_tensor(group, index, list, error);
}

/* Both would need to know of each other first: the clip, how long the gradient is; the ratios,
 * the step that is made of the clipped one. */
static enum tw_status check_clip(const struct tw_job *job, const struct tw_optimizer *optimizer,
                                 struct tw_error *error) {
    if (job->clip_norm == 0 || optimizer->ratio == NULL)
        return TW_OK;
    return tw_job_error(error, (struct tw_where){job->path, 0}, "clip.norm",
                        "not together with optimizer %s, which sets the length of each tensor's "
                        "step itself; take it out, or use clip.value",
                        optimizer->name);
}

static enum tw_status check_decay(const struct tw_job *job, const struct tw_optimizer *optimizer,
                                  struct tw_error *error) {
    static const char *const keys[] = {"weight_decay", "l2"};
    const char *own = NULL;
    if (job->l2 == 0 && job->decoupled == 0)
        return TW_OK;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (has_option(optimizer, keys[i]))
            own = keys[i];
    if (own)
        return tw_job_error(error, job->decay_where, "weight_decay",
                            "optimizer %s has one of its own; give optimizer.%s instead",
                            optimizer->name, own);
    for (int i = 0; i < optimizer->states; i++)
        if (optimizer->state[i].start == TW_STATE_WEIGHTS && job->decoupled > 0)
            return tw_job_error(error, job->decay_where, "weight_decay.decoupled",
                                "this form of %s computes its weights from another point, which "
                                "would not decay; use l2, or its form lookahead",
                                optimizer->name);
    return TW_OK;
}

/* Momenta of workers, where a checkpoint cannot hold so many arrays. */
static enum tw_status check_states(const struct tw_shaping *shaping, const struct tw_job *job,
                                   const struct tw_optimizer *optimizer,
                                   const struct tw_tensor_list *list, struct tw_error *error) {
    struct tw_arrays all = {optimizer, shaping, (uint32_t)job->workers};
    uint64_t arrays = tw_arrays_count(&all);
    if (arrays * (uint64_t)list->count <= TW_SAFETENSORS_ENTRIES_MAX)
        return TW_OK;
    return tw_job_error(error, job->corrections[0].where, "corrections",
                        "with them there are %" PRIu64 " arrays of each of %d tensors with %d "
                        "workers, and a checkpoint holds at most %d in all; fewer workers would "
                        "be right",
                        arrays, list->count, job->workers, TW_SAFETENSORS_ENTRIES_MAX);
}

static enum tw_status check_corrections(const struct tw_shaping *shaping, const struct tw_job *job,
                                        const struct tw_optimizer *optimizer,
                                        const struct tw_tensor_list *list, struct tw_error *error) {
    const struct tw_corrections *corrections = &shaping->corrections;
    for (uint32_t i = 0; i < corrections->count; i++) {
        const struct tw_correction *kind = corrections->at[i].kind;
        const struct tw_variant *said = &job->corrections[i];
        if (optimizer->weighs_by_rate && kind->factor)
            return tw_job_error(error, said->where, said->path,
                                "not together with optimizer %s, whose weights all follow from the "
                                "learning rate of the last update; use staleness_limit, dc_asgd or "
                                "gap_aware",
                                optimizer->name);
        if (kind->of_worker && job->slots != job->workers)
            return tw_job_error(error, said->where, said->path,
                                "%s keeps a momentum for each worker, so the bits would depend on "
                                "how many workers share the %d slots; take slots out, or use "
                                "optimizer nesterov instead",
                                kind->name, job->slots);
        if (optimizer->states > 0 && kind->momentum)
            return tw_job_error(error, said->where, said->path,
                                "%s is a momentum itself, one for each worker, and optimizer %s "
                                "keeps a state of its own; use optimizer sgd",
                                kind->name, optimizer->name);
    }
    return corrections->count ? check_states(shaping, job, optimizer, list, error) : TW_OK;
}

enum tw_status tw_shaping_find(struct tw_shaping *out, const struct tw_job *job,
                               const struct tw_optimizer *optimizer,
                               const struct tw_tensor_list *list, struct tw_treatment *treatment,
                               struct tw_error *error) {
    bool taken[TW_TENSORS_MAX] = {false};
    *out = (struct tw_shaping){.sum = job->gradient_sum || job->local.rho > 0,
                               .local_steps = job->local.steps,
                               .clip_norm = job->clip_norm,
                               .clip_value = job->clip_value,
                               .l2 = job->l2,
                               .decoupled = job->decoupled,
                               .average = job->average.ema,
                               .scores_average = job->average.evaluate,
                               .norm_wanted = job->stop.gradient_norm > 0,
                               .rates = 1,
                               .rate = {1},
                               .treatment = job->group_count ? treatment : NULL};
    enum tw_status status = tw_corrections_find(&out->corrections, job, error);
    if (status == TW_OK)
        status = check_corrections(out, job, optimizer, list, error);
    if (status == TW_OK)
        status = check_clip(job, optimizer, error);
    if (status == TW_OK)
        status = check_decay(job, optimizer, error);
    for (int t = 0; t < list->count; t++) {
        const struct tw_tensor *tensor = &list->tensors[t];
        treatment[t] = (struct tw_treatment){
            .rate = 0, .decay = true, .update = tensor->update, .keep = tensor->keep};
        if (tensor->update != TW_TENSOR_TRAINED)
            out->treatment = treatment;
    }
    for (int i = 0; status == TW_OK && i < job->group_count; i++)
        status = take_group(out, &job->groups[i], i, optimizer, list, taken, treatment, error);
    return status;
}

/* ---- of an update ---- */

/* Examples of all local steps; what is wanted is the sum of the means of each, so that the
 * divisor is the examples of one. */
static double divisor_of(const struct tw_shaping *shaping, double weighted) {
    double steps = shaping->local_steps > 1 ? shaping->local_steps : 1;
    return shaping->sum ? 1 : weighted / steps;
}

double tw_shaping_norm(const struct tw_shaping *shaping, double weighted, double squares) {
    return sqrt(squares) / divisor_of(shaping, weighted);
}

double tw_shaping_divisor(const struct tw_shaping *shaping, uint64_t examples, double weighted,
                          double squares) {
    double base = divisor_of(shaping, weighted);
    if (shaping->clip_norm > 0) {
        double norm = sqrt(squares);
        if (norm > shaping->clip_norm * base)
            return norm / shaping->clip_norm;
    }
    bool said = shaping->sum || shaping->local_steps > 1 || weighted != (double)examples;
    return said ? base : 0;
}

double tw_shaping_lateness(const struct tw_shaping *shaping, uint64_t freshest, uint64_t examples,
                           double weighted) {
    double factor = tw_corrections_factor(&shaping->corrections, freshest);
    return shaping->sum ? factor : factor * (weighted / (double)examples);
}

double tw_shaping_prepare(const struct tw_shaping *shaping, const struct tw_pace *pace,
                          const struct tw_optimizer *optimizer,
                          const struct tw_optimizer_options *options, double lateness,
                          uint64_t updates, uint64_t samples, double *out) {
    double rate = tw_pace_prepare(pace, optimizer, options, lateness, updates, samples, out);
    for (uint32_t i = 1; i < shaping->rates; i++) {
        struct tw_optimizer_options own = *options;
        own.weight_decay = shaping->bare[i] ? 0 : own.weight_decay;
        tw_pace_prepare(pace, optimizer, &own, lateness * shaping->rate[i], updates, samples,
                        out + (size_t)i * TW_OPTIMIZER_SCALARS);
    }
    return rate;
}

static struct tw_treatment treatment_of(const struct tw_shaping *shaping, uint32_t tensor) {
    return shaping->treatment != NULL ? shaping->treatment[tensor]
                                      : (struct tw_treatment){.rate = 0, .decay = true};
}

static const double *scalars_of(const double *scalars, struct tw_treatment treatment) {
    return scalars + (size_t)treatment.rate * TW_OPTIMIZER_SCALARS;
}

/* From a sum to the gradient that decay and rule begin with. */
static void scale(const struct tw_shaping *shaping, const struct tw_update_terms *terms,
                  float *gradient, size_t count) {
    float divisor = (float)(terms->divisor > 0 ? terms->divisor : (double)terms->examples);
    if (divisor != 1)
        tw_divide(gradient, divisor, count);
    if (shaping->clip_value > 0)
        tw_clamp(gradient, (float)shaping->clip_value, count);
}

void tw_shaping_step(const struct tw_shaping *shaping, const struct tw_optimizer *optimizer,
                     const struct tw_optimizer_options *options,
                     const struct tw_update_terms *terms, uint32_t tensor,
                     struct tw_optimizer_float *work, const float *gradient) {
    if (!tw_shaping_trains(shaping, tensor)) {
        memset(work->weights_out, 0, work->count * sizeof *work->weights_out);
        return;
    }
    memcpy(work->weights_out, gradient, work->count * sizeof *gradient);
    scale(shaping, terms, work->weights_out, work->count);
    work->gradient = work->weights_out;
    work->scalars = scalars_of(terms->scalars, treatment_of(shaping, tensor));
    optimizer->step_float(options, work);
}

double tw_shaping_ratio(const struct tw_shaping *shaping, const struct tw_optimizer *optimizer,
                        const double *scalars, uint32_t tensor,
                        const struct tw_tensor_squares *squares) {
    double weights = sqrt(tw_exact_sum_value(&squares->weights));
    double step = sqrt(tw_exact_sum_value(&squares->step));
    if (!isfinite(weights) || !isfinite(step))
        return NAN;
    return optimizer->ratio(scalars_of(scalars, treatment_of(shaping, tensor)), weights, step);
}

/* A statistic takes the mean over the examples of the update, however that is clipped. */
static void take_mean(const struct tw_treatment *treatment, const struct tw_update_terms *terms,
                      struct tw_optimizer_float *work, float *mean) {
    bool equal = treatment->update == TW_TENSOR_MEAN;
    double keep = equal ? (double)(terms->version - 1) / (double)terms->version : treatment->keep;
    tw_divide(mean, (float)terms->examples, work->count);
    tw_average(work->weights_out, work->weights_in, mean, (float)keep, (float)(1 - keep),
               work->count);
    work->gradient = mean;
}

void tw_shaping_apply(const struct tw_shaping *shaping, const struct tw_optimizer *optimizer,
                      const struct tw_optimizer_options *options,
                      const struct tw_update_terms *terms, uint32_t tensor,
                      struct tw_optimizer_float *work, float *gradient) {
    struct tw_treatment treatment = treatment_of(shaping, tensor);
    if (treatment.update != TW_TENSOR_TRAINED) {
        take_mean(&treatment, terms, work, gradient);
        return;
    }
    scale(shaping, terms, gradient, work->count);
    if (shaping->l2 > 0 && treatment.decay)
        tw_add_multiple(gradient, work->weights_in, (float)shaping->l2, work->count);
    if (shaping->decoupled > 0 && treatment.decay) {
        double multiple = shaping->rates > 0 ? shaping->rate[treatment.rate] : 1;
        double keep = 1 - terms->rate * multiple * shaping->decoupled;
        tw_multiply(work->weights_out, work->weights_in, (float)keep, work->count);
        work->weights_in = work->weights_out;
    }
    work->gradient = gradient;
    work->scalars = scalars_of(terms->scalars, treatment);
    work->ratio = terms->ratios != NULL ? terms->ratios[tensor] : 1;
    optimizer->apply_float(options, work);
}

void tw_shaping_average(const struct tw_shaping *shaping, const float *average,
                        const float *weights, float *out, size_t count) {
    tw_average(out, average, weights, (float)shaping->average, (float)(1 - shaping->average),
               count);
}
