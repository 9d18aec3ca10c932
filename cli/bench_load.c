#include "cli/bench_load.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "common/net/listen.h"
#include "common/net/poller.h"
#include "worker/io/link.h"

#define WATCH_MS 200
#define AGAIN_MS 10
#define LEAST_S 60. /* who has not had his answers by then has none coming */

struct load;

struct load_worker {
    struct tw_shell shell;
    struct load *load;
    float *weights;
    bool is_here;
    uint64_t pushed_ns;         /* when it pushed last; 0: never */
    uint64_t waits, longest_ns; /* since the measurement began */
    uint64_t wait_ns;
};

struct load {
    uv_loop_t loop;
    struct tw_poller poller;
    uv_poll_t commanded; /* a command has come */
    uv_timer_t clock, watch;
    int commands, answers;
    bool over; /* nobody commands any more, or a worker has failed */
    int failed;
    uint64_t began_ns;
    int count, here; /* workers; those that are, which the answer to a push shows */
    struct load_worker *worker;
    const struct tw_load_plan *plan;
    struct tw_shell_group group;
    float *gradient; /* the same for all */
    struct tw_tensor tensor;
    struct tw_tensor_list list;
};

/* ---- workers ---- */

static void fail(struct load *load, const struct tw_error *error) {
    if (!load->over)
        fprintf(stderr, "a worker of the load: %s\n", error->text);
    load->over = true;
    load->failed = 1;
}

/* now_ns: 0: now. */
static void tell(struct load_worker *worker, struct tw_client_event *event, int count,
                 uint64_t now_ns) {
    struct tw_error error;
    if (tw_shell_steps(&worker->shell, event, count, now_ns, &error) != TW_OK)
        fail(worker->load, &error);
}

static void say_all_are_here(struct load *load) {
    double seconds = 1e-9 * (double)(tw_party_now_ns() - load->began_ns);
    if (!tw_party_write(load->answers, &seconds, sizeof seconds))
        load->over = true;
}

/* An answer to a push shows that an update was made, and so that all had joined. */
static void note_answer(struct load_worker *worker, uint64_t now_ns) {
    uint64_t wait_ns = now_ns - worker->pushed_ns;
    if (worker->pushed_ns == 0)
        return;
    if (!worker->is_here && ++worker->load->here == worker->load->count)
        say_all_are_here(worker->load);
    worker->is_here = true;
    worker->waits++;
    worker->wait_ns += wait_ns;
    worker->longest_ns = wait_ns > worker->longest_ns ? wait_ns : worker->longest_ns;
}

/* All whose answers one read() has brought push now: the moment of that is theirs. */
static void on_weights(struct tw_shell *shell) {
    struct load_worker *worker = (struct load_worker *)shell; /* its first member */
    uint64_t now_ns = tw_shell_moment(shell);
    if (worker->load->over)
        return;
    note_answer(worker, now_ns);
    worker->pushed_ns = now_ns;
    struct tw_client_event push[] = {
        {.kind = TW_CLIENT_ON_PUSH, .gradient = worker->load->gradient},
        {.kind = TW_CLIENT_ON_END, .examples = 1},
        {.kind = TW_CLIENT_ON_PULL},
    };
    tell(worker, push, 3, now_ns);
}

static enum tw_status start_worker(struct load *load, int index, struct tw_error *error) {
    const struct tw_load_plan *plan = load->plan;
    struct load_worker *worker = &load->worker[index];
    struct tw_client_config config = {.role = TW_ROLE_WORKER,
                                      .rank = plan->first + index,
                                      .server = plan->server,
                                      .numerics = "bench",
                                      .list = &load->list,
                                      .weights = &worker->weights,
                                      .connect_ms = 120000,
                                      .seed = (uint64_t)(plan->first + index)};
    worker->load = load;
    worker->weights = calloc(plan->bytes, 1);
    if (!worker->weights)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    enum tw_status status = tw_shell_init(&worker->shell, &load->loop, &config,
                                          plan->shared ? &load->group : NULL, error);
    if (status)
        return status;
    worker->shell.on_weights = on_weights;
    struct tw_client_event begin[] = {{.kind = TW_CLIENT_ON_START}, {.kind = TW_CLIENT_ON_PULL}};
    tell(worker, begin, 2, 0);
    return TW_OK;
}

/* ---- measuring ---- */

static void forget_waits(struct load *load) {
    for (int i = 0; i < load->count; i++) {
        struct load_worker *worker = &load->worker[i];
        worker->waits = worker->longest_ns = worker->wait_ns = 0;
    }
    load->began_ns = tw_party_now_ns();
}

