/* The server process: sequencer and shard driven by a libuv loop.
 *
 * Happy path: listen -> workers (and perhaps an evaluator) join -> updates ->
 * last evaluation -> model, metrics written -> goodbye to all -> loop closes.
 * Failure: everything a peer does wrong ends that peer's connection with a named
 * error; what is wrong with ourselves (disk, memory, a broken invariant) ends
 * the run with a TW_REPORT_DONE that says so.
 */
#ifndef TW_IO_SERVER_H
#define TW_IO_SERVER_H

#include "common/job/job.h"
#include "server/core/dial.h"
#include "server/core/memory_plan.h"
#include "server/core/node.h"
#include "server/core/optimizer.h"
#include "server/core/schedule.h"
#include "server/core/shaping.h"
#include "server/io/report.h"

/* Times and counts that tests make small. Zeros stand for those of
 * common/base/limits.h. */
struct tw_server_limits {
    uint32_t pending;             /* connections that have not joined or attached yet */
    uint32_t pending_per_address; /* of them from one address */
    uint32_t unknown;             /* pending, and those that wait for their turn to be so */
    uint32_t handshake_ms;        /* until a connection must have joined or attached */
    uint32_t waiting_ms;          /* between two reports of whom an update waits for */
    uint32_t straggler_ms;        /* that a step may take before its rank is named */
    uint32_t lead_ms;             /* for which the lead may be out of reach at the start */
    uint32_t goodbye_ms;          /* that peers get at the end to close their side */
};

/* Of a run that is begun again: its order log, as it was found. */
struct tw_server_resume {
    uint64_t position,
        bytes;           /* of the last whole record; of all of them: what is behind is cut off */
    uint32_t generation; /* from here on, from 1 */
    bool (*stands)(void *context, uint64_t position); /* no ROLLBACK took this record back */
    void *context;
};

struct tw_server_config {
    const struct tw_job *job; /* borrowed, like all pointers here */
    uint32_t index;           /* of the job's servers; 0: the lead */
    const char *lead;         /* "HOST:PORT" of the lead; the others only */
    const char *advertise;    /* "HOST:PORT" where workers find this one, or NULL */
    const struct tw_tensor_list *tensors;
    float *const *initial; /* as tw_shard_config.initial */
    const struct tw_optimizer *optimizer;
    struct tw_optimizer_options optimizer_options;
    struct tw_pace pace; /* of the options */
    struct tw_shaping shaping;
    double curvature;    /* largest eigenvalue of the loss's Hessian at the start; 0: not known */
    struct tw_dial dial; /* at the start */
    const struct tw_dial_turn *turns; /* [turn_count] of the job */
    uint32_t turn_count;
    uint64_t train_samples;         /* n of the data set; 0: own gradients */
    bool evaluator;                 /* wait for one before the start, */
    uint32_t evaluators;            /* ... or for so many; 0: one */
    struct tw_node_scoring scoring; /* what several of them put together */
    const char *listen;             /* "HOST:PORT"; port 0: the kernel picks */
    const void *token;              /* shared secret, or NULL */
    size_t token_bytes;
    bool inexact;                          /* accept mixed numerics ids */
    const char *out;                       /* run directory, exists; of the lead only */
    const struct tw_server_resume *resume; /* of the lead: begin that run again; NULL: a new one */
    void (*on_report)(void *context, const struct tw_report *report);
    void *context;
    int stop_fd; /* readable: stop as at SIGTERM; -1 none */
    struct tw_server_limits limits;
};

/* The node of such a server, laid out as the plan says, with room for so many connections; `id`
 * [TW_JOB_ID_BYTES] is the run's. For whoever drives it without this shell (talweg sim). */
void tw_server_node_config(const struct tw_server_config *config, const struct tw_layout *layout,
                           const struct tw_memory_plan *plan, const uint8_t *id,
                           uint32_t connections, struct tw_node_config *out);

/* The samples at which the run ends; 0: not known. What an update will bring is known by the batch,
 * and by the modes of the job: who turns the dial by hand changes it. */
uint64_t tw_server_samples_total(const struct tw_server_config *config);

/* Appends to `text` [room] what to do about a run that has diverged. */
void tw_server_advise(const struct tw_server_config *config, const struct tw_sequencer *sequencer,
                      char *text, size_t room);

/* Runs until the end. SIGINT and SIGTERM stop it in order (the model so far is
 * saved); a second one ends the process at once, with exit code 130. Returns the
 * status of the result, which was also reported. SIGPIPE and SIGXFSZ are ignored
 * from here on: what they announce is reported as an error of the write. */
enum tw_status tw_server_run(const struct tw_server_config *config, struct tw_error *error);

#endif
