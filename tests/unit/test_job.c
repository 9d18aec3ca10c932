#include "tests/unit/job_desk.h"

#include <unistd.h>

#include "common/base/file.h"

static void assert_option(const struct tw_variant *variant, int index, const char *key,
                          const char *text) {
    assert_true(index < variant->count);
    assert_string_equal(variant->options[index].key, key);
    assert_string_equal(variant->options[index].text, text);
}

static void a_good_job_is_read(void **state) {
    struct tw_job *job = desk_good(DESK_JOB);
    assert_string_equal(job->path, "/jobs/job.yaml");
    assert_string_equal(job->name, "job");
    assert_string_equal(job->folder, "/jobs");
    assert_int_equal(job->model.input_dims, 3);
    assert_true(job->model.input[0] == 1 && job->model.input[1] == 28 && job->model.input[2] == 28);
    assert_int_equal(job->model.layer_count, 4);
    assert_string_equal(job->model.layers[0].name, "flatten");
    assert_int_equal(job->model.layers[0].count, 0);
    assert_option(&job->model.layers[1], 0, "", "256");
    assert_string_equal(job->model.layers[1].path, "model.layers[1]");
    assert_int_equal(job->model.layers[1].where.line, 5);
    assert_option(&job->model.layers[3], 1, "init", "zero");
    assert_string_equal(job->model.loss.name, "softmax_cross_entropy");
    assert_string_equal(job->model.loss.path, "model.loss");
    assert_false(job->model.own);
    assert_true(job->has_train);
    assert_false(job->has_test);
    assert_string_equal(job->train.name, "idx");
    assert_int_equal(job->batch, 128);
    assert_true(job->epochs == 10);
    assert_int_equal(job->updates, 0);
    assert_string_equal(job->optimizer.name, "adam");
    assert_option(&job->optimizer, 0, "lr", "1e-3");
    tw_job_free(job);
}

static void what_is_not_said_has_a_default(void **state) {
    struct tw_job *job = desk_good(DESK_JOB);
    assert_int_equal(job->servers, 1);
    assert_int_equal(job->workers, 1);
    assert_int_equal(job->slots, 1);
    assert_false(job->slots_given);
    assert_string_equal(job->mode, "sync");
    assert_string_equal(job->mode_where.file, "/jobs/job.yaml");
    assert_int_equal(job->mode_where.line, 0);
    assert_int_equal(job->seed, 1);
    assert_int_equal(job->chunk_bytes, 256 << 10);
    assert_int_equal(job->shard, TW_SHARD_EPOCH);
    assert_null(job->blas_core);
    assert_int_equal(job->poll_us, 100);
    assert_int_equal(job->on_worker_loss.action, TW_LOSS_WAIT);
    assert_true(job->on_worker_loss.after == 5);
    assert_true(job->on_worker_loss.silent == 60);
    tw_job_free(job);
}

static void what_becomes_of_a_loss_is_a_word_or_a_mapping(void **state) {
    struct tw_job *job = desk_good(DESK_JOB "on_worker_loss: fail\n");
    assert_int_equal(job->on_worker_loss.action, TW_LOSS_FAIL);
    assert_true(job->on_worker_loss.after == 5);
    tw_job_free(job);
    job = desk_good(DESK_JOB "on_worker_loss: {action: evict}\n");
    assert_int_equal(job->on_worker_loss.action, TW_LOSS_EVICT);
    assert_true(job->on_worker_loss.after == 5);
    tw_job_free(job);
}

