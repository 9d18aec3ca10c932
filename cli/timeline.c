#include "cli/timeline.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/timeline_state.h"

#define ROOM_FIRST 256

const char *tw_activity_name(enum tw_activity activity) {
    static const char *const name[] = {
        [TW_ACTIVITY_WAITING] = "waiting for others",
        [TW_ACTIVITY_RECEIVING] = "receiving weights",
        [TW_ACTIVITY_COMPUTING] = "computing",
        [TW_ACTIVITY_SENDING] = "sending the gradient",
    };
    return name[activity];
}

static struct tw_timeline_making *making_of(struct tw_timeline *timeline) {
    return (struct tw_timeline_making *)timeline;
}

enum tw_status tw_timeline_new(struct tw_timeline **out, uint32_t workers, uint32_t width,
                               uint64_t from, uint64_t to, struct tw_error *error) {
    struct tw_timeline_making *making = calloc(1, sizeof *making);
    *out = (struct tw_timeline *)making;
    if (!making)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    making->timeline =
        (struct tw_timeline){.workers = workers, .width = width, .from = from, .to = to};
    making->free = TW_TIMELINE_NONE;
    making->first = malloc(workers * sizeof *making->first);
    making->timeline.worker = calloc(workers, sizeof *making->timeline.worker);
    if (to - from < TW_TIMELINE_STEPS_MAX)
        making->gathers = calloc((size_t)(to - from) + 1, sizeof *making->gathers);
    else
        tw_error_set(error, TW_LIMIT, "%" PRIu64 " updates are too many; at most %u are shown",
                     to - from + 1, TW_TIMELINE_STEPS_MAX);
    if (!making->first || !making->timeline.worker || !making->gathers) {
        bool large = to - from >= TW_TIMELINE_STEPS_MAX;
        tw_timeline_free(*out);
        *out = NULL;
        return large ? TW_LIMIT : tw_error_set(error, TW_NO_MEMORY, "out of memory");
    }
    for (uint32_t w = 0; w < workers; w++)
        making->first[w] = TW_TIMELINE_NONE;
    return TW_OK;
}

void tw_timeline_free(struct tw_timeline *timeline) {
    if (!timeline)
        return;
    struct tw_timeline_making *making = making_of(timeline);
    free(making->first);
    free(making->gathers);
    free(making->times);
    free(timeline->step);
    free(timeline->update);
    free(timeline->worker);
    free(making);
}

/* ---- steps ---- */

/* The place in the worker's list where its step number `step` stands, or would; *before:
 * how many stand before it. */
static uint32_t *find_open(struct tw_timeline_making *making, uint32_t worker, uint64_t step,
                           uint32_t *before) {
    uint32_t *at = &making->first[worker];
    *before = 0;
    while (*at != TW_TIMELINE_NONE && making->timeline.step[*at].step < step) {
        at = &making->timeline.step[*at].next;
        ++*before;
    }
    return at;
}

static bool stands_at(const struct tw_timeline_making *making, const uint32_t *at, uint64_t step) {
    return *at != TW_TIMELINE_NONE && making->timeline.step[*at].step == step;
}

static enum tw_status make_room(struct tw_timeline_making *making, struct tw_error *error) {
    struct tw_timeline *timeline = &making->timeline;
    if (making->free != TW_TIMELINE_NONE || timeline->steps < making->room)
        return TW_OK;
    if (timeline->steps == TW_TIMELINE_STEPS_MAX)
        return tw_error_set(error, TW_LIMIT,
                            "updates %" PRIu64 " to %" PRIu64 " have more than %u gradients",
                            timeline->from, timeline->to, TW_TIMELINE_STEPS_MAX);
    size_t room = making->room ? 2 * making->room : ROOM_FIRST;
    struct tw_timeline_step *more = realloc(timeline->step, room * sizeof *more);
    if (!more)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    timeline->step = more;
    making->room = room;
    return TW_OK;
}

