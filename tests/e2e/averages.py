#!/usr/bin/python3
"""Averaged weights, `talweg average`, and train_accuracy: exact, the same bits for every chunk size, number of
servers and in replay, and saved beside the model."""
import hashlib
import json
import math
import os
import shutil
import struct
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import JOB, Case  # noqa: E402

QUADRATIC = """\
model: {objective: {name: quadratic, spectrum: [1, 0.5], start: [1, -2]}}
updates: 50
optimizer: {name: sgd, lr: 0.1}
average: {ema: 0.9}
"""


def f32(x):
    """Rounded to float32."""
    return struct.unpack("<f", struct.pack("<f", x))[0]


def weights_of(path):
    with open(path, "rb") as file:
        data = file.read()
    size = 8 + struct.unpack("<Q", data[:8])[0]
    tensors = json.loads(data[8:size])
    return {name: struct.unpack(f"<{(end - start) // 4}f", data[size + start:size + end])
            for name, (start, end) in ((n, t["data_offsets"]) for n, t in tensors.items())}


class Averages(Case):
    def test_it_is_what_the_formula_says(self):
        """Element by element, in float32, each operation rounded once."""
        self.write("quadratic.yaml", QUADRATIC)
        found = self.train("out", job="quadratic.yaml")
        lr, keep, rest = f32(0.1), f32(0.9), f32(1 - 0.9)
        for i, (curvature, x) in enumerate(((1, 1.0), (0.5, -2.0))):
            average = x
            for _ in range(50):
                x = f32(x - f32(lr * f32(curvature * x)))
                average = f32(f32(keep * average) + f32(rest * x))
            self.assertEqual(weights_of(self.path("out", "model.safetensors"))["x"][i], x)
            self.assertEqual(weights_of(self.path("out", "model-ema.safetensors"))["x"][i], average)
        self.assertEqual(found["model_ema"], os.path.join("out", "model-ema.safetensors"))
        again = self.replay("out", "--out", "again")
        self.assertEqual(again["model_ema_sha256"], found["model_ema_sha256"])
        self.assertEqual(weights_of(self.path("again", "model-ema.safetensors")),
                         weights_of(self.path("out", "model-ema.safetensors")))

    def test_same_bits_however_it_is_cut(self):
        self.write("job.yaml", JOB.replace("dense: 8", "dense: 2048\n    - relu\n    - dense: 64")
                   .replace("epochs: 3", "updates: 12") + "average: {ema: 0.8}\n")
        plain = self.train("plain", "--set", "average.ema=0.5")
        runs = [self.train(name, *arguments) for name, arguments in (
            ("one", []), ("small", ["--set", "chunk=64KiB"]), ("two", ["--servers", "2"]),
            ("three", ["--servers", "3", "--set", "chunk=64KiB"]))]
        self.assertEqual(len({run["model_ema_sha256"] for run in runs}), 1)
        self.assertEqual({run["model_sha256"] for run in runs}, {plain["model_sha256"]})
        self.assertNotEqual(runs[0]["model_ema_sha256"], plain["model_ema_sha256"])
        self.assertNotEqual(runs[0]["model_ema_sha256"], runs[0]["model_sha256"])
        late = self.train("late", "--mode", "async", "--workers", "3", "--servers", "2")
        self.assertEqual(self.replay("late")["model_ema_sha256"], late["model_ema_sha256"])

    def test_the_evaluator_may_score_it(self):
        scores = {}
        for what in "weights", "average":
            for servers in "1", "2":
                out = what + servers
                found = self.train(out, "--servers", servers, "--set",
                                   f"average={{ema: 0.95, evaluate: {what}}}")
                again = self.replay(out, "--out", out + "-again")
                for field in "test_loss", "test_accuracy", "model_sha256", "model_ema_sha256":
                    self.assertEqual(again[field], found[field], field)
                self.assertEqual([m["test_loss"] for m in self.metrics(out)],
                                 [m["test_loss"] for m in self.metrics(out + "-again")])
                scores.setdefault(what, set()).add((found["test_loss"], found["model_sha256"]))
        self.assertEqual([len(found) for found in scores.values()], [1, 1])
        (weights_loss, sha), = scores["weights"]
        (average_loss, same), = scores["average"]
        self.assertEqual(sha, same)
        self.assertNotEqual(weights_loss, average_loss)

    def test_without_one_there_is_none(self):
        found = self.train("out")
        self.assertIsNone(found["model_ema"])
        self.assertIsNone(found["model_ema_sha256"])
        self.assertFalse(os.path.exists(self.path("out", "model-ema.safetensors")))

    def test_what_is_wrong_is_said_with_its_line(self):
        for text, words in (("average: {ema: 1}", "job.yaml:18: average.ema: 1 is out of range"),
                            ("average: {ema: 0}", "job.yaml:18: average.ema: 0 is out of range"),
                            ("average: {evaluate: average}", "job.yaml:18: average.ema: missing"),
                            ("average: {ema: 0.9, evaluate: both}", "average.evaluate: \"both\" is"),
                            ("average: 0.9", "job.yaml:18: average: a single value where")):
            self.write("job.yaml", JOB + text + "\n")
            code, _, err = self.talweg("run", "job.yaml")
            self.assertEqual(code, 2)
            self.assertIn(words, err)


