#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/timeline_draw.h"
#include "cli/words.h"
#include "common/base/chart.h"

#define WIDTH 960.0
#define LEFT 92.0
#define RIGHT 96.0 /* columns of percentages */
#define TOP 58.0
#define SERVER_BAR 12.0
#define BAND_LEAST 24.0 /* height of the arrows of fresh gradients */
#define BAND_MORE 7.0   /* and of each staleness above */
#define BAND_MOST 130.0
#define SMALL 9.5
#define MANY_ARROWS 60 /* then they have no numbers, and let others shine through */

#define SERVER_INK "#455a64"
#define WAITING_INK "#b0bec5"

/* Times in the unit of the axis. */
struct unit {
    const char *name;
    double ns;
};

struct picture {
    const struct tw_timeline *timeline;
    const struct tw_timeline_look *look;
    struct tw_svg svg;
    struct tw_axis axis;
    struct unit unit;
    double pitch, bar; /* of a worker's row */
    double band, server, rows,
        foot; /* where arrows, the server's row, the workers' begin and end */
    uint64_t stalest;
    uint64_t applied, dropped, staleness; /* of all workers; staleness: the sum */
    struct tw_timeline_drawn drawn;
};

static double at(const struct picture *p, uint64_t ns) {
    double since = ns >= p->timeline->begin ? (double)(ns - p->timeline->begin)
                                            : -(double)(p->timeline->begin - ns);
    return tw_axis_at(&p->axis, since / p->unit.ns);
}

static bool is_inside(const struct picture *p, uint64_t ns) {
    return ns >= p->timeline->begin && ns <= p->timeline->end;
}

static bool wants_arrow(const struct picture *p, const struct tw_timeline_step *step) {
    return tw_timeline_wants_arrow(p->timeline, p->look, step);
}

/* ---- room ---- */

static void lay_out(struct picture *p) {
    const struct tw_timeline *timeline = p->timeline;
    static const struct unit units[] = {{"s", 1e9}, {"ms", 1e6}, {"µs", 1e3}};
    double length = (double)(timeline->end - timeline->begin);
    p->unit = units[length >= 2e10 ? 0 : length >= 1e6 ? 1 : 2];
    p->axis = (struct tw_axis){.high = length / p->unit.ns, .from = LEFT, .to = WIDTH - RIGHT};
    bool any = false;
    for (size_t i = 0; i < timeline->steps; i++) {
        if (!wants_arrow(p, &timeline->step[i]))
            continue;
        any = true;
        if (timeline->step[i].staleness > p->stalest)
            p->stalest = timeline->step[i].staleness;
    }
    double band = fmin(BAND_LEAST + BAND_MORE * (double)p->stalest, BAND_MOST);
    p->band = TOP;
    p->server = TOP + (any ? band + 14 : 0);
    p->rows = p->server + SERVER_BAR + 26;
    p->pitch = timeline->workers <= 16 ? 30 : timeline->workers <= 64 ? 16 : 6;
    p->bar = 0.6 * p->pitch;
    p->foot = p->rows + p->pitch * timeline->workers;
}

/* ---- the server ---- */

/* The times of commits, as lines through all rows; they are how one sees who waits for what. */
static void draw_guides(struct picture *p) {
    double last = -1;
    tw_svg_open(&p->svg, &(struct tw_svg_style){.stroke = TW_CHART_GRID, .stroke_width = 1});
    for (size_t i = 0; i < p->timeline->updates; i++) {
        const struct tw_timeline_update *update = &p->timeline->update[i];
        if (!update->committed || !is_inside(p, update->committed))
            continue;
        double x = at(p, update->committed);
        if (x >= last + 3)
            tw_svg_line(&p->svg, x, p->server + SERVER_BAR, x, p->foot, NULL);
        last = x >= last + 3 ? x : last;
    }
    tw_svg_close(&p->svg);
}

