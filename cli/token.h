/* The shared secret of a cluster, from a file (--token-file). */
#ifndef TW_CLI_TOKEN_H
#define TW_CLI_TOKEN_H

#include "common/base/limits.h"
#include "common/base/status.h"

struct tw_token {
    unsigned char bytes[TW_TOKEN_BYTES_MAX];
    size_t size;
};

/* Reads TW_TOKEN_BYTES_MIN to TW_TOKEN_BYTES_MAX bytes; one newline at the end, as
 * editors put there, is not part of them. TW_USAGE: no regular file, others may
 * read it, too short or too long. */
enum tw_status tw_token_read(struct tw_token *out, const char *path, struct tw_error *error);

#endif
