/* The built-in worker: what it refuses before it connects, and a short run against a
 * server of the test. (Whole runs are tested end to end, by tests/e2e.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/integration/fake_server.h"
#include "worker/io/train.h"
#include "worker/nn/gemm.h"
#include "worker/nn/model.h"

#define MODEL                                                                                      \
    "model:\n"                                                                                     \
    "  input: [2, 2]\n"                                                                            \
    "  layers: [flatten, {dense: 3}]\n"                                                            \
    "  loss: softmax_cross_entropy\n"
#define REST                                                                                       \
    "epochs: 1\n"                                                                                  \
    "optimizer: {name: sgd, lr: 0.1}\n"                                                            \
    "consistency: {mode: sync}\n"                                                                  \
    "cluster: {servers: 1, workers: 1}\n"

/* A folder with a data set of `count` samples of 2 x 2 pixels in 3 classes. */
struct files {
    char folder[64], images[128], labels[128];
};

static void write_file(const char *path, const unsigned char *head, size_t head_bytes, int count,
                       int each, int modulus) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fwrite(head, 1, head_bytes, file);
    for (int i = 0; i < count * each; i++)
        fputc(i * 37 % modulus, file);
    fclose(file);
}

static void files_make(struct files *files, int count) {
    const unsigned char images[] = {0, 0, 8, 3, 0, 0, 0, (unsigned char)count,
                                    0, 0, 0, 2, 0, 0, 0, 2};
    const unsigned char labels[] = {0, 0, 8, 1, 0, 0, 0, (unsigned char)count};
    strcpy(files->folder, "/tmp/talweg-train-XXXXXX");
    assert_non_null(mkdtemp(files->folder));
    snprintf(files->images, sizeof(files->images), "%s/images", files->folder);
    snprintf(files->labels, sizeof(files->labels), "%s/labels", files->folder);
    write_file(files->images, images, sizeof(images), count, 4, 256);
    write_file(files->labels, labels, sizeof(labels), count, 1, 3);
}

static void files_remove(const struct files *files) {
    unlink(files->images);
    unlink(files->labels);
    rmdir(files->folder);
}

static const struct tw_option_rule *no_rules(const char *path, const char *name, int *count) {
    return NULL;
}

static struct tw_job *parse(const char *text) {
    static const struct tw_rule_book book = {no_rules};
    struct tw_job *job = NULL;
    struct tw_error error;
    if (tw_job_parse(&job, "test.yaml", text, strlen(text), NULL, 0, &error) != TW_OK ||
        tw_job_resolve(job, &book, &error) != TW_OK)
        fail_msg("%s", error.text);
    return job;
}

/* A job that trains, and tests, on the files. */
static struct tw_job *job_with(const struct files *files, int batch, const char *test) {
    char text[2048];
    snprintf(text, sizeof(text),
             MODEL "data:\n  train: {format: idx, images: %s, labels: %s}\n%s" REST "batch: %d\n",
             files->images, files->labels, test, batch);
    return parse(text);
}

static void expect(const struct tw_worker_config *config, enum tw_status status,
                   const char *words) {
    struct tw_error error = {.status = TW_OK};
    assert_int_equal(tw_worker_train(config, &error), status);
    if (strstr(error.text, words) == NULL)
        fail_msg("\"%s\" lacks \"%s\"", error.text, words);
}

static void a_job_with_gradients_of_its_own_is_refused(void **state) {
    struct tw_job *job = parse("model: {tensors: {w: [3]}}\n"
                               "updates: 3\n"
                               "optimizer: {name: sgd, lr: 0.1}\n"
                               "consistency: {mode: sync}\n"
                               "cluster: {servers: 1, workers: 1}\n");
    struct tw_worker_config config = {.job = job, .server = "x:1", .rank = -1, .stop_fd = -1};
    expect(&config, TW_JOB, "own_gradient.c");
    tw_job_free(job);
}

static void an_evaluator_needs_test_data(void **state) {
    struct files files;
    files_make(&files, 12);
    struct tw_job *job = job_with(&files, 4, "");
    struct tw_worker_config config = {
        .job = job, .server = "x:1", .evaluator = true, .stop_fd = -1};
    expect(&config, TW_JOB, "data.test");
    tw_job_free(job);
    files_remove(&files);
}

static void missing_data_names_the_file(void **state) {
    struct files files;
    files_make(&files, 12);
    struct tw_job *job = job_with(&files, 4, "");
    struct tw_worker_config config = {.job = job, .server = "x:1", .rank = -1, .stop_fd = -1};
    unlink(files.images);
    expect(&config, TW_DATA, files.images);
    tw_job_free(job);
    files_remove(&files);
}

static void no_server_is_said(void **state) {
    struct files files;
    files_make(&files, 12);
    struct tw_job *job = job_with(&files, 4, "");
    struct tw_worker_config config = {
        .job = job, .server = "127.0.0.1:1", .rank = -1, .stop_fd = -1, .connect_seconds = 0.1};
    expect(&config, TW_UNREACHABLE, "no server at 127.0.0.1:1");
    tw_job_free(job);
    files_remove(&files);
}