static void draw_update(struct picture *p, const struct tw_timeline_update *update) {
    const struct tw_timeline *timeline = p->timeline;
    char tip[160];
    uint64_t end = update->applied < timeline->end ? update->applied : timeline->end;
    double x = at(p, update->committed);
    if (update->applying < end) {
        uint64_t begin = update->applying > timeline->begin ? update->applying : timeline->begin;
        snprintf(tip, sizeof tip, "update %" PRIu64 " of %u gradients: applied in %.3f ms",
                 update->version, update->contributions,
                 (double)(update->applied - update->committed) / 1e6);
        tw_svg_rect(&p->svg, at(p, begin), p->server, at(p, end) - at(p, begin), SERVER_BAR, NULL,
                    tip);
        p->drawn.spans++;
    }
    if (is_inside(p, update->committed))
        tw_svg_rect(&p->svg, x - 0.5, p->server - 3, 1, SERVER_BAR + 6, NULL, NULL);
}

static void draw_server(struct picture *p) {
    const struct tw_timeline *timeline = p->timeline;
    const struct tw_svg_font label = {.size = 12, .bold = true, .anchor = TW_SVG_END};
    const struct tw_svg_font number = {.size = SMALL, .anchor = TW_SVG_MIDDLE};
    char words[32];
    double last = 0;
    tw_svg_rect(&p->svg, LEFT, p->server, p->axis.to - LEFT, SERVER_BAR,
                &(struct tw_svg_style){.fill = "#eceff1"}, NULL);
    tw_svg_open(&p->svg, &(struct tw_svg_style){.fill = SERVER_INK});
    tw_svg_text(&p->svg, LEFT - 10, p->server + SERVER_BAR - 2, &label, "server");
    for (size_t i = 0; i < timeline->updates; i++) {
        const struct tw_timeline_update *update = &timeline->update[i];
        if (!update->committed || update->applied < timeline->begin ||
            update->committed > timeline->end)
            continue;
        draw_update(p, update);
        snprintf(words, sizeof words, "%" PRIu64, update->version);
        double x = at(p, update->committed), wide = tw_svg_text_width(SMALL, words) + 4;
        if (!is_inside(p, update->committed) || x - wide / 2 < last)
            continue;
        tw_svg_text(&p->svg, x, p->server + SERVER_BAR + 14, &number, words);
        last = x + wide / 2;
    }
    tw_svg_close(&p->svg);
}

/* Where the dial was turned: a line through all, and the mode from there on. */
static void draw_turns(struct picture *p) {
    const struct tw_svg_style line = {.stroke = TW_CHART_INK, .stroke_width = 1, .dash = "4 3"};
    const struct tw_svg_font font = {
        .size = SMALL, .bold = true, .anchor = TW_SVG_MIDDLE, .fill = TW_CHART_INK};
    for (size_t i = 0; i < p->timeline->turns; i++) {
        const struct tw_timeline_turn *turn = &p->timeline->turn[i];
        if (!turn->time || !is_inside(p, turn->time))
            continue;
        double x = at(p, turn->time);
        tw_svg_line(&p->svg, x, p->band + 2, x, p->foot, &line);
        tw_svg_text(&p->svg, x, p->band - 1, &font, turn->mode);
    }
}

/* ---- arrows ---- */

/* Two strokes that meet at x, y, where a line from from_x, from_y ends. */
static void add_head(struct picture *p, double x, double y, double from_x, double from_y) {
    double length = hypot(x - from_x, y - from_y);
    double dx = length > 0 ? (x - from_x) / length : 0, dy = length > 0 ? (y - from_y) / length : 1;
    tw_svg_move_to(&p->svg, x - 5 * dx - 2.5 * dy, y - 5 * dy + 2.5 * dx);
    tw_svg_line_to(&p->svg, x, y);
    tw_svg_line_to(&p->svg, x - 5 * dx + 2.5 * dy, y - 5 * dy - 2.5 * dx);
}

struct arc {
    double x0, x1, y, height;
    bool from_before; /* it comes in from the left, where the window begins */
};

