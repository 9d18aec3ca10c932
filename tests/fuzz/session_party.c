#include "tests/fuzz/session_party.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN "a secret that is long enough"

void party_must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "fuzz_session: %s\n", what);
        abort();
    }
}

size_t party_push_bytes(unsigned flags, uint32_t chunk) {
    static const size_t elements[CHUNKS] = {4, 2};
    uint32_t encoding = flags & FLAG_HALF ? TW_ENCODING_F16 : TW_ENCODING_F32;
    return tw_encoding_bytes(encoding, elements[chunk]);
}

/* ---- the node and its shell ---- */

static void make_node(struct party *c) {
    static const int64_t shapes[TENSORS] = {4, 2};
    static const char *const names[TENSORS] = {"w", "b"};
    struct tw_node_config config = {.servers = 1, .connections = LINKS};
    struct tw_init init = {TW_INIT_CONSTANT, 1};
    c->list = (struct tw_tensor_list){TENSORS, c->tensors};
    for (int t = 0; t < TENSORS; t++)
        tw_tensor_init(&c->tensors[t], names[t], 1, &shapes[t], init, NULL);
    tw_layout_init(&c->layout, &c->list, TW_CHUNK_BYTES_MIN, 1, c->chunk, NULL);
    const char *mode = c->flags & FLAG_ARRIVAL ? "hogwild"
                       : c->flags & FLAG_ASYNC ? "async"
                                               : "sync";
    tw_dial_parse(mode, (struct tw_where){0}, 2, &config.sequencer.dial, NULL);
    if (c->flags & FLAG_TOKEN) {
        config.terms.token = TOKEN;
        config.terms.token_bytes = strlen(TOKEN);
    }
    config.terms.tensors = &c->list;
    config.sequencer.workers = config.shard.slots = 2;
    config.sequencer.shards = config.shard.spares = 1;
    config.sequencer.samples = c->flags & FLAG_EPOCHS ? 8 : 0;
    config.sequencer.end_updates = UPDATES;
    if (c->flags & FLAG_PORTIONS)
        config.scoring = (struct tw_node_scoring){.outputs = 2, .classes = 2, .values = true};
    config.shard.layout = &c->layout;
    config.shard.members_known = config.sequencer.dial.members_known;
    config.shard.on_arrival = config.sequencer.dial.on_arrival;
    config.shard.batch = 4; /* of two slots */
    const char *rule = c->flags & FLAG_ADAM ? "adam" : "sgd";
    for (int i = 0; i < tw_optimizer_count; i++)
        if (strcmp(tw_optimizers[i]->name, rule) == 0)
            config.sequencer.optimizer = config.shard.optimizer = tw_optimizers[i];
    config.sequencer.options = config.shard.options =
        (struct tw_optimizer_options){.lr = 0.1, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8};
    if (c->flags & FLAG_HALF) {
        config.terms.push = config.shard.push = TW_ENCODING_F16;
        config.terms.pull = config.shard.pull = TW_ENCODING_BF16;
    }
    size_t bytes = (tw_node_bytes(&config) + 63) & ~(size_t)63;
    void *memory = aligned_alloc(64, bytes);
    party_must(memory != NULL, "there is memory");
    memset(memory, 0, bytes);
    c->node = tw_node_init(memory, &config);
}

static uint32_t open_connection(struct party *c) {
    uint8_t random[TW_NODE_RANDOM_BYTES];
    for (size_t i = 0; i < sizeof(random); i++)
        random[i] = (uint8_t)tw_rng_below(&c->rng, 256);
    return tw_node_open(c->node, random);
}

static struct peer *peer_of(struct party *c, uint32_t number) {
    for (int i = 0; i < PEERS; i++)
        if (c->peer[i].number == number)
            return &c->peer[i];
    return NULL;
}

static struct worker *worker_of(struct party *c, uint32_t number) {
    for (int i = 0; i < 2; i++)
        if (c->good[i].control == number || c->good[i].bulk == number)
            return &c->good[i];
    return NULL;
}

void party_cut(struct party *c, struct peer *peer, const char *why) {
    uint32_t number = peer->number;
    peer->number = TW_NO_CONNECTION;
    if (number != TW_NO_CONNECTION)
        tw_node_lost(c->node, number, why);
}

