/* talweg bench wire: how fast gradients and weights travel, beside raw send() and recv().
 *
 * What is measured is the real thing: a server process, libtalweg, a whole update each
 * time. push: from the first byte of the gradients until the update is committed and its
 * weights begin to arrive. pull: from then until they are complete; the bytes of the first
 * chunk are not counted, since the time starts with them. Weights of one chunk arrive in one
 * piece: their pull is what a worker waits, from the end of its push. pushpull: from the first byte
 * to the last, its GB/s counts the bytes once. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench_cell.h"
#include "cli/bench_raw.h"
#include "cli/bench_tiny.h"
#include "common/base/limits.h"
#include "common/tensor/encoding.h"

enum { ROUNDS = 7, WARM_UP = 5, STEPS_MIN = 3, STEPS_MAX = 400 };
#define ROUND_SECONDS 0.05

static const uint64_t sizes[] = {4096, 65536, 1048576, 10485760, 104857600};
enum { SIZES = sizeof sizes / sizeof sizes[0] };
#define EACH_SIZE UINT64_MAX

/* Each with all sizes; without --long only with one of them, or none. */
static const struct wire_kind {
    int workers;
    const char *optimizer;
    uint64_t usual;
} kinds[] = {{1, "none", EACH_SIZE}, {1, "adam", 10485760}, {2, "none", 10485760}, {2, "adam", 0}};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* One server, some workers, one size: three rows. */
struct wire_case {
    uint64_t bytes;
    int workers;
    const char *optimizer;
};

enum wire_op { PUSH, PULL, BOTH, OPS };
static const char *const op_names[OPS] = {"push", "pull", "pushpull"};
static const enum tw_raw_way raw_ways[OPS] = {TW_RAW_THERE, TW_RAW_BACK, TW_RAW_BOTH};

/* Medians of each round, GB/s. */
struct wire_result {
    double ours[OPS][ROUNDS], raw[OPS][ROUNDS];
    /* CPU seconds per GB that went there and back, of both sides of each. */
    double server_cpu, worker_cpu, raw_server_cpu, raw_worker_cpu;
    double trip[ROUNDS * STEPS_MAX], raw_trip[ROUNDS * STEPS_MAX]; /* seconds */
    int trips;
};

/* So many steps that a round takes about as long whatever the size, and however busy others keep
 * the machine. */
static enum tw_status warm_up(struct tw_cell *cell, int *steps_of_round, struct tw_error *error) {
    struct tw_cell_step steps[WARM_UP];
    double took[WARM_UP];
    enum tw_status status = tw_cell_measure(cell, WARM_UP, steps, error);
    for (int i = 0; i < WARM_UP && !status; i++)
        took[i] = steps[i].push + steps[i].pull;
    double fit = status ? STEPS_MIN : ROUND_SECONDS / tw_bench_median(took, WARM_UP);
    *steps_of_round = fit < STEPS_MIN ? STEPS_MIN : fit > STEPS_MAX ? STEPS_MAX : (int)fit;
    return status;
}

static void keep_ours(const struct wire_case *what, const struct tw_cell_step *steps, int count,
                      int round, struct wire_result *out) {
    double push[STEPS_MAX], pull[STEPS_MAX], both[STEPS_MAX];
    double bytes = (double)what->bytes * what->workers;
    bool one_piece = what->bytes <= TW_CHUNK_BYTES_DEFAULT;
    double pulled = one_piece ? bytes : bytes - (double)TW_CHUNK_BYTES_DEFAULT * what->workers;
    for (int i = 0; i < count; i++) {
        push[i] = steps[i].push;
        pull[i] = one_piece ? steps[i].wait : steps[i].pull;
        both[i] = steps[i].push + steps[i].pull;
        out->trip[out->trips + i] = both[i];
    }
    out->ours[PUSH][round] = 1e-9 * bytes / tw_bench_median(push, count);
    out->ours[PULL][round] = 1e-9 * pulled / tw_bench_median(pull, count);
    out->ours[BOTH][round] = 1e-9 * bytes / tw_bench_median(both, count);
}

static enum tw_status measure_raw(struct tw_raw *raw, const struct wire_case *what, int count,
                                  int round, struct wire_result *out, struct tw_error *error) {
    double seconds[STEPS_MAX];
    enum tw_status status = TW_OK;
    for (int op = 0; op < OPS && !status; op++) {
        status = tw_raw_measure(raw, raw_ways[op], what->bytes, count, seconds, error);
        if (status)
            break;
        if (op == BOTH)
            memcpy(out->raw_trip + out->trips, seconds, (size_t)count * sizeof *seconds);
        out->raw[op][round] = 1e-9 * (double)what->bytes / tw_bench_median(seconds, count);
    }
    return status;
}

/* CPU time of the two sides of a pair, and what it grew by. */
struct wire_cpu {
    const struct tw_party *server, *worker;
    uint64_t server_ns, worker_ns, server_from, worker_from;
};

