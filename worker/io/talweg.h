/* libtalweg: training with Talweg's servers from a program of your own.
 *
 *     talweg_join  ->  [ talweg_pull -> compute -> talweg_push ] ...  ->  talweg_leave
 *
 * or, to compute with the first weights while the last are still on their way,
 *
 *     [ talweg_pull_begin -> for each layer: talweg_pull_tensor, compute -> talweg_push ]
 *
 * The library owns the connections and one helper thread; it never calls back.
 * A handle is used by one thread at a time; different handles are independent.
 * Functions return 0, or one of TALWEG_E_*; talweg_error() says what happened in
 * words. Nothing is printed, no signal is caught, the program is never ended.
 *
 * This header is stable: within a major version, functions keep their meaning
 * and structs grow only at the end (set `size`, as TALWEG_CONFIG_INIT does).
 */
#ifndef TALWEG_H
#define TALWEG_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TALWEG_API __attribute__((visibility("default")))
#else
#define TALWEG_API
#endif

enum {
    TALWEG_OK = 0,
    TALWEG_E_STOP = 1,     /* not an error: the run is over, leave */
    TALWEG_E_ARGUMENT = 2, /* a call with wrong arguments or out of order */
    TALWEG_E_CONNECT = 3,  /* the server could not be reached */
    TALWEG_E_REFUSED = 4,  /* it refused us: wrong token, model, job, rank ... */
    TALWEG_E_LOST = 5,     /* the connection was lost and could not be made again */
    TALWEG_E_FAILED = 6,   /* the run failed (the server says why) */
    TALWEG_E_MEMORY = 7,
    TALWEG_E_INTERRUPTED = 8, /* your stop_fd became readable: leave */
    TALWEG_E_AGAIN = 9,       /* only of talweg_pull_tensor(): begin again, see there */
};

/* One tensor: float32, row-major. `weights` is yours; a pull fills it. */
struct talweg_tensor {
    const char *name;
    int dims;
    const int64_t *shape; /* [dims] */
    float *weights;
};

struct talweg_config {
    size_t size;        /* sizeof(struct talweg_config) */
    const char *server; /* "HOST:PORT" of the lead */
    int rank;           /* -1: the lowest free one */
    int evaluator;      /* 1: no rank; pulls the weights of each epoch's end */
    const char *token;  /* shared secret, or NULL */
    size_t token_bytes;
    const uint8_t *digest;               /* 32 bytes of the job file, or NULL: not compared */
    const char *numerics;                /* what makes two machines' gradients the same bits */
    double connect_seconds;              /* how long to try to reach the server; 0: 30 s */
    const struct talweg_tensor *tensors; /* in the order of the job */
    int tensor_count;
    uint64_t epoch_samples; /* evaluator: examples of an epoch; it pulls once in each */
    int stop_fd;            /* -1: none; readable: join and pulls give TALWEG_E_INTERRUPTED */
    /* [tensor_count], or NULL. Not 0: a statistic of the examples (the job says so), of which
     * servers keep an average. The SUM over the examples is pushed like a gradient, but always
     * travels as float32, whatever encoding.push is. */
    const unsigned char *statistics;
    /* Evaluator: samples of the test data, and whether their targets are real numbers, when it can
     * score any part of them (talweg_get_part); 0: it scores all of them, and is the only one. */
    uint64_t test_samples;
    int test_valued;
    /* For at most so many microseconds a call that waits looks for what comes before it sleeps:
     * it returns sooner, and takes a core meanwhile. Up to 1000; 0: 100; -1: it sleeps at once.
     * When waits are longer than that it soon sleeps at once by itself. Changes no result. */
    int64_t poll_us;
};

#define TALWEG_CONFIG_INIT                                                                         \
    {                                                                                              \
        sizeof(struct talweg_config), NULL, -1, 0, NULL, 0, NULL, NULL, 0, NULL, 0, 0, -1, NULL,   \
            0, 0, 0                                                                                \
    }

struct talweg; /* a membership in one run */

/* What the server said when we joined. */
struct talweg_place {
    uint32_t rank, workers;
    uint32_t slot, slots; /* our (first) logical gradient, and how many an update has */
    uint32_t incarnation;
    uint32_t width; /* how many are ours: slot, slot + 1, ...; we push their sum */
};

/* Connects, proves the token, takes a rank. *out is set also on failure (for
 * talweg_error) unless memory ran out; talweg_leave() frees it. */
TALWEG_API int talweg_join(struct talweg **out, const struct talweg_config *config);

TALWEG_API struct talweg_place talweg_get_place(const struct talweg *talweg);

/* Waits until the weights for the next step have arrived in the tensors, all of
 * one version. *step (from 1) names the data and random numbers to use. Gradient
 * buffers of the previous push are yours again. TALWEG_E_STOP: the run is over.
 * An evaluator: `step` counts the evaluations of the run; with parts several pulls have one. */
