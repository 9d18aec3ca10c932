/* The sections of a job, each read into its members of struct tw_job. What stands
 * in model: is in job_model.c. */
#include <inttypes.h>
#include <string.h>

#include "common/job/job_read.h"

#define BATCH_MAX ((int64_t)1 << 30)
#define UPDATES_MAX ((int64_t)1000000000000000)
#define EPOCHS_MAX 1e9
#define CORE_BYTES_MAX 64

static const struct tw_variant_form optimizer_form = {
    .key = "name", .what = "an optimizer such as {name: adam, lr: 0.001}"};
static const struct tw_variant_form schedule_form = {
    .key = "name", .what = "a schedule such as {name: linear, to: 0.001, over: 1000}"};

/* Keys that the design has and this version has not; refused by name, so that
 * nobody believes that they do something. */
static const char *const later_keys[] = {
    "durability",
};

static enum tw_status check_top(const struct tw_job_reader *reader) {
    static const char *const names[] = {
        "model",       "data",     "batch",          "epochs",        "updates",     "optimizer",
        "schedule",    "gradient", "clip",           "weight_decay",  "groups",      "average",
        "consistency", "cluster",  "on_worker_loss", "on_divergence", "slots",       "accumulate",
        "local_steps", "seed",     "seeds",          "chunk",         "encoding",    "worker",
        "trace",       "memory",   "checkpoint",     "stop",          "corrections", "poll_us",
        NULL};
    for (size_t i = 0; i < sizeof later_keys / sizeof *later_keys; i++) {
        const struct tw_yaml *node = tw_yaml_find(reader->root, later_keys[i]);
        if (node)
            return tw_node_error(reader, node,
                                 "not available yet in Talweg " TALWEG_VERSION "; take it out");
    }
    return tw_need_keys(reader, reader->root, names);
}

static enum tw_status read_epochs(const struct tw_job_reader *reader) {
    static const struct tw_option_rule rule = {
        .key = "epochs", .type = TW_OPTION_REAL, .max = EPOCHS_MAX, .min_open = true};
    const struct tw_yaml *node = tw_yaml_find(reader->root, "epochs");
    if (!node)
        return TW_OK;
    if (!tw_job_has_data(reader->job))
        return tw_node_error(reader, node,
                             "counts passes over data, and model.%s has none; give updates",
                             reader->job->model.own ? "tensors" : "objective");
    struct tw_option option;
    struct tw_option_value value;
    enum tw_status status = tw_need_scalar(reader, node, &option);
    if (status == TW_OK)
        status = tw_option_value_read(&value, "", &rule, &option, reader->error);
    if (status == TW_OK)
        reader->job->epochs = value.real;
    return status;
}

static enum tw_status read_length(const struct tw_job_reader *reader) {
    struct tw_job *job = reader->job;
    const struct tw_yaml *root = reader->root;
    enum tw_status status = tw_read_integer(reader, root, "batch", 1, BATCH_MAX, &job->batch);
    if (status == TW_OK)
        status = read_epochs(reader);
    if (status == TW_OK)
        status = tw_read_integer(reader, root, "updates", 1, UPDATES_MAX, &job->updates);
    if (status != TW_OK)
        return status;
    if (!tw_job_has_data(job) && job->updates == 0)
        return tw_missing_error(reader, root, "updates", "how many updates to make, such as 1000");
    if (job->epochs == 0 && job->updates == 0)
        return tw_missing_error(reader, root, "epochs",
                                "how long to train: epochs: 10, or updates: 1000");
    if (tw_job_has_data(job) && job->batch == 0)
        return tw_missing_error(reader, root, "batch", "the examples of one update, such as 128");
    return TW_OK;
}

static enum tw_status read_optimizer(const struct tw_job_reader *reader) {
    const struct tw_yaml *node = tw_yaml_find(reader->root, "optimizer");
    if (!node)
        return tw_missing_error(reader, reader->root, "optimizer", optimizer_form.what);
    return tw_read_variant(reader, node, &optimizer_form, &reader->job->optimizer);
}