/* A peer is told something: it remembers what helps it to go on. */
static void note_peer(struct party *c, struct peer *peer, const struct tw_frame *frame) {
    if (frame->body == TW_BODY_CHALLENGE)
        memcpy(peer->nonce, frame->challenge.nonce.bytes, TW_NONCE_BYTES);
    if (frame->body == TW_BODY_WELCOME && frame->welcome.session.size) {
        for (int role = 0; role < 2; role++) {
            c->welcome[role] = frame->welcome;
            memcpy(c->session[role], frame->welcome.session.bytes, TW_SESSION_BYTES);
        }
    }
    if (frame->body == TW_BODY_PORTION)
        peer->portion = frame->portion;
    if (frame->body == TW_BODY_WEIGHTS)
        c->weights[0] = c->weights[1] = frame->weights;
}

static void note_worker(struct worker *w, const struct tw_frame *frame) {
    switch (frame->body) {
    case TW_BODY_CHALLENGE:
        memcpy(w->nonce, frame->challenge.nonce.bytes, TW_NONCE_BYTES);
        break;
    case TW_BODY_WELCOME:
        w->welcome = frame->welcome;
        memcpy(w->session, frame->welcome.session.bytes, TW_SESSION_BYTES);
        w->welcomed = true;
        break;
    case TW_BODY_WEIGHTS:
        if (frame->weights.position != w->read)
            w->chunks = w->pushed = 0;
        w->read = frame->weights.position;
        w->step = frame->weights.step;
        w->chunks++;
        break;
    case TW_BODY_REGATHER:
        w->pushed = 0;
        break;
    default:
        break;
    }
}

static void carry_out(struct party *c, const struct tw_node_effect *effect) {
    struct peer *peer = NULL;
    struct worker *worker = NULL;
    if (effect->connection != TW_NO_CONNECTION) {
        peer = peer_of(c, effect->connection);
        worker = worker_of(c, effect->connection);
    }
    switch (effect->kind) {
    case TW_NODE_SEND:
        if (worker)
            note_worker(worker, &effect->frame);
        if (peer)
            note_peer(c, peer, &effect->frame);
        if (effect->frame.data_bytes && peer && c->hold &&
            c->held_count < sizeof(c->held) / sizeof(c->held[0]))
            c->held[c->held_count++] = effect->token;
        else if (effect->frame.data_bytes)
            tw_node_sent(c->node, effect->token);
        break;
    case TW_NODE_CLOSE:
        party_must(!worker, "an honest worker is not closed");
        party_must(peer != NULL, "nobody is closed twice");
        party_must(effect->status == TW_OK || effect->text[0], "whoever is closed is told why");
        party_cut(c, peer, effect->text);
        break;
    case TW_NODE_RESUME:
        party_must(peer || worker, "somebody is resumed");
        if (peer)
            peer->paused = false;
        break;
    case TW_NODE_EVENT:
        c->finished = c->finished || effect->event.kind == TW_EVENT_FINISHED;
        if (effect->event.kind == TW_EVENT_QUERY && !c->hold)
            tw_node_answered(c->node, effect->event.connection);
        break;
    default:
        break;
    }
}

void party_drain(struct party *c) {
    const struct tw_node_effect *effect;
    while ((effect = tw_node_effect(c->node)) != NULL)
        carry_out(c, effect);
}

void party_release_held(struct party *c) {
    while (c->held_count)
        tw_node_sent(c->node, c->held[--c->held_count]);
}

void party_work(struct party *c, unsigned pieces) {
    while (pieces--) {
        tw_node_work(c->node);
        party_drain(c);
    }
}

/* ---- decoders ---- */

static enum tw_status on_data(void *context, const struct tw_frame *frame, void **place,
                              struct tw_error *error) {
    struct end *end = context;
    if (end->peer->number == TW_NO_CONNECTION)
        return tw_error_set(error, TW_CLOSED, "closed");
    enum tw_status status = tw_node_data(end->party->node, end->peer->number, frame, place, error);
    party_drain(end->party);
    return status;
}

static enum tw_status on_frame(void *context, const struct tw_frame *frame, void *data,
                               struct tw_error *error) {
    struct end *end = context;
    if (end->peer->number == TW_NO_CONNECTION)
        return tw_error_set(error, TW_CLOSED, "closed");
    enum tw_body body = frame->body;
    enum tw_status status = tw_node_frame(end->party->node, end->peer->number, frame, data, error);
    if (status == TW_OK && body == TW_BODY_PROOF)
        tw_decoder_limit(&end->peer->decoder, TW_SMALL_FIELDS_MAX, false);
    if (status == TW_OK && body == TW_BODY_ATTACH)
        tw_decoder_limit(&end->peer->decoder, TW_FRAME_BYTES_MAX, true);
    party_drain(end->party);
    return status;
}

