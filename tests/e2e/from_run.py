#!/usr/bin/env python3
"""talweg sim --from RUN: the order of real runs made again from what their lead was told, and laws
that are fitted to them; times from files."""
import json
import os
import struct
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_by_hand import ENDLESS, LONG_JOB, ByHand, hold_back, let_go  # noqa: E402
from talweg_e2e import JOB, Case  # noqa: E402


def record_ends(log):
    """Where each record of order.log ends: it has its length in front, as a varint."""
    at, ends = 0, []
    while at < len(log):
        size = shift = 0
        while True:
            byte, at = log[at], at + 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        at += size
        ends.append(at)
    return ends


class FromRun(Case):
    def explain(self, run="out", code=0):
        found, out, err = self.talweg("sim", "--from", run, "--json")
        self.assertEqual(found, code, err)
        return json.loads(out)

    def assert_same_order(self, run="out"):
        explained = self.explain(run)
        self.assertEqual(explained["status"], "done")
        self.assertIsNone(explained["differs"])
        self.assertEqual(explained["records"], len(self.records(run)))
        self.assertEqual((explained["unwritten"], explained["unexplained"]), (0, 0))
        self.assertGreater(explained["inputs"], 0)
        return explained

    def run_job(self, *arguments):
        code, out, err = self.talweg("run", "job.yaml", "--out", "out", "--json", *arguments)
        self.assertEqual(code, 0, err)
        return self.result(out)


class RealRuns(FromRun):
    def test_sync(self):
        self.run_job("--workers", "3")
        explained = self.assert_same_order()
        self.assertEqual(explained["delay"]["workers"], 3)
        self.assertRegex(explained["delay"]["law"], r"^(heterogeneous_)?gamma:mean=")
        self.assertGreater(explained["delay"]["mean"]["value"], 0)

    def test_async_on_two_servers(self):
        self.run_job("--workers", "3", "--mode", "async", "--servers", "2")
        self.assert_same_order()

    def test_ssp_with_clipping(self):
        self.run_job("--workers", "3", "--mode", "ssp:2", "--set", "clip={norm: 0.5}")
        self.assert_same_order()

    def test_chunks_applied_as_they_come(self):
        self.run_job("--workers", "3", "--mode", "hogwild", "--servers", "2")
        self.assert_same_order()

    def test_slots(self):
        self.run_job("--set", "slots=4")
        self.assert_same_order()

    def test_layer_wise_rules_and_turns_and_cancelled_steps(self):
        self.run_job("--workers", "3", "--mode", "k-sync:2", "--set",
                     "optimizer={name: lamb, lr: 0.01}", "--set",
                     "consistency.turns=[{update: 10, mode: async}, {update: 20, mode: backup:1}]")
        self.assert_same_order()

    def lose_one(self, mode):
        self.write("long.yaml", LONG_JOB)
        run = self.start("run", "long.yaml", "--json", "--workers", "3", "--out", "out", "--mode",
                         mode, "--set", "on_worker_loss={action: evict, after: 0}")
        hold_back(run)
        run.wait_for("epoch ")
        os.kill(run.child("worker", "--rank", "1"), 9)
        run.wait_for("worker 1 was evicted after update ")
        let_go(run)
        self.assertEqual(run.end()[0], 0)
        self.assertEqual(len(self.records("out", "EVICT")), 1)
        self.assert_same_order()

    def test_a_worker_that_died(self):
        self.lose_one("async")

    def test_a_worker_that_died_in_sync(self):
        self.lose_one("sync")

    def test_a_run_that_was_stopped(self):
        run = self.start("run", "job.yaml", "--json", "--mode", "async", "--out", "out", *ENDLESS)
        run.wait_for("epoch ")
        run.process.terminate()
        self.assertEqual(run.end()[0], 130)
        self.assert_same_order()

    def test_other_servers_and_checkpoints_from_there_on(self):
        explained = self.begin_again("--servers", "2", "--set", "checkpoint.every=40")
        self.assertEqual((explained["status"], explained["differs"]), ("done", None))
        back = self.records("out", "ROLLBACK")[0]["position"]
        later = [x for x in self.records("out", "CHECKPOINT") if x["position"] > back]
        self.assertEqual(later[0]["version"] % 40, 0)
        # Those of all generations are its steps: without the last, the first is there.
        os.unlink(self.path("out", "trace.log"))
        code, _, err = self.talweg("sim", "job.yaml", "--dry", "--delay", "trace:file=out")
        self.assertEqual(code, 0, err)

    def test_a_generation_that_died_before_its_first_record(self):
        self.run_job("--mode", "async")
        os.rename(self.path("out", "trace.log"), self.path("out", "trace-g0.log"))
        self.write("out/trace.log", "of the next one")
        self.assert_same_order()

    def test_a_run_that_was_begun_again(self):
        explained = self.begin_again()
        self.assertEqual((explained["status"], explained["differs"]), ("done", None))
        # What the lead that was killed had told the disk of one and not of the other may lack.
        self.assertEqual(explained["records"] + explained["unexplained"], len(self.records("out")))
        ends = [record["position"] for record in self.records("out", "ROLLBACK")]
        self.assertGreater(explained["records"], len(self.records("out")) - ends[0])

    def begin_again(self, *arguments):
        self.write("long.yaml", LONG_JOB)
        run = self.start("run", "long.yaml", "--json", "--mode", "async", "--out", "out", "--set",
                         "checkpoint={every: 50}", "--set", "epochs=500")
        hold_back(run)
        run.wait_for("epoch ")
        folder = self.path("out", "checkpoints")
        while not os.path.isdir(folder) or not any(name.endswith("-g0")
                                                   for name in os.listdir(folder)):
            run.wait_for("epoch ")
        run.process.kill()
        run.end()
        code, out, err = self.talweg("run", "--resume", "out", "--json", *arguments)
        self.assertEqual(code, 0, err)
        self.assertEqual(self.result(out)["status"], "done")
        return self.explain()


