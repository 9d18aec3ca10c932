#!/usr/bin/python3
"""Every mode of the dial trains, and keeps what docs/consistency.md promises of it. The
order log is the witness: staleness, reads in flight and drops are counted again from it."""
import hashlib
import json
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import Case  # noqa: E402

WORKERS = 4
# Makes gathers that differ from those of equals.
STRAGGLER = ["--straggler", "3:20"]


class Count:
    """What an order log says about reads: {(slot, step): version read} of those that are
    out, and the sums of the staleness identity."""

    def __init__(self, records):
        self.out = {}
        self.version = self.applied = self.dropped_ages = self.outstanding = self.most = 0
        self.gathers, self.drops, self.gap = [], 0, 0
        self.late = 0  # of the drops, those of pushes that came after the last update
        self.clock = [0] * WORKERS
        before = None
        for record in records:
            if record["record"] == "RELEASE" and record["slot"] in range(WORKERS):
                self.release(record["slot"], record["step"])
            elif record["record"] == "COMMIT":
                self.commit(record["contributions"])
            elif record["record"] == "DROP":
                self.drop(record["contributions"], before == "COMMIT")
            before = record["record"]
        self.in_flight = sum(self.version - read for read in self.out.values())

    def release(self, slot, step):
        assert (slot, step) not in self.out
        self.gap = max(self.gap, self.clock[slot] - min(self.clock))
        self.out[slot, step] = self.version

    def settle(self, contribution):
        """The age of a read that is over."""
        self.clock[contribution["slot"]] += 1
        age = self.version - self.out.pop((contribution["slot"], contribution["step"]))
        assert age == contribution["staleness"], contribution
        return age

    def commit(self, contributions):
        self.outstanding += len(self.out) - len(contributions)
        ages = [self.settle(contribution) for contribution in contributions]
        self.applied += sum(ages)
        self.most = max(self.most, *ages)
        self.gathers.append([contribution["slot"] for contribution in contributions])
        self.version += 1
        self.late = 0

    def drop(self, contributions, ends_an_update):
        self.dropped_ages += sum(self.settle(contribution) for contribution in contributions)
        self.drops += len(contributions)
        self.late += 0 if ends_an_update else len(contributions)