static void a_stop_ends_the_search_for_a_server(void **state) {
    struct files files;
    int ends[2];
    files_make(&files, 12);
    struct tw_job *job = job_with(&files, 4, "");
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    struct tw_worker_config config = {
        .job = job, .server = "127.0.0.1:1", .rank = -1, .stop_fd = ends[0]};
    expect(&config, TW_INTERRUPTED, "interrupted");
    close(ends[0]);
    close(ends[1]);
    tw_job_free(job);
    files_remove(&files);
}

/* ---- with a server ---- */

struct stage {
    struct files files;
    struct tw_job *job;
    struct tw_model *model;
    struct fake_server server;
    char address[32];
    struct tw_worker_config config;
};

static void stage_init(struct stage *stage, int batch, const struct fake_script *script) {
    char test[512];
    struct tw_error error;
    memset(stage, 0, sizeof(*stage));
    files_make(&stage->files, 12);
    snprintf(test, sizeof(test), "  test: {format: idx, images: %s, labels: %s}\n",
             stage->files.images, stage->files.labels);
    stage->job = job_with(&stage->files, batch, test);
    assert_int_equal(tw_model_build(&stage->model, &stage->job->model, &error), TW_OK);
    fake_server_start(&stage->server, &stage->model->list, script);
    snprintf(stage->address, sizeof(stage->address), "127.0.0.1:%d", stage->server.port);
    stage->config = (struct tw_worker_config){
        .job = stage->job, .server = stage->address, .rank = -1, .stop_fd = -1};
}

static void stage_fini(struct stage *stage) {
    fake_server_stop(&stage->server);
    tw_model_free(stage->model);
    tw_job_free(stage->job);
    files_remove(&stage->files);
}

static void a_worker_trains_until_the_run_is_over(void **state) {
    struct fake_script script = {.stop_after_steps = 30};
    struct stage stage;
    struct tw_error error;
    stage_init(&stage, 5, &script); /* 12 samples, 5 a step: steps run over borders of epochs */
    assert_int_equal(tw_worker_train(&stage.config, &error), TW_OK);
    assert_int_equal(atomic_load(&stage.server.steps), 30);
    /* From zero weights the loss of 3 classes is log 3; it has learned something since. */
    assert_true(atomic_load(&stage.server.last_loss) < 5 * 1.0986);
    assert_true(atomic_load(&stage.server.last_loss) > 0);
    stage_fini(&stage);
}

/* Cancelled when the server has the first or second chunk of a step. */
static void a_worker_goes_on_after_a_cancelled_step(void **state) {
    for (int pushes = 1; pushes <= 4; pushes++) {
        struct fake_script script = {
            .cancel_after_pushes = pushes, .cancel_late = pushes % 2, .stop_after_steps = 10};
        struct stage stage;
        struct tw_error error;
        stage_init(&stage, 5, &script);
        assert_int_equal(tw_worker_train(&stage.config, &error), TW_OK);
        assert_int_equal(atomic_load(&stage.server.steps), 9);
        stage_fini(&stage);
    }
}

static void an_evaluator_scores_until_the_run_is_over(void **state) {
    struct fake_script script = {0};
    struct stage stage;
    struct tw_error error;
    stage_init(&stage, 5, &script);
    stage.config.evaluator = true;
    assert_int_equal(tw_worker_train(&stage.config, &error), TW_OK);
    assert_int_equal(atomic_load(&stage.server.evaluations), 2);
    assert_int_equal(stage.server.asked, 3 * 12);
    /* Zero weights give equal scores: the lowest class wins every time, 4 of 12. */
    assert_true(atomic_load(&stage.server.accuracy) == 4.0 / 12);
    stage_fini(&stage);
}

static void a_failed_run_is_told(void **state) {
    struct fake_script script = {.stop_after_steps = 2, .stop_status = TW_NOT_FINITE};
    struct stage stage;
    stage_init(&stage, 4, &script);
    expect(&stage.config, TW_STOPPED, "the script is over");
    stage_fini(&stage);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_with_gradients_of_its_own_is_refused),
        cmocka_unit_test(an_evaluator_needs_test_data),
        cmocka_unit_test(missing_data_names_the_file),
        cmocka_unit_test(no_server_is_said),
        cmocka_unit_test(a_stop_ends_the_search_for_a_server),
        cmocka_unit_test(a_worker_trains_until_the_run_is_over),
        cmocka_unit_test(a_worker_goes_on_after_a_cancelled_step),
        cmocka_unit_test(an_evaluator_scores_until_the_run_is_over),
        cmocka_unit_test(a_failed_run_is_told),
    };
    struct tw_error error;
    if (tw_gemm_start(NULL, &error) != TW_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
