#include "common/base/say.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/text.h"

static char name[TW_SAY_NAME] = "talweg";

void tw_say_name(const char *who) {
    snprintf(name, sizeof name, "%s", who);
}

/* "14:03:07 server: ". Returns its length. */
static size_t begin_line(char line[TW_SAY_BYTES]) {
    time_t now = time(NULL);
    struct tm local = {0};
    localtime_r(&now, &local);
    int size = snprintf(line, TW_SAY_BYTES, "%02d:%02d:%02d %s: ", local.tm_hour, local.tm_min,
                        local.tm_sec, name);
    return size > 0 ? (size_t)size : 0;
}

/* One write when all goes well; the rest of it after a signal or a full pipe's
 * partial write. */
static void write_line(const char *line, size_t size) {
    while (size > 0) {
        ssize_t written = write(STDERR_FILENO, line, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        line += written;
        size -= (size_t)written;
    }
}

void tw_say(const char *format, ...) {
    int saved_errno = errno;
    char line[TW_SAY_BYTES];
    size_t size = begin_line(line);
    size_t room = sizeof line - size - 1; /* the newline */
    errno = saved_errno;                  /* for %m */
    va_list arguments;
    va_start(arguments, format);
    int text = vsnprintf(line + size, room, format, arguments);
    va_end(arguments);
    if (text < 0)
        line[size] = '\0';
    else if ((size_t)text >= room)
        tw_text_mark_cut(line, sizeof line - 1);
    tw_text_clean(line);
    size = strlen(line);
    line[size++] = '\n';
    write_line(line, size);
    errno = saved_errno;
}
