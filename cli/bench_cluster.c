/* talweg bench cluster: one server and 1 to 1,000 workers, on a small model.
 *
 * The workers are real ones as far as the server can tell: each has its rank, its two
 * connections, and one push at a time; a few processes hold them all (bench_load.h). What is
 * asked is how the server bears their number: CPU time per push, memory, and whether any of
 * them waits longer than the others. What the number of connections costs by itself says the
 * yardstick, before and after each row (bench_crowd.h). */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/bench_cell.h"
#include "cli/bench_crowd.h"
#include "cli/bench_load.h"

enum { LOADS_MAX = TW_CROWD_LOADS_MAX, WORKERS_PER_LOAD = 250, BYTES = 4096 };
#define SECONDS 1.0
#define SECONDS_LONG 5.0
#define RAW_PART 0.25 /* of it, before, and again after */

static const struct cluster_case {
    const char *mode;
    int workers;
} cases[] = {
    {"sync", 1},  {"sync", 10},  {"sync", 100},  {"sync", 1000},
    {"async", 1}, {"async", 10}, {"async", 100}, {"async", 1000},
};
enum { CASES = sizeof cases / sizeof cases[0] };

static bool gathers_all(const struct cluster_case *what) {
    return strcmp(what->mode, "sync") == 0;
}

struct cluster {
    struct tw_party server, load[LOADS_MAX];
    int loads;
};

struct cluster_result {
    double join_seconds;         /* from the first process's start until all had joined */
    double pushes_per_s, cpu_us; /* of the server, per push */
    uint64_t memory_kib, memory_bound_kib;
    struct tw_load_seen seen; /* of all processes */
    struct tw_crowd_seen raw;
};

static void end(struct cluster *cluster) {
    for (int i = 0; i < cluster->loads; i++)
        tw_party_end(&cluster->load[i]);
    tw_party_end(&cluster->server);
}

static enum tw_status start(struct cluster *cluster, const struct cluster_case *what,
                            const struct tw_bench_options *options, struct tw_error *error) {
    struct tw_cell_plan plan = {.bytes = BYTES,
                                .workers = what->workers,
                                .optimizer = "{name: sgd, lr: 0.001}",
                                .mode = what->mode};
    char address[TW_CELL_ADDRESS];
    *cluster = (struct cluster){0};
    enum tw_status status = tw_cell_serve(&cluster->server, &plan, options, address, error);
    for (int first = 0; first < what->workers && !status; first += WORKERS_PER_LOAD) {
        int left = what->workers - first;
        struct tw_load_plan load = {.server = address,
                                    .bytes = BYTES,
                                    .first = first,
                                    .count = left < WORKERS_PER_LOAD ? left : WORKERS_PER_LOAD,
                                    .core = options->core[1]};
        status = tw_load_start(&cluster->load[cluster->loads], &load, error);
        cluster->loads += !status;
    }
    if (status)
        end(cluster);
    return status;
}

/* What a server may have: weights, optimizer state (this rule has none), twice the weights for
 * what is in flight, and 64 MiB, however many workers there are. */
static uint64_t memory_bound_kib(void) {
    return (BYTES + 2 * BYTES) / 1024 + (64u << 10);
}

static void add_seen(struct tw_load_seen *sum, const struct tw_load_seen *part) {
    sum->pushes += part->pushes;
    sum->fewest = part->fewest < sum->fewest ? part->fewest : sum->fewest;
    sum->seconds = fmax(sum->seconds, part->seconds);
    sum->wait_sum += part->wait_sum;
    sum->wait_longest = fmax(sum->wait_longest, part->wait_longest);
    sum->worker_mean = fmax(sum->worker_mean, part->worker_mean);
}

