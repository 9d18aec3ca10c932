#include "server/core/verdict.h"

#include <math.h>

struct tw_judge tw_judge_of_rate(const struct tw_pace *pace) {
    const struct tw_schedule_options *options = &pace->rate.options;
    enum tw_watch watch = (enum tw_watch)options->watch;
    if (!tw_pace_watches(pace, watch))
        return (struct tw_judge){.by_loss = false};
    return (struct tw_judge){.by_loss = true,
                             .watch = watch,
                             .patience = options->patience,
                             .threshold = options->threshold,
                             .cooldown = options->cooldown,
                             .enough = -INFINITY};
}

struct tw_judge tw_judge_of_end(const struct tw_job *job) {
    bool has_loss = !isnan(job->stop.loss);
    return (struct tw_judge){.by_loss = job->stop.given && (job->stop.patience >= 0 || has_loss),
                             .watch = job->stop.train ? TW_WATCH_TRAIN : TW_WATCH_TEST,
                             .patience = job->stop.patience,
                             .threshold = job->stop.threshold,
                             .enough = has_loss ? job->stop.loss : -INFINITY,
                             .small = job->stop.gradient_norm};
}

struct tw_verdict tw_verdict_start(enum tw_verdict_on on) {
    return (struct tw_verdict){.loss = INFINITY, .best = INFINITY, .on = on};
}

static void look_at_the_end(struct tw_verdict *verdict, const struct tw_judge *judge, double loss) {
    if (verdict->on != TW_VERDICT_END)
        return;
    if (loss <= judge->enough)
        verdict->stop = TW_STOP_LOSS;
    else if (verdict->reductions > 0)
        verdict->stop = TW_STOP_PATIENCE;
}

void tw_verdict_see(struct tw_verdict *verdict, const struct tw_judge *judge, double loss) {
    double best = verdict->best;
    verdict->loss = loss;
    if (loss < best - judge->threshold * fabs(best) || (isinf(best) && loss < best)) {
        verdict->best = loss;
        verdict->bad = 0;
    } else {
        verdict->bad++;
    }
    if (verdict->cooldown > 0) {
        verdict->cooldown--;
        verdict->bad = 0;
    }
    if (judge->patience >= 0 && verdict->bad > (uint64_t)judge->patience) {
        verdict->reductions++;
        verdict->cooldown = (uint64_t)judge->cooldown;
        verdict->bad = 0;
    }
    look_at_the_end(verdict, judge, loss);
}

bool tw_verdict_see_gradient(struct tw_verdict *verdict, const struct tw_judge *judge,
                             double norm) {
    if (!(judge->small > 0 && norm <= judge->small))
        return false;
    verdict->loss = norm;
    verdict->stop = TW_STOP_GRADIENT;
    return true;
}

const char *tw_stop_name(uint32_t reason) {
    static const char *const names[TW_STOPS] = {
        [TW_STOP_NOT] = "",
        [TW_STOP_PATIENCE] = "patience",
        [TW_STOP_LOSS] = "loss",
        [TW_STOP_GRADIENT] = "gradient_norm",
    };
    return reason < TW_STOPS ? names[reason] : "";
}
