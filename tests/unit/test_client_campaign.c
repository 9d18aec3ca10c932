/* The client core in a world of random order: frames of up to three shards interleave,
 * connections break anywhere, shards lose what they gathered. After every event:
 *   - a pull completes only with one position's weights, all of them, and the next step;
 *   - whoever begins on a part of them keeps what is here of it, until it pulls again;
 *   - a frame of a push belongs to the step and the read that the servers wait for; none is
 *     handed out after a Cancel of its step has come, before or after the newer weights;
 *   - nobody computes on weights whose step it knows to be cancelled;
 *   - an End follows all chunks of its shard.
 * In the end faults stop and the run must finish. A failure names its seed. */
#include "common/base/rng.h"
#include "tests/unit/client_desk.h"

enum { SEEDS = 400, STEPS = 12, FAULTY_EVENTS = 1500, EVENTS_MAX = 20000, QUEUE = 64 };

enum happening {
    DELIVERED,
    HELD_BACK,
    THROWN_AWAY,
    PULLED,
    BEGUN,
    BEGUN_AND_PULLED,
    BEGUN_IN_VAIN,
    TENSOR_PUSHED,
    PUSH_ENDED,
    CHUNK_SENT,
    CHUNK_AGAIN,
    END_SENT,
    SETTLED,
    REGATHERED,
    CANCELLED,
    TOLD_COMPUTING,
    TOLD_PUSHING,
    TOLD_WAITING,
    TOLD_BEGUN,
    TOLD_LATE,
    GIVEN_UP,
    PUSHED_IN_VAIN,
    LOST_CONTROL,
    LOST_BULK,
    LOST_MIDWAY,
    NOT_OPENED,
    WENT_ON,
    RELEASED_AGAIN,
    PINGED,
    HAPPENINGS,
};

static const char *const names[HAPPENINGS] = {
    "frame delivered",
    "frame held back",
    "old frame thrown away",
    "pull complete",
    "begun on a part",
    "... and complete",
    "... and over",
    "tensor pushed",
    "push ended",
    "chunk sent",
    "chunk sent again",
    "End sent",
    "step settled",
    "regather",
    "read cancelled",
    "told: computing",
    "told: pushing",
    "told: waiting",
    "told: begun",
    "told: too late",
    "given up",
    "pushed in vain",
    "control lost",
    "bulk lost",
    "lost in a set",
    "could not open",
    "read went on",
    "read released again",
    "ping",
};
static uint64_t counts[HAPPENINGS];

struct shard {
    struct tw_frame queue[QUEUE]; /* to the client, in order */
    int queued;
    bool attached, ended;
    bool here[DESK_CHUNKS];
};

struct world {
    struct desk desk;
    struct tw_rng rng;
    uint64_t seed;
    uint32_t servers;
    struct shard shard[3];
    struct tw_frame control[QUEUE];
    int controls;
    bool opening[4];
    bool joined;
    uint64_t position, read, step, version; /* outstanding: weights of `position` for `step` */
    uint64_t pulled;                        /* step of the last complete pull */
    uint64_t told;                          /* step of the last Cancel that was delivered */
    uint64_t begun;                         /* position that it has begun on; 0: none */
    bool kept[DESK_TENSORS];                /* of these, tensors that have been here */
};

static bool chance(struct world *world, int percent) {
    return tw_rng_below(&world->rng, 100) < (uint64_t)percent;
}

#define CHECK(world, condition)                                                                    \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("seed %llu: %s", (unsigned long long)(world)->seed, #condition);              \
    } while (0)

/* ---- servers ---- */

static struct tw_frame *queue_frame(struct world *world, int link) {
    struct shard *shard = link == 0 ? NULL : &world->shard[link - 1];
    int *count = link == 0 ? &world->controls : &shard->queued;
    CHECK(world, *count < QUEUE);
    return link == 0 ? &world->control[(*count)++] : &shard->queue[(*count)++];
}

static void release(struct world *world) {
    world->position += 1 + tw_rng_below(&world->rng, 3);
    for (uint32_t chunk = 0; chunk < DESK_CHUNKS; chunk++) {
        uint32_t owner = world->desk.client.layout.chunk[chunk].shard;
        if (world->shard[owner].attached)
            *queue_frame(world, 1 + (int)owner) =
                desk_weights(&world->desk, world->position, world->version, world->step, chunk);
    }
}

static void forget_push(struct shard *shard) {
    memset(shard->here, 0, sizeof(shard->here));
    shard->ended = false;
}

static void all_attached(struct world *world) {
    if (world->read == world->position && world->position != 0) {
        counts[WENT_ON]++;
        return;
    }
    if (world->position != 0)
        counts[RELEASED_AGAIN]++;
    release(world);
}

