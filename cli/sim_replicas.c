#include "cli/sim_replicas.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/run_folder.h"

const char *const tw_replica_names[TW_REPLICA_COUNT] = {
#define X(name) #name,
    TW_REPLICA_VALUES(X)
#undef X
};

/* What a replica's process says, in one write. */
struct answer {
    int replica;
    enum tw_status status;
    double value[TW_REPLICA_COUNT];
    char error[512];
};
_Static_assert(sizeof(struct answer) <= 4096, "a pipe takes it whole (PIPE_BUF)");

static enum tw_status make_folder(const struct tw_simulation *of, int replica, char *folder,
                                  struct tw_error *error) {
    char wanted[TW_PATH_MAX], job_file[TW_PATH_MAX], note[80];
    int size = snprintf(wanted, sizeof wanted, "%s/r%03d", of->out, replica);
    if (size >= TW_PATH_MAX)
        return tw_error_set(error, TW_LIMIT, "--out: this path is too long");
    snprintf(note, sizeof note, "simulated: replica %d", replica);
    enum tw_status status =
        tw_run_folder_make(of->checked->job->name, wanted, time(NULL), folder, error);
    return status ? status : tw_run_folder_write_job(folder, of->checked, note, job_file, error);
}

static void simulate(const struct tw_simulation *simulation, int replica, struct answer *answer) {
    struct tw_job job = *simulation->checked->job;
    struct tw_checked_job checked = *simulation->checked;
    struct tw_simulation of = *simulation;
    struct tw_summary summary = {.counted = false};
    struct tw_simulated simulated;
    struct tw_error error;
    char folder[TW_PATH_MAX];
    answer->replica = replica;
    of.progress = NULL;
    of.delay.seed += (uint64_t)replica;
    of.service.seed += (uint64_t)replica;
    job.seeds.staleness += (uint64_t)replica;
    job.own_seed.staleness |= replica > 0;
    checked.job = &job;
    of.checked = &checked;
    if (of.out && make_folder(&of, replica, folder, &error)) {
        answer->status = error.status;
        snprintf(answer->error, sizeof answer->error, "%.500s", error.text);
        return;
    }
    of.out = of.out ? folder : NULL;
    answer->status = tw_simulation_run(&of, &summary, &simulated);
    const struct tw_result *result = &summary.result;
    snprintf(answer->error, sizeof answer->error, "%.500s", result->error);
    double *value = answer->value;
    value[TW_REPLICA_seconds] = result->seconds;
    value[TW_REPLICA_updates] = (double)result->updates;
    value[TW_REPLICA_updates_per_second] =
        result->seconds > 0 ? (double)result->updates / result->seconds : (double)NAN;
    value[TW_REPLICA_train_loss] = result->train_loss;
    value[TW_REPLICA_test_loss] = result->test_loss;
    value[TW_REPLICA_test_accuracy] = result->test_accuracy;
    value[TW_REPLICA_staleness_mean] = result->staleness_mean;
    value[TW_REPLICA_staleness_sd] = sqrt(simulated.staleness_variance);
    value[TW_REPLICA_staleness_max] = (double)result->staleness_max;
    value[TW_REPLICA_dropped] = (double)result->dropped;
}

static pid_t start(const struct tw_simulation *simulation, int replica, int answers) {
    fflush(NULL);
    pid_t parent = getpid(), pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody would hear its answer */
    if (getppid() != parent)
        _exit(1);
    struct answer answer = {.status = TW_OK};
    simulate(simulation, replica, &answer);
    ssize_t written = write(answers, &answer, sizeof answer);
    _exit(written == (ssize_t)sizeof answer ? 0 : 1);
}

static bool read_answer(int from, struct answer *answer) {
    ssize_t size;
    do
        size = read(from, answer, sizeof *answer);
    while (size < 0 && errno == EINTR);
    return size == (ssize_t)sizeof *answer;
}

/* One after the other, in the order of replicas: so sums have the same bits every time. */
static void average(const struct answer *answers, int count,
                    struct tw_replica_mean out[TW_REPLICA_COUNT]) {
    for (int v = 0; v < TW_REPLICA_COUNT; v++) {
        struct tw_replica_mean *mean = &out[v];
        double sum = 0, squares = 0;
        *mean = (struct tw_replica_mean){.mean = (double)NAN, .error = (double)NAN};
        for (int i = 0; i < count; i++)
            if (isfinite(answers[i].value[v])) {
                sum += answers[i].value[v];
                mean->count++;
            }
        if (mean->count)
            mean->mean = sum / mean->count;
        for (int i = 0; i < count; i++)
            if (isfinite(answers[i].value[v]))
                squares += (answers[i].value[v] - mean->mean) * (answers[i].value[v] - mean->mean);
        if (mean->count > 1)
            mean->error = sqrt(squares / (mean->count - 1) / mean->count);
    }
}

static void note_failure(const struct answer *answer, struct tw_error *error) {
    if (answer->status != TW_OK && error->status == TW_OK)
        tw_error_set(error, answer->status, "replica %d: %s", answer->replica, answer->error);
}

/* As many at once as there are cores. An interrupted one ends by itself: it got the signal, too. */
static void run_all(const struct tw_simulation *simulation, int count, const int pipes[2],
                    struct answer *answers, struct tw_error *error) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int begun = 0, running = 0;
    while (begun < count || running > 0) {
        bool stops = *simulation->stop || error->status != TW_OK;
        if (!stops && begun < count && running < (cores > 0 ? cores : 1)) {
            if (start(simulation, begun, pipes[1]) < 0)
                tw_error_set(error, TW_NO_MEMORY, "no process for replica %d: %s", begun,
                             strerror(errno));
            else
                running++;
            begun++;
            continue;
        }
        if (running == 0)
            return;
        struct answer answer;
        int ended;
        if (waitpid(-1, &ended, 0) < 0) {
            if (errno == EINTR)
                continue;
            tw_error_set(error, TW_INTERNAL, "a replica's process cannot be waited for: %s",
                         strerror(errno));
            return;
        }
        running--;
        if (!WIFEXITED(ended) || WEXITSTATUS(ended) || !read_answer(pipes[0], &answer)) {
            if (error->status == TW_OK)
                tw_error_set(error, TW_INTERNAL, "a replica's process died");
            continue;
        }
        answers[answer.replica] = answer;
        note_failure(&answer, error);
    }
}

enum tw_status tw_replicas_run(const struct tw_simulation *simulation, int count,
                               struct tw_replica_mean out[TW_REPLICA_COUNT],
                               struct tw_error *error) {
    int pipes[2];
    struct answer *answers = calloc((size_t)count, sizeof *answers);
    *error = (struct tw_error){.status = TW_OK};
    if (!answers)
        return tw_error_set(error, TW_NO_MEMORY, "no memory for %d replicas", count);
    if (pipe(pipes)) {
        free(answers);
        return tw_error_set(error, TW_IO, "no pipe: %s", strerror(errno));
    }
    run_all(simulation, count, pipes, answers, error);
    close(pipes[0]);
    close(pipes[1]);
    if (error->status == TW_OK && *simulation->stop)
        tw_error_set(error, TW_INTERRUPTED, "stopped by a signal");
    if (error->status == TW_OK)
        average(answers, count, out);
    free(answers);
    return error->status;
}
