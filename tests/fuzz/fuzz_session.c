/* Fuzz target of a node: the byte streams of several connections into one server,
 * through real decoders, cut and interleaved as the input says.
 *
 * Input: one byte of flags, then opcodes. Some feed bytes of the input as they are,
 * some write a valid frame of a worker or evaluator with at most one field changed
 * (else the handshake would keep the fuzzer out for ever). One honest worker takes
 * part from the start; at the end all others are cut off, a second honest worker
 * joins, and the two finish the run. What must hold, whatever the others say:
 *   - no assertion, no bad access (that is the sanitizers' part);
 *   - the honest workers are never closed, and the run ends;
 *   - whoever is closed for a reason is told one;
 *   - memory lent to decoders stays within their limit.
 */
#include <math.h>
#include <string.h>

#include "common/base/tally.h"
#include "tests/fuzz/session_party.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

enum { OPS_MAX = 4096 };

/* ---- what peers write ---- */

static void write_bytes(struct peer *peer, const void *bytes, size_t size) {
    if (peer->first == peer->end)
        peer->first = peer->end = 0;
    if (peer->end + size > STREAM_MAX)
        return;
    memcpy(peer->stream + peer->end, bytes, size);
    peer->end += size;
}

static void write_frame(struct peer *peer, const struct tw_frame *frame, const void *data) {
    unsigned char prefix[4096];
    size_t size = tw_frame_encode(frame, prefix, sizeof(prefix));
    party_must(size > 0, "a frame of ours can be encoded");
    write_bytes(peer, prefix, size);
    if (frame->data_bytes)
        write_bytes(peer, data, frame->data_bytes);
}

static void write_join(struct party *c, struct peer *peer, unsigned twist) {
    enum tw_role role = twist & 1 ? TW_ROLE_EVALUATOR : TW_ROLE_WORKER;
    const struct tw_welcome *welcome = &c->welcome[role];
    struct tw_frame frame = party_join(role);
    if (role == TW_ROLE_EVALUATOR && c->flags & FLAG_PORTIONS) {
        frame.join.samples = TESTED + (twist >> 3 == 3);
        frame.join.valued = twist & 4 && !(twist & 2);
    }
    if (twist & 2) { /* comes back */
        frame.join.any_rank = false;
        frame.join.rank = welcome->rank;
        frame.join.incarnation = welcome->incarnation;
        frame.join.session = (struct tw_view){c->session[role], TW_SESSION_BYTES};
        frame.join.read = twist & 4 ? c->weights[role].position : 0;
    }
    switch (twist >> 3) {
    case 1:
        frame.join.any_rank = false;
        break;
    case 2:
        frame.join.any_rank = false;
        frame.join.rank = 1;
        break;
    case 3:
        frame.join.rank += 7;
        break;
    case 4:
        frame.join.incarnation++;
        break;
    case 5:
        frame.join.session.size = 0;
        break;
    case 6:
        frame.join.numerics.size = 0;
        break;
    case 7:
        frame.join.tensors -= twist & 4 ? 1 : 0;
        frame.join.encodings = 0;
        break;
    default:
        break;
    }
    write_frame(peer, &frame, NULL);
}

static void write_attach(struct party *c, struct peer *peer, unsigned twist) {
    enum tw_role role = twist & 1 ? TW_ROLE_EVALUATOR : TW_ROLE_WORKER;
    const struct tw_welcome *welcome = &c->welcome[role];
    struct tw_frame frame = {.body = TW_BODY_ATTACH};
    frame.attach = (struct tw_attach){.role = role,
                                      .rank = welcome->rank,
                                      .incarnation = welcome->incarnation,
                                      .attempt = welcome->attempt,
                                      .session = {c->session[role], TW_SESSION_BYTES}};
    frame.attach.attempt += (twist >> 1) % 4 == 1;
    frame.attach.incarnation += (twist >> 1) % 4 == 2;
    frame.attach.rank += (twist >> 3) % 8 == 1;
    frame.attach.session.size -= (twist >> 3) % 8 == 2;
    write_frame(peer, &frame, NULL);
}

