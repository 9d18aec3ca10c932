#include "cli/explainer.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/delay_file.h"
#include "cli/log_history.h"
#include "cli/log_text.h"
#include "cli/server_config.h"
#include "cli/trace_file.h"
#include "common/base/json.h"
#include "sim/reenact.h"

struct explaining {
    struct tw_explained *out;
    const char *run;
    const struct tw_checked_job *checked;
    struct tw_server_config server;
    struct tw_server_plan plan;
    struct tw_delay_times times;
    struct tw_reenactment *reenactment;
    struct tw_log_history history;
    struct tw_log_file log;
    bool any;              /* trace.log */
    bool ended;            /* order.log is */
    bool waits;            /* `next` is a record that was read and not compared yet */
    struct tw_record next; /* of order.log */
    uint64_t inputs;       /* of this generation, so far */
    uint64_t pending;      /* records that followed, and that order.log does not have, so far */
    uint32_t width;        /* slots of a rank */
    struct tw_contribution named[TW_RECORD_CONTRIBUTIONS_MAX];
    unsigned char ours[TW_ORDER_LOG_RECORD_MAX], theirs[TW_ORDER_LOG_RECORD_MAX];
};

/* ---- comparing ---- */

/* The next record of order.log into e->next; false: there is none. How the log ends was said by its
 * history. */
static bool look(struct explaining *e) {
    struct tw_error error;
    if (!e->waits && !e->ended) {
        e->waits = tw_log_file_next(&e->log, &e->next, &error) == TW_OK;
        e->ended = !e->waits;
    }
    return e->waits;
}

static void compare(struct explaining *e, const struct tw_record *ours) {
    struct tw_explained *out = e->out;
    size_t size = tw_order_log_pack(ours, e->ours);
    e->waits = false;
    if (tw_order_log_pack(&e->next, e->theirs) == size && memcmp(e->ours, e->theirs, size) == 0) {
        out->records++;
        return;
    }
    out->differs = ours->position;
    tw_text_clear(&out->here);
    tw_record_to_text(&out->here, ours);
    tw_record_to_text(&out->logged, &e->next);
}

/* A lead that is killed may have written fewer records than inputs, or fewer inputs than records:
 * the ROLLBACK of the next one is where both meet again. */
static enum tw_status on_record(void *context, const struct tw_record *record,
                                struct tw_error *error) {
    struct explaining *e = context;
    if (e->out->differs)
        return TW_OK;
    struct tw_record ours = *record;
    tw_record_name_slots(&ours, e->width, e->named);
    bool back = record->kind == TW_RECORD_ROLLBACK;
    while (back && look(e) && e->next.kind != TW_RECORD_ROLLBACK) {
        e->out->unexplained++;
        e->waits = false;
    }
    if (!look(e) || (!back && e->next.kind == TW_RECORD_ROLLBACK)) {
        e->out->unwritten++;
        if (!e->pending++) {
            tw_text_clear(&e->out->here);
            tw_record_to_text(&e->out->here, &ours);
        }
        return TW_OK;
    }
    e->pending = 0;
    compare(e, &ours);
    return TW_OK;
}

/* The record that order.log has and that did not follow, or, if it has none, that followed. */
static void miss(struct explaining *e, uint64_t position) {
    if (e->out->differs)
        return;
    e->out->differs = look(e) ? e->next.position : position;
    if (e->waits) {
        tw_text_clear(&e->out->here);
        tw_record_to_text(&e->out->logged, &e->next);
    }
}

/* Updates are told of behind the inputs that they follow from. */
static void check_update(struct explaining *e, const struct tw_trace_update *update) {
    if (e->out->inputs && tw_reenact_version(e->reenactment) < update->version)
        miss(e, e->history.position);
}

/* A lead that is killed says no more of either; one whose run is over has said all. */
static void compare_ends(struct explaining *e) {
    bool over = tw_reenact_is_over(e->reenactment);
    if (over && (e->pending || look(e))) {
        miss(e, e->history.position + 1);
        e->out->unwritten -= e->pending; /* it was not killed */
    }
    while (!e->out->differs && look(e)) {
        e->out->unexplained++;
        e->waits = false;
    }
    if (!e->out->differs)
        tw_text_clear(&e->out->here);
}

/* ---- reading ---- */

static enum tw_status take_input(struct explaining *e, const struct tw_trace_input *input,
                                 struct tw_error *error) {
    if (input->sequence != e->inputs + 1)
        return tw_error_set(error, TW_DATA,
                            "input %" PRIu64 " is missing: %" PRIu64 " follows %" PRIu64,
                            e->inputs + 1, input->sequence, e->inputs);
    e->inputs++;
    e->out->inputs++;
    return tw_reenact_input(e->reenactment, input, error);
}

