#include "common/job/option_value.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/text.h"

char *tw_shown(const char *text, char out[TW_SHOWN]) {
    const size_t most = TW_SHOWN - 8;
    size_t left = strlen(text), take = 0, size;
    while (left && (size = tw_utf8_length(text + take, left)) && take + size <= most) {
        take += size;
        left -= size;
    }
    snprintf(out, TW_SHOWN, "\"%.*s%s\"", (int)take, text, left ? "..." : "");
    return out;
}

char *tw_key_path(const char *path, const char *key, char out[TW_KEY_PATH]) {
    snprintf(out, TW_KEY_PATH, "%s%s%s", path, *path && *key ? "." : "", key);
    return out;
}

/* Digits only; a leading zero would be octal to some readers of YAML. */
static bool is_digits(const char *text) {
    if (!*text || (text[0] == '0' && text[1]))
        return false;
    return strspn(text, "0123456789") == strlen(text);
}

int tw_scalar_unsigned(const char *text, uint64_t *out) {
    *out = 0;
    if (*text == '+')
        text++;
    if (!is_digits(text))
        return -1;
    for (; *text; text++)
        if (__builtin_mul_overflow(*out, (uint64_t)10, out) ||
            __builtin_add_overflow(*out, (uint64_t)(*text - '0'), out))
            return 1;
    return 0;
}

int tw_scalar_integer(const char *text, int64_t *out) {
    bool minus = *text == '-';
    uint64_t size;
    if (minus && text[1] == '+')
        return -1;
    int result = tw_scalar_unsigned(text + minus, &size);
    if (result == 0 && size > (uint64_t)INT64_MAX + (minus ? 1 : 0))
        result = 1;
    *out = result != 0 ? 0 : minus ? (int64_t)(0 - size) : (int64_t)size;
    return result;
}

/* [+-] digits [. digits] [e [+-] digits], with at least one digit before the e. */
static bool is_real(const char *text) {
    text += *text == '+' || *text == '-';
    size_t whole = strspn(text, "0123456789"), part = 0;
    text += whole;
    if (*text == '.') {
        part = strspn(text + 1, "0123456789");
        text += 1 + part;
    }
    if (whole + part == 0)
        return false;
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '+' || *text == '-';
        size_t power = strspn(text, "0123456789");
        if (power == 0)
            return false;
        text += power;
    }
    return !*text;
}

/* As tw_scalar_integer(); a number too small to tell from zero does not fit. */
static int scalar_real(const char *text, double *out) {
    *out = 0;
    if (!is_real(text))
        return -1;
    double value = strtod(text, NULL);
    size_t digits = strcspn(text, "eE");
    bool zero = true;
    for (size_t i = 0; i < digits; i++)
        zero = zero && !(text[i] >= '1' && text[i] <= '9');
    if (!isfinite(value) || (value == 0 && !zero))
        return 1;
    *out = value;
    return 0;
}

static bool has_limits(const struct tw_option_rule *rule) {
    return rule->min != rule->max;
}

static void add_limit(char *out, size_t room, const char *before, const char *word, double limit) {
    char number[TW_REAL_TEXT];
    size_t used = strlen(out);
    if (limit == rint(limit) && fabs(limit) < 1e18)
        snprintf(number, sizeof number, "%.0f", limit);
    else
        tw_real_text(limit, number);
    snprintf(out + used, room - used, "%s%s %s", before, word, number);
}

/* " from 1 to 9", " above 0 and at most 1", " of at least 0", "". */
static void limits_text(const struct tw_option_rule *rule, char *out, size_t room) {
    out[0] = '\0';
    if (!has_limits(rule))
        return;
    bool low = isfinite(rule->min), high = isfinite(rule->max);
    bool from = low && high && !rule->min_open && !rule->max_open;
    if (low)
        add_limit(out, room, " ",
                  from             ? "from"
                  : rule->min_open ? "above"
                                   : "of at least",
                  rule->min);
    if (high)
        add_limit(out, room,
                  from  ? " "
                  : low ? " and "
                        : " ",
                  from             ? "to"
                  : rule->max_open ? "below"
                                   : "at most",
                  rule->max);
}

