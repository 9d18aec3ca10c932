/* Loss curves of runs: what was lost when, read from what runs leave behind, and drawn in one
 * picture, so that full batch, minibatch and single example can be compared.
 *
 * The loss of training is that of each update (order.log: the mean over its examples on the weights
 * before it, and there it stands), or, against seconds, that of each epoch; the loss of the test
 * data is that of each epoch (metrics.jsonl). A curve of many updates is drawn in bins: the line is
 * the mean of each, the shade behind it goes from its least to its largest loss.
 *
 * Used by `talweg curves` (cmd_curves.c).
 */
#ifndef TW_CLI_CURVES_H
#define TW_CLI_CURVES_H

#include "common/base/status.h"
#include "common/base/text.h"

#define TW_CURVES_RUNS 16
#define TW_CURVES_BINS 400
#define TW_CURVES_PANEL_BINS 150 /* in a narrow plot */
#define TW_CURVES_LABEL 64

enum tw_curves_by { TW_CURVES_UPDATES, TW_CURVES_EPOCHS, TW_CURVES_SECONDS };

struct tw_curve_point {
    double x, mean, low, high;
};

struct tw_curve {
    char label[TW_CURVES_LABEL];
    size_t losses; /* that were read */
    size_t count;
    struct tw_curve_point *point; /* [count], from left to right; at most TW_CURVES_BINS */
};

struct tw_curves {
    bool test; /* of the test data */
    enum tw_curves_by by;
    bool panels; /* each run in a plot of its own, with the same axes */
    double most; /* losses above this are cut off; 0: none */
    int count;
    struct tw_curve run[TW_CURVES_RUNS];
};

extern const char *const tw_curves_by_names[]; /* "updates", ...; NULL at the end */

/* Reads the curve of a run's directory, as `curves` wants it. A log that ends early is read up to
 * there. TW_DATA: no such run, or nothing of that kind in it; TW_NO_MEMORY. Fini in any case. */
enum tw_status tw_curve_read(struct tw_curve *curve, const struct tw_curves *curves,
                             const char *run, struct tw_error *error);
void tw_curve_fini(struct tw_curve *curve);

/* The picture. It has at least one run. */
void tw_curves_to_svg(struct tw_text *out, const struct tw_curves *curves);

#endif
