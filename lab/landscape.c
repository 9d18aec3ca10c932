#include "lab/landscape.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/chart.h"
#include "lab/pen.h"

/* Pixels. */
#define MARGIN 18
#define AXIS_LEFT 46 /* room of an axis and its numbers */
#define AXIS_BELOW 40
#define SCALE_ROOM 92 /* of the scale of f beside the plots */
#define SCALE_WIDTH 14
#define LINE 19  /* of text */
#define WORDS 38 /* above a small plot */

enum { CELL_PIXELS = 2 }; /* of the grid under the contours */

/* ---- what is shown ---- */

static void include(struct tw_box *box, double x, double y) {
    box->left = fmin(box->left, x);
    box->right = fmax(box->right, x);
    box->bottom = fmin(box->bottom, y);
    box->top = fmax(box->top, y);
}

static void grow(double *low, double *high, double by) {
    *low -= by;
    *high += by;
}

void tw_landscape_fit(struct tw_landscape *landscape) {
    double bottom[TW_OBJECTIVE_MAX];
    tw_objective_bottom(landscape->objective, landscape->surface, bottom);
    struct tw_box core = {bottom[0], bottom[0], bottom[1], bottom[1]};
    for (int r = 0; r < landscape->runs; r++)
        include(&core, landscape->run[r].path.x[0], landscape->run[r].path.x[1]);
    /* A path that begins at the bottom needs some room, too. */
    double span = fmax(core.right - core.left, core.top - core.bottom);
    span = span > 0 ? span : 1;
    double wide = fmax(core.right - core.left, span / 2);
    double high = fmax(core.top - core.bottom, span / 2);
    struct tw_box far = core, box = core;
    grow(&far.left, &far.right, 1.1 * wide);
    grow(&far.bottom, &far.top, 1.1 * high);
    for (int r = 0; r < landscape->runs; r++) {
        const struct tw_path *path = &landscape->run[r].path;
        for (size_t step = 0; step <= path->last; step++)
            include(&box, fmin(fmax(path->x[2 * step], far.left), far.right),
                    fmin(fmax(path->x[2 * step + 1], far.bottom), far.top));
    }
    /* Neither side is less than a third of the other. */
    wide = box.right - box.left;
    high = box.top - box.bottom;
    grow(&box.left, &box.right, fmax(high / 3 - wide, 0) / 2);
    grow(&box.bottom, &box.top, fmax(wide / 3 - high, 0) / 2);
    grow(&box.left, &box.right, 0.14 * (box.right - box.left));
    grow(&box.bottom, &box.top, 0.14 * (box.top - box.bottom));
    landscape->box = box;
}

/* "5,000" */
static void add_count(struct tw_text *out, size_t count) {
    if (count >= 1000)
        add_count(out, count / 1000);
    tw_text_add(out, count >= 1000 ? ",%03zu" : "%zu", count % 1000);
}

static void add_steps(struct tw_text *out, size_t steps) {
    add_count(out, steps);
    tw_text_add(out, steps == 1 ? " step" : " steps");
}

void tw_landscape_verdict(struct tw_text *out, const struct tw_path *path,
                          const struct tw_box *box) {
    size_t left = tw_landscape_leaves(path, box);
    if (path->last < path->steps) {
        tw_text_add(out, "diverges: no number any more at step ");
        add_count(out, path->last + 1);
    } else {
        tw_text_add(out, "f = %.4g after ", path->f[path->last]);
        add_steps(out, path->steps);
        if (path->f[path->last] > path->f[0])
            tw_text_add(out, ", higher than at the start");
    }
    if (left) {
        tw_text_add(out, "; leaves the picture at step ");
        add_count(out, left);
    }
}

/* ---- the ground ---- */

/* From low to high: white to a blue grey, on which paths of any colour stand out. */
static void shade(char out[8], int band, int bands) {
    static const double low[] = {255, 255, 255}, high[] = {172, 189, 205};
    double share = bands > 1 ? (double)band / (bands - 1) : 0;
    int rgb[3];
    for (int i = 0; i < 3; i++)
        rgb[i] = (int)lround(low[i] + share * (high[i] - low[i]));
    snprintf(out, 8, "#%02x%02x%02x", rgb[0] & 255, rgb[1] & 255, rgb[2] & 255);
}

struct outline {
    struct tw_pen pen;
    const struct tw_plot *plot;
    double x, y; /* where the loop began */
};

static void end_loop(struct outline *outline) {
    if (outline->pen.count)
        tw_pen_line(&outline->pen, outline->x, outline->y);
    tw_pen_end(&outline->pen);
}

