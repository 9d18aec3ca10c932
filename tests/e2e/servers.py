#!/usr/bin/env python3
"""Several servers: the same bits whatever their number, and what happens when one is lost,
lies, or is not there."""
import json
import math
import os
import re
import signal
import struct
import socket
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

import talweg_by_hand  # noqa: E402
from talweg_by_hand import hold_back, wait_until  # noqa: E402
from talweg_e2e import WIDE, Case, children_of  # noqa: E402


class Wide(Case):
    def setUp(self):
        super().setUp()
        self.write("job.yaml", WIDE)

    def commits(self, out, field):
        return [record[field] for record in self.records(out, "COMMIT")]



class SameBits(Wide):
    def test_sync_gives_the_same_model_on_any_number_of_servers(self):
        one = self.train("one")
        for servers, chunk in ((2, 65536), (3, 262144), (5, 65536), (2, 4194304)):
            with self.subTest(servers=servers, chunk=chunk):
                many = self.train(f"many-{servers}-{chunk}", "--servers", str(servers), "--set",
                                  f"chunk={chunk}")
                self.assertEqual(many["servers"], servers)
                for key in ("updates", "samples", "train_loss", "test_loss", "test_accuracy",
                            "model_sha256"):
                    self.assertEqual(many[key], one[key], key)
                self.assertTrue(os.path.exists(self.path(f"many-{servers}-{chunk}", "server1.log")))

    def test_other_modes_replay_to_the_same_bits(self):
        for mode, servers in (("async", 2), ("async", 3), ("ssp:1", 2), ("backup:1", 3),
                              ("k-batch-async:2", 2)):
            with self.subTest(mode=mode, servers=servers):
                out = f"{mode.replace(':', '-')}-{servers}"
                ran = self.train(out, "--servers", str(servers), "--mode", mode)
                self.assertEqual(self.replay(out)["model_sha256"], ran["model_sha256"])

    def test_clipped_by_norm_it_is_the_same_model_too(self):
        """Some updates are clipped, some are not; the log says by how much, to the last bit."""
        clip = ("--set", "clip.norm=0.3", "--set", "updates=30", "--set", "optimizer={name: sgd, lr: 0.1}")
        one = self.train("one", *clip)
        divisors = self.commits("one", "divisor")
        self.assertTrue(0 < sum(d > 0 for d in divisors) < 30, divisors)
        unclipped = self.train("unclipped", *clip[2:])
        self.assertNotEqual(unclipped["model_sha256"], one["model_sha256"])
        for servers, chunk in ((2, 65536), (3, 131072), (5, 65536)):
            with self.subTest(servers=servers, chunk=chunk):
                out = f"many-{servers}-{chunk}"
                many = self.train(out, *clip, "--servers", str(servers), "--set", f"chunk={chunk}")
                self.assertEqual(many["model_sha256"], one["model_sha256"])
                self.assertEqual(self.commits(out, "divisor"), divisors)
                self.assertEqual(self.replay(out)["model_sha256"], one["model_sha256"])

    def test_clipped_by_norm_async_replays(self):
        ran = self.train("out", "--mode", "async", "--servers", "3", "--set", "clip.norm=0.3")
        self.assertTrue(any(d > 0 for d in self.commits("out", "divisor")))
        self.assertEqual(self.replay("out")["model_sha256"], ran["model_sha256"])


