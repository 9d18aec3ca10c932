#include "common/base/json_scan.h"

#include <string.h>

#include "common/base/json.h"

struct tw_json_scan tw_json_scan(const void *text, size_t size) {
    return (struct tw_json_scan){.text = text, .size = size};
}

void tw_scan_refuse(struct tw_json_scan *scan, const char *what) {
    if (!scan->wrong)
        scan->wrong = what;
}

/* ---- characters ---- */

/* The next character that is no blank; '\0' at the end, or when something is wrong. */
static char peek(struct tw_json_scan *scan) {
    while (scan->at < scan->size && strchr(" \t\r\n", scan->text[scan->at]) && scan->text[scan->at])
        scan->at++;
    return scan->wrong || scan->at == scan->size ? '\0' : scan->text[scan->at];
}

static bool take(struct tw_json_scan *scan, char wanted, const char *what) {
    if (peek(scan) != wanted) {
        tw_scan_refuse(scan, what);
        return false;
    }
    scan->at++;
    return true;
}

/* ---- brackets ---- */

void tw_scan_open(struct tw_json_scan *scan, char bracket) {
    if (take(scan, bracket, bracket == '{' ? "an object" : "a list"))
        scan->fresh = true;
}

/* Whether something follows before `close`, which is taken otherwise. */
static bool more(struct tw_json_scan *scan, char close) {
    bool fresh = scan->fresh;
    scan->fresh = false;
    if (scan->wrong)
        return false;
    if (peek(scan) == close) {
        scan->at++;
        return false;
    }
    return fresh || take(scan, ',', "a comma, or the end of an object or list");
}

bool tw_scan_key(struct tw_json_scan *scan, char *out, size_t room) {
    out[0] = '\0';
    if (!more(scan, '}'))
        return false;
    tw_scan_string(scan, out, room);
    take(scan, ':', "a colon");
    return !scan->wrong;
}

bool tw_scan_item(struct tw_json_scan *scan) {
    return more(scan, ']');
}

/* ---- values ---- */

uint64_t tw_scan_unsigned(struct tw_json_scan *scan) {
    const char *what = "a whole number, not negative";
    uint64_t value = 0;
    size_t digits = 0;
    char first = peek(scan);
    for (; !scan->wrong && scan->at < scan->size; scan->at++, digits++) {
        unsigned digit = (unsigned)(unsigned char)scan->text[scan->at] - '0';
        if (digit > 9)
            break;
        if (value > (UINT64_MAX - digit) / 10)
            tw_scan_refuse(scan, "a number below 2^64");
        value = 10 * value + digit;
    }
    bool goes_on = scan->at < scan->size && scan->text[scan->at] && /* strchr finds a zero, too */
                   strchr(".eE", scan->text[scan->at]);
    if (!digits || goes_on || (first == '0' && digits > 1))
        tw_scan_refuse(scan, what);
    return scan->wrong ? 0 : value;
}

/* The next character of a text, unescaped: '\0' where none can stand. False: the text ends. */
static bool next_of_text(struct tw_json_scan *scan, char *out) {
    char c = scan->at < scan->size ? scan->text[scan->at++] : '\0';
    *out = c;
    if (c != '\\')
        return c != '"';
    c = scan->at < scan->size ? scan->text[scan->at++] : '\0';
    *out = c == '"' || c == '\\' || c == '/' ? c : '\0';
    return true;
}

void tw_scan_string(struct tw_json_scan *scan, char *out, size_t room) {
    size_t used = 0;
    char c;
    take(scan, '"', "a text");
    while (!scan->wrong && next_of_text(scan, &c)) {
        if ((unsigned char)c < 0x20)
            tw_scan_refuse(scan, "a text without control characters");
        else if (room && used + 1 == room)
            tw_scan_refuse(scan, "a shorter text");
        else if (room)
            out[used++] = c;
    }
    if (room)
        out[scan->wrong ? 0 : used] = '\0';
}

/* A number, true, false or null: whatever it is made of. */
static void skip_word(struct tw_json_scan *scan) {
    size_t from = scan->at;
    while (scan->at < scan->size && scan->text[scan->at] &&
           strchr("+-.0123456789abcdefghijklmnopqrstuvwxyzE", scan->text[scan->at]))
        scan->at++;
    if (from == scan->at)
        tw_scan_refuse(scan, "a value");
}

void tw_scan_skip(struct tw_json_scan *scan) {
    char open[TW_JSON_DEPTH_MAX];
    int depth = 0;
    do {
        char c = peek(scan);
        if (c == '{' || c == '[') {
            if (depth == TW_JSON_DEPTH_MAX) {
                tw_scan_refuse(scan, "less nesting");
                return;
            }
            open[depth++] = c;
            tw_scan_open(scan, c);
        } else if (c == '"') {
            tw_scan_string(scan, NULL, 0);
        } else {
            skip_word(scan);
        }
        char key[1024];
        while (depth && !scan->wrong &&
               !(open[depth - 1] == '{' ? tw_scan_key(scan, key, sizeof key) : tw_scan_item(scan)))
            depth--;
    } while (depth && !scan->wrong);
}

void tw_scan_end(struct tw_json_scan *scan) {
    if (!scan->wrong && (peek(scan) || scan->at < scan->size))
        tw_scan_refuse(scan, "nothing more");
}
