/* Two connections over loopback on one loop, each with an owner that writes down
 * what it is told; or one of them and a plain socket.
 *
 * Tests run the loop until something has happened, never for a time. When it
 * does not happen within two minutes the program ends with a message.
 */
#ifndef TW_TESTS_CONNECTION_PAIR_H
#define TW_TESTS_CONNECTION_PAIR_H

#include "common/base/text.h"
#include "proto/connection.h"

#define PAIR_TOKENS 4096

struct end {
    struct pair *pair;
    struct tw_connection *connection;
    struct tw_text record; /* every frame, encoded again, with its data */
    unsigned frames, opened, closed, again;
    unsigned released[PAIR_TOKENS]; /* by token */
    unsigned releases, drained, bytes;
    enum tw_status open_status;
    struct tw_error error; /* of on_closed, or of on_open */
    void *place;
    unsigned blocked;      /* on_data says TW_AGAIN while this is not 0 */
    bool free_when_closed; /* else at pair_free() */
    /* Called after the note was taken; may do anything with the connection. */
    void (*when_frame)(struct end *end, const struct tw_frame *frame);
    void (*when_data)(struct end *end);
    void (*when_released)(struct end *end);
    void (*when_open)(struct end *end);
};

struct pair {
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_timer_t guard;
    struct sockaddr_storage address;
    struct tw_unpack_arena arena;
    struct tw_connection_host host; /* change before pair_connect() */
    struct end a, b;                /* a connects, b is accepted */
};

struct pair *pair_new(void);

/* Both ends open. */
void pair_connect(struct pair *pair);

/* Only b, and a blocking plain socket in place of a. */
int pair_connect_socket(struct pair *pair);

/* Makes end a and begins to connect it to `to` (NULL: the listener). */
void pair_begin_connect(struct pair *pair, const struct sockaddr *to);

/* Runs the loop until *count is at least `least`. */
void pair_run_until(struct pair *pair, const unsigned *count, unsigned least);

/* One turn of the loop, without sleeping. */
void pair_turn(struct pair *pair);

/* Closes what is open, runs the loop dry, and checks that nothing is left. */
void pair_free(struct pair *pair);

/* Sends, and notes what should arrive in `expected` (may be NULL). */
enum tw_status end_send(struct end *end, const struct tw_frame *frame, const void *data,
                        size_t token, struct tw_text *expected);

#endif