class LayerWise(Wide):
    """Rules that need the norms of whole tensors, which servers share."""
    RULES = {"lars": "{name: lars, lr: 5, trust: 0.02}", "lamb": "{name: lamb, lr: 0.02}"}

    def test_sync_gives_the_same_model_on_any_number_of_servers(self):
        for name, rule in self.RULES.items():
            rule = ("--set", f"optimizer={rule}", "--set", "updates=12", "--set",
                    "groups=[{tensors: \"*.bias\", lr: 0.5, decay: false}]")
            one = self.train(name, *rule)
            ratios = self.commits(name, "ratios")
            self.assertEqual([len(r) for r in ratios], [4] * 12)
            self.assertGreater(len(set(sum(ratios, []))), 12)
            for servers, chunk in ((2, 65536), (3, 131072), (5, 65536)):
                with self.subTest(rule=name, servers=servers, chunk=chunk):
                    out = f"{name}-{servers}"
                    many = self.train(out, *rule, "--servers", str(servers), "--set",
                                      f"chunk={chunk}")
                    self.assertEqual(many["model_sha256"], one["model_sha256"])
                    self.assertEqual(self.commits(out, "ratios"), ratios)
            self.assertEqual(self.replay(f"{name}-3")["model_sha256"], one["model_sha256"])

    def test_other_modes_replay_to_the_same_bits(self):
        for name, mode, servers in (("lars", "async", 3), ("lamb", "k-batch-async:2", 2)):
            with self.subTest(rule=name, mode=mode):
                ran = self.train(name, "--set", f"optimizer={self.RULES[name]}", "--mode", mode,
                                 "--servers", str(servers), "--set", "updates=30")
                self.assertEqual(self.replay(name)["model_sha256"], ran["model_sha256"])
        other = self.replay("lamb", "--set", "optimizer.weight_decay=0.3")
        self.assertNotEqual(other["model_sha256"], ran["model_sha256"])

    def test_a_wrong_ratio_in_the_log_is_found(self):
        self.train("out", "--set", f"optimizer={self.RULES['lamb']}", "--set", "updates=3")
        ratio = next(r for r in self.commits("out", "ratios")[1] if r != 1)
        path = self.path("out", "order.log")
        with open(path, "rb") as file:
            log = file.read()
        wrong = struct.pack("<d", math.nextafter(ratio, math.inf))
        with open(path, "wb") as file:
            file.write(log.replace(struct.pack("<d", ratio), wrong, 1))
        code, _, err = self.talweg("replay", "out")
        self.assertEqual(code, 1)
        self.assertIn("update 2 is the first that differs: the ratio of tensor ", err)

    def test_clipping_by_norm_is_refused(self):
        for name, rule in self.RULES.items():
            code, _, err = self.talweg("run", "job.yaml", "--set", f"optimizer={rule}", "--set",
                                       "clip.norm=1")
            self.assertEqual(code, 2)
            self.assertIn(f"clip.norm: not together with optimizer {name}", err)


class Endings(Case):
    LONG = WIDE.replace("epochs: 3", "epochs: 1000000")

    def setUp(self):
        super().setUp()
        self.write("job.yaml", self.LONG)

    def begin(self):
        run = self.start("run", "job.yaml", "--servers", "3", "--out", "out", "--json")
        self.wait_for_update()
        return run, list(children_of(run.pid))

    def wait_for_update(self):
        metrics = self.path("out", "metrics.jsonl")
        wait_until(lambda: os.path.exists(metrics) and os.path.getsize(metrics), "an update")

    def test_ctrl_c_saves_the_model_of_all_servers(self):
        run, children = self.begin()
        os.kill(run.pid, signal.SIGINT)
        code, out, err = run.end()
        self.assertEqual(code, 130, err)
        result = self.result(out)
        self.assertEqual(result["status"], "interrupted")
        self.assertTrue(os.path.exists(self.path(result["model"])))
        self.assert_gone(children)
        code, out, err = self.talweg("replay", "out", "--json")
        self.assertEqual(code, 0, err)
        self.assertEqual(self.result(out)["model_sha256"], result["model_sha256"])

    def told(self):
        code, out, err = self.talweg("status", "out", "--json")
        self.assertEqual(code, 0, err)
        return json.loads(out)

    def test_a_frozen_server_is_named_and_let_off_again(self):
        run, children = self.begin()
        frozen = run.child("server", "--index", "2")
        os.kill(frozen, signal.SIGSTOP)
        self.addCleanup(self.thaw, frozen)
        found = wait_until(lambda: (f := self.told())["waiting"] and "nothing at all" in
                           f["waiting"] and f, "named")
        self.assertRegex(found["waiting"], r"^for server 2, which has said nothing at all for \d+ s$")
        self.thaw(frozen)
        wait_until(lambda: self.told()["updates"] > found["updates"], "going on")
        os.kill(run.pid, signal.SIGINT)
        code, _, err = run.end()
        self.assertEqual(code, 130, err)
        self.assert_gone(children)

    def stall_at_the_end(self):
        """The run is told to stop; server 2, which has a part of the model, is frozen."""
        run, children = self.begin()
        frozen = run.child("server", "--index", "2")
        os.kill(frozen, signal.SIGSTOP)
        self.addCleanup(self.thaw, frozen)
        os.kill(run.pid, signal.SIGINT)
        return run, children, frozen

    def test_a_server_that_stalls_while_its_part_is_collected_is_waited_for(self):
        run, children, frozen = self.stall_at_the_end()
        wait_until(lambda: self.told()["phase"] == "ending", "collecting")
        self.thaw(frozen)
        code, out, err = run.end()
        self.assertEqual(code, 130, err)
        result = self.result(out)
        self.assertTrue(os.path.exists(self.path(result["model"])))
        self.assert_gone(children)
        code, out, err = self.talweg("replay", "out", "--json")
        self.assertEqual(code, 0, err)
        self.assertEqual(self.result(out)["model_sha256"], result["model_sha256"])

    @unittest.skipUnless(os.environ.get("TALWEG_LONG"), "it is waited for for half a minute")
    def test_a_server_that_never_sends_its_part_is_named(self):
        run, children, frozen = self.stall_at_the_end()
        code, out, err = run.end()
        result = self.result(out)
        self.assertIn("server 2 has sent nothing of its part for ", result["error"])
        self.assertIsNone(result["model"])
        self.assertNotEqual(code, 0)
        self.assert_gone(children)
        self.assert_no_temporary_files()

    def thaw(self, pid):
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass

    def test_a_killed_server_ends_the_run_by_name(self):
        run, children = self.begin()
        os.kill(run.child("server", "--index", "2"), signal.SIGKILL)
        code, out, err = run.end()
        self.assertEqual(code, 1, err)
        result = self.result(out)
        self.assertEqual(result["status"], "failed")
        self.assertIn("server 2", result["error"])
        self.assertIsNone(result["model"])
        self.assert_gone(children)
        self.assert_no_temporary_files()

    def test_a_killed_lead_ends_the_run_by_name(self):
        run, children = self.begin()
        os.kill(run.child("server", "--out"), signal.SIGKILL)
        code, out, err = run.end()
        self.assertEqual(code, 1, err)
        self.assertIn("server 0", self.result(out)["error"])
        self.assert_gone(children)


