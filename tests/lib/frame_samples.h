/* One frame of every kind, with every field set to a value of its own, so that
 * two fields that are mixed up are seen. tests/golden/frames/make.py writes the
 * same frames with the stock protobuf library. */
#ifndef TW_TESTS_FRAME_SAMPLES_H
#define TW_TESTS_FRAME_SAMPLES_H

#include "proto/frame.h"

#define FRAME_SAMPLES 37

struct frame_sample {
    const char *name; /* of the golden file, without ".bin" */
    struct tw_frame frame;
    const unsigned char *data; /* [frame.data_bytes] */
};

extern const struct frame_sample frame_samples[FRAME_SAMPLES];

#endif
