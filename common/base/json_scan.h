/* A reader of JSON (RFC 8259) that builds nothing: the caller says what comes next, and takes
 * it. For files of our own formats that nobody has to be trusted for: the header of a
 * safetensors file, the manifest of a checkpoint. (jansson, which reads what our own processes
 * report, would build a tree: many times the bytes of a header that may have 16 MiB.)
 *
 *     struct tw_json_scan scan = tw_json_scan(text, size);
 *     tw_scan_open(&scan, '{');
 *     while (tw_scan_key(&scan, key, sizeof key))
 *         if (!strcmp(key, "shape")) ... else tw_scan_skip(&scan);
 *     tw_scan_end(&scan);
 *     if (scan.wrong) ...
 *
 * The first thing that is not as asked for is kept in `wrong`, with `at` behind it; from then on
 * everything is a no-op that gives 0, "" or false, so that a caller checks once, at the end, and
 * every loop ends. Memory: none. Nesting in what is skipped: at most TW_JSON_DEPTH_MAX.
 */
#ifndef TW_BASE_JSON_SCAN_H
#define TW_BASE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tw_json_scan {
    const char *text; /* borrowed; need not end with a zero */
    size_t size, at;
    bool fresh;        /* a bracket was opened: no comma before what follows */
    const char *wrong; /* what was wanted instead; NULL: all is well */
};

struct tw_json_scan tw_json_scan(const void *text, size_t size);

/* Enters an object ('{') or array ('['). */
void tw_scan_open(struct tw_json_scan *scan, char bracket);
/* Whether the object has another member: its key is in out[room], its value comes next. False: the
 * object is over, and was left. */
bool tw_scan_key(struct tw_json_scan *scan, char *out, size_t room);
/* The same for an array. */
bool tw_scan_item(struct tw_json_scan *scan);

/* A whole number from 0 to 2^64 - 1, without point or exponent. */
uint64_t tw_scan_unsigned(struct tw_json_scan *scan);
/* A text of fewer than `room` bytes; with `room` 0 of any size, thrown away. Escapes other than \"
 * \\ \/ are refused: no name of ours needs them. */
void tw_scan_string(struct tw_json_scan *scan, char *out, size_t room);
/* Any value, thrown away. */
void tw_scan_skip(struct tw_json_scan *scan);
/* Nothing but blanks is left. */
void tw_scan_end(struct tw_json_scan *scan);

/* As if `what` had been wanted here. */
void tw_scan_refuse(struct tw_json_scan *scan, const char *what);

#endif