static void every_key_is_read(void **state) {
    struct tw_job *job =
        desk_good("model:\n"
                  "  input: 784\n"
                  "  layers: [{name: dense, units: 10}]\n"
                  "  loss: {name: mse}\n"
                  "data:\n"
                  "  train: {format: idx, images: a}\n"
                  "  test:\n"
                  "    format: idx\n"
                  "    images: ../b\n"
                  "  shard: fixed\n"
                  "  sha256: \"5362780c7945d9a10b3c456e35af825b4ae0223bf049512839137c5116df4ed5\"\n"
                  "batch: 64\n"
                  "epochs: 0.5\n"
                  "updates: 1000\n"
                  "optimizer: sgd\n"
                  "consistency: {mode: ssp:3}\n"
                  "cluster: {servers: 2, workers: 4}\n"
                  "on_worker_loss: {action: evict, after: 2.5, silent: 30.5}\n"
                  "on_divergence: go_on\n"
                  "slots: 16\n"
                  "seed: 18446744073709551615\n"
                  "chunk: 1MiB\n"
                  "encoding: {push: bf16, pull: f16}\n"
                  "poll_us: 0\n"
                  "worker: {blas_core: Haswell}\n");
    assert_int_equal(job->model.input_dims, 1);
    assert_true(job->model.input[0] == 784);
    assert_string_equal(job->model.layers[0].name, "dense");
    assert_option(&job->model.layers[0], 0, "units", "10");
    assert_string_equal(job->model.loss.name, "mse");
    assert_true(job->has_test);
    assert_string_equal(job->train.options[0].path, "/jobs/a");
    assert_string_equal(job->test.options[0].path, "/jobs/../b");
    assert_int_equal(job->shard, TW_SHARD_FIXED);
    assert_string_equal(job->data_sha256,
                        "5362780c7945d9a10b3c456e35af825b4ae0223bf049512839137c5116df4ed5");
    assert_true(job->epochs == 0.5);
    assert_int_equal(job->updates, 1000);
    assert_string_equal(job->optimizer.name, "sgd");
    assert_int_equal(job->optimizer.count, 0);
    assert_string_equal(job->mode, "ssp:3");
    assert_int_equal(job->mode_where.line, 16);
    assert_int_equal(job->servers, 2);
    assert_int_equal(job->workers, 4);
    assert_int_equal(job->slots, 16);
    assert_true(job->slots_given);
    assert_int_equal(job->on_worker_loss.action, TW_LOSS_EVICT);
    assert_true(job->on_worker_loss.after == 2.5);
    assert_true(job->on_worker_loss.silent == 30.5);
    assert_true(job->goes_on);
    assert_int_equal(job->slots_where.line, 20);
    assert_true(job->seed == UINT64_MAX);
    assert_int_equal(job->chunk_bytes, 1 << 20);
    assert_int_equal(job->poll_us, 0);
    assert_int_equal(job->encoding.push, TW_ENCODING_BF16);
    assert_int_equal(job->encoding.pull, TW_ENCODING_F16);
    assert_string_equal(job->blas_core, "Haswell");
    tw_job_free(job);
}

struct refusal {
    const char *text, *message;
};

static void refuse(const struct refusal *rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
        char text[1024];
        snprintf(text, sizeof text, DESK_JOB "%s\n", rows[i].text);
        desk_refused(text, rows[i].message);
    }
}

static void an_encoding_that_is_none_is_refused(void **state) {
    static const struct refusal rows[] = {
        {"encoding: bf16",
         ":14: encoding: a single value where keys and values should stand: {push: bf16, pull: "
         "bf16}"},
        {"encoding: {push: f64}",
         ":14: encoding.push: \"f64\" is not known here; it must be one of f32, bf16, f16"},
        {"encoding: {both: bf16}", ":14: encoding.both: unknown key; known: push, pull"},
    };
    refuse(rows, sizeof rows / sizeof *rows);
}

static void memory_without_its_key_is_refused(void **state) {
    static const struct refusal rows[] = {
        {"memory: 512MiB",
         ":14: memory: a single value where keys and values should stand: {inflight: 512MiB}"},
        {"memory: {inflight: 0}", ":14: memory.inflight: 0 is out of range; it must be at least 1"},
    };
    refuse(rows, sizeof rows / sizeof *rows);
}

