#!/usr/bin/env python3
"""talweg sim: the job of a real run, in virtual time. The same bits where the schedule has no say,
what other commands make of its run directory, and what is refused."""
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import talweg_trace  # noqa: E402
from talweg_e2e import WIDE, Case, signal  # noqa: E402

RESULTS = ("updates", "samples", "train_loss", "test_loss", "test_accuracy", "model_sha256")


class Simulator(Case):
    def sim(self, *arguments, job="job.yaml", code=0):
        found, out, err = self.talweg("sim", job, "--json", *arguments)
        self.assertEqual(found, code, err)
        return self.result(out), err

    def entries(self, run):
        """Those of trace.log."""
        code, out, err = self.talweg("log", run, "--trace", "--json")
        self.assertEqual(code, 0, err)
        return list(map(json.loads, out.splitlines()))

    def assert_replays(self, run, simulated):
        code, out, err = self.talweg("replay", run, "--json")
        self.assertEqual(code, 0, err)
        replayed = self.result(out)
        for key in RESULTS + ("staleness_mean", "staleness_max"):
            self.assertEqual(replayed[key], simulated[key], key)


class TheRealRun(Simulator):
    def test_sync_has_the_bits_of_the_real_run_whatever_the_schedule(self):
        code, out, err = self.talweg("run", "job.yaml", "--out", "real", "--json")
        self.assertEqual(code, 0, err)
        real = self.result(out)
        for number, options in enumerate(((), ("--delay", "pareto:shape=1.5"),
                                          ("--servers", "3", "--net", "1ms,1Mbit"),
                                          ("--fail", "1@5+2", "--pause", "0@20+4"))):
            with self.subTest(options=options):
                simulated, _ = self.sim("--out", f"sim{number}", *options)
                for key in RESULTS:
                    self.assertEqual(simulated[key], real[key], key)
                with open(self.path(f"sim{number}", "model.safetensors"), "rb") as ours, \
                        open(self.path("real", "model.safetensors"), "rb") as theirs:
                    self.assertEqual(ours.read(), theirs.read())

    def test_objectives_too(self):
        self.write("objective.yaml", "model: {objective: {name: quadratic, spectrum: [1, 3], "
                   "noise: .5}}\nbatch: 8\nupdates: 200\ncluster: {workers: 4}\n"
                   "optimizer: {name: sgd, lr: 0.1}\n")
        code, out, err = self.talweg("run", "objective.yaml", "--out", "real", "--json")
        self.assertEqual(code, 0, err)
        simulated, _ = self.sim("--out", "sim", job="objective.yaml")
        self.assertEqual(simulated["model_sha256"], self.result(out)["model_sha256"])
        simulated, _ = self.sim("--out", "late", "--mode", "async", job="objective.yaml")
        self.assertAlmostEqual(simulated["staleness_mean"], 3, delta=.1)
        self.assert_replays("late", simulated)

    def test_with_slots_too(self):
        code, out, err = self.talweg("run", "job.yaml", "--out", "real", "--json", "--set",
                                     "slots=4")
        self.assertEqual(code, 0, err)
        simulated, _ = self.sim("--dry", "--set", "slots=4")
        self.assertEqual(simulated["model_sha256"], self.result(out)["model_sha256"])


