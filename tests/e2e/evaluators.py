#!/usr/bin/python3
"""Several evaluators share the test data out: the same numbers, to the byte, whoever is killed,
comes late, or is refused."""
import json
import os
import re
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_by_hand import ENDLESS, ByHand, hold_back, let_go  # noqa: E402
from talweg_e2e import children_of  # noqa: E402

HEAD = """\
model:
  input: [6]
  layers: [{dense: 8}, tanh, {dense: %d}]
  loss: %s
data:
  train: {format: synthetic, kind: %s, samples: 400, features: 6, %s}
  test: {format: synthetic, kind: %s, samples: 2500, features: 6, %s, first: 400}
batch: 40
epochs: 3
optimizer: {name: adam, lr: 1e-2}
cluster: {workers: 2}
"""


def job(outputs, loss, kind, more):
    return HEAD % (outputs, loss, kind, more, kind, more)


SEVEN = job(7, "softmax_cross_entropy", "blobs", "classes: 7, noise: 3")
TWO = job(1, "binary_cross_entropy", "blobs", "classes: 2, noise: 6")
REAL = job(3, "mean_squared_error", "linear", "outputs: 3, noise: 0.5")


class Evaluators(ByHand):
    def numbers_of_tests(self, run):
        """What metrics.jsonl says of the test data, as it is written."""
        with open(self.path(run, "metrics.jsonl")) as file:
            rows = [json.loads(line, parse_float=str, parse_int=str) for line in file]
        return [{key: row[key] for key in row if key.startswith("test_")} for row in rows]

    def scored(self, run):
        """How many evaluators scored a part, by their logs."""
        count = 0
        for name in os.listdir(self.path(run)):
            if name.startswith("evaluator"):
                with open(self.path(run, name)) as file:
                    count += "scored test samples" in file.read()
        return count

    def train_until_shared(self, out, *arguments):
        """A run that goes on until two evaluators have scored a part, however late one of them
        begins: the numbers of its epochs, without the two last, which the signal may cut short."""
        run = self.start("run", "job.yaml", "--json", "--out", out, *ENDLESS, *arguments)
        hold_back(run)
        for epoch in self.epochs(run):
            if epoch >= 4 and self.scored(out) > 1:
                break
        run.process.send_signal(signal.SIGINT)
        let_go(run)
        code, text, err = run.end()
        self.assertEqual((code, self.result(text)["status"]), (130, "interrupted"), err)
        self.assertGreater(self.scored(out), 1)
        return self.numbers_of_tests(out)[:-2]

    def assert_same(self, text, *metrics):
        self.write("job.yaml", text)
        found = [self.train_until_shared("with2", "--evaluators", "2", "--servers", "2"),
                 self.train_until_shared("with3", "--evaluators", "3", "--servers", "2",
                                         "--set", "chunk=64KiB")]
        most = max(map(len, found))
        self.train("with1", "--servers", "2", "--set", f"epochs={most}")
        self.assertEqual(self.scored("with1"), 0)
        expected = self.numbers_of_tests("with1")
        for metric in metrics:
            self.assertTrue(all(row["test_" + metric] is not None for row in expected), metric)
        for rows in found:
            self.assertEqual(rows, expected[:len(rows)])
        result = self.train("once", "--evaluators", "3")
        self.assertEqual(self.replay("once")["test_loss"], result["test_loss"])

    def test_of_seven_classes(self):
        self.assert_same(SEVEN, "loss", "accuracy", "top5")

    def test_of_two_classes(self):
        """So many that parts are as large as the frames that bring their scores."""
        self.assert_same(TWO.replace("samples: 2500", "samples: 30000"), "loss", "accuracy", "auc")

    def test_of_real_targets(self):
        self.assert_same(REAL, "loss", "r2")

    def evaluators_of(self, run):
        return sorted(pid for pid, line in children_of(run.pid).items() if "--evaluate" in line)

    def test_one_is_killed(self):
        self.write("job.yaml", SEVEN)
        more = "--set", "epochs=300", "--evaluators"
        self.train("alone", *more, "1")
        run = self.start("run", "job.yaml", "--json", "--out", "out", *more, "3")
        hold_back(run)
        run.wait_for("epoch ")
        for left in 2, 1:
            os.kill(self.evaluators_of(run)[-1], signal.SIGKILL)
            run.wait_for("was killed by SIGKILL; the run goes on without it")
            for _ in range(20):
                run.wait_for("epoch ")
        let_go(run)
        code, text, err = run.end()
        self.assertEqual(code, 0, err)
        self.assertEqual(self.result(text)["status"], "done")
        self.assertEqual(self.numbers_of_tests("out"), self.numbers_of_tests("alone"))
        with open(self.path("out", "server0.log")) as file:
            self.assertRegex(file.read(), r"evaluator \d has left; 1 is there")

    def test_the_last_one_is_needed(self):
        self.write("job.yaml", SEVEN)
        run = self.start("run", "job.yaml", "--json", "--out", "out", "--set", "epochs=1000000",
                         "--evaluators", "2")
        hold_back(run)
        run.wait_for("epoch ")
        first, second = self.evaluators_of(run)
        os.kill(first, signal.SIGKILL)
        run.wait_for("the run goes on without it")
        os.kill(second, signal.SIGKILL)
        run.wait_for("before the run was done")
        let_go(run)
        code, text, err = run.end()
        self.assertEqual((code, self.result(text)["status"]), (1, "failed"), err)

    def times_joined(self, run):
        with open(self.path(run, "server0.log")) as file:
            return len(re.findall(r"evaluator(?: \d+)? has joined", file.read()))

    def test_one_that_hangs_is_done_without(self):
        """Its connections stay open. With the last one of them, too; and it comes back."""
        self.write("job.yaml", SEVEN)
        run = self.start("run", "job.yaml", "--json", "--out", "out", *ENDLESS, "--evaluators", "2",
                         "--set", "on_worker_loss={action: wait, silent: 3}", "--set",
                         "stop={loss: 0}")
        run.wait_for("epoch ")
        evaluators = self.evaluators_of(run)
        for pid in evaluators:
            os.kill(pid, signal.SIGSTOP)
            run.wait_for("nothing was heard of an evaluator for ")
            for _ in range(3):  # the verdict of each is waited for
                run.wait_for("epoch ")
        joined = self.times_joined("out")
        self.assertGreaterEqual(joined, 2)
        os.kill(evaluators[0], signal.SIGCONT)
        for _ in self.epochs(run):
            if self.times_joined("out") > joined:
                break
        run.wait_for("test loss")
        run.process.terminate()
        code, text, err = run.end()
        self.assertEqual((code, self.result(text)["status"]), (130, "interrupted"), err)

    def test_a_loss_of_the_test_data_ends_the_run_at_the_same_update(self):
        self.write("job.yaml", SEVEN)
        more = "--set", "epochs=60", "--evaluators"
        self.train("plain", *more, "1")
        losses = [float(row["test_loss"]) for row in self.numbers_of_tests("plain")]
        stop = "--set", f"stop={{loss: {losses[20]!r}}}"
        found = [self.train(f"stop{n}", *more, str(n), *stop) for n in (1, 3)]
        self.assertEqual(found[0]["stopped"], "loss")
        for key in "updates", "stopped", "test_loss", "model_sha256":
            self.assertEqual(found[1][key], found[0][key], key)
        self.assertEqual(self.numbers_of_tests("stop3"), self.numbers_of_tests("stop1"))

    def test_one_comes_late_and_one_is_refused(self):
        self.write("job.yaml", SEVEN.replace("epochs: 3", "epochs: 300"))
        self.train("alone")
        server, port = self.serve("--set", "stop={patience: 1000}")
        hold_back(server)
        stop = "--set", "stop={patience: 1000}"
        workers = [self.work(port, *stop) for _ in range(2)]
        workers.append(self.work(port, "--evaluate", *stop))
        server.wait_for("epoch ")
        workers.append(self.work(port, "--evaluate", *stop))
        server.wait_for("evaluator 1 has joined; 2 are there")
        other = self.work(port, "--evaluate", *stop, "--set", "data.test.samples=2400")
        for _ in self.epochs(server):
            if other.process.poll() is not None:
                break
        let_go(server)
        code, _, err = other.end()
        self.assertEqual(code, 1, err)
        self.assertRegex(err, "its test data has 2400 samples, that of the evaluator that is "
                              "there 2500")
        self.assert_ended_well(server, workers)
        self.assertEqual(self.numbers_of_tests("out"), self.numbers_of_tests("alone"))

    def test_the_number_must_make_sense(self):
        self.write("job.yaml", SEVEN)
        for value, words in (("0", "cluster.evaluators"), ("65", "cluster.evaluators")):
            code, _, err = self.talweg("run", "job.yaml", "--evaluators", value)
            self.assertEqual(code, 2)
            self.assertIn(words, err)
        self.write("none.yaml", re.sub(r"  test: .*\n", "", SEVEN))
        code, _, err = self.talweg("run", "none.yaml", "--evaluators", "2")
        self.assertEqual(code, 2)
        self.assertIn("the job has no data.test", err)


if __name__ == "__main__":
    unittest.main()
