#!/usr/bin/python3
"""examples/own_gradient.c against a real server: two processes that use nothing but
libtalweg train a model of their own, and get the same bits each time."""
import hashlib
import os
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import PATIENCE, Case  # noqa: E402

PROGRAM = os.environ.get("OWN_GRADIENT", "build/examples/own_gradient")
JOB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples",
                   "own-gradient.yaml")


@unittest.skipUnless(os.path.exists(PROGRAM), "the examples were not built")
class OwnGradient(Case):
    def train(self, out):
        shutil.copy(JOB, self.path("own.yaml"))
        server = self.start("server", "own.yaml", "--listen", "127.0.0.1:0", "--out", out, "--json")
        port = server.wait_for("listening").split()[-1]
        workers = [subprocess.Popen([PROGRAM, f"127.0.0.1:{port}"], stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True) for _ in range(2)]
        ends = [worker.communicate(timeout=PATIENCE) for worker in workers]
        self.assertEqual([worker.returncode for worker in workers], [0, 0], ends)
        code, text, err = server.end()
        self.assertEqual(code, 0, err)
        result = self.result(text)
        with open(self.path(out, "model.safetensors"), "rb") as file:
            self.assertEqual(hashlib.sha256(file.read()).hexdigest(), result["model_sha256"])
        return result, [float(text.split()[1]) for text, _ in ends]

    def test_it_learns_and_gives_the_same_bits_each_time(self):
        result, accuracies = self.train("first")
        self.assertEqual((result["updates"], result["samples"]), (200, 12800))
        self.assertGreater(min(accuracies), 0.9)
        again, _ = self.train("second")
        self.assertEqual(again["model_sha256"], result["model_sha256"])

    def test_no_server_is_said_in_one_line(self):
        shutil.copy(JOB, self.path("own.yaml"))
        run = subprocess.run([PROGRAM, "nonsense"], capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(run.returncode, 1)
        self.assertRegex(run.stderr, r"^own_gradient: .*nonsense.*\n$")


if __name__ == "__main__":
    unittest.main()
