/* Checks of orders that come over a wire, before the shard carries them out. Used by
 * node_server.c; what a lead says to its own shard is not checked. */
#ifndef TW_CORE_ORDER_CHECK_H
#define TW_CORE_ORDER_CHECK_H

#include "server/core/shard.h"

/* A record behind `position`. TW_UNEXPECTED, TW_MALFORMED, with what is wrong. */
enum tw_status tw_record_check(const struct tw_shard *shard, const struct tw_record *record,
                               uint64_t position, struct tw_error *error);

enum tw_status tw_prepare_check(const struct tw_shard *shard, const struct tw_prepare *prepare,
                                struct tw_error *error);

#endif
