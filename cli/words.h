/* Numbers as people write them. Used by what renders for people; never in JSON. */
#ifndef TW_CLI_WORDS_H
#define TW_CLI_WORDS_H

#include <stdint.h>

#include "common/base/text.h"

#define TW_WORDS_MAX 32

/* "60,000". Returns out. */
char *tw_count_words(uint64_t count, char out[TW_WORDS_MAX]);

/* "0.4 s", "12 s", "3 min 05 s", "2 h 03 min"; "?" when it is not finite or
 * negative. Returns out. */
char *tw_seconds_words(double seconds, char out[TW_WORDS_MAX]);

/* Pieces of a line, each with two spaces before it; nothing when the number is
 * not known (NaN): "  loss 0.3123", "  48,300 samples/s". */
void tw_add_number(struct tw_text *out, const char *name, double value);
void tw_add_rate(struct tw_text *out, double samples_per_second);

#endif
