/* A writer of SVG pictures on a tw_text: shapes, curves and words, nothing clever.
 *
 *     struct tw_svg svg;
 *     tw_svg_begin(&svg, &text, 900, 300, "Title", "What is to be seen, for screen readers");
 *     tw_svg_rect(&svg, 10, 10, 80, 20, &(struct tw_svg_style){.fill = "#0072b2"}, NULL);
 *     tw_svg_end(&svg);
 *
 * Who uses it: whoever draws; axes, ticks, legends and colours are in chart.h. The result
 * is one file that stands alone (no styles, scripts or fonts from elsewhere), on a white
 * ground, and can be put beside others on one page: nothing in it has an id. Lengths are
 * pixels, y grows downwards. Text of any bytes is fine: what XML has no words for becomes
 * U+FFFD. Numbers have two decimals; one that is not finite becomes 0.
 *
 * Out of memory shows as text.failed. Groups that do not match are bugs and asserted.
 */
#ifndef TW_BASE_SVG_H
#define TW_BASE_SVG_H

#include <stdbool.h>

#include "common/base/text.h"

struct tw_svg {
    struct tw_text *text; /* borrowed */
    int depth;            /* open groups */
    bool in_path;
};

/* How something is drawn; zeros are as in the group around it, and at the top: filled
 * black, no stroke. */
struct tw_svg_style {
    const char *fill, *stroke; /* "#0072b2" or "none" */
    double stroke_width;
    const char *dash; /* "4 2": so long, with such gaps */
    double opacity;   /* of all of it; 0: opaque */
};

enum tw_svg_anchor { TW_SVG_START, TW_SVG_MIDDLE, TW_SVG_END };

struct tw_svg_font {
    double size; /* 0: as around it, and at the top 12 */
    bool bold;
    enum tw_svg_anchor anchor; /* which part of the text stands at x */
    const char *fill;          /* NULL: as around it */
};

/* Begins the picture: width x height pixels. */
void tw_svg_begin(struct tw_svg *svg, struct tw_text *text, double width, double height,
                  const char *title, const char *description);
void tw_svg_end(struct tw_svg *svg);

/* What the shapes in a group have in common. */
void tw_svg_open(struct tw_svg *svg, const struct tw_svg_style *style);
void tw_svg_close(struct tw_svg *svg);

/* Shapes. `style` may be NULL: as around it. `tip`, which a browser shows under the
 * mouse, may be NULL. */
void tw_svg_rect(struct tw_svg *svg, double x, double y, double width, double height,
                 const struct tw_svg_style *style, const char *tip);
void tw_svg_line(struct tw_svg *svg, double x1, double y1, double x2, double y2,
                 const struct tw_svg_style *style);
void tw_svg_circle(struct tw_svg *svg, double x, double y, double radius,
                   const struct tw_svg_style *style, const char *tip);

/* A path: begin; move, line, curve in any order; end. */
void tw_svg_path_begin(struct tw_svg *svg);
void tw_svg_move_to(struct tw_svg *svg, double x, double y);
void tw_svg_line_to(struct tw_svg *svg, double x, double y);
/* Cubic, with control points 1 and 2. */
void tw_svg_curve_to(struct tw_svg *svg, double x1, double y1, double x2, double y2, double x,
                     double y);
void tw_svg_path_end(struct tw_svg *svg, const struct tw_svg_style *style, const char *tip);

/* One line of text, which stands on y. */
void tw_svg_text(struct tw_svg *svg, double x, double y, const struct tw_svg_font *font,
                 const char *words);

/* How wide it will be, more or less: viewers have different fonts. */
double tw_svg_text_width(double size, const char *words);

#endif
