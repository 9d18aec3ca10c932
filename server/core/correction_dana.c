/* DANA: Hakimi, Barkai, Gabel and Schuster, "Taming Momentum in a Distributed Asynchronous
 * Environment", 2019: Nesterov's momentum, with a momentum of its own for each worker. Late
 * gradients of others then do not reach into it, and the weights that leave are those where all
 * momenta are about to lead.
 *
 * The paper keeps x, and sends x - lr momentum (v_1 + ... + v_N). As in the lookahead form of
 * nesterov (optimizer_nesterov.c), and as in the paper's DANA-Slim, w is the very point that is
 * sent, of which that becomes
 *
 *     v_i = momentum v_i + g,     w -= lr (g + momentum v_i)
 *
 * for a gradient g of worker i: for a constant learning rate the same points, without the sum over
 * workers. x is w + lr momentum (v_1 + ... + v_N), and nowhere.
 */
#include "common/tensor/clones.h"
#include "server/core/correction.h"

#define EACH_ELEMENT TW_INDEPENDENT for (size_t i = 0; i < work->count; i++)

static const struct tw_option_rule rules[] = {
    {.key = "momentum",
     .offset = offsetof(struct tw_correction_options, momentum),
     .type = TW_OPTION_REAL,
     .fallback = 0.9,
     .min = 0,
     .max = 1,
     .max_open = true,
     .text = "decay of each worker's v"},
};

TW_CLONES static void add_to_momentum(const struct tw_correction_options *options,
                                      const struct tw_correction_work *work) {
    const float keep = (float)options->momentum, n = (float)work->examples;
    const float *const g = work->gradient, *const in = work->state_in;
    float *const out = work->state_out;
    EACH_ELEMENT {
        out[i] = keep * in[i] + g[i] / n;
    }
}

TW_CLONES static void look_ahead(const struct tw_correction_options *options,
                                 const struct tw_correction_work *work) {
    const float ahead = (float)(options->momentum * (double)work->examples);
    const float *const v = work->state_out;
    float *const g = work->gradient;
    EACH_ELEMENT {
        g[i] = g[i] + ahead * v[i];
    }
}

const struct tw_correction tw_correction_dana = {
    .name = "dana",
    .formula = "v = momentum v + g for each worker by itself; g + momentum v, of every gradient; "
               "only with optimizer sgd",
    .source = "Hakimi, Barkai, Gabel and Schuster, \"Taming Momentum in a Distributed Asynchronous "
              "Environment\", 2019, DANA-Slim, with its momenta on the servers",
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .momentum = true,
    .of_worker = true,
    .state = "dana_v",
    .observe = add_to_momentum,
    .correct = look_ahead,
};