static void write_push(struct party *c, struct peer *peer, unsigned twist) {
    static const float values[4][4] = {
        {1, 2, 3, 4}, {1, NAN, 3, NAN}, {3e38F, 3e38F, 3e38F, 3e38F}, {-1, 0, -0.0F, 1e-40F}};
    struct tw_frame frame = {.body = TW_BODY_PUSH};
    frame.push.slot = c->welcome[0].rank;
    frame.push.incarnation = c->welcome[0].incarnation;
    frame.push.step = c->weights[0].step;
    frame.push.chunk = twist & 1;
    frame.data_bytes = party_push_bytes(c->flags, frame.push.chunk);
    frame.push.slot += (twist >> 3) == 1;
    frame.push.incarnation -= (twist >> 3) == 2;
    frame.push.step += (twist >> 3) == 3;
    frame.push.step -= (twist >> 3) == 4;
    frame.push.chunk += 2 * ((twist >> 3) == 5);
    frame.data_bytes -= 4 * ((twist >> 3) == 6);
    write_frame(peer, &frame, values[(twist >> 1) & 3]);
}

static void write_end(struct party *c, struct peer *peer, unsigned twist) {
    struct tw_frame frame = {.body = TW_BODY_END};
    frame.end = (struct tw_end){.slot = c->welcome[0].rank,
                                .incarnation = c->welcome[0].incarnation,
                                .step = c->weights[0].step,
                                .read = c->weights[0].position,
                                .frames = CHUNKS,
                                .examples = 1 + (twist & 7),
                                .loss = 1};
    frame.end.read += (twist >> 3) == 1;
    frame.end.frames += (twist >> 3) == 2;
    frame.end.examples *= (twist >> 3) != 3;
    frame.end.examples <<= 8 * ((twist >> 3) == 4);
    frame.end.loss = (twist >> 3) == 5 ? NAN : 1;
    frame.end.step -= (twist >> 3) == 6;
    write_frame(peer, &frame, NULL);
}

static void write_small(struct party *c, struct peer *peer, unsigned twist) {
    struct tw_frame frame = {.body = TW_BODY_NONE};
    switch (twist & 3) {
    case 0:
        frame.body = TW_BODY_ASK;
        frame.ask.samples = twist >> 2;
        break;
    case 1:
        frame.body = TW_BODY_EVALUATION;
        frame.evaluation.position = c->weights[1].position + (twist >> 2) % 3 - 1;
        break;
    case 2:
        frame.body = twist & 4 ? TW_BODY_PING : TW_BODY_PONG;
        break;
    default:
        frame.body = TW_BODY_BYE;
        break;
    }
    write_frame(peer, &frame, NULL);
}

static void write_operator(struct peer *peer, unsigned twist) {
    static const char *const modes[4] = {"async", "sync", "", "ssp:99999999999"};
    struct tw_frame frame = {.body = TW_BODY_NONE};
    switch (twist & 3) {
    case 0:
        frame.body = TW_BODY_JOIN;
        frame.join.role = TW_ROLE_OPERATOR;
        frame.join.rank = twist >> 2;
        frame.join.incarnation = twist >> 4;
        break;
    case 1:
        frame.body = TW_BODY_ATTACH;
        frame.attach.role = TW_ROLE_OPERATOR;
        frame.attach.rank = twist >> 2;
        break;
    case 2:
        frame.body = TW_BODY_QUERY;
        frame.query.first = (twist >> 2) % 4;
        frame.query.ranks = twist & 64 ? UINT32_MAX : twist >> 4;
        break;
    default:
        frame.body = TW_BODY_TURN;
        frame.turn.mode.bytes = modes[(twist >> 2) % 4];
        frame.turn.mode.size = strlen(modes[(twist >> 2) % 4]);
        break;
    }
    write_frame(peer, &frame, NULL);
}

