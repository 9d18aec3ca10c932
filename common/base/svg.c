#include "common/base/svg.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Farther out there is nothing to be seen. */
#define FARTHEST 1e7
#define FONT_SIZE 12

/* Without printf's %f: its point depends on the locale. */
static void add_number(struct tw_text *text, double value) {
    if (!isfinite(value))
        value = 0;
    value = fmin(fmax(value, -FARTHEST), FARTHEST);
    long hundredths = lround(value * 100);
    long rest = labs(hundredths) % 100;
    tw_text_add(text, "%s%ld", hundredths < 0 ? "-" : "", labs(hundredths) / 100);
    if (rest)
        tw_text_add(text, rest % 10 ? ".%02ld" : ".%ld", rest % 10 ? rest : rest / 10);
}

static void add_length(struct tw_svg *svg, const char *name, double value) {
    tw_text_add(svg->text, " %s=\"", name);
    add_number(svg->text, value);
    tw_text_add(svg->text, "\"");
}

static void add_word(struct tw_svg *svg, const char *name, const char *value) {
    if (value)
        tw_text_add(svg->text, " %s=\"%s\"", name, value);
}

/* XML 1.0 has no control characters but these three, and neither U+FFFE nor U+FFFF. */
static bool is_sayable(const char *at, size_t length) {
    if (length == 1 && (unsigned char)*at < 0x20)
        return *at == '\t' || *at == '\n' || *at == '\r';
    return !(length == 3 &&
             (memcmp(at, "\xef\xbf\xbe", 3) == 0 || memcmp(at, "\xef\xbf\xbf", 3) == 0));
}

