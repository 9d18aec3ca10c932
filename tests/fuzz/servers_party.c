#include "tests/fuzz/servers_party.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LETTER_MAX = TW_ORDER_PART_BYTES + 128 };

static void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "fuzz_servers: %s\n", what);
        abort();
    }
}

static void *some_memory(size_t bytes) {
    bytes = (bytes + 63) & ~(size_t)63;
    void *memory = aligned_alloc(64, bytes);
    must(memory != NULL, "there is memory");
    return memset(memory, 0, bytes);
}

static void drain(struct servers *s, uint32_t node);

/* Workers may be turned away: somebody lied, or the last update is made, which is told a little
 * later. */
static bool may_refuse(const struct servers *s) {
    return s->lied || s->finished || s->stopped ||
           tw_sequencer_version(tw_node_sequencer(s->node[0])) >= UPDATES;
}

/* ---- letters ---- */

void servers_add(struct link *link, const void *bytes, size_t size) {
    if (link->letters == LETTERS || !size) {
        link->party->lied = link->party->lied || size; /* else the link would be honest, and wait */
        return;
    }
    struct letter *letter = &link->letter[link->letters++];
    *letter = (struct letter){size, malloc(size)};
    must(letter->bytes != NULL, "there is memory");
    memcpy(letter->bytes, bytes, size);
}

void servers_say(struct link *link, const struct tw_frame *frame) {
    static unsigned char bytes[LETTER_MAX];
    size_t size = tw_frame_encode(frame, bytes, sizeof(bytes));
    must(size > 0 && frame->data_bytes == 0, "what servers say fits into a letter");
    servers_add(link, bytes, size);
}

void servers_say_order(struct servers *s, const struct tw_node_order *order) {
    static struct tw_order_outbox outbox;
    struct tw_frame frame;
    tw_order_put(&outbox, order);
    while (tw_order_next(&outbox, &frame))
        servers_say(&s->link[1], &frame);
}

/* The oldest letter; the caller owns its bytes. */
static struct letter take(struct link *link) {
    struct letter letter = link->letter[0];
    memmove(&link->letter[0], &link->letter[1], --link->letters * sizeof(letter));
    return letter;
}

void servers_forget(struct link *link) {
    if (link->letters)
        free(take(link).bytes);
}

void servers_repeat(struct link *link) {
    if (link->letters)
        servers_add(link, link->letter[0].bytes, link->letter[0].size);
}

void servers_put_off(struct link *link) {
    if (link->letters) {
        struct letter letter = take(link);
        link->letter[link->letters++] = letter;
    }
}

/* Its length stays right, or nothing behind it would be heard. */
void servers_change(struct link *link, unsigned at, unsigned bit) {
    if (!link->letters)
        return;
    struct letter *letter = &link->letter[0];
    size_t head = letter->size > 128 ? 2 : 1;
    if (letter->size > head)
        letter->bytes[head + at % (letter->size - head)] ^= (unsigned char)(1u << (bit & 7));
}

static void cut(struct link *link, const char *why) {
    struct servers *s = link->party;
    must(s->lied || s->finished || s->stopped, why);
    link->over = true;
    while (link->letters)
        servers_forget(link);
    if (link->to == 0 && s->served != TW_NO_CONNECTION) {
        uint32_t served = s->served;
        s->served = TW_NO_CONNECTION;
        tw_node_lost(s->node[0], served, why);
        drain(s, 0);
    }
}

void servers_hear(struct link *link, size_t letters) {
    while (letters-- && link->letters && !link->over) {
        struct letter letter = take(link);
        size_t at = 0;
        while (at < letter.size && !link->over) {
            struct tw_error error = {.status = TW_OK};
            void *place;
            size_t room;
            tw_decoder_want(&link->decoder, &place, &room);
            size_t size = room < letter.size - at ? room : letter.size - at;
            memcpy(place, letter.bytes + at, size);
            at += size;
            if (tw_decoder_advance(&link->decoder, size, &error) != TW_OK) {
                must(error.text[0] != '\0', "who is refused is told why");
                cut(link, error.text);
            }
        }
        free(letter.bytes);
        drain(link->party, link->to);
    }
}

/* ---- hearing ---- */

static enum tw_status hear_lead(struct link *link, const struct tw_frame *frame,
                                struct tw_error *error) {
    struct tw_node_order order;
    if (frame->body != TW_BODY_ORDER && frame->body != TW_BODY_MEMBER)
        return tw_error_set(error, TW_UNEXPECTED, "a %s from the lead", tw_body_name(frame->body));
    enum tw_status status = tw_order_take(link->orders, frame, &order, error);
    if (status != TW_OK)
        return status == TW_AGAIN ? TW_OK : status;
    return tw_node_hear_lead(link->party->node[1], &order, error);
}

