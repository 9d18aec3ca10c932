#!/usr/bin/python3
"""`talweg run`, and server and workers by hand: runs that end well."""
import hashlib
import json
import os
import re
import stat
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import Case  # noqa: E402


class Training(Case):
    def train(self, *arguments):
        code, out, err = self.talweg("run", "job.yaml", "--json", *arguments)
        self.assertEqual(code, 0, err)
        return self.result(out)

    def test_a_run_leaves_what_it_promises(self):
        code, out, err = self.talweg("run", "job.yaml", "--out", "first", "--json")
        self.assertEqual(code, 0, err)
        found = self.result(out)
        self.assertEqual(found["status"], "done")
        self.assertIsNone(found["error"])
        self.assertEqual((found["mode"], found["servers"], found["workers"]), ("sync", 1, 2))
        self.assertEqual((found["updates"], found["samples"]), (45, 900))
        self.assertGreater(found["samples_per_second"], 0)
        self.assertEqual((found["staleness_mean"], found["staleness_max"]), (0, 0))
        self.assertEqual((found["run"], found["model"]), ("first", "first/model.safetensors"))
        with open(self.path(found["model"]), "rb") as file:
            self.assertEqual(hashlib.sha256(file.read()).hexdigest(), found["model_sha256"])
        self.assertGreater(found["test_accuracy"], 0.9)
        self.assertLess(found["test_loss"], 1)
        self.assertLess(found["train_loss"], 1)
        names = set(os.listdir(self.path("first")))
        self.assertLessEqual({"job.yaml", "metrics.jsonl", "server0.log", "worker0.log",
                              "worker1.log", "evaluator.log"}, names)
        self.assert_no_temporary_files()
        epochs = re.findall(r"^epoch (\d)/3  train loss .* test loss .* test accuracy ", err, re.M)
        self.assertEqual(epochs, ["1", "2", "3"])
        self.assertNotIn("\x1b", err)  # stderr is no terminal
        self.assertIn("the model lies in first/model.safetensors", err)

    def test_stdout_belongs_to_json(self):
        code, out, _ = self.talweg("run", "job.yaml", "--set", "epochs=1")
        self.assertEqual((code, out), (0, ""))

    def test_metrics_are_json_lines(self):
        self.train("--out", "first")
        with open(self.path("first", "metrics.jsonl")) as file:
            rows = [json.loads(line) for line in file]
        self.assertGreaterEqual(len(rows), 3)

    def test_sync_gives_the_same_bits(self):
        hashes = {self.train("--out", name)["model_sha256"] for name in ("a", "b")}
        hashes.add(self.train("--out", "c", "--set", "chunk=64KiB")["model_sha256"])
        self.assertEqual(len(hashes), 1)
        self.assertNotIn(self.train("--set", "seed=2")["model_sha256"], hashes)

    def test_resolved_job_trains_the_same_model(self):
        first = self.train("--out", "first", "--set", "epochs=1", "--workers", "3")
        code, out, err = self.talweg("run", "first/job.yaml", "--json", "--out", "again")
        self.assertEqual(code, 0, err)
        self.assertEqual(self.result(out)["model_sha256"], first["model_sha256"])
        with open(self.path("first", "job.yaml")) as file:
            notes = [line for line in file if line.startswith("#")]
        self.assertTrue(any("talweg" in line for line in notes))
        self.assertTrue(any("BLAS core" in line for line in notes))
        self.assertTrue(any("CPU" in line for line in notes))

    def test_async_reports_staleness(self):
        found = self.train("--mode", "async", "--workers", "3", "--out", "async")
        self.assertEqual(found["mode"], "async")
        self.assertIn(found["samples"], range(900, 907))  # each push has 7, 7 or 6
        code, text, err = self.talweg("log", "async", "--json")
        self.assertEqual(code, 0, err)
        records = map(json.loads, text.splitlines())
        applied = [push for record in records if record["record"] == "COMMIT"
                   for push in record["contributions"]]
        stale = [push["staleness"] for push in applied]
        # All begin with the same weights: whoever is second is late.
        self.assertEqual(max(stale) > 0, len({push["slot"] for push in applied}) > 1)
        self.assertEqual(found["staleness_max"], max(stale))
        self.assertAlmostEqual(found["staleness_mean"], sum(stale) / len(stale))

    def test_without_test_data_there_is_no_evaluator(self):
        with open(self.path("job.yaml")) as file:
            lines = [line for line in file if "test:" not in line]
        self.write("job.yaml", "".join(lines))
        found = self.train("--out", "first")
        self.assertIsNone(found["test_accuracy"])
        self.assertIsNone(found["test_loss"])
        self.assertFalse(os.path.exists(self.path("first", "evaluator.log")))

    def test_ends_at_updates(self):
        self.assertEqual(self.train("--set", "updates=7")["updates"], 7)

    def test_used_directories_are_refused(self):
        self.train("--out", "first", "--set", "epochs=1")
        code, out, err = self.talweg("run", "job.yaml", "--out", "first", "--json")
        self.assertEqual(code, 2)
        self.assertIn("first", err)
        self.assertEqual(self.result(out)["status"], "failed")

    def test_two_runs_at_once(self):
        runs = [self.start("run", "job.yaml", "--json") for _ in range(3)]
        ends = [run.end() for run in runs]
        self.assertEqual([code for code, _, _ in ends], [0, 0, 0])
        results = [self.result(out) for _, out, _ in ends]
        self.assertEqual(len({r["run"] for r in results}), 3)
        self.assertEqual(len({r["model_sha256"] for r in results}), 1)
        for result in results:
            self.assertRegex(result["run"], r"^runs/job-\d{8}T\d{6}Z(-[23])?$")
            self.assertTrue(os.path.exists(self.path(result["model"])))


