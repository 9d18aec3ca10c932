#include "cli/help_job.h"

#include "cli/rules_text.h"
#include "common/tensor/encoding.h"
#include "server/core/correction.h"
#include "server/core/optimizer.h"
#include "server/core/schedule.h"
#include "worker/data/dataset.h"
#include "worker/nn/layer.h"
#include "worker/nn/loss.h"
#include "worker/nn/objective.h"

static const char keys[] =
    "A job is a YAML file. Every key can also be given as --set KEY=VALUE.\n"
    "\n"
    "  model.input          shape of one sample, such as [1, 28, 28]\n"
    "  model.layers         the list of layers, see below\n"
    "  model.loss           the loss, see below\n"
    "  model.objective      instead of these: a function without data, see below\n"
    "  model.init           FILE, a run or a checkpoint whose weights it starts from; or\n"
    "                       {file: FILE, tensors: PATTERN}: some of them\n"
    "  model.tensors        instead of these: {name: shape} of a program of your own\n"
    "  data.train           {format: ..., ...}, see below\n"
    "  data.test            the same; scored at the end of each epoch; validation:\n"
    "                       score what is held out instead\n"
    "  data.validation      samples held out of the training data; default 0\n"
    "  data.standardise     true: samples minus mean, by deviation, of the training data\n"
    "  data.augment         {crop: 2, flip: true}: training images are moved by up to so many\n"
    "                       places, and mirrored, at random\n"
    "  data.shard           epoch, fixed: which worker sees which samples; own: each slot\n"
    "                       has files of its own, {slot} in their paths\n"
    "  data.samples         with shard own: samples of all slots together\n"
    "  data.sha256          the training data it must be (a run's own job.yaml has it)\n"
    "  batch                examples per update, over all workers\n"
    "  epochs               how often the training data is seen\n"
    "  updates              how many updates are made; the first of the two ends the run\n"
    "  optimizer            the update rule, see below\n"
    "  schedule             how the learning rate moves, see below; or {lr: ..., momentum: ...}\n"
    "  gradient             mean or sum, over the examples of an update\n"
    "  clip                 {norm: N} of the whole gradient, or {value: V} of its elements\n"
    "  weight_decay         {l2: A}, part of the gradient, or {decoupled: A}, beside it\n"
    "  groups               [{tensors: PATTERN, lr: MULTIPLE, decay: true | false}, ...]\n"
    "  average              {ema: 0.999, evaluate: weights | average}: an average of the weights\n"
    "                       over updates, saved beside them\n"
    "  corrections          [{name: staleness_power}, ...]: for late gradients, stacked; see "
    "below\n"
    "  consistency.mode     sync, async, ssp:3, ... (docs/consistency.md)\n"
    "  consistency.turns    turns of the dial: [{update: 500, mode: async}, ...]\n"
    "  cluster.servers      server processes\n"
    "  cluster.workers      worker processes\n"
    "  cluster.evaluators   processes that share out the test data; the same numbers\n"
    "  stop                 {patience: P, threshold: 0, loss: L, gradient_norm: G, watch: test}:\n"
    "                       the run ends before that; any of P, L and G\n"
    "  on_worker_loss       wait (default), evict or fail, when a worker is gone; or\n"
    "                       {action: evict, after: 5, silent: 60}: when it has been so for 5\n"
    "                       seconds; one of which nothing is heard for 60 s counts as gone, with\n"
    "                       evict and fail, an evaluator with any; silent: 0 for never, or from 3\n"
    "  on_divergence        stop (default): three updates in a row that are not finite end the\n"
    "                       run; go_on: they are left out, and 1,000 in a row end it\n"
    "  slots                gradients per update: a power of two, and so many or fewer workers\n"
    "                       give the same bits; default: one per worker\n"
    "  accumulate           parts that a slot's share of an update is computed in, a power of\n"
    "                       two: its memory is that of one part; default 1\n"
    "  local_steps          steps that a slot makes by itself between two pushes (Local SGD), or\n"
    "                       {steps: H, lr: X}; {steps: H, rho: R}: elastic averaging;\n"
    "                       default 1 (docs/local-steps.md)\n"
    "  seed                 of weights, order of samples, noise, dropout, what is held out,\n"
    "                       crops and flips, staleness that a mode draws\n"
    "  seeds                {init: A, sampling: B, noise: C, dropout: D, split: E, augment: F,\n"
    "                       staleness: G}: of one of these alone\n"
    "  chunk                bytes that tensors are sent in: 64 KiB to 4 MiB\n"
    "  encoding             {push: E, pull: E}: how gradients and weights travel, see below\n"
    "  memory.inflight      bytes, of each server, for gradients on their way into an update and\n"
    "                       weights on their way out, such as 512MiB (docs/memory.md)\n"
    "  poll_us              microseconds for which a process that waits looks for what comes\n"
    "                       before it sleeps, at most; 0: it sleeps at once; default 100\n"
    "  trace.on             whether trace.log is written: times, hashes, sums of squares\n"
    "  trace.hash_every     updates between two hashes of the weights; default 100\n"
    "  trace.sums_every     updates between two sums of squares; default 25\n"
    "  trace.inputs         whether what the lead was told is kept; default true\n"
    "  checkpoint           {every: 0, seconds: 60, keep: 2}: updates or seconds between two\n"
    "                       (0: not by these), and how many are kept; see `talweg run --resume`\n"
    "  worker.blas_core     OpenBLAS core, such as Haswell, for the same bits everywhere\n";

