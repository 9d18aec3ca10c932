/* The client's side of the protocol as a pure state machine: what a worker or an
 * evaluator says to the servers, and what it believes of what they say.
 *
 * Phases of the connections (work, below, goes on through a RECONNECTING):
 *
 *   DISCONNECTED -> GREETING -> JOINING -> ATTACHING -> JOINED
 *                      ^  any loss, or a try that takes too long
 *                      `-- RECONNECTING <--' (back-off 50 ms to 2 s, full jitter)
 *   any -> STOPPED (the run is over, or we left), FAILED (see client->error)
 *
 * Work:
 *
 *   IDLE -- pull --> WAITING -- complete set --> COMPUTING -- end/report/tally --> PUSHING
 *                     ^  '-- begin --> BEGUN ------^ |                             |
 *                     |                  |           |                             |
 *                     '---------- pull <-+ cancelled +------------- pull ----------'
 *
 * BEGUN: a worker computes on a set of which only some tensors are here. It is COMPUTING when all
 * are. The memory of its weights belongs to this one set until it pulls again: when that will never
 * be complete (newer weights, a lost connection) its step is over, as by a Cancel, and what comes
 * has to wait. It pulls again, or ends a push in vain (PUSHING) and pulls then.
 *
 * A step is over when Cancel says so, when newer weights come, or when a Welcome names it
 * as settled: in any order, on connections that do not wait for each other. From then
 * on nothing more of its push is handed out, and a pull may follow at once. An evaluator that
 * scores portions waits for one beside the set; the next one may be of the same set.
 *
 * Who uses it: worker/io/link.c drives it with libuv; tests/unit/test_client.c
 * with scripted frames. It never reads a clock (time is in each event), never
 * allocates (memory comes at init), draws jitter from a named random stream, and
 * touches no tensor but to encode and decode it (common/tensor/encoding.h): it hands out the
 * addresses of weights and gradients, or of their encoded bytes.
 *
 * Everything that a server sends may be wrong. The answer is FAILED with a status
 * and a message that names what was wrong, never an assertion.
 */
#ifndef TW_CORE_CLIENT_H
#define TW_CORE_CLIENT_H

#include "common/tensor/encoding.h"
#include "common/tensor/layout.h"
#include "proto/frame.h"
#include "worker/core/measures.h"

#define TW_CLIENT_CONTROL 0 /* link 0 is control, link 1 + s is bulk of shard s */
#define TW_CLIENT_LINKS_MAX (1 + TW_SERVERS_MAX)
#define TW_CLIENT_ADDRESS 264 /* "HOST:PORT", with its terminating zero */
#define TW_CLIENT_BACKOFF_MIN_MS 50
#define TW_CLIENT_BACKOFF_MAX_MS 2000
#define TW_CLIENT_TRY_MS 10000   /* from opening control to JOINED */
#define TW_CLIENT_SILENCE_MAX 30 /* heartbeats without any frame on control: lost */

enum tw_client_phase {
    TW_CLIENT_DISCONNECTED,
    TW_CLIENT_GREETING,
    TW_CLIENT_JOINING,
    TW_CLIENT_ATTACHING,
    TW_CLIENT_JOINED,
    TW_CLIENT_RECONNECTING,
    TW_CLIENT_STOPPED,
    TW_CLIENT_FAILED,
    TW_CLIENT_PHASES,
};

enum tw_client_work {
    TW_CLIENT_IDLE,      /* nothing was pulled yet */
    TW_CLIENT_WAITING,   /* the application is inside a pull */
    TW_CLIENT_BEGUN,     /* it computes on a set that is still arriving */
    TW_CLIENT_COMPUTING, /* it has a complete set of weights, its push has not ended */
    TW_CLIENT_PUSHING,   /* its push has ended (chunks may still leave), or it reported */
    TW_CLIENT_WORKS,
};

