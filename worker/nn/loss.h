/* Losses: how far outputs are from targets, and in which direction to go. Each is
 * a const table in one file; adding one is a new file and one line in loss.c.
 *
 * A target is a class number, the label, or real numbers, one for each output. Loss and
 * gradient are SUMS over rows, never means:
 * whoever applies the update divides by the number of examples, once.
 */
#ifndef TW_NN_LOSS_H
#define TW_NN_LOSS_H

#include "worker/nn/layer.h"

/* Sums over examples. */
struct tw_score {
    double loss;
    int64_t examples;
    int64_t correct; /* those whose largest output is the label's; ties: the lowest class wins.
                      * 0 where targets are real numbers */
};

/* What one row of outputs should be. */
struct tw_target {
    const tw_real *values; /* [outputs]; NULL: */
    int32_t label;         /* 0 <= label < tw_loss_classes() */
};

/* Target of output i: its value, or that of the one-hot vector of the label. */
static inline double tw_target_at(struct tw_target target, int i) {
    return target.values != NULL ? (double)target.values[i] : i == target.label ? 1.0 : 0.0;
}

/* What outputs mean. */
enum tw_answer {
    TW_ANSWER_OUTPUTS, /* they are the answer */
    TW_ANSWER_SOFTMAX, /* probabilities of the classes, which add up to 1 */
    TW_ANSWER_SIGMOID, /* each a probability of its own */
};

struct tw_loss {
    const char *name;
    const char *text; /* one line for --help and docs, with the formula of one row */
    const struct tw_option_rule *rules;
    int rule_count;
    size_t options_size;
    bool binary; /* takes a single output, too: it tells class 1 (above 0) from class 0 */
    bool valued; /* takes real targets, too */
    bool parts;  /* they are from 0 to 1 */
    enum tw_answer answer;
    /* The loss of one row of `outputs`; `gradient` (may be `out`, may be NULL) gets its
     * derivative by them. A row that holds NaN gives NaN, not a plausible number. */
    double (*row)(const void *options, const tw_real *out, int outputs, struct tw_target target,
                  tw_real *gradient);
};

/* All losses, in the order of --help. */
extern const struct tw_loss *const tw_losses[];
extern const int tw_loss_count;

/* Finds the loss that `variant` names and reads its options into *options, from malloc (NULL
 * when it has none); TW_JOB as tw_options_read(), TW_NO_MEMORY. */
enum tw_status tw_loss_find(const struct tw_loss **out, void **options,
                            const struct tw_variant *variant, struct tw_error *error);

/* How many classes so many outputs tell apart: as many, or 2 for one output of a binary loss. */
int tw_loss_classes(const struct tw_loss *loss, int outputs);

/* Adds the loss of rows [0, rows) of `out` [rows, outputs] to `score`, compared with the labels
 * or targets of the batch; `gradient` [rows, outputs] as in row(). */
void tw_loss_add(const struct tw_loss *loss, const void *options, const tw_real *out, int rows,
                 int outputs, const struct tw_batch *batch, tw_real *gradient,
                 struct tw_score *score);

/* What the outputs of one row say, into answer[outputs]. */
void tw_loss_answer(const struct tw_loss *loss, const tw_real *out, int outputs, double *answer);
/* Outputs that say this. */
void tw_loss_unanswer(const struct tw_loss *loss, const double *answer, int outputs, tw_real *out);

#endif
