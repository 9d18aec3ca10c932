#!/usr/bin/python3
"""Everything that can be wrong before a process starts: exit code 2, a message that says
what would be right, with --json also the object, and no run directory."""
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import JOB, Case  # noqa: E402


class Usage(Case):
    def assert_wrong(self, arguments, *words):
        code, out, err = self.talweg(*arguments)
        self.assertEqual(code, 2, err)
        for word in words:
            self.assertIn(word, err)
        self.assertFalse(os.path.exists(self.path("runs")), err)
        if "--json" in arguments:
            found = self.result(out)
            self.assertEqual(found["status"], "failed")
            self.assertIn(found["error"], err)
            self.assertIsNone(found["run"])
        else:
            self.assertEqual(out, "")

    def test_commands(self):
        self.assert_wrong([], "no command")
        self.assert_wrong(["rnu"], 'unknown command "rnu"', 'did you mean "run"')
        self.assert_wrong(["help", "rnu"], 'did you mean "run"')

    def test_options(self):
        self.assert_wrong(["run"], "no job file")
        self.assert_wrong(["run", "--json"], "no job file")
        self.assert_wrong(["run", "job.yaml", "other.yaml"], "one job file is enough")
        self.assert_wrong(["run", "job.yaml", "--wrokers", "2", "--json"], "--workers")
        self.assert_wrong(["run", "job.yaml", "--out"], "--out needs a value")
        self.assert_wrong(["run", "job.yaml", "--out="], "name of a directory is missing")
        self.assert_wrong(["run", "job.yaml", "--json=yes"], "takes no value")
        self.assert_wrong(["run", "job.yaml", "--set", "batch"], "KEY=VALUE")

    def test_job_file(self):
        self.assert_wrong(["run", "missing.yaml", "--json"], "missing.yaml", "No such file")
        self.write("bad.yaml", JOB + "bacth: 3\n")
        self.assert_wrong(["run", "bad.yaml", "--json"], "bad.yaml:18: bacth", '"batch"')

    def test_values(self):
        for option, value, words in [
                ("--workers", "0", ["cluster.workers", "1 to 4096"]),
                ("--workers", "two", ["cluster.workers"]),
                ("--workers", "21", ["21 workers", "batch"]),
                ("--servers", "60", ["cluster.servers", "only", "chunks"]),
                ("--mode", "asink", ["consistency.mode", "async"]),
                ("--mode", "hogwild:2", ["hogwild", "takes no number"]),
                ("--set", "optimizer.name=adma", ["adma", '"adam"']),
                ("--set", "optimizer.rl=1", ["optimizer.rl", '"lr"']),
                ("--set", "optimizer.lr=-1", ["optimizer.lr"]),
                ("--set", "batch=-1", ["batch"]),
                ("--set", "epochs=soon", ["epochs"]),
                ("--set", "model.loss=hinge", ["hinge"]),
                ("--set", "model.input=[1, 5, 5]", ["5"])]:
            with self.subTest(option=option, value=value):
                self.assert_wrong(["run", "job.yaml", "--json", option, value], *words)

    def test_layers_that_do_not_fit(self):
        self.write("bad.yaml", JOB.replace("    - flatten\n", ""))
        self.assert_wrong(["run", "bad.yaml"], "bad.yaml:4", "flatten")

    def test_own_gradients_need_the_own_program(self):
        self.write("own.yaml", "model: {tensors: {w: [2]}}\nupdates: 5\nbatch: 1\n"
                               "optimizer: {name: sgd, lr: 1}\ncluster: {workers: 1}\n"
                               "consistency: {mode: sync}\nseed: 1\n")
        self.assert_wrong(["run", "own.yaml", "--json"], "model.tensors", "talweg server")

    def test_more_workers_than_samples(self):
        self.assert_wrong(["run", "job.yaml", "--workers", "301", "--set", "batch=500"],
                          "301 workers", "300 training samples")

    def test_server_options(self):
        server = ["server", "job.yaml"]
        self.assert_wrong(server + ["--out", "o"], "--listen")
        self.assert_wrong(server + ["--listen", "127.0.0.1:0"], "--out")
        self.assert_wrong(server + ["--out", "o", "--listen", "localhost"], "--listen", "port")
        self.assert_wrong(server + ["--out", "o", "--listen", "127.0.0.1:99999"], "--listen")
        self.assert_wrong(server + ["--out", "o", "--listen", "0.0.0.0:0", "--json"],
                          "other machines", "--token-file", "--insecure")
        self.assertFalse(os.path.exists(self.path("o")))

    def test_worker_options(self):
        worker = ["worker", "job.yaml"]
        self.assert_wrong(worker, "--server")
        self.assert_wrong(worker + ["--server", "nowhere"], "--server", "port")
        self.assert_wrong(worker + ["--server", "h:1", "--rank", "-1"], "--rank")
        self.assert_wrong(worker + ["--server", "h:1", "--rank", "0", "--evaluate"], "no rank")
        self.assert_wrong(worker + ["--server", "h:1", "--evalaute"], "--evaluate")

    def test_token_files(self):
        worker = ["worker", "job.yaml", "--server", "127.0.0.1:1", "--token-file", "secret"]
        self.assert_wrong(worker, "secret: No such file")
        self.write("secret", "x" * 15)
        os.chmod(self.path("secret"), 0o600)
        self.assert_wrong(worker, "16 to 4096")
        self.write("secret", "x" * 16)
        os.chmod(self.path("secret"), 0o644)
        self.assert_wrong(worker, "chmod 600")


