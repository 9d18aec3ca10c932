/* The times of a timeline: entries of trace.log, and what follows from them. */
#include <inttypes.h>
#include <string.h>

#include "cli/timeline.h"
#include "cli/timeline_state.h"

static uint64_t later(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

/* ---- what there is ---- */

static struct tw_timeline_update *find_update(const struct tw_timeline *timeline,
                                              uint64_t version) {
    size_t low = 0, high = timeline->updates;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (timeline->update[middle].version < version)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < timeline->updates && timeline->update[low].version == version;
    return found ? &timeline->update[low] : NULL;
}

/* NULL: the entry is of no step of ours. */
static struct tw_timeline_times *find_times(struct tw_timeline *timeline, uint32_t slot,
                                            uint64_t step) {
    uint32_t worker = slot / timeline->width;
    size_t low = 0, high = timeline->steps;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct tw_timeline_step *at = &timeline->step[middle];
        if (at->worker < worker || (at->worker == worker && at->step < step))
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < timeline->steps && timeline->step[low].worker == worker &&
                 timeline->step[low].step == step;
    return found ? &((struct tw_timeline_making *)timeline)->times[low] : NULL;
}

/* A step that two processes have computed, one after the other, has two entries of
 * workers: the last is of the one whose gradient counts. */
void tw_timeline_entry(struct tw_timeline *timeline, const struct tw_trace_entry *entry) {
    struct tw_timeline_times *times;
    struct tw_timeline_update *update;
    switch (entry->kind) {
    case TW_TRACE_WORKER:
        times = find_times(timeline, entry->worker.slot, entry->worker.step);
        if (times) {
            times->received = entry->worker.received;
            times->computed = entry->worker.computed;
            times->sent = entry->worker.sent;
        }
        return;
    case TW_TRACE_SLOT:
        times = find_times(timeline, entry->slot.slot, entry->slot.step);
        if (times) {
            times->asked = entry->slot.asked;
            times->served = entry->slot.served;
            times->arrived = entry->slot.arrived;
        }
        return;
    case TW_TRACE_UPDATE:
        update = find_update(timeline, entry->update.version);
        if (update) {
            update->prepared = entry->update.prepared;
            update->committed = entry->update.committed;
            update->applied = later(entry->update.applied, entry->update.committed);
        }
        return;
    default:
        return;
    }
}

const struct tw_timeline_update *tw_timeline_update_of(const struct tw_timeline *timeline,
                                                       uint64_t version) {
    const struct tw_timeline_update *update = find_update(timeline, version);
    return update && update->committed ? update : NULL;
}

bool tw_timeline_has_arrow(const struct tw_timeline *timeline,
                           const struct tw_timeline_step *step) {
    return step->fate == TW_FATE_APPLIED && step->version >= timeline->from &&
           step->version <= timeline->to && tw_timeline_update_of(timeline, step->version);
}

/* ---- what follows ---- */

/* Updates are applied one after the other, though a COMMIT may come before the one before
 * it is through. */
static void order_updates(struct tw_timeline *timeline) {
    uint64_t through = 0;
    for (size_t i = 0; i < timeline->updates; i++) {
        struct tw_timeline_update *update = &timeline->update[i];
        update->applying = later(update->committed, through);
        update->applied = later(update->applied, update->applying);
        through = update->applied;
    }
}

/* When the weights were released: asked for, and made. */
static uint64_t release_time(const struct tw_timeline *timeline,
                             const struct tw_timeline_step *step,
                             const struct tw_timeline_times *times) {
    const struct tw_timeline_update *made = tw_timeline_update_of(timeline, step->read_version);
    uint64_t time = later(times->asked, made ? made->committed : 0);
    /* Nothing is served before it is released; what has not been served has no time. */
    return times->served && time > times->served ? times->served : time;
}

/* The times of the step itself, as far as anybody knows them. */
static bool time_step(const struct tw_timeline *timeline, struct tw_timeline_step *step,
                      const struct tw_timeline_times *times) {
    const struct tw_timeline_update *cancelled =
        step->fate == TW_FATE_DROPPED ? tw_timeline_update_of(timeline, step->version) : NULL;
    uint64_t *at = step->at;
    step->told = times->received != 0;
    step->served = times->served;
    step->sent = times->sent;
    at[TW_MOMENT_RELEASED] = step->released;
    at[TW_MOMENT_RECEIVED] = times->received ? times->received : times->served;
    at[TW_MOMENT_ARRIVED] = times->arrived ? times->arrived : times->sent;
    /* One that nobody measured takes all of the time; one that was given up, until then. */
    at[TW_MOMENT_COMPUTED] = times->computed ? times->computed : at[TW_MOMENT_ARRIVED];
    if (at[TW_MOMENT_COMPUTED] == 0 && step->told && cancelled)
        at[TW_MOMENT_COMPUTED] = cancelled->committed;
    return at[TW_MOMENT_RECEIVED] != 0 && at[TW_MOMENT_COMPUTED] != 0;
}

static void line_up(struct tw_timeline *timeline, size_t i) {
    struct tw_timeline_making *making = (struct tw_timeline_making *)timeline;
    struct tw_timeline_step *step = &timeline->step[i];
    step->released = release_time(timeline, step, &making->times[i]);
    step->drawn = time_step(timeline, step, &making->times[i]);
    if (!step->drawn)
        return;
    size_t before = i;
    while (before > 0 && timeline->step[before - 1].worker == step->worker &&
           !timeline->step[before - 1].drawn)
        before--;
    bool has = before > 0 && timeline->step[before - 1].worker == step->worker;
    uint64_t asked = making->times[i].asked;
    if (has)
        step->at[TW_MOMENT_FREE] = timeline->step[before - 1].at[TW_MOMENT_ARRIVED];
    else
        step->at[TW_MOMENT_FREE] = asked ? asked : step->at[TW_MOMENT_RECEIVED];
    for (int m = 1; m < TW_MOMENTS; m++)
        step->at[m] = later(step->at[m], step->at[m - 1]);
}

/* From the COMMIT before the window until its last update is applied. */
static enum tw_status find_ends(struct tw_timeline *timeline, struct tw_error *error) {
    const struct tw_timeline_update *before = tw_timeline_update_of(timeline, timeline->from - 1);
    uint64_t first = UINT64_MAX, last = 0, to = 0;
    for (size_t i = 0; i < timeline->updates; i++) {
        const struct tw_timeline_update *update = &timeline->update[i];
        if (update->version < timeline->from || update->version > timeline->to ||
            !update->committed)
            continue;
        last = later(last, update->applied);
        to = update->version;
    }
    if (to == 0)
        return tw_error_set(error, TW_DATA,
                            "trace.log says nothing about updates %" PRIu64 " to %" PRIu64,
                            timeline->from, timeline->to);
    for (size_t i = 0; i < timeline->steps; i++)
        if (timeline->step[i].drawn && timeline->step[i].at[TW_MOMENT_FREE] < first)
            first = timeline->step[i].at[TW_MOMENT_FREE];
    timeline->begin = before ? before->committed : first < last ? first : 0;
    timeline->end = last;
    timeline->to = to;
    if (timeline->begin >= timeline->end)
        return tw_error_set(error, TW_DATA, "trace.log has times that go back at update %" PRIu64,
                            timeline->from);
    return TW_OK;
}

/* Its RELEASEs stand right behind it, one for each slot. */
static void time_turn(struct tw_timeline *timeline, struct tw_timeline_turn *turn) {
    const struct tw_timeline_making *making = (struct tw_timeline_making *)timeline;
    const struct tw_timeline_update *update = tw_timeline_update_of(timeline, turn->version);
    turn->time = update ? update->committed : 0;
    for (size_t i = 0; i < timeline->steps; i++) {
        uint64_t read = timeline->step[i].read;
        if (read > turn->position && read - turn->position <= timeline->workers &&
            timeline->step[i].read_version == turn->version)
            turn->time = later(turn->time, making->times[i].asked);
    }
}

static void add_up(struct tw_timeline *timeline) {
    for (size_t i = 0; i < timeline->steps; i++) {
        const struct tw_timeline_step *step = &timeline->step[i];
        struct tw_timeline_worker *worker = &timeline->worker[step->worker];
        for (int a = 0; step->drawn && a < TW_ACTIVITIES; a++) {
            uint64_t begin = later(step->at[a], timeline->begin);
            uint64_t end = step->at[a + 1] < timeline->end ? step->at[a + 1] : timeline->end;
            worker->spent[a] += end > begin ? end - begin : 0;
        }
        if (step->version < timeline->from || step->version > timeline->to)
            continue;
        worker->applied += step->fate == TW_FATE_APPLIED;
        worker->dropped += step->fate == TW_FATE_DROPPED;
        worker->staleness += step->staleness;
    }
}

enum tw_status tw_timeline_finish(struct tw_timeline *timeline, struct tw_error *error) {
    order_updates(timeline);
    for (size_t i = 0; i < timeline->steps; i++)
        line_up(timeline, i);
    for (size_t i = 0; i < timeline->turns; i++)
        time_turn(timeline, &timeline->turn[i]);
    enum tw_status status = find_ends(timeline, error);
    if (status == TW_OK)
        add_up(timeline);
    return status;
}
