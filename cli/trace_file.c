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
    enum tw_status status = open_named(trace, run, name, error);
    return status == TW_CLOSED && generation == last ? tw_trace_file_open(trace, run, error)
                                                     : status;
}

enum tw_status tw_trace_file_next(struct tw_trace_file *trace, struct tw_trace_entry *entry,
                                  struct tw_error *error) {
    return tw_run_file_said(&trace->file, tw_trace_next(trace->reader, entry, error), error);
}

static enum tw_status read_all(struct tw_trace_file *trace, tw_trace_visitor *visit, void *context,
                               struct tw_error *error) {
    struct tw_trace_header header = {0};
    struct tw_trace_entry entry;
    enum tw_status status = TW_OK;
    while (status == TW_OK && (status = tw_trace_file_next(trace, &entry, error)) == TW_OK) {
        if (entry.kind == TW_TRACE_HEADER)
            header = entry.header;
        status = tw_run_file_said(&trace->file, visit(context, &header, &entry, error), error);
    }
    return status == TW_CLOSED ? TW_OK : status;
}

enum tw_status tw_trace_files_read(const char *run, uint32_t last, tw_trace_visitor *visit,
                                   void *context, struct tw_error *error) {
    enum tw_status status = TW_OK;
    for (uint32_t g = 0; g <= last && (status == TW_OK || status == TW_CLOSED); g++) {
        struct tw_trace_file trace;
        status = tw_trace_file_open_of(&trace, run, g, last, error);
        if (status == TW_OK)
            status = read_all(&trace, visit, context, error);
        tw_trace_file_close(&trace);
    }
    return status == TW_CLOSED ? TW_OK : status;
}

void tw_trace_file_close(struct tw_trace_file *trace) {
    tw_run_file_close(&trace->file);
    tw_trace_reader_free(trace->reader);
    trace->reader = NULL;
}
