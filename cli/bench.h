/* What `talweg bench` measures: one table of subjects, and what they share.
 *
 * A subject starts real processes on this machine (party.h) or works in this one, measures its rows
 * interleaved with their yardstick, so that both see the same noise, prints a table for
 * people on stderr, and adds its part of the object of --json. Nothing is left behind,
 * whatever happens. Used by cmd_bench.c.
 */
#ifndef TW_CLI_BENCH_H
#define TW_CLI_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/bench_numbers.h"
#include "common/base/json.h"
#include "common/base/status.h"

struct tw_bench_options {
    bool all;          /* --long: every row */
    uint64_t bytes;    /* --bytes: the rows of this size, all of them; 0: of every size */
    int workers;       /* --workers: the rows with so many; 0: with any number */
    uint32_t encoding; /* --encoding, enum tw_encoding_number: of the wire, both ways */
    int core[2]; /* servers and receivers run on the first, workers and senders on the second */
};

struct tw_bench_subject {
    const char *name;
    const char *summary;
    bool by_workers, by_encoding; /* whether --workers, --encoding mean something to it */
    /* `json`: an object is open; add keys to it. TW_IO, TW_NO_MEMORY, ... */
    enum tw_status (*run)(const struct tw_bench_options *options, struct tw_json *json,
                          struct tw_error *error);
};

enum tw_status tw_bench_wire(const struct tw_bench_options *options, struct tw_json *json,
                             struct tw_error *error);

enum tw_status tw_bench_cluster(const struct tw_bench_options *options, struct tw_json *json,
                                struct tw_error *error);

enum tw_status tw_bench_optimizer(const struct tw_bench_options *options, struct tw_json *json,
                                  struct tw_error *error);

#endif
