/* Addresses as people write them, and as the kernel wants them.
 *
 * Text is "HOST:PORT" or "[IPv6]:PORT". Used by the servers (where to listen),
 * by the workers (where to connect) and by messages (who the peer is).
 */
#ifndef TW_NET_ADDRESS_H
#define TW_NET_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "common/base/status.h"

#define TW_HOST_TEXT 256   /* a host name, with its terminating zero */
#define TW_ADDRESS_TEXT 64 /* tw_address_name() always fits */

struct tw_host_port {
    char host[TW_HOST_TEXT]; /* without brackets; never empty */
    char port[6];            /* decimal, 0 to 65535 */
};

/* Takes "HOST:PORT" or "[IPv6]:PORT" apart. TW_USAGE, with what would be right:
 * no port, a port that is no number or above 65535, an empty or overlong host,
 * an IPv6 address without brackets. */
enum tw_status tw_host_port_parse(struct tw_host_port *out, const char *text,
                                  struct tw_error *error);

/* Looks the host up: up to `room` TCP addresses in the order in which they
 * should be tried, *count of them, at least one. Numeric hosts never ask the
 * network; a name may block for seconds. TW_UNREACHABLE: it is not known. */
enum tw_status tw_address_resolve(const struct tw_host_port *from, struct sockaddr_storage *out,
                                  size_t room, size_t *count, struct tw_error *error);

/* The addresses of a host, for one that tries until somebody is there: one for each try,
 * round after round. All zeros but `host`: none has been tried. */
#define TW_ADDRESS_ROUND 8
struct tw_address_round {
    struct tw_host_port host;
    struct sockaddr_storage address[TW_ADDRESS_ROUND];
    size_t count, tried; /* address[tried] is that of the present try */
};

/* Goes to the address of the next try. The host is looked up anew for each round: where
 * clusters start piece by piece, it may be known only later. Errors: tw_address_resolve(). */
enum tw_status tw_address_next(struct tw_address_round *round, struct tw_error *error);

/* 127.0.0.0/8, ::1, and 127.0.0.0/8 mapped into IPv6. */
bool tw_address_is_loopback(const struct sockaddr *address);

/* "127.0.0.1:4711", "[::1]:4711"; "?" for another family. Returns `out`. */
const char *tw_address_name(const struct sockaddr *address, char out[TW_ADDRESS_TEXT]);

#endif
