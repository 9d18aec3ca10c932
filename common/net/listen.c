/* See listen.h. */
#include "common/net/listen.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "common/base/limits.h"

/* What the kernel may queue and not yet have sent: more, and a frame that is
 * queued now leaves only after megabytes of older ones. */
#define UNSENT_BYTES (256 << 10)

/* Unread bytes of one socket; left alone, the kernel grows to 6 MiB and more,
 * which a server with a thousand workers cannot give away. Over loopback 1 MiB is
 * as fast as 3 MiB or no cap; 128 KiB loses a third. The send buffer needs no cap:
 * what is unsent is bounded above, and what is under way by the peer's receive
 * buffer. */
#define RECEIVE_BYTES (1 << 20)

/* A machine that lost its power or its cable says nothing, and its rank would stay
 * taken for ever. An idle connection is probed by the kernels, so a process that is
 * only stopped or busy lives on; the number of probes follows from the time. */
#define PROBE_AFTER_S 5
#define PROBE_EVERY_S 5

/* The most that SO_RCVBUF may ask for here; 0 when that cannot be known. */
static long receive_bytes_max(void) {
    char text[32] = "0";
    FILE *file = fopen("/proc/sys/net/core/rmem_max", "re");
    if (file != NULL) {
        if (fgets(text, sizeof text, file) == NULL) {
            text[0] = '\0';
        }
        fclose(file);
    }
    return strtol(text, NULL, 10);
}

static void set_int(uv_tcp_t *stream, int level, int option, int value) {
    uv_os_fd_t fd;
    if (uv_fileno((const uv_handle_t *)stream, &fd) == 0) {
        (void)setsockopt(fd, level, option, &value, sizeof value);
    }
}

enum tw_status tw_listen(uv_tcp_t *listener, uv_loop_t *loop, const struct sockaddr *address,
                         int backlog, uv_connection_cb on_connection, bool *initialised,
                         struct tw_error *error) {
    char name[TW_ADDRESS_TEXT];
    int code = uv_tcp_init_ex(loop, listener, address->sa_family);
    *initialised = code == 0;
    if (code == 0) {
        tw_socket_size(listener);
        code = uv_tcp_bind(listener, address, 0);
    }
    if (code == 0) {
        code = uv_listen((uv_stream_t *)listener, backlog, on_connection);
    }
    if (code != 0) {
        return tw_error_set(error, TW_IO, "cannot listen on %s: %s", tw_address_name(address, name),
                            uv_strerror(code));
    }
    return TW_OK;
}

enum tw_status tw_listen_address(const uv_tcp_t *listener, struct sockaddr_storage *out,
                                 struct tw_error *error) {
    int size = sizeof *out;
    int code = uv_tcp_getsockname(listener, (struct sockaddr *)out, &size);
    if (code != 0) {
        return tw_error_set(error, TW_IO, "cannot read the address of a listening socket: %s",
                            uv_strerror(code));
    }
    return TW_OK;
}

void tw_socket_size(uv_tcp_t *stream) {
    /* Asking for more than the system allows would fix the size at what it allows
     * (200 KiB on many machines): slower than not asking. */
    if (receive_bytes_max() >= RECEIVE_BYTES) {
        set_int(stream, SOL_SOCKET, SO_RCVBUF, RECEIVE_BYTES);
    }
}

void tw_socket_tune(uv_tcp_t *stream, const struct sockaddr *peer) {
    set_int(stream, IPPROTO_TCP, TCP_NODELAY, 1);
    set_int(stream, IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_BYTES);
    set_int(stream, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_int(stream, IPPROTO_TCP, TCP_KEEPIDLE, PROBE_AFTER_S);
    set_int(stream, IPPROTO_TCP, TCP_KEEPINTVL, PROBE_EVERY_S);
    set_int(stream, IPPROTO_TCP, TCP_USER_TIMEOUT, TW_DEAD_PEER_MS);
    uv_os_fd_t fd;
    if (tw_address_is_loopback(peer) && uv_fileno((const uv_handle_t *)stream, &fd) == 0) {
        static const char plain[] = "reno";
        (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, plain, sizeof plain - 1);
    }
}

/* The kernel counts a window that stays closed as no answer. */
void tw_socket_patience(uv_tcp_t *stream, uint64_t ms) {
    set_int(stream, IPPROTO_TCP, TCP_USER_TIMEOUT, ms < INT32_MAX ? (int)ms : INT32_MAX);
}

void tw_socket_wake_after(uv_tcp_t *stream, size_t bytes) {
    set_int(stream, SOL_SOCKET, SO_RCVLOWAT, bytes < INT32_MAX ? (int)bytes : INT32_MAX);
}

void tw_allow_many_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

void tw_ignore_broken_pipes(void) {
    signal(SIGPIPE, SIG_IGN);
}
