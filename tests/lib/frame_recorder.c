#include "tests/lib/frame_recorder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As assert(), in every build: the fuzzer stops here too. */
static void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "frame_recorder: %s\n", what);
        abort();
    }
}

static enum tw_status on_data(void *context, const struct tw_frame *frame, void **place,
                              struct tw_error *error) {
    struct frame_recorder *recorder = context;
    recorder->asked++;
    if (recorder->refuse != TW_OK) {
        return tw_error_set(error, recorder->refuse, "refused by the test");
    }
    if (recorder->again_left > 0) {
        recorder->again_left--;
        return TW_AGAIN;
    }
    recorder->again_left = recorder->again;
    recorder->granted += frame->data_bytes;
    free(recorder->place);
    recorder->place = recorder->throw_away ? NULL : malloc(frame->data_bytes);
    *place = recorder->place;
    return TW_OK;
}

static enum tw_status on_frame(void *context, const struct tw_frame *frame, void *data,
                               struct tw_error *error) {
    struct frame_recorder *recorder = context;
    size_t size = tw_frame_prefix_bytes(frame);
    unsigned char *prefix = malloc(size);
    recorder->frames++;
    size_t written = tw_frame_encode(frame, prefix, size);
    must(written == size, "an encoded frame has the announced size");
    must(data == (frame->data_bytes > 0 ? recorder->place : NULL), "data lies in its place");
    tw_text_add_bytes(&recorder->out, prefix, size);
    if (data != NULL) {
        tw_text_add_bytes(&recorder->out, data, frame->data_bytes);
    }
    free(prefix);
    return recorder->stop_after_frame ? tw_error_set(error, TW_STOPPED, "the test stops") : TW_OK;
}

static void *lend(void *context, size_t bytes) {
    struct frame_recorder *recorder = context;
    recorder->lent_max = bytes > recorder->lent_max ? bytes : recorder->lent_max;
    free(recorder->lent);
    recorder->lent = recorder->give_no_memory ? NULL : malloc(bytes);
    return recorder->lent;
}

struct frame_recorder *frame_recorder_new(void) {
    static const struct tw_decoder_sink sink = {.on_data = on_data, .on_frame = on_frame};
    struct frame_recorder *recorder = calloc(1, sizeof *recorder);
    tw_decoder_init(&recorder->decoder, &sink, recorder, &recorder->arena, lend);
    tw_decoder_limit(&recorder->decoder, TW_FRAME_BYTES_MAX, true);
    return recorder;
}

void frame_recorder_free(struct frame_recorder *recorder) {
    tw_text_fini(&recorder->out);
    free(recorder->place);
    free(recorder->lent);
    free(recorder);
}

/* Other connections read into the same stage: nothing of this one may be there any more. */
static void spoil(struct frame_recorder *recorder, const void *place, size_t bytes) {
    const unsigned char *at = place, *stage = recorder->arena.stage;
    if (at >= stage && at < stage + TW_STAGE_BYTES)
        memset(recorder->arena.stage, 0xdb, bytes);
}

enum tw_status frame_recorder_feed(struct frame_recorder *recorder, const void *bytes, size_t size,
                                   size_t (*split)(void *), void *context) {
    const unsigned char *at = bytes;
    struct tw_decoder *decoder = &recorder->decoder;
    while (size > 0) {
        void *place;
        size_t room;
        tw_decoder_want(decoder, &place, &room);
        must(room > 0, "the decoder wants bytes");
        size_t piece = split != NULL ? split(context) : room;
        piece = piece < room ? piece : room;
        piece = piece < size ? piece : size;
        memcpy(place, at, piece);
        at += piece;
        size -= piece;
        enum tw_status status = tw_decoder_advance(decoder, piece, &recorder->error);
        spoil(recorder, place, piece);
        while (status == TW_AGAIN) {
            tw_decoder_want(decoder, &place, &room);
            must(room == 0, "a decoder that waits wants nothing");
            status = tw_decoder_resume(decoder, &recorder->error);
        }
        if (status != TW_OK) {
            return status;
        }
    }
    return TW_OK;
}