static void add_words(struct tw_text *text, const char *words) {
    static const char *const entity[] = {['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;"};
    size_t left = strlen(words);
    while (left > 0) {
        size_t length = tw_utf8_length(words, left);
        unsigned char first = (unsigned char)*words;
        if (length == 0 || !is_sayable(words, length))
            tw_text_add(text, "\xef\xbf\xbd");
        else if (length == 1 && first < sizeof entity / sizeof entity[0] && entity[first])
            tw_text_add(text, "%s", entity[first]);
        else
            tw_text_add_bytes(text, words, length);
        words += length ? length : 1;
        left -= length ? length : 1;
    }
}

static void add_element(struct tw_svg *svg, const char *name, const char *words) {
    tw_text_add(svg->text, "<%s>", name);
    add_words(svg->text, words);
    tw_text_add(svg->text, "</%s>", name);
}

static void add_style(struct tw_svg *svg, const struct tw_svg_style *style) {
    if (!style)
        return;
    add_word(svg, "fill", style->fill);
    add_word(svg, "stroke", style->stroke);
    if (style->stroke_width > 0)
        add_length(svg, "stroke-width", style->stroke_width);
    add_word(svg, "stroke-dasharray", style->dash);
    if (style->opacity > 0)
        add_length(svg, "opacity", style->opacity);
}

static void end_shape(struct tw_svg *svg, const char *name, const struct tw_svg_style *style,
                      const char *tip) {
    add_style(svg, style);
    if (!tip) {
        tw_text_add(svg->text, "/>\n");
        return;
    }
    tw_text_add(svg->text, ">");
    add_element(svg, "title", tip);
    tw_text_add(svg->text, "</%s>\n", name);
}

/* ---- the picture ---- */

void tw_svg_begin(struct tw_svg *svg, struct tw_text *text, double width, double height,
                  const char *title, const char *description) {
    *svg = (struct tw_svg){.text = text};
    tw_text_add(text, "<svg xmlns=\"http://www.w3.org/2000/svg\"");
    add_length(svg, "width", width);
    add_length(svg, "height", height);
    tw_text_add(text, " viewBox=\"0 0 ");
    add_number(text, width);
    tw_text_add(text, " ");
    add_number(text, height);
    tw_text_add(text, "\" font-family=\"DejaVu Sans, Verdana, sans-serif\" font-size=\"%d\">\n",
                FONT_SIZE);
    add_element(svg, "title", title);
    tw_text_add(text, "\n");
    add_element(svg, "desc", description);
    tw_text_add(text, "\n");
    tw_svg_rect(svg, 0, 0, width, height, &(struct tw_svg_style){.fill = "#ffffff"}, NULL);
}

void tw_svg_end(struct tw_svg *svg) {
    assert(svg->depth == 0 && !svg->in_path);
    tw_text_add(svg->text, "</svg>\n");
}

void tw_svg_open(struct tw_svg *svg, const struct tw_svg_style *style) {
    tw_text_add(svg->text, "<g");
    add_style(svg, style);
    tw_text_add(svg->text, ">\n");
    svg->depth++;
}

void tw_svg_close(struct tw_svg *svg) {
    assert(svg->depth > 0);
    tw_text_add(svg->text, "</g>\n");
    svg->depth--;
}

/* ---- shapes ---- */

void tw_svg_rect(struct tw_svg *svg, double x, double y, double width, double height,
                 const struct tw_svg_style *style, const char *tip) {
    tw_text_add(svg->text, "<rect");
    add_length(svg, "x", x);
    add_length(svg, "y", y);
    add_length(svg, "width", fmax(width, 0));
    add_length(svg, "height", fmax(height, 0));
    end_shape(svg, "rect", style, tip);
}

void tw_svg_line(struct tw_svg *svg, double x1, double y1, double x2, double y2,
                 const struct tw_svg_style *style) {
    tw_text_add(svg->text, "<line");
    add_length(svg, "x1", x1);
    add_length(svg, "y1", y1);
    add_length(svg, "x2", x2);
    add_length(svg, "y2", y2);
    end_shape(svg, "line", style, NULL);
}

void tw_svg_circle(struct tw_svg *svg, double x, double y, double radius,
                   const struct tw_svg_style *style, const char *tip) {
    tw_text_add(svg->text, "<circle");
    add_length(svg, "cx", x);
    add_length(svg, "cy", y);
    add_length(svg, "r", fmax(radius, 0));
    end_shape(svg, "circle", style, tip);
}

void tw_svg_path_begin(struct tw_svg *svg) {
    assert(!svg->in_path);
    svg->in_path = true;
    tw_text_add(svg->text, "<path d=\"");
}

static void add_points(struct tw_svg *svg, char command, const double *at, int count) {
    assert(svg->in_path);
    tw_text_add(svg->text, "%c", command);
    for (int i = 0; i < count; i++) {
        if (i > 0)
            tw_text_add(svg->text, " ");
        add_number(svg->text, at[i]);
    }
}

void tw_svg_move_to(struct tw_svg *svg, double x, double y) {
    add_points(svg, 'M', (const double[]){x, y}, 2);
}

void tw_svg_line_to(struct tw_svg *svg, double x, double y) {
    add_points(svg, 'L', (const double[]){x, y}, 2);
}

void tw_svg_curve_to(struct tw_svg *svg, double x1, double y1, double x2, double y2, double x,
                     double y) {
    add_points(svg, 'C', (const double[]){x1, y1, x2, y2, x, y}, 6);
}

void tw_svg_path_end(struct tw_svg *svg, const struct tw_svg_style *style, const char *tip) {
    assert(svg->in_path);
    svg->in_path = false;
    tw_text_add(svg->text, "\"");
    end_shape(svg, "path", style, tip);
}

/* ---- words ---- */

void tw_svg_text(struct tw_svg *svg, double x, double y, const struct tw_svg_font *font,
                 const char *words) {
    static const char *const anchor[] = {NULL, "middle", "end"};
    tw_text_add(svg->text, "<text");
    add_length(svg, "x", x);
    add_length(svg, "y", y);
    if (font) {
        if (font->size > 0)
            add_length(svg, "font-size", font->size);
        add_word(svg, "font-weight", font->bold ? "bold" : NULL);
        add_word(svg, "text-anchor", anchor[font->anchor]);
        add_word(svg, "fill", font->fill);
    }
    tw_text_add(svg->text, ">");
    add_words(svg->text, words);
    tw_text_add(svg->text, "</text>\n");
}

double tw_svg_text_width(double size, const char *words) {
    size_t letters = 0;
    for (; *words; words++)
        letters += ((unsigned char)*words & 0xc0) != 0x80;
    return 0.6 * size * (double)letters;
}
