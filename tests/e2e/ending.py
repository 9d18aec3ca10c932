#!/usr/bin/python3
"""Runs that end otherwise: signals, killed processes, a terminal that comes and goes.
Whatever happens, nothing stays behind."""
import os
import pty
import select
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import PATIENCE, TALWEG, Case, children_of, processes, signal  # noqa: E402

FOREVER = ["--set", "epochs=1000000"]


class Ending(Case):
    def begin(self):
        """A run in the middle of its training: (run, pids of its children)."""
        run = self.start("run", "job.yaml", "--out", "out", "--json", *FOREVER)
        run.wait_for("epoch 2")
        children = children_of(run.pid)
        self.assertEqual(len(children), 4, children)
        return run, children

    def assert_interrupted(self, run, children):
        code, out, err = run.end()
        self.assertEqual(code, 130, err)
        found = self.result(out)
        self.assertEqual(found["status"], "interrupted")
        self.assertTrue(os.path.getsize(self.path(found["model"])) > 0)
        self.assertGreater(found["updates"], 15)
        self.assertIn("the model lies in out/model.safetensors", err)
        self.assert_gone(children, seconds=0)
        self.assert_no_temporary_files()

    def test_sigint(self):
        run, children = self.begin()
        run.process.send_signal(signal.SIGINT)
        self.assert_interrupted(run, children)

    def test_sigterm(self):
        run, children = self.begin()
        run.process.send_signal(signal.SIGTERM)
        self.assert_interrupted(run, children)

    def test_second_signal_kills_at_once(self):
        run, children = self.begin()
        for child in children:
            os.kill(child, signal.SIGSTOP)  # nobody can answer the first
        run.process.send_signal(signal.SIGINT)
        run.wait_for("once more to stop at once")
        run.process.send_signal(signal.SIGINT)
        code, out, err = run.end()
        self.assertEqual(code, 130, err)
        self.assertEqual(self.result(out)["status"], "interrupted")
        self.assert_gone(children, seconds=0)

    def assert_failed_by(self, name, *words):
        run, children = self.begin()
        os.kill(run.child(*words), signal.SIGKILL)
        code, out, err = run.end()
        self.assertEqual(code, 1, err)
        found = self.result(out)
        self.assertEqual(found["status"], "failed")
        self.assertIn(f"{name} was killed by SIGKILL", found["error"])
        self.assertIn(found["error"], err)
        self.assert_gone(children, seconds=0)
        self.assert_no_temporary_files()

    def test_killed_worker(self):
        self.assert_failed_by("worker 1", "worker", "--rank", "1")

    def test_killed_evaluator(self):
        self.assert_failed_by("evaluator", "worker", "--evaluate")

    def test_killed_server(self):
        self.assert_failed_by("server 0", "server")

    def test_killed_launcher(self):
        run, children = self.begin()
        run.process.kill()
        self.assert_gone(children)

    def test_model_that_diverges(self):
        code, out, err = self.talweg("run", "job.yaml", "--json", "--set",
                                     "optimizer={name: sgd, lr: 1e38}")
        self.assertEqual(code, 1, err)
        found = self.result(out)
        self.assertEqual(found["status"], "failed")
        self.assertIn("finite", found["error"])

    def test_full_disk_at_the_end(self):
        """The model, 1.6 MB, does not fit on a disk of 512 KiB."""
        own_mounts = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
        disk = "mount -t tmpfs -o size=512k tmpfs disk && exec "
        os.mkdir(self.path("disk"))
        if subprocess.run([*own_mounts, disk + "true"], cwd=self.folder,
                          capture_output=True).returncode:
            self.skipTest("no user namespace with mounts of its own")
        arguments = ["run", "job.yaml", "--json", "--out", "disk/out", "--set", "epochs=1",
                     "--set", "model.layers=[flatten, dense: 20000, relu, dense: 3]"]
        code, out, err = self.start(*arguments, before=[*own_mounts, disk + '"$@"', "sh"]).end()
        self.assertEqual(code, 1, err)
        found = self.result(out)
        self.assertEqual(found["status"], "failed")
        self.assertIn("model.safetensors", found["error"])
        self.assertIn("No space left on device", found["error"])
        self.assertIsNone(found["model"])

    def test_directory_that_cannot_be_made(self):
        self.write("file", "")
        code, out, err = self.talweg("run", "job.yaml", "--json", "--out", "file/out")
        self.assertEqual(code, 1, err)
        self.assertIn("file", self.result(out)["error"])


class Terminal(Case):
    """The same on a pseudo-terminal."""

    def run_on_terminal(self, stop_after=None, **environment):
        """Trains with a terminal as stderr and controlling terminal; with `stop_after`,
        types Ctrl-C when these words were shown. Returns (exit code, what was shown)."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.folder)
            os.environ.update(TERM="xterm", **environment)
            more = FOREVER if stop_after else ["--set", "epochs=200"]
            os.execv(TALWEG, [TALWEG, "run", "job.yaml", "--out", "out", *more])
        shown = b""
        while True:
            ready, _, _ = select.select([terminal], [], [], PATIENCE)
            self.assertTrue(ready, shown)
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # the other end is closed
                break
            shown += piece
            if stop_after and stop_after.encode() in shown:
                os.write(terminal, b"\x03")
                stop_after = None
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status), shown.decode()

    def assert_clean(self, shown):
        """After the last bar comes an erased line, and nothing hides the cursor."""
        self.assertTrue(shown.endswith("\n"), shown[-200:])
        bar = shown.rfind("samples/s  loss")
        self.assertGreater(bar, 0)
        self.assertIn("\r\x1b[K", shown[bar:])
        self.assertNotIn("\x1b[?25l", shown)
        last = shown.rstrip("\r\n").split("\n")[-1]
        self.assertNotIn("\x1b[K", last)

    def test_bar(self):
        code, shown = self.run_on_terminal()
        self.assertEqual(code, 0, shown)
        self.assertRegex(shown, r"\r\x1b\[Kepoch \d+/200 .*samples/s  loss \d")
        self.assertIn("\x1b[32mdone", shown)
        self.assert_clean(shown)

    def test_no_color(self):
        code, shown = self.run_on_terminal(NO_COLOR="1")
        self.assertEqual(code, 0, shown)
        self.assertNotRegex(shown, r"\x1b\[\d+m")
        self.assertIn("\r\x1b[K", shown)

    def test_ctrl_c(self):
        before = set(processes())
        code, shown = self.run_on_terminal(stop_after="samples/s  loss")
        self.assertEqual(code, 130, shown)
        self.assertRegex(shown, r"interrupted: stopped by a signal")
        self.assertTrue(os.path.exists(self.path("out", "model.safetensors")))
        self.assert_clean(shown)
        self.assert_no_temporary_files()
        left = [words for pid, (_, words) in processes().items()
                if pid not in before and any(self.folder in word for word in words)]
        self.assertEqual(left, [])


if __name__ == "__main__":
    unittest.main()
