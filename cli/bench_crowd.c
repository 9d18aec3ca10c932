#include "cli/bench_crowd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/bench_raw.h"
#include "common/net/listen.h"

enum { EVENTS = 1024, LEAST = 4 };
#define WARM_SECONDS 0.02

struct crowd_context {
    int listener;
    struct sockaddr_in address;
    struct tw_crowd_plan plan;
    int workers; /* of this process */
};

struct crowd_link {
    int fd;
    int32_t left;      /* of a worker: messages to be sent, the one under way included */
    size_t got;        /* of the message that is being read */
    char *in;          /* a whole message */
    const char *reply; /* what it sends: the same bytes for all */
};

/* Whoever sends has nothing else under way, so that the kernel always has room for all of it. */
static bool send_now(const struct crowd_link *link, uint64_t size) {
    return send(link->fd, link->reply, size, MSG_NOSIGNAL) == (ssize_t)size;
}

/* 1: the message is whole; 0: not yet; -1: the connection is gone. */
static int receive_now(struct crowd_link *link, uint64_t size) {
    ssize_t n = recv(link->fd, link->in + link->got, size - link->got, 0);
    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    link->got += (size_t)n;
    if (link->got < size)
        return 0;
    link->got = 0;
    return 1;
}

static struct crowd_link *add_link(int epoll, int fd, const char *reply, uint64_t size) {
    struct crowd_link *link = calloc(1, sizeof *link);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = link};
    char *in = tw_raw_buffer(size);
    if (fd < 0 || !link || !in || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        return NULL;
    tw_raw_set_options(fd);
    *link = (struct crowd_link){.fd = fd, .in = in, .reply = reply};
    return link;
}

/* ---- the server ---- */

struct crowd_server {
    const struct tw_crowd_plan *plan;
    int epoll, listener, waiting;
    char *reply;
    struct crowd_link **waiter; /* those whose messages are here, of all workers */
};

static bool accept_one(struct crowd_server *server) {
    int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return add_link(server->epoll, fd, server->reply, server->plan->bytes) != NULL;
}

static bool serve_one(struct crowd_server *server, struct crowd_link *link) {
    int whole = receive_now(link, server->plan->bytes);
    if (whole <= 0)
        return whole == 0;
    server->waiter[server->waiting++] = link;
    if (server->plan->together && server->waiting < server->plan->workers)
        return true;
    for (int i = 0; i < server->waiting; i++)
        if (!send_now(server->waiter[i], server->plan->bytes))
            return false;
    server->waiting = 0;
    return true;
}

static int serve(int commands, int answers, void *context) {
    const struct crowd_context *crowd = context;
    struct crowd_server server = {.plan = &crowd->plan, .listener = crowd->listener};
    struct epoll_event events[EVENTS], listening = {.events = EPOLLIN};
    tw_allow_many_files();
    server.epoll = epoll_create1(EPOLL_CLOEXEC);
    server.reply = tw_raw_buffer(crowd->plan.bytes);
    server.waiter = calloc((size_t)crowd->plan.workers, sizeof *server.waiter);
    if (server.epoll < 0 || !server.reply || !server.waiter ||
        epoll_ctl(server.epoll, EPOLL_CTL_ADD, server.listener, &listening) != 0)
        return 1;
    while (true) {
        int count = epoll_wait(server.epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct crowd_link *link = events[i].data.ptr;
            if (!(link ? serve_one(&server, link) : accept_one(&server)))
                return 1;
        }
    }
}

/* ---- the clients ---- */

static int connect_one(const struct crowd_context *crowd) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr *address = (const struct sockaddr *)&crowd->address;
    return fd >= 0 && connect(fd, address, sizeof crowd->address) == 0 ? fd : -1;
}

/* `count` messages of each worker. */
static bool exchange(int epoll, struct crowd_link *const *worker, int workers, int32_t count,
                     uint64_t size) {
    struct epoll_event events[EVENTS];
    int busy = workers;
    for (int i = 0; i < workers; i++) {
        worker[i]->left = count;
        if (!send_now(worker[i], size))
            return false;
    }
    while (busy > 0) {
        int found = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < found; i++) {
            struct crowd_link *link = events[i].data.ptr;
            int whole = receive_now(link, size);
            if (whole < 0 || (whole && --link->left > 0 && !send_now(link, size)))
                return false;
            busy -= whole && link->left == 0;
        }
    }
    return true;
}

