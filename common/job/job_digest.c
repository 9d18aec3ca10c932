#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/digest.h"
#include "common/base/text.h"
#include "common/job/job.h"

/* Bytes with their number before them, so that no two jobs run together into the
 * same text. */
static void add(struct tw_sha256 *sha, const char *text) {
    uint64_t size = strlen(text);
    uint8_t before[8];
    tw_put_u64(before, size);
    tw_sha256_update(sha, before, sizeof before);
    tw_sha256_update(sha, text, size);
}

static void add_number(struct tw_sha256 *sha, const char *key, int64_t value) {
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    add(sha, key);
    add(sha, text);
}

static void add_variant(struct tw_sha256 *sha, const char *key, const struct tw_variant *variant) {
    add(sha, key);
    add(sha, variant->name);
    for (int i = 0; i < variant->count; i++) {
        if (variant->options[i].is_path)
            continue;
        add(sha, variant->options[i].key);
        add(sha, variant->options[i].text);
    }
    add(sha, "");
}

static void add_shape(struct tw_sha256 *sha, const char *key, int dims, const int64_t *shape) {
    add_number(sha, key, dims);
    for (int i = 0; i < dims; i++)
        add_number(sha, "", shape[i]);
}

static void add_init(struct tw_sha256 *sha, const struct tw_job_model *model) {
    if (!model->init.file)
        return;
    add(sha, "starts from");
    add(sha, model->init.pattern);
    add(sha, model->init.sha256);
}

static void add_model(struct tw_sha256 *sha, const struct tw_job_model *model) {
    if (model->objective.name) {
        add_variant(sha, "objective", &model->objective);
        return;
    }
    if (model->own) {
        add_number(sha, "tensors", model->tensors.count);
        for (int i = 0; i < model->tensors.count; i++) {
            const struct tw_tensor *tensor = &model->tensors.tensors[i];
            add_shape(sha, tensor->name, tensor->dims, tensor->shape);
        }
        return;
    }
    add_shape(sha, "input", model->input_dims, model->input);
    add_number(sha, "layers", model->layer_count);
    for (int i = 0; i < model->layer_count; i++)
        add_variant(sha, "layer", &model->layers[i]);
    add_variant(sha, "loss", &model->loss);
}

static void add_real(struct tw_sha256 *sha, const char *key, double value) {
    char text[TW_REAL_TEXT];
    add(sha, key);
    add(sha, tw_real_text(value, text));
}

static void add_stop(struct tw_sha256 *sha, const struct tw_job_stop *stop) {
    if (!stop->given)
        return;
    add_number(sha, "stop by patience", stop->patience);
    add_real(sha, "threshold", stop->threshold);
    add(sha, "loss");
    if (!isnan(stop->loss))
        add_real(sha, "at most", stop->loss);
    add_real(sha, "gradient norm", stop->gradient_norm);
    add_number(sha, "watch train", stop->train);
}

static void add_update(struct tw_sha256 *sha, const struct tw_job *job) {
    add_number(sha, "gradient", job->gradient_sum);
    add_real(sha, "clip norm", job->clip_norm);
    add_real(sha, "clip value", job->clip_value);
    add_real(sha, "l2", job->l2);
    add_real(sha, "decoupled", job->decoupled);
    if (job->average.ema > 0) {
        add_real(sha, "average", job->average.ema);
        add_number(sha, "average scored", job->average.evaluate);
    }
    for (int i = 0; i < job->correction_count; i++)
        add_variant(sha, "correction", &job->corrections[i]);
    add_number(sha, "groups", job->group_count);
    for (int i = 0; i < job->group_count; i++) {
        add(sha, job->groups[i].pattern);
        add_real(sha, "lr", job->groups[i].rate);
        add_number(sha, "decay", job->groups[i].decay);
    }
}

void tw_job_digest(const struct tw_job *job, uint64_t samples, uint8_t digest[32]) {
    struct tw_sha256 sha;
    assert(job->resolved);
    tw_sha256_init(&sha);
    add(&sha, "talweg job 1");
    add_model(&sha, &job->model);
    add_init(&sha, &job->model);
    if (job->has_train)
        add_variant(&sha, "train", &job->train);
    add_number(&sha, "samples", (int64_t)samples);
    add_number(&sha, "shard", job->shard);
    if (job->validation)
        add_number(&sha, "validation", job->validation);
    if (job->standardise)
        add_number(&sha, "standardise", 1);
    if (job->augment.crop)
        add_number(&sha, "crop", job->augment.crop);
    if (job->augment.flip)
        add_number(&sha, "flip", 1);
    add_number(&sha, "batch", job->batch);
    add_real(&sha, "epochs", job->epochs);
    add_number(&sha, "updates", job->updates);
    add_variant(&sha, "optimizer", &job->optimizer);
    if (job->schedule.name)
        add_variant(&sha, "schedule", &job->schedule);
    if (job->schedule_momentum.name)
        add_variant(&sha, "schedule of momentum", &job->schedule_momentum);
    add_update(&sha, job);
    add_stop(&sha, &job->stop);
    add(&sha, "mode");
    add(&sha, job->mode);
    for (int i = 0; i < job->turn_count; i++) {
        add_number(&sha, "turn", job->turns[i].update);
        add(&sha, job->turns[i].mode);
    }
    add_number(&sha, "workers", job->workers);
    add_number(&sha, "slots", job->slots);
    if (job->accumulate > 1)
        add_number(&sha, "accumulate", job->accumulate);
    if (job->local.steps > 1 || job->local.rho > 0) {
        add_number(&sha, "local steps", job->local.steps);
        add_real(&sha, "of rate", job->local.rate);
    }
    if (job->local.rho > 0)
        add_real(&sha, "elastic", job->local.rho);
    add_number(&sha, "seed", (int64_t)job->seed);
    if (job->seeds.init != job->seed)
        add_number(&sha, "seed of init", (int64_t)job->seeds.init);
    if (job->seeds.sampling != job->seed)
        add_number(&sha, "seed of sampling", (int64_t)job->seeds.sampling);
    if (job->seeds.noise != job->seed)
        add_number(&sha, "seed of noise", (int64_t)job->seeds.noise);
    if (job->seeds.dropout != job->seed)
        add_number(&sha, "seed of dropout", (int64_t)job->seeds.dropout);
    if (job->seeds.split != job->seed)
        add_number(&sha, "seed of split", (int64_t)job->seeds.split);
    if (job->seeds.augment != job->seed)
        add_number(&sha, "seed of augment", (int64_t)job->seeds.augment);
    if (job->seeds.staleness != job->seed)
        add_number(&sha, "seed of staleness", (int64_t)job->seeds.staleness);
    add_number(&sha, "chunk", job->chunk_bytes);
    if (job->encoding.push != TW_ENCODING_F32 || job->encoding.pull != TW_ENCODING_F32) {
        add_number(&sha, "push", job->encoding.push);
        add_number(&sha, "pull", job->encoding.pull);
    }
    tw_sha256_final(&sha, digest);
}
