#include "server/io/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crc32c.h"
#include "common/base/digest.h"
#include "common/base/json.h"
#include "common/base/json_scan.h"

/* The end of the file, in place of the last bracket. */
#define TAIL ",\"crc32c\":\"%08" PRIx32 "\"}\n"
enum { TAIL_BYTES = 22, HEX_BITS = 16 };

/* ---- names ---- */

void tw_checkpoint_name(uint64_t version, uint32_t generation, char out[TW_CHECKPOINT_NAME]) {
    snprintf(out, TW_CHECKPOINT_NAME, "v%08" PRIu64 "-g%u", version, generation);
}

bool tw_checkpoint_name_parse(const char *name, uint64_t *version, uint32_t *generation) {
    char again[TW_CHECKPOINT_NAME];
    if (sscanf(name, "v%20" SCNu64 "-g%10u", version, generation) != 2)
        return false;
    tw_checkpoint_name(*version, *generation, again);
    return strcmp(again, name) == 0;
}

/* ---- writing ---- */

static uint64_t bits_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* A double as its bits, so that not one is lost. */
static void write_bits(struct tw_json *json, const char *key, double value) {
    char text[HEX_BITS + 1];
    snprintf(text, sizeof text, "%016" PRIx64, bits_of(value));
    tw_json_string(json, key, text);
}

static void write_hex(struct tw_json *json, const char *key, const uint8_t *bytes, size_t size) {
    char text[2 * TW_DIGEST_BYTES + 1];
    tw_hex(bytes, size, text);
    tw_json_string(json, key, text);
}

static void write_stretch(struct tw_json *json, const char *key, const struct tw_stretch *stretch) {
    tw_json_begin_object(json, key);
    tw_json_unsigned(json, "updates", stretch->updates);
    tw_json_unsigned(json, "contributions", stretch->contributions);
    tw_json_unsigned(json, "examples", stretch->examples);
    tw_json_unsigned(json, "staleness_sum", stretch->staleness_sum);
    tw_json_unsigned(json, "staleness_max", stretch->staleness_max);
    tw_json_unsigned(json, "dropped", stretch->dropped);
    tw_json_unsigned(json, "scored", stretch->scored);
    tw_json_unsigned(json, "correct", stretch->correct);
    tw_json_unsigned(json, "not_finite", stretch->not_finite);
    tw_json_unsigned(json, "chunks", stretch->chunks.chunks);
    tw_json_unsigned(json, "chunk_staleness_sum", stretch->chunks.sum);
    tw_json_unsigned(json, "chunk_staleness_max", stretch->chunks.most);
    write_bits(json, "loss", stretch->loss);
    tw_json_end_object(json);
}

/* By what it is on. */
static const char *const verdict_keys[TW_VERDICTS] = {"verdict", "stop"};

static void write_verdict(struct tw_json *json, const struct tw_verdict *verdict) {
    tw_json_begin_object(json, verdict_keys[verdict->on]);
    write_bits(json, "loss", verdict->loss);
    write_bits(json, "best", verdict->best);
    tw_json_unsigned(json, "bad", verdict->bad);
    tw_json_unsigned(json, "cooldown", verdict->cooldown);
    tw_json_unsigned(json, "reductions", verdict->reductions);
    tw_json_end_object(json);
}

static void write_list(struct tw_json *json, const char *key, const uint64_t *at, uint32_t count) {
    tw_json_begin_array(json, key);
    for (uint32_t i = 0; i < count; i++)
        tw_json_unsigned(json, NULL, at[i]);
    tw_json_end_array(json);
}

static void write_file(struct tw_json *json, const struct tw_manifest_file *file) {
    tw_json_begin_object(json, NULL);
    tw_json_unsigned(json, "bytes", file->bytes);
    tw_json_unsigned(json, "header_crc32c", file->header);
    tw_json_begin_array(json, "crc32c");
    for (uint32_t i = 0; i < file->blocks; i++)
        tw_json_unsigned(json, NULL, file->crc[i]);
    tw_json_end_array(json);
    tw_json_end_object(json);
}

