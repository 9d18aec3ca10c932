#include "cli/log_text.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "common/base/json.h"
#include "server/core/verdict.h"

static bool has_contributions(const struct tw_record *record) {
    return record->kind == TW_RECORD_COMMIT || record->kind == TW_RECORD_DROP ||
           (record->kind == TW_RECORD_PERMIT && record->count);
}

/* ---- text ---- */

static void add_contributions(struct tw_text *out, const struct tw_record *record) {
    for (uint32_t i = 0; i < record->count; i++) {
        const struct tw_contribution *c = &record->contributions[i];
        tw_text_add(out, "%s slot %u step %" PRIu64 " read %" PRIu64 " staleness %" PRIu64,
                    i ? ";" : "", c->slot, c->step, c->read, c->staleness);
    }
}

static double lowest(const struct tw_record *record) {
    double least = record->ratios[0];
    for (uint32_t t = 1; t < record->ratio_count; t++)
        least = fmin(least, record->ratios[t]);
    return least;
}

static double highest(const struct tw_record *record) {
    double most = record->ratios[0];
    for (uint32_t t = 1; t < record->ratio_count; t++)
        most = fmax(most, record->ratios[t]);
    return most;
}

static void add_commit(struct tw_text *out, const struct tw_record *record) {
    tw_text_add(out, "%" PRIu64 " examples", record->examples);
    if (record->examples > 0)
        tw_text_add(out, ", mean loss %.6g", record->loss / (double)record->examples);
    tw_text_add(out, ", rate %.6g", record->rate);
    if (record->divisor != 0)
        tw_text_add(out, ", divided by %.6g", record->divisor);
    if (record->ratio_count)
        tw_text_add(out, ", ratios %.3g to %.3g", lowest(record), highest(record));
    if (record->chunks.chunks)
        tw_text_add(out, ", chunks %.3g stale, at most %" PRIu64,
                    (double)record->chunks.sum / (double)record->chunks.chunks,
                    record->chunks.most);
    tw_text_add(out, ":");
    add_contributions(out, record);
}

static void add_permit(struct tw_text *out, const struct tw_record *record) {
    tw_text_add(out, record->count ? "for the next update:" : "taken back");
    for (uint32_t i = 0; i < record->count; i++) {
        const struct tw_contribution *c = &record->contributions[i];
        tw_text_add(out, "%s slot %u step %" PRIu64, i ? ";" : "", c->slot, c->step);
    }
}

/* A file may hold anything. */
static void add_clean(struct tw_text *out, const char *text) {
    size_t start = out->size;
    tw_text_add(out, "%s", text);
    if (!out->failed)
        tw_text_clean(out->at + start);
}

/* What it is on, as one word; of one that ends the run: by what. */
static const char *verdict_on(const struct tw_record *record) {
    return record->verdict.on == TW_VERDICT_END ? "end" : "rate";
}

static void add_verdict(struct tw_text *out, const struct tw_verdict *verdict) {
    if (verdict->stop == TW_STOP_GRADIENT) {
        tw_text_add(out, "the end: norm of the gradient %.6g", verdict->loss);
        return;
    }
    tw_text_add(out, "loss %.6g, best %.6g, %" PRIu64 " in a row without a better one",
                verdict->loss, verdict->best, verdict->bad);
    if (verdict->on == TW_VERDICT_END) {
        tw_text_add(out, "%s", verdict->stop ? ": the end" : ", it goes on");
        return;
    }
    if (verdict->cooldown)
        tw_text_add(out, ", not counted for %" PRIu64 " more", verdict->cooldown);
    tw_text_add(out, ", rate reduced %" PRIu64 " times", verdict->reductions);
}

