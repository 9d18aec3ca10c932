/* The decoder: see frame.h. States of a stream:
 *
 *     LENGTH -> FIELDS -> (frame without data: on_frame) -> LENGTH
 *                  \-> ASK -> on_data: a place -> DATA -> on_frame -> LENGTH
 *                       \-> on_data: TW_AGAIN, waits for tw_decoder_resume()
 *     any -> FAILED, for ever
 *
 * In LENGTH and FIELDS bytes go into a stage, or, once the frame turned out to
 * need it, into `whole`; in DATA they go into the owner's place, or, when the
 * owner wants them thrown away, into the arena's stage, where they are forgotten.
 */
#include <string.h>

#include "proto/frame_pack.h"
#include "proto/frame_scan.h"
#include "proto/varint.h"

enum state { STATE_LENGTH, STATE_FIELDS, STATE_ASK, STATE_DATA, STATE_FAILED };

/* The length in front of a frame; protobuf allows no frame above 2 GiB. */
#define LENGTH_BYTES_MAX 5

/* After a frame with large data probably comes another: reading this little
 * leaves nearly all of its tensor bytes to be received in place. */
#define SMALL_READ_BYTES 512u
#define LARGE_DATA_BYTES (TW_STAGE_BYTES / 2)

void tw_decoder_init(struct tw_decoder *decoder, const struct tw_decoder_sink *sink, void *context,
                     struct tw_unpack_arena *arena, void *(*grow)(void *, size_t)) {
    memset(decoder, 0, offsetof(struct tw_decoder, stage));
    decoder->sink = sink;
    decoder->context = context;
    decoder->arena = arena;
    decoder->grow = grow;
    decoder->from = decoder->stage;
    decoder->state = STATE_LENGTH;
    tw_decoder_limit(decoder, TW_HELLO_BYTES_MAX, false);
}

void tw_decoder_limit(struct tw_decoder *decoder, size_t frame_bytes_max, bool data_allowed) {
    decoder->frame_bytes_max = frame_bytes_max;
    decoder->data_allowed = data_allowed;
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Behind what is left over, or with the arena's. */
static unsigned char *next_stage(struct tw_decoder *decoder) {
    return decoder->stage_end > 0 ? decoder->from : decoder->arena->stage;
}

void tw_decoder_want(struct tw_decoder *decoder, void **at, size_t *room) {
    *at = decoder->arena->stage;
    *room = 0;
    switch ((enum state)decoder->state) {
    case STATE_LENGTH:
    case STATE_FIELDS:
        if (decoder->collecting) {
            *at = decoder->whole + decoder->frame_seen;
            *room = decoder->scan.frame_bytes - decoder->frame_seen;
        } else {
            size_t end = decoder->after_data && decoder->stage_end < SMALL_READ_BYTES
                             ? SMALL_READ_BYTES
                             : TW_STAGE_BYTES;
            *at = next_stage(decoder) + decoder->stage_end;
            *room = end - decoder->stage_end;
        }
        break;
    case STATE_DATA:
        if (decoder->place != NULL) {
            *at = decoder->place + (decoder->frame.data_bytes - decoder->data_left);
            *room = decoder->data_left;
        } else {
            *room = smaller(decoder->data_left, TW_STAGE_BYTES);
        }
        break;
    case STATE_ASK:
    case STATE_FAILED:
        break;
    }
}

/* The first bytes of protocols that people connect by mistake. */
static const struct {
    const char *bytes, *name;
} strangers[] = {
    {"GET ", "HTTP"}, {"POST ", "HTTP"},   {"HEAD ", "HTTP"},
    {"PUT ", "HTTP"}, {"HTTP/", "HTTP"},   {"OPTIONS ", "HTTP"},
    {"SSH-", "SSH"},  {"\x16\x03", "TLS"}, {"\x15\x03", "TLS"},
};

/* The stream ends. When it was wrong from its very start, says what it may be. */
static enum tw_status fail(struct tw_decoder *decoder, struct tw_error *error) {
    decoder->state = STATE_FAILED;
    decoder->failed = error->status;
    if (decoder->begun) {
        return error->status;
    }
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        size_t compared = smaller(decoder->first_bytes, strlen(strangers[i].bytes));
        if (compared >= 2 && memcmp(decoder->first, strangers[i].bytes, compared) == 0) {
            return tw_error_set(error, error->status,
                                "the peer speaks %s, not the protocol of Talweg: wrong port?",
                                strangers[i].name);
        }
    }
    return tw_error_wrap(error, "the peer's first bytes are not those of Talweg (wrong port?)");
}

