/* See trace_log_pack.h. Includes the generated protobuf-c code of trace_log.proto.
 *
 * One table says which field of struct tw_trace_entry is which field of the message;
 * unpacking and printing (cli) walk it. */
#include "proto/trace_log_pack.h"

#include <assert.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/flat.h"
#include "proto/trace_log.pb-c.h"

static_assert((int)TW_TRACE_HEADER == (int)TALWEG__TRACE__ENTRY__BODY_HEADER &&
                  (int)TW_TRACE_INPUT == (int)TALWEG__TRACE__ENTRY__BODY_INPUT,
              "kinds are numbered as the fields of Entry");

#define FIELD(type, body, message, name)                                                           \
    {                                                                                              \
#name, type, offsetof(struct tw_trace_entry, body.name),                                   \
            offsetof(Talweg__Trace__##message, name)                                               \
    }
#define COUNT32(...) FIELD(TW_TRACE_COUNT32, __VA_ARGS__)
#define COUNT(...) FIELD(TW_TRACE_COUNT, __VA_ARGS__)
#define TIME(...) FIELD(TW_TRACE_TIME, __VA_ARGS__)
#define BITS(...) FIELD(TW_TRACE_BITS, __VA_ARGS__)
#define REAL(...) FIELD(TW_TRACE_REAL, __VA_ARGS__)
#define BYTES(...) FIELD(TW_TRACE_BYTES, __VA_ARGS__)

static const struct tw_trace_field header[] = {
    COUNT32(header, Header, format),         COUNT(header, Header, unix_ns),
    COUNT32(header, Header, workers),        COUNT32(header, Header, slots),
    COUNT32(header, Header, servers),        COUNT(header, Header, hash_every),
    COUNT(header, Header, sums_every),       COUNT32(header, Header, inexact),
    COUNT32(header, Header, evaluator),      COUNT32(header, Header, admission),
    COUNT(header, Header, checkpoint_every),
};
static const struct tw_trace_field worker[] = {
    COUNT32(worker, Worker, slot),  COUNT(worker, Worker, step), TIME(worker, Worker, received),
    TIME(worker, Worker, computed), TIME(worker, Worker, sent),
};
static const struct tw_trace_field slot[] = {
    COUNT32(slot, Slot, slot), COUNT(slot, Slot, step),  COUNT(slot, Slot, read),
    TIME(slot, Slot, asked),   TIME(slot, Slot, served), TIME(slot, Slot, arrived),
};
static const struct tw_trace_field update[] = {
    COUNT(update, Update, version),
    TIME(update, Update, prepared),
    TIME(update, Update, committed),
    TIME(update, Update, applied),
};
static const struct tw_trace_field sums[] = {
    COUNT(sums, Sums, version),
    REAL(sums, Sums, gradient),
    REAL(sums, Sums, update),
    REAL(sums, Sums, weights),
};
static const struct tw_trace_field hash[] = {
    COUNT(hash, Hash, version),
    BITS(hash, Hash, hash),
};

static const struct tw_trace_field input[] = {
    COUNT(input, Input, sequence), TIME(input, Input, time),
    COUNT32(input, Input, kind),   COUNT32(input, Input, rank),
    COUNT32(input, Input, shard),  COUNT32(input, Input, incarnation),
    COUNT(input, Input, step),     COUNT(input, Input, read),
    COUNT(input, Input, examples), COUNT(input, Input, correct),
    COUNT(input, Input, regather), REAL(input, Input, loss),
    COUNT32(input, Input, flag),   COUNT32(input, Input, tensor),
    COUNT(input, Input, number),   BYTES(input, Input, data),
};

#define SHAPE(number, name, fields) [number] = {name, sizeof fields / sizeof fields[0], fields}
static const struct tw_trace_shape shapes[] = {
    SHAPE(TW_TRACE_HEADER, "HEADER", header), SHAPE(TW_TRACE_WORKER, "WORKER", worker),
    SHAPE(TW_TRACE_SLOT, "SLOT", slot),       SHAPE(TW_TRACE_UPDATE, "UPDATE", update),
    SHAPE(TW_TRACE_SUMS, "SUMS", sums),       SHAPE(TW_TRACE_HASH, "HASH", hash),
    SHAPE(TW_TRACE_INPUT, "INPUT", input),
};
#undef SHAPE

const struct tw_trace_shape *tw_trace_shape(enum tw_trace_kind kind) {
    bool known = kind >= TW_TRACE_HEADER && kind <= TW_TRACE_INPUT;
    return known ? &shapes[kind] : NULL;
}

/* ---- packing ---- */

/* By hand, not by the table above: several entries are written for every push. */

static size_t put_header(const struct tw_trace_header *from, unsigned char *out, size_t at) {
    at = tw_put_number(out, at, 1, from->format);
    at = tw_put_number(out, at, 2, from->unix_ns);
    at = tw_put_number(out, at, 3, from->workers);
    at = tw_put_number(out, at, 4, from->slots);
    at = tw_put_number(out, at, 5, from->servers);
    at = tw_put_number(out, at, 6, from->hash_every);
    at = tw_put_number(out, at, 7, from->sums_every);
    at = tw_put_number(out, at, 8, from->inexact);
    at = tw_put_number(out, at, 9, from->evaluator);
    at = tw_put_number(out, at, 10, from->admission);
    return tw_put_number(out, at, 11, from->checkpoint_every);
}

static size_t put_worker(const struct tw_trace_worker *from, unsigned char *out, size_t at) {
    at = tw_put_number(out, at, 1, from->slot);
    at = tw_put_number(out, at, 2, from->step);
    at = tw_put_number(out, at, 3, from->received);
    at = tw_put_number(out, at, 4, from->computed);
    return tw_put_number(out, at, 5, from->sent);
}

static size_t put_slot(const struct tw_trace_slot *from, unsigned char *out, size_t at) {
    at = tw_put_number(out, at, 1, from->slot);
    at = tw_put_number(out, at, 2, from->step);
    at = tw_put_number(out, at, 3, from->read);
    at = tw_put_number(out, at, 4, from->asked);
    at = tw_put_number(out, at, 5, from->served);
    return tw_put_number(out, at, 6, from->arrived);
}

static size_t put_update(const struct tw_trace_update *from, unsigned char *out, size_t at) {
    at = tw_put_number(out, at, 1, from->version);
    at = tw_put_number(out, at, 2, from->prepared);
    at = tw_put_number(out, at, 3, from->committed);
    return tw_put_number(out, at, 4, from->applied);
}

static size_t put_sums(const struct tw_trace_sums *from, unsigned char *out, size_t at) {
    at = tw_put_number(out, at, 1, from->version);
    at = tw_put_real(out, at, 2, from->gradient);
    at = tw_put_real(out, at, 3, from->update);
    return tw_put_real(out, at, 4, from->weights);
}

static size_t put_hash(const struct tw_trace_hash *from, unsigned char *out, size_t at) {
    return tw_put_fixed(out, tw_put_number(out, at, 1, from->version), 2, from->hash);
}

static size_t put_input(const struct tw_trace_input *from, unsigned char *out, size_t at) {
    at = tw_put_number(out, at, 1, from->sequence);
    at = tw_put_number(out, at, 2, from->time);
    at = tw_put_number(out, at, 3, from->kind);
    at = tw_put_number(out, at, 4, from->rank);
    at = tw_put_number(out, at, 5, from->shard);
    at = tw_put_number(out, at, 6, from->incarnation);
    at = tw_put_number(out, at, 7, from->step);
    at = tw_put_number(out, at, 8, from->read);
    at = tw_put_number(out, at, 9, from->examples);
    at = tw_put_number(out, at, 10, from->correct);
    at = tw_put_number(out, at, 11, from->regather);
    at = tw_put_real(out, at, 12, from->loss);
    at = tw_put_number(out, at, 13, from->flag);
    at = tw_put_number(out, at, 14, from->tensor);
    at = tw_put_number(out, at, 15, from->number);
    return tw_put_bytes(out, at, 16, from->data.at, from->data.size);
}

static size_t put_body(const struct tw_trace_entry *entry, unsigned char *out, size_t at) {
    switch (entry->kind) {
    case TW_TRACE_HEADER:
        return put_header(&entry->header, out, at);
    case TW_TRACE_WORKER:
        return put_worker(&entry->worker, out, at);
    case TW_TRACE_SLOT:
        return put_slot(&entry->slot, out, at);
    case TW_TRACE_UPDATE:
        return put_update(&entry->update, out, at);
    case TW_TRACE_SUMS:
        return put_sums(&entry->sums, out, at);
    case TW_TRACE_HASH:
        return put_hash(&entry->hash, out, at);
    case TW_TRACE_INPUT:
        return put_input(&entry->input, out, at);
    }
    return at;
}

/* An Entry has nothing but its body: key, length, fields. */
size_t tw_trace_message_pack(const struct tw_trace_entry *entry, unsigned char *out) {
    size_t at = tw_put_key(out, 0, (unsigned)entry->kind, TW_WIRE_BYTES);
    return tw_put_length(out, at, put_body(entry, out, at + 1));
}

/* ---- unpacking ---- */

static bool copy_data(struct tw_trace_data *to, const ProtobufCBinaryData *from) {
    if (from->len > TW_TRACE_DATA_MAX)
        return false;
    to->size = (uint32_t)from->len;
    if (to->size)
        memcpy(to->at, from->data, to->size);
    return true;
}

static_assert(sizeof(double) == sizeof(uint64_t), "a real is as large as a count");

/* False: it has too much data. */
static bool copy_fields(struct tw_trace_entry *entry, const void *message) {
    const struct tw_trace_shape *shape = tw_trace_shape(entry->kind);
    for (size_t i = 0; i < shape->count; i++) {
        const struct tw_trace_field *field = &shape->field[i];
        void *to = (char *)entry + field->offset;
        const void *from = (const char *)message + field->wire;
        if (field->type != TW_TRACE_BYTES)
            memcpy(to, from, field->type == TW_TRACE_COUNT32 ? sizeof(uint32_t) : sizeof(uint64_t));
        else if (!copy_data(to, from))
            return false;
    }
    return true;
}

static void *arena_alloc(void *context, size_t size) {
    struct tw_trace_arena *arena = context;
    return tw_arena_take(arena->bytes, sizeof arena->bytes, &arena->used, size);
}

static void arena_free(void *context, void *memory) {
    (void)context;
    (void)memory;
}

enum tw_status tw_trace_message_unpack(struct tw_trace_arena *arena, const unsigned char *bytes,
                                       size_t size, struct tw_trace_entry *entry, bool *known,
                                       struct tw_error *error) {
    ProtobufCAllocator allocator = {
        .alloc = arena_alloc, .free = arena_free, .allocator_data = arena};
    arena->used = 0;
    const Talweg__Trace__Entry *parsed = talweg__trace__entry__unpack(&allocator, size, bytes);
    if (parsed == NULL)
        return tw_error_set(error, TW_DATA, "its %zu bytes are not a valid message", size);
    *entry = (struct tw_trace_entry){.kind = (enum tw_trace_kind)parsed->body_case};
    *known = tw_trace_shape(entry->kind) != NULL;
    if (*known && !copy_fields(entry, parsed->header))
        return tw_error_set(error, TW_DATA, "data of more than %u bytes", TW_TRACE_DATA_MAX);
    return TW_OK;
}