void tw_record_to_text(struct tw_text *out, const struct tw_record *record) {
    tw_text_add(out, "%8" PRIu64 "  version %-7" PRIu64 " %-8s ", record->position, record->version,
                tw_record_name(record->kind));
    switch (record->kind) {
    case TW_RECORD_JOIN:
        tw_text_add(out, "rank %u, incarnation %u, slot %u, numerics ", record->rank,
                    record->incarnation, record->slot);
        add_clean(out, record->numerics);
        break;
    case TW_RECORD_RELEASE:
        if (record->slot == TW_SLOT_EVALUATOR)
            tw_text_add(out, "to the evaluator, number %" PRIu64, record->step);
        else
            tw_text_add(out, "to slot %u, step %" PRIu64, record->slot, record->step);
        if (record->rate != 0)
            tw_text_add(out, ", rate %.6g", record->rate);
        break;
    case TW_RECORD_COMMIT:
        add_commit(out, record);
        break;
    case TW_RECORD_DROP:
        tw_text_add(out, record->not_finite ? "not finite:" : "not applied:");
        add_contributions(out, record);
        break;
    case TW_RECORD_REGATHER:
        tw_text_add(out, "all send again");
        break;
    case TW_RECORD_PERMIT:
        add_permit(out, record);
        break;
    case TW_RECORD_DIAL:
        tw_text_add(out, "from here on ");
        add_clean(out, record->mode);
        break;
    case TW_RECORD_EVICT:
        tw_text_add(out, "rank %u, slot %u", record->rank, record->slot);
        break;
    case TW_RECORD_VERDICT:
        add_verdict(out, &record->verdict);
        break;
    case TW_RECORD_ROLLBACK:
        tw_text_add(out, "generation %u goes on from %s, position %" PRIu64 ", mode ",
                    record->generation, record->to ? "the checkpoint" : "the start", record->to);
        add_clean(out, record->mode);
        break;
    case TW_RECORD_CHECKPOINT:
        tw_text_add(out, "all is being saved");
        break;
    }
    tw_text_add(out, "\n");
}

/* ---- CSV ---- */

void tw_record_csv_head(struct tw_text *out) {
    tw_text_add(out, "position,version,record,rank,incarnation,numerics,slot,step,read,staleness,"
                     "examples,loss,scalars,rate,mode,divisor,ratios,reductions,on,"
                     "chunks,chunk_staleness,chunk_staleness_max\n");
}

static void add_scalars(struct tw_text *out, const struct tw_record *record) {
    for (size_t i = 0; i < tw_record_scalar_count(record); i++) {
        tw_text_add(out, "%s", i ? " " : "");
        tw_text_add_real(out, record->scalars[i]);
    }
}

static void add_ratios(struct tw_text *out, const struct tw_record *record) {
    for (uint32_t t = 0; t < record->ratio_count; t++) {
        tw_text_add(out, "%s", t ? " " : "");
        tw_text_add_real(out, record->ratios[t]);
    }
}

static void add_quoted(struct tw_text *out, const char *text) {
    tw_text_add(out, "\"");
    for (; *text; text++)
        tw_text_add(out, *text == '"' ? "\"\"" : "%c", *text);
    tw_text_add(out, "\"");
}