/* The learning rate's, or {lr: ..., momentum: ...}. */
static enum tw_status read_schedule(const struct tw_job_reader *reader) {
    static const char *const names[] = {"lr", "momentum", NULL};
    struct tw_job *job = reader->job;
    const struct tw_yaml *node = tw_yaml_find(reader->root, "schedule");
    if (!node)
        return TW_OK;
    bool several = node->kind == TW_YAML_MAP && !tw_yaml_find(node, "name") &&
                   (tw_yaml_find(node, "lr") || tw_yaml_find(node, "momentum"));
    if (!several)
        return tw_read_variant(reader, node, &schedule_form, &job->schedule);
    enum tw_status status = tw_need_keys(reader, node, names);
    const struct tw_yaml *lr = tw_yaml_find(node, "lr");
    const struct tw_yaml *momentum = tw_yaml_find(node, "momentum");
    if (status == TW_OK && lr)
        status = tw_read_variant(reader, lr, &schedule_form, &job->schedule);
    if (status == TW_OK && momentum)
        status = tw_read_variant(reader, momentum, &schedule_form, &job->schedule_momentum);
    return status;
}

/* Text at `key` of a section, at most `most` bytes. */
static enum tw_status read_word(const struct tw_job_reader *reader, const struct tw_yaml *map,
                                const char *key, size_t most, const char *what, char **out) {
    const struct tw_yaml *node = map ? tw_yaml_find(map, key) : NULL;
    struct tw_option option;
    if (!node)
        return TW_OK;
    enum tw_status status = tw_need_scalar(reader, node, &option);
    if (status != TW_OK)
        return status;
    size_t size = strlen(option.text);
    if (size == 0 || size > most)
        return tw_node_error(reader, node, "%zu bytes long; give %s", size, what);
    *out = tw_job_memory_copy(reader->memory, option.text, size);
    return *out ? TW_OK : tw_job_memory_error(reader->error);
}

static enum tw_status read_turn(const struct tw_job_reader *reader, const struct tw_yaml *node,
                                struct tw_job_turn *out) {
    static const char *const names[] = {"update", "mode", NULL};
    const struct tw_job *job = reader->job;
    enum tw_status status =
        tw_need_kind(reader, node, TW_YAML_MAP, "a turn such as {update: 500, mode: async}");
    if (status == TW_OK)
        status = tw_need_keys(reader, node, names);
    if (status == TW_OK)
        status = tw_read_integer(reader, node, "update", 1, UPDATES_MAX, &out->update);
    if (status == TW_OK)
        status = read_word(reader, node, "mode", TW_MODE_MAX, "a mode such as async", &out->mode);
    if (status != TW_OK)
        return status;
    if (!out->update)
        return tw_missing_error(reader, node, "update", "after which update, such as 500");
    if (!out->mode)
        return tw_missing_error(reader, node, "mode", "the mode from there on, such as async");
    out->where = tw_yaml_find(node, "mode")->where;
    int64_t before = out > job->turns ? out[-1].update : 0;
    if (out->update <= before)
        return tw_node_error(reader, tw_yaml_find(node, "update"),
                             "%" PRId64 " does not come after the turn before, at %" PRId64,
                             out->update, before);
    if (job->updates && out->update >= job->updates)
        return tw_node_error(reader, tw_yaml_find(node, "update"),
                             "%" PRId64 " never comes before the end: updates: %" PRId64,
                             out->update, job->updates);
    return TW_OK;
}

