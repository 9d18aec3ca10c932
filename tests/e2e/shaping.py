#!/usr/bin/python3
"""Clipping, weight decay, groups and the scale of gradients in real runs: their bits do not
depend on chunk size or workers' slots, replays have them, and what is wrong is named."""
import math
import os
import struct
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import JOB, Case  # noqa: E402


class Shaping(Case):
    def train(self, out, *settings, job="job.yaml", flags=()):
        words = [word for setting in settings for word in ("--set", setting)]
        code, text, err = self.talweg("run", job, "--json", "--out", out, *words, *flags)
        self.assertEqual(code, 0, err)
        return self.result(text)

    def replay(self, run, *settings):
        words = [word for setting in settings for word in ("--set", setting)]
        code, text, err = self.talweg("replay", run, "--json", *words)
        self.assertEqual(code, 0, err)
        return self.result(text)["model_sha256"]

    def commits(self, run):
        return self.records(run, "COMMIT")

    def x(self, run):
        with open(self.path(run, "model.safetensors"), "rb") as file:
            data = file.read()
        size = 8 + struct.unpack("<Q", data[:8])[0]
        return struct.unpack(f"<{(len(data) - size) // 4}f", data[size:])

    def objective(self, *lines):
        self.write("objective.yaml", "model: {objective: {name: quadratic, spectrum: [1, 1], "
                   "start: [3, 4]}}\nupdates: 1\noptimizer: {name: sgd, lr: 1}\n"
                   + "".join(line + "\n" for line in lines))

    def test_three_and_four_by_norm_one(self):
        self.objective("clip: {norm: 1}")
        for workers in "1", "2", "3":
            self.train(workers, job="objective.yaml", flags=("--workers", workers))
            expected = [struct.unpack("<f", struct.pack("<f", v))[0] for v in (3 - .6, 4 - .8)]
            for got, exact in zip(self.x(workers), expected):
                self.assertAlmostEqual(got, exact, delta=1e-6)
        self.assertEqual([c["divisor"] for c in self.commits("1")], [5])
        self.assertEqual([c["divisor"] for c in self.commits("2")], [10])

    def test_gradients_may_be_summed(self):
        self.objective("gradient: sum", "batch: 6")
        self.train("out", "optimizer.lr=0.125", job="objective.yaml", flags=("--workers", "2"))
        self.assertEqual(self.x("out"), (3 - 6 * 3 / 8, 4 - 6 * 4 / 8))

    def test_clipped_runs_have_the_same_bits(self):
        """Whatever the chunks and the owners of slots; some updates are clipped, some not."""
        self.write("job.yaml", JOB.replace("dense: 8", "dense: 2048"))
        common = ("clip={norm: 0.3}", "slots=4", "updates=30", "optimizer={name: sgd, lr: 0.1}")
        first = self.train("first", *common, flags=("--workers", "1"))
        divisors = [c["divisor"] for c in self.commits("first")]
        self.assertTrue(0 < sum(d > 0 for d in divisors) < 30, divisors)
        for workers, chunk in ("2", "64KiB"), ("4", "128KiB"):
            again = self.train(workers, *common, f"chunk={chunk}", flags=("--workers", workers))
            self.assertEqual(again["model_sha256"], first["model_sha256"])
            self.assertEqual([c["divisor"] for c in self.commits(workers)], divisors)

    SHAPINGS = ("clip={norm: 0.5}", "clip={value: 0.01}", "weight_decay={l2: 0.01}",
                "weight_decay={decoupled: 0.1}", "gradient=sum",
                "groups=[{tensors: \"*.bias\", lr: 0.1, decay: false}]")

    def test_replays_have_the_same_bits(self):
        for number, shaping in enumerate(self.SHAPINGS):
            for mode in "sync", "async":
                out = f"{mode}{number}"
                recorded = self.train(out, shaping, "weight_decay.l2=0.001"
                                      if "groups" in shaping else "seed=3",
                                      flags=("--mode", mode, "--workers", "3"))
                self.assertEqual(self.replay(out), recorded["model_sha256"], (shaping, mode))

    def test_a_replay_with_another_is_a_run_with_it(self):
        plain = self.train("plain")
        for number, shaping in enumerate(self.SHAPINGS):
            other = self.train(f"run{number}", shaping)
            expected = other["model_sha256"]
            if "gradient" not in shaping:
                self.assertNotEqual(expected, plain["model_sha256"], shaping)
            self.assertEqual(self.replay("plain", shaping), expected, shaping)

    def test_groups_reach_their_tensors_only(self):
        """A rate of 1e-30 leaves the weights of dense1 where they start (its biases, from zero, move
        by as much)."""
        start = self.train("start", "updates=1", "optimizer={name: sgd, lr: 1e-30}")
        frozen = self.train("frozen", "optimizer={name: sgd, lr: 0.1}",
                            "groups=[{tensors: \"dense1.*\", lr: 1e-29}]")
        self.assertNotEqual(start["model_sha256"], frozen["model_sha256"])
        one, two = self.x("start"), self.x("frozen")
        self.assertEqual(one[:16 * 8], two[:16 * 8])
        self.assertLess(max(map(abs, two[16 * 8:16 * 8 + 8])), 1e-28)
        self.assertNotEqual(one[16 * 8 + 8:], two[16 * 8 + 8:])

    def test_what_is_wrong_is_said_with_its_line(self):
        for line, words in (
                ("groups: [{tensors: \"*.wait\"}]", "groups[0].tensors: \"*.wait\" fits none of"),
                ("clip: {norm: -1}", "clip.norm: -1 is out of range"),
                ("weight_decay: 0.1", "weight_decay: a single value where keys")):
            self.write("bad.yaml", JOB + line + "\n")
            code, _, err = self.talweg("run", "bad.yaml")
            self.assertEqual(code, 2)
            self.assertIn(f"bad.yaml:{len(JOB.splitlines()) + 1}: {words}", err)

    def test_a_wrong_divisor_in_the_log_is_found(self):
        self.train("out", "clip={norm: 0.3}", "optimizer={name: sgd, lr: 0.1}")
        path = self.path("out", "order.log")
        with open(path, "rb") as file:
            log = file.read()
        divisor = next(c["divisor"] for c in self.commits("out") if c["divisor"])
        other = math.nextafter(divisor, math.inf)
        with open(path, "wb") as file:
            file.write(log.replace(struct.pack("<d", divisor), struct.pack("<d", other), 1))
        code, _, err = self.talweg("replay", "out")
        self.assertEqual(code, 1)
        self.assertIn("is the first that differs: the sum of its gradients was divided by", err)


if __name__ == "__main__":
    unittest.main()
