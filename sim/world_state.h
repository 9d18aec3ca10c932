/* The insides of the virtual cluster, shared by
 *
 *   world.c          making it, the clock, the end
 *   world_mail.c     frames on their way: wires, and what travels on them
 *   world_net.c      how long it takes
 *   world_worker.c   clients, and what happens to their processes
 *   world_server.c   nodes: what they hear, what they say, to each other, too
 *   world_again.c    servers that die, and what the run begins again from
 */
#ifndef TW_SIM_WORLD_STATE_H
#define TW_SIM_WORLD_STATE_H

#include "common/base/rng.h"
#include "server/core/letters.h"
#include "sim/agenda.h"
#include "sim/line.h"
#include "sim/world.h"
#include "worker/core/client.h"

#define TW_WORLD_HEAD_BYTES 64 /* of a frame besides its tensor bytes, about */

/* In the order in which they come at one time. */
enum tw_world_event {
    TW_WORLD_LINE,      /* value: a port; something on its line is done, perhaps */
    TW_WORLD_ARRIVES,   /* value: a mail whose first bytes come in */
    TW_WORLD_DELIVERED, /* value: a mail that is there */
    TW_WORLD_SERVED,    /* worker: the server that has done its push */
    TW_WORLD_COMPUTED,  /* worker; value: which of its computations */
    TW_WORLD_MISHAP,    /* value: its number */
    TW_WORLD_COMES,     /* worker: its process starts */
    TW_WORLD_GOES_ON,   /* worker: it stood still; value: its count of computations, then */
    TW_WORLD_LOST, /* worker: gone for long enough, unless it has come back; value: its absence */
    TW_WORLD_SERVER_GOES_ON, /* worker: its index */
    TW_WORLD_AGAIN,          /* all processes are started anew */
    TW_WORLD_SAVES,          /* a checkpoint is due */
    TW_WORLD_TICK,           /* worker */
};

enum tw_mail_kind {
    TW_MAIL_OPEN,   /* up: a connection is made, and its client told so */
    TW_MAIL_FRAME,  /* frame, data: a frame whose fields hold no views */
    TW_MAIL_BYTES,  /* bytes: any other frame, as it is on a wire */
    TW_MAIL_CLOSED, /* nothing more will come */
    TW_MAIL_LETTER, /* bytes: from server to server */
};

/* Something on its way. */
struct tw_mail {
    struct tw_mail *next; /* in a list */
    enum tw_mail_kind kind;
    bool up;             /* to a server */
    uint32_t wire, life; /* which one, and which connection on it */
    uint32_t from, to;   /* of a letter */
    uint32_t token;      /* data of a server; to be given back */
    const void *data;
    unsigned char *bytes; /* [size], ours */
    size_t size;
    uint64_t there_ns; /* when its last bytes can come in; UINT64_MAX: they have not left */
    bool is_in;        /* the receiver's line is done with it */
    struct tw_frame frame;
};

struct tw_mail_list {
    struct tw_mail *first, *last; /* first NULL: it is empty */
};

/* Mails stay where they are. */
#define TW_MAIL_BLOCK 256
struct tw_mail_block {
    struct tw_mail_block *next;
    struct tw_mail mail[TW_MAIL_BLOCK];
};

/* A place for one connection at a time: worker w's link l has number w * (servers + 1) + l. */
struct tw_wire {
    uint32_t process, link; /* whose it is */
    uint32_t life;          /* counts connections; what belongs to an earlier one is thrown away */
    bool client_open;
    uint32_t connection; /* number in the node; TW_NO_CONNECTION: none */
    uint32_t node_life;  /* of that connection */
    bool up_waits;       /* the node has no place for what came, until RESUME */
    struct tw_mail_list held_up, held_down;
};

/* One way of a connection; or from one server to another. */
struct tw_flow {
    struct tw_mail *leaving, *coming; /* on the line of the sender, and of the receiver; or NULL */
    struct tw_mail_list waiting, arrived; /* behind them */
};

/* One way of a process. */
struct tw_port {
    struct tw_line line;
    uint64_t wakes_ns; /* of its LINE on the agenda; UINT64_MAX: none */
    bool comes_in;
};

struct tw_world_worker {
    struct tw_client client;
    void *memory; /* the client's; NULL: there never was a process */
    float *block, *gradient;
    float **weights; /* [tensors], into block */
    struct tw_port out, in;
    struct tw_delay_state delay;
    bool evaluator, lives, computes;
    uint64_t computations;
    uint64_t due_ns;  /* this one, until its end */
    uint64_t tick_ns; /* of its TICK on the agenda; UINT64_MAX: none */
    bool stands_still;
    uint64_t left_ns;              /* of its computation, then */
    struct tw_mail_list not_heard; /* what came while it stood still */
    uint64_t absences;             /* times that the lead has lost it, or heard of it again */
    uint64_t lead_still_ns;        /* still_ns of the lead when the last absence began */
};