static enum tw_status read_turns(const struct tw_job_reader *reader, const struct tw_yaml *node) {
    struct tw_job *job = reader->job;
    if (!node)
        return TW_OK;
    enum tw_status status =
        tw_need_kind(reader, node, TW_YAML_LIST, "turns such as - {update: 500, mode: async}");
    if (status != TW_OK)
        return status;
    job->turns = tw_job_memory_get(reader->memory, (size_t)node->count * sizeof *job->turns);
    if (!job->turns)
        return tw_job_memory_error(reader->error);
    for (const struct tw_yaml *child = node->first; child && status == TW_OK; child = child->next)
        status = read_turn(reader, child, &job->turns[job->turn_count++]);
    return status;
}

/* Whether the modes exist is for the dial to say. */
static enum tw_status read_mode(const struct tw_job_reader *reader) {
    static const char *const names[] = {"mode", "turns", NULL};
    struct tw_job *job = reader->job;
    const struct tw_yaml *section;
    enum tw_status status = tw_find_section(reader, "consistency", names, "mode: sync", &section);
    if (status == TW_OK)
        status = read_word(reader, section, "mode", TW_MODE_MAX, "a mode such as sync", &job->mode);
    if (status == TW_OK && section)
        status = read_turns(reader, tw_yaml_find(section, "turns"));
    if (status != TW_OK)
        return status;
    const struct tw_yaml *node = section ? tw_yaml_find(section, "mode") : NULL;
    job->mode_where = node ? node->where : (struct tw_where){job->path, 0};
    if (!job->mode)
        job->mode = tw_job_memory_copy(reader->memory, "sync", 4);
    return job->mode ? TW_OK : tw_job_memory_error(reader->error);
}

static enum tw_status read_cluster(const struct tw_job_reader *reader) {
    static const char *const names[] = {"servers", "workers", "evaluators", NULL};
    struct tw_job *job = reader->job;
    const struct tw_yaml *section;
    int64_t servers = 1, workers = 1, evaluators = 1;
    enum tw_status status =
        tw_find_section(reader, "cluster", names, "{servers: 1, workers: 2}", &section);
    if (status == TW_OK)
        status = tw_read_integer(reader, section, "servers", 1, TW_SERVERS_MAX, &servers);
    if (status == TW_OK)
        status = tw_read_integer(reader, section, "workers", 1, TW_WORKERS_MAX, &workers);
    if (status == TW_OK)
        status = tw_read_integer(reader, section, "evaluators", 1, TW_EVALUATORS_MAX, &evaluators);
    if (status != TW_OK)
        return status;
    job->servers = (int)servers;
    job->workers = (int)workers;
    job->evaluators = (int)evaluators;
    if (evaluators > 1 && !job->has_test)
        return tw_node_error(reader, tw_yaml_find(section, "evaluators"),
                             "there is nothing to evaluate: the job has no data.test");
    if (job->batch == 0 || job->batch >= workers)
        return TW_OK;
    /* Point at the one of the two that the user changed for this run. */
    const struct tw_yaml *batch = tw_yaml_find(reader->root, "batch");
    const struct tw_yaml *count = section ? tw_yaml_find(section, "workers") : NULL;
    if (count && count->where.line == 0)
        return tw_node_error(reader, count,
                             "%" PRId64 " workers share batch: %" PRId64 "; each needs at least "
                             "one example of every update",
                             workers, job->batch);
    return tw_node_error(reader, batch,
                         "%" PRId64 " is fewer than the %" PRId64 " workers; each needs at least "
                         "one example of every update",
                         job->batch, workers);
}

static bool is_power_of_two(int64_t number) {
    return (number & (number - 1)) == 0;
}

static enum tw_status need_power_of_two(const struct tw_job_reader *reader,
                                        const struct tw_yaml *node, int64_t number) {
    int64_t below = 1;
    if (is_power_of_two(number))
        return TW_OK;
    while (2 * below < number)
        below *= 2;
    return tw_node_error(reader, node,
                         "%" PRId64 " is no power of two; %" PRId64 " or %" PRId64 " would be one",
                         number, below, 2 * below);
}

