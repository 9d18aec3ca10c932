/* What the files of the client core share with each other, and with nobody else:
 * client.c (events, application), client_link.c (connections), client_frame.c
 * (frames on them), client_set.c (weights), client_push.c (gradients).
 */
#ifndef TW_CORE_CLIENT_PARTS_H
#define TW_CORE_CLIENT_PARTS_H

#include "worker/core/client.h"

/* One step in progress: its inputs and outputs. */
struct tw_client_turn {
    struct tw_client *client;
    const struct tw_client_event *event;
    struct tw_client_effects *effects;
    struct tw_error *error;
};

/* ---- client.c ---- */

/* Moves to another phase or work; asserts that the table allows it. */
void tw_client_set_phase(struct tw_client *client, enum tw_client_phase phase);
void tw_client_set_work(struct tw_client *client, enum tw_client_work work);

/* Ends the client FAILED, with client->error as it was set. Returns its status. */
enum tw_status tw_client_fail(struct tw_client *client, enum tw_client_ending ending);

/* Sets the message ("SERVER: text") and fails with VIOLATION; also into `error`. */
enum tw_status tw_client_violation(struct tw_client *client, struct tw_error *error,
                                   enum tw_status status, const char *format, ...)
    __attribute__((cold, format(printf, 4, 5)));

/* For the next weights, or the next portion; nothing unless JOINED. */
void tw_client_send_ask(struct tw_client_turn *turn);

/* ---- client_link.c ---- */

void tw_client_send(struct tw_client_turn *turn, int link, const struct tw_frame *frame);
void tw_client_open(struct tw_client_turn *turn, int link);
void tw_client_close(struct tw_client_turn *turn, int link);
void tw_client_close_all(struct tw_client_turn *turn, int from_link);

/* The try, or the membership, is over because of `lost`: all connections will be made
 * again, or the client gives up. */
void tw_client_interrupt(struct tw_client_turn *turn, int lost, const char *cause);
void tw_client_begin_try(struct tw_client_turn *turn);
void tw_client_on_opened(struct tw_client_turn *turn);
void tw_client_on_lost(struct tw_client_turn *turn);
void tw_client_on_tick(struct tw_client_turn *turn);
bool tw_client_may_pass(enum tw_status status);

/* A Ping, with what was measured since the last one. */
void tw_client_send_ping(struct tw_client_turn *turn);

/* All links are ready: what an interruption left undone is done again. */
void tw_client_on_joined(struct tw_client_turn *turn);

/* ---- client_frame.c ---- */

enum tw_status tw_client_on_frame(struct tw_client_turn *turn);

/* ---- client_set.c ---- */

enum tw_status tw_client_on_weights(struct tw_client_turn *turn);

/* A Portion, on control. */
enum tw_status tw_client_on_portion(struct tw_client_turn *turn);

/* What had arrived of a set that will never be complete. */
void tw_client_forget_set(struct tw_client *client);

/* Nothing is arriving, or only what belongs to a step that is over. */
bool tw_client_set_is_over(const struct tw_client *client);

enum tw_status tw_client_on_begin(struct tw_client_turn *turn);
enum tw_status tw_client_on_want(struct tw_client_turn *turn);

/* ---- client_push.c ---- */

/* Cuts the layout into segments; the layout is that of the Welcome. */
void tw_client_make_segments(struct tw_client *client);

/* A push of step held.step begins: nothing of it is here yet. */
void tw_client_begin_push(struct tw_client *client);

/* Everything that was pushed so far will be handed out again. */
void tw_client_rewind_push(struct tw_client *client);
void tw_client_rewind_shard(struct tw_client *client, uint32_t shard);

enum tw_status tw_client_on_push(struct tw_client_turn *turn);
enum tw_status tw_client_on_end(struct tw_client_turn *turn);

#endif