struct tw_world_server {
    struct tw_node *node;
    void *memory;
    struct tw_port out, in;
    bool busy;                    /* work may be waiting */
    uint32_t *wire_of;            /* [connections] */
    struct tw_order_inbox *inbox; /* what the lead says; NULL in the lead */
    struct tw_delay_state service;
    struct tw_mail *serving;   /* the End that it is busy with; NULL: nothing */
    uint64_t serving_still_ns; /* still_ns when that began */
    struct tw_mail_list waiting;
    bool stands_still;
    uint64_t still_ns;             /* of all its pauses that have begun */
    struct tw_mail_list not_heard; /* what came while it stood still */
};

/* A checkpoint: the arrays of all chunks, in their order. */
struct tw_world_save {
    struct tw_sequencer_snapshot snapshot; /* position 0: there is none */
    float *block;
    uint32_t left; /* chunks that are not saved yet */
};

struct tw_world {
    struct tw_world_config config;
    uint32_t workers, servers, processes; /* processes: workers and perhaps an evaluator */
    size_t elements;
    struct tw_world_worker *worker; /* [processes] */
    struct tw_world_server *server; /* [servers] */
    struct tw_wire *wire;           /* [processes * (servers + 1)] */
    struct tw_flow *flow;           /* [2 * that + servers * servers]; NULL: no bandwidth */
    struct tw_mail_block *blocks;
    struct tw_mail *free_mail; /* list */
    struct tw_mail_list now;   /* what takes no time */
    struct tw_agenda agenda;
    uint64_t latency_ns;              /* of every frame */
    uint64_t now_ns, events, letters; /* letters: on their way */
    uint64_t hopes;                   /* of what is on the agenda, all but TICKs */
    bool started, finished;
    bool copies;       /* checkpoints are kept here, to begin again from */
    bool stopping;     /* the lead was told so */
    bool leaves;       /* everybody was told that it is over */
    bool down, broken; /* all processes are dead; for good */
    uint64_t died_ns;  /* while they are */
    uint32_t generation;
    struct tw_world_save saved, draft; /* the last whole one, and one that becomes one */
    size_t *save_first;                /* [chunks] where a chunk begins in their blocks */
    uint32_t left;                     /* the first so many processes have left since; */
    uint64_t until_ns;                 /* nobody is waited for longer */
    enum tw_status finished_status;
    struct tw_error lost; /* whom the run was stopped for */
    struct tw_error failed;
    struct tw_rng rng;
    struct tw_unpack_arena arena;
    struct tw_decoder decoder; /* of whatever arrives as bytes, one whole frame after the other */
    const struct tw_mail *decoding; /* the one that it came in */
    void *grown;
    struct tw_client_effects effects;
    struct tw_order_outbox outbox;
};

/* world.c */
uint64_t tw_world_ns(double seconds);
/* All processes start, now or when they come. */
void tw_world_start_workers(struct tw_world *world);
/* Their mishaps that are still to come. */
void tw_world_put_mishaps(struct tw_world *world);
void tw_world_put(struct tw_world *world, uint64_t time_ns, enum tw_world_event kind,
                  uint32_t worker, uint64_t value);
/* The run is over with this; a first failure stays. */
void tw_world_fail(struct tw_world *world, enum tw_status status, const char *text);

/* world_mail.c */
/* NULL: out of memory, which the world has failed with. */
struct tw_mail *tw_mail_new(struct tw_world *world, enum tw_mail_kind kind);
void tw_mail_free(struct tw_world *world, struct tw_mail *mail);
/* As tw_mail_free(); what a server lent goes back to it. */
void tw_mail_discard(struct tw_world *world, struct tw_mail *mail);
void tw_mail_add(struct tw_mail_list *list, struct tw_mail *mail);
struct tw_mail *tw_mail_take(struct tw_mail_list *list);
/* All of `list` comes before what is in `to`. */
void tw_mail_prepend(struct tw_mail_list *to, struct tw_mail_list *list);
void tw_mail_discard_all(struct tw_world *world, struct tw_mail_list *list);
/* A connection is made, or is over, along a wire. */
void tw_mail_sign(struct tw_world *world, enum tw_mail_kind kind, uint32_t wire, bool up,
                  uint32_t life);