static bool in_limits(const struct tw_option_rule *rule, double value) {
    if (!has_limits(rule))
        return true;
    bool low = rule->min_open ? value > rule->min : value >= rule->min;
    return low && (rule->max_open ? value < rule->max : value <= rule->max);
}

/* Where, and how to say what was written. */
struct place {
    const struct tw_option *option;
    const char *path;
    struct tw_error *error;
    char shown[TW_SHOWN];
};

static enum tw_status number_error(const struct place *place, const struct tw_option_rule *rule,
                                   bool misfit) {
    char limits[80];
    const char *kind = rule->type == TW_OPTION_INTEGER ? "whole number" : "number";
    limits_text(rule, limits, sizeof limits);
    struct tw_where where = place->option->where;
    if (place->option->quoted)
        return tw_job_error(place->error, where, place->path,
                            "%s in quotes is text; write the %s without quotes", place->shown,
                            kind);
    double value;
    if (!misfit && scalar_real(place->option->text, &value) == 0 && value == rint(value) &&
        fabs(value) < 1e15)
        return tw_job_error(place->error, where, place->path, "write %s in plain digits: %.0f",
                            place->shown, value);
    if (misfit)
        return tw_job_error(place->error, where, place->path,
                            "%s is out of range; it must be a %s%s",
                            strlen(place->option->text) < 40 ? place->option->text : place->shown,
                            kind, *limits ? limits : " that fits in 64 bits");
    if (*limits)
        return tw_job_error(place->error, where, place->path, "%s is not a %s; it must be one%s",
                            place->shown, kind, limits);
    return tw_job_error(place->error, where, place->path, "%s is not a %s; write one such as %s",
                        place->shown, kind, rule->type == TW_OPTION_INTEGER ? "10" : "0.001");
}

static enum tw_status read_number(const struct place *place, const struct tw_option_rule *rule,
                                  struct tw_option_value *out) {
    const char *text = place->option->text;
    int result;
    if (rule->type == TW_OPTION_INTEGER) {
        result = tw_scalar_integer(text, &out->integer);
        out->real = (double)out->integer;
    } else {
        result = scalar_real(text, &out->real);
    }
    if (place->option->quoted || result < 0)
        return number_error(place, rule, false);
    if (result > 0 || !in_limits(rule, out->real))
        return number_error(place, rule, true);
    return TW_OK;
}

static enum tw_status read_bool(const struct place *place, struct tw_option_value *out) {
    const char *text = place->option->text;
    out->boolean = strcmp(text, "true") == 0;
    if (place->option->quoted || (!out->boolean && strcmp(text, "false") != 0))
        return tw_job_error(place->error, place->option->where, place->path,
                            "%s%s is neither true nor false; write one of the two, without quotes",
                            place->shown, place->option->quoted ? " in quotes" : "");
    return TW_OK;
}

static enum tw_status read_name(const struct place *place, const struct tw_option_rule *rule,
                                struct tw_option_value *out) {
    struct tw_text known = {0};
    int count = 0;
    for (; rule->names[count]; count++) {
        if (strcmp(rule->names[count], place->option->text) == 0) {
            out->name = count;
            tw_text_fini(&known);
            return TW_OK;
        }
        tw_text_add(&known, "%s%s", count ? ", " : "", rule->names[count]);
    }
    const char *near =
        tw_nearest_name(place->option->text, rule->names, count, sizeof *rule->names);
    tw_job_error(place->error, place->option->where, place->path,
                 "%s is not known here; %s%s%sit must be one of %s", place->shown,
                 near ? "did you mean \"" : "", near ? near : "", near ? "\"? " : "",
                 known.at && !known.failed ? known.at : "those in docs/job.md");
    tw_text_fini(&known);
    return TW_JOB;
}

static enum tw_status list_error(const struct place *place, const char *what, size_t size,
                                 const struct tw_option_rule *rule) {
    char limits[80], number[40];
    limits_text(rule, limits, sizeof limits);
    snprintf(number, sizeof number, "%.*s", (int)(size < 32 ? size : 32), what);
    return tw_job_error(place->error, place->option->where, place->path,
                        "%s is not right in this list; each must be a number%s, without quotes",
                        number, limits);
}