/* Why a client is STOPPED or FAILED. */
enum tw_client_ending {
    TW_CLIENT_RUNS,        /* it is not */
    TW_CLIENT_RUN_OVER,    /* the server said Stop, or we left */
    TW_CLIENT_RUN_FAILED,  /* the server said Stop with an error */
    TW_CLIENT_REFUSED,     /* the server refused us, or we it (token, version) */
    TW_CLIENT_UNREACHABLE, /* there never was a Welcome */
    TW_CLIENT_GONE,        /* the connection was lost and could not be made again */
    TW_CLIENT_VIOLATION,   /* the server broke the protocol */
};

struct tw_client_config {
    enum tw_role role;
    int rank;           /* -1: the lowest free one */
    const char *server; /* "HOST:PORT", for messages */
    const void *token;  /* NULL: none */
    size_t token_bytes;
    const uint8_t *digest; /* [TW_DIGEST_BYTES] of the job, or NULL */
    const char *numerics;
    const struct tw_tensor_list *list; /* all pointers are borrowed and outlive the client */
    float *const *weights;             /* [list->count]; filled by whoever reads the sockets */
    uint64_t epoch_samples;            /* evaluator: it asks for weights each so many examples */
    uint64_t test_samples; /* evaluator: of its test data, parts of which it can score; 0: all */
    bool test_valued;      /* their targets are real numbers */
    uint32_t connect_ms;   /* how long a server may be out of reach */
    uint64_t seed;         /* of the jitter; differs between processes */
};

/* ---- events ---- */

enum tw_client_event_kind {
    TW_CLIENT_ON_START,  /* once, first */
    TW_CLIENT_ON_OPENED, /* link; nonce: TW_NONCE_BYTES fresh random bytes */
    TW_CLIENT_ON_LOST,   /* link; cause: could not be opened, or closed by the other side */
    TW_CLIENT_ON_FRAME,  /* link; frame, data */
    TW_CLIENT_ON_TICK,   /* time passed; due at tw_client_deadline() */
    TW_CLIENT_ON_SENT,   /* all that was handed out of a push is with the kernel */
    TW_CLIENT_ON_PULL,   /* the application: */
    TW_CLIENT_ON_BEGIN,  /* with the set that is arriving, see tw_client_may_begin() */
    TW_CLIENT_ON_WANT,   /* tensor: nothing can be computed before its weights are here */
    TW_CLIENT_ON_PUSH,   /* tensor, gradient */
    TW_CLIENT_ON_END,    /* examples, loss, correct */
    TW_CLIENT_ON_REPORT, /* values */
    TW_CLIENT_ON_TALLY,  /* tally */
    TW_CLIENT_ON_LEAVE,
};

struct tw_client_event {
    enum tw_client_event_kind kind;
    uint64_t now_ms; /* never goes back */
    uint64_t now_ns; /* the same, finer: now_ms is its millisecond */
    int link;
    int tensor;
    union { /* see tw_client_event_kind */
        const uint8_t *nonce;
        const struct tw_error *cause;
        struct {
            const struct tw_frame *frame;
            const void *data; /* the place that tw_client_place() gave for it; NULL: none */
        };
        const float *gradient; /* borrowed until something of newer weights has come */
        struct {
            uint64_t examples;
            double loss;
            uint64_t correct; /* as in tw_end */
        };
        const struct tw_metric_values *values;
        const struct tw_tally_frame *tally; /* all of its fits; the first three fields are ours */
    };
};

/* ---- effects ---- */

enum tw_client_effect_kind {
    TW_CLIENT_OPEN,  /* link: connect; ends in ON_OPENED or ON_LOST */
    TW_CLIENT_SEND,  /* link, frame (without data) */
    TW_CLIENT_CLOSE, /* link: when what is queued has left; no event of it after this */
};

struct tw_client_effect {
    enum tw_client_effect_kind kind;
    int link;
    struct tw_frame frame; /* its views are valid until the next event */
};

#define TW_CLIENT_EFFECTS_MAX (2 * TW_CLIENT_LINKS_MAX + 8)

