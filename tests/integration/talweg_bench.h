/* A program that uses the client library, with weights and gradients that are easy to check, and
 * the server that it talks to. */
#ifndef TW_TEST_TALWEG_BENCH_H
#define TW_TEST_TALWEG_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/integration/fake_server.h"
#include "worker/io/talweg.h"

/* Two tensors: a large one, and a small one. */
struct bench {
    struct tw_tensor tensor[2];
    struct tw_tensor_list list;
    struct talweg_tensor ours[2];
    float *weights[2], *gradient[2];
    struct fake_server server;
    struct talweg_config config;
    char address[64];
    struct talweg *talweg;
};

/* Elements of the first; a test may change it. */
static int64_t large = 3 * TW_BLOCK_FLOATS + 17;

static inline void bench_init(struct bench *bench, const struct fake_script *script) {
    static const struct tw_init zero = {TW_INIT_CONSTANT, 0};
    struct tw_error error;
    int64_t shape[2] = {large, 5};
    memset(bench, 0, sizeof(*bench));
    for (int i = 0; i < 2; i++) {
        tw_tensor_init(&bench->tensor[i], i == 0 ? "w" : "b", 1, &shape[i], zero, &error);
        bench->weights[i] = calloc((size_t)shape[i], sizeof(float));
        bench->gradient[i] = calloc((size_t)shape[i], sizeof(float));
        bench->ours[i] = (struct talweg_tensor){bench->tensor[i].name, 1, bench->tensor[i].shape,
                                                bench->weights[i]};
    }
    bench->list = (struct tw_tensor_list){2, bench->tensor};
    fake_server_start(&bench->server, &bench->list, script);
    snprintf(bench->address, sizeof(bench->address), "127.0.0.1:%d", bench->server.port);
    bench->config = (struct talweg_config)TALWEG_CONFIG_INIT;
    bench->config.server = bench->address;
    bench->config.tensors = bench->ours;
    bench->config.tensor_count = 2;
}

static inline void bench_fini(struct bench *bench) {
    talweg_leave(bench->talweg);
    fake_server_stop(&bench->server);
    for (int i = 0; i < 2; i++) {
        free(bench->weights[i]);
        free(bench->gradient[i]);
    }
}

/* The gradient of step t is t everywhere in w, 2 t in b; two examples. */
static inline void push_step(struct bench *bench, uint64_t step) {
    for (int i = 0; i < 2; i++)
        for (int64_t j = 0; j < bench->tensor[i].elements; j++)
            bench->gradient[i][j] = (float)step * (float)(i + 1);
    assert_int_equal(talweg_push_tensor(bench->talweg, 1, bench->gradient[1]), TALWEG_OK);
    assert_int_equal(talweg_push_tensor(bench->talweg, 0, bench->gradient[0]), TALWEG_OK);
    assert_int_equal(talweg_push_end(bench->talweg, 2, 1.0), TALWEG_OK);
}

/* Before step t: w = - 0.5 / 2 * (1 + ... + t - 1), in all elements. */
static inline void expect_weights(const struct bench *bench, uint64_t step) {
    float expected = -0.25f * (float)(step * (step - 1) / 2);
    for (int i = 0; i < 2; i++)
        for (int64_t j = 0; j < bench->tensor[i].elements; j++)
            if (bench->weights[i][j] != expected * (float)(i + 1))
                fail_msg("step %llu, tensor %d [%lld]: %g instead of %g", (unsigned long long)step,
                         i, (long long)j, (double)bench->weights[i][j],
                         (double)(expected * (float)(i + 1)));
}

static inline int join(struct bench *bench) {
    return talweg_join(&bench->talweg, &bench->config);
}

static inline void train_steps(struct bench *bench, uint64_t steps) {
    for (uint64_t t = 1; t <= steps; t++) {
        uint64_t step = 0;
        if (talweg_pull(bench->talweg, &step) != TALWEG_OK)
            fail_msg("step %llu: %s", (unsigned long long)t, talweg_error(bench->talweg));
        assert_int_equal(step, t);
        assert_int_equal(talweg_version(bench->talweg), t - 1);
        expect_weights(bench, t);
        push_step(bench, t);
    }
}

enum { PATIENCE_S = 120 };

static inline double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Waits, without calling the library, until `counter` has reached `goal`. */
static inline void await(atomic_int *counter, int goal) {
    double give_up = seconds() + PATIENCE_S;
    while (atomic_load(counter) < goal) {
        struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL);
        if (seconds() > give_up)
            fail_msg("waited for %d, it is %d after %d s", goal, atomic_load(counter), PATIENCE_S);
    }
}

#endif
