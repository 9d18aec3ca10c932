/* What a job may say of its data, and how wrong ones are refused. */
#include "tests/unit/job_desk.h"

#define JOB_WITH(line) DESK_MODEL DESK_DATA line "batch: 1\nepochs: 1\noptimizer: adam\n"

static void samples_are_held_out(void **state) {
    struct tw_job *job = desk_good(JOB_WITH("  validation: 5000\nseeds: {split: 7}\n"));
    assert_int_equal(job->validation, 5000);
    assert_true(job->seeds.split == 7 && job->seeds.sampling == 1);
    tw_job_free(job);
    job = desk_good(JOB_WITH("seed: 9\n"));
    assert_int_equal(job->validation, 0);
    assert_true(job->seeds.split == 9);
    tw_job_free(job);
}

static void what_is_held_out_is_written(void **state) {
    struct tw_job *job = desk_good(JOB_WITH(
                      "  validation: 50\n  standardise: true\n  augment: {crop: 3, flip: true}\n"
                      "seeds: {split: 7, augment: 8}\n")),
                  *again;
    struct tw_error error;
    char *text;
    size_t size;
    assert_int_equal(tw_job_write(job, NULL, 0, &text, &size), TW_OK);
    again = desk_parse(text, NULL, 0, &error);
    assert_non_null(again);
    assert_true(again->validation == 50 && again->standardise && again->seeds.split == 7);
    assert_true(again->augment.crop == 3 && again->augment.flip && again->seeds.augment == 8);
    free(text);
    tw_job_free(again);
    tw_job_free(job);
}

static void what_is_held_out_is_scored(void **state) {
    const char *text = DESK_MODEL "data:\n  train: {format: idx, images: a, labels: b}\n"
                                  "  test: validation\n%sbatch: 1\nepochs: 1\noptimizer: adam\n";
    char with[1024], without[1024];
    snprintf(with, sizeof with, text, "  validation: 5\n");
    snprintf(without, sizeof without, text, "");
    struct tw_job *job = desk_good(with), *again;
    struct tw_error error;
    char *written;
    size_t size;
    assert_true(job->has_test && job->tests_held_out && !job->test.name);
    assert_int_equal(tw_job_write(job, NULL, 0, &written, &size), TW_OK);
    again = desk_parse(written, NULL, 0, &error);
    assert_true(again && again->has_test && again->tests_held_out && again->validation == 5);
    free(written);
    tw_job_free(again);
    tw_job_free(job);
    desk_refused(without, ":11: data.test: validation means the samples that data.validation holds "
                          "out, but it holds out none; write validation: COUNT");
}

static void workers_may_have_files_of_their_own(void **state) {
    struct tw_job *job = desk_good(JOB_WITH("  shard: own\n  samples: 300\n")), *again;
    struct tw_error error;
    char *text;
    size_t size;
    assert_int_equal(tw_job_write(job, NULL, 0, &text, &size), TW_OK);
    again = desk_parse(text, NULL, 0, &error);
    assert_non_null(again);
    assert_true(again->shard == TW_SHARD_OWN && again->samples == 300);
    free(text);
    tw_job_free(again);
    tw_job_free(job);
    desk_refused(JOB_WITH("  samples: 300\n"),
                 ":11: data.samples: the samples are counted where they are read; this is for "
                 "data.shard: own, take it out");
    desk_refused(JOB_WITH("  shard: own\n  validation: 30\n"),
                 ":12: data.validation: with data.shard: own nobody has all samples to draw from; "
                 "name a file of its own in data.test");
    desk_refused(JOB_WITH("  shard: own\n  standardise: true\n"),
                 ":12: data.standardise: with data.shard: own nobody has all samples to take the "
                 "means of; standardise the files, and take it out");
    desk_refused(JOB_WITH("  shard: own\n  samples: 0\n"),
                 ":12: data.samples: 0 is out of range; it must be a whole number from 1 to "
                 "1000000000000000");
}