class Data(Case):
    def assert_wrong(self, *words):
        code, out, err = self.talweg("run", "job.yaml", "--json")
        self.assertEqual(code, 2, err)
        for word in words:
            self.assertIn(word, err)
        self.assertIn(self.result(out)["error"], err)

    def change(self, name, change):
        with open(self.path(name), "rb") as file:
            content = bytearray(file.read())
        with open(self.path(name), "wb") as file:
            file.write(change(content) or content)

    def test_missing(self):
        os.unlink(self.path("test-labels"))
        self.assert_wrong("job.yaml:11", "test-labels")

    def test_truncated(self):
        self.change("test-images", lambda c: c[:-1])
        self.assert_wrong("test-images", "truncated")

    def test_truncated_gzip(self):
        self.change("train-images.gz", lambda c: c[:-9])
        self.assert_wrong("train-images.gz")

    def test_corrupt_gzip(self):
        self.change("train-images.gz", lambda c: c.__setitem__(len(c) // 2, c[len(c) // 2] ^ 255))
        self.assert_wrong("train-images.gz")

    def test_not_idx(self):
        self.change("train-labels", lambda c: b"hello, world")
        self.assert_wrong("train-labels")

    def test_label_out_of_range(self):
        self.change("train-labels", lambda c: c.__setitem__(8 + 17, 3))
        self.assert_wrong("train-labels", "17", "3")


class Help(Case):
    def test_each_command_has_help(self):
        for command in "run", "server", "worker":
            for arguments in ([command, "--help"], ["help", command], [command, "-h"]):
                code, out, err = self.talweg(*arguments)
                self.assertEqual((code, err), (0, ""))
                for word in f"Usage: talweg {command}", "Examples:", "Exit codes:", "130", "--set":
                    self.assertIn(word, out)
                self.assertNotIn("--supervised", out)
                self.assertTrue(all(len(line) < 80 for line in out.splitlines()), out)

    def test_every_command_has_help(self):
        overview = self.talweg("help")[1]
        commands = [line.split()[0] for line in overview.splitlines() if line[:2] == "  " and
                    line[2:3].isalpha()]
        commands = commands[:commands.index("version") + 1]
        self.assertGreaterEqual(len(commands), 14)
        for command in commands:
            code, out, err = page = self.talweg(command, "--help")
            self.assertEqual((code, err), (0, ""))
            self.assertEqual(self.talweg("help", command), page)
            self.assertEqual(self.talweg(command, "-h"), page)
            for word in "Usage: talweg ", "Example", "Exit codes:":
                self.assertIn(word, out)
            self.assertTrue(all(len(line) < 80 for line in out.splitlines()), out)

    def test_overview(self):
        for arguments in (["help"], ["--help"], ["help", "help"]):
            code, out, err = self.talweg(*arguments)
            self.assertEqual((code, err), (0, ""))
            for command in "run", "server", "worker", "help", "version":
                self.assertIn(f"  {command} ", out)

    def test_job_page_names_every_variant(self):
        code, out, err = self.talweg("help", "job")
        self.assertEqual((code, err), (0, ""))
        for word in "adam", "nesterov", "dense", "softmax_cross_entropy", "idx", "cluster.workers":
            self.assertIn(word, out)

    def test_laws_page_names_every_law(self):
        code, out, err = self.talweg("help", "laws")
        self.assertEqual((code, err), (0, ""))
        for word in "constant", "pareto", "heterogeneous_gamma", "machine_cv", "speeds", "Dutta":
            self.assertIn(word, out)

    def test_version(self):
        code, out, err = self.talweg("version")
        self.assertEqual((code, err), (0, ""))
        for word in "talweg ", "protocol ", "libuv ", "protobuf-c ", "OpenBLAS ":
            self.assertIn(word, out)
        code, out, _ = self.talweg("version", "--json")
        self.assertEqual(code, 0)
        self.assertEqual(json.loads(out)["protocol"], 1)


if __name__ == "__main__":
    unittest.main()
