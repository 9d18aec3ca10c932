/* Records of the order log as text, as rows of CSV, and as JSON: what `talweg log`
 * prints. Pure: appends to a text, prints nothing.
 */
#ifndef TW_CLI_LOG_TEXT_H
#define TW_CLI_LOG_TEXT_H

#include "common/base/text.h"
#include "proto/order_log.h"

/* One line for people. */
void tw_record_to_text(struct tw_text *out, const struct tw_record *record);

/* The columns' names, as the first line. */
void tw_record_csv_head(struct tw_text *out);

/* A line; of a record with contributions, one for each. Scalars are one field, with
 * blanks between, and so are ratios. Reals are the shortest that read back as the same bits. */
void tw_record_to_csv(struct tw_text *out, const struct tw_record *record);

/* One object on one line, with the fields that its kind has. */
void tw_record_to_json(struct tw_text *out, const struct tw_record *record);

#endif