class ByHand(Case):
    """A server and workers started one by one, as on several machines."""

    def serve(self, *arguments):
        server = self.start("server", "job.yaml", "--listen", "127.0.0.1:0", "--out", "out",
                            "--json", *arguments)
        line = server.wait_for("listening on")
        port = re.search(r"port (\d+)", line).group(1)
        return server, f"127.0.0.1:{port}"

    def test_same_model_as_run(self):
        code, out, err = self.talweg("run", "job.yaml", "--json")
        self.assertEqual(code, 0, err)
        server, address = self.serve()
        workers = [self.start("worker", "job.yaml", "--server", address) for _ in range(2)]
        self.assertEqual([worker.end()[0] for worker in workers], [0, 0])
        code, by_hand, err = server.end()
        self.assertEqual(code, 0, err)
        self.assertEqual(self.result(by_hand)["model_sha256"], self.result(out)["model_sha256"])
        self.assertEqual(self.result(by_hand)["run"], "out")
        self.assertTrue(os.path.exists(self.path("out", "job.yaml")))

    def test_evaluator_by_hand(self):
        server, address = self.serve("--set", "epochs=20")
        evaluator = self.start("worker", "job.yaml", "--server", address, "--evaluate", "--set",
                               "epochs=20")
        server.wait_for("the evaluator has joined")  # else all might be over before it comes
        workers = [self.start("worker", "job.yaml", "--server", address, "--rank", str(rank),
                              "--set", "epochs=20") for rank in (1, 0)]
        for run in [evaluator, *workers]:
            code, _, err = run.end()
            self.assertEqual(code, 0, err)
        code, out, err = server.end()
        self.assertEqual(code, 0, err)

    def test_token_opens_the_door(self):
        for name, text in ("right", "0123456789abcdef\n"), ("wrong", "0123456789abcdeX\n"):
            self.write(name, text)
            os.chmod(self.path(name), stat.S_IRUSR | stat.S_IWUSR)
        server, address = self.serve("--token-file", "right")
        for arguments in [], ["--token-file", "wrong"]:
            code, _, err = self.talweg("worker", "job.yaml", "--server", address, *arguments)
            self.assertEqual(code, 1, err)
            self.assertRegex(err, "token|secret")
        workers = [self.start("worker", "job.yaml", "--server", address, "--token-file", "right")
                   for _ in range(2)]
        self.assertEqual([worker.end()[0] for worker in workers], [0, 0])
        self.assertEqual(server.end()[0], 0)

    def test_token_against_an_open_server_is_refused_by_the_worker(self):
        self.write("secret", "0123456789abcdef")
        os.chmod(self.path("secret"), 0o600)
        server, address = self.serve()
        code, _, err = self.talweg("worker", "job.yaml", "--server", address, "--token-file",
                                   "secret")
        self.assertEqual(code, 1, err)
        server.process.terminate()
        self.assertEqual(server.end()[0], 130)

    def test_other_job_is_refused(self):
        server, address = self.serve()
        code, _, err = self.talweg("worker", "job.yaml", "--server", address, "--set",
                                   "optimizer.lr=0.5")
        self.assertEqual(code, 1, err)
        self.assertIn("job", err)
        server.process.terminate()
        code, out, _ = server.end()
        self.assertEqual(code, 130)
        self.assertEqual(self.result(out)["status"], "interrupted")

    def test_used_directory_is_refused(self):
        self.write("file", "x")
        os.mkdir(self.path("out"))
        os.rename(self.path("file"), self.path("out", "file"))
        code, out, err = self.talweg("server", "job.yaml", "--listen", "127.0.0.1:0", "--out",
                                     "out", "--json")
        self.assertEqual(code, 2)
        self.assertIn("out", err)
        self.assertEqual(self.result(out)["status"], "failed")

    def test_port_in_use(self):
        server, address = self.serve()
        code, out, err = self.talweg("server", "job.yaml", "--listen", address, "--out", "other",
                                     "--json")
        self.assertEqual(code, 1)
        self.assertIn("address already in use", err)
        self.assertIn(address, self.result(out)["error"])
        server.process.terminate()
        server.end()


if __name__ == "__main__":
    unittest.main()