class RunsByHand(ByHand, FromRun):
    def test_without_an_evaluator(self):
        self.write("job.yaml", JOB)
        server, port = self.serve()
        workers = [self.work(port) for _ in range(2)]
        self.assertIsNone(self.assert_ended_well(server, workers)["test_loss"])
        self.assert_same_order()


class Differences(FromRun):
    def test_another_job_gives_another_order(self):
        self.run_job("--mode", "async")
        with open(self.path("out", "job.yaml")) as file:
            job = file.read()
        self.assertIn("async", job)
        self.write("out/job.yaml", job.replace("async", "k-async:2"))
        explained = self.explain(code=1)
        self.assertEqual(explained["status"], "failed")
        self.assertGreater(explained["differs"], 1)
        code, out, _ = self.talweg("sim", "--from", "out")
        self.assertEqual(code, 1)
        self.assertIn(f"record {explained['differs']} differs", out)
        self.assertIn("order.log: ", out)
        code, out, _ = self.talweg("sim", "--from", "out", "--workers", "8", "--json")
        self.assertEqual(code, 1)
        self.assertEqual(json.loads(out)["differs"], explained["differs"])

    def test_a_finished_run_that_lacks_its_last_records(self):
        self.run_job("--mode", "async")
        path = self.path("out", "order.log")
        with open(path, "rb") as file:
            ends = record_ends(file.read())
        self.assertEqual(len(ends), len(self.records("out")))
        os.truncate(path, ends[-3])
        code, out, _ = self.talweg("sim", "--from", "out")
        self.assertEqual(code, 1)
        self.assertIn(f"record {len(ends) - 1} differs", out)
        self.assertRegex(out, rf"order.log: nothing\n +here: +{len(ends) - 1} +version ")

    def test_inputs_that_were_not_kept(self):
        self.run_job("--mode", "async", "--set", "trace.inputs=false")
        explained = self.explain()
        self.assertEqual((explained["inputs"], explained["records"]), (0, 0))
        self.assertIsNotNone(explained["delay"])
        self.assertIn("was not kept", self.talweg("sim", "--from", "out")[1])

    def test_no_trace_at_all(self):
        self.run_job("--set", "trace.on=false")
        self.assertIsNone(self.explain()["delay"])
        code, out, err = self.talweg("sim", "--from", "out", "--dry", "--json")
        self.assertEqual(code, 2)
        self.assertIn("this run has no trace.log", self.result(out)["error"])
        self.assertIn("say --delay", self.result(out)["error"])

    def test_what_is_no_run(self):
        os.mkdir(self.path("empty"))
        for run, word in (("nowhere", "directory of a run"), ("job.yaml", "is no directory"),
                          ("empty", "job.yaml")):
            with self.subTest(run=run):
                code, _, err = self.talweg("sim", "--from", run)
                self.assertEqual(code, 2, err)
                self.assertIn(word, err)
        code, _, err = self.talweg("sim", "job.yaml", "--from", "empty")
        self.assertEqual(code, 2)
        self.assertIn("--from has the job of its run; give one", err)

    def test_a_trace_that_is_cut(self):
        self.run_job()
        path = self.path("out", "trace.log")
        os.truncate(path, os.path.getsize(path) - 3)
        code, _, err = self.talweg("sim", "--from", "out")
        self.assertEqual(code, 2)
        self.assertIn("trace.log: at byte", err)


    def test_a_record_that_looks_alike(self):
        """Its loss differs in the last bit."""
        self.run_job()
        path = self.path("out", "order.log")
        with open(path, "r+b") as file:
            log = bytearray(file.read())
            at = log.index(struct.pack("<d", self.records("out", "COMMIT")[5]["loss"]))
            log[at] ^= 1
            file.seek(0)
            file.write(log)
        code, out, _ = self.talweg("sim", "--from", "out")
        self.assertEqual(code, 1)
        self.assertIn("in bytes that these lines round", out)

    def test_an_order_that_is_corrupt(self):
        self.run_job()
        path = self.path("out", "order.log")
        with open(path, "r+b") as file:
            middle = record_ends(file.read())[20]
            file.seek(middle)
            file.write(b"\x01\xff")
        code, _, err = self.talweg("sim", "--from", "out")
        self.assertEqual(code, 2)
        self.assertIn("order.log: at byte", err)