static void *grow(void *context, size_t bytes) {
    struct end *end = context;
    party_must(bytes <= TW_FRAME_BYTES_MAX, "memory is bounded");
    end->peer->lent = realloc(end->peer->lent, bytes);
    return end->peer->lent;
}

static const struct tw_decoder_sink sink = {on_data, on_frame};

void party_open(struct party *c, struct peer *peer, struct end *end) {
    if (peer->number != TW_NO_CONNECTION)
        return;
    free(peer->lent);
    peer->lent = NULL;
    peer->first = peer->end = 0;
    peer->paused = false;
    peer->number = open_connection(c);
    party_must(peer->number != TW_NO_CONNECTION, "there is room for another connection");
    *end = (struct end){c, peer};
    tw_decoder_init(&peer->decoder, &sink, end, &c->arena, grow);
    tw_decoder_limit(&peer->decoder, TW_HELLO_BYTES_MAX, false);
}

static void after(struct party *c, struct peer *peer, enum tw_status status,
                  const struct tw_error *error) {
    peer->paused = status == TW_AGAIN;
    if (status != TW_OK && status != TW_AGAIN) {
        party_must(error->text[0] != '\0', "a final status has a message");
        party_cut(c, peer, error->text);
    }
    party_drain(c);
}

/* At most `bytes` of what is on its way to the node arrive, in one piece each. */
void party_feed(struct party *c, struct peer *peer, size_t bytes) {
    struct tw_error error = {.status = TW_OK};
    while (bytes && peer->first < peer->end && peer->number != TW_NO_CONNECTION && !peer->paused) {
        void *at;
        size_t room, left = peer->end - peer->first;
        tw_decoder_want(&peer->decoder, &at, &room);
        if (room == 0) { /* it was told to wait, and then to go on */
            after(c, peer, tw_decoder_resume(&peer->decoder, &error), &error);
            continue;
        }
        size_t size = bytes < room ? bytes : room;
        size = size < left ? size : left;
        memcpy(at, peer->stream + peer->first, size);
        peer->first += size;
        bytes -= size;
        after(c, peer, tw_decoder_advance(&peer->decoder, size, &error), &error);
    }
}

/* ---- frames of the handshake ---- */

static const uint8_t nonce[TW_NONCE_BYTES] = {1, 2, 3};

struct tw_frame party_hello(void) {
    struct tw_frame frame = {.body = TW_BODY_HELLO};
    frame.hello.protocol_min = TW_PROTOCOL_MIN;
    frame.hello.protocol_max = TW_PROTOCOL_MAX;
    frame.hello.nonce = (struct tw_view){nonce, TW_NONCE_BYTES};
    return frame;
}

struct tw_frame party_proof(const uint8_t *theirs, uint8_t *room) {
    struct tw_frame frame = {.body = TW_BODY_PROOF};
    tw_session_proof(TOKEN, strlen(TOKEN), "talweg client", nonce, theirs, room);
    frame.proof.proof = (struct tw_view){room, TW_PROOF_BYTES};
    return frame;
}

struct tw_frame party_join(enum tw_role role) {
    static const uint64_t shapes[TENSORS][1] = {{4}, {2}};
    static const struct tw_tensor_shape tensors[TENSORS] = {{{"w", 1}, 1, shapes[0]},
                                                            {{"b", 1}, 1, shapes[1]}};
    struct tw_frame frame = {.body = TW_BODY_JOIN};
    frame.join.role = role;
    frame.join.any_rank = true;
    frame.join.tensors = TENSORS;
    frame.join.tensor = tensors;
    frame.join.numerics = (struct tw_view){"honest", 6};
    frame.join.encodings = TW_ENCODINGS_ALL;
    return frame;
}

/* ---- the honest workers ---- */

static void say(struct party *c, uint32_t number, const struct tw_frame *frame, const void *data) {
    struct tw_error error = {.status = TW_OK};
    enum tw_status status = tw_node_frame(c->node, number, frame, data, &error);
    party_must(status == TW_OK, status == TW_OK ? "" : error.text);
    party_drain(c);
}

static void greet(struct party *c, struct worker *w, uint32_t number) {
    uint8_t room[TW_PROOF_BYTES];
    struct tw_frame hello = party_hello();
    say(c, number, &hello, NULL);
    struct tw_frame proof = party_proof(w->nonce, room);
    say(c, number, &proof, NULL);
}

