#!/usr/bin/env python3
"""memory.inflight: with next to no memory for gradients a run gives what it gives with plenty."""
import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

from talweg_by_hand import wait_until  # noqa: E402
from talweg_e2e import MIB, WIDE, Case, most_memory  # noqa: E402

CHUNKS = WIDE + "chunk: 64KiB\n"
LEAST = ("--workers", "4", "--set", "memory.inflight=444KiB")


class Tight(Case):
    def setUp(self):
        super().setUp()
        self.write("job.yaml", CHUNKS)

    def test_sync_gives_the_same_model(self):
        plenty = self.train("plenty", "--workers", "4")
        for servers in ("1", "3"):
            few = self.train("few" + servers, *LEAST, "--servers", servers)
            self.assertEqual(few["model_sha256"], plenty["model_sha256"])
        self.assertNotIn("PERMIT", [r["record"] for r in self.records("few1")])

    def test_the_other_modes_get_permits_and_replay(self):
        for mode, gather in (("async", 1), ("ssp:1", 1), ("backup:1", 3), ("k-sync:3", 3),
                             ("k-async:2", 2)):
            with self.subTest(mode=mode):
                out = mode.replace(":", "-")
                ran = self.train(out, *LEAST, "--servers", "2", "--mode", mode)
                records = self.records(out)
                named = None
                for record in records:
                    if record["record"] == "PERMIT":
                        named = [(p["slot"], p["step"]) for p in record["pushes"]]
                        self.assertIn(len(named), (0, gather))
                    elif record["record"] == "COMMIT":
                        self.assertEqual([(c["slot"], c["step"]) for c in record["contributions"]],
                                         named)
                code, stdout, err = self.talweg("replay", out, "--json")
                self.assertEqual(code, 0, err)
                self.assertEqual(self.result(stdout)["model_sha256"], ran["model_sha256"])

    def test_where_there_is_plenty_nobody_needs_a_permit(self):
        self.train("plenty", "--workers", "4", "--mode", "async")
        self.assertNotIn("PERMIT", [r["record"] for r in self.records("plenty")])

    def test_too_little_is_refused_with_the_least_that_would_do(self):
        for bytes_, mode, least in (("443KiB", "sync", "444KiB"), ("1MiB", "softsync:2", "")):
            code, _, err = self.talweg("run", "job.yaml", "--out", "none", "--workers", "4",
                                       "--mode", mode, "--set", "memory.inflight=" + bytes_)
            self.assertEqual(code, 2, err)
            self.assertIn("memory.inflight", err)
            self.assertIn("it must be at least " + least, err)
        code, _, err = self.talweg("run", "job.yaml", "--out", "none", "--set",
                                   "memory.inflight=much")
        self.assertEqual(code, 2, err)
        self.assertIn("is not a size", err)

    def test_a_worker_that_stops_with_a_permit_keeps_nobody_waiting(self):
        """Two of three workers are stopped: the third goes on without them, whether one of them
        had the permit or not; and they come back."""
        self.write("job.yaml", CHUNKS.replace("epochs: 3", "updates: 100000"))
        run = self.start("run", "job.yaml", "--out", "run", "--workers", "3", "--mode", "async",
                         "--set", "memory.inflight=444KiB", "--json")
        run.wait_for("epoch")
        stopped = [run.child("worker", "--rank", rank) for rank in ("0", "1")]
        commits = lambda: sum(r["record"] == "COMMIT" for r in self.records("run"))
        for worker in stopped:
            os.kill(worker, signal.SIGSTOP)
        try:
            before = commits()
            wait_until(lambda: commits() > before + 100, "the third to go on")
        finally:
            for worker in stopped:
                os.kill(worker, signal.SIGCONT)
        os.kill(run.pid, signal.SIGINT)
        code, stdout, err = run.end()
        self.assertEqual(code, 130, err)


class Peak(Case):
    def test_it_stays_within_the_bound_whatever_workers_do(self):
        """Eight of them push 15 MiB each, some stop in the middle of it and go on later. Kept apart
        that would be 122 MiB."""
        self.write("job.yaml", WIDE.replace("dense: 4000", "dense: 200000")
                   .replace("batch: 20", "batch: 8").replace("epochs: 3", "updates: 1000000")
                   + "checkpoint: {seconds: 0}\n")
        weights = 4 * (16 * 200000 + 200000 + 3 * 200000 + 3)
        inflight = 18 * MIB
        bound = 3 * weights + inflight + 64 * MIB
        run = self.start("run", "job.yaml", "--out", "run", "--workers", "8", "--mode", "async",
                         "--set", f"memory.inflight={inflight}", "--set", "trace.on=false")
        wait_until(lambda: os.path.exists(self.path("run", "order.log")), "an order log")
        commits = lambda: sum(r["record"] == "COMMIT" for r in self.records("run"))
        wait_until(lambda: commits() >= 8, "the first updates")
        server = run.child("server")
        workers = [run.child("worker", "--rank", str(rank)) for rank in range(8)]
        for stopped in (workers[:4], workers[2:6], workers[4:]):
            for worker in stopped:
                os.kill(worker, signal.SIGSTOP)
            before = commits()
            wait_until(lambda: commits() >= before + 8, "the others to go on")
            for worker in stopped:
                os.kill(worker, signal.SIGCONT)
        with open(f"/proc/{server}/status") as file:
            peak = next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM:"))
        self.assertGreater(peak, 3 * weights + inflight)
        self.assertLessEqual(peak, most_memory(bound))
        os.kill(run.pid, signal.SIGINT)
        self.assertEqual(run.end()[0], 130)


if __name__ == "__main__":
    unittest.main()
