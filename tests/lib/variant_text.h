/* A variant as a job would say it, from one line: "adam lr=0.1 eps_at=inside".
 * Static storage, for tests only: each call overwrites what the last one gave. */
#ifndef TW_TESTS_VARIANT_TEXT_H
#define TW_TESTS_VARIANT_TEXT_H

#include <stdio.h>
#include <string.h>

#include "common/job/options.h"

static inline const struct tw_variant *tw_test_variant(const char *line) {
    static char words[256];
    static struct tw_option options[16];
    static struct tw_variant variant;
    const struct tw_where where = {"job.yaml", 7};
    char *rest;
    snprintf(words, sizeof words, "%s", line);
    variant = (struct tw_variant){.where = where, .path = "optimizer", .options = options};
    variant.name = strtok_r(words, " ", &rest);
    for (char *word; variant.count < 16 && (word = strtok_r(NULL, " ", &rest)) != NULL;) {
        char *equals = strchr(word, '=');
        *equals = 0;
        options[variant.count++] =
            (struct tw_option){.key = word, .text = equals + 1, .where = where};
    }
    return &variant;
}

#endif