class Modes(Case):
    def count(self, mode, *arguments):
        """A run: what it printed, and what its log says; they must agree."""
        out = f"{mode}{len(self.runs)}"
        code, text, err = self.talweg("run", "job.yaml", "--json", "--mode", mode, "--workers",
                                      str(WORKERS), "--out", out, "--set", "epochs=20", *arguments)
        self.assertEqual(code, 0, err)
        found = self.result(text)
        self.assertEqual((found["status"], found["mode"]), ("done", mode))
        self.assertGreater(found["test_accuracy"], 0.9)
        code, text, err = self.talweg("log", out, "--json")
        self.assertEqual(code, 0, err)
        count = Count([json.loads(line) for line in text.splitlines()])
        self.last_run = out
        self.assert_agree(found, count, out, self.runs[-2].seen)
        return count

    def assert_agree(self, found, count, out, err):
        contributions = sum(map(len, count.gathers))
        self.assertEqual(count.applied + count.in_flight + count.dropped_ages, count.outstanding)
        self.assertEqual(found["updates"], count.version)
        self.assertAlmostEqual(found["staleness_mean"] * contributions, count.applied, places=6)
        self.assertEqual(found["staleness_max"], count.most)
        with open(self.path(out, "metrics.jsonl")) as file:
            rows = [json.loads(line) for line in file]
        told = re.search(r"; ([\d,]+) gradients? dropped\n", err)
        told = int(told.group(1).replace(",", "")) if told else 0
        # What comes late after the last update has no row any more.
        in_rows = sum(row["dropped"] for row in rows)
        self.assertIn(in_rows, range(count.drops - count.late, count.drops + 1))
        self.assertIn(told, range(in_rows, count.drops + 1))

    def both(self, mode):
        """With workers that are equally fast, and with a straggler."""
        for more in [], STRAGGLER:
            with self.subTest(mode=mode, more=more):
                yield self.count(mode, *more)

    def assert_gave_up(self, run):
        """The straggler was told that steps were cancelled, and left them."""
        with open(self.path(run, "worker3.log")) as file:
            told = re.search(r"step (\d+): (\d+) gradients? computed, (\d+) given up", file.read())
        last, computed, given_up = map(int, told.groups())
        self.assertGreater(given_up, 0)
        self.assertLessEqual(given_up + computed, last)

    def assert_gathers(self, count, size, distinct):
        for slots in count.gathers:
            self.assertEqual(len(slots), size)
            if distinct:
                self.assertEqual(len(set(slots)), size)

    def test_sync(self):
        for count in self.both("sync"):
            self.assert_gathers(count, WORKERS, True)
            self.assertEqual((count.most, count.drops), (0, 0))

    def test_backup(self):
        for backups in 1, 2:
            for count in self.both(f"backup:{backups}"):
                self.assert_gathers(count, WORKERS - backups, True)
                self.assertEqual(count.most, 0)
                self.assertLessEqual(count.drops, backups * count.version)
        self.assertGreater(count.drops, 0)

    def test_k_sync(self):
        for size in 1, 3:
            for count in self.both(f"k-sync:{size}"):
                self.assert_gathers(count, size, True)
                self.assertEqual(count.most, 0)
                # All others begin anew at each update.
                self.assertEqual(count.drops, (WORKERS - size) * count.version)
            self.assert_gave_up(self.last_run)

    def test_k_batch_sync(self):
        for size in 2, 4:
            for count in self.both(f"k-batch-sync:{size}"):
                self.assert_gathers(count, size, False)
                self.assertEqual(count.most, 0)
                # All but the one that completed it have begun another step.
                self.assertEqual(count.drops, (WORKERS - 1) * count.version)

    def assert_mean(self, count, size, distinct, reads):
        """With `reads` out before each update and nothing dropped: exactly this."""
        self.assert_gathers(count, size, distinct)
        self.assertEqual(count.drops, 0)
        self.assertEqual(count.applied, (reads - size) * count.version - count.in_flight)

    def test_async(self):
        for count in self.both("async"):
            self.assert_mean(count, 1, True, WORKERS)

    def test_k_async(self):
        for size in 2, 4:
            for count in self.both(f"k-async:{size}"):
                self.assert_mean(count, size, True, WORKERS)

    def test_k_batch_async(self):
        for size in 1, 3:
            for count in self.both(f"k-batch-async:{size}"):
                self.assert_mean(count, size, False, WORKERS + size - 1)

    def test_softsync(self):
        for number in 1, 2, 3, 4:
            size = WORKERS // number
            count = self.count(f"softsync:{number}")
            self.assert_mean(count, size, False, WORKERS + size - 1)

    def test_ssp(self):
        for bound in 0, 2:
            for count in self.both(f"ssp:{bound}"):
                self.assert_gathers(count, 1, True)
                self.assertEqual(count.drops, 0)
                self.assertLessEqual(count.gap, bound)
                # Of each other worker, no more commits than fit between two such gaps.
                self.assertLessEqual(count.most, (2 * bound + 1) * (WORKERS - 1))
        self.assertEqual(count.gap, 2)


    def test_imposed_staleness(self):
        """The order is drawn, so it is the same whoever is slow, and the same in virtual time."""
        models, staleness = set(), set()
        for count in self.both("stale-uniform:3"):
            self.assert_gathers(count, 1, True)
            self.assertEqual([slots[0] for slots in count.gathers],
                             [update % WORKERS for update in range(count.version)])
            self.assertEqual((count.drops, count.most), (0, 2))
            self.assertAlmostEqual(count.applied / count.version, 1, delta=0.15)
            with open(self.path(self.last_run, "model.safetensors"), "rb") as file:
                models.add(hashlib.sha256(file.read()).hexdigest())
            staleness.add(count.applied)
        self.assertEqual((len(models), len(staleness)), (1, 1))
        code, text, err = self.talweg("replay", self.last_run, "--json")
        self.assertEqual(code, 0, err)
        models.add(self.result(text)["model_sha256"])
        code, text, err = self.talweg("sim", "job.yaml", "--dry", "--json", "--mode",
                                      "stale-uniform:3", "--workers", str(WORKERS), "--set",
                                      "epochs=20", "--delay", "exponential")
        self.assertEqual(code, 0, err)
        models.add(self.result(text)["model_sha256"])
        self.assertEqual(len(models), 1)
        code, text, err = self.talweg("sim", "job.yaml", "--out", "other", "--json", "--mode",
                                      "stale-uniform:3", "--workers", str(WORKERS), "--set",
                                      "epochs=20", "--delay-seed", "9")
        self.assertEqual(code, 0, err)
        self.assertNotIn(self.result(text)["model_sha256"], models)
        with open(self.path("other", "job.yaml")) as file:
            self.assertIn("staleness: 9", file.read())
        code, text, err = self.talweg("sim", "--from", "other", "--json")
        self.assertEqual(code, 0, err)