static void a_loss_that_makes_no_sense_is_refused(void **state) {
    static const struct refusal rows[] = {
        {"on_divergence: ignore",
         ":14: on_divergence: \"ignore\" is not known here; it must be one of stop, go_on"},
        {"on_worker_loss: pray",
         ":14: on_worker_loss: \"pray\" is not known here; it must be one of wait, evict, fail"},
        {"on_worker_loss: {after: 3}", ":14: on_worker_loss.action: missing; wait, evict or fail"},
        {"on_worker_loss: {action: evikt}",
         ":14: on_worker_loss.action: \"evikt\" is not known here; did you mean \"evict\"? it must "
         "be one of wait, evict, fail"},
        {"on_worker_loss: {action: evict, after: -1}",
         ":14: on_worker_loss.after: -1 is out of range; it must be a number from 0 to 1000000"},
        {"on_worker_loss: {action: evict, silent: 1e7}",
         ":14: on_worker_loss.silent: 1e7 is out of range; it must be a number from 0 to 1000000"},
        {"on_worker_loss: {action: wait, silent: 2.9}",
         ":14: on_worker_loss.silent: 2.9 is too short: who computes is heard once a second; it "
         "must "
         "be 0 for never, or a number from 3 to 1000000"},
        {"on_worker_loss: {action: evict, before: 1}",
         ":14: on_worker_loss.before: unknown key; known: action, after, silent"},
    };
    refuse(rows, sizeof rows / sizeof *rows);
}

static void a_stream_has_a_seed_of_its_own_or_the_seed_of_all(void **state) {
    struct tw_job *job = desk_good(DESK_JOB "seed: 5\nseeds: {sampling: 7}\n");
    assert_int_equal(job->seed, 5);
    assert_int_equal(job->seeds.init, 5);
    assert_int_equal(job->seeds.sampling, 7);
    assert_int_equal(job->seeds.noise, 5);
    tw_job_free(job);
    job = desk_good(DESK_JOB "seeds: {init: 0, noise: 3}\n");
    assert_int_equal(job->seeds.init, 0);
    assert_int_equal(job->seeds.sampling, 1);
    assert_int_equal(job->seeds.noise, 3);
    tw_job_free(job);
}

static void a_job_of_tensors_needs_neither_data_nor_batch(void **state) {
    struct tw_job *job = desk_good("model: {tensors: {w: [784, 10], b: [10], t: [], n: 3}}\n"
                                   "updates: 100\n"
                                   "optimizer: {name: sgd, lr: 0.1}\n");
    assert_true(job->model.own);
    assert_int_equal(job->model.tensors.count, 4);
    assert_string_equal(job->model.tensors.tensors[0].name, "w");
    assert_int_equal(job->model.tensors.tensors[0].elements, 7840);
    assert_int_equal(job->model.tensors.tensors[2].dims, 0);
    assert_int_equal(job->model.tensors.tensors[2].elements, 1);
    assert_int_equal(job->model.tensors.tensors[3].dims, 1);
    assert_true(job->model.tensors.tensors[3].init.scale == 0);
    assert_false(job->has_train);
    assert_int_equal(job->batch, 0);
    tw_job_free(job);
}

static void sizes_may_be_bytes_or_have_units(void **state) {
    static const struct {
        const char *text;
        uint32_t bytes;
    } sizes[] = {{"65536", 65536},      {"64KiB", 65536},   {"64 KiB", 65536},
                 {"\"4MiB\"", 4 << 20}, {"1 MiB", 1 << 20}, {"320KiB", 320 << 10}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct tw_error error = {0};
        struct tw_job *job = desk_set("chunk", sizes[i].text, "--set chunk", &error);
        assert_non_null(job);
        assert_int_equal(job->chunk_bytes, sizes[i].bytes);
        tw_job_free(job);
    }
}

