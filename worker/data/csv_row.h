/* A row of CSV, cut into its cells (RFC 4180): between quotes anything may stand, and a quote is
 * written twice. */
#ifndef TW_DATA_CSV_ROW_H
#define TW_DATA_CSV_ROW_H

#include "common/base/status.h"

#define TW_CSV_COLUMNS_MAX (1 << 20)

/* Cells with a zero behind each, within the text of the row; blanks around them are taken away
 * where there are no quotes. Zeros are an empty one. */
struct tw_csv_row {
    int count, room;
    char **cells; /* from malloc */
};

/* `text` is changed. TW_DATA: a quote in the middle of a cell, or something behind a quoted one,
 * with the number of the cell; more cells than anybody needs. TW_NO_MEMORY. */
enum tw_status tw_csv_row_cut(struct tw_csv_row *row, char *text, char delimiter,
                              struct tw_error *error);

void tw_csv_row_fini(struct tw_csv_row *row);

#endif
