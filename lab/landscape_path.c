/* A path in a picture, cut at the edge of the box. */
#include <math.h>

#include "lab/landscape.h"
#include "lab/pen.h"

/* Pixels: nearer than this a path is not drawn again, and dots of steps would run together. */
#define NEAR 0.35
#define DOT_APART 4.5
#define DOTS_MAX 600

double tw_plot_x(const struct tw_plot *plot, double x) {
    return plot->x + (x - plot->box.left) / (plot->box.right - plot->box.left) * plot->width;
}

double tw_plot_y(const struct tw_plot *plot, double y) {
    return plot->y + (plot->box.top - y) / (plot->box.top - plot->box.bottom) * plot->height;
}

struct point {
    double x, y;
};

static bool is_inside(const struct tw_box *box, struct point at) {
    return at.x >= box->left && at.x <= box->right && at.y >= box->bottom && at.y <= box->top;
}

static struct point step_of(const struct tw_path *path, size_t step) {
    return (struct point){path->x[2 * step], path->x[2 * step + 1]};
}

size_t tw_landscape_leaves(const struct tw_path *path, const struct tw_box *box) {
    for (size_t step = 1; step <= path->last; step++)
        if (!is_inside(box, step_of(path, step)))
            return step;
    return 0;
}

/* Cuts the line a-b to the box (Liang and Barsky 1984); false: nothing of it is inside. */
static bool cut(const struct tw_box *box, struct point *a, struct point *b) {
    double dx = b->x - a->x, dy = b->y - a->y, enter = 0, leave = 1;
    const double move[] = {-dx, dx, -dy, dy};
    const double room[] = {a->x - box->left, box->right - a->x, a->y - box->bottom,
                           box->top - a->y};
    for (int side = 0; side < 4; side++) {
        if (move[side] == 0 && room[side] < 0)
            return false;
        if (move[side] < 0)
            enter = fmax(enter, room[side] / move[side]);
        if (move[side] > 0)
            leave = fmin(leave, room[side] / move[side]);
    }
    if (!(enter <= leave))
        return false;
    struct point from = *a;
    *a = (struct point){from.x + enter * dx, from.y + enter * dy};
    *b = (struct point){from.x + leave * dx, from.y + leave * dy};
    return true;
}

static struct point pixel(const struct tw_plot *plot, struct point at) {
    return (struct point){tw_plot_x(plot, at.x), tw_plot_y(plot, at.y)};
}

static bool is_near(struct point a, struct point b, double distance) {
    return hypot(a.x - b.x, a.y - b.y) < distance;
}

/* The line through all steps; where it last was inside goes to *end. */
static void add_line(struct tw_svg *svg, const struct tw_plot *plot, const struct tw_path *path,
                     struct point *end) {
    struct point before = {NAN, NAN}, drawn = step_of(path, 0);
    struct tw_pen pen = {.svg = svg};
    *end = pixel(plot, drawn);
    for (size_t step = 1; step <= path->last; step++) {
        struct point to = step_of(path, step), a = drawn, b = to;
        if (is_near(pixel(plot, drawn), pixel(plot, to), NEAR) && step < path->last)
            continue;
        drawn = to;
        if (!cut(&plot->box, &a, &b))
            continue;
        a = pixel(plot, a);
        b = pixel(plot, b);
        if (!is_near(a, before, 1e-3))
            tw_pen_move(&pen, a.x, a.y);
        tw_pen_line(&pen, b.x, b.y);
        before = *end = b;
    }
    tw_pen_end(&pen);
}

static void draw_dots(struct tw_svg *svg, const struct tw_plot *plot, const struct tw_path *path,
                      const char *colour) {
    struct point before = pixel(plot, step_of(path, 0));
    int dots = 0;
    tw_svg_open(svg, &(struct tw_svg_style){.fill = colour});
    for (size_t step = 1; step <= path->last && dots < DOTS_MAX; step++) {
        struct point at = pixel(plot, step_of(path, step));
        if (!is_inside(&plot->box, step_of(path, step)) || is_near(at, before, DOT_APART))
            continue;
        tw_svg_circle(svg, at.x, at.y, 1.7, NULL, NULL);
        before = at;
        dots++;
    }
    tw_svg_close(svg);
}

/* Where a path is cut for good stands a cross instead of a disc. */
static void draw_end(struct tw_svg *svg, struct point end, bool inside, const char *colour) {
    const struct tw_svg_style disc = {.fill = colour, .stroke = "#ffffff", .stroke_width = 1.5};
    const struct tw_svg_style cross = {.fill = "none", .stroke = colour, .stroke_width = 2.4};
    if (inside) {
        tw_svg_circle(svg, end.x, end.y, 5, &disc, NULL);
        return;
    }
    tw_svg_line(svg, end.x - 5, end.y - 5, end.x + 5, end.y + 5, &cross);
    tw_svg_line(svg, end.x - 5, end.y + 5, end.x + 5, end.y - 5, &cross);
}

void tw_landscape_draw_path(struct tw_svg *svg, const struct tw_plot *plot,
                            const struct tw_path *path, const char *colour) {
    const struct tw_svg_style halo = {
        .fill = "none", .stroke = "#ffffff", .stroke_width = 3.2, .opacity = 0.75};
    const struct tw_svg_style line = {.fill = "none", .stroke = colour, .stroke_width = 1.5};
    struct point end;
    tw_svg_path_begin(svg);
    add_line(svg, plot, path, &end);
    tw_svg_path_end(svg, &halo, NULL);
    tw_svg_path_begin(svg);
    add_line(svg, plot, path, &end);
    tw_svg_path_end(svg, &line, NULL);
    draw_dots(svg, plot, path, colour);
    bool inside = path->last == path->steps && is_inside(&plot->box, step_of(path, path->last));
    draw_end(svg, end, inside, colour);
}
