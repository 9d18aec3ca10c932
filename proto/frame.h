/* Frames as plain C values, and the codec between them and bytes, without I/O.
 *
 * Everything that knows protobuf-c lives in frame_pack.c; the rest of Talweg
 * sees struct tw_frame. A frame has one body of small fields and, for Push and
 * Weights, tensor bytes, which the codec never copies: the encoder writes only
 * what stands before them, the decoder asks its owner where they belong and
 * lets them be read straight into that place.
 *
 * Pure: no sockets, clocks, allocation or global state. Every byte that comes
 * in may be wrong; the answer is a status and a message, never an assertion.
 */
#ifndef TW_PROTO_FRAME_H
#define TW_PROTO_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "common/base/metric_values.h"
#include "common/base/status.h"

#define TW_PROTOCOL_MIN 1u
#define TW_PROTOCOL_MAX 1u
#define TW_JOB_ID_BYTES 16
#define TW_SESSION_BYTES 16
#define TW_DIGEST_BYTES 32

/* Numbers are those of Frame.body in talweg.proto. */
enum tw_body {
    TW_BODY_NONE = 0,
    TW_BODY_HELLO = 1,
    TW_BODY_CHALLENGE = 2,
    TW_BODY_PROOF = 3,
    TW_BODY_JOIN = 4,
    TW_BODY_WELCOME = 5,
    TW_BODY_ATTACH = 6,
    TW_BODY_ATTACHED = 7,
    TW_BODY_REFUSE = 8,
    TW_BODY_PUSH = 9,
    TW_BODY_END = 10,
    TW_BODY_WEIGHTS = 11,
    TW_BODY_ASK = 12,
    TW_BODY_EVALUATION = 13,
    TW_BODY_REGATHER = 14,
    TW_BODY_STOP = 15,
    TW_BODY_PING = 16,
    TW_BODY_PONG = 17,
    TW_BODY_BYE = 18,
    TW_BODY_QUERY = 19,
    TW_BODY_STATUS = 20,
    TW_BODY_RANK_STATUS = 21,
    TW_BODY_TURN = 22,
    TW_BODY_TURNED = 23,
    TW_BODY_CANCEL = 24,
    TW_BODY_SERVE = 25,
    TW_BODY_SERVED = 26,
    TW_BODY_READY = 27,
    TW_BODY_SUMS = 28,
    TW_BODY_REACH = 29,
    TW_BODY_ORDER = 30,
    TW_BODY_MEMBER = 31,
    TW_BODY_COLLECT = 32,
    TW_BODY_SAMPLE = 33,
    TW_BODY_SQUARES = 34,
    TW_BODY_PORTION = 35,
    TW_BODY_TALLY = 36,
    TW_BODY_SHUT = 37,
};
#define TW_BODY_LAST TW_BODY_SHUT

enum tw_role { TW_ROLE_WORKER = 0, TW_ROLE_EVALUATOR = 1, TW_ROLE_OPERATOR = 2 };

/* Phase and RankState of talweg.proto. */
enum tw_phase {
    TW_PHASE_GATHERING = 0,
    TW_PHASE_TRAINING = 1,
    TW_PHASE_EVALUATING = 2,
    TW_PHASE_ENDING = 3,
};
enum tw_rank_state {
    TW_RANK_ABSENT = 0,
    TW_RANK_GONE = 1,
    TW_RANK_RECEIVING = 2,
    TW_RANK_COMPUTING = 3,
    TW_RANK_SENDING = 4,
    TW_RANK_WAITING = 5,
};

/* Bytes or text inside a decoded frame: borrowed from the decoder, valid until
 * the callback that got it returns. Text is not terminated. */
struct tw_view {
    const void *bytes;
    size_t size;
};

