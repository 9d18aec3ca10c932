/* See address.h. */
#include "common/net/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum tw_status wrong(struct tw_error *error, const char *text, const char *why) {
    return tw_error_set(error, TW_USAGE,
                        "address '%.300s': %s; write HOST:PORT, e.g. 127.0.0.1:4711, or "
                        "[IPv6]:PORT, e.g. [::1]:4711",
                        text, why);
}

/* Finds the host's bytes and the text of the port; NULL or what is wrong. */
static const char *take_apart(const char *text, const char **host, size_t *size,
                              const char **port) {
    if (text[0] == '[') {
        const char *close = strchr(text, ']');
        if (close == NULL) {
            return "the bracket is not closed";
        }
        if (close[1] != ':') {
            return "the port is missing";
        }
        *host = text + 1;
        *size = (size_t)(close - text) - 1;
        *port = close + 2;
        return NULL;
    }
    const char *colon = strrchr(text, ':');
    if (colon == NULL) {
        return "the port is missing";
    }
    if (memchr(text, ':', (size_t)(colon - text)) != NULL) {
        return "an IPv6 address needs brackets";
    }
    *host = text;
    *size = (size_t)(colon - text);
    *port = colon + 1;
    return NULL;
}

enum tw_status tw_host_port_parse(struct tw_host_port *out, const char *text,
                                  struct tw_error *error) {
    const char *host;
    const char *port;
    size_t size;
    const char *why = take_apart(text, &host, &size, &port);
    if (why != NULL) {
        return wrong(error, text, why);
    }
    if (size == 0) {
        return wrong(error, text, "the host is missing");
    }
    if (size >= sizeof out->host) {
        return wrong(error, text, "the host name is too long");
    }
    size_t digits = strspn(port, "0123456789");
    if (digits == 0 || digits >= sizeof out->port || port[digits] != '\0' || atoi(port) > 65535) {
        return wrong(error, text, "the port must be a number from 0 to 65535");
    }
    memcpy(out->host, host, size);
    out->host[size] = '\0';
    memcpy(out->port, port, digits + 1);
    return TW_OK;
}

enum tw_status tw_address_resolve(const struct tw_host_port *from, struct sockaddr_storage *out,
                                  size_t room, size_t *count, struct tw_error *error) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    *count = 0;
    int code = getaddrinfo(from->host, from->port, &hints, &list);
    if (code != 0) {
        return tw_error_set(error, TW_UNREACHABLE, "host '%s': %s", from->host, gai_strerror(code));
    }
    for (const struct addrinfo *at = list; at != NULL && *count < room; at = at->ai_next) {
        if ((at->ai_family == AF_INET || at->ai_family == AF_INET6) &&
            at->ai_addrlen <= sizeof *out) {
            memset(&out[*count], 0, sizeof *out);
            memcpy(&out[*count], at->ai_addr, at->ai_addrlen);
            (*count)++;
        }
    }
    freeaddrinfo(list);
    if (*count == 0) {
        return tw_error_set(error, TW_UNREACHABLE, "host '%s' has no IPv4 or IPv6 address",
                            from->host);
    }
    return TW_OK;
}

enum tw_status tw_address_next(struct tw_address_round *round, struct tw_error *error) {
    if (++round->tried < round->count)
        return TW_OK;
    round->tried = round->count = 0;
    return tw_address_resolve(&round->host, round->address, TW_ADDRESS_ROUND, &round->count, error);
}

bool tw_address_is_loopback(const struct sockaddr *address) {
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        return ntohl(v4.sin_addr.s_addr) >> 24 == 127;
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr) && v6.sin6_addr.s6_addr[12] == 127);
    }
    return false;
}

const char *tw_address_name(const struct sockaddr *address, char out[TW_ADDRESS_TEXT]) {
    char host[INET6_ADDRSTRLEN];
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
        snprintf(out, TW_ADDRESS_TEXT, "%s:%u", host, (unsigned)ntohs(v4.sin_port));
    } else if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
        snprintf(out, TW_ADDRESS_TEXT, "[%s]:%u", host, (unsigned)ntohs(v6.sin6_port));
    } else {
        snprintf(out, TW_ADDRESS_TEXT, "?");
    }
    return out;
}
