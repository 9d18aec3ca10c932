/* Sparse rows in text, as LIBSVM and SVMlight write them: "target index:value index:value ...",
 * indices from 1, upwards; what follows a # is a comment. */
#include <stdlib.h>
#include <string.h>

#include "worker/data/dataset.h"
#include "worker/data/floats.h"
#include "worker/data/source.h"
#include "worker/data/vocabulary.h"

#define FEATURES_MAX INT32_MAX

enum { TARGET_CLASSES, TARGET_NUMBERS };
static const char *const target_kinds[] = {"classes", "numbers", NULL};

struct options {
    const char *file;
    int64_t features;
    int targets;
};

static const struct tw_option_rule rules[] = {
    {.key = "file",
     .type = TW_OPTION_PATH,
     .offset = offsetof(struct options, file),
     .required = true,
     .text = "plain or gzipped"},
    {.key = "features",
     .type = TW_OPTION_INTEGER,
     .offset = offsetof(struct options, features),
     .required = true,
     .min = 1,
     .max = FEATURES_MAX,
     .text = "numbers of a sample, most of them 0: the largest index that may come"},
    {.key = "targets",
     .type = TW_OPTION_ENUM,
     .offset = offsetof(struct options, targets),
     .names = target_kinds,
     .text = "names of classes, or numbers to come near to"},
};

struct libsvm {
    const struct options *options;
    struct tw_dataset *dataset;
    struct tw_vocabulary *classes;
    bool like; /* classes are those of the training data */
    struct tw_floats values, targets;
    uint32_t *indices; /* [room of values] */
    size_t index_room;
    uint64_t *first; /* [rows + 1] */
    size_t first_room;
    uint32_t count;
    uint64_t line;
    struct tw_error *error;
};

static enum tw_status refuse(const struct libsvm *l, const char *what, const char *token) {
    return tw_error_set(l->error, TW_DATA, "%s:%llu: \"%.40s\" %s", l->options->file,
                        (unsigned long long)l->line, token, what);
}

static enum tw_status no_memory(const struct libsvm *l) {
    return tw_error_set(l->error, TW_NO_MEMORY, "%s: out of memory for %u rows", l->options->file,
                        l->count);
}

/* "+1" and "1" are one class. */
static enum tw_status read_class(struct libsvm *l, const char *token, float *out) {
    struct tw_error why;
    uint32_t number;
    token += *token == '+';
    if (l->like) {
        number = tw_vocabulary_find(l->classes, token);
        if (number == UINT32_MAX)
            return refuse(l, "is no class of the training data", token);
    } else {
        enum tw_status status = tw_vocabulary_add(l->classes, token, &number, &why);
        if (status != TW_OK)
            return status == TW_LIMIT ? refuse(l, why.text, token) : no_memory(l);
    }
    *out = (float)number;
    return TW_OK;
}

static enum tw_status read_target(struct libsvm *l, const char *token) {
    float *out = tw_floats_add(&l->targets, 1);
    if (out == NULL)
        return no_memory(l);
    if (l->options->targets == TARGET_CLASSES)
        return read_class(l, token, out);
    return tw_parse_number(token, out) ? TW_OK : refuse(l, "is no target: no number", token);
}

/* "index:value" behind index *last. */
static enum tw_status read_pair(struct libsvm *l, char *token, uint32_t *last) {
    char *colon = strchr(token, ':'), *end;
    float *value = tw_floats_add(&l->values, 1);
    if (value == NULL)
        return no_memory(l);
    if (l->index_room < l->values.room) {
        uint32_t *indices = reallocarray(l->indices, l->values.room, sizeof *indices);
        if (indices == NULL)
            return no_memory(l);
        l->indices = indices;
        l->index_room = l->values.room;
    }
    if (colon == NULL || *token < '0' || *token > '9')
        return refuse(l, "is no index:value", token);
    unsigned long index = strtoul(token, &end, 10);
    if (end != colon || !tw_parse_number(colon + 1, value))
        return refuse(l, "is no index:value", token);
    if (index == 0)
        return refuse(l, "has the index 0: indices are counted from 1", token);
    if (index > (unsigned long)l->options->features)
        return refuse(l, "has an index above features", token);
    if (index <= *last)
        return refuse(l, "is out of order: indices go up, and none comes twice", token);
    *last = (uint32_t)index;
    l->indices[l->values.count - 1] = *last - 1;
    return TW_OK;
}

