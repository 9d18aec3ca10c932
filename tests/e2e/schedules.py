#!/usr/bin/python3
"""Schedules in real runs: the rate that is recorded is the schedule's, metrics.jsonl says it,
a replay gives the same bits, and one with another schedule those of a run that had it."""
import math
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import Case  # noqa: E402

UPDATES, PER_EPOCH = 45, 15


class Schedules(Case):
    def train(self, out, *arguments):
        return super().train(out, "--set", "optimizer={name: sgd, lr: 0.1}", *arguments)

    def commits(self, run):
        return self.records(run, "COMMIT")

    def assert_rates(self, schedule, rate):
        """The rates of a run are rate(t), to 1e-12; it replays to the same bits."""
        out = schedule.split(":")[1].strip(" {}").split(",")[0]
        recorded = self.train(out, "--set", f"schedule={schedule}")
        commits = self.commits(out)
        self.assertEqual(len(commits), UPDATES)
        for t, commit in enumerate(commits):
            self.assertTrue(math.isclose(commit["rate"], rate(t), rel_tol=1e-12), (t, commit))
            self.assertEqual(commit["scalars"], [commit["rate"]] if commit["rate"] else [])
        self.assertEqual([m["lr"] for m in self.metrics(out)],
                         [commits[m["updates"] - 1]["rate"] for m in self.metrics(out)])
        self.assertEqual(self.replay(out)["model_sha256"], recorded["model_sha256"])

    def test_recorded_rates_are_the_schedules(self):
        self.assert_rates("{name: linear, to: 0.001, over: 20}",
                          lambda t: 0.1 + (0.001 - 0.1) * min(t / 20, 1))
        self.assert_rates("{name: multi_step, at: [10, 20, 40], factor: 0.5}",
                          lambda t: 0.1 * 0.5 ** sum(t >= at for at in (10, 20, 40)))
        self.assert_rates("{name: cosine, over: 15, restart: true, to: 0.01}",
                          lambda t: 0.01 + 0.045 * (1 + math.cos(math.pi * (t % 15) / 15)))
        self.assert_rates("{name: inverse_sqrt, decay: 0.1, warmup: 10, warmup_from: 0.02}",
                          lambda t: 0.02 + 0.08 * t / 10 if t < 10
                          else 0.1 / math.sqrt(t / 10))

    def test_epochs_are_those_of_applied_examples(self):
        self.assert_rates("{name: step, every: 1, unit: epoch}",
                          lambda t: 0.1 * 0.1 ** (t // PER_EPOCH))
        self.assert_rates("{name: linear, to: 0, over: 3, unit: epoch}",
                          lambda t: 0.1 * (1 - t / UPDATES))

    def test_a_late_gradient_gets_the_rate_of_its_update(self):
        recorded = self.train("out", "--mode", "async", "--workers", "3", "--set",
                              "schedule={name: exponential, decay: 0.01}")
        for t, commit in enumerate(self.commits("out")):
            self.assertTrue(math.isclose(commit["rate"], 0.1 * math.exp(-0.01 * t),
                                         rel_tol=1e-12))
        self.assertEqual(self.replay("out")["model_sha256"], recorded["model_sha256"])

    def test_momentum_follows_one_too(self):
        rule = ("--set", "optimizer={name: momentum, lr: 0.05, momentum: 0.95}")
        recorded = self.train("out", *rule, "--set",
                              "schedule={lr: {name: one_cycle, peak: 0.2, over: 40, to: 0}, "
                              "momentum: {name: one_cycle, peak: 0.85, over: 40, to: 0.95, "
                              "form: linear}}")
        commits = self.commits("out")
        self.assertEqual(commits[0]["scalars"][0], 0.95)
        self.assertAlmostEqual(commits[12]["scalars"][0], 0.85, 15)
        self.assertAlmostEqual(commits[26]["scalars"][0], 0.9, 15)
        self.assertEqual([commits[t]["rate"] for t in (0, 12, 40)], [0.05, 0.2, 0])
        self.assertEqual(self.replay("out")["model_sha256"], recorded["model_sha256"])

    def test_a_replay_with_another_schedule_is_a_run_with_it(self):
        self.train("plain")
        schedule = "schedule={name: step, every: 10, factor: 0.5}"
        other = self.train("stepped", "--set", schedule)
        self.assertEqual(self.replay("plain", "--set", schedule)["model_sha256"],
                         other["model_sha256"])
        again = self.replay("stepped", "--set", "schedule=constant", "--out", "again")
        self.assertEqual(again["model_sha256"], self.train("third")["model_sha256"])
        self.assertEqual([m["lr"] for m in self.metrics("again")], [0.1] * 3)

    # ---- reduce_on_plateau

    PLATEAU = "schedule={name: reduce_on_plateau, factor: 0.5, patience: 0, threshold: 0.3%s}"

    def plateau(self, losses, threshold):
        """Reductions after each loss, with patience 0."""
        best, count = math.inf, 0
        for loss in losses:
            better = loss < best * (1 - threshold)
            best, count = (loss, count) if better else (best, count + 1)
            yield count

    def assert_verdicts(self, run, losses, threshold=0.3):
        verdicts = self.records(run, "VERDICT")
        counts = list(self.plateau(losses, threshold))
        self.assertEqual([v["loss"] for v in verdicts], losses)
        self.assertEqual([v["reductions"] for v in verdicts], counts)
        self.assertGreater(counts[-1], 0)
        for commit in self.commits(run):
            passed = sum(v["version"] < commit["version"] for v in verdicts)
            self.assertEqual(commit["rate"], 0.1 * 0.5 ** ([0] + counts)[passed])

    def test_a_plateau_of_the_test_loss_lowers_the_rate(self):
        arguments = ("--set", self.PLATEAU % "", "--set", "epochs=6")
        first = self.train("out", *arguments)
        losses = [m["test_loss"] for m in self.metrics("out")][:-1]
        self.assert_verdicts("out", losses)
        self.assertEqual(self.train("again", *arguments, "--servers", "2", "--set",
                                    "chunk=64KiB")["model_sha256"], first["model_sha256"])
        self.assertEqual(self.replay("out")["model_sha256"], first["model_sha256"])
        late = self.train("late", *arguments, "--mode", "async", "--workers", "3", "--set",
                          "schedule.threshold=0.9")
        self.assert_verdicts("late", [m["test_loss"] for m in self.metrics("late")][:-1], 0.9)
        self.assertEqual(self.replay("late")["model_sha256"], late["model_sha256"])

    def test_a_plateau_of_the_train_loss_lowers_the_rate(self):
        recorded = self.train("out", "--set", self.PLATEAU % ", watch: train", "--set", "epochs=6")
        self.assert_verdicts("out", [m["train_loss"] for m in self.metrics("out")][:-1])
        self.assertEqual(self.replay("out")["model_sha256"], recorded["model_sha256"])

    def test_a_changed_replay_follows_the_recorded_verdicts(self):
        run = self.start("run", "job.yaml", "--out", "out", "--set",
                         "optimizer={name: sgd, lr: 0.1}", "--set", self.PLATEAU % "", "--set",
                         "epochs=6")
        code, _, err = run.end()
        self.assertEqual(code, 0, err)
        self.assertRegex(err, r"no better test loss than [0-9.]+ for 1 epochs: the learning rate "
                              r"is 0\.05 from update [0-9]+ on")
        rates = [m["lr"] for m in self.metrics("out")]
        self.replay("out", "--set", "optimizer={name: momentum, lr: 0.01}", "--out", "momentum")
        self.assertEqual([m["lr"] for m in self.metrics("momentum")], [r / 10 for r in rates])
        self.replay("out", "--set", "schedule.factor=0.1", "--out", "steeper")
        for steep, rate in zip(self.metrics("steeper"), rates):
            self.assertTrue(math.isclose(steep["lr"], 0.1 ** (1 - math.log(rate / 0.1, 2)),
                                         rel_tol=1e-9))
        self.replay("out", "--set", "schedule=constant", "--out", "constant")
        self.assertEqual([m["lr"] for m in self.metrics("constant")], [0.1] * 6)
        for setting, words in ((["schedule.patience=3"], "schedule.patience: a replay follows the"),
                               (["schedule.watch=train"], "schedule.watch: a replay follows")):
            code, _, err = self.talweg("replay", "out", "--set", *setting)
            self.assertEqual(code, 2)
            self.assertIn(words, err)
        self.train("plain")
        code, _, err = self.talweg("replay", "plain", "--set", self.PLATEAU % "")
        self.assertEqual(code, 2)
        self.assertIn("the recorded run had no reduce_on_plateau", err)

    def test_a_plateau_needs_the_loss_that_it_watches(self):
        with open(self.path("job.yaml")) as file:
            lines = [line for line in file if "test-images" not in line]
        self.write("untested.yaml", "".join(lines) + "schedule: reduce_on_plateau\n")
        code, _, err = self.talweg("run", "untested.yaml")
        self.assertEqual(code, 2)
        self.assertIn("untested.yaml:17: schedule.watch: test, but the job has no data.test", err)

    def test_what_is_wrong_is_said_with_its_line(self):
        with open(self.path("job.yaml"), "a") as file:
            file.write("schedule: {name: multi_step,\n  at: [20, 10]}\n")
        code, _, err = self.talweg("run", "job.yaml")
        self.assertEqual(code, 2)
        self.assertIn("job.yaml:19: schedule.at: each must be larger than the one before", err)


if __name__ == "__main__":
    unittest.main()
