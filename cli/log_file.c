#include "cli/log_file.h"

enum tw_status tw_log_file_open(struct tw_log_file *log, const char *run, struct tw_error *error) {
    *log = (struct tw_log_file){.file.fd = -1};
    enum tw_status status = tw_run_check(run, error);
    if (status != TW_OK)
        return status;
    status = tw_run_file_open(&log->file, run, "order.log", error);
    if (status == TW_CLOSED)
        return tw_error_set(error, TW_DATA,
                            "%s: is not the directory of a run: it has no order.log", run);
    if (status == TW_OK)
        status = tw_order_log_reader_new(&log->reader, tw_run_file_read, &log->file, error);
    if (status != TW_OK)
        tw_log_file_close(log);
    return status;
}

enum tw_status tw_log_file_next(struct tw_log_file *log, struct tw_record *record,
                                struct tw_error *error) {
    return tw_run_file_said(&log->file, tw_order_log_next(log->reader, record, error), error);
}

void tw_log_file_close(struct tw_log_file *log) {
    tw_run_file_close(&log->file);
    tw_order_log_reader_free(log->reader);
    log->reader = NULL;
}
