/* Entries of the trace log as text, as rows of CSV, and as JSON: what `talweg log --trace`
 * prints. One table (proto/trace_log.h) says what there is. Pure: appends to a text.
 */
#ifndef TW_CLI_TRACE_TEXT_H
#define TW_CLI_TRACE_TEXT_H

#include "common/base/text.h"
#include "proto/trace_log.h"

/* One line for people; times in seconds since the start, "-" where nothing was measured. */
void tw_trace_to_text(struct tw_text *out, const struct tw_trace_entry *entry);

/* The columns' names, as the first line: "entry", then the fields of all kinds, each once. */
void tw_trace_csv_head(struct tw_text *out);

/* A line; fields that the kind does not have, and times that were not measured, are empty.
 * Times are nanoseconds, hashes 16 digits; reals read back as the same bits. */
void tw_trace_to_csv(struct tw_text *out, const struct tw_trace_entry *entry);

/* One object on one line, with the fields that its kind has; null where nothing was
 * measured. */
void tw_trace_to_json(struct tw_text *out, const struct tw_trace_entry *entry);

#endif
