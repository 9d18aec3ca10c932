#include "sim/line.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Doubles that are not negative have the order of their bits, so the agenda sorts them. */
static uint64_t bits_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static double first_of(const struct tw_line *line) {
    double first;
    memcpy(&first, &line->at_work.heap[0].time_ns, sizeof first);
    return first;
}

void tw_line_init(struct tw_line *line, struct tw_agenda_event *heap, size_t room) {
    *line = (struct tw_line){.served = 0};
    tw_agenda_init(&line->at_work, heap, room);
}

/* No further than to where the first is done, so that rounding never takes it past that. */
static void go_on(struct tw_line *line, uint64_t now_ns) {
    size_t n = line->at_work.count;
    if (n) {
        double served = line->served + (double)(now_ns - line->now_ns) / (double)n;
        line->served = fmin(served, first_of(line));
    } else {
        line->served = 0;
    }
    line->now_ns = now_ns;
}

void tw_line_begin(struct tw_line *line, uint64_t now_ns, uint64_t work_ns, uint64_t who) {
    go_on(line, now_ns);
    struct tw_agenda_event event = {.time_ns = bits_of(line->served + (double)work_ns),
                                    .value = who};
    enum tw_status status = tw_agenda_put(&line->at_work, &event);
    assert(status == TW_OK);
    (void)status;
}

uint64_t tw_line_due(const struct tw_line *line) {
    if (!line->at_work.count)
        return UINT64_MAX;
    double left = (first_of(line) - line->served) * (double)line->at_work.count;
    /* What is over by less than this is rounding, which must not make a nanosecond more. */
    double ns = ceil(fmax(left - .01, 0));
    return ns < 0x1p62 ? line->now_ns + (uint64_t)ns : UINT64_MAX - 1; /* behind the end of time */
}

bool tw_line_done(struct tw_line *line, uint64_t now_ns, uint64_t *who) {
    struct tw_agenda_event event;
    if (tw_line_due(line) > now_ns)
        return false;
    double first = first_of(line);
    go_on(line, now_ns);
    tw_agenda_take(&line->at_work, &event);
    line->served = line->at_work.count ? first : 0;
    *who = event.value;
    return true;
}
