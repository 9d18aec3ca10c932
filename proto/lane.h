/* Lanes: conversations of their own over one connection (docs/protocol.md, "Lanes").
 *
 * Whoever talks to a peer has a lane of a trunk. A trunk is one TCP connection
 * (connection.h) with one lane, number 0, or with more: whoever connected may open
 * further ones once both sides allow it. So several workers of one process share a
 * connection, and what they send at about the same time leaves in one write and is
 * one read, which is most of what small messages cost.
 *
 * Happy path: tw_lane_connect() or, on the other side, tw_trunk_accept() -> lane 0;
 * tw_lane_branch() -> the first frame of the new lane arrives: on_branch -> frames of
 * all lanes, each with its number -> a lane is closed: Shut tells the other side; with
 * the last one the connection is closed.
 * Failure: what is wrong with what is said on a lane ends that lane; what is wrong with
 * the bytes, or the connection, ends all.
 *
 * What lanes share: the queue of what waits to be sent, and reading. A lane whose
 * on_data says TW_AGAIN holds up all others, so its owner must not wait for them.
 *
 * Functions without words here do as those of connection.h do, for one lane: closing is legal in
 * every state, on_closed comes once, from the loop, never from inside another call. A frame that
 * has begun to leave must leave whole, also for a lane that is closed; when the peer does not take
 * it within finish_ms or a little more the connection is closed, with all its lanes.
 */
#ifndef TW_PROTO_LANE_H
#define TW_PROTO_LANE_H

#include "proto/connection.h"

struct tw_lane;
struct tw_trunk;

/* Borrowed by whoever takes them, as long as there are lanes. */
struct tw_lane_events {
    /* Bytes have come, or all that was queued has left: told once, to the first of the lanes that
     * hear of it. What any of them is told until the next one happened at this moment, so a clock
     * that is read for the first serves for all. May be NULL. */
    void (*on_moment)(struct tw_lane *lane);
    /* A status that is neither TW_OK nor TW_AGAIN refuses the lane, and no other. */
    enum tw_status (*on_data)(struct tw_lane *lane, const struct tw_frame *frame, void **place,
                              struct tw_error *error);
    enum tw_status (*on_frame)(struct tw_lane *lane, const struct tw_frame *frame, void *data,
                               struct tw_error *error);
    void (*on_released)(struct tw_lane *lane, void *token);
    /* Everything that was queued on any lane has left for the kernel, some of it of this one. May
     * be NULL. */
    void (*on_drained)(struct tw_lane *lane);
    void (*on_closed)(struct tw_lane *lane, const struct tw_error *error); /* may be freed in it */
    /* The peer has opened another lane of this trunk, which has no context yet: give it one by
     * tw_lane_set_context(), or tw_lane_finish() it. Its first frame follows. NULL: it may not. */
    void (*on_branch)(struct tw_lane *lane, void *owner);
};

typedef void tw_lane_opened(struct tw_lane *lane, enum tw_status status,
                            const struct tw_error *error);

/* The next pending connection of a listening handle, and its lane 0. Lanes that the peer opens
 * have the same events; on_branch gets `owner`. TW_IO, TW_NO_MEMORY: nothing was taken, or the peer
 * has gone again. */
enum tw_status tw_trunk_accept(struct tw_lane **out, uv_stream_t *listener,
                               const struct tw_connection_host *host,
                               const struct tw_lane_events *events, void *context, void *owner,
                               struct tw_error *error);

/* Begins to connect; on_open says how it ended. */
enum tw_status tw_lane_connect(struct tw_lane **out, const struct sockaddr *to,
                               const struct tw_connection_host *host,
                               const struct tw_lane_events *events, void *context,
                               tw_lane_opened *on_open, struct tw_error *error);

/* Another lane of a trunk that this side has connected, or is connecting. on_open comes when it
 * is known that the peer allows it (tw_trunk_allow). TW_NO_MEMORY, TW_LIMIT: see
 * tw_trunk_can_branch(). */
enum tw_status tw_lane_branch(struct tw_lane **out, struct tw_trunk *trunk,
                              const struct tw_lane_events *events, void *context,
                              tw_lane_opened *on_open, struct tw_error *error);

/* How many lanes this trunk may ever have, at most TW_LANES_MAX: as the peer says, or as it is
 * allowed; the first time counts. Until then it has one. Those that wait for it and are too many
 * are lost (TW_AGAIN). */
void tw_trunk_allow(struct tw_trunk *trunk, uint32_t lanes);

/* It is not being closed, and has numbers left; that the peer allows them may not be known yet. */
bool tw_trunk_can_branch(const struct tw_trunk *trunk);

/* *keeper is this trunk now, until it is freed, after its last on_closed; then NULL. What it was
 * before is kept no more. */
void tw_trunk_keep(struct tw_trunk *trunk, struct tw_trunk **keeper);

/* Lanes of it that are not closed. */
uint32_t tw_trunk_lanes(const struct tw_trunk *trunk);

struct tw_trunk *tw_lane_trunk(const struct tw_lane *lane);
void *tw_lane_context(const struct tw_lane *lane);
void tw_lane_set_context(struct tw_lane *lane, void *context);
const char *tw_lane_peer(const struct tw_lane *lane); /* the trunk's */

/* Of the frames that come on this lane: those with data, and how large any may be. The size is
 * the trunk's, and the largest of all lanes counts. */
void tw_lane_limit(struct tw_lane *lane, size_t frame_bytes_max, bool data_allowed);

/* Sets frame->lane. */
enum tw_status tw_lane_send(struct tw_lane *lane, struct tw_frame *frame, const void *data,
                            void *token);
void tw_lane_drop_data(struct tw_lane *lane);

/* on_drained comes also if nothing of this lane is in the queue: who holds back because the queue
 * is long. */
void tw_lane_await_drain(struct tw_lane *lane);

/* Of the whole trunk: what is queued leaves in order. */
void tw_lane_flush(struct tw_lane *lane);
bool tw_lane_is_writing(const struct tw_lane *lane);
size_t tw_lane_queued(const struct tw_lane *lane); /* bytes */
size_t tw_lane_frames(const struct tw_lane *lane);

void tw_lane_resume(struct tw_lane *lane);

/* Of a lane that has its trunk for itself. */
void tw_lane_pause(struct tw_lane *lane);
void tw_lane_unpause(struct tw_lane *lane);

void tw_lane_finish(struct tw_lane *lane, enum tw_status status, const char *text);
void tw_lane_close(struct tw_lane *lane);

/* In on_closed, or afterwards. */
void tw_lane_free(struct tw_lane *lane);

#endif
