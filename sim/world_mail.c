/* Frames on their way: what is sent, and who gets it.
 *
 * How long it takes is world_net.c's business. A receiver that has no place yet leaves what came,
 * and all that follows, on the wire. What belongs to a connection that is gone is thrown away when
 * it would be delivered; data that a server lent goes back to it then.
 */
#include <stdlib.h>
#include <string.h>

#include "sim/world_state.h"

/* ---- lists ---- */

static bool grow(struct tw_world *world) {
    struct tw_mail_block *block = calloc(1, sizeof(*block));
    if (!block)
        return false;
    block->next = world->blocks;
    world->blocks = block;
    for (int i = TW_MAIL_BLOCK; i-- > 0;) {
        block->mail[i].next = world->free_mail;
        world->free_mail = &block->mail[i];
    }
    return true;
}

struct tw_mail *tw_mail_new(struct tw_world *world, enum tw_mail_kind kind) {
    if (!world->free_mail && !grow(world)) {
        tw_world_fail(world, TW_NO_MEMORY, "out of memory for frames on their way");
        return NULL;
    }
    struct tw_mail *mail = world->free_mail;
    world->free_mail = mail->next;
    mail->next = NULL;
    mail->kind = kind;
    mail->data = NULL;
    mail->frame.data_bytes = 0;
    return mail;
}

void tw_mail_free(struct tw_world *world, struct tw_mail *mail) {
    if (mail->bytes)
        free(mail->bytes);
    mail->bytes = NULL;
    mail->next = world->free_mail;
    world->free_mail = mail;
}

void tw_mail_discard(struct tw_world *world, struct tw_mail *mail) {
    if (mail->data && !mail->up)
        tw_world_server_sent(world, mail->from, mail->token);
    tw_mail_free(world, mail);
}

void tw_mail_add(struct tw_mail_list *list, struct tw_mail *mail) {
    mail->next = NULL;
    if (list->first)
        list->last->next = mail;
    else
        list->first = mail;
    list->last = mail;
}

struct tw_mail *tw_mail_take(struct tw_mail_list *list) {
    struct tw_mail *mail = list->first;
    if (mail)
        list->first = mail->next;
    return mail;
}

void tw_mail_prepend(struct tw_mail_list *to, struct tw_mail_list *list) {
    if (!list->first)
        return;
    list->last->next = to->first;
    if (!to->first)
        to->last = list->last;
    to->first = list->first;
    list->first = NULL;
}

void tw_mail_discard_all(struct tw_world *world, struct tw_mail_list *list) {
    while (list->first)
        tw_mail_discard(world, tw_mail_take(list));
}

/* ---- decoding ---- */

static enum tw_status no_data(void *context, const struct tw_frame *frame, void **place,
                              struct tw_error *error) {
    return tw_error_set(error, TW_INTERNAL, "tensor bytes travel as values here");
}

static enum tw_status on_frame(void *context, const struct tw_frame *frame, void *data,
                               struct tw_error *error) {
    struct tw_world *world = context;
    const struct tw_mail *mail = world->decoding;
    if (mail->up || mail->kind == TW_MAIL_LETTER)
        return tw_world_server_hear(world, mail, frame, NULL, error);
    tw_world_worker_tell(world, world->wire[mail->wire].process,
                         &(struct tw_client_event){.kind = TW_CLIENT_ON_FRAME,
                                                   .link = (int)world->wire[mail->wire].link,
                                                   .frame = frame});
    return TW_OK;
}

static const struct tw_decoder_sink sink = {no_data, on_frame};

static void *grow_decoder(void *context, size_t bytes) {
    struct tw_world *world = context;
    free(world->grown);
    return world->grown = malloc(bytes);
}

void tw_mail_init(struct tw_world *world) {
    tw_decoder_init(&world->decoder, &sink, world, &world->arena, grow_decoder);
    tw_decoder_limit(&world->decoder, TW_FRAME_BYTES_MAX, false);
}

void tw_mail_cut_wires(struct tw_world *world) {
    uint32_t links = world->servers + 1;
    for (uint32_t i = 0; i < world->processes * links; i++)
        world->wire[i] = (struct tw_wire){
            .process = i / links, .link = i % links, .connection = TW_NO_CONNECTION};
}

