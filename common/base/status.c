#include "common/base/status.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/base/text.h"

const char *tw_status_name(int status) {
    switch (status) {
#define X(code, number, name, text)                                                                \
    case number:                                                                                   \
        return name;
        TW_STATUS_LIST(X)
#undef X
    default:
        return "unknown";
    }
}

const char *tw_status_text(int status) {
    switch (status) {
#define X(code, number, name, text)                                                                \
    case number:                                                                                   \
        return text;
        TW_STATUS_LIST(X)
#undef X
    default:
        return "an error that this version does not know";
    }
}

/* `written` is what snprintf said of the message in `text`. */
static void finish(struct tw_error *error, char text[TW_ERROR_TEXT], int written) {
    if (written < 0)
        text[0] = '\0';
    else if (written >= TW_ERROR_TEXT)
        tw_text_mark_cut(text, TW_ERROR_TEXT);
    tw_text_clean(text);
    memcpy(error->text, text, TW_ERROR_TEXT);
}

enum tw_status tw_error_set(struct tw_error *error, enum tw_status status, const char *format,
                            ...) {
    if (error == NULL)
        return status;
    /* Not straight into error->text: an argument may lie there. */
    char text[TW_ERROR_TEXT] = "";
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    finish(error, text, written);
    error->status = status;
    return status;
}

enum tw_status tw_error_wrap(struct tw_error *error, const char *format, ...) {
    assert(error != NULL); /* nobody else knows the status */
    if (error == NULL)
        return TW_INTERNAL;
    char text[TW_ERROR_TEXT] = "";
    va_list arguments;
    va_start(arguments, format);
    int prefix = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (prefix >= 0 && prefix < TW_ERROR_TEXT)
        prefix += snprintf(text + prefix, sizeof text - (size_t)prefix, ": %s", error->text);
    finish(error, text, prefix);
    return error->status;
}
