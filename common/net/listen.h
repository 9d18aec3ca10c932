/* Listening, and the socket options that every stream of Talweg gets.
 *
 * Used by proto/connection.c (both ends) and server/io (the listener). The
 * options and why they are what they are: see listen.c; they were measured.
 */
#ifndef TW_NET_LISTEN_H
#define TW_NET_LISTEN_H

#include <uv.h>

#include "common/base/status.h"
#include "common/net/address.h"

/* Initialises `listener` on `loop`, binds it to `address` (SO_REUSEADDR; port 0:
 * the kernel picks one) and listens. *initialised says whether the handle must
 * be closed by uv_close(), also after a failure. TW_IO: "127.0.0.1:80:
 * permission denied", "...: address already in use". */
enum tw_status tw_listen(uv_tcp_t *listener, uv_loop_t *loop, const struct sockaddr *address,
                         int backlog, uv_connection_cb on_connection, bool *initialised,
                         struct tw_error *error);

/* Where a listener really listens (after port 0). */
enum tw_status tw_listen_address(const uv_tcp_t *listener, struct sockaddr_storage *out,
                                 struct tw_error *error);

/* Before connect() and listen(): a cap on the receive buffer, which the window
 * scale of the connection depends on. Accepted sockets inherit those of their listener.
 * Never fails: an option that the system refuses only costs speed or memory. */
void tw_socket_size(uv_tcp_t *stream);

/* After connect() and accept(): no delay, a short kernel queue, on loopback a
 * congestion control that does not pace, and an end to connections whose other
 * machine has answered nothing for TW_DEAD_PEER_MS. Never fails, as above. */
void tw_socket_tune(uv_tcp_t *stream, const struct sockaddr *peer);

/* The other side may not read for so long, while its machine answers. Never fails, as above. */
void tw_socket_patience(uv_tcp_t *stream, uint64_t ms);

/* From now on who waits for `stream` is woken when so many bytes have come, not before; or when the
 * other side has ended, or the receive buffer is full. 1: as ever. Never fails, as above. */
void tw_socket_wake_after(uv_tcp_t *stream, size_t bytes);

/* As many open files, sockets among them, as the system allows this process: the usual 1024
 * are the connections of 500 workers. Never fails: then it stays as it is. */
void tw_allow_many_files(void);

/* A write to a connection that is gone must be an error code, not a signal that
 * ends the process. Every program calls this once at its start; a library, whose
 * process is not its own, blocks SIGPIPE in its own thread instead. */
void tw_ignore_broken_pipes(void);

#endif
