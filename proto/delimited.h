/* Files that are sequences of varint-delimited protobuf messages, read one after the
 * other: what order.log and trace.log have in common. Used by their readers (order_log.h,
 * trace_log.h); others need only tw_byte_source.
 *
 * Trusts nothing: a file that is cut or corrupt gives its messages up to there, and then
 * a result that stays, which says at which byte, behind how many messages, and why.
 * Memory is bounded whatever the bytes are: that of the window. Opens no file: bytes come
 * from a function.
 */
#ifndef TW_PROTO_DELIMITED_H
#define TW_PROTO_DELIMITED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/status.h"

/* Gives up to `room` bytes of the file that follow the last ones: how many, 0 at
 * the end, -1 when the file cannot be read (then `error` is set). */
typedef ptrdiff_t tw_byte_source(void *context, void *out, size_t room, struct tw_error *error);

struct tw_delimited {
    tw_byte_source *source;
    void *context;
    const char *article, *noun; /* what a message is called in errors: "a", "record" */
    size_t longest;             /* bytes of one, its length in front included */
    unsigned char *window;      /* [room]: read ahead; room >= longest */
    size_t room;
    uint64_t offset, count; /* bytes and number of the messages taken so far */
    size_t at, filled;      /* of the window: what is not yet taken */
    bool ended;             /* the source has nothing more */
    struct tw_error final;  /* the result that stays; TW_OK: none yet */
};

/* Makes values of a message's bytes. TW_DATA with a message: what is wrong with them. */
typedef enum tw_status tw_message_parser(void *context, const unsigned char *bytes, size_t size,
                                         struct tw_error *error);

/* Takes the next message. TW_OK; TW_CLOSED: the file ends here, behind a whole message (no
 * text); TW_DATA: it is cut or corrupt here; what source and parser said. Every result but
 * TW_OK is final. */
enum tw_status tw_delimited_next(struct tw_delimited *reader, tw_message_parser *parse,
                                 void *context, struct tw_error *error);

#endif