static void drop_connection(struct world *world, int link) {
    if (link == 0) {
        world->controls = 0;
        world->joined = false;
    } else {
        world->shard[link - 1].queued = 0;
        world->shard[link - 1].attached = false;
    }
    world->opening[link] = false;
}

static void on_attach(struct world *world, int link) {
    queue_frame(world, link)->body = TW_BODY_ATTACHED;
    world->shard[link - 1].attached = true;
    for (uint32_t i = 0; i < world->servers; i++)
        if (!world->shard[i].attached)
            return;
    all_attached(world);
}

static void on_small_frame(struct world *world, int link, const struct tw_frame *frame) {
    switch (frame->body) {
    case TW_BODY_HELLO:
        *queue_frame(world, link) = desk_challenge();
        return;
    case TW_BODY_JOIN:
        world->read = frame->join.read;
        *queue_frame(world, 0) = desk_welcome(&world->desk, world->step - 1);
        world->joined = true;
        return;
    case TW_BODY_ATTACH:
        on_attach(world, link);
        return;
    case TW_BODY_PING:
        counts[PINGED]++;
        queue_frame(world, 0)->body = TW_BODY_PONG;
        return;
    default:
        return;
    }
}

static void on_effect(void *context, const struct tw_client_effect *effect) {
    struct world *world = context;
    if (effect->kind == TW_CLIENT_SEND)
        on_small_frame(world, effect->link, &effect->frame);
    else
        drop_connection(world, effect->link);
    if (effect->kind == TW_CLIENT_OPEN)
        world->opening[effect->link] = true;
}

/* All shards have all of it: the step is applied, the next one is released. */
static void settle_if_whole(struct world *world) {
    for (uint32_t i = 0; i < world->servers; i++)
        if (!world->shard[i].ended)
            return;
    counts[SETTLED]++;
    for (uint32_t i = 0; i < world->servers; i++)
        forget_push(&world->shard[i]);
    world->step++;
    world->version++;
    release(world);
}

static bool shard_is_whole(const struct world *world, uint32_t shard) {
    const struct tw_layout *layout = &world->desk.client.layout;
    for (uint32_t i = layout->shard_first[shard]; i < layout->shard_first[shard + 1]; i++)
        if (!world->shard[shard].here[i])
            return false;
    return true;
}

static bool regather_on_its_way(const struct shard *shard) {
    for (int i = 0; i < shard->queued; i++)
        if (shard->queue[i].body == TW_BODY_REGATHER)
            return true;
    return false;
}

/* ---- what may happen ---- */

static void network_opens(struct world *world) {
    int link = (int)tw_rng_below(&world->rng, 1 + world->servers);
    if (!world->opening[link])
        return;
    world->opening[link] = false;
    if (chance(world, 90)) {
        desk_opened(&world->desk, link);
        return;
    }
    counts[NOT_OPENED]++;
    desk_lose(&world->desk, link, TW_UNREACHABLE);
}

static void take_first(struct tw_frame *queue, int *count) {
    memmove(queue, queue + 1, (size_t)-- * count * sizeof(*queue));
}

static void expect_complete(struct world *world) {
    struct desk *desk = &world->desk;
    counts[PULLED]++;
    CHECK(world, desk->client.held.step > world->pulled);
    CHECK(world, desk->client.held.step <= world->step);
    CHECK(world, desk->client.held.step > world->told);
    CHECK(world, world->begun == 0 || world->begun == desk->client.held.position);
    counts[BEGUN_AND_PULLED] += world->begun != 0;
    world->begun = 0;
    world->pulled = desk->client.held.step;
    for (int i = 0; i < DESK_TENSORS; i++)
        for (int64_t j = 0; j < desk_elements[i]; j++)
            CHECK(world, desk->weights[i][j] == (float)desk->client.held.position);
}

static void note_told(struct world *world, const struct tw_frame *frame) {
    static const enum happening by_work[TW_CLIENT_WORKS] = {[TW_CLIENT_IDLE] = TOLD_LATE,
                                                            [TW_CLIENT_WAITING] = TOLD_WAITING,
                                                            [TW_CLIENT_BEGUN] = TOLD_BEGUN,
                                                            [TW_CLIENT_COMPUTING] = TOLD_COMPUTING,
                                                            [TW_CLIENT_PUSHING] = TOLD_PUSHING};
    const struct tw_client *client = &world->desk.client;
    world->told = frame->cancel.step;
    counts[client->held.step > world->told ? TOLD_LATE : by_work[client->work]]++;
}