class WhatItLeaves(Simulator):
    def test_replay_makes_every_mode_again_to_the_bit(self):
        for mode in ("async", "ssp:1", "backup:1", "k-batch-sync:2", "k-async:2"):
            with self.subTest(mode=mode):
                run = mode.replace(":", "-")
                simulated, _ = self.sim("--out", run, "--workers", "4", "--mode", mode, "--delay",
                                        "exponential:mean=.01", "--set", "trace.hash_every=1",
                                        "--net", "1ms,100Mbit")
                self.assert_replays(run, simulated)

    def test_log_timeline_and_metrics(self):
        simulated, _ = self.sim("--out", "run", "--mode", "async", "--delay", "constant:mean=.5")
        with open(self.path("run", "metrics.jsonl")) as file:
            lines = [json.loads(line) for line in file]
        self.assertEqual([line["epoch"] for line in lines], [1, 2, 3])
        self.assertEqual(lines[-1]["test_loss"], simulated["test_loss"])
        # Two workers with 10 samples each every half a second: 300 samples take 7.5 s.
        self.assertAlmostEqual(lines[0]["seconds"], 7.5, delta=.5)
        self.assertAlmostEqual(simulated["seconds"], 22.5, delta=.5)
        code, _, err = self.talweg("timeline", "run")
        self.assertEqual(code, 0, err)
        self.assertTrue(os.path.exists(self.path("run", "timeline.svg")))
        code, out, err = self.talweg("log", "run")
        self.assertEqual(code, 0, err)
        self.assertIn("COMMIT", out)
        with open(self.path("run", "job.yaml")) as file:
            self.assertIn("simulated", file.read())

    def test_the_last_hash_is_that_of_the_model(self):
        simulated, _ = self.sim("--out", "run", "--mode", "async", "--servers", "2")
        last = [entry for entry in self.entries("run") if entry["entry"] == "HASH"][-1]
        model = self.path("run", "model.safetensors")
        self.assertEqual(last["version"], simulated["updates"])
        self.assertEqual(int(last["hash"], 16),
                         talweg_trace.model_hash(model, talweg_trace.names(model)))

    def test_the_same_again_and_with_another_seed_of_delays(self):
        one, _ = self.sim("--out", "one", "--mode", "async", "--workers", "3")
        self.sim("--out", "two", "--mode", "async", "--workers", "3")
        self.sim("--out", "other", "--mode", "async", "--workers", "3", "--delay-seed", "5")

        def log(run):
            with open(self.path(run, "order.log"), "rb") as file:
                return file.read()
        self.assertEqual(log("one"), log("two"))
        self.assertNotEqual(log("one"), log("other"))
        self.assertEqual(one["updates"], 135)

    def test_a_worker_that_is_lost_for_good_is_evicted(self):
        simulated, err = self.sim("--dry", "--workers", "3", "--fail", "2@10", "--set",
                                  "on_worker_loss={action: evict, after: 3}")
        self.assertEqual(simulated["status"], "done")
        self.assertIn("1 eviction", err)


    def test_a_worker_that_is_lost_ends_the_run_if_so_asked(self):
        simulated, err = self.sim("--dry", "--fail", "1@10", "--set",
                                  "on_worker_loss={action: fail, after: 3}", code=1)
        self.assertIn("worker 1 has been gone for 3.0 s", simulated["error"])
        self.assertIn("on_worker_loss is fail", err)

    def test_diverging_is_told_with_what_to_do(self):
        simulated, _ = self.sim("--dry", "--set", "optimizer.lr=1e30", code=1)
        self.assertIn("diverged at update", simulated["error"])
        self.assertIn("optimizer.lr is 1e+30", simulated["error"])
        self.assertIn("or clip the gradient", simulated["error"])
        simulated, _ = self.sim("--dry", "--set", "optimizer.lr=1e30", "--set", "clip={norm: 1e30}",
                                code=1)
        self.assertNotIn("or clip the gradient", simulated["error"])


