#include "common/job/yaml_tree.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "common/base/limits.h"

struct builder {
    struct tw_yaml_source *source;
    struct tw_error *error;
    struct tw_yaml *root;
    struct tw_yaml *open; /* the map or list that new nodes go into */
    int depth;
    const char *key; /* read, its value comes next */
    int key_line;
    bool document; /* one has begun */
    bool done;
};

bool tw_yaml_is_null(const struct tw_yaml *node) {
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    if (node->kind != TW_YAML_SCALAR || node->quoted)
        return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(node->text, words[i]) == 0)
            return true;
    return false;
}

const char *tw_yaml_kind_text(const struct tw_yaml *node) {
    if (node->kind == TW_YAML_MAP)
        return "a mapping";
    if (node->kind == TW_YAML_LIST)
        return "a list";
    return tw_yaml_is_null(node) ? "empty" : "a single value";
}

struct tw_yaml *tw_yaml_find(const struct tw_yaml *map, const char *key) {
    for (struct tw_yaml *child = map->first; child; child = child->next)
        if (strcmp(child->key, key) == 0)
            return child;
    return NULL;
}

static void append(struct tw_yaml *parent, struct tw_yaml *child) {
    child->parent = parent;
    child->next = NULL;
    child->index = parent->count++;
    if (parent->last)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
}

void tw_yaml_put(struct tw_yaml *map, struct tw_yaml *child) {
    struct tw_yaml **link = &map->first;
    while (*link && strcmp((*link)->key, child->key) != 0)
        link = &(*link)->next;
    if (!*link) {
        append(map, child);
        return;
    }
    child->parent = map;
    child->index = (*link)->index;
    child->next = (*link)->next;
    if (map->last == *link)
        map->last = child;
    *link = child;
}

/* From the leaf to the root, filling `out` from its end. */
char *tw_yaml_path(const struct tw_yaml *node, char out[TW_YAML_PATH]) {
    char part[TW_YAML_PATH];
    size_t at = TW_YAML_PATH - 1;
    out[at] = '\0';
    for (; node && (node->parent || node->key); node = node->parent) {
        bool dot = node->key && node->parent && (node->parent->parent || node->parent->key);
        if (node->key)
            snprintf(part, sizeof part, "%s%s", dot ? "." : "", node->key);
        else
            snprintf(part, sizeof part, "[%d]", node->index);
        size_t size = strlen(part);
        if (size > at)
            break;
        at -= size;
        memcpy(out + at, part, size);
    }
    return memmove(out, out + at, TW_YAML_PATH - at);
}

static struct tw_where where_at(const struct builder *builder, int line) {
    struct tw_where where = builder->source->where;
    where.line = where.line ? line : 0;
    return where;
}

static enum tw_status refuse(const struct builder *builder, int line, const char *what) {
    return tw_job_error(builder->error, where_at(builder, line), "", "%s", what);
}

static int line_of(const yaml_event_t *event) {
    return (int)event->start_mark.line + 1;
}

static enum tw_status count_node(struct builder *builder, int line) {
    if (++builder->source->nodes > TW_JOB_NODES_MAX)
        return tw_job_error(builder->error, where_at(builder, line), "",
                            "more than %d values and keys; a job has fewer", TW_JOB_NODES_MAX);
    if (builder->open && builder->open->count >= TW_JOB_ENTRIES_MAX)
        return tw_job_error(builder->error, where_at(builder, line), "",
                            "more than %d entries in one list or mapping", TW_JOB_ENTRIES_MAX);
    return TW_OK;
}

/* A new node in its place: under the waiting key, at the end of the open list, or
 * as the root. */
static enum tw_status add_node(struct builder *builder, enum tw_yaml_kind kind, int line,
                               struct tw_yaml **out) {
    enum tw_status status = count_node(builder, line);
    if (status != TW_OK)
        return status;
    struct tw_yaml *node = tw_job_memory_get(builder->source->memory, sizeof *node);
    if (!node)
        return tw_job_memory_error(builder->error);
    node->kind = kind;
    node->where = where_at(builder, builder->key ? builder->key_line : line);
    node->folder = builder->source->folder;
    node->key = builder->key;
    builder->key = NULL;
    if (builder->open) {
        append(builder->open, node);
    } else {
        builder->root = node;
        node->parent = builder->source->parent;
        node->key = builder->source->key;
    }
    *out = node;
    return TW_OK;
}

