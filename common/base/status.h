/* Status codes and error messages.
 *
 * Every function that can fail for a reason outside our own code returns enum
 * tw_status. A function whose failure a person will read also takes a struct
 * tw_error, last; it writes there what happened, and each caller on the way
 * out wraps it with what it alone knows (which file, which worker, which key)
 * until the message says what happened, where, and what to do.
 *
 * Assertions are for our own bugs, status codes for the world's: nothing that
 * arrives from a socket or a file may ever reach an assertion.
 */
#ifndef TW_BASE_STATUS_H
#define TW_BASE_STATUS_H

#include <stdarg.h>
#include <stddef.h>

/* code, name on the wire and in JSON, what it means.
 * The numbers travel in Refuse frames (docs/protocol.md): append only. */
#define TW_STATUS_LIST(X)                                                                          \
    X(TW_OK, 0, "ok", "no error")                                                                  \
    X(TW_USAGE, 1, "usage", "the command line is wrong")                                           \
    X(TW_JOB, 2, "job", "the job file is wrong")                                                   \
    X(TW_DATA, 3, "data", "a data file is missing, truncated or corrupt")                          \
    X(TW_IO, 4, "io", "the operating system refused an operation")                                 \
    X(TW_NO_MEMORY, 5, "no-memory", "out of memory")                                               \
    X(TW_LIMIT, 6, "limit", "a fixed limit was exceeded")                                          \
    X(TW_MALFORMED, 7, "malformed", "bytes that are not a valid message")                          \
    X(TW_UNEXPECTED, 8, "unexpected", "a valid message at the wrong moment")                       \
    X(TW_PROTOCOL_VERSION, 9, "protocol-version", "no common protocol version")                    \
    X(TW_WRONG_TOKEN, 10, "wrong-token", "the shared secret does not match")                       \
    X(TW_WRONG_JOB, 11, "wrong-job", "the peer belongs to another job")                            \
    X(TW_WRONG_MODEL, 12, "wrong-model", "the peer's tensors differ from the job's")               \
    X(TW_NUMERICS, 13, "numerics", "the peers' numerics ids differ")                               \
    X(TW_RANK_TAKEN, 14, "rank-taken", "the rank is held by a connected worker")                   \
    X(TW_NO_FREE_RANK, 15, "no-free-rank", "all ranks are held")                                   \
    X(TW_FENCED, 16, "fenced", "a newer incarnation took over this rank")                          \
    X(TW_STALE, 17, "stale", "it names a step or generation that is over")                         \
    X(TW_SLOW_PEER, 18, "slow-peer", "the peer is too slow or has stopped")                        \
    X(TW_UNREACHABLE, 19, "unreachable", "the server could not be reached")                        \
    X(TW_CLOSED, 20, "closed", "the connection was closed")                                        \
    X(TW_NOT_FINITE, 21, "not-finite", "gradients are not finite")                                 \
    X(TW_STOPPED, 22, "stopped", "the run is over")                                                \
    X(TW_INTERRUPTED, 23, "interrupted", "stopped by a signal")                                    \
    X(TW_UNSUPPORTED, 24, "unsupported", "known by name, not available here")                      \
    X(TW_AGAIN, 25, "again", "not now: there is no room yet")                                      \
    X(TW_INTERNAL, 26, "internal", "a bug in Talweg")

enum tw_status {
#define X(code, number, name, text) code = number,
    TW_STATUS_LIST(X)
#undef X
};

/* The longest message that a person gets, with its terminating zero. */
#define TW_ERROR_TEXT 1024

struct tw_error {
    enum tw_status status;
    char text[TW_ERROR_TEXT];
};

/* Name as it stands on the wire and in --json ("wrong-model"); "unknown" for
 * a number outside the list. Never NULL. */
const char *tw_status_name(int status);

/* One line that explains the status in general. Never NULL. */
const char *tw_status_text(int status);

/* Sets the message and returns `status`, so that `return tw_error_set(...)`
 * is the whole error path. `error` may be NULL. A message that does not fit is
 * cut. Control characters, which may come from a peer, become '?'. Cold: the compiler keeps
 * what leads here out of the way of what goes well. */
enum tw_status tw_error_set(struct tw_error *error, enum tw_status status, const char *format, ...)
    __attribute__((cold, format(printf, 3, 4)));

/* Puts "prefix: " before the message that is there; returns its status. Here
 * `error` may not be NULL: nobody else would know the status. */
enum tw_status tw_error_wrap(struct tw_error *error, const char *format, ...)
    __attribute__((cold, format(printf, 2, 3)));

#endif