/* What was counted of the peer's portion, with at most one thing wrong. */
static void write_tally(struct peer *peer, unsigned twist) {
    static const uint8_t zeros[256 * TW_TALLY_SCORE_BYTES];
    static const uint8_t ones[256 * TW_TALLY_SCORE_BYTES] = {[4 * TW_TALLY_SCORE_BYTES] = 1};
    struct tw_frame frame = {.body = TW_BODY_TALLY};
    struct tw_tally_frame *tally = &frame.tally;
    size_t scores = peer->portion.samples < 256 ? (size_t)peer->portion.samples : 256;
    *tally = (struct tw_tally_frame){.position = peer->portion.position,
                                     .first = peer->portion.first,
                                     .samples = peer->portion.samples,
                                     .loss = {zeros, TW_EXACT_SUM_BYTES}};
    if (twist & 1)
        tally->scores = (struct tw_view){zeros, scores * TW_TALLY_SCORE_BYTES};
    if (twist & 2)
        tally->fits = (struct tw_view){zeros, (1 + (twist & 1)) * TW_TALLY_FIT_BYTES};
    tally->position += twist >> 2 == 1;
    tally->first += twist >> 2 == 2 ? TW_EVALUATION_ROWS : 0;
    tally->samples <<= 4 * (twist >> 2 == 3);
    tally->correct = twist >> 2 == 4 ? UINT64_MAX : tally->samples;
    tally->among_five = twist >> 2 == 5 ? tally->samples + 1 : 0;
    tally->loss.size -= twist >> 2 == 6;
    tally->output = (twist >> 2) % 8 == 7 ? 1 + (twist >> 5) : 0;
    if (twist >> 2 == 8)
        tally->scores.bytes = ones; /* not in order */
    tally->scores.size -= twist >> 2 == 9 && tally->scores.size > 0;
    tally->fits.size -= twist >> 2 == 10 && tally->fits.size > 0;
    write_frame(peer, &frame, NULL);
}

/* ---- opcodes ---- */

struct reader {
    const uint8_t *at;
    size_t left;
};

static unsigned next(struct reader *r) {
    return r->left ? (r->left--, *r->at++) : 0;
}

static void write_raw(struct peer *peer, struct reader *r) {
    size_t size = next(r);
    size = size < r->left ? size : r->left;
    write_bytes(peer, r->at, size);
    r->at += size;
    r->left -= size;
}

/* Everything up to Join or Attach, fed. */
static void introduce(struct party *c, struct peer *peer, struct end *end) {
    uint8_t room[TW_PROOF_BYTES];
    party_open(c, peer, end);
    struct tw_frame hello = party_hello();
    write_frame(peer, &hello, NULL);
    party_feed(c, peer, SIZE_MAX);
    struct tw_frame proof = party_proof(peer->nonce, room);
    write_frame(peer, &proof, NULL);
    party_feed(c, peer, SIZE_MAX);
}

static void do_seldom(struct party *c, struct peer *peer, unsigned twist) {
    if (twist == 99) {
        c->stopped = true;
        tw_node_stop(c->node, true);
        party_drain(c);
    } else if (twist & 128) {
        write_operator(peer, twist & 127);
    } else if (twist) {
        write_tally(peer, twist - 1);
    }
}

static void operate(struct party *c, struct end *ends, struct reader *r) {
    unsigned code = next(r), which = code % PEERS;
    struct peer *peer = &c->peer[which];
    switch (code / PEERS % 16) {
    case 0:
        party_open(c, peer, &ends[which]);
        break;
    case 1:
        introduce(c, peer, &ends[which]);
        break;
    case 2:
        write_raw(peer, r);
        break;
    case 3:
        write_join(c, peer, next(r) & 63);
        break;
    case 4:
        write_attach(c, peer, next(r) & 63);
        break;
    case 5:
        write_push(c, peer, next(r) & 63);
        break;
    case 6:
        write_end(c, peer, next(r) & 63);
        break;
    case 7:
        write_small(c, peer, next(r));
        break;
    case 8:
        party_feed(c, peer, 1 + next(r));
        break;
    case 9:
    case 10:
        party_feed(c, peer, SIZE_MAX);
        break;
    case 11:
        party_work(c, 1 + next(r) % 64);
        break;
    case 12:
        party_cut(c, peer, "cut");
        party_drain(c);
        break;
    case 13:
        c->hold = !c->hold;
        if (!c->hold)
            party_release_held(c);
        break;
    case 14:
        for (unsigned i = next(r) % 8; i-- > 0;)
            party_act(c, &c->good[0]);
        break;
    default:
        do_seldom(c, peer, next(r));
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    if (size < 1)
        return 0;
    struct end ends[PEERS];
    struct reader reader = {input + 1, size - 1};
    struct party *c = party_new(input[0]);
    for (int i = 0; i < OPS_MAX && reader.left; i++)
        operate(c, ends, &reader);
    party_heal(c);
    party_free(c);
    return 0;
}
