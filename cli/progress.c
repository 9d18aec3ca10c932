#include "cli/progress.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/words.h"

#define RED "\x1b[31m"
#define GREEN "\x1b[32m"
#define YELLOW "\x1b[33m"
#define CYAN "\x1b[36m"
#define PLAIN "\x1b[0m"
#define WIPE "\r\x1b[K"

enum { BAR_MIN = 8, BAR_MAX = 40, WIDTH_FALLBACK = 80, WIDTH_MIN = 20 };

int tw_progress_width_of(int fd) {
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return WIDTH_FALLBACK;
    return size.ws_col;
}

struct tw_progress_look tw_progress_look_of(int fd, bool members) {
    const char *term = getenv("TERM");
    const char *no_colour = getenv("NO_COLOR"); /* no-color.org: set and not empty */
    bool terminal = isatty(fd) && (!term || strcmp(term, "dumb") != 0);
    return (struct tw_progress_look){
        .terminal = terminal,
        .colour = terminal && !(no_colour && *no_colour),
        .members = members,
        .width = tw_progress_width_of(fd),
    };
}

void tw_progress_write_fd(void *context, const char *bytes, size_t size) {
    int fd = *(const int *)context;
    while (size > 0) {
        ssize_t n = write(fd, bytes, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* nobody reads: the run goes on without an audience */
        bytes += n;
        size -= (size_t)n;
    }
}

void tw_progress_init(struct tw_progress *progress, struct tw_progress_look look,
                      void (*write)(void *context, const char *bytes, size_t size), void *context) {
    memset(progress, 0, sizeof *progress);
    progress->look = look;
    progress->write = write;
    progress->context = context;
}

void tw_progress_clear(struct tw_progress *progress) {
    if (progress->shown)
        progress->write(progress->context, WIPE, strlen(WIPE));
    progress->shown = false;
}

void tw_progress_disturbed(struct tw_progress *progress) {
    progress->shown = progress->look.terminal;
}

static const char *colour_of(enum tw_tone tone) {
    switch (tone) {
    case TW_TONE_GOOD:
        return GREEN;
    case TW_TONE_BAD:
        return RED;
    case TW_TONE_CARE:
        return YELLOW;
    default:
        return "";
    }
}

void tw_progress_line(struct tw_progress *progress, enum tw_tone tone, const char *text) {
    struct tw_text out = {0};
    bool coloured = progress->look.colour && tone != TW_TONE_PLAIN;
    tw_text_add(&out, "%s%s%s%s\n", progress->shown ? WIPE : "", coloured ? colour_of(tone) : "",
                text, coloured ? PLAIN : "");
    if (!out.failed)
        progress->write(progress->context, out.at, out.size);
    tw_text_fini(&out);
    if (progress->shown) /* comes back with the next tick or report */
        progress->due = true;
    progress->shown = false;
}

void tw_progress_text(struct tw_progress *progress, enum tw_tone tone, struct tw_text *text) {
    if (!text->failed && text->size)
        tw_progress_line(progress, tone, text->at);
    tw_text_fini(text);
}

/* How many epochs the run has, rounded up; 0 when it is not counted in epochs. */
static double epochs_of(const struct tw_report *report) {
    if (report->samples == 0 || report->samples_total == 0 || !(report->epoch > 0))
        return 0;
    double samples_per_epoch = (double)report->samples / report->epoch;
    return ceil((double)report->samples_total / samples_per_epoch - 0.01);
}

static double share_of(const struct tw_report *report) {
    if (report->samples_total == 0)
        return -1;
    double share = (double)report->samples / (double)report->samples_total;
    return share > 1 ? 1 : share;
}

/* "epoch 3/10": the epoch that is being worked on. */
static void add_place(struct tw_text *out, const struct tw_report *report) {
    double epochs = epochs_of(report);
    if (epochs > 0) {
        double at = floor(report->epoch) + 1;
        tw_text_add(out, "epoch %.0f/%.0f", at > epochs ? epochs : at, epochs);
    } else if (report->epoch > 0) {
        tw_text_add(out, "epoch %.0f", floor(report->epoch) + 1);
    } else {
        char count[TW_WORDS_MAX];
        tw_text_add(out, "update %s", tw_count_words(report->updates, count));
    }
}

/* "  48,300 samples/s  loss 0.3123  12 s left": as much as is known. */
static void add_speed(struct tw_text *out, const struct tw_report *report, bool with_time) {
    char time[TW_WORDS_MAX];
    double speed = report->samples_per_second;
    tw_add_rate(out, speed);
    tw_add_number(out, "loss", report->train_loss);
    if (!with_time || report->samples_total < report->samples || !(speed > 0))
        return;
    double left = (double)(report->samples_total - report->samples) / speed;
    if (report->samples_total > 0 && isfinite(left))
        tw_text_add(out, "  %s left", tw_seconds_words(left, time));
}

/* The bar itself, `cells` wide; nothing when it would be too small to say anything. */
static void add_bar(struct tw_text *out, double share, int cells, bool colour) {
    static const char done[] = "########################################";
    static const char rest[] = "........................................";
    static_assert(sizeof done == BAR_MAX + 1 && sizeof rest == BAR_MAX + 1, "a full bar");
    if (share < 0 || cells < BAR_MIN)
        return;
    if (cells > BAR_MAX)
        cells = BAR_MAX;
    int full = (int)(share * cells);
    tw_text_add(out, " %s%.*s%s%.*s", colour ? CYAN : "", full, done, colour ? PLAIN : "",
                cells - full, rest);
}

/* One line below the width of the terminal: a full last column would wrap. First
 * the bar shrinks and goes, then the time left, then the end is cut. */
static void draw(struct tw_progress *progress, uint64_t now_ms) {
    const struct tw_report *report = &progress->latest;
    size_t room = (size_t)(progress->look.width < WIDTH_MIN ? WIDTH_MIN : progress->look.width) - 1;
    struct tw_text place = {0}, speed = {0}, out = {0};
    char percent[16] = "";
    double share = share_of(report);
    if (share >= 0)
        snprintf(percent, sizeof percent, " %3d%%", (int)(share * 100));
    add_place(&place, report);
    add_speed(&speed, report, true);
    size_t used = place.size + strlen(percent) + speed.size;
    if (used > room) {
        tw_text_clear(&speed);
        add_speed(&speed, report, false);
        used = room; /* no bar */
    }
    if (used > progress->widest && used < room)
        progress->widest = used;
    tw_text_add(&out, "%s%s", WIPE, place.failed ? "" : place.at);
    add_bar(&out, share, used < room ? (int)(room - progress->widest) - 1 : 0,
            progress->look.colour);
    size_t text = place.size + strlen(percent) + speed.size;
    tw_text_add(&out, "%s%s", percent, speed.size && !speed.failed ? speed.at : "");
    if (text > room)
        out.size -= text - room;
    if (!out.failed)
        progress->write(progress->context, out.at, out.size);
    progress->shown = true;
    progress->due = false;
    progress->drawn_ms = now_ms;
    tw_text_fini(&place);
    tw_text_fini(&speed);
    tw_text_fini(&out);
}

static void plain(struct tw_progress *progress, uint64_t now_ms) {
    struct tw_text out = {0};
    add_place(&out, &progress->latest);
    add_speed(&out, &progress->latest, true);
    tw_progress_text(progress, TW_TONE_PLAIN, &out);
    progress->due = false;
    progress->drawn_ms = now_ms;
}

void tw_progress_tick(struct tw_progress *progress, uint64_t now_ms) {
    if (!progress->due || progress->finished)
        return;
    bool terminal = progress->look.terminal;
    uint64_t wait = terminal ? TW_PROGRESS_BAR_MS : TW_PROGRESS_PLAIN_MS;
    if (progress->drawn_ms != 0 && now_ms - progress->drawn_ms < wait)
        return;
    if (terminal)
        draw(progress, now_ms);
    else
        plain(progress, now_ms);
}

void tw_progress_resize(struct tw_progress *progress, int width, uint64_t now_ms) {
    progress->look.width = width;
    progress->widest = 0;
    if (progress->shown)
        draw(progress, now_ms);
}

/* "epoch  3/10  train loss 0.3312  test loss 0.3701  test accuracy 0.8654 ..." */
static void epoch_line(struct tw_progress *progress, const struct tw_report *report) {
    struct tw_text out = {0};
    char time[TW_WORDS_MAX], count[TW_WORDS_MAX];
    double epochs = epochs_of(report), part = report->epoch - floor(report->epoch);
    if (!(report->epoch > 0))
        tw_text_add(&out, "update %s", tw_count_words(report->updates, count));
    else if (part > 0.05) /* the run ends in the middle of an epoch */
        tw_text_add(&out, "epoch %.2f", report->epoch);
    else
        tw_text_add(&out, "epoch %*.0f", epochs >= 10 ? 2 : 1, floor(report->epoch));
    if (epochs > 0 && part <= 0.05)
        tw_text_add(&out, "/%.0f", epochs);
    tw_add_number(&out, "train loss", report->train_loss);
    tw_add_number(&out, "train accuracy", report->train_accuracy);
    tw_add_number(&out, "test loss", report->test_loss);
    tw_add_number(&out, "test accuracy", report->test_accuracy);
    if (isfinite(report->staleness_mean))
        tw_text_add(&out, "  mean staleness %.2f", report->staleness_mean);
    tw_text_add(&out, "  %s", tw_seconds_words(report->seconds, time));
    tw_progress_text(progress, TW_TONE_PLAIN, &out);
}

static void member_line(struct tw_progress *progress, const struct tw_report *report) {
    struct tw_text out = {0};
    if (report->kind == TW_REPORT_LEFT) {
        tw_text_add(&out, "worker %u left%s%s", report->rank, *report->text ? ": " : "",
                    report->text);
        tw_progress_text(progress, TW_TONE_CARE, &out);
    } else if (progress->look.members || progress->started || report->incarnation > 1) {
        tw_text_add(&out, "worker %u joined from %s", report->rank, report->peer);
        tw_progress_text(progress, TW_TONE_PLAIN, &out);
    }
}

/* Reports that are told in a line of their own. */
static void report_line(struct tw_progress *progress, const struct tw_report *report) {
    struct tw_text out = {0};
    if (report->kind == TW_REPORT_LISTENING && progress->look.members) {
        tw_text_add(&out, "listening on %s port %d", report->host, report->port);
        tw_progress_text(progress, TW_TONE_PLAIN, &out);
    } else if (report->kind == TW_REPORT_JOINED || report->kind == TW_REPORT_LEFT) {
        member_line(progress, report);
    } else if (report->kind == TW_REPORT_WAITING) {
        tw_text_add(&out, "waiting %s", report->text);
        tw_progress_text(progress, TW_TONE_CARE, &out);
    } else if (report->kind == TW_REPORT_STRAGGLER) {
        tw_text_add(&out, "straggler: %s", report->text);
        tw_progress_text(progress, TW_TONE_CARE, &out);
    } else if (report->kind == TW_REPORT_EVICTED || report->kind == TW_REPORT_RESUMED) {
        tw_text_add(&out, "%s", report->text);
        tw_progress_text(progress, TW_TONE_CARE, &out);
    } else if (report->kind == TW_REPORT_TIMES || report->kind == TW_REPORT_STEPS ||
               report->kind == TW_REPORT_NOTE) {
        tw_text_add(&out, "%s", report->text);
        tw_progress_text(progress, TW_TONE_PLAIN, &out);
    } else if (report->kind == TW_REPORT_EPOCH) {
        epoch_line(progress, report);
    }
}

void tw_progress_report(struct tw_progress *progress, const struct tw_report *report,
                        uint64_t now_ms) {
    report_line(progress, report);
    switch (report->kind) {
    case TW_REPORT_STARTED:
        progress->started = true;
        progress->drawn_ms = now_ms;
        break;
    case TW_REPORT_EPOCH:
        if (!progress->look.terminal) /* this was the sign of life */
            progress->drawn_ms = now_ms;
        break;
    case TW_REPORT_PROGRESS:
        progress->latest = *report;
        progress->due = true;
        break;
    case TW_REPORT_DONE:
        progress->finished = true;
        tw_progress_clear(progress);
        break;
    default:
        break;
    }
    tw_progress_tick(progress, now_ms);
}