class Straggler(Case):
    def train(self, *arguments):
        out = str(len(self.runs))
        code, text, err = self.talweg("run", "job.yaml", "--json", "--out", out, *arguments)
        self.assertEqual(code, 0, err)
        return self.result(text), out

    def test_it_changes_time_only(self):
        plain, _ = self.train()
        slow, out = self.train("--straggler", "1:10")
        self.assertEqual(plain["model_sha256"], slow["model_sha256"])
        for rank in 0, 1:
            with open(self.path(out, f"worker{rank}.log")) as file:
                told = "every step takes 10 times as long" in file.read()
            self.assertEqual(told, rank == 1)

    def test_its_steps_take_longer(self):
        """The shortest of each: what a busy machine adds it does not add to all."""
        _, out = self.train("--straggler", "0:100")
        _, text, _ = self.talweg("log", out, "--trace", "--json")
        shortest = {}
        for entry in map(json.loads, text.splitlines()):
            if entry["entry"] == "WORKER":
                took = entry["computed"] - entry["received"]
                shortest[entry["slot"]] = min(took, shortest.get(entry["slot"], took))
        self.assertGreater(shortest[0], 10 * shortest[1])

    def test_wrong(self):
        for text in "", "1", "1:", ":2", "1:0.5", "1:-2", "1:1001", "1:nan", "1:2x", "x:2", "-1:2":
            code, out, err = self.talweg("run", "job.yaml", "--json", "--straggler", text)
            self.assertEqual(code, 2, err)
            self.assertIn("is not RANK:FACTOR", self.result(out)["error"])
        for command in ["run"], ["worker", "--server", "127.0.0.1:1"]:
            code, _, err = self.talweg(*command, "job.yaml", "--straggler", "2:3")
            self.assertEqual(code, 2, err)
            self.assertIn("there is no rank 2; the last of 2 workers is 1", err)
        self.assertFalse(os.path.exists(self.path("runs")))


class Numbers(Case):
    def test_wrong_numbers(self):
        for mode, word in [
                ("sync:1", "takes no number"), ("async:2", "takes no number"),
                ("backup", "needs a number"), ("backup:4", "from 0 to 3"),
                ("k-sync:0", "from 1 to 4"), ("k-sync:5", "from 1 to 4"),
                ("k-batch-sync:5", "from 1 to 4"), ("k-batch-sync:x", "needs a number"),
                ("ssp", "needs a number"), ("ssp:-1", "needs a number"),
                ("ssp:1.5", "needs a number"), ("k-async:0", "from 1 to 4"),
                ("k-async:5", "from 1 to 4"), ("k-batch-async:0x2", "needs a number"),
                ("softsync:0", "from 1 to 4"), ("softsync:5", "from 1 to 4"),
                ("stale-uniform:0", "from 1 to"), ("stale-uniform:5", "at least 5 workers"),
                ("stale-geometric:1", "at least 10 workers"),
                ("k-sink:2", 'did you mean "k-sync"')]:
            with self.subTest(mode=mode):
                code, out, err = self.talweg("run", "job.yaml", "--json", "--workers",
                                             str(WORKERS), "--mode", mode)
                self.assertEqual(code, 2, err)
                self.assertIn("consistency.mode", err)
                self.assertIn(word, self.result(out)["error"])
        self.assertFalse(os.path.exists(self.path("runs")))


if __name__ == "__main__":
    unittest.main()
