/* The shell of the client core: its connections, timer and memory on a libuv loop.
 *
 * Happy path: tw_shell_init -> tw_shell_step(START) -> whoever holds the handle runs
 * the loop; callbacks become events of the core, its effects become calls of
 * proto/connection.h; frames of the push are handed to a connection while its queue is
 * short. Failure: whatever goes wrong is an event of the core; it decides.
 *
 * Weights are received straight into the application's memory and gradients are sent
 * straight from it. `borrowed` counts frames that connections still hold: the
 * gradients are the application's again when it is 0.
 *
 * Nothing here knows of threads: turns.h says who may call.
 */
#ifndef TW_IO_LINK_H
#define TW_IO_LINK_H

#include <stdatomic.h>
#include <uv.h>

#include "common/net/address.h"
#include "proto/lane.h"
#include "worker/core/client.h"

struct tw_link;

/* What the shells of one loop may share: their connections, as lanes, and memory for what comes.
 * All zeros at first; it outlives them, and whatever they left closing. A shell whose weights come
 * while it is not pulling holds up the others, so each of a group pulls as soon as its push has
 * ended, and whoever runs the loop does not wait for one while another computes. */
struct tw_shell_group {
    struct tw_trunk *trunk[TW_CLIENT_LINKS_MAX]; /* that takes the next lane; NULL: none */
    struct tw_unpack_arena arena;
    uint64_t moment_ns; /* as tw_shell.moment_ns */
    bool is_apart;      /* the server said that each is to have connections of its own */
};

struct tw_shell {            /* what each step touches comes first */
    uint64_t *moment_ns;     /* see tw_shell_moment(); 0: nobody has asked yet */
    uint64_t now_ns, now_ms; /* of the last step */
    int depth;               /* of steps that lead to others */
    int connections;         /* whose on_closed has not come yet */
    size_t borrowed;
    uint64_t timer_at_ms;
    /* A pull is complete; the next push may be told from inside of it, and is sent behind it. NULL:
     * whoever runs the loop looks at client.work. */
    void (*on_weights)(struct tw_shell *shell);
    /* As tw_client_cancelled() said last, and how many tensors, from the first on, have their
     * weights for what the application has begun; anybody may read them. */
    atomic_bool cancelled;
    atomic_int here;
    /* The newest weights of which something has come: which, and since when. */
    uint64_t answer_position, answered_ns;
    struct tw_link *link[TW_CLIENT_LINKS_MAX]; /* NULL: closed, or closing by our wish */
    struct tw_client client;
    void *client_memory;
    uv_loop_t *loop;  /* borrowed; several shells may share one */
    uv_timer_t timer; /* at the core's deadline, or before it: then it looks again */
    bool timer_open;
    struct tw_connection_host host;
    struct tw_address_round server; /* control goes through them in turn, bulk follows it */
    struct tw_shell_group *group;   /* NULL: by itself */
    struct tw_unpack_arena *arena;  /* its own, or the group's; as is the moment */
    uint64_t own_moment_ns;
};

/* Makes timer and core; `config` as in talweg.h; `group`: of this loop, for the same server, or
 * NULL. TW_USAGE: a server, token or numerics id
 * that cannot be; TW_LIMIT: the tensors are too large; TW_NO_MEMORY. After a failure nothing
 * is left behind. */
enum tw_status tw_shell_init(struct tw_shell *shell, uv_loop_t *loop,
                             const struct tw_client_config *config, struct tw_shell_group *group,
                             struct tw_error *error);

/* An event of the core (the time is filled in here), its effects, and whatever the
 * push may send then. Returns what tw_client_step() did. */
enum tw_status tw_shell_step(struct tw_shell *shell, struct tw_client_event *event,
                             struct tw_error *error);

/* Events that follow each other at once, in this order, the first of which that fails is the last;
 * what the push may send then is sent together. now_ns: when that is; 0: now. */
enum tw_status tw_shell_steps(struct tw_shell *shell, struct tw_client_event *event, int count,
                              uint64_t now_ns, struct tw_error *error);

/* When that happened which is told now, by uv_hrtime(): the same for all that one read() has
 * brought, to the whole group. In on_weights. */
uint64_t tw_shell_moment(struct tw_shell *shell);

/* Something is on its way that needs the loop: unsent bytes, weights that are more than sockets
 * hold, or a connection that is being made. */
bool tw_shell_busy(const struct tw_shell *shell);

/* A turn of the loop may raise SIGPIPE: see before_uv_write in proto/connection.h, which
 * host.before_uv_write is; whoever runs the loop may set it. */
bool tw_shell_may_signal(const struct tw_shell *shell);

/* Closes what is open, running the loop until it is closed: at the latest after a second.
 * Frees nothing of the caller's. */
void tw_shell_fini(struct tw_shell *shell);

#endif
