"""For tests that start a server and its workers one by one and then hurt them. Standard
library only; talweg_e2e.py has the data, the job, and how a program is run."""
import fcntl
import json
import os
import random
import re
import signal
import time

from talweg_e2e import JOB, PATIENCE, SEED, Case

# How a test says that it cannot run here (SKIP_RETURN_CODE in the .cmake files).
SKIPPED = 77

# A job of many epochs with three updates each, slow enough in learning that its weights
# still move at the end.
EPOCHS = 2000
LONG_JOB = (JOB.replace("epochs: 3", f"epochs: {EPOCHS}").replace("lr: 1e-2", "lr: 1e-4")
            .replace("batch: 20", "batch: 100"))
ENDLESS = ["--set", "epochs=1000000"]


def state_of(pid):
    """The letter of /proc: R, S, T (stopped), ..., or None."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return None


F_SETPIPE_SZ = 1031  # fcntl.F_SETPIPE_SZ, from Python 3.10 on


def hold_back(run):
    """From now on the program can be at most 200 lines (of an epoch each) ahead of what
    was read of it: 4 KiB in the pipe, 8 KiB in Python. So what is done to a server while
    its lines are being read happens in the middle of its training, however slow this
    test is. Whoever waits for the server to do something reads its lines meanwhile."""
    fcntl.fcntl(run.process.stderr, F_SETPIPE_SZ, 4096)


def let_go(run):
    """All that it may still say has room."""
    fcntl.fcntl(run.process.stderr, F_SETPIPE_SZ, 1 << 20)


def wait_until(condition, what, seconds=PATIENCE):
    """Polls; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"after {seconds} s: not {what}"
        time.sleep(0.01)


class ByHand(Case):
    """job.yaml is LONG_JOB. Random moments come from a seed that a failure prints."""

    def setUp(self):
        super().setUp()
        self.write("job.yaml", LONG_JOB)
        self.seed = SEED
        self.random = random.Random(self.seed)

    def serve(self, *arguments, out="out", listen="127.0.0.1:0", **more):
        """A server that listens; and its port. What it says of thousands of epochs has room, so
        that it goes on while nobody reads it."""
        server = self.start("server", "job.yaml", "--listen", listen, "--out", out, "--json",
                            *arguments, **more)
        let_go(server)
        return server, int(re.search(r"port (\d+)", server.wait_for("listening on")).group(1))

    def work(self, port, *arguments, host="127.0.0.1", **more):
        return self.start("worker", "job.yaml", "--server", f"{host}:{port}", *arguments, **more)

    def undisturbed(self, *arguments):
        """The result of `talweg run` with the same job."""
        code, out, err = self.talweg("run", "job.yaml", "--json", "--out", "undisturbed",
                                     *arguments)
        self.assertEqual(code, 0, err)
        return self.result(out)

    def assert_ended_well(self, server, workers):
        """All end with 0; returns the server's result."""
        for worker in workers:
            code, _, err = worker.end()
            self.assertEqual(code, 0, err)
        code, out, err = server.end()
        self.assertEqual(code, 0, f"seed {self.seed}: {err}")
        return self.result(out)

    def kill_and_replace(self, server, port, few, many):
        """Two workers; one at a time is killed and another takes its rank. The server's result."""
        workers = [self.work(port, "--rank", str(rank)) for rank in range(2)]
        for _ in self.blows(server, few, many):
            rank = self.random.randrange(2)
            workers[rank].process.kill()
            self.assertEqual(workers[rank].end()[0], -9)
            workers[rank] = self.work(port, "--rank", str(rank))
            server.wait_for(f"worker {rank} joined")
        return self.assert_ended_well(server, workers)

    def epochs(self, server):
        """Yields the numbers of epochs as the server tells them, until it ends."""
        for line in server.process.stderr:
            server.seen += line
            epoch = re.match(r"epoch +(\d+)/", line)
            if epoch:
                yield int(epoch.group(1))

    def blows(self, server, few, many, last=EPOCHS - 500, later=0.003):
        """Yields at some epochs, from `few` to `many` after the one before, and up to
        `later` seconds after they are told: not always at an epoch's end. Ends with
        epoch `last`, well before the training does."""
        left = self.random.randint(few, many)
        for epoch in self.epochs(server):
            left -= 1
            if left == 0:
                left = self.random.randint(few, many)
                time.sleep(self.random.uniform(0, later))
                yield
            if epoch >= last:
                break
        let_go(server)

    def rows(self, out="out"):
        """What metrics.jsonl holds."""
        with open(self.path(out, "metrics.jsonl")) as file:
            return [json.loads(line) for line in file]


def stop(run):
    """SIGSTOP, and waits until no thread of it runs."""
    run.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: state_of(run.pid) in ("T", None), "stopped")


def go_on(run):
    run.process.send_signal(signal.SIGCONT)


__all__ = ["ByHand", "ENDLESS", "EPOCHS", "LONG_JOB", "SKIPPED", "go_on", "hold_back", "let_go",
           "stop", "wait_until"]