static enum tw_status check_slot(const struct tw_timeline_making *making,
                                 const struct tw_record *record, struct tw_error *error) {
    const struct tw_timeline *timeline = &making->timeline;
    if (record->slot / timeline->width < timeline->workers)
        return TW_OK;
    return tw_error_set(error, TW_DATA,
                        "record %" PRIu64 ": slot %u, but there are %u workers with %u slots each",
                        record->position, record->slot, timeline->workers, timeline->width);
}

static enum tw_status on_release(struct tw_timeline_making *making, const struct tw_record *record,
                                 struct tw_error *error) {
    struct tw_timeline *timeline = &making->timeline;
    uint32_t worker = record->slot / timeline->width;
    if (record->slot == TW_SLOT_EVALUATOR || record->version > timeline->to)
        return TW_OK;
    enum tw_status status = check_slot(making, record, error);
    if (status == TW_OK)
        status = make_room(making, error);
    if (status != TW_OK)
        return status;
    uint32_t before;
    uint32_t *at = find_open(making, worker, record->step, &before);
    /* What is counted in waits for one update at most. */
    if (before > timeline->workers)
        return tw_error_set(error, TW_DATA,
                            "record %" PRIu64 ": slot %u has %u steps under way, more than can be",
                            record->position, record->slot, before);
    uint32_t taken = *at, next = *at;
    if (stands_at(making, at, record->step)) {
        next = timeline->step[taken].next; /* these weights take the place of older ones */
    } else {
        taken = making->free;
        if (taken != TW_TIMELINE_NONE)
            making->free = timeline->step[taken].next;
        else
            taken = (uint32_t)timeline->steps++;
        *at = taken;
    }
    timeline->step[taken] = (struct tw_timeline_step){.worker = worker,
                                                      .step = record->step,
                                                      .read = record->position,
                                                      .read_version = record->version,
                                                      .next = next};
    return TW_OK;
}

/* The step at `at` is over. One that was over before the window began is forgotten. */
static void settle(struct tw_timeline_making *making, uint32_t *at, const struct tw_record *record,
                   uint64_t staleness) {
    struct tw_timeline *timeline = &making->timeline;
    uint32_t taken = *at;
    struct tw_timeline_step *step = &timeline->step[taken];
    bool applied = record->kind == TW_RECORD_COMMIT;
    *at = step->next;
    step->fate = applied ? TW_FATE_APPLIED : TW_FATE_DROPPED;
    step->version = record->version;
    step->staleness = applied ? staleness : 0;
    step->next = TW_TIMELINE_NONE;
    if (record->version + !applied >= timeline->from)
        return;
    step->worker = TW_TIMELINE_NONE;
    step->next = making->free;
    making->free = taken;
}

static enum tw_status on_contributions(struct tw_timeline_making *making,
                                       const struct tw_record *record, struct tw_error *error) {
    struct tw_timeline *timeline = &making->timeline;
    for (uint32_t i = 0; i < record->count; i++) {
        const struct tw_contribution *contribution = &record->contributions[i];
        uint32_t worker = contribution->slot / timeline->width;
        uint32_t before, *at = NULL;
        if (worker < timeline->workers)
            at = find_open(making, worker, contribution->step, &before);
        if (at && stands_at(making, at, contribution->step))
            settle(making, at, record, contribution->staleness);
        else if (record->version <= timeline->to) /* else its RELEASE was not looked at */
            return tw_error_set(error, TW_DATA,
                                "record %" PRIu64 ": slot %u never got weights for step %" PRIu64,
                                record->position, contribution->slot, contribution->step);
    }
    if (record->kind == TW_RECORD_COMMIT && record->version >= timeline->from &&
        record->version <= timeline->to)
        making->gathers[record->version - timeline->from] = record->count;
    return TW_OK;
}

/* All that is out of a worker, or not committed, is over. */
static void cancel_all(struct tw_timeline_making *making, uint32_t worker,
                       const struct tw_record *record) {
    while (making->first[worker] != TW_TIMELINE_NONE)
        settle(making, &making->first[worker], record, 0);
}