/* To be executed in order, before the next event. Besides them, after each event
 * look at: client->phase and ->ending; client->work (COMPUTING: the pull is
 * complete); tw_client_next() for each link that has room; tw_client_deadline(). */
struct tw_client_effects {
    int count;
    struct tw_client_effect at[TW_CLIENT_EFFECTS_MAX];
};

/* ---- state ---- */

enum tw_client_link_state {
    TW_LINK_CLOSED,
    TW_LINK_OPENING,
    TW_LINK_GREETING, /* Hello sent */
    TW_LINK_ENTERING, /* Proof and Join or Attach sent */
    TW_LINK_READY,
};

struct tw_client_link {
    enum tw_client_link_state state;
    bool ended; /* End of the current push was handed out on it */
    uint8_t nonce[TW_NONCE_BYTES];
    uint8_t proof[TW_PROOF_BYTES];
};

/* A run of chunks of one tensor on one shard: what a push sends in one go. */
struct tw_client_segment {
    uint32_t tensor, shard;
    uint32_t first, end; /* chunks */
    uint32_t next;       /* the first that the current push has not handed out */
    size_t encoded;      /* where they begin in client->encoded */
};

/* A set of weights: all chunks of one position. */
struct tw_client_set {
    uint64_t position, version, step; /* position 0: none */
};

/* What each step of the work touches comes first, what is large and rarely looked at last: where
 * many clients share a process, it is the lines of memory that cost. */
struct tw_client {
    struct tw_client_config config;
    enum tw_client_phase phase;
    enum tw_client_work work;
    enum tw_client_ending ending; /* see `error` */

    /* What the Welcome said; all zero before the first. More of it is below. */
    bool welcomed;
    bool fresh;          /* no set was completed since that Welcome */
    uint32_t push, pull; /* enum tw_encoding_number */
    uint32_t rank, incarnation, attempt, generation, workers, slots, slot, width, servers;
    uint64_t epoch, last_step;
    uint64_t over; /* steps up to this one are: that Welcome said so, or a Cancel since */

    /* Weights. */
    struct tw_client_set held;     /* the last complete set */
    struct tw_client_set arriving; /* position 0: none */
    uint64_t newest;               /* the highest position seen */
    uint32_t arrived;              /* chunks of `arriving` */
    int wanted;                    /* BEGUN: 1 + the tensor that is waited for; 0: none */
    uint64_t left;                 /* elements that `arriving` lacks */
    uint64_t begun_ns, wanted_ns;  /* since when */
    uint64_t waited_ns;            /* since begun_ns, for tensors that are here by now */

    /* The push of step held.step; `live` until the servers have settled it. */
    bool live, end;
    bool measuring; /* the push has ended, and is not known to be with the kernel */
    int pushed;     /* tensors */
    uint64_t examples, correct;
    double loss;

    /* Memory of the caller. */
    struct tw_chunk *chunk;            /* [chunks of the smallest chunk size] */
    uint8_t *chunk_here;               /* [the same]: arrived, of `arriving` */
    uint32_t *lacks;                   /* [tensors] chunks that are missing, of `arriving` */
    const float **gradient;            /* [tensors]; NULL: not pushed yet */
    struct tw_client_segment *segment; /* [tensors + TW_SERVERS_MAX] */
    unsigned char *encoded;            /* the gradients as they travel; not touched with f32 */
    struct tw_tensor_shape *shape;     /* [tensors], for Join */

    struct tw_layout layout; /* as the Welcome said */
    uint32_t segments;
    uint32_t shard_segment[TW_SERVERS_MAX + 1]; /* shard s has segments [s], [s+1) */

    /* Connections. */
    uint32_t tries; /* since it was JOINED last, or since the start */
    uint64_t draws; /* of jitter, ever */
    uint64_t trying_since_ms, try_until_ms, retry_ms, pings, silent_pings, ping_ms;
    struct tw_measures measures;
    struct tw_client_link link[TW_CLIENT_LINKS_MAX];