class Killed(talweg_by_hand.ByHand):
    TWO = ("--set", "cluster.servers=2")

    def test_workers_that_are_killed_and_replaced_leave_the_same_bits(self):
        lead, port = self.serve(*self.TWO)
        other = self.start("server", "job.yaml", *self.TWO, "--index", "1", "--lead",
                           f"127.0.0.1:{port}", "--listen", "127.0.0.1:0")
        hold_back(lead)
        workers = [self.work(port, *self.TWO, "--rank", str(rank)) for rank in range(2)]
        killed = 0
        for _ in self.blows(lead, 50, 300):
            rank = self.random.randrange(2)
            workers[rank].process.kill()
            self.assertEqual(workers[rank].end()[0], -9)
            workers[rank] = self.work(port, *self.TWO, "--rank", str(rank))
            lead.wait_for(f"worker {rank} joined")
            killed += 1
        self.assertGreater(killed, 2)
        found = self.assert_ended_well(lead, [*workers, other])
        expected = self.undisturbed()
        for key in "updates", "samples", "train_loss", "model_sha256":
            self.assertEqual(found[key], expected[key], f"{key}, seed {self.seed}")


class ByHand(Case):
    def setUp(self):
        super().setUp()
        self.write("job.yaml", WIDE.replace("servers: 1, workers: 2", "servers: 2, workers: 2"))

    def lead(self):
        run = self.start("server", "job.yaml", "--listen", "127.0.0.1:0", "--out", "out", "--json")
        port = re.search(r"port (\d+)", run.wait_for("listening on")).group(1)
        return run, "127.0.0.1:" + port

    def other(self, address, *arguments, index=1, job="job.yaml"):
        return self.start("server", job, "--index", str(index), "--lead", address, "--listen",
                          "127.0.0.1:0", *arguments)

    def test_workers_need_only_the_address_of_the_lead(self):
        lead, address = self.lead()
        workers = [self.start("worker", "job.yaml", "--server", address) for _ in range(2)]
        other = self.other(address)
        code, out, err = lead.end()
        self.assertEqual(code, 0, err)
        by_hand = self.result(out)
        for process in (other, *workers):
            code, _, err = process.end()
            self.assertEqual(code, 0, err)
        code, out, err = self.talweg("run", "job.yaml", "--servers", "1", "--out", "one", "--json")
        self.assertEqual(code, 0, err)
        self.assertEqual(by_hand["model_sha256"], self.result(out)["model_sha256"])

    def refused(self, other, *words):
        code, _, err = other.end()
        self.assertEqual(code, 1, err)
        for word in words:
            self.assertIn(word, err)

    def test_what_does_not_fit_is_refused_by_name_and_the_run_goes_on(self):
        self.write("another.yaml", WIDE.replace("servers: 1", "servers: 2").replace("1e-2", "1e-3"))
        self.write("three.yaml", WIDE.replace("servers: 1", "servers: 3"))
        lead, address = self.lead()
        self.refused(self.other(address, job="another.yaml"), "wrong-job", "job file")
        self.refused(self.other(address, job="three.yaml"), "wrong-job", "2 servers")
        self.write("little.yaml", WIDE.replace("servers: 1", "servers: 2")
                   + "memory: {inflight: 503KiB}\n")
        self.refused(self.other(address, job="little.yaml"), "wrong-job",
                     "server 1 has less room for gradients on their way", "memory.inflight")
        good = self.other(address)
        good.wait_for("serving the lead")
        self.refused(self.other(address), "rank-taken", "server 1 already")
        self.assertIn("another job file", lead.wait_for("wrong-job"))
        self.assertIn("2 servers", lead.wait_for("wrong-job"))
        self.assertIn("memory.inflight", lead.wait_for("wrong-job"))
        lead.wait_for("rank-taken")
        workers = [self.start("worker", "job.yaml", "--server", address) for _ in range(2)]
        for process in (lead, good, *workers):
            code, _, err = process.end()
            self.assertEqual(code, 0, err)

    def test_a_server_that_leaves_ends_the_run(self):
        lead, address = self.lead()
        other = self.other(address)
        other.wait_for("serving the lead")
        os.kill(other.pid, signal.SIGTERM)
        self.assertEqual(other.end()[0], 130)
        code, out, err = lead.end()
        self.assertEqual(code, 1, err)
        self.assertIn("server 1", self.result(out)["error"])

    def test_a_lead_that_takes_the_connection_and_says_nothing_is_tried_again(self):
        with socket.create_server(("127.0.0.1", 0)) as mute:
            mute.settimeout(60)
            other = self.other("127.0.0.1:%d" % mute.getsockname()[1])
            first, _ = mute.accept()
            second, _ = mute.accept()
            with first, second:
                os.kill(other.pid, signal.SIGTERM)
                code, _, err = other.end()
        self.assertEqual(code, 130, err)
        self.assertNotIn("will be saved", err)

    def test_a_lead_that_is_not_there_is_named(self):
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))  # and does not listen
            address = "127.0.0.1:%d" % holder.getsockname()[1]
            self.refused(self.other(address, "--patience", "0.3"), address, "connection refused",
                         "after 1 s: start it, or check --lead")

    def test_a_lead_that_comes_late_is_found(self):
        with socket.create_server(("127.0.0.1", 0)) as door:
            door.settimeout(60)
            address = "127.0.0.1:%d" % door.getsockname()[1]
            other = self.other(address, "--patience", "600")
            door.accept()[0].close()
        lead = self.start("server", "job.yaml", "--listen", address, "--out", "out")
        other.wait_for("serving the lead")
        workers = [self.start("worker", "job.yaml", "--server", address) for _ in range(2)]
        for process in (lead, other, *workers):
            code, _, err = process.end()
            self.assertEqual(code, 0, err)

    def test_wrong_words(self):
        for words, complaint in (
                (("--index", "1", "--listen", "127.0.0.1:0"), "--lead"),
                (("--index", "2", "--lead", "127.0.0.1:1", "--listen", "127.0.0.1:0"), "2 servers"),
                (("--index", "x", "--listen", "127.0.0.1:0"), "--index"),
                (("--out", "o", "--listen", "127.0.0.1:0", "--patience", "1"),
                 "--patience is of the other servers"),
                (("--index", "1", "--lead", "127.0.0.1:1", "--listen", "127.0.0.1:0", "--patience",
                  "0"), "--patience 0: seconds above 0"),
                (("--index", "1", "--lead", "nowhere", "--listen", "127.0.0.1:0"), "--lead")):
            code, _, err = self.talweg("server", "job.yaml", *words)
            self.assertEqual(code, 2, err)
            self.assertIn(complaint, err)

    def test_what_no_cluster_can_have(self):
        """Said by whoever is started with it, before anything is made."""
        for words, complaints in ((("cluster.servers=60",), ("cluster.servers", "chunks")),
                                  (("chunk=1KiB",), ("chunk", "64KiB")),
                                  (("chunk=8MiB",), ("chunk", "4MiB"))):
            settings = [word for key in words for word in ("--set", key)]
            for command in (("run", "job.yaml", "--out", "new"),
                            ("server", "job.yaml", "--listen", "127.0.0.1:0", "--out", "new"),
                            ("server", "job.yaml", "--listen", "127.0.0.1:0", "--index", "1",
                             "--lead", "127.0.0.1:1"),
                            ("worker", "job.yaml", "--server", "127.0.0.1:1")):
                with self.subTest(words=words, command=command):
                    code, _, err = self.talweg(*command, *settings)
                    self.assertEqual(code, 2, err)
                    for complaint in complaints:
                        self.assertIn(complaint, err)
        self.assertFalse(os.path.exists(self.path("new")))


if __name__ == "__main__":
    unittest.main()