/* All that may differ from generation to generation, and from the job, is in the header. */
static enum tw_status begin_generation(struct explaining *e, const struct tw_trace_header *header,
                                       struct tw_error *error) {
    static const uint8_t id[TW_JOB_ID_BYTES];
    struct tw_node_config node;
    struct tw_reenact_config config = {.context = e, .record = on_record};
    e->inputs = 0;
    if (header->workers != (uint32_t)e->checked->job->workers)
        return tw_error_set(error, TW_DATA, "is of %u workers, and the job of %d", header->workers,
                            e->checked->job->workers);
    tw_server_node_config(&e->server, &e->plan.layout, &e->plan.memory[0], id, 0, &node);
    config.sequencer = node.sequencer;
    config.sequencer.shards = header->servers;
    config.sequencer.inexact = header->inexact != 0;
    config.sequencer.evaluator = header->evaluator != 0;
    config.sequencer.admission = header->admission != 0;
    config.sequencer.checkpoint_every = header->checkpoint_every;
    return e->reenactment ? tw_reenact_configure(e->reenactment, &config.sequencer, error)
                          : tw_reenact_new(&e->reenactment, &config, error);
}

static enum tw_status on_entry(void *context, const struct tw_trace_header *header,
                               const struct tw_trace_entry *entry, struct tw_error *error) {
    struct explaining *e = context;
    enum tw_status status = TW_OK;
    e->any = true;
    if (entry->kind == TW_TRACE_HEADER)
        status = begin_generation(e, header, error);
    if (entry->kind == TW_TRACE_INPUT)
        status = take_input(e, &entry->input, error);
    if (status != TW_OK)
        return status;
    if (entry->kind == TW_TRACE_UPDATE)
        check_update(e, &entry->update);
    return tw_delay_times_of_entry(&e->times, header, entry, error);
}

static enum tw_status explain(struct explaining *e, struct tw_error *error) {
    struct tw_error end;
    enum tw_status status = tw_log_history_read(&e->history, e->run, &end, error);
    if (status == TW_OK && end.status != TW_CLOSED && !e->history.torn)
        status = tw_error_set(error, TW_DATA, "%s", end.text);
    if (status == TW_OK)
        status = tw_log_file_open(&e->log, e->run, error);
    if (status == TW_OK)
        status = tw_server_plan_make(&e->plan, e->checked, &e->server, error);
    if (status == TW_OK)
        status = tw_trace_files_read(e->run, e->history.generation, on_entry, e, error);
    if (status != TW_OK)
        return status;
    if (e->out->inputs)
        compare_ends(e);
    e->out->has_fit = tw_delay_fit(&e->times, &e->out->fit, &e->out->no_fit) == TW_OK;
    if (!e->any)
        tw_error_set(&e->out->no_fit, TW_DATA,
                     "this run has no trace.log, which would have how long steps took (trace: {on: "
                     "true})");
    return TW_OK;
}

enum tw_status tw_explain(const char *run, const struct tw_checked_job *checked,
                          struct tw_explained *out, struct tw_error *error) {
    *out = (struct tw_explained){.inputs = 0};
    struct explaining *e = calloc(1, sizeof *e);
    if (!e)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    *e = (struct explaining){.out = out,
                             .run = run,
                             .checked = checked,
                             .server = tw_server_config_of(checked),
                             .log.file.fd = -1,
                             .width = (uint32_t)(checked->job->slots / checked->job->workers)};
    enum tw_status status = explain(e, error);
    tw_reenact_free(e->reenactment);
    tw_delay_times_fini(&e->times);
    tw_log_file_close(&e->log);
    tw_log_history_fini(&e->history);
    tw_server_plan_fini(&e->plan);
    free(e);
    return status;
}

void tw_explained_fini(struct tw_explained *explained) {
    tw_text_fini(&explained->here);
    tw_text_fini(&explained->logged);
}

/* ---- telling ---- */

void tw_explained_law(const struct tw_explained *explained, struct tw_text *out) {
    const struct tw_delay_fit *fit = &explained->fit;
    bool differ = fit->machine_cv.value > 0;
    tw_text_add(out, "%s:mean=%.6g", differ ? "heterogeneous_gamma" : "gamma", fit->mean.value);
    if (differ)
        tw_text_add(out, ",machine_cv=%.6g", fit->machine_cv.value);
    tw_text_add(out, ",cv=%.6g", fit->cv.value);
}