class Checkpoints(Simulator):
    EVERY = ("--servers", "2", "--set", "checkpoint.every=10")

    def folders(self, run):
        return sorted(os.listdir(self.path(run, "checkpoints")))

    def test_they_are_those_of_the_real_run(self):
        """Which may have missed some: it saves one at a time."""
        every = (*self.EVERY, "--set", "checkpoint.keep=100")
        self.train("real", *every)
        self.sim("--out", "sim", *every)
        self.assertEqual(self.folders("sim"), [f"v000000{n}0-g0" for n in (1, 2, 3, 4)])
        self.assertEqual(len(self.records("sim", "CHECKPOINT")), 4)
        self.assertIn("v00000010-g0", self.folders("real"))
        for name in set(self.folders("real")) & set(self.folders("sim")):  # one may be late, too
            for shard in "shard-0.safetensors", "shard-1.safetensors":
                with open(self.path("real", "checkpoints", name, shard), "rb") as theirs, \
                        open(self.path("sim", "checkpoints", name, shard), "rb") as ours:
                    self.assertEqual(ours.read(), theirs.read(), name)

    def test_a_real_run_goes_on_from_them(self):
        plain = self.train("plain")
        self.sim("--out", "run", *self.EVERY, "--fail-server", "0@25.5", code=1)
        self.assertEqual(self.folders("run"), ["v00000010-g0", "v00000020-g0"])
        code, out, err = self.talweg("run", "--resume", "run", "--json")
        self.assertEqual(code, 0, err)
        self.assertIn("going on from checkpoint v00000020-g0, after update 20 ", err)
        self.assertEqual(self.result(out)["model_sha256"], plain["model_sha256"])
        self.assert_replays("run", plain)

    def test_as_many_are_kept_as_the_job_says_also_when_its_servers_died(self):
        self.sim("--out", "run", *self.EVERY, "--fail-server", "0@25.5+1")
        self.assertEqual(self.folders("run"), ["v00000030-g1", "v00000040-g1"])
        self.assert_no_temporary_files()

    def test_none_is_written_where_nothing_is_and_the_order_is_the_same(self):
        kept, _ = self.sim("--out", "kept", *self.EVERY, "--mode", "async", "--net", "1ms")
        dry, _ = self.sim("--dry", *self.EVERY, "--mode", "async", "--net", "1ms")
        none, _ = self.sim("--out", "none", "--servers", "2", "--mode", "async", "--net", "1ms",
                           "--set", "checkpoint.seconds=0")
        for key in RESULTS + ("seconds",):
            self.assertEqual((dry[key], none[key]), (kept[key], kept[key]), key)
        self.assertFalse(os.path.exists(self.path("none", "checkpoints")))

    def test_a_run_that_is_stopped_saves_a_last_one(self):
        run = self.start("sim", "job.yaml", "--json", "--out", "run", "--servers", "2", "--net",
                         "500ms", "--set", "epochs=1000000", "--set", "checkpoint.seconds=1e6")
        run.wait_for("epoch 1")
        run.process.send_signal(signal.SIGINT)
        code, out, err = run.end()
        self.assertEqual(code, 130, err)
        updates = self.result(out)["updates"]
        self.assertEqual(self.folders("run"), [f"v{updates:08d}-g0"])
        stops = [entry for entry in self.entries("run")
                 if entry["entry"] == "INPUT" and entry["kind"] == 16]
        self.assertEqual(len(stops), 1)

    def test_one_that_cannot_be_written_is_told_and_the_run_goes_on(self):
        """Files of up to 500 KiB: the model is shorter, with what adam keeps it is not."""
        self.write("wide.yaml", WIDE)
        code, out, err = self.talweg("sim", "wide.yaml", "--json", "--out", "run", "--set",
                                     "checkpoint.every=20", before=[
                                         "sh", "-c", 'ulimit -f 1000; exec "$@"', "sh"])
        self.assertEqual(code, 0, err)
        self.assertIn("the checkpoint of update 20 could not be saved", err)
        self.assertEqual(self.folders("run"), [])

    def test_none_is_kept_that_order_log_does_not_have(self):
        """order.log comes to its limit on the way; the checkpoints are small."""
        self.write("long.yaml", "model: {objective: {name: quadratic, spectrum: [1]}}\n"
                                "optimizer: {name: sgd, lr: .1}\nbatch: 4\nupdates: 400\n"
                                "checkpoint: {every: 10, keep: 1000}\n")
        options = ["sim", "long.yaml", "--json", "--mode", "async", "--workers", "4"]
        code, out, err = self.talweg(*options, "--out", "plain")
        self.assertEqual(code, 0, err)
        limit = os.path.getsize(self.path("plain", "order.log")) // 2 // 512
        code, out, err = self.talweg(*options, "--out", "hit", before=[
            "sh", "-c", f'ulimit -f {limit}; exec "$@"', "sh"])
        self.assertEqual(code, 1, err)
        self.assertIn("cannot write hit/order.log", self.result(out)["error"])
        self.assertIn("order.log does not have it", err)
        has = [f"v{record['version']:08}-g0" for record in self.records("hit", "CHECKPOINT")]
        self.assertGreater(len(has), 1)
        self.assertEqual(self.folders("hit"), has)


