#!/usr/bin/env python3
"""A simulated run beside the real one of the same job: the same files with the same in them, but for
how long things took; and where the time of a simulated run went, exactly."""
import collections
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import Case  # noqa: E402

KINDS = ("computing", "waiting", "network", "away")
# What a schedule has a say in. In `sync` all the rest is the same to the bit.
TIMES = ("seconds", "samples_per_second", *KINDS, "waited_for", "waited_for_seconds")
SAMPLED = ("--set", "trace.hash_every=7", "--set", "trace.sums_every=4")
# Of a worker at speed 1 and one at half of it: steps of one second, and of two.
TWO_SPEEDS = ("--delay", "constant:mean=1,speeds=[1,.5]")
MODES = ("sync", "async", "ssp:1", "backup:1", "k-sync:2", "k-batch-sync:2", "k-async:2",
         "k-batch-async:2", "stale-uniform:3", "hogwild")


class Twin(Case):
    def sim(self, out, *arguments):
        code, text, err = self.talweg("sim", "job.yaml", "--json", "--out", out, *arguments)
        self.assertEqual(code, 0, err)
        self.said = err
        return self.result(text)

    def entries(self, run, *kinds):
        """Those of trace.log."""
        code, out, err = self.talweg("log", run, "--trace", "--json")
        self.assertEqual(code, 0, err)
        return [entry for entry in map(json.loads, out.splitlines()) if entry["entry"] in kinds]

    def spent(self, run):
        """Of each line of metrics.jsonl, where its time went."""
        return [tuple(row[kind] for kind in KINDS) for row in self.metrics(run)]


class BesideTheRealOne(Twin):
    def setUp(self):
        super().setUp()
        saved = ("--set", "checkpoint.every=20")
        self.train("real", *SAMPLED, *saved)
        self.sim("sim", "--net", "1ms,10Mbit", *SAMPLED, *saved)

    def test_the_same_files(self):
        def files(run):
            """Processes have logs; here there are none."""
            return sorted(name for name in os.listdir(self.path(run))
                          if name in ("order.log", "trace.log") or not name.endswith(".log"))
        self.assertEqual(files("sim"), files("real"))

    def test_the_same_columns_of_metrics(self):
        rows = list(zip(self.metrics("real"), self.metrics("sim"), strict=True))
        self.assertEqual(len(rows), 3)
        for real, sim in rows:
            self.assertEqual(list(sim), list(real))
            for key, value in real.items():
                if key not in TIMES:
                    self.assertEqual(sim[key], value, key)
            self.assertIs(type(sim["waited_for"]), int)  # a real one may have waited for nobody
            for key in ("seconds", "samples_per_second", "waited_for_seconds", "computing",
                        "waiting", "network"):
                self.assertGreater(sim[key], 0, key)
            self.assertEqual(set(sim["update_ratio"]), set(real["update_ratio"]))
            self.assertTrue(all(value > 0 for value in sim["update_ratio"].values()))

    def test_the_same_order(self):
        def commits(run):
            """Not where they stand in the log, nor where what they are made of was read."""
            return [{key: [{k: v for k, v in one.items() if k != "read"} for one in value]
                     if key == "contributions" else value
                     for key, value in record.items() if key != "position"}
                    for record in self.records(run, "COMMIT")]
        self.assertEqual(commits("sim"), commits("real"))

    def test_the_same_trace(self):
        def count(run, *kinds):
            return collections.Counter((e["entry"], e.get("slot"))
                                       for e in self.entries(run, *kinds))
        kinds = ("HEADER", "SLOT", "UPDATE", "SUMS", "HASH")
        self.assertEqual(count("sim", *kinds), count("real", *kinds))
        for kind in "SUMS", "HASH":
            self.assertEqual(self.entries("sim", kind), self.entries("real", kind))
            self.assertGreater(len(self.entries("sim", kind)), 3)

        def heard(run):
            """What the order follows from: joins, votes, sums, evaluations."""
            return collections.Counter((e["kind"], e["rank"]) for e in self.entries(run, "INPUT")
                                       if e["kind"] in (1, 2, 4, 6, 10))
        self.assertEqual(heard("sim"), heard("real"))

        def measured(run):
            return {(e["slot"], e["step"]) for e in self.entries(run, "WORKER")}
        steps = {(e["slot"], e["step"]) for e in self.entries("sim", "SLOT")}
        self.assertEqual(measured("sim"), steps)
        self.assertLessEqual(measured("real"), steps)

    def test_whoever_reads_the_one_reads_the_other(self):
        for command in (("timeline", "sim"), ("curves", "sim", "real"), ("replay", "sim"),
                        ("log", "sim"), ("log", "sim", "--trace", "--csv"),
                        ("sim", "--from", "sim")):
            code, _, err = self.talweg(*command)
            self.assertEqual(code, 0, (command, err))
        for run in "real", "sim":
            code, _, err = self.talweg("status", run)
            self.assertEqual(code, 1)
            self.assertIn(f"the run in {run} is over; its model is saved", err)