/* "[a, b, c]" as read_option() wrote it, or one number. */
static enum tw_status read_list(const struct place *place, const struct tw_option_rule *rule,
                                struct tw_option_value *out) {
    const char *at = place->option->text;
    struct tw_option_list *list = &out->list;
    at += *at == '[';
    if (place->option->quoted)
        return number_error(place, rule, false);
    while (*at && *at != ']') {
        char number[64] = "";
        size_t size = strcspn(at, ",]");
        if (list->count == TW_OPTION_LIST_MAX)
            return tw_job_error(place->error, place->option->where, place->path,
                                "more than %d numbers in one list", TW_OPTION_LIST_MAX);
        if (size >= sizeof number)
            return list_error(place, at, size, rule);
        memcpy(number, at, size);
        double *value = &list->at[list->count++];
        if (scalar_real(number, value) != 0 || !in_limits(rule, *value))
            return list_error(place, at, size, rule);
        at += size;
        at += *at == ',';
        at += *at == ' ';
    }
    if (list->count == 0)
        return tw_job_error(place->error, place->option->where, place->path,
                            "an empty list; write numbers, such as [1, 2]");
    return TW_OK;
}

/* Words are a list as the reader of the job wrote it, or a single one, which stays as it is. */
static enum tw_status read_text(const struct place *place, const struct tw_option_rule *rule,
                                struct tw_option_value *out) {
    const char *text = place->option->text;
    out->text = text;
    if (!*text)
        return tw_job_error(place->error, place->option->where, place->path,
                            "an empty text; take the key out, or name something");
    if (place->option->is_list && strcmp(text, "[]") == 0)
        return tw_job_error(place->error, place->option->where, place->path,
                            "an empty list; take the key out, or name something");
    if (rule->type == TW_OPTION_WORDS && !place->option->is_list && *text == '[')
        return tw_job_error(place->error, place->option->where, place->path,
                            "%s begins with a bracket; write it in a list, [%s]", place->shown,
                            place->shown);
    return TW_OK;
}

bool tw_words_next(const char **at, char *out, size_t room) {
    const char *from = *at;
    size_t used = 0;
    if (from == NULL || !*from || *from == ']')
        return false;
    bool list = *from == '[' || *from == ',';
    from += list ? 1 : 0;
    from += list && *from == ' ';
    bool quoted = list && *from == '"';
    if (list && *from == ']')
        return false;
    for (from += quoted; *from && !(quoted ? *from == '"' : list && strchr(",]", *from)); from++) {
        from += quoted && *from == '\\';
        if (used + 1 < room)
            out[used++] = *from;
    }
    out[used] = '\0';
    *at = from + quoted;
    return true;
}

enum tw_status tw_option_value_read(struct tw_option_value *out, const char *path,
                                    const struct tw_option_rule *rule,
                                    const struct tw_option *option, struct tw_error *error) {
    char key_path[TW_KEY_PATH];
    struct place place = {option, tw_key_path(path, rule->key, key_path), error, ""};
    tw_shown(option->text, place.shown);
    *out = (struct tw_option_value){0};
    bool list = rule->type == TW_OPTION_LIST || rule->type == TW_OPTION_WORDS;
    if (option->is_list && !list)
        return tw_job_error(error, option->where, place.path,
                            "a list where one value should stand; write key: value");
    switch (rule->type) {
    case TW_OPTION_INTEGER:
    case TW_OPTION_REAL:
        return read_number(&place, rule, out);
    case TW_OPTION_BOOL:
        return read_bool(&place, out);
    case TW_OPTION_ENUM:
        return read_name(&place, rule, out);
    case TW_OPTION_LIST:
        return read_list(&place, rule, out);
    case TW_OPTION_WORDS:
    case TW_OPTION_TEXT:
        return read_text(&place, rule, out);
    case TW_OPTION_PATH:
        break;
    }
    out->path = option->path ? option->path : option->text;
    if (!*option->text)
        return tw_job_error(error, option->where, place.path, "an empty path; name a file");
    return TW_OK;
}

struct tw_option_value tw_option_value_default(const struct tw_option_rule *rule) {
    return (struct tw_option_value){
        .integer = rule->type == TW_OPTION_INTEGER ? (int64_t)rule->fallback : 0,
        .real = rule->fallback,
        .boolean = rule->fallback != 0,
        .name = rule->type == TW_OPTION_ENUM ? (int)rule->fallback : 0,
    };
}
