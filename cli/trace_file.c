#include "cli/trace_file.h"

#include <stdio.h>

static enum tw_status open_named(struct tw_trace_file *trace, const char *run, const char *name,
                                 struct tw_error *error) {
    *trace = (struct tw_trace_file){.file.fd = -1};
    enum tw_status status = tw_run_file_open(&trace->file, run, name, error);
    if (status == TW_OK)
        status = tw_trace_reader_new(&trace->reader, tw_run_file_read, &trace->file, error);
    if (status != TW_OK)
        tw_trace_file_close(trace);
    return status;
}

enum tw_status tw_trace_file_open(struct tw_trace_file *trace, const char *run,
                                  struct tw_error *error) {
    return open_named(trace, run, "trace.log", error);
}

enum tw_status tw_trace_file_open_of(struct tw_trace_file *trace, const char *run,
                                     uint32_t generation, uint32_t last, struct tw_error *error) {
    char name[32];
    snprintf(name, sizeof name, "trace-g%u.log", generation);
    return open_named(trace, run, generation == last ? "trace.log" : name, error);
}

enum tw_status tw_trace_file_next(struct tw_trace_file *trace, struct tw_trace_entry *entry,
                                  struct tw_error *error) {
    return tw_run_file_said(&trace->file, tw_trace_next(trace->reader, entry, error), error);
}

void tw_trace_file_close(struct tw_trace_file *trace) {
    tw_run_file_close(&trace->file);
    tw_trace_reader_free(trace->reader);
    trace->reader = NULL;
}