static enum tw_status measure(struct cluster *cluster, double seconds, struct cluster_result *out,
                              struct tw_error *error) {
    enum tw_status status = TW_OK;
    out->seen.fewest = UINT64_MAX;
    for (int i = 0; i < cluster->loads && !status; i++) {
        double joined = 0;
        status = tw_party_await(&cluster->load[i], &cluster->server, error);
        if (!status)
            status = tw_load_joined(&cluster->load[i], &joined, error);
        out->join_seconds = fmax(out->join_seconds, joined);
    }
    uint64_t cpu_ns = tw_party_cpu_ns(&cluster->server);
    for (int i = 0; i < cluster->loads && !status; i++)
        status = tw_load_begin(&cluster->load[i], seconds, error);
    for (int i = 0; i < cluster->loads && !status; i++) {
        struct tw_load_seen seen;
        status = tw_party_await(&cluster->load[i], &cluster->server, error);
        if (!status)
            status = tw_load_end(&cluster->load[i], &seen, error);
        if (status)
            break;
        add_seen(&out->seen, &seen);
        out->pushes_per_s += (double)seen.pushes / seen.seconds; /* each has a window of its own */
    }
    if (status)
        return status;
    cpu_ns = tw_party_cpu_ns(&cluster->server) - cpu_ns;
    out->cpu_us = 1e-3 * (double)cpu_ns / (out->pushes_per_s * out->seen.seconds);
    out->memory_kib = tw_party_peak_kib(&cluster->server);
    out->memory_bound_kib = memory_bound_kib();
    return TW_OK;
}

static enum tw_status measure_ours(const struct cluster_case *what,
                                   const struct tw_bench_options *options, double seconds,
                                   struct cluster_result *out, struct tw_error *error) {
    struct cluster cluster;
    enum tw_status status = start(&cluster, what, options, error);
    if (status)
        return status;
    status = measure(&cluster, seconds, out, error);
    end(&cluster);
    return status;
}

static enum tw_status measure_row(const struct cluster_case *what,
                                  const struct tw_bench_options *options,
                                  struct cluster_result *out, struct tw_error *error) {
    struct tw_crowd_plan plan = {.bytes = BYTES,
                                 .workers = what->workers,
                                 .per_load = WORKERS_PER_LOAD,
                                 .together = gathers_all(what)};
    double seconds = options->all ? SECONDS_LONG : SECONDS;
    struct tw_crowd crowd;
    enum tw_status status = tw_crowd_start(&crowd, &plan, options, error);
    if (status)
        return status;
    status = tw_crowd_measure(&crowd, RAW_PART * seconds, &out->raw, error);
    if (!status)
        status = measure_ours(what, options, seconds, out, error);
    if (!status)
        status = tw_crowd_measure(&crowd, RAW_PART * seconds, &out->raw, error);
    tw_crowd_end(&crowd);
    return status;
}

/* ---- saying it ---- */

static void say_head(void) {
    fprintf(stderr, "%-6s %8s %8s %10s %8s %8s %6s %9s %9s %10s %10s %10s\n", "mode", "workers",
            "joined", "pushes/s", "CPU us", "raw us", "ratio", "peak MiB", "bound", "wait us",
            "worst mean", "longest");
}

static double mean_wait(const struct cluster_result *result) {
    return result->seen.wait_sum / (double)result->seen.pushes;
}

static double raw_cpu_us(const struct cluster_result *result) {
    return result->raw.cpu_us / (double)result->raw.messages;
}

static void say(const struct cluster_case *what, const struct cluster_result *result,
                struct tw_json *json) {
    double mean = mean_wait(result), raw_us = raw_cpu_us(result);
    fprintf(stderr, "%-6s %8d %6.1f s %10.0f %8.1f %8.1f %6.2f %9.1f %9.1f %10.0f %9.2fx %9.1fx\n",
            what->mode, what->workers, result->join_seconds, result->pushes_per_s, result->cpu_us,
            raw_us, result->cpu_us / raw_us, (double)result->memory_kib / 1024,
            (double)result->memory_bound_kib / 1024, 1e6 * mean, result->seen.worker_mean / mean,
            result->seen.wait_longest / mean);
    tw_json_begin_object(json, NULL);
    tw_json_string(json, "mode", what->mode);
    tw_json_integer(json, "workers", what->workers);
    tw_json_unsigned(json, "bytes", BYTES);
    tw_json_real(json, "join_seconds", result->join_seconds);
    tw_json_real(json, "pushes_per_s", result->pushes_per_s);
    tw_json_unsigned(json, "pushes_of_one_at_least", result->seen.fewest);
    tw_json_real(json, "server_cpu_us_per_push", result->cpu_us);
    tw_json_real(json, "raw_messages_per_s", (double)result->raw.messages / result->raw.seconds);
    tw_json_real(json, "raw_cpu_us_per_message", raw_us);
    tw_json_real(json, "cpu_ratio", result->cpu_us / raw_us);
    tw_json_unsigned(json, "server_peak_bytes", result->memory_kib << 10);
    tw_json_unsigned(json, "server_bound_bytes", result->memory_bound_kib << 10);
    tw_json_real(json, "wait_mean_us", 1e6 * mean);
    tw_json_real(json, "wait_worst_worker_us", 1e6 * result->seen.worker_mean);
    tw_json_real(json, "wait_longest_us", 1e6 * result->seen.wait_longest);
    tw_json_end_object(json);
}

