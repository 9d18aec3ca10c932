#!/usr/bin/env python3
"""Workers that push their tensors out of order, slowly, or stand still in the middle of it, with as little
memory as servers can live with: nobody waits for ever, and the weights are those of workers that do
nothing of the kind. The worker is any_order.c."""
import json
import os
import re
import signal
import struct
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

from talweg_by_hand import wait_until  # noqa: E402
from talweg_e2e import PATIENCE, Case  # noqa: E402

ANY_ORDER = os.path.abspath(os.environ.get("ANY_ORDER", "build/tests/any_order"))

JOB = """\
model:
  tensors: {t0: [40000], t1: [3], t2: [20000], t3: [16384], t4: [50000], t5: [1], t6: [33000]}
chunk: 64KiB
updates: 24
optimizer: {name: adam, lr: 1e-2}
cluster: {servers: 1, workers: 3}
"""
ELEMENTS = 40000, 3, 20000, 16384, 50000, 1, 33000
IN_ORDER = (("forward", "0", "pull"),) * 3
ORDERS = (("backward", "0", "pull"), ("random", "0", "pull"), ("forward", "300", "pull"))
COUNTING = tuple((order, pause, "count") for order, pause, _ in ORDERS)


class Orders(Case):
    def setUp(self):
        super().setUp()
        self.write("job.yaml", JOB)

    def least(self, *arguments):
        """The least memory that such a cluster can live with."""
        code, _, err = self.talweg("server", "job.yaml", "--listen", "127.0.0.1:0", "--out", "none",
                                   "--set", "memory.inflight=1KiB", *arguments)
        self.assertEqual(code, 2, err)
        return re.search(r"at least (\d+KiB)", err).group(1)

    def begin(self, out, servers, orders, *arguments):
        """The lead, the other servers, and the workers."""
        arguments = ("--set", f"cluster.servers={servers}", *arguments)
        lead = self.start("server", "job.yaml", "--listen", "127.0.0.1:0", "--out", out, "--json",
                          *arguments)
        address = "127.0.0.1:" + re.search(r"port (\d+)", lead.wait_for("listening on")).group(1)
        others = [self.start("server", "job.yaml", "--index", str(index), "--lead", address,
                             "--listen", "127.0.0.1:0", *arguments) for index in range(1, servers)]
        workers = [subprocess.Popen([ANY_ORDER, address, str(rank), *order],
                                    stderr=subprocess.PIPE, text=True)
                   for rank, order in enumerate(orders)]
        for worker in workers:
            self.addCleanup(self.finish, worker)
        return lead, others, workers

    def finish(self, worker):
        if worker.poll() is None:
            worker.kill()
        worker.communicate()

    def end(self, lead, others, workers):
        for worker in workers:
            _, err = worker.communicate(timeout=PATIENCE)
            self.assertEqual(worker.returncode, 0, err)
        for other in others:
            code, _, err = other.end()
            self.assertEqual(code, 0, err)
        code, out, err = lead.end()
        self.assertEqual(code, 0, err)
        return self.result(out)

    def train(self, *arguments):
        return self.end(*self.begin(*arguments))

    def tight(self, servers, *arguments):
        arguments = ("--set", f"cluster.servers={servers}", *arguments)
        return (*arguments, "--set", "memory.inflight=" + self.least(*arguments))

    def test_the_order_changes_no_bit_and_nobody_waits_for_ever(self):
        in_order = self.train("plenty", 1, IN_ORDER)
        self.assertEqual(in_order["updates"], 24)
        for turn, servers in enumerate((1, 3, 5)):
            with self.subTest(servers=servers):
                orders = ORDERS[turn:] + ORDERS[:turn]
                found = self.train(f"few-{servers}", servers, orders, *self.tight(servers))
                for key in "updates", "samples", "train_loss", "model_sha256":
                    self.assertEqual(found[key], in_order[key])

    def weights(self, out):
        """Of the model: a list for each tensor."""
        with open(self.path(out, "model.safetensors"), "rb") as file:
            data = file.read()
        size, = struct.unpack("<Q", data[:8])
        entries = json.loads(data[8:8 + size])
        return [struct.unpack(f"<{n}f", data[8 + size + entries[f"t{t}"]["data_offsets"][0]:][:4 * n])
                for t, n in enumerate(ELEMENTS)]

    def test_where_pushes_need_permits(self):
        """The start is 0, and gradients are whole numbers: the weights say which were applied, once
        each. They must be those of the log, which are those that had permits."""
        for mode, gather in ("async", 1), ("k-async:2", 2), ("backup:1", 2):
            with self.subTest(mode=mode):
                out = "permits-" + mode.replace(":", "-")
                found = self.train(out, 3, COUNTING, *self.tight(
                    3, "--set", "consistency.mode=" + mode, "--set",
                    "optimizer={name: sgd, lr: 0.5}"))
                self.assertEqual(found["updates"], 24)
                applied, named = [], None
                for record in self.records(out):
                    if record["record"] == "PERMIT":
                        named = [(push["slot"], push["step"]) for push in record["pushes"]]
                    elif record["record"] == "COMMIT":
                        pushes = [(c["slot"], c["step"]) for c in record["contributions"]]
                        self.assertEqual(pushes, named)
                        applied += pushes
                self.assertEqual(len(applied), 24 * gather)
                self.assertEqual(len(set(applied)), len(applied))
                # All elements of a tensor whose numbers have the same rest have the same sum.
                for t, weights in enumerate(self.weights(out)):
                    sums = [sum((slot * 31 + step * 17 + t * 7 + i) % 64 for slot, step in applied)
                            for i in range(64)]
                    self.assertEqual(weights, tuple(-0.5 / gather * sums[i % 64]
                                                    for i in range(len(weights))))

    def test_in_bursts(self):
        """One after the other stands still, until nothing goes on any more, and then hurries."""
        updates = ("--set", "updates=120")
        in_order = self.train("plenty", 1, IN_ORDER, *updates)
        lead, others, workers = self.begin("bursts", 2, ORDERS, *self.tight(2), *updates)
        commits = lambda: sum(r["record"] == "COMMIT" for r in self.records("bursts"))
        wait_until(lambda: os.path.exists(self.path("bursts", "order.log")), "an order log")
        wait_until(lambda: commits() > 3, "the first updates")
        for blow in range(6):
            worker = workers[blow % 3]
            os.kill(worker.pid, signal.SIGSTOP)
            before = -1
            while commits() > before:
                before = commits()
            os.kill(worker.pid, signal.SIGCONT)
            wait_until(lambda: commits() >= min(before + 3, 120), "some more updates")
        found = self.end(lead, others, workers)
        self.assertEqual(found["model_sha256"], in_order["model_sha256"])


if __name__ == "__main__":
    unittest.main()
