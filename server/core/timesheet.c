#include "server/core/timesheet.h"

#include <stdio.h>
#include <string.h>

#define FEW 8 /* workers that get a line each */

size_t tw_timesheet_bytes(uint32_t workers) {
    return tw_waiting_bytes(workers) + tw_timesheet_border_bytes(workers);
}

size_t tw_timesheet_border_bytes(uint32_t workers) {
    return sizeof(struct tw_timesheet_border) + workers * sizeof(uint64_t);
}

void tw_timesheet_init(struct tw_timesheet *sheet, void *memory, uint32_t workers) {
    void *behind = (unsigned char *)memory + tw_waiting_bytes(workers);
    *sheet = (struct tw_timesheet){
        .account = tw_waiting_init(memory, workers), .workers = workers, .border = behind};
}

/* ---- what happens ---- */

/* What a worker says of its own time is taken for what it is worth: it can only move time
 * of its own steps between computing and network. */
static void on_measured(struct tw_waiting *account, const struct tw_node_event *event) {
    for (size_t i = 0; i < event->measures; i++) {
        const struct tw_measure *measure = &event->measure[i];
        if (measure->received && measure->computed >= measure->received)
            tw_waiting_measured(account, event->rank, measure->step,
                                measure->computed - measure->received);
    }
}

void tw_timesheet_event(struct tw_timesheet *sheet, const struct tw_node_event *event,
                        uint64_t now_ns) {
    switch (event->kind) {
    case TW_EVENT_STARTED:
        tw_waiting_start(sheet->account, now_ns);
        break;
    case TW_EVENT_LEFT:
        tw_waiting_gone(sheet->account, event->rank, now_ns);
        break;
    case TW_EVENT_MEASURED:
        on_measured(sheet->account, event);
        break;
    case TW_EVENT_FINISHED:
        tw_waiting_stop(sheet->account, now_ns);
        break;
    default:
        break;
    }
}

void tw_timesheet_record(struct tw_timesheet *sheet, const struct tw_record *record,
                         uint64_t now_ns) {
    if (record->kind == TW_RECORD_COMMIT)
        tw_waiting_committed(sheet->account, record->contributions, record->count, now_ns);
    else if (record->kind == TW_RECORD_RELEASE && record->slot != TW_SLOT_EVALUATOR)
        tw_waiting_released(sheet->account, record->slot, record->step, now_ns);
}

/* ---- sums ---- */

static struct tw_waiting_view sum_all(const struct tw_timesheet *sheet, uint64_t now_ns) {
    struct tw_waiting_view sum = {.culprit = TW_NOBODY};
    for (uint32_t rank = 0; rank < sheet->workers; rank++) {
        struct tw_waiting_view view = tw_waiting_view(sheet->account, rank, now_ns);
        sum.sums.computing_ns += view.sums.computing_ns;
        sum.sums.waiting_ns += view.sums.waiting_ns;
        sum.sums.network_ns += view.sums.network_ns;
        sum.sums.away_ns += view.sums.away_ns;
        sum.elapsed_ns += view.elapsed_ns;
        sum.evaluator_ns += view.evaluator_ns;
        if (view.blamed_ns > sum.blamed_ns) {
            sum.blamed_ns = view.blamed_ns;
            sum.culprit = rank;
        }
    }
    return sum;
}

/* Since the last border others waited for this rank most; -1: for none. */
static int64_t find_culprit(struct tw_timesheet *sheet, uint64_t now_ns, double *seconds) {
    int64_t culprit = -1;
    uint64_t most_ns = 0;
    for (uint32_t rank = 0; rank < sheet->workers; rank++) {
        uint64_t blamed_ns = tw_waiting_view(sheet->account, rank, now_ns).blamed_ns;
        uint64_t *before_ns = &sheet->border->blamed_ns[rank];
        if (blamed_ns - *before_ns > most_ns) {
            most_ns = blamed_ns - *before_ns;
            culprit = rank;
        }
        *before_ns = blamed_ns;
    }
    *seconds = (double)most_ns / 1e9;
    return culprit;
}

/* A measure that came late may take back what was counted before the border. */
static double since(uint64_t now_ns, uint64_t before_ns) {
    return (double)(int64_t)(now_ns - before_ns) / 1e9;
}