static enum tw_status begin_row(struct libsvm *l) {
    if (l->count == UINT32_MAX)
        return tw_error_set(l->error, TW_DATA, "%s:%llu: more than 2^32 - 1 rows", l->options->file,
                            (unsigned long long)l->line);
    if (l->count + (size_t)2 > l->first_room) {
        size_t room = l->first_room < 512 ? 1024 : 2 * l->first_room;
        uint64_t *first = reallocarray(l->first, room, sizeof *first);
        if (first == NULL)
            return no_memory(l);
        l->first = first;
        l->first_room = room;
    }
    l->first[l->count] = l->values.count;
    return TW_OK;
}

static enum tw_status read_row(struct libsvm *l, char *text) {
    char *rest = NULL;
    uint32_t last = 0;
    text[strcspn(text, "#")] = '\0';
    char *token = strtok_r(text, " \t", &rest);
    if (token == NULL)
        return TW_OK; /* an empty line */
    enum tw_status status = begin_row(l);
    if (status == TW_OK)
        status = read_target(l, token);
    while (status == TW_OK && (token = strtok_r(NULL, " \t", &rest)) != NULL)
        status = read_pair(l, token, &last);
    if (status == TW_OK)
        l->first[++l->count] = l->values.count;
    return status;
}

static enum tw_status read_rows(struct libsvm *l, struct tw_source *source) {
    struct tw_lines lines;
    enum tw_status status;
    char *text;
    tw_lines_init(&lines, source);
    do {
        status = tw_lines_next(&lines, false, &text, &l->line, l->error);
        if (status == TW_OK)
            status = read_row(l, text);
    } while (status == TW_OK);
    tw_lines_fini(&lines);
    if (status != TW_CLOSED)
        return status;
    if (l->count == 0)
        return tw_error_set(l->error, TW_DATA, "%s: no rows", l->options->file);
    if (l->values.count == 0)
        return tw_error_set(l->error, TW_DATA, "%s: no row has an index:value", l->options->file);
    return TW_OK;
}

/* The classes get their numbers in their order. */
static enum tw_status make_labels(struct libsvm *l) {
    uint32_t *now = l->like ? NULL : tw_vocabulary_sort(l->classes);
    if (now == NULL && !l->like)
        return no_memory(l);
    int32_t *labels = tw_vocabulary_labels(l->targets.at, l->count, now);
    l->dataset->labels = l->dataset->owned[3] = labels;
    free(now);
    return labels != NULL ? TW_OK : no_memory(l);
}

static enum tw_status make_samples(struct libsvm *l) {
    struct tw_dataset *dataset = l->dataset;
    dataset->count = l->count;
    dataset->kind = TW_ROWS_SPARSE;
    dataset->dims = 1;
    dataset->shape[0] = dataset->elements = l->options->features;
    dataset->first = dataset->owned[0] = l->first;
    dataset->index = dataset->owned[1] = l->indices;
    dataset->rows = dataset->owned[2] = tw_floats_take(&l->values);
    l->first = NULL;
    l->indices = NULL;
    if (l->options->targets == TARGET_CLASSES)
        return make_labels(l);
    dataset->outputs = 1;
    dataset->targets = dataset->owned[3] = tw_floats_take(&l->targets);
    return TW_OK;
}

static enum tw_status find_classes(struct libsvm *l, const struct tw_dataset *like) {
    l->dataset->words = tw_vocabularies_new(1);
    if (l->dataset->words == NULL)
        return no_memory(l);
    l->like = like != NULL && like->words != NULL && like->words->count > 0;
    l->classes = l->like ? &like->words->at[0] : &l->dataset->words->at[0];
    return TW_OK;
}

static enum tw_status parse(struct tw_dataset *dataset, const void *options,
                            const struct tw_dataset *like, struct tw_source *source,
                            struct tw_error *error) {
    struct libsvm l = {.options = options, .dataset = dataset, .error = error};
    enum tw_status status = find_classes(&l, like);
    if (status == TW_OK)
        status = read_rows(&l, source);
    if (status == TW_OK)
        status = make_samples(&l);
    tw_floats_fini(&l.values);
    tw_floats_fini(&l.targets);
    free(l.indices);
    free(l.first);
    return status;
}

const struct tw_data_format tw_data_format_libsvm = {
    .name = "libsvm",
    .text = "sparse rows in text, as LIBSVM and SVMlight have them, for a model that begins with "
            "sparse_dense",
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .options_size = sizeof(struct options),
    .file = offsetof(struct options, file),
    .parse = parse,
};
