#!/usr/bin/python3
"""`local_steps: H`: bits, laws, what is counted, and what is refused."""
import json
import os
import struct
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_by_hand import ByHand, hold_back  # noqa: E402
from talweg_e2e import JOB, Case  # noqa: E402

FIELDS = "status updates samples train_loss test_loss test_accuracy model_sha256".split()
SGD = JOB.replace("{name: adam, lr: 1e-2}", "{name: sgd, lr: 0.1}")
# Steps that are no power of two, parts, and everything that is drawn by the step.
RICH = (SGD.replace("    - flatten\n    - dense: 8\n",
                    "    - {conv2d: {channels: 4, kernel: 3, padding: 1}}\n    - batch_norm\n"
                    "    - relu\n    - flatten\n    - dropout: 0.8\n    - dense: 8\n")
        .replace("  test:", "  augment: {crop: 1, flip: true}\n  test:")
        + "slots: 4\naccumulate: 2\nlocal_steps: 3\n")
# Of each step: 4 slots, a draw of the noise each.
QUADRATIC = """model:
  objective: {name: quadratic, spectrum: [1, 3, 10], start: [4, -2, 1], noise: 1}
batch: 4
slots: 4
updates: 128
optimizer: {name: sgd, lr: 0.05}
cluster: {workers: 2}
"""


def numbers(path):
    """The float32 values of a safetensors file of one tensor."""
    with open(path, "rb") as file:
        content = file.read()
    body = content[8 + struct.unpack("<Q", content[:8])[0]:]
    return struct.unpack(f"<{len(body) // 4}f", body)


class Bits(Case):
    def assert_same(self, found, expected):
        for key in FIELDS:
            self.assertEqual(found[key], expected[key], key)

    def test_over_workers_servers_replay_and_the_simulator(self):
        self.write("job.yaml", RICH)
        alone = self.train("alone", "--workers", "1")
        self.assertEqual(alone["samples"], 60 * alone["updates"])
        for workers in "2", "4":
            self.assert_same(self.train("w" + workers, "--workers", workers), alone)
        self.assert_same(self.train("two", "--servers", "2", "--set", "chunk=64KiB"), alone)
        self.assert_same(self.replay("w4"), alone)
        code, text, err = self.talweg("sim", "job.yaml", "--json", "--delay", "exponential")
        self.assertEqual(code, 0, err)
        self.assertEqual(json.loads(text)["model_sha256"], alone["model_sha256"])
        # The run's own job gives the same once more; another number of steps does not.
        code, text, err = self.talweg("run", self.path("w2", "job.yaml"), "--json", "--out", "again")
        self.assertEqual(code, 0, err)
        self.assert_same(self.result(text), alone)
        four = self.train("four", "--set", "local_steps=4")
        self.assertNotEqual(four["model_sha256"], alone["model_sha256"])

    def test_one_step_is_plain_sgd(self):
        self.write("job.yaml", SGD)
        plain = self.train("plain")
        self.assert_same(self.train("one", "--set", "local_steps=1"), plain)
        self.assert_same(self.train("said", "--set", "local_steps={steps: 1, lr: 7}"), plain)

    def test_other_modes_rules_and_encodings_replay(self):
        self.write("job.yaml", RICH.replace("slots: 4\n", "encoding: {push: bf16, pull: bf16}\n")
                   .replace("local_steps: 3", "local_steps: {steps: 3, lr: 0.05}")
                   .replace("name: sgd, lr: 0.1", "name: momentum, lr: 0.05, momentum: 0.5"))
        for mode in "async", "k-sync:2", "backup:1":
            with self.subTest(mode=mode):
                out = mode.partition(":")[0]
                ran = self.train(out, "--workers", "3", "--mode", mode)
                replayed = self.replay(out)
                for key in FIELDS + ["staleness_mean", "staleness_max"]:
                    self.assertEqual(replayed[key], ran[key], key)