struct tw_border_times tw_timesheet_stretch(struct tw_timesheet *sheet, uint64_t now_ns) {
    struct tw_waiting_view now = sum_all(sheet, now_ns), before = sheet->border->all;
    struct tw_border_times times = {
        .computing = since(now.sums.computing_ns, before.sums.computing_ns),
        .waiting = since(now.sums.waiting_ns, before.sums.waiting_ns),
        .network = since(now.sums.network_ns, before.sums.network_ns),
        .away = since(now.sums.away_ns, before.sums.away_ns),
    };
    times.culprit = find_culprit(sheet, now_ns, &times.culprit_seconds);
    sheet->border->all = now;
    return times;
}

void tw_timesheet_keep(const struct tw_timesheet *sheet, struct tw_timesheet_border *out) {
    memcpy(out, sheet->border, tw_timesheet_border_bytes(sheet->workers));
}

void tw_timesheet_take_back(struct tw_timesheet *sheet, const struct tw_timesheet_border *kept) {
    memcpy(sheet->border, kept, tw_timesheet_border_bytes(sheet->workers));
}

/* ---- in words ---- */

/* "83 % computing, 12 % waiting (9 % for worker 0), 5 % network". What a wait was for is said
 * when it explains most of it; what is left is the server's own work. */
static void say_shares(const struct tw_waiting_view *view, char *text, size_t room) {
    double all = (double)view->elapsed_ns / 100;
    double away = (double)view->sums.away_ns / all;
    char most[64] = "";
    if (2 * view->evaluator_ns > view->sums.waiting_ns)
        snprintf(most, sizeof(most), " (%.0f %% for the evaluator)",
                 (double)view->evaluator_ns / all);
    else if (view->culprit != TW_NOBODY && 2 * view->culprit_ns > view->sums.waiting_ns)
        snprintf(most, sizeof(most), " (%.0f %% for worker %u)", (double)view->culprit_ns / all,
                 view->culprit);
    int used = snprintf(text, room, "%.0f %% computing, %.0f %% waiting%s, %.0f %% network",
                        (double)view->sums.computing_ns / all, (double)view->sums.waiting_ns / all,
                        most, (double)view->sums.network_ns / all);
    if (away >= 0.5)
        snprintf(text + used, room - (size_t)used, ", %.0f %% away", away);
}

static void say_worker(const struct tw_timesheet *sheet, uint32_t rank, uint64_t now_ns, char *text,
                       size_t room) {
    struct tw_waiting_view view = tw_waiting_view(sheet->account, rank, now_ns);
    int used = snprintf(text, room, "worker %u: ", rank);
    say_shares(&view, text + used, room - (size_t)used);
}

/* Of many workers all together, and the one that cost the others most. */
static bool say_together(const struct tw_timesheet *sheet, uint64_t now_ns, uint32_t line,
                         uint32_t *rank, char *text, size_t room) {
    struct tw_waiting_view sum = sum_all(sheet, now_ns);
    uint32_t worst = sum.culprit;
    int used;
    sum.culprit = TW_NOBODY;
    *rank = line == 2 ? worst : 0;
    if (line > 2 || (line > 0 && worst == TW_NOBODY))
        return false;
    switch (line) {
    case 0:
        used = snprintf(text, room, "%u workers together: ", sheet->workers);
        say_shares(&sum, text + used, room - (size_t)used);
        break;
    case 1:
        snprintf(text, room, "most was waited for worker %u: %.3g s by each of the others", worst,
                 (double)sum.blamed_ns * 1e-9 / (double)(sheet->workers - 1));
        break;
    default:
        say_worker(sheet, worst, now_ns, text, room);
        break;
    }
    return true;
}

bool tw_timesheet_line(const struct tw_timesheet *sheet, uint64_t now_ns, uint32_t line,
                       uint32_t *rank, char *text, size_t room) {
    if (sheet->workers > FEW)
        return say_together(sheet, now_ns, line, rank, text, room);
    if (line >= sheet->workers)
        return false;
    *rank = line;
    say_worker(sheet, line, now_ns, text, room);
    return true;
}