static enum tw_status copy_text(struct builder *builder, const yaml_event_t *event,
                                const char **out) {
    const char *text = (const char *)event->data.scalar.value;
    size_t size = event->data.scalar.length;
    if (memchr(text, 0, size))
        return refuse(builder, line_of(event), "text with a zero byte (\\0) in it; take it out");
    *out = tw_job_memory_copy(builder->source->memory, text, size);
    return *out ? TW_OK : tw_job_memory_error(builder->error);
}

static enum tw_status on_key(struct builder *builder, const yaml_event_t *event) {
    int line = line_of(event);
    const char *key;
    enum tw_status status = copy_text(builder, event, &key);
    if (status != TW_OK)
        return status;
    if (!*key)
        return refuse(builder, line, "a key without a name before ':'");
    if (strlen(key) > TW_NAME_MAX)
        return tw_job_error(builder->error, where_at(builder, line), "",
                            "a key is longer than %d bytes", TW_NAME_MAX);
    const struct tw_yaml *earlier = tw_yaml_find(builder->open, key);
    if (earlier) {
        char path[TW_YAML_PATH];
        tw_yaml_path(earlier, path);
        struct tw_where where = where_at(builder, line);
        if (where.line)
            return tw_job_error(builder->error, where, path,
                                "given twice, here and in line %d; take one out",
                                earlier->where.line);
        return tw_job_error(builder->error, where, path, "given twice; take one out");
    }
    builder->key = key;
    builder->key_line = line;
    return count_node(builder, line);
}

static bool wants_key(const struct builder *builder) {
    return builder->open && builder->open->kind == TW_YAML_MAP && !builder->key;
}

static enum tw_status on_scalar(struct builder *builder, const yaml_event_t *event) {
    if (wants_key(builder))
        return on_key(builder, event);
    const char *text;
    enum tw_status status = copy_text(builder, event, &text);
    if (status != TW_OK)
        return status;
    struct tw_yaml *node;
    status = add_node(builder, TW_YAML_SCALAR, line_of(event), &node);
    if (status != TW_OK)
        return status;
    node->text = text;
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return TW_OK;
}

static enum tw_status on_begin(struct builder *builder, const yaml_event_t *event,
                               enum tw_yaml_kind kind) {
    int line = line_of(event);
    if (wants_key(builder))
        return refuse(builder, line, "a key must be a word, not a list or a mapping");
    if (++builder->depth > TW_JOB_DEPTH_MAX)
        return tw_job_error(builder->error, where_at(builder, line), "",
                            "nested deeper than %d levels; a job needs fewer", TW_JOB_DEPTH_MAX);
    struct tw_yaml *node;
    enum tw_status status = add_node(builder, kind, line, &node);
    if (status == TW_OK)
        builder->open = node;
    return status;
}

static void on_end(struct builder *builder) {
    builder->depth--;
    builder->open = builder->open == builder->root ? NULL : builder->open->parent;
}

static const char *anchor_of(const yaml_event_t *event) {
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return (const char *)event->data.scalar.anchor;
    case YAML_SEQUENCE_START_EVENT:
        return (const char *)event->data.sequence_start.anchor;
    case YAML_MAPPING_START_EVENT:
        return (const char *)event->data.mapping_start.anchor;
    default:
        return NULL;
    }
}

static const char *tag_of(const yaml_event_t *event) {
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return (const char *)event->data.scalar.tag;
    case YAML_SEQUENCE_START_EVENT:
        return (const char *)event->data.sequence_start.tag;
    case YAML_MAPPING_START_EVENT:
        return (const char *)event->data.mapping_start.tag;
    default:
        return NULL;
    }
}

