/* Contours of a function on a rectangle: marching squares (Lorensen and Cline 1987, in the
 * plane), and levels for them.
 *
 * Who uses it: pictures of landscapes. Contours are the borders of the regions where the
 * function is below a level, as closed loops with the region on their left: they can be filled
 * (the parts of a loop that run along the edge of the rectangle close it) as well as drawn.
 */
#ifndef TW_LAB_CONTOUR_H
#define TW_LAB_CONTOUR_H

#include <stdbool.h>

#include "common/base/status.h"

struct tw_box {
    double left, right, bottom, top;
};

/* Values where columns and rows cross, the outermost ones on the edge of the box. */
struct tw_grid {
    struct tw_box box;
    int columns, rows;   /* >= 2 */
    double *value;       /* [rows, columns], row 0 at the bottom. Ours */
    unsigned char *seen; /* [rows + 1, columns + 1], of the tracer. Ours */
};

/* Memory for the values, which the caller writes; one that is not finite is above every level.
 * TW_NO_MEMORY. */
enum tw_status tw_grid_init(struct tw_grid *grid, const struct tw_box *box, int columns, int rows,
                            struct tw_error *error);
void tw_grid_fini(struct tw_grid *grid);

/* Where a column and a row cross. */
double tw_grid_x(const struct tw_grid *grid, int column);
double tw_grid_y(const struct tw_grid *grid, int row);

/* Tells the points of all loops around {value < level}; `first` begins another loop, which ends
 * where it began. Between two crossings the function is taken as linear; where two opposite
 * corners of a square are below, its middle (the mean of the four) decides. */
typedef void tw_contour_point(void *context, double x, double y, bool first);
void tw_contour_trace(struct tw_grid *grid, double level, tw_contour_point *point, void *context);

#define TW_CONTOUR_LEVELS 24

/* Levels on a logarithmic scale above `base`. */
struct tw_levels {
    int count;
    double base;                   /* 0, or the least value when there are negative ones */
    double at[TW_CONTOUR_LEVELS];  /* increasing: base + powers of ten, whole ones among them */
    bool whole[TW_CONTOUR_LEVELS]; /* at - base is a whole power of ten */
};

/* Levels that show the values of the grid; none when these are all the same. */
void tw_levels_choose(struct tw_levels *levels, const struct tw_grid *grid);

#endif
