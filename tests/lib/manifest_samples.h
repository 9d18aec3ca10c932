/* A manifest that a checkpoint could have, for tests of its reader. */
#ifndef TW_TEST_MANIFEST_SAMPLES_H
#define TW_TEST_MANIFEST_SAMPLES_H

#include <string.h>

#include "server/io/manifest.h"

static uint64_t manifest_steps[3] = {7, 8, UINT64_MAX};
static uint32_t manifest_crcs[3] = {0, UINT32_MAX, 17};

/* Nothing of it is to be freed. */
static inline struct tw_manifest manifest_sample(void) {
    struct tw_manifest manifest = {
        .generation = 2,
        .snapshot =
            {.position = 91,
             .version = 28,
             .mode = "ssp:3",
             .turns = 1,
             .evaluations = 4,
             .not_finite = 1,
             .rate = 0.1,
             .verdict = {{.loss = 0.3, .best = 0.1, .bad = 2, .cooldown = 1, .reductions = 5},
                         {.loss = 0.2, .best = 0.05, .bad = 3, .on = TW_VERDICT_END}},
             .total = {28, 56, 560, 12, 3, {40, 9, 3}, 2, 560, 99, 1, -0.0},
             .stretch = {3, 6, 60, 2, 1, {0}, 0, 0, 0, 0, 5e-324},
             .workers = 3,
             .step = manifest_steps},
        .seconds = 1.5,
        .border_seconds = 0.1,
        .block_bytes = 256 << 10,
        .files = 2,
        .file = {{.bytes = 1000, .header = 5, .blocks = 3, .crc = manifest_crcs},
                 {.bytes = 2000, .header = UINT32_MAX, .blocks = 1, .crc = manifest_crcs + 2}},
    };
    memset(manifest.job, 0xab, sizeof manifest.job);
    memset(manifest.digest, 0x10, sizeof manifest.digest);
    return manifest;
}

#endif
