/* The link of a server that is not the lead to the one that is.
 *
 * Happy path: connect (and try again for a while: the lead may start later) -> Hello, Challenge,
 * Proof, Serve -> Served -> votes go up, orders come down, a Ping every second (and, where there
 * are checkpoints, chunks of them up; of a run that is begun again, chunks down) -> Collect: the
 * final weights go up -> Stop: over.
 * Failure: a try that fails, or gets no answer, is made again for a while. Once Served, whatever
 * ends the link ends this server: without the order there is nothing that it could do.
 */
#ifndef TW_IO_LEAD_LINK_H
#define TW_IO_LEAD_LINK_H

#include "common/net/address.h"
#include "proto/connection.h"
#include "server/core/letters.h"

struct tw_server;

enum tw_lead_phase {
    TW_LEAD_AWAY,
    TW_LEAD_GREETING,
    TW_LEAD_ENTERING,
    TW_LEAD_SERVING,
    TW_LEAD_OVER
};

struct tw_lead_link {
    struct tw_connection *connection; /* NULL: none */
    enum tw_lead_phase phase;
    struct tw_address_round at;
    uint64_t since_ms;         /* of trying */
    uint64_t next_ms;          /* of the next try or Ping; the present try ends without an answer */
    char cause[TW_ERROR_TEXT]; /* of the last failed try */
    char address[TW_SERVER_ADDRESS]; /* where we are found */
    uint8_t nonce[TW_NONCE_BYTES], proof[TW_PROOF_BYTES], layout[TW_DIGEST_BYTES];
    struct tw_order_inbox *inbox;
    struct {
        uint64_t position;
        uint32_t chunk, array, end; /* the next to go; behind the last that may */
        bool on_its_way;
    } save; /* of a checkpoint */
    struct {
        bool on;
        uint32_t chunk, array; /* the next to come */
    } fill;                    /* the lead brings us the arrays of a checkpoint */
    bool collecting;           /* the lead wants our weights as soon as all work is done, */
    bool collects_average;     /* ... or their average */
    uint64_t pings;
};

/* Where workers find us, if we are told; else as we listen. TW_NO_MEMORY; TW_USAGE: the
 * lead's address. */
enum tw_status tw_lead_init(struct tw_server *server, const struct sockaddr *listens,
                            struct tw_error *error);
void tw_lead_fini(struct tw_server *server);

void tw_lead_tick(struct tw_server *server);
void tw_lead_vote(struct tw_server *server, const struct tw_node_vote *vote);
void tw_lead_flush(struct tw_server *server);
/* Our shard has reached a CHECKPOINT with this chunk: it goes to the lead, behind those before. */
void tw_lead_save(struct tw_server *server, const struct tw_shard_save *save);
/* All work is done: what the lead wants then. */
void tw_lead_idle(struct tw_server *server);
/* Ends this server: Bye to the lead, and the result. */
void tw_lead_leave(struct tw_server *server, enum tw_status status, const char *text);
void tw_lead_close(struct tw_server *server);

#endif
