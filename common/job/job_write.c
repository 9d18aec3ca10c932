/* The job as YAML text: names and numbers plain, all other text in double quotes
 * with escapes, so that any path comes back as it was. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/text.h"
#include "common/job/job.h"

/* A word that no reader takes for null, a number or a boolean unless it is one. */
static bool is_plain(const char *text) {
    static const char *const words[] = {"null", "Null", "NULL"};
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_/";
    if (!*text || !strchr(letters, *text))
        return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(text, words[i]) == 0)
            return false;
    for (; *text; text++)
        if (!strchr(letters, *text) && !strchr("0123456789.-", *text))
            return false;
    return true;
}

/* Looks like a number, and so must not be put in quotes. */
static bool is_number(const char *text) {
    const char *first = text + (*text == '+' || *text == '-');
    first += *first == '.';
    return *first >= '0' && *first <= '9' && strspn(text, "0123456789+-.eE") == strlen(text);
}

static uint32_t code_point(const char *bytes, size_t size) {
    static const uint8_t masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t code = (uint8_t)bytes[0] & masks[size];
    for (size_t i = 1; i < size; i++)
        code = code << 6 | ((uint8_t)bytes[i] & 0x3f);
    return code;
}

/* Characters that YAML allows as they are and that never break a line. */
static bool is_printable(uint32_t code) {
    if (code < 0x80)
        return code >= 0x20 && code != 0x7f;
    return code >= 0xa0 && code != 0x2028 && code != 0x2029 && code != 0xfeff && code != 0xfffe &&
           code != 0xffff;
}

static void add_quoted(struct tw_text *out, const char *text) {
    size_t left = strlen(text), size;
    tw_text_add_bytes(out, "\"", 1);
    /* All text of a job is valid UTF-8: its reader saw to it. */
    for (; left && (size = tw_utf8_length(text, left)); text += size, left -= size) {
        uint32_t code = code_point(text, size);
        if (*text == '"' || *text == '\\')
            tw_text_add(out, "\\%c", *text);
        else if (is_printable(code))
            tw_text_add_bytes(out, text, size);
        else
            tw_text_add(out, code > 0xffff ? "\\U%08" PRIX32 : "\\u%04" PRIX32, code);
    }
    tw_text_add_bytes(out, "\"", 1);
}

static void add_word(struct tw_text *out, const char *text) {
    if (is_plain(text))
        tw_text_add(out, "%s", text);
    else
        add_quoted(out, text);
}

static void add_value(struct tw_text *out, const struct tw_option *option) {
    const char *text = option->path && option->is_path ? option->path : option->text;
    if (option->is_list)
        tw_text_add(out, "%s", text); /* numbers and words in quotes, as read_list() wrote them */
    else if (option->quoted && !option->is_path)
        add_quoted(out, text);
    else if (is_number(text))
        tw_text_add(out, "%s", text);
    else
        add_word(out, text);
}

/* "key: value, key: value" */
static void add_options(struct tw_text *out, const struct tw_variant *variant, bool comma) {
    for (int i = 0; i < variant->count; i++) {
        tw_text_add(out, "%s", comma || i ? ", " : "");
        add_word(out, variant->options[i].key);
        tw_text_add(out, ": ");
        add_value(out, &variant->options[i]);
    }
}

static void add_variant(struct tw_text *out, const char *key, const struct tw_variant *variant) {
    tw_text_add(out, "{%s: ", key);
    add_word(out, variant->name);
    add_options(out, variant, true);
    tw_text_add(out, "}\n");
}

/* A name alone, `name: argument` or `name: {key: value}`. One that is called "name"
 * has no short form. */
static void add_short(struct tw_text *out, const struct tw_variant *variant) {
    if (strcmp(variant->name, "name") == 0) {
        tw_text_add(out, "name: name");
        add_options(out, variant, true);
        return;
    }
    add_word(out, variant->name);
    if (variant->count == 1 && !*variant->options[0].key) {
        tw_text_add(out, ": ");
        add_value(out, &variant->options[0]);
    } else if (variant->count) {
        tw_text_add(out, ": {");
        add_options(out, variant, false);
        tw_text_add(out, "}");
    }
}