static enum tw_status on_frame(void *context, const struct tw_frame *frame, void *data,
                               struct tw_error *error) {
    struct link *link = context;
    struct servers *s = link->party;
    if (link->to == 0 && s->served == TW_NO_CONNECTION)
        return tw_error_set(error, TW_CLOSED, "closed");
    enum tw_status status = link->to == 0 ? tw_node_frame(s->node[0], s->served, frame, data, error)
                                          : hear_lead(link, frame, error);
    drain(s, link->to);
    return status;
}

static enum tw_status no_data(void *context, const struct tw_frame *frame, void **place,
                              struct tw_error *error) {
    return tw_error_set(error, TW_UNEXPECTED, "tensor bytes between servers");
}

static const struct tw_decoder_sink sink = {no_data, on_frame};

/* ---- what nodes want ---- */

static void note(struct servers *s, uint32_t node, struct worker *w, const struct tw_frame *frame) {
    switch (frame->body) {
    case TW_BODY_WELCOME:
        w->welcome = frame->welcome;
        memcpy(w->session, frame->welcome.session.bytes, TW_SESSION_BYTES);
        w->welcomed = true;
        break;
    case TW_BODY_WEIGHTS:
        if (frame->weights.position > w->read) { /* else what another server sends late */
            w->read = frame->weights.position;
            w->step = frame->weights.step;
            for (int n = 0; n < SERVERS; n++)
                w->here[n] = w->pushed[n] = w->ended[n] = false;
        }
        w->here[node] = w->here[node] || frame->weights.position == w->read;
        break;
    case TW_BODY_REGATHER:
        w->pushed[node] = w->ended[node] = false;
        break;
    default:
        break;
    }
}

static void lose(struct servers *s, struct worker *w, uint32_t node, bool control) {
    uint32_t *number = control ? &w->control : &w->bulk[node];
    uint32_t lost = *number;
    *number = TW_NO_CONNECTION;
    if (lost == TW_NO_CONNECTION)
        return;
    if (!control)
        w->pushed[node] = w->ended[node] = false;
    tw_node_lost(s->node[node], lost, "lost");
}

static void on_send(struct servers *s, uint32_t node, const struct tw_node_effect *effect) {
    for (int i = 0; i < WORKERS; i++)
        if (s->worker[i].bulk[node] == effect->connection ||
            (node == 0 && s->worker[i].control == effect->connection))
            note(s, node, &s->worker[i], &effect->frame);
    if (effect->frame.data_bytes)
        tw_node_sent(s->node[node], effect->token);
}

static void on_close(struct servers *s, uint32_t node, const struct tw_node_effect *effect) {
    must(effect->status == TW_OK || effect->text[0], "whoever is closed is told why");
    if (node == 0 && effect->connection == s->served) {
        cut(&s->link[0], effect->text);
        return;
    }
    for (int i = 0; i < WORKERS; i++) {
        struct worker *w = &s->worker[i];
        bool control = node == 0 && w->control == effect->connection;
        if (!control && w->bulk[node] != effect->connection)
            continue;
        /* Its predecessor's join waits for the update under way, and holds the place until then. */
        bool early = effect->status == TW_AGAIN;
        must(early || w->leaving || may_refuse(s), effect->text);
        lose(s, w, node, control);
        return;
    }
    tw_node_lost(s->node[node], effect->connection, "closed"); /* a stranger */
}

static void carry_out(struct servers *s, uint32_t node, const struct tw_node_effect *effect) {
    struct tw_frame frame;
    uint8_t room[TW_SAMPLE_SUMS_BYTES];
    switch (effect->kind) {
    case TW_NODE_SEND:
        on_send(s, node, effect);
        break;
    case TW_NODE_CLOSE:
        on_close(s, node, effect);
        break;
    case TW_NODE_TO_LEAD:
        if (effect->vote.kind == TW_VOTE_READY)
            s->ready = effect->vote.ready;
        tw_vote_frame(&effect->vote, &frame, room);
        servers_say(&s->link[0], &frame);
        break;
    case TW_NODE_TO_SHARDS:
        if (effect->order.kind == TW_ORDER_RECORD) {
            s->position = effect->order.record.position;
            s->version = effect->order.record.version;
        }
        servers_say_order(s, &effect->order);
        break;
    case TW_NODE_SAVE:
        s->saves[node]++;
        break;
    case TW_NODE_EVENT:
        s->finished = s->finished || effect->event.kind == TW_EVENT_FINISHED;
        break;
    default:
        break;
    }
}

