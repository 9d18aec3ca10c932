#include "cli/bench_raw.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct raw_context {
    int listener;
    struct sockaddr_in address;
    uint64_t bytes; /* of the buffer */
};

struct raw_command {
    uint64_t bytes;
    int32_t way, count;
};

/* What goes before each message. */
struct raw_head {
    uint64_t there, back;
};

void tw_raw_set_options(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
}

static bool send_all(int fd, const char *bytes, uint64_t size) {
    while (size > 0) {
        ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return false;
        bytes += n > 0 ? n : 0;
        size -= n > 0 ? (uint64_t)n : 0;
    }
    return true;
}

static bool receive_all(int fd, char *bytes, uint64_t size) {
    while (size > 0) {
        ssize_t n = recv(fd, bytes, size, 0);
        if (n == 0 || (n < 0 && errno != EINTR))
            return false;
        bytes += n > 0 ? n : 0;
        size -= n > 0 ? (uint64_t)n : 0;
    }
    return true;
}

/* Head and message in one call, as far as the kernel takes them. */
static bool send_message(int fd, const struct raw_head *head, char *bytes, uint64_t size) {
    struct iovec parts[2] = {{(void *)(uintptr_t)head, sizeof *head}, {bytes, size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);
    size_t done = n > (ssize_t)sizeof *head ? (size_t)n - sizeof *head : 0;
    return n >= (ssize_t)sizeof *head && send_all(fd, bytes + done, size - done);
}

/* The other half: nothing follows a message before it is answered. */
static bool receive_message(int fd, struct raw_head *head, char *bytes, uint64_t room) {
    struct iovec parts[2] = {{head, sizeof *head}, {bytes, room}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t n = recvmsg(fd, &message, 0);
    size_t in_head = n > 0 && (size_t)n < sizeof *head ? (size_t)n : sizeof *head;
    if (n <= 0 || !receive_all(fd, (char *)head + in_head, sizeof *head - in_head))
        return false;
    size_t done = (size_t)n - in_head;
    return head->there <= room && receive_all(fd, bytes + done, head->there - done);
}

char *tw_raw_buffer(uint64_t bytes) {
    char *buffer = malloc(bytes);
    if (buffer)
        memset(buffer, 1, bytes);
    return buffer;
}

static int respond(int commands, int answers, void *context) {
    const struct raw_context *raw = context;
    char *buffer = tw_raw_buffer(raw->bytes);
    int fd = accept(raw->listener, NULL, NULL);
    if (fd < 0 || !buffer)
        return 1;
    tw_raw_set_options(fd);
    struct raw_head head;
    while (receive_message(fd, &head, buffer, raw->bytes) && send_all(fd, buffer, head.back))
        ;
    return 0;
}

static bool exchange(int fd, const struct raw_head *head, char *buffer) {
    return send_message(fd, head, buffer, head->there) && receive_all(fd, buffer, head->back);
}

static int request(int commands, int answers, void *context) {
    const struct raw_context *raw = context;
    char *buffer = tw_raw_buffer(raw->bytes);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || !buffer ||
        connect(fd, (const struct sockaddr *)&raw->address, sizeof raw->address) != 0)
        return 1;
    tw_raw_set_options(fd);
    struct raw_command command;
    while (tw_party_read(commands, &command, sizeof command)) {
        const struct raw_head heads[TW_RAW_WAYS] = {
            [TW_RAW_THERE] = {command.bytes, 1},
            [TW_RAW_BACK] = {1, command.bytes},
            [TW_RAW_BOTH] = {command.bytes, command.bytes},
        };
        for (int i = 0; i < command.count; i++) {
            uint64_t start = tw_party_now_ns();
            if (!exchange(fd, &heads[command.way], buffer))
                return 1;
            double seconds = 1e-9 * (double)(tw_party_now_ns() - start);
            if (!tw_party_write(answers, &seconds, sizeof seconds))
                return 1;
        }
    }
    return 0;
}

int tw_raw_listen(struct sockaddr_in *address, struct tw_error *error) {
    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof *address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener >= 0 && bind(listener, (const struct sockaddr *)address, size) == 0 &&
        listen(listener, SOMAXCONN) == 0 &&
        getsockname(listener, (struct sockaddr *)address, &size) == 0)
        return listener;
    tw_error_set(error, TW_IO, "no listening socket on loopback: %s", strerror(errno));
    if (listener >= 0)
        close(listener);
    return -1;
}

enum tw_status tw_raw_start(struct tw_raw *raw, uint64_t bytes,
                            const struct tw_bench_options *options, struct tw_error *error) {
    struct raw_context context = {.bytes = bytes};
    *raw = (struct tw_raw){0};
    context.listener = tw_raw_listen(&context.address, error);
    if (context.listener < 0)
        return TW_IO;
    enum tw_status status =
        tw_party_start(&raw->responder, "raw receiver", options->core[0], respond, &context, error);
    if (!status)
        status = tw_party_start(&raw->requester, "raw sender", options->core[1], request, &context,
                                error);
    close(context.listener);
    if (status)
        tw_raw_end(raw);
    return status;
}

enum tw_status tw_raw_measure(struct tw_raw *raw, enum tw_raw_way way, uint64_t bytes, int count,
                              double *out, struct tw_error *error) {
    struct raw_command command = {.bytes = bytes, .way = way, .count = count};
    enum tw_status status = tw_party_tell(&raw->requester, &command, sizeof command, error);
    return status ? status
                  : tw_party_hear(&raw->requester, out, (size_t)count * sizeof *out, error);
}

void tw_raw_end(struct tw_raw *raw) {
    tw_party_end(&raw->requester);
    tw_party_end(&raw->responder);
}