    /* Evaluator. */
    uint64_t sets;        /* complete ones, ever, each of another version than the last */
    bool asked, reported; /* an Ask, an Evaluation is not answered yet */
    bool portions;        /* Welcome: a Portion comes with each set, or for the one that is held */
    struct tw_portion portion; /* to be scored, of the held set or one to come; position 0: none */
    struct tw_evaluation evaluation;

    uint8_t job[TW_JOB_ID_BYTES], session[TW_SESSION_BYTES]; /* of the Welcome */
    char address[TW_SERVERS_MAX][TW_CLIENT_ADDRESS];         /* of the servers, as in Welcome */
    char cause[256];                                         /* of the last loss */
    struct tw_error error; /* when FAILED; when STOPPED, the server's words */
};

/* Bytes of memory that a client for these tensors needs besides its struct; 0: too
 * many chunks. */
size_t tw_client_memory_bytes(const struct tw_tensor_list *list);

/* `memory` is aligned as malloc does, and borrowed. TW_LIMIT when the tensors do
 * not fit; TW_USAGE: a token of a wrong length. */
enum tw_status tw_client_init(struct tw_client *client, const struct tw_client_config *config,
                              void *memory, struct tw_error *error);

/* One event. `effects` is emptied first.
 *
 * Application calls (ON_PULL to ON_REPORT) out of order give TW_UNEXPECTED and
 * change nothing; after the end they give the status of client->error, or
 * TW_STOPPED. ON_FRAME gives the status to close that connection with; the client
 * is FAILED then. Everything else gives TW_OK. */
enum tw_status tw_client_step(struct tw_client *client, const struct tw_client_event *event,
                              struct tw_client_effects *effects, struct tw_error *error);

/* Where the data of a frame belongs (as tw_decoder_sink.on_data): TW_OK with a
 * place in the weights, or NULL for a frame that is over; TW_AGAIN while no
 * pull is under way (ask again when one is); else the client is FAILED. */
enum tw_status tw_client_place(struct tw_client *client, int link, const struct tw_frame *frame,
                               void **place, struct tw_error *error);

/* The next frame of the push for this link, lowest chunk first among the tensors
 * that were pushed, then End. False when there is none now. What was handed out
 * counts as sent until the connection is lost. */
bool tw_client_next(struct tw_client *client, int link, struct tw_frame *frame, const void **data);

/* Whether tw_client_next() would give one. */
bool tw_client_has_next(const struct tw_client *client, int link);

/* The push has ended and all of it was handed out, for the first time: ON_SENT is due when
 * it is with the kernel. */
bool tw_client_awaits_sent(const struct tw_client *client);

/* The application has pushed some of its tensors, and will push more or end the push. */
bool tw_client_goes_on_pushing(const struct tw_client *client);

/* When ON_TICK is due; UINT64_MAX: never. */
uint64_t tw_client_deadline(const struct tw_client *client);

/* Nobody waits for the gradient of the last pull any more: its step is over, or the run
 * is, or the rest of the set that was begun with will not come. Pushes of it are taken and not
 * sent; the next pull may come at once. */
bool tw_client_cancelled(const struct tw_client *client);

/* WAITING, and a set is arriving on which a worker may begin. Never for an evaluator. */
bool tw_client_may_begin(const struct tw_client *client);

/* BEGUN or COMPUTING: the weights of this tensor are here, all of them. */
bool tw_client_has_tensor(const struct tw_client *client, int tensor);

/* What the application computes on: the set that it has begun with, or the last complete one. */
const struct tw_client_set *tw_client_set(const struct tw_client *client);

/* BEGUN: bytes of weights that are still to come; 0: it lacks none, or waits for none any more. */
uint64_t tw_client_bytes_to_come(const struct tw_client *client);

/* STOPPED or FAILED. */
bool tw_client_over(const struct tw_client *client);

/* Chunks that a complete set still lacks (while WAITING), for messages. */
uint32_t tw_client_missing(const struct tw_client *client);

#endif
