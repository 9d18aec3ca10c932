/* Tables in text: CSV (RFC 4180), with any delimiter.
 *
 * A row becomes one sample: number columns as they are, categories as one element for each word
 * (one-hot) or as the number of the word, all in the order of the file; and its target. Words are
 * numbered when the file has been read: until then a cell holds the number of first appearance, in
 * a table with one float for each column.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arith.h"
#include "worker/data/csv_row.h"
#include "worker/data/dataset.h"
#include "worker/data/floats.h"
#include "worker/data/source.h"
#include "worker/data/vocabulary.h"

#define NAME_MAX_BYTES (TW_WORD_MAX + 1)

/* Of all samples, where words take an element each: else a small file could ask for any memory. */
#define NUMBERS_MAX ((size_t)1 << 30)

enum { TARGET_NUMBERS, TARGET_CLASSES };
static const char *const target_kinds[] = {"numbers", "classes", NULL};

enum { MISSING_REFUSE, MISSING_MEAN, MISSING_ZERO, MISSING_SKIP };
static const char *const missing_ways[] = {"refuse", "mean", "zero", "skip", NULL};

struct options {
    const char *file, *target, *features, *ignore, *categories, *indices, *delimiter;
    int targets, missing;
    bool header;
};

static const struct tw_option_rule rules[] = {
    {.key = "file",
     .type = TW_OPTION_PATH,
     .offset = offsetof(struct options, file),
     .required = true,
     .text = "plain or gzipped"},
    {.key = "target",
     .type = TW_OPTION_WORDS,
     .offset = offsetof(struct options, target),
     .required = true,
     .text = "column of the target, or several, by their names or counted from 1"},
    {.key = "targets",
     .type = TW_OPTION_ENUM,
     .offset = offsetof(struct options, targets),
     .names = target_kinds,
     .text = "numbers to come near to, or words that name classes"},
    {.key = "features",
     .type = TW_OPTION_WORDS,
     .offset = offsetof(struct options, features),
     .text = "columns to learn from; default: all others"},
    {.key = "ignore",
     .type = TW_OPTION_WORDS,
     .offset = offsetof(struct options, ignore),
     .text = "columns that are left out"},
    {.key = "categories",
     .type = TW_OPTION_WORDS,
     .offset = offsetof(struct options, categories),
     .text = "columns of words: one element for each word, 1 where it stands, else 0"},
    {.key = "indices",
     .type = TW_OPTION_WORDS,
     .offset = offsetof(struct options, indices),
     .text = "columns of words: the number of the word, as an embedding wants it"},
    {.key = "missing",
     .type = TW_OPTION_ENUM,
     .offset = offsetof(struct options, missing),
     .names = missing_ways,
     .text = "what becomes of a cell that is empty, NA, NaN, null or ?: an error, the mean of the "
             "training data, 0, or the row is left out"},
    {.key = "header",
     .type = TW_OPTION_BOOL,
     .offset = offsetof(struct options, header),
     .fallback = 1,
     .text = "the first row holds the names of the columns"},
    {.key = "delimiter",
     .type = TW_OPTION_TEXT,
     .offset = offsetof(struct options, delimiter),
     .text = "one character, or the word tab; default a comma"},
};

enum role { NUMBER, IGNORED, ONE_HOT, INDEX, TARGET };

struct column {
    char *name; /* NULL: the file names none */
    enum role role;
    struct tw_vocabulary
        *words;    /* of categories and classes: those that are filled, or looked up */
    uint32_t *now; /* of words that were filled: their numbers, by appearance */
};

struct csv {
    const struct options *options;
    struct tw_source source;
    struct tw_lines lines;
    struct tw_csv_row row;
    char delimiter;
    int columns;
    struct column *column;
    struct tw_dataset *dataset;
    const struct tw_vocabularies *like; /* NULL: this is training data */
    int inputs, targets;                /* columns of these */
    struct tw_floats in, out;           /* [rows, inputs], [rows, targets] */
    uint32_t count;
    bool missing;
    uint64_t line; /* of the present row */
    struct tw_error *error;
};

/* ---- columns ---- */

static enum tw_status csv_error(const struct csv *csv, const char *text, const char *what) {
    return tw_error_set(csv->error, TW_DATA, "%s:%llu: %s%s", csv->options->file,
                        (unsigned long long)csv->line, text, what);
}

