/* A server's insides, shared by the files of this folder. Private to them.
 *
 *   server.c          set-up, the loop, signals, the way out
 *   node_memory.c     the node: its configuration, and one piece of memory for it
 *   links.c           connections and their numbers in the node
 *   shards.c          the lead's side of the other servers; lead_link.c   the others' side
 *   pump.c            effects of the node, and its work in slices
 *   narrator.c        events of the node, told as reports and lines
 *   waits.c           who waits for whom, and for how long
 *   steps.c           how far updates move the weights
 *   losses.c          workers that are gone for too long
 *   operators.c       answers to those who ask how the run goes
 *   conclusion.c      the end of training: result, model, goodbye
 *   saver.c           checkpoints are written;   checkpoint_writer.c, checkpoint_folder.c,
 *                     manifest.c   their files
 *   restorer.c        a run is begun again;   restore.c   checkpoints are read
 *   run_directory.c   files;   order_writer.c   order.log;   server_file.c   server.json;
 *   training_clock.c  time
 *   trace.c           what is measured;   trace_writer.c   trace.log
 *
 * Who may call the node: links.c (inputs), pump.c (work, sent), losses.c (evict), server.c and
 * conclusion.c (stop, goodbye), saver.c, restorer.c and lead_link.c (saved, checkpoint, resume).
 * After every input tw_pump_drain() follows, and tw_pump_wake(), because an input may have made
 * work.
 */
#ifndef TW_IO_SERVER_STATE_H
#define TW_IO_SERVER_STATE_H

#include <uv.h>

#include "common/net/address.h"
#include "common/net/poller.h"
#include "proto/lane.h"
#include "server/core/absence.h"
#include "server/core/node.h"
#include "server/core/tempo.h"
#include "server/core/timesheet.h"
#include "server/io/borders.h"
#include "server/io/lead_link.h"
#include "server/io/order_writer.h"
#include "server/io/restorer.h"
#include "server/io/run_directory.h"
#include "server/io/saver.h"
#include "server/io/server.h"
#include "server/io/server_file.h"
#include "server/io/shards.h"
#include "server/io/steps.h"
#include "server/io/trace.h"
#include "server/io/training_clock.h"

#define TW_TICK_MS 100
#define TW_RATE_TICKS 16 /* over which the rate of progress is measured */

enum tw_server_phase {
    TW_SERVER_RUNNING,
    TW_SERVER_COLLECTING, /* training is over, the model is written */
    TW_SERVER_LEAVING,    /* training is over, peers are to close */
    TW_SERVER_CLOSING,    /* all handles are being closed */
};

struct tw_server;

/* A connection, or a lane of one that several share. There may be thousands, so what every push
 * needs stands together. */
struct tw_link {
    struct tw_server *server;
    struct tw_lane *lane;
    uint32_t number;       /* in the node; TW_NO_CONNECTION: it has been told that this is lost */
    uint32_t weights_rank; /* whose weights are queued */
    uint64_t weights_position; /* of those queued last */
    uint32_t weights_last;     /* token of their last chunk, when it is queued; else UINT32_MAX */
    bool begins;               /* nothing of the weights queued last has left */
    bool is_unflushed;
    struct tw_link *next_unflushed;
    size_t unflushed_bytes;
    uint64_t heard_ms; /* when something came of it last */

    struct tw_link *next, *previous; /* of all */
    struct tw_link *next_pending;
    struct tw_link *next_in_line;
    bool is_branch;      /* a lane beside the first of its connection */
    bool is_in_line;     /* its turn to be heard has not come: nothing is read of it */
    bool is_member;      /* a worker's control connection: the narrator tells how it ends */
    bool has_asked;      /* an operator: `query` is to be answered */
    uint32_t pending_ms; /* ticks spent without having joined or attached; an operator's silence */
    struct tw_query query;
    char why[TW_ERROR_TEXT]; /* why it was lost; the node borrows it */
};

struct tw_pump {
    uv_idle_t idle;     /* active: there is work, the loop must not sleep */
    uv_check_t check;   /* after the sockets: work, then flush */
    uv_prepare_t sleep; /* before the loop may sleep */
    bool awake, blocked;
    bool flushing;             /* what leaves now has left in this moment */
    struct tw_link *unflushed; /* links with something queued since the last flush */
};

/* What is known of a rank. */
struct tw_rank_news {
    char peer[TW_ADDRESS_TEXT];
};

/* Lines about connections that were closed for a fault: so many in a while, since
 * strangers can make as many as they like. */
struct tw_fault_lines {
    uint64_t since_ms;
    unsigned told, untold;
};

/* For whom the next update waits. */
enum tw_waits_for {
    TW_WAITS_FOR_NOBODY,
    TW_WAITS_FOR_RANKS,
    TW_WAITS_FOR_SERVER,     /* one of the others, that it comes */
    TW_WAITS_FOR_ANSWER,     /* one of them is here, but says nothing */
    TW_WAITS_FOR_EVALUATOR,  /* that it joins */
    TW_WAITS_FOR_EVALUATION, /* that it has caught up */
};