/* Slots and workers do not fit: said at the one of the two that the user changed for
 * this run. `rule` is what would be right. */
static enum tw_status slots_error(const struct tw_job_reader *reader, const char *rule) {
    const struct tw_job *job = reader->job;
    const struct tw_yaml *section = tw_yaml_find(reader->root, "cluster");
    const struct tw_yaml *workers = section ? tw_yaml_find(section, "workers") : NULL;
    if (workers && workers->where.line == 0)
        return tw_node_error(reader, workers, "%d workers with slots: %d; with slots %s",
                             job->workers, job->slots, rule);
    return tw_node_error(reader, tw_yaml_find(reader->root, "slots"),
                         "%d with cluster.workers: %d; with slots %s", job->slots, job->workers,
                         rule);
}

/* Aligned blocks of a power of two are whole nodes of the tree that sums gradients
 * (common/tensor/kernels.h). Whether the mode can have several per worker is for whoever
 * knows the dial to say. */
static enum tw_status read_slots(const struct tw_job_reader *reader) {
    struct tw_job *job = reader->job;
    const struct tw_yaml *node = tw_yaml_find(reader->root, "slots");
    int64_t slots = job->workers;
    enum tw_status status = tw_read_integer(reader, reader->root, "slots", 1, TW_SLOTS_MAX, &slots);
    job->slots = (int)slots;
    if (status != TW_OK || !node)
        return status;
    job->slots_given = true;
    job->slots_where = node->where;
    status = need_power_of_two(reader, node, slots);
    if (status != TW_OK)
        return status;
    if (!is_power_of_two(job->workers))
        return slots_error(reader, "the number of workers must be a power of two too");
    if (job->workers > slots)
        return slots_error(reader, "there are at most as many workers, so that each owns one");
    if (job->batch != 0 && job->batch < slots)
        return tw_node_error(reader, node,
                             "%" PRId64 " slots share batch: %" PRId64 "; each needs at least one "
                             "example of every update",
                             slots, job->batch);
    return TW_OK;
}

/* Parts are leaves of the same tree as slots. */
static enum tw_status read_accumulate(const struct tw_job_reader *reader) {
    struct tw_job *job = reader->job;
    const struct tw_yaml *node = tw_yaml_find(reader->root, "accumulate");
    int64_t parts = 1;
    enum tw_status status =
        tw_read_integer(reader, reader->root, "accumulate", 1, TW_PARTS_MAX, &parts);
    job->accumulate = (int)parts;
    if (status != TW_OK || !node || parts == 1)
        return status;
    job->accumulate_where = node->where;
    if (job->model.own)
        return tw_node_error(
            reader, node,
            "the gradients of model.tensors come from a program of your own, which "
            "can add up as many parts as it likes; take it out");
    status = need_power_of_two(reader, node, parts);
    if (status != TW_OK || tw_job_batch(job) / job->slots >= parts)
        return status;
    return tw_node_error(reader, node,
                         "%" PRId64 " parts, but %" PRId64 " examples over %d slots leave %" PRId64
                         " for a slot; each part needs at least one",
                         parts, tw_job_batch(job), job->slots, tw_job_batch(job) / job->slots);
}

/* At `key` of the mapping (NULL: there is none); unchanged when it is not given. */
static enum tw_status read_seed_at(const struct tw_job_reader *reader, const struct tw_yaml *map,
                                   const char *key, uint64_t *inout, bool *given) {
    const struct tw_yaml *node = map ? tw_yaml_find(map, key) : NULL;
    struct tw_option option;
    char shown[TW_SHOWN];
    *given = node != NULL;
    if (!node)
        return TW_OK;
    enum tw_status status = tw_need_scalar(reader, node, &option);
    if (status != TW_OK)
        return status;
    if (option.quoted || tw_scalar_unsigned(option.text, inout) != 0)
        return tw_node_error(reader, node,
                             "%s is not a seed; it must be a whole number from 0 to "
                             "18446744073709551615, without quotes",
                             tw_shown(option.text, shown));
    return TW_OK;
}