/* The column of that name or, when none has it, of that number. -1: none. */
static int find_column(const struct csv *csv, const char *word) {
    char *end;
    for (int i = 0; i < csv->columns; i++)
        if (csv->column[i].name != NULL && strcmp(csv->column[i].name, word) == 0)
            return i;
    unsigned long number = strtoul(word, &end, 10);
    bool counts = *word >= '1' && *word <= '9' && *end == '\0';
    return counts && number <= (unsigned long)csv->columns ? (int)number - 1 : -1;
}

/* All columns of a list get a role that none has given them yet. To be learned from (NUMBER) is
 * what columns of words do, too. */
static enum tw_status give_roles(struct csv *csv, const char *key, const char *words,
                                 enum role role) {
    char word[NAME_MAX_BYTES];
    while (tw_words_next(&words, word, sizeof word)) {
        int i = find_column(csv, word);
        if (i < 0)
            return tw_error_set(csv->error, TW_DATA,
                                "%s: no column \"%s\", which %s names; it has %d columns%s%s",
                                csv->options->file, word, key, csv->columns,
                                csv->column[0].name != NULL ? ", the first is " : "",
                                csv->column[0].name != NULL ? csv->column[0].name : "");
        enum role *now = &csv->column[i].role;
        bool learns = role == NUMBER && (*now == ONE_HOT || *now == INDEX);
        if (*now != NUMBER && *now != role && !learns)
            return tw_error_set(csv->error, TW_DATA,
                                "%s: column \"%s\" has two roles; %s is one of them",
                                csv->options->file, word, key);
        *now = learns ? *now : role;
    }
    return TW_OK;
}

/* `features` are the columns that are wanted: numbers that it does not name are left out. */
static enum tw_status leave_out(struct csv *csv) {
    const char *words = csv->options->features;
    char word[NAME_MAX_BYTES];
    if (words == NULL)
        return TW_OK;
    bool *wanted = calloc((size_t)csv->columns, sizeof *wanted);
    if (wanted == NULL)
        return tw_error_set(csv->error, TW_NO_MEMORY, "out of memory for columns");
    enum tw_status status = give_roles(csv, "features", words, NUMBER);
    while (status == TW_OK && tw_words_next(&words, word, sizeof word))
        wanted[find_column(csv, word)] = true;
    for (int i = 0; i < csv->columns; i++)
        if (!wanted[i] && csv->column[i].role == NUMBER)
            csv->column[i].role = IGNORED;
    free(wanted);
    return status;
}

static bool has_words(const struct csv *csv, const struct column *column) {
    return column->role == ONE_HOT || column->role == INDEX ||
           (column->role == TARGET && csv->options->targets == TARGET_CLASSES);
}

static enum tw_status find_words(struct csv *csv) {
    int count = 0;
    for (int i = 0; i < csv->columns; i++)
        count += has_words(csv, &csv->column[i]);
    csv->dataset->words = tw_vocabularies_new(count);
    if (csv->dataset->words == NULL)
        return tw_error_set(csv->error, TW_NO_MEMORY, "out of memory for words");
    if (csv->like != NULL && csv->like->count != count)
        return tw_error_set(csv->error, TW_DATA,
                            "%s: %d columns hold words, but %d in the training data; give both "
                            "the same options",
                            csv->options->file, count, csv->like->count);
    struct tw_vocabulary *next = csv->like != NULL ? csv->like->at : csv->dataset->words->at;
    for (int i = 0; i < csv->columns; i++)
        if (has_words(csv, &csv->column[i]))
            csv->column[i].words = next++;
    return TW_OK;
}

static enum tw_status count_roles(struct csv *csv) {
    for (int i = 0; i < csv->columns; i++) {
        csv->inputs += csv->column[i].role != TARGET && csv->column[i].role != IGNORED;
        csv->targets += csv->column[i].role == TARGET;
    }
    if (csv->inputs == 0)
        return tw_error_set(csv->error, TW_DATA, "%s: no column is left to learn from",
                            csv->options->file);
    if (csv->options->targets == TARGET_CLASSES && csv->targets != 1)
        return tw_error_set(csv->error, TW_DATA, "%s: %d columns name the class; give one",
                            csv->options->file, csv->targets);
    return find_words(csv);
}