void tw_manifest_write(struct tw_text *text, const struct tw_manifest *manifest) {
    const struct tw_sequencer_snapshot *snapshot = &manifest->snapshot;
    struct tw_json json;
    size_t from = text->size;
    tw_json_init(&json, text);
    tw_json_begin_object(&json, NULL);
    tw_json_unsigned(&json, "format", TW_MANIFEST_FORMAT);
    write_hex(&json, "job", manifest->job, sizeof manifest->job);
    write_hex(&json, "digest", manifest->digest, sizeof manifest->digest);
    tw_json_unsigned(&json, "generation", manifest->generation);
    tw_json_unsigned(&json, "version", snapshot->version);
    tw_json_unsigned(&json, "position", snapshot->position);
    write_bits(&json, "seconds", manifest->seconds);
    write_bits(&json, "border_seconds", manifest->border_seconds);
    tw_json_string(&json, "mode", snapshot->mode);
    tw_json_unsigned(&json, "turns", snapshot->turns);
    tw_json_unsigned(&json, "evaluations", snapshot->evaluations);
    tw_json_unsigned(&json, "not_finite", snapshot->not_finite);
    write_bits(&json, "rate", snapshot->rate);
    for (int on = 0; on < TW_VERDICTS; on++)
        write_verdict(&json, &snapshot->verdict[on]);
    write_stretch(&json, "total", &snapshot->total);
    write_stretch(&json, "stretch", &snapshot->stretch);
    write_list(&json, "steps", snapshot->step, snapshot->workers);
    tw_json_unsigned(&json, "block_bytes", manifest->block_bytes);
    tw_json_begin_array(&json, "files");
    for (uint32_t i = 0; i < manifest->files; i++)
        write_file(&json, &manifest->file[i]);
    tw_json_end_array(&json);
    tw_json_end_object(&json);
    if (text->failed)
        return;
    text->size--; /* the bracket */
    tw_text_add(text, TAIL, tw_crc32c(0, text->at + from, text->size - from));
}

/* ---- reading ---- */

struct reading {
    struct tw_json_scan scan;
    bool out_of_memory;
};

/* The next key is this one. */
static void want(struct reading *r, const char *key) {
    char name[32];
    if (!tw_scan_key(&r->scan, name, sizeof name) || strcmp(name, key) != 0)
        tw_scan_refuse(&r->scan, key);
}

/* No key is left. */
static void want_end(struct reading *r) {
    char name[32];
    if (tw_scan_key(&r->scan, name, sizeof name))
        tw_scan_refuse(&r->scan, "no other key");
}

static uint64_t read_number(struct reading *r, const char *key) {
    want(r, key);
    return tw_scan_unsigned(&r->scan);
}

static uint32_t read_small(struct reading *r, const char *key) {
    uint64_t value = read_number(r, key);
    if (value > UINT32_MAX)
        tw_scan_refuse(&r->scan, "a number below 2^32");
    return (uint32_t)value;
}