/* `seed` is that of every stream, `seeds` those of single ones. */
static enum tw_status read_seeds(const struct tw_job_reader *reader) {
    struct tw_job *job = reader->job;
    struct tw_seeds *seeds = &job->seeds;
    const struct {
        const char *name;
        uint64_t *seed;
        bool *own;
    } rows[] = {
        {"init", &seeds->init, &job->own_seed.init},
        {"sampling", &seeds->sampling, &job->own_seed.sampling},
        {"noise", &seeds->noise, &job->own_seed.noise},
        {"dropout", &seeds->dropout, &job->own_seed.dropout},
        {"split", &seeds->split, &job->own_seed.split},
        {"augment", &seeds->augment, &job->own_seed.augment},
        {"staleness", &seeds->staleness, &job->own_seed.staleness},
    };
    enum { ROWS = sizeof rows / sizeof *rows };
    const char *names[ROWS + 1] = {NULL};
    const struct tw_yaml *section = NULL;
    bool given;
    enum tw_status status = read_seed_at(reader, reader->root, "seed", &job->seed, &given);
    for (int i = 0; i < ROWS; i++) {
        names[i] = rows[i].name;
        *rows[i].seed = job->seed;
    }
    if (status == TW_OK)
        status = tw_find_section(reader, "seeds", names, "{sampling: 7}", &section);
    for (int i = 0; status == TW_OK && i < ROWS; i++)
        status = read_seed_at(reader, section, rows[i].name, rows[i].seed, rows[i].own);
    return status;
}

/* Bytes, or a number of KiB, MiB or GiB, with or without a blank between. */
static bool parse_size(const char *text, int64_t *out) {
    char digits[20];
    size_t size = strspn(text, "0123456789");
    if (size == 0 || size >= sizeof digits)
        return false;
    memcpy(digits, text, size);
    digits[size] = '\0';
    text += size;
    text += *text == ' ';
    int64_t unit = strcmp(text, "KiB") == 0   ? 1 << 10
                   : strcmp(text, "MiB") == 0 ? 1 << 20
                   : strcmp(text, "GiB") == 0 ? 1 << 30
                                              : 1;
    if (unit == 1 && *text)
        return false;
    return tw_scalar_integer(digits, out) == 0 && !__builtin_mul_overflow(*out, unit, out);
}

static enum tw_status read_size(const struct tw_job_reader *reader, const struct tw_yaml *node,
                                struct tw_option *option, int64_t *bytes) {
    char shown[TW_SHOWN];
    enum tw_status status = tw_need_scalar(reader, node, option);
    if (status != TW_OK || parse_size(option->text, bytes))
        return status;
    return tw_node_error(reader, node,
                         "%s is not a size; write bytes, or a whole number of KiB, MiB or GiB, "
                         "such as 256KiB",
                         tw_shown(option->text, shown));
}

static enum tw_status read_chunk(const struct tw_job_reader *reader) {
    const struct tw_yaml *node = tw_yaml_find(reader->root, "chunk");
    struct tw_option option;
    int64_t bytes;
    if (!node)
        return TW_OK;
    enum tw_status status = read_size(reader, node, &option, &bytes);
    if (status != TW_OK)
        return status;
    if (bytes < TW_CHUNK_BYTES_MIN || bytes > TW_CHUNK_BYTES_MAX)
        return tw_node_error(reader, node, "%s is out of range; it must be from %uKiB to %uMiB",
                             option.text, TW_CHUNK_BYTES_MIN >> 10, TW_CHUNK_BYTES_MAX >> 20);
    if (bytes % TW_BLOCK_BYTES != 0)
        return tw_node_error(reader, node, "%s is not a multiple of %uKiB, the size of a block",
                             option.text, TW_BLOCK_BYTES >> 10);
    reader->job->chunk_bytes = (uint32_t)bytes;
    return TW_OK;
}