static void settings_win_in_their_order(void **state) {
    const struct tw_job_setting settings[] = {
        {"cluster.workers", "4", "--workers", NULL},
        {"cluster.workers", "8", "--set cluster.workers", NULL},
        {"consistency.mode", "backup:1", "--mode", NULL},
        {"optimizer.lr", "0.5", "--set optimizer.lr", NULL},
        {"optimizer.beta1", "0.8", "--set optimizer.beta1", NULL},
        {"batch", "256 # more", "--set batch", NULL},
        {"data.test", "{format: idx, images: there}", "--set data.test", NULL},
        {"model.loss", "mse", "--set model.loss", NULL},
    };
    struct tw_error error = {0};
    struct tw_job *job = desk_parse(DESK_JOB, settings, sizeof settings / sizeof *settings, &error);
    if (!job)
        fail_msg("%s", error.text);
    assert_int_equal(job->workers, 8);
    assert_string_equal(job->mode, "backup:1");
    assert_string_equal(job->mode_where.file, "--mode backup:1");
    assert_int_equal(job->batch, 256);
    assert_option(&job->optimizer, 0, "lr", "0.5");
    assert_option(&job->optimizer, 1, "beta1", "0.8");
    assert_string_equal(job->optimizer.options[0].where.file, "--set optimizer.lr=0.5");
    assert_string_equal(job->test.options[0].path, "/jobs/there");
    assert_string_equal(job->model.loss.name, "mse");
    tw_job_free(job);
}

static void a_setting_reaches_into_a_name_alone(void **state) {
    const struct tw_job_setting settings[] = {
        {"optimizer", "sgd", "--set optimizer", NULL},
        {"optimizer.lr", "0.5", "--set optimizer.lr", NULL},
        {"model.loss.scale", "2", "--set model.loss.scale", NULL},
    };
    struct tw_error error = {0};
    struct tw_job *job = desk_parse(DESK_JOB, settings, 3, &error);
    if (!job)
        fail_msg("%s", error.text);
    assert_string_equal(job->optimizer.name, "sgd");
    assert_option(&job->optimizer, 0, "lr", "0.5");
    assert_string_equal(job->model.loss.name, "softmax_cross_entropy");
    assert_option(&job->model.loss, 0, "scale", "2");
    tw_job_free(job);
}

static void a_setting_may_give_what_the_file_leaves_out(void **state) {
    const struct tw_job_setting setting = {"optimizer.name", "adam", "--set optimizer.name", NULL};
    struct tw_error error = {0};
    struct tw_job *job =
        desk_parse(DESK_MODEL DESK_DATA "batch: 1\nupdates: 1\n", &setting, 1, &error);
    if (!job)
        fail_msg("%s", error.text);
    assert_string_equal(job->optimizer.name, "adam");
    tw_job_free(job);
}

static void names_and_folders_come_from_the_path(void **state) {
    static const struct {
        const char *path, *name, *folder; /* folder NULL: the current one and `below` */
        const char *below;
    } cases[] = {
        {"/a/b/fashion.mnist.yaml", "fashion.mnist", "/a/b", ""},
        {"/job.yaml", "job", "/", ""},
        {"job.yaml", "job", NULL, ""},
        {"x/job", "job", NULL, "/x"},
        {"x/.yaml", ".yaml", NULL, "/x"},
    };
    char here[TW_PATH_MAX], folder[TW_PATH_MAX + 64];
    assert_non_null(getcwd(here, sizeof here));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tw_job *job;
        assert_int_equal(
            tw_job_parse(&job, cases[i].path, DESK_JOB, strlen(DESK_JOB), NULL, 0, NULL), TW_OK);
        snprintf(folder, sizeof folder, "%s%s", here, cases[i].below);
        assert_string_equal(job->name, cases[i].name);
        assert_string_equal(job->folder, cases[i].folder ? cases[i].folder : folder);
        tw_job_free(job);
    }
}

