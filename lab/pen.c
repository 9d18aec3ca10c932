#include "lab/pen.h"

#include <math.h>
#include <stdbool.h>

/* Pixels: what lies so near to a line is on it. */
#define NEAR 0.12
#define PI 3.14159265358979323846

/* How far a direction is turned from the first one, from -pi to pi. */
static double turned(const struct tw_pen *pen, double x, double y) {
    return remainder(atan2(y - pen->y[0], x - pen->x[0]) - pen->first, 2 * PI);
}

/* Whether a line to here passes near to all points that it leaves out. */
static bool is_on_the_way(const struct tw_pen *pen, double x, double y) {
    double angle = turned(pen, x, y);
    return angle >= pen->low && angle <= pen->high &&
           hypot(x - pen->x[0], y - pen->y[0]) >= pen->farthest;
}

static void wait_at(struct tw_pen *pen, double x, double y) {
    double distance = hypot(x - pen->x[0], y - pen->y[0]);
    if (pen->count == 1) {
        pen->first = atan2(y - pen->y[0], x - pen->x[0]);
        pen->low = -PI;
        pen->high = PI;
    }
    double around = distance > NEAR ? asin(NEAR / distance) : PI;
    double angle = turned(pen, x, y);
    pen->low = fmax(pen->low, angle - around);
    pen->high = fmin(pen->high, angle + around);
    pen->farthest = distance;
    pen->x[1] = x;
    pen->y[1] = y;
    pen->count = 2;
}

void tw_pen_end(struct tw_pen *pen) {
    if (pen->count == 2)
        tw_svg_line_to(pen->svg, pen->x[1], pen->y[1]);
    pen->count = 0;
}

void tw_pen_move(struct tw_pen *pen, double x, double y) {
    tw_pen_end(pen);
    tw_svg_move_to(pen->svg, x, y);
    pen->x[0] = x;
    pen->y[0] = y;
    pen->count = 1;
}

void tw_pen_line(struct tw_pen *pen, double x, double y) {
    if (pen->count == 2 && !is_on_the_way(pen, x, y)) {
        double last_x = pen->x[1], last_y = pen->y[1];
        tw_svg_line_to(pen->svg, last_x, last_y);
        pen->x[0] = last_x;
        pen->y[0] = last_y;
        pen->count = 1;
    }
    wait_at(pen, x, y);
}
