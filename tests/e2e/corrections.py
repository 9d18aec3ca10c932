#!/usr/bin/python3
"""Corrections for late gradients in real runs: replays have their bits, runs without staleness
the bits that they have without them, and what is wrong is named."""
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import Case  # noqa: E402

STACKS = {
    "power": ("async", "[staleness_power]"),
    "stack": ("k-async:2", "[{name: staleness_exp, a: 0.3}, {name: staleness_power, power: 0.5}]"),
    "limit": ("ssp:3", "[{name: staleness_limit, most: 2}, staleness_power]"),
    "taylor": ("async", "[{name: dc_asgd, lambda: 0.1}]"),
    "adaptive": ("k-async:3", "[{name: dc_asgd_adaptive, lambda: 0.5}, staleness_power]"),
    "gap": ("k-batch-async:2", "[{name: gap_aware, rho: 0.9}, dc_asgd]"),
    "held": ("k-batch-async:2", "[{name: staleness_power, from: zero}]"),
    "momenta": ("k-batch-async:2", "[{name: dana, momentum: 0.6}, staleness_power]"),
    "all": ("async", "[dc_asgd_adaptive, dana, gap_aware]"),
}

# Softmax regression on made-up data, whose classes overlap.
SOFTMAX = """\
model:
  input: [20]
  layers: [{dense: 10}]
  loss: softmax_cross_entropy
data:
  train: {format: synthetic, kind: teacher, samples: 20000, features: 20, classes: 10, noise: 1}
batch: 128
updates: 2500
optimizer: {name: sgd, lr: 0.5}
on_divergence: go_on
cluster: {workers: 8}
"""


class Corrections(Case):
    def train(self, out, *settings, flags=(), command="run"):
        words = [word for setting in settings for word in ("--set", setting)]
        code, text, err = self.talweg(command, "job.yaml", "--json", "--out", out, *words, *flags)
        self.assertEqual(code, 0, err)
        return self.result(text)

    def replay(self, run, *settings):
        words = [word for setting in settings for word in ("--set", setting)]
        code, text, err = self.talweg("replay", run, "--json", *words)
        self.assertEqual(code, 0, err)
        return self.result(text)

    def test_replays_have_the_same_bits(self):
        """Of real runs with two servers, and of simulated ones."""
        for name, (mode, stack) in STACKS.items():
            for command in "run", "sim":
                with self.subTest(name=name, command=command):
                    out = f"{command}-{name}"
                    rule = "sgd" if "dana" in stack else "momentum"
                    recorded = self.train(out, f"corrections={stack}", "chunk=64KiB",
                                          f"optimizer={{name: {rule}, lr: 0.05}}",
                                          "clip={norm: 0.5}", command=command,
                                          flags=("--mode", mode, "--workers", "4",
                                                 "--servers", "2"))
                    self.assertEqual(self.replay(out)["model_sha256"], recorded["model_sha256"])
                    if name == "limit":
                        self.assertLessEqual(recorded["staleness_max"], 2)

    def test_rates_of_updates_are_those_of_their_staleness(self):
        self.train("out", "corrections=[staleness_power]", "optimizer={name: sgd, lr: 0.5}",
                   command="sim", flags=("--mode", "async", "--workers", "4"))
        commits = self.records("out", "COMMIT")
        taus = [c["contributions"][0]["staleness"] for c in commits]
        self.assertGreater(max(taus), 1)
        for commit, tau in zip(commits, taus):
            self.assertEqual(commit["rate"], 0.5 * (1 / max(tau, 1)))

    def test_sync_has_the_bits_that_it_has_without(self):
        plain = self.train("plain", flags=("--workers", "2"))
        corrected = self.train("corrected", "corrections=[staleness_power, {name: staleness_exp, "
                               "a: 1}, {name: staleness_limit, most: 0}, gap_aware, "
                               "dc_asgd_adaptive]", flags=("--workers", "2"))
        self.assertEqual(corrected["model_sha256"], plain["model_sha256"])

    def test_replays_may_change_them(self):
        self.train("out", "corrections=[staleness_power, {name: staleness_limit, most: 5}]",
                   command="sim", flags=("--mode", "async", "--workers", "4"))
        same = self.replay("out")["model_sha256"]
        others = {self.replay("out", "consistency.replay=fresh")["model_sha256"], self.replay(
            "out", "corrections=[{name: staleness_limit, most: 5}]")["model_sha256"]}
        self.assertEqual(len(others | {same}), 3)
        code, _, err = self.talweg("replay", "out", "--set", "corrections=[staleness_power]")
        self.assertEqual(code, 2)
        self.assertIn("staleness_limit", err)

    def test_what_is_wrong_is_named(self):
        for setting, words in (
                ("corrections=[stalenes_power]", ["corrections[0]", '"staleness_power"']),
                ("corrections=[{name: staleness_exp, b: 1}]", ["corrections[0].b", "a"]),
                ("corrections=[dc_asgd, dc_asgd_adaptive]", ["corrections[1]", "DC-ASGD"]),
                ("corrections=[{name: dana, momentum: 1}]", ["corrections[0].momentum", "1"]),
                ("corrections=staleness_power", ["corrections", "[{name: staleness_power}]"])):
            code, _, err = self.talweg("run", "job.yaml", "--out", "wrong", "--set", setting)
            self.assertEqual(code, 2)
            for word in words:
                self.assertIn(word, err)
        for settings, words in (
                (["optimizer={name: momentum, lr: 1}", "corrections=[dana]"],
                 ["corrections[0]", "optimizer momentum", "use optimizer sgd"]),
                (["optimizer={name: ftrl-proximal, alpha: 1}", "corrections=[staleness_power]"],
                 ["corrections[0]", "ftrl-proximal", "staleness_limit"]),
                (["optimizer={name: sgd, lr: 1}", "corrections=[dana]", "local_steps=4"],
                 ["corrections[0]", "local_steps"]),
                (["optimizer={name: sgd, lr: 1}", "corrections=[dana]",
                  "consistency.mode=hogwild"], ["corrections", "hogwild"])):
            flags = [word for setting in settings for word in ("--set", setting)]
            code, _, err = self.talweg("run", "job.yaml", "--out", "wrong", *flags)
            self.assertEqual(code, 2)
            for word in words:
                self.assertIn(word, err)


