#!/usr/bin/env python3
"""A server at steady state asks the system for nothing: no malloc() in a thousand updates, and
hardly a page that is new to it."""
import os
import signal
import struct
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

from talweg_by_hand import wait_until  # noqa: E402
from talweg_e2e import PATIENCE, WIDE, Case, children_of  # noqa: E402

# An epoch is 75 updates: reports of epochs are part of the steady state.
JOB = (WIDE.replace("dense: 4000", "dense: 1500").replace("batch: 20", "batch: 4")
       .replace("epochs: 3", "updates: 100000000")
       + "chunk: 64KiB\ncheckpoint: {seconds: 0}\n")
UPDATES = 1000
FAULTS = 10
COMMIT = 5  # its field in a record of proto/order_log.proto


def varint(data, at):
    value = shift = 0
    while at < len(data):
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at
    return None, at


class Commits:
    """How many an order log holds, read on from where it was read to."""

    def __init__(self, path):
        self.file, self.rest, self.count = open(path, "rb"), b"", 0

    def so_far(self):
        data = self.rest + self.file.read()
        at = 0
        while True:
            size, begin = varint(data, at)
            if size is None or begin + size > len(data):
                self.rest = data[at:]
                return self.count
            at = begin + size
            self.count += any(field == COMMIT for field in self.fields(data[begin:at]))

    @staticmethod
    def fields(record):
        at = 0
        while at < len(record):
            tag, at = varint(record, at)
            yield tag >> 3
            size, at = varint(record, at)
            at += size if tag & 7 == 2 else 0


class Steady(Case):
    def setUp(self):
        super().setUp()
        self.write("job.yaml", JOB)
        os.mkdir(self.path("mallocs"))
        environment = {"LD_PRELOAD": os.environ["TALWEG_COUNT_MALLOCS"],
                       "TALWEG_TEST_MALLOCS": self.path("mallocs"),
                       "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") +
                       ":verify_asan_link_order=0"}
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        self.addCleanup(lambda: [os.environ.pop(name, None) if value is None
                                 else os.environ.update({name: value})
                                 for name, value in before.items()])

    def asked(self, pid):
        """(calls of malloc(), minor page faults) of a process so far."""
        with open(self.path("mallocs", str(pid)), "rb") as file:
            calls, = struct.unpack("=Q", file.read(8))
        with open(f"/proc/{pid}/stat") as file:
            return calls, int(file.read().rpartition(")")[2].split()[7])

    def window(self, servers, commits):
        """What each server asked for in the next thousand updates."""
        first = commits.so_far()
        before = [self.asked(pid) for pid in servers]
        wait_until(lambda: commits.so_far() >= first + UPDATES, f"{UPDATES} updates")
        after = [self.asked(pid) for pid in servers]
        return [(b[0] - a[0], b[1] - a[1]) for a, b in zip(before, after)]

    def check(self, *arguments):
        """Also what is rare, such as a report every ten seconds, has its memory in the end: one
        of the first windows is the steady state."""
        run = self.start("run", "job.yaml", "--out", "run", "--json", *arguments)
        run.wait_for("epoch")
        reader = threading.Thread(target=run.process.stderr.read)
        reader.start()
        servers = [pid for pid, words in children_of(run.pid).items() if "server" in words]
        self.assertGreater(len(servers), 0)
        commits = Commits(self.path("run", "order.log"))
        self.addCleanup(commits.file.close)
        windows = []
        while not windows or any(calls or faults >= FAULTS for calls, faults in windows[-1]):
            self.assertLess(len(windows), 20, f"(calls, faults) of each server: {windows}")
            windows.append(self.window(servers, commits))
        for pid in servers:
            self.assertGreater(self.asked(pid)[0], 10, "nothing was counted")
        os.kill(run.pid, signal.SIGINT)
        reader.join()
        self.assertEqual(run.process.wait(PATIENCE), 130)

    def test_sync_on_two_servers_with_halves_on_the_wire(self):
        self.check("--workers", "4", "--servers", "2", "--set", "encoding={push: bf16, pull: f16}")

    def test_async_with_little_memory(self):
        self.check("--workers", "3", "--mode", "async", "--set", "memory.inflight=400KiB")


if __name__ == "__main__":
    unittest.main()
