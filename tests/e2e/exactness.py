#!/usr/bin/python3
"""`sync` gives the same bits whatever happens to its processes and however its bytes are
cut; `async` counts its staleness exactly."""
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_by_hand import ENDLESS, ByHand, go_on, hold_back, let_go, stop  # noqa: E402
from talweg_e2e import JOB, Case  # noqa: E402


# 64 KiB and more in one tensor, a few small ones.
WIDE_JOB = (JOB.replace("dense: 8", "dense: 256\n    - relu\n    - dense: 64")
            .replace("seed: 1", "seed: 1\nchunk: 64KiB"))


class ChunkSizes(Case):
    """A model of several tensors that every chunk size cuts otherwise: 131,072 and
    524,288 bytes, and a few small ones."""

    def train(self, out, *arguments):
        code, text, err = self.talweg("run", "job.yaml", "--json", "--out", out, *arguments)
        self.assertEqual(code, 0, err)
        return self.result(text)["model_sha256"]

    def test_same_bits_for_every_chunk_size(self):
        self.write("job.yaml", JOB.replace("dense: 8", "dense: 2048\n    - relu\n    - dense: 64")
                   .replace("epochs: 3", "updates: 12"))
        hashes = {self.train("first"), self.train("again")}
        for chunk in "64KiB", "192KiB", "1MiB", "4MiB":
            hashes.add(self.train(chunk, "--set", f"chunk={chunk}"))
        self.assertEqual(len(hashes), 1)

    def test_same_bits_for_every_optimizer_and_three_workers(self):
        for name in "sgd", "momentum", "nesterov", "adam":
            more = ["--set", f"optimizer={{name: {name}, lr: 0.01}}", "--workers", "3"]
            self.assertEqual(self.train(name, *more), self.train(name + "2", *more))