struct tw_rank_waits {
    uint64_t heard_ms;  /* when something came from it last */
    uint64_t told_step; /* of which it was said that it is slow */
};

struct tw_waits {
    struct tw_timesheet sheet;
    void *memory;                   /* of the sheet */
    struct tw_rank_waits *rank;     /* [workers] */
    struct tw_tempo updates, steps; /* time between two updates; from RELEASE to End */
    uint64_t commit_ns;             /* of training, at the last update */
    enum tw_waits_for whom;         /* at the last tick */
    uint64_t version, since_ms, told_ms;
    bool is_told;     /* of the present wait something was said */
    uint64_t woke_ms; /* this process was stopped, until then */
};

struct tw_losses {
    struct tw_absence *rank; /* [workers] */
    struct tw_error failed;  /* on_worker_loss: fail, and one is gone */
};

struct tw_narrator {
    struct tw_rank_news *rank; /* [workers] */
    uint32_t evaluators;       /* that are there */
    bool started;
    struct tw_borders borders;
    double samples_per_second; /* as told last */
    uint64_t reductions;       /* of the learning rate, as told last */
    struct {
        uint64_t samples;
        double seconds;
    } tick[TW_RATE_TICKS]; /* ring */
    unsigned ticks;
    uint64_t told_version;
    char dropped[TW_NOT_FINITE_MAX][256]; /* the last pushes that were not finite; ring */
    unsigned drops;
};

struct tw_server {
    const struct tw_server_config *config;
    struct tw_server_limits limits; /* no zeros left */
    enum tw_server_phase phase;
    uv_loop_t loop;
    struct tw_poller poller; /* of the loop */
    uv_timer_t tick, leave;
    uv_signal_t signals[2]; /* SIGINT, SIGTERM */
    uv_poll_t stop_poll;
    uint64_t tick_ms;
    uint64_t moment_ns; /* as the clock was read last */
    bool moment_lasts;
    int stop_signal; /* that came; 0: none */
    bool stopping;

    struct tw_node *node;
    void *memory; /* [memory_bytes], mapped */
    size_t memory_bytes;
    struct tw_layout layout;
    struct tw_chunk *chunks;
    uint8_t random[TW_JOB_ID_BYTES], digest[TW_DIGEST_BYTES];

    uv_tcp_t listener;
    struct tw_connection_host host;
    struct tw_unpack_arena arena;
    uint32_t lanes;                  /* that a connection may have */
    struct tw_link **link;           /* [link_room], by number */
    uint32_t link_room;              /* connections that the node has room for */
    struct tw_link *links;           /* all, also those that the node has let go */
    uint32_t parting;                /* of them: the latter */
    struct tw_link *pending;         /* of them: those that may not have joined or attached yet */
    struct tw_link *line, *line_end; /* of them: those that wait for their turn */
    uint32_t line_length;
    bool has_unaccepted; /* accepting failed; once more at the next tick */
    struct tw_fault_lines faults;
    uint32_t questions; /* of operators, to be answered in this turn of the loop */

    struct tw_shards shards;  /* of the lead */
    struct tw_lead_link lead; /* of the others */
    struct tw_pump pump;
    struct tw_training_clock clock;
    struct tw_run_directory directory;
    struct tw_order_writer order;
    struct tw_trace trace;
    struct tw_server_file file;
    struct tw_narrator narrator;
    struct tw_waits waits;
    struct tw_steps steps;
    struct tw_losses losses;
    struct tw_saver saver;
    struct tw_restorer restorer;

    bool finished; /* the node said so */
    enum tw_status finished_status;
    struct tw_result result;
};

/* node_memory.c: TW_NO_MEMORY, TW_LIMIT, TW_IO (no random numbers). */
/* Slots that each worker owns. */
uint32_t tw_server_width(const struct tw_server *server);
enum tw_status tw_server_make_node(struct tw_server *server, struct tw_error *error);
void tw_server_free_node(struct tw_server *server);

/* links.c */
enum tw_status tw_links_listen(struct tw_server *server, struct tw_error *error);
/* The node wants this connection closed; and it is told that it is lost. */
void tw_links_part(struct tw_link *link, enum tw_status status, const char *why);
void tw_links_tick(struct tw_server *server, uint32_t passed_ms);
/* Those in line whose turn has come; after anything that may have made room. */
void tw_links_let_in(struct tw_server *server);
/* Those that never joined are told why; the others have got their Stop. */
void tw_links_say_goodbye(struct tw_server *server);
void tw_links_close(struct tw_server *server);

/* pump.c */
void tw_pump_init(struct tw_server *server);
/* Carries out what followed from an input. */
void tw_pump_carry_out(struct tw_server *server);
static inline void tw_pump_drain(struct tw_server *server) {
    if (tw_node_has_effects(server->node)) /* most frames and pieces of work have none */
        tw_pump_carry_out(server);
}
/* A frame to another server; it leaves with the next flush. on_released() gets the token when its
 * data (NULL: it has none) has left. */
