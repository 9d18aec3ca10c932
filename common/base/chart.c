#include "common/base/chart.h"

#include <math.h>
#include <stdio.h>

#define LABEL_SIZE 11
#define TICK 4
/* So far apart should the numbers of an axis be at least. */
#define TICK_APART_X 60
#define TICK_APART_Y 28

double tw_axis_at(const struct tw_axis *axis, double value) {
    double range = axis->high - axis->low;
    if (range == 0)
        return axis->from;
    return axis->from + (value - axis->low) / range * (axis->to - axis->from);
}

double tw_axis_step(const struct tw_axis *axis, int most) {
    static const double steps[] = {1, 2, 5, 10};
    double range = fabs(axis->high - axis->low);
    if (!(range > 0) || !isfinite(range) || most < 1)
        return 0;
    double power = pow(10, floor(log10(range / most)));
    for (int i = 0; i < 3; i++)
        if (range <= steps[i] * power * most)
            return steps[i] * power;
    return steps[3] * power;
}

/* Ticks are counted, not added up, so that none is missed at the end. */
struct ticks {
    double first, step;
    int count, decimals;
};

static struct ticks ticks_of(const struct tw_axis *axis, double apart) {
    int most = (int)fmin(fabs(axis->to - axis->from) / apart, 1000);
    struct ticks ticks = {.step = tw_axis_step(axis, most > 2 ? most : 2)};
    if (ticks.step == 0)
        return ticks;
    double low = fmin(axis->low, axis->high), high = fmax(axis->low, axis->high);
    ticks.first = ceil(low / ticks.step - 1e-9);
    ticks.count = (int)(floor(high / ticks.step + 1e-9) - ticks.first) + 1;
    ticks.decimals = (int)fmax(0, -floor(log10(ticks.step) + 1e-9));
    return ticks;
}

static void tick_label(const struct ticks *ticks, int i, char *out, size_t room) {
    double value = (ticks->first + i) * ticks->step;
    snprintf(out, room, "%.*f", ticks->decimals, value == 0 ? 0 : value);
}

void tw_chart_axis_x(struct tw_svg *svg, const struct tw_axis *axis, double y, const char *title) {
    struct ticks ticks = ticks_of(axis, TICK_APART_X);
    const struct tw_svg_font label = {
        .size = LABEL_SIZE, .anchor = TW_SVG_MIDDLE, .fill = TW_CHART_FAINT};
    const struct tw_svg_font name = {
        .size = LABEL_SIZE, .anchor = TW_SVG_END, .fill = TW_CHART_FAINT};
    char words[64];
    tw_svg_open(svg, &(struct tw_svg_style){.stroke = TW_CHART_FAINT, .stroke_width = 1});
    tw_svg_line(svg, axis->from, y, axis->to, y, NULL);
    for (int i = 0; i < ticks.count; i++) {
        double x = tw_axis_at(axis, (ticks.first + i) * ticks.step);
        tw_svg_line(svg, x, y, x, y + TICK, NULL);
    }
    tw_svg_close(svg);
    for (int i = 0; i < ticks.count; i++) {
        tick_label(&ticks, i, words, sizeof words);
        tw_svg_text(svg, tw_axis_at(axis, (ticks.first + i) * ticks.step), y + TICK + LABEL_SIZE,
                    &label, words);
    }
    tw_svg_text(svg, axis->to, y + TICK + 2.4 * LABEL_SIZE, &name, title);
}

void tw_chart_axis_y(struct tw_svg *svg, const struct tw_axis *axis, double x, const char *title) {
    struct ticks ticks = ticks_of(axis, TICK_APART_Y);
    const struct tw_svg_font label = {
        .size = LABEL_SIZE, .anchor = TW_SVG_END, .fill = TW_CHART_FAINT};
    char words[64];
    tw_svg_open(svg, &(struct tw_svg_style){.stroke = TW_CHART_FAINT, .stroke_width = 1});
    tw_svg_line(svg, x, axis->from, x, axis->to, NULL);
    for (int i = 0; i < ticks.count; i++) {
        double y = tw_axis_at(axis, (ticks.first + i) * ticks.step);
        tw_svg_line(svg, x - TICK, y, x, y, NULL);
    }
    tw_svg_close(svg);
    for (int i = 0; i < ticks.count; i++) {
        tick_label(&ticks, i, words, sizeof words);
        double y = tw_axis_at(axis, (ticks.first + i) * ticks.step);
        tw_svg_text(svg, x - TICK - 2, y + 0.35 * LABEL_SIZE, &label, words);
    }
    /* Above the axis, where no number can be in its way. */
    tw_svg_text(svg, x, fmin(axis->from, axis->to) - LABEL_SIZE, &label, title);
}

const char *tw_chart_colour(unsigned i) {
    static const char *const palette[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                          "#56b4e9", "#e69f00", "#5b3a9e", "#7f7f7f"};
    return palette[i % (sizeof palette / sizeof palette[0])];
}

double tw_chart_legend(struct tw_svg *svg, double x, double y, double sample, const char *words) {
    const struct tw_svg_font font = {.size = LABEL_SIZE, .fill = TW_CHART_INK};
    tw_svg_text(svg, x + sample + 5, y, &font, words);
    return x + sample + 5 + tw_svg_text_width(LABEL_SIZE, words) + 14;
}
