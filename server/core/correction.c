#include "server/core/correction.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct tw_correction tw_correction_staleness_power;
extern const struct tw_correction tw_correction_staleness_exp;
extern const struct tw_correction tw_correction_staleness_limit;
extern const struct tw_correction tw_correction_dc_asgd;
extern const struct tw_correction tw_correction_dc_asgd_adaptive;
extern const struct tw_correction tw_correction_gap_aware;
extern const struct tw_correction tw_correction_dana;

const struct tw_correction *const tw_corrections_known[] = {
    &tw_correction_staleness_power,
    &tw_correction_staleness_exp,
    &tw_correction_staleness_limit,
    &tw_correction_dc_asgd,
    &tw_correction_dc_asgd_adaptive,
    &tw_correction_gap_aware,
    &tw_correction_dana,
};
enum { KNOWN = sizeof tw_corrections_known / sizeof tw_corrections_known[0] };
const int tw_correction_count = KNOWN;

/* Far below any learning rate that moves a weight. */
#define LEAST_FACTOR 0x1p-512

/* ---- from the job ---- */

const struct tw_correction *tw_correction_named(const char *name) {
    for (int i = 0; i < KNOWN; i++)
        if (strcmp(tw_corrections_known[i]->name, name) == 0)
            return tw_corrections_known[i];
    return NULL;
}

enum tw_status tw_correction_need(const struct tw_correction **out,
                                  const struct tw_variant *variant, struct tw_error *error) {
    const char *names[KNOWN];
    *out = tw_correction_named(variant->name);
    if (*out != NULL)
        return TW_OK;
    for (int i = 0; i < KNOWN; i++)
        names[i] = tw_corrections_known[i]->name;
    return tw_unknown_variant(variant, "correction", names, KNOWN, sizeof names[0], error);
}

static enum tw_status take(struct tw_corrections *out, const struct tw_variant *variant,
                           const struct tw_local_steps *local, struct tw_error *error) {
    const struct tw_correction *kind;
    enum tw_status status = tw_correction_need(&kind, variant, error);
    if (status != TW_OK)
        return status;
    for (uint32_t i = 0; i < out->count; i++) {
        const struct tw_correction *other = out->at[i].kind;
        if (other == kind)
            return tw_job_error(error, variant->where, variant->path,
                                "%s stands in the list already; give each correction once",
                                kind->name);
        if (kind->family != NULL && other->family != NULL &&
            strcmp(kind->family, other->family) == 0)
            return tw_job_error(error, variant->where, variant->path,
                                "%s beside %s: both are %s; give one of the two", kind->name,
                                other->name, kind->family);
    }
    if (kind->correct && (local->steps > 1 || local->rho > 0))
        return tw_job_error(error, variant->where, variant->path,
                            "%s is for gradients of the weights that were read; with local_steps "
                            "a worker pushes those of several weights. Take one of the two out",
                            kind->name);
    out->at[out->count].kind = kind;
    return tw_options_read(variant, kind->rules, kind->rule_count, &out->at[out->count++].options,
                           error);
}

enum tw_status tw_corrections_find(struct tw_corrections *out, const struct tw_job *job,
                                   struct tw_error *error) {
    enum tw_status status = TW_OK;
    *out = (struct tw_corrections){.count = 0};
    for (int i = 0; status == TW_OK && i < job->correction_count; i++)
        status = take(out, &job->corrections[i], &job->local, error);
    return status;
}

/* ---- of a stack ---- */

uint64_t tw_corrections_limit(const struct tw_corrections *corrections) {
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < corrections->count; i++) {
        const struct tw_correction *kind = corrections->at[i].kind;
        uint64_t limit = kind->limit ? kind->limit(&corrections->at[i].options) : UINT64_MAX;
        least = limit < least ? limit : least;
    }
    return least;
}

bool tw_corrections_have_kernels(const struct tw_corrections *corrections) {
    for (uint32_t i = 0; i < corrections->count; i++)
        if (corrections->at[i].kind->correct)
            return true;
    return false;
}

bool tw_corrections_remember(const struct tw_corrections *corrections) {
    for (uint32_t i = 0; i < corrections->count; i++)
        if (corrections->at[i].kind->remembers)
            return true;
    return false;
}

bool tw_corrections_watch(const struct tw_corrections *corrections) {
    for (uint32_t i = 0; i < corrections->count; i++)
        if (corrections->at[i].kind->watch)
            return true;
    return false;
}

bool tw_corrections_of_workers(const struct tw_corrections *corrections) {
    for (uint32_t i = 0; i < corrections->count; i++)
        if (corrections->at[i].kind->of_worker)
            return true;
    return false;
}

