/* What is written and told of a simulation as it goes: the run directory of a real run, and
 * progress. */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/command.h"
#include "cli/simulation_state.h"

#define ORDER_BYTES (64 << 10) /* of the log that may wait */
#define PROGRESS_S 0.1
#define LOOKS 64 /* at whether to stop, between two looks at the clock */

double tw_wall_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void add_staleness(struct tw_simulating *s, const struct tw_record *record) {
    for (uint32_t i = 0; i < record->count; i++) {
        double staleness = (double)record->contributions[i].staleness;
        s->counts.staleness_squares += staleness * staleness;
    }
}

static void note_counts(struct tw_simulating *s, uint64_t position) {
    struct tw_timesheet_border *room = s->saved[0].border;
    s->counts.position = position;
    s->saved[0] = s->saved[1];
    s->saved[1] = s->counts;
    s->saved[1].border = room;
    if (room)
        tw_timesheet_keep(&s->sheet, room);
}

static void take_back_counts(struct tw_simulating *s, uint64_t position) {
    if (s->saved[1].position != position) { /* that one came to nothing */
        struct tw_simulated_counts nothing = s->saved[1];
        s->saved[1] = s->saved[0];
        s->saved[0] = nothing;
    }
    assert(s->saved[1].position == position);
    s->counts = s->saved[1];
    if (s->counts.border)
        tw_timesheet_take_back(&s->sheet, s->counts.border);
}

/* It stands still while training is held for the evaluator, and does not after the end. */
static void set_clock(struct tw_simulating *s, uint64_t now_ns) {
    bool holds = tw_sequencer_holding(tw_simulating_sequencer(s));
    tw_training_clock_set(&s->clock, s->started && !s->finished && !holds, now_ns);
    if (s->sheet_memory)
        tw_waiting_hold(s->sheet.account, holds, now_ns);
}

static void on_record(void *context, const struct tw_record *record, uint64_t now_ns) {
    struct tw_simulating *s = context;
    if (s->sheet_memory)
        tw_timesheet_record(&s->sheet, record, now_ns);
    if (record->kind == TW_RECORD_COMMIT)
        add_staleness(s, record);
    else if (record->kind == TW_RECORD_CHECKPOINT)
        note_counts(s, record->position);
    else if (record->kind == TW_RECORD_RELEASE && record->slot == TW_SLOT_EVALUATOR)
        set_clock(s, now_ns);
}

static void write_record(void *context, const struct tw_record *record, uint64_t now_ns) {
    struct tw_simulating *s = context;
    tw_order_writer_add(&s->order, record);
    tw_trace_record(&s->trace, record, now_ns);
    if (s->order.used > ORDER_BYTES)
        tw_order_writer_flush(&s->order);
    on_record(s, record, now_ns);
}

static void on_checkpoint(void *context, const struct tw_sequencer_snapshot *snapshot,
                          uint64_t now_ns) {
    struct tw_simulating *s = context;
    tw_checkpoint_writer_begin(&s->writer, snapshot, tw_node_generation(tw_world_lead(s->world)),
                               tw_simulating_seconds(s, now_ns), s->counts.borders.seconds);
}

static void on_saves(void *context, uint32_t server, const float *array) {
    struct tw_simulating *s = context;
    if (!tw_checkpoint_writer_add(&s->writer, server, array))
        return;
    tw_order_writer_flush(&s->order);
    tw_trace_flush(&s->trace);
    tw_checkpoint_writer_seal(&s->writer, s->order.failed.status == TW_OK);
    tw_checkpoint_writer_keep(&s->writer, s->order.file, (size_t)s->job->checkpoint.keep);
    tw_checkpoint_writer_tell(&s->writer);
}

static void on_input(void *context, const struct tw_sequencer_event *input, uint64_t now_ns) {
    struct tw_simulating *s = context;
    tw_trace_input(&s->trace, input, now_ns);
}

static void on_served(void *context, uint32_t rank, uint64_t position, uint64_t now_ns) {
    struct tw_simulating *s = context;
    if (s->has_order)
        tw_trace_served(&s->trace, rank, position, now_ns);
    tw_waiting_served(s->sheet.account, rank, now_ns);
}

