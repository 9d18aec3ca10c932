/* See frame_pack.h. The only file that includes the generated protobuf-c code.
 *
 * One table says which field of struct tw_frame is which field of the message;
 * packing and unpacking both walk it. Packing, and unpacking of what every push and its
 * answer consist of, go straight between bytes and struct tw_frame (flat.h); whatever else
 * comes, and whatever is not made as we make it, protobuf-c reads. Bodies with a list are packed in
 * parts: the fields before it, its elements one by one, the fields behind it.
 */
#include "proto/frame_pack.h"

#include <string.h>

#include "proto/arena.h"
#include "proto/flat.h"
#include "proto/frame_scan.h"
#include "proto/talweg.pb-c.h"
#include "proto/varint.h"

#define OURS(body, name) (((struct tw_frame *)0)->body.name)
#define THEIRS(message, name) (((Talweg__##message *)0)->name)

/* An enumeration is a uint32_t on both sides. */
#define KIND_OF(theirs)                                                                            \
    _Generic((theirs),                                                                 \
        uint64_t: TW_FLAT_U64,                                                            \
        double: TW_FLAT_REAL,                                                             \
        protobuf_c_boolean: TW_FLAT_FLAG,                                                 \
        ProtobufCBinaryData: TW_FLAT_BYTES,                                               \
        char *: TW_FLAT_TEXT,                                                             \
        default: TW_FLAT_U32)