struct tw_hello {
    uint32_t protocol_min, protocol_max;
    struct tw_view nonce, software;
};
struct tw_challenge {
    uint32_t protocol;
    struct tw_view nonce, proof;
    bool token;
    uint32_t lanes;
};
struct tw_proof {
    struct tw_view proof;
};
struct tw_tensor_shape { /* one entry of Join.tensors */
    struct tw_view name;
    size_t dims;
    const uint64_t *shape;
};
struct tw_join {
    enum tw_role role;
    bool any_rank;
    uint32_t rank, incarnation;
    struct tw_view session, job, digest;
    size_t tensors;
    const struct tw_tensor_shape *tensor; /* [tensors] */
    struct tw_view numerics;
    uint64_t read;
    uint32_t encodings; /* a set of enum tw_encoding_number */
    uint64_t samples;   /* of its test data: an evaluator that scores parts of it; else 0 */
    bool valued;        /* their targets are real numbers */
};
struct tw_welcome {
    struct tw_view job, session;
    uint32_t rank, incarnation, generation;
    uint64_t epoch;
    uint32_t workers, slots, slot, width;
    uint64_t last_step;
    uint32_t chunk_bytes, servers, attempt;
    size_t addresses;
    const struct tw_view *address; /* [addresses], of the servers */
    uint32_t push, pull;           /* enum tw_encoding_number, unchecked */
    bool portions;                 /* of an evaluator: it will be told what it scores */
};
struct tw_attach {
    enum tw_role role;
    uint32_t rank, incarnation;
    struct tw_view session;
    uint32_t attempt;
};
struct tw_refuse {
    uint32_t status;
    struct tw_view name, text;
};
struct tw_push {
    uint32_t slot, incarnation, generation;
    uint64_t epoch, step;
    uint32_t chunk;
};
struct tw_end {
    uint32_t slot, incarnation, generation;
    uint64_t epoch, step, read;
    uint32_t frames;
    uint64_t examples;
    double loss;
    uint64_t correct; /* 1 + how many of them the model got right; 0: nobody counts */
};
struct tw_weights {
    uint64_t position, version;
    uint32_t generation;
    uint64_t epoch, step;
    uint32_t chunk;
    uint32_t array; /* between servers: 0 the weights, n the n-th state of the rule, behind the
                       states the average, and behind that the states of corrections */
};
struct tw_ask {
    uint64_t samples;
};
struct tw_evaluation {
    uint64_t position, samples;
    double loss, accuracy;
    uint32_t metrics; /* which of those below are there: bit 0 is the first */
#define X(name) double name;
    TW_METRIC_VALUES_MORE(X)
#undef X
};
struct tw_portion { /* of the test data; all of it, or a part */
    uint64_t position, first, samples;
};
struct tw_tally_frame { /* what was counted of a part */
    uint64_t position, first, samples, correct, among_five;
    struct tw_view loss;
    uint32_t output; /* the first that `fits` is of */
    struct tw_view fits, scores;
};
struct tw_regather {
    uint64_t version;
};
struct tw_stop {
    uint32_t status;
    struct tw_view text;
};
struct tw_measure { /* one entry of Ping.measures; times in the lead's ns, 0: not measured */
    uint64_t step, received, computed, sent;
};
struct tw_ping {
    uint64_t step, nonce;
    size_t measures;
    const struct tw_measure *measure; /* [measures] */
};
struct tw_pong {
    uint64_t nonce, time;
};
struct tw_query {
    uint32_t first, ranks;
};
struct tw_run_status {
    struct tw_view mode;
    enum tw_phase phase;
    uint32_t workers, ranks;
    uint64_t version, samples, samples_total;
    double epoch, seconds, samples_per_second, train_loss;
    double staleness_mean;
    uint64_t staleness_max, dropped;
    double update_seconds, since_update;
    struct tw_view waiting;
};
struct tw_rank_status {
    uint32_t rank;
    enum tw_rank_state state;
    uint64_t step;
    double since, computing, waiting, network, away;
    uint32_t culprit; /* rank + 1; 0: nobody */
    double culprit_seconds;
    struct tw_view peer;
    double blamed, silent;
};
struct tw_turn {
    struct tw_view mode;
};
struct tw_turned {
    struct tw_view mode;
    uint64_t position, version;
};
struct tw_cancel {
    uint64_t step;
};
struct tw_serve {
    uint32_t index, servers;
    struct tw_view digest, layout, address;
    bool pooled;
    uint32_t ahead;
};
struct tw_served {
    struct tw_view job;
};
struct tw_ready {
    uint32_t shard; /* does not travel: it is that of the link */
    uint32_t slot, incarnation;
    uint64_t step, read, examples;
    uint64_t regather; /* position of the last REGATHER that the shard has seen; 0 none */
    double loss;       /* sum over the examples */
    bool finite;
    uint32_t bad_tensor; /* when not finite: the first such tensor; TW_TENSORS_MAX: the loss */
    uint64_t correct;    /* as in tw_end */
    /* Of its chunks that were applied as they came: how many, and of their staleness the sum and
     * the most; else 0. */
    uint64_t chunks, ages, oldest;
};
struct tw_sums_frame {
    uint64_t version;
    bool finite; /* the reduced gradient, on this shard */
    struct tw_view squares;
};
struct tw_reach {
    uint32_t rank, attempt;
    bool attached;
};
struct tw_order {
    struct tw_view record; /* a part of it */
    bool more, prepare;
    uint64_t evaluators; /* of a RELEASE to the evaluator: bit n, number n gets the weights */
};
struct tw_collect {
    bool average; /* of the weights, instead of them */
};
struct tw_squares_frame {
    uint64_t version;
    uint32_t tensor;
    bool applied;
    struct tw_view sums;
};
struct tw_sample_frame {
    uint64_t version, hash;
    bool hashed, summed;
    struct tw_view sums;
};
struct tw_member_frame {
    enum tw_role role;
    uint32_t rank, incarnation, attempt;
    struct tw_view session;
};