void tw_record_to_csv(struct tw_text *out, const struct tw_record *record) {
    uint32_t rows = has_contributions(record) ? record->count : 1;
    for (uint32_t i = 0; i < rows; i++) {
        tw_text_add(out, "%" PRIu64 ",%" PRIu64 ",%s,", record->position, record->version,
                    tw_record_name(record->kind));
        if (record->kind == TW_RECORD_JOIN) {
            tw_text_add(out, "%u,%u,", record->rank, record->incarnation);
            add_quoted(out, record->numerics);
            tw_text_add(out, ",%u,,,,,,,,,", record->slot);
        } else if (record->kind == TW_RECORD_RELEASE && record->slot == TW_SLOT_EVALUATOR) {
            tw_text_add(out, ",,,evaluator,%" PRIu64 ",,,,,,,,", record->step);
        } else if (record->kind == TW_RECORD_RELEASE) {
            tw_text_add(out, ",,,%u,%" PRIu64 ",,,,,,,,", record->slot, record->step);
        } else if (has_contributions(record)) {
            const struct tw_contribution *c = &record->contributions[i];
            tw_text_add(out, ",,,%u,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",", c->slot,
                        c->step, c->read, c->staleness, c->examples);
            tw_text_add_real(out, c->loss);
            tw_text_add(out, ",");
            add_scalars(out, record);
            tw_text_add(out, ",");
            if (record->kind == TW_RECORD_COMMIT)
                tw_text_add_real(out, record->rate);
            tw_text_add(out, ",,");
            if (record->kind == TW_RECORD_COMMIT)
                tw_text_add_real(out, record->divisor);
        } else if (record->kind == TW_RECORD_DIAL) {
            tw_text_add(out, ",,,,,,,,,,,");
            add_quoted(out, record->mode);
            tw_text_add(out, ",");
        } else if (record->kind == TW_RECORD_EVICT) {
            tw_text_add(out, "%u,,,%u,,,,,,,,,", record->rank, record->slot);
        } else if (record->kind == TW_RECORD_VERDICT) {
            tw_text_add(out, ",,,,,,,,");
            tw_text_add_real(out, record->verdict.loss);
            tw_text_add(out, ",,,,");
        } else if (record->kind == TW_RECORD_ROLLBACK) {
            tw_text_add(out, ",%u,,,,%" PRIu64 ",,,,,,", record->generation, record->to);
            add_quoted(out, record->mode);
            tw_text_add(out, ",");
        } else {
            tw_text_add(out, ",,,,,,,,,,,,");
        }
        tw_text_add(out, ",");
        add_ratios(out, record);
        tw_text_add(out, ",");
        if (record->kind == TW_RECORD_VERDICT)
            tw_text_add(out, "%" PRIu64 ",%s", record->verdict.reductions, verdict_on(record));
        else
            tw_text_add(out, ",");
        if (record->kind == TW_RECORD_COMMIT && record->chunks.chunks)
            tw_text_add(out, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n", record->chunks.chunks,
                        record->chunks.sum, record->chunks.most);
        else
            tw_text_add(out, ",,,\n");
    }
}

/* ---- JSON ---- */

static void write_contributions(struct tw_json *json, const struct tw_record *record) {
    tw_json_begin_array(json, "contributions");
    for (uint32_t i = 0; i < record->count; i++) {
        const struct tw_contribution *c = &record->contributions[i];
        tw_json_begin_object(json, NULL);
        tw_json_unsigned(json, "slot", c->slot);
        tw_json_unsigned(json, "step", c->step);
        tw_json_unsigned(json, "read", c->read);
        tw_json_unsigned(json, "staleness", c->staleness);
        tw_json_unsigned(json, "examples", c->examples);
        tw_json_real(json, "loss", c->loss);
        tw_json_end_object(json);
    }
    tw_json_end_array(json);
}

static void write_pushes(struct tw_json *json, const struct tw_record *record) {
    tw_json_begin_array(json, "pushes");
    for (uint32_t i = 0; i < record->count; i++) {
        tw_json_begin_object(json, NULL);
        tw_json_unsigned(json, "slot", record->contributions[i].slot);
        tw_json_unsigned(json, "step", record->contributions[i].step);
        tw_json_unsigned(json, "read", record->contributions[i].read);
        tw_json_end_object(json);
    }
    tw_json_end_array(json);
}

static void write_scalars(struct tw_json *json, const struct tw_record *record) {
    tw_json_begin_array(json, "scalars");
    for (size_t i = 0; i < tw_record_scalar_count(record); i++)
        tw_json_real(json, NULL, record->scalars[i]);
    tw_json_end_array(json);
}

