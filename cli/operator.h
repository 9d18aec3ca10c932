/* An operator's connection to the server of a run, for commands that ask a run or
 * change it while it goes on (`talweg status`, `talweg dial`). Blocking: the loop runs
 * inside these calls.
 *
 *     struct tw_operator *asker;
 *     if (tw_operator_open(&asker, run, token, &error) ||
 *         tw_operator_ask(asker, &question, on_answer, context, &error)) ...
 *     tw_operator_free(asker);
 *
 * Happy path: server.json says where -> Hello, Challenge, Proof, Join -> Welcome ->
 * a question, its answers -> Bye. The server is given TW_OPERATOR_PATIENCE_MS for each
 * call. Every failure says which run, what happened, and what can be done:
 *
 *     TW_DATA         no run directory, or a server.json that is damaged
 *     TW_STOPPED      the run is over
 *     TW_UNREACHABLE  its server is gone without having ended the run
 *     TW_SLOW_PEER    its server does not answer
 *     TW_WRONG_TOKEN  the server demands a secret, or another one
 *     and what a Refuse of the server says
 */
#ifndef TW_CLI_OPERATOR_H
#define TW_CLI_OPERATOR_H

#include <stdbool.h>

#include "cli/token.h"
#include "proto/frame.h"

#define TW_OPERATOR_PATIENCE_MS 10000

struct tw_operator;

/* `token`: the shared secret, its size 0 when there is none. */
enum tw_status tw_operator_open(struct tw_operator **out, const char *run,
                                const struct tw_token *token, struct tw_error *error);

/* Sends a frame, and hands what comes in answer to on_answer until that says that it
 * was the last. Frames are valid until it returns. After a failure nothing more can be
 * asked. */
enum tw_status tw_operator_ask(struct tw_operator *asker, const struct tw_frame *question,
                               bool (*on_answer)(void *context, const struct tw_frame *frame),
                               void *context, struct tw_error *error);

/* Says Bye and closes; NULL is fine. */
void tw_operator_free(struct tw_operator *asker);

#endif