/* By the end of a file's name, where the job does not say it. */
static void formats_are_guessed(void **state) {
    static const char *const rows[][2] = {
        {"{images: t10k-images-idx3-ubyte.gz, labels: b}", "idx"},
        {"{file: houses.csv, target: price}", "csv"},
        {"{file: houses.csv.gz}", "csv"},
        {"{samples: x.npy, targets: y.npy}", "npy"},
        {"{file: a9a.svmlight}", "libsvm"},
        {"{format: idx, images: houses.csv}", "idx"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tw_error error;
        struct tw_job *job = desk_set("data.train", rows[i][0], "--set data.train", &error);
        if (!job)
            fail_msg("%s", error.text);
        assert_string_equal(job->train.name, rows[i][1]);
        tw_job_free(job);
    }
    desk_refused(DESK_MODEL "data:\n  train: {file: houses.txt}\nbatch: 1\nepochs: 1\n",
                 ":10: data.train.format: missing; data such as {format: idx, images: FILE, "
                 "labels: FILE}");
}

/* As lists they stay lists, also empty ones, which whoever reads the option refuses. */
static void lists_are_handed_on(void **state) {
    struct tw_error error;
    struct tw_job *job = desk_set("data.train", "{file: h.csv, ignore: [], target: [a, 2]}",
                                  "--set data.train", &error);
    if (!job)
        fail_msg("%s", error.text);
    const struct tw_option *options = job->train.options;
    assert_string_equal(options[1].text, "[]");
    assert_string_equal(options[2].text, "[\"a\", 2]");
    assert_true(options[1].is_list && options[2].is_list);
    tw_job_free(job);
}

static void images_are_cropped_and_flipped(void **state) {
    struct tw_job *job = desk_good(JOB_WITH("  augment: {crop: 2}\nseeds: {augment: 4}\n"));
    assert_true(job->augment.crop == 2 && !job->augment.flip && job->seeds.augment == 4);
    tw_job_free(job);
    job = desk_good(JOB_WITH("  augment: {flip: true}\nseed: 9\n"));
    assert_true(job->augment.crop == 0 && job->augment.flip && job->seeds.augment == 9);
    tw_job_free(job);
    desk_refused(JOB_WITH("  augment: {crop: 28}\n"),
                 ":11: data.augment.crop: 28 is not below the 28 rows and 28 columns of "
                 "model.input");
    desk_refused("model: {input: [784], layers: [dense: 10], loss: l1}\n" DESK_DATA
                 "  augment: {flip: true}\nbatch: 1\nepochs: 1\noptimizer: adam\n",
                 ":4: data.augment: images of [channels, height, width] can be cropped and "
                 "flipped; model.input has 1 dimension");
    desk_refused(JOB_WITH("  augment: {turn: 90}\n"),
                 ":11: data.augment.turn: unknown key; known: crop, flip");
}

static void standardise_is_true_or_false(void **state) {
    struct tw_job *job = desk_good(JOB_WITH("  standardise: true\n"));
    assert_true(job->standardise);
    tw_job_free(job);
    desk_refused(JOB_WITH("  standardise: yes\n"),
                 ":11: data.standardise: \"yes\" is neither true nor false; write one of the two, "
                 "without quotes");
}

static void numbers_that_cannot_be(void **state) {
    desk_refused(JOB_WITH("  validation: -1\n"),
                 ":11: data.validation: -1 is out of range; it must be a whole number from 0 to "
                 "4294967295");
    desk_refused(JOB_WITH("  validation: some\n"),
                 ":11: data.validation: \"some\" is not a whole number; it must be one from 0 to "
                 "4294967295");
    desk_refused(JOB_WITH("  sha256: \"ABCDEF\"\n"),
                 ":11: data.sha256: \"ABCDEF\" is no SHA-256; it must be 64 of 0-9 and a-f");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_are_held_out),
        cmocka_unit_test(what_is_held_out_is_written),
        cmocka_unit_test(what_is_held_out_is_scored),
        cmocka_unit_test(workers_may_have_files_of_their_own),
        cmocka_unit_test(formats_are_guessed),
        cmocka_unit_test(lists_are_handed_on),
        cmocka_unit_test(images_are_cropped_and_flipped),
        cmocka_unit_test(standardise_is_true_or_false),
        cmocka_unit_test(numbers_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
