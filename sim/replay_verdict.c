/* VERDICT: on the learning rate, and on the end; see replay.h. */
#include <string.h>

#include "sim/replay_state.h"

/* What the recorded verdict went by, where it is computed here, too: not the loss of test data. */
static enum tw_status check_cause(const struct tw_replay *replay, const struct tw_judge *judge,
                                  const struct tw_verdict *recorded, struct tw_error *error) {
    const struct tw_replay_total *total = &replay->total;
    bool by_norm = recorded->stop == TW_STOP_GRADIENT;
    bool epochs = replay->config.epoch_samples != 0;
    double ours = by_norm ? total->norm : epochs ? total->train_loss : total->update_loss;
    if ((!by_norm && judge->watch != TW_WATCH_TRAIN) || replay->config.inexact ||
        memcmp(&ours, &recorded->loss, sizeof ours) == 0)
        return TW_OK;
    return tw_error_set(error, TW_NUMERICS, "the %s was %.17g in the run and is %.17g here",
                        by_norm  ? "norm of the gradient"
                        : epochs ? "loss of the epoch"
                                 : "loss of the update",
                        recorded->loss, ours);
}

static enum tw_status check_verdict(const struct tw_replay *replay,
                                    const struct tw_verdict *recorded, struct tw_error *error) {
    const struct tw_judge judge = recorded->on == TW_VERDICT_END
                                      ? replay->config.end
                                      : tw_judge_of_rate(&replay->config.pace);
    struct tw_verdict ours = replay->total.verdict[recorded->on];
    bool by_norm = recorded->stop == TW_STOP_GRADIENT;
    if (by_norm ? judge.small <= 0 : !judge.by_loss)
        return tw_error_set(error, TW_DATA, "the job has no %s that watches a %s",
                            recorded->on == TW_VERDICT_END ? "stop" : "schedule",
                            by_norm ? "gradient" : "loss");
    bool follows = !by_norm || tw_verdict_see_gradient(&ours, &judge, recorded->loss);
    if (!by_norm)
        tw_verdict_see(&ours, &judge, recorded->loss);
    if (!follows || memcmp(&ours.best, &recorded->best, sizeof ours.best) != 0 ||
        ours.bad != recorded->bad || ours.cooldown != recorded->cooldown ||
        ours.reductions != recorded->reductions || ours.stop != recorded->stop)
        return tw_error_set(error, TW_DATA, "it does not follow from the one before and the %s",
                            by_norm ? "gradient" : "loss");
    return check_cause(replay, &judge, recorded, error);
}

/* The recorded verdict is followed, also by a run that is changed: what other weights would have
 * lost on the test data nobody has seen. */
enum tw_status tw_replay_verdict(struct tw_replay *replay, const struct tw_record *record,
                                 struct tw_error *error) {
    const struct tw_verdict *verdict = &record->verdict;
    enum tw_status status = replay->config.changed ? TW_OK : check_verdict(replay, verdict, error);
    replay->total.verdict[verdict->on] = *verdict;
    if (verdict->on == TW_VERDICT_RATE)
        replay->config.pace.rate.options.reductions = verdict->reductions;
    if (verdict->stop != TW_STOP_NOT && replay->stretch_contributions > 0)
        tw_replay_end_stretch(replay);
    return status;
}
