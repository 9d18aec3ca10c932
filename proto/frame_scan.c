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

struct field {
    uint32_t number;
    unsigned wire;
    size_t value_at; /* of its value, from the frame's start */
    size_t end;
};

enum progress { FIELD_KNOWN, FIELD_SHORT, FIELD_WRONG };

void tw_scan_begin(struct tw_scan *scan, size_t frame_bytes, bool data_allowed) {
    *scan = (struct tw_scan){.frame_bytes = frame_bytes, .data_allowed = data_allowed};
}

size_t tw_scan_needs(const struct tw_scan *scan) {
    return scan->needs;
}

static enum progress wrong(struct tw_error *error, const char *what, size_t at) {
    tw_error_set(error, TW_MALFORMED, "%s at byte %zu of a frame", what, at);
    return FIELD_WRONG;
}

/* A varint of the frame: FIELD_SHORT only when the frame goes on. */
static enum progress take_varint(const struct tw_scan *scan, const unsigned char *bytes,
                                 size_t have, size_t *at, int longest, uint64_t *value,
                                 struct tw_error *error) {
    int taken = tw_varint_get(bytes + *at, have - *at, longest, value);
    if (taken == TW_VARINT_OVERLONG) {
        return wrong(error, "an overlong varint", *at);
    }
    if (taken == TW_VARINT_SHORT) {
        return have < scan->frame_bytes ? FIELD_SHORT
                                        : wrong(error, "a field that is cut off", scan->at);
    }
    *at += (size_t)taken;
    return FIELD_KNOWN;
}

static bool is_body(uint32_t number) {
    return number >= TW_BODY_HELLO && number <= TW_BODY_LAST;
}

static enum progress check_key(uint64_t key, size_t at, struct field *field,
                               struct tw_error *error) {
    if (key > UINT32_MAX || key >> 3 == 0) {
        return wrong(error, "an impossible field number", at);
    }
    field->number = (uint32_t)(key >> 3);
    field->wire = key & 7;
    if (field->wire != WIRE_VARINT && field->wire != WIRE_64 && field->wire != WIRE_BYTES &&
        field->wire != WIRE_32) {
        return wrong(error, "an unknown wire type", at);
    }
    bool holds_bytes = is_body(field->number) || field->number == DATA_NUMBER;
    if ((holds_bytes && field->wire != WIRE_BYTES) ||
        (field->number == LANE_NUMBER && field->wire != WIRE_VARINT)) {
        return wrong(error, "a field with the wrong wire type", at);
    }
    return FIELD_KNOWN;
}

/* Reads the key and the length of the field at scan->at. */
static enum progress read_head(const struct tw_scan *scan, const unsigned char *bytes, size_t have,
                               struct field *field, struct tw_error *error) {
    size_t at = scan->at;
    uint64_t value;
    enum progress progress = take_varint(scan, bytes, have, &at, KEY_BYTES_MAX, &value, error);
    if (progress == FIELD_KNOWN) {
        progress = check_key(value, scan->at, field, error);
    }
    if (progress != FIELD_KNOWN) {
        return progress;
    }
    uint64_t length = field->wire == WIRE_64 ? 8 : field->wire == WIRE_32 ? 4 : 0;
    if (field->wire == WIRE_VARINT || field->wire == WIRE_BYTES) {
        progress = take_varint(scan, bytes, have, &at, TW_VARINT_MAX, &value, error);
        if (progress != FIELD_KNOWN) {
            return progress;
        }
        length = field->wire == WIRE_BYTES ? value : 0;
    }
    if (length > scan->frame_bytes - at) {
        return wrong(error, "a field that goes beyond the end", scan->at);
    }
    field->value_at = at;
    field->end = at + (size_t)length;
    return FIELD_KNOWN;
}

/* Refuses what no later byte could make right. */
static enum progress check_limits(const struct tw_scan *scan, const struct field *field,
                                  struct tw_error *error) {
    if (field->number == DATA_NUMBER) {
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
    return field->number == DATA_NUMBER && scan->data_fields == 0 &&
           field->end == scan->frame_bytes && field->end > field->value_at;
}

/* The field is here whole (or is the standard data): counts it. */
static void pass(struct tw_scan *scan, const struct field *field) {
    if (field->number == DATA_NUMBER) {
        if (scan->data_fields++ == 0) {
            scan->before_data = scan->small_bytes;
        }
        scan->data_at = field->value_at;
        scan->data_bytes = field->end - field->value_at;
    } else {
        scan->small_bytes += field->end - scan->at;
        if (field->number != LANE_NUMBER)
            *(is_body(field->number) ? &scan->body : &scan->stranger) = field->number;
    }
    scan->at = field->end;
}

enum tw_scan_result tw_scan_go_on(struct tw_scan *scan, const unsigned char *bytes, size_t have,
                                  struct tw_error *error) {
    while (scan->at < scan->frame_bytes) {
        struct field field;
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
    struct field field;
    size_t size = 0;
    tw_scan_begin(&again, scan->frame_bytes, scan->data_allowed);
    while (again.at < again.frame_bytes &&
           read_head(&again, bytes, again.frame_bytes, &field, NULL) == FIELD_KNOWN) {
        if (field.number != DATA_NUMBER) {
            memcpy(out + size, bytes + again.at, field.end - again.at);
            size += field.end - again.at;
        }
        again.at = field.end;
    }
    return size;
}