struct tw_frame {
    enum tw_body body;
    uint32_t lane; /* of its connection (lane.h) */
    union {
        struct tw_hello hello;
        struct tw_challenge challenge;
        struct tw_proof proof;
        struct tw_join join;
        struct tw_welcome welcome;
        struct tw_attach attach;
        struct tw_refuse refuse;
        struct tw_push push;
        struct tw_end end;
        struct tw_weights weights;
        struct tw_ask ask;
        struct tw_evaluation evaluation;
        struct tw_regather regather;
        struct tw_stop stop;
        struct tw_ping ping;
        struct tw_pong pong;
        struct tw_query query;
        struct tw_run_status status;
        struct tw_rank_status rank_status;
        struct tw_turn turn;
        struct tw_turned turned;
        struct tw_cancel cancel;
        struct tw_serve serve;
        struct tw_served served;
        struct tw_ready ready;
        struct tw_sums_frame sums;
        struct tw_reach reach;
        struct tw_order order;
        struct tw_member_frame member;
        struct tw_collect collect;
        struct tw_sample_frame sample;
        struct tw_squares_frame squares;
        struct tw_portion portion;
        struct tw_tally_frame tally;
    };
    size_t data_bytes; /* of tensor bytes; 0: none */
};

/* From numbers of which some may be NaN, and back. Who knows fewer metrics than we sends fewer
 * bits. */
void tw_evaluation_put(struct tw_evaluation *evaluation, const struct tw_metric_values *values);
struct tw_metric_values tw_evaluation_values(const struct tw_evaluation *evaluation);

/* "Push", "Weights", ...; "?" for a number outside the list. */
const char *tw_body_name(enum tw_body body);

/* ---- encoder ---- */

/* Bytes that tw_frame_encode() will write: the frame without its tensor bytes. */
size_t tw_frame_prefix_bytes(const struct tw_frame *frame);

/* Writes length, small fields and the key and length of `data`; the
 * frame.data_bytes tensor bytes follow on the wire directly after it. Returns
 * the bytes written; 0 when `capacity` is too small. */
size_t tw_frame_encode(const struct tw_frame *frame, void *out, size_t capacity);

/* ---- decoder ---- */

/* What the decoder's owner does with frames. */
struct tw_decoder_sink {
    /* A frame with tensor bytes has begun. Set *place to frame->data_bytes
     * writable bytes and return TW_OK; or return TW_OK with *place NULL to have
     * the bytes thrown away (a duplicate); or TW_AGAIN to be asked again at
     * tw_decoder_resume() (there is no buffer yet); any other status is final:
     * the stream ends with it. */
    enum tw_status (*on_data)(void *context, const struct tw_frame *frame, void **place,
                              struct tw_error *error);
    /* A frame is complete; its data, if any, lies at `data` (the place given, or
     * NULL when thrown away). A status other than TW_OK is final. */
    enum tw_status (*on_frame)(void *context, const struct tw_frame *frame, void *data,
                               struct tw_error *error);
};

#define TW_STAGE_BYTES (16u << 10)

/* Memory for what comes, and for unpacking small fields: one per thread is enough, since nothing
 * in it lives longer than a read and its callbacks. So a thousand connections that bring little
 * read into the same few pages, which stay in the caches. */
struct tw_unpack_arena {
    size_t used;
    _Alignas(16) unsigned char bytes[TW_UNPACK_BUDGET];
    unsigned char stage[TW_STAGE_BYTES];
};

