/* Checks of orders that come over a wire, before the shard carries them out. Used by
 * node_server.c; what a lead says to its own shard is not checked. */
#ifndef TW_CORE_ORDER_CHECK_H
#define TW_CORE_ORDER_CHECK_H

#include "server/core/shard.h"

/* A record behind `position`, with all that the shard would assert of it: versions in turn, pushes
 * that are here, in order and not settled, a COMMIT of just what was prepared, nothing taken away
 * that is being summed, modes that the job turns to. TW_UNEXPECTED, TW_MALFORMED, with what is
 * wrong. */
enum tw_status tw_record_check(const struct tw_shard *shard, const struct tw_record *record,
                               uint64_t position, struct tw_error *error);

/* Only pushes that are whole, and one update at a time. Likewise. */
enum tw_status tw_prepare_check(const struct tw_shard *shard, const struct tw_prepare *prepare,
                                struct tw_error *error);

#endif