static void trace(void *context, double x, double y, bool first) {
    struct outline *outline = context;
    x = tw_plot_x(outline->plot, x);
    y = tw_plot_y(outline->plot, y);
    if (!first) {
        tw_pen_line(&outline->pen, x, y);
        return;
    }
    end_loop(outline);
    tw_pen_move(&outline->pen, x, y);
    outline->x = x;
    outline->y = y;
}

/* From the highest level down, each region over the one before. */
static void draw_ground(struct tw_svg *svg, const struct tw_plot *plot, struct tw_grid *grid,
                        const struct tw_levels *levels) {
    char colour[8];
    shade(colour, levels->count, levels->count + 1);
    tw_svg_rect(svg, plot->x, plot->y, plot->width, plot->height,
                &(struct tw_svg_style){.fill = levels->count ? colour : "#ffffff"}, NULL);
    tw_svg_open(svg, &(struct tw_svg_style){.stroke = "#8296a8", .stroke_width = 0.6});
    for (int i = levels->count - 1; i >= 0; i--) {
        struct outline outline = {.pen.svg = svg, .plot = plot};
        shade(colour, i, levels->count + 1);
        tw_svg_path_begin(svg);
        tw_contour_trace(grid, levels->at[i], trace, &outline);
        end_loop(&outline);
        tw_svg_path_end(svg, &(struct tw_svg_style){.fill = colour}, NULL);
    }
    tw_svg_close(svg);
}

/* The shades beside the plot, the levels that are powers of ten named. */
static void draw_scale(struct tw_svg *svg, double x, double y, double height,
                       const struct tw_levels *levels) {
    const struct tw_svg_font font = {.size = 11, .fill = TW_CHART_FAINT};
    double band = height / (levels->count + 1), free = INFINITY;
    char words[32], colour[8];
    if (levels->count == 0)
        return;
    for (int i = 0; i <= levels->count; i++) {
        shade(colour, i, levels->count + 1);
        tw_svg_rect(svg, x, y + height - (i + 1) * band, SCALE_WIDTH, band,
                    &(struct tw_svg_style){.fill = colour}, NULL);
    }
    tw_svg_rect(svg, x, y, SCALE_WIDTH, height,
                &(struct tw_svg_style){.fill = "none", .stroke = TW_CHART_FAINT, .stroke_width = 1},
                NULL);
    bool any = false;
    for (int i = 0; i < levels->count; i++)
        any |= levels->whole[i];
    for (int i = 0; i < levels->count; i++) {
        double at = y + height - (i + 1) * band;
        if ((any && !levels->whole[i]) || free - at < 16)
            continue;
        free = at;
        tw_svg_line(svg, x + SCALE_WIDTH, at, x + SCALE_WIDTH + 4, at,
                    &(struct tw_svg_style){.stroke = TW_CHART_FAINT, .stroke_width = 1});
        snprintf(words, sizeof words, "%.3g", levels->at[i]);
        tw_svg_text(svg, x + SCALE_WIDTH + 7, at + 4, &font, words);
    }
    tw_svg_text(svg, x, y - 7, &font, levels->base < 0 ? "f, by log(f - min)" : "f, by log f");
}

static void draw_minimum(struct tw_svg *svg, const struct tw_plot *plot, double x, double y) {
    const struct tw_svg_style style = {.stroke = TW_CHART_INK, .stroke_width = 1.6};
    if (x < plot->box.left || x > plot->box.right || y < plot->box.bottom || y > plot->box.top)
        return;
    x = tw_plot_x(plot, x);
    y = tw_plot_y(plot, y);
    tw_svg_line(svg, x - 5, y, x + 5, y, &style);
    tw_svg_line(svg, x, y - 5, x, y + 5, &style);
}

static void draw_start(struct tw_svg *svg, double x, double y) {
    tw_svg_circle(
        svg, x, y, 4.5,
        &(struct tw_svg_style){.fill = "#ffffff", .stroke = TW_CHART_INK, .stroke_width = 1.8},
        NULL);
}

/* ---- the sheet ---- */

struct sheet {
    const struct tw_landscape *landscape;
    struct tw_svg svg;
    struct tw_grid grid;
    struct tw_levels levels;
    struct tw_plot plot; /* of the plot that is being drawn */
    int columns, rows;   /* of plots */
    double width, height;
};