class Laws(Case):
    def final(self, out, *settings, job="job.yaml"):
        """The weights that a run ends with."""
        ran = self.train(out, *[word for setting in settings for word in ("--set", setting)], job=job)
        self.assertEqual(self.replay(out)["model_sha256"], ran["model_sha256"])
        return numbers(self.path(out, "model.safetensors"))

    def assert_near(self, found, expected, tolerance):
        for x, y in zip(found, expected):
            self.assertLess(abs(x - y), tolerance, (found, expected))

    def test_on_a_quadratic_the_mean_goes_as_without_local_steps(self):
        """With the same draws: x_H - x_0 is linear in where the slots start, so averaging commutes
        with it. What differs is float32's rounding, 6e-8 of weights of order 1 at each step; where
        nothing is rounded, nothing does (tests/sim/test_laws_of_local_steps.c)."""
        self.write("job.yaml", QUADRATIC)
        plain = self.final("plain")
        for steps in 8, 64:
            found = self.final(f"local{steps}", f"local_steps={steps}", f"updates={128 // steps}")
            self.assert_near(found, plain, 1e-5)
        # It takes the optimizer's own rate in the steps between.
        other = self.final("other", "local_steps={steps: 8, lr: 0.04}", "updates=16")
        self.assertGreater(max(abs(x - y) for x, y in zip(other, plain)), 1e-3)

    def test_where_the_curvature_varies_it_does_not(self):
        job = QUADRATIC.replace("name: quadratic, spectrum: [1, 3, 10], start: [4, -2, 1], noise: 1",
                                "name: rosenbrock, noise: 5").replace("0.05", "0.001")
        self.write("job.yaml", job)
        plain = self.final("plain")
        found = self.final("local", "local_steps=64", "updates=2")
        self.assertGreater(max(abs(x - y) for x, y in zip(found, plain)), 1e-4)

    def test_a_single_slot_makes_plain_steps(self):
        """On the same samples with the same random numbers, in any model."""
        self.write("job.yaml", SGD.replace("    - relu\n", "    - relu\n    - dropout: 0.8\n")
                   .replace("epochs: 3", "updates: 60"))
        plain = self.train("plain", "--workers", "1")
        found = self.train("local", "--workers", "1", "--set", "local_steps=5",
                           "--set", "updates=12")
        self.assertEqual(found["samples"], plain["samples"])
        self.assertAlmostEqual(found["test_loss"], plain["test_loss"], places=4)

    def test_in_the_simulator_each_step_takes_its_time(self):
        self.write("job.yaml", QUADRATIC.replace("updates: 128", "updates: 10"))
        seconds = []
        for steps in "1", "4":
            code, text, err = self.talweg("sim", "job.yaml", "--json", "--delay", "constant",
                                          "--set", "local_steps=" + steps)
            self.assertEqual(code, 0, err)
            seconds.append(json.loads(text)["seconds"])
        self.assertAlmostEqual(seconds[1], 4 * seconds[0], places=6)


class Killed(ByHand):
    def test_a_killed_worker_leaves_nothing_behind(self):
        with open(self.path("job.yaml")) as file:
            self.write("job.yaml", file.read() + "local_steps: {steps: 3, lr: 0.1}\n")
        server, port = self.serve()
        hold_back(server)
        found = self.kill_and_replace(server, port, 5, 100)
        expected = self.undisturbed()
        self.assertEqual(found["model_sha256"], expected["model_sha256"], f"seed {self.seed}")


class Refused(Case):
    def refuse(self, job, words):
        self.write("job.yaml", job)
        code, _, err = self.talweg("run", "job.yaml", "--out", "run")
        self.assertEqual(code, 2, err)
        self.assertIn(words, err)
        self.assertFalse(os.path.exists(self.path("run")))

    def test_what_does_not_fit(self):
        line = f"job.yaml:{JOB.count(chr(10)) + 1}: local_steps"
        missing = line + ".lr: missing; only with optimizer sgd and no schedule it is optimizer.lr. "
        self.refuse(JOB + "local_steps: 4\n", missing + "Write {steps: 4, lr: ...}")
        self.refuse(SGD + "local_steps: 4\nschedule: {name: step, every: 5}\n", missing)
        self.refuse(SGD + "local_steps: 4\nweight_decay: {l2: 0.1}\n", line + ": not together with")
        self.refuse(SGD + "local_steps: some\n", line + ": \"some\" is not a whole number")
        self.refuse("model: {tensors: {w: [4]}}\nupdates: 5\noptimizer: sgd\nlocal_steps: 2\n",
                    "job.yaml:4: local_steps: the gradients of model.tensors come from a program")


if __name__ == "__main__":
    unittest.main()
