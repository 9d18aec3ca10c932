/* A decoder with an owner that writes down what it is told.
 *
 * Every frame that completes is encoded again, with its data, to `out`. For a
 * stream in canonical form the record is therefore the stream itself, whatever
 * the splits; for another it is the canonical form of what was meant.
 */
#ifndef TW_TESTS_FRAME_RECORDER_H
#define TW_TESTS_FRAME_RECORDER_H

#include "common/base/text.h"
#include "proto/frame.h"

struct frame_recorder {
    struct tw_decoder decoder;
    struct tw_unpack_arena arena;
    struct tw_text out;
    unsigned frames;
    unsigned asked;           /* calls of on_data */
    unsigned again;           /* on_data says TW_AGAIN so often before each place */
    unsigned again_left;      /* of the frame that is asked for now */
    bool throw_away;          /* on_data gives no place */
    enum tw_status refuse;    /* on_data answers this instead */
    bool stop_after_frame;    /* on_frame answers TW_STOPPED */
    bool give_no_memory;      /* grow answers NULL */
    size_t granted, lent_max; /* of places and of grow, for checks of bounds */
    void *place, *lent;
    struct tw_error error;
};

struct frame_recorder *frame_recorder_new(void);
void frame_recorder_free(struct frame_recorder *recorder);

/* Feeds `bytes` in pieces of at most split(context) bytes (NULL: as many as there
 * is room for); asks again after TW_AGAIN. Ends early with the first final
 * status. */
enum tw_status frame_recorder_feed(struct frame_recorder *recorder, const void *bytes, size_t size,
                                   size_t (*split)(void *), void *context);

#endif