/* Private to frame_scan.c: how far the top-level fields of a frame are known. */
struct tw_scan {
    size_t frame_bytes;
    size_t at;                  /* of the next field, from the frame's start */
    size_t needs;               /* see tw_scan_needs() */
    size_t small_bytes;         /* of all fields so far but data */
    size_t before_data;         /* small_bytes when the first data came */
    size_t data_at, data_bytes; /* of the last data so far */
    size_t data_fields;
    bool data_allowed;
    uint32_t body;     /* number of the last body that is known; 0: none */
    uint32_t stranger; /* number of the last field that is not known; 0: none */
    bool plain;        /* one body, and perhaps a lane, are all of its small fields so far */
    uint32_t lane;     /* the last; 0: none */
    size_t body_at, body_bytes; /* the fields of the last body */
};

/* One direction of one connection. Happy path: length, small fields and the key
 * of `data` go through the arena's stage; then the tensor bytes go into the place
 * that the owner gave. What of a frame is left over at the end of a read moves to
 * the decoder's own stage, and what follows is read behind it. Slow path (data
 * elsewhere in the frame, or repeated; a body larger than the stage): the frame is
 * collected whole in `whole`, memory that `grow` lends. */
struct tw_decoder {
    const struct tw_decoder_sink *sink;
    void *context;
    struct tw_unpack_arena *arena;
    size_t frame_bytes_max;                     /* a longer frame is TW_LIMIT */
    bool data_allowed;                          /* else `data` in any frame is TW_UNEXPECTED */
    void *(*grow)(void *context, size_t bytes); /* lends memory for the slow path, or NULL */
    unsigned char *whole;                       /* [whole_room], from grow */
    size_t whole_room;
    /* Below: state, private to frame_decode.c. */
    int state;
    enum tw_status failed;  /* why the stream is over; TW_OK: it is not */
    bool begun;             /* a valid frame has come: the peer speaks Talweg */
    unsigned char first[8]; /* [first_bytes] of the stream, for the message if not */
    size_t first_bytes;
    bool collecting;            /* the frame is in `whole`, not in a stage */
    unsigned char *from;        /* the stage that has bytes: the decoder's, or the arena's */
    size_t stage_at, stage_end; /* those of it that are not used yet */
    size_t frame_seen;          /* bytes of the frame in `whole` */
    struct tw_scan scan;
    struct tw_frame frame;     /* with data: its fields hold no views */
    const unsigned char *held; /* tensor bytes that arrived before they had a place */
    size_t held_bytes;
    unsigned char *place;
    size_t data_left;
    bool after_data; /* the next stage reads small */
    unsigned char stage[TW_STAGE_BYTES];
};

/* `grow` is asked for memory at most once per size needed, only on the slow
 * path, never for more than frame_bytes_max; the owner frees it after use of
 * the decoder. */
void tw_decoder_init(struct tw_decoder *decoder, const struct tw_decoder_sink *sink, void *context,
                     struct tw_unpack_arena *arena, void *(*grow)(void *, size_t));

/* Before the handshake is over: frames up to TW_HELLO_BYTES_MAX, no data.
 * Afterwards: as the role allows. */
void tw_decoder_limit(struct tw_decoder *decoder, size_t frame_bytes_max, bool data_allowed);

/* Where the next bytes of the stream should be put, and how many fit (>= 1,
 * except while waiting after TW_AGAIN: 0). Changes nothing. They are put there just before
 * tw_decoder_advance(), with nothing for another decoder of this arena in between. */
void tw_decoder_want(struct tw_decoder *decoder, void **at, size_t *room);

/* `bytes` bytes were put where tw_decoder_want() said. Calls the sink for
 * everything that this completes. TW_AGAIN: stop reading until
 * tw_decoder_resume(). Any other status but TW_OK: the stream is over; `error`
 * says why. */
enum tw_status tw_decoder_advance(struct tw_decoder *decoder, size_t bytes, struct tw_error *error);

/* Asks the sink again after TW_AGAIN; same results as tw_decoder_advance(). */
enum tw_status tw_decoder_resume(struct tw_decoder *decoder, struct tw_error *error);

/* Tensor bytes that are missing before anything can be done: so many are sure to come. 0 between
 * them. */
size_t tw_decoder_owed(const struct tw_decoder *decoder);

/* The rest of the tensor bytes that are arriving is thrown away; nothing when none are. */
void tw_decoder_discard(struct tw_decoder *decoder);

/* True in the middle of a frame: then the peer owes bytes (slow peers). */
bool tw_decoder_mid_frame(const struct tw_decoder *decoder);

/* The frame whose tensor bytes are arriving, or NULL: what a lost connection
 * leaves behind in `place`. */
const struct tw_frame *tw_decoder_receiving(const struct tw_decoder *decoder);

#endif