/* The first row says how many columns there are, and may name them. */
static enum tw_status find_columns(struct csv *csv) {
    const struct options *o = csv->options;
    csv->columns = csv->row.count;
    csv->column = calloc((size_t)csv->columns, sizeof *csv->column);
    if (csv->column == NULL)
        return tw_error_set(csv->error, TW_NO_MEMORY, "out of memory for columns");
    for (int i = 0; o->header && i < csv->columns; i++) {
        csv->column[i].name = strdup(csv->row.cells[i]);
        if (csv->column[i].name == NULL)
            return tw_error_set(csv->error, TW_NO_MEMORY, "out of memory for columns");
    }
    enum tw_status status = give_roles(csv, "target", o->target, TARGET);
    if (status == TW_OK)
        status = give_roles(csv, "categories", o->categories, ONE_HOT);
    if (status == TW_OK)
        status = give_roles(csv, "indices", o->indices, INDEX);
    if (status == TW_OK)
        status = give_roles(csv, "ignore", o->ignore, IGNORED);
    if (status == TW_OK)
        status = leave_out(csv);
    return status == TW_OK ? count_roles(csv) : status;
}

/* ---- rows ---- */

static enum tw_status cell_error(const struct csv *csv, int i, const char *what) {
    char shown[48];
    const char *cell = csv->row.cells[i];
    snprintf(shown, sizeof shown, strlen(cell) < 40 ? "%s" : "%.36s...", cell);
    return tw_error_set(csv->error, TW_DATA, "%s:%llu: column %d%s%s%s: \"%s\" %s",
                        csv->options->file, (unsigned long long)csv->line, i + 1,
                        csv->column[i].name != NULL ? " (" : "",
                        csv->column[i].name != NULL ? csv->column[i].name : "",
                        csv->column[i].name != NULL ? ")" : "", shown, what);
}

static bool is_missing(const char *cell) {
    static const char *const words[] = {"", "NA", "N/A", "NaN", "nan", "null", "?"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(cell, words[i]) == 0)
            return true;
    return false;
}

/* The number of a word. */
static enum tw_status read_word(struct csv *csv, int i, float *out) {
    struct column *column = &csv->column[i];
    uint32_t number;
    if (csv->like != NULL) {
        number = tw_vocabulary_find(column->words, csv->row.cells[i]);
        if (number == UINT32_MAX)
            return cell_error(csv, i, "does not occur in this column of the training data");
    } else {
        struct tw_error why;
        enum tw_status status = tw_vocabulary_add(column->words, csv->row.cells[i], &number, &why);
        if (status == TW_LIMIT)
            return cell_error(csv, i, why.text);
        if (status != TW_OK)
            return tw_error_set(csv->error, status, "%s", why.text);
    }
    *out = (float)number;
    return TW_OK;
}

static enum tw_status read_cell(struct csv *csv, int i, float *out) {
    const struct column *column = &csv->column[i];
    if (is_missing(csv->row.cells[i])) {
        *out = csv->options->missing == MISSING_ZERO && column->role == NUMBER ? 0.0f : NAN;
        if (csv->options->missing == MISSING_REFUSE)
            return cell_error(csv, i,
                              "is missing; say what becomes of it: missing: mean, zero or skip");
        if (column->role == TARGET)
            return cell_error(csv, i, "is a target that is missing; write missing: skip");
        if (column->role == INDEX)
            return cell_error(csv, i, "is missing where a word should stand; write missing: skip");
        return TW_OK;
    }
    if (column->words != NULL)
        return read_word(csv, i, out);
    if (tw_parse_number(csv->row.cells[i], out))
        return TW_OK;
    return cell_error(csv, i,
                      column->role == NUMBER
                          ? "is no number of float32; name the column in categories or ignore"
                          : "is no number of float32; for names of classes write targets: classes");
}

/* Whether the row is left out, before any of its words are known: a class or category that occurs
 * in such rows only is none. */
static bool is_skipped(const struct csv *csv) {
    for (int i = 0; csv->options->missing == MISSING_SKIP && i < csv->columns; i++)
        if (csv->column[i].role != IGNORED && is_missing(csv->row.cells[i]))
            return true;
    return false;
}

