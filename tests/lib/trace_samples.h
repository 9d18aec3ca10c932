/* Entries of every kind, for tests that write and read trace logs; log_samples.h has the
 * file in memory that they are read from. */
#ifndef TW_TESTS_TRACE_SAMPLES_H
#define TW_TESTS_TRACE_SAMPLES_H

#include "proto/trace_log.h"
#include "tests/lib/log_samples.h"

static const struct tw_trace_entry trace_samples[] = {
    {.kind = TW_TRACE_HEADER, .header = {1, 1700000000000000001u, 2, 4, 3, 100, 10, 5, 6, 7, 50}},
    {.kind = TW_TRACE_WORKER, .worker = {2, 7000000000, 1000000, 2000001, 2300002}},
    {.kind = TW_TRACE_SLOT, .slot = {2, 7000000000, 12, 0, 900000, 2500000}},
    {.kind = TW_TRACE_UPDATE, .update = {5, 2600000, 2700000, UINT64_MAX}},
    {.kind = TW_TRACE_SUMS, .sums = {5, 0.1, 1e-300, 3.25}},
    {.kind = TW_TRACE_HASH, .hash = {5, 0xfedcba9876543210u}},
    {.kind = TW_TRACE_INPUT,
     .input = {1, 7, TW_INPUT_READY, 3, 2, 11, 9, 12, 64, 50, 14, .25, 13, 8, 6, {0}}},
    {.kind = TW_TRACE_INPUT, .input = {2, 9, TW_INPUT_JOIN, 1, .data = {4, {'n', 'u', 'm', 255}}}},
};

enum { TRACE_SAMPLES = sizeof trace_samples / sizeof trace_samples[0] };

/* Appends an entry as the file has it. */
static inline void trace_add(struct tw_text *file, const struct tw_trace_entry *entry) {
    unsigned char bytes[TW_TRACE_ENTRY_MAX];
    tw_text_add_bytes(file, bytes, tw_trace_pack(entry, bytes));
}

#endif