static void on_dial(struct tw_timeline_making *making, const struct tw_record *record) {
    struct tw_timeline *timeline = &making->timeline;
    struct tw_timeline_turn turn = {.version = record->version, .position = record->position};
    for (uint32_t w = 0; w < timeline->workers; w++)
        cancel_all(making, w, record);
    strncpy(turn.mode, record->mode, TW_MODE_MAX);
    if (record->version < timeline->from)
        timeline->turned = turn;
    else if (record->version <= timeline->to && timeline->turns < TW_TIMELINE_TURNS_MAX)
        timeline->turn[timeline->turns++] = turn;
}

static enum tw_status on_evict(struct tw_timeline_making *making, const struct tw_record *record,
                               struct tw_error *error) {
    uint32_t worker = record->slot / making->timeline.width;
    enum tw_status status = check_slot(making, record, error);
    if (status == TW_OK)
        cancel_all(making, worker, record);
    return status;
}

enum tw_status tw_timeline_record(struct tw_timeline *timeline, const struct tw_record *record,
                                  struct tw_error *error) {
    struct tw_timeline_making *making = making_of(timeline);
    switch (record->kind) {
    case TW_RECORD_RELEASE:
        return on_release(making, record, error);
    case TW_RECORD_COMMIT:
    case TW_RECORD_DROP:
        return on_contributions(making, record, error);
    case TW_RECORD_DIAL:
        on_dial(making, record);
        return TW_OK;
    case TW_RECORD_EVICT:
        return on_evict(making, record, error);
    default: /* it moves no gradient */
        return TW_OK;
    }
}

/* ---- after the last record ---- */

static int by_worker(const void *a, const void *b) {
    const struct tw_timeline_step *one = a, *other = b;
    if (one->worker != other->worker)
        return one->worker < other->worker ? -1 : 1;
    return one->step < other->step ? -1 : one->step > other->step;
}

static int by_version(const void *a, const void *b) {
    const struct tw_timeline_update *one = a, *other = b;
    return one->version < other->version ? -1 : one->version > other->version;
}

/* All versions whose times are of interest: those of the window, the one before it, and
 * those that its gradients were computed on or became part of. */
static enum tw_status list_versions(struct tw_timeline_making *making, struct tw_error *error) {
    struct tw_timeline *timeline = &making->timeline;
    size_t window = (size_t)(timeline->to - timeline->from) + 1, count = 0, kept = 0;
    struct tw_timeline_update *update =
        calloc(window + 1 + 2 * timeline->steps, sizeof *timeline->update);
    if (!update)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < window; i++)
        update[count++].version = timeline->from + i;
    update[count++].version = timeline->from - 1;
    for (size_t i = 0; i < timeline->steps; i++) {
        update[count++].version = timeline->step[i].read_version;
        update[count++].version = timeline->step[i].version;
    }
    qsort(update, count, sizeof *update, by_version);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || update[kept - 1].version != update[i].version)
            update[kept++] = update[i];
    for (size_t i = 0; i < kept; i++)
        if (update[i].version >= timeline->from && update[i].version <= timeline->to)
            update[i].contributions = making->gathers[update[i].version - timeline->from];
    timeline->update = update;
    timeline->updates = kept;
    return TW_OK;
}

enum tw_status tw_timeline_seal(struct tw_timeline *timeline, struct tw_error *error) {
    struct tw_timeline_making *making = making_of(timeline);
    if (timeline->steps > 0)
        qsort(timeline->step, timeline->steps, sizeof *timeline->step, by_worker);
    while (timeline->steps > 0 && timeline->step[timeline->steps - 1].worker == TW_TIMELINE_NONE)
        timeline->steps--; /* those to use again have come last */
    making->times = calloc(timeline->steps + 1, sizeof *making->times);
    if (!making->times)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    return list_versions(making, error);
}