TALWEG_API int talweg_pull(struct talweg *talweg, uint64_t *step);

/* The same in parts, so that the next forward pass can begin with the first layers' weights while
 * the others are on their way. They come in the order of the tensors, from each server.
 *
 * talweg_pull_begin() returns as soon as something of the new weights has come: *step is known, and
 * gradient buffers of the previous push are yours again. Until talweg_pull_tensor() has said
 * TALWEG_OK for a tensor its memory is the library's, which may be writing there from its thread;
 * then it is yours, and stays as it is until the next pull. All tensors that were got so are
 * of one version. Any order; asking again costs nothing.
 *
 * TALWEG_E_AGAIN: the rest of them will not come, since their step is over or the connection was
 * lost; what was computed of this step is worth nothing. Call talweg_pull_begin() again (or
 * talweg_pull()), which waits for other weights, of the same step or of a later one. Other results
 * as of talweg_pull().
 *
 * Push when every tensor was asked for: before, a push is a call out of order
 * (TALWEG_E_ARGUMENT), unless talweg_cancelled() says 1. An evaluator may call them, too: all its
 * weights are there at once. */
TALWEG_API int talweg_pull_begin(struct talweg *talweg, uint64_t *step);
TALWEG_API int talweg_pull_tensor(struct talweg *talweg, int tensor);

/* Updates applied to the weights of the last pull; and, for an evaluator, the number
 * of examples it had asked to have applied (the end of the run may come before). */
TALWEG_API uint64_t talweg_version(const struct talweg *talweg);
TALWEG_API uint64_t talweg_samples(const struct talweg *talweg);

/* When the first bytes of the weights of the last pull arrived, in nanoseconds of
 * CLOCK_MONOTONIC: until then the time since the push was spent on sending it and on the
 * others, from then on the weights were on their way. 0 before the first pull. */
TALWEG_API uint64_t talweg_answered_ns(const struct talweg *talweg);

/* Starts to send the gradient of one tensor while you compute the others; any
 * order, each once a step. `gradient` is the SUM over the examples, and stays
 * untouched until the next pull returns (or talweg_leave(), after an
 * interruption). */
TALWEG_API int talweg_push_tensor(struct talweg *talweg, int tensor, const float *gradient);

/* How many of the step's examples the model got right, before talweg_push_end(): where all
 * workers say so, the run has a train_accuracy. Leave it out when there is no such thing. */
TALWEG_API int talweg_push_correct(struct talweg *talweg, uint64_t correct);

/* Ends the push: all tensors are sent; `examples` of them, `loss` their sum. */
TALWEG_API int talweg_push_end(struct talweg *talweg, uint64_t examples, double loss);

/* 1: nobody waits for the gradient of the last pull any more: its step was cancelled
 * (docs/consistency.md), the rest of its weights will not come (talweg_pull_begin), or the run is
 * over. Stop computing and pull: what was pushed of it is taken back, and what is still pushed is
 * not sent, with TALWEG_OK. 0: go on. It is meant to be asked between layers: it never waits, and
 * costs a few microseconds. Whether it is asked changes no result of the run. */
TALWEG_API int talweg_cancelled(struct talweg *talweg);

/* Another metric of the evaluator, before talweg_report(): "top5", "auc" or "r2". NaN, or left out:
 * there is none. */
TALWEG_API int talweg_report_metric(struct talweg *talweg, const char *name, double value);

/* The evaluator's answer to a pull: mean loss, accuracy (NaN: has none). */
TALWEG_API int talweg_report(struct talweg *talweg, double loss, double accuracy);

/* Which samples of the test data the last pull is for, with config.test_samples: all of them, which
 * talweg_report() answers, or a part, which talweg_report_part() does. The next pull may be for
 * another part of the same weights. */
struct talweg_part {
    uint64_t first, samples; /* the first is 0, or a multiple of 256: score in batches of 256 */
};
TALWEG_API struct talweg_part talweg_get_part(const struct talweg *talweg);

/* What was counted of a part. The bytes are those of docs/protocol.md ("Parts of an evaluation"):
 * sums that are exact, so that the numbers of the run do not depend on who scored what. */
struct talweg_tally {
    uint64_t correct, among_five;       /* of labels: right; among the five best */
    const unsigned char *loss;          /* [81] the sum over the samples */
    const unsigned char *fits, *scores; /* of real targets; of two classes; else NULL */
    size_t fit_bytes, score_bytes;
};
TALWEG_API int talweg_report_part(struct talweg *talweg, const struct talweg_tally *tally);

/* Says goodbye when that is still possible, closes everything, frees. NULL is
 * fine. */
TALWEG_API void talweg_leave(struct talweg *talweg);

/* What went wrong last, in words; "" when nothing did. Lives as long as the handle. */
TALWEG_API const char *talweg_error(const struct talweg *talweg);

/* "0.1.0" */
TALWEG_API const char *talweg_library_version(void);

#ifdef __cplusplus
}
#endif
#endif