static void begin_cpu(struct wire_cpu *cpu) {
    cpu->server_from = tw_party_cpu_ns(cpu->server);
    cpu->worker_from = tw_party_cpu_ns(cpu->worker);
}

static void end_cpu(struct wire_cpu *cpu) {
    cpu->server_ns += tw_party_cpu_ns(cpu->server) - cpu->server_from;
    cpu->worker_ns += tw_party_cpu_ns(cpu->worker) - cpu->worker_from;
}

/* Round by round: first ours, then the yardstick. */
static enum tw_status measure(struct tw_cell *cell, struct tw_raw *raw,
                              const struct wire_case *what, struct wire_result *out,
                              struct tw_error *error) {
    struct tw_cell_step steps[STEPS_MAX];
    int count;
    struct wire_cpu ours = {.server = &cell->server, .worker = &cell->worker[0]};
    struct wire_cpu theirs = {.server = &raw->responder, .worker = &raw->requester};
    enum tw_status status = warm_up(cell, &count, error);
    for (int round = 0; round < ROUNDS && !status; round++) {
        begin_cpu(&ours);
        status = tw_cell_measure(cell, count, steps, error);
        end_cpu(&ours);
        if (status)
            break;
        keep_ours(what, steps, count, round, out);
        begin_cpu(&theirs);
        status = measure_raw(raw, what, count, round, out, error);
        end_cpu(&theirs);
        out->trips += count;
    }
    /* The raw pair moves the bytes there, back, and both ways. */
    double moved = 2e-9 * (double)what->bytes * ROUNDS * count;
    out->server_cpu = 1e-9 * (double)ours.server_ns / (moved * what->workers);
    out->worker_cpu = 1e-9 * (double)ours.worker_ns / moved;
    out->raw_server_cpu = 1e-9 * (double)theirs.server_ns / (2 * moved);
    out->raw_worker_cpu = 1e-9 * (double)theirs.worker_ns / (2 * moved);
    return status;
}

/* ---- saying it ---- */

static void say_head(void) {
    fprintf(stderr, "%-9s %8s %8s %-9s %8s %8s %22s\n", "", "size", "workers", "optimizer", "GB/s",
            "raw", "ratio (lowest-highest)");
}

static void say_row(const struct wire_case *what, enum wire_op op, struct wire_result *result,
                    struct tw_json *json) {
    double ratio[ROUNDS];
    char size[TW_BENCH_SIZE_TEXT];
    for (int round = 0; round < ROUNDS; round++)
        ratio[round] = result->ours[op][round] / result->raw[op][round];
    double ours = tw_bench_median(result->ours[op], ROUNDS);
    double raw = tw_bench_median(result->raw[op], ROUNDS);
    double middle = tw_bench_median(ratio, ROUNDS); /* sorts */
    fprintf(stderr, "%-9s %8s %8d %-9s %8.3f %8.3f %8.2f (%.2f-%.2f)\n", op_names[op],
            tw_bench_size(what->bytes, size), what->workers, what->optimizer, ours, raw, middle,
            ratio[0], ratio[ROUNDS - 1]);
    tw_json_begin_object(json, NULL);
    tw_json_string(json, "op", op_names[op]);
    tw_json_unsigned(json, "bytes", what->bytes);
    tw_json_integer(json, "workers", what->workers);
    tw_json_string(json, "optimizer", what->optimizer);
    tw_json_real(json, "gb_per_s", ours);
    tw_json_real(json, "raw_gb_per_s", raw);
    tw_json_real(json, "ratio", middle);
    tw_json_real(json, "server_cpu_s_per_gb", result->server_cpu);
    tw_json_real(json, "worker_cpu_s_per_gb", result->worker_cpu);
    tw_json_real(json, "raw_server_cpu_s_per_gb", result->raw_server_cpu);
    tw_json_real(json, "raw_worker_cpu_s_per_gb", result->raw_worker_cpu);
    tw_json_end_object(json);
}

static void say_case(const struct wire_case *what, struct wire_result *result,
                     struct tw_json *json) {
    for (int op = 0; op < OPS; op++)
        say_row(what, op, result, json);
    fprintf(stderr, "          CPU seconds per GB: server %.2f, worker %.2f; raw %.2f and %.2f\n",
            result->server_cpu, result->worker_cpu, result->raw_server_cpu, result->raw_worker_cpu);
}

struct wire_trip {
    uint64_t bytes;
    double median, p99, raw_median, raw_p99; /* microseconds */
};

static struct wire_trip trip_of(struct wire_result *result, uint64_t bytes) {
    return (struct wire_trip){
        .bytes = bytes,
        .median = 1e6 * tw_bench_median(result->trip, result->trips),
        .p99 = 1e6 * tw_bench_quantile(result->trip, result->trips, 0.99),
        .raw_median = 1e6 * tw_bench_median(result->raw_trip, result->trips),
        .raw_p99 = 1e6 * tw_bench_quantile(result->raw_trip, result->trips, 0.99),
    };
}