static void drain(struct servers *s, uint32_t node) {
    const struct tw_node_effect *effect;
    while ((effect = tw_node_effect(s->node[node])) != NULL)
        carry_out(s, node, effect);
}

/* A disk that is slower than the work: what is to be saved is so one piece later. */
void servers_work(struct servers *s, uint32_t node, unsigned pieces) {
    for (; pieces; pieces--) {
        if (s->saves[node]) {
            s->saves[node]--;
            tw_node_saved(s->node[node]);
            drain(s, node);
            if (++s->saved == s->layout.chunks) {
                s->saved = 0;
                tw_node_checkpointed(s->node[0]);
                drain(s, 0);
            }
        }
        tw_node_work(s->node[node]);
        drain(s, node);
    }
}

/* ---- workers and strangers ---- */

static enum tw_status say(struct servers *s, uint32_t node, uint32_t number,
                          const struct tw_frame *frame, const void *data, struct tw_error *error) {
    *error = (struct tw_error){.status = TW_OK};
    enum tw_status status = tw_node_frame(s->node[node], number, frame, data, error);
    must(status == TW_OK || error->text[0], "who is refused is told why");
    drain(s, node);
    return status;
}

/* Of a worker, who says only what is right. */
static void insist(struct servers *s, struct worker *w, uint32_t node, bool control,
                   const struct tw_frame *frame, const void *data) {
    struct tw_error error;
    uint32_t number = control ? w->control : w->bulk[node];
    if (number == TW_NO_CONNECTION || say(s, node, number, frame, data, &error) == TW_OK)
        return;
    must(may_refuse(s), error.text);
    lose(s, w, node, control);
    drain(s, node);
}

static uint32_t greet(struct servers *s, uint32_t node) {
    static const uint8_t nonce[TW_NONCE_BYTES] = {1, 2, 3};
    uint8_t random[TW_NODE_RANDOM_BYTES];
    struct tw_error error;
    struct tw_frame hello = {.body = TW_BODY_HELLO}, proof = {.body = TW_BODY_PROOF};
    hello.hello.protocol_min = TW_PROTOCOL_MIN;
    hello.hello.protocol_max = TW_PROTOCOL_MAX;
    hello.hello.nonce = (struct tw_view){nonce, TW_NONCE_BYTES};
    for (size_t i = 0; i < sizeof(random); i++)
        random[i] = (uint8_t)tw_rng_below(&s->rng, 256);
    uint32_t number = tw_node_open(s->node[node], random);
    must(number != TW_NO_CONNECTION, "there is room for another connection");
    must(say(s, node, number, &hello, NULL, &error) == TW_OK, error.text);
    must(say(s, node, number, &proof, NULL, &error) == TW_OK, error.text);
    return number;
}

static void join(struct servers *s, struct worker *w) {
    static const uint64_t shapes[TENSORS][1] = {{4}, {2}};
    static const struct tw_tensor_shape tensors[TENSORS] = {{{"w", 1}, 1, shapes[0]},
                                                            {{"b", 1}, 1, shapes[1]}};
    struct tw_frame frame = {.body = TW_BODY_JOIN};
    frame.join.any_rank = true;
    frame.join.tensors = TENSORS;
    frame.join.tensor = tensors;
    frame.join.numerics = (struct tw_view){"honest", 6};
    frame.join.encodings = TW_ENCODINGS_ALL;
    w->control = greet(s, 0);
    struct tw_error error;
    enum tw_status status = say(s, 0, w->control, &frame, NULL, &error);
    if (status == TW_OK)
        return;
    must(may_refuse(s), error.text);
    lose(s, w, 0, true);
    drain(s, 0);
}

void servers_cut(struct servers *s, uint32_t worker) {
    struct worker *w = &s->worker[worker];
    w->leaving = true;
    for (uint32_t node = 0; node < SERVERS; node++) {
        lose(s, w, node, false);
        drain(s, node);
    }
    lose(s, w, 0, true);
    drain(s, 0);
    *w = (struct worker){.control = TW_NO_CONNECTION, .bulk = {TW_NO_CONNECTION, TW_NO_CONNECTION}};
    join(s, w);
}

static void attach(struct servers *s, struct worker *w, uint32_t node) {
    struct tw_frame frame = {.body = TW_BODY_ATTACH};
    frame.attach = (struct tw_attach){.rank = w->welcome.rank,
                                      .incarnation = w->welcome.incarnation,
                                      .attempt = w->welcome.attempt,
                                      .session = {w->session, TW_SESSION_BYTES}};
    w->bulk[node] = greet(s, node);
    insist(s, w, node, false, &frame, NULL);
}

