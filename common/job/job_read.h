/* Reading the tree of a job, one key at a time.
 *
 * Who uses it: the other files of this room. Each function returns TW_OK, or
 * has said in reader->error what is wrong, where, and what would be right: TW_JOB
 * or TW_NO_MEMORY.
 */
#ifndef TW_JOB_JOB_READ_H
#define TW_JOB_JOB_READ_H

#include "common/job/job.h"
#include "common/job/job_memory.h"
#include "common/job/option_value.h"
#include "common/job/yaml_tree.h"

struct tw_job_reader {
    struct tw_job *job;
    struct tw_job_memory *memory;
    struct tw_yaml *root;
    struct tw_error *error;
};

/* What comes from outside the YAML (a folder, a key of --set) may be any bytes. */
bool tw_is_utf8(const char *text);

/* tw_job_error() at a node, with its path. */
enum tw_status tw_node_error(const struct tw_job_reader *reader, const struct tw_yaml *node,
                             const char *format, ...) __attribute__((format(printf, 3, 4)));

/* "missing; what" for a key of `map` that must be there. */
enum tw_status tw_missing_error(const struct tw_job_reader *reader, const struct tw_yaml *map,
                                const char *key, const char *what);

/* The node is a mapping or a list, not empty; `what` says what it would hold. */
enum tw_status tw_need_kind(const struct tw_job_reader *reader, const struct tw_yaml *node,
                            enum tw_yaml_kind kind, const char *what);

/* The node is a single value and not null; gives it as an option. */
enum tw_status tw_need_scalar(const struct tw_job_reader *reader, const struct tw_yaml *node,
                              struct tw_option *out);

/* All keys of a mapping are among `names` (NULL-terminated). */
enum tw_status tw_need_keys(const struct tw_job_reader *reader, const struct tw_yaml *map,
                            const char *const *names);

/* A whole number at `key` of the mapping (NULL: there is none); unchanged when it
 * is not given. */
enum tw_status tw_read_integer(const struct tw_job_reader *reader, const struct tw_yaml *map,
                               const char *key, int64_t min, int64_t max, int64_t *inout);

/* A real number at `key` of the mapping, within the rule's limits, whose key is left empty;
 * unchanged when it is not given. */
enum tw_status tw_read_real(const struct tw_job_reader *reader, const struct tw_yaml *map,
                            const char *key, struct tw_option_rule rule, double *inout);

/* true or false at `key` of the mapping (NULL: there is none); unchanged when it is not given. */
enum tw_status tw_read_flag(const struct tw_job_reader *reader, const struct tw_yaml *map,
                            const char *key, bool *inout);

/* One of the names (NULL-terminated) at `key`, as its index. */
enum tw_status tw_read_name(const struct tw_job_reader *reader, const struct tw_yaml *map,
                            const char *key, const char *const *names, int *inout);

/* A list of whole numbers, each at least 1, at most TW_DIMS_MAX of them; a single
 * number is a list of one. */
enum tw_status tw_read_shape(const struct tw_job_reader *reader, const struct tw_yaml *node,
                             int *dims, int64_t *shape);

/* The mapping at a top-level key with only these keys, or NULL in *out. */
enum tw_status tw_find_section(const struct tw_job_reader *reader, const char *key,
                               const char *const *names, const char *what,
                               const struct tw_yaml **out);

/* How a variant may be written. */
struct tw_variant_form {
    const char *key;  /* the key that holds its name: "name", "format" */
    const char *what; /* "an optimizer such as {name: adam, lr: 0.001}" */
    bool shorthand;   /* `dense: 256` and `dense: {units: 256}` too */
    bool paths;       /* options may be paths */
    /* The name that goes with a file when none is given, or NULL; may be NULL itself. */
    const char *(*guess)(const char *file);
};

/* A variant from a name alone, a mapping with the form's key, or its short form. */
enum tw_status tw_read_variant(const struct tw_job_reader *reader, const struct tw_yaml *node,
                               const struct tw_variant_form *form, struct tw_variant *out);

/* model: {...} into job->model (job_model.c). */
enum tw_status tw_read_model(const struct tw_job_reader *reader, const struct tw_yaml *root);

/* data: {...} (job_data.c). */
enum tw_status tw_read_data(const struct tw_job_reader *reader);

/* gradient, clip, weight_decay, groups, average (job_update.c). */
enum tw_status tw_read_update(const struct tw_job_reader *reader);

/* model.init, at its node (job_init.c). */
enum tw_status tw_read_init(const struct tw_job_reader *reader, const struct tw_yaml *node);

/* `sha256` of a mapping, when it is given, into out[65] (job_data.c). */
enum tw_status tw_read_sha256(const struct tw_job_reader *reader, const struct tw_yaml *map,
                              char *out);

/* on_worker_loss: a word, or {action: ..., after: ..., silent: ...}; on_divergence: a word
 * (job_loss.c). */
enum tw_status tw_read_loss(const struct tw_job_reader *reader);
/* job_local.c: local_steps; after what updates say (tw_read_update). */
enum tw_status tw_read_local_steps(const struct tw_job_reader *reader);
enum tw_status tw_read_divergence(const struct tw_job_reader *reader);

/* stop: {patience: ..., loss: ..., ...} (job_stop.c). */
enum tw_status tw_read_stop(const struct tw_job_reader *reader);

/* encoding: {push: ..., pull: ...} (job_encoding.c). */
enum tw_status tw_read_encoding(const struct tw_job_reader *reader);

/* checkpoint (job_checkpoint.c). */
enum tw_status tw_read_checkpoint(const struct tw_job_reader *reader);

/* The whole tree into reader->job, whose defaults stand already (job_sections.c). */
enum tw_status tw_read_sections(const struct tw_job_reader *reader);

/* Puts settings into the tree, in order (job_settings.c). `nodes` counts on. */
enum tw_status tw_apply_settings(struct tw_job_reader *reader,
                                 const struct tw_job_setting *settings, int count, int *nodes);

#endif
