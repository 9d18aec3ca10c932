#include "cli/run_server.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/run_file.h"
#include "server/io/server_file.h"

enum { FILE_BYTES_MAX = 4096 };

static bool exists(const char *run, const char *name) {
    char path[TW_PATH_MAX];
    struct stat about;
    return tw_path_join(path, sizeof path, run, name) == TW_OK && stat(path, &about) == 0;
}

static enum tw_status check_run(const char *run, struct tw_error *error) {
    if (tw_run_check(run, error))
        return error->status;
    if (!exists(run, "job.yaml"))
        return tw_error_set(error, TW_DATA, "%s: is not the directory of a run: it has no job.yaml",
                            run);
    return TW_OK;
}

static enum tw_status nobody_works(const char *run, struct tw_error *error) {
    if (exists(run, "model.safetensors"))
        return tw_error_set(error, TW_STOPPED, "the run in %s is over; its model is saved", run);
    if (exists(run, "order.log"))
        return tw_error_set(error, TW_STOPPED, "the run in %s is over; it left no model", run);
    return tw_error_set(error, TW_STOPPED, "no server works on the run in %s", run);
}

static bool take_id(uint8_t out[TW_JOB_ID_BYTES], const char *text) {
    if (strlen(text) != 2 * TW_JOB_ID_BYTES ||
        strspn(text, "0123456789abcdef") != 2 * TW_JOB_ID_BYTES)
        return false;
    for (int i = 0; i < TW_JOB_ID_BYTES; i++) {
        const char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}

/* Whoever listens everywhere is also here. */
static const char *reachable(const char *host) {
    if (strcmp(host, "0.0.0.0") == 0)
        return "127.0.0.1";
    return strcmp(host, "::") == 0 ? "::1" : host;
}

static bool take_fields(struct tw_run_server *out, const json_t *object) {
    const char *host = json_string_value(json_object_get(object, "host"));
    const char *job = json_string_value(json_object_get(object, "job"));
    json_int_t port = json_integer_value(json_object_get(object, "port"));
    out->pid = (long)json_integer_value(json_object_get(object, "pid"));
    if (!host || !*host || strlen(host) >= sizeof out->at.host || port < 1 || port > 65535)
        return false;
    snprintf(out->at.host, sizeof out->at.host, "%s", reachable(host));
    snprintf(out->at.port, sizeof out->at.port, "%d", (int)port);
    return job && take_id(out->job, job);
}

enum tw_status tw_run_server_find(struct tw_run_server *out, const char *run,
                                  struct tw_error *error) {
    char path[TW_PATH_MAX], *text = NULL;
    size_t size = 0;
    if (check_run(run, error))
        return error->status;
    if (!exists(run, TW_SERVER_FILE))
        return nobody_works(run, error);
    if (tw_path_join(path, sizeof path, run, TW_SERVER_FILE) != TW_OK)
        return tw_error_set(error, TW_LIMIT, "%.200s...: this path is too long", run);
    if (tw_file_read(path, FILE_BYTES_MAX, &text, &size, error)) {
        bool gone = !exists(run, TW_SERVER_FILE); /* the run ended meanwhile */
        return gone ? nobody_works(run, error) : (error->status = TW_DATA);
    }
    json_t *object = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    bool taken = take_fields(out, object);
    json_decref(object);
    free(text);
    return taken ? TW_OK
                 : tw_error_set(error, TW_DATA,
                                "%s: does not say where the server is; was it changed?", path);
}