static void network_delivers(struct world *world) {
    struct desk *desk = &world->desk;
    int link = (int)tw_rng_below(&world->rng, 1 + world->servers);
    struct tw_frame *queue = link == 0 ? world->control : world->shard[link - 1].queue;
    int *count = link == 0 ? &world->controls : &world->shard[link - 1].queued;
    if (*count == 0)
        return;
    struct tw_frame frame = queue[0];
    if (frame.body == TW_BODY_WEIGHTS) {
        uint64_t newest = desk->client.newest;
        enum tw_status status = desk_arrive(desk, &frame, (float)frame.weights.position);
        if (status == TW_AGAIN) {
            counts[HELD_BACK]++;
            return; /* stays first of its queue */
        }
        CHECK(world, status == TW_OK);
        counts[THROWN_AWAY] += frame.weights.position < newest;
        take_first(queue, count);
        counts[DELIVERED]++;
        if (desk->client.work == TW_CLIENT_COMPUTING && desk->client.held.step != world->pulled)
            expect_complete(world);
        return;
    }
    take_first(queue, count);
    counts[DELIVERED]++;
    if (frame.body == TW_BODY_CANCEL)
        note_told(world, &frame);
    CHECK(world, desk_frame(desk, link, &frame, NULL) == TW_OK);
}

/* It may ask between layers, and if it does not, all goes on as if nothing had happened. */
static void go_on_in_vain(struct world *world) {
    struct desk *desk = &world->desk;
    counts[BEGUN_IN_VAIN] += desk->client.work == TW_CLIENT_BEGUN;
    if (chance(world, 50)) {
        counts[GIVEN_UP]++;
        world->begun = 0;
        CHECK(world, desk_pull(desk) == TW_OK);
        return;
    }
    counts[PUSHED_IN_VAIN]++;
    CHECK(world, desk_push(desk, (int)tw_rng_below(&world->rng, DESK_TENSORS)) == TW_OK);
    if (chance(world, 50))
        CHECK(world, desk_end(desk) == TW_OK);
}

/* Somebody computes on them. */
static void expect_untouched(struct world *world) {
    const struct desk *desk = &world->desk;
    for (int i = 0; world->begun != 0 && i < DESK_TENSORS; i++) {
        world->kept[i] = world->kept[i] || tw_client_has_tensor(&desk->client, i);
        if (!world->kept[i])
            continue;
        CHECK(world, desk->weights[i][0] == (float)world->begun);
        CHECK(world, desk->weights[i][desk_elements[i] - 1] == (float)world->begun);
    }
}

static void application_waits(struct world *world) {
    struct desk *desk = &world->desk;
    if (!tw_client_may_begin(&desk->client) || chance(world, 30)) {
        world->begun = 0;
        CHECK(world, desk_pull(desk) == TW_OK);
        return;
    }
    struct tw_client_event begin = {.kind = TW_CLIENT_ON_BEGIN};
    CHECK(world, desk_step(desk, begin) == TW_OK);
    counts[BEGUN]++;
    memset(world->kept, 0, sizeof(world->kept));
    world->begun = tw_client_set(&desk->client)->position;
}

static void application_acts(struct world *world) {
    struct desk *desk = &world->desk;
    if (tw_client_cancelled(&desk->client)) {
        go_on_in_vain(world);
        return;
    }
    if (desk->client.work == TW_CLIENT_BEGUN) {
        struct tw_client_event want = {.kind = TW_CLIENT_ON_WANT,
                                       .tensor = (int)tw_rng_below(&world->rng, DESK_TENSORS)};
        CHECK(world, desk_step(desk, want) == TW_OK);
        return;
    }
    if (desk->client.work != TW_CLIENT_COMPUTING) {
        application_waits(world);
        return;
    }
    if (desk->client.pushed == DESK_TENSORS) {
        counts[PUSH_ENDED]++;
        CHECK(world, desk_end(desk) == TW_OK);
        return;
    }
    int tensor = (int)tw_rng_below(&world->rng, DESK_TENSORS);
    if (desk->client.gradient[tensor] == NULL) {
        counts[TENSOR_PUSHED]++;
        CHECK(world, desk_push(desk, tensor) == TW_OK);
    }
}