/* The same as one value: in braces where a bare name would not do. */
static void add_one(struct tw_text *out, const struct tw_variant *variant) {
    bool braces = variant->count > 0 || strcmp(variant->name, "name") == 0;
    tw_text_add(out, "%s", braces ? "{" : "");
    add_short(out, variant);
    tw_text_add(out, "%s\n", braces ? "}" : "");
}

static void add_shape(struct tw_text *out, int dims, const int64_t *shape) {
    tw_text_add(out, "[");
    for (int i = 0; i < dims; i++)
        tw_text_add(out, "%s%" PRId64, i ? ", " : "", shape[i]);
    tw_text_add(out, "]\n");
}

static void add_init(struct tw_text *out, const struct tw_job_model *model) {
    if (!model->init.file)
        return;
    tw_text_add(out, "  init: {file: ");
    add_quoted(out, model->init.file);
    tw_text_add(out, ", tensors: ");
    add_quoted(out, model->init.pattern);
    if (*model->init.sha256)
        tw_text_add(out, ", sha256: \"%s\"", model->init.sha256);
    tw_text_add(out, "}\n");
}

static void add_model(struct tw_text *out, const struct tw_job_model *model) {
    tw_text_add(out, "model:\n");
    add_init(out, model);
    if (model->objective.name) {
        tw_text_add(out, "  objective: ");
        add_one(out, &model->objective);
        return;
    }
    if (model->own) {
        tw_text_add(out, "  tensors:\n");
        for (int i = 0; i < model->tensors.count; i++) {
            const struct tw_tensor *tensor = &model->tensors.tensors[i];
            tw_text_add(out, "    ");
            add_word(out, tensor->name);
            tw_text_add(out, ": ");
            add_shape(out, tensor->dims, tensor->shape);
        }
        return;
    }
    tw_text_add(out, "  input: ");
    add_shape(out, model->input_dims, model->input);
    tw_text_add(out, "  layers:\n");
    for (int i = 0; i < model->layer_count; i++) {
        bool braces = strcmp(model->layers[i].name, "name") == 0;
        tw_text_add(out, "    - %s", braces ? "{" : "");
        add_short(out, &model->layers[i]);
        tw_text_add(out, "%s\n", braces ? "}" : "");
    }
    tw_text_add(out, "  loss: ");
    add_one(out, &model->loss);
}

static void add_data(struct tw_text *out, const struct tw_job *job) {
    static const char *const shards[] = {"epoch", "fixed", "own"};
    if (!job->has_train)
        return;
    tw_text_add(out, "data:\n  train: ");
    add_variant(out, "format", &job->train);
    if (job->tests_held_out)
        tw_text_add(out, "  test: validation\n");
    else if (job->has_test) {
        tw_text_add(out, "  test: ");
        add_variant(out, "format", &job->test);
    }
    if (job->validation)
        tw_text_add(out, "  validation: %" PRId64 "\n", job->validation);
    if (job->standardise)
        tw_text_add(out, "  standardise: true\n");
    if (job->augment.crop || job->augment.flip)
        tw_text_add(out, "  augment: {crop: %" PRId64 ", flip: %s}\n", job->augment.crop,
                    job->augment.flip ? "true" : "false");
    tw_text_add(out, "  shard: %s\n", shards[job->shard]);
    if (job->samples)
        tw_text_add(out, "  samples: %" PRId64 "\n", job->samples);
    if (*job->data_sha256)
        tw_text_add(out, "  sha256: \"%s\"\n", job->data_sha256);
}

static void add_length(struct tw_text *out, const struct tw_job *job) {
    if (job->batch)
        tw_text_add(out, "batch: %" PRId64 "\n", job->batch);
    if (job->epochs != 0) {
        tw_text_add(out, "epochs: ");
        tw_text_add_real(out, job->epochs);
        tw_text_add(out, "\n");
    }
    if (job->updates)
        tw_text_add(out, "updates: %" PRId64 "\n", job->updates);
}