/* Whether it is enough is for the memory plan to say. */
static enum tw_status read_memory(const struct tw_job_reader *reader) {
    static const char *const names[] = {"inflight", NULL};
    const struct tw_yaml *section, *node = NULL;
    struct tw_option option;
    enum tw_status status =
        tw_find_section(reader, "memory", names, "{inflight: 512MiB}", &section);
    if (status == TW_OK && section)
        node = tw_yaml_find(section, "inflight");
    if (status != TW_OK || !node)
        return status;
    reader->job->inflight_where = node->where;
    status = read_size(reader, node, &option, &reader->job->inflight_bytes);
    if (status == TW_OK && reader->job->inflight_bytes < 1)
        return tw_node_error(reader, node, "%s is out of range; it must be at least 1",
                             option.text);
    return status;
}

static enum tw_status read_polling(const struct tw_job_reader *reader) {
    return tw_read_integer(reader, reader->root, "poll_us", 0, TW_POLL_US_MAX,
                           &reader->job->poll_us);
}

static enum tw_status read_worker(const struct tw_job_reader *reader) {
    static const char *const names[] = {"blas_core", NULL};
    struct tw_job *job = reader->job;
    const struct tw_yaml *section;
    enum tw_status status =
        tw_find_section(reader, "worker", names, "blas_core: Haswell", &section);
    if (status == TW_OK)
        status = read_word(reader, section, "blas_core", CORE_BYTES_MAX,
                           "the name of an OpenBLAS core such as Haswell", &job->blas_core);
    if (status != TW_OK || !job->blas_core)
        return status;
    if (strspn(job->blas_core, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") ==
        strlen(job->blas_core))
        return TW_OK;
    char shown[TW_SHOWN];
    return tw_node_error(reader, tw_yaml_find(section, "blas_core"),
                         "%s is not the name of an OpenBLAS core; write letters and digits, such "
                         "as Haswell",
                         tw_shown(job->blas_core, shown));
}

static enum tw_status read_trace(const struct tw_job_reader *reader) {
    static const char *const names[] = {"on", "hash_every", "sums_every", "inputs", NULL};
    struct tw_job *job = reader->job;
    const struct tw_yaml *section;
    enum tw_status status =
        tw_find_section(reader, "trace", names, "{on: true, hash_every: 100}", &section);
    if (status == TW_OK)
        status = tw_read_flag(reader, section, "on", &job->trace.on);
    if (status == TW_OK)
        status = tw_read_integer(reader, section, "hash_every", 0, TW_JOB_EVERY_MAX,
                                 &job->trace.hash_every);
    if (status == TW_OK)
        status = tw_read_integer(reader, section, "sums_every", 0, TW_JOB_EVERY_MAX,
                                 &job->trace.sums_every);
    if (status == TW_OK)
        status = tw_read_flag(reader, section, "inputs", &job->trace.inputs);
    return status;
}

enum tw_status tw_read_sections(const struct tw_job_reader *reader) {
    static enum tw_status (*const steps[])(const struct tw_job_reader *) = {
        check_top,      tw_read_data,     read_length,         read_optimizer, read_schedule,
        tw_read_update, read_mode,        read_cluster,        tw_read_loss,   tw_read_divergence,
        read_slots,     read_accumulate,  tw_read_local_steps, read_seeds,     read_chunk,
        read_memory,    tw_read_encoding, read_worker,         read_trace,     tw_read_checkpoint,
        tw_read_stop,   read_polling,
    };
    enum tw_status status = steps[0](reader);
    if (status == TW_OK)
        status = tw_read_model(reader, reader->root);
    for (size_t i = 1; status == TW_OK && i < sizeof steps / sizeof *steps; i++)
        status = steps[i](reader);
    return status;
}
