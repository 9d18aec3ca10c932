#include "sim/reenact.h"

#include <stdlib.h>
#include <string.h>

/* What a run may begin again from. */
struct point {
    struct point *next; /* the one before it */
    struct tw_sequencer_snapshot snapshot;
};

struct tw_reenactment {
    struct tw_reenact_config config;
    struct tw_sequencer *sequencer;
    void *memory;
    struct point *last;
    bool over;
};

static enum tw_status no_memory(struct tw_error *error) {
    return tw_error_set(error, TW_NO_MEMORY, "no memory for a sequencer and its checkpoints");
}

/* No server turns to or from the mode that applies chunks as they come, and none gives permits
 * where workers go on while their pushes wait. */
static bool may_have(const struct tw_sequencer_config *config, const struct tw_dial *dial) {
    return dial->on_arrival == config->dial.on_arrival &&
           !(config->admission && tw_dial_ahead(dial));
}

static enum tw_status check_modes(const struct tw_sequencer_config *config,
                                  struct tw_error *error) {
    const struct tw_dial *dial = &config->dial;
    for (uint32_t i = 0; may_have(config, dial); i++) {
        if (i == config->turn_count)
            return TW_OK;
        dial = &config->turns[i].dial;
    }
    return tw_error_set(error, TW_DATA, "this run cannot have mode \"%s\"", dial->word);
}

static enum tw_status no_such_run(const struct tw_sequencer_config *config,
                                  struct tw_error *error) {
    return tw_error_set(error, TW_DATA,
                        "a run of %u workers on %u servers cannot be: there are from 1 to %d and "
                        "from 1 to %d",
                        config->workers, config->shards, TW_WORKERS_MAX, TW_SERVERS_MAX);
}

/* The sequencer's present snapshot, if it is a new one. */
static enum tw_status keep(struct tw_reenactment *r, struct tw_error *error) {
    const struct tw_sequencer_snapshot *now = tw_sequencer_snapshot(r->sequencer);
    if (r->last && r->last->snapshot.position == now->position)
        return TW_OK;
    struct point *point = malloc(sizeof(*point));
    uint64_t *step = malloc(now->workers * sizeof(*step));
    if (!point || !step) {
        free(point);
        free(step);
        return no_memory(error);
    }
    *point = (struct point){.next = r->last, .snapshot.step = step};
    tw_sequencer_snapshot_copy(&point->snapshot, now);
    r->last = point;
    return TW_OK;
}

static const struct tw_sequencer_snapshot *find(const struct tw_reenactment *r, uint64_t position) {
    for (const struct point *point = r->last; point; point = point->next)
        if (point->snapshot.position == position)
            return &point->snapshot;
    return NULL;
}

enum tw_status tw_reenact_new(struct tw_reenactment **out, const struct tw_reenact_config *config,
                              struct tw_error *error) {
    size_t bytes = tw_sequencer_bytes(&config->sequencer);
    *out = NULL;
    if (!bytes)
        return no_such_run(&config->sequencer, error);
    enum tw_status status = check_modes(&config->sequencer, error);
    if (status != TW_OK)
        return status;
    struct tw_reenactment *r = calloc(1, sizeof(*r));
    if (!r)
        return no_memory(error);
    r->config = *config;
    r->memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    status = r->memory ? TW_OK : no_memory(error);
    if (status == TW_OK) {
        r->sequencer = tw_sequencer_init(r->memory, &config->sequencer);
        status = keep(r, error);
    }
    if (status == TW_OK)
        *out = r;
    else
        tw_reenact_free(r);
    return status;
}

void tw_reenact_free(struct tw_reenactment *r) {
    while (r && r->last) {
        struct point *point = r->last;
        r->last = point->next;
        free(point->snapshot.step);
        free(point);
    }
    if (r)
        free(r->memory);
    free(r);
}

static enum tw_status check_mode(const struct tw_sequencer_config *config,
                                 const struct tw_dial *dial, const struct tw_trace_input *input,
                                 struct tw_error *error) {
    if (may_have(config, dial))
        return TW_OK;
    return tw_error_set(error, TW_DATA, "input %llu sets mode \"%s\", which this run cannot have",
                        (unsigned long long)input->sequence, dial->word);
}

/* A new process of the lead: nothing is left of the old one but what it saved. */
static enum tw_status begin_again(struct tw_reenactment *r, const struct tw_trace_input *input,
                                  struct tw_sequencer_event *event, struct tw_error *error) {
    const struct tw_sequencer_snapshot *from = find(r, input->read);
    if (!from || !input->incarnation)
        return tw_error_set(error, TW_DATA,
                            "input %llu begins again from position %llu, where no checkpoint was",
                            (unsigned long long)input->sequence, (unsigned long long)input->read);
    struct tw_dial dial;
    enum tw_status status = tw_dial_parse(from->mode, (struct tw_where){.file = "a checkpoint"},
                                          (int)from->workers, &dial, error);
    if (status == TW_OK)
        status = check_mode(&r->config.sequencer, &dial, input, error);
    if (status != TW_OK)
        return status;
    r->sequencer = tw_sequencer_init(r->memory, &r->config.sequencer);
    r->over = false;
    *event = (struct tw_sequencer_event){
        .kind = TW_SEQ_RESUME,
        .resume = {.from = from, .generation = input->incarnation, .position = input->number}};
    return TW_OK;
}

enum tw_status tw_reenact_input(struct tw_reenactment *r, const struct tw_trace_input *input,
                                struct tw_error *error) {
    const struct tw_sequencer_effect *effects;
    struct tw_sequencer_event event;
    enum tw_status status =
        input->kind == TW_INPUT_RESUME
            ? begin_again(r, input, &event, error)
            : tw_event_of_input(input, r->config.sequencer.workers, &event, error);
    /* By what the sequencer was made with: a new configuration begins with the next RESUME. */
    if (status == TW_OK && event.kind == TW_SEQ_TURN)
        status = check_mode(tw_sequencer_config_of(r->sequencer), &event.turn.dial, input, error);
    size_t count = status == TW_OK ? tw_sequencer_step(r->sequencer, &event, &effects) : 0;
    for (size_t i = 0; i < count && status == TW_OK; i++) {
        if (effects[i].kind == TW_SEQ_RECORD)
            status = r->config.record(r->config.context, &effects[i].record, error);
        r->over = r->over || effects[i].kind == TW_SEQ_FINISHED;
    }
    return status == TW_OK ? keep(r, error) : status;
}

enum tw_status tw_reenact_configure(struct tw_reenactment *r,
                                    const struct tw_sequencer_config *config,
                                    struct tw_error *error) {
    if (config->workers != r->config.sequencer.workers)
        return tw_error_set(error, TW_DATA, "a run of %u workers that goes on with %u",
                            r->config.sequencer.workers, config->workers);
    if (tw_sequencer_bytes(config) != tw_sequencer_bytes(&r->config.sequencer))
        return no_such_run(config, error);
    enum tw_status status = check_modes(config, error);
    if (status == TW_OK)
        r->config.sequencer = *config;
    return status;
}

uint64_t tw_reenact_version(const struct tw_reenactment *r) {
    return tw_sequencer_version(r->sequencer);
}

bool tw_reenact_is_over(const struct tw_reenactment *r) {
    return r->over;
}