static void read_hex(struct reading *r, const char *key, uint8_t *out, size_t size) {
    char text[2 * TW_DIGEST_BYTES + 1];
    want(r, key);
    tw_scan_string(&r->scan, text, sizeof text);
    if (strlen(text) != 2 * size || strspn(text, "0123456789abcdef") != 2 * size) {
        tw_scan_refuse(&r->scan, "hexadecimal digits");
        return;
    }
    for (size_t i = 0; i < size; i++) {
        const char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
}

static double read_bits(struct reading *r, const char *key) {
    uint8_t bytes[8] = {0};
    uint64_t bits = 0;
    double value;
    read_hex(r, key, bytes, sizeof bytes);
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | bytes[i];
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Long, but not too long for nanoseconds. */
static double read_seconds(struct reading *r, const char *key) {
    double seconds = read_bits(r, key);
    if (!(seconds >= 0 && seconds < 1e9))
        tw_scan_refuse(&r->scan, "seconds from 0 to 10^9");
    return seconds;
}

static void read_stretch(struct reading *r, const char *key, struct tw_stretch *stretch) {
    want(r, key);
    tw_scan_open(&r->scan, '{');
    stretch->updates = read_number(r, "updates");
    stretch->contributions = read_number(r, "contributions");
    stretch->examples = read_number(r, "examples");
    stretch->staleness_sum = read_number(r, "staleness_sum");
    stretch->staleness_max = read_number(r, "staleness_max");
    stretch->dropped = read_number(r, "dropped");
    stretch->scored = read_number(r, "scored");
    stretch->correct = read_number(r, "correct");
    stretch->not_finite = read_number(r, "not_finite");
    stretch->chunks.chunks = read_number(r, "chunks");
    stretch->chunks.sum = read_number(r, "chunk_staleness_sum");
    stretch->chunks.most = read_number(r, "chunk_staleness_max");
    stretch->loss = read_bits(r, "loss");
    want_end(r);
}

/* A run that had stopped would not have been saved. */
static void read_verdict(struct reading *r, int on, struct tw_verdict *verdict) {
    verdict->on = (uint32_t)on;
    want(r, verdict_keys[on]);
    tw_scan_open(&r->scan, '{');
    verdict->loss = read_bits(r, "loss");
    verdict->best = read_bits(r, "best");
    verdict->bad = read_number(r, "bad");
    verdict->cooldown = read_number(r, "cooldown");
    verdict->reductions = read_number(r, "reductions");
    want_end(r);
}

/* Of the workers; NULL: out of memory. */
static uint64_t *read_list(struct reading *r, const char *key, uint32_t *count) {
    uint64_t *list = calloc(TW_WORKERS_MAX, sizeof *list);
    *count = 0;
    r->out_of_memory = r->out_of_memory || !list;
    want(r, key);
    tw_scan_open(&r->scan, '[');
    while (list && tw_scan_item(&r->scan)) {
        if (*count == TW_WORKERS_MAX) {
            tw_scan_refuse(&r->scan, "fewer workers");
            break;
        }
        list[(*count)++] = tw_scan_unsigned(&r->scan);
    }
    return list;
}

static void read_crcs(struct reading *r, struct tw_manifest_file *file) {
    uint32_t room = 0;
    want(r, "crc32c");
    tw_scan_open(&r->scan, '[');
    while (tw_scan_item(&r->scan)) {
        if (file->blocks == room) {
            room = room ? 2 * room : 64;
            void *larger = realloc(file->crc, room * sizeof *file->crc);
            r->out_of_memory = r->out_of_memory || !larger;
            if (!larger)
                return;
            file->crc = larger;
        }
        uint64_t crc = tw_scan_unsigned(&r->scan);
        if (crc > UINT32_MAX)
            tw_scan_refuse(&r->scan, "a checksum");
        file->crc[file->blocks++] = (uint32_t)crc;
    }
}

static void read_files(struct reading *r, struct tw_manifest *manifest) {
    want(r, "files");
    tw_scan_open(&r->scan, '[');
    while (!r->out_of_memory && tw_scan_item(&r->scan)) {
        if (manifest->files == TW_SERVERS_MAX) {
            tw_scan_refuse(&r->scan, "fewer files");
            return;
        }
        struct tw_manifest_file *file = &manifest->file[manifest->files++];
        tw_scan_open(&r->scan, '{');
        file->bytes = read_number(r, "bytes");
        file->header = read_small(r, "header_crc32c");
        read_crcs(r, file);
        want_end(r);
    }
}

static void read_snapshot(struct reading *r, struct tw_sequencer_snapshot *snapshot) {
    want(r, "mode");
    tw_scan_string(&r->scan, snapshot->mode, sizeof snapshot->mode);
    snapshot->turns = read_small(r, "turns");
    snapshot->evaluations = read_number(r, "evaluations");
    snapshot->not_finite = read_small(r, "not_finite");
    snapshot->rate = read_bits(r, "rate");
    for (int on = 0; on < TW_VERDICTS; on++)
        read_verdict(r, on, &snapshot->verdict[on]);
    read_stretch(r, "total", &snapshot->total);
    read_stretch(r, "stretch", &snapshot->stretch);
    snapshot->step = read_list(r, "steps", &snapshot->workers);
    if (!snapshot->workers)
        tw_scan_refuse(&r->scan, "steps of workers");
}

/* Whether the last line is the sum of what stands before it. */
static bool is_whole(const char *text, size_t size) {
    char tail[TAIL_BYTES + 1];
    if (size <= TAIL_BYTES)
        return false;
    snprintf(tail, sizeof tail, TAIL, tw_crc32c(0, text, size - TAIL_BYTES));
    return memcmp(text + size - TAIL_BYTES, tail, TAIL_BYTES) == 0;
}

enum tw_status tw_manifest_parse(struct tw_manifest *manifest, const char *text, size_t size,
                                 struct tw_error *error) {
    struct reading r = {.scan = tw_json_scan(text, size)};
    char crc[16];
    memset(manifest, 0, sizeof *manifest);
    if (!is_whole(text, size))
        return tw_error_set(error, TW_DATA, "its checksum is missing or wrong");
    tw_scan_open(&r.scan, '{');
    uint64_t format = read_number(&r, "format");
    if (!r.scan.wrong && format != TW_MANIFEST_FORMAT)
        return tw_error_set(error, TW_DATA, "it is of format %llu; this Talweg knows format %d",
                            (unsigned long long)format, TW_MANIFEST_FORMAT);
    read_hex(&r, "job", manifest->job, sizeof manifest->job);
    read_hex(&r, "digest", manifest->digest, sizeof manifest->digest);
    manifest->generation = read_small(&r, "generation");
    manifest->snapshot.version = read_number(&r, "version");
    manifest->snapshot.position = read_number(&r, "position");
    manifest->seconds = read_seconds(&r, "seconds");
    manifest->border_seconds = read_seconds(&r, "border_seconds");
    read_snapshot(&r, &manifest->snapshot);
    manifest->block_bytes = read_small(&r, "block_bytes");
    if (manifest->block_bytes < TW_CHUNK_BYTES_MIN || manifest->block_bytes > TW_CHUNK_BYTES_MAX ||
        manifest->block_bytes % TW_BLOCK_BYTES)
        tw_scan_refuse(&r.scan, "a size of blocks");
    read_files(&r, manifest);
    want(&r, "crc32c");
    tw_scan_string(&r.scan, crc, sizeof crc);
    want_end(&r);
    tw_scan_end(&r.scan);
    if (r.out_of_memory)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    if (r.scan.wrong)
        return tw_error_set(error, TW_DATA, "at byte %zu: %s is wanted", r.scan.at, r.scan.wrong);
    return TW_OK;
}

void tw_manifest_fini(struct tw_manifest *manifest) {
    for (uint32_t i = 0; i < TW_SERVERS_MAX; i++)
        free(manifest->file[i].crc);
    free(manifest->snapshot.step);
    memset(manifest, 0, sizeof *manifest);
}
