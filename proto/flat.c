#include "proto/flat.h"

#include <string.h>

#include "proto/varint.h"

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1 };

/* ---- packing ---- */

/* What a field adds to a message, behind `out`. */
struct piece {
    uint32_t number;
    int wire; /* -1: nothing */
    uint64_t value;
};

static size_t put_piece(const struct piece *piece, unsigned char *out) {
    uint64_t key = (uint64_t)piece->number << 3 | (unsigned)piece->wire;
    bool fixed = piece->wire == WIRE_FIXED64;
    if (out == NULL)
        return tw_varint_bytes(key) + (fixed ? sizeof piece->value : tw_varint_bytes(piece->value));
    size_t size = tw_varint_put(out, key);
    if (!fixed)
        return size + tw_varint_put(out + size, piece->value);
    for (int i = 0; i < 8; i++)
        out[size++] = (unsigned char)(piece->value >> 8 * i);
    return size;
}

/* False: the field is of another kind. Zeros are not written, as in any proto3 message. */
static bool take_number(const ProtobufCFieldDescriptor *field, const void *at,
                        struct piece *piece) {
    piece->wire = WIRE_VARINT;
    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT32:
        piece->value = *(const uint32_t *)at;
        break;
    case PROTOBUF_C_TYPE_ENUM:
        if (*(const int32_t *)at < 0)
            return false;
        piece->value = *(const uint32_t *)at;
        break;
    case PROTOBUF_C_TYPE_UINT64:
        piece->value = *(const uint64_t *)at;
        break;
    case PROTOBUF_C_TYPE_BOOL:
        piece->value = *(const protobuf_c_boolean *)at != 0;
        break;
    case PROTOBUF_C_TYPE_FIXED64:
        piece->wire = WIRE_FIXED64;
        piece->value = *(const uint64_t *)at;
        break;
    case PROTOBUF_C_TYPE_DOUBLE: /* -0 is a zero, too */
        piece->wire = *(const double *)at == 0 ? -1 : WIRE_FIXED64;
        memcpy(&piece->value, at, sizeof piece->value);
        return true;
    case PROTOBUF_C_TYPE_BYTES:
        piece->value = 0;
        if (((const ProtobufCBinaryData *)at)->len)
            return false;
        break;
    default:
        return false;
    }
    if (piece->value == 0)
        piece->wire = -1;
    return true;
}

/* An empty list, or a choice of which this field is not the one. */
static bool is_absent(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message) {
    const void *quantifier = (const char *)message + field->quantifier_offset;
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return *(const size_t *)quantifier == 0;
    return (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
           *(const uint32_t *)quantifier != field->id;
}

size_t tw_flat_pack(const ProtobufCMessage *message, unsigned char *out) {
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    size_t size = 0;
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        struct piece piece = {.number = field->id};
        if (is_absent(field, message))
            continue;
        if (field->label != PROTOBUF_C_LABEL_NONE ||
            !take_number(field, (const char *)message + field->offset, &piece))
            return out != NULL ? protobuf_c_message_pack(message, out)
                               : protobuf_c_message_get_packed_size(message);
        if (piece.wire >= 0)
            size += put_piece(&piece, out != NULL ? out + size : NULL);
    }
    return size;
}

/* ---- unpacking ---- */

/* Returns the bytes that were read; 0: they are no such number. */
static size_t get_number(const ProtobufCFieldDescriptor *field, unsigned wire,
                         const unsigned char *bytes, size_t size, void *to) {
    uint64_t value = 0;
    if (field->type == PROTOBUF_C_TYPE_DOUBLE || field->type == PROTOBUF_C_TYPE_FIXED64) {
        if (wire != WIRE_FIXED64 || size < sizeof value)
            return 0;
        for (int i = 0; i < 8; i++)
            value |= (uint64_t)bytes[i] << 8 * i;
        memcpy(to, &value, sizeof value);
        return sizeof value;
    }
    int used = wire == WIRE_VARINT ? tw_varint_get(bytes, size, TW_VARINT_MAX, &value) : 0;
    if (used <= 0)
        return 0;
    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_ENUM:
        *(uint32_t *)to = (uint32_t)value;
        return value <= INT32_MAX || (value <= UINT32_MAX && field->type == PROTOBUF_C_TYPE_UINT32)
                   ? (size_t)used
                   : 0;
    case PROTOBUF_C_TYPE_UINT64:
        *(uint64_t *)to = value;
        return (size_t)used;
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)to = value != 0;
        return value <= 1 ? (size_t)used : 0;
    default:
        return 0;
    }
}

bool tw_flat_unpack(const ProtobufCMessageDescriptor *descriptor, const unsigned char *bytes,
                    size_t size, void *message) {
    size_t at = 0;
    unsigned i = 0; /* the next field: they come in the order of their numbers */
    protobuf_c_message_init(descriptor, message);
    while (at < size) {
        uint64_t key;
        int used = tw_varint_get(bytes + at, size - at, 5, &key);
        while (used > 0 && i < descriptor->n_fields && descriptor->fields[i].id < key >> 3)
            i++;
        if (used <= 0 || i == descriptor->n_fields || descriptor->fields[i].id != key >> 3 ||
            descriptor->fields[i].label != PROTOBUF_C_LABEL_NONE)
            return false;
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i++];
        at += (size_t)used;
        size_t taken =
            get_number(field, key & 7, bytes + at, size - at, (char *)message + field->offset);
        if (taken == 0)
            return false;
        at += taken;
    }
    return true;
}
