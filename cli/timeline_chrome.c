/* The trace event format (JSON) of Chrome's about:tracing, which Perfetto reads: complete
 * events "X" in microseconds, flows "s" "t" "f" for arrows, metadata "M" for names.
 * Spans of one thread do not overlap. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/timeline_draw.h"
#include "common/base/json.h"

enum { SERVER = 0, WORKERS = 1 };    /* processes */
enum { DECIDING = 0, APPLYING = 1 }; /* threads of the server */

struct trace {
    const struct tw_timeline *timeline;
    struct tw_json json;
    struct tw_timeline_drawn drawn;
};

static double microseconds(uint64_t ns) {
    return (double)ns / 1e3;
}

static void open_event(struct trace *t, const char *phase, const char *name, int process,
                       uint32_t thread) {
    tw_json_begin_object(&t->json, NULL);
    tw_json_string(&t->json, "ph", phase);
    tw_json_string(&t->json, "name", name);
    tw_json_integer(&t->json, "pid", process);
    tw_json_unsigned(&t->json, "tid", thread);
}

static void add_name(struct trace *t, const char *what, int process, uint32_t thread,
                     const char *name) {
    open_event(t, "M", what, process, thread);
    tw_json_begin_object(&t->json, "args");
    tw_json_string(&t->json, "name", name);
    tw_json_end_object(&t->json);
    tw_json_end_object(&t->json);
}

static void add_names(struct trace *t) {
    char name[32];
    add_name(t, "process_name", SERVER, 0, "server");
    add_name(t, "thread_name", SERVER, DECIDING, "prepare");
    add_name(t, "thread_name", SERVER, APPLYING, "apply");
    add_name(t, "process_name", WORKERS, 0, "workers");
    for (uint32_t w = 0; w < t->timeline->workers; w++) {
        snprintf(name, sizeof name, "worker %u", w);
        add_name(t, "thread_name", WORKERS, w, name);
    }
}

/* A span, still open for its args. */
static void open_span(struct trace *t, const char *name, int process, uint32_t thread,
                      uint64_t begin, uint64_t end) {
    open_event(t, "X", name, process, thread);
    tw_json_real(&t->json, "ts", microseconds(begin));
    tw_json_real(&t->json, "dur", microseconds(end - begin));
    tw_json_begin_object(&t->json, "args");
    t->drawn.spans++;
}

static void close_span(struct trace *t) {
    tw_json_end_object(&t->json);
    tw_json_end_object(&t->json);
}

static void add_update(struct trace *t, const struct tw_timeline_update *update) {
    char name[48];
    snprintf(name, sizeof name, "update %" PRIu64, update->version);
    if (update->prepared && update->prepared < update->committed) {
        open_span(t, name, SERVER, DECIDING, update->prepared, update->committed);
        close_span(t);
    }
    open_span(t, name, SERVER, APPLYING, update->applying, update->applied);
    tw_json_unsigned(&t->json, "version", update->version);
    tw_json_unsigned(&t->json, "gradients", update->contributions);
    tw_json_real(&t->json, "committed", microseconds(update->committed));
    close_span(t);
}

static void add_fate(struct trace *t, const struct tw_timeline_step *step) {
    static const char *const fate[] = {"open", "applied", "dropped"};
    tw_json_unsigned(&t->json, "step", step->step);
    tw_json_unsigned(&t->json, "version read", step->read_version);
    tw_json_string(&t->json, "gradient", fate[step->fate]);
    if (step->fate != TW_FATE_APPLIED)
        return;
    tw_json_unsigned(&t->json, "version applied", step->version);
    tw_json_unsigned(&t->json, "staleness", step->staleness);
}

static void add_step(struct trace *t, const struct tw_timeline_step *step) {
    for (int a = 0; a < TW_ACTIVITIES; a++) {
        if (step->at[a] == step->at[a + 1] && a != TW_ACTIVITY_COMPUTING)
            continue;
        open_span(t, tw_activity_name(a), WORKERS, step->worker, step->at[a], step->at[a + 1]);
        if (a == TW_ACTIVITY_COMPUTING)
            add_fate(t, step);
        close_span(t);
    }
}

static void add_flow(struct trace *t, const char *phase, uint64_t id, int process, uint32_t thread,
                     uint64_t time) {
    open_event(t, phase, "gradient", process, thread);
    tw_json_string(&t->json, "cat", "gradient");
    tw_json_unsigned(&t->json, "id", id);
    tw_json_real(&t->json, "ts", microseconds(time));
    if (*phase == 'f')
        tw_json_string(&t->json, "bp", "e"); /* to the span around it, not the next one */
    tw_json_end_object(&t->json);
}

/* From the version that was read, through the computing, to the update that has it. */
static void add_arrow(struct trace *t, const struct tw_timeline_step *step) {
    const struct tw_timeline_update *read = tw_timeline_update_of(t->timeline, step->read_version);
    uint64_t id = ++t->drawn.arrows, computing = step->at[TW_MOMENT_RECEIVED];
    if (read)
        add_flow(t, "s", id, SERVER, APPLYING, read->applying);
    if (step->drawn)
        add_flow(t, read ? "t" : "s", id, WORKERS, step->worker, computing);
    add_flow(t, "f", id, SERVER, APPLYING,
             tw_timeline_update_of(t->timeline, step->version)->applying);
}

struct tw_timeline_drawn tw_timeline_to_chrome(struct tw_text *out,
                                               const struct tw_timeline *timeline,
                                               const struct tw_timeline_look *look) {
    struct trace trace = {.timeline = timeline};
    struct trace *t = &trace;
    tw_json_init(&t->json, out);
    tw_json_begin_object(&t->json, NULL);
    tw_json_string(&t->json, "displayTimeUnit", "ms");
    tw_json_begin_object(&t->json, "otherData");
    tw_json_string(&t->json, "mode", look->mode);
    tw_json_string(&t->json, "note", look->note);
    tw_json_end_object(&t->json);
    tw_json_begin_array(&t->json, "traceEvents");
    add_names(t);
    for (size_t i = 0; i < timeline->updates; i++)
        if (timeline->update[i].committed)
            add_update(t, &timeline->update[i]);
    for (size_t i = 0; i < timeline->steps; i++) {
        const struct tw_timeline_step *step = &timeline->step[i];
        if (step->drawn)
            add_step(t, step);
        if (tw_timeline_wants_arrow(timeline, look, step))
            add_arrow(t, step);
    }
    tw_json_end_array(&t->json);
    tw_json_end_object(&t->json);
    tw_text_add(out, "\n");
    return t->drawn;
}
