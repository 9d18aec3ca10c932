/* A variant on a command line: NAME KEY=VALUE..., as `talweg optimizer adam lr=0.1` and
 * `talweg landscape ravine c=10` have it.
 */
#ifndef TW_CLI_ARGS_VARIANT_H
#define TW_CLI_ARGS_VARIANT_H

#include "cli/args.h"
#include "common/base/text.h"

struct tw_args_variant {
    struct tw_variant variant; /* name NULL: nothing was given yet */
    struct tw_option option[TW_JOB_OPTIONS_MAX];
    char *key[TW_JOB_OPTIONS_MAX]; /* of the options; ours */
    char *name;                    /* likewise, or NULL */
};

/* Begins without a name; may not be moved. Messages begin with the word that they are about. */
void tw_args_variant_init(struct tw_args_variant *out);

/* For parsers, at ARGP_KEY_ARG: the name first, then options; borrows `text`. EINVAL with the
 * message. */
error_t tw_args_variant_add(struct tw_args *args, struct tw_args_variant *out, const char *text);

/* For parsers: all of it in one word, NAME or NAME:KEY=VALUE,KEY=VALUE, as --delay gamma:cv=.1 has
 * it; commas within brackets are part of a value. `flag` is how messages begin. EINVAL likewise. */
error_t tw_args_variant_split(struct tw_args *args, struct tw_args_variant *out, const char *flag,
                              const char *text);

/* "ravine  c=10, start=1,1": appends the variant as it was said. */
void tw_args_variant_title(struct tw_text *out, const struct tw_variant *variant);

void tw_args_variant_fini(struct tw_args_variant *out);

#endif
