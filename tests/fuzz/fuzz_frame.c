/* Fuzz target of the frame decoder.
 *
 * Input: one byte of flags, one that seeds the splits, then the stream, in which
 * EE n stands for n times 128 zeros (so that small inputs reach the slow path).
 * What must hold:
 *   - the splits change nothing: neither the frames nor the status;
 *   - memory stays within the limit of the frame;
 *   - what was decoded can be encoded, decoded again, and is the same;
 *   - a final status comes with a message.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "tests/lib/frame_recorder.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

enum {
    FLAG_DATA = 1,
    FLAG_THROW_AWAY = 2,
    FLAG_AGAIN = 12, /* two bits */
    FLAG_NO_MEMORY = 16,
    FLAG_SMALL = 32,
    FLAG_STOP = 64,
};

#define STREAM_MAX (1u << 20)
#define ESCAPE 0xee
#define ESCAPE_UNIT 128

static void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "fuzz_frame: %s\n", what);
        abort();
    }
}

static void expand(const uint8_t *input, size_t size, struct tw_text *stream) {
    static const unsigned char zeros[255 * ESCAPE_UNIT];
    for (size_t i = 0; i < size && stream->size < STREAM_MAX; i++) {
        if (input[i] == ESCAPE && i + 1 < size) {
            tw_text_add_bytes(stream, zeros, (size_t)input[++i] * ESCAPE_UNIT);
        } else {
            tw_text_add_bytes(stream, &input[i], 1);
        }
    }
}

static struct frame_recorder *make_recorder(unsigned flags) {
    struct frame_recorder *recorder = frame_recorder_new();
    recorder->throw_away = (flags & FLAG_THROW_AWAY) != 0;
    recorder->again = recorder->again_left = (flags & FLAG_AGAIN) >> 2;
    recorder->give_no_memory = (flags & FLAG_NO_MEMORY) != 0;
    recorder->stop_after_frame = (flags & FLAG_STOP) != 0;
    tw_decoder_limit(&recorder->decoder, flags & FLAG_SMALL ? TW_HELLO_BYTES_MAX : 1u << 18,
                     (flags & FLAG_DATA) != 0);
    return recorder;
}

static size_t split(void *context) {
    struct tw_rng *rng = context;
    static const uint64_t most[] = {1, 3, 40, 1000, 40000};
    return 1 + (size_t)tw_rng_below(rng, most[tw_rng_below(rng, 5)]);
}

/* Feeds the record of `first` to a decoder without limits: the same comes out. */
static void check_again(const struct frame_recorder *first) {
    struct frame_recorder *again = frame_recorder_new();
    enum tw_status status = frame_recorder_feed(again, first->out.at, first->out.size, NULL, NULL);
    must(status == TW_OK, "what was encoded can be decoded");
    must(again->frames == first->frames, "no frame is lost");
    must(again->out.size == first->out.size &&
             (again->out.size == 0 || memcmp(again->out.at, first->out.at, again->out.size) == 0),
         "encoding is the same again");
    frame_recorder_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    if (size < 2) {
        return 0;
    }
    struct tw_rng rng;
    struct tw_text stream = {0};
    struct frame_recorder *whole = make_recorder(input[0]);
    struct frame_recorder *pieces = make_recorder(input[0]);
    expand(input + 2, size - 2, &stream);
    tw_rng_init(&rng, input[1], TW_STREAM_DELAY, 0, 0);

    enum tw_status status = frame_recorder_feed(whole, stream.at, stream.size, NULL, NULL);
    enum tw_status split_status = frame_recorder_feed(pieces, stream.at, stream.size, split, &rng);
    must(status == split_status, "splits do not change the status");
    /* Before the first frame, what the peer may be is guessed from what is there. */
    must(whole->frames == 0 || strcmp(whole->error.text, pieces->error.text) == 0,
         "nor the message");
    must(whole->frames == pieces->frames, "nor the number of frames");
    must(whole->out.size == pieces->out.size &&
             (whole->out.size == 0 || memcmp(whole->out.at, pieces->out.at, whole->out.size) == 0),
         "nor the frames");
    must(status == TW_OK || whole->error.text[0] != '\0', "a final status has a message");
    must(whole->lent_max <= 1u << 18 && pieces->lent_max <= 1u << 18, "memory is bounded");
    must(whole->granted <= stream.size + (1u << 18), "places are bounded");
    if (!whole->throw_away) {
        check_again(whole);
    }
    frame_recorder_free(whole);
    frame_recorder_free(pieces);
    tw_text_fini(&stream);
    return 0;
}
