#include "cli/sim_quantity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    double factor;
};

static const struct unit times[] = {{"", 1}, {"s", 1}, {"ms", 1e-3}, {"us", 1e-6}};
static const struct unit speeds[] = {
    {"bit", .125}, {"kbit", 125}, {"Mbit", 125e3}, {"Gbit", 125e6},
    {"B", 1},      {"kB", 1e3},   {"MB", 1e6},     {"GB", 1e9},
};

/* The number with its unit that `text` begins with; up to `stop` or the end. */
static bool read_quantity(const char **text, const char *stops, const struct unit *units,
                          size_t count, double *out) {
    char *end;
    *out = strtod(*text, &end);
    if (end == *text || !isfinite(*out))
        return false;
    size_t size = strcspn(end, stops);
    for (size_t i = 0; i < count; i++)
        if (strlen(units[i].name) == size && strncmp(units[i].name, end, size) == 0) {
            *out *= units[i].factor;
            *text = end + size;
            return true;
        }
    return false;
}

static bool read_time(const char **text, const char *stops, double *out) {
    return read_quantity(text, stops, times, sizeof times / sizeof *times, out);
}

error_t tw_args_net(struct tw_args *args, const char *text, double *latency, double *bandwidth) {
    const char *at = text;
    *bandwidth = (double)INFINITY;
    bool good = read_time(&at, ",", latency);
    if (good && *at == ',') {
        at++;
        good = read_quantity(&at, "", speeds, sizeof speeds / sizeof *speeds, bandwidth);
    }
    if (!good || *at)
        return tw_args_wrong(args, "--net: \"%s\" is not LATENCY,BANDWIDTH, such as 50us,10Gbit",
                             text);
    if (*latency < 0 || *bandwidth <= 0)
        return tw_args_wrong(args, "--net: \"%s\": a latency is not below 0, a bandwidth above 0",
                             text);
    return 0;
}

error_t tw_args_mishap(struct tw_args *args, const char *flag, enum tw_mishap_kind kind,
                       const char *text, struct tw_mishap *out) {
    static const char *const forms[] = {
        [TW_MISHAP_DEATH] = "RANK@TIME or RANK@TIME+SECONDS, such as 3@10+5",
        [TW_MISHAP_PAUSE] = "RANK@TIME+SECONDS, such as 3@10+5",
        [TW_MISHAP_ABSENCE] = "RANK@TIME, such as 3@10",
        [TW_MISHAP_SERVER_DEATH] = "SERVER@TIME or SERVER@TIME+SECONDS, such as 0@10+5",
        [TW_MISHAP_SERVER_PAUSE] = "SERVER@TIME+SECONDS, such as 0@10+5",
    };
    bool pause = kind == TW_MISHAP_PAUSE || kind == TW_MISHAP_SERVER_PAUSE;
    const char *at = text;
    char *end;
    long rank = strtol(text, &end, 10);
    bool good = end != text && *end == '@' && rank >= 0 && rank < TW_WORKERS_MAX;
    *out = (struct tw_mishap){.kind = kind, .rank = (uint32_t)rank, .seconds = (double)INFINITY};
    at = end + (*end == '@');
    good = good && read_time(&at, "+", &out->at);
    bool lasts = good && *at == '+';
    if (lasts) {
        at++;
        good = read_time(&at, "", &out->seconds);
    }
    if (!good || *at || (lasts && kind == TW_MISHAP_ABSENCE) || (!lasts && pause))
        return tw_args_wrong(args, "%s: \"%s\" is not %s", flag, text, forms[kind]);
    if (out->at < 0)
        return tw_args_wrong(args, "%s: \"%s\": virtual time begins at 0", flag, text);
    if (out->seconds < 0)
        return tw_args_wrong(args, "%s: \"%s\": nothing lasts less than 0 s", flag, text);
    return 0;
}
