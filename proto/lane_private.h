/* The inside of lanes: lane.c (their life), lane_use.c. Private to proto/.
 *
 *     OPENING (connecting, or not allowed yet) -> OPEN -> ENDING -> CLOSED (on_closed was called)
 *
 * ENDING: frames of it that have data may still be in the queue; what comes is thrown away.
 * A number is never used twice, so that frames of a lane that is over are known as such. */
#ifndef TW_PROTO_LANE_PRIVATE_H
#define TW_PROTO_LANE_PRIVATE_H

#include "proto/lane.h"

enum tw_lane_state { TW_LANE_OPENING, TW_LANE_OPEN, TW_LANE_ENDING, TW_LANE_CLOSED };

struct tw_lane { /* what every frame touches comes first */
    struct tw_trunk *trunk;
    const struct tw_lane_events *events;
    void *context;
    uint32_t number;
    enum tw_lane_state state;
    bool data_allowed, spoke; /* spoke: the peer knows of it */
    bool is_called, has_sent; /* in the lists of the trunk */
    size_t borrowed;          /* frames with data that are in the queue */
    struct tw_lane *next_sent, *next_called;
    tw_lane_opened *on_open;
    uint64_t ending_ms;   /* ENDING since */
    enum tw_status cause; /* for on_closed; TW_OK: the connection's */
    char *why;            /* its text, of the heap; NULL: there was no memory for it */
};

struct tw_trunk {
    struct tw_connection *connection;
    struct tw_lane **lane;               /* [room], by number; NULL: it is over, or never was */
    struct tw_lane *only[1];             /* `lane`, as long as it has no second one */
    struct tw_lane *receiving, *waiting; /* tensor bytes are arriving for; said TW_AGAIN */
    uint32_t room, next;                 /* next: the lowest number that was never used */
    uint32_t most;                       /* numbers that may be used */
    uint32_t live;                       /* lanes before TW_LANE_ENDING */
    uint32_t lanes;                      /* that are not freed */
    bool is_news;                        /* on_moment is due */
    bool is_allowed;                     /* tw_trunk_allow() was called */
    bool connected, over;                /* over: it is being closed; */
    bool closed;                         /* its on_closed has come */
    bool data_allowed;
    struct tw_lane *called, **called_end, *sent, **sent_end;
    uv_loop_t *loop;
    void *owner;             /* for on_branch */
    size_t queue_bytes_each; /* bound of the queue, for each lane */
    uint64_t finish_ms;
    struct tw_trunk **keeper;
    size_t frame_bytes_max;
};

#endif
