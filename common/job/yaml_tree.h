/* A YAML document as a small tree with line numbers.
 *
 * Who uses it: job.c and what stands beside it. libyaml splits the text into
 * events; this file builds the tree, and refuses what a job file has no use for
 * and what could grow or surprise: aliases, anchors, tags, more than one document,
 * a key given twice (both lines are named), deeper than TW_JOB_DEPTH_MAX, more
 * than TW_JOB_NODES_MAX nodes, more than TW_JOB_BYTES_MAX bytes, zero bytes,
 * invalid UTF-8.
 *
 * Scalars stay text: what a number or a boolean is, is said where it is read
 * (option_value.h). It never resolves types, reads files or keeps the text.
 */
#ifndef TW_JOB_YAML_TREE_H
#define TW_JOB_YAML_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/job/job_memory.h"
#include "common/job/options.h"

enum tw_yaml_kind { TW_YAML_SCALAR, TW_YAML_MAP, TW_YAML_LIST };

struct tw_yaml {
    enum tw_yaml_kind kind;
    struct tw_where where; /* of its key, when it stands in a map */
    const char *key;       /* in a map, else NULL */
    const char *folder;    /* where its paths start; NULL: at the folder of the job */
    int index;             /* in a list */
    const char *text;      /* of a scalar */
    bool quoted;           /* the scalar stands in quotes or is a block of text */
    int count;             /* children of a map or list, in order: */
    struct tw_yaml *first, *last;
    struct tw_yaml *parent, *next;
};

/* The whole of one text, and the tree that it becomes. */
struct tw_yaml_source {
    struct tw_job_memory *memory; /* holds the tree */
    struct tw_where where;        /* .file names the text; line 0: do not count lines */
    const char *folder;           /* of all nodes; or NULL */
    const char *text;
    size_t size;
    int nodes;              /* counted over all texts of a job: in and out */
    struct tw_yaml *parent; /* where the root will stand: for paths in messages, */
    const char *key;        /* or NULL */
};

/* *out is the root, or NULL when the text is empty or only comments. TW_JOB with
 * "file:line: ...", TW_NO_MEMORY. */
enum tw_status tw_yaml_parse(struct tw_yaml **out, struct tw_yaml_source *source,
                             struct tw_error *error);

/* The child of a map, or NULL. */
struct tw_yaml *tw_yaml_find(const struct tw_yaml *map, const char *key);

/* Puts `child` into the map under its key, in the place of one with the same key. */
void tw_yaml_put(struct tw_yaml *map, struct tw_yaml *child);

/* Nothing was written, or null, or ~: all plain. */
bool tw_yaml_is_null(const struct tw_yaml *node);

/* "a list", "a mapping", "text"... for messages. */
const char *tw_yaml_kind_text(const struct tw_yaml *node);

/* "model.layers[2].dense"; cut when it does not fit. Returns out. */
#define TW_YAML_PATH 256
char *tw_yaml_path(const struct tw_yaml *node, char out[TW_YAML_PATH]);

#endif