/* A frame along a wire. `data` stays where it is until it is delivered. */
void tw_mail_frame(struct tw_world *world, uint32_t wire, bool up, const struct tw_frame *frame,
                   const void *data, uint32_t token);
void tw_mail_letter(struct tw_world *world, uint32_t from, uint32_t to,
                    const struct tw_frame *frame);
void tw_mail_deliver(struct tw_world *world, struct tw_mail *mail);
/* The frame of a mail that came as bytes goes where it belongs. */
enum tw_status tw_mail_decode(struct tw_world *world, const struct tw_mail *mail,
                              struct tw_error *error);
void tw_mail_init(struct tw_world *world);
/* None of the wires has a connection, or ever had one. */
void tw_mail_cut_wires(struct tw_world *world);
void tw_mail_fini(struct tw_world *world);

/* world_net.c */
/* TW_NO_MEMORY. */
enum tw_status tw_net_init(struct tw_world *world, struct tw_error *error);
void tw_net_fini(struct tw_world *world);
/* Nothing is on its way any more. */
void tw_net_clear(struct tw_world *world);
/* On its way; then it comes to tw_mail_deliver(). */
void tw_net_post(struct tw_world *world, struct tw_mail *mail);
/* Nothing of this wire's worker is leaving: its next frame may follow. */
bool tw_net_is_idle(const struct tw_world *world, uint32_t wire);
void tw_net_arrives(struct tw_world *world, struct tw_mail *mail);
void tw_net_line(struct tw_world *world, struct tw_port *port);

/* world_worker.c */
void tw_world_worker_start(struct tw_world *world, uint32_t index);
void tw_world_worker_stop(struct tw_world *world, uint32_t index);
/* The time of the event is set here. */
void tw_world_worker_tell(struct tw_world *world, uint32_t index, struct tw_client_event *event);
void tw_world_worker_mail(struct tw_world *world, struct tw_mail *mail);
void tw_world_worker_left(struct tw_world *world, uint32_t index);
void tw_world_worker_computed(struct tw_world *world, uint32_t index, uint64_t which);
void tw_world_worker_tick(struct tw_world *world, uint32_t index);
void tw_world_worker_mishap(struct tw_world *world, const struct tw_mishap *mishap);
void tw_world_worker_goes_on(struct tw_world *world, uint32_t index, uint64_t pause);

/* world_again.c */
/* Whether a server dies and the run is begun again: else nothing is kept. */
bool tw_again_is_wanted(const struct tw_world_config *config);
/* TW_NO_MEMORY. */
enum tw_status tw_again_init(struct tw_world *world, struct tw_error *error);
void tw_again_fini(struct tw_world *world);
/* Whether there are checkpoints. */
bool tw_again_saves(const struct tw_world *world);
/* The next that is due by time, if any is. */
void tw_again_plan_next(struct tw_world *world);
/* A CHECKPOINT is in the log; this chunk is to be saved; one is due. */
void tw_again_checkpoint(struct tw_world *world);
void tw_again_save(struct tw_world *world, uint32_t server, uint32_t chunk);
void tw_again_due(struct tw_world *world);
void tw_again_death(struct tw_world *world, const struct tw_mishap *mishap);
void tw_again_begin(struct tw_world *world);

/* world_server.c */
enum tw_status tw_world_make_servers(struct tw_world *world, struct tw_error *error);
/* In memory that was handed over before: as at the start, or to begin the run again. */
void tw_world_init_server(struct tw_world *world, uint32_t server, bool again);
void tw_world_server_pause(struct tw_world *world, const struct tw_mishap *mishap);
void tw_world_server_goes_on(struct tw_world *world, uint32_t server);
void tw_world_server_mail(struct tw_world *world, struct tw_mail *mail);
void tw_world_server_letter(struct tw_world *world, struct tw_mail *mail);
enum tw_status tw_world_server_hear(struct tw_world *world, const struct tw_mail *mail,
                                    const struct tw_frame *frame, const void *data,
                                    struct tw_error *error);
void tw_world_server_served(struct tw_world *world, uint32_t server);
void tw_world_server_sent(struct tw_world *world, uint32_t server, uint32_t token);
void tw_world_server_drain(struct tw_world *world, uint32_t server);
/* The program is told, if it is a push or its End that this is. */
void tw_world_server_heard(struct tw_world *world, const struct tw_mail *mail);
/* One piece of work; false: there is none now. */
bool tw_world_server_work(struct tw_world *world, uint32_t server);
/* A worker has been gone for too long, unless this was another absence. */
void tw_world_server_lost(struct tw_world *world, uint32_t rank, uint64_t absence);
/* The lead, as after a signal. */
void tw_world_server_stop(struct tw_world *world);

#endif