/* The chunk that this server has. */
static void push(struct servers *s, struct worker *w, uint32_t node) {
    static const float values[4] = {0.5F, 0.25F, 0.5F, 0.25F};
    struct tw_error error = {.status = TW_OK};
    uint32_t chunk = s->layout.shard_first[node];
    struct tw_frame frame = {.body = TW_BODY_PUSH,
                             .data_bytes = s->layout.chunk[chunk].count * sizeof(float)};
    void *place = NULL;
    frame.push = (struct tw_push){.slot = w->welcome.rank,
                                  .incarnation = w->welcome.incarnation,
                                  .step = w->step,
                                  .chunk = chunk};
    enum tw_status status = tw_node_data(s->node[node], w->bulk[node], &frame, &place, &error);
    drain(s, node);
    if (status == TW_AGAIN || w->bulk[node] == TW_NO_CONNECTION)
        return; /* tries again at its next turn */
    must(status == TW_OK || may_refuse(s), error.text);
    if (status != TW_OK) {
        lose(s, w, node, false);
        drain(s, node);
        return;
    }
    if (place)
        memcpy(place, values, frame.data_bytes);
    w->pushed[node] = true;
    insist(s, w, node, false, &frame, place);
}

static void end(struct servers *s, struct worker *w, uint32_t node) {
    struct tw_frame frame = {.body = TW_BODY_END};
    frame.end = (struct tw_end){.slot = w->welcome.rank,
                                .incarnation = w->welcome.incarnation,
                                .step = w->step,
                                .read = w->read,
                                .frames = 1,
                                .examples = EXAMPLES,
                                .loss = 1};
    w->ended[node] = true;
    insist(s, w, node, false, &frame, NULL);
}

void servers_act(struct servers *s, uint32_t worker, uint32_t node) {
    struct worker *w = &s->worker[worker];
    if (w->welcomed && w->bulk[node] == TW_NO_CONNECTION && w->control != TW_NO_CONNECTION &&
        !s->finished && !s->stopped)
        attach(s, w, node);
    else if (w->bulk[node] == TW_NO_CONNECTION || !w->here[0] || !w->here[1])
        return;
    else if (!w->pushed[node])
        push(s, w, node);
    else if (!w->ended[node])
        end(s, w, node);
}

struct tw_frame servers_serve(const struct servers *s) {
    struct tw_frame frame = {.body = TW_BODY_SERVE};
    frame.serve = (struct tw_serve){.index = 1,
                                    .servers = SERVERS,
                                    .digest = {s->digest, TW_DIGEST_BYTES},
                                    .layout = {s->layout_digest, TW_DIGEST_BYTES},
                                    .address = {"virtual:2", 9},
                                    .pooled = tw_shard_is_pooled(tw_node_shard(s->node[1])),
                                    .ahead = tw_shard_ahead(tw_node_shard(s->node[1]))};
    return frame;
}

void servers_stranger(struct servers *s, const struct tw_frame *frame) {
    struct tw_error error;
    uint32_t number = greet(s, 0);
    if (say(s, 0, number, frame, NULL, &error) == TW_OK && s->served == TW_NO_CONNECTION &&
        tw_node_server(s->node[0], 1) == number)
        s->served = number; /* the first one was lost, and this one says the same */
    else
        tw_node_lost(s->node[0], number, "a stranger");
    drain(s, 0);
}

void servers_ask(struct servers *s, unsigned what) {
    struct tw_error error;
    switch (what % 8) {
    case 0:
        s->stopped = true;
        tw_node_stop(s->node[0], what & 8);
        break;
    case 1:
        tw_node_evict(s->node[0], what >> 3 & 1);
        break;
    case 2:
        tw_node_checkpoint(s->node[0]);
        break;
    default:
        (void)tw_node_turn(s->node[0], what & 8 ? "async" : "sync", &error);
        break;
    }
    drain(s, 0);
}

/* ---- from the start to the end ---- */

void servers_heal(struct servers *s) {
    for (int i = 0; i < 3000 && !s->finished && !(s->link[0].over || s->link[1].over); i++) {
        for (uint32_t n = 0; n < SERVERS; n++) {
            servers_hear(&s->link[n], 1);
            servers_act(s, 0, n);
            servers_act(s, 1, n);
            servers_work(s, n, 1);
        }
        for (uint32_t w = 0; w < WORKERS; w++)
            if (s->worker[w].control == TW_NO_CONNECTION && !s->finished && !s->stopped)
                servers_cut(s, w);
    }
    must(s->finished || s->lied, "servers that do not lie end the run");
}

