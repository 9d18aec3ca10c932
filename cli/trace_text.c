#include "cli/trace_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/json.h"

/* The value of a field, whatever its type. */
struct value {
    uint64_t count; /* also times and hashes */
    double real;
    const struct tw_trace_data *data;
};

static struct value value_of(const struct tw_trace_entry *entry,
                             const struct tw_trace_field *field) {
    const char *at = (const char *)entry + field->offset;
    struct value value = {0};
    uint32_t narrow;
    if (field->type == TW_TRACE_COUNT32) {
        memcpy(&narrow, at, sizeof narrow);
        value.count = narrow;
    } else if (field->type == TW_TRACE_REAL) {
        memcpy(&value.real, at, sizeof value.real);
    } else if (field->type == TW_TRACE_BYTES) {
        value.data = (const struct tw_trace_data *)(const void *)at;
    } else {
        memcpy(&value.count, at, sizeof value.count);
    }
    return value;
}

static void add_hex(struct tw_text *out, const struct tw_trace_data *data) {
    for (uint32_t i = 0; i < data->size; i++)
        tw_text_add(out, "%02x", data->at[i]);
}

/* ---- text ---- */

static void add_for_people(struct tw_text *out, const struct tw_trace_field *field,
                           struct value value) {
    switch (field->type) {
    case TW_TRACE_COUNT32:
    case TW_TRACE_COUNT:
        tw_text_add(out, "%" PRIu64, value.count);
        break;
    case TW_TRACE_TIME:
        if (value.count)
            tw_text_add(out, "%.6f", (double)value.count * 1e-9);
        else
            tw_text_add(out, "-");
        break;
    case TW_TRACE_BITS:
        tw_text_add(out, "%016" PRIx64, value.count);
        break;
    case TW_TRACE_REAL:
        tw_text_add(out, "%.9g", value.real);
        break;
    case TW_TRACE_BYTES:
        add_hex(out, value.data);
        break;
    }
}

void tw_trace_to_text(struct tw_text *out, const struct tw_trace_entry *entry) {
    const struct tw_trace_shape *shape = tw_trace_shape(entry->kind);
    tw_text_add(out, "%-7s", shape->name);
    for (size_t i = 0; i < shape->count; i++) {
        tw_text_add(out, "%s%s ", i ? ", " : "", shape->field[i].name);
        add_for_people(out, &shape->field[i], value_of(entry, &shape->field[i]));
    }
    tw_text_add(out, "\n");
}

/* ---- CSV ---- */

/* The field of this name of a kind, or NULL. */
static const struct tw_trace_field *find(const struct tw_trace_shape *shape, const char *name) {
    for (size_t i = 0; i < shape->count; i++)
        if (strcmp(shape->field[i].name, name) == 0)
            return &shape->field[i];
    return NULL;
}

/* Whether an earlier kind has a field of this name, so that its column is there. */
static bool is_known(enum tw_trace_kind kind, const char *name) {
    for (enum tw_trace_kind k = TW_TRACE_HEADER; k < kind; k++)
        if (find(tw_trace_shape(k), name))
            return true;
    return false;
}

/* Adds the columns; of an entry, or, when it is NULL, their names. */
static void add_columns(struct tw_text *out, const struct tw_trace_entry *entry) {
    const struct tw_trace_shape *own = entry ? tw_trace_shape(entry->kind) : NULL, *shape;
    for (enum tw_trace_kind kind = TW_TRACE_HEADER; (shape = tw_trace_shape(kind)); kind++)
        for (size_t i = 0; i < shape->count; i++) {
            const char *name = shape->field[i].name;
            const struct tw_trace_field *field = own ? find(own, name) : NULL;
            if (is_known(kind, name))
                continue;
            tw_text_add(out, ",");
            if (!entry)
                tw_text_add(out, "%s", name);
            if (!field)
                continue;
            struct value value = value_of(entry, field);
            if (field->type == TW_TRACE_REAL)
                tw_text_add_real(out, value.real);
            else if (field->type == TW_TRACE_BITS)
                tw_text_add(out, "%016" PRIx64, value.count);
            else if (field->type == TW_TRACE_BYTES)
                add_hex(out, value.data);
            else if (field->type != TW_TRACE_TIME || value.count)
                tw_text_add(out, "%" PRIu64, value.count);
        }
    tw_text_add(out, "\n");
}

void tw_trace_csv_head(struct tw_text *out) {
    tw_text_add(out, "entry");
    add_columns(out, NULL);
}

void tw_trace_to_csv(struct tw_text *out, const struct tw_trace_entry *entry) {
    tw_text_add(out, "%s", tw_trace_shape(entry->kind)->name);
    add_columns(out, entry);
}

/* ---- JSON ---- */

static void write_field(struct tw_json *json, const struct tw_trace_field *field,
                        struct value value) {
    char bits[17];
    if (field->type == TW_TRACE_REAL) {
        tw_json_real(json, field->name, value.real);
    } else if (field->type == TW_TRACE_BITS) {
        snprintf(bits, sizeof bits, "%016" PRIx64, value.count);
        tw_json_string(json, field->name, bits);
    } else if (field->type == TW_TRACE_BYTES) {
        struct tw_text hex = {0};
        add_hex(&hex, value.data);
        tw_json_string(json, field->name, hex.size && !hex.failed ? hex.at : "");
        tw_text_fini(&hex);
    } else if (field->type == TW_TRACE_TIME && value.count == 0) {
        tw_json_null(json, field->name);
    } else {
        tw_json_unsigned(json, field->name, value.count);
    }
}

void tw_trace_to_json(struct tw_text *out, const struct tw_trace_entry *entry) {
    const struct tw_trace_shape *shape = tw_trace_shape(entry->kind);
    struct tw_json json;
    tw_json_init(&json, out);
    tw_json_begin_object(&json, NULL);
    tw_json_string(&json, "entry", shape->name);
    for (size_t i = 0; i < shape->count; i++)
        write_field(&json, &shape->field[i], value_of(entry, &shape->field[i]));
    tw_json_end_object(&json);
    tw_text_add(out, "\n");
}
