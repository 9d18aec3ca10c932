/* The job: what a YAML file and the command line say of a run, checked and with
 * every default spelled out (docs/job.md).
 *
 * This room knows the shape of the file: keys, types, ranges. What a layer, an
 * optimizer, a loss or a data format means is checked by the rooms that own
 * their tables (worker/nn, server/core, worker/data), on the struct tw_variant
 * that stands here, in the same words (tw_options_read).
 */
#ifndef TW_JOB_JOB_H
#define TW_JOB_JOB_H

#include "common/base/rng.h"
#include "common/job/options.h"
#include "common/tensor/encoding.h"
#include "common/tensor/tensor.h"

struct tw_job_model {
    int input_dims;
    int64_t input[TW_DIMS_MAX]; /* shape of one sample */
    int layer_count;
    struct tw_variant *layers;
    struct tw_variant loss;
    struct tw_variant objective;   /* instead of these: a function without data; name NULL: none */
    bool own;                      /* model.tensors: gradients come from a program of the user's */
    struct tw_tensor_list tensors; /* when own; start at zero */
    struct {
        const char *file;    /* weights that some tensors start from; NULL: none */
        const char *pattern; /* of their names, with * and ? */
        char sha256[65];     /* of what is taken (common/tensor/initial.h); "": not given */
        struct tw_where where;
    } init;
    struct tw_where where;
};

/* The dial is turned right after this update. */
struct tw_job_turn {
    int64_t update;
    char *mode;
    struct tw_where where; /* of the mode */
};

/* Tensors that are treated in a way of their own. */
struct tw_job_group {
    const char *pattern; /* of their names, with * and ? */
    double rate;         /* multiple of the learning rate */
    bool decay;          /* weight decay holds for them */
    struct tw_where where;
};

/* When a run ends before its time (server/core/verdict.h). */
struct tw_job_stop {
    bool given;
    int64_t patience; /* -1: not given */
    double threshold;
    double loss;          /* NaN: not given */
    double gradient_norm; /* 0: not given */
    bool train;           /* it goes by the loss of training; else of the test data */
};

/* What becomes of a run whose worker is gone. */
enum tw_loss_action {
    TW_LOSS_WAIT,  /* for one in its place */
    TW_LOSS_EVICT, /* the others go on without it */
    TW_LOSS_FAIL,  /* the run ends */
};

extern const char *const tw_loss_actions[]; /* their words, by number; NULL at the end */

/* Steps of plain descent that a slot makes between two reads. The last of them is the update's. */
struct tw_local_steps {
    uint32_t steps; /* 1: none of its own */
    double rate;    /* learning rate of those before the last; of all, when elastic */
    /* Above 0: elastic averaging. A slot goes on from weights of its own, and a spring of this
     * stiffness is between them and the servers'; all steps are its own then. */
    double rho;
};

enum tw_data_shard { TW_SHARD_EPOCH, TW_SHARD_FIXED, TW_SHARD_OWN };

struct tw_job {
    char *path;   /* as given */
    char *name;   /* file name without directory and ending */
    char *folder; /* absolute folder of the file: relative paths start there */
    struct tw_job_model model;
    bool has_train, has_test;
    bool tests_held_out; /* `test` is none: the samples held out are scored in its place */
    struct tw_variant train, test; /* name = format; paths are made absolute */
    enum tw_data_shard shard;
    int64_t samples;    /* of all workers, of TW_SHARD_OWN; 0: whoever sees all files counts them */
    bool standardise;   /* samples, by the means and deviations of the training data */
    int64_t validation; /* samples held out of the training data; 0: none */
    struct tw_where validation_where;
    struct {
        int64_t crop; /* zeros around images, of which a part is taken; 0: none */
        bool flip;    /* or are mirrored at random */
    } augment;
    char data_sha256[65]; /* of the training data (worker/data/dataset.h); "": not given */
    int64_t batch;        /* examples per update, or per local step, over all slots */
    double epochs;        /* 0: not given */
    int64_t updates;      /* 0: not given; at least one of the two is */
    struct tw_variant optimizer;
    bool gradient_sum;            /* of the examples; else their mean */
    double clip_norm, clip_value; /* 0: none; not both */
    double l2, decoupled;         /* weight decay, likewise */
    struct tw_where decay_where;
    struct {
        double ema;    /* decay of the average of the weights; 0: none is kept */
        bool evaluate; /* it is scored instead of them */
    } average;
    int correction_count;
    struct tw_variant *corrections; /* for late gradients, in the order of their stack */
    int group_count;
    struct tw_job_group *groups;                   /* of a tensor the first that fits counts */
    struct tw_variant schedule, schedule_momentum; /* name NULL: constant */
    char *mode;                                    /* consistency.mode, e.g. "sync", "ssp:3" */
    struct tw_where mode_where;
    int turn_count; /* consistency.turns, by update */
    struct tw_job_turn *turns;
    int servers, workers;
    int evaluators; /* that `talweg run` starts, where there is test data */
    struct {
        enum tw_loss_action action;
        double after;  /* so many seconds without it */
        double silent; /* nothing heard for so long: it is gone, though connected; 0: never */
    } on_worker_loss;
    struct tw_job_stop stop;
    bool goes_on; /* on_divergence: also after several updates in a row that are not finite */
    int slots;    /* gradients of an update; not given: one per worker */
    bool slots_given;
    struct tw_where slots_where;
    int accumulate; /* parts that a slot's share of an update is computed in, a power of two */
    struct tw_where accumulate_where;
    struct tw_local_steps local;
    bool local_rate_given; /* else it is the optimizer's (cli/job_check.c) */
    struct tw_where local_where;
    uint64_t seed;
    struct tw_seeds seeds; /* of single streams: the job's own, or `seed` */
    struct {
        bool init, sampling, noise, dropout, split, augment, staleness;
    } own_seed; /* which of them the job gives */
    uint32_t chunk_bytes;
    int64_t inflight_bytes; /* memory.inflight; 0: not given */
    struct tw_where inflight_where;
    int64_t poll_us; /* for which a loop polls at most before it sleeps; 0: not at all */
    struct {
        uint32_t push, pull; /* enum tw_encoding_number */
    } encoding;
    struct {
        bool on;
        int64_t hash_every, sums_every; /* updates; 0: never */
        bool inputs;                    /* what the lead's sequencer is told */
    } trace;
    struct {
        int64_t every;  /* updates between two; 0: not counted */
        double seconds; /* likewise */
        int64_t keep;
    } checkpoint;    /* both 0: none */
    char *blas_core; /* worker.blas_core, or NULL: what the CPU suggests */
    bool resolved;   /* tw_job_resolve() has run */
    void *memory;    /* everything above that points, freed by tw_job_free */
};

