/* Lanes over loopback, both sides on one loop, whose owners write down what they are told. Tests
 * run the loop until something has happened, never for a time. */
#ifndef TW_TESTS_LANE_WORLD_H
#define TW_TESTS_LANE_WORLD_H

#include "proto/lane.h"

enum { ENDS = 40, TOKENS = 256, DATA_BYTES = 1 << 20, LARGE_BYTES = 4 << 20, PATIENCE_MS = 120000 };

struct lane_end { /* one side of a lane */
    struct lane_world *world;
    struct tw_lane *lane; /* NULL: it is over, or never was */
    unsigned opened, frames, drained, closed, again, refused;
    enum tw_status open_status;
    struct tw_error error;
    uint64_t nonce[TOKENS]; /* of the Pings that came */
    unsigned released[TOKENS], releases;
    unsigned char *place;
    uint64_t sum;                 /* of the tensor bytes that came */
    bool blocked, refuses, shuts; /* on_data says TW_AGAIN; on_frame an error; closes in on_data */
    bool answers;                 /* a Ping by a Pong, and wants it to leave */
};

/* Lanes of a are those that connect; the nonce of their Hello says which end of b is theirs. */
struct lane_world {
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_timer_t guard;
    struct sockaddr_storage address;
    struct tw_unpack_arena arena;
    struct tw_connection_host host;
    struct lane_end a[ENDS], b[ENDS];
    unsigned accepted, branched, moments_of_a, moments_of_b;
    uint32_t allowed; /* of b, when a Proof comes */
    struct tw_trunk *trunk;
};

extern unsigned char lane_data[LARGE_BYTES]; /* more than one turn of the loop reads */
void lane_fill_data(void);

extern const struct tw_lane_events lane_side_a;

struct lane_world *lane_world_new(void);
/* So many lanes, open on both sides. */
struct lane_world *lane_world_with(int lanes);
/* Closes what is open, and checks that nothing is left. */
void lane_world_free(struct lane_world *world);

/* Runs the loop until *count is at least `least`. */
void lane_until(struct lane_world *world, const unsigned *count, unsigned least);

/* Lane 0 of a; NULL: to the listener of b. Another one. */
void lane_connect_first(struct lane_world *world, const struct sockaddr *to);
void lane_branch_to(struct lane_world *world, int i);
void lane_on_open(struct tw_lane *lane, enum tw_status status, const struct tw_error *error);

void lane_ping(struct lane_end *end, uint64_t nonce);
/* So many bytes of lane_data. */
void lane_push(struct lane_end *end, size_t bytes, size_t token);

#endif
