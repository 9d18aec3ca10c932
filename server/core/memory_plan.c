#include "server/core/memory_plan.h"

#include "server/core/correction.h"
#include "server/core/shard.h"

/* What a job that says nothing has at least: with small models everybody may push at any time. */
#define LEAST_BYTES (32u << 20)

struct needs {
    uint32_t slots;
    uint32_t ahead; /* of the job's modes */
    bool corrects;  /* gradients, each as a whole */
    bool remembers; /* the weights that each push is computed on */
    bool whole;     /* everybody may push at any time: there is no doing with less */
    struct tw_shard_sizes size;
};

static uint32_t most_ahead(const struct tw_dial *dial, const struct tw_dial_turn *turns,
                           uint32_t count) {
    uint32_t most = tw_dial_ahead(dial);
    for (uint32_t i = 0; i < count; i++)
        if (tw_dial_ahead(&turns[i].dial) > most)
            most = tw_dial_ahead(&turns[i].dial);
    return most;
}

static size_t pushes(const struct needs *needs, uint32_t ahead) {
    return needs->slots + 2 * (size_t)ahead;
}

static size_t copy_bytes(const struct needs *needs) {
    return needs->size.plane + needs->size.encoded;
}

/* All but copies of the weights. */
static size_t push_bytes(const struct needs *needs, uint32_t ahead) {
    size_t planes = (1 + needs->remembers) * pushes(needs, ahead);
    return planes * needs->size.plane + needs->size.encoded;
}

/* One copy, so that weights can be updated while they are sent. */
static size_t roomy_bytes(const struct needs *needs, uint32_t ahead) {
    return push_bytes(needs, ahead) + copy_bytes(needs);
}

/* The sums. */
static size_t home_bytes(const struct needs *needs) {
    return needs->size.plane + needs->size.encoded;
}

static size_t tight_bytes(const struct needs *needs) {
    return home_bytes(needs) + tw_shard_pool_min(needs->slots) * needs->size.spare;
}

static size_t least_bytes(const struct needs *needs) {
    size_t roomy = roomy_bytes(needs, needs->ahead), tight = tight_bytes(needs);
    return needs->whole || needs->corrects || roomy < tight ? roomy : tight;
}

/* The job's, or twice the share, and what it takes. */
static size_t bytes_of(const struct tw_job *job, const struct needs *needs) {
    size_t bytes = 2 * needs->size.plane, least = least_bytes(needs);
    if (job->inflight_bytes)
        return (size_t)job->inflight_bytes;
    bytes = bytes < LEAST_BYTES ? LEAST_BYTES : bytes;
    return bytes < least ? least : bytes;
}

static struct needs needs_of(const struct tw_job *job, const struct tw_layout *layout,
                             uint32_t index, const struct tw_dial *dial, uint32_t ahead) {
    struct needs needs = {.slots = (uint32_t)job->workers,
                          .ahead = ahead,
                          .whole = ahead || dial->on_arrival,
                          .corrects = tw_job_has_kernels(job),
                          .remembers = tw_job_remembers(job)};
    needs.size = tw_shard_sizes(layout, index, job->encoding.pull);
    return needs;
}

static enum tw_status check_least(const struct tw_job *job, const struct needs *needs,
                                  uint32_t servers, struct tw_error *error) {
    size_t least = (least_bytes(needs) + 1023) >> 10;
    if (bytes_of(job, needs) >= least_bytes(needs))
        return TW_OK;
    return tw_job_error(error, job->inflight_where, "memory.inflight",
                        "%lld bytes are too few for cluster.workers %u and cluster.servers %u%s; "
                        "it must be at least %zuKiB",
                        (long long)job->inflight_bytes, needs->slots, servers,
                        needs->ahead       ? ", whose mode keeps whole pushes while workers go on"
                        : needs->remembers ? ", whose corrections remember weights for each worker"
                        : needs->corrects  ? ", whose corrections look at each gradient as a whole"
                        : needs->whole     ? ", whose mode receives from all workers at any time"
                                           : "",
                        least);
}

enum tw_status tw_memory_plan(const struct tw_job *job, const struct tw_layout *layout,
                              uint32_t index, const struct tw_dial *dial,
                              const struct tw_dial_turn *turns, uint32_t turn_count,
                              struct tw_memory_plan *out, struct tw_error *error) {
    uint32_t ahead = most_ahead(dial, turns, turn_count), workers = (uint32_t)job->workers;
    struct needs needs, largest = needs_of(job, layout, 0, dial, ahead);
    bool roomy = true, any_mode = true;
    for (uint32_t i = 0; i < layout->servers; i++) {
        needs = needs_of(job, layout, i, dial, ahead);
        roomy = roomy && bytes_of(job, &needs) >= roomy_bytes(&needs, ahead);
        any_mode =
            any_mode && !dial->on_arrival && bytes_of(job, &needs) >= roomy_bytes(&needs, workers);
        if (least_bytes(&needs) > least_bytes(&largest))
            largest = needs;
    }
    *out = (struct tw_memory_plan){.admission = !roomy};
    enum tw_status status = check_least(job, &largest, layout->servers, error);
    if (status != TW_OK)
        return status;
    needs = needs_of(job, layout, index, dial, ahead);
    if (!roomy) {
        size_t pool = (bytes_of(job, &needs) - home_bytes(&needs)) / needs.size.spare;
        out->pool = pool < UINT32_MAX / 4 ? (uint32_t)pool : UINT32_MAX / 4;
        return TW_OK;
    }
    out->ahead = any_mode ? workers : ahead;
    size_t spares = (bytes_of(job, &needs) - push_bytes(&needs, out->ahead)) / copy_bytes(&needs);
    /* Everybody may be reading another version while one is written. */
    out->spares = spares < workers + 1 ? (uint32_t)spares : workers + 1;
    return TW_OK;
}