class Compensation(Case):
    """Zheng 2017, with equal steps: 8 workers whose gradients are all 7 updates late, against one
    with the same number of updates of 16 examples each."""

    def loss(self, *arguments):
        """The mean over the last epoch; what diverged may not have one."""
        self.write("softmax.yaml", SOFTMAX)
        code, text, err = self.talweg("sim", "softmax.yaml", "--dry", "--json", "--mode", "async",
                                      "--delay", "constant", *arguments)
        self.assertEqual(code, 0, err)
        return json.loads(text.splitlines()[-1])["train_loss"]

    def test_most_of_what_staleness_costs_comes_back(self):
        adaptive = ["--set", "corrections=[dc_asgd_adaptive]"]
        alone = self.loss("--workers", "1", "--set", "batch=16")
        late, compensated = self.loss(), self.loss(*adaptive)
        self.assertGreater(late, 1.05 * alone)
        self.assertGreater((late - compensated) / (late - alone), 0.7)

    def test_it_diverges_before_plain_descent_does(self):
        fast = ["--set", "optimizer.lr=1.5"]
        self.assertLess(self.loss(*fast), 10)
        diverged = self.loss(*fast, "--set", "corrections=[dc_asgd_adaptive]")
        self.assertTrue(diverged is None or not diverged < 1e6, diverged)


class Command(Case):
    def test_lists_every_correction_in_lines_of_100_columns(self):
        code, out, _ = self.talweg("correction")
        self.assertEqual(code, 0)
        self.assertLessEqual(max(map(len, out.splitlines())), 100)
        names = [line for line in out.splitlines() if line and not line.startswith(" ")]
        code, out, _ = self.talweg("correction", "--json")
        listed = json.loads(out)["corrections"]
        self.assertEqual([kind["name"] for kind in listed], names)
        self.assertIn("staleness_power", names)
        for kind in listed:
            self.assertTrue(kind["formula"] and kind["source"])
        code, _, err = self.talweg("correction", "stalenes_exp")
        self.assertEqual(code, 2)
        self.assertIn('"staleness_exp"', err)


if __name__ == "__main__":
    unittest.main(verbosity=2)