/* The plot with these runs in it. */
static void draw_plot(struct sheet *sheet, int first, int runs) {
    const struct tw_landscape *landscape = sheet->landscape;
    const struct tw_plot *plot = &sheet->plot;
    struct tw_svg *svg = &sheet->svg;
    double bottom[TW_OBJECTIVE_MAX], right = plot->x + plot->width, below = plot->y + plot->height;
    tw_objective_bottom(landscape->objective, landscape->surface, bottom);
    draw_ground(svg, plot, &sheet->grid, &sheet->levels);
    draw_minimum(svg, plot, bottom[0], bottom[1]);
    for (int r = first; r < first + runs; r++)
        tw_landscape_draw_path(svg, plot, &landscape->run[r].path, tw_chart_colour((unsigned)r));
    const double *start = landscape->run[first].path.x;
    draw_start(svg, tw_plot_x(plot, start[0]), tw_plot_y(plot, start[1]));
    tw_svg_rect(svg, plot->x, plot->y, plot->width, plot->height,
                &(struct tw_svg_style){.fill = "none", .stroke = TW_CHART_FAINT, .stroke_width = 1},
                NULL);
    const struct tw_axis across = {plot->box.left, plot->box.right, plot->x, right};
    const struct tw_axis up = {plot->box.bottom, plot->box.top, below, plot->y};
    tw_chart_axis_x(svg, &across, below, "x₁");
    tw_chart_axis_y(svg, &up, plot->x, "x₂");
}

enum { FORMULA = 160 };

/* The formula as it is written by hand, without what is said about it behind it. */
static void write_formula(char out[FORMULA], const char *formula) {
    static const struct {
        const char *plain, *hand;
    } sign[] = {{"x1", "x₁"}, {"x2", "x₂"}, {"^2", "²"}, {"^3", "³"}, {"^T", "ᵀ"}, {" - ", " − "}};
    size_t size = 0;
    while (*formula && *formula != ';' && *formula != ':' && size + 4 < FORMULA) {
        size_t i = 0, count = sizeof sign / sizeof sign[0];
        while (i < count && strncmp(formula, sign[i].plain, strlen(sign[i].plain)) != 0)
            i++;
        const char *hand = i < count ? sign[i].hand : (char[]){*formula, '\0'};
        formula += i < count ? strlen(sign[i].plain) : 1;
        size += (size_t)snprintf(out + size, FORMULA - size, "%s", hand);
    }
    out[size < FORMULA ? size : FORMULA - 1] = '\0';
}

/* What the marks mean, and the title. */
static void draw_head(struct sheet *sheet) {
    struct tw_svg *svg = &sheet->svg;
    double x = MARGIN + 6, y = MARGIN + 28;
    const char *title = sheet->landscape->title;
    const struct tw_svg_font bold = {.size = 16, .bold = true, .fill = TW_CHART_INK};
    const struct tw_svg_font faint = {.size = 12, .fill = TW_CHART_FAINT};
    char formula[FORMULA];
    write_formula(formula, sheet->landscape->objective->formula);
    tw_svg_text(svg, MARGIN, MARGIN + 8, &bold, title);
    tw_svg_text(svg, MARGIN + tw_svg_text_width(18, title) + 12, MARGIN + 8, &faint, formula);
    draw_start(svg, x, y - 4);
    x = tw_chart_legend(svg, x, y, 6, "start") + 4;
    tw_svg_circle(svg, x, y - 4, 5, &(struct tw_svg_style){.fill = TW_CHART_FAINT}, NULL);
    x = tw_chart_legend(svg, x, y, 6, "end") + 4;
    const struct tw_svg_style ink = {.stroke = TW_CHART_INK, .stroke_width = 1.6};
    tw_svg_line(svg, x - 5, y - 4, x + 5, y - 4, &ink);
    tw_svg_line(svg, x, y - 9, x, y + 1, &ink);
    x = tw_chart_legend(svg, x, y, 6, "gradient 0") + 4;
    const struct tw_svg_style cross = {.stroke = TW_CHART_FAINT, .stroke_width = 2.4};
    tw_svg_line(svg, x - 4, y - 8, x + 4, y, &cross);
    tw_svg_line(svg, x - 4, y, x + 4, y - 8, &cross);
    tw_chart_legend(svg, x, y, 6, "leaves the picture");
}

/* The words of a run: its colour and label, and what became of it `indent` pixels on, or, if that
 * is 0, below. */
