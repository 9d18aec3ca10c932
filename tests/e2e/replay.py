#!/usr/bin/python3
"""`talweg replay` makes recorded runs again to the bit, whatever happened to their processes;
names what differs when it cannot; and changes one thing when it is told to."""
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_by_hand import ByHand, hold_back, let_go  # noqa: E402
from talweg_e2e import JOB, SEED, Case  # noqa: E402

SAME = """mode servers workers updates samples train_loss test_loss test_accuracy staleness_mean
staleness_max model_sha256""".split()
TIMES = """seconds samples_per_second computing waiting network away waited_for
waited_for_seconds""".split()


class Replay(Case):
    def train(self, out, *arguments):
        code, text, err = self.talweg("run", "job.yaml", "--json", "--out", out, *arguments)
        self.assertEqual(code, 0, err)
        return self.result(text)

    def replay(self, run, *arguments, code=0, **more):
        """Its result, and what it told people."""
        found, text, err = self.talweg("replay", run, "--json", *arguments, **more)
        self.assertEqual(found, code, err)
        return self.result(text), err

    def contents(self, run):
        """name -> (bytes, time of change) of all files."""
        found = {}
        for folder, _, names in os.walk(self.path(run)):
            for name in names:
                path = os.path.join(folder, name)
                with open(path, "rb") as file:
                    found[path] = file.read(), os.stat(path).st_mtime_ns
        return found

    def assert_replays(self, run, recorded, *arguments):
        """A run without an evaluator at its end has no score; its replay has."""
        before = self.contents(run)
        found, err = self.replay(run, *arguments)
        for field in SAME:
            if not field.startswith("test_") or recorded[field] is not None:
                self.assertEqual(found[field], recorded[field], field)
        self.assertEqual((found["status"], found["error"], found["model"], found["run"]),
                         ("done", None, None, None))
        self.assertEqual(self.contents(run), before)
        return err

    def assert_refused(self, run, code, words, *arguments, **more):
        found, err = self.replay(run, *arguments, code=code, **more)
        self.assertEqual(found["status"], "failed")
        self.assertIn(found["error"], err)
        for word in words:
            self.assertIn(word, found["error"])
        return found


class SameBits(Replay):
    def test_sync(self):
        for workers in 1, 2, 3, 5:
            out = f"sync{workers}"
            recorded = self.train(out, "--workers", str(workers))
            self.assertIn("the same bits as", self.assert_replays(out, recorded))

    def test_async(self):
        for workers in 2, 3, 4:
            out = f"async{workers}"
            recorded = self.train(out, "--workers", str(workers), "--mode", "async", "--set",
                                  "epochs=20")
            self.assertGreater(recorded["staleness_max"], 0)
            self.assert_replays(out, recorded)

    def test_every_mode(self):
        for mode in ("backup:1", "k-sync:2", "k-batch-sync:3", "ssp:2", "k-async:2",
                     "k-batch-async:3", "softsync:2"):
            recorded = self.train(mode, "--workers", "4", "--mode", mode, "--set", "epochs=10")
            self.assert_replays(mode, recorded)

    def test_slots(self):
        for workers in "1", "2", "8":
            recorded = self.train(workers, "--workers", workers, "--set", "slots=8", "--set",
                                  "batch=21")
            self.assert_replays(workers, recorded)

    def test_every_rule_and_uneven_shares(self):
        for name in "sgd", "momentum", "nesterov", "adam":
            recorded = self.train(name, "--workers", "3", "--mode", "async", "--set",
                                  f"optimizer={{name: {name}, lr: 0.01}}", "--set", "batch=22",
                                  "--set", "data.shard=fixed")
            self.assert_replays(name, recorded)

    def test_seven_contributions_and_small_chunks(self):
        self.write("job.yaml", JOB.replace("dense: 8", "dense: 2048\n    - relu\n    - dense: 64")
                   .replace("epochs: 3", "updates: 6"))
        recorded = self.train("out", "--workers", "7", "--set", "chunk=64KiB")
        self.assert_replays("out", recorded)

    def test_only_job_log_and_data_are_needed(self):
        recorded = self.train("out")
        for name in os.listdir(self.path("out")):
            if name not in ("job.yaml", "order.log"):
                os.remove(self.path("out", name))
        self.assertNotIn("the same bits as", self.assert_replays("out", recorded))

    def test_a_run_without_test_data(self):
        self.write("job.yaml", JOB.replace(JOB.splitlines()[10] + "\n", ""))
        recorded = self.train("out")
        self.assertIsNone(recorded["test_loss"])
        self.assert_replays("out", recorded)

    def test_out_is_a_run_directory(self):
        for mode in "async", "k-sync:1":
            with self.subTest(mode=mode):
                self.write_run_directory(mode)
                shutil.rmtree(self.path("out"))
                shutil.rmtree(self.path("again"))

    def write_run_directory(self, mode):
        recorded = self.train("out", "--mode", mode, "--set", "trace.sums_every=3")
        found, _ = self.replay("out", "--out", "again/deeper")
        self.assertEqual(found["run"], "again/deeper")
        self.assertEqual(found["model"], "again/deeper/model.safetensors")
        with open(self.path(found["model"]), "rb") as file:
            self.assertEqual(hashlib.sha256(file.read()).hexdigest(), recorded["model_sha256"])
        rows = []
        for run in "out", "again/deeper":
            with open(self.path(run, "metrics.jsonl")) as file:
                rows.append([json.loads(line) for line in file])
        for row in rows[0] + rows[1]:
            for name in TIMES:
                row.pop(name, None)
        self.assertEqual(rows[0], rows[1])
        self.assertTrue(all(row["update_ratio"]["dense1.weight"] > 0 for row in rows[1]))
        with open(self.path("again/deeper/job.yaml")) as file:
            self.assertIn("# replayed from out\n", file.read())
        self.assert_refused("out", 2, ["again/deeper"], "--out", "again/deeper")


    def test_of_a_run_without_a_trace_says_of_its_own_how_far_it_moved(self):
        self.train("out", "--set", "optimizer={name: sgd, lr: 0.01}", "--set", "trace.on=false")
        for name, *arguments in (["same"], ["traced", "--set", "trace={on: true, sums_every: 1}"],
                                 ["twice", "--set", "trace={on: true, sums_every: 1}", "--set",
                                  "optimizer.lr=0.02", "--set", "updates=2"]):
            self.replay("out", "--out", name, *arguments)
            with open(self.path(name, "metrics.jsonl")) as file:
                found = json.loads(file.readline())["update_ratio"]
            if name == "same":
                self.assertIsNone(found)
            else:
                self.assertGreater(found["dense1.weight"], 0)


