#include "sim/delay_times.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"

static enum tw_status no_memory(struct tw_error *error) {
    return tw_error_set(error, TW_NO_MEMORY, "no memory for the times of steps");
}

static enum tw_status make_room(struct tw_delay_times *times, uint32_t worker,
                                struct tw_error *error) {
    if (worker >= times->workers) {
        void *larger = realloc(times->worker, (worker + 1) * sizeof(*times->worker));
        if (!larger)
            return no_memory(error);
        times->worker = larger;
        memset(times->worker + times->workers, 0,
               (worker + 1 - times->workers) * sizeof(*times->worker));
        times->workers = worker + 1;
    }
    struct tw_worker_times *of = &times->worker[worker];
    if (of->count < of->room)
        return TW_OK;
    size_t room = of->room ? 2 * of->room : 64;
    void *larger = realloc(of->at, room * sizeof(*of->at));
    if (!larger)
        return no_memory(error);
    of->at = larger;
    of->room = room;
    return TW_OK;
}

enum tw_status tw_delay_times_add(struct tw_delay_times *times, uint32_t worker, double seconds,
                                  struct tw_error *error) {
    if (worker >= TW_WORKERS_MAX)
        return tw_error_set(error, TW_LIMIT, "there are at most %d workers, from 0 on",
                            TW_WORKERS_MAX);
    if (!(seconds >= 0) || isinf(seconds))
        return tw_error_set(error, TW_DATA, "a step of %g s; none takes less than 0 s, or for ever",
                            seconds);
    enum tw_status status = make_room(times, worker, error);
    if (status != TW_OK)
        return status;
    struct tw_worker_times *of = &times->worker[worker];
    if (!of->begins)
        of->at[of->count++] = seconds;
    of->begins = false;
    return TW_OK;
}

void tw_delay_times_new_processes(struct tw_delay_times *times) {
    for (uint32_t i = 0; i < times->workers; i++)
        times->worker[i].begins = times->worker[i].count > 0;
}

void tw_delay_times_fini(struct tw_delay_times *times) {
    for (uint32_t i = 0; i < times->workers; i++)
        free(times->worker[i].at);
    free(times->worker);
    *times = (struct tw_delay_times){.workers = 0};
}

/* ---- moments ---- */

static double mean_of(const double *at, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += at[i];
    return sum / (double)count;
}

/* Around `center`. */
static double square_of(const double *at, size_t count, double center) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (at[i] - center) * (at[i] - center);
    return sum / (double)count;
}

double tw_delay_times_mean(const struct tw_delay_times *times) {
    double sum = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < times->workers; i++)
        if (times->worker[i].count) {
            sum += mean_of(times->worker[i].at, times->worker[i].count);
            count++;
        }
    return sum / count;
}

double tw_delay_times_variance(const struct tw_delay_times *times) {
    double mean = tw_delay_times_mean(times), sum = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < times->workers; i++)
        if (times->worker[i].count) {
            sum += square_of(times->worker[i].at, times->worker[i].count, mean);
            count++;
        }
    return sum / count;
}

/* ---- fitting ---- */

/* Of one worker: its mean, the variance of that, and what its steps add to the sums over all. */
struct part {
    double mean, variance_of_mean;
};

struct sums {
    double squares, fourths; /* of (step / the worker's mean - 1) */
    size_t steps;
    uint32_t workers;
};

static bool measure(const struct tw_worker_times *of, struct part *part, struct sums *sums) {
    const double *at = of->at + 1;
    size_t count = of->count - 1;
    if (of->count < 3)
        return false;
    part->mean = mean_of(at, count);
    if (!(part->mean > 0))
        return false;
    double unbiased = (double)count / (double)(count - 1);
    part->variance_of_mean = square_of(at, count, part->mean) * unbiased / (double)count;
    for (size_t i = 0; i < count; i++) {
        double off = at[i] / part->mean - 1, square = off * off;
        sums->squares += square;
        sums->fourths += square * square;
    }
    sums->steps += count;
    sums->workers++;
    return true;
}

static struct tw_fitted fit_cv(const struct sums *sums) {
    double n = (double)sums->steps, square = sums->squares / (n - sums->workers);
    double spread = sums->fourths / n - (sums->squares / n) * (sums->squares / n);
    double cv = sqrt(square), of_square = sqrt(fmax(spread, 0) / n);
    return (struct tw_fitted){cv, cv > 0 ? of_square / (2 * cv) : 0};
}

/* The error of a coefficient of variation that `workers` were drawn with; of the mean, likewise. */
static void fit_workers(const struct part *parts, uint32_t workers, struct tw_delay_fit *out) {
    double sum = 0, squares = 0, noise = 0;
    for (uint32_t i = 0; i < workers; i++) {
        sum += parts[i].mean;
        noise += parts[i].variance_of_mean / workers;
    }
    double mean = sum / workers;
    for (uint32_t i = 0; i < workers; i++)
        squares += (parts[i].mean - mean) * (parts[i].mean - mean);
    out->mean = (struct tw_fitted){mean, sqrt(noise / workers)};
    out->machine_cv = (struct tw_fitted){0, (double)NAN};
    if (workers < 2)
        return;
    double variance = squares / (workers - 1), own = fmax(variance - noise, 0);
    out->mean.error = sqrt(variance / workers);
    out->machine_cv.value = sqrt(own) / mean;
    /* As if the workers' means were normal: variance / own is 1 where noise has no part in it. */
    double of_variance = variance * sqrt(2. / (workers - 1));
    out->machine_cv.error =
        own > 0 ? of_variance / (2 * sqrt(own) * mean) : sqrt(of_variance) / mean;
}

enum tw_status tw_delay_fit(const struct tw_delay_times *times, struct tw_delay_fit *out,
                            struct tw_error *error) {
    struct sums sums = {.steps = 0};
    struct part *parts = calloc(times->workers ? times->workers : 1, sizeof(*parts));
    if (!parts)
        return no_memory(error);
    for (uint32_t i = 0; i < times->workers; i++)
        measure(&times->worker[i], &parts[sums.workers], &sums);
    if (sums.workers) {
        *out = (struct tw_delay_fit){.workers = sums.workers, .steps = sums.steps};
        out->cv = fit_cv(&sums);
        fit_workers(parts, sums.workers, out);
    }
    free(parts);
    return sums.workers ? TW_OK
                        : tw_error_set(error, TW_DATA,
                                       "no worker has three steps that took any time, so no law "
                                       "can be fitted to them");
}
