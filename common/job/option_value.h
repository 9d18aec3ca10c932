/* One scalar of a job, read by one rule.
 *
 * Who uses it: options.c for variants, the reader of job.c for its own keys, and
 * job_resolve.c, so that a number is the same thing everywhere: whole numbers are
 * plain digits that fit in 64 bits, reals are finite and never lose all their
 * digits, booleans are true or false and nothing else, quotes make text.
 */
#ifndef TW_JOB_OPTION_VALUE_H
#define TW_JOB_OPTION_VALUE_H

#include "common/job/options.h"

struct tw_option_value {
    int64_t integer;
    double real;
    bool boolean;
    int name; /* index into the rule's names */
    const char *path;
    const char *text; /* of a text, or a list of words */
    struct tw_option_list list;
};

/* Reads `option` as `rule` says, for the variant or mapping at `path` ("" for the
 * top). TW_JOB with the message. */
enum tw_status tw_option_value_read(struct tw_option_value *out, const char *path,
                                    const struct tw_option_rule *rule,
                                    const struct tw_option *option, struct tw_error *error);

/* The rule's default. */
struct tw_option_value tw_option_value_default(const struct tw_option_rule *rule);

/* The option that the variant gives for rule number `index`, or NULL. */
const struct tw_option *tw_option_find(const struct tw_variant *variant,
                                       const struct tw_option_rule *rules, int index);

/* TW_JOB when an option has no rule, or is required and missing. */
enum tw_status tw_options_check_keys(const struct tw_variant *variant,
                                     const struct tw_option_rule *rules, int count,
                                     struct tw_error *error);

/* TW_JOB: `key` of the mapping at `path` is none of the known ones. */
enum tw_status tw_unknown_key(struct tw_error *error, struct tw_where where, const char *path,
                              const char *key, const void *names, int count, size_t stride);

/* 0 when `text` is a whole number in plain digits that fits, 1 when it is one that
 * does not fit, -1 when it is none. The same for numbers without a sign. */
int tw_scalar_integer(const char *text, int64_t *out);
int tw_scalar_unsigned(const char *text, uint64_t *out);

/* `text` in quotes for a message, cut when it is long. Returns out. */
#define TW_SHOWN 64
char *tw_shown(const char *text, char out[TW_SHOWN]);

/* "a.b", or "b" when a is "". Returns out. */
#define TW_KEY_PATH 320
char *tw_key_path(const char *path, const char *key, char out[TW_KEY_PATH]);

#endif