#define FIELD(number, body, message, name)                                                         \
    TW_FLAT_FIELD(number, KIND_OF(THEIRS(message, name)), offsetof(struct tw_frame, body.name),    \
                  offsetof(Talweg__##message, name))

static const struct tw_flat_field hello[] = {
    FIELD(1, hello, Hello, protocol_min), FIELD(2, hello, Hello, protocol_max),
    FIELD(3, hello, Hello, nonce), FIELD(4, hello, Hello, software)};
static const struct tw_flat_field challenge[] = {
    FIELD(1, challenge, Challenge, protocol), FIELD(2, challenge, Challenge, nonce),
    FIELD(3, challenge, Challenge, proof), FIELD(4, challenge, Challenge, token),
    FIELD(5, challenge, Challenge, lanes)};
static const struct tw_flat_field proof[] = {FIELD(1, proof, Proof, proof)};
static const struct tw_flat_field join[] = {
    FIELD(1, join, Join, role),     FIELD(2, join, Join, any_rank),
    FIELD(3, join, Join, rank),     FIELD(4, join, Join, incarnation),
    FIELD(5, join, Join, session),  FIELD(6, join, Join, job),
    FIELD(7, join, Join, digest),   FIELD(9, join, Join, numerics),
    FIELD(10, join, Join, read),    FIELD(11, join, Join, encodings),
    FIELD(12, join, Join, samples), FIELD(13, join, Join, valued),
};
static const struct tw_flat_field welcome[] = {
    FIELD(1, welcome, Welcome, job),        FIELD(2, welcome, Welcome, session),
    FIELD(3, welcome, Welcome, rank),       FIELD(4, welcome, Welcome, incarnation),
    FIELD(5, welcome, Welcome, generation), FIELD(6, welcome, Welcome, epoch),
    FIELD(7, welcome, Welcome, workers),    FIELD(8, welcome, Welcome, slots),
    FIELD(9, welcome, Welcome, slot),       FIELD(10, welcome, Welcome, width),
    FIELD(11, welcome, Welcome, last_step), FIELD(12, welcome, Welcome, chunk_bytes),
    FIELD(13, welcome, Welcome, servers),   FIELD(14, welcome, Welcome, attempt),
    FIELD(16, welcome, Welcome, push),      FIELD(17, welcome, Welcome, pull),
    FIELD(18, welcome, Welcome, portions),
};
static const struct tw_flat_field attach[] = {
    FIELD(1, attach, Attach, role),        FIELD(2, attach, Attach, rank),
    FIELD(3, attach, Attach, incarnation), FIELD(4, attach, Attach, session),
    FIELD(5, attach, Attach, attempt),
};
static const struct tw_flat_field refuse[] = {FIELD(1, refuse, Refuse, status),
                                              FIELD(2, refuse, Refuse, name),
                                              FIELD(3, refuse, Refuse, text)};
static const struct tw_flat_field push[] = {
    FIELD(1, push, Push, slot),       FIELD(2, push, Push, incarnation),
    FIELD(3, push, Push, generation), FIELD(4, push, Push, epoch),
    FIELD(5, push, Push, step),       FIELD(6, push, Push, chunk),
};
static const struct tw_flat_field end[] = {
    FIELD(1, end, End, slot),     FIELD(2, end, End, incarnation), FIELD(3, end, End, generation),
    FIELD(4, end, End, epoch),    FIELD(5, end, End, step),        FIELD(6, end, End, read),
    FIELD(7, end, End, frames),   FIELD(8, end, End, examples),    FIELD(9, end, End, loss),
    FIELD(10, end, End, correct),
};
static const struct tw_flat_field weights[] = {
    FIELD(1, weights, Weights, position),   FIELD(2, weights, Weights, version),
    FIELD(3, weights, Weights, generation), FIELD(4, weights, Weights, epoch),
    FIELD(5, weights, Weights, step),       FIELD(6, weights, Weights, chunk),
    FIELD(9, weights, Weights, array),
};
static const struct tw_flat_field ask[] = {FIELD(1, ask, Ask, samples)};
static const struct tw_flat_field evaluation[] = {
    FIELD(1, evaluation, Evaluation, position), FIELD(2, evaluation, Evaluation, samples),
    FIELD(3, evaluation, Evaluation, loss),     FIELD(4, evaluation, Evaluation, accuracy),
    FIELD(5, evaluation, Evaluation, metrics),  FIELD(6, evaluation, Evaluation, top5),
    FIELD(7, evaluation, Evaluation, auc),      FIELD(8, evaluation, Evaluation, r2),
};
static const struct tw_flat_field regather[] = {FIELD(1, regather, Regather, version)};
static const struct tw_flat_field stop[] = {FIELD(1, stop, Stop, status),
                                            FIELD(2, stop, Stop, text)};
static const struct tw_flat_field ping[] = {FIELD(1, ping, Ping, step),
                                            FIELD(2, ping, Ping, nonce)};
static const struct tw_flat_field pong[] = {FIELD(1, pong, Pong, nonce),
                                            FIELD(2, pong, Pong, time)};
static const struct tw_flat_field query[] = {FIELD(1, query, Query, first),
                                             FIELD(2, query, Query, ranks)};
static const struct tw_flat_field status[] = {
    FIELD(1, status, Status, mode),
    FIELD(2, status, Status, phase),
    FIELD(3, status, Status, workers),
    FIELD(4, status, Status, ranks),
    FIELD(5, status, Status, version),
    FIELD(6, status, Status, samples),
    FIELD(7, status, Status, samples_total),
    FIELD(8, status, Status, epoch),
    FIELD(9, status, Status, seconds),
    FIELD(10, status, Status, samples_per_second),
    FIELD(11, status, Status, train_loss),
    FIELD(12, status, Status, staleness_mean),
    FIELD(13, status, Status, staleness_max),
    FIELD(14, status, Status, dropped),
    FIELD(15, status, Status, update_seconds),
    FIELD(16, status, Status, since_update),
    FIELD(17, status, Status, waiting),
};
static const struct tw_flat_field rank_status[] = {
    FIELD(1, rank_status, RankStatus, rank),
    FIELD(2, rank_status, RankStatus, state),
    FIELD(3, rank_status, RankStatus, step),
    FIELD(4, rank_status, RankStatus, since),
    FIELD(5, rank_status, RankStatus, computing),
    FIELD(6, rank_status, RankStatus, waiting),
    FIELD(7, rank_status, RankStatus, network),
    FIELD(8, rank_status, RankStatus, away),
    FIELD(9, rank_status, RankStatus, culprit),
    FIELD(10, rank_status, RankStatus, culprit_seconds),
    FIELD(11, rank_status, RankStatus, peer),
    FIELD(12, rank_status, RankStatus, blamed),
    FIELD(13, rank_status, RankStatus, silent),
};
static const struct tw_flat_field turn[] = {FIELD(1, turn, Turn, mode)};
static const struct tw_flat_field turned[] = {FIELD(1, turned, Turned, mode),
                                              FIELD(2, turned, Turned, position),
                                              FIELD(3, turned, Turned, version)};
static const struct tw_flat_field cancel[] = {FIELD(1, cancel, Cancel, step)};

static const struct tw_flat_field serve[] = {
    FIELD(1, serve, Serve, index),  FIELD(2, serve, Serve, servers), FIELD(3, serve, Serve, digest),
    FIELD(4, serve, Serve, layout), FIELD(5, serve, Serve, address), FIELD(6, serve, Serve, pooled),
    FIELD(7, serve, Serve, ahead),
};
static const struct tw_flat_field served[] = {FIELD(1, served, Served, job)};
static const struct tw_flat_field ready[] = {
    FIELD(1, ready, Ready, slot),       FIELD(2, ready, Ready, incarnation),
    FIELD(3, ready, Ready, step),       FIELD(4, ready, Ready, read),
    FIELD(5, ready, Ready, examples),   FIELD(6, ready, Ready, regather),
    FIELD(7, ready, Ready, loss),       FIELD(8, ready, Ready, finite),
    FIELD(9, ready, Ready, bad_tensor), FIELD(10, ready, Ready, correct),
    FIELD(11, ready, Ready, chunks),    FIELD(12, ready, Ready, ages),
    FIELD(13, ready, Ready, oldest),
};
static const struct tw_flat_field sums[] = {
    FIELD(1, sums, Sums, version), FIELD(2, sums, Sums, finite), FIELD(3, sums, Sums, squares)};
static const struct tw_flat_field collect[] = {FIELD(1, collect, Collect, average)};
static const struct tw_flat_field reach[] = {FIELD(1, reach, Reach, rank),
                                             FIELD(2, reach, Reach, attempt),
                                             FIELD(3, reach, Reach, attached)};
static const struct tw_flat_field order[] = {
    FIELD(1, order, Order, record), FIELD(2, order, Order, more), FIELD(3, order, Order, prepare),
    FIELD(4, order, Order, evaluators)};
static const struct tw_flat_field member[] = {
    FIELD(1, member, Member, role),        FIELD(2, member, Member, rank),
    FIELD(3, member, Member, incarnation), FIELD(4, member, Member, attempt),
    FIELD(5, member, Member, session),
};

static const struct tw_flat_field squares[] = {
    FIELD(1, squares, Squares, version), FIELD(2, squares, Squares, tensor),
    FIELD(3, squares, Squares, applied), FIELD(4, squares, Squares, sums)};
static const struct tw_flat_field sample[] = {
    FIELD(1, sample, Sample, version), FIELD(2, sample, Sample, hashed),
    FIELD(3, sample, Sample, summed), FIELD(4, sample, Sample, hash),
    FIELD(5, sample, Sample, sums)};

static const struct tw_flat_field portion[] = {FIELD(1, portion, Portion, position),
                                               FIELD(2, portion, Portion, first),
                                               FIELD(3, portion, Portion, samples)};
static const struct tw_flat_field tally[] = {
    FIELD(1, tally, Tally, position),   FIELD(2, tally, Tally, first),
    FIELD(3, tally, Tally, samples),    FIELD(4, tally, Tally, correct),
    FIELD(5, tally, Tally, among_five), FIELD(6, tally, Tally, loss),
    FIELD(7, tally, Tally, output),     FIELD(8, tally, Tally, fits),
    FIELD(9, tally, Tally, scores),
};

static const struct tw_flat_field measure[] = {
#define MEASURE(number, name)                                                                      \
    TW_FLAT_FIELD(number, TW_FLAT_U64, offsetof(struct tw_measure, name),                          \
                  offsetof(Talweg__Measure, name))
    MEASURE(1, step),
    MEASURE(2, received),
    MEASURE(3, computed),
    MEASURE(4, sent),
#undef MEASURE
};

/* Lists of messages and of texts, which the tables do not have. */
enum {
    MEASURE_FIELDS = sizeof measure / sizeof measure[0],
    JOIN_TENSORS = 8,
    WELCOME_ADDRESSES = 15,
    PING_MEASURES = 3,
};

static size_t pack_tensors(const struct tw_frame *frame, unsigned char *out, size_t at) {
    const struct tw_join *from = &frame->join;
    for (size_t i = 0; i < from->tensors; i++) {
        const struct tw_tensor_shape *tensor = &from->tensor[i];
        size_t room = tensor->name.size < TW_NAME_MAX ? tensor->name.size : TW_NAME_MAX;
        size_t name = tw_put_text(NULL, 0, 1, tensor->name.bytes, room);
        at = tw_put_head(out, at, JOIN_TENSORS,
                         tw_put_numbers(NULL, name, 2, tensor->shape, tensor->dims));
        at = tw_put_text(out, at, 1, tensor->name.bytes, room);
        at = tw_put_numbers(out, at, 2, tensor->shape, tensor->dims);
    }
    return at;
}

/* Their lengths are single bytes (at most 44), which are known afterwards. */
static size_t pack_measures(const struct tw_frame *frame, unsigned char *out, size_t at) {
    const struct tw_ping *from = &frame->ping;
    for (size_t i = 0; i < from->measures; i++) {
        size_t behind = tw_flat_pack(measure, MEASURE_FIELDS, &from->measure[i], 0, out, at + 2);
        tw_put_head(out, at, PING_MEASURES, behind - at - 2);
        at = behind;
    }
    return at;
}

static size_t pack_addresses(const struct tw_frame *frame, unsigned char *out, size_t at) {
    const struct tw_welcome *from = &frame->welcome;
    for (size_t i = 0; i < from->addresses; i++) {
        const struct tw_view *text = &from->address[i];
        at = tw_put_head(out, at, WELCOME_ADDRESSES, text->size);
        if (out != NULL && text->size > 0)
            memcpy(out + at, text->bytes, text->size);
        at += text->size;
    }
    return at;
}

/* Nothing may be counted from NULL, not even nothing. */
static const struct tw_flat_field no_fields[1];

static const struct body {
    const char *name;
    const struct tw_flat_field *fields;
    size_t count;
    bool plain; /* nothing but few numbers: what pushes and their answers consist of */
    /* Of a list, which stands behind so many of the fields. */
    size_t before_list;
    size_t (*pack_list)(const struct tw_frame *frame, unsigned char *out, size_t at);
} bodies[] = {
#define BODY(number, Name, fields)                                                                 \
    [number] = {#Name, fields, sizeof fields / sizeof fields[0], false, 0, NULL}
#define PLAIN(number, Name, fields)                                                                \
    [number] = {#Name, fields, sizeof fields / sizeof fields[0], true, 0, NULL}
#define LISTED(number, Name, fields, before, pack)                                                 \
    [number] = {#Name, fields, sizeof fields / sizeof fields[0], false, before, pack}
    BODY(TW_BODY_HELLO, Hello, hello),
    BODY(TW_BODY_CHALLENGE, Challenge, challenge),
    BODY(TW_BODY_PROOF, Proof, proof),
    LISTED(TW_BODY_JOIN, Join, join, 7, pack_tensors),
    LISTED(TW_BODY_WELCOME, Welcome, welcome, 14, pack_addresses),
    BODY(TW_BODY_ATTACH, Attach, attach),
    [TW_BODY_ATTACHED] = {"Attached", no_fields, 0, false, 0, NULL},
    BODY(TW_BODY_REFUSE, Refuse, refuse),
    PLAIN(TW_BODY_PUSH, Push, push),
    PLAIN(TW_BODY_END, End, end),
    PLAIN(TW_BODY_WEIGHTS, Weights, weights),
    BODY(TW_BODY_ASK, Ask, ask),
    BODY(TW_BODY_EVALUATION, Evaluation, evaluation),
    BODY(TW_BODY_REGATHER, Regather, regather),
    BODY(TW_BODY_STOP, Stop, stop),
    LISTED(TW_BODY_PING, Ping, ping, 2, pack_measures),
    BODY(TW_BODY_PONG, Pong, pong),
    [TW_BODY_BYE] = {"Bye", no_fields, 0, false, 0, NULL},
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
    [TW_BODY_SHUT] = {"Shut", no_fields, 0, false, 0, NULL},
#undef BODY
#undef PLAIN
#undef LISTED
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

/* Numbers, with keys of one byte; a measure has two more in front. */
#define NUMBERS_MAX(count) ((count) * (1 + TW_VARINT_MAX))
#define PLAIN_MEASURES 16

static_assert(NUMBERS_MAX(2) + PLAIN_MEASURES * (2 + NUMBERS_MAX(MEASURE_FIELDS)) <=
                      TW_PLAIN_FIELDS_MAX &&
                  NUMBERS_MAX(sizeof end / sizeof end[0]) <= TW_PLAIN_FIELDS_MAX &&
                  sizeof end >= sizeof push && sizeof end >= sizeof weights,
              "there is room for what is plain");

bool tw_frame_is_plain(const struct tw_frame *frame) {
    if (frame->body == TW_BODY_PING)
        return frame->ping.measures <= PLAIN_MEASURES;
    return body_row(frame->body)->plain;
}

size_t tw_frame_pack_fields(const struct tw_frame *frame, unsigned char *out) {
    const struct body *body = body_row(frame->body);
    if (body->pack_list == NULL)
        return tw_flat_pack(body->fields, body->count, frame, TW_ERROR_TEXT, out, 0);
    size_t before = body->before_list;
    size_t at = tw_flat_pack(body->fields, before, frame, TW_ERROR_TEXT, out, 0);
    at = body->pack_list(frame, out, at);
    return tw_flat_pack(body->fields + before, body->count - before, frame, TW_ERROR_TEXT, out, at);
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

static void get_field(struct tw_frame *frame, const struct tw_flat_field *field,
                      const ProtobufCMessage *message) {
    const void *from = (const char *)message + field->wire;
    void *to = (char *)frame + field->offset;
    switch ((enum tw_flat_kind)field->kind) {
    case TW_FLAT_U32:
        *(uint32_t *)to = *(const uint32_t *)from;
        break;
    case TW_FLAT_U64:
        *(uint64_t *)to = *(const uint64_t *)from;
        break;
    case TW_FLAT_REAL:
        *(double *)to = *(const double *)from;
        break;
    case TW_FLAT_FLAG:
        *(bool *)to = *(const protobuf_c_boolean *)from != 0;
        break;
    case TW_FLAT_BYTES: {
        const ProtobufCBinaryData *bytes = from;
        *(struct tw_view *)to = (struct tw_view){.bytes = bytes->data, .size = bytes->len};
        break;
    }
    case TW_FLAT_TEXT:
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
    frame->lane = from->lane;
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

/* The length of the next of a Ping's measures, and with it its bytes; 0: there is none. */
static size_t next_measure(const unsigned char *bytes, size_t size, size_t *body) {
    if (size < 2 || bytes[0] != (PING_MEASURES << 3 | TW_WIRE_BYTES) || bytes[1] > 0x7f ||
        bytes[1] > size - 2)
        return 0;
    *body = bytes[1];
    return 2 + *body;
}

/* The measures of a Ping, as workers send one for every few pushes. False: they are something
 * else. */
static bool unpack_measures(struct tw_unpack_arena *arena, const unsigned char *bytes, size_t size,
                            struct tw_ping *to) {
    size_t count = 0, at = 0, taken, body = 0;
    for (; at < size && (taken = next_measure(bytes + at, size - at, &body)) > 0; at += taken)
        count++;
    struct tw_measure *list = NULL;
    if (at == size && count > 0)
        list = tw_unpack_arena_take(arena, count * sizeof *list);
    if (at != size || (count > 0 && list == NULL))
        return false;
    for (size_t i = 0; i < count; i++, bytes += 2 + body) {
        next_measure(bytes, size, &body);
        list[i] = (struct tw_measure){0};
        if (tw_flat_unpack(measure, MEASURE_FIELDS, bytes + 2, body, &list[i]) != body)
            return false;
    }
    to->measures = count;
    to->measure = list;
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

bool tw_frame_unpack_plain(struct tw_unpack_arena *arena, const struct tw_scan *scan,
                           const unsigned char *bytes, struct tw_frame *frame) {
    if (!scan->plain)
        return false;
    const struct body *body = &bodies[scan->body];
    const unsigned char *fields = bytes + scan->body_at;
    memset(frame, 0, offsetof(struct tw_frame, data_bytes));
    size_t taken = tw_flat_unpack(body->fields, body->count, fields, scan->body_bytes, frame);
    frame->body = (enum tw_body)scan->body;
    frame->lane = scan->lane;
    if (frame->body == TW_BODY_PING)
        return unpack_measures(arena, fields + taken, scan->body_bytes - taken, &frame->ping);
    return taken == scan->body_bytes && role_is_known(frame);
}

enum tw_status tw_frame_unpack(struct tw_unpack_arena *arena, const unsigned char *bytes,
                               size_t size, const char *name, struct tw_frame *frame,
                               struct tw_error *error) {
    struct budget budget = {.arena = arena};
    ProtobufCAllocator allocator = {
        .alloc = budget_alloc, .free = budget_free, .allocator_data = &budget};
    Talweg__Frame *parsed = talweg__frame__unpack(&allocator, size, bytes);
    bool complete = parsed != NULL && get_body(&budget, frame, parsed);
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
