#include "lab/contour.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the grid ---- */

enum tw_status tw_grid_init(struct tw_grid *grid, const struct tw_box *box, int columns, int rows,
                            struct tw_error *error) {
    assert(columns >= 2 && rows >= 2);
    *grid = (struct tw_grid){.box = *box, .columns = columns, .rows = rows};
    grid->value = calloc((size_t)rows * (size_t)columns, sizeof *grid->value);
    grid->seen = calloc((size_t)(rows + 1) * (size_t)(columns + 1), 1);
    if (grid->value && grid->seen)
        return TW_OK;
    tw_grid_fini(grid);
    return tw_error_set(error, TW_NO_MEMORY, "out of memory for a grid of %d x %d", columns, rows);
}

void tw_grid_fini(struct tw_grid *grid) {
    free(grid->value);
    free(grid->seen);
    *grid = (struct tw_grid){.columns = 0};
}

static double between(double low, double high, int i, int count) {
    double share = (double)i / (count - 1);
    return low * (1 - share) + high * share;
}

double tw_grid_x(const struct tw_grid *grid, int column) {
    return between(grid->box.left, grid->box.right, column, grid->columns);
}

double tw_grid_y(const struct tw_grid *grid, int row) {
    return between(grid->box.bottom, grid->box.top, row, grid->rows);
}

/* ---- tracing ----
 *
 * Around the grid lies a frame of squares without width, whose outer corners are above every
 * level: so no region reaches the end, and every loop closes. Squares are counted with this
 * frame: square (c, r) has the corners c - 1, c and r - 1, r.
 *
 * Corners and edges of a square are counted counterclockwise from the lower left corner and the
 * lower edge; edge e leads from corner e to corner e + 1. A loop with its region on the left
 * enters a square at an edge that leads out of the region, and leaves it at one that leads in,
 * which leads out for the square next door. */

struct corner {
    int column, row;
};

static struct corner corner_of(int c, int r, int corner) {
    static const int right[] = {0, 1, 1, 0}, up[] = {0, 0, 1, 1};
    return (struct corner){c - 1 + right[corner & 3], r - 1 + up[corner & 3]};
}

static double value_at(const struct tw_grid *grid, struct corner at) {
    if (at.column < 0 || at.column >= grid->columns || at.row < 0 || at.row >= grid->rows)
        return INFINITY;
    double value = grid->value[(size_t)at.row * (size_t)grid->columns + (size_t)at.column];
    return isfinite(value) ? value : INFINITY;
}

static bool is_below(const struct tw_grid *grid, double level, int c, int r, int corner) {
    return value_at(grid, corner_of(c, r, corner)) < level;
}

static bool leads_out(const struct tw_grid *grid, double level, int c, int r, int edge) {
    return is_below(grid, level, c, r, edge) && !is_below(grid, level, c, r, edge + 1);
}

/* The edge at which a loop that came in at `edge` leaves. */
static int leaves_at(const struct tw_grid *grid, double level, int c, int r, int edge) {
    bool two = leads_out(grid, level, c, r, edge + 2);
    if (two) {
        double sum = 0;
        for (int corner = 0; corner < 4; corner++)
            sum += value_at(grid, corner_of(c, r, corner)) / 4;
        return (edge + (sum < level ? 1 : 3)) & 3;
    }
    int out = edge + 1;
    while (is_below(grid, level, c, r, out) || !is_below(grid, level, c, r, out + 1))
        out++;
    return out & 3;
}

static double clamp(int i, int count) {
    return fmin(fmax(i, 0), count - 1);
}

static void tell(const struct tw_grid *grid, double level, int c, int r, int edge, bool first,
                 tw_contour_point *point, void *context) {
    struct corner in = corner_of(c, r, edge), out = corner_of(c, r, edge + 1);
    double from = value_at(grid, in), to = value_at(grid, out);
    double share = isfinite(to) ? (level - from) / (to - from) : 0;
    double x1 = tw_grid_x(grid, (int)clamp(in.column, grid->columns));
    double x2 = tw_grid_x(grid, (int)clamp(out.column, grid->columns));
    double y1 = tw_grid_y(grid, (int)clamp(in.row, grid->rows));
    double y2 = tw_grid_y(grid, (int)clamp(out.row, grid->rows));
    point(context, x1 + share * (x2 - x1), y1 + share * (y2 - y1), first);
}

static void follow(struct tw_grid *grid, double level, int c, int r, int edge,
                   tw_contour_point *point, void *context) {
    static const int right[] = {0, 1, 0, -1}, up[] = {-1, 0, 1, 0};
    for (bool first = true;; first = false) {
        unsigned char *seen = &grid->seen[(size_t)r * (size_t)(grid->columns + 1) + (size_t)c];
        if (*seen >> edge & 1)
            return;
        *seen |= (unsigned char)(1U << edge);
        tell(grid, level, c, r, edge, first, point, context);
        int out = leaves_at(grid, level, c, r, edge);
        c += right[out];
        r += up[out];
        edge = (out + 2) & 3;
    }
}

void tw_contour_trace(struct tw_grid *grid, double level, tw_contour_point *point, void *context) {
    memset(grid->seen, 0, (size_t)(grid->rows + 1) * (size_t)(grid->columns + 1));
    for (int r = 0; r <= grid->rows; r++)
        for (int c = 0; c <= grid->columns; c++)
            for (int edge = 0; edge < 4; edge++)
                if (leads_out(grid, level, c, r, edge))
                    follow(grid, level, c, r, edge, point, context);
}

/* ---- levels ---- */

static int compare(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* More decades than this are not to be told apart in a picture. */
#define DECADES_MAX 7
/* So much of the picture may lie below the lowest level. */
#define LOWEST_SHARE 0.004

/* Exponents of ten between which the levels lie; false: there is nothing to show. */
static bool exponents(const struct tw_grid *grid, double *base, double *low, double *high) {
    size_t count = (size_t)grid->rows * (size_t)grid->columns, finite = 0;
    double *sorted = malloc(count * sizeof *sorted);
    if (!sorted)
        return false;
    for (size_t i = 0; i < count; i++)
        if (isfinite(grid->value[i]))
            sorted[finite++] = grid->value[i];
    qsort(sorted, finite, sizeof *sorted, compare);
    bool varies = finite > 0 && sorted[0] < sorted[finite - 1];
    if (varies) {
        *base = fmin(sorted[0], 0);
        size_t at = (size_t)(LOWEST_SHARE * (double)finite);
        while (sorted[at] <= *base)
            at++;
        *high = log10(sorted[finite - 1] - *base);
        *low = fmax(log10(sorted[at] - *base), *high - DECADES_MAX);
    }
    free(sorted);
    return varies;
}

void tw_levels_choose(struct tw_levels *levels, const struct tw_grid *grid) {
    /* Parts of a decade. */
    static const int parts[] = {20, 10, 5, 4, 2, 1};
    double low, high;
    int first = 0, last = 0, part = 0;
    *levels = (struct tw_levels){.count = 0};
    if (!exponents(grid, &levels->base, &low, &high))
        return;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        part = parts[i];
        first = (int)ceil(low * part);
        last = (int)ceil(high * part) - 1;
        if (last - first < TW_CONTOUR_LEVELS - 8)
            break;
    }
    for (int k = first; k <= last && levels->count < TW_CONTOUR_LEVELS; k++) {
        levels->whole[levels->count] = k % part == 0;
        levels->at[levels->count++] = levels->base + pow(10, (double)k / part);
    }
}