static void add_variant(struct tw_text *out, const char *name, const char *text,
                        const struct tw_option_rule *rules, int count) {
    tw_text_add(out, "  %-18s ", name);
    tw_add_wrapped(out, 21, 21, text);
    tw_add_option_rules(out, rules, count);
}

void tw_help_job(struct tw_text *out) {
    tw_text_add(out, "%s", keys);
    tw_text_add(out, "\nLayers:\n");
    for (int i = 0; i < tw_layer_count; i++)
        add_variant(out, tw_layers[i]->name, tw_layers[i]->text, tw_layers[i]->rules,
                    tw_layers[i]->rule_count);
    tw_text_add(out, "\nLosses:\n");
    for (int i = 0; i < tw_loss_count; i++)
        add_variant(out, tw_losses[i]->name, tw_losses[i]->text, tw_losses[i]->rules,
                    tw_losses[i]->rule_count);
    tw_text_add(out, "\nObjectives:\n");
    for (int i = 0; i < tw_objective_count; i++)
        add_variant(out, tw_objectives[i]->name, tw_objectives[i]->formula, tw_objectives[i]->rules,
                    tw_objectives[i]->rule_count - TW_OBJECTIVE_COMMON_RULES);
    tw_text_add(out, "  of every objective:\n");
    tw_add_option_rules(
        out, tw_objectives[0]->rules + tw_objectives[0]->rule_count - TW_OBJECTIVE_COMMON_RULES,
        TW_OBJECTIVE_COMMON_RULES);
    tw_text_add(out, "\nOptimizers:\n");
    for (int i = 0; i < tw_optimizer_count; i++)
        add_variant(out, tw_optimizers[i]->name, tw_optimizers[i]->formula, tw_optimizers[i]->rules,
                    tw_optimizers[i]->rule_count);
    tw_text_add(out, "\nCorrections (tau: the staleness of a gradient):\n");
    for (int i = 0; i < tw_correction_count; i++)
        add_variant(out, tw_corrections_known[i]->name, tw_corrections_known[i]->formula,
                    tw_corrections_known[i]->rules, tw_corrections_known[i]->rule_count);
    tw_text_add(out, "\nSchedules (v: the value of the optimizer; t: updates or epochs before this"
                     " one):\n");
    for (int i = 0; i < tw_schedule_count; i++)
        add_variant(out, tw_schedules[i]->name, tw_schedules[i]->formula, tw_schedules[i]->rules,
                    tw_schedules[i]->rule_count - TW_SCHEDULE_COMMON_RULES);
    tw_text_add(out, "  of every schedule:\n");
    tw_add_option_rules(
        out, tw_schedules[0]->rules + tw_schedules[0]->rule_count - TW_SCHEDULE_COMMON_RULES,
        TW_SCHEDULE_COMMON_RULES);
    tw_text_add(out, "\nData formats:\n");
    for (int i = 0; i < tw_data_format_count; i++)
        add_variant(out, tw_data_formats[i]->name, tw_data_formats[i]->text,
                    tw_data_formats[i]->rules, tw_data_formats[i]->rule_count);
    tw_text_add(out, "\nEncodings:\n");
    for (int i = 0; i < TW_ENCODINGS; i++)
        add_variant(out, tw_encodings[i].name, tw_encodings[i].help, NULL, 0);
    tw_text_add(out, "\nExample: examples/fashion-mnist-mlp.yaml\n");
}
