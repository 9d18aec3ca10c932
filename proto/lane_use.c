/* What the owner of a lane does with it: see lane.h. */
#include <assert.h>

#include "proto/lane_private.h"

struct tw_trunk *tw_lane_trunk(const struct tw_lane *lane) {
    return lane->trunk;
}

void *tw_lane_context(const struct tw_lane *lane) {
    return lane->context;
}

void tw_lane_set_context(struct tw_lane *lane, void *context) {
    lane->context = context;
}

const char *tw_lane_peer(const struct tw_lane *lane) {
    return tw_connection_peer(lane->trunk->connection);
}

void tw_lane_limit(struct tw_lane *lane, size_t frame_bytes_max, bool data_allowed) {
    struct tw_trunk *trunk = lane->trunk;
    lane->data_allowed = data_allowed;
    trunk->data_allowed |= data_allowed;
    if (frame_bytes_max > trunk->frame_bytes_max)
        trunk->frame_bytes_max = frame_bytes_max;
    tw_connection_limit(trunk->connection, trunk->frame_bytes_max, trunk->data_allowed);
}

void tw_lane_await_drain(struct tw_lane *lane) {
    struct tw_trunk *trunk = lane->trunk;
    if (lane->has_sent || lane->events->on_drained == NULL)
        return;
    lane->has_sent = true;
    lane->next_sent = NULL;
    *trunk->sent_end = lane;
    trunk->sent_end = &lane->next_sent;
}

enum tw_status tw_lane_send(struct tw_lane *lane, struct tw_frame *frame, const void *data,
                            void *token) {
    /* Lane 0 may speak while it is still connecting: it is first whatever comes. */
    if (lane->state >= TW_LANE_ENDING || (lane->state == TW_LANE_OPENING && lane->number > 0))
        return TW_CLOSED;
    frame->lane = lane->number;
    enum tw_status status = tw_connection_send(lane->trunk->connection, frame, data, token);
    if (status == TW_OK) {
        lane->borrowed += frame->data_bytes > 0;
        lane->spoke = true;
        tw_lane_await_drain(lane);
    }
    return status;
}

void tw_lane_drop_data(struct tw_lane *lane) {
    if (lane->borrowed > 0) /* the queue of all lanes may be long */
        tw_connection_drop_data(lane->trunk->connection, lane->number);
}

/* Of many lanes that are flushed one after the other the first one has done it for all. */
void tw_lane_flush(struct tw_lane *lane) {
    if (tw_lane_queued(lane) > 0)
        tw_connection_flush(lane->trunk->connection);
}

bool tw_lane_is_writing(const struct tw_lane *lane) {
    return tw_connection_is_writing(lane->trunk->connection);
}

size_t tw_lane_queued(const struct tw_lane *lane) {
    return tw_connection_queued(lane->trunk->connection);
}

size_t tw_lane_frames(const struct tw_lane *lane) {
    return tw_connection_frames(lane->trunk->connection);
}

void tw_lane_resume(struct tw_lane *lane) {
    if (lane->trunk->waiting == lane || lane->trunk->waiting == NULL)
        tw_connection_resume(lane->trunk->connection);
}

void tw_lane_pause(struct tw_lane *lane) {
    assert(lane->trunk->lanes == 1);
    tw_connection_pause(lane->trunk->connection);
}

void tw_lane_unpause(struct tw_lane *lane) {
    assert(lane->trunk->lanes == 1);
    tw_connection_unpause(lane->trunk->connection);
}