static void join(struct party *c, struct worker *w) {
    struct tw_frame frame = party_join(TW_ROLE_WORKER);
    w->control = open_connection(c);
    party_must(w->control != TW_NO_CONNECTION, "there is room for an honest worker");
    greet(c, w, w->control);
    say(c, w->control, &frame, NULL);
}

static void attach(struct party *c, struct worker *w) {
    struct tw_frame frame = {.body = TW_BODY_ATTACH};
    frame.attach = (struct tw_attach){.rank = w->welcome.rank,
                                      .incarnation = w->welcome.incarnation,
                                      .attempt = w->welcome.attempt,
                                      .session = {w->session, TW_SESSION_BYTES}};
    w->attached = true;
    w->bulk = open_connection(c);
    party_must(w->bulk != TW_NO_CONNECTION, "there is room for its bulk connection");
    greet(c, w, w->bulk);
    say(c, w->bulk, &frame, NULL);
}

static void push(struct party *c, struct worker *w) {
    struct tw_error error = {.status = TW_OK};
    static const float values[4] = {0.5F, 0.5F, 0.5F, 0.5F};
    static const uint16_t halves[4] = {0x3800, 0x3800, 0x3800, 0x3800};
    struct tw_frame frame = {.body = TW_BODY_PUSH,
                             .data_bytes = party_push_bytes(c->flags, w->pushed)};
    void *place = NULL;
    frame.push.slot = w->welcome.rank;
    frame.push.incarnation = w->welcome.incarnation;
    frame.push.step = w->step;
    frame.push.chunk = w->pushed;
    enum tw_status status = tw_node_data(c->node, w->bulk, &frame, &place, &error);
    party_must(status == TW_OK || status == TW_AGAIN, error.text);
    party_drain(c);
    if (status == TW_AGAIN)
        return; /* tries again at its next turn */
    if (place)
        memcpy(place, c->flags & FLAG_HALF ? (const void *)halves : values, frame.data_bytes);
    w->pushed++;
    say(c, w->bulk, &frame, place);
}

static void end(struct party *c, struct worker *w) {
    struct tw_frame frame = {.body = TW_BODY_END};
    frame.end = (struct tw_end){.slot = w->welcome.rank,
                                .incarnation = w->welcome.incarnation,
                                .step = w->step,
                                .read = w->read,
                                .frames = CHUNKS,
                                .examples = 2,
                                .loss = 1};
    w->pushed++;
    say(c, w->bulk, &frame, NULL);
}

/* The next thing that an honest worker does, if there is any. */
void party_act(struct party *c, struct worker *w) {
    if (w->welcomed && !w->attached)
        attach(c, w);
    else if (w->chunks == CHUNKS && w->pushed < CHUNKS)
        push(c, w);
    else if (w->chunks == CHUNKS && w->pushed == CHUNKS)
        end(c, w);
}

/* All others are cut off; two honest workers finish what there is to do. */
void party_heal(struct party *c) {
    for (int i = 0; i < PEERS; i++) {
        party_cut(c, &c->peer[i], "cut off");
        party_drain(c);
    }
    party_release_held(c);
    party_work(c, 100); /* an end that has come is told */
    if (!c->finished && !c->stopped && tw_sequencer_version(tw_node_sequencer(c->node)) < UPDATES)
        join(c, &c->good[1]);
    for (int i = 0; i < 4000 && !c->finished; i++) {
        party_act(c, &c->good[0]);
        party_act(c, &c->good[1]);
        party_work(c, 1);
    }
    party_must(c->finished, "two honest workers finish the run");
}

/* ---- from the start to the end ---- */

struct party *party_new(unsigned flags) {
    struct party *c = calloc(1, sizeof(*c));
    party_must(c != NULL, "there is memory");
    c->flags = flags;
    tw_rng_init(&c->rng, 4711, TW_STREAM_JITTER, 0, 0);
    for (int i = 0; i < PEERS; i++) {
        c->peer[i].number = TW_NO_CONNECTION;
        c->peer[i].stream = malloc(STREAM_MAX);
        party_must(c->peer[i].stream != NULL, "there is memory");
    }
    for (int i = 0; i < 2; i++)
        c->good[i].control = c->good[i].bulk = TW_NO_CONNECTION;
    make_node(c);
    join(c, &c->good[0]);
    return c;
}

void party_free(struct party *c) {
    for (int i = 0; i < PEERS; i++) {
        free(c->peer[i].stream);
        free(c->peer[i].lent);
    }
    free(c->node);
    free(c);
}