static void on_heard(void *context, uint32_t rank, const struct tw_frame *frame, uint64_t now_ns) {
    struct tw_simulating *s = context;
    if (frame->body == TW_BODY_END)
        tw_waiting_arrived(s->sheet.account, rank, frame->end.step, now_ns);
    else
        tw_waiting_arriving(s->sheet.account, rank, now_ns);
}

static struct tw_report report_of(const struct tw_simulating *s, enum tw_report_kind kind) {
    struct tw_stretch total = tw_sequencer_total(tw_simulating_sequencer(s));
    struct tw_stretch stretch = tw_sequencer_stretch(tw_simulating_sequencer(s));
    double passed = tw_simulating_seconds(s, tw_world_now_ns(s->world));
    uint64_t n = s->server.train_samples;
    return (struct tw_report){
        .kind = kind,
        .updates = tw_sequencer_version(tw_simulating_sequencer(s)),
        .samples = total.examples,
        .samples_total = tw_server_samples_total(&s->server),
        .epoch = n ? (double)total.examples / (double)n : 0,
        .seconds = passed,
        .samples_per_second = passed > 0 ? (double)total.examples / passed : 0,
        .train_loss = stretch.examples ? stretch.loss / (double)stretch.examples
                                       : s->counts.borders.train_loss,
        .train_accuracy = s->counts.borders.train_accuracy,
        .test_loss = (double)NAN,
        .test_accuracy = (double)NAN,
        .staleness_mean = (double)NAN,
    };
}

static void tell_complete_borders(struct tw_simulating *s) {
    struct tw_border border;
    while (tw_borders_next(&s->counts.borders, &border)) {
        struct tw_report report = tw_border_report(&border);
        report.samples_total = tw_server_samples_total(&s->server);
        if (s->has_directory)
            tw_run_directory_add(&s->directory, &border);
        if (s->of->progress)
            tw_progress_report(s->of->progress, &report, tw_now_ms());
    }
}

void tw_simulating_let_go(struct tw_simulating *s) {
    tw_borders_let_go(&s->counts.borders);
    tell_complete_borders(s);
}

static void on_border(struct tw_simulating *s, const struct tw_node_event *event, uint64_t now_ns) {
    if (s->counts.borders.holds == TW_HELD_BORDERS)
        tw_simulating_let_go(s);
    struct tw_border *border = tw_borders_begin(&s->counts.borders, event, s->server.train_samples,
                                                tw_simulating_seconds(s, now_ns));
    if (s->sheet_memory)
        border->times = tw_timesheet_stretch(&s->sheet, now_ns);
    if (s->has_order)
        tw_steps_border(&s->steps, border);
    tell_complete_borders(s);
    set_clock(s, now_ns);
}

static void on_evaluated(struct tw_simulating *s, const struct tw_node_event *event,
                         uint64_t now_ns) {
    tw_borders_evaluated(&s->counts.borders, event);
    tell_complete_borders(s);
    set_clock(s, now_ns);
}

static void on_joined(struct tw_simulating *s, uint32_t rank, uint64_t now_ns) {
    bool reading = tw_sequencer_standing(tw_simulating_sequencer(s), rank).reading;
    if (s->sheet_memory)
        tw_waiting_here(s->sheet.account, rank, reading, now_ns);
}

static void on_verdict(struct tw_simulating *s, const struct tw_node_event *event) {
    if (event->verdict.on == TW_VERDICT_END)
        snprintf(s->result->stopped, sizeof s->result->stopped, "%s",
                 tw_stop_name(event->verdict.stop));
}

