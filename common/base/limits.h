/* Every limit of Talweg, in one place (docs/protocol.md §Limits).
 *
 * Over a limit means a named error or backpressure, never growth. A limit that
 * follows from others is asserted below, so that one cannot be moved alone.
 */
#ifndef TW_BASE_LIMITS_H
#define TW_BASE_LIMITS_H

#include <assert.h>
#include <stdint.h>

/* Tensors. A block is the unit of sums and scales, counted from the start of
 * its tensor; a chunk is a whole number of blocks. */
#define TW_BLOCK_BYTES (64u << 10)
#define TW_CHUNK_BYTES_MIN (64u << 10)
#define TW_CHUNK_BYTES_DEFAULT (256u << 10)
#define TW_CHUNK_BYTES_MAX (4u << 20)
#define TW_DIMS_MAX 8
#define TW_NAME_MAX 512                    /* bytes of a tensor's name */
#define TW_ELEMENTS_MAX ((int64_t)1 << 40) /* of one tensor */
#define TW_TENSORS_MAX 1024                /* so that their names and shapes fit into a Join */

/* Cluster. */
#define TW_WORKERS_MAX 4096
#define TW_SLOTS_MAX 4096
#define TW_LOCAL_STEPS_MAX 65536
#define TW_PARTS_MAX 4096 /* that a slot's share of an update is computed in */
#define TW_SERVERS_MAX 64
#define TW_NUMERICS_MAX 128 /* bytes of a numerics id */
#define TW_MODE_MAX 64      /* bytes of a mode with its number */

/* Update rules. */
#define TW_RULE_SCALARS 8    /* numbers of an update that are computed once */
#define TW_GROUPS_MAX 64     /* of tensors */
#define TW_CORRECTIONS_MAX 8 /* for late gradients, stacked */
#define TW_RATES_MAX 8 /* learning rates of one update: the schedule's, and multiples for groups */

/* Operators: people's programs that ask how a run goes. */
#define TW_OPERATORS_MAX 4      /* connected at once */
#define TW_OPERATOR_MS 30000    /* that one may stay without saying anything */
#define TW_STATUS_RANKS_MAX 256 /* ranks in the answer to one Query */

/* Evaluators: who scores the weights, each of them a part of the test data. */
#define TW_EVALUATORS_MAX 64         /* at once: they are numbered, and a set of them is a word */
#define TW_EVALUATION_ROWS 256       /* samples of a batch: parts are whole batches */
#define TW_PORTIONS_EACH 4           /* parts for each evaluator, so that a fast one takes more */
#define TW_PORTIONS_MAX 512          /* parts of one evaluation */
#define TW_TALLY_FITS 90             /* outputs whose sums are in one Tally frame */
#define TW_TALLY_SCORES 3584         /* samples whose scores are: 14 batches */
#define TW_SPREAD_OUTPUTS_MAX 4096   /* real targets of a sample, where parts are put together, */
#define TW_SPREAD_SCORES_MAX 262144u /* and samples of two classes */

/* Wire, before the handshake is over. */
#define TW_HELLO_BYTES_MAX 1024
#define TW_HANDSHAKE_MS 5000
#define TW_PENDING_CONNECTIONS_MAX 64
#define TW_PENDING_PER_ADDRESS_MAX 16
#define TW_UNKNOWN_CONNECTIONS_MAX 1088 /* those and more, whose turn has not come */
#define TW_NONCE_BYTES 32
#define TW_PROOF_BYTES 32
#define TW_TOKEN_BYTES_MIN 16
#define TW_TOKEN_BYTES_MAX 4096

