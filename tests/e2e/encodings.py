#!/usr/bin/env python3
"""Gradients and weights that travel shorter than float32: the same bits whatever the cluster, in
a replay, and what the command line says of them."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

from talweg_e2e import WIDE, Case  # noqa: E402

SAME = ("updates", "samples", "train_loss", "test_loss", "test_accuracy", "model_sha256")


def encoding(push, pull):
    return ("--set", f"encoding={{push: {push}, pull: {pull}}}")


class Encodings(Case):
    def setUp(self):
        super().setUp()
        self.write("job.yaml", WIDE.replace("epochs: 3", "epochs: 2"))

    def assert_same(self, one, other):
        for key in SAME:
            self.assertEqual(one[key], other[key], key)

    def test_sync_gives_the_same_model_on_any_number_of_servers(self):
        plain = self.train("plain")
        one = self.train("one", *encoding("bf16", "f16"))
        self.assertNotEqual(one["model_sha256"], plain["model_sha256"])
        for servers, chunk in ((2, 65536), (3, 262144)):
            with self.subTest(servers=servers, chunk=chunk):
                many = self.train(f"many-{servers}", "--servers", str(servers), "--set",
                                  f"chunk={chunk}", *encoding("bf16", "f16"))
                self.assert_same(many, one)
        self.assert_same(self.replay("one"), one)
        # Without the rounding of either way it is the plain run.
        again = self.replay("one", *encoding("f32", "f32"))
        self.assertEqual(again["model_sha256"], plain["model_sha256"])

    def test_other_modes_replay_to_the_same_bits(self):
        for mode, servers, push, pull in (("async", 2, "bf16", "bf16"), ("ssp:1", 1, "f16", "f32"),
                                          ("k-batch-async:2", 2, "f32", "bf16"),
                                          ("backup:1", 1, "f16", "f16")):
            with self.subTest(mode=mode, servers=servers, push=push, pull=pull):
                out = mode.replace(":", "-")
                ran = self.train(out, "--servers", str(servers), "--mode", mode,
                                 *encoding(push, pull))
                self.assertEqual(self.replay(out)["model_sha256"], ran["model_sha256"])

    def test_slots_replay_and_their_owners_do_not_matter_to_pull(self):
        two = self.train("two", "--set", "slots=4", *encoding("f32", "bf16"))
        four = self.train("four", "--set", "slots=4", "--workers", "4", *encoding("f32", "bf16"))
        self.assert_same(two, four)
        ran = self.train("pushed", "--set", "slots=4", *encoding("f16", "bf16"))
        self.assertEqual(self.replay("pushed")["model_sha256"], ran["model_sha256"])

    def test_what_does_not_fit_ends_the_run_by_name(self):
        # Each worker's gradient is a sum over 20,000 examples: infinite as f16, not as bf16.
        self.write("job.yaml", "model: {objective: rosenbrock}\nbatch: 40000\nupdates: 5\n"
                   "optimizer: {name: sgd, lr: 1e-3}\ncluster: {workers: 2}\n")
        code, stdout, err = self.talweg("run", "job.yaml", "--out", "out", "--json",
                                        *encoding("f16", "f32"))
        self.assertEqual(code, 1, err)
        error = self.result(stdout)["error"]
        self.assertIn("3 in a row were not finite", error)
        self.assertIn("encoding.push: f16 holds no more than 65504", error)
        self.train("fits", *encoding("bf16", "f32"))

    def test_the_job_names_them(self):
        self.train("out", *encoding("bf16", "f32"))
        with open(self.path("out", "job.yaml")) as file:
            self.assertIn("encoding: {push: bf16, pull: f32}\n", file.read())
        code, _, err = self.talweg("run", "job.yaml", "--out", "wrong", *encoding("f64", "f32"))
        self.assertEqual(code, 2)
        self.assertIn("encoding.push: \"f64\" is not known here; it must be one of f32, bf16, f16",
                      err)


if __name__ == "__main__":
    unittest.main(verbosity=2)