static void add_fitted(struct tw_text *out, const char *name, struct tw_fitted fitted,
                       const char *unit, const char *text) {
    tw_text_add(out, "  %-11s %-9.4g", name, fitted.value);
    if (isfinite(fitted.error))
        tw_text_add(out, " +- %.2g%s", fitted.error, unit);
    tw_text_add(out, "   %s\n", text);
}

static void add_fit(struct tw_text *out, const struct tw_explained *explained) {
    const struct tw_delay_fit *fit = &explained->fit;
    if (!explained->has_fit) {
        tw_text_add(out, "no delay law: %s\n", explained->no_fit.text);
        return;
    }
    tw_text_add(out,
                "steps: %zu of %u worker%s, without the first that each process made; fitted by "
                "moments:\n",
                fit->steps, fit->workers, fit->workers == 1 ? "" : "s");
    add_fitted(out, "mean", fit->mean, " s", "over workers");
    add_fitted(out, "cv", fit->cv, "", "of a worker's steps: standard deviation / mean");
    if (fit->workers > 1)
        add_fitted(out, "machine_cv", fit->machine_cv, "", "of the workers' means");
    tw_text_add(out, "  --delay ");
    tw_explained_law(explained, out);
    tw_text_add(out, "\n");
}

static bool look_alike(const struct tw_explained *explained) {
    const struct tw_text *a = &explained->here, *b = &explained->logged;
    return a->size && a->size == b->size && memcmp(a->at, b->at, a->size) == 0;
}

static void add_order(struct tw_text *out, const struct tw_explained *explained) {
    if (!explained->inputs) {
        tw_text_add(out,
                    "what the lead was told was not kept (trace: {on: true, inputs: true}), so "
                    "the order is not made again\n");
        return;
    }
    tw_text_add(out, "order: %" PRIu64 " inputs of the lead give %" PRIu64 " record%s",
                explained->inputs, explained->records, explained->records == 1 ? "" : "s");
    if (!explained->differs)
        tw_text_add(out, ", the same as order.log's\n");
    else
        tw_text_add(out,
                    " as order.log has them; record %" PRIu64
                    " differs\n  order.log: %s  here:      %s%s",
                    explained->differs, explained->logged.size ? explained->logged.at : "nothing\n",
                    explained->here.size ? explained->here.at : "nothing\n",
                    look_alike(explained) ? "  (in bytes that these lines round)\n" : "");
    if (explained->unwritten)
        tw_text_add(out, "  %" PRIu64 " more follow that a lead which was killed did not write\n",
                    explained->unwritten);
    if (explained->unexplained)
        tw_text_add(
            out, "  %" PRIu64 " more of order.log came after the last inputs that were written\n",
            explained->unexplained);
}

void tw_explained_text(const struct tw_explained *explained, const char *run, struct tw_text *out) {
    tw_text_add(out, "%s\n", run);
    add_order(out, explained);
    add_fit(out, explained);
}

static void fitted_json(struct tw_json *json, const char *name, struct tw_fitted fitted) {
    tw_json_begin_object(json, name);
    tw_json_real(json, "value", fitted.value);
    tw_json_real(json, "standard_error", fitted.error);
    tw_json_end_object(json);
}

static void fit_json(struct tw_json *json, const struct tw_explained *explained) {
    const struct tw_delay_fit *fit = &explained->fit;
    struct tw_text law = {0};
    if (!explained->has_fit) {
        tw_json_null(json, "delay");
        return;
    }
    tw_explained_law(explained, &law);
    tw_json_begin_object(json, "delay");
    tw_json_string(json, "law", law.failed ? "" : law.at);
    tw_json_unsigned(json, "steps", fit->steps);
    tw_json_unsigned(json, "workers", fit->workers);
    fitted_json(json, "mean", fit->mean);
    fitted_json(json, "cv", fit->cv);
    fitted_json(json, "machine_cv", fit->machine_cv);
    tw_json_end_object(json);
    tw_text_fini(&law);
}

void tw_explained_json(const struct tw_explained *explained, const char *run, struct tw_text *out) {
    struct tw_json json;
    tw_json_init(&json, out);
    tw_json_begin_object(&json, NULL);
    tw_json_string(&json, "status", explained->differs ? "failed" : "done");
    tw_json_string(&json, "run", run);
    tw_json_unsigned(&json, "inputs", explained->inputs);
    tw_json_unsigned(&json, "records", explained->records);
    if (explained->differs)
        tw_json_unsigned(&json, "differs", explained->differs);
    else
        tw_json_null(&json, "differs");
    tw_json_unsigned(&json, "unwritten", explained->unwritten);
    tw_json_unsigned(&json, "unexplained", explained->unexplained);
    fit_json(&json, explained);
    tw_json_end_object(&json);
    tw_text_add(out, "\n");
}
