/* See frame_scan.h. */
#include "proto/frame_scan.h"

#include <string.h>

#include "proto/varint.h"

/* Bytes that a key and a length may take. */
#define HEAD_BYTES 16u
#define KEY_BYTES_MAX 5
#define DATA_NUMBER (TW_DATA_KEY >> 3)
#define LANE_NUMBER (TW_LANE_KEY >> 3)

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

enum sort { SORT_BODY, SORT_LANE, SORT_DATA, SORT_STRANGER };

/* A set of enum wire for each. */
static const uint8_t wires[] = {
    [SORT_BODY] = 1 << WIRE_BYTES,
    [SORT_LANE] = 1 << WIRE_VARINT,
    [SORT_DATA] = 1 << WIRE_BYTES,
    [SORT_STRANGER] = 1 << WIRE_VARINT | 1 << WIRE_64 | 1 << WIRE_BYTES | 1 << WIRE_32,
};

struct field {
    enum sort sort;
    uint32_t number;
    uint64_t varint; /* its length, or what it says itself */
    size_t value_at; /* of its value, from the frame's start */
    size_t end;
};

enum progress { FIELD_KNOWN, FIELD_SHORT, FIELD_WRONG };

void tw_scan_begin(struct tw_scan *scan, size_t frame_bytes, bool data_allowed) {
    *scan =
        (struct tw_scan){.frame_bytes = frame_bytes, .data_allowed = data_allowed, .plain = true};
}

size_t tw_scan_needs(const struct tw_scan *scan) {
    return scan->needs;
}

static enum progress wrong(struct tw_error *error, const char *what, size_t at) {
    tw_error_set(error, TW_MALFORMED, "%s at byte %zu of a frame", what, at);
    return FIELD_WRONG;
}

/* There is none at `at`. FIELD_SHORT only when the frame goes on. */
static enum progress no_varint(const struct tw_scan *scan, enum tw_varint_result why, size_t have,
                               size_t at, struct tw_error *error) {
    if (why == TW_VARINT_OVERLONG)
        return wrong(error, "an overlong varint", at);
    return have < scan->frame_bytes ? FIELD_SHORT
                                    : wrong(error, "a field that is cut off", scan->at);
}

static enum sort sort_of(uint64_t number) {
    if (number >= TW_BODY_HELLO && number <= TW_BODY_LAST)
        return SORT_BODY;
    return number == DATA_NUMBER ? SORT_DATA : number == LANE_NUMBER ? SORT_LANE : SORT_STRANGER;
}

static enum progress check_key(uint64_t key, size_t at, struct field *field,
                               struct tw_error *error) {
    unsigned wire = 1u << (key & 7);
    if (key > UINT32_MAX || key >> 3 == 0)
        return wrong(error, "an impossible field number", at);
    field->number = (uint32_t)(key >> 3);
    field->sort = sort_of(key >> 3);
    if (wire & wires[field->sort])
        return FIELD_KNOWN;
    return wrong(error,
                 wire & wires[SORT_STRANGER] ? "a field with the wrong wire type"
                                             : "an unknown wire type",
                 at);
}

/* Reads the key and the length of the field at scan->at. */
static enum progress read_head(const struct tw_scan *scan, const unsigned char *bytes, size_t have,
                               struct field *field, struct tw_error *error) {
    size_t at = scan->at;
    uint64_t key;
    int taken = tw_varint_get(bytes + at, have - at, KEY_BYTES_MAX, &key);
    if (taken <= 0)
        return no_varint(scan, taken, have, at, error);
    enum progress progress = check_key(key, at, field, error);
    if (progress != FIELD_KNOWN)
        return progress;
    at += (size_t)taken;
    uint64_t length = (key & 7) == WIRE_64 ? 8 : 4;
    if ((key & 7) == WIRE_VARINT || (key & 7) == WIRE_BYTES) {
        taken = tw_varint_get(bytes + at, have - at, TW_VARINT_MAX, &field->varint);
        if (taken <= 0)
            return no_varint(scan, taken, have, at, error);
        at += (size_t)taken;
        length = (key & 7) == WIRE_BYTES ? field->varint : 0;
    }
    if (length > scan->frame_bytes - at)
        return wrong(error, "a field that goes beyond the end", scan->at);
    field->value_at = at;
    field->end = at + (size_t)length;
    return FIELD_KNOWN;
}

