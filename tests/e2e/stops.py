#!/usr/bin/python3
"""stop: a run ends by patience, by a loss or by its gradient, again at the same update on
other numbers of workers and servers, and in its replay."""
import json
import math
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import Case  # noqa: E402

OBJECTIVE = """\
model: {objective: rosenbrock}
updates: 5000
optimizer: {name: sgd, lr: 1e-3}
"""


class Stops(Case):
    def verdicts(self, run):
        code, text, _ = self.talweg("log", run, "--json")
        self.assertEqual(code, 0)
        return [r for r in map(json.loads, text.splitlines()) if r["record"] == "VERDICT"]

    def assert_replays(self, run, recorded):
        code, text, err = self.talweg("replay", run, "--json")
        self.assertEqual(code, 0, err)
        found = self.result(text)
        for field in "updates", "samples", "train_loss", "test_loss", "stopped", "model_sha256":
            self.assertEqual(found[field], recorded[field], field)

    def test_patience_ends_at_the_epoch_that_it_runs_out(self):
        plain = self.train_with("plain", "epochs=30")
        losses = [m["test_loss"] for m in self.metrics("plain")]
        best, bad = math.inf, 0
        for epochs, loss in enumerate(losses, 1):
            best, bad = (loss, 0) if loss < 0.7 * best else (best, bad + 1)
            if bad > 1:
                break
        self.assertLess(epochs, 30)
        stop = "stop={patience: 1, threshold: 0.3}"
        found = self.train_with("out", "epochs=30", stop)
        self.assertIn(f"stop at update {15 * epochs}: no better test loss", self.said)
        self.assertEqual((found["updates"], found["stopped"]), (15 * epochs, "patience"))
        self.assertIsNone(plain["stopped"])
        self.assertEqual(found["test_loss"], losses[epochs - 1])
        self.assertEqual([m["test_loss"] for m in self.metrics("out")], losses[:epochs])
        verdicts = self.verdicts("out")
        self.assertEqual([v["loss"] for v in verdicts], losses[:epochs])
        self.assertEqual([v.get("stop") for v in verdicts], [None] * (epochs - 1) + ["patience"])
        self.assert_replays("out", found)
        with open(self.path("out", "job.yaml")) as file:
            self.assertIn("stop: {patience: 1, threshold: 0.3, watch: test}", file.read())
        other = self.train_with("other", "epochs=30", stop, "slots=2", "chunk=64KiB",
                                more=("--workers", "1"))
        self.assertEqual(other["model_sha256"], found["model_sha256"])
        code, _, err = self.talweg("replay", "out", "--set", "stop={patience: 5}")
        self.assertEqual(code, 2)
        self.assertIn("a replay cannot change this", err)

    def test_the_train_loss_ends_an_asynchronous_run(self):
        found = self.train_with("out", "epochs=100", "stop={loss: 0.5, watch: train}",
                                more=("--mode", "async", "--workers", "3"))
        self.assertEqual(found["stopped"], "loss")
        losses = [m["train_loss"] for m in self.metrics("out")]
        self.assertLessEqual(losses[-1], 0.5)
        self.assertGreater(min(losses[:-1]), 0.5)
        self.assertIsNotNone(found["test_loss"])
        self.assert_replays("out", found)

    def test_the_gradient_ends_it_and_servers_agree(self):
        first = self.train_with("first", "epochs=100", "stop={gradient_norm: 0.1}")
        self.assertEqual(first["stopped"], "gradient_norm")
        (verdict,) = self.verdicts("first")
        self.assertEqual(verdict["version"], first["updates"])
        self.assertLessEqual(verdict["loss"], 0.1)
        self.assert_replays("first", first)
        again = self.train_with("again", "epochs=100", "stop={gradient_norm: 0.1}",
                                "model.layers=[flatten, dense: 8, relu, dense: 3]",
                                more=("--servers", "2"))
        self.assertEqual(again["model_sha256"], first["model_sha256"])

    def test_an_objective_is_judged_after_each_update(self):
        self.write("objective.yaml", OBJECTIVE)
        found = self.train_with("out", "stop={loss: 0.5}", job="objective.yaml")
        self.assertEqual(found["stopped"], "loss")
        verdicts = self.verdicts("out")
        self.assertEqual(len(verdicts), found["updates"])
        self.assertLessEqual(verdicts[-1]["loss"], 0.5)
        self.assertGreater(verdicts[-2]["loss"], 0.5)
        self.assert_replays("out", found)
        slow = self.train_with("norm", "stop={gradient_norm: 1}", job="objective.yaml")
        self.assertEqual(slow["stopped"], "gradient_norm")
        self.assert_replays("norm", slow)

    def test_what_cannot_be_is_refused(self):
        for setting, why in (
                ("stop={watch: train}", "says not when; give patience, loss or gradient_norm"),
                ("stop={patience: -1}", "stop.patience: -1 is out of range"),
                ("stop={patient: 3}", "unknown key; did you mean \"patience\"?"),
                ("stop={gradient_norm: 0}", "stop.gradient_norm: 0 is out of range"),
                ("stop={patience: 3, watch: loss}", "it must be one of test, train"),
                ("stop=3", "a single value where keys and values should stand")):
            code, _, err = self.talweg("run", "job.yaml", "--set", setting)
            self.assertEqual(code, 2, setting)
            self.assertIn(why, err)
        self.write("objective.yaml", OBJECTIVE)
        code, _, err = self.talweg("run", "objective.yaml", "--set",
                                   "stop={patience: 3, watch: test}")
        self.assertEqual(code, 2)
        self.assertIn("this job has no data", err)


if __name__ == "__main__":
    unittest.main()
