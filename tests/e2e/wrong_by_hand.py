#!/usr/bin/python3
"""What can go wrong when server and workers are started by hand: each is named, in one
line, on the side that can do something about it, and harms nobody else."""
import os
import shutil
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_by_hand import ByHand  # noqa: E402
from talweg_e2e import JOB, write_data  # noqa: E402


def held_port():
    """A port on which nobody listens, and the socket that keeps it so. A server of ours
    can still have it: both say SO_REUSEADDR."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder, holder.getsockname()[1]


class Wrong(ByHand):
    def setUp(self):
        super().setUp()
        self.write("job.yaml", JOB)

    def assert_fails(self, run, code, *words):
        """It ends with `code`; its last line says why. Returns that line."""
        found, _, err = run.end()
        self.assertEqual(found, code, err)
        line = err.splitlines()[-1] if code == 1 else err
        for word in words:
            self.assertIn(word, line)
        return line

    def assert_trains(self, server, workers):
        found = self.assert_ended_well(server, workers)
        self.assertEqual(found["model_sha256"], self.undisturbed()["model_sha256"])

    # ---- the server cannot be reached ----

    def test_no_server(self):
        holder, port = held_port()
        with holder:
            worker = self.work(port, "--patience", "1")
            self.assert_fails(worker, 1, f"no server at 127.0.0.1:{port}", "connection refused",
                              "start it, or check the address")

    def test_a_server_that_comes_later_is_found(self):
        holder, port = held_port()
        with holder:
            workers = [self.work(port, "--patience", "60") for _ in range(2)]
            for worker in workers:
                worker.wait_for("connecting to")
            server, _ = self.serve(listen=f"127.0.0.1:{port}")
            self.assert_trains(server, workers)

    def test_somebody_who_never_answers(self):
        with socket.socket() as mute:
            mute.bind(("127.0.0.1", 0))
            mute.listen(8)
            worker = self.work(mute.getsockname()[1], "--patience", "1")
            self.assert_fails(worker, 1, "no server at", "did not answer")

    def test_somebody_who_speaks_another_language(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen(8)
            worker = self.work(other.getsockname()[1], "--patience", "60")
            peer, _ = other.accept()
            with peer:
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9)
                self.assert_fails(worker, 1, f"127.0.0.1:{other.getsockname()[1]}")

    def test_a_killed_server(self):
        self.write("job.yaml", JOB.replace("epochs: 3", "epochs: 1000000"))
        server, port = self.serve()
        workers = [self.work(port, "--patience", "3") for _ in range(2)]
        next(self.epochs(server))
        server.process.kill()
        server.end()
        for worker in workers:
            self.assert_fails(worker, 1, "was lost and could not be made again", str(port))

    def test_another_run_at_the_same_address(self):
        self.write("job.yaml", JOB.replace("epochs: 3", "epochs: 1000000"))
        server, port = self.serve()
        workers = [self.work(port, "--patience", "60") for _ in range(2)]
        next(self.epochs(server))
        server.process.kill()
        server.end()
        self.serve(out="second", listen=f"127.0.0.1:{port}")
        for worker in workers:
            self.assert_fails(worker, 1, "wrong-job", "another run")

    # ---- the server says no ----

    def test_ranks(self):
        server, port = self.serve()
        first = self.work(port, "--rank", "0")
        first.wait_for(" as rank 0")
        self.assert_fails(self.work(port, "--rank", "0"), 1, "rank-taken")
        self.assert_fails(self.work(port, "--rank", "2"), 1, "limit")
        self.assert_trains(server, [first, self.work(port)])

    def test_one_worker_too_many(self):
        self.write("job.yaml", JOB.replace("epochs: 3", "epochs: 1000000"))
        server, port = self.serve()
        workers = [self.work(port) for _ in range(2)]
        next(self.epochs(server))
        self.assert_fails(self.work(port), 1, "no-free-rank")
        server.process.terminate()
        self.assertEqual([worker.end()[0] for worker in workers], [0, 0])
        self.assertEqual(server.end()[0], 130)

    def test_another_model(self):
        server, port = self.serve()
        worker = self.work(port, "--set", "model.layers=[flatten, dense: 9, relu, dense: 3]")
        self.assert_fails(worker, 1, "wrong-job", "job file")
        self.assert_trains(server, [self.work(port), self.work(port)])

    def test_more_workers_than_samples(self):
        server = self.start("server", "job.yaml", "--listen", "127.0.0.1:0", "--out", "out",
                            "--set", "cluster.workers=301", "--set", "batch=400")
        self.assert_fails(server, 2, "301 workers", "300")
        self.assertFalse(os.path.exists(self.path("out")))

    # ---- this machine's data is not as it should be ----

    def other_machine(self):
        """A copy of the job and its data, as on another machine; the path of the job."""
        os.mkdir(self.path("there"))
        for name in os.listdir(self.folder):
            if os.path.isfile(self.path(name)):
                shutil.copy(self.path(name), self.path("there", name))
        return os.path.join("there", "job.yaml")

    def work_there(self, job, port):
        return self.start("worker", job, "--server", f"127.0.0.1:{port}")

    def spoil(self, name, change):
        with open(self.path("there", name), "rb") as file:
            content = bytearray(file.read())
        with open(self.path("there", name), "wb") as file:
            file.write(change(content) or content)

    def test_data_of_a_worker(self):
        server, port = self.serve()
        job = self.other_machine()
        for name, change, words in [
                ("train-images.gz", lambda c: c[:len(c) // 2], ["train-images.gz"]),
                ("train-labels", lambda c: c[:-1], ["train-labels", "truncated"]),
                ("train-labels", lambda c: c.__setitem__(8 + 17, 200), ["train-labels", "200"]),
                ("train-labels", lambda c: b"no labels at all", ["train-labels"])]:
            with self.subTest(name=name):
                shutil.copy(self.path(name), self.path("there", name))
                self.spoil(name, change)
                self.assert_fails(self.work_there(job, port), 2, *words)
                shutil.copy(self.path(name), self.path("there", name))
        os.unlink(self.path("there", "train-labels"))
        self.assert_fails(self.work_there(job, port), 2, "train-labels", "No such file")
        self.assert_trains(server, [self.work(port), self.work(port)])

    def test_fewer_samples_than_the_server_has(self):
        server, port = self.serve()
        job = self.other_machine()
        write_data(self.path("there"), "train", 299)
        self.assert_fails(self.work_there(job, port), 1, "wrong-job", "training data")
        self.assert_trains(server, [self.work(port), self.work(port)])

    # ---- strangers ----

    def test_strangers_harm_only_themselves(self):
        """Connections that say nothing, or nonsense, or go away in the middle of a frame,
        while the others train."""
        self.write("job.yaml", JOB.replace("epochs: 3", "epochs: 200"))
        server, port = self.serve()
        workers = [self.work(port) for _ in range(2)]
        next(self.epochs(server))
        strangers = []
        for words in b"", b"\xff" * 64, b"GET / HTTP/1.1\r\n\r\n", b"\x80\x80\x04\x0a", b"\x05\x0a":
            stranger = socket.create_connection(("127.0.0.1", port))
            stranger.sendall(words)
            strangers.append(stranger)
        strangers.pop().close()
        self.assert_trains(server, workers)
        for stranger in strangers:
            stranger.close()

    # ---- the disk ----

    def test_full_disk_is_told_to_the_workers(self):
        """The model, 1.6 MB, does not fit on a disk of 512 KiB."""
        before = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
                  'mount -t tmpfs -o size=512k tmpfs disk && exec "$@"', "sh"]
        os.mkdir(self.path("disk"))
        if subprocess.run([*before, "true"], cwd=self.folder, capture_output=True).returncode:
            self.skipTest("no user namespace with mounts of its own")
        wide = ["--set", "model.layers=[flatten, dense: 20000, relu, dense: 3]",
                "--set", "epochs=1"]
        server, port = self.serve(*wide, out="disk/out", before=before)
        workers = [self.work(port, *wide) for _ in range(2)]
        for worker in workers:
            self.assert_fails(worker, 1, "the run failed", "No space left on device")
        code, out, err = server.end()
        self.assertEqual(code, 1, err)
        self.assertIn("No space left on device", self.result(out)["error"])


if __name__ == "__main__":
    unittest.main()
