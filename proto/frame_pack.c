/* See frame_pack.h. The only file that includes the generated protobuf-c code.
 *
 * One table says which field of struct tw_frame is which field of the message;
 * packing and unpacking both walk it. Packing needs no memory: a body is a
 * protobuf-c message on the stack whose bytes point into the caller's views. Two
 * things of protobuf-c stand in the way and are worked around here: its text
 * ends with a zero (short copies on the stack), and a repeated message is an
 * array of pointers (Join is packed in parts: head, tensors one by one, tail; so is
 * Ping with its measures; the parts of a message laid end to end are that message).
 */
#include "proto/frame_pack.h"

#include <string.h>

#include "proto/arena.h"
#include "proto/flat.h"
#include "proto/talweg.pb-c.h"
#include "proto/varint.h"

enum kind { KIND_U32, KIND_U64, KIND_REAL, KIND_FLAG, KIND_BYTES, KIND_TEXT };

struct field {
    enum kind kind;
    size_t ours, theirs; /* offsets in struct tw_frame and in the message */
};

#define OURS(body, name) (((struct tw_frame *)0)->body.name)
#define THEIRS(message, name) (((Talweg__##message *)0)->name)

/* An enumeration is a uint32_t on both sides. */
#define KIND_OF(theirs)                                                                            \
    _Generic((theirs),                                                                 \
        uint64_t: KIND_U64,                                                            \
        double: KIND_REAL,                                                             \
        protobuf_c_boolean: KIND_FLAG,                                                 \
        ProtobufCBinaryData: KIND_BYTES,                                               \
        char *: KIND_TEXT,                                                             \
        default: KIND_U32)