def safetensors(header, data, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


class Mean(Case):
    """`talweg average`."""

    X = {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}

    def put(self, name, *values, header=None):
        with open(self.path(name), "wb") as file:
            file.write(safetensors(header or self.X, struct.pack(f"<{len(values)}f", *values)))
        return name

    def refuse(self, words, *models):
        code, out, err = self.talweg("average", *models, "--out", "mean", "--json")
        self.assertEqual(code, 2, err)
        found = json.loads(out)
        self.assertEqual((found["status"], list(found)), ("failed", ["status", "error"]))
        self.assertIn(words, err)
        self.assertFalse(os.path.exists(self.path("mean")))
        self.assert_no_temporary_files()

    def test_of_runs_is_the_mean_of_each_element(self):
        for seed in "1", "2", "3":
            code, _, err = self.talweg("run", "job.yaml", "--out", seed, "--set", f"seed={seed}",
                                       "--set", "epochs=1")
            self.assertEqual(code, 0, err)
        code, out, err = self.talweg("average", "1", "2/model.safetensors", "3", "--out",
                                     "mean.safetensors", "--json")
        self.assertEqual(code, 0, err)
        found, mean = json.loads(out), weights_of(self.path("mean.safetensors"))
        models = [weights_of(self.path(seed, "model.safetensors")) for seed in "123"]
        self.assertEqual((found["status"], found["models"], found["tensors"]), ("done", 3, 4))
        self.assertEqual(list(mean), list(models[0]))
        for name, values in mean.items():
            for i, value in enumerate(values):
                self.assertEqual(value, f32(sum(model[name][i] for model in models) / 3))
        with open(self.path("mean.safetensors"), "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        self.assertEqual(found["model_sha256"], digest)
        code, _, err = self.talweg("average", "1", "2", "--out", "mean.safetensors")
        self.assertEqual(code, 2)
        self.assertIn("there is such a file already", err)

    def checkpoints_of(self, run):
        """The folders, and what each has of the weights, put together from all its files."""
        folders = sorted(os.listdir(self.path(run, "checkpoints")))
        found = []
        for folder in folders:
            parts = {}
            for file in sorted(os.listdir(self.path(run, "checkpoints", folder))):
                if file.startswith("shard-"):
                    parts.update(weights_of(self.path(run, "checkpoints", folder, file)))
            weights = {}
            for name, values in parts.items():
                if ":" not in name.split("[")[0]:
                    first = int(name.split("[")[1].split(":")[0]) if "[" in name else 0
                    weights.setdefault(name.split("[")[0], {})[first] = values
            found.append({name: sum((pieces[at] for at in sorted(pieces)), ())
                          for name, pieces in weights.items()})
        return [os.path.join(run, "checkpoints", folder) for folder in folders], found

    def checkpointed_run(self, run, seed=1):
        """At least one checkpoint is sure: later ones may wait for the first."""
        wide = JOB.replace("dense: 8", "dense: 4096").replace("epochs: 3", "updates: 12")
        self.write("job.yaml",
                   wide + "checkpoint: {every: 4, keep: 9}\naverage: {ema: 0.5}\n")
        code, _, err = self.talweg("run", "job.yaml", "--out", run, "--servers", "2",
                                   "--set", "chunk=64KiB", "--set", f"seed={seed}")
        self.assertEqual(code, 0, err)
        return self.checkpoints_of(run)

    def two_checkpointed_runs(self):
        return map(list.__add__, self.checkpointed_run("out"), self.checkpointed_run("other", 2))

    def test_of_checkpoints_is_the_mean_of_each_element(self):
        """Of runs whose tensors are spread over servers; and with the model of an end."""
        folders, weights = self.two_checkpointed_runs()
        self.assertTrue(any("[" in name for name in weights_of(
            os.path.join(self.path(folders[0]), "shard-0.safetensors"))))
        weights.append(weights_of(self.path("out", "model.safetensors")))
        code, out, err = self.talweg("average", *folders, "out", "--out", "mean", "--json")
        self.assertEqual(code, 0, err)
        self.assertEqual(json.loads(out)["models"], len(weights))
        mean = weights_of(self.path("mean"))
        self.assertEqual(set(mean), set(weights[0]))
        for name, values in mean.items():
            self.assertEqual(values, tuple(
                f32(math.fsum(value) / len(weights))
                for value in zip(*(model[name] for model in weights))), name)

    def test_a_checkpoint_that_was_spoilt_is_refused(self):
        folders, _ = self.two_checkpointed_runs()
        folders = [folders[0], folders[-1]]
        elsewhere = os.path.join("far", "away", "elsewhere")  # no job two folders above it
        shutil.copytree(self.path(folders[0]), self.path(elsewhere))
        self.refuse("in checkpoints/ of its run", folders[1], elsewhere)
        self.refuse("one file of a checkpoint; give its folder", folders[1],
                    os.path.join(folders[0], "shard-0.safetensors"))
        manifest = self.path(folders[0], "manifest.json")
        with open(manifest, "r+b") as file:
            byte = file.seek(40) and file.read(1)
            file.seek(40)
            file.write(b"1" if byte != b"1" else b"2")
        self.refuse("manifest.json", folders[1], folders[0])
        shard = self.path(folders[1], "shard-1.safetensors")
        with open(shard, "r+b") as file:
            file.seek(-1, os.SEEK_END)
            byte = file.read(1)
            file.seek(-1, os.SEEK_END)
            file.write(bytes([byte[0] ^ 1]))
        self.refuse("are not those that were written", "out", folders[1])
        os.remove(shard)
        self.refuse("No such file", "out", folders[1])

    def test_tensors_are_found_by_name(self):
        two = {"y": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
               "x": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}
        swapped = {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                   "y": {"dtype": "F32", "shape": [], "data_offsets": [8, 12]}}
        self.put("a", 1, 2, 3, header=two)
        self.put("b", 4, 5, 6, header=swapped)
        code, _, err = self.talweg("average", "a", "b", "--out", "mean")
        self.assertEqual(code, 0, err)
        self.assertEqual(weights_of(self.path("mean")), {"y": (3.5,), "x": (3, 4)})

    def test_models_that_are_unlike_are_refused(self):
        self.put("a", 1, 2)
        self.refuse("at least two models", "a")
        self.refuse("No such file", "a", "nowhere")
        self.refuse("regular file", "a", "/dev/null")
        other = {"x": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}}
        self.refuse('tensor "x" is [1, 2], in a it is [2]', "a", self.put("b", 1, 2, header=other))
        named = {"z": self.X["x"]}
        self.refuse('has no tensor "x"', "a", self.put("b", 1, 2, header=named))
        more = {**self.X, "y": {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]}}
        self.refuse("has 2 tensors, a has 1", "a", self.put("b", 1, 2, 3, header=more))
        whole = {"x": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}
        self.refuse("has type I64; only F32", "a", self.put("b", 1, 2, header=whole))
        self.refuse("is not finite", "a", self.put("b", 1, math.nan))
        self.refuse("is not finite", "a", self.put("b", math.inf, 1))

    def test_hostile_files_are_refused(self):
        self.put("a", 1, 2)
        good = safetensors(self.X, bytes(8))
        entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
        rows = [good[:cut] for cut in range(len(good))]
        rows += [good + b"\0", b"\xff" * 64, safetensors(b"", b""), safetensors({}, b""),
                 safetensors(self.X, bytes(8), length=2 ** 64 - 1),
                 safetensors(self.X, bytes(8), length=2 ** 63),
                 safetensors(b"[" * 100000, b""), safetensors(b'{"x":' * 50000, b""),
                 safetensors(b'{"x": 1, "x": 1}', b""), safetensors(b"{\"x\": {}}", b"")]
        for change in ({"shape": [2 ** 64]}, {"shape": [2 ** 63, 2]}, {"shape": [-2]},
                       {"shape": [0]}, {"shape": [1] * 100}, {"shape": "x"}, {"shape": [2.5]},
                       {"data_offsets": [8, 0]}, {"data_offsets": [0, 2 ** 64]},
                       {"data_offsets": [4, 8]}, {"data_offsets": [0]}, {"data_offsets": [0, 8, 9]},
                       {"dtype": "F31"}, {"dtype": 4}, {"extra": 1}):
            rows.append(safetensors({"x": {**entry, **change}}, bytes(8)))
        for name in ("", "x" * 5000, "a b", "../x", "x\n", "\u0000"):
            rows.append(safetensors({name: entry}, bytes(8)))
        for number, row in enumerate(rows):
            with open(self.path("b"), "wb") as file:
                file.write(row)
            code, _, err = self.talweg("average", "b", "a", "--out", "mean")
            self.assertEqual(code, 2, (number, row[:80], err))
            self.assertRegex(err, r"^talweg average: ")
            self.assertFalse(os.path.exists(self.path("mean")), number)


