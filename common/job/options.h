/* Options of a variant (an optimizer, a layer, a loss, a data format, ...): what
 * a job file says of it, and the const tables that say what may be said.
 *
 * One table, many uses: it checks the job file, fills the variant's struct,
 * writes the resolved job, and feeds --help and docs/job.md.
 */
#ifndef TW_JOB_OPTIONS_H
#define TW_JOB_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "common/base/status.h"

/* Where something was said: "job.yaml:12" or "--set batch=abc". */
struct tw_where {
    const char *file; /* borrowed from the job */
    int line;         /* 0: not from a line of a file */
};

enum tw_option_type {
    TW_OPTION_INTEGER, /* int64_t */
    TW_OPTION_REAL,    /* double */
    TW_OPTION_BOOL,    /* bool */
    TW_OPTION_ENUM,    /* int: index into names */
    TW_OPTION_PATH,    /* const char *, absolute (relative to the job file) */
    TW_OPTION_LIST,    /* struct tw_option_list; the limits are those of each number */
    TW_OPTION_TEXT,    /* const char *, NULL when it is not given */
    TW_OPTION_WORDS,   /* const char *, a list of words for tw_words_next(), or NULL likewise */
};

/* A list of numbers, such as [30, 60, 80]; a single number is a list of one. */
struct tw_option_list {
    int count;
    double at[TW_OPTION_LIST_MAX];
};

/* The next word of a list of words into out[room] (cut when it is longer); `at` begins as
 * the value of the option (NULL: an empty list). False: there is none any more. */
bool tw_words_next(const char **at, char *out, size_t room);

/* One key that a variant knows. */
struct tw_option_rule {
    const char *key;
    enum tw_option_type type;
    size_t offset; /* into the variant's struct */
    bool required;
    double fallback;          /* default, also of integers, booleans and enums */
    double min, max;          /* for integers and reals, inclusive (equal: no limits) ... */
    bool min_open, max_open;  /* ... unless open */
    const char *const *names; /* of an enum, NULL-terminated */
    const char *text;         /* one line for --help and docs */
};

/* One key as the job said it, or, after tw_job_resolve(), as its table has it. */
struct tw_option {
    const char *key;  /* "": the argument without a key */
    const char *text; /* the scalar as written, a list as "[1, 2]" or "[\"a\", \"b\"]"; resolved:
                         numbers in their one form */
    const char *path; /* of a data format's: the text as an absolute path, else NULL */
    bool quoted;      /* "128" in quotes is text, not a number */
    bool is_path;     /* known once resolved */
    bool is_list;     /* written as a list */
    struct tw_where where;
};

/* A variant as the job said it: {name: adam, lr: 1e-3}, or `dense: 256`, which
 * is name "dense" with the single unnamed argument 256 (key ""). Layers and the
 * loss may also be written `dense: {units: 256}`, and any variant as its name
 * alone. */
struct tw_variant {
    const char *name;
    struct tw_where where;
    const char *path; /* of the variant in the job: "optimizer", "model.layers[2]" */
    int count;
    struct tw_option *options;
};

/* Fills `out` (a struct described by `rules`, count of them) from `variant`:
 * defaults first, then what was said. TW_JOB with "file:line: path.key: what is
 * wrong, and what would be right": unknown key (with the nearest known one),
 * missing, wrong type, out of range, unknown name. A scalar argument without a
 * key ("") goes to the first rule. Paths in `out` are borrowed from the job. */
enum tw_status tw_options_read(const struct tw_variant *variant, const struct tw_option_rule *rules,
                               int count, void *out, struct tw_error *error);

/* Of `count` names (in an array whose elements, stride bytes apart, start with a
 * const char *; not an array of pointers to such structs) the one nearest to
 * `word` by edits, or NULL when none is near. */
const char *tw_nearest_name(const char *word, const void *names, int count, size_t stride);

/* TW_JOB, "file:line: path: unknown optimizer "adm"; did you mean "adam"? known:
 * sgd, momentum, ...". `what` is "optimizer", "layer", ...; names as above. */
enum tw_status tw_unknown_variant(const struct tw_variant *variant, const char *what,
                                  const void *names, int count, size_t stride,
                                  struct tw_error *error);

/* Sets "file:line: path: " + the message, TW_JOB. For checks of variants' own. */
enum tw_status tw_job_error(struct tw_error *error, struct tw_where where, const char *path,
                            const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