static void on_event(void *context, const struct tw_node_event *event, uint64_t now_ns) {
    struct tw_simulating *s = context;
    if (s->sheet_memory)
        tw_timesheet_event(&s->sheet, event, now_ns);
    switch (event->kind) {
    case TW_EVENT_BORDER:
        on_border(s, event, now_ns);
        break;
    case TW_EVENT_EVALUATED:
        on_evaluated(s, event, now_ns);
        break;
    case TW_EVENT_STARTED: /* once more where the run was begun again: its seconds go on */
    case TW_EVENT_EVALUATOR:
    case TW_EVENT_FINISHED:
        s->started |= event->kind == TW_EVENT_STARTED;
        s->finished |= event->kind == TW_EVENT_FINISHED;
        set_clock(s, now_ns);
        break;
    case TW_EVENT_JOINED:
        on_joined(s, event->rank, now_ns);
        break;
    case TW_EVENT_EVICTED:
        s->evicted++;
        break;
    case TW_EVENT_VERDICT:
        on_verdict(s, event);
        break;
    default:
        break;
    }
}

/* What goes to files, too. */
static void write_event(void *context, const struct tw_node_event *event, uint64_t now_ns) {
    struct tw_simulating *s = context;
    tw_trace_event(&s->trace, event, now_ns);
    if (event->kind == TW_EVENT_SAMPLED)
        tw_steps_sampled(&s->steps, event);
    on_event(s, event, now_ns);
}

static void note_unwritten(struct tw_simulating *s, const struct tw_error *failure) {
    if (s->unwritten.status == TW_OK)
        s->unwritten = *failure;
}

/* What `talweg run --resume` does to the files of a run; but times go on. */
static enum tw_status open_again(struct tw_simulating *s, uint32_t generation, uint64_t version,
                                 struct tw_error *error) {
    const char *out = s->of->out;
    tw_checkpoint_writer_give_up(&s->writer);
    tw_run_directory_close(&s->directory);
    tw_trace_close(&s->trace);
    note_unwritten(s, &s->directory.failed);
    note_unwritten(s, &s->trace.writer.failed);
    enum tw_status status = tw_run_directory_open(&s->directory, out, (int64_t)version, error);
    if (status == TW_OK)
        status = tw_trace_put_by(out, generation - 1, error);
    return status == TW_OK
               ? tw_trace_open(&s->trace, s->job,
                               tw_sequencer_config_of(tw_simulating_sequencer(s)), out, 0, error)
               : status;
}

static void tell_again(const struct tw_simulating *s, const struct tw_sequencer_snapshot *from,
                       uint32_t generation) {
    struct tw_report report = {.kind = TW_REPORT_RESUMED};
    if (from->position)
        snprintf(report.text, sizeof report.text,
                 "going on from the checkpoint after update %" PRIu64 " (generation %u)",
                 from->version, generation);
    else
        snprintf(report.text, sizeof report.text,
                 "no checkpoint was taken: beginning again from the start (generation %u)",
                 generation);
    if (s->of->progress)
        tw_progress_report(s->of->progress, &report, tw_now_ms());
}

static void on_again(void *context, const struct tw_sequencer_snapshot *from, uint32_t generation,
                     uint64_t died_ns, uint64_t now_ns) {
    struct tw_simulating *s = context;
    struct tw_borders *borders = &s->counts.borders;
    take_back_counts(s, from->position);
    borders->holds = 0; /* nobody evaluates those any more */
    borders->samples = from->total.examples - from->stretch.examples;
    s->evicted = 0;
    s->result->stopped[0] = '\0';
    if (s->sheet_memory)
        tw_waiting_again(s->sheet.account, died_ns);
    set_clock(s, now_ns);
    tell_again(s, from, generation);
    if (s->has_order)
        tw_steps_forget(&s->steps);
    if (s->has_order && s->failed.status == TW_OK)
        open_again(s, generation, from->version, &s->failed);
}

static bool stops(void *context) {
    struct tw_simulating *s = context;
    if (s->failed.status != TW_OK || s->order.failed.status != TW_OK)
        return true;
    double now = s->of->progress && ++s->looks % LOOKS == 0 ? tw_wall_seconds() : 0;
    if (now - s->told_s > PROGRESS_S) {
        struct tw_report report = report_of(s, TW_REPORT_PROGRESS);
        s->told_s = now;
        tw_progress_report(s->of->progress, &report, tw_now_ms());
    }
    return *s->of->stop != 0;
}

