/* What the tests of data formats share: a variant in one line, and temporary files. */
#ifndef TW_TESTS_DATA_DESK_H
#define TW_TESTS_DATA_DESK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/data/dataset.h"

struct desk_data {
    struct tw_dataset *set;
    struct tw_error error;
};

/* A variant with options as pairs of key and text, NULL at the end. A text that begins with '[' is
 * a list. */
static inline struct tw_variant desk_variant(struct tw_option options[16], const char *format,
                                             const char *const *pairs) {
    const struct tw_where where = {"job.yaml", 12};
    struct tw_variant variant = {
        .name = format, .where = where, .path = "data.train", .options = options};
    for (; *pairs; pairs += 2) {
        assert_true(variant.count < 16);
        options[variant.count++] = (struct tw_option){
            .key = pairs[0], .text = pairs[1], .is_list = *pairs[1] == '[', .where = where};
    }
    return variant;
}

static inline enum tw_status desk_open(struct desk_data *out, const char *format,
                                       const char *const *pairs) {
    struct tw_option options[16];
    struct tw_variant variant = desk_variant(options, format, pairs);
    return tw_dataset_open(&out->set, &variant, NULL, &out->error);
}

/* The same with `text` in the place of the file. */
static inline enum tw_status desk_parse(struct desk_data *out, const char *format,
                                        const struct tw_dataset *like, const char *text,
                                        const char *const *pairs) {
    struct tw_option options[16];
    struct tw_variant variant = desk_variant(options, format, pairs);
    return tw_dataset_parse(&out->set, &variant, like, text, strlen(text), &out->error);
}

#define DESK_OPEN(out, format, ...) desk_open(out, format, (const char *const[]){__VA_ARGS__, NULL})

/* One sample, as floats. */
static inline float desk_at(const struct tw_dataset *set, uint32_t sample, int element) {
    float x[64];
    assert_true(set->elements <= 64);
    tw_dataset_row(set, sample, x);
    return x[element];
}

#endif
