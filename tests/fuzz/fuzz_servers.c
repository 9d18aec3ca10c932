/* Fuzz target of servers among themselves: a lead and another server, real nodes, and between them
 * frames in both directions that the input holds back, says twice, in another order, with bits
 * changed or not at all, and frames and bytes that nobody sent. Two honest workers train meanwhile.
 *
 * Input: one byte of flags, then opcodes. What must hold:
 *   - no assertion, no bad access, no sum that runs over (that is the sanitizers' part);
 *   - a server that hears what cannot be refuses it with a sentence;
 *   - as long as nobody lied, only slow and in pieces: nothing is refused, no worker is
 *     closed, and the run ends.
 * A server that lies may spoil the run; it may not bring another one down.
 */
#include <string.h>

#include "tests/fuzz/servers_party.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

enum { OPS_MAX = 2048 };

struct reader {
    const uint8_t *at;
    size_t left;
};

static unsigned next(struct reader *r) {
    return r->left ? (r->left--, *r->at++) : 0;
}

static uint64_t twisted(uint64_t value, unsigned twist) {
    static const uint64_t step[8] = {0, 1, UINT64_MAX, 2, 7, 1u << 20, 1ull << 40, 1ull << 63};
    return value + step[twist & 7];
}

/* ---- frames that nobody sent ---- */

static struct tw_frame a_vote(struct servers *s, unsigned kind, unsigned twist, uint8_t *room) {
    struct tw_node_vote vote = {.kind = kind % 6};
    struct tw_frame frame;
    unsigned low = twist & 7, high = twist >> 3 & 7;
    switch (vote.kind) {
    case TW_VOTE_READY:
        vote.ready = s->ready;
        vote.ready.slot = (uint32_t)twisted(vote.ready.slot, twist & 64 ? low : 0);
        vote.ready.step = twisted(vote.ready.step, twist & 64 ? 0 : low);
        vote.ready.read = twisted(vote.ready.read, high);
        vote.ready.finite = twist & 128 ? !vote.ready.finite : vote.ready.finite;
        break;
    case TW_VOTE_SUMS:
        vote.sums.version = twisted(s->version, low);
        vote.sums.finite = high != 1;
        vote.sums.squares.word[high] = high ? twisted(0, high) : 1;
        break;
    case TW_VOTE_SAMPLE:
        vote.sample.version = twisted(s->version, low);
        vote.sample.hashed = twist & 64;
        vote.sample.summed = twist & 128;
        vote.sample.update.word[high] = twisted(0, low);
        break;
    case TW_VOTE_SQUARES:
        vote.squares.version = twisted(s->version, low);
        vote.squares.tensor = (uint32_t)twisted(twist >> 6, high);
        vote.squares.applied = twist & 64;
        break;
    default:
        vote.rank = (uint32_t)twisted(twist >> 6 & 1, low);
        vote.attempt = (uint32_t)twisted(s->worker[twist >> 6 & 1].welcome.attempt, high);
        break;
    }
    tw_vote_frame(&vote, &frame, room);
    return frame;
}

/* What only its kind has. */
static void fill_body(const struct servers *s, struct tw_record *record, unsigned who,
                      unsigned low) {
    static const uint64_t steps[WORKERS] = {1, 1};
    switch (record->kind) {
    case TW_RECORD_JOIN:
    case TW_RECORD_EVICT:
        record->rank = who;
        record->incarnation = s->worker[who].welcome.incarnation + low;
        record->numerics = "another";
        break;
    case TW_RECORD_ROLLBACK:
        record->ranks = WORKERS;
        record->steps = steps;
        record->generation = 1;
        __attribute__((fallthrough));
    case TW_RECORD_DIAL:
        record->mode = low == 1 ? "async" : low == 2 ? "hogwild" : servers_mode(s);
        break;
    case TW_RECORD_COMMIT:
        record->examples = 2;
        break;
    default:
        break;
    }
}