static void say_trip(const struct wire_trip *trip, struct tw_json *json) {
    char size[TW_BENCH_SIZE_TEXT];
    fprintf(stderr,
            "round trip of %s and back: median %.0f us, 99 of 100 within %.0f us; raw %.0f and"
            " %.0f us; ratio of the medians %.2f\n",
            tw_bench_size(trip->bytes, size), trip->median, trip->p99, trip->raw_median,
            trip->raw_p99, trip->median / trip->raw_median);
    tw_json_begin_object(json, "round_trip");
    tw_json_unsigned(json, "bytes", trip->bytes);
    tw_json_real(json, "median_us", trip->median);
    tw_json_real(json, "p99_us", trip->p99);
    tw_json_real(json, "raw_median_us", trip->raw_median);
    tw_json_real(json, "raw_p99_us", trip->raw_p99);
    tw_json_end_object(json);
}

static enum tw_status run_case(const struct wire_case *what, const struct tw_bench_options *options,
                               struct wire_result *result, struct tw_error *error) {
    struct tw_cell cell;
    struct tw_raw raw;
    struct tw_cell_plan plan = {.bytes = what->bytes,
                                .workers = what->workers,
                                .optimizer = what->optimizer,
                                .encoding = tw_encodings[options->encoding].name};
    enum tw_status status = tw_cell_start(&cell, &plan, options, error);
    if (status)
        return status;
    status = tw_raw_start(&raw, what->bytes, options, error);
    if (!status) {
        status = measure(&cell, &raw, what, result, error);
        tw_raw_end(&raw);
    }
    tw_cell_end(&cell);
    return status;
}

/* How fast a core moves memory that is in no cache: there and back over a socket are at
 * least four such copies. */
static void say_memcpy(struct tw_json *json) {
    const size_t bytes = 100u << 20;
    char *from = malloc(bytes), *to = malloc(bytes);
    double seconds[ROUNDS];
    if (from && to) {
        memset(from, 1, bytes);
        memset(to, 2, bytes);
        for (int round = 0; round < ROUNDS; round++) {
            uint64_t start = tw_party_now_ns();
            memcpy(to, from, bytes);
            from[round] = to[round + 1]; /* or the compiler leaves it out */
            seconds[round] = 1e-9 * (double)(tw_party_now_ns() - start);
        }
        double rate = 1e-9 * (double)bytes / tw_bench_median(seconds, ROUNDS);
        fprintf(stderr, "memcpy of 100 MiB: %.1f GB/s\n", rate);
        tw_json_real(json, "memcpy_gb_per_s", rate);
    }
    free(from);
    free(to);
}

static enum tw_status check(const struct tw_bench_options *options, struct tw_error *error) {
    bool sized = options->bytes == 0, manned = options->workers == 0;
    for (int i = 0; i < SIZES; i++)
        sized = sized || sizes[i] == options->bytes;
    for (int i = 0; i < KINDS; i++)
        manned = manned || kinds[i].workers == options->workers;
    if (!sized)
        return tw_error_set(error, TW_USAGE,
                            "--bytes %" PRIu64 ": no row has this size; there are 4096, 65536,"
                            " 1048576, 10485760 and 104857600",
                            options->bytes);
    if (!manned)
        return tw_error_set(error, TW_USAGE, "--workers %d: no row has so many; there are 1 and 2",
                            options->workers);
    return TW_OK;
}

static bool is_asked_for(const struct wire_kind *kind, uint64_t bytes,
                         const struct tw_bench_options *options) {
    if (options->workers && options->workers != kind->workers)
        return false;
    if (options->bytes)
        return options->bytes == bytes;
    return options->all || kind->usual == EACH_SIZE || kind->usual == bytes;
}

enum tw_status tw_bench_wire(const struct tw_bench_options *options, struct tw_json *json,
                             struct tw_error *error) {
    struct wire_trip trip = {0};
    enum tw_status status = check(options, error);
    struct wire_result *result = status ? NULL : malloc(sizeof *result);
    if (status)
        return status;
    if (!result)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    say_head();
    tw_json_string(json, "encoding", tw_encodings[options->encoding].name);
    tw_json_begin_array(json, "rows");
    for (int i = 0; i < KINDS * SIZES && !status; i++) {
        const struct wire_kind *kind = &kinds[i / SIZES];
        const struct wire_case what = {sizes[i % SIZES], kind->workers, kind->optimizer};
        if (!is_asked_for(kind, what.bytes, options))
            continue;
        *result = (struct wire_result){0};
        status = run_case(&what, options, result, error);
        if (!status && trip.bytes == 0)
            trip = trip_of(result, what.bytes);
        if (!status)
            say_case(&what, result, json);
    }
    tw_json_end_array(json);
    if (!status) {
        say_trip(&trip, json);
        say_memcpy(json);
        status = tw_bench_tiny(options, json, error);
    }
    free(result);
    return status;
}
