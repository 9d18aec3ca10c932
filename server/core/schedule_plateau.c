/* The schedule that goes by what the loss does: reduce_on_plateau. */
#include "server/core/schedule_tables.h"

#define EPOCHS_MAX 1000000000

static const char *const watch_names[] = {"test", "train", NULL};

static const struct tw_option_rule plateau_rules[] = {
    {TW_SCHEDULE_MEMBER(factor), TW_SCHEDULE_SHARE, .fallback = 0.1,
     .text = "what each reduction multiplies by"},
    {TW_SCHEDULE_MEMBER(patience), .type = TW_OPTION_INTEGER, .min = 0, .max = EPOCHS_MAX,
     .fallback = 10, .text = "so many epochs without a better loss are borne, the next one not"},
    {TW_SCHEDULE_MEMBER(threshold), TW_SCHEDULE_NOT_NEGATIVE, .fallback = 1e-4,
     .text = "a loss is better when it is below the best by this share of it"},
    {TW_SCHEDULE_MEMBER(cooldown), .type = TW_OPTION_INTEGER, .min = 0, .max = EPOCHS_MAX,
     .fallback = 0, .text = "so many epochs after a reduction are not counted"},
    {TW_SCHEDULE_MEMBER(min_lr), TW_SCHEDULE_NOT_NEGATIVE, .fallback = 0,
     .text = "it goes no lower than this"},
    {TW_SCHEDULE_MEMBER(watch), .type = TW_OPTION_ENUM, .fallback = TW_WATCH_TEST,
     .names = watch_names,
     .text = "which loss of each epoch; training waits for that of the test data"},
    TW_SCHEDULE_COMMON,
};

static double plateau(const struct tw_schedule_options *options, double start, double t) {
    double value = start * tw_power(options->factor, (double)options->reductions);
    if (options->reductions == 0 || start < options->min_lr)
        return start;
    return value > options->min_lr ? value : options->min_lr;
}

const struct tw_schedule tw_schedule_reduce_on_plateau = {
    .name = "reduce_on_plateau",
    .formula = "max(v factor^(how often the loss stopped falling), min_lr)",
    .source = "torch.optim.lr_scheduler.ReduceLROnPlateau, mode min, threshold_mode rel",
    TW_SCHEDULE_TABLE(plateau_rules),
    .value = plateau,
};
