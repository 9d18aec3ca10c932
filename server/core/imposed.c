#include "server/core/imposed.h"

#include "common/base/limits.h"
#include "common/base/realmath.h"
#include "common/base/rng.h"

static uint32_t as_many(uint32_t number) {
    return number;
}

static uint32_t uniform(double u, uint32_t number, uint32_t workers) {
    return (uint32_t)(u * number);
}

const struct tw_imposed_law tw_imposed_uniform = {
    .number = "equally likely values of the staleness, from 0 on",
    .workers = as_many,
    .draw = uniform,
};

/* log(1 - p). */
static double log_of_next(uint32_t mean) {
    return tw_log((double)mean / (1 + (double)mean));
}

/* The least N with (1 - p)^N <= 1/1000. */
static uint32_t for_nearly_all(uint32_t mean) {
    double least = tw_log(.001) / log_of_next(mean);
    return least < TW_WORKERS_MAX ? (uint32_t)least + 1 : TW_WORKERS_MAX + 1;
}

/* By inversion, of the law that ends before `workers`. */
static uint32_t geometric(double u, uint32_t mean, uint32_t workers) {
    double each = log_of_next(mean), below = 1 - tw_exp(workers * each);
    uint32_t drawn = (uint32_t)(tw_log(1 - u * below) / each);
    return drawn < workers ? drawn : workers - 1; /* rounding */
}

const struct tw_imposed_law tw_imposed_geometric = {
    .number = "updates of mean staleness",
    .workers = for_nearly_all,
    .draw = geometric,
};

uint32_t tw_imposed_draw(const struct tw_imposed_law *law, uint32_t number, uint32_t workers,
                         uint64_t seed, uint64_t update) {
    return law->draw(tw_rng_uniform_at(seed, TW_STREAM_STALENESS, 0, update, 0), number, workers);
}
