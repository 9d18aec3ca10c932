#include "worker/data/csv_row.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static enum tw_status add(struct tw_csv_row *row, char *cell, struct tw_error *error) {
    if (row->count == TW_CSV_COLUMNS_MAX)
        return tw_error_set(error, TW_DATA, "more than %d cells", TW_CSV_COLUMNS_MAX);
    if (row->count == row->room) {
        int room = row->room == 0 ? 16 : 2 * row->room;
        char **cells = realloc(row->cells, (size_t)room * sizeof *cells);
        if (cells == NULL)
            return tw_error_set(error, TW_NO_MEMORY, "out of memory for a row");
        row->cells = cells;
        row->room = room;
    }
    row->cells[row->count++] = cell;
    return TW_OK;
}

static bool is_blank(char c, char delimiter) {
    return (c == ' ' || c == '\t') && c != delimiter;
}

/* A cell that begins with a quote, behind it: its text moves to where the quote was. Returns what
 * follows the closing quote; *end is where the text ends. */
static char *unquote(char *at, char **end) {
    char *to = at;
    for (at++; *at && !(*at == '"' && at[1] != '"'); at++) {
        at += *at == '"';
        *to++ = *at;
    }
    *end = to;
    return at + (*at == '"');
}

enum tw_status tw_csv_row_cut(struct tw_csv_row *row, char *text, char delimiter,
                              struct tw_error *error) {
    row->count = 0;
    for (;;) {
        char *cell, *end;
        while (is_blank(*text, delimiter))
            text++;
        cell = text;
        if (*text == '"') {
            text = unquote(text, &end);
            while (is_blank(*text, delimiter))
                text++;
            if (*text && *text != delimiter)
                return tw_error_set(error, TW_DATA,
                                    "cell %d: something follows the closing quote; a quote within "
                                    "a cell is written twice",
                                    row->count + 1);
        } else {
            while (*text && *text != delimiter && *text != '"')
                text++;
            if (*text == '"')
                return tw_error_set(error, TW_DATA,
                                    "cell %d: a quote in the middle; put the whole cell in quotes",
                                    row->count + 1);
            for (end = text; end > cell && is_blank(end[-1], delimiter);)
                end--;
        }
        bool more = *text == delimiter && *text;
        *end = '\0';
        enum tw_status status = add(row, cell, error);
        if (status != TW_OK || !more)
            return status;
        text++;
    }
}

void tw_csv_row_fini(struct tw_csv_row *row) {
    free(row->cells);
    *row = (struct tw_csv_row){0};
}
