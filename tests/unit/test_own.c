/* data.shard: own: which files a slot gets, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "worker/data/datasets.h"

static char folder[] = "/tmp/talweg-own-XXXXXX";
static const struct tw_data_needs needs = {
    .dims = 1, .shape = {1}, .outputs = 1, .values = true, .loss = "it"};

/* part-SLOT/rows-SLOT.csv: SLOT + 2 rows. */
static int make_folder(void **state) {
    char path[128];
    if (mkdtemp(folder) == NULL)
        return -1;
    for (int slot = 0; slot < 4; slot++) {
        snprintf(path, sizeof path, "%s/part-%d", folder, slot);
        mkdir(path, 0777);
        snprintf(path, sizeof path, "%s/part-%d/rows-%d.csv", folder, slot, slot);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fprintf(file, "x,y\n");
        for (int i = 0; i < slot + 2; i++)
            fprintf(file, "%d,%d\n", 10 * slot + i, i);
        fclose(file);
    }
    return 0;
}

static int remove_folder(void **state) {
    char path[128];
    for (int slot = 0; slot < 4; slot++) {
        snprintf(path, sizeof path, "%s/part-%d/rows-%d.csv", folder, slot, slot);
        unlink(path);
        snprintf(path, sizeof path, "%s/part-%d", folder, slot);
        rmdir(path);
    }
    return rmdir(folder);
}

static struct tw_job *job_of(const char *train, const char *more) {
    char text[8192];
    struct tw_job *job;
    struct tw_error error;
    snprintf(text, sizeof text,
             "model: {input: [1], layers: [dense: 1], loss: mean_squared_error}\n"
             "data:\n  train: %s\n  shard: own\n%s"
             "batch: 8\nupdates: 1\noptimizer: {name: sgd, lr: 0.1}\n"
             "slots: 4\ncluster: {workers: 2}\n",
             train, more);
    if (tw_job_parse(&job, "job.yaml", text, strlen(text), NULL, 0, &error) != TW_OK)
        fail_msg("%s", error.text);
    return job;
}

static const char *train_text(void) {
    static char text[256];
    snprintf(text, sizeof text, "{file: \"%s/part-{slot}/rows-{slot}.csv\", target: y}", folder);
    return text;
}

static void refused(struct tw_job *job, unsigned wanted, const char *part) {
    struct tw_datasets all;
    struct tw_error error;
    enum tw_status status = tw_datasets_open(&all, job, &needs, wanted, &error);
    if (status != TW_JOB && status != TW_DATA)
        fail_msg("opened, where \"%s\" should be said", part);
    if (strstr(error.text, part) == NULL)
        fail_msg("%s", error.text);
    tw_job_free(job);
}

static void each_slot_has_its_file(void **state) {
    struct tw_job *job = job_of(train_text(), "");
    struct tw_datasets all, two = {0};
    struct tw_error error;
    assert_int_equal(tw_datasets_open(&all, job, &needs, TW_WANT_TRAIN | TW_WANT_SHA256, &error),
                     TW_OK);
    assert_int_equal(all.train_samples, 2 + 3 + 4 + 5);
    assert_int_equal(strlen(all.sha256), 64);
    assert_int_equal(tw_datasets_open_own(&two, job, &needs, 2, 2, &error), TW_OK);
    const struct tw_train_data whole = tw_datasets_train(&all), part = tw_datasets_train(&two);
    for (uint32_t slot = 0; slot < 4; slot++) {
        float x;
        assert_int_equal(tw_train_data_of(&whole, slot)->count, slot + 2);
        tw_dataset_row(tw_train_data_of(&whole, slot), 1, &x);
        assert_true(x == (float)(10 * slot + 1));
    }
    assert_int_equal(tw_train_data_of(&part, 3)->count, 5);
    assert_int_equal(tw_train_data_any(&part)->count, 4);
    tw_datasets_close(&two);
    /* Another file is other training data; who does not read the files does not see it. */
    memcpy(job->data_sha256, all.sha256, sizeof all.sha256);
    tw_datasets_close(&all);
    assert_int_equal(tw_datasets_open(&all, job, &needs, TW_WANT_TRAIN, &error), TW_OK);
    tw_datasets_close(&all);
    job->data_sha256[0] ^= 1;
    refused(job, TW_WANT_TRAIN, "other training data than the job's");
}

static void who_sees_no_file_is_told_how_many_samples_there_are(void **state) {
    struct tw_job *job = job_of("{file: nowhere.csv, target: y}", "  samples: 77\n");
    struct tw_datasets none;
    struct tw_error error;
    assert_int_equal(tw_datasets_open(&none, job, &needs, 0, &error), TW_OK);
    assert_int_equal(none.train_samples, 77);
    assert_null(tw_train_data_any(&(struct tw_train_data){0}));
    tw_datasets_close(&none);
    tw_job_free(job);
    refused(job_of("{file: nowhere.csv, target: y}", ""), 0, "data.samples: missing");
    refused(job_of(train_text(), "  samples: 15\n"), TW_WANT_TRAIN,
            "data.samples: the job says 15, but the files of its 4 slots have 14");
}

static void what_cannot_be_is_refused(void **state) {
    refused(job_of("{file: nowhere.csv, target: y}", ""), TW_WANT_TRAIN,
            "data.train: with data.shard: own all slots would read the same files here");
    refused(job_of("{file: \"gone-{slot}.csv\", target: \"{slot}\"}", ""), TW_WANT_TRAIN,
            "gone-0.csv: cannot open");
    refused(job_of("{file: gone.csv, target: \"{slot}\"}", ""), TW_WANT_TRAIN,
            "all slots would read the same");
    refused(job_of("{format: synthetic, kind: blobs, samples: 9}", ""), TW_WANT_TRAIN,
            "data.shard: synthetic has no files");
    struct tw_job *job = job_of("{file: \"a-{slot}.csv\", target: y}", "");
    char longest[TW_PATH_MAX];
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "/{slot}", 7);
    longest[sizeof longest - 1] = '\0';
    for (int i = 0; i < job->train.count; i++)
        if (strcmp(job->train.options[i].key, "file") == 0)
            job->train.options[i].path = longest;
    struct tw_dataset *data;
    struct tw_error error;
    assert_int_equal(tw_own_open(&data, job, &needs, 3, false, &error), TW_DATA);
    assert_null(data); /* a number that is shorter than the mark fits, but there is no such file */
    assert_int_equal(tw_own_open(&data, job, &needs, UINT32_MAX, false, &error), TW_JOB);
    assert_non_null(strstr(error.text, "longer than a path may be"));
    tw_job_free(job);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_slot_has_its_file),
        cmocka_unit_test(who_sees_no_file_is_told_how_many_samples_there_are),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
