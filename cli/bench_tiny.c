/* A push is tiny when nothing but its messages counts: 64 bytes of gradient there, 64 bytes of
 * weights back, an update of its own (async). One worker has one push under way at a time,
 * so 64 under way are 64 workers, in one process (bench_load.h), which share two connections
 * (proto/lane.h), or have two each. The yardstick is a plain ping-pong of as many bytes, one after
 * the other. */
#include "cli/bench_tiny.h"

#include <stdio.h>

#include "cli/bench_cell.h"
#include "cli/bench_load.h"
#include "cli/bench_raw.h"

enum { BYTES = 64, ROUNDS = 5, TRIPS = 400 };
#define ROUND_SECONDS 0.2

static const struct tiny_case {
    int outstanding;
    bool apart; /* connections of its own for each */
} cases[] = {{1, false}, {8, false}, {64, false}, {64, true}};

struct tiny_result {
    double pushes[ROUNDS], trips[ROUNDS], ratio[ROUNDS]; /* per second */
};

static enum tw_status measure(struct tw_party *server, struct tw_party *load, struct tw_raw *raw,
                              struct tiny_result *out, struct tw_error *error) {
    double joined, trip[TRIPS];
    enum tw_status status = tw_party_await(load, server, error);
    if (!status)
        status = tw_load_joined(load, &joined, error);
    for (int round = 0; round < ROUNDS && !status; round++) {
        struct tw_load_seen seen;
        status = tw_load_begin(load, ROUND_SECONDS, error);
        if (!status)
            status = tw_party_await(load, server, error);
        if (!status)
            status = tw_load_end(load, &seen, error);
        if (!status) {
            tw_load_pause(load);
            status = tw_raw_measure(raw, TW_RAW_BOTH, BYTES, TRIPS, trip, error);
            tw_load_go_on(load);
        }
        if (status)
            break;
        out->pushes[round] = (double)seen.pushes / seen.seconds;
        out->trips[round] = 1 / tw_bench_median(trip, TRIPS);
        out->ratio[round] = out->pushes[round] / out->trips[round];
    }
    return status;
}

static enum tw_status run_case(const struct tiny_case *tiny, struct tw_raw *raw,
                               const struct tw_bench_options *options, struct tiny_result *out,
                               struct tw_error *error) {
    int count = tiny->outstanding;
    struct tw_cell_plan plan = {
        .bytes = BYTES, .workers = count, .optimizer = "none", .mode = "async"};
    char address[TW_CELL_ADDRESS];
    struct tw_party server, load = {0};
    enum tw_status status = tw_cell_serve(&server, &plan, options, address, error);
    if (status)
        return status;
    struct tw_load_plan many = {.server = address,
                                .bytes = BYTES,
                                .count = count,
                                .core = options->core[1],
                                .shared = !tiny->apart};
    status = tw_load_start(&load, &many, error);
    if (!status)
        status = measure(&server, &load, raw, out, error);
    tw_party_end(&load);
    tw_party_end(&server);
    return status;
}

static void say(const struct tiny_case *tiny, struct tiny_result *result, struct tw_json *json) {
    double pushes = tw_bench_median(result->pushes, ROUNDS);
    double trips = tw_bench_median(result->trips, ROUNDS);
    double ratio = tw_bench_median(result->ratio, ROUNDS);
    fprintf(stderr, "tiny pushes, %2d under way%s: %.0f/s; raw ping-pong %.0f/s; ratio %.2f\n",
            tiny->outstanding, tiny->apart ? ", connections for each" : "", pushes, trips, ratio);
    tw_json_begin_object(json, NULL);
    tw_json_integer(json, "outstanding", tiny->outstanding);
    tw_json_bool(json, "shared", !tiny->apart);
    tw_json_unsigned(json, "bytes", BYTES);
    tw_json_real(json, "pushes_per_s", pushes);
    tw_json_real(json, "raw_round_trips_per_s", trips);
    tw_json_real(json, "ratio", ratio);
    tw_json_end_object(json);
}

enum tw_status tw_bench_tiny(const struct tw_bench_options *options, struct tw_json *json,
                             struct tw_error *error) {
    struct tw_raw raw;
    enum tw_status status = tw_raw_start(&raw, BYTES, options, error);
    if (status)
        return status;
    tw_json_begin_array(json, "tiny_pushes");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0] && !status; i++) {
        struct tiny_result result = {0};
        status = run_case(&cases[i], &raw, options, &result, error);
        if (!status)
            say(&cases[i], &result, json);
    }
    tw_json_end_array(json);
    tw_raw_end(&raw);
    return status;
}