static enum tw_status read_row(struct csv *csv) {
    char text[96];
    if (csv->row.count != csv->columns) {
        snprintf(text, sizeof text, "%d cells, but there are %d columns", csv->row.count,
                 csv->columns);
        return csv_error(csv, text, csv->options->header ? "" : " in the first row");
    }
    if (is_skipped(csv))
        return TW_OK;
    if (csv->count == UINT32_MAX)
        return csv_error(csv, "more than 2^32 - 1 rows", "");
    float *in = tw_floats_add(&csv->in, (size_t)csv->inputs);
    float *out = tw_floats_add(&csv->out, (size_t)csv->targets);
    if (in == NULL || out == NULL)
        return tw_error_set(csv->error, TW_NO_MEMORY, "%s: out of memory for %u rows",
                            csv->options->file, csv->count);
    enum tw_status status = TW_OK;
    for (int i = 0; status == TW_OK && i < csv->columns; i++) {
        if (csv->column[i].role == IGNORED)
            continue;
        float **to = csv->column[i].role == TARGET ? &out : &in;
        status = read_cell(csv, i, (*to)++);
        csv->missing |= status == TW_OK && isnan((*to)[-1]);
    }
    csv->count += status == TW_OK;
    return status;
}

/* Cuts the next line that is not empty. */
static enum tw_status next_row(struct csv *csv) {
    struct tw_error why = {.status = TW_OK};
    char *text;
    do {
        enum tw_status status = tw_lines_next(&csv->lines, true, &text, &csv->line, csv->error);
        if (status != TW_OK)
            return status;
        if (csv->line == 1 && strncmp(text, "\xef\xbb\xbf", 3) == 0)
            text += 3; /* a byte order mark */
        status = tw_csv_row_cut(&csv->row, text, csv->delimiter, &why);
        if (status != TW_OK)
            return status == TW_DATA ? csv_error(csv, why.text, "")
                                     : tw_error_set(csv->error, status, "%s", why.text);
    } while (csv->row.count == 1 && !*csv->row.cells[0]);
    return TW_OK;
}

static enum tw_status read_rows(struct csv *csv) {
    enum tw_status status = next_row(csv);
    if (status == TW_CLOSED)
        return tw_error_set(csv->error, TW_DATA, "%s: an empty file", csv->options->file);
    if (status == TW_OK)
        status = find_columns(csv);
    if (status == TW_OK && !csv->options->header)
        status = read_row(csv);
    while (status == TW_OK) {
        status = next_row(csv);
        if (status == TW_OK)
            status = read_row(csv);
    }
    if (status != TW_CLOSED)
        return status;
    if (csv->count == 0)
        return tw_error_set(csv->error, TW_DATA, "%s: no rows%s", csv->options->file,
                            csv->options->header ? " behind the names of the columns" : "");
    return TW_OK;
}

/* ---- from rows to samples ---- */

/* Words get their numbers: those of training data are all known only now. */
static enum tw_status sort_words(struct csv *csv) {
    for (int i = 0; csv->like == NULL && i < csv->columns; i++) {
        struct column *column = &csv->column[i];
        if (column->words == NULL)
            continue;
        column->now = tw_vocabulary_sort(column->words);
        if (column->now == NULL)
            return tw_error_set(csv->error, TW_NO_MEMORY, "out of memory for words");
    }
    return TW_OK;
}

static float number_now(const struct column *column, float number) {
    return column->now != NULL && !isnan(number) ? (float)column->now[(uint32_t)number] : number;
}

/* One row of the table into x; returns behind it. A missing category has no word that is certain:
 * each element of it is missing (mean), or 0. */
static float *spread(const struct csv *csv, const float *row, float *x) {
    bool zero = csv->options->missing == MISSING_ZERO;
    for (int i = 0; i < csv->columns; i++) {
        const struct column *column = &csv->column[i];
        if (column->role == TARGET || column->role == IGNORED)
            continue;
        float value = number_now(column, *row++);
        if (column->role != ONE_HOT) {
            *x++ = value;
            continue;
        }
        for (uint32_t k = 0; k < column->words->count; k++)
            *x++ = isnan(value) ? zero ? 0.0f : NAN : (float)(value == (float)k);
    }
    return x;
}

