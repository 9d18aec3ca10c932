/* A server in a child process of the test, and what it reports.
 *
 * The child runs tw_server_run() and nothing else; its reports come through a pipe
 * (PROGRESS only when asked for), its log lines go to a file. It dies with the test.
 */
#ifndef TW_TESTS_SERVER_CHILD_H
#define TW_TESTS_SERVER_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "server/io/server.h"

/* The model of scripted_peer.h, plain SGD with learning rate 0.5. */
struct server_script {
    const char *mode;     /* NULL: sync */
    const char *encoding; /* "{push: bf16}"; NULL: float32 */
    const char *memory;   /* "{inflight: 2MiB}"; NULL: what there is by itself */
    int workers;          /* 0: 1 */
    int updates;
    int elements;           /* of a model with one tensor, `w`; 0: that of scripted_peer.h */
    uint64_t train_samples; /* borders of epochs; 0: none */
    bool evaluator, progress, times, stop_pipe;
    const char *token, *listen, *out; /* NULL: none, 127.0.0.1:0, a new folder */
    struct tw_server_limits limits;
    size_t file_bytes; /* no file may grow larger; 0: no limit */
};

struct server_child {
    pid_t pid;
    int reports, stop_fd;
    int port;
    char folder[64]; /* temporary, removed at the end */
    char out[96], log[96];
    uint8_t digest[32]; /* of its job */
    struct tw_report last;
    int exit_code;
};

/* Starts it and waits until it listens. */
void server_start(struct server_child *child, const struct server_script *script);
/* The same for one that is not to get that far: until it has ended. */
void server_start_failing(struct server_child *child, const struct server_script *script);

/* The next report; it must be of this kind. */
const struct tw_report *server_expect(struct server_child *child, enum tw_report_kind kind);
/* The next of this kind; others are skipped. */
const struct tw_report *server_await(struct server_child *child, enum tw_report_kind kind);

/* The next one if it is here already, else NULL. */
const struct tw_report *server_hear(struct server_child *child);

/* Awaits DONE and the end of the process; checks that it left in order. */
const struct tw_result *server_end(struct server_child *child);
/* Removes its folder. */
void server_clean(struct server_child *child);
/* After a test that failed: kills what still runs, and removes the folder. */
void server_discard(struct server_child *child);

/* Whole text of a file; the caller frees. NULL when there is none. */
char *server_file(const struct server_child *child, const char *name);
char *server_log(const struct server_child *child);
/* How many files the run directory holds. */
int server_files(const struct server_child *child);
/* The floats of model.safetensors equal these. */
void server_check_model(const struct server_child *child, const float *weights);

#endif