class TrainAccuracy(Case):
    def test_is_counted_where_the_gradients_are_computed(self):
        rows = {}
        for name, arguments in (("one", ["--workers", "1"]), ("two", ["--workers", "2"]),
                                ("servers", ["--servers", "2"]),
                                ("late", ["--mode", "async", "--workers", "3"])):
            code, text, err = self.talweg("run", "job.yaml", "--json", "--out", name, *arguments,
                                          *(["--set", "slots=2"] if name == "one" else []))
            self.assertEqual(code, 0, err)
            found = self.result(text)
            with open(self.path(name, "metrics.jsonl")) as file:
                lines = [json.loads(line) for line in file]
            rows[name] = [line["train_accuracy"] for line in lines]
            self.assertEqual(found["train_accuracy"], rows[name][-1])
            self.assertRegex(err, r"epoch 3/3  train loss [0-9.]+  train accuracy [0-9.]+  test loss")
            self.assertGreater(rows[name][-1], 0.9)
            self.assertLess(rows[name][0], 1)
            samples = [0] + [line["samples"] for line in lines]
            for accuracy, end, start in zip(rows[name], samples[1:], samples):
                correct = accuracy * (end - start)  # a whole number of those of the epoch
                self.assertAlmostEqual(correct, round(correct), 9)
            code, text, err = self.talweg("replay", name, "--json", "--out", name + "-again")
            self.assertEqual(code, 0, err)
            self.assertEqual(self.result(text)["train_accuracy"], found["train_accuracy"])
            with open(self.path(name + "-again", "metrics.jsonl")) as file:
                self.assertEqual([json.loads(line)["train_accuracy"] for line in file], rows[name])
        self.assertEqual(rows["one"], rows["two"])
        self.assertEqual(rows["servers"], rows["two"])

    def test_an_objective_has_none(self):
        self.write("quadratic.yaml", QUADRATIC)
        code, text, err = self.talweg("run", "quadratic.yaml", "--json", "--out", "out")
        self.assertEqual(code, 0, err)
        self.assertIsNone(self.result(text)["train_accuracy"])
        self.assertNotIn("accuracy", err)


if __name__ == "__main__":
    unittest.main()
