#include "sim/delay.h"

#include <string.h>

#include "sim/delay_tables.h"

extern const struct tw_delay_law tw_delay_constant, tw_delay_exponential_law,
    tw_delay_shifted_exponential, tw_delay_pareto, tw_delay_gamma, tw_delay_machines,
    tw_delay_two_state, tw_delay_trace;

const struct tw_delay_law *const tw_delay_laws[] = {
    &tw_delay_constant, &tw_delay_exponential_law, &tw_delay_shifted_exponential, &tw_delay_pareto,
    &tw_delay_gamma,    &tw_delay_machines,        &tw_delay_two_state,           &tw_delay_trace,
};
const int tw_delay_law_count = (int)(sizeof tw_delay_laws / sizeof *tw_delay_laws);

enum tw_status tw_delay_find(struct tw_delay *out, const struct tw_variant *variant, uint64_t seed,
                             struct tw_error *error) {
    const char *names[sizeof tw_delay_laws / sizeof *tw_delay_laws];
    *out = (struct tw_delay){.seed = seed};
    for (int i = 0; i < tw_delay_law_count; i++) {
        names[i] = tw_delay_laws[i]->name;
        if (strcmp(names[i], variant->name) == 0)
            out->law = tw_delay_laws[i];
    }
    if (!out->law)
        return tw_unknown_variant(variant, "delay law", names, tw_delay_law_count, sizeof names[0],
                                  error);
    enum tw_status status =
        tw_options_read(variant, out->law->rules, out->law->rule_count, &out->options, error);
    for (int i = 0; status == TW_OK && i < out->options.speeds.count; i++)
        if (!(out->options.speeds.at[i] > 0))
            status = tw_job_error(error, variant->where, variant->path,
                                  "speeds: %g is not above 0; leave a worker out instead",
                                  out->options.speeds.at[i]);
    return status;
}

void tw_delay_begin(const struct tw_delay *delay, uint64_t who, struct tw_delay_state *state) {
    const struct tw_option_list *speeds = &delay->options.speeds;
    *state = (struct tw_delay_state){.who = who, .scale = 1};
    if (delay->law->begin)
        delay->law->begin(delay, state);
    if (speeds->count > 0) /* servers are numbered behind all workers, and have speeds from 0 on */
        state->scale /= speeds->at[who % TW_WORKERS_MAX % (uint64_t)speeds->count];
}

double tw_delay_next(const struct tw_delay *delay, struct tw_delay_state *state) {
    state->step++;
    return state->scale * delay->law->draw(delay, state);
}

double tw_delay_mean(const struct tw_delay *delay) {
    return delay->law->mean(&delay->options);
}

double tw_delay_variance(const struct tw_delay *delay) {
    return delay->law->variance(&delay->options);
}