/* Higher the staler; those of one update and staleness stand one above the other. */
static struct arc arc_of(const struct picture *p, const struct tw_timeline_step *step) {
    const struct tw_timeline *timeline = p->timeline;
    double rank = (double)step->worker / timeline->workers;
    struct arc arc = {.y = p->server - 4, .from_before = step->released < timeline->begin};
    arc.height = (arc.y - p->band) * (double)(step->staleness + 1) / (double)(p->stalest + 1);
    arc.height *= 1 - 0.45 * rank / (double)(step->staleness + 1);
    arc.x0 = arc.from_before ? LEFT : at(p, step->released);
    arc.x1 = at(p, tw_timeline_update_of(timeline, step->version)->committed);
    return arc;
}

/* From the version that was read to the update that applied the gradient. */
static void draw_arrow(struct picture *p, const struct tw_timeline_step *step) {
    const struct arc arc = arc_of(p, step);
    double wide = arc.x1 - arc.x0, top = arc.y - arc.height * (arc.from_before ? 1 : 4.0 / 3);
    char tip[160];
    snprintf(tip, sizeof tip,
             "worker %u, step %" PRIu64 ": read version %" PRIu64 ", applied by update %" PRIu64
             ", staleness %" PRIu64,
             step->worker, step->step, step->read_version, step->version, step->staleness);
    tw_svg_path_begin(&p->svg);
    tw_svg_move_to(&p->svg, arc.x0, arc.from_before ? top : arc.y);
    tw_svg_curve_to(&p->svg, arc.x0 + 0.2 * wide, top, arc.x1 - 0.2 * wide, top, arc.x1, arc.y);
    add_head(p, arc.x1, arc.y, arc.x1 - 0.2 * wide, top);
    tw_svg_path_end(&p->svg, NULL, tip);
    p->drawn.arrows++;
}

static void draw_staleness(struct picture *p, const struct tw_timeline_step *step) {
    const struct tw_svg_font number = {.size = 8.5, .anchor = TW_SVG_MIDDLE};
    const struct arc arc = arc_of(p, step);
    char words[32];
    if (step->staleness == 0 || arc.x1 - arc.x0 < 12)
        return;
    snprintf(words, sizeof words, "%" PRIu64, step->staleness);
    tw_svg_text(&p->svg, arc.from_before ? arc.x0 + 6 : (arc.x0 + arc.x1) / 2,
                arc.y - arc.height - 2, &number, words);
}

/* Those of a worker; `many`: of all workers. */
static void draw_arrows_of(struct picture *p, size_t first, size_t end, bool many) {
    const struct tw_timeline_step *step = p->timeline->step;
    const char *colour = tw_chart_colour(step[first].worker);
    tw_svg_open(&p->svg, &(struct tw_svg_style){.fill = "none",
                                                .stroke = colour,
                                                .stroke_width = 1.1,
                                                .opacity = many ? 0.6 : 0});
    for (size_t i = first; i < end; i++)
        if (wants_arrow(p, &step[i]))
            draw_arrow(p, &step[i]);
    tw_svg_close(&p->svg);
    if (many)
        return;
    tw_svg_open(&p->svg, &(struct tw_svg_style){.fill = colour});
    for (size_t i = first; i < end; i++)
        if (wants_arrow(p, &step[i]))
            draw_staleness(p, &step[i]);
    tw_svg_close(&p->svg);
}

/* The steps from `first` on that are of the same worker end before this one. */
static size_t end_of_worker(const struct tw_timeline *timeline, size_t first) {
    size_t end = first;
    while (end < timeline->steps && timeline->step[end].worker == timeline->step[first].worker)
        end++;
    return end;
}

static void draw_arrows(struct picture *p) {
    uint64_t count = 0;
    for (size_t i = 0; i < p->timeline->steps; i++)
        count += wants_arrow(p, &p->timeline->step[i]);
    for (size_t i = 0; count > 0 && i < p->timeline->steps;) {
        size_t end = end_of_worker(p->timeline, i);
        draw_arrows_of(p, i, end, count > MANY_ARROWS);
        i = end;
    }
}

/* ---- workers ---- */