class Servers(Simulator):
    def assert_made_again(self, run, simulated, rollbacks):
        """By a replay, which compares hashes of all generations, and from the lead's inputs."""
        self.assert_replays(run, simulated)
        self.assertEqual(len(self.records(run, "ROLLBACK")), rollbacks)
        code, out, err = self.talweg("sim", "--from", run, "--json")
        self.assertEqual(code, 0, err)
        explained = json.loads(out)
        self.assertEqual(explained["records"], len(self.records(run)))
        self.assertEqual((explained["unwritten"], explained["unexplained"]), (0, 0))
        self.assertAlmostEqual(explained["delay"]["mean"]["value"], 1, delta=.1)

    def test_sync_has_the_same_bits_after_its_servers_died(self):
        plain, _ = self.sim("--out", "plain")
        hit, err = self.sim("--out", "hit", "--servers", "2", "--fail-server", "0@20.5+10",
                            "--fail-server", "1@46.5+3", "--set", "checkpoint.every=5", "--set",
                            "trace.hash_every=1", "--net", "1ms,100Mbit")
        for key in RESULTS:
            self.assertEqual(hit[key], plain[key], key)
        self.assertIn("(generation 1)", err)
        self.assertIn("going on from the checkpoint after update", err)
        self.assertGreater(hit["seconds"], plain["seconds"] + 13)
        rows, others = self.metrics("hit"), self.metrics("plain")
        self.assertEqual([row["epoch"] for row in rows], [1, 2, 3])
        self.assertEqual([row["test_loss"] for row in rows], [row["test_loss"] for row in others])
        self.assert_made_again("hit", hit, 2)
        for name in "trace-g0.log", "trace-g1.log", "trace.log":
            self.assertTrue(os.path.exists(self.path("hit", name)))

    def test_other_modes_are_replayed(self):
        for mode in "async", "ssp:1", "k-batch-async:2":
            with self.subTest(mode=mode):
                hit, _ = self.sim("--out", mode, "--mode", mode, "--workers", "3", "--fail-server",
                                  "0@5+1", "--fail", "1@3", "--set", "checkpoint.every=4",
                                  "--set", "trace.hash_every=1")
                self.assert_made_again(mode, hit, 1)

    def test_checkpoints_by_virtual_time(self):
        hit, err = self.sim("--out", "out", "--set", "checkpoint.seconds=7", "--delay", "constant",
                            "--fail-server", "0@20.5+10")
        self.assertIn("after update 15 ", err)
        self.assertAlmostEqual(hit["seconds"], 45 + 5.5 + 10, delta=.1)

    def commits(self, run):
        """version -> when it was committed, in seconds."""
        return {entry["version"]: entry["committed"] * 1e-9
                for entry in self.entries(run) if entry["entry"] == "UPDATE"}

    def test_a_checkpoint_that_came_to_nothing_counts_for_nothing(self):
        """It is in the log, and the other server has not heard of it."""
        options = ("--servers", "2", "--delay", "constant", "--net", "500ms", "--set",
                   "checkpoint.every=10")
        self.sim("--out", "clean", *options)
        death = self.commits("clean")[20] + .25
        _, err = self.sim("--out", "hit", *options, "--fail-server", f"0@{death}+1")
        self.assertIn("going on from the checkpoint after update 10 ", err)
        samples = seconds = 0
        for row in self.metrics("hit"):
            self.assertAlmostEqual(row["samples_per_second"],
                                   (row["samples"] - samples) / (row["seconds"] - seconds))
            samples, seconds = row["samples"], row["seconds"]

    def shares(self, err):
        return [line for line in err.splitlines() if " computing, " in line]

    def test_where_the_time_went_is_of_the_whole_run(self):
        """Also of what was lost: from update 15 at 16 s to 20.5 s, and of 10 s until all are there
        again."""
        options = ("--delay", "constant:speeds=[1,.8]", "--set", "checkpoint.every=10",
                   "--fail-server", "0@20.5+10")
        hit, err = self.sim("--out", "out", *options)
        self.assertIn("going on from the checkpoint after update 10 ", err)
        rows = self.metrics("out")
        self.assertEqual(len(rows), 3)
        parts = {part: sum(row[part] for row in rows)
                 for part in ("computing", "waiting", "network", "away")}
        self.assertAlmostEqual(sum(parts.values()), 2 * hit["seconds"], places=6)
        self.assertAlmostEqual(parts["away"], 20, places=6)
        seconds = 0
        for row in rows:
            self.assertAlmostEqual(sum(row[part] for part in parts), 2 * (row["seconds"] - seconds),
                                   places=6)
            seconds = row["seconds"]
        away = round(1000 / hit["seconds"])
        for line in self.shares(err):
            self.assertTrue(line.endswith(f", {away} % away"), line)
        _, told = self.sim("--dry", *options)
        self.assertEqual(self.shares(told), self.shares(err))
        self.assertEqual(len(self.shares(told)), 2)

    def test_who_was_evicted_is_there_again(self):
        options = ("--workers", "3", "--fail", "2@10", "--set",
                   "on_worker_loss={action: evict, after: 3}", "--set", "checkpoint.seconds=0")
        _, err = self.sim("--dry", *options)
        self.assertIn("1 eviction", err)
        _, err = self.sim("--dry", *options, "--fail-server", "0@20+1")
        self.assertIn("beginning again from the start", err)
        self.assertNotIn("eviction", err)

    def test_a_verdict_that_was_taken_back_has_not_ended_it(self):
        """It died while the last weights were on their way to the evaluator, and once more."""
        options = ("--net", "500ms", "--set", "stop={gradient_norm: 1e9}")
        simulated, _ = self.sim("--out", "clean", *options)
        self.assertEqual(simulated["stopped"], "gradient_norm")
        death = self.commits("clean")[1] + .25
        hit, err = self.sim("--dry", *options, "--fail-server", f"0@{death}+1", "--fail-server",
                            f"0@{death + 1.5}", code=1)
        self.assertIn("beginning again from the start", err)
        self.assertIsNone(hit["stopped"])

    def test_a_trace_that_could_not_be_written_is_told_though_the_next_one_could(self):
        """The first is longer than files may be, the second has a few updates."""
        self.write("objective.yaml", "model: {objective: {name: quadratic, spectrum: [1], noise: 0}}"
                   "\nbatch: 2\nupdates: 500\ncluster: {workers: 2}\n"
                   "optimizer: {name: sgd, lr: 0.1}\ncheckpoint: {every: 490}\n")
        options = ("sim", "objective.yaml", "--json", "--delay", "constant", "--fail-server",
                   "0@495.5+1")
        code, out, err = self.talweg(*options, "--out", "plain")
        self.assertEqual(code, 0, err)
        sizes = {name: os.path.getsize(self.path("plain", name))
                 for name in ("trace-g0.log", "trace.log", "order.log")}
        limit = 100 << 10
        self.assertGreater(sizes["trace-g0.log"], limit)
        self.assertLess(max(sizes["trace.log"], sizes["order.log"]), limit)
        code, out, err = self.talweg(*options, "--out", "hit", before=[
            "sh", "-c", f'ulimit -f {limit // 512}; exec "$@"', "sh"])
        self.assertEqual(code, 1, err)
        self.assertIn("cannot write hit/trace.log", self.result(out)["error"])

    def test_a_server_that_dies_for_good_ends_the_run(self):
        hit, _ = self.sim("--out", "out", "--fail-server", "0@20.5", code=1)
        self.assertIn("server 0 was killed before the run was done", hit["error"])
        self.assertIsNone(hit["model"])
        self.assertFalse(os.path.exists(self.path("out", "model.safetensors")))

    def test_a_server_that_stands_still(self):
        plain, _ = self.sim("--dry", "--delay", "constant")
        hit, _ = self.sim("--dry", "--delay", "constant", "--pause-server", "0@20.5+4")
        self.assertAlmostEqual(hit["seconds"], plain["seconds"] + 3.5, places=6)
        self.assertEqual(hit["model_sha256"], plain["model_sha256"])


