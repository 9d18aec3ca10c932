#include "server/core/dial.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How a preset's number K and the number of workers N give the gather. */
enum gather { ALL, ONE, ALL_BUT_K, K, N_OVER_K };

/* What a preset's number means, for messages. */
enum number { NONE, BACKUPS, GATHER, BOUND, SPLIT, LAW };

/* DESIGN.md §5, row by row; and those whose staleness is imposed. */
static const struct tw_preset {
    const char *name;
    enum gather gather;
    enum number number;
    enum tw_late_rule late;
    enum tw_release_rule release;
    bool on_arrival;
    const struct tw_imposed_law *imposed; /* number: LAW */
} presets[] = {
    {"sync", ALL, NONE, TW_LATE_USE, TW_RELEASE_AT_COMMIT, false, NULL},
    {"backup", ALL_BUT_K, BACKUPS, TW_LATE_DROP, TW_RELEASE_AT_COMMIT, false, NULL},
    {"k-sync", K, GATHER, TW_LATE_CANCEL, TW_RELEASE_AT_COMMIT, false, NULL},
    {"k-batch-sync", K, GATHER, TW_LATE_CANCEL, TW_RELEASE_AT_ACCEPTANCE, false, NULL},
    {"async", ONE, NONE, TW_LATE_USE, TW_RELEASE_AT_COMMIT, false, NULL},
    {"ssp", ONE, BOUND, TW_LATE_USE, TW_RELEASE_AT_COMMIT, false, NULL},
    {"k-async", K, GATHER, TW_LATE_USE, TW_RELEASE_AT_COMMIT, false, NULL},
    {"k-batch-async", K, GATHER, TW_LATE_USE, TW_RELEASE_AT_ACCEPTANCE, false, NULL},
    {"softsync", N_OVER_K, SPLIT, TW_LATE_USE, TW_RELEASE_AT_ACCEPTANCE, false, NULL},
    {"hogwild", ONE, NONE, TW_LATE_USE, TW_RELEASE_AT_COMMIT, true, NULL},
    {"stale-uniform", ONE, LAW, TW_LATE_USE, TW_RELEASE_AT_COMMIT, false, &tw_imposed_uniform},
    {"stale-geometric", ONE, LAW, TW_LATE_USE, TW_RELEASE_AT_COMMIT, false, &tw_imposed_geometric},
};

enum { PRESETS = sizeof(presets) / sizeof(presets[0]) };

#define KNOWN                                                                                      \
    "sync, backup:B, k-sync:K, k-batch-sync:K, async, ssp:S, k-async:K, k-batch-async:K, "         \
    "softsync:M, hogwild, stale-uniform:B, stale-geometric:M"

static const struct tw_preset *find(const char *name, size_t length) {
    for (int i = 0; i < PRESETS; i++)
        if (strlen(presets[i].name) == length && memcmp(presets[i].name, name, length) == 0)
            return &presets[i];
    return NULL;
}

static enum tw_status unknown(const char *mode, size_t length, struct tw_where where,
                              const char *key, struct tw_error *error) {
    char word[64];
    size_t size = length < sizeof(word) - 1 ? length : sizeof(word) - 1;
    memcpy(word, mode, size);
    word[size] = 0;
    const char *near = tw_nearest_name(word, presets, PRESETS, sizeof(presets[0]));
    if (near)
        return tw_job_error(error, where, key,
                            "unknown mode \"%s\"; did you mean \"%s\"? available: " KNOWN, mode,
                            near);
    return tw_job_error(error, where, key, "unknown mode \"%s\"; available: " KNOWN, mode);
}

