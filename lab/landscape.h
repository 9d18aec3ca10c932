/* A picture of a landscape: its contours, and the ways that optimizers take on it.
 *
 * Who uses it: `talweg landscape`, which follows the paths (descent.h) and says what is to be
 * drawn. The picture is SVG (common/base/svg.h) that stands alone: shades and lines of equal
 * value on a logarithmic scale with a scale beside them, axes, the paths with a dot for each
 * step as far as there is room, start, end and minimum marked, and in words what became of each.
 * A path is cut where it leaves the picture, marked there, and the words say at which step.
 * It reads no files and knows no clock: the same paths give the same bytes.
 */
#ifndef TW_LAB_LANDSCAPE_H
#define TW_LAB_LANDSCAPE_H

#include "common/base/svg.h"
#include "lab/contour.h"
#include "lab/descent.h"

#define TW_LANDSCAPE_RUNS 36

struct tw_landscape_run {
    const char *label; /* "momentum  lr=0.001, momentum=0.5"; borrowed */
    struct tw_path path;
};

struct tw_landscape {
    const struct tw_objective *objective;
    const struct tw_objective_options *surface;
    const char *title; /* "ravine  c=10"; borrowed */
    const struct tw_landscape_run *run;
    int runs;
    bool panels; /* a small picture for each run instead of one for all */
    struct tw_box box;
};

/* Chooses a box that shows where the paths begin, the bottom of the objective, and as much of the
 * paths as is not too far from these. */
void tw_landscape_fit(struct tw_landscape *landscape);

/* The first step after which a path is outside of the box; 0: none. */
size_t tw_landscape_leaves(const struct tw_path *path, const struct tw_box *box);

/* What became of a path, in words: "f = 0.00358 after 5,000 steps". */
void tw_landscape_verdict(struct tw_text *out, const struct tw_path *path,
                          const struct tw_box *box);

/* Appends the picture. TW_NO_MEMORY. */
enum tw_status tw_landscape_draw(struct tw_text *out, const struct tw_landscape *landscape,
                                 struct tw_error *error);

/* ---- for landscape.c ---- */

/* Where a box stands in the picture. */
struct tw_plot {
    struct tw_box box;
    double x, y, width, height; /* pixels */
};

double tw_plot_x(const struct tw_plot *plot, double x);
double tw_plot_y(const struct tw_plot *plot, double y);

/* Draws a path and its end, of this colour. */
void tw_landscape_draw_path(struct tw_svg *svg, const struct tw_plot *plot,
                            const struct tw_path *path, const char *colour);

#endif