class Replicas(Simulator):
    def test_means_and_their_errors(self):
        code, out, err = self.talweg("sim", "job.yaml", "--json", "--mode", "async", "--workers",
                                     "4", "--delay", "exponential", "--replicas", "6", "--out",
                                     "all")
        self.assertEqual(code, 0, err)
        means = json.loads(out)
        self.assertEqual(means["replicas"], 6)
        each = []
        for number in range(6):
            with open(self.path("all", f"r{number:03d}", "metrics.jsonl")) as file:
                each.append(json.loads(file.readlines()[-1])["test_loss"])
        self.assertEqual(len(set(each)), 6)
        mean = sum(each) / 6
        error = (sum((x - mean) ** 2 for x in each) / 5 / 6) ** .5
        self.assertAlmostEqual(means["test_loss"]["mean"], mean, places=12)
        self.assertAlmostEqual(means["test_loss"]["standard_error"], error, places=12)

    def test_the_first_is_the_run_without_replicas(self):
        simulated, _ = self.sim("--dry", "--mode", "async")
        code, out, err = self.talweg("sim", "job.yaml", "--json", "--mode", "async", "--replicas",
                                     "1")
        self.assertEqual(code, 0, err)
        means = json.loads(out)
        self.assertEqual(means["test_loss"]["mean"], simulated["test_loss"])
        self.assertIsNone(means["test_loss"]["standard_error"])
        self.assertFalse(os.path.exists(self.path("runs")))