class Disturbed(ByHand, Replay):
    """Runs whose processes died."""

    def pass_epoch(self, run, number):
        self.assertTrue(any(epoch >= number for epoch in self.epochs(run)))

    def test_a_worker_that_died_ends_the_run_and_its_log_replays(self):
        run = self.start("run", "job.yaml", "--json", "--out", "out", "--mode", "async", "--set",
                         "epochs=100000")
        self.pass_epoch(run, 3)
        os.kill(run.child("worker", "--rank", "1"), signal.SIGKILL)
        code, text, err = run.end()
        self.assertEqual(code, 1, err)
        with open(self.path("out", "model.safetensors"), "rb") as file:
            saved = hashlib.sha256(file.read()).hexdigest()
        found, err = self.replay("out")
        self.assertGreater(found["updates"], 0)
        self.assertEqual(found["model_sha256"], saved)
        self.assertIn("the same bits as", err)
        self.assertIn(f"as recorded; the last was update {found['updates']}\n", err)

    def test_replaced_workers(self):
        for mode in "sync", "async", "k-batch-async:2":
            arguments = ["--set", f"consistency.mode={mode}"]
            server, port = self.serve(*arguments, out=mode)
            hold_back(server)
            workers = [self.work(port, "--rank", str(rank), *arguments) for rank in (0, 1)]
            for _ in self.blows(server, 100, 400):
                rank = self.random.randrange(2)
                workers[rank].process.kill()
                workers[rank].end()
                workers[rank] = self.work(port, "--rank", str(rank), *arguments)
                server.wait_for(f"worker {rank} joined")
            recorded = self.assert_ended_well(server, workers)
            code, text, _ = self.talweg("log", mode, "--json")
            records = [json.loads(line) for line in text.splitlines()]
            self.assertGreater(max(r.get("incarnation", 0) for r in records), 1)
            self.assert_replays(mode, recorded)

    def test_interrupted(self):
        run = self.start("run", "job.yaml", "--json", "--out", "out", "--set", "epochs=100000")
        self.pass_epoch(run, 3)
        run.process.send_signal(signal.SIGINT)
        code, text, err = run.end()
        self.assertEqual(code, 130, err)
        self.assert_replays("out", self.result(text))

    def test_a_killed_server_leaves_a_log_that_replays(self):
        server, port = self.serve("--set", "epochs=100000")
        workers = [self.work(port, "--set", "epochs=100000") for _ in range(2)]
        self.pass_epoch(server, 9)
        for process in server, *workers:
            process.process.kill()
            process.end()
        found, err = self.replay("out")
        self.assertGreaterEqual(found["samples"], 9 * 300)
        self.assertNotIn("the same bits as", err)

    def test_replay_is_stopped_in_order(self):
        recorded = self.undisturbed("--set", "epochs=1000")
        replay = self.start("replay", "undisturbed", "--json", "--out", "again")
        hold_back(replay)
        self.pass_epoch(replay, 5)
        replay.process.send_signal(signal.SIGINT)
        let_go(replay)
        code, text, err = replay.end()
        self.assertEqual(code, 130, err)
        found = self.result(text)
        self.assertEqual(found["status"], "interrupted")
        self.assertLess(found["updates"], recorded["updates"])
        self.assertTrue(os.path.exists(self.path(found["model"])))


