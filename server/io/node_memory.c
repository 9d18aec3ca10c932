/* The node's configuration and memory. All of it is one mapping, zeroed by the kernel.
 * The shard's part (weights, states, gradients, copies) is touched once here, so that no
 * page of it is met for the first time on the way of an update. How much there is for
 * gradients and copies: server/core/memory_plan.h. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server/core/memory_plan.h"
#include "server/io/server_state.h"

static uint64_t end_samples(const struct tw_server_config *config) {
    double samples = ceil(config->job->epochs * (double)config->train_samples);
    return samples >= 1 ? (uint64_t)samples : 0;
}

static uint32_t width_of(const struct tw_job *job) {
    return (uint32_t)(job->slots / job->workers);
}

uint32_t tw_server_width(const struct tw_server *server) {
    return width_of(server->config->job);
}

void tw_server_node_config(const struct tw_server_config *config, const struct tw_layout *layout,
                           const struct tw_memory_plan *plan, const uint8_t *id,
                           uint32_t connections, struct tw_node_config *out) {
    const struct tw_job *job = config->job;
    uint32_t workers = (uint32_t)job->workers;
    *out = (struct tw_node_config){
        .tells_inputs = job->trace.on && job->trace.inputs,
        .terms = {.token = config->token,
                  .token_bytes = config->token_bytes,
                  .tensors = config->tensors,
                  .push = job->encoding.push,
                  .pull = job->encoding.pull},
        .sequencer = {.dial = config->dial,
                      .turns = config->turns,
                      .turn_count = config->turn_count,
                      .workers = workers,
                      .shards = (uint32_t)job->servers,
                      .tensors = (uint32_t)layout->list->count,
                      .samples = config->train_samples,
                      .end_samples = end_samples(config),
                      .end_updates = (uint64_t)job->updates,
                      .seed = job->seeds.staleness,
                      .admission = plan->admission,
                      .checkpoint_every = (uint64_t)job->checkpoint.every,
                      .evaluator = config->evaluator,
                      .inexact = config->inexact,
                      .goes_on = job->goes_on,
                      .optimizer = config->optimizer,
                      .options = config->optimizer_options,
                      .pace = config->pace,
                      .shaping = config->shaping,
                      .end = tw_judge_of_end(job)},
        .shard = {.layout = layout,
                  .index = config->index,
                  .slots = workers,
                  .members_known = config->dial.members_known,
                  .on_arrival = config->dial.on_arrival,
                  .batch = tw_job_batch(job),
                  .ahead = plan->ahead,
                  .spares = plan->spares,
                  .pool = plan->pool,
                  .push = job->encoding.push,
                  .pull = job->encoding.pull,
                  .seed = job->seeds.init,
                  .initial = config->initial,
                  .hash_every = job->trace.on ? (uint64_t)job->trace.hash_every : 0,
                  .sums_every = job->trace.on ? (uint64_t)job->trace.sums_every : 0,
                  .optimizer = config->optimizer,
                  .options = config->optimizer_options,
                  .shaping = config->shaping},
        .scoring = config->scoring,
        .evaluators = config->evaluators,
        .width = width_of(job),
        .keeps_mode = job->local.rho > 0,
        .servers = (uint32_t)job->servers,
        .connections = connections,
        .resumes = config->resume != NULL,
    };
    memcpy(out->terms.job, id, TW_JOB_ID_BYTES);
    tw_job_digest(job, config->train_samples, out->terms.digest);
}

/* All of the shard, which lies behind the rest; that has room for the worst that could come at
 * once, most of which never does. Large pages where the kernel has them: what each of a thousand
 * workers has here is a little of everything. */
static void touch(unsigned char *memory, size_t bytes, size_t shard_bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t from = (bytes - shard_bytes) / page * page;
#ifdef MADV_HUGEPAGE
    (void)madvise(memory, bytes, MADV_HUGEPAGE);
#endif
#ifdef MADV_POPULATE_WRITE
    size_t end = (bytes + page - 1) / page * page;
    if (madvise(memory + from, end - from, MADV_POPULATE_WRITE) == 0)
        return;
#endif
    for (size_t at = from; at < bytes; at += page)
        *(volatile unsigned char *)(memory + at) = 0;
}

static enum tw_status make_layout(struct tw_server *server, struct tw_error *error) {
    const struct tw_server_config *config = server->config;
    uint32_t chunks = tw_layout_count(config->tensors, config->job->chunk_bytes);
    if (!chunks)
        return tw_error_set(error, TW_LIMIT, "the model has more chunks than can be numbered");
    server->chunks = calloc(chunks, sizeof(*server->chunks));
    if (!server->chunks)
        return tw_error_set(error, TW_NO_MEMORY, "no memory for a list of %u chunks", chunks);
    return tw_layout_init(&server->layout, config->tensors, config->job->chunk_bytes,
                          (uint32_t)config->job->servers, server->chunks, error);
}

enum tw_status tw_server_make_node(struct tw_server *server, struct tw_error *error) {
    struct tw_node_config config;
    struct tw_memory_plan plan;
    const struct tw_server_config *of = server->config;
    enum tw_status status = make_layout(server, error);
    if (status == TW_OK)
        status = tw_memory_plan(of->job, &server->layout, of->index, &of->dial, of->turns,
                                of->turn_count, &plan, error);
    if (status == TW_OK && tw_random_bytes(server->random, sizeof(server->random)) != TW_OK)
        status = tw_error_set(error, TW_IO, "the system gives no random numbers");
    if (status != TW_OK)
        return status;
    tw_server_node_config(of, &server->layout, &plan, server->random, server->link_room, &config);
    /* Where a push may have to wait for the push of another, they must not stand in one line. */
    server->lanes = config.terms.lanes = plan.pool ? 1 : TW_LANES_MAX;
    memcpy(server->digest, config.terms.digest, TW_DIGEST_BYTES);
    size_t bytes = tw_node_bytes(&config);
    if (!bytes)
        return tw_error_set(error, TW_LIMIT,
                            "%d workers and %lld weights are more than this machine can address",
                            server->config->job->workers, (long long)server->layout.elements);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return tw_error_set(error, TW_NO_MEMORY,
                            "no memory: the weights, optimizer state and gradients of %d workers "
                            "take %zu MiB: %s",
                            server->config->job->workers, bytes >> 20, strerror(errno));
    server->memory = memory;
    server->memory_bytes = bytes;
    touch(memory, bytes, tw_shard_bytes(&config.shard));
    server->node = tw_node_init(memory, &config);
    return TW_OK;
}

void tw_server_free_node(struct tw_server *server) {
    if (server->memory)
        munmap(server->memory, server->memory_bytes);
    free(server->chunks);
}