static void write_commit(struct tw_json *json, const struct tw_record *record) {
    write_contributions(json, record);
    tw_json_unsigned(json, "examples", record->examples);
    tw_json_real(json, "loss", record->loss);
    tw_json_real(json, "rate", record->rate);
    tw_json_real(json, "divisor", record->divisor);
    write_scalars(json, record);
    if (record->chunks.chunks) {
        tw_json_unsigned(json, "chunks", record->chunks.chunks);
        tw_json_unsigned(json, "chunk_staleness", record->chunks.sum);
        tw_json_unsigned(json, "chunk_staleness_max", record->chunks.most);
    }
    if (!record->ratio_count)
        return;
    tw_json_begin_array(json, "ratios");
    for (uint32_t t = 0; t < record->ratio_count; t++)
        tw_json_real(json, NULL, record->ratios[t]);
    tw_json_end_array(json);
}

static void write_release(struct tw_json *json, const struct tw_record *record) {
    if (record->slot == TW_SLOT_EVALUATOR)
        tw_json_string(json, "slot", "evaluator");
    else
        tw_json_unsigned(json, "slot", record->slot);
    tw_json_unsigned(json, "step", record->step);
    if (record->rate == 0)
        return;
    tw_json_real(json, "rate", record->rate);
    write_scalars(json, record);
}

static void write_join(struct tw_json *json, const struct tw_record *record) {
    tw_json_unsigned(json, "rank", record->rank);
    tw_json_unsigned(json, "incarnation", record->incarnation);
    tw_json_unsigned(json, "slot", record->slot);
    tw_json_string(json, "numerics", record->numerics);
}

static void write_rollback(struct tw_json *json, const struct tw_record *record) {
    tw_json_unsigned(json, "generation", record->generation);
    tw_json_unsigned(json, "to", record->to);
    tw_json_string(json, "mode", record->mode);
    tw_json_begin_array(json, "steps");
    for (uint32_t i = 0; i < record->ranks; i++)
        tw_json_unsigned(json, NULL, record->steps[i]);
    tw_json_end_array(json);
}

void tw_record_to_json(struct tw_text *out, const struct tw_record *record) {
    struct tw_json json;
    tw_json_init(&json, out);
    tw_json_begin_object(&json, NULL);
    tw_json_unsigned(&json, "position", record->position);
    tw_json_unsigned(&json, "version", record->version);
    tw_json_string(&json, "record", tw_record_name(record->kind));
    switch (record->kind) {
    case TW_RECORD_JOIN:
        write_join(&json, record);
        break;
    case TW_RECORD_RELEASE:
        write_release(&json, record);
        break;
    case TW_RECORD_COMMIT:
        write_commit(&json, record);
        break;
    case TW_RECORD_DROP:
        tw_json_bool(&json, "not_finite", record->not_finite);
        write_contributions(&json, record);
        break;
    case TW_RECORD_PERMIT:
        write_pushes(&json, record);
        break;
    case TW_RECORD_REGATHER:
    case TW_RECORD_CHECKPOINT:
        break;
    case TW_RECORD_ROLLBACK:
        write_rollback(&json, record);
        break;
    case TW_RECORD_DIAL:
        tw_json_string(&json, "mode", record->mode);
        break;
    case TW_RECORD_EVICT:
        tw_json_unsigned(&json, "rank", record->rank);
        tw_json_unsigned(&json, "slot", record->slot);
        break;
    case TW_RECORD_VERDICT:
        tw_json_real(&json, "loss", record->verdict.loss);
        tw_json_real(&json, "best", record->verdict.best);
        tw_json_unsigned(&json, "bad", record->verdict.bad);
        tw_json_unsigned(&json, "cooldown", record->verdict.cooldown);
        tw_json_unsigned(&json, "reductions", record->verdict.reductions);
        tw_json_string(&json, "on", verdict_on(record));
        if (record->verdict.stop)
            tw_json_string(&json, "stop", tw_stop_name(record->verdict.stop));
        break;
    }
    tw_json_end_object(&json);
    tw_text_add(out, "\n");
}