/* Wire, afterwards. */
#define TW_SMALL_FIELDS_MAX (64u << 10) /* all fields of a frame but data */
#define TW_UNPACK_BUDGET (256u << 10)   /* memory that unpacking them may use */
#define TW_FRAME_BYTES_MAX (TW_CHUNK_BYTES_MAX + TW_SMALL_FIELDS_MAX + 16u)
#define TW_LANES_MAX 1024   /* of a connection, all that it ever has */
#define TW_GATHER_FRAMES 64 /* per write call: with these the peer begins, also when more wait */
#define TW_GATHER_BYTES (2u << 20)
#define TW_STALLED_SEND_MS 30000           /* no progress of a send queue */
#define TW_SLOW_WINDOW_MS 10000            /* in mid-frame: at least ... */
#define TW_SLOW_BYTES_PER_S (16u << 10)    /* ... this rate over that window */
#define TW_DEAD_PEER_MS TW_STALLED_SEND_MS /* a machine that answers nothing at all */
#define TW_BACKPRESSURE_MS 86400000   /* that servers may not read a push, for want of memory */
#define TW_CONNECT_MS 5000            /* for a connection to be made */
#define TW_FINISH_MS 1000             /* for last words to leave */
#define TW_READ_TURN_BYTES (2u << 20) /* from one connection before others are served */
#define TW_HEARTBEAT_MS 1000
/* For which a loop polls before it sleeps, where nobody says otherwise. Being woken costs up to
 * 50 us, and until one side polls the other's wait has that in it, too: with less neither
 * would begin. */
#define TW_POLL_US 100
#define TW_POLL_US_MAX 1000

/* A server's patience. */
#define TW_WAITING_MS 10000      /* between two reports of whom an update waits for */
#define TW_STRAGGLER_MS 60000    /* that a step may take before its rank is named */
#define TW_LEAD_MS 30000         /* in which another server must have found the lead */
#define TW_PERMIT_SILENT_MS 5000 /* of a worker with a permit to push, before it is taken back */
#define TW_GOODBYE_MS 2000       /* that peers get at the end to close their side */

/* Files. */
#define TW_JOB_BYTES_MAX (1u << 20)
#define TW_JOB_DEPTH_MAX 16
#define TW_JOB_NODES_MAX 20000
#define TW_JOB_ENTRIES_MAX TW_TENSORS_MAX /* of one mapping or list */
#define TW_JOB_OPTIONS_MAX 64             /* of one optimizer, layer, ... */
#define TW_OPTION_LIST_MAX 64             /* numbers of an option that is a list */
#define TW_JOB_MEMORY_MAX (64u << 20)
#define TW_SAFETENSORS_HEADER_MAX (16u << 20)
#define TW_SAFETENSORS_ENTRIES_MAX (16 * TW_TENSORS_MAX)
#define TW_JOB_EVERY_MAX 1000000000 /* of something that is done every so many updates */

/* Non-finite updates in a row that stop a job; and one that is told to go on: the weights have been
 * the same all the while. */
#define TW_NOT_FINITE_MAX 3
#define TW_NOT_FINITE_ENOUGH 1000

/* The float elements of a block. */
#define TW_BLOCK_FLOATS (TW_BLOCK_BYTES / 4u)

static_assert(TW_CHUNK_BYTES_MIN % TW_BLOCK_BYTES == 0, "chunks are whole blocks");
static_assert(TW_CHUNK_BYTES_DEFAULT % TW_BLOCK_BYTES == 0, "chunks are whole blocks");
static_assert(TW_CHUNK_BYTES_MAX % TW_BLOCK_BYTES == 0, "chunks are whole blocks");
static_assert(TW_HELLO_BYTES_MAX < TW_SMALL_FIELDS_MAX, "a Hello is a small frame");
static_assert(TW_TALLY_SCORES % TW_EVALUATION_ROWS == 0, "parts are whole batches");
static_assert(TW_SPREAD_SCORES_MAX / TW_TALLY_SCORES + 1 + TW_PORTIONS_EACH * TW_EVALUATORS_MAX <=
                  TW_PORTIONS_MAX,
              "every part has a place");
static_assert(TW_SLOTS_MAX >= TW_WORKERS_MAX, "every rank owns a slot");

#endif
