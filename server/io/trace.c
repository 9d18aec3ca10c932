#include "server/io/trace.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t unix_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void add_header(struct tw_trace *trace, const struct tw_job *job,
                       const struct tw_sequencer_config *sequencer, uint64_t now_ns) {
    trace->origin_ns = now_ns;
    tw_trace_writer_add(&trace->writer, TW_TRACE_HEADER)->header = (struct tw_trace_header){
        .format = TW_TRACE_FORMAT,
        .unix_ns = unix_ns(),
        .workers = sequencer->workers,
        .slots = (uint32_t)job->slots,
        .servers = sequencer->shards,
        .hash_every = (uint64_t)job->trace.hash_every,
        .sums_every = (uint64_t)job->trace.sums_every,
        .inexact = sequencer->inexact,
        .evaluator = sequencer->evaluator,
        .admission = sequencer->admission,
        .checkpoint_every = sequencer->checkpoint_every,
    };
}

enum tw_status tw_trace_put_by(const char *folder, uint32_t generation, struct tw_error *error) {
    char name[32], from[TW_PATH_MAX], to[TW_PATH_MAX];
    snprintf(name, sizeof name, "trace-g%u.log", generation);
    if (tw_path_join(from, sizeof from, folder, "trace.log") != TW_OK ||
        tw_path_join(to, sizeof to, folder, name) != TW_OK)
        return tw_error_set(error, TW_LIMIT, "the path of the run directory is too long");
    bool is_by = access(to, F_OK) == 0;
    if ((is_by ? unlink(from) : rename(from, to)) != 0 && errno != ENOENT)
        return tw_error_set(error, TW_IO, "cannot %s %s: %s", is_by ? "remove" : "rename", from,
                            strerror(errno));
    return TW_OK;
}

enum tw_status tw_trace_open(struct tw_trace *trace, const struct tw_job *job,
                             const struct tw_sequencer_config *sequencer, const char *folder,
                             uint64_t now_ns, struct tw_error *error) {
    trace->on = false;
    if (!job->trace.on)
        return TW_OK;
    trace->workers = (uint32_t)job->workers;
    trace->width = (uint32_t)(job->slots / job->workers);
    trace->updates = 16; /* more than are ever under way */
    while (trace->updates < 4 * trace->workers + 16)
        trace->updates *= 2;
    trace->rank = calloc(trace->workers, sizeof(*trace->rank));
    trace->update = calloc(trace->updates, sizeof(*trace->update));
    if (!trace->rank || !trace->update)
        return tw_error_set(error, TW_NO_MEMORY, "no memory for a trace of %u workers",
                            trace->workers);
    enum tw_status status = tw_trace_writer_open(&trace->writer, folder, error);
    if (status != TW_OK)
        return status;
    trace->on = true;
    trace->tells_inputs = job->trace.inputs;
    trace->inputs = trace->hashed = trace->senseless = 0;
    add_header(trace, job, sequencer, now_ns);
    return TW_OK;
}

void tw_trace_settle(struct tw_trace *trace) {
    if (trace->on)
        tw_trace_writer_settle(&trace->writer);
}

void tw_trace_flush(struct tw_trace *trace) {
    if (trace->on)
        tw_trace_writer_flush(&trace->writer);
}

void tw_trace_close(struct tw_trace *trace) {
    tw_trace_flush(trace);
    if (trace->on)
        tw_trace_writer_close(&trace->writer);
    trace->on = false;
    free(trace->rank);
    free(trace->update);
    trace->rank = NULL;
    trace->update = NULL;
}

static uint64_t since_origin(const struct tw_trace *trace, uint64_t now_ns) {
    return now_ns - trace->origin_ns + 1;
}

uint64_t tw_trace_time(const struct tw_trace *trace, uint64_t now_ns) {
    return trace->on ? since_origin(trace, now_ns) : 0;
}

void tw_trace_input(struct tw_trace *trace, const struct tw_sequencer_event *event,
                    uint64_t now_ns) {
    if (!trace->on || !trace->tells_inputs)
        return;
    struct tw_trace_input *input = &tw_trace_writer_add(&trace->writer, TW_TRACE_INPUT)->input;
    tw_input_of_event(event, input);
    input->sequence = ++trace->inputs;
    input->time = since_origin(trace, now_ns);
}

/* ---- steps ---- */

static void close_step(struct tw_trace *trace, uint32_t rank, uint64_t arrived) {
    struct tw_rank_trace *at = &trace->rank[rank];
    if (!at->open)
        return;
    at->open = false;
    tw_trace_writer_add(&trace->writer, TW_TRACE_SLOT)->slot =
        (struct tw_trace_slot){.slot = rank * trace->width,
                               .step = at->step,
                               .read = at->read,
                               .asked = at->asked,
                               .served = at->served,
                               .arrived = arrived};
}

/* A second RELEASE for the same step takes the place of the first: the slot has waited
 * since then. */
static void on_release(struct tw_trace *trace, const struct tw_record *record, uint64_t now) {
    struct tw_rank_trace *at = &trace->rank[record->slot];
    bool again = at->open && at->step == record->step;
    uint64_t asked = again ? at->asked : at->idle ? at->idle : now;
    if (!again)
        close_step(trace, record->slot, 0);
    at->open = true;
    at->step = record->step;
    at->read = record->position;
    at->asked = asked;
    at->served = at->idle = 0;
}