static void describe_step(const struct tw_timeline_step *step, char *out, size_t room) {
    int length = snprintf(out, room, "step %" PRIu64 ": ", step->step);
    for (int a = 0; a < TW_ACTIVITIES; a++)
        if (step->at[a + 1] > step->at[a])
            length += snprintf(out + length, room - (size_t)length, "%s %.2f ms, ",
                               tw_activity_name(a), (double)(step->at[a + 1] - step->at[a]) / 1e6);
    length += snprintf(out + length, room - (size_t)length, "read version %" PRIu64 ", ",
                       step->read_version);
    if (step->fate == TW_FATE_APPLIED)
        snprintf(out + length, room - (size_t)length,
                 "applied by update %" PRIu64 ", staleness %" PRIu64, step->version,
                 step->staleness);
    else
        snprintf(out + length, room - (size_t)length,
                 step->fate == TW_FATE_DROPPED ? "dropped after update %" PRIu64 : "not settled",
                 step->version);
}

/* Computing fills the row, the network half of it, waiting is a line. */
static void draw_activity(struct picture *p, const struct tw_timeline_step *step,
                          enum tw_activity activity, const char *tip) {
    static const double thick[] = {0.16, 0.5, 1, 0.5};
    const struct tw_timeline *timeline = p->timeline;
    const char *colour = tw_chart_colour(step->worker);
    struct tw_svg_style style = {0};
    uint64_t begin = step->at[activity], end = step->at[activity + 1];
    if (end <= timeline->begin || begin >= timeline->end || end == begin)
        return;
    double x = fmax(at(p, begin), LEFT), wide = fmin(at(p, end), p->axis.to) - x;
    double height = p->bar * thick[activity];
    double y = p->rows + p->pitch * step->worker + (p->bar - height) / 2;
    if (activity == TW_ACTIVITY_WAITING)
        style.fill = WAITING_INK;
    else if (activity == TW_ACTIVITY_RECEIVING)
        style.opacity = 0.4;
    else if (step->fate == TW_FATE_DROPPED)
        style = (struct tw_svg_style){
            .fill = "#ffffff", .stroke = colour, .stroke_width = 1, .dash = "3 2"};
    else if (!step->told)
        style.opacity = 0.65;
    tw_svg_rect(&p->svg, x, y, wide, height, &style,
                activity == TW_ACTIVITY_COMPUTING ? tip : NULL);
    p->drawn.spans++;
}

static void draw_cross(struct picture *p, double x, double y) {
    double arm = fmin(4, p->bar / 3);
    tw_svg_path_begin(&p->svg);
    tw_svg_move_to(&p->svg, x - arm, y - arm);
    tw_svg_line_to(&p->svg, x + arm, y + arm);
    tw_svg_move_to(&p->svg, x - arm, y + arm);
    tw_svg_line_to(&p->svg, x + arm, y - arm);
    tw_svg_path_end(
        &p->svg,
        &(struct tw_svg_style){.fill = "none", .stroke = TW_CHART_INK, .stroke_width = 1.6}, NULL);
}

/* Its number, where there is room for it. */
static void draw_number(struct picture *p, const struct tw_timeline_step *step) {
    static const bool light[] = {[4] = true, [5] = true, [7] = false};
    bool dark_text = step->fate == TW_FATE_DROPPED || light[step->worker % 8];
    const struct tw_svg_font font = {
        .size = SMALL, .anchor = TW_SVG_MIDDLE, .fill = dark_text ? TW_CHART_INK : "#ffffff"};
    char words[32];
    double begin = fmax(at(p, step->at[TW_MOMENT_RECEIVED]), LEFT);
    double end = fmin(at(p, step->at[TW_MOMENT_COMPUTED]), p->axis.to);
    snprintf(words, sizeof words, "%" PRIu64, step->step);
    if (p->bar >= 12 && end - begin >= tw_svg_text_width(SMALL, words) + 6)
        tw_svg_text(&p->svg, (begin + end) / 2,
                    p->rows + p->pitch * step->worker + p->bar / 2 + 0.36 * SMALL, &font, words);
}

