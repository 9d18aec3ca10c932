/* What a person sees of a run on stderr: one bar on a terminal, plain lines
 * elsewhere, a line per epoch, and the summary at the end.
 *
 * Used by the launcher (reports come through a pipe) and by a server started by
 * hand (reports come from the same process). Rendering is pure: bytes go out
 * through a function, time and the width of the terminal come in, so that tests
 * compare whole screens. Never moves the cursor to another line and never hides
 * it: whatever kills the process, the terminal stays usable.
 *
 * On a terminal: [lines, which scroll] + [one bar, redrawn in place]. A line
 * first wipes the bar, which is then drawn again below it.
 */
#ifndef TW_CLI_PROGRESS_H
#define TW_CLI_PROGRESS_H

#include "cli/report_json.h"
#include "server/io/report.h"

/* Shortest time between two drawings of the bar, and between two plain lines. */
#define TW_PROGRESS_BAR_MS 100
#define TW_PROGRESS_PLAIN_MS 10000

struct tw_progress_look {
    bool terminal; /* a bar; else plain lines */
    bool colour;
    bool members; /* a line for each worker that joins */
    int width;    /* columns of the terminal */
};

enum tw_tone { TW_TONE_PLAIN, TW_TONE_GOOD, TW_TONE_BAD, TW_TONE_CARE };

struct tw_progress {
    struct tw_progress_look look;
    void (*write)(void *context, const char *bytes, size_t size);
    void *context;
    bool shown;        /* the bar stands on the terminal's last line */
    bool due;          /* there is news that the bar does not show */
    bool started;      /* training has: who joins from now on comes back, or is new */
    bool finished;     /* DONE was seen: no bar any more */
    size_t widest;     /* text beside the bar so far: the bar never grows again */
    uint64_t drawn_ms; /* when bar or plain line were written last */
    struct tw_report latest;
};

/* How stderr looks: asks isatty, NO_COLOR, TERM=dumb, and its width. */
struct tw_progress_look tw_progress_look_of(int fd, bool members);

/* Columns of the terminal behind `fd` now; 80 when nobody knows. */
int tw_progress_width_of(int fd);

/* A write function for `progress`: `context` points to an int, the descriptor. */
void tw_progress_write_fd(void *context, const char *bytes, size_t size);

void tw_progress_init(struct tw_progress *progress, struct tw_progress_look look,
                      void (*write)(void *context, const char *bytes, size_t size), void *context);

/* Shows a report. `now_ms` never goes back; any start will do. */
void tw_progress_report(struct tw_progress *progress, const struct tw_report *report,
                        uint64_t now_ms);

/* Draws the bar if there is news and the time has come. */
void tw_progress_tick(struct tw_progress *progress, uint64_t now_ms);

/* The terminal has another width from now on; draws the bar anew. */
void tw_progress_resize(struct tw_progress *progress, int width, uint64_t now_ms);

/* Somebody else wrote to the terminal: it echoes Ctrl-C, and may throw away what we
 * wrote just before. The next line wipes whatever stands there. */
void tw_progress_disturbed(struct tw_progress *progress);

/* One line of text (no newline in it) that stays. */
void tw_progress_line(struct tw_progress *progress, enum tw_tone tone, const char *text);

/* The same from a text, which it empties and frees. */
void tw_progress_text(struct tw_progress *progress, enum tw_tone tone, struct tw_text *text);

/* Wipes the bar for good, the cursor at the start of a clean line. May be called
 * again and again. */
void tw_progress_clear(struct tw_progress *progress);

/* The end of a run in plain words: how it ended, accuracy, speed, staleness, and
 * where the model lies. */
void tw_progress_summary(struct tw_progress *progress, const struct tw_summary *summary);

#endif
