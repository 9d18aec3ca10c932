#!/usr/bin/python3
"""`local_steps: {rho: ...}`, elastic averaging: bits, the law of its center, and what is refused."""
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_by_hand import ByHand, hold_back  # noqa: E402
from talweg_e2e import JOB, Case  # noqa: E402

FIELDS = "status updates samples train_loss test_loss test_accuracy model_sha256".split()
SGD = JOB.replace("{name: adam, lr: 1e-2}", "{name: sgd, lr: 0.1}")
RICH = SGD.replace("    - flatten\n    - dense: 8\n",
                   "    - {conv2d: {channels: 4, kernel: 3, padding: 1}}\n    - batch_norm\n"
                   "    - relu\n    - flatten\n    - dropout: 0.8\n    - dense: 8\n")
ELASTIC = "local_steps: {steps: 3, rho: 2}\n"


class Bits(Case):
    def assert_same(self, found, expected):
        for key in FIELDS:
            self.assertEqual(found[key], expected[key], key)

    def test_sync_over_workers_servers_replay_and_the_simulator(self):
        self.write("job.yaml", RICH + "slots: 4\naccumulate: 2\n" + ELASTIC)
        alone = self.train("alone", "--workers", "1")
        self.assert_same(self.train("w4", "--workers", "4"), alone)
        self.assert_same(self.train("two", "--servers", "2", "--set", "chunk=64KiB"), alone)
        self.assert_same(self.replay("w4"), alone)
        code, text, err = self.talweg("sim", "job.yaml", "--json", "--delay", "exponential")
        self.assertEqual(code, 0, err)
        self.assertEqual(json.loads(text)["model_sha256"], alone["model_sha256"])
        for other in "{steps: 3, rho: 1}", "{steps: 3}", "{steps: 2, rho: 2}":
            found = self.train("x" + other[8:9] + other[-2:-1], "--set", "local_steps=" + other)
            self.assertNotEqual(found["model_sha256"], alone["model_sha256"])

    def test_other_modes_and_encodings_replay(self):
        self.write("job.yaml", RICH + ELASTIC + "encoding: {push: bf16, pull: bf16}\n")
        for mode in "async", "ssp:1", "k-batch-async:2":
            with self.subTest(mode=mode):
                out = mode.partition(":")[0]
                ran = self.train(out, "--workers", "3", "--mode", mode)
                replayed = self.replay(out)
                for key in FIELDS + ["staleness_mean", "staleness_max"]:
                    self.assertEqual(replayed[key], ran[key], key)

    def test_a_new_process_begins_with_the_center_in_the_simulator_too(self):
        self.write("job.yaml", RICH + ELASTIC)
        for mode in "sync", "async":
            code, text, err = self.talweg("sim", "job.yaml", "--json", "--mode", mode, "--out", mode,
                                          "--fail", "1@5+2", "--fail", "0@14+3")
            self.assertEqual(code, 0, err)
            self.assertEqual(self.replay(mode)["model_sha256"], json.loads(text)["model_sha256"])


class Killed(ByHand):
    def test_a_new_process_begins_with_the_center(self):
        with open(self.path("job.yaml")) as file:
            job = file.read()
        self.assertIn("{name: adam, lr: 1e-4}", job)
        self.write("job.yaml", job.replace("{name: adam, lr: 1e-4}", "{name: sgd, lr: 0.01}")
                   + "local_steps: {steps: 2, rho: 2}\n")
        server, port = self.serve()
        hold_back(server)
        found = self.kill_and_replace(server, port, 3, 100)
        code, text, err = self.talweg("replay", found["run"], "--json")
        self.assertEqual(code, 0, err)
        self.assertEqual(self.result(text)["model_sha256"], found["model_sha256"])


class Laws(Case):
    def test_the_center_is_less_noisy_than_sgd(self):
        """On a quadratic of curvature 1, with 4 workers, h = .1, alpha = .225: the mean of the
        workers, y, and the center, x, are a linear recursion of two, and its stationary variance of x
        is 1.0456 Var(e), where SGD on the mean of four gradients has 1.3158. Var(e) = .01; 64
        independent coordinates, means of every fifth update: a standard error of .6%."""
        job = ("model:\n  objective: {name: quadratic, spectrum: [" + ", ".join(["1"] * 64) +
               "], start: [" + ", ".join(["0"] * 64) + "], noise: 1}\nbatch: 4\nupdates: 12000\n"
               "optimizer: {name: sgd, lr: 0.1}\ncluster: {workers: 4}\n"
               "trace: {sums_every: 5, hash_every: 0}\ncheckpoint: {seconds: 0}\n")
        self.write("job.yaml", job)
        for name, steps, expected in (("plain", "1", 1.3158), ("elastic", "{steps: 1, rho: 2.25}", 1.0456)):
            code, _, err = self.talweg("sim", "job.yaml", "--out", name, "--set", "local_steps=" + steps)
            self.assertEqual(code, 0, err)
            code, text, err = self.talweg("log", name, "--trace", "--json")
            self.assertEqual(code, 0, err)
            squares = [found["weights"] for found in map(json.loads, text.splitlines())
                       if "weights" in found and found["version"] > 200]
            self.assertGreater(len(squares), 2000)
            variance = sum(squares) / len(squares) / 64
            self.assertAlmostEqual(variance / .01, expected, delta=.02 * expected)


class Refused(Case):
    def refuse(self, job, words, *arguments):
        self.write("job.yaml", job)
        code, _, err = self.talweg("run", "job.yaml", "--out", "run", *arguments)
        self.assertEqual(code, 2, err)
        self.assertIn(words, err)

    def test_what_does_not_fit(self):
        line = f"job.yaml:{JOB.count(chr(10)) + 1}: local_steps"
        self.refuse(JOB + ELASTIC, line + ": with rho the servers' weights follow a spring")
        self.refuse(SGD + "local_steps: {steps: 2, rho: 0}\n", line + ".rho: 0 is out of range")
        self.refuse(SGD + "local_steps: {steps: 2, rho: 1, lr: 0.2}\n", line + ": with rho the rate is")
        for more in ("clip: {norm: 1}", "on_worker_loss: evict"):
            self.refuse(SGD + ELASTIC + more + "\n", line + ": with rho ")
        self.refuse(SGD + ELASTIC + "stop: {gradient_norm: 1}\n",
                    "stop.gradient_norm: with local_steps.rho no gradient is pushed")
        for mode in "backup:1", "k-sync:1", "k-batch-sync:1":
            self.refuse(SGD + ELASTIC, line + f".rho: the mode is \"{mode}\", which drops late steps",
                        "--mode", mode)
        self.refuse(SGD.replace("mode: sync", "mode: sync, turns: [{update: 5, mode: async}]") + ELASTIC,
                    line + ": with rho the dial cannot be turned")

    def test_nobody_turns_the_dial(self):
        self.write("job.yaml", SGD.replace("epochs: 3", "updates: 1000000") + ELASTIC)
        run = self.start("run", "job.yaml", "--out", "run")
        run.wait_for("epoch")
        code, _, err = self.talweg("dial", "run", "--mode", "async")
        self.assertEqual(code, 1, err)
        self.assertIn("the job has local_steps.rho", err)
        run.process.terminate()
        self.assertEqual(run.end()[0], 130)


if __name__ == "__main__":
    unittest.main()
