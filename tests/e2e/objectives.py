#!/usr/bin/python3
"""Objectives without data train through the real cluster: golden values (float32 weights), the
same bits again in replay, noise that depends on slot and step only, divergence with its name."""
import json
import os
import struct
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import Case  # noqa: E402

JOB = """\
model: {objective: rosenbrock}
updates: 5000
optimizer: {name: sgd, lr: 1e-3}
"""


def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


class Objectives(Case):
    def setUp(self):
        super().setUp()
        self.write("objective.yaml", JOB)

    def train(self, out, *arguments, code=0):
        found, text, err = self.talweg("run", "objective.yaml", "--json", "--out", out, *arguments)
        self.assertEqual(found, code, err)
        return self.result(text)

    def sets(self, *settings):
        return [word for setting in settings for word in ("--set", setting)]

    def weights(self, run):
        with open(self.path(run, "model.safetensors"), "rb") as file:
            data = file.read()
        size = 8 + struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8:size])
        self.assertEqual(list(header), ["x"])
        return struct.unpack(f"<{header['x']['shape'][0]}f", data[size:])

    def assert_replays(self, run, recorded):
        code, text, err = self.talweg("replay", run, "--json")
        self.assertEqual(code, 0, err)
        found = self.result(text)
        for field in "updates", "samples", "train_loss", "model_sha256", "staleness_mean":
            self.assertEqual(found[field], recorded[field], field)
        self.assertIn("the same bits as", err)

    def test_rosenbrock_has_its_golden_values(self):
        """The golden values are of float64; 5,000 roundings of float32 weights move them by
        less than 1e-4 of themselves. The weights of nesterov are the point ahead."""
        for number, (rule, f) in enumerate((
                ("{name: sgd, lr: 1e-3}", .0037609231),
                ("{name: momentum, lr: 1e-4}", .0035826819),
                ("{name: nesterov, lr: 1e-4}", .0036539813),
                ("{name: adagrad, lr: 0.1, eps: 1e-8, eps_at: inside}", .0199075754))):
            recorded = self.train(f"r{number}", *self.sets(f"optimizer={rule}"))
            self.assertAlmostEqual(rosenbrock(self.weights(f"r{number}")) / f, 1, delta=1e-4)
            self.assert_replays(f"r{number}", recorded)
        self.train("adam", *self.sets("optimizer={name: adam, lr: 0.01}"))
        self.assertLess(rosenbrock(self.weights("adam")), 1e-8)

    def test_the_ravine_goes_as_its_eigenvalues_say(self):
        ravine = ("model.objective={name: ravine, start: [4, 0.5]}", "updates=100")
        self.train("fast", *self.sets(*ravine, "optimizer.lr=0.0196078431372549"))
        x = self.weights("fast")
        self.assertAlmostEqual((x[0] ** 2 + 50 * x[1] ** 2) / .009550489822743, 1, delta=1e-4)
        self.train("edge", *self.sets(*ravine, "optimizer.lr=0.02"))
        self.assertAlmostEqual(abs(self.weights("edge")[1]), .5, delta=1e-4)
        self.train("over", *self.sets(*ravine, "optimizer.lr=0.0201"))
        self.assertGreater(abs(self.weights("over")[1]), 1)

    def test_both_conventions_of_the_gradient(self):
        """eta = .1, H = 10: H x ends in one step, 2 H x never comes nearer."""
        for convention, end in ("Hx", 0), ("2Hx", 1):
            self.train(convention, *self.sets(
                f"model.objective={{name: quadratic, spectrum: [10], convention: {convention}}}",
                "updates=2", "optimizer.lr=0.1"))
            self.assertAlmostEqual(self.weights(convention)[0], end, delta=1e-6)

    def test_noise_replays_in_every_mode(self):
        noisy = self.sets("model.objective={name: quadratic, spectrum: [4, 1, 0.1], rotation: "
                          "[30, 20], noise: 0.5}", "updates=200", "optimizer.lr=0.05", "batch=8")
        for mode in "sync", "async", "ssp:2", "k-batch-sync:2":
            recorded = self.train(mode, *noisy, "--workers", "4", "--mode", mode)
            self.assert_replays(mode, recorded)

    def test_slots_share_the_noise(self):
        noisy = self.sets("model.objective={name: beale, noise: 0.1}", "updates=50",
                          "optimizer.lr=0.001", "slots=4")
        shas = {self.train(workers, *noisy, "--workers", workers)["model_sha256"]
                for workers in ("1", "2", "4")}
        self.assertEqual(len(shas), 1)

    def test_another_seed_is_other_noise_from_the_same_start(self):
        job = self.sets("model.objective={name: saddle, start: [1, 0], noise: 0.01}", "updates=20",
                        "optimizer.lr=0.1")
        self.train("one", *job)
        self.train("two", *job, "--set", "seed=2")
        self.assertNotEqual(self.weights("one"), self.weights("two"))
        self.train("alone", *job, "--set", "seeds.noise=2")  # nothing else is drawn here
        self.assertEqual(self.weights("alone"), self.weights("two"))
        self.train("still", *job, "--set", "model.objective.noise=0")
        self.assertEqual(self.weights("still")[1], 0)

    def test_divergence_has_a_name(self):
        found = self.train("out", *self.sets("optimizer.lr=0.1"), code=1)
        self.assertEqual(found["status"], "failed")
        self.assertIn("gradient of tensor x", found["error"])
        self.assertIn("diverged at update 4: 3 in a row were not finite", found["error"])
        self.assertIn("optimizer.lr is 0.1; where it starts sgd is stable below 0.001328 = "
                      "2 / lambda_max, lambda_max = 1506.37), or clip the gradient", found["error"])
        found = self.train("heavy", *self.sets("optimizer={name: momentum, lr: 1}", "updates=2000",
                                               "model.objective={name: ravine}"), code=1)
        self.assertIn("momentum is stable below 0.038 = 2 (1 + momentum) / ((1 - dampening) "
                      "lambda_max), lambda_max = 100", found["error"])
        found = self.train("unknown", *self.sets("optimizer={name: adam, lr: 1e38}"), code=1)
        self.assertIn("optimizer.lr is 1e+38), or clip", found["error"])
        found = self.train("scheduled", *self.sets(
            "schedule={name: linear, to: 1, over: 5}"), code=1)
        self.assertRegex(found["error"], r"by the schedule it was 0\.[0-9]+; where")

    def test_divergence_may_be_told_to_go_on(self):
        """Once thrown off, nothing is finite any more: it ends all the same, and says so."""
        found = self.train("out", *self.sets("optimizer.lr=0.1", "on_divergence=go_on"), code=1)
        self.assertIn("diverged at update 4: 1000 in a row were not finite, the last of them:",
                      found["error"])
        self.assertEqual((found["updates"], found["not_finite"]), (3, 1000))
        code, out, err = self.talweg("replay", "out", "--json")
        self.assertEqual(code, 0, err)
        again = self.result(out)
        self.assertEqual((again["updates"], again["not_finite"]), (3, 1000))
        self.assertIn("1,000 times gradients were not finite and were left out", err)
        code, _, err = self.talweg("replay", "out", "--set", "on_divergence=stop")
        self.assertEqual(code, 2)
        self.assertIn("on_divergence", err)

    def test_what_is_not_finite_now_and_then_does_not_end_a_run_that_goes_on(self):
        """Draws of noise as large as numbers can be: some are too large."""
        job = self.sets("model.objective={name: quadratic, spectrum: [1, 1], noise: 3e38}",
                        "optimizer={name: sgd, lr: 1e-37}", "updates=40")
        found = self.train("stops", *job, code=1)
        self.assertIn("3 in a row", found["error"])
        found = self.train("out", *job, "--set", "on_divergence=go_on")
        self.assertEqual(found["updates"], 40)
        with open(self.path("out", "metrics.jsonl")) as file:
            told = sum(json.loads(line)["not_finite"] for line in file)
        self.assertGreater(told, 3)
        self.assertEqual(told, found["not_finite"])
        code, out, err = self.talweg("replay", "out", "--json")
        self.assertEqual((code, self.result(out)["model_sha256"]), (0, found["model_sha256"]), err)

    def test_a_clip_keeps_the_cliff_from_throwing_far(self):
        cliff = ("model.objective={name: cliff, start: [0, 1]}", "updates=1", "optimizer.lr=1")
        self.train("thrown", *self.sets(*cliff))
        self.assertAlmostEqual(self.weights("thrown")[0], -250, delta=1e-3)
        self.train("held", *self.sets(*cliff, "clip={norm: 0.5}"))
        self.assertAlmostEqual(self.weights("held")[0], -.5, delta=1e-4)

    def test_what_is_wrong_is_said_with_its_line(self):
        for settings, words in (
                (["model.objective={name: rosenbrok}"], "did you mean \"rosenbrock\"?"),
                (["model.objective.start=[1, 2, 3]"], "model.objective"),
                (["schedule={name: step, every: 1, unit: epoch}"], "schedule.unit: epochs are"),
                (["epochs=3"], "model.objective has none")):
            code, _, err = self.talweg("run", "objective.yaml", *self.sets(*settings))
            self.assertEqual(code, 2, err)
            self.assertIn(words, err)


if __name__ == "__main__":
    unittest.main()
