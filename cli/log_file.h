/* The order log of a run directory, as a file to read records from.
 *
 * Used by `talweg log`, `talweg replay` and `talweg timeline`. What is wrong with the bytes
 * is said by proto/order_log.h, with the path put in front.
 */
#ifndef TW_CLI_LOG_FILE_H
#define TW_CLI_LOG_FILE_H

#include "cli/run_file.h"
#include "proto/order_log.h"

struct tw_log_file {
    struct tw_run_file file;
    struct tw_order_log_reader *reader;
};

/* Opens RUN/order.log. TW_DATA: RUN is missing, no directory, or none of a run; or its
 * log cannot be opened. TW_LIMIT, TW_NO_MEMORY. On failure nothing is left to close. */
enum tw_status tw_log_file_open(struct tw_log_file *log, const char *run, struct tw_error *error);

/* As tw_order_log_next(), with the path in front of messages. */
enum tw_status tw_log_file_next(struct tw_log_file *log, struct tw_record *record,
                                struct tw_error *error);

/* Harmless twice. */
void tw_log_file_close(struct tw_log_file *log);

#endif