/* What an update costs the server, by the number of workers whose pushes it has, and what as many
 * messages cost the yardstick. In sync these are all; in async an update is one push, and its cost
 * stands in the row. */
struct growth {
    double workers[CASES], update_us[CASES], raw_us[CASES];
    int count;
};

static void add_point(struct growth *growth, const struct cluster_case *what,
                      const struct cluster_result *result) {
    if (!gathers_all(what))
        return;
    growth->workers[growth->count] = what->workers;
    growth->update_us[growth->count] = result->cpu_us * what->workers;
    growth->raw_us[growth->count++] = raw_cpu_us(result) * what->workers;
}

/* Of `count` points, into the open object. */
static void say_slope(const char *words, const double *x, const double *ours, const double *raw,
                      int count, struct tw_json *json) {
    double slope = tw_bench_fit(x, ours, count).slope;
    double raw_slope = tw_bench_fit(x, raw, count).slope;
    fprintf(stderr, "%s %5.1f us, raw %5.1f, ratio %.2f\n", words, slope, raw_slope,
            slope / raw_slope);
    tw_json_real(json, "cpu_us_per_worker", slope);
    tw_json_real(json, "raw_cpu_us_per_worker", raw_slope);
    tw_json_real(json, "ratio", slope / raw_slope);
}

static void say_growth(const struct growth *growth, struct tw_json *json) {
    const double *x = growth->workers, *ours = growth->update_us, *raw = growth->raw_us;
    if (growth->count < 2)
        return;
    fprintf(stderr, "CPU time of the server in sync for each further worker, in an update\n");
    tw_json_begin_object(json, "sync_update");
    say_slope("  all rows (least squares)  ", x, ours, raw, growth->count, json);
    tw_json_begin_array(json, "between");
    for (int i = 0; i + 1 < growth->count; i++) {
        char words[64];
        snprintf(words, sizeof words, "  from %4.0f to %4.0f workers", x[i], x[i + 1]);
        tw_json_begin_object(json, NULL);
        tw_json_real(json, "from_workers", x[i]);
        tw_json_real(json, "to_workers", x[i + 1]);
        say_slope(words, x + i, ours + i, raw + i, 2, json);
        tw_json_end_object(json);
    }
    tw_json_end_array(json);
    tw_json_end_object(json);
}

static enum tw_status check(const struct tw_bench_options *options, struct tw_error *error) {
    bool found = options->workers == 0;
    for (int i = 0; i < CASES; i++)
        found = found || cases[i].workers == options->workers;
    if (!found)
        return tw_error_set(error, TW_USAGE,
                            "--workers %d: no row has so many; there are 1, 10, 100 and 1000",
                            options->workers);
    if (options->bytes && options->bytes != BYTES)
        return tw_error_set(error, TW_USAGE,
                            "--bytes %" PRIu64 ": no row has this size; the model has %d",
                            options->bytes, BYTES);
    return TW_OK;
}

enum tw_status tw_bench_cluster(const struct tw_bench_options *options, struct tw_json *json,
                                struct tw_error *error) {
    enum tw_status status = check(options, error);
    if (status)
        return status;
    struct growth growth = {0};
    say_head();
    tw_json_begin_array(json, "rows");
    for (int i = 0; i < CASES && !status; i++) {
        struct cluster_result result = {0};
        if (options->workers && options->workers != cases[i].workers)
            continue;
        status = measure_row(&cases[i], options, &result, error);
        if (status)
            break;
        say(&cases[i], &result, json);
        add_point(&growth, &cases[i], &result);
    }
    tw_json_end_array(json);
    if (!status)
        say_growth(&growth, json);
    return status;
}
