#!/usr/bin/python3
"""A server on one machine, workers on others: secrets, cables that are pulled, and a
worker that comes back when another has its rank. The machines are network namespaces."""
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from talweg_by_hand import (LONG_JOB, ByHand, go_on, hold_back, let_go, stop,  # noqa: E402
                            wait_until)
from talweg_e2e import JOB  # noqa: E402
from talweg_namespaces import Machine, enter  # noqa: E402

OUTAGE_SECONDS = 3
PATIENT = ["--patience", "300"]


class Machines(ByHand):
    """`server` has a cable to `left` (10.77.1.2) and one to `right` (10.77.2.2)."""

    def setUp(self):
        super().setUp()
        self.write("job.yaml", JOB)
        self.server, self.left, self.right = [Machine(n) for n in ("server", "left", "right")]
        for machine in self.server, self.left, self.right:
            self.addCleanup(machine.remove)
        self.server.cable_to(self.left, "10.77.1")
        self.server.cable_to(self.right, "10.77.2")
        self.secret("secret", "known to all machines\n")

    def secret(self, name, text):
        self.write(name, text)
        os.chmod(self.path(name), 0o600)

    def listen(self, *arguments, **more):
        return self.serve(*arguments, listen="0.0.0.0:0", before=self.server.before, **more)

    def work_on(self, machine, port, *arguments):
        host = "10.77.1.1" if machine is self.left else "10.77.2.1"
        return self.work(port, *arguments, host=host, before=machine.before)

    def assert_refused(self, run, code, *words):
        found, _, err = run.end()
        self.assertEqual(found, code, err)
        for word in words:
            self.assertIn(word, err)


class Secrets(Machines):
    def test_two_workers_and_an_evaluator_who_know_it(self):
        token = ["--token-file", "secret"]
        server, port = self.listen(*token)
        evaluator = self.work_on(self.right, port, "--evaluate", *token)
        server.wait_for("the evaluator has joined")
        workers = [self.work_on(machine, port, *token) for machine in (self.right, self.left)]
        found = self.assert_ended_well(server, [*workers, evaluator])
        for address in "10.77.1.2", "10.77.2.2":
            self.assertIn(f"joined from {address}:", server.seen)
        expected = self.undisturbed()
        for key in "model_sha256", "test_accuracy", "test_loss", "train_loss":
            self.assertEqual(found[key], expected[key])

    def test_each_side_names_a_wrong_one(self):
        self.secret("other", "not known to anybody else\n")
        server, port = self.listen("--token-file", "secret")
        for wrong, word in (["--token-file", "other"], "its token is not ours"), \
                           ([], "it wants a token; give --token-file"):
            self.assert_refused(self.work_on(self.left, port, *wrong), 1, word)
            self.assertIn("10.77.1.2:", server.wait_for("token"))
        self.end_at_once(server)

    def test_a_worker_with_a_secret_trusts_no_open_server(self):
        server, port = self.listen("--insecure")
        self.assert_refused(self.work_on(self.left, port, "--token-file", "secret"), 1,
                            "it has no token")
        self.end_at_once(server)

    def end_at_once(self, server):
        server.process.terminate()
        self.assertEqual(server.end()[0], 130)

    def test_nothing_but_loopback_without_a_word(self):
        for address in "0.0.0.0:0", "10.77.1.1:0", "[::]:0":
            run = self.start("server", "job.yaml", "--listen", address, "--out", "out",
                             before=self.server.before)
            self.assert_refused(run, 2, address, "--token-file", "--insecure")
        self.assertFalse(os.path.exists(self.path("out")))

    def test_insecure_trains(self):
        server, port = self.listen("--insecure")
        workers = [self.work_on(machine, port) for machine in (self.left, self.right)]
        found = self.assert_ended_well(server, workers)
        self.assertEqual(found["model_sha256"], self.undisturbed()["model_sha256"])


class Cables(Machines):
    def setUp(self):
        super().setUp()
        self.write("job.yaml", LONG_JOB)

    def begin(self):
        """Two workers in the middle of training, the right one stopped: until it goes on,
        there are no updates, so that cables can be pulled in peace."""
        server, port = self.listen("--token-file", "secret")
        hold_back(server)
        token = ["--token-file", "secret", *PATIENT]
        workers = [self.work_on(self.left, port, "--rank", "0", *token),
                   self.work_on(self.right, port, "--rank", "1", *token)]
        next(self.epochs(server))
        stop(workers[1])
        let_go(server)
        return server, port, workers

    def assert_undisturbed(self, server, workers):
        found = self.assert_ended_well(server, workers)
        self.assertEqual(found["model_sha256"], self.undisturbed()["model_sha256"])

    def assert_nothing_moves(self, workers):
        """Without a cable there are no updates, though both workers go on."""
        go_on(workers[1])
        wait_until(lambda: self.quiet_for(0.5), "waiting for the worker without a cable")

    def quiet_for(self, seconds):
        before = os.path.getsize(self.path("out", "metrics.jsonl"))
        time.sleep(seconds)
        return os.path.getsize(self.path("out", "metrics.jsonl")) == before

    def test_outage(self):
        server, _, workers = self.begin()
        self.server.pull(self.left)
        self.assert_nothing_moves(workers)
        time.sleep(OUTAGE_SECONDS)  # how long it lasts; nothing is awaited
        self.server.plug(self.left)
        self.assert_undisturbed(server, workers)

    def test_both_cables_at_their_other_ends(self):
        server, _, workers = self.begin()
        for machine in self.left, self.right:
            machine.pull(self.server)
        self.assert_nothing_moves(workers)
        time.sleep(OUTAGE_SECONDS)
        for machine in self.right, self.left:
            machine.plug(self.server)
        self.assert_undisturbed(server, workers)

    def test_a_rank_is_taken_over_and_its_old_holder_fenced(self):
        """The holder's machine falls silent: nobody says that it is gone, so its rank is
        free only when it was silent for too long (TW_DEAD_PEER_MS)."""
        server, port, workers = self.begin()
        self.server.pull(self.left)
        self.assert_nothing_moves(workers)
        rank = ["--rank", "0", "--token-file", "secret"]
        self.assert_refused(self.work_on(self.right, port, *rank), 1, "rank-taken")
        server.wait_for("worker 0 left")
        successor = self.work_on(self.right, port, *rank)
        successor.wait_for("as rank 0 of 2, incarnation 2")
        self.server.plug(self.left)
        self.assert_refused(workers[0], 1, "fenced")
        self.assert_undisturbed(server, [successor, workers[1]])


if __name__ == "__main__":
    enter()
    unittest.main()