static void draw_steps(struct picture *p, uint32_t worker, size_t first, size_t end) {
    char tip[512];
    tw_svg_open(&p->svg, &(struct tw_svg_style){.fill = tw_chart_colour(worker)});
    for (size_t i = first; i < end; i++) {
        const struct tw_timeline_step *step = &p->timeline->step[i];
        if (!step->drawn)
            continue;
        describe_step(step, tip, sizeof tip);
        for (int a = 0; a < TW_ACTIVITIES; a++)
            draw_activity(p, step, a, tip);
    }
    tw_svg_close(&p->svg);
    for (size_t i = first; i < end; i++) {
        const struct tw_timeline_step *step = &p->timeline->step[i];
        if (step->drawn && step->fate == TW_FATE_DROPPED &&
            is_inside(p, step->at[TW_MOMENT_ARRIVED]))
            draw_cross(p, at(p, step->at[TW_MOMENT_ARRIVED]),
                       p->rows + p->pitch * worker + p->bar / 2);
        if (step->drawn)
            draw_number(p, step);
    }
}

static void draw_row_words(struct picture *p, uint32_t worker) {
    const struct tw_timeline_worker *about = &p->timeline->worker[worker];
    const double size = fmin(12, 0.75 * p->pitch);
    const struct tw_svg_font name = {
        .size = size, .bold = true, .anchor = TW_SVG_END, .fill = TW_CHART_INK};
    const struct tw_svg_font share = {
        .size = fmin(11, size), .anchor = TW_SVG_END, .fill = TW_CHART_INK};
    static const enum tw_activity column[] = {TW_ACTIVITY_COMPUTING, TW_ACTIVITY_WAITING};
    double y = p->rows + p->pitch * worker + p->bar / 2 + 0.36 * size;
    double length = (double)(p->timeline->end - p->timeline->begin);
    char words[32];
    snprintf(words, sizeof words, "worker %u", worker);
    tw_svg_text(&p->svg, LEFT - 10, y, &name, words);
    for (int i = 0; i < 2; i++) {
        snprintf(words, sizeof words, "%.0f %%", 100 * (double)about->spent[column[i]] / length);
        tw_svg_text(&p->svg, p->axis.to + 42 + 44 * i, y, &share, words);
    }
}

static void draw_workers(struct picture *p) {
    const struct tw_timeline *timeline = p->timeline;
    const struct tw_svg_font head = {.size = SMALL, .anchor = TW_SVG_END, .fill = TW_CHART_FAINT};
    size_t first = 0;
    tw_svg_text(&p->svg, p->axis.to + 44, p->rows - 8, &head, "comp.");
    tw_svg_text(&p->svg, p->axis.to + 88, p->rows - 8, &head, "waits");
    for (uint32_t w = 0; w < timeline->workers; w++) {
        bool any = first < timeline->steps && timeline->step[first].worker == w;
        size_t end = any ? end_of_worker(timeline, first) : first;
        draw_steps(p, w, first, end);
        if (timeline->workers <= 64 || w % 16 == 0)
            draw_row_words(p, w);
        first = end;
    }
}

/* ---- words ---- */

static void draw_head_lines(struct picture *p, struct tw_text *title) {
    const struct tw_timeline *timeline = p->timeline;
    struct tw_text line = {0};
    char begun[TW_WORDS_MAX];
    tw_svg_text(&p->svg, 20, 26,
                &(struct tw_svg_font){.size = 16, .bold = true, .fill = TW_CHART_INK},
                title->failed ? "" : title->at);
    tw_text_add(&line, "%.3g %s, from %s after the start; %" PRIu64 " gradients applied",
                p->axis.high, p->unit.name, tw_seconds_words((double)timeline->begin / 1e9, begun),
                p->applied);
    if (p->applied > 0)
        tw_text_add(&line, ", mean staleness %.2f", (double)p->staleness / (double)p->applied);
    if (p->dropped > 0)
        tw_text_add(&line, "; %" PRIu64 " dropped", p->dropped);
    if (*p->look->note)
        tw_text_add(&line, "; %s", p->look->note);
    tw_svg_text(&p->svg, 20, 44, &(struct tw_svg_font){.size = 11, .fill = TW_CHART_FAINT},
                line.failed ? "" : line.at);
    tw_text_fini(&line);
}