static enum tw_status on_event(struct builder *builder, const yaml_event_t *event) {
    int line = line_of(event);
    if (anchor_of(event))
        return refuse(builder, line, "anchors (&name) are not allowed; write the value itself");
    if (tag_of(event))
        return refuse(builder, line, "tags (!name) are not allowed; take it out");
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return refuse(builder, line, "aliases (*name) are not allowed; write the value itself");
    case YAML_DOCUMENT_START_EVENT:
        if (builder->document)
            return refuse(builder, line, "a second document begins; a job file holds one job");
        builder->document = true;
        return TW_OK;
    case YAML_SCALAR_EVENT:
        return on_scalar(builder, event);
    case YAML_SEQUENCE_START_EVENT:
        return on_begin(builder, event, TW_YAML_LIST);
    case YAML_MAPPING_START_EVENT:
        return on_begin(builder, event, TW_YAML_MAP);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        on_end(builder);
        return TW_OK;
    case YAML_STREAM_END_EVENT:
        builder->done = true;
        return TW_OK;
    default:
        return TW_OK;
    }
}

/* What to do about the commonest of libyaml's complaints. */
static const char *hint_for(const char *problem, bool tab) {
    static const struct {
        const char *problem, *hint;
    } hints[] = {
        {"cannot start any token", "put the text in quotes"},
        {"mapping values are not allowed", "check the indentation, or put text with ':' in quotes"},
        {"did not find expected key", "check the indentation and the brackets"},
        {"could not find expected ':'", "write key: value, with a blank after the colon"},
        {"expected ',' or", "check the brackets and the commas"},
        {"block sequence entries are not allowed", "begin the list on a line of its own"},
        {"node content", "give a value, or close the bracket"},
        {"end of stream", "close the bracket or the quotes"},
        {"UTF-8", "save the file as UTF-8"},
        {"control characters", "take the character out"},
        {"", "see the example in docs/job.md"},
    };
    if (tab)
        return "indent with blanks, not with tabs";
    size_t i = 0;
    while (!strstr(problem, hints[i].problem))
        i++;
    return hints[i].hint;
}

static int line_at_offset(const struct tw_yaml_source *source, size_t offset) {
    int line = 1;
    for (size_t i = 0; i < offset && i < source->size; i++)
        line += source->text[i] == '\n';
    return line;
}

static bool tab_indents(const struct tw_yaml_source *source, int line) {
    size_t at = 0;
    while (at < source->size && line > 1)
        line -= source->text[at++] == '\n';
    while (at < source->size && source->text[at] == ' ')
        at++;
    return at < source->size && source->text[at] == '\t';
}

static enum tw_status syntax_error(const struct builder *builder, const yaml_parser_t *parser) {
    const struct tw_yaml_source *source = builder->source;
    if (parser->error == YAML_MEMORY_ERROR)
        return tw_job_memory_error(builder->error);
    const char *problem = parser->problem ? parser->problem : "it cannot be read";
    int line = parser->error == YAML_READER_ERROR ? line_at_offset(source, parser->problem_offset)
                                                  : (int)parser->problem_mark.line + 1;
    bool tab = strstr(problem, "token") && tab_indents(source, line);
    return tw_job_error(builder->error, where_at(builder, line), "", "not valid YAML%s%s: %s; %s",
                        parser->context ? ", " : "", parser->context ? parser->context : "",
                        problem, hint_for(problem, tab));
}

static enum tw_status check_bytes(const struct builder *builder) {
    const struct tw_yaml_source *source = builder->source;
    if (source->size > TW_JOB_BYTES_MAX)
        return tw_job_error(builder->error, where_at(builder, 0), "",
                            "longer than %u bytes; a job is shorter", TW_JOB_BYTES_MAX);
    const char *zero = source->size ? memchr(source->text, 0, source->size) : NULL;
    if (zero)
        return refuse(builder, line_at_offset(source, (size_t)(zero - source->text)),
                      "a zero byte; a job is text, in UTF-8");
    return TW_OK;
}

enum tw_status tw_yaml_parse(struct tw_yaml **out, struct tw_yaml_source *source,
                             struct tw_error *error) {
    struct builder builder = {.source = source, .error = error};
    *out = NULL;
    enum tw_status status = check_bytes(&builder);
    if (status != TW_OK)
        return status;
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return tw_job_memory_error(error);
    /* Else a byte order mark could make it read UTF-16. */
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)source->text, source->size);
    while (status == TW_OK && !builder.done) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            status = syntax_error(&builder, &parser);
            break;
        }
        status = on_event(&builder, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    *out = status == TW_OK ? builder.root : NULL;
    return status;
}