static enum tw_status make_samples(struct csv *csv) {
    struct tw_dataset *dataset = csv->dataset;
    size_t elements = 0, total;
    for (int i = 0; i < csv->columns; i++)
        if (csv->column[i].role != TARGET && csv->column[i].role != IGNORED)
            elements += csv->column[i].role == ONE_HOT ? csv->column[i].words->count : 1;
    bool fits = tw_size_multiply(elements, csv->count, &total);
    if (elements > (size_t)csv->inputs && (!fits || total > NUMBERS_MAX))
        return tw_error_set(csv->error, TW_DATA,
                            "%s: %u rows of %zu elements, one for each word of its categories, are "
                            "more than 2^30 numbers; name columns of many words in indices",
                            csv->options->file, csv->count, elements);
    float *rows = NULL;
    if (elements == 0)
        return tw_error_set(csv->error, TW_DATA, "%s: every category is missing in every row",
                            csv->options->file);
    if (fits && total < SIZE_MAX / sizeof *rows)
        rows = malloc(total * sizeof *rows);
    dataset->rows = dataset->owned[0] = rows;
    if (rows == NULL)
        return tw_error_set(csv->error, TW_NO_MEMORY, "%s: out of memory for %u samples of %zu",
                            csv->options->file, csv->count, elements);
    float *to = rows;
    for (uint32_t i = 0; i < csv->count; i++)
        to = spread(csv, csv->in.at + (size_t)i * (size_t)csv->inputs, to);
    dataset->count = csv->count;
    dataset->kind = TW_ROWS_FLOATS;
    dataset->missing = csv->missing && csv->options->missing == MISSING_MEAN;
    dataset->dims = 1;
    dataset->shape[0] = dataset->elements = (int64_t)elements;
    return TW_OK;
}

static enum tw_status make_targets(struct csv *csv) {
    struct tw_dataset *dataset = csv->dataset;
    if (csv->options->targets == TARGET_NUMBERS) {
        dataset->outputs = csv->targets;
        dataset->targets = dataset->owned[1] = tw_floats_take(&csv->out);
        return TW_OK;
    }
    const struct column *column = csv->column;
    while (column->role != TARGET)
        column++;
    int32_t *labels = tw_vocabulary_labels(csv->out.at, csv->count, column->now);
    dataset->labels = dataset->owned[1] = labels;
    if (labels == NULL)
        return tw_error_set(csv->error, TW_NO_MEMORY, "out of memory for %u labels", csv->count);
    return TW_OK;
}

static void csv_fini(struct csv *csv) {
    for (int i = 0; csv->column != NULL && i < csv->columns; i++) {
        free(csv->column[i].name);
        free(csv->column[i].now);
    }
    free(csv->column);
    tw_floats_fini(&csv->in);
    tw_floats_fini(&csv->out);
    tw_csv_row_fini(&csv->row);
    tw_lines_fini(&csv->lines);
}

static enum tw_status check_options(struct csv *csv) {
    const char *said = csv->options->delimiter;
    if (said == NULL)
        said = ",";
    csv->delimiter = strcmp(said, "tab") == 0 ? '\t' : *said;
    bool good = strcmp(said, "tab") == 0 || (said[1] == '\0' && !strchr("\"\n\r ", *said));
    if (!good)
        return tw_error_set(csv->error, TW_JOB,
                            "\"%s\" delimits nothing; write one character, such as \";\", or tab",
                            said);
    return TW_OK;
}

static enum tw_status parse(struct tw_dataset *dataset, const void *options,
                            const struct tw_dataset *like, struct tw_source *source,
                            struct tw_error *error) {
    struct csv csv = {.options = options,
                      .dataset = dataset,
                      .like = like != NULL ? like->words : NULL,
                      .error = error};
    tw_lines_init(&csv.lines, source);
    enum tw_status status = check_options(&csv);
    if (status == TW_OK)
        status = read_rows(&csv);
    if (status == TW_OK)
        status = sort_words(&csv);
    if (status == TW_OK)
        status = make_samples(&csv);
    if (status == TW_OK)
        status = make_targets(&csv);
    csv_fini(&csv);
    return status;
}

const struct tw_data_format tw_data_format_csv = {
    .name = "csv",
    .text = "a table in text with a sample in each row: numbers, or words that are categories",
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .options_size = sizeof(struct options),
    .file = offsetof(struct options, file),
    .parse = parse,
};