static double draw_sample(struct picture *p, double x, double y, double thick,
                          const struct tw_svg_style *style, const char *words) {
    tw_svg_rect(&p->svg, x, y - 4 - 12 * thick / 2, 22, 12 * thick, style, NULL);
    return tw_chart_legend(&p->svg, x, y, 22, words);
}

static void draw_legend(struct picture *p, double y) {
    const char *grey = TW_CHART_FAINT;
    double x = 20;
    x = draw_sample(p, x, y, 1, &(struct tw_svg_style){.fill = grey}, "computing (step)");
    x = draw_sample(p, x, y, 0.5, &(struct tw_svg_style){.fill = grey}, "sending the gradient");
    x = draw_sample(p, x, y, 0.16, &(struct tw_svg_style){.fill = WAITING_INK},
                    "waiting for others");
    x = draw_sample(p, x, y, 0.5, &(struct tw_svg_style){.fill = grey, .opacity = 0.4},
                    "receiving weights");
    if (p->dropped) {
        const struct tw_svg_style dropped = {
            .fill = "none", .stroke = grey, .stroke_width = 1, .dash = "3 2"};
        draw_cross(p, x + 11, y - 4);
        draw_sample(p, x, y, 1, &dropped, "gradient dropped");
    }
    x = draw_sample(p, 20, y + 20, 1, &(struct tw_svg_style){.fill = SERVER_INK},
                    "applying update (number)");
    if (p->drawn.arrows == 0)
        return;
    tw_svg_path_begin(&p->svg);
    tw_svg_move_to(&p->svg, x, y + 20);
    tw_svg_curve_to(&p->svg, x + 4, y + 4, x + 18, y + 4, x + 22, y + 20);
    add_head(p, x + 22, y + 20, x + 18, y + 4);
    tw_svg_path_end(
        &p->svg, &(struct tw_svg_style){.fill = "none", .stroke = grey, .stroke_width = 1.1}, NULL);
    tw_chart_legend(&p->svg, x, y + 20, 22,
                    "a gradient, from the version it was computed on to the update that has it; "
                    "the number is its staleness");
}

static void add_title(const struct picture *p, struct tw_text *title) {
    const struct tw_timeline *timeline = p->timeline;
    char updates[TW_WORDS_MAX], from[TW_WORDS_MAX], to[TW_WORDS_MAX];
    const char *mode = *timeline->turned.mode ? timeline->turned.mode : p->look->mode;
    tw_text_add(title, "%s", mode);
    for (size_t i = 0; i < timeline->turns; i++)
        tw_text_add(title, ", then %s", timeline->turn[i].mode);
    tw_text_add(title, "%s%u worker%s, updates %s to %s of %s", *mode ? ": " : "",
                timeline->workers, timeline->workers == 1 ? "" : "s",
                tw_count_words(timeline->from, from), tw_count_words(timeline->to, to),
                tw_count_words(p->look->updates, updates));
}

struct tw_timeline_drawn tw_timeline_to_svg(struct tw_text *out, const struct tw_timeline *timeline,
                                            const struct tw_timeline_look *look) {
    struct picture picture = {.timeline = timeline, .look = look};
    struct picture *p = &picture;
    struct tw_text title = {0};
    char name[64];
    for (uint32_t w = 0; w < timeline->workers; w++) {
        p->applied += timeline->worker[w].applied;
        p->dropped += timeline->worker[w].dropped;
        p->staleness += timeline->worker[w].staleness;
    }
    lay_out(p);
    add_title(p, &title);
    tw_svg_begin(&p->svg, out, WIDTH, p->foot + 86, title.failed ? "" : title.at,
                 "What each worker did when: a row per worker, one of the server.");
    draw_head_lines(p, &title);
    draw_guides(p);
    draw_arrows(p);
    draw_server(p);
    draw_workers(p);
    draw_turns(p);
    snprintf(name, sizeof name, "time in %s", p->unit.name);
    tw_chart_axis_x(&p->svg, &p->axis, p->foot + 2, name);
    draw_legend(p, p->foot + 54);
    tw_svg_end(&p->svg);
    tw_text_fini(&title);
    return p->drawn;
}