#define FIELD(body, message, name)                                                                 \
    {                                                                                              \
        KIND_OF(THEIRS(message, name)), offsetof(struct tw_frame, body.name),                      \
            offsetof(Talweg__##message, name)                                                      \
    }

static const struct field hello[] = {FIELD(hello, Hello, protocol_min),
                                     FIELD(hello, Hello, protocol_max), FIELD(hello, Hello, nonce),
                                     FIELD(hello, Hello, software)};
static const struct field challenge[] = {
    FIELD(challenge, Challenge, protocol), FIELD(challenge, Challenge, nonce),
    FIELD(challenge, Challenge, proof), FIELD(challenge, Challenge, token)};
static const struct field proof[] = {FIELD(proof, Proof, proof)};
static const struct field join[] = {
    FIELD(join, Join, role),        FIELD(join, Join, any_rank), FIELD(join, Join, rank),
    FIELD(join, Join, incarnation), FIELD(join, Join, session),  FIELD(join, Join, job),
    FIELD(join, Join, digest),      FIELD(join, Join, numerics), FIELD(join, Join, read),
    FIELD(join, Join, encodings),   FIELD(join, Join, samples),  FIELD(join, Join, valued),
};
static const struct field welcome[] = {
    FIELD(welcome, Welcome, job),        FIELD(welcome, Welcome, session),
    FIELD(welcome, Welcome, rank),       FIELD(welcome, Welcome, incarnation),
    FIELD(welcome, Welcome, generation), FIELD(welcome, Welcome, epoch),
    FIELD(welcome, Welcome, workers),    FIELD(welcome, Welcome, slots),
    FIELD(welcome, Welcome, slot),       FIELD(welcome, Welcome, width),
    FIELD(welcome, Welcome, last_step),  FIELD(welcome, Welcome, chunk_bytes),
    FIELD(welcome, Welcome, servers),    FIELD(welcome, Welcome, attempt),
    FIELD(welcome, Welcome, push),       FIELD(welcome, Welcome, pull),
    FIELD(welcome, Welcome, portions),
};
static const struct field attach[] = {
    FIELD(attach, Attach, role),        FIELD(attach, Attach, rank),
    FIELD(attach, Attach, incarnation), FIELD(attach, Attach, session),
    FIELD(attach, Attach, attempt),
};
static const struct field refuse[] = {FIELD(refuse, Refuse, status), FIELD(refuse, Refuse, name),
                                      FIELD(refuse, Refuse, text)};
static const struct field push[] = {
    FIELD(push, Push, slot),  FIELD(push, Push, incarnation), FIELD(push, Push, generation),
    FIELD(push, Push, epoch), FIELD(push, Push, step),        FIELD(push, Push, chunk),
};
static const struct field end[] = {
    FIELD(end, End, slot),    FIELD(end, End, incarnation), FIELD(end, End, generation),
    FIELD(end, End, epoch),   FIELD(end, End, step),        FIELD(end, End, read),
    FIELD(end, End, frames),  FIELD(end, End, examples),    FIELD(end, End, loss),
    FIELD(end, End, correct),
};
static const struct field weights[] = {
    FIELD(weights, Weights, position),   FIELD(weights, Weights, version),
    FIELD(weights, Weights, generation), FIELD(weights, Weights, epoch),
    FIELD(weights, Weights, step),       FIELD(weights, Weights, chunk),
    FIELD(weights, Weights, array),
};
static const struct field ask[] = {FIELD(ask, Ask, samples)};
static const struct field evaluation[] = {
    FIELD(evaluation, Evaluation, position), FIELD(evaluation, Evaluation, samples),
    FIELD(evaluation, Evaluation, loss),     FIELD(evaluation, Evaluation, accuracy),
    FIELD(evaluation, Evaluation, metrics),  FIELD(evaluation, Evaluation, top5),
    FIELD(evaluation, Evaluation, auc),      FIELD(evaluation, Evaluation, r2),
};
static const struct field regather[] = {FIELD(regather, Regather, version)};
static const struct field stop[] = {FIELD(stop, Stop, status), FIELD(stop, Stop, text)};
static const struct field ping[] = {FIELD(ping, Ping, step), FIELD(ping, Ping, nonce)};
static const struct field pong[] = {FIELD(pong, Pong, nonce), FIELD(pong, Pong, time)};
static const struct field query[] = {FIELD(query, Query, first), FIELD(query, Query, ranks)};
static const struct field status[] = {
    FIELD(status, Status, mode),           FIELD(status, Status, phase),
    FIELD(status, Status, workers),        FIELD(status, Status, ranks),
    FIELD(status, Status, version),        FIELD(status, Status, samples),
    FIELD(status, Status, samples_total),  FIELD(status, Status, epoch),
    FIELD(status, Status, seconds),        FIELD(status, Status, samples_per_second),
    FIELD(status, Status, train_loss),     FIELD(status, Status, staleness_mean),
    FIELD(status, Status, staleness_max),  FIELD(status, Status, dropped),
    FIELD(status, Status, update_seconds), FIELD(status, Status, since_update),
    FIELD(status, Status, waiting),
};
static const struct field rank_status[] = {
    FIELD(rank_status, RankStatus, rank),      FIELD(rank_status, RankStatus, state),
    FIELD(rank_status, RankStatus, step),      FIELD(rank_status, RankStatus, since),
    FIELD(rank_status, RankStatus, computing), FIELD(rank_status, RankStatus, waiting),
    FIELD(rank_status, RankStatus, network),   FIELD(rank_status, RankStatus, away),
    FIELD(rank_status, RankStatus, culprit),   FIELD(rank_status, RankStatus, culprit_seconds),
    FIELD(rank_status, RankStatus, peer),      FIELD(rank_status, RankStatus, blamed),
    FIELD(rank_status, RankStatus, silent),
};
static const struct field turn[] = {FIELD(turn, Turn, mode)};
static const struct field turned[] = {FIELD(turned, Turned, mode), FIELD(turned, Turned, position),
                                      FIELD(turned, Turned, version)};
static const struct field cancel[] = {FIELD(cancel, Cancel, step)};

static const struct field serve[] = {
    FIELD(serve, Serve, index),  FIELD(serve, Serve, servers), FIELD(serve, Serve, digest),
    FIELD(serve, Serve, layout), FIELD(serve, Serve, address), FIELD(serve, Serve, pooled),
    FIELD(serve, Serve, ahead),
};
static const struct field served[] = {FIELD(served, Served, job)};
static const struct field ready[] = {
    FIELD(ready, Ready, slot),    FIELD(ready, Ready, incarnation), FIELD(ready, Ready, step),
    FIELD(ready, Ready, read),    FIELD(ready, Ready, examples),    FIELD(ready, Ready, regather),
    FIELD(ready, Ready, loss),    FIELD(ready, Ready, finite),      FIELD(ready, Ready, bad_tensor),
    FIELD(ready, Ready, correct), FIELD(ready, Ready, chunks),      FIELD(ready, Ready, ages),
    FIELD(ready, Ready, oldest),
};
static const struct field sums[] = {FIELD(sums, Sums, version), FIELD(sums, Sums, finite),
                                    FIELD(sums, Sums, squares)};
static const struct field collect[] = {FIELD(collect, Collect, average)};
static const struct field reach[] = {FIELD(reach, Reach, rank), FIELD(reach, Reach, attempt),
                                     FIELD(reach, Reach, attached)};
static const struct field order[] = {FIELD(order, Order, record), FIELD(order, Order, more),
                                     FIELD(order, Order, prepare), FIELD(order, Order, evaluators)};
static const struct field member[] = {
    FIELD(member, Member, role),        FIELD(member, Member, rank),
    FIELD(member, Member, incarnation), FIELD(member, Member, attempt),
    FIELD(member, Member, session),
};

static const struct field squares[] = {
    FIELD(squares, Squares, version), FIELD(squares, Squares, tensor),
    FIELD(squares, Squares, applied), FIELD(squares, Squares, sums)};
static const struct field sample[] = {FIELD(sample, Sample, version), FIELD(sample, Sample, hashed),
                                      FIELD(sample, Sample, summed), FIELD(sample, Sample, hash),
                                      FIELD(sample, Sample, sums)};

static const struct field portion[] = {FIELD(portion, Portion, position),
                                       FIELD(portion, Portion, first),
                                       FIELD(portion, Portion, samples)};
static const struct field tally[] = {
    FIELD(tally, Tally, position), FIELD(tally, Tally, first),      FIELD(tally, Tally, samples),
    FIELD(tally, Tally, correct),  FIELD(tally, Tally, among_five), FIELD(tally, Tally, loss),
    FIELD(tally, Tally, output),   FIELD(tally, Tally, fits),       FIELD(tally, Tally, scores),
};

static const struct body {
    const char *name;
    const ProtobufCMessageDescriptor *descriptor;
    const struct field *fields;
    size_t count;
} bodies[] = {
#define BODY(number, Name, fields)                                                                 \
    [number] = {#Name, &talweg__##fields##__descriptor, fields, sizeof fields / sizeof fields[0]}
    BODY(TW_BODY_HELLO, Hello, hello),
    BODY(TW_BODY_CHALLENGE, Challenge, challenge),
    BODY(TW_BODY_PROOF, Proof, proof),
    BODY(TW_BODY_JOIN, Join, join),
    BODY(TW_BODY_WELCOME, Welcome, welcome),
    BODY(TW_BODY_ATTACH, Attach, attach),
    [TW_BODY_ATTACHED] = {"Attached", &talweg__attached__descriptor, NULL, 0},
    BODY(TW_BODY_REFUSE, Refuse, refuse),
    BODY(TW_BODY_PUSH, Push, push),
    BODY(TW_BODY_END, End, end),
    BODY(TW_BODY_WEIGHTS, Weights, weights),
    BODY(TW_BODY_ASK, Ask, ask),
    BODY(TW_BODY_EVALUATION, Evaluation, evaluation),
    BODY(TW_BODY_REGATHER, Regather, regather),
    BODY(TW_BODY_STOP, Stop, stop),
    BODY(TW_BODY_PING, Ping, ping),
    BODY(TW_BODY_PONG, Pong, pong),
    [TW_BODY_BYE] = {"Bye", &talweg__bye__descriptor, NULL, 0},
    BODY(TW_BODY_QUERY, Query, query),
    BODY(TW_BODY_STATUS, Status, status),
    BODY(TW_BODY_RANK_STATUS, RankStatus, rank_status),
    BODY(TW_BODY_TURN, Turn, turn),
    BODY(TW_BODY_TURNED, Turned, turned),
    BODY(TW_BODY_CANCEL, Cancel, cancel),
    BODY(TW_BODY_SERVE, Serve, serve),
    BODY(TW_BODY_SERVED, Served, served),
    BODY(TW_BODY_READY, Ready, ready),
    BODY(TW_BODY_SUMS, Sums, sums),
    BODY(TW_BODY_REACH, Reach, reach),
    BODY(TW_BODY_ORDER, Order, order),
    BODY(TW_BODY_MEMBER, Member, member),
    BODY(TW_BODY_COLLECT, Collect, collect),
    BODY(TW_BODY_SAMPLE, Sample, sample),
    BODY(TW_BODY_SQUARES, Squares, squares),
    BODY(TW_BODY_PORTION, Portion, portion),
    BODY(TW_BODY_TALLY, Tally, tally),
#undef BODY
};

static_assert(sizeof bodies / sizeof bodies[0] == TW_BODY_LAST + 1, "a row for every body");
static_assert(sizeof(enum tw_role) == sizeof(uint32_t) &&
                  sizeof(Talweg__Role) == sizeof(uint32_t) &&
                  sizeof(enum tw_phase) == sizeof(uint32_t) &&
                  sizeof(enum tw_rank_state) == sizeof(uint32_t),
              "an enumeration travels as a uint32_t");

/* The row of a body that exists; NULL for any other number. */
static const struct body *body_row(enum tw_body number) {
    bool known = number > TW_BODY_NONE && number <= TW_BODY_LAST;
    return known ? &bodies[number] : NULL;
}

const char *tw_body_name(enum tw_body number) {
    const struct body *body = body_row(number);
    return body != NULL ? body->name : "?";
}

/* ---- from tw_frame ---- */

/* Room for any body, and for the terminated copies of its texts. */
struct message {
    union {
        ProtobufCMessage base;
        Talweg__Join join;
        Talweg__Welcome welcome;
        Talweg__End end;
        Talweg__Status status;
        unsigned char room[256];
    };
    size_t texts;
    char text[2][TW_ERROR_TEXT + 1];
};

/* A terminated copy, cut to `room` - 1 bytes. */
static char *text_copy(struct tw_view view, char *copy, size_t room) {
    size_t size = view.size < room ? view.size : room - 1;
    if (size > 0) {
        memcpy(copy, view.bytes, size);
    }
    copy[size] = '\0';
    return copy;
}

static ProtobufCBinaryData bytes_of(struct tw_view view) {
    return (ProtobufCBinaryData){.len = view.size, .data = (uint8_t *)(uintptr_t)view.bytes};
}

static void put_field(struct message *message, const struct field *field,
                      const struct tw_frame *frame) {
    const void *from = (const char *)frame + field->ours;
    void *to = (char *)&message->base + field->theirs;
    switch (field->kind) {
    case KIND_U32:
        *(uint32_t *)to = *(const uint32_t *)from;
        break;
    case KIND_U64:
        *(uint64_t *)to = *(const uint64_t *)from;
        break;
    case KIND_REAL:
        *(double *)to = *(const double *)from;
        break;
    case KIND_FLAG:
        *(protobuf_c_boolean *)to = *(const bool *)from;
        break;
    case KIND_BYTES:
        *(ProtobufCBinaryData *)to = bytes_of(*(const struct tw_view *)from);
        break;
    case KIND_TEXT:
        *(char **)to = text_copy(*(const struct tw_view *)from, message->text[message->texts++],
                                 sizeof message->text[0]);
        break;
    }
}

/* Fills in the fields [from, to) of the body's row. */
static void put_fields(struct message *message, const struct body *body, size_t from, size_t to,
                       const struct tw_frame *frame) {
    protobuf_c_message_init(body->descriptor, message->room);
    message->texts = 0;
    for (size_t i = from; i < to; i++) {
        put_field(message, &body->fields[i], frame);
    }
}

static size_t pack_tensor(const struct tw_tensor_shape *from, unsigned char *out) {
    const unsigned char key = 8 << 3 | 2; /* Join.tensors */
    char name[TW_NAME_MAX + 1];
    Talweg__Tensor tensor = TALWEG__TENSOR__INIT;
    tensor.name = text_copy(from->name, name, sizeof name);
    tensor.n_shape = from->dims;
    tensor.shape = (uint64_t *)(uintptr_t)from->shape;
    size_t bytes = tw_flat_pack(&tensor.base, NULL);
    size_t head = 1 + tw_varint_bytes(bytes);
    if (out != NULL) {
        out[0] = key;
        tw_varint_put(out + 1, bytes);
        tw_flat_pack(&tensor.base, out + head);
    }
    return head + bytes;
}

static size_t pack_measure(const struct tw_measure *from, unsigned char *out) {
    const unsigned char key = 3 << 3 | 2; /* Ping.measures */
    Talweg__Measure measure = TALWEG__MEASURE__INIT;
    measure.step = from->step;
    measure.received = from->received;
    measure.computed = from->computed;
    measure.sent = from->sent;
    size_t bytes = tw_flat_pack(&measure.base, NULL);
    if (out != NULL) {
        out[0] = key;
        out[1] = (unsigned char)bytes; /* at most 44 */
        tw_flat_pack(&measure.base, out + 2);
    }
    return 2 + bytes;
}

static size_t pack_measures(const struct tw_ping *from, unsigned char *out) {
    size_t size = 0;
    for (size_t i = 0; i < from->measures; i++)
        size += pack_measure(&from->measure[i], out != NULL ? out + size : NULL);
    return size;
}

static size_t pack_addresses(const struct tw_welcome *from, unsigned char *out) {
    const unsigned char key = 15 << 3 | 2; /* Welcome.addresses */
    size_t size = 0;
    for (size_t i = 0; i < from->addresses; i++) {
        const struct tw_view *text = &from->address[i];
        if (out != NULL) {
            out[size] = key;
            tw_varint_put(out + size + 1, text->size);
        }
        size += 1 + tw_varint_bytes(text->size);
        if (out != NULL && text->size > 0)
            memcpy(out + size, text->bytes, text->size);
        size += text->size;
    }
    return size;
}

/* How many fields of the row come before the body's list, in the order of their numbers. */
static size_t fields_before_list(const struct tw_frame *frame, const struct body *body) {
    switch (frame->body) {
    case TW_BODY_JOIN:
        return 7;
    case TW_BODY_WELCOME:
        return 14;
    default: /* Ping's is the last, the others have none */
        return body->count;
    }
}

static size_t pack_list(const struct tw_frame *frame, unsigned char *out) {
    size_t size = 0;
    switch (frame->body) {
    case TW_BODY_JOIN:
        for (size_t i = 0; i < frame->join.tensors; i++)
            size += pack_tensor(&frame->join.tensor[i], out != NULL ? out + size : NULL);
        return size;
    case TW_BODY_WELCOME:
        return pack_addresses(&frame->welcome, out);
    case TW_BODY_PING:
        return pack_measures(&frame->ping, out);
    default:
        return 0;
    }
}

size_t tw_frame_pack_fields(const struct tw_frame *frame, unsigned char *out) {
    const struct body *body = body_row(frame->body);
    size_t before = fields_before_list(frame, body);
    struct message message;
    put_fields(&message, body, 0, before, frame);
    size_t size = tw_flat_pack(&message.base, out);
    size += pack_list(frame, out != NULL ? out + size : NULL);
    if (before == body->count)
        return size;
    put_fields(&message, body, before, body->count, frame);
    return size + tw_flat_pack(&message.base, out != NULL ? out + size : NULL);
}

/* ---- to tw_frame ---- */

void *tw_unpack_arena_take(struct tw_unpack_arena *arena, size_t size) {
    return tw_arena_take(arena->bytes, sizeof arena->bytes, &arena->used, size);
}

/* The arena as protobuf-c sees it; remembers that it was used up, because
 * protobuf-c does not say why it failed. */
struct budget {
    struct tw_unpack_arena *arena;
    bool exceeded;
};

static void *budget_alloc(void *context, size_t size) {
    struct budget *budget = context;
    void *at = tw_unpack_arena_take(budget->arena, size);
    budget->exceeded |= at == NULL;
    return at;
}

static void budget_free(void *context, void *memory) {
    (void)context;
    (void)memory;
}

static struct tw_view text_view(const char *text) {
    return (struct tw_view){.bytes = text, .size = strlen(text)};
}

static void get_field(struct tw_frame *frame, const struct field *field,
                      const ProtobufCMessage *message) {
    const void *from = (const char *)message + field->theirs;
    void *to = (char *)frame + field->ours;
    switch (field->kind) {
    case KIND_U32:
        *(uint32_t *)to = *(const uint32_t *)from;
        break;
    case KIND_U64:
        *(uint64_t *)to = *(const uint64_t *)from;
        break;
    case KIND_REAL:
        *(double *)to = *(const double *)from;
        break;
    case KIND_FLAG:
        *(bool *)to = *(const protobuf_c_boolean *)from != 0;
        break;
    case KIND_BYTES: {
        const ProtobufCBinaryData *bytes = from;
        *(struct tw_view *)to = (struct tw_view){.bytes = bytes->data, .size = bytes->len};
        break;
    }
    case KIND_TEXT:
        *(struct tw_view *)to = text_view(*(char *const *)from);
        break;
    }
}

static bool get_tensors(struct budget *budget, struct tw_join *to, const Talweg__Join *from) {
    struct tw_tensor_shape *list = budget_alloc(budget, from->n_tensors * sizeof *list);
    if (list == NULL) {
        return false;
    }
    for (size_t i = 0; i < from->n_tensors; i++) {
        list[i].name = text_view(from->tensors[i]->name);
        list[i].dims = from->tensors[i]->n_shape;
        list[i].shape = from->tensors[i]->shape;
    }
    to->tensors = from->n_tensors;
    to->tensor = list;
    return true;
}

static bool get_measures(struct budget *budget, struct tw_ping *to, const Talweg__Ping *from) {
    struct tw_measure *list = budget_alloc(budget, from->n_measures * sizeof *list);
    if (list == NULL)
        return false;
    for (size_t i = 0; i < from->n_measures; i++)
        list[i] = (struct tw_measure){.step = from->measures[i]->step,
                                      .received = from->measures[i]->received,
                                      .computed = from->measures[i]->computed,
                                      .sent = from->measures[i]->sent};
    to->measures = from->n_measures;
    to->measure = list;
    return true;
}

static bool get_addresses(struct budget *budget, struct tw_welcome *to,
                          const Talweg__Welcome *from) {
    struct tw_view *list = budget_alloc(budget, from->n_addresses * sizeof *list);
    if (list == NULL)
        return false;
    for (size_t i = 0; i < from->n_addresses; i++)
        list[i] = text_view(from->addresses[i]);
    to->addresses = from->n_addresses;
    to->address = list;
    return true;
}

static bool get_body(struct budget *budget, struct tw_frame *frame, const Talweg__Frame *from) {
    frame->body = (enum tw_body)from->body_case;
    const struct body *body = body_row(frame->body);
    if (body == NULL) {
        return false;
    }
    /* Every member of the oneof is a pointer to a message. */
    const ProtobufCMessage *message = (const ProtobufCMessage *)from->hello;
    for (size_t i = 0; i < body->count; i++) {
        get_field(frame, &body->fields[i], message);
    }
    if (frame->body == TW_BODY_WELCOME)
        return get_addresses(budget, &frame->welcome, from->welcome);
    if (frame->body == TW_BODY_PING)
        return get_measures(budget, &frame->ping, from->ping);
    return frame->body != TW_BODY_JOIN || get_tensors(budget, &frame->join, from->join);
}

/* A body of nothing but numbers, as those of every push and its answer are. False: it is
 * none, or not made as we make it. */
static bool unpack_flat(const unsigned char *bytes, size_t size, struct tw_frame *frame) {
    struct message message;
    uint64_t key, length;
    int used = tw_varint_get(bytes, size, 2, &key);
    int more = used > 0 ? tw_varint_get(bytes + used, size - (size_t)used, 2, &length) : 0;
    if (more <= 0 || (key & 7) != 2 || length != size - (size_t)(used + more))
        return false;
    const struct body *body = body_row((enum tw_body)(key >> 3));
    bool has_list =
        key >> 3 == TW_BODY_JOIN || key >> 3 == TW_BODY_WELCOME || key >> 3 == TW_BODY_PING;
    if (body == NULL || has_list ||
        !tw_flat_unpack(body->descriptor, bytes + used + more, (size_t)length, &message))
        return false;
    frame->body = (enum tw_body)(key >> 3);
    for (size_t i = 0; i < body->count; i++)
        get_field(frame, &body->fields[i], &message.base);
    return true;
}

/* In proto3 a number outside an enumeration arrives as it is. */
static bool role_is_known(const struct tw_frame *frame) {
    unsigned role = frame->body == TW_BODY_JOIN     ? (unsigned)frame->join.role
                    : frame->body == TW_BODY_ATTACH ? (unsigned)frame->attach.role
                    : frame->body == TW_BODY_MEMBER ? (unsigned)frame->member.role
                                                    : 0;
    return role <= TW_ROLE_OPERATOR;
}

enum tw_status tw_frame_unpack(struct tw_unpack_arena *arena, const unsigned char *bytes,
                               size_t size, const char *name, struct tw_frame *frame,
                               struct tw_error *error) {
    struct budget budget = {.arena = arena};
    ProtobufCAllocator allocator = {
        .alloc = budget_alloc, .free = budget_free, .allocator_data = &budget};
    bool complete = unpack_flat(bytes, size, frame);
    if (!complete) {
        Talweg__Frame *parsed = talweg__frame__unpack(&allocator, size, bytes);
        complete = parsed != NULL && get_body(&budget, frame, parsed);
    }
    if (budget.exceeded)
        return tw_error_set(error, TW_LIMIT,
                            "a %s frame of %zu bytes needs more than the %u bytes of memory that "
                            "unpacking may use",
                            name, size, TW_UNPACK_BUDGET);
    if (!complete)
        return tw_error_set(error, TW_MALFORMED,
                            "the %zu bytes of a %s frame are not a valid message", size, name);
    if (!role_is_known(frame))
        return tw_error_set(error, TW_MALFORMED, "a %s frame with an unknown role", name);
    return TW_OK;
}