static void client_sends(struct world *world) {
    struct tw_frame frame;
    const void *data;
    uint32_t number = (uint32_t)tw_rng_below(&world->rng, world->servers);
    struct shard *shard = &world->shard[number];
    if (!tw_client_next(&world->desk.client, 1 + (int)number, &frame, &data))
        return;
    CHECK(world, shard->attached);
    uint64_t step = frame.body == TW_BODY_END ? frame.end.step : frame.push.step;
    CHECK(world, step <= world->step && step > world->told);
    if (step != world->step)
        return; /* settled or cancelled, and newer weights are on the way */
    if (frame.body == TW_BODY_PUSH) {
        counts[CHUNK_SENT]++;
        counts[CHUNK_AGAIN] += shard->here[frame.push.chunk];
        CHECK(world, world->desk.client.layout.chunk[frame.push.chunk].shard == number);
        shard->here[frame.push.chunk] = true;
    } else {
        counts[END_SENT]++;
        CHECK(world, frame.end.read == world->position);
        CHECK(world, shard_is_whole(world, number) || regather_on_its_way(shard));
        shard->ended = shard_is_whole(world, number);
    }
    settle_if_whole(world);
}

static void connection_breaks(struct world *world) {
    struct desk *desk = &world->desk;
    int link = (int)tw_rng_below(&world->rng, 1 + world->servers);
    if (!desk->open[link] || world->opening[link])
        return;
    counts[link == 0 ? LOST_CONTROL : LOST_BULK]++;
    counts[LOST_MIDWAY] += desk->client.arrived > 0;
    drop_connection(world, link);
    desk_lose(desk, link, TW_CLOSED);
}

static void shard_forgets(struct world *world) {
    struct shard *shard = &world->shard[tw_rng_below(&world->rng, world->servers)];
    if (!shard->attached || world->step == 0 || regather_on_its_way(shard) ||
        shard->queued > QUEUE / 2)
        return;
    counts[REGATHERED]++;
    forget_push(shard);
    *queue_frame(world, 1 + (int)(shard - world->shard)) =
        (struct tw_frame){.body = TW_BODY_REGATHER};
}

/* As when late gradients are cancelled: the slot goes to its next step. */
static void read_is_cancelled(struct world *world) {
    for (uint32_t i = 0; i < world->servers; i++)
        if (!world->shard[i].attached || world->shard[i].queued > QUEUE / 2)
            return;
    if (world->position == 0)
        return;
    counts[CANCELLED]++;
    for (uint32_t i = 0; i < world->servers; i++)
        forget_push(&world->shard[i]);
    if (world->joined && world->controls < QUEUE / 2)
        *queue_frame(world, 0) =
            (struct tw_frame){.body = TW_BODY_CANCEL, .cancel = {.step = world->step}};
    world->step++;
    release(world);
}

static void time_passes(struct world *world) {
    uint64_t deadline = tw_client_deadline(&world->desk.client);
    uint64_t now = world->desk.now;
    desk_tick(&world->desk, deadline > now ? (deadline - now + 1) / 2 : 0);
}

static void one_event(struct world *world, bool faults) {
    uint64_t dice = tw_rng_below(&world->rng, 100);
    if (dice < 12)
        network_opens(world);
    else if (dice < 45)
        network_delivers(world);
    else if (dice < 60)
        application_acts(world);
    else if (dice < 85)
        client_sends(world);
    else if (dice < 95)
        time_passes(world);
    else if (faults && dice < 97)
        connection_breaks(world);
    else if (faults && dice < 98)
        read_is_cancelled(world);
    else if (faults)
        shard_forgets(world);
}

/* ---- campaign ---- */

static void run_seed(uint64_t seed) {
    static struct world world; /* large */
    const struct tw_client_config config = {
        .role = TW_ROLE_WORKER, .rank = -1, .seed = seed, .connect_ms = 3600000};
    memset(&world, 0, sizeof(world));
    tw_rng_init(&world.rng, seed, TW_STREAM_DELAY, 0, 0);
    world.seed = seed;
    world.servers = 1 + (uint32_t)(seed % 3);
    world.step = 1;
    desk_init(&world.desk, world.servers, &config);
    world.desk.on_effect = on_effect;
    world.desk.context = &world;
    desk_start(&world.desk);
    int events = 0;
    for (; world.step <= STEPS || events < FAULTY_EVENTS; events++) {
        if (events == EVENTS_MAX)
            fail_msg("seed %llu: stands still at step %llu", (unsigned long long)seed,
                     (unsigned long long)world.step);
        one_event(&world, events < FAULTY_EVENTS);
        CHECK(&world, !tw_client_over(&world.desk.client));
        CHECK(&world, world.desk.client.held.step <= world.step);
        expect_untouched(&world);
    }
    desk_fini(&world.desk);
}

static void every_order_of_events_keeps_the_invariants(void **state) {
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_seed(seed);
    for (int i = 0; i < HAPPENINGS; i++) {
        print_message("%-22s %llu\n", names[i], (unsigned long long)counts[i]);
        if (counts[i] == 0)
            fail_msg("it never happened: %s", names[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order_of_events_keeps_the_invariants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