class WhereItsTimeWent(Twin):
    def test_whoever_is_fast_waits_exactly(self):
        """15 updates an epoch. The wait that an epoch's last update ends is blamed on somebody when
        it is over, which is in the next."""
        simulated = self.sim("run", *TWO_SPEEDS, *SAMPLED)
        self.assertEqual(simulated["seconds"], 90)
        self.assertEqual(self.spent("run"), 3 * [(45, 15, 0, 0)])
        self.assertEqual([(row["waited_for"], row["waited_for_seconds"])
                          for row in self.metrics("run")], [(1, 14), (1, 15), (1, 15)])
        self.assertIn("worker 0: 50 % computing, 50 % waiting (50 % for worker 1), 0 % network\n"
                      "worker 1: 100 % computing, 0 % waiting, 0 % network\n", self.said)
        self.assertIn("a typical update moved ", self.said)
        self.assertEqual(len(self.entries("run", "WORKER")), 2 * 45)  # one begins at time 0

    def test_the_network_is_what_workers_did_not_compute(self):
        """Weights and gradients are a tenth of a second on their way. The measure of the
        last one of a line comes after it; till then the lead cannot know when weights arrived."""
        self.sim("run", *TWO_SPEEDS, "--net", "100ms")
        for found, expected in zip(self.spent("run"), ((45.2, 15, 5.8, 0), (45, 15, 6, 0),
                                                       (45, 15, 6, 0)), strict=True):
            for ours, theirs in zip(found, expected, strict=True):
                self.assertAlmostEqual(ours, theirs, places=9)
        self.sim("unmeasured", *TWO_SPEEDS, "--net", "100ms", "--set", "trace.on=false")
        for found in self.spent("unmeasured"):
            for ours, theirs in zip(found, (51, 15, 0, 0), strict=True):
                self.assertAlmostEqual(ours, theirs, places=9)

    def test_a_gradient_that_arrives_is_not_computed(self):
        """Not even where nobody measures: its only chunk takes a second, as its step does."""
        self.sim("run", "--delay", "constant", "--net", "0,8kbit", "--set", "trace.on=false",
                 "--workers", "1")
        for computing, waiting, network, _ in self.spent("run"):
            self.assertAlmostEqual(computing, 15, delta=.1)
            self.assertGreater(network, 30)
            self.assertLess(waiting, 1)

    def test_all_of_it_is_accounted_for(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                run = mode.replace(":", "-")
                self.sim(run, "--mode", mode, "--workers", "4", "--delay", "exponential",
                         "--net", "1ms,1Mbit", "--service", "constant:mean=.01", "--fail", "1@5+2",
                         "--pause", "0@10+3")
                rows = self.metrics(run)
                seconds = [0] + [row["seconds"] for row in rows]
                for row, start, end in zip(rows, seconds, seconds[1:]):
                    # The clock stands while the evaluator is waited for.
                    self.assertGreaterEqual(sum(row[kind] for kind in KINDS),
                                            4 * (end - start) - 1e-6)
                self.assertAlmostEqual(sum(row["away"] for row in rows), 2, delta=.5)

    def test_every_step_is_measured_in_every_mode(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                run = mode.replace(":", "-")
                self.sim(run, "--mode", mode, "--workers", "4", "--delay", "exponential:mean=.01",
                         "--net", "1ms,10Mbit")
                arrived = {(e["slot"], e["step"]) for e in self.entries(run, "SLOT")
                           if e["arrived"]}
                measured = {(e["slot"], e["step"]) for e in self.entries(run, "WORKER")
                            if e["computed"] and e["sent"]}
                self.assertLessEqual(arrived, measured)

    def test_of_many_the_one_that_costs_most_is_named(self):
        self.sim("run", "--workers", "10", "--delay", f"constant:speeds={[1] * 9 + [.5]}")
        self.assertIn("10 workers together: 55 % computing, 45 % waiting, 0 % network\n"
                      "most was waited for worker 9: 45 s by each of the others\n"
                      "worker 9: 100 % computing, 0 % waiting, 0 % network\n", self.said)

    def test_begun_again_all_of_it_is_counted(self):
        """Two workers compute from 15 s to 20.5 s, are away for 3 s, and make all 15 updates of the
        epoch behind the checkpoint again."""
        self.sim("run", "--delay", "constant", "--set", "checkpoint.every=15", "--fail-server",
                 "0@20.5+3")
        self.assertEqual([row["seconds"] for row in self.metrics("run")], [15, 38.5, 53.5])
        self.assertEqual(self.spent("run"), [(30, 0, 0, 0), (2 * 20.5, 0, 0, 2 * 3), (30, 0, 0, 0)])

    def test_the_clock_stands_while_the_last_weights_are_on_their_way_to_the_evaluator(self):
        simulated = self.sim("run", "--delay", "constant", "--net", "100ms")
        self.assertAlmostEqual(simulated["seconds"], 45 * 1.2, places=9)
        code, text, err = self.talweg("sim", "job.yaml", "--json", "--dry", "--delay", "constant",
                                      "--net", "100ms")
        self.assertEqual(code, 0, err)
        self.assertEqual(self.result(text)["seconds"], simulated["seconds"])


if __name__ == "__main__":
    unittest.main()