/* Who still waits has waited so far. */
static struct tw_load_seen look(const struct load *load) {
    uint64_t now_ns = tw_party_now_ns();
    struct tw_load_seen seen = {.fewest = UINT64_MAX,
                                .seconds = 1e-9 * (double)(now_ns - load->began_ns)};
    for (int i = 0; i < load->count; i++) {
        const struct load_worker *worker = &load->worker[i];
        uint64_t open_ns = now_ns - worker->pushed_ns;
        uint64_t longest_ns = open_ns > worker->longest_ns ? open_ns : worker->longest_ns;
        double mean = worker->waits ? 1e-9 * (double)worker->wait_ns / (double)worker->waits
                                    : 1e-9 * (double)open_ns;
        seen.pushes += worker->waits;
        seen.fewest = worker->waits < seen.fewest ? worker->waits : seen.fewest;
        seen.wait_sum += 1e-9 * (double)worker->wait_ns;
        seen.worker_mean = mean > seen.worker_mean ? mean : seen.worker_mean;
        if (1e-9 * (double)longest_ns > seen.wait_longest)
            seen.wait_longest = 1e-9 * (double)longest_ns;
    }
    return seen;
}

static void on_clock(uv_timer_t *clock) {
    struct load *load = clock->data;
    struct tw_load_seen seen = look(load);
    if (seen.fewest < TW_LOAD_LEAST && seen.seconds < LEAST_S)
        uv_timer_start(clock, on_clock, AGAIN_MS, 0);
    else if (!tw_party_write(load->answers, &seen, sizeof seen))
        load->over = true;
}

/* Workers that cannot go on: refused, or lost for good. */
static void on_watch(uv_timer_t *watch) {
    struct load *load = watch->data;
    for (int i = 0; i < load->count; i++)
        if (tw_client_over(&load->worker[i].shell.client))
            fail(load, &load->worker[i].shell.client.error);
}

static void on_command(uv_poll_t *poll, int status, int what) {
    struct load *load = poll->data;
    double seconds;
    if (status != 0 || !tw_party_read(load->commands, &seconds, sizeof seconds)) {
        load->over = true;
        return;
    }
    forget_waits(load);
    uv_update_time(&load->loop);
    uv_timer_start(&load->clock, on_clock, (uint64_t)(1000 * seconds), 0);
}

/* ---- the process ---- */

static enum tw_status prepare(struct load *load, const struct tw_load_plan *plan,
                              struct tw_error *error) {
    static const struct tw_init zero = {TW_INIT_CONSTANT, 0};
    int64_t shape[1] = {(int64_t)(plan->bytes / sizeof(float))};
    load->plan = plan;
    load->count = plan->count;
    load->began_ns = tw_party_now_ns();
    load->worker = calloc((size_t)plan->count, sizeof *load->worker);
    load->gradient = calloc(plan->bytes, 1);
    if (!load->worker || !load->gradient || uv_loop_init(&load->loop) != 0)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    tw_poller_init(&load->poller, &load->loop, TW_POLL_US);
    uv_timer_init(&load->loop, &load->clock);
    uv_timer_init(&load->loop, &load->watch);
    uv_timer_start(&load->watch, on_watch, WATCH_MS, WATCH_MS);
    int code = uv_poll_init(&load->loop, &load->commanded, load->commands);
    if (code == 0)
        code = uv_poll_start(&load->commanded, UV_READABLE, on_command);
    if (code != 0)
        return tw_error_set(error, TW_IO, "no loop: %s", uv_strerror(code));
    load->clock.data = load->watch.data = load->commanded.data = load;
    load->list = (struct tw_tensor_list){.tensors = &load->tensor, .count = 1};
    return tw_tensor_init(&load->tensor, "w", 1, shape, zero, error);
}

/* It ends with the process that commands it: by its signal, or when the pipe is closed. */
static int bear_load(int commands, int answers, void *context) {
    const struct tw_load_plan *plan = context;
    static struct load load; /* its group has room for what comes */
    load.commands = commands;
    load.answers = answers;
    struct tw_error error = {.status = TW_OK};
    tw_allow_many_files();
    tw_ignore_broken_pipes();
    enum tw_status status = prepare(&load, plan, &error);
    for (int i = 0; i < plan->count && !status; i++)
        status = start_worker(&load, i, &error);
    if (status)
        fail(&load, &error);
    while (!load.over)
        tw_poller_turn(&load.poller);
    return load.failed;
}

/* ---- who commands it ---- */

enum tw_status tw_load_start(struct tw_party *load, const struct tw_load_plan *plan,
                             struct tw_error *error) {
    char name[32];
    snprintf(name, sizeof name, "load from rank %d", plan->first);
    return tw_party_start(load, name, plan->core, bear_load, (void *)(uintptr_t)plan, error);
}

enum tw_status tw_load_joined(struct tw_party *load, double *out, struct tw_error *error) {
    return tw_party_hear(load, out, sizeof *out, error);
}

enum tw_status tw_load_begin(struct tw_party *load, double seconds, struct tw_error *error) {
    return tw_party_tell(load, &seconds, sizeof seconds, error);
}

enum tw_status tw_load_end(struct tw_party *load, struct tw_load_seen *out,
                           struct tw_error *error) {
    return tw_party_hear(load, out, sizeof *out, error);
}

void tw_load_pause(const struct tw_party *load) {
    kill(load->pid, SIGSTOP);
}

void tw_load_go_on(const struct tw_party *load) {
    kill(load->pid, SIGCONT);
}
