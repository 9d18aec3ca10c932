/* The trace log of a run directory, as a file to read entries from.
 *
 * Used by `talweg log`, `talweg replay`, `talweg timeline` and `talweg sim`. A run may have none
 * (`trace: {on: false}`), and nothing but measurements is lost with it.
 */
#ifndef TW_CLI_TRACE_FILE_H
#define TW_CLI_TRACE_FILE_H

#include "cli/run_file.h"
#include "proto/trace_log.h"

struct tw_trace_file {
    struct tw_run_file file;
    struct tw_trace_reader *reader;
};

/* Opens RUN/trace.log. TW_CLOSED: there is none; TW_DATA: it cannot be opened; TW_LIMIT,
 * TW_NO_MEMORY; all with a message. On failure nothing is left to close. */
enum tw_status tw_trace_file_open(struct tw_trace_file *trace, const char *run,
                                  struct tw_error *error);

/* The same of one generation of a run that was begun again: RUN/trace-gN.log; of the last one
 * RUN/trace.log, unless a generation has begun after it that died before its first record. */
enum tw_status tw_trace_file_open_of(struct tw_trace_file *trace, const char *run,
                                     uint32_t generation, uint32_t last, struct tw_error *error);

/* As tw_trace_next(), with the path in front of messages. */
enum tw_status tw_trace_file_next(struct tw_trace_file *trace, struct tw_trace_entry *entry,
                                  struct tw_error *error);

/* Any status but TW_OK ends the reading with it. */
typedef enum tw_status tw_trace_visitor(void *context, const struct tw_trace_header *header,
                                        const struct tw_trace_entry *entry, struct tw_error *error);

/* All entries of all generations up to `last`, in their order, each with its generation's header;
 * that is the first of them. A generation without a file is passed over. As tw_trace_file_next(),
 * and what `visit` says, with the path in front. */
enum tw_status tw_trace_files_read(const char *run, uint32_t last, tw_trace_visitor *visit,
                                   void *context, struct tw_error *error);

/* Harmless twice. */
void tw_trace_file_close(struct tw_trace_file *trace);

#endif
