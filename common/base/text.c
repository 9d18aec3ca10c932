#include "common/base/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arith.h"

#define ROOM_MIN 256

/* Room for `more` bytes and a zero. */
static bool reserve(struct tw_text *text, size_t more) {
    size_t need, room;
    if (text->failed)
        return false;
    if (!tw_size_add(text->size, more, &need) || !tw_size_add(need, 1, &need)) {
        text->failed = true;
        return false;
    }
    if (need <= text->room)
        return true;
    /* Half as much again, so that many small additions stay linear. */
    if (!tw_size_add(text->room, text->room / 2, &room) || room < need)
        room = need;
    if (room < ROOM_MIN)
        room = ROOM_MIN;
    char *at = realloc(text->at, room);
    if (at == NULL) {
        text->failed = true;
        return false;
    }
    text->at = at;
    text->room = room;
    return true;
}

void tw_text_add(struct tw_text *text, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, arguments);
    if (size < 0)
        text->failed = true;
    else if (reserve(text, (size_t)size)) {
        vsnprintf(text->at + text->size, (size_t)size + 1, format, again);
        text->size += (size_t)size;
    }
    va_end(again);
    va_end(arguments);
}

void tw_text_add_bytes(struct tw_text *text, const void *bytes, size_t size) {
    if (!reserve(text, size))
        return;
    if (size > 0)
        memcpy(text->at + text->size, bytes, size);
    text->size += size;
    text->at[text->size] = '\0';
}

void tw_text_add_real(struct tw_text *text, double value) {
    char digits[TW_REAL_TEXT];
    tw_real_text(value, digits);
    tw_text_add_bytes(text, digits, strlen(digits));
}

void tw_text_clear(struct tw_text *text) {
    text->size = 0;
    text->failed = false;
    if (text->at != NULL)
        text->at[0] = '\0';
}

char *tw_text_take(struct tw_text *text, size_t *size) {
    char *at = NULL;
    if (reserve(text, 0)) {
        at = text->at;
        at[text->size] = '\0'; /* an empty text has none yet */
        if (size != NULL)
            *size = text->size;
        *text = (struct tw_text){0};
    } else {
        tw_text_fini(text);
    }
    return at;
}

void tw_text_fini(struct tw_text *text) {
    free(text->at);
    *text = (struct tw_text){0};
}

/* Whatever the locale put between the digits becomes a point. */
static void set_point(char *digits) {
    char *point = digits + strspn(digits, "-+0123456789e");
    size_t length = strcspn(point, "-+0123456789e");
    if (length == 0)
        return;
    point[0] = '.';
    memmove(point + 1, point + length, strlen(point + length) + 1);
}

char *tw_real_text(double value, char out[TW_REAL_TEXT]) {
    if (isnan(value))
        return strcpy(out, "nan");
    if (isinf(value))
        return strcpy(out, value > 0 ? "inf" : "-inf");
    if (value == rint(value) && fabs(value) < 1e15) { /* 10, not 1e+01 */
        snprintf(out, TW_REAL_TEXT, "%.0f", value);
        return out;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, TW_REAL_TEXT, "%.*g", digits, value);
        if (strtod(out, NULL) == value)
            break;
    }
    set_point(out);
    return out;
}

/* The lowest second byte that `first` allows, and the highest (RFC 3629, section
 * 4): this is what keeps out overlong forms, surrogates, and what is beyond
 * U+10FFFF. */
static bool second_fits(unsigned char first, unsigned char second) {
    unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    return second >= low && second <= high;
}

size_t tw_utf8_length(const char *bytes, size_t size) {
    const unsigned char *byte = (const unsigned char *)bytes;
    if (size == 0)
        return 0;
    if (byte[0] < 0x80)
        return 1;
    size_t length = byte[0] >= 0xc2 && byte[0] <= 0xdf   ? 2
                    : byte[0] >= 0xe0 && byte[0] <= 0xef ? 3
                    : byte[0] >= 0xf0 && byte[0] <= 0xf4 ? 4
                                                         : 0;
    if (length == 0 || length > size || !second_fits(byte[0], byte[1]))
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((byte[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

void tw_text_mark_cut(char *out, size_t room) {
    size_t end = room - sizeof "...";
    while (end > 0 && ((unsigned char)out[end] & 0xc0) == 0x80)
        end--;
    memcpy(out + end, "...", sizeof "...");
}

void tw_text_clean(char *text) {
    size_t left = strlen(text), size;
    for (; left > 0; text += size, left -= size) {
        const unsigned char *byte = (const unsigned char *)text;
        size = tw_utf8_length(text, left);
        bool c1 = size == 2 && byte[0] == 0xc2 && byte[1] <= 0x9f;
        if (size == 0 || c1 || byte[0] < 0x20 || byte[0] == 0x7f) {
            size += size == 0;
            memset(text, '?', size);
        }
    }
}

/* The last star takes as little as it can, and one more each time the rest does not fit. */
bool tw_pattern_fits(const char *pattern, const char *name) {
    const char *star = NULL, *from = NULL;
    while (*name) {
        if (*pattern == '*') {
            star = pattern++;
            from = name;
        } else if (*pattern == '?' || *pattern == *name) {
            pattern++;
            name++;
        } else if (star) {
            pattern = star + 1;
            name = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}