class Changed(Replay):
    """In sync the order does not depend on what is changed: a replay with a change is the
    run with that change."""

    def forget(self):
        for out in "recorded", "wanted":
            shutil.rmtree(self.path(out), ignore_errors=True)

    def assert_is_the_run(self, *changes):
        arguments = [word for change in changes for word in ("--set", change)]
        recorded = self.train("recorded")
        wanted = self.train("wanted", *arguments)
        found, err = self.replay("recorded", *arguments)
        self.assertNotEqual(found["model_sha256"], recorded["model_sha256"])
        for field in SAME:
            self.assertEqual(found[field], wanted[field], field)
        return err

    def test_learning_rate(self):
        self.assertIn("optimizer.lr=0.1", self.assert_is_the_run("optimizer.lr=0.1"))

    def test_rule(self):
        self.assert_is_the_run("optimizer={name: nesterov, lr: 0.1}")

    def test_seed(self):
        self.assert_is_the_run("seed=2")

    def test_the_seed_of_one_stream(self):
        for seeds in "seeds.sampling=7", "seeds.init=7", "seeds={sampling: 3, init: 4}":
            with self.subTest(seeds=seeds):
                self.forget()
                self.assert_is_the_run(seeds)

    def test_streams_are_apart(self):
        """What one stream's seed is changes nothing in another."""
        plain = self.train("plain")
        other = self.train("other", "--set", "seed=2")
        back = self.train("back", "--set", "seed=2", "--set", "seeds={init: 1, sampling: 1}")
        self.assertEqual(back["model_sha256"], plain["model_sha256"])
        both = self.train("both", "--set", "seeds.init=2", "--set", "seeds.sampling=2")
        self.assertEqual(both["model_sha256"], other["model_sha256"])
        noise = self.train("noise", "--set", "seeds.noise=2")  # this job has none
        self.assertEqual(noise["model_sha256"], plain["model_sha256"])
        # A recorded run keeps what it was given, and lets the others follow `seed`.
        found, _ = self.replay("both", "--set", "seed=9")
        self.assertEqual(found["model_sha256"], both["model_sha256"])
        found, _ = self.replay("plain", "--set", "seed=2")
        self.assertEqual(found["model_sha256"], other["model_sha256"])

    def test_model_and_fewer_updates(self):
        self.assert_is_the_run("model.layers=[flatten, dense: 5, relu, dropout: 0.7, dense: 3]", "updates=11")

    def test_fewer_updates_alone(self):
        self.assert_is_the_run("updates=11")

    def test_fresh(self):
        recorded = self.train("out", "--mode", "async", "--workers", "3", "--set", "epochs=20")
        found, err = self.replay("out", "--set", "consistency.replay=fresh")
        self.assertEqual((found["staleness_mean"], found["staleness_max"]), (0, 0))
        self.assertEqual(found["updates"], recorded["updates"])
        self.assertNotEqual(found["model_sha256"], recorded["model_sha256"])
        self.assertIn("without staleness", err)
        self.assert_replays("out", recorded, "--set", "consistency.replay=recorded")

    def test_fresh_changes_nothing_where_nothing_is_stale(self):
        for workers, mode in ("1", "async"), ("3", "sync"):
            recorded = self.train(mode, "--mode", mode, "--workers", workers)
            self.assert_replays(mode, recorded, "--set", "consistency.replay=fresh")

    def test_what_cannot_be_changed(self):
        self.train("out")
        for change in "cluster.workers=3", "consistency.mode=async", "epochs=9", "cluster={}":
            self.assert_refused("out", 2, [change.split("=")[0], "cannot change"], "--set", change)
        self.assert_refused("out", 2, ["stale is not known"], "--set", "consistency.replay=stale")
        self.assert_refused("out", 2, ["optimizer.rl"], "--set", "optimizer.rl=1")

    def test_what_becomes_infinite_is_named(self):
        self.train("out")
        found = self.assert_refused("out", 1, ["is not finite", "(COMMIT)"], "--set",
                                    "optimizer={name: sgd, lr: 1e38}")
        self.assertLess(found["updates"], 45)


