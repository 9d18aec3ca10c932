#include "cli/trace_file.h"

enum tw_status tw_trace_file_open(struct tw_trace_file *trace, const char *run,
                                  struct tw_error *error) {
    *trace = (struct tw_trace_file){.file.fd = -1};
    enum tw_status status = tw_run_file_open(&trace->file, run, "trace.log", error);
    if (status == TW_OK)
        status = tw_trace_reader_new(&trace->reader, tw_run_file_read, &trace->file, error);
    if (status != TW_OK)
        tw_trace_file_close(trace);
    return status;
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