static int bear(int commands, int answers, void *context) {
    const struct crowd_context *crowd = context;
    uint64_t size = crowd->plan.bytes;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    char *message = tw_raw_buffer(size);
    struct crowd_link **worker = calloc((size_t)crowd->workers, sizeof(struct crowd_link *));
    tw_allow_many_files();
    if (epoll < 0 || !message || !worker)
        return 1;
    for (int i = 0; i < crowd->workers; i++) {
        int silent = connect_one(crowd);
        worker[i] = add_link(epoll, connect_one(crowd), message, size);
        if (silent < 0 || !worker[i])
            return 1;
    }
    int32_t count;
    char done = 1;
    while (tw_party_read(commands, &count, sizeof count))
        if (!exchange(epoll, worker, crowd->workers, count, size) ||
            !tw_party_write(answers, &done, sizeof done))
            return 1;
    return 0;
}

/* ---- who commands them ---- */

static enum tw_status start_loads(struct tw_crowd *crowd, struct crowd_context *context,
                                  const struct tw_bench_options *options, struct tw_error *error) {
    enum tw_status status = TW_OK;
    for (int first = 0; first < crowd->workers && !status; first += context->plan.per_load) {
        int left = crowd->workers - first;
        context->workers = left < context->plan.per_load ? left : context->plan.per_load;
        status = tw_party_start(&crowd->load[crowd->loads], "raw load", options->core[1], bear,
                                context, error);
        crowd->loads += !status;
    }
    return status;
}

enum tw_status tw_crowd_start(struct tw_crowd *crowd, const struct tw_crowd_plan *plan,
                              const struct tw_bench_options *options, struct tw_error *error) {
    struct crowd_context context = {.plan = *plan};
    *crowd = (struct tw_crowd){.workers = plan->workers};
    context.listener = tw_raw_listen(&context.address, error);
    if (context.listener < 0)
        return TW_IO;
    enum tw_status status =
        tw_party_start(&crowd->server, "raw server", options->core[0], serve, &context, error);
    if (!status)
        status = start_loads(crowd, &context, options, error);
    close(context.listener);
    if (status)
        tw_crowd_end(crowd);
    return status;
}

static enum tw_status exchange_all(struct tw_crowd *crowd, int32_t count,
                                   struct tw_crowd_seen *seen, struct tw_error *error) {
    enum tw_status status = TW_OK;
    char done;
    uint64_t began_ns = tw_party_now_ns(), cpu_ns = tw_party_cpu_ns(&crowd->server);
    for (int i = 0; i < crowd->loads && !status; i++)
        status = tw_party_tell(&crowd->load[i], &count, sizeof count, error);
    for (int i = 0; i < crowd->loads && !status; i++) {
        status = tw_party_await(&crowd->load[i], &crowd->server, error);
        if (!status)
            status = tw_party_hear(&crowd->load[i], &done, sizeof done, error);
    }
    seen->seconds = 1e-9 * (double)(tw_party_now_ns() - began_ns);
    seen->cpu_us = 1e-3 * (double)(tw_party_cpu_ns(&crowd->server) - cpu_ns);
    seen->messages = (uint64_t)count * (uint64_t)crowd->workers;
    return status;
}

enum tw_status tw_crowd_measure(struct tw_crowd *crowd, double seconds, struct tw_crowd_seen *sum,
                                struct tw_error *error) {
    struct tw_crowd_seen seen = {0};
    int32_t count = LEAST;
    enum tw_status status = exchange_all(crowd, 1, &seen, error); /* they connect */
    if (!status)
        status = exchange_all(crowd, count, &seen, error);
    while (!status && seen.seconds < WARM_SECONDS)
        status = exchange_all(crowd, count *= 2, &seen, error);
    if (status)
        return status;
    int32_t enough = (int32_t)(count * seconds / seen.seconds);
    status = exchange_all(crowd, enough > LEAST ? enough : LEAST, &seen, error);
    sum->messages += seen.messages;
    sum->seconds += seen.seconds;
    sum->cpu_us += seen.cpu_us;
    return status;
}

void tw_crowd_end(struct tw_crowd *crowd) {
    for (int i = 0; i < crowd->loads; i++)
        tw_party_end(&crowd->load[i]);
    tw_party_end(&crowd->server);
}
