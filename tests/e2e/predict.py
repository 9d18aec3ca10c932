#!/usr/bin/python3
"""talweg predict: answers of one model and of several, in CSV and NPY, and what they are worth: the
numbers of the run's own evaluation, and those that plain Python makes of the file."""
import ast
import csv
import json
import math
import os
import struct
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import Case, samples  # noqa: E402


class Predict(Case):
    def predict(self, *arguments):
        code, text, err = self.talweg("predict", *arguments, "--json")
        self.assertEqual(code, 0, err)
        return json.loads(text.splitlines()[-1])

    def refused(self, why, *arguments):
        code, text, err = self.talweg("predict", *arguments, "--json")
        self.assertEqual(code, 2, err)
        self.assertIn(why, err)
        self.assertEqual(json.loads(text)["status"], "failed")

    def rows(self, name):
        with open(self.path(name), newline="") as file:
            return list(csv.DictReader(file))

    def npy(self, name):
        with open(self.path(name), "rb") as file:
            data = file.read()
        self.assertEqual(data[:8], b"\x93NUMPY\x01\x00")
        size = 10 + struct.unpack("<H", data[8:10])[0]
        self.assertEqual(size % 64, 0)
        head = ast.literal_eval(data[10:size].decode())
        self.assertFalse(head["fortran_order"])
        count = math.prod(head["shape"])
        kind = {"<f4": "f", "<i4": "i"}[head["descr"]]
        return head["shape"], struct.unpack(f"<{count}{kind}", data[size:])

    def last_evaluation(self, run):
        """Of metrics.jsonl: {"loss": ..., ...} without those that there are not."""
        with open(self.path(run, "metrics.jsonl")) as file:
            line = json.loads(file.readlines()[-1])
        return {key[5:]: line[key] for key in line
                if key.startswith("test_") and line[key] is not None}

    def those_that_are(self, found):
        return {key: found[key] for key in ("loss", "accuracy", "top5", "auc", "r2")
                if found[key] is not None}

    def test_evaluations_have_the_same_metrics(self):
        """To the bit: of a run on two servers, of its replay, of the same in virtual time, and of
        predict, which uses threads."""
        eight = "model.layers=[flatten, dense: 8]"
        self.train_with("out", "epochs=2", eight, "cluster.servers=2")
        found = self.those_that_are(self.predict("out", "test", "--threads", "2"))
        self.assertEqual(sorted(found), ["accuracy", "loss", "top5"])
        self.assertEqual(self.last_evaluation("out"), found)
        code, _, err = self.talweg("replay", "out", "--out", "again")
        self.assertEqual(code, 0, err)
        self.assertEqual(self.last_evaluation("again"), found)
        code, _, err = self.talweg("sim", "job.yaml", "--set", "epochs=2", "--set", eight, "--set",
                                   "cluster.servers=2", "--out", "sim")
        self.assertEqual(code, 0, err)
        self.assertEqual(self.last_evaluation("sim"), found)

    def test_the_numbers_are_those_of_the_run_and_of_the_file(self):
        run = self.train_with("out", "epochs=1")
        found = self.predict("out", "test", "--out", "p.csv")
        self.assertEqual(found["loss"], run["test_loss"])
        self.assertEqual(found["accuracy"], run["test_accuracy"])
        rows = self.rows("p.csv")
        self.assertEqual([int(r["label"]) for r in rows], list(samples(60)[1]))
        self.assertEqual([int(r["sample"]) for r in rows], list(range(60)))
        confusion, loss = [[0] * 3 for _ in range(3)], 0
        for row in rows:
            p = [float(row[f"p{k}"]) for k in range(3)]
            self.assertTrue(math.isclose(sum(p), 1, rel_tol=1e-6))
            self.assertEqual(p.index(max(p)), int(row["class"]))
            confusion[int(row["label"])][int(row["class"])] += 1
            loss -= math.log(p[int(row["label"])]) / 60
        self.assertEqual(found["confusion"], confusion)
        self.assertTrue(math.isclose(found["loss"], loss, rel_tol=1e-6))
        self.assertEqual(found["accuracy"], sum(confusion[i][i] for i in range(3)) / 60)
        self.assertEqual((found["top5"], found["auc"], found["r2"]), (None, None, None))
        code, text, _ = self.talweg("predict", "out", "test")
        self.assertEqual(code, 0)
        self.assertIn("accuracy", text)
        self.assertNotIn("top5", text)

    def test_threads_change_nothing_and_npy_says_the_same(self):
        self.train_with("out", "epochs=1")
        one = self.predict("out", "train", "--out", "one.npy")
        three = self.predict("out", "train", "--out", "three.npy", "--threads", "3")
        self.assertEqual({**one, "out": 0}, {**three, "out": 0})
        with open(self.path("one.npy"), "rb") as a, open(self.path("three.npy"), "rb") as b:
            self.assertEqual(a.read(), b.read())
        self.predict("out", "train", "--out", "one.csv")
        shape, values = self.npy("one.npy")
        self.assertEqual(shape, (300, 3))
        rows = self.rows("one.csv")
        for i, row in enumerate(rows):
            for k in range(3):
                self.assertTrue(math.isclose(values[3 * i + k], float(row[f"p{k}"]), rel_tol=1e-6))
        self.predict("out", "train", "--out", "classes.npy", "--classes")
        shape, classes = self.npy("classes.npy")
        self.assertEqual(shape, (300,))
        self.assertEqual(list(classes), [int(row["class"]) for row in rows])

    def test_several_runs_are_averaged(self):
        for seed in 1, 2, 3:
            self.train_with(f"seed{seed}", "epochs=0.2", f"seed={seed}")
            self.predict(f"seed{seed}", "test", "--out", f"{seed}.csv")
        found = self.predict("seed1", "seed2", "seed3", "test", "--out", "all.csv")
        self.assertEqual(found["models"], 3)
        single = [self.rows(f"{seed}.csv") for seed in (1, 2, 3)]
        loss = 0
        for i, row in enumerate(self.rows("all.csv")):
            for k in range(3):
                mean = sum(float(rows[i][f"p{k}"]) for rows in single) / 3
                self.assertTrue(math.isclose(float(row[f"p{k}"]), mean, rel_tol=1e-6))
            loss -= math.log(float(row[f"p{row['label']}"])) / 60
        self.assertTrue(math.isclose(found["loss"], loss, rel_tol=1e-5))

    def test_a_checkpoint_predicts_too_from_several_servers(self):
        self.train_with("out", "cluster.servers=2", "chunk=64KiB",
                        "checkpoint={every: 15, keep: 9}",
                        "model.layers=[flatten, dense: 2000, relu, dense: 3]")
        names = sorted(os.listdir(self.path("out", "checkpoints")))
        found = [self.predict(os.path.join("out", "checkpoints", name), "test")["loss"]
                 for name in names]
        with open(self.path("out", "metrics.jsonl")) as file:
            losses = {m["updates"]: m["test_loss"] for m in map(json.loads, file)}
        self.assertEqual(names[0], "v00000015-g0")  # the only one that is sure: later ones may wait
        for name, loss in zip(names, found):
            if name == names[0] or int(name[1:9]) in losses:
                self.assertEqual(loss, losses[int(name[1:9])], name)
        final = self.predict("out", "test")["loss"]
        self.assertEqual(final, losses[45])
        both = self.predict(os.path.join("out", "checkpoints", names[-1]), "out", "test")
        self.assertEqual(both["models"], 2)
        with open(self.path("out", "checkpoints", names[0], "shard-1.safetensors"), "r+b") as file:
            byte = file.seek(-1, os.SEEK_END) and file.read(1)
            file.seek(-1, os.SEEK_END)
            file.write(bytes([byte[0] ^ 1]))
        self.refused("are not those that were written", os.path.join("out", "checkpoints", names[0]),
                     "test")

    def test_models_that_held_out_other_samples_are_no_ensemble(self):
        for seed in ("1", "2"):
            self.train_with("seed" + seed, "epochs=1", "seed=" + seed, "data.validation=30")
        self.refused("hold out other samples", "seed1", "seed2", "validation")
        self.predict("seed1", "seed2", "test")

    def test_what_is_held_out_is_scored_in_the_place_of_test_data(self):
        plain = self.train_with("plain", "epochs=1", "data.validation=30")
        os.remove(self.path("test-images"))
        run = self.train_with("out", "epochs=1", "data.validation=30", "data.test=validation")
        self.assertEqual(run["model_sha256"], plain["model_sha256"])
        found = self.predict("out", "validation")
        self.assertEqual(found["accuracy"], run["test_accuracy"])
        self.assertEqual(found["loss"], run["test_loss"])
        self.assertEqual(self.predict("out", "test"), found)
        again = self.replay("out")
        self.assertEqual(again["test_loss"], run["test_loss"])

    def test_classes_that_nobody_gets_are_refused(self):
        self.train_with("out", "epochs=1")
        self.refused("give --out, too", "out", "test", "--classes")

    def test_data_of_ones_own_is_found_from_here(self):
        run = self.train_with("out", "epochs=1")
        found = self.predict("out", "{format: idx, images: test-images, labels: test-labels}")
        self.assertEqual(found["accuracy"], run["test_accuracy"])

    def example(self, name):
        job = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples", name)
        code, text, err = self.talweg("run", job, "--json", "--out", name)
        self.assertEqual(code, 0, err)
        run, found = self.result(text), self.predict(name, "test", "--out", "p.csv")
        self.assertEqual(found["loss"], run["test_loss"])
        self.assertEqual(self.last_evaluation(name), self.those_that_are(found))
        return found, self.rows("p.csv")

    def test_real_targets_have_r_squared(self):
        found, rows = self.example("linear-regression.yaml")
        pairs = [(float(row["target0"]), float(row["y0"])) for row in rows]
        mean = sum(t for t, _ in pairs) / len(pairs)
        rest = sum((t - y) ** 2 for t, y in pairs) / sum((t - mean) ** 2 for t, _ in pairs)
        self.assertTrue(math.isclose(found["r2"], 1 - rest, rel_tol=1e-7))
        self.assertEqual((found["accuracy"], found["auc"], found["confusion"]), (None,) * 3)

    def test_two_classes_have_an_area(self):
        found, rows = self.example("logistic-regression.yaml")
        pairs = [(row["label"] == "1", float(row["p0"])) for row in rows]
        ones, zeros = ([p for one, p in pairs if one == which] for which in (True, False))
        wins = sum((a > b) + (a == b) / 2 for a in ones for b in zeros)
        self.assertTrue(math.isclose(found["auc"], wins / len(ones) / len(zeros), rel_tol=1e-5))
        self.assertEqual(found["confusion"][1][1],
                         sum(one and p > 0.5 for one, p in pairs))

    def test_what_cannot_be_is_named(self):
        self.train_with("out", "epochs=1")
        self.train_with("wide", "epochs=1", "model.layers=[flatten, dense: 4]")
        self.refused("wide: 4 outputs for softmax_cross_entropy, but the first model has 3", "out",
                     "wide", "test")
        self.refused("no job.yaml there", "nowhere", "test")
        self.refused("./gone: cannot open: No such file", "out",
                     "{format: idx, images: gone, labels: test-labels}")
        self.refused("ends in .csv or .npy", "out", "test", "--out", "p.txt")
        self.refused("its job has no data.validation", "out", "validation")
        self.refused("a RUN and DATA are wanted", "out")
        self.refused("no number from 1 to 256", "out", "test", "--threads", "0")
        self.refused("data.test", "out", "{format: idx}")
        with open(self.path("wide", "model.safetensors"), "rb") as file:
            data = file.read()
        with open(self.path("out", "model.safetensors"), "wb") as file:
            file.write(data)
        self.refused("is [16, 4], in its job it is [16, 8]", "out", "test")
        with open(self.path("out", "model.safetensors"), "wb") as file:
            file.write(data[:-1])
        self.refused("model.safetensors", "out", "test")
        os.remove(self.path("out", "model.safetensors"))
        self.refused("model.safetensors", "out", "test")


if __name__ == "__main__":
    unittest.main()
