#!/usr/bin/python3
"""Real runs are killed, as a whole or one of their servers, and go on from their checkpoints."""
import csv
import io
import json
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_by_hand import hold_back  # noqa: E402
from talweg_e2e import JOB, Case, children_of, signal, write_data  # noqa: E402

# Longer than what a program that is held back can be ahead of its reader, three times.
EPOCHS = 500
LONG = ["--set", f"epochs={EPOCHS}", "--set", "batch=20"]
EVERY = [*LONG, "--set", "checkpoint={every: 7, keep: 3}"]
# However long a run takes: none, and none but the last.
NEVER = [*LONG, "--set", "checkpoint={every: 0, seconds: 0}"]
LAST = [*LONG, "--set", "checkpoint={every: 0, seconds: 86400}"]
# Tensors are cut at chunk borders only, so this one is on every server in part. Statistics that
# know how many updates there were.
WIDE = ["--set", "chunk=64KiB",
        "--set", "model.layers=[flatten, {dense: 2000}, batch_norm: {average: mean}, relu, {dense: 3}]"]


class Checkpoints(Case):
    def setUp(self):
        super().setUp()
        write_data(self.folder, "train", 60)  # so that many epochs take little time

    def finish(self, *arguments):
        code, text, err = self.start(*arguments, "--json").end(seconds=300)
        self.assertEqual(code, 0, err)
        found = self.result(text)
        self.assertEqual(found["status"], "done")
        return found, err

    def checkpoints(self, run="out"):
        root = self.path(run, "checkpoints")
        if not os.path.isdir(root):
            return []
        return sorted(name for name in os.listdir(root) if not name.endswith(".tmp"))

    def see_it_train(self, generation, *arguments):
        """A run that is in the middle of its training, and has saved something."""
        run = self.start("run", "--json", *arguments)
        hold_back(run)
        run.wait_for("epoch ")
        while generation >= 0 and not any(name.endswith(f"-g{generation}")
                                          for name in self.checkpoints()):
            run.wait_for("epoch ")
        return run

    def begin(self, *arguments):
        generation = 0 if EVERY[-1] in arguments else -1
        return self.see_it_train(generation, "job.yaml", "--out", "out", *arguments)

    def kill_all(self, run):
        children = children_of(run.pid)
        run.process.kill()
        run.end()
        self.assert_gone(children, seconds=60)

    def records(self, run, kind):
        code, text, err = self.talweg("log", run, "--json")
        self.assertEqual(code, 0, err)
        return [record for record in map(json.loads, text.splitlines())
                if record["record"] == kind]

    def assert_replays(self, run, found):
        code, text, err = self.talweg("replay", run, "--json")
        self.assertEqual(code, 0, err)
        replayed = self.result(text)
        for key in "updates", "samples", "train_loss", "staleness_mean", "model_sha256":
            self.assertEqual(replayed[key], found[key], key)

    def same_bits(self, *arguments, more=()):
        """Killed twice, a run ends with the model and the metrics of one that was not."""
        plain, _ = self.finish("run", "job.yaml", "--out", "plain", *LONG, *arguments)
        self.kill_all(self.begin(*EVERY, *arguments))
        again = self.see_it_train(1, "--resume", "out", *more)
        self.assertRegex(again.seen,
                         r"going on from checkpoint v\d{8}-g0, after update \d+ \(generation 1\)")
        self.kill_all(again)
        found, err = self.finish("run", "--resume", "out", *more)
        self.assertRegex(err, r"from checkpoint v\d{8}-g1, after update \d+ \(generation 2\)")
        for key in ("updates", "samples", "test_loss", "test_accuracy", "model_sha256",
                    "model_ema_sha256"):
            self.assertEqual(found.get(key), plain.get(key), key)
        self.assertEqual(len(self.checkpoints()), 3)
        self.assertEqual([r["generation"] for r in self.records("out", "ROLLBACK")], [1, 2])
        self.assert_replays("out", found)
        plain = self.losses("plain")
        for epoch, loss in self.losses("out").items():
            self.assertEqual(loss, plain[epoch], epoch)
        self.assert_no_temporary_files()

    def losses(self, run):
        """Of the epochs; the line of one whose evaluation was cut may be missing."""
        with open(self.path(run, "metrics.jsonl")) as file:
            lines = [json.loads(line) for line in file]
        self.assertEqual(lines[-1]["epoch"], EPOCHS)
        epochs = [line["epoch"] for line in lines]
        self.assertEqual(epochs, sorted(set(epochs)))
        self.assertGreaterEqual(len(lines), EPOCHS - 2)
        return {line["epoch"]: line["train_loss"] for line in lines}

    def test_one_server(self):
        self.same_bits()

    @unittest.skipUnless(os.environ.get("TALWEG_LONG"), "long: as with another number of them")
    def test_two_servers(self):
        self.same_bits("--servers", "2", *WIDE)

    def test_another_number_of_servers(self):
        self.same_bits("--servers", "3", *WIDE, more=["--servers", "2"])

    def test_an_average_and_a_plateau(self):
        """What the job keeps beside the weights and the rule's state; each end of an epoch is one
        where a checkpoint may have to wait for its verdict."""
        plateau = "schedule={name: reduce_on_plateau, factor: 0.98, threshold: 0.3}"
        self.same_bits("--servers", "2", "--set", "average={ema: 0.9}", "--set", plateau,
                       "--set", "checkpoint={every: 3, keep: 3}")
        self.assertIn("model-ema.safetensors", os.listdir(self.path("out")))
        self.assertGreater(self.records("out", "VERDICT")[-1]["reductions"], 10)
        self.assertEqual(self.verdicts("out"), self.verdicts("plain"))

    def verdicts(self, run):
        """Of each update that has one; where it was made twice, the one that stands."""
        return {record["version"]: {key: record[key] for key in
                                    ("loss", "best", "bad", "cooldown", "reductions")}
                for record in self.records(run, "VERDICT")}

    @unittest.skipUnless(os.environ.get("TALWEG_LONG"), "long: sim/test_tight saves, too")
    def test_little_memory(self):
        """Where servers say whose pushes they have room for, nobody waits for one of before."""
        little = ["--set", "memory.inflight=207KiB", "--workers", "4", "--set", "batch=20"]
        self.write("job.yaml", JOB.replace("dense: 8", "dense: 1000") + "chunk: 64KiB\n")
        self.kill_all(self.begin(*EVERY, *little, "--mode", "async"))
        found, _ = self.finish("run", "--resume", "out")
        self.assertGreater(len(self.records("out", "PERMIT")), 100)
        self.assert_replays("out", found)

    def test_async_replays(self):
        self.kill_all(self.begin("--mode", "async", *EVERY))
        found, _ = self.finish("run", "--resume", "out")
        self.assertEqual(found["updates"], EPOCHS * 6)
        self.assert_replays("out", found)
        code, _, err = self.talweg("timeline", "out", "--out", "timeline.svg")
        self.assertEqual(code, 0, err)
        self.assert_log_tells("out")

    def test_what_corrections_keep(self):
        late = ["--mode", "async", "--workers", "3", "--set", "optimizer={name: sgd, lr: 0.1}",
                "--set", "corrections=[dc_asgd_adaptive, {name: dana, momentum: 0.5}, gap_aware, "
                "staleness_power]"]
        self.kill_all(self.begin(*late, *EVERY))
        found, _ = self.finish("run", "--resume", "out")
        self.assertEqual(len(self.records("out", "ROLLBACK")), 1)
        self.assert_replays("out", found)

    def test_a_replay_compares_with_the_traces_of_all_generations(self):
        often = ["--set", "trace.sums_every=1"]
        run = self.begin("--mode", "async", *EVERY, *often)
        while int(self.checkpoints()[-1][1:9]) < 100 or not self.traced("trace.log"):
            run.wait_for("epoch ")
        self.kill_all(run)
        found, _ = self.finish("run", "--resume", "out")
        back, = self.records("out", "ROLLBACK")
        before = [version for version in self.traced("trace-g0.log") if version <= back["version"]]
        again = self.traced("trace.log")
        self.assertGreater(min(again), back["version"])
        self.assertGreater(len(before), 0)
        code, _, err = self.talweg("replay", "out")
        self.assertEqual(code, 0, err)
        self.assertIn(f"weights of {len(before) + len(again)} updates are as recorded; the last was "
                      f"update {found['updates']}", err)

    def traced(self, name):
        """The updates that a trace has sums of."""
        os.makedirs(self.path("traced"), exist_ok=True)
        for file, source in ("order.log", "order.log"), ("trace.log", name):
            shutil.copy(self.path("out", source), self.path("traced", file))
        _, text, _ = self.talweg("log", "traced", "--trace", "--json")  # it may be cut
        return [entry["version"] for entry in map(json.loads, text.splitlines())
                if entry["entry"] == "SUMS"]

    def assert_log_tells(self, run):
        """As text and as CSV, where the other records have columns of theirs."""
        code, text, err = self.talweg("log", run)
        self.assertEqual(code, 0, err)
        back, = self.records(run, "ROLLBACK")
        saved = [record["position"] for record in self.records(run, "CHECKPOINT")]
        self.assertIn(back["to"], saved)
        self.assertEqual(text.count("all is being saved"), len(saved))
        self.assertIn(f"generation 1 goes on from the checkpoint, position {back['to']}, mode async",
                      text)
        code, text, err = self.talweg("log", run, "--csv")
        self.assertEqual(code, 0, err)
        rows = [row for row in csv.DictReader(io.StringIO(text))
                if row["record"] in ("ROLLBACK", "CHECKPOINT")]
        self.assertEqual([int(row["position"]) for row in rows if row["record"] == "CHECKPOINT"],
                         saved)
        row, = (row for row in rows if row["record"] == "ROLLBACK")
        self.assertEqual([row[key] for key in ("position", "incarnation", "read", "mode")],
                         [str(back["position"]), "1", str(back["to"]), "async"])
        self.assertTrue(all(None not in row for row in rows))

    def test_status_of_a_run_that_goes_on_again(self):
        """It counts what the run has, not what these processes did."""
        self.kill_all(self.begin(*EVERY))
        run = self.see_it_train(1, "--resume", "out")
        code, text, err = self.talweg("status", "out", "--json")
        self.assertEqual(code, 0, err)
        told = json.loads(text)
        self.assertEqual((told["status"], told["phase"]), ("running", "training"))
        back, = self.records("out", "ROLLBACK")
        self.assertGreater(told["updates"], back["version"])
        self.assertEqual([rank["rank"] for rank in told["ranks"]], [0, 1])
        self.kill_all(run)

    def test_a_checkpoint_that_was_spoilt_is_passed_over(self):
        plain, _ = self.finish("run", "job.yaml", "--out", "plain", *LONG)
        self.kill_all(self.begin(*EVERY))
        *before, newest = self.checkpoints()
        expected = f"going on from checkpoint {before[-1]}," if before else "no checkpoint can be"
        with open(self.path("out", "checkpoints", newest, "shard-0.safetensors"), "r+b") as file:
            file.seek(-3, os.SEEK_END)
            byte = file.read(1)
            file.seek(-3, os.SEEK_END)
            file.write(bytes([byte[0] ^ 1]))
        found, err = self.finish("run", "--resume", "out")
        self.assertIn(expected, err)
        with open(self.path("out", "server0.log")) as file:
            self.assertIn(f"checkpoint {newest} is not used: ", file.read())
        self.assertEqual(found["model_sha256"], plain["model_sha256"])

    def test_without_a_checkpoint_it_begins_again(self):
        plain, _ = self.finish("run", "job.yaml", "--out", "plain", *LONG)
        self.kill_all(self.begin(*NEVER))
        self.assertEqual(self.checkpoints(), [])
        found, err = self.finish("run", "--resume", "out")
        self.assertIn("no checkpoint can be used: beginning again from the start", err)
        self.assertEqual(found["model_sha256"], plain["model_sha256"])
        self.assertEqual(self.records("out", "ROLLBACK")[0]["to"], 0)
        self.assert_replays("out", found)

    def test_ctrl_c_and_on(self):
        plain, _ = self.finish("run", "job.yaml", "--out", "plain", *LONG)
        run = self.begin(*LAST)
        run.process.send_signal(signal.SIGINT)
        code, text, _ = run.end()
        stopped = self.result(text)
        self.assertEqual((code, stopped["status"]), (130, "interrupted"))
        self.assertEqual(self.checkpoints(), [f"v{stopped['updates']:08}-g0"])
        found, _ = self.finish("run", "--resume", "out")
        self.assertEqual(found["model_sha256"], plain["model_sha256"])
        self.assert_replays("out", found)

    def test_a_mode_that_fewer_servers_have_no_room_for(self):
        """Turned to by hand: the plan of memory did not know of it."""
        # Of 326 KiB of weights a mode that keeps whole pushes takes 7 times its share
        self.write("job.yaml", JOB.replace("dense: 8", "dense: 4000"))
        little = ["--set", "memory.inflight=1600KiB", "--set", "chunk=64KiB"]
        run = self.begin(*LAST, *little, "--mode", "async", "--servers", "2")
        code, _, err = self.talweg("dial", "out", "--mode", "k-batch-async:2")
        self.assertEqual(code, 0, err)
        run.wait_for("epoch ")
        run.process.send_signal(signal.SIGINT)
        code, text, _ = run.end()
        self.assertEqual(code, 130, text)
        code, text, err = self.talweg("run", "--resume", "out", "--servers", "1", "--json")
        self.assertEqual(code, 1, err)
        for words in ("mode \"k-batch-async:2\"", "no room for them on 1 servers", "--servers"):
            self.assertIn(words, self.result(text)["error"])
        found, _ = self.finish("run", "--resume", "out", "--servers", "2")
        self.assert_replays("out", found)

    def test_what_is_refused(self):
        self.finish("run", "job.yaml", "--out", "out")
        cases = [
            (["--resume", "out"], "this run is done, after update 9, and its model is saved"),
            (["--resume", "nowhere"], "nowhere/job.yaml"),
            (["--resume", "out", "--workers", "1"], "keeps its job; only --servers"),
            (["--resume", "out", "--out", "there"], "stays where it is"),
            (["job.yaml", "--resume", "out"], "one job file is enough"),
        ]
        for arguments, words in cases:
            code, _, err = self.talweg("run", *arguments)
            self.assertEqual(code, 2, err)
            self.assertIn(words, err)
        with open(self.path("out", "order.log"), "r+b") as file:
            file.seek(5)
            file.write(b"\xff" * 8)
        os.remove(self.path("out", "model.safetensors"))
        code, _, err = self.talweg("run", "--resume", "out")
        self.assertEqual(code, 2, err)
        self.assertIn("A run is not begun again from a log that is corrupt", err)

    def test_a_run_that_its_job_stopped_is_done(self):
        found, _ = self.finish("run", "job.yaml", "--out", "out", "--set",
                               "stop={loss: 1000, watch: train}")
        self.assertEqual(found["stopped"], "loss")
        code, _, err = self.talweg("run", "--resume", "out")
        self.assertEqual(code, 2, err)
        self.assertIn("this run is done", err)

    def test_a_log_that_is_torn_is_cut(self):
        plain, _ = self.finish("run", "job.yaml", "--out", "plain", *LONG)
        self.kill_all(self.begin(*EVERY))
        with open(self.path("out", "order.log"), "ab") as file:
            file.write(b"\x40\x08\x01")
        found, _ = self.finish("run", "--resume", "out")
        self.assertEqual(found["model_sha256"], plain["model_sha256"])
        self.assert_replays("out", found)


if __name__ == "__main__":
    unittest.main()
