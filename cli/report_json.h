/* Reports as JSON lines, and the one object that --json ends with.
 *
 * Who uses it: a supervised server writes each struct tw_report as one line into
 * a pipe, the launcher reads them there; `run` and `server` print the summary. The
 * lines are private to one version of Talweg; the summary's fields are a contract
 * (DESIGN.md §7).
 *
 * Reading trusts nothing: whatever the bytes are, the answer is a report or
 * TW_MALFORMED with a reason. NaN is written as null and read as NaN.
 */
#ifndef TW_CLI_REPORT_JSON_H
#define TW_CLI_REPORT_JSON_H

#include "common/base/text.h"
#include "server/io/report.h"

/* No report is longer; a pipe with a longer line is not one of ours. */
#define TW_REPORT_LINE_MAX (64u << 10)

/* Appends the report and a newline. Only what its kind carries is written. */
void tw_report_to_json(struct tw_text *text, const struct tw_report *report);

/* Reads one line (with or without its newline). Fields that the kind does not
 * carry are zero, text fields that are too long are cut. TW_MALFORMED. */
enum tw_status tw_report_from_json(struct tw_report *report, const char *line, size_t size,
                                   struct tw_error *error);

/* All that is known at the end of a command that runs something. */
struct tw_summary {
    struct tw_result result; /* status decides: done, interrupted, or failed */
    bool counted;            /* the server gave the numbers in `result` */
    const char *mode;        /* NULL: not known, e.g. the job could not be read */
    int servers, workers;    /* 0: not known */
    const char *run;         /* run directory, or NULL */
};

/* "done", "interrupted", "failed". */
const char *tw_summary_status(const struct tw_summary *summary);

/* Appends the object and a newline: every field, null where there is none. */
void tw_summary_to_json(struct tw_text *text, const struct tw_summary *summary);

#endif
