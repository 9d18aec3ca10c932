/* What charts have in common: axes with ticks at round numbers, legends, and colours that
 * people with any kind of sight can tell apart.
 *
 * Who uses it: whoever draws numbers with svg.h. An axis is a value of the caller's: it
 * says which pixel a number stands at.
 *
 *     struct tw_axis time = {.low = 0, .high = 42, .from = 80, .to = 900};
 *     tw_chart_axis_x(&svg, &time, 300, "ms");
 *     tw_svg_circle(&svg, tw_axis_at(&time, 17), 200, 3, NULL, NULL);
 */
#ifndef TW_BASE_CHART_H
#define TW_BASE_CHART_H

#include "common/base/svg.h"

/* Pixels `from` and `to` stand for the numbers `low` and `high`; to < from is fine (y). */
struct tw_axis {
    double low, high;
    double from, to;
};

/* The pixel of a number, also of one beyond the ends. */
double tw_axis_at(const struct tw_axis *axis, double value);

/* The least of 1, 2 or 5 times a power of ten of which at most `most` fit into the axis;
 * 0 when low and high are no two numbers. */
double tw_axis_step(const struct tw_axis *axis, int most);

/* Draws an axis with ticks, their numbers and its title: a horizontal one at y with the
 * numbers below; a vertical one at x with the numbers on the left. */
void tw_chart_axis_x(struct tw_svg *svg, const struct tw_axis *axis, double y, const char *title);
void tw_chart_axis_y(struct tw_svg *svg, const struct tw_axis *axis, double x, const char *title);

/* Colour number i of a palette of 8, again and again (Okabe and Ito 2008, Color Universal
 * Design; without black and yellow). */
const char *tw_chart_colour(unsigned i);

/* Greys for what is not data. */
#define TW_CHART_INK "#263238"   /* titles and labels */
#define TW_CHART_FAINT "#607d8b" /* axes, captions */
#define TW_CHART_GRID "#dfe3e6"

/* Draws a word of a legend, behind room for its sample of `sample` pixels: x, y is
 * where the text of the legend's line stands. Returns where the next one may begin. */
double tw_chart_legend(struct tw_svg *svg, double x, double y, double sample, const char *words);

#endif
