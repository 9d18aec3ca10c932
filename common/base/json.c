#include "common/base/json.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

void tw_json_init(struct tw_json *json, struct tw_text *text) {
    *json = (struct tw_json){.text = text};
}

static void add(struct tw_json *json, const char *text) {
    tw_text_add_bytes(json->text, text, strlen(text));
}

static void add_escaped(struct tw_json *json, unsigned char byte) {
    static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *found = byte != 0 ? strchr(plain, byte) : NULL;
    if (found != NULL)
        tw_text_add(json->text, "\\%c", letters[found - plain]);
    else
        tw_text_add(json->text, "\\u%04x", byte);
}

/* How many bytes from `at` on may stand in a string as they are. */
static size_t plain_bytes(const char *at, size_t size) {
    size_t count = 0;
    while (count < size) {
        unsigned char byte = (unsigned char)at[count];
        size_t length = tw_utf8_length(at + count, size - count);
        if (length == 0 || byte < 0x20 || byte == '"' || byte == '\\')
            break;
        count += length;
    }
    return count;
}

static void add_quoted(struct tw_json *json, const char *at, size_t size) {
    add(json, "\"");
    while (size > 0) {
        size_t count = plain_bytes(at, size);
        tw_text_add_bytes(json->text, at, count);
        at += count;
        size -= count;
        if (size == 0)
            break;
        if ((unsigned char)*at < 0x80)
            add_escaped(json, (unsigned char)*at);
        else
            add(json, "\xef\xbf\xbd"); /* U+FFFD */
        at++;
        size--;
    }
    add(json, "\"");
}

/* What stands before every value: a comma, and in an object the key. */
static void begin_value(struct tw_json *json, const char *key) {
    assert((key != NULL) == (json->depth > 0 && json->open[json->depth - 1] == '{'));
    if (json->comma)
        add(json, ",");
    if (key != NULL) {
        add_quoted(json, key, strlen(key));
        add(json, ":");
    }
    json->comma = true;
}

static void begin(struct tw_json *json, const char *key, const char *bracket) {
    begin_value(json, key);
    assert(json->depth < TW_JSON_DEPTH_MAX);
    json->open[json->depth++] = bracket[0];
    json->comma = false;
    add(json, bracket);
}

static void end(struct tw_json *json, char opened, const char *bracket) {
    assert(json->depth > 0 && json->open[json->depth - 1] == opened);
    (void)opened;
    json->depth--;
    json->comma = true;
    add(json, bracket);
}

void tw_json_begin_object(struct tw_json *json, const char *key) {
    begin(json, key, "{");
}

void tw_json_end_object(struct tw_json *json) {
    end(json, '{', "}");
}

void tw_json_begin_array(struct tw_json *json, const char *key) {
    begin(json, key, "[");
}

void tw_json_end_array(struct tw_json *json) {
    end(json, '[', "]");
}

void tw_json_string(struct tw_json *json, const char *key, const char *value) {
    if (value == NULL)
        tw_json_null(json, key);
    else
        tw_json_string_bytes(json, key, value, strlen(value));
}

void tw_json_string_bytes(struct tw_json *json, const char *key, const void *value, size_t size) {
    begin_value(json, key);
    add_quoted(json, value, size);
}

void tw_json_integer(struct tw_json *json, const char *key, int64_t value) {
    begin_value(json, key);
    tw_text_add(json->text, "%" PRId64, value);
}

void tw_json_unsigned(struct tw_json *json, const char *key, uint64_t value) {
    begin_value(json, key);
    tw_text_add(json->text, "%" PRIu64, value);
}

void tw_json_real(struct tw_json *json, const char *key, double value) {
    if (!isfinite(value)) {
        tw_json_null(json, key);
        return;
    }
    begin_value(json, key);
    tw_text_add_real(json->text, value);
}

void tw_json_bool(struct tw_json *json, const char *key, bool value) {
    begin_value(json, key);
    add(json, value ? "true" : "false");
}

void tw_json_null(struct tw_json *json, const char *key) {
    begin_value(json, key);
    add(json, "null");
}
