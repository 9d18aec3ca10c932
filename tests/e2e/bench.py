#!/usr/bin/python3
"""talweg bench: it measures with real processes, and leaves none behind. How fast they are
is nothing that a test could judge."""
import json
import math
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import MIB, PATIENCE, Case, children_of, most_memory  # noqa: E402


class Bench(Case):
    def setUp(self):
        super().setUp()
        self.temporary = self.path("temporary")
        os.mkdir(self.temporary)
        os.environ["TMPDIR"] = self.temporary
        self.addCleanup(os.environ.pop, "TMPDIR")

    def bench(self, *arguments):
        return self.start("bench", *arguments).end(3 * PATIENCE)

    def object_of(self, *arguments):
        code, out, err = self.bench(*arguments, "--json")
        self.assertEqual(code, 0, err)
        return json.loads(out.splitlines()[-1])

    def test_wire(self):
        found = self.object_of("wire", "--bytes", "4096")
        self.assertEqual([(row["workers"], row["optimizer"], row["op"]) for row in found["rows"]],
                         [(workers, optimizer, op) for workers in (1, 2)
                          for optimizer in ("none", "adam")
                          for op in ("push", "pull", "pushpull")])
        for row in found["rows"]:
            self.assertEqual(row["bytes"], 4096)
            for name in ("gb_per_s", "raw_gb_per_s", "ratio", "server_cpu_s_per_gb"):
                self.assertGreater(row[name], 0)
                self.assertTrue(math.isfinite(row[name]))
        trip = found["round_trip"]
        self.assertLessEqual(trip["median_us"], trip["p99_us"])
        self.assertLessEqual(trip["raw_median_us"], trip["raw_p99_us"])
        self.assertEqual([row["outstanding"] for row in found["tiny_pushes"]], [1, 8, 64, 64])
        for row in found["tiny_pushes"]:
            self.assertGreater(row["pushes_per_s"], 0)
            self.assertGreater(row["raw_round_trips_per_s"], 0)
        self.assertEqual(os.listdir(self.temporary), [])

    def test_an_encoding(self):
        found = self.object_of("wire", "--bytes", "4096", "--encoding", "bf16")
        self.assertEqual(found["encoding"], "bf16")
        self.assertGreater(found["rows"][0]["gb_per_s"], 0)
        code, _, err = self.bench("wire", "--encoding", "f8")
        self.assertEqual(code, 2)
        self.assertIn("--encoding f8: it must be one of f32, bf16, f16", err)

    def test_several_chunks(self):
        rows = self.object_of("wire", "--bytes", "1048576", "--workers", "1")["rows"]
        self.assertEqual([(row["workers"], row["optimizer"], row["op"]) for row in rows],
                         [(1, optimizer, op) for optimizer in ("none", "adam")
                          for op in ("push", "pull", "pushpull")])

    def test_cluster(self):
        """Up to a thousand workers, all of whom join; each has its pushes applied, and the server
        keeps to its memory."""
        found = self.object_of("cluster")
        rows = found["rows"]
        self.assertEqual([(row["mode"], row["workers"]) for row in rows],
                         [(mode, workers) for mode in ("sync", "async")
                          for workers in (1, 10, 100, 1000)])
        for row in rows:
            self.assertGreaterEqual(row["pushes_of_one_at_least"], 3)
            self.assertEqual(row["server_bound_bytes"], 64 * MIB + 3 * row["bytes"])
            self.assertLessEqual(row["server_peak_bytes"], most_memory(row["server_bound_bytes"]))
            for name in ("join_seconds", "pushes_per_s", "server_cpu_us_per_push",
                         "raw_messages_per_s", "raw_cpu_us_per_message",
                         "server_peak_bytes", "wait_mean_us"):
                self.assertGreater(row[name], 0)
                self.assertTrue(math.isfinite(row[name]))
            self.assertAlmostEqual(
                row["cpu_ratio"] * row["raw_cpu_us_per_message"] / row["server_cpu_us_per_push"],
                1, delta=1e-6)
            self.assertLessEqual(row["wait_mean_us"], row["wait_worst_worker_us"])
            self.assertLessEqual(row["wait_worst_worker_us"], row["wait_longest_us"])
        self.check_growth(found)
        self.assertEqual(os.listdir(self.temporary), [])

    def check_growth(self, found):
        rows = {row["workers"]: row for row in found["rows"] if row["mode"] == "sync"}
        line = found["sync_update"]
        steps = line["between"]
        self.assertEqual([(step["from_workers"], step["to_workers"]) for step in steps],
                         [(1, 10), (10, 100), (100, 1000)])
        for slope, of_row in [("cpu_us_per_worker", "server_cpu_us_per_push"),
                              ("raw_cpu_us_per_worker", "raw_cpu_us_per_message")]:
            update_us = {workers: workers * row[of_row] for workers, row in rows.items()}
            slopes = [(update_us[step["to_workers"]] - update_us[step["from_workers"]])
                      / (step["to_workers"] - step["from_workers"]) for step in steps]
            for step, expected in zip(steps, slopes):
                self.assertAlmostEqual(step[slope], expected, delta=1e-6 * abs(expected))
            self.assertGreaterEqual(line[slope], min(slopes))
            self.assertLessEqual(line[slope], max(slopes))
        for step in [line] + steps:
            self.assertAlmostEqual(step["ratio"] * step["raw_cpu_us_per_worker"],
                                   step["cpu_us_per_worker"],
                                   delta=1e-6 * abs(step["cpu_us_per_worker"]))

    def test_a_line_needs_two_points(self):
        found = self.object_of("cluster", "--workers", "10")
        self.assertEqual([row["workers"] for row in found["rows"]], [10, 10])
        self.assertNotIn("sync_update", found)

    def test_optimizer(self):
        rows = self.object_of("optimizer", "--bytes", "16384")["rows"]
        listed = json.loads(self.talweg("optimizer", "--json")[1])["optimizers"]
        rules = [rule["name"] for rule in listed if rule["name"] != "none"]
        self.assertEqual([(row["optimizer"], row["from"]) for row in rows],
                         [(rule, "cache") for rule in rules])
        for row in rows:
            self.assertAlmostEqual(row["mparam_per_s"] * row["ns_per_weight"], 1e3, delta=1e-3)
            for name in ("ns_per_weight", "gb_per_s", "raw_gb_per_s", "ratio"):
                self.assertGreater(row[name], 0)
                self.assertTrue(math.isfinite(row[name]))

    def test_wrong(self):
        for arguments, words in [
                ([], ["no subject"]),
                (["wier"], ['unknown subject "wier"', 'did you mean "wire"',
                            "known: wire, cluster, optimizer"]),
                (["wire", "--bytes", "5"], ["no row has this size", "4096"]),
                (["cluster", "--workers", "7"], ["no row has so many", "1000"]),
                (["cluster", "--workers", "some"], ["--workers some", "from 1 to 4096"]),
                (["cluster", "--workers", "0"], ["--workers 0", "from 1 to 4096"]),
                (["cluster", "--workers", "4294967297"], ["from 1 to 4096"]),
                (["wire", "--workers", "7"], ["no row has so many", "1 and 2"]),
                (["optimizer", "--workers", "2"], ["--workers is for wire and cluster"]),
                (["cluster", "--encoding", "bf16"], ["--encoding is for wire"]),
                (["wire", "--bytes", "many"], ["--bytes many", "a whole number above 0"]),
                (["optimizer", "--bytes", "5"], ["no row has this size", "16384"]),
                (["wire", "--cores", "0,99999"], ["--cores 0,99999"])]:
            code, _, err = self.bench(*arguments)
            self.assertEqual(code, 2, err)
            for word in words:
                self.assertIn(word, err)
        code, out, err = self.bench("wier", "--json")
        self.assertEqual((code, list(json.loads(out))), (2, ["status", "error"]))
        self.assertIn(json.loads(out)["error"], err)

    def test_killed_it_leaves_no_process(self):
        bench = self.start("bench", "wire", "--bytes", "1048576")
        bench.wait_for("workers")  # the head of the table: it has begun
        children = children_of(bench.pid)
        while len(children) < 2:
            children = children_of(bench.pid)
        bench.process.kill()
        bench.process.wait()
        self.assert_gone(children)


if __name__ == "__main__":
    unittest.main()