static void add_schedule(struct tw_text *out, const struct tw_job *job) {
    if (job->schedule_momentum.name) {
        tw_text_add(out, "schedule:\n");
        if (job->schedule.name) {
            tw_text_add(out, "  lr: ");
            add_variant(out, "name", &job->schedule);
        }
        tw_text_add(out, "  momentum: ");
        add_variant(out, "name", &job->schedule_momentum);
    } else if (job->schedule.name) {
        tw_text_add(out, "schedule: ");
        add_variant(out, "name", &job->schedule);
    }
}

static void add_turns(struct tw_text *out, const struct tw_job *job) {
    for (int i = 0; i < job->turn_count; i++) {
        tw_text_add(out, "%s{update: %" PRId64 ", mode: ", i ? ", " : ", turns: [",
                    job->turns[i].update);
        add_word(out, job->turns[i].mode);
        tw_text_add(out, "}");
    }
    if (job->turn_count)
        tw_text_add(out, "]");
}

static void add_update(struct tw_text *out, const struct tw_job *job) {
    const struct {
        const char *key, *name;
        double value;
    } parts[] = {{"clip", "norm", job->clip_norm},
                 {"clip", "value", job->clip_value},
                 {"weight_decay", "l2", job->l2},
                 {"weight_decay", "decoupled", job->decoupled}};
    if (job->gradient_sum)
        tw_text_add(out, "gradient: sum\n");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].value == 0)
            continue;
        tw_text_add(out, "%s: {%s: ", parts[i].key, parts[i].name);
        tw_text_add_real(out, parts[i].value);
        tw_text_add(out, "}\n");
    }
    for (int i = 0; i < job->group_count; i++) {
        const struct tw_job_group *group = &job->groups[i];
        tw_text_add(out, "%s  - {tensors: ", i ? "" : "groups:\n");
        add_quoted(out, group->pattern);
        tw_text_add(out, ", lr: ");
        tw_text_add_real(out, group->rate);
        tw_text_add(out, ", decay: %s}\n", group->decay ? "true" : "false");
    }
}

static void add_corrections(struct tw_text *out, const struct tw_job *job) {
    for (int i = 0; i < job->correction_count; i++) {
        tw_text_add(out, "%s  - ", i ? "" : "corrections:\n");
        add_variant(out, "name", &job->corrections[i]);
    }
}

static void add_average(struct tw_text *out, const struct tw_job *job) {
    if (job->average.ema == 0)
        return;
    tw_text_add(out, "average: {ema: ");
    tw_text_add_real(out, job->average.ema);
    tw_text_add(out, ", evaluate: %s}\n", job->average.evaluate ? "average" : "weights");
}

static void add_loss(struct tw_text *out, const struct tw_job *job) {
    tw_text_add(
        out, "on_worker_loss: {action: %s, after: ", tw_loss_actions[job->on_worker_loss.action]);
    tw_text_add_real(out, job->on_worker_loss.after);
    tw_text_add(out, ", silent: ");
    tw_text_add_real(out, job->on_worker_loss.silent);
    tw_text_add(out, "}\non_divergence: %s\n", job->goes_on ? "go_on" : "stop");
}

static void add_stop(struct tw_text *out, const struct tw_job *job) {
    const struct tw_job_stop *stop = &job->stop;
    if (!stop->given)
        return;
    tw_text_add(out, "stop: {");
    if (stop->patience >= 0) {
        tw_text_add(out, "patience: %" PRId64 ", threshold: ", stop->patience);
        tw_text_add_real(out, stop->threshold);
        tw_text_add(out, ", ");
    }
    if (!isnan(stop->loss)) {
        tw_text_add(out, "loss: ");
        tw_text_add_real(out, stop->loss);
        tw_text_add(out, ", ");
    }
    if (stop->gradient_norm > 0) {
        tw_text_add(out, "gradient_norm: ");
        tw_text_add_real(out, stop->gradient_norm);
        tw_text_add(out, ", ");
    }
    tw_text_add(out, "watch: %s}\n", stop->train ? "train" : "test");
}

static void add_note(struct tw_text *out, const char *note) {
    tw_text_add(out, "# ");
    for (; *note; note++)
        tw_text_add(out, "%c", *note >= 0x20 && *note < 0x7f ? *note : '?');
    tw_text_add(out, "\n");
}

