#include "cli/bench_cell.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "common/base/file.h"
#include "worker/io/talweg.h"

/* A folder that is gone as soon as the server has opened its files. */
struct cell_folder {
    char path[64];
    char job[TW_PATH_MAX], log[TW_PATH_MAX], out[TW_PATH_MAX];
};

struct worker_context {
    char server[TW_CELL_ADDRESS];
    uint64_t bytes;
    int rank;
};

/* ---- the server ---- */

static int serve(int commands, int answers, void *context) {
    const struct cell_folder *folder = context;
    char supervised[64];
    int log = open(folder->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (log < 0 || dup2(log, STDERR_FILENO) < 0)
        return 1;
    snprintf(supervised, sizeof supervised, "%d:%ld", answers, (long)getppid());
    const char *argv[] = {"server",    folder->job,    "--listen", "127.0.0.1:0", "--out",
                          folder->out, "--supervised", supervised, NULL};
    return tw_cmd_server((int)(sizeof argv / sizeof argv[0]) - 1, (char **)argv);
}

static enum tw_status write_job(const struct cell_folder *folder, const struct tw_cell_plan *plan,
                                struct tw_error *error) {
    const char *encoding = plan->encoding ? plan->encoding : "f32";
    char text[1024];
    int size = snprintf(text, sizeof text,
                        "model: {tensors: {w: [%" PRIu64 "]}}\n"
                        "updates: 1000000000\n"
                        "optimizer: %s\n"
                        "consistency: {mode: %s}\n"
                        "cluster: {servers: 1, workers: %d}\n"
                        "encoding: {push: %s, pull: %s}\n"
                        "checkpoint: {seconds: 0}\n",
                        plan->bytes / sizeof(float), plan->optimizer,
                        plan->mode ? plan->mode : "sync", plan->workers, encoding, encoding);
    return tw_file_write_atomic(folder->job, text, (size_t)size, error);
}

static enum tw_status make_folder(struct cell_folder *folder, const struct tw_cell_plan *plan,
                                  struct tw_error *error) {
    const char *base = getenv("TMPDIR");
    snprintf(folder->path, sizeof folder->path, "%s/talweg-bench-XXXXXX",
             base && strlen(base) < sizeof folder->path - 24 ? base : "/tmp");
    if (!mkdtemp(folder->path))
        return tw_error_set(error, TW_IO, "no folder %s: %s", folder->path, strerror(errno));
    enum tw_status status = tw_path_join(folder->job, sizeof folder->job, folder->path, "job.yaml");
    if (!status)
        status = tw_path_join(folder->log, sizeof folder->log, folder->path, "server.log");
    if (!status)
        status = tw_path_join(folder->out, sizeof folder->out, folder->path, "run");
    if (!status)
        status = tw_folder_make(folder->out, true, error);
    return status ? status : write_job(folder, plan, error);
}

static int remove_entry(const char *path, const struct stat *about, int kind, struct FTW *where) {
    return remove(path);
}

static void remove_folder(const struct cell_folder *folder) {
    nftw(folder->path, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* Its first words are a report of where it listens. */
static enum tw_status hear_address(struct tw_party *server, char *out, size_t room,
                                   struct tw_error *error) {
    char line[TW_REPORT_LINE_MAX];
    size_t size = 0;
    struct tw_report report = {.kind = TW_REPORT_DONE};
    while (size < sizeof line && tw_party_read(server->from, line + size, 1))
        if (line[size++] == '\n')
            break;
    if (tw_report_from_json(&report, line, size, error) || report.kind != TW_REPORT_LISTENING)
        return tw_error_set(error, TW_IO, "no server for the measurement: %s",
                            report.kind == TW_REPORT_DONE ? report.result.error : "no address");
    snprintf(out, room, "%s:%d", report.host, report.port);
    return TW_OK;
}

/* ---- a worker ---- */

static bool step_once(struct talweg *talweg, const float *gradient, struct tw_cell_step *out) {
    uint64_t step, start = tw_party_now_ns();
    if (talweg_push_tensor(talweg, 0, gradient) || talweg_push_end(talweg, 1, 0.5))
        return false;
    uint64_t pushed = tw_party_now_ns();
    if (talweg_pull(talweg, &step))
        return false;
    uint64_t answered = talweg_answered_ns(talweg), end = tw_party_now_ns();
    *out = (struct tw_cell_step){.push = 1e-9 * (double)(answered - start),
                                 .pull = 1e-9 * (double)(end - answered),
                                 .wait = 1e-9 * (double)(end - pushed)};
    return true;
}

static int work(int commands, int answers, void *context) {
    const struct worker_context *own = context;
    int64_t shape[1] = {(int64_t)(own->bytes / sizeof(float))};
    float *weights = calloc(own->bytes, 1), *gradient = malloc(own->bytes);
    struct talweg *talweg;
    if (!weights || !gradient)
        return 1;
    memset(weights, 0, own->bytes); /* warm */
    for (int64_t i = 0; i < shape[0]; i++)
        gradient[i] = 1e-3f;
    struct talweg_tensor tensor = {"w", 1, shape, weights};
    struct talweg_config config = TALWEG_CONFIG_INIT;
    config.server = own->server;
    config.rank = own->rank;
    config.numerics = "bench";
    config.tensors = &tensor;
    config.tensor_count = 1;
    int32_t count = 0;
    if (talweg_join(&talweg, &config) || talweg_pull(talweg, NULL))
        return 1;
    struct tw_cell_step steps;
    while (tw_party_read(commands, &count, sizeof count))
        for (int32_t i = 0; i < count; i++)
            if (!step_once(talweg, gradient, &steps) ||
                !tw_party_write(answers, &steps, sizeof steps))
                return 1;
    return 0;
}

/* ---- all ---- */

static enum tw_status start_workers(struct tw_cell *cell, const struct tw_cell_plan *plan,
                                    const char *server, const struct tw_bench_options *options,
                                    struct tw_error *error) {
    enum tw_status status = TW_OK;
    for (int rank = 0; rank < plan->workers && !status; rank++) {
        struct worker_context context = {.bytes = plan->bytes, .rank = rank};
        char name[32];
        snprintf(context.server, sizeof context.server, "%s", server);
        snprintf(name, sizeof name, "worker %d", rank);
        status = tw_party_start(&cell->worker[rank], name, options->core[1 - rank % 2], work,
                                &context, error);
        cell->workers = rank + 1;
    }
    return status;
}

enum tw_status tw_cell_serve(struct tw_party *server, const struct tw_cell_plan *plan,
                             const struct tw_bench_options *options, char address[TW_CELL_ADDRESS],
                             struct tw_error *error) {
    struct cell_folder folder;
    *server = (struct tw_party){0};
    enum tw_status status = make_folder(&folder, plan, error);
    if (!status)
        status = tw_party_start(server, "server", options->core[0], serve, &folder, error);
    if (!status)
        status = hear_address(server, address, TW_CELL_ADDRESS, error);
    remove_folder(&folder);
    if (status)
        tw_party_end(server);
    return status;
}

enum tw_status tw_cell_start(struct tw_cell *cell, const struct tw_cell_plan *plan,
                             const struct tw_bench_options *options, struct tw_error *error) {
    char address[TW_CELL_ADDRESS];
    *cell = (struct tw_cell){0};
    enum tw_status status = tw_cell_serve(&cell->server, plan, options, address, error);
    if (!status)
        status = start_workers(cell, plan, address, options, error);
    if (status)
        tw_cell_end(cell);
    return status;
}

enum tw_status tw_cell_measure(struct tw_cell *cell, int count, struct tw_cell_step *out,
                               struct tw_error *error) {
    int32_t steps = count;
    enum tw_status status = TW_OK;
    for (int rank = 0; rank < cell->workers && !status; rank++)
        status = tw_party_tell(&cell->worker[rank], &steps, sizeof steps, error);
    for (int i = 0; i < count && !status; i++)
        for (int rank = 0; rank < cell->workers && !status; rank++) {
            struct tw_cell_step step;
            status = tw_party_hear(&cell->worker[rank], &step, sizeof step, error);
            if (rank == 0)
                out[i] = step;
        }
    return status;
}

void tw_cell_end(struct tw_cell *cell) {
    for (int rank = 0; rank < cell->workers; rank++)
        tw_party_end(&cell->worker[rank]);
    tw_party_end(&cell->server);
}