static void text_may_be_written_in_any_way_of_yaml(void **state) {
    struct tw_job *job = desk_good("---\n"
                                   "# a comment\n"
                                   "\"model\": {input: [ 4 ], layers: [flatten,\n"
                                   "  {\"dense\": 3}], loss: 'mse'}\n"
                                   "data:\n"
                                   "  train:\n"
                                   "    format: idx\n"
                                   "    images: \"a\\tb\\u00e4\"\n"
                                   "    labels: >-\n"
                                   "      x\n"
                                   "      y\n"
                                   "batch: +8\n"
                                   "updates: 3\n"
                                   "optimizer: \"adam\"\n"
                                   "...\n");
    assert_option(&job->model.layers[1], 0, "", "3");
    assert_string_equal(job->train.options[0].text, "a\tb\xc3\xa4");
    assert_option(&job->train, 1, "labels", "x y");
    tw_job_free(job);
}

static char *temporary_file(const char *bytes, size_t size, char path[64]) {
    strcpy(path, "/tmp/talweg-job-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), (ssize_t)size);
    close(fd);
    return path;
}

static void a_file_is_loaded(void **state) {
    char path[64];
    struct tw_job *job;
    temporary_file(DESK_JOB, strlen(DESK_JOB), path);
    assert_int_equal(tw_job_load(&job, path, NULL, 0, NULL), TW_OK);
    assert_string_equal(job->folder, "/tmp");
    assert_string_equal(job->train.options[0].path, "/tmp/images.gz");
    assert_string_equal(job->train.options[1].path, "/data/labels.gz");
    tw_job_free(job);
    unlink(path);
}

static void a_file_that_cannot_be_read_is_named(void **state) {
    struct tw_job *job;
    struct tw_error error = {0};
    assert_int_equal(tw_job_load(&job, "/nowhere/job.yaml", NULL, 0, &error), TW_DATA);
    assert_null(job);
    assert_int_equal(error.status, TW_DATA);
    assert_non_null(strstr(error.text, "the job file"));
    assert_non_null(strstr(error.text, "/nowhere/job.yaml"));
    assert_non_null(strstr(error.text, "No such file or directory"));
    assert_int_equal(tw_job_load(&job, "/tmp", NULL, 0, &error), TW_DATA);
    assert_int_equal(tw_job_load(&job, "/nowhere/job.yaml", NULL, 0, NULL), TW_DATA);
}

static void a_file_that_is_too_long_is_refused(void **state) {
    char path[64];
    char *bytes = malloc(TW_JOB_BYTES_MAX + 1);
    struct tw_job *job;
    struct tw_error error = {0};
    assert_non_null(bytes);
    memset(bytes, '#', TW_JOB_BYTES_MAX + 1);
    temporary_file(bytes, TW_JOB_BYTES_MAX + 1, path);
    assert_int_equal(tw_job_load(&job, path, NULL, 0, &error), TW_JOB);
    assert_int_equal(error.status, TW_JOB);
    assert_non_null(strstr(error.text, path));
    assert_non_null(strstr(error.text, "1048576"));
    unlink(path);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_job_is_read),
        cmocka_unit_test(what_is_not_said_has_a_default),
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(what_becomes_of_a_loss_is_a_word_or_a_mapping),
        cmocka_unit_test(an_encoding_that_is_none_is_refused),
        cmocka_unit_test(memory_without_its_key_is_refused),
        cmocka_unit_test(a_loss_that_makes_no_sense_is_refused),
        cmocka_unit_test(a_stream_has_a_seed_of_its_own_or_the_seed_of_all),
        cmocka_unit_test(a_job_of_tensors_needs_neither_data_nor_batch),
        cmocka_unit_test(sizes_may_be_bytes_or_have_units),
        cmocka_unit_test(settings_win_in_their_order),
        cmocka_unit_test(a_setting_reaches_into_a_name_alone),
        cmocka_unit_test(a_setting_may_give_what_the_file_leaves_out),
        cmocka_unit_test(names_and_folders_come_from_the_path),
        cmocka_unit_test(text_may_be_written_in_any_way_of_yaml),
        cmocka_unit_test(a_file_is_loaded),
        cmocka_unit_test(a_file_that_cannot_be_read_is_named),
        cmocka_unit_test(a_file_that_is_too_long_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