/* Those of single streams only where the job gives them: else they follow `seed`. */
static void add_seeds(struct tw_text *out, const struct tw_job *job) {
    const char *before = "seeds: {";
    tw_text_add(out, "seed: %" PRIu64 "\n", job->seed);
    const struct {
        const char *name;
        uint64_t seed;
        bool given;
    } rows[] = {
        {"init", job->seeds.init, job->own_seed.init},
        {"sampling", job->seeds.sampling, job->own_seed.sampling},
        {"noise", job->seeds.noise, job->own_seed.noise},
        {"dropout", job->seeds.dropout, job->own_seed.dropout},
        {"split", job->seeds.split, job->own_seed.split},
        {"augment", job->seeds.augment, job->own_seed.augment},
        {"staleness", job->seeds.staleness, job->own_seed.staleness},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].given) {
            tw_text_add(out, "%s%s: %" PRIu64, before, rows[i].name, rows[i].seed);
            before = ", ";
        }
    if (*before == ',')
        tw_text_add(out, "}\n");
}

/* Left out their rate follows the optimizer's. */
static void add_local_steps(struct tw_text *out, const struct tw_job *job) {
    tw_text_add(out, "local_steps: {steps: %u", job->local.steps);
    if (job->local_rate_given) {
        tw_text_add(out, ", lr: ");
        tw_text_add_real(out, job->local.rate);
    }
    if (job->local.rho > 0) {
        tw_text_add(out, ", rho: ");
        tw_text_add_real(out, job->local.rho);
    }
    tw_text_add(out, "}\n");
}

enum tw_status tw_job_write(const struct tw_job *job, const char *const *notes, int note_count,
                            char **out, size_t *size) {
    struct tw_text text = {0};
    for (int i = 0; i < note_count; i++)
        add_note(&text, notes[i]);
    add_model(&text, &job->model);
    add_data(&text, job);
    add_length(&text, job);
    tw_text_add(&text, "optimizer: ");
    add_variant(&text, "name", &job->optimizer);
    add_schedule(&text, job);
    add_update(&text, job);
    add_average(&text, job);
    add_corrections(&text, job);
    tw_text_add(&text, "consistency: {mode: ");
    add_word(&text, job->mode);
    add_turns(&text, job);
    tw_text_add(&text, "}\ncluster: {servers: %d, workers: %d, evaluators: %d}\n", job->servers,
                job->workers, job->evaluators);
    add_loss(&text, job);
    add_stop(&text, job);
    if (job->slots_given) /* left out they follow the number of workers */
        tw_text_add(&text, "slots: %d\n", job->slots);
    tw_text_add(&text, "accumulate: %d\n", job->accumulate);
    add_local_steps(&text, job);
    add_seeds(&text, job);
    tw_text_add(&text, "chunk: %uKiB\nencoding: {push: %s, pull: %s}\n", job->chunk_bytes >> 10,
                tw_encodings[job->encoding.push].name, tw_encodings[job->encoding.pull].name);
    if (job->inflight_bytes) /* left out it follows from the model and the number of servers */
        tw_text_add(&text, "memory: {inflight: %" PRId64 "}\n", job->inflight_bytes);
    tw_text_add(&text, "poll_us: %" PRId64 "\n", job->poll_us);
    tw_text_add(&text,
                "trace: {on: %s, hash_every: %" PRId64 ", sums_every: %" PRId64 ", inputs: %s}\n",
                job->trace.on ? "true" : "false", job->trace.hash_every, job->trace.sums_every,
                job->trace.inputs ? "true" : "false");
    tw_text_add(&text, "checkpoint: {every: %" PRId64 ", seconds: ", job->checkpoint.every);
    tw_text_add_real(&text, job->checkpoint.seconds);
    tw_text_add(&text, ", keep: %" PRId64 "}\n", job->checkpoint.keep);
    if (job->blas_core) {
        tw_text_add(&text, "worker: {blas_core: ");
        add_word(&text, job->blas_core);
        tw_text_add(&text, "}\n");
    }
    *out = tw_text_take(&text, size);
    tw_text_fini(&text);
    return *out ? TW_OK : TW_NO_MEMORY;
}
