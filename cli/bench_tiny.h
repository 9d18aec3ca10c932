/* Tiny pushes, for `talweg bench wire`: how many a server takes in a second when 1, 8 and 64 of
 * them are under way at a time. Used by bench_wire.c only. */
#ifndef TW_CLI_BENCH_TINY_H
#define TW_CLI_BENCH_TINY_H

#include "cli/bench.h"

/* Prints the table, and adds "tiny_pushes" to the open object. TW_IO. */
enum tw_status tw_bench_tiny(const struct tw_bench_options *options, struct tw_json *json,
                             struct tw_error *error);

#endif