/* Reads the length in front of a frame. TW_AGAIN: it is not here yet. */
static enum tw_status take_length(struct tw_decoder *decoder, struct tw_error *error) {
    const unsigned char *start = decoder->from + decoder->stage_at;
    size_t have = decoder->stage_end - decoder->stage_at;
    uint64_t length;
    int taken = tw_varint_get(start, have, LENGTH_BYTES_MAX, &length);
    if (taken == TW_VARINT_SHORT) {
        return TW_AGAIN;
    }
    if (taken == TW_VARINT_OVERLONG) {
        tw_error_set(error, TW_MALFORMED, "a frame length of more than %d bytes", LENGTH_BYTES_MAX);
        return fail(decoder, error);
    }
    if (length == 0) {
        tw_error_set(error, TW_MALFORMED, "a frame of 0 bytes");
        return fail(decoder, error);
    }
    if (length > decoder->frame_bytes_max) {
        tw_error_set(error, TW_LIMIT, "a frame of %llu bytes; at most %zu are allowed",
                     (unsigned long long)length, decoder->frame_bytes_max);
        return fail(decoder, error);
    }
    decoder->stage_at += (size_t)taken;
    tw_scan_begin(&decoder->scan, (size_t)length, decoder->data_allowed);
    decoder->state = STATE_FIELDS;
    return TW_OK;
}

/* Moves the frame, as far as it is here, from the stage into `whole`. */
static enum tw_status begin_collecting(struct tw_decoder *decoder, struct tw_error *error) {
    size_t bytes = decoder->scan.frame_bytes;
    if (decoder->whole_room < bytes) {
        decoder->whole = decoder->grow(decoder->context, bytes);
        decoder->whole_room = decoder->whole != NULL ? bytes : 0;
        if (decoder->whole == NULL) {
            tw_error_set(error, TW_NO_MEMORY, "no memory for a frame of %zu bytes", bytes);
            return fail(decoder, error);
        }
    }
    decoder->frame_seen = decoder->stage_end - decoder->stage_at;
    memcpy(decoder->whole, decoder->from + decoder->stage_at, decoder->frame_seen);
    decoder->stage_at = decoder->stage_end;
    decoder->collecting = true;
    return TW_OK;
}

static enum tw_status no_body(const struct tw_scan *scan, struct tw_error *error) {
    return scan->stranger == 0
               ? tw_error_set(error, TW_MALFORMED, "a frame of %zu bytes without a body",
                              scan->frame_bytes)
               : tw_error_set(error, TW_MALFORMED,
                              "a frame whose body has the number %u, which protocol %u does "
                              "not know",
                              scan->stranger, TW_PROTOCOL_MAX);
}

/* The small fields in one piece: they stand so in the frame, unless some follow data; then they are
 * laid end to end in the arena first. */
static enum tw_status unpack_any(struct tw_decoder *decoder, const unsigned char *bytes,
                                 struct tw_error *error) {
    const struct tw_scan *scan = &decoder->scan;
    const unsigned char *small = bytes;
    if (scan->data_fields > 0 && scan->small_bytes > scan->before_data) {
        unsigned char *copy = tw_unpack_arena_take(decoder->arena, scan->small_bytes);
        tw_scan_gather(scan, bytes, copy); /* fits: small fields are limited to less */
        small = copy;
    }
    return tw_frame_unpack(decoder->arena, small, scan->small_bytes,
                           tw_body_name((enum tw_body)scan->body), &decoder->frame, error);
}

