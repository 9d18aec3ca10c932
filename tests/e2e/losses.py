#!/usr/bin/python3
"""Workers of real runs are killed for good, or hang: on_worker_loss."""
import json
import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_by_hand import ENDLESS, ByHand, hold_back, let_go  # noqa: E402


def loses(action, after):
    return ["--set", f"on_worker_loss={{action: {action}, after: {after}}}"]


class Losses(ByHand):
    def assert_replays(self, run, found):
        code, text, err = self.talweg("replay", run, "--json")
        self.assertEqual(code, 0, err)
        replayed = self.result(text)
        for key in "updates", "samples", "train_loss", "staleness_mean", "model_sha256":
            self.assertEqual(replayed[key], found[key], key)

    def run_and_kill(self, *arguments):
        """`talweg run` with three workers, of which rank 1 is killed while it trains."""
        run = self.start("run", "job.yaml", "--json", "--workers", "3", "--out", "out", *arguments)
        hold_back(run)
        run.wait_for("epoch ")
        os.kill(run.child("worker", "--rank", "1"), 9)
        return run

    def evict_one(self, *arguments):
        run = self.run_and_kill(*arguments, *loses("evict", 0))
        run.wait_for("worker 1 was evicted after update ")
        killed = "worker 1 was killed by SIGKILL; the run goes on without it"
        if killed not in run.seen:  # server and launcher see it in either order
            run.wait_for(killed)
        let_go(run)
        code, text, err = run.end()
        self.assertEqual(code, 0, err)
        self.assertIn("; 2 of 3 workers go on", err)
        self.assertIn("1 eviction: ", err)
        found = self.result(text)
        self.assertEqual((found["status"], found["error"]), ("done", None))
        return found, self.records("out", "EVICT")

    def test_async_goes_on(self):
        found, evicts = self.evict_one("--mode", "async")
        self.assertEqual([record["rank"] for record in evicts], [1])
        self.assert_replays("out", found)

    def test_sync_goes_on(self):
        found, evicts = self.evict_one("--mode", "sync")
        self.assertEqual([record["rank"] for record in evicts], [1])
        version = evicts[0]["version"]
        for record in self.records("out", "COMMIT"):
            slots = [push["slot"] for push in record["contributions"]]
            self.assertEqual(slots, [0, 2] if record["version"] > version else [0, 1, 2])
        self.assert_replays("out", found)

    def test_who_takes_the_place_takes_part(self):
        run = self.run_and_kill("--mode", "sync", *ENDLESS, *loses("evict", 0))
        run.wait_for("worker 1 was evicted after update ")
        with open(self.path("out", "server.json")) as file:
            port = json.load(file)["port"]
        again = self.start("worker", "out/job.yaml", "--server", f"127.0.0.1:{port}", "--rank", "1")
        run.wait_for("worker 1 joined from ")
        for _ in range(5):  # up to four may be of the time without it
            run.wait_for("epoch ")
        run.process.terminate()
        let_go(run)
        code, text, err = run.end()
        found = self.result(text)
        self.assertEqual((code, found["status"]), (130, "interrupted"), err)
        again.end()
        evict = self.records("out", "EVICT")[0]
        join = self.records("out", "JOIN")[-1]
        self.assertEqual((join["rank"], join["incarnation"]), (1, 2))
        self.assertGreater(join["position"], evict["position"])
        last = self.records("out", "COMMIT")[-1]
        self.assertEqual([push["slot"] for push in last["contributions"]], [0, 1, 2])
        self.assert_replays("out", found)

    def stop_and_evict(self, mode):
        """`talweg run` of which rank 1 is stopped, its connections open, until it is evicted."""
        run = self.start("run", "job.yaml", "--json", "--workers", "3", "--out", "out", *ENDLESS,
                         "--mode", mode, "--set",
                         "on_worker_loss={action: evict, after: 0.5, silent: 3}")
        run.wait_for("epoch ")
        stopped = run.child("worker", "--rank", "1")
        os.kill(stopped, signal.SIGSTOP)
        run.wait_for("worker 1 was evicted after update ")
        for _ in range(3):
            run.wait_for("epoch ")
        return run, stopped

    def end_it(self, run):
        run.process.terminate()
        code, text, err = run.end()
        found = self.result(text)
        self.assertEqual((code, found["status"]), (130, "interrupted"), err)
        self.assertIn(1, [record["rank"] for record in self.records("out", "EVICT")])
        self.assert_replays("out", found)

    def test_who_hangs_is_evicted_like_who_is_gone(self):
        run, stopped = self.stop_and_evict("sync")
        self.end_it(run)
        with self.assertRaises(ProcessLookupError):
            os.kill(stopped, 0)

    def test_who_hung_takes_part_again(self):
        run, stopped = self.stop_and_evict("async")
        os.kill(stopped, signal.SIGCONT)
        run.wait_for("worker 1 joined from ")
        run.wait_for("epoch ")
        self.end_it(run)

    def test_who_does_not_evict_fails(self):
        for action in "wait", "fail":
            run = self.start("run", "job.yaml", "--json", "--out", action, *ENDLESS,
                             *loses(action, 0.1))
            run.wait_for("epoch ")
            os.kill(run.child("worker", "--rank", "1"), 9)
            code, text, err = run.end()
            self.assertEqual(code, 1, err)
            self.assertIn("worker 1 was killed by SIGKILL before the run was done",
                          self.result(text)["error"])

    def test_a_server_by_hand_fails(self):
        server, port = self.serve(*ENDLESS, *loses("fail", 0.2))
        workers = [self.work(port, *ENDLESS, "--rank", str(rank)) for rank in (0, 1)]
        evaluator = self.work(port, *ENDLESS, "--evaluate")
        server.wait_for("epoch ")
        workers[1].process.kill()
        code, text, err = server.end()
        self.assertEqual(code, 1, err)
        found = self.result(text)
        self.assertEqual(found["status"], "failed")
        self.assertRegex(found["error"], r"worker 1 has been gone for [\d.]+ s, since before "
                                         r"update \d+, and on_worker_loss is fail")
        self.assertTrue(os.path.exists(self.path(found["model"])))
        for other in workers[0], evaluator:
            code, _, err = other.end()
            self.assertEqual(code, 1, err)
            self.assertIn("worker 1 has been gone", err)


if __name__ == "__main__":
    unittest.main()