class TwentyRuns(Case):
    def test_have_one_result(self):
        """Four slots on 1, 2 and 4 workers, chunks of four sizes, with and without a straggler:
        everything arrives in another order each time."""
        self.write("job.yaml", WIDE_JOB.replace("epochs: 3", "updates: 8").replace("chunk: 64KiB", "")
                   + "slots: 4\n")
        results = set()
        for number in range(20):
            workers = (4, 2, 4, 1)[number % 4]
            more = ["--straggler", f"{number % workers}:4"] if number % 2 else []
            chunk = ("64KiB", "128KiB", "256KiB", "4MiB")[number // 4 % 4]
            code, text, err = self.talweg("run", "job.yaml", "--json", "--out", f"run{number}",
                                          "--workers", str(workers), "--set", f"chunk={chunk}", *more)
            self.assertEqual(code, 0, err)
            found = self.result(text)
            results.add((found["model_sha256"], found["train_loss"], found["test_loss"]))
        self.assertEqual(len(results), 1)


class Faults(ByHand):
    def begin(self, *arguments):
        """A server in training with two workers: (server, port, [worker of rank 0, of 1])."""
        server, port = self.serve(*arguments)
        hold_back(server)
        ranks = [1, 0] if self.random.random() < 0.5 else [0, 1]
        workers = {rank: self.work(port, "--rank", str(rank), *arguments) for rank in ranks}
        return server, port, [workers[0], workers[1]]

    def assert_same_bits(self, server, workers, *undisturbed):
        found = self.assert_ended_well(server, workers)
        expected = self.undisturbed(*undisturbed)
        self.assertEqual(found["updates"], expected["updates"])
        self.assertEqual(found["samples"], expected["samples"])
        self.assertEqual(found["model_sha256"], expected["model_sha256"], f"seed {self.seed}")
        self.assertEqual(found["train_loss"], expected["train_loss"])

    def replace(self, server, port, workers, rank, *arguments):
        """Kills that worker and starts another; waits until it has the rank."""
        workers[rank].process.kill()
        self.assertEqual(workers[rank].end()[0], -9)
        workers[rank] = self.work(port, *arguments)
        server.wait_for(f"worker {rank} joined")
        line = workers[rank].wait_for(" as rank ")
        self.assertIn(f"as rank {rank} of 2", line)
        self.assertNotIn("incarnation 1\n", line)

    def test_killed_workers(self):
        server, port, workers = self.begin()
        killed = 0
        for _ in self.blows(server, 5, 200):
            rank = self.random.randrange(2)
            # By its rank, or whichever is free: that is the same one.
            self.replace(server, port, workers, rank, *["--rank", str(rank)][:killed % 2 * 2])
            killed += 1
        self.assertGreater(killed, 2)
        self.assert_same_bits(server, workers)

    def test_workers_killed_in_the_middle_of_a_push(self):
        """A wider model, one update an epoch: most of the time a push is under way."""
        self.write("job.yaml", WIDE_JOB.replace("epochs: 3", "epochs: 450")
                   .replace("batch: 20", "batch: 300"))
        server, port, workers = self.begin()
        killed = 0
        for _ in self.blows(server, 1, 4, last=220, later=0.01):
            self.replace(server, port, workers, self.random.randrange(2))
            killed += 1
            if killed == 15:
                break
        self.assertGreater(killed, 1)
        let_go(server)
        self.assert_same_bits(server, workers)

    def test_workers_of_two_servers_killed(self):
        """Half of a push may be on one server and nothing on the other."""
        self.write("job.yaml", WIDE_JOB.replace("epochs: 3", "epochs: 450")
                   .replace("batch: 20", "batch: 300").replace("servers: 1", "servers: 2"))
        server, port, workers = self.begin()
        other = self.start("server", "job.yaml", "--index", "1", "--lead", f"127.0.0.1:{port}",
                           "--listen", "127.0.0.1:0")
        killed = 0
        for _ in self.blows(server, 1, 4, last=300, later=0.01):
            self.replace(server, port, workers, self.random.randrange(2))
            killed += 1
            if killed == 8:
                break
        self.assertGreater(killed, 1)
        let_go(server)
        self.assert_same_bits(server, [*workers, other], "--servers", "1")

    def test_killed_evaluators(self):
        server, port, workers = self.begin()
        killed = 0
        for _ in self.blows(server, 5, 200):
            stop(workers[0])  # no updates, until the evaluator is there
            evaluator = self.work(port, "--evaluate")
            server.wait_for("the evaluator has joined")
            go_on(workers[0])
            time.sleep(self.random.uniform(0, 0.02))
            evaluator.process.kill()
            self.assertEqual(evaluator.end()[0], -9)
            killed += 1
        self.assertGreater(killed, 2)
        self.assert_same_bits(server, workers)

    def stop_sometimes(self, server, victims):
        stopped = 0
        for _ in self.blows(server, 5, 60):
            victim = self.random.choice(victims)
            stop(victim)
            go_on(victim)
            stopped += 1
        self.assertGreater(stopped, 5)

    def test_stopped_workers(self):
        server, _, workers = self.begin()
        self.stop_sometimes(server, workers)
        self.assert_same_bits(server, workers)

    def test_stopped_server(self):
        server, _, workers = self.begin()
        self.stop_sometimes(server, [server])
        self.assert_same_bits(server, workers)

    def test_async_counts_what_was_cancelled(self):
        """Reads of the dead are cancelled; the server checks its identity at the end."""
        arguments = ["--set", "consistency.mode=async", *ENDLESS]
        server, port, workers = self.begin(*arguments)
        for rank in 0, 1, 1, 0:
            next(self.epochs(server))
            self.replace(server, port, workers, rank, *arguments)
        next(self.epochs(server))
        server.process.terminate()
        code, out, err = server.end()
        self.assertEqual(code, 130, err)
        self.assertIn("stopped by SIGTERM", self.result(out)["error"])
        self.assertNotIn("identity", err)
        self.assertEqual([worker.end()[0] for worker in workers], [0, 0])


class Staleness(ByHand):
    """The identity: (N - 1) T is what was applied, and what is in flight at the end."""

    def assert_whole(self, number):
        self.assertLess(abs(number - round(number)), 1e-6 * max(1, number))
        return round(number)

    def assert_identity(self, found, rows, workers):
        """Of a run in which nothing was cancelled."""
        updates = found["updates"]
        applied = self.assert_whole(found["staleness_mean"] * updates)
        self.assertGreaterEqual((workers - 1) * updates, applied)
        # Whoever pushed last had read just after an update of its own.
        self.assertLess(found["staleness_max"], updates)
        # The rows of the epochs add up to the same.
        at = total = 0
        for row in rows:
            in_row = self.assert_whole(row["staleness_mean"] * (row["updates"] - at))
            self.assertLessEqual(in_row, row["staleness_max"] * (row["updates"] - at))
            at, total = row["updates"], total + in_row
        self.assertEqual((at, total), (updates, applied))
        self.assertEqual(max(row["staleness_max"] for row in rows), found["staleness_max"])

    def test_by_number_of_workers(self):
        for workers in 1, 2, 5:
            with self.subTest(workers=workers):
                out = f"async{workers}"
                code, text, err = self.talweg("run", "job.yaml", "--json", "--mode", "async",
                                              "--workers", str(workers), "--out", out,
                                              "--set", "epochs=200")
                self.assertEqual(code, 0, err)
                found = self.result(text)
                self.assert_identity(found, self.rows(out), workers)
                if workers == 1:
                    self.assertEqual((found["staleness_mean"], found["staleness_max"]), (0, 0))

    def test_a_stopped_worker_comes_back_with_all_updates_that_it_missed(self):
        """While one of two is stopped, the other's pushes are fresh. What it missed is the
        staleness of its next push, and in flight until then."""
        self.write("job.yaml", self.job_of_endless_async())
        server, port = self.serve()
        workers = [self.work(port) for _ in range(2)]
        epochs = self.epochs(server)
        while next(epochs) < 5:
            pass
        stop(workers[1])
        stopped_at = next(epochs)
        while self.fresh_rows(self.rows()) < 20:
            next(epochs)
        go_on(workers[1])
        until = next(epochs)
        while not any(row["staleness_max"] > 0 for row in self.rows() if row["epoch"] > until):
            next(epochs)
        server.process.terminate()
        code, text, err = server.end()
        self.assertEqual(code, 130, err)
        found, rows = self.result(text), self.rows()
        longest, missed = self.longest_fresh(rows)
        self.assertGreater(longest, 19, f"stopped at {stopped_at}")
        self.assertGreaterEqual(found["staleness_max"], missed)
        self.assertGreaterEqual(found["staleness_mean"] * found["updates"], missed)

    @staticmethod
    def job_of_endless_async():
        return JOB.replace("epochs: 3", "epochs: 1000000").replace("mode: sync", "mode: async")

    @staticmethod
    def fresh_rows(rows):
        """How many rows without any staleness stand at the end."""
        count = 0
        for row in reversed(rows):
            if row["staleness_max"]:
                break
            count += 1
        return count

    @staticmethod
    def longest_fresh(rows):
        """(rows, updates) of the longest stretch without any staleness."""
        best = (0, 0)
        count = updates = at = 0
        for row in rows:
            fresh = row["staleness_max"] == 0
            count = count + 1 if fresh else 0
            updates = updates + row["updates"] - at if fresh else 0
            at = row["updates"]
            best = max(best, (count, updates))
        return best


if __name__ == "__main__":
    unittest.main()