const char *servers_mode(const struct servers *s) {
    return s->flags & FLAG_HOGWILD ? "hogwild" : s->flags & FLAG_ASYNC ? "async" : "sync";
}

static void configure(struct servers *s, struct tw_node_config *config) {
    const char *rule = s->flags & FLAG_LAMB ? "lamb" : "sgd";
    tw_dial_parse(servers_mode(s), (struct tw_where){0}, WORKERS, &config->sequencer.dial, NULL);
    config->terms.tensors = &s->list;
    config->sequencer.workers = config->shard.slots = WORKERS;
    config->sequencer.shards = SERVERS;
    config->sequencer.tensors = TENSORS;
    config->sequencer.samples = s->flags & FLAG_EPOCHS ? 8 : 0;
    config->sequencer.end_updates = UPDATES;
    config->shard.layout = &s->layout;
    config->shard.members_known = config->sequencer.dial.members_known;
    config->shard.spares = 1;
    config->shard.hash_every = config->shard.sums_every = 2;
    config->shard.on_arrival = config->sequencer.dial.on_arrival;
    config->shard.batch = WORKERS * EXAMPLES;
    config->shard.ahead = config->shard.on_arrival ? 0 : WORKERS;
    if (s->flags & FLAG_POOL) {
        config->shard.pool = tw_shard_pool_min(WORKERS);
        config->shard.ahead = 0;
        config->sequencer.admission = true;
    }
    config->sequencer.shaping.clip_norm = config->shard.shaping.clip_norm =
        s->flags & FLAG_CLIP ? 0.5 : 0;
    for (int i = 0; i < tw_optimizer_count; i++)
        if (strcmp(tw_optimizers[i]->name, rule) == 0)
            config->sequencer.optimizer = config->shard.optimizer = tw_optimizers[i];
    config->sequencer.options = config->shard.options =
        (struct tw_optimizer_options){.lr = 0.1, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8};
}

static void make_servers(struct servers *s) {
    static const int64_t shapes[TENSORS] = {4, 2};
    static const char *const names[TENSORS] = {"w", "b"};
    struct tw_node_config config = {.servers = SERVERS, .connections = CONNECTIONS};
    struct tw_init init = {TW_INIT_CONSTANT, 1};
    s->list = (struct tw_tensor_list){TENSORS, s->tensors};
    for (int t = 0; t < TENSORS; t++)
        tw_tensor_init(&s->tensors[t], names[t], 1, &shapes[t], init, NULL);
    must(tw_layout_init(&s->layout, &s->list, TW_CHUNK_BYTES_MIN, SERVERS, s->chunk, NULL) == TW_OK,
         "two chunks are shared out to two servers");
    tw_layout_digest(&s->layout, s->layout_digest);
    configure(s, &config);
    for (uint32_t n = 0; n < SERVERS; n++) {
        config.shard.index = n;
        s->node[n] = tw_node_init(some_memory(tw_node_bytes(&config)), &config);
        s->link[n].party = s;
        s->link[n].to = n;
        tw_decoder_init(&s->link[n].decoder, &sink, &s->link[n], &s->arena, NULL);
        tw_decoder_limit(&s->link[n].decoder, LETTER_MAX, false);
    }
    s->link[1].orders = some_memory(sizeof(*s->link[1].orders));
}

struct servers *servers_new(unsigned flags) {
    struct servers *s = calloc(1, sizeof(*s));
    must(s != NULL, "there is memory");
    s->flags = flags & FLAG_HOGWILD ? flags & (FLAG_HOGWILD | FLAG_EPOCHS) : flags;
    s->served = TW_NO_CONNECTION;
    tw_rng_init(&s->rng, 4711, TW_STREAM_JITTER, 0, 0);
    for (int w = 0; w < WORKERS; w++)
        s->worker[w] = (struct worker){.control = TW_NO_CONNECTION,
                                       .bulk = {TW_NO_CONNECTION, TW_NO_CONNECTION}};
    make_servers(s);
    struct tw_frame serve = servers_serve(s);
    servers_stranger(s, &serve);
    must(s->served != TW_NO_CONNECTION, "server 1 is taken");
    for (int w = 0; w < WORKERS; w++)
        join(s, &s->worker[w]);
    return s;
}

void servers_free(struct servers *s) {
    for (int n = 0; n < SERVERS; n++) {
        while (s->link[n].letters)
            servers_forget(&s->link[n]);
        free(s->link[n].orders);
        free(s->node[n]);
    }
    free(s);
}