void tw_pump_queue(struct tw_server *server, struct tw_link *link, const struct tw_frame *frame,
                   const void *data, uint32_t token);
void tw_pump_wake(struct tw_server *server);
void tw_pump_sent(struct tw_server *server, uint32_t token);
void tw_pump_forget(struct tw_server *server, struct tw_link *link);

/* narrator.c */
enum tw_status tw_narrator_init(struct tw_server *server);
void tw_narrator_fini(struct tw_server *server);
void tw_narrator_event(struct tw_server *server, const struct tw_node_event *event,
                       uint64_t now_ns);
void tw_narrator_tick(struct tw_server *server);
/* Evaluations that have not come will not come. */
void tw_narrator_let_go(struct tw_server *server);
void tw_narrator_listening(struct tw_server *server, const struct sockaddr *address);
void tw_narrator_done(struct tw_server *server);

void tw_narrator_tell(struct tw_server *server, const struct tw_report *report);
/* How far training is, as of the last tick. */
struct tw_progress_now {
    uint64_t samples_total; /* 0: not known */
    double epoch, samples_per_second, train_loss;
};
struct tw_progress_now tw_narrator_now(const struct tw_server *server);

/* waits.c */
enum tw_status tw_waits_init(struct tw_server *server);
void tw_waits_fini(struct tw_server *server);
/* `now_ns`: one moment for all that follows from one input. */
void tw_waits_event(struct tw_server *server, const struct tw_node_event *event, uint64_t now_ns);
void tw_waits_record(struct tw_server *server, const struct tw_record *record, uint64_t now_ns);
void tw_waits_hold(struct tw_server *server);
/* Something came of it; of a worker, and of a push: its first bytes, all of it. */
void tw_waits_heard(struct tw_link *link);
void tw_waits_arriving(const struct tw_link *link);
void tw_waits_arrived(const struct tw_link *link, uint64_t step);
/* The last of its weights have left. */
void tw_waits_served(struct tw_server *server, uint32_t rank, uint64_t now_ns);
void tw_waits_tick(struct tw_server *server, uint64_t passed_ms);
struct tw_waiting_view tw_waits_view(const struct tw_server *server, uint32_t rank,
                                     uint64_t now_ns);
/* Since anything came from it. */
double tw_waits_silent_seconds(const struct tw_server *server, uint32_t rank);
/* For whom the next update waits, in words; "" when for nobody, or not for long. */
void tw_waits_words(const struct tw_server *server, char *text, size_t room);
/* Where the time of all workers together went since the last call. */
struct tw_border_times tw_waits_stretch(struct tw_server *server, uint64_t now_ns);
/* Tells where the time of the whole run went. */
void tw_waits_conclude(struct tw_server *server);

/* losses.c */
enum tw_status tw_losses_init(struct tw_server *server);
void tw_losses_fini(struct tw_server *server);
void tw_losses_tick(struct tw_server *server, uint64_t passed_ms);
/* How long this rank has been gone; as far as it was counted. */
double tw_losses_seconds(const struct tw_server *server, uint32_t rank);

/* silences.c */
void tw_silences_tick(struct tw_server *server);

/* operators.c */
void tw_operators_asked(struct tw_server *server, const struct tw_node_event *event);
void tw_operators_answer(struct tw_server *server);

/* conclusion.c */
void tw_server_conclude(struct tw_server *server);
/* A server is lost: the run has failed, without a model. */
void tw_server_fail(struct tw_server *server, const struct tw_error *error);
/* The model is written, or `error` says why not. */
void tw_server_collected(struct tw_server *server, const struct tw_error *error);
/* The result is known: tells it, and lets everybody go. */
void tw_server_leave(struct tw_server *server);

/* server.c: ends training in order, as after a signal; once more changes nothing. */
void tw_server_stop(struct tw_server *server);
/* Closes everything; the loop ends. */
void tw_server_close(struct tw_server *server);

/* By uv_hrtime(). Reading a clock takes as long as a hundred instructions, so what follows from one
 * read of a socket, or from one piece of work (from several that are small: pump.c), has one
 * moment, in which the clock is read once, if at all. It ends at the latest when the loop may
 * sleep. What is given to an account never goes back, since all of it comes from here. */
static inline uint64_t tw_server_now(struct tw_server *server) {
    server->moment_lasts = true;
    return server->moment_ns = uv_hrtime();
}
static inline uint64_t tw_server_moment(struct tw_server *server) {
    return server->moment_lasts ? server->moment_ns : tw_server_now(server);
}
static inline void tw_server_end_moment(struct tw_server *server) {
    server->moment_lasts = false;
}

static inline double tw_server_seconds(const struct tw_server *server) {
    return tw_training_clock_seconds(&server->clock, uv_hrtime());
}

#endif