static void an_order(struct servers *s, unsigned kind, unsigned twist) {
    unsigned low = twist & 7, high = twist >> 3 & 7, who = twist >> 6 & 1;
    struct tw_contribution contribution[2] = {
        {.slot = who, .step = twisted(s->ready.step, low), .read = s->ready.read, .examples = 2},
        {.slot = 1 - who, .step = s->ready.step, .read = s->ready.read, .examples = 2}};
    struct tw_node_order order = {.kind = TW_ORDER_RECORD};
    if (kind == 0) {
        order.kind = TW_ORDER_MEMBER;
        order.member.rank = (uint32_t)twisted(who, low);
        order.member.role = high == 1 ? TW_ROLE_EVALUATOR : TW_ROLE_WORKER;
        order.member.attempt = (uint32_t)twisted(s->worker[who].welcome.attempt, high);
        order.member.incarnation = s->worker[who].welcome.incarnation;
    } else if (kind == 1) {
        order.kind = TW_ORDER_PREPARE;
        order.prepare = (struct tw_prepare){.version = twisted(s->version, high),
                                            .count = 1 + (twist >> 7),
                                            .contributions = contribution,
                                            .examples = 2};
    } else {
        struct tw_record *record = &order.record;
        *record = (struct tw_record){.position = twisted(s->position, 1 + high),
                                     .kind = TW_RECORD_JOIN +
                                             (kind - 2) % (TW_RECORD_VERDICT - TW_RECORD_JOIN + 1),
                                     .version = twisted(s->version, low),
                                     .slot = low == 4 ? TW_SLOT_EVALUATOR : who,
                                     .step = twisted(s->ready.step, low),
                                     .count = 1 + (twist >> 7),
                                     .contributions = contribution,
                                     .rate = 0.1};
        fill_body(s, record, who, low);
    }
    servers_say_order(s, &order);
}

/* The handshake of one more server, or of one with a wrong idea of the job. */
static void a_serve(struct servers *s, unsigned twist) {
    struct tw_frame frame = servers_serve(s);
    frame.serve.index = (uint32_t)twisted(1, twist);
    frame.serve.servers += twist >> 3 & 1;
    frame.serve.digest.size -= twist >> 4 & 1;
    frame.serve.layout.size -= twist >> 5 & 1;
    frame.serve.address.size -= twist >> 6 ? frame.serve.address.size : 0;
    servers_stranger(s, &frame);
}

/* ---- opcodes ---- */

static void lie(struct servers *s, struct link *link, unsigned how, struct reader *r) {
    uint8_t room[TW_SAMPLE_SUMS_BYTES];
    unsigned a, b;
    s->lied = true;
    switch (how) {
    case 0:
        servers_forget(link);
        break;
    case 1:
        servers_repeat(link);
        break;
    case 2:
        servers_put_off(link);
        break;
    case 3:
        a = next(r), b = next(r);
        servers_change(link, a, b);
        break;
    case 4:
        a = next(r);
        a = a < r->left ? a : (unsigned)r->left;
        servers_add(link, r->at, a);
        r->at += a, r->left -= a;
        break;
    case 5:
        a = next(r), b = next(r);
        if (link->to == 0) {
            struct tw_frame frame = a_vote(s, a, b, room);
            servers_say(link, &frame);
        } else {
            an_order(s, a % 13, b);
        }
        break;
    default:
        a_serve(s, next(r));
        break;
    }
}

static void operate(struct servers *s, struct reader *r) {
    unsigned code = next(r), side = code & 1, what = code >> 1 & 31;
    if (what < 8)
        servers_hear(&s->link[side], 1 + what * what);
    else if (what < 14)
        servers_act(s, what & 1, side);
    else if (what < 18)
        servers_work(s, side, 1 + (what & 3));
    else if (what == 18)
        servers_cut(s, side);
    else if (what == 19)
        servers_ask(s, next(r));
    else if (what < 27)
        lie(s, &s->link[side], what - 20, r);
    else
        servers_hear(&s->link[side], 1000);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    if (size < 1)
        return 0;
    struct reader reader = {input + 1, size - 1};
    struct servers *s = servers_new(input[0]);
    for (int i = 0; i < OPS_MAX && reader.left; i++)
        operate(s, &reader);
    servers_heal(s);
    servers_free(s);
    return 0;
}
