/* The picture of curves; see curves.h. */
#include <math.h>
#include <stdio.h>

#include "cli/curves.h"
#include "common/base/chart.h"

/* Pixels. */
#define MARGIN 18
#define AXIS_LEFT 46
#define AXIS_BELOW 44
#define HEAD 64 /* title and legend */
#define PLOT_HEIGHT 340
#define PLOT_WIDTH 760
#define PANEL_WIDTH 300
#define PANELS_BESIDE 3
#define WORDS 20 /* above a panel */

struct sheet {
    struct tw_svg svg;
    const struct tw_curves *curves;
    double right, low, high; /* numbers at the ends of the axes */
    double width, height;    /* of a plot */
};

/* Axes that have room for all curves; x begins at 0. */
static void fit(struct sheet *sheet) {
    const struct tw_curves *curves = sheet->curves;
    sheet->low = INFINITY;
    sheet->high = -INFINITY;
    for (int r = 0; r < curves->count; r++)
        for (size_t i = 0; i < curves->run[r].count; i++) {
            const struct tw_curve_point *point = &curves->run[r].point[i];
            sheet->right = fmax(sheet->right, point->x);
            sheet->low = fmin(sheet->low, point->low);
            sheet->high = fmax(sheet->high, point->high);
        }
    if (curves->most > 0)
        sheet->high = fmin(sheet->high, curves->most);
    if (sheet->low > 0 && (sheet->low < sheet->high / 2 || sheet->low >= sheet->high))
        sheet->low =
            0; /* losses, seen from nothing; and where all are equal, or cut off by --most */
    if (!(sheet->high > sheet->low))
        sheet->high = sheet->low + 1;
}

static double cut(const struct sheet *sheet, const struct tw_axis *up, double loss) {
    return tw_axis_at(up, fmin(loss, sheet->high));
}

static void draw_shade(struct sheet *sheet, const struct tw_curve *curve, const char *colour,
                       const struct tw_axis *across, const struct tw_axis *up) {
    struct tw_svg *svg = &sheet->svg;
    if (curve->losses == curve->count)
        return; /* a bin for each loss */
    tw_svg_path_begin(svg);
    for (size_t i = 0; i < curve->count; i++) {
        double x = tw_axis_at(across, curve->point[i].x), y = cut(sheet, up, curve->point[i].high);
        if (i == 0)
            tw_svg_move_to(svg, x, y);
        else
            tw_svg_line_to(svg, x, y);
    }
    for (size_t i = curve->count; i-- > 0;)
        tw_svg_line_to(svg, tw_axis_at(across, curve->point[i].x),
                       cut(sheet, up, curve->point[i].low));
    tw_svg_path_end(svg, &(struct tw_svg_style){.fill = colour, .stroke = "none", .opacity = 0.2},
                    NULL);
}

static void draw_line(struct sheet *sheet, const struct tw_curve *curve, const char *colour,
                      const struct tw_axis *across, const struct tw_axis *up) {
    struct tw_svg *svg = &sheet->svg;
    tw_svg_path_begin(svg);
    tw_svg_move_to(svg, tw_axis_at(across, curve->point[0].x),
                   cut(sheet, up, curve->point[0].mean));
    for (size_t i = 1; i < curve->count; i++)
        tw_svg_line_to(svg, tw_axis_at(across, curve->point[i].x),
                       cut(sheet, up, curve->point[i].mean));
    tw_svg_path_end(svg,
                    &(struct tw_svg_style){.fill = "none", .stroke = colour, .stroke_width = 1.8},
                    curve->label);
    if (curve->count < 40) /* so that few of them, or one, can be seen */
        for (size_t i = 0; i < curve->count; i++)
            tw_svg_circle(svg, tw_axis_at(across, curve->point[i].x),
                          cut(sheet, up, curve->point[i].mean), 2.5,
                          &(struct tw_svg_style){.fill = colour}, NULL);
}

static void draw_plot(struct sheet *sheet, double x, double y, int first, int runs) {
    const struct tw_curves *curves = sheet->curves;
    const struct tw_axis across = {0, sheet->right, x, x + sheet->width};
    const struct tw_axis up = {sheet->low, sheet->high, y + sheet->height, y};
    for (int r = first; r < first + runs; r++)
        draw_shade(sheet, &curves->run[r], tw_chart_colour((unsigned)r), &across, &up);
    for (int r = first; r < first + runs; r++)
        draw_line(sheet, &curves->run[r], tw_chart_colour((unsigned)r), &across, &up);
    tw_chart_axis_x(&sheet->svg, &across, y + sheet->height, tw_curves_by_names[curves->by]);
    tw_chart_axis_y(&sheet->svg, &up, x, "loss");
}

static double draw_name(struct sheet *sheet, int r, double x, double y) {
    tw_svg_line(&sheet->svg, x, y - 4, x + 20, y - 4,
                &(struct tw_svg_style){.stroke = tw_chart_colour((unsigned)r), .stroke_width = 3});
    return tw_chart_legend(&sheet->svg, x, y, 20, sheet->curves->run[r].label);
}

static void draw_head(struct sheet *sheet, double width) {
    const struct tw_curves *curves = sheet->curves;
    const struct tw_svg_font bold = {.size = 16, .bold = true, .fill = TW_CHART_INK};
    const struct tw_svg_font faint = {.size = 12, .fill = TW_CHART_FAINT};
    const char *title = curves->test ? "Loss of the test data" : "Loss of training";
    bool shaded = false;
    double x = MARGIN, y = MARGIN + 30;
    for (int r = 0; r < curves->count; r++)
        shaded = shaded || curves->run[r].losses > curves->run[r].count;
    tw_svg_text(&sheet->svg, MARGIN, MARGIN + 8, &bold, title);
    if (shaded)
        tw_svg_text(&sheet->svg, MARGIN + tw_svg_text_width(18, title) + 12, MARGIN + 8, &faint,
                    "line: mean of neighbours; shade: from the least to the largest of them");
    for (int r = 0; !curves->panels && r < curves->count; r++) {
        if (x > MARGIN && x + 40 + tw_svg_text_width(11, curves->run[r].label) > width)
            break; /* what has no room is told by the mouse */
        x = draw_name(sheet, r, x, y);
    }
}

void tw_curves_to_svg(struct tw_text *out, const struct tw_curves *curves) {
    struct sheet sheet = {.curves = curves, .height = PLOT_HEIGHT};
    int plots = curves->panels ? curves->count : 1;
    int columns = plots < PANELS_BESIDE ? plots : PANELS_BESIDE;
    int rows = (plots + columns - 1) / columns;
    sheet.width = curves->panels && plots > 1 ? PANEL_WIDTH : PLOT_WIDTH;
    double above = curves->panels ? WORDS : 0;
    double across = sheet.width + AXIS_LEFT + MARGIN,
           down = sheet.height + above + AXIS_BELOW + MARGIN;
    double width = 2 * MARGIN + columns * across, height = HEAD + MARGIN + rows * down;
    fit(&sheet);
    tw_svg_begin(&sheet.svg, out, width, height, "Loss curves",
                 "The losses of runs, one line for each");
    draw_head(&sheet, width);
    for (int i = 0; i < plots; i++) {
        double x = MARGIN + AXIS_LEFT + (i % columns) * across;
        double y = HEAD + MARGIN + above + (i / columns) * down;
        draw_plot(&sheet, x, y, curves->panels ? i : 0, curves->panels ? 1 : curves->count);
        if (curves->panels)
            draw_name(&sheet, i, x + 8, y - 24);
    }
    tw_svg_end(&sheet.svg);
}