static void on_arrived(struct tw_trace *trace, uint32_t rank, uint64_t step, uint64_t now) {
    struct tw_rank_trace *at = &trace->rank[rank];
    if (!at->open || at->step != step)
        return;
    close_step(trace, rank, now);
    at->idle = now;
}

void tw_trace_served(struct tw_trace *trace, uint32_t rank, uint64_t position, uint64_t now_ns) {
    if (trace->on && trace->rank[rank].open && trace->rank[rank].read == position)
        trace->rank[rank].served = since_origin(trace, now_ns);
}

/* ---- updates ---- */

/* The place of an update that is under way, made when there is none. */
static struct tw_update_trace *update_of(struct tw_trace *trace, uint64_t version) {
    struct tw_update_trace *update = &trace->update[version & (trace->updates - 1)];
    if (update->version != version)
        *update = (struct tw_update_trace){.version = version};
    return update;
}

/* Where chunks are applied as they come, nothing is prepared before. */
static void on_commit(struct tw_trace *trace, uint64_t version, uint64_t now) {
    struct tw_update_trace *update = update_of(trace, version);
    update->committed = now;
    if (!update->prepared)
        update->prepared = now;
}

static void on_applied(struct tw_trace *trace, uint64_t version, uint64_t now) {
    const struct tw_update_trace *update = update_of(trace, version);
    tw_trace_writer_add(&trace->writer, TW_TRACE_UPDATE)->update =
        (struct tw_trace_update){.version = version,
                                 .prepared = update->prepared,
                                 .committed = update->committed,
                                 .applied = now};
}

static void add_hash(struct tw_trace *trace, uint64_t version, uint64_t hash) {
    tw_trace_writer_add(&trace->writer, TW_TRACE_HASH)->hash =
        (struct tw_trace_hash){.version = version, .hash = hash};
    trace->hashed = version;
}

/* Sums that are not finite are left out. */
static void on_sampled(struct tw_trace *trace, const struct tw_sample *sample) {
    struct tw_trace_sums sums = {.version = sample->version,
                                 .gradient = tw_exact_sum_value(&sample->gradient),
                                 .update = tw_exact_sum_value(&sample->update),
                                 .weights = tw_exact_sum_value(&sample->weights)};
    if (sample->summed && isfinite(sums.gradient + sums.update + sums.weights))
        tw_trace_writer_add(&trace->writer, TW_TRACE_SUMS)->sums = sums;
    if (sample->hashed)
        add_hash(trace, sample->version, sample->hash);
}

void tw_trace_end(struct tw_trace *trace, const struct tw_sample *sample) {
    if (trace->on && (trace->hashed != sample->version || sample->version == 0))
        add_hash(trace, sample->version, sample->hash);
    tw_trace_flush(trace);
}

/* ---- what workers say ---- */

static bool in_order(uint64_t earlier, uint64_t later) {
    return later == 0 || (earlier != 0 && earlier <= later);
}

static uint64_t not_after(uint64_t time, uint64_t now) {
    return time < now ? time : now;
}

/* Each step once, none that is still to come, and times that are in order. Clocks are never
 * quite the same: what seems to be to come is now. */
static bool makes_sense(const struct tw_rank_trace *at, const struct tw_measure *measure) {
    return measure->step > at->measured && measure->step <= at->step && measure->received != 0 &&
           in_order(measure->received, measure->computed) &&
           in_order(measure->computed, measure->sent);
}

static void on_measured(struct tw_trace *trace, const struct tw_node_event *event, uint64_t now) {
    struct tw_rank_trace *at = &trace->rank[event->rank];
    for (size_t i = 0; i < event->measures; i++) {
        const struct tw_measure *measure = &event->measure[i];
        if (!makes_sense(at, measure)) {
            trace->senseless++;
            continue;
        }
        at->measured = measure->step;
        tw_trace_writer_add(&trace->writer, TW_TRACE_WORKER)->worker =
            (struct tw_trace_worker){.slot = event->rank * trace->width,
                                     .step = measure->step,
                                     .received = not_after(measure->received, now),
                                     .computed = not_after(measure->computed, now),
                                     .sent = not_after(measure->sent, now)};
    }
}

/* ---- what passes ---- */

void tw_trace_record(struct tw_trace *trace, const struct tw_record *record, uint64_t now_ns) {
    if (!trace->on)
        return;
    uint64_t now = since_origin(trace, now_ns);
    if (record->kind == TW_RECORD_RELEASE && record->slot != TW_SLOT_EVALUATOR)
        on_release(trace, record, now);
    else if (record->kind == TW_RECORD_COMMIT)
        on_commit(trace, record->version, now);
}

void tw_trace_event(struct tw_trace *trace, const struct tw_node_event *event, uint64_t now_ns) {
    if (!trace->on)
        return;
    uint64_t now = since_origin(trace, now_ns);
    switch (event->kind) {
    case TW_EVENT_JOINED:
        if (!trace->rank[event->rank].open)
            trace->rank[event->rank].idle = now;
        break;
    case TW_EVENT_ARRIVED:
        on_arrived(trace, event->rank, event->step, now);
        break;
    case TW_EVENT_PREPARED:
        update_of(trace, event->version)->prepared = now;
        break;
    case TW_EVENT_APPLIED:
        on_applied(trace, event->version, now);
        break;
    case TW_EVENT_SAMPLED:
        on_sampled(trace, event->sample);
        break;
    case TW_EVENT_MEASURED:
        on_measured(trace, event, now);
        break;
    default:
        break;
    }
}