class Wrong(Replay):
    def setUp(self):
        super().setUp()
        self.recorded = self.train("out")

    def damage(self, change):
        """A copy of the run in `bad`, with a changed log."""
        shutil.rmtree(self.path("bad"), ignore_errors=True)
        shutil.copytree(self.path("out"), self.path("bad"))
        with open(self.path("bad", "order.log"), "rb") as file:
            data = bytearray(file.read())
        change(data)
        with open(self.path("bad", "order.log"), "wb") as file:
            file.write(data)

    def test_a_cut_log_is_replayed_up_to_there(self):
        def cut(data):
            del data[len(data) * 2 // 3:]
        self.damage(cut)
        found = self.assert_refused("bad", 1, ["bad/order.log: at byte", "cut"])
        self.assertGreater(found["updates"], 20)
        self.assertLess(found["updates"], 40)
        short, _ = self.replay("out", "--set", f"updates={found['updates']}")
        self.assertEqual(found["model_sha256"], short["model_sha256"])

    def test_a_corrupt_log_is_replayed_up_to_there(self):
        """Whatever byte is changed, the answer is a named error, or a byte that does not
        matter to the weights."""
        dice = random.Random(SEED)
        for _ in range(25):
            def flip(data):
                data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
            self.damage(flip)
            code, text, err = self.talweg("replay", "bad", "--json")
            self.assertIn(code, (0, 1, 2), f"seed {SEED}: {err}")
            found = self.result(text)
            if code == 0:
                self.assertEqual(found["model_sha256"], self.recorded["model_sha256"], SEED)
            else:
                self.assertRegex(found["error"], r"^(bad/order\.log: |all losses are as recorded)")

    def test_an_empty_log(self):
        self.damage(bytearray.clear)
        os.remove(self.path("bad", "model.safetensors"))
        found, _ = self.replay("bad")
        self.assertEqual(found["updates"], 0)

    def test_a_log_of_other_workers(self):
        with open(self.path("out", "job.yaml")) as file:
            job = file.read()
        self.assertIn("workers: 2,", job)
        self.write("out/job.yaml", job.replace("workers: 2,", "workers: 1,"))
        self.assert_refused("out", 2, ["(JOIN)", "slot 1", "1 workers with 1 slot each"])

    def test_no_run_directory(self):
        self.assert_refused("nowhere", 2, ["nowhere", "No such file"])
        self.assert_refused("job.yaml", 2, ["is no directory"])
        self.assert_refused(".", 2, ["not the directory of a run"])
        os.remove(self.path("out", "job.yaml"))
        self.assert_refused("out", 2, ["out/job.yaml", "No such file"])

    def test_another_blas_core(self):
        _, text, _ = self.talweg("version", "--json")
        here = json.loads(text)["blas_core"]
        other = "Haswell" if here == "Sandybridge" else "Sandybridge"
        before = ["env", f"OPENBLAS_CORETYPE={other}"]
        self.assert_refused("out", 1, [other, here, "--inexact", "record 1 (JOIN)"], before=before)
        found, err = self.replay("out", "--inexact", before=before)
        self.assertEqual(found["updates"], self.recorded["updates"])
        self.assertAlmostEqual(found["train_loss"], self.recorded["train_loss"], places=3)
        self.assertRegex(err, "the same bits as|other bits than")
        self.assert_replays("out", self.recorded, "--set", f"worker.blas_core={here}")

    def test_other_data(self):
        with open(self.path("train-labels"), "r+b") as file:
            file.seek(8)
            label = file.read(1)[0]
            file.seek(8)
            file.write(bytes([(label + 1) % 3]))
        self.assert_refused("out", 2, ["train-labels", "data.sha256"])
        _, err = self.replay("out", "--inexact")
        self.assertIn("other bits than", err)
        # A job that does not say which data it was: the first loss that differs is named.
        with open(self.path("out", "job.yaml")) as file:
            lines = [line for line in file if "sha256" not in line]
        self.write("out/job.yaml", "".join(lines))
        self.assert_refused("out", 1, ["is the first that differs", "loss of slot"])

    def test_another_model_file(self):
        with open(self.path("out", "model.safetensors"), "ab") as file:
            file.write(b"x")
        self.assert_refused("out", 1, ["all losses are as recorded", "out/model.safetensors"])

    def test_gradients_of_a_program_of_the_user_s(self):
        os.mkdir(self.path("own"))
        self.write("own/order.log", "")
        self.write("own/job.yaml", "model: {tensors: {w: [3]}}\nupdates: 2\n"
                                   "optimizer: {name: sgd, lr: 1}\n")
        self.assert_refused("own", 2, ["program of yours"])

    def test_usage(self):
        for arguments in [], ["a", "b"], ["a", "--out="], ["a", "--fresh"]:
            code, _, err = self.talweg("replay", *arguments)
            self.assertEqual(code, 2)
            self.assertIn("Try 'talweg replay --help'", err)


if __name__ == "__main__":
    unittest.main()
