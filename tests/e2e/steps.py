#!/usr/bin/env python3
"""How far updates move the weights: metrics.jsonl against the models of runs that end one update
later each, and what people are told at the end."""
import array
import json
import math
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

from talweg_e2e import JOB, Case  # noqa: E402


class Steps(Case):
    def setUp(self):
        super().setUp()
        self.write("job.yaml", JOB.replace("dense: 8", "dense: 2100"))

    def train(self, out, *settings):
        """What people are told."""
        arguments = [part for setting in settings for part in ("--set", setting)]
        code, _, err = self.talweg("run", "job.yaml", "--out", out, *arguments)
        self.assertEqual(code, 0, err)
        return err

    def tensors(self, out):
        with open(self.path(out, "model.safetensors"), "rb") as file:
            head = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            data = file.read()
        return {name: array.array("f", data[slice(*about["data_offsets"])])
                for name, about in head.items() if name != "__metadata__"}

    def last_line(self, out):
        with open(self.path(out, "metrics.jsonl")) as file:
            return json.loads(file.readlines()[-1])

    def test_metrics_have_the_ratio_of_every_tensor(self):
        """Before the update that ends a line there is one of which we have both sides."""
        for number in range(3):
            self.train(f"out{number}", f"updates={4 + number}", "trace.sums_every=1")
        before, after = self.tensors("out0"), self.tensors("out1")
        line = self.last_line("out2")
        self.assertEqual(line["update_ratio_at"], 5)
        self.assertEqual(list(line["update_ratio"]), list(after))
        for name, ratio in line["update_ratio"].items():
            change = math.fsum((b - a) ** 2 for a, b in zip(before[name], after[name]))
            size = math.fsum(b ** 2 for b in after[name])
            self.assertAlmostEqual(ratio / math.sqrt(change / size), 1, delta=1e-12)
        for servers in 2, 3:
            self.train(f"many{servers}", "updates=6", "trace.sums_every=1",
                       f"cluster.servers={servers}", "chunk=64KiB")
            self.assertEqual(self.last_line(f"many{servers}")["update_ratio"],
                             line["update_ratio"])

    def test_what_was_not_sampled_is_null(self):
        for number, setting in enumerate(("trace.sums_every=100", "trace.sums_every=0",
                                          "trace.on=false")):
            told = self.train(f"out{number}", "updates=6", setting)
            self.assertNotIn("a typical update", told)
            line = self.last_line(f"out{number}")
            self.assertIsNone(line["update_ratio"])
            self.assertIsNone(line["update_ratio_at"])

    def test_it_is_told_at_the_end_with_a_hint_when_it_is_far_off(self):
        often = ("updates=8", "trace.sums_every=1")
        told = self.train("usual", *often, "optimizer={name: sgd, lr: 0.01}")
        self.assertRegex(told, r"a typical update moved dense\d\.weight by \S+ of its size, "
                               r"dense\d\.weight by \S+ \(usual: about 0\.001\)\n")
        told = self.train("far", *often, "optimizer={name: adam, lr: 0.5}")
        self.assertRegex(told, r"\); that is far: if training is not what it should be, lower the "
                               r"rate \(optimizer\.lr\) by a factor of \d+ or so")
        told = self.train("little", *often, "optimizer={name: sgd, lr: 1e-7}")
        self.assertRegex(told, r"\); that is little: a rate \(optimizer\.lr\) that is \d+ times "
                               r"higher or so may train faster")
        # A rate that falls is meant to.
        told = self.train("falls", *often, "optimizer={name: sgd, lr: 1e-7}",
                          "schedule={name: exponential, decay: 0.1}")
        self.assertIn("a typical update", told)
        self.assertNotIn("that is little", told)

    def test_tensors_with_a_rate_of_their_own_are_not_judged(self):
        told = self.train("out", "updates=8", "trace.sums_every=1", "optimizer={name: sgd, lr: 0.01}",
                          "groups=[{tensors: \"dense1.*\", lr: 1e-9}]")
        self.assertRegex(told, r"a typical update moved dense2\.weight by \S+ of its size "
                               r"\(usual: about 0\.001\)\n")
        told = self.train("none", "updates=8", "trace.sums_every=1",
                          "groups=[{tensors: \"*\", lr: 1e-9}]")
        self.assertNotIn("a typical update", told)


if __name__ == "__main__":
    unittest.main()