void tw_mail_fini(struct tw_world *world) {
    while (world->blocks) {
        struct tw_mail_block *block = world->blocks;
        world->blocks = block->next;
        for (int i = 0; i < TW_MAIL_BLOCK; i++)
            free(block->mail[i].bytes);
        free(block);
    }
    free(world->grown);
    world->grown = NULL;
    world->free_mail = world->now.first = NULL;
    world->letters = 0;
}

enum tw_status tw_mail_decode(struct tw_world *world, const struct tw_mail *mail,
                              struct tw_error *error) {
    enum tw_status status = TW_OK;
    world->decoding = mail;
    for (size_t at = 0; status == TW_OK && at < mail->size;) {
        void *place;
        size_t room, left = mail->size - at;
        tw_decoder_want(&world->decoder, &place, &room);
        size_t here = left < room ? left : room;
        memcpy(place, mail->bytes + at, here);
        at += here;
        status = tw_decoder_advance(&world->decoder, here, error);
    }
    if (status != TW_OK)
        tw_mail_init(world); /* the next mail is another stream */
    return status;
}

/* ---- sending ---- */

static bool holds_views(enum tw_body body) {
    switch (body) {
    case TW_BODY_PUSH:
    case TW_BODY_END:
    case TW_BODY_WEIGHTS:
    case TW_BODY_ASK:
    case TW_BODY_EVALUATION:
    case TW_BODY_REGATHER:
    case TW_BODY_PONG:
    case TW_BODY_CANCEL:
        return false;
    default:
        return true;
    }
}

/* The server at the other end of a wire. */
static uint32_t server_of(const struct tw_world *world, uint32_t wire) {
    uint32_t link = world->wire[wire].link;
    return link ? link - 1 : 0;
}

static void post_along(struct tw_world *world, struct tw_mail *mail, uint32_t wire, bool up,
                       uint32_t life) {
    mail->up = up;
    mail->wire = wire;
    mail->life = life;
    mail->from = mail->to = server_of(world, wire);
    tw_net_post(world, mail);
}

void tw_mail_sign(struct tw_world *world, enum tw_mail_kind kind, uint32_t wire, bool up,
                  uint32_t life) {
    struct tw_mail *mail = tw_mail_new(world, kind);
    if (mail)
        post_along(world, mail, wire, up, life);
}

/* The frame as bytes, whose views need not outlive this call. */
static struct tw_mail *encoded(struct tw_world *world, enum tw_mail_kind kind,
                               const struct tw_frame *frame) {
    struct tw_mail *mail = tw_mail_new(world, kind);
    if (!mail)
        return NULL;
    mail->size = tw_frame_prefix_bytes(frame);
    mail->bytes = malloc(mail->size);
    if (!mail->bytes) {
        tw_mail_free(world, mail);
        tw_world_fail(world, TW_NO_MEMORY, "out of memory for a frame");
        return NULL;
    }
    tw_frame_encode(frame, mail->bytes, mail->size);
    return mail;
}

void tw_mail_frame(struct tw_world *world, uint32_t wire, bool up, const struct tw_frame *frame,
                   const void *data, uint32_t token) {
    const struct tw_wire *at = &world->wire[wire];
    struct tw_mail *mail;
    if (holds_views(frame->body)) {
        mail = encoded(world, TW_MAIL_BYTES, frame);
    } else {
        mail = tw_mail_new(world, TW_MAIL_FRAME);
        if (mail)
            mail->frame = *frame;
    }
    if (!mail)
        return;
    mail->data = data;
    mail->token = token;
    post_along(world, mail, wire, up, up ? at->life : at->node_life);
}

void tw_mail_letter(struct tw_world *world, uint32_t from, uint32_t to,
                    const struct tw_frame *frame) {
    struct tw_mail *mail = encoded(world, TW_MAIL_LETTER, frame);
    if (!mail)
        return;
    mail->from = from;
    mail->to = to;
    world->letters++;
    tw_net_post(world, mail);
}

void tw_mail_deliver(struct tw_world *world, struct tw_mail *mail) {
    if (mail->kind == TW_MAIL_LETTER)
        tw_world_server_letter(world, mail);
    else if (mail->life != world->wire[mail->wire].life)
        tw_mail_discard(world, mail);
    else if (mail->up)
        tw_world_server_mail(world, mail);
    else
        tw_world_worker_mail(world, mail);
}