class Fits(FromRun):
    """Virtual runs have the same trace, with times that are known: no test depends on speed."""

    def simulate(self, *arguments):
        code, out, err = self.talweg("sim", "job.yaml", "--json", *arguments)
        self.assertEqual(code, 0, err)
        return self.result(out)

    def test_the_law_of_a_virtual_run_is_found_again(self):
        self.simulate("--out", "out", "--workers", "10", "--mode", "async", "--set", "epochs=100",
                      "--delay", "gamma:mean=.2,cv=.3,speeds=[1,1,.8,1.25]")
        delay = self.assert_same_order()["delay"]
        means = [.2, .2, .25, .16]
        means = [means[i % 4] for i in range(10)]
        mean = sum(means) / 10
        spread = (sum((x - mean) ** 2 for x in means) / 9) ** .5 / mean
        self.assertAlmostEqual(delay["mean"]["value"], mean, delta=.01)
        self.assertAlmostEqual(delay["cv"]["value"], .3, delta=5 * delay["cv"]["standard_error"])
        self.assertAlmostEqual(delay["machine_cv"]["value"], spread, delta=.05)

    def test_a_virtual_run_with_checkpoints_too(self):
        self.simulate("--out", "out", "--mode", "async", "--set", "checkpoint.every=5")
        versions = [record["version"] for record in self.records("out", "CHECKPOINT")]
        self.assertEqual(versions, [5 * n for n in range(1, len(versions) + 1)])
        self.assertGreater(len(versions), 3)
        self.assert_same_order()

    def test_what_if_there_were_more_workers(self):
        self.simulate("--out", "out", "--workers", "2", "--mode", "async", "--delay",
                      "gamma:mean=.5,cv=.1")
        code, out, err = self.talweg("sim", "--from", "out", "--workers", "8", "--json", "--dry")
        self.assertEqual(code, 0, err)
        found = self.result(out)
        self.assertEqual((found["workers"], found["mode"]), (8, "async"))
        self.assertAlmostEqual(found["staleness_mean"], 7, delta=.5)
        self.assertIn("gamma", err)
        self.assertIn("the same as order.log's", err)

    def test_steps_of_a_run_as_they_were(self):
        first = self.simulate("--out", "out", "--mode", "async", "--delay",
                              "constant:mean=.5,speeds=[1,.375]")
        again = self.simulate("--out", "again", "--mode", "async", "--delay",
                              "trace:file=out,literal=true")
        self.assertAlmostEqual(again["seconds"], first["seconds"], places=6)
        self.assertEqual(again["model_sha256"], first["model_sha256"])
        self.simulate("--out", "gamma", "--mode", "async", "--delay", "gamma:cv=.5")
        seconds = {self.simulate("--dry", "--mode", "async", "--delay", law)["seconds"]
                   for law in ("trace:file=gamma", "trace:file=gamma,literal=true")}
        self.assertEqual(len(seconds), 2)


class Files(FromRun):
    def test_times_from_a_file(self):
        self.write("times", "worker step seconds\n# two workers\n0 1 1\n1 1 3\n0 2 1\n")
        code, out, err = self.talweg("sim", "job.yaml", "--json", "--dry", "--mode", "async",
                                     "--delay", "trace:file=times,literal=true", "--set",
                                     "updates=8")
        self.assertEqual(code, 0, err)
        self.assertAlmostEqual(self.result(out)["seconds"], 6, places=6)
        self.assertIn("mean 2 s", err)

    def test_what_is_wrong_is_named_with_its_line(self):
        cases = (
            ("0 1 1\n0 3 1\n", ":2: step 2 of worker 0 is missing: this is its step 3"),
            ("0 1 1\n0 1 1\n", ":2: step 2 of worker 0 comes next, and this is its step 1"),
            ("0 1 1\n2 1 1\n", ": worker 1 is missing"),
            ("1\n-0.5\n", ":2: "),
            ("1\n-0.5\n", "less than 0 s"),
            ("1\nnan\n", ":2: "),
            ("1\n2 3\n", ":2: is not SECONDS"),
            ("1\n0 1 2\n", ":2: has other columns"),
            ("1\nlong\n", ":2: is not SECONDS"),
            ("-1 1 2\n", ":1: WORKER and STEP"),
            ("# nothing\n\n", "has no steps; a line of it is SECONDS"),
            ('{"seconds": 1}\n', "of a run, give the directory"),
        )
        for text, word in cases:
            with self.subTest(text=text):
                self.write("times", text)
                code, out, err = self.talweg("sim", "job.yaml", "--dry", "--json", "--delay",
                                             "trace:file=times")
                self.assertEqual(code, 2, err)
                self.assertIn(word, self.result(out)["error"])
        for arguments, word in ((("trace:file=nowhere",), "nowhere"), (("trace",), "file"),
                                ((f"trace:file={self.folder}",), "order.log")):
            code, out, err = self.talweg("sim", "job.yaml", "--dry", "--json", "--delay",
                                         *arguments)
            self.assertEqual(code, 2, err)
            self.assertIn(word, self.result(out)["error"])


if __name__ == "__main__":
    unittest.main()
