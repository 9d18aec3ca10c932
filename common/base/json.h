/* A writer of JSON (RFC 8259) on a tw_text: one value, on one line, no spaces.
 *
 *     struct tw_json json;
 *     tw_json_init(&json, &text);
 *     tw_json_begin_object(&json, NULL);
 *     tw_json_string(&json, "status", "done");
 *     tw_json_begin_array(&json, "epochs");
 *     tw_json_real(&json, NULL, 0.5);
 *     tw_json_end_array(&json);
 *     tw_json_end_object(&json);
 *
 * Who uses it: --json, metrics.jsonl, the header of a safetensors file. `key` is
 * the name inside an object, and NULL inside an array and at the top. Keys keep
 * the order in which they are written; nobody looks for repeated ones.
 *
 * Out of memory shows as text.failed. Brackets that do not match, or a key where
 * none belongs, are bugs and asserted. It never writes a newline.
 */
#ifndef TW_BASE_JSON_H
#define TW_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/text.h"

#define TW_JSON_DEPTH_MAX 32

struct tw_json {
    struct tw_text *text;         /* borrowed */
    int depth;                    /* open brackets */
    bool comma;                   /* a value stands before the next one */
    char open[TW_JSON_DEPTH_MAX]; /* '{' or '[' */
};

/* Appends to what `text` already holds. No fini. */
void tw_json_init(struct tw_json *json, struct tw_text *text);

void tw_json_begin_object(struct tw_json *json, const char *key);
void tw_json_end_object(struct tw_json *json);
void tw_json_begin_array(struct tw_json *json, const char *key);
void tw_json_end_array(struct tw_json *json);

/* Text of any bytes: quotes, backslashes and control characters are escaped,
 * each byte that is not valid UTF-8 becomes U+FFFD. A NULL value becomes null. */
void tw_json_string(struct tw_json *json, const char *key, const char *value);
void tw_json_string_bytes(struct tw_json *json, const char *key, const void *value, size_t size);

void tw_json_integer(struct tw_json *json, const char *key, int64_t value);
void tw_json_unsigned(struct tw_json *json, const char *key, uint64_t value);

/* The shortest number that reads back as the same double; null for NaN and the
 * infinities, for which JSON has no words. */
void tw_json_real(struct tw_json *json, const char *key, double value);

void tw_json_bool(struct tw_json *json, const char *key, bool value);
void tw_json_null(struct tw_json *json, const char *key);

#endif
