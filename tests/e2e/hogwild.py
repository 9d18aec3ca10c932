#!/usr/bin/python3
"""Mode hogwild with real processes: chunks are applied as they come, counted one by one, and
what cannot go with that is refused."""
import json
import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_by_hand import ENDLESS  # noqa: E402
from talweg_e2e import WIDE, Case  # noqa: E402

CHUNKS = 7


def crc32c(data):
    """The checksum at the end of a manifest."""
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


class Hogwild(Case):
    def setUp(self):
        super().setUp()
        self.write("job.yaml", WIDE + "chunk: 64KiB\n")

    def run_it(self, out, *arguments):
        code, text, err = self.talweg("run", "job.yaml", "--json", "--mode", "hogwild", "--workers",
                                      "3", "--out", out, *arguments)
        self.assertEqual(code, 0, err)
        found = self.result(text)
        self.assertEqual((found["status"], found["mode"]), ("done", "hogwild"))
        return found

    def interrupt(self, run):
        """No count of a chunk contradicts another, or it would have failed."""
        run.process.send_signal(signal.SIGINT)
        code, text, err = run.end()
        found = self.result(text)
        self.assertEqual((code, found["status"]), (130, "interrupted"), err)
        self.assertNotIn("a bug", found["error"])

    def assert_log_is_right(self, out, found):
        """Whole pushes, one an update, with the staleness of their chunks; then all stops."""
        commits = self.records(out, "COMMIT")
        self.assertEqual(len(commits), found["updates"])
        released = {(r["slot"], r["step"]): r for r in self.records(out, "RELEASE")}
        for record in commits:
            push, = record["contributions"]
            self.assertEqual((record["chunks"], record["scalars"]), (CHUNKS, []))
            self.assertLessEqual(record["chunk_staleness_max"], record["chunk_staleness"])
            self.assertEqual(record["rate"], released[push["slot"], push["step"]]["rate"])
        for (slot, _), record in released.items():
            self.assertEqual("scalars" in record, slot != "evaluator")
        self.assertGreater(sum(record["chunk_staleness"] for record in commits), 0)
        last = [record["record"] for record in self.records(out)][-2:]
        self.assertEqual(last, ["DROP", "RELEASE"])  # what is out; to the evaluator
        total = sum(record["chunk_staleness"] for record in commits)
        lines = self.metrics(out)
        self.assertGreater(lines[-1]["chunk_staleness_max"], 0)
        mean = sum(line["chunk_staleness_mean"] for line in lines) / len(lines)
        self.assertAlmostEqual(mean, total / CHUNKS / len(commits), delta=0.2)

    def test_on_one_server_and_on_two(self):
        for servers in "1", "2":
            out = "out" + servers
            found = self.run_it(out, "--servers", servers)
            self.assertGreater(found["test_accuracy"], 0.9)
            self.assert_log_is_right(out, found)
        code, text, err = self.talweg("log", "out2")
        self.assertEqual(code, 0, err)
        self.assertRegex(text, r"COMMIT .*, chunks [\d.]+ stale, at most \d")
        code, _, err = self.talweg("replay", "out2")
        self.assertEqual(code, 2, err)
        self.assertIn("so this run cannot be made again", err)
        code, _, err = self.talweg("timeline", "out2", "--out", "timeline.svg")
        self.assertEqual(code, 0, err)
        code, _, err = self.talweg("log", "out2", "--csv")
        self.assertEqual(code, 0, err)

    def test_a_worker_that_is_killed_leaves_what_it_did(self):
        run = self.start("run", "job.yaml", "--json", "--mode", "hogwild", "--workers", "3", "--out",
                         "out", *ENDLESS, "--set", "on_worker_loss={action: evict, after: 0}")
        run.wait_for("epoch ")
        os.kill(run.child("worker", "--rank", "1"), signal.SIGKILL)
        run.wait_for("worker 1 was evicted after update ")
        run.wait_for("epoch ")
        self.interrupt(run)

    def test_a_run_that_begins_again_does_no_step_twice(self):
        run = self.start("run", "job.yaml", "--json", "--mode", "hogwild", "--workers", "2", "--out",
                         "out", "--servers", "2", *ENDLESS, "--set",
                         "checkpoint={every: 0, seconds: 86400}")
        run.wait_for("epoch ")
        self.interrupt(run)
        run = self.start("run", "--resume", "out", "--servers", "1", "--json")
        run.wait_for("epoch ")
        self.interrupt(run)
        records = self.records("out")
        back = [record["record"] for record in records].index("ROLLBACK")
        begun = [0, 0]
        for record in records[:back]:
            if record["record"] == "CHECKPOINT":
                before = list(begun)
            elif record["record"] == "RELEASE" and record["slot"] != "evaluator":
                begun[record["slot"]] = record["step"]
        self.assertEqual(records[back]["steps"], before)
        for slot in 0, 1:
            first = next(record["step"] for record in records[back:]
                         if record["record"] == "RELEASE" and record["slot"] == slot)
            self.assertEqual(first, before[slot] + 1)

    def test_a_checkpoint_of_another_mode_is_refused(self):
        """By its manifest, in which somebody has changed the mode and its checksum."""
        run = self.start("run", "job.yaml", "--json", "--mode", "hogwild", "--out", "out", *ENDLESS,
                         "--set", "checkpoint={every: 0, seconds: 86400}")
        run.wait_for("epoch ")
        self.interrupt(run)
        folder, = os.listdir(self.path("out", "checkpoints"))
        name = self.path("out", "checkpoints", folder, "manifest.json")
        with open(name) as file:
            text = file.read()
        head, _, tail = text.rpartition(',"crc32c":')
        self.assertIn('"mode":"hogwild"', head)
        head = head.replace('"mode":"hogwild"', '"mode":"async"')
        with open(name, "w") as file:
            file.write(f'{head},"crc32c":"{crc32c(head.encode()):08x}"' + "}\n")
        code, text, err = self.talweg("run", "--resume", "out", "--json")
        self.assertEqual(code, 1, err)
        self.assertIn(f'checkpoint {folder} is of mode "async", which this job cannot have', err)

    def test_what_a_run_says_at_its_stop_is_of_its_model(self):
        """Chunks go on being applied while the loss that ends it is computed."""
        found = self.run_it("out", "--set", "epochs=100", "--set", "stop={loss: 0.5}")
        self.assertEqual(found["stopped"], "loss")
        code, text, err = self.talweg("predict", "out", "test", "--json")
        self.assertEqual(code, 0, err)
        predicted = json.loads(text.splitlines()[-1])
        self.assertEqual(predicted["loss"], found["test_loss"])
        self.assertEqual(predicted["accuracy"], found["test_accuracy"])

    def test_in_virtual_time_it_can_be_repeated(self):
        models = []
        for out in "a", "b":
            code, text, err = self.talweg("sim", "job.yaml", "--mode", "hogwild", "--workers", "3",
                                          "--servers", "2", "--delay", "exponential", "--out", out,
                                          "--json")
            self.assertEqual(code, 0, err)
            found = json.loads(text.splitlines()[-1])
            self.assertEqual(found["status"], "done")
            self.assert_log_is_right(out, found)
            models.append(found["model_sha256"])
        self.assertEqual(*models)

    def test_local_steps_count(self):
        found = self.run_it("out", "--set", "local_steps={steps: 2, lr: 0.01}", "--set",
                            "accumulate=2")
        for record in self.records("out", "COMMIT"):
            rank = record["contributions"][0]["slot"]
            self.assertEqual(record["examples"], 2 * (7 if rank < 2 else 6))
        self.assertEqual(found["error"], None)

    def test_what_it_excludes(self):
        for words, *settings in [
                (["clip.norm", "clip: {value: ...}"], "clip={norm: 1}"),
                (["corrections", "mode async"], "corrections=[staleness_power]"),
                (["stop.gradient_norm", "mode async"], "stop={gradient_norm: 0.1}"),
                (["optimizer.name", "lars", "momentum"], "optimizer={name: lars, lr: 1}"),
                (["optimizer.name", "lamb", "adam"], "optimizer={name: lamb, lr: 0.1}"),
                (["slots", "sync"], "slots=4"),
                (["consistency.turns[0].mode", "from its start to its end"],
                 "consistency.turns=[{update: 5, mode: sync}]"),
                (["memory.inflight", "receives from all workers"], "memory.inflight=400KiB")]:
            arguments = [part for setting in settings for part in ("--set", setting)]
            code, _, err = self.talweg("run", "job.yaml", "--mode", "hogwild", *arguments)
            self.assertEqual(code, 2, err)
            for word in words:
                self.assertIn(word, err)
        code, _, err = self.talweg("run", "job.yaml", "--set",
                                   "consistency.turns=[{update: 5, mode: hogwild}]")
        self.assertEqual(code, 2, err)
        self.assertIn("from its start to its end", err)


if __name__ == "__main__":
    unittest.main()