void tw_simulating_listens(const struct tw_simulating *s, struct tw_world_program *program) {
    program->record = s->of->out ? write_record : on_record;
    program->event = s->of->out ? write_event : on_event;
    program->again = on_again;
    program->stops = stops;
    if (tw_simulating_keeps_account(s)) {
        program->served = on_served;
        program->heard = on_heard;
    }
    if (!s->of->out)
        return;
    program->checkpoint = on_checkpoint;
    program->saves = on_saves;
    program->input = on_input;
}

void tw_simulating_tell_times(struct tw_simulating *s) {
    struct tw_report report = {.kind = TW_REPORT_TIMES};
    uint64_t now_ns = tw_world_now_ns(s->world);
    bool any = s->of->progress && tw_sequencer_version(tw_simulating_sequencer(s));
    for (uint32_t line = 0; any && tw_timesheet_line(&s->sheet, now_ns, line, &report.rank,
                                                     report.text, sizeof report.text);
         line++)
        tw_progress_report(s->of->progress, &report, tw_now_ms());
    report = (struct tw_report){.kind = TW_REPORT_STEPS};
    if (any && s->has_order && tw_steps_words(&s->steps, report.text, sizeof report.text))
        tw_progress_report(s->of->progress, &report, tw_now_ms());
}

/* ---- files ---- */

static enum tw_status open_writer(struct tw_simulating *s, struct tw_error *error) {
    static const uint8_t id[TW_JOB_ID_BYTES];
    const struct tw_checkpoint_of of = {
        .run = s->of->out,
        .layout = &s->plan.layout,
        .arrays = tw_shard_arrays_of(tw_node_shard(tw_world_lead(s->world))),
        .workers = (uint32_t)s->job->workers,
        .digest = s->digest,
        .id = id,
    };
    return tw_checkpoint_writer_init(&s->writer, &of, error);
}

/* Of where time goes, with its last border at each of two checkpoints. */
static enum tw_status make_account(struct tw_simulating *s, struct tw_error *error) {
    uint32_t workers = (uint32_t)s->job->workers;
    size_t bytes = tw_timesheet_bytes(workers), border = tw_timesheet_border_bytes(workers);
    unsigned char *memory = tw_simulating_keeps_account(s) ? calloc(1, bytes + 2 * border) : NULL;
    if (!memory)
        return tw_simulating_keeps_account(s)
                   ? tw_error_set(error, TW_NO_MEMORY, "no memory for the account of %u workers",
                                  workers)
                   : TW_OK;
    s->sheet_memory = memory;
    tw_timesheet_init(&s->sheet, memory, workers);
    s->saved[0].border = (void *)(memory + bytes);
    s->saved[1].border = (void *)(memory + bytes + border);
    return TW_OK;
}

enum tw_status tw_simulating_open(struct tw_simulating *s, struct tw_error *error) {
    const char *out = s->of->out;
    enum tw_status status = make_account(s, error);
    if (status != TW_OK || !out)
        return status;
    uint32_t width = (uint32_t)(s->job->slots / s->job->workers);
    status = tw_steps_init(&s->steps, &s->server);
    if (status != TW_OK)
        return tw_error_set(error, status, "no memory for how far updates move the weights");
    status = tw_run_directory_open(&s->directory, out, -1, error);
    s->has_directory = status == TW_OK;
    if (status == TW_OK)
        status = tw_order_writer_open(&s->order, out, width, -1, error);
    s->has_order = status == TW_OK;
    if (status == TW_OK)
        status = open_writer(s, error);
    return status == TW_OK
               ? tw_trace_open(&s->trace, s->job,
                               tw_sequencer_config_of(tw_simulating_sequencer(s)), out, 0, error)
               : status;
}

void tw_simulating_close(struct tw_simulating *s) {
    tw_checkpoint_writer_fini(&s->writer);
    if (s->has_order)
        tw_order_writer_close(&s->order);
    if (s->has_order)
        tw_trace_close(&s->trace);
    if (s->has_directory)
        tw_run_directory_close(&s->directory);
    tw_steps_fini(&s->steps);
    free(s->sheet_memory);
}
