/* The yardstick of `talweg bench wire`: two processes that do nothing but blocking send()
 * and recv() between warm buffers, over loopback, with the socket options of a Talweg
 * connection. Pinned as Talweg's processes are. Used by bench_*.c only. */
#ifndef TW_CLI_BENCH_RAW_H
#define TW_CLI_BENCH_RAW_H

#include <netinet/in.h>

#include "cli/bench.h"
#include "cli/party.h"

enum tw_raw_way {
    TW_RAW_THERE, /* `bytes` to the responder, one byte back */
    TW_RAW_BACK,  /* one byte there, `bytes` back */
    TW_RAW_BOTH,  /* `bytes` there, then `bytes` back */
    TW_RAW_WAYS
};

struct tw_raw {
    struct tw_party responder, requester;
};

/* For messages of up to `bytes`. TW_IO; after a failure there is nothing to end. */
enum tw_status tw_raw_start(struct tw_raw *raw, uint64_t bytes,
                            const struct tw_bench_options *options, struct tw_error *error);

/* `count` messages, one after the other; seconds of each into out[count]. */
enum tw_status tw_raw_measure(struct tw_raw *raw, enum tw_raw_way way, uint64_t bytes, int count,
                              double *out, struct tw_error *error);

void tw_raw_end(struct tw_raw *raw);

/* ---- what all yardsticks stand on ---- */

/* A listening socket on loopback, for the caller to close, and where it listens; -1: TW_IO. */
int tw_raw_listen(struct sockaddr_in *address, struct tw_error *error);

/* Those of a Talweg connection. */
void tw_raw_set_options(int fd);

/* Warm: every page is there before it is measured. For the caller to free; NULL: out of memory. */
char *tw_raw_buffer(uint64_t bytes);

#endif
