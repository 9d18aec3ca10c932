#!/usr/bin/python3
"""talweg status: what a run that goes on says of itself, who is named when somebody is
frozen, and what is said when there is nobody to ask."""
import json
import os
import shutil
import signal
import socket
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_by_hand import ENDLESS, ByHand, go_on, stop, wait_until  # noqa: E402

KINDS = ("computing", "waiting", "network", "away")


class Status(ByHand):
    def tearDown(self):
        for run in self.runs:
            if run.process.poll() is None:
                go_on(run)
        super().tearDown()

    def ask(self, *arguments, run="out"):
        code, out, err = self.talweg("status", run, "--json", *arguments)
        self.assertEqual(len(out.splitlines()), 1, err)
        return code, json.loads(out), err

    def told(self, *arguments):
        code, found, err = self.ask(*arguments)
        self.assertEqual(code, 0, err)
        return found

    def assert_refused(self, code, run, *words, status="failed", more=()):
        found, answer, err = self.ask(*more, run=run)
        self.assertEqual(found, code, err)
        self.assertEqual(answer["status"], status)
        for word in words:
            self.assertIn(word, err)
            self.assertIn(word, answer["error"])

    def endless(self, *arguments):
        """A server and two workers that train for ever."""
        server, port = self.serve(*ENDLESS, *arguments)
        workers = [self.work(port, *ENDLESS, "--rank", str(rank), *arguments)
                   for rank in range(2)]
        wait_until(lambda: self.told(*arguments)["updates"] > 20, "training")
        return server, workers

    def end(self, server):
        server.process.send_signal(signal.SIGTERM)
        code, _, err = server.end()
        self.assertEqual(code, 130, err)
        return err

    def assert_adds_up(self, found):
        elapsed = [sum(rank[kind] for kind in KINDS) for rank in found["ranks"]]
        self.assertGreater(min(elapsed), 0)
        self.assertAlmostEqual(min(elapsed), max(elapsed), delta=1e-9 * max(elapsed))

    def test_a_frozen_worker_is_named_and_let_off_again(self):
        server, workers = self.endless()
        found = self.told()
        self.assertEqual((found["status"], found["phase"], found["mode"]),
                         ("running", "training", "sync"))
        self.assertEqual([rank["rank"] for rank in found["ranks"]], [0, 1])
        self.assert_adds_up(found)
        stop(workers[1])

        def named():
            found = self.told()
            words = found["waiting"] or ""
            return "for rank 1, " in words and "nothing at all" in words and found

        found = wait_until(named, "named")
        waited = found["ranks"][0]["since"]
        self.assertEqual(found["ranks"][0]["state"], "waiting")
        self.assertNotEqual(found["ranks"][1]["state"], "waiting")
        self.assertGreater(found["ranks"][1]["silent"], 2)
        self.assert_adds_up(found)
        code, out, err = self.talweg("status", "out")
        self.assertEqual(code, 0, err)
        # It stands still wherever it was: computing, or in the middle of a push.
        self.assertRegex(out, "waiting for rank 1, (which has been|whose gradient of step) ")
        go_on(workers[1])
        updates = found["updates"]
        found = wait_until(lambda: (f := self.told())["updates"] > updates and f, "going on")
        wait_until(lambda: (f := self.told())["ranks"][0]["waited_for"] == 1 and f, "blamed")
        self.assertGreater(self.told()["ranks"][1]["others_waited"], waited)
        err = self.end(server)
        self.assertIn("waiting for rank 1, ", err)  # said by itself, too
        self.assertRegex(err, r"worker 0: \d+ % computing, \d+ % waiting")

    def test_the_times_of_an_epoch_add_up(self):
        server, port = self.serve("--set", "epochs=3")
        workers = [self.work(port, "--set", "epochs=3") for _ in range(2)]
        self.assert_ended_well(server, workers)
        rows = self.rows()
        seconds = 2 * rows[-1]["seconds"]
        spent = sum(row[kind] for row in rows for kind in KINDS)
        self.assertGreaterEqual(spent, seconds * (1 - 1e-9))  # the clock stands while evaluating

    def test_a_server_with_a_secret(self):
        for name in ("secret", "other"):
            with open(self.path(name), "w", opener=lambda path, flags: os.open(
                    path, flags, 0o600)) as file:
                file.write(f"a {name} that is long enough\n")
        server, _ = self.endless("--token-file", "secret")
        self.assert_refused(1, "out", "demands its secret", "--token-file")
        self.assert_refused(1, "out", "not that of the run's server",
                            more=("--token-file", "other"))
        self.assert_refused(2, "out", "missing", more=("--token-file", "missing"))
        self.assertEqual(self.told("--token-file", "secret")["status"], "running")
        self.end(server)

    def test_there_is_nobody_to_ask(self):
        self.assert_refused(2, "nowhere", "nowhere: No such file or directory")
        self.assert_refused(2, "job.yaml", "job.yaml: is no directory")
        os.mkdir(self.path("empty"))
        self.assert_refused(2, "empty", "is not the directory of a run: it has no job.yaml")
        code, _, err = self.talweg("run", "job.yaml", "--out", "done", "--set", "epochs=1")
        self.assertEqual(code, 0, err)
        self.assertFalse(os.path.exists(self.path("done", "server.json")))
        self.assert_refused(1, "done", "is over; its model is saved", status="over")
        os.remove(self.path("done", "model.safetensors"))
        self.assert_refused(1, "done", "is over; it left no model", status="over")
        self.write("done/server.json", "{}")
        self.assert_refused(2, "done", "does not say where the server is")

    def test_a_server_that_was_killed(self):
        server, workers = self.endless()
        server.process.kill()
        server.end()
        self.assert_refused(1, "out", f"process {server.pid} at 127.0.0.1:",
                            "is gone without having ended the run")
        for worker in workers:
            worker.process.kill()

    def test_a_run_that_ends_while_it_is_asked(self):
        code, _, err = self.talweg("run", "job.yaml", "--out", "done", "--set", "epochs=1")
        self.assertEqual(code, 0, err)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.write("done/server.json", json.dumps({
                "host": "127.0.0.1", "port": listener.getsockname()[1], "pid": 1,
                "job": 32 * "0"}))
            asking = self.start("status", "done", "--json")
            listener.settimeout(60)
            connection, _ = listener.accept()
            os.remove(self.path("done", "server.json"))
            connection.close()
            code, out, err = asking.end()
        self.assertEqual(code, 1, err)
        self.assertEqual(json.loads(out)["status"], "over")
        self.assertIn("is over; its model is saved", err)

    def test_another_run_at_the_same_address(self):
        server, _ = self.endless()
        shutil.copytree(self.path("out"), self.path("copy"))
        with open(self.path("copy", "server.json")) as file:
            where = json.load(file)
        where["job"] = where["job"][::-1]
        self.write("copy/server.json", json.dumps(where))
        self.assert_refused(1, "copy", "another run's server is at this address now")
        self.end(server)

    def test_a_run_that_waits_for_its_workers(self):
        server, port = self.serve()
        found = self.told()
        self.assertEqual((found["phase"], found["updates"]), ("gathering", 0))
        self.assertEqual([rank["state"] for rank in found["ranks"]], ["absent", "absent"])
        worker = self.work(port, "--rank", "1")
        found = wait_until(lambda: (f := self.told())["ranks"][1]["state"] == "waiting" and f,
                           "joined")
        self.assertLess(found["ranks"][1]["silent"], 60)  # since it joined, whenever it beats
        wait_until(lambda: "for rank 0, which has not joined" in (self.told()["waiting"] or ""),
                   "named")
        self.end(server)
        worker.end()


if __name__ == "__main__":
    unittest.main()
