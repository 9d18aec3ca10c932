/* What the tests of the job file share: a good job, tables of a few variants, and
 * the questions "which message does this get?" and "is this fine?". */
#ifndef TW_TESTS_JOB_DESK_H
#define TW_TESTS_JOB_DESK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/text.h"
#include "common/job/job.h"

#define DESK_MODEL                                                                                 \
    "model:\n"                                                                                     \
    "  input: [1, 28, 28]\n"                                                                       \
    "  layers:\n"                                                                                  \
    "    - flatten\n"                                                                              \
    "    - dense: 256\n"                                                                           \
    "    - relu\n"                                                                                 \
    "    - dense: {units: 10, init: zero}\n"                                                       \
    "  loss: softmax_cross_entropy\n"
#define DESK_DATA                                                                                  \
    "data:\n"                                                                                      \
    "  train: {format: idx, images: images.gz, labels: /data/labels.gz}\n"
#define DESK_JOB                                                                                   \
    DESK_MODEL DESK_DATA "batch: 128\n"                                                            \
                         "epochs: 10\n"                                                            \
                         "optimizer: {name: adam, lr: 1e-3}\n"

/* Tables such as the rooms above have. */
static const char *const desk_inits[] = {"he", "glorot", "zero", NULL};
static const struct tw_option_rule desk_adam[] = {
    {.key = "lr", .type = TW_OPTION_REAL, .fallback = 0.001, .max = 1e6, .min_open = true},
    {.key = "beta1", .type = TW_OPTION_REAL, .fallback = 0.9, .max = 1, .max_open = true},
    {.key = "amsgrad", .type = TW_OPTION_BOOL},
};
static const struct tw_option_rule desk_dense[] = {
    {.key = "units",
     .type = TW_OPTION_INTEGER,
     .required = true,
     .min = 1,
     .max = 1e6,
     .text = "how many outputs"},
    {.key = "init", .type = TW_OPTION_ENUM, .names = desk_inits},
};
static const struct tw_option_rule desk_idx[] = {
    {.key = "images", .type = TW_OPTION_PATH, .required = true},
    {.key = "labels", .type = TW_OPTION_PATH, .required = true},
    {.key = "scale", .type = TW_OPTION_REAL, .fallback = 255, .min = 0, .max = 1e6},
};

static const struct tw_option_rule desk_steps[] = {
    {.key = "at", .type = TW_OPTION_LIST, .required = true, .max = INFINITY},
    {.key = "factor", .type = TW_OPTION_REAL, .fallback = 0.1},
};

static inline const struct tw_option_rule *desk_rules(const char *path, const char *name,
                                                      int *count) {
    static const struct {
        const char *place, *name;
        const struct tw_option_rule *rules;
        int count;
    } book[] = {
        {"optimizer", "adam", desk_adam, 3},
        {"model.layers", "dense", desk_dense, 2},
        {"data", "idx", desk_idx, 3},
        {"schedule", "multi_step", desk_steps, 2},
    };
    for (size_t i = 0; i < sizeof book / sizeof *book; i++)
        if (strncmp(path, book[i].place, strlen(book[i].place)) == 0 &&
            strcmp(name, book[i].name) == 0) {
            *count = book[i].count;
            return book[i].rules;
        }
    return NULL;
}

static const struct tw_rule_book desk_book = {desk_rules};

/* Parses as job.yaml in /jobs. The caller frees; NULL is a failure with `error`. */
static inline struct tw_job *desk_parse(const char *text, const struct tw_job_setting *settings,
                                        int count, struct tw_error *error) {
    struct tw_job *job;
    enum tw_status status =
        tw_job_parse(&job, "/jobs/job.yaml", text, strlen(text), settings, count, error);
    assert_true((status == TW_OK) == (job != NULL));
    return job;
}

static inline struct tw_job *desk_good(const char *text) {
    struct tw_error error = {0};
    struct tw_job *job = desk_parse(text, NULL, 0, &error);
    if (!job)
        fail_msg("refused: %s", error.text);
    return job;
}

/* The text is refused as TW_JOB with exactly this message, after "/jobs/job.yaml". */
static inline void desk_refused_bytes(const char *text, size_t size, const char *message) {
    struct tw_error error = {0};
    struct tw_job *job;
    enum tw_status status = tw_job_parse(&job, "/jobs/job.yaml", text, size, NULL, 0, &error);
    assert_null(job);
    assert_int_equal(status, TW_JOB);
    assert_int_equal(error.status, TW_JOB);
    assert_memory_equal(error.text, "/jobs/job.yaml", 14);
    assert_string_equal(error.text + 14, message);
}

static inline void desk_refused(const char *text, const char *message) {
    desk_refused_bytes(text, strlen(text), message);
}

/* The good job with one setting. */
static inline struct tw_job *desk_set(const char *key, const char *value, const char *flag,
                                      struct tw_error *error) {
    struct tw_job_setting setting = {key, value, flag, NULL};
    return desk_parse(DESK_JOB, &setting, 1, error);
}

/* The good job with `text` in the place of the line that begins with `line` (or at
 * the end when that is NULL) is refused with this message. */
static inline void desk_refused_with(const char *line, const char *text, const char *message) {
    struct tw_text job = {0};
    const char *good = DESK_JOB, *at = line ? strstr(good, line) : good + strlen(good);
    assert_non_null(at);
    tw_text_add_bytes(&job, DESK_JOB, (size_t)(at - DESK_JOB));
    tw_text_add(&job, "%s%s", text, *text ? "\n" : "");
    const char *rest = strchr(at, '\n');
    tw_text_add(&job, "%s", rest ? rest + 1 : "");
    desk_refused(job.at, message);
    tw_text_fini(&job);
}

struct desk_row {
    const char *line, *text, *message;
};

static inline void desk_check_rows(const struct desk_row *rows, size_t count) {
    for (size_t i = 0; i < count; i++)
        desk_refused_with(rows[i].line, rows[i].text, rows[i].message);
}
#define DESK_CHECK(rows) desk_check_rows(rows, sizeof rows / sizeof *rows)

#endif