static void draw_words(struct sheet *sheet, int r, double x, double y, double indent) {
    const struct tw_landscape *landscape = sheet->landscape;
    const struct tw_landscape_run *run = &landscape->run[r];
    const char *colour = tw_chart_colour((unsigned)r);
    struct tw_text words = {0};
    tw_landscape_verdict(&words, &run->path, &landscape->box);
    /* A long label above a small plot is written smaller. */
    double room = indent > 0 ? INFINITY : sheet->plot.width + AXIS_LEFT - 32;
    double size = fmin(12, 12 * room / tw_svg_text_width(13, run->label));
    const struct tw_svg_font name = {.size = size, .bold = true, .fill = TW_CHART_INK};
    const struct tw_svg_font more = {.size = 12, .fill = TW_CHART_INK};
    tw_svg_line(&sheet->svg, x, y - 4, x + 24, y - 4,
                &(struct tw_svg_style){.stroke = colour, .stroke_width = 3});
    tw_svg_text(&sheet->svg, x + 32, y, &name, run->label);
    tw_svg_text(&sheet->svg, x + indent, indent > 0 ? y : y + 16, &more,
                words.failed ? "" : words.at);
    tw_text_fini(&words);
}

static void draw_sheet(struct sheet *sheet) {
    const struct tw_landscape *landscape = sheet->landscape;
    double top = MARGIN + 66;
    draw_head(sheet);
    for (int i = 0; i < sheet->columns * sheet->rows; i++) {
        if (landscape->panels && i >= landscape->runs)
            break;
        double above = landscape->panels ? WORDS : 0;
        sheet->plot.x =
            MARGIN + AXIS_LEFT + (i % sheet->columns) * (sheet->plot.width + AXIS_LEFT + 22);
        sheet->plot.y =
            top + above + (i / sheet->columns) * (sheet->plot.height + above + AXIS_BELOW + 26);
        if (landscape->panels)
            draw_words(sheet, i, sheet->plot.x, sheet->plot.y - 40, 0);
        draw_plot(sheet, landscape->panels ? i : 0, landscape->panels ? 1 : landscape->runs);
    }
    draw_scale(&sheet->svg, sheet->width - SCALE_ROOM, top + (landscape->panels ? WORDS : 0),
               sheet->plot.height, &sheet->levels);
    double indent = 0;
    for (int r = 0; r < landscape->runs; r++)
        indent = fmax(indent, 48 + tw_svg_text_width(13, landscape->run[r].label));
    for (int r = 0; r < landscape->runs && !landscape->panels; r++)
        draw_words(sheet, r, MARGIN + AXIS_LEFT,
                   top + sheet->plot.height + AXIS_BELOW + (r + 1) * LINE, indent);
}

static void lay_out(struct sheet *sheet) {
    const struct tw_landscape *landscape = sheet->landscape;
    int runs = landscape->runs;
    sheet->columns = sheet->rows = 1;
    sheet->plot = (struct tw_plot){.box = landscape->box, .width = 640, .height = 440};
    double above = 0, below = runs * LINE + 8;
    if (landscape->panels) {
        sheet->columns = runs == 4 ? 2 : runs < 3 ? runs : 3;
        sheet->rows = (runs + sheet->columns - 1) / sheet->columns;
        sheet->plot.width = sheet->columns == 3 ? 310 : 420;
        sheet->plot.height = sheet->columns == 3 ? 216 : 290;
        above = WORDS + 26;
        below = -26;
    }
    sheet->width = MARGIN + sheet->columns * (sheet->plot.width + AXIS_LEFT + 22) + SCALE_ROOM + 4;
    sheet->height =
        MARGIN + 66 + sheet->rows * (sheet->plot.height + AXIS_BELOW + above) + below + MARGIN;
}

enum tw_status tw_landscape_draw(struct tw_text *out, const struct tw_landscape *landscape,
                                 struct tw_error *error) {
    struct sheet sheet = {.landscape = landscape};
    lay_out(&sheet);
    int columns = (int)sheet.plot.width / CELL_PIXELS + 1;
    int rows = (int)sheet.plot.height / CELL_PIXELS + 1;
    enum tw_status status = tw_grid_init(&sheet.grid, &landscape->box, columns, rows, error);
    if (status != TW_OK)
        return status;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++) {
            double x[TW_OBJECTIVE_MAX] = {tw_grid_x(&sheet.grid, c), tw_grid_y(&sheet.grid, r)};
            sheet.grid.value[r * columns + c] =
                landscape->objective->value(landscape->surface, x, NULL);
        }
    tw_levels_choose(&sheet.levels, &sheet.grid);
    tw_svg_begin(&sheet.svg, out, sheet.width, sheet.height, landscape->title,
                 "Contours of the function, and the paths of optimizers on it");
    draw_sheet(&sheet);
    tw_svg_end(&sheet.svg);
    tw_grid_fini(&sheet.grid);
    return out->failed ? tw_error_set(error, TW_NO_MEMORY, "out of memory") : TW_OK;
}