static enum tw_status unpack(struct tw_decoder *decoder, const unsigned char *bytes,
                             struct tw_error *error) {
    const struct tw_scan *scan = &decoder->scan;
    struct tw_frame *frame = &decoder->frame;
    if (scan->body == 0)
        return no_body(scan, error);
    decoder->arena->used = 0;
    if (!tw_frame_unpack_plain(decoder->arena, scan, bytes, frame)) {
        decoder->arena->used = 0;
        enum tw_status status = unpack_any(decoder, bytes, error);
        if (status != TW_OK)
            return status;
    }
    frame->data_bytes = scan->data_bytes;
    if (frame->data_bytes > 0 && frame->body != TW_BODY_PUSH && frame->body != TW_BODY_WEIGHTS)
        return tw_error_set(error, TW_UNEXPECTED, "%zu tensor bytes in a frame of kind %s",
                            frame->data_bytes, tw_body_name(frame->body));
    return TW_OK;
}

static_assert(TW_SMALL_FIELDS_MAX < TW_UNPACK_BUDGET, "the arena can hold all small fields");

/* All small fields are here, in the first `have` bytes of the frame. */
static enum tw_status begin_frame(struct tw_decoder *decoder, const unsigned char *bytes,
                                  size_t have, struct tw_error *error) {
    if (unpack(decoder, bytes, error) != TW_OK) {
        return fail(decoder, error);
    }
    decoder->begun = true;
    size_t data_at = decoder->frame.data_bytes > 0 ? decoder->scan.data_at : have;
    decoder->held = bytes + data_at;
    decoder->held_bytes = smaller(have - data_at, decoder->frame.data_bytes);
    decoder->place = NULL;
    decoder->data_left = decoder->frame.data_bytes;
    if (!decoder->collecting) {
        decoder->stage_at += have;
    }
    decoder->state = decoder->frame.data_bytes > 0 ? STATE_ASK : STATE_DATA;
    return TW_OK;
}

/* TW_AGAIN: bytes are missing. */
static enum tw_status take_fields(struct tw_decoder *decoder, struct tw_error *error) {
    const unsigned char *bytes = decoder->whole;
    size_t have = decoder->frame_seen;
    if (!decoder->collecting) {
        bytes = decoder->from + decoder->stage_at;
        have = smaller(decoder->stage_end - decoder->stage_at, decoder->scan.frame_bytes);
    }
    switch (tw_scan_go_on(&decoder->scan, bytes, have, error)) {
    case TW_SCAN_FAILED:
        return fail(decoder, error);
    case TW_SCAN_STANDARD:
    case TW_SCAN_COMPLETE:
        return begin_frame(decoder, bytes, have, error);
    case TW_SCAN_MORE:
        break;
    }
    if (!decoder->collecting && tw_scan_needs(&decoder->scan) > TW_STAGE_BYTES) {
        enum tw_status status = begin_collecting(decoder, error);
        return status == TW_OK ? TW_AGAIN : status;
    }
    return TW_AGAIN;
}

/* Asks the owner where the tensor bytes belong, and puts there what is held. */
static enum tw_status ask_place(struct tw_decoder *decoder, struct tw_error *error) {
    void *place = NULL;
    enum tw_status status =
        decoder->sink->on_data(decoder->context, &decoder->frame, &place, error);
    if (status == TW_AGAIN) {
        return TW_AGAIN;
    }
    if (status != TW_OK) {
        error->status = status;
        return fail(decoder, error);
    }
    decoder->place = place;
    if (place != NULL) {
        memcpy(place, decoder->held, decoder->held_bytes);
    }
    decoder->data_left -= decoder->held_bytes;
    decoder->state = STATE_DATA;
    return TW_OK;
}

