/* Draws lines through many points with few: a point that lies on the way from one to another,
 * to less than what can be seen, is left out. Between tw_svg_path_begin() and _end().
 */
#ifndef TW_LAB_PEN_H
#define TW_LAB_PEN_H

#include "common/base/svg.h"

struct tw_pen {
    struct tw_svg *svg;
    double x[2], y[2]; /* the last point that was drawn, and the one that waits behind it */
    int count;         /* of these */
    double first;      /* direction of the first point that waited */
    double low, high;  /* further directions, from there, that pass near to all that did */
    double farthest;   /* of these, from the last point that was drawn */
};

/* Begins a line at a point, and ends the one before. */
void tw_pen_move(struct tw_pen *pen, double x, double y);
void tw_pen_line(struct tw_pen *pen, double x, double y);

/* Draws what waits. */
void tw_pen_end(struct tw_pen *pen);

#endif