/* Whether it learns from data; else it has an objective, or gradients of the user's own. */
static inline bool tw_job_has_data(const struct tw_job *job) {
    return !job->model.own && !job->model.objective.name;
}

/* Examples of an update: where `batch` may be left out (without data) one for each slot. */
static inline int64_t tw_job_batch(const struct tw_job *job) {
    return job->batch ? job->batch : job->slots;
}

/* Of which slot s of M has so many: the remainder goes to the lowest. 0 when the batch is smaller
 * than M and s is not among the lowest. */
static inline uint32_t tw_job_share(int64_t batch, uint32_t slots, uint32_t slot) {
    return (uint32_t)(batch / slots + (slot < batch % slots));
}

/* One --set, or one of the flags that stand for it. */
struct tw_job_setting {
    const char *key;    /* "cluster.workers" */
    const char *value;  /* YAML */
    const char *flag;   /* for messages: "--workers", "--set batch" */
    const char *folder; /* where its paths start; NULL: at the folder of the job file */
};

/* Reads, applies the settings in order, checks, fills in defaults.
 * TW_DATA when the file cannot be read, else TW_JOB with "file:line: key: what is
 * wrong, and what would be right". *out is owned by the caller. */
enum tw_status tw_job_load(struct tw_job **out, const char *path,
                           const struct tw_job_setting *settings, int count,
                           struct tw_error *error);

/* The same from bytes; `path` is for messages and relative paths. Used by tests
 * and the fuzzer: touches no file. */
enum tw_status tw_job_parse(struct tw_job **out, const char *path, const char *text, size_t size,
                            const struct tw_job_setting *settings, int count,
                            struct tw_error *error);

void tw_job_free(struct tw_job *job);

/* Where the tables of all variants are found: the rooms that own them lie above
 * this one, so the program hands them in. `path` is tw_variant.path
 * ("optimizer", "model.layers[2]", "model.loss", "data.train"); NULL: there
 * are none, and the variant stays as it was said. */
struct tw_rule_book {
    const struct tw_option_rule *(*rules_of)(const char *path, const char *name, int *count);
};

/* Checks every variant against its table and spells out its defaults, in place:
 * afterwards each has one option per rule, in the table's order, numbers in their
 * shortest form, paths absolute. Every process does this after loading and after
 * the rooms have found their variants' names (tw_optimizer_find, ...), since the
 * digest is that of the resolved job. Once more changes nothing. TW_JOB as
 * tw_options_read(); TW_NO_MEMORY. */
enum tw_status tw_job_resolve(struct tw_job *job, const struct tw_rule_book *book,
                              struct tw_error *error);

/* The job as YAML: every key with its value; it loads again with the same meaning
 * and, resolved, the same digest. `notes` are written as comment lines on top.
 * *out from malloc, not counting its terminating zero. TW_NO_MEMORY. */
enum tw_status tw_job_write(const struct tw_job *job, const char *const *notes, int note_count,
                            char **out, size_t *size);

/* SHA-256 over what server and workers must agree on: model, optimizer, training data's format,
 * number of samples and sharding, batch, epochs, updates, mode, turns, workers, slots, accumulate,
 * local steps, seeds, chunk size, encodings; not over paths, test data, number of servers and
 * evaluators, the loss of workers, polling, the trace or names. `samples` of the training data; 0:
 * gradients of the user's own. 32 bytes. The job is resolved (asserted). */
void tw_job_digest(const struct tw_job *job, uint64_t samples, uint8_t digest[32]);

#endif
