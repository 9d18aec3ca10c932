/* The job file against hostile bytes: no crash, no leak, no silence; and what is
 * accepted can be written, loads again, and means the same.
 *
 * The input is a job file. Behind a byte 0x1e may stand settings, "key=value",
 * separated by the same byte.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/job/job.h"

#define SETTINGS_MAX 8
#define SEPARATOR 0x1e

static const char *const names[] = {"he", "zero", NULL};
static const struct tw_option_rule rules[] = {
    {.key = "lr", .type = TW_OPTION_REAL, .fallback = 0.001, .max = INFINITY, .min_open = true},
    {.key = "units", .type = TW_OPTION_INTEGER, .fallback = 1, .min = 1, .max = 1e6},
    {.key = "bias", .type = TW_OPTION_BOOL, .fallback = 1},
    {.key = "init", .type = TW_OPTION_ENUM, .names = names},
    {.key = "images", .type = TW_OPTION_PATH},
    {.key = "labels", .type = TW_OPTION_PATH},
};

/* Some names have these rules, some have none, some are not known. */
static const struct tw_option_rule *rules_of(const char *path, const char *name, int *count) {
    if (*name == 'o')
        return NULL;
    *count = *name == 'r' ? 0 : (int)(sizeof rules / sizeof *rules);
    return rules;
}

static const struct tw_rule_book book = {rules_of};

static void must(int holds) {
    if (!holds)
        abort();
}

static struct tw_job *load(const char *text, size_t size, const struct tw_job_setting *settings,
                           int count) {
    struct tw_job *job;
    struct tw_error error = {0};
    enum tw_status status =
        tw_job_parse(&job, "/jobs/job.yaml", text, size, settings, count, &error);
    must((status == TW_OK) == (job != NULL));
    must(status == TW_OK || status == TW_JOB || status == TW_NO_MEMORY);
    must(status == TW_OK || (error.status == status && error.text[0]));
    return job;
}

static void check_written(const struct tw_job *job, const uint8_t *digest) {
    char *text, *again;
    size_t size, size_again;
    uint8_t other_digest[32];
    must(tw_job_write(job, NULL, 0, &text, &size) == TW_OK);
    struct tw_job *other = size > TW_JOB_BYTES_MAX ? NULL : load(text, size, NULL, 0);
    must(other || size > TW_JOB_BYTES_MAX);
    if (other) {
        if (digest) {
            must(tw_job_resolve(other, &book, NULL) == TW_OK);
            tw_job_digest(other, 1, other_digest);
            must(memcmp(digest, other_digest, 32) == 0);
        }
        must(tw_job_write(other, NULL, 0, &again, &size_again) == TW_OK);
        must(size == size_again && memcmp(text, again, size) == 0);
        free(again);
    }
    tw_job_free(other);
    free(text);
}

/* Cuts "key=value" in place; without '=' the value is empty. */
static int cut_settings(char *text, struct tw_job_setting *settings) {
    int count = 0;
    while (text && count < SETTINGS_MAX) {
        char *next = strchr(text, SEPARATOR), *value;
        if (next)
            *next++ = '\0';
        value = strchr(text, '=');
        if (value)
            *value++ = '\0';
        settings[count++] = (struct tw_job_setting){text, value ? value : "", "--set x", NULL};
        text = next;
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tw_job_setting settings[SETTINGS_MAX];
    const uint8_t *end = size ? memchr(data, SEPARATOR, size) : NULL;
    size_t text_size = end ? (size_t)(end - data) : size;
    char *rest = end ? strndup((const char *)end + 1, size - text_size - 1) : NULL;
    /* A copy of exactly its size: nobody may read the byte behind it. */
    char *text = malloc(text_size ? text_size : 1);
    must(text != NULL);
    if (text_size)
        memcpy(text, data, text_size);
    struct tw_job *job = load(text, text_size, settings, cut_settings(rest, settings));
    free(text);
    free(rest);
    if (!job)
        return 0;
    check_written(job, NULL);
    struct tw_error error = {0};
    if (tw_job_resolve(job, &book, &error) == TW_OK) {
        uint8_t digest[32];
        tw_job_digest(job, 1, digest);
        check_written(job, digest);
    } else {
        must(error.text[0]);
    }
    tw_job_free(job);
    return 0;
}