static enum tw_status end_frame(struct tw_decoder *decoder, struct tw_error *error) {
    decoder->state = STATE_LENGTH;
    decoder->collecting = false;
    decoder->after_data = decoder->frame.data_bytes >= LARGE_DATA_BYTES;
    enum tw_status status =
        decoder->sink->on_frame(decoder->context, &decoder->frame, decoder->place, error);
    if (status != TW_OK) {
        error->status = status;
        return fail(decoder, error);
    }
    return TW_OK;
}

/* Does everything that the bytes that are here allow. */
static enum tw_status go_on(struct tw_decoder *decoder, struct tw_error *error) {
    for (;;) {
        enum tw_status status = TW_OK;
        switch ((enum state)decoder->state) {
        case STATE_LENGTH:
            status = take_length(decoder, error);
            break;
        case STATE_FIELDS:
            status = take_fields(decoder, error);
            break;
        case STATE_ASK:
            status = ask_place(decoder, error);
            break;
        case STATE_DATA:
            status = decoder->data_left > 0 ? TW_AGAIN : end_frame(decoder, error);
            break;
        case STATE_FAILED:
            return decoder->failed;
        }
        if (status != TW_OK) {
            return status;
        }
    }
}

/* A frame that is not complete, or that waits for a place, moves to the start of the decoder's own
 * stage. */
static void keep_rest(struct tw_decoder *decoder) {
    bool holds = decoder->state == STATE_ASK && !decoder->collecting;
    size_t first = holds ? (size_t)(decoder->held - decoder->from) : decoder->stage_at;
    if (decoder->from == decoder->stage && first == 0)
        return;
    memmove(decoder->stage, decoder->from + first, decoder->stage_end - first);
    if (holds)
        decoder->held = decoder->stage;
    decoder->stage_at -= first;
    decoder->stage_end -= first;
    decoder->from = decoder->stage;
}

static enum tw_status run(struct tw_decoder *decoder, struct tw_error *error) {
    struct tw_error unread;
    enum tw_status status = go_on(decoder, error != NULL ? error : &unread);
    if (decoder->state == STATE_FAILED) {
        return decoder->failed;
    }
    keep_rest(decoder);
    return status == TW_AGAIN && decoder->state != STATE_ASK ? TW_OK : status;
}

static void remember_first(struct tw_decoder *decoder, size_t bytes) {
    size_t taken = smaller(bytes, sizeof decoder->first - decoder->first_bytes);
    memcpy(decoder->first + decoder->first_bytes, decoder->from + decoder->stage_end, taken);
    decoder->first_bytes += taken;
}

enum tw_status tw_decoder_advance(struct tw_decoder *decoder, size_t bytes,
                                  struct tw_error *error) {
    if (decoder->state == STATE_DATA) {
        decoder->data_left -= bytes;
    } else if (decoder->collecting) {
        decoder->frame_seen += bytes;
    } else {
        decoder->from = next_stage(decoder);
        if (!decoder->begun) {
            remember_first(decoder, bytes);
        }
        decoder->stage_end += bytes;
    }
    return run(decoder, error);
}

enum tw_status tw_decoder_resume(struct tw_decoder *decoder, struct tw_error *error) {
    return run(decoder, error);
}

size_t tw_decoder_owed(const struct tw_decoder *decoder) {
    return decoder->state == STATE_DATA ? decoder->data_left : 0;
}

void tw_decoder_discard(struct tw_decoder *decoder) {
    if (decoder->state == STATE_DATA)
        decoder->place = NULL;
}

bool tw_decoder_mid_frame(const struct tw_decoder *decoder) {
    return decoder->state == STATE_FIELDS || decoder->state == STATE_DATA ||
           (decoder->state == STATE_LENGTH && decoder->stage_end > decoder->stage_at);
}

const struct tw_frame *tw_decoder_receiving(const struct tw_decoder *decoder) {
    return decoder->state == STATE_DATA ? &decoder->frame : NULL;
}
