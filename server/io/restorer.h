/* Begins a run again (the lead; docs/checkpoints.md).
 *
 *   choose: the newest checkpoint that is whole, or the start -> all servers are there -> ROLLBACK
 *   in the log, and to all -> our own shard is filled from the files; the others get their arrays
 *   over their links, chunk by chunk -> workers may join
 *
 * The other side of the links is lead_link.c. Until it is over, whoever joins is told to try again.
 */
#ifndef TW_IO_RESTORER_H
#define TW_IO_RESTORER_H

#include "common/base/status.h"
#include "server/io/restore.h"

struct tw_server;
struct tw_link;

/* The token of a chunk that is on its way to another server. */
#define TW_RESTORER_TOKEN (UINT32_MAX - 1)

struct tw_restorer {
    bool waits;              /* for all servers */
    struct tw_restore *from; /* NULL: the start, or over */
    uint64_t position;       /* of the ROLLBACK */
    struct {
        uint32_t chunk, array;
    } next[TW_SERVERS_MAX]; /* of each server, what is to be sent */
    uint32_t unfinished;
};

/* After the node and the files are there. TW_NO_MEMORY, TW_LIMIT. */
enum tw_status tw_restorer_choose(struct tw_server *server, struct tw_error *error);
/* If all servers are there now. What goes wrong ends the run. */
void tw_restorer_start(struct tw_server *server);
/* A chunk has left to the server of this link. */
void tw_restorer_sent(struct tw_link *link);
void tw_restorer_fini(struct tw_server *server);

#endif