/* Refuses what no later byte could make right. */
static enum progress check_limits(const struct tw_scan *scan, const struct field *field,
                                  struct tw_error *error) {
    if (field->sort == SORT_DATA) {
        if (!scan->data_allowed && field->end > field->value_at) {
            tw_error_set(error, TW_UNEXPECTED,
                         "%zu tensor bytes where none are allowed (frame of %zu bytes)",
                         field->end - field->value_at, scan->frame_bytes);
            return FIELD_WRONG;
        }
        return FIELD_KNOWN;
    }
    size_t small_bytes = scan->small_bytes + (field->end - scan->at);
    if (small_bytes > TW_SMALL_FIELDS_MAX) {
        tw_error_set(error, TW_LIMIT,
                     "a frame with %zu bytes of small fields; at most %u are allowed", small_bytes,
                     TW_SMALL_FIELDS_MAX);
        return FIELD_WRONG;
    }
    return FIELD_KNOWN;
}

static bool is_standard_data(const struct tw_scan *scan, const struct field *field) {
    return field->sort == SORT_DATA && scan->data_fields == 0 && field->end == scan->frame_bytes &&
           field->end > field->value_at;
}

/* A length that takes more is none to protobuf-c. */
#define PLAIN_HEAD_BYTES 5

static void pass_body(struct tw_scan *scan, const struct field *field) {
    scan->plain &= scan->body == 0 && field->value_at - scan->at <= PLAIN_HEAD_BYTES;
    scan->body = field->number;
    scan->body_at = field->value_at;
    scan->body_bytes = field->end - field->value_at;
}

/* The field is here whole (or is the standard data): counts it. */
static void pass(struct tw_scan *scan, const struct field *field) {
    switch (field->sort) {
    case SORT_BODY:
        pass_body(scan, field);
        break;
    case SORT_LANE:
        scan->lane = (uint32_t)field->varint; /* as protobuf has it of what is larger */
        break;
    case SORT_STRANGER:
        scan->plain = false;
        scan->stranger = field->number;
        break;
    case SORT_DATA:
        if (scan->data_fields++ == 0)
            scan->before_data = scan->small_bytes;
        scan->data_at = field->value_at;
        scan->data_bytes = field->end - field->value_at;
        break;
    }
    if (field->sort != SORT_DATA)
        scan->small_bytes += field->end - scan->at;
    scan->at = field->end;
}

enum tw_scan_result tw_scan_go_on(struct tw_scan *scan, const unsigned char *bytes, size_t have,
                                  struct tw_error *error) {
    while (scan->at < scan->frame_bytes) {
        struct field field = {0};
        enum progress progress = read_head(scan, bytes, have, &field, error);
        if (progress == FIELD_KNOWN) {
            progress = check_limits(scan, &field, error);
        }
        if (progress == FIELD_WRONG) {
            return TW_SCAN_FAILED;
        }
        if (progress == FIELD_SHORT) {
            size_t head_end = scan->at + HEAD_BYTES;
            scan->needs = head_end < scan->frame_bytes ? head_end : scan->frame_bytes;
            return TW_SCAN_MORE;
        }
        if (is_standard_data(scan, &field)) {
            pass(scan, &field);
            return TW_SCAN_STANDARD;
        }
        if (field.end > have) {
            scan->needs = field.end;
            return TW_SCAN_MORE;
        }
        pass(scan, &field);
    }
    return TW_SCAN_COMPLETE;
}

size_t tw_scan_gather(const struct tw_scan *scan, const unsigned char *bytes, unsigned char *out) {
    struct tw_scan again;
    struct field field = {0};
    size_t size = 0;
    tw_scan_begin(&again, scan->frame_bytes, scan->data_allowed);
    while (again.at < again.frame_bytes &&
           read_head(&again, bytes, again.frame_bytes, &field, NULL) == FIELD_KNOWN) {
        if (field.sort != SORT_DATA) {
            memcpy(out + size, bytes + again.at, field.end - again.at);
            size += field.end - again.at;
        }
        again.at = field.end;
    }
    return size;
}