class Refused(Simulator):
    def test_what_is_wrong_is_named(self):
        cases = (
            (("--delay", "gama"), 'did you mean "gamma"'),
            (("--delay", "gamma:cv=-1"), "cv"),
            (("--delay", "gamma:cv"), "KEY=VALUE"),
            (("--delay", "constant:mean=-1"), "mean"),
            (("--service", "constant:mean=0"), "mean"),
            (("--delay", "constant:speeds=[1,0]"), "not above 0"),
            (("--net", "fast"), "LATENCY,BANDWIDTH"),
            (("--net", "1ms,0Gbit"), "above 0"),
            (("--net", "-1ms"), "not below 0"),
            (("--parameters", "many"), "no number"),
            (("--parameters", "0"), "from 1"),
            (("--parameters", "1e6"), "give --net LATENCY,BANDWIDTH"),
            (("--parameters", "1e6", "--net", "1ms"), "give --net LATENCY,BANDWIDTH"),
            (("--fail", "1@-3"), "begins at 0"),
            (("--fail", "1"), "RANK@TIME"),
            (("--fail", "2@3"), "no worker 2"),
            (("--fail", "0@3", "--fail", "1@3"), "nobody would be left"),
            (("--pause", "1@3"), "RANK@TIME+SECONDS"),
            (("--late", "1@3+4"), "RANK@TIME"),
            (("--fail-server", "1@3"), "no server 1: the last of 1 is 0"),
            (("--fail-server", "0"), "SERVER@TIME"),
            (("--fail-server", "0@-3+1"), "begins at 0"),
            (("--pause-server", "0@3"), "SERVER@TIME+SECONDS"),
            (("--pause-server", "0@3+-1"), "nothing lasts less than 0 s"),
            (("--fail", "0@3+-1"), "nothing lasts less than 0 s"),
            (("--replicas", "0"), "from 1"),
            (("--replicas", "2", "--delay", "pareto:shape=1"), "has no mean"),
            (("--delay-seed", "18446744073709551616"), "2^64 - 1"),
            (("--delay-seed", " -1"), "2^64 - 1"),
            (("--dry", "--out", "x"), "give one"),
        )
        for arguments, word in cases:
            with self.subTest(arguments=arguments):
                code, out, err = self.talweg("sim", "job.yaml", "--json", *arguments)
                self.assertEqual(code, 2, err)
                self.assertIn(word, err)
                self.assertEqual(self.result(out)["status"], "failed")
                self.assertFalse(os.path.exists(self.path("runs")))

    def test_replicas_that_cannot_begin(self):
        code, out, err = self.talweg("sim", "job.yaml", "--json", "--replicas", "2", "--fail", "2@3")
        self.assertEqual(code, 2, err)
        self.assertIn("no worker 2", json.loads(out)["error"])

    def test_data_that_is_not_there(self):
        os.remove(self.path("train-labels"))
        code, _, err = self.talweg("sim", "job.yaml")
        self.assertEqual(code, 2)
        self.assertIn("train-labels", err)

    def test_gradients_of_somebody_else(self):
        self.write("own.yaml", "model: {tensors: {w: [3]}}\nupdates: 5\n"
                   "optimizer: {name: sgd, lr: 1}\n")
        code, _, err = self.talweg("sim", "own.yaml")
        self.assertEqual(code, 2)
        self.assertIn("program of yours", err)

    def test_a_run_that_can_never_end(self):
        simulated, err = self.sim("--dry", "--fail", "1@5", code=1)
        self.assertIn("stands still", err)
        self.assertIn("it waits for worker 1, which died", err)
        self.assertEqual(simulated["status"], "failed")

    def test_a_network_over_which_nobody_gets_to_train(self):
        for network in "50", "1":
            simulated, err = self.sim("--dry", "--net", network, code=1)
            self.assertIn("over this network it never gets to train", err)
            self.assertEqual(simulated["status"], "failed")


if __name__ == "__main__":
    unittest.main()