/* The range of a preset's number, and what it is called. */
static const char *range_of(const struct tw_preset *preset, int workers, int64_t *min,
                            int64_t *max) {
    switch (preset->number) {
    case BACKUPS:
        *min = 0;
        *max = workers - 1;
        return "backup workers";
    case BOUND:
        *min = 0;
        *max = INT32_MAX;
        return "clocks that a worker may be ahead";
    case SPLIT:
        *min = 1;
        *max = workers;
        return "updates per round of all workers";
    case LAW:
        *min = 1;
        *max = TW_WORKERS_MAX;
        return preset->imposed->number;
    default:
        *min = 1;
        *max = workers;
        return "gradients per update";
    }
}

/* A gradient is at most N - 1 updates late. */
static enum tw_status check_workers(const struct tw_preset *preset, const char *mode,
                                    struct tw_where where, const char *key, int workers,
                                    uint32_t number, struct tw_error *error) {
    uint32_t needed = preset->imposed->workers(number);
    if (needed <= (uint32_t)workers)
        return TW_OK;
    return tw_job_error(error, where, key,
                        "mode \"%s\" needs at least %u workers, and cluster.workers is %d: with N "
                        "workers a gradient is at most N - 1 updates late",
                        mode, needed, workers);
}

static enum tw_status read_number(const struct tw_preset *preset, const char *mode,
                                  struct tw_where where, const char *key, int workers,
                                  int64_t *number, struct tw_error *error) {
    const char *text = strchr(mode, ':');
    int64_t min, max;
    const char *what = range_of(preset, workers, &min, &max);
    if (preset->number == NONE)
        return text ? tw_job_error(error, where, key, "mode \"%s\" takes no number; write \"%s\"",
                                   mode, preset->name)
                    : TW_OK;
    char *end = NULL;
    errno = 0;
    long long value = text && text[1] >= '0' && text[1] <= '9' ? strtoll(text + 1, &end, 10) : -1;
    if (!end || *end || errno)
        return tw_job_error(error, where, key, "mode \"%s\" needs a number of %s: \"%s:%lld\"",
                            mode, what, preset->name, (long long)(min ? min : 1));
    if (value < min || value > max)
        return tw_job_error(error, where, key,
                            "mode \"%s\" with cluster.workers %d: the number of %s must be from "
                            "%lld to %lld",
                            mode, workers, what, (long long)min, (long long)max);
    *number = value;
    return preset->number == LAW
               ? check_workers(preset, mode, where, key, workers, (uint32_t)value, error)
               : TW_OK;
}

static uint32_t gather_of(const struct tw_preset *preset, int64_t number, int workers) {
    switch (preset->gather) {
    case ONE:
        return 1;
    case ALL_BUT_K:
        return (uint32_t)(workers - number);
    case K:
        return (uint32_t)number;
    case N_OVER_K:
        return (uint32_t)(workers / number);
    default:
        return (uint32_t)workers;
    }
}

enum tw_status tw_dial_parse(const char *mode, struct tw_where where, int workers,
                             struct tw_dial *out, struct tw_error *error) {
    return tw_dial_parse_at(mode, where, "consistency.mode", workers, out, error);
}

enum tw_status tw_dial_parse_at(const char *mode, struct tw_where where, const char *key,
                                int workers, struct tw_dial *out, struct tw_error *error) {
    size_t length = strcspn(mode, ":");
    const struct tw_preset *preset = find(mode, length);
    int64_t number = 0;
    if (!preset)
        return unknown(mode, length, where, key, error);
    enum tw_status status = read_number(preset, mode, where, key, workers, &number, error);
    if (status != TW_OK)
        return status;
    *out = (struct tw_dial){
        .gather = gather_of(preset, number, workers),
        .members_known = preset->gather == ALL,
        .late = preset->late,
        .clock_bound = preset->number == BOUND ? number : -1,
        .release = preset->release,
        .on_arrival = preset->on_arrival,
        .imposed = preset->imposed,
        .imposed_number = (uint32_t)number,
    };
    if (preset->number == NONE)
        snprintf(out->word, sizeof(out->word), "%s", preset->name);
    else
        snprintf(out->word, sizeof(out->word), "%s:%" PRId64, preset->name, number);
    return TW_OK;
}
