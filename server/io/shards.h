/* The lead's side of the other servers: orders to them, the news of them, and their part
 * of the model at the end. One server alone goes the same way with nobody to ask. */
#ifndef TW_IO_SHARDS_H
#define TW_IO_SHARDS_H

#include "common/tensor/safetensors.h"
#include "server/core/letters.h"

struct tw_server;
struct tw_link;

struct tw_shards {
    struct tw_order_outbox *outbox; /* NULL: one server */
    struct tw_safetensors file;     /* the model, while it is collected */
    bool collecting;
    bool averages;           /* it is that of the averaged weights, which comes second */
    uint32_t from;           /* server whose weights are coming */
    uint32_t next_chunk;     /* the next to be written */
    struct tw_sample sample; /* hash of the weights so far */
    uint32_t silent_ms;      /* nothing has come for so long */
    float *chunk;            /* [chunk_bytes / 4] where they arrive */
    struct tw_error lost;    /* of a server, and with it the run; TW_OK: none is */
};

/* TW_NO_MEMORY. */
enum tw_status tw_shards_init(struct tw_server *server, struct tw_error *error);
void tw_shards_fini(struct tw_server *server);

/* The link of another server; NULL: it is not here. */
struct tw_link *tw_shards_link(const struct tw_server *server, uint32_t index);

/* Queues an order of the sequencer for all other servers. */
void tw_shards_order(struct tw_server *server, const struct tw_node_order *order);

/* A server has come, or is lost: then `lost` is set. */
void tw_shards_event(struct tw_server *server, const struct tw_node_event *event);

/* Writes the model, and that of averaged weights if the job has them, server by server;
 * tw_server_collected() follows, perhaps at once. */
void tw_shards_collect(struct tw_server *server);
/* Weights that arrive for it, as on_data and on_frame of a connection. */
enum tw_status tw_shards_place(struct tw_link *link, const struct tw_frame *frame, void **place,
                               struct tw_error *error);
enum tw_status tw_shards_arrived(struct tw_link *link, struct tw_error *error);
void tw_shards_tick(struct tw_server *server, uint32_t passed_ms);

#endif
