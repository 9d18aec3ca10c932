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

struct tw_lane {
    struct tw_trunk *trunk;
    uint32_t number;
    enum tw_lane_state state;
    struct tw_lane_events events;
    void *context;
    tw_lane_opened *on_open;
    struct tw_error cause; /* for on_closed; TW_OK: the connection's */
    size_t borrowed;       /* frames with data that are in the queue */
    bool spoke;            /* the peer knows of it */
    uint64_t ending_ms;    /* ENDING since */
    bool data_allowed;
    bool is_called, has_sent; /* in the lists of the trunk */
    struct tw_lane *next_called, *next_sent;
};

struct tw_trunk {
    struct tw_connection *connection;
    uv_loop_t *loop;
    void *owner;             /* for on_branch */
    size_t queue_bytes_each; /* bound of the queue, for each lane */
    uint64_t finish_ms;
    struct tw_trunk **keeper;
    struct tw_lane **lane; /* [room], by number; NULL: it is over, or never was */
    uint32_t room, next;   /* the lowest number that was never used */
    uint32_t most;         /* numbers that may be used */
    uint32_t live;         /* lanes before TW_LANE_ENDING */
    uint32_t lanes;        /* that are not freed */
    bool is_allowed;       /* tw_trunk_allow() was called */
    bool connected, over;  /* over: it is being closed; closed: its on_closed has come */
    bool closed;
    size_t frame_bytes_max;
    bool data_allowed;
    bool is_news;                        /* on_moment is due */
    struct tw_lane *receiving, *waiting; /* tensor bytes are arriving for; said TW_AGAIN */
    struct tw_lane *called, **called_end, *sent, **sent_end;
};

#endif
