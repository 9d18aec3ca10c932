#!/usr/bin/python3
"""trace.log of real runs: every step and update has its times, hashes are those of the weights,
`talweg replay` checks them, `talweg log --trace` prints them, and nothing needs them."""
import csv
import io
import json
import os
import shutil
import signal
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import talweg_trace  # noqa: E402
from talweg_e2e import PATIENCE, Case  # noqa: E402

EVERY = ("--set", "trace.hash_every=10", "--set", "trace.sums_every=5")


STOP = 16  # TW_INPUT_STOP


class Trace(Case):
    def await_size(self, name, size):
        until = time.monotonic() + PATIENCE
        while not os.path.exists(self.path(name)) or os.path.getsize(self.path(name)) < size:
            self.assertLess(time.monotonic(), until, f"{name} does not grow")
            time.sleep(0.01)

    def entries(self, run):
        code, text, err = self.talweg("log", run, "--trace", "--json")
        self.assertEqual(code, 0, err)
        return [json.loads(line) for line in text.splitlines()]

    def kind(self, run, kind):
        return [e for e in self.entries(run) if e["entry"] == kind]

    def model_hash(self, run):
        path = self.path(run, "model.safetensors")
        names = talweg_trace.names(path)
        return f"{talweg_trace.model_hash(path, names):016x}"

    def test_every_step_and_update_has_its_times_in_order(self):
        for mode in "sync", "async":
            recorded = self.train(mode, "--mode", mode, *EVERY)
            found = self.entries(mode)
            self.assertEqual(found[0]["entry"], "HEADER")
            updates = [e for e in found if e["entry"] == "UPDATE"]
            self.assertEqual([e["version"] for e in updates],
                             list(range(1, recorded["updates"] + 1)))
            for e in updates:
                self.assertLessEqual(e["prepared"], e["committed"])
                self.assertLessEqual(e["committed"], e["applied"])
            for e in [e for e in found if e["entry"] == "SLOT" and e["arrived"]]:
                self.assertLessEqual(e["asked"], e["served"])
                self.assertLessEqual(e["served"], e["arrived"])
            steps = [(e["slot"], e["step"]) for e in found if e["entry"] == "WORKER"]
            self.assertEqual(len(set(steps)), len(steps))
            self.assertGreaterEqual(len(steps), recorded["updates"])
            for slot in 0, 1:  # the last ones are in a worker's last words
                pushed = max(e["step"] for e in found if e["entry"] == "SLOT" and e["arrived"]
                             and e["slot"] == slot)
                self.assertGreaterEqual(max(step for of, step in steps if of == slot), pushed)
            for e in [e for e in found if e["entry"] == "WORKER" and e["sent"]]:
                self.assertLessEqual(e["received"], e["computed"])
                self.assertLessEqual(e["computed"], e["sent"])

    def test_the_last_hash_is_that_of_the_model(self):
        recorded = self.train("out", *EVERY)
        last = self.kind("out", "HASH")[-1]
        self.assertEqual(last["version"], recorded["updates"])
        self.assertEqual(last["hash"], self.model_hash("out"))

    def test_hashes_and_sums_do_not_depend_on_the_chunk_size(self):
        for chunk in "64KiB", "1MiB":
            self.train(chunk, "--set", f"chunk={chunk}", *EVERY)
        for kind in "HASH", "SUMS":
            self.assertEqual(self.kind("64KiB", kind), self.kind("1MiB", kind))
            self.assertGreater(len(self.kind("64KiB", kind)), 3)

    def test_nothing_is_recorded_before_it_happened(self):
        """A stop between two steps, which take some milliseconds, is not of the time of the first."""
        spectrum = ", ".join(["1"] * 64)
        self.write("slow.yaml", f"model: {{objective: {{name: quadratic, spectrum: [{spectrum}]}}}}\n"
                   "optimizer: {name: sgd, lr: 1e-4}\nbatch: 1\nupdates: 1000000\n"
                   "trace: {inputs: true}\ncheckpoint: {every: 0, seconds: 0}\n")
        for number in range(3):
            run = self.start("run", "slow.yaml", "--out", f"run{number}", "--workers", "1",
                             "--straggler", "0:1000")
            self.await_size(os.path.join(f"run{number}", "order.log"), 500)
            before = time.time_ns()
            run.process.send_signal(signal.SIGINT)
            self.assertEqual(run.end()[0], 130)
            found = self.entries(f"run{number}")
            stops = [e for e in found if e["entry"] == "INPUT" and e["kind"] == STOP]
            self.assertEqual(len(stops), 1)
            # Two clocks, read one after the other at the start of the log.
            self.assertGreater(found[0]["unix_ns"] + stops[0]["time"], before - 500000)

    def test_csv_has_the_same(self):
        self.train("out", *EVERY)
        code, text, err = self.talweg("log", "out", "--trace", "--csv")
        self.assertEqual(code, 0, err)
        rows = list(csv.DictReader(io.StringIO(text)))
        for row, entry in zip(rows, self.entries("out"), strict=True):
            for key, value in entry.items():
                if isinstance(value, float):
                    self.assertEqual(float(row[key]), value)
                else:
                    self.assertEqual(row[key], "" if value is None else str(value))

    def test_without_it_the_run_is_the_same_and_replays(self):
        recorded = self.train("with", *EVERY)
        without = self.train("without", "--set", "trace.on=false")
        self.assertEqual(recorded["model_sha256"], without["model_sha256"])
        self.assertFalse(os.path.exists(self.path("without", "trace.log")))
        code, text, err = self.talweg("replay", "without", "--json")
        self.assertEqual(code, 0, err)
        self.assertIn("has no trace.log", err)
        code, text, err = self.talweg("log", "without", "--trace")
        self.assertEqual(code, 2)
        self.assertIn("has no trace.log", err)

    def change(self, data):
        shutil.rmtree(self.path("bad"), ignore_errors=True)
        shutil.copytree(self.path("out"), self.path("bad"))
        with open(self.path("bad", "trace.log"), "wb") as file:
            file.write(data)
        return self.talweg("replay", "bad", "--json")

    def test_replay_checks_what_it_says(self):
        recorded = self.train("out", *EVERY)
        code, text, err = self.talweg("replay", "out", "--json")
        self.assertEqual(code, 0, err)
        self.assertIn(f"the last was update {recorded['updates']}", err)
        with open(self.path("out", "trace.log"), "rb") as file:
            data = file.read()
        half = [last for _, last in talweg_trace.places(data, 5) if last < len(data) // 2][-1]
        code, text, err = self.change(data[:half - 1])  # in the middle of an entry
        self.assertEqual(code, 0, err)
        self.assertIn("cut", err)
        self.assertIn("any further", err)
        for kind, word in (5, "sum of squares"), (6, "the hash of the weights"):
            first, last = talweg_trace.places(data, kind)[0]
            flipped = bytearray(data)
            flipped[last - 2] ^= 1
            code, text, err = self.change(flipped)
            self.assertEqual(code, 1, err)
            version = 5 if kind == 5 else 10
            self.assertIn(f"update {version} is the first that is seen to differ", err)
            self.assertIn(word, err)
        code, text, err = self.talweg("replay", "bad", "--json", "--inexact")
        self.assertEqual(code, 0, err)


if __name__ == "__main__":
    unittest.main()
