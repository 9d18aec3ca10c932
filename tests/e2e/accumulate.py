#!/usr/bin/python3
"""`accumulate: K`: the bits of a share that is computed in K parts, and the memory it takes."""
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_by_hand import wait_until  # noqa: E402
from talweg_e2e import JOB, Case  # noqa: E402

# With everything whose numbers could depend on how a share is taken apart. 70 examples over
# 8 slots: six of them get 9, two get 8.
RICH = (JOB.replace("batch: 20", "batch: 70")
        .replace("    - flatten\n    - dense: 8\n",
                 "    - {conv2d: {channels: 4, kernel: 3, padding: 1}}\n    - batch_norm\n"
                 "    - relu\n    - flatten\n    - dropout: 0.8\n    - dense: 8\n")
        .replace("  test:", "  augment: {crop: 1, flip: true}\n  test:") + "slots: 8\n")
FIELDS = "status updates samples train_loss test_loss test_accuracy model_sha256".split()


class Bits(Case):
    def assert_same(self, found, expected):
        for key in FIELDS:
            self.assertEqual(found[key], expected[key], key)

    def test_over_the_number_of_workers_in_replay_and_in_the_simulator(self):
        self.write("job.yaml", RICH + "accumulate: 4\n")
        alone = self.train("alone", "--workers", "1")
        for workers in "2", "4":
            self.assert_same(self.train("w" + workers, "--workers", workers), alone)
        self.assert_same(self.train("two-servers", "--servers", "2", "--set", "chunk=64KiB"), alone)
        self.assert_same(self.replay("w2"), alone)
        code, text, err = self.talweg("sim", "job.yaml", "--workers", "4", "--json")
        self.assertEqual(code, 0, err)
        self.assertEqual(json.loads(text)["model_sha256"], alone["model_sha256"])
        # How a share is taken apart is part of the job, and changes the bits.
        whole = self.train("whole", "--set", "accumulate=1")
        self.assertNotEqual(whole["model_sha256"], alone["model_sha256"])

    def test_without_batch_norm_only_rounding_differs(self):
        self.write("job.yaml", RICH.replace("    - batch_norm\n", ""))
        whole = self.train("whole")
        for parts in "2", "8":
            found = self.train("parts" + parts, "--set", "accumulate=" + parts)
            self.assertAlmostEqual(found["train_loss"], whole["train_loss"], places=3)
            self.assertNotEqual(found["model_sha256"], whole["model_sha256"])

    def test_parts_of_a_single_slot_are_so_many_slots(self):
        """Where nothing is drawn for each slot, and batch and data can be shared out evenly."""
        self.write("job.yaml", JOB)
        for parts in "2", "4":
            slots = self.train("slots" + parts, "--workers", "1", "--set", "slots=" + parts)
            found = self.train("parts" + parts, "--workers", "1", "--set", "accumulate=" + parts)
            self.assert_same(found, slots)

    def test_other_modes_and_encodings_replay(self):
        job = RICH.replace("slots: 8\n", "accumulate: 2\nencoding: {push: bf16, pull: bf16}\n")
        self.write("job.yaml", job)
        for mode in "async", "ssp:1", "k-sync:2":
            with self.subTest(mode=mode):
                ran = self.train(mode[:3], "--workers", "3", "--mode", mode)
                self.assertEqual(self.replay(mode[:3])["model_sha256"], ran["model_sha256"])

    def test_on_an_objective_parts_are_draws_of_its_noise(self):
        job = ("model:\n  objective: {name: quadratic, spectrum: [1, 10], noise: 1}\n"
               "batch: 16\nupdates: 50\noptimizer: {name: sgd, lr: 0.05}\n")
        self.write("job.yaml", job)
        whole = self.train("whole", "--workers", "2")
        parts = self.train("parts", "--workers", "2", "--set", "accumulate=4")
        self.assertAlmostEqual(parts["train_loss"], whole["train_loss"], places=5)
        self.assertEqual(self.replay("parts")["model_sha256"], parts["model_sha256"])


class Memory(Case):
    def peak(self, name, parts):
        """What `talweg model` says a worker needs, and what it has had, in bytes."""
        setting = ("--set", "cluster.workers=1", "--set", f"accumulate={parts}")
        code, text, err = self.talweg("model", "job.yaml", "--json", *setting)
        self.assertEqual(code, 0, err)
        said = json.loads(text)
        self.assertEqual(said["rows"], 256 // parts)
        run = self.start("run", "job.yaml", "--out", name, *setting)
        run.wait_for("epoch")
        with open(f"/proc/{run.child('worker', '--rank', '0')}/status") as file:
            had = next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM:"))
        run.process.terminate()
        self.assertEqual(run.end()[0], 130)
        return said["worker_bytes"], had

    def test_activations_are_those_of_a_part(self):
        self.write("job.yaml", JOB.replace("dense: 8", "dense: 40000").replace("batch: 20", "batch: 256")
                   .replace("epochs: 3", "updates: 1000000"))
        said, had = self.peak("whole", 1)
        said_less, had_less = self.peak("parts", 16)
        self.assertLess(said_less, said / 2)
        self.assertLess(had_less, had - 0.8 * (said - said_less))


class Refused(Case):
    def refuse(self, job, words, *arguments):
        self.write("job.yaml", job)
        code, _, err = self.talweg("run", "job.yaml", "--out", "run", *arguments)
        self.assertEqual(code, 2, err)
        self.assertIn(words, err)
        self.assertFalse(os.path.exists(self.path("run")))

    def test_what_does_not_fit(self):
        line = f"job.yaml:{JOB.count(chr(10)) + 1}: accumulate: "
        self.refuse(JOB + "accumulate: 3\n", line + "3 is no power of two; 2 or 4 would be one")
        self.refuse(JOB + "accumulate: 16\n", line + "16 parts, but 20 examples over 2 slots leave "
                    "10 for a slot; each part needs at least one")
        self.refuse(JOB + "accumulate: many\n", line)
        normed = JOB.replace("    - relu\n", "    - batch_norm\n")
        self.refuse(normed + "accumulate: 8\n", line + "model.layers[2], batch_norm, takes at least "
                    "2 examples at once, but 8 parts of 10 examples have 1; fewer parts, or a batch "
                    "of at least 32, would be right")
        self.refuse("model: {tensors: {w: [4]}}\nupdates: 5\noptimizer: sgd\naccumulate: 2\n",
                    "job.yaml:4: accumulate: the gradients of model.tensors come from a program")


if __name__ == "__main__":
    unittest.main()