bool tw_job_has_kernels(const struct tw_job *job) {
    for (int i = 0; i < job->correction_count; i++) {
        const struct tw_correction *kind = tw_correction_named(job->corrections[i].name);
        if (kind != NULL && kind->correct)
            return true;
    }
    return false;
}

bool tw_job_remembers(const struct tw_job *job) {
    for (int i = 0; i < job->correction_count; i++) {
        const struct tw_correction *kind = tw_correction_named(job->corrections[i].name);
        if (kind != NULL && kind->remembers)
            return true;
    }
    return false;
}

uint32_t tw_correction_states(const struct tw_corrections *corrections, uint32_t workers) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < corrections->count; i++)
        count += tw_correction_states_of(corrections->at[i].kind, workers);
    return count;
}

void tw_correction_state_name(const struct tw_corrections *corrections, uint32_t workers,
                              uint32_t n, char out[TW_ARRAY_NAME]) {
    *out = 0;
    for (uint32_t i = 0; i < corrections->count; i++) {
        const struct tw_correction *kind = corrections->at[i].kind;
        uint32_t states = tw_correction_states_of(kind, workers);
        if (n < states && kind->of_worker)
            snprintf(out, TW_ARRAY_NAME, "%s.%" PRIu32, kind->state, n);
        else if (n < states)
            snprintf(out, TW_ARRAY_NAME, "%s", kind->state);
        if (n < states)
            return;
        n -= states;
    }
}

bool tw_correction_state_find(const struct tw_corrections *corrections, uint32_t workers,
                              const char *name, uint32_t *n) {
    const char *dot = strchr(name, '.');
    unsigned long worker = dot ? strtoul(dot + 1, NULL, 10) : 0;
    char known[TW_ARRAY_NAME];
    uint32_t before = 0;
    for (uint32_t i = 0; i < corrections->count; i++) {
        uint32_t states = tw_correction_states_of(corrections->at[i].kind, workers);
        if (worker < states) {
            *n = before + (uint32_t)worker;
            tw_correction_state_name(corrections, workers, *n, known);
            if (strcmp(known, name) == 0)
                return true;
        }
        before += states;
    }
    return false;
}

/* ---- kernels ---- */

void tw_corrections_correct(const struct tw_corrections *corrections, uint64_t staleness,
                            struct tw_correction_work work,
                            const struct tw_correction_states *states) {
    for (uint32_t i = 0; i < corrections->count; i++) {
        const struct tw_correction *kind = corrections->at[i].kind;
        work.state_in = states->in[i];
        work.state_out = states->out[i];
        if (kind->observe)
            kind->observe(&corrections->at[i].options, &work);
        if (kind->correct && (staleness > 0 || kind->momentum))
            kind->correct(&corrections->at[i].options, &work);
    }
}

void tw_corrections_applied(const struct tw_corrections *corrections, const float *before,
                            const float *after, size_t count,
                            const struct tw_correction_states *states) {
    for (uint32_t i = 0; i < corrections->count; i++)
        if (corrections->at[i].kind->watch)
            corrections->at[i].kind->watch(&corrections->at[i].options, before, after,
                                           states->out[i], count);
}

/* ---- factors ---- */

double tw_corrections_factor(const struct tw_corrections *corrections, uint64_t staleness) {
    double factor = 1;
    for (uint32_t i = 0; i < corrections->count; i++)
        if (corrections->at[i].kind->factor)
            factor *= corrections->at[i].kind->factor(&corrections->at[i].options, staleness);
    return factor > LEAST_FACTOR ? factor : LEAST_FACTOR;
}

uint64_t tw_contributions_freshest(const struct tw_contribution *contributions, uint32_t count) {
    uint64_t freshest = UINT64_MAX;
    for (uint32_t i = 0; i < count; i++)
        if (contributions[i].staleness < freshest)
            freshest = contributions[i].staleness;
    return freshest;
}

double tw_corrections_weight(const struct tw_corrections *corrections, uint64_t staleness,
                             uint64_t freshest) {
    if (staleness == freshest)
        return 1;
    return tw_corrections_factor(corrections, staleness) /
           tw_corrections_factor(corrections, freshest);
}

double tw_corrections_examples(const struct tw_corrections *corrections,
                               const struct tw_contribution *contributions, uint32_t count) {
    bool weighs = corrections->count > 0;
    uint64_t freshest = weighs ? tw_contributions_freshest(contributions, count) : 0;
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        double weight =
            weighs ? tw_corrections_weight(corrections, contributions[i].staleness, freshest) : 1;
        sum += weight * (double)contributions[i].examples;
    }
    return sum;
}
