#!/usr/bin/python3
"""Models beyond the perceptron: what `talweg model` says of them, and that a cluster trains them
to the same bits whoever computes, and replays them."""
import gzip
import json
import os
import statistics
import struct
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from talweg_e2e import JOB, Case  # noqa: E402

EXAMPLES = os.path.join(HERE, "..", "..", "examples")
LENET = os.path.join(EXAMPLES, "fashion-mnist-lenet5.yaml")
# Every layer on the job's 4 x 4 images.
ALL = ("[conv2d: {channels: 4, kernel: 3, padding: 1}, leaky_relu, max_pool: {kernel: 2, stride: 1},"
       " conv2d: {channels: 6, kernel: 2}, tanh, avg_pool: 2, flatten, dropout: 0.9,"
       " dense: 12, maxout: 2, dropout: {keep: 0.8, form: classic}, dense: 5, sigmoid,"
       " dense: 3, relu, dense: 3, softmax, dense: 3]")


# Batch norm behind a convolution and a dense layer, a residual block with a stride.
NORMED = ("[conv2d: {channels: 3, kernel: 3, padding: 1}, batch_norm, relu,"
          " skip, conv2d: {channels: 5, kernel: 3, stride: 2, padding: 1}, batch_norm: {keep: 0.5},"
          " add, relu, flatten, dense: 6, batch_norm: {average: mean}, relu, dense: 3]")


class Model(Case):
    def ask(self, *arguments, expected=0):
        code, out, err = self.talweg("model", *arguments)
        self.assertEqual(code, expected, err)
        return out, err

    def test_lenet5(self):
        found = json.loads(self.ask(LENET, "--json")[0])
        self.assertEqual([layer["output"] for layer in found["layers"]],
                         [[6, 28, 28]] * 2 + [[6, 14, 14]] + [[16, 10, 10]] * 2 +
                         [[16, 5, 5], [400]] + [[120]] * 2 + [[84]] * 2 + [[10]])
        self.assertEqual(found["parameters"], 61706)
        self.assertEqual(found["layers"][3]["parameters"], 16 * (6 * 25 + 1))
        self.assertEqual(found["layers"][3]["flop_forward"], 2 * 150 * 1600)
        self.assertEqual(found["layers"][3]["flop_backward"], 2 * 2 * 150 * 1600)
        self.assertEqual(found["layers"][0]["flop_backward"], 2 * 25 * 6 * 784)  # no inputs'
        self.assertEqual((found["rows"], found["symmetric_layer"]), (64, None))
        values = sum(4 * 64 * n for n in (784, 4704, 1176, 1600, 400, 120, 84, 10))
        self.assertGreater(found["worker_bytes"], values)
        self.assertLess(found["worker_bytes"], 8 * values)
        out, _ = self.ask(LENET)
        for words in ("conv2d       [6, 28, 28]", "61706 parameters", "dense3.weight [84, 10]"):
            self.assertIn(words, out)

    def test_a_residual_net(self):
        found = json.loads(self.ask(os.path.join(EXAMPLES, "fashion-mnist-resnet.yaml"),
                                    "--json")[0])
        self.assertEqual([layer["output"] for layer in found["layers"] if layer["layer"] == "add"],
                         [[32, 14, 14], [64, 7, 7]])
        averaged = [tensor["name"] for tensor in found["tensors"] if not tensor["trained"]]
        self.assertEqual(averaged, [f"batch_norm{i}.{name}" for i in range(1, 7)
                                    for name in ("mean", "variance")])
        out, _ = self.ask(os.path.join(EXAMPLES, "fashion-mnist-resnet.yaml"))
        self.assertIn("batch_norm6.variance [64], averaged over batches\n", out)

    def test_what_has_no_layers(self):
        out, _ = self.ask(os.path.join(EXAMPLES, "ravine.yaml"))
        self.assertIn("x [2]", out)
        found = json.loads(self.ask(os.path.join(EXAMPLES, "own-gradient.yaml"), "--json")[0])
        self.assertEqual((found["layers"], found["parameters"]), ([], 15))

    def test_units_that_stay_identical_are_reported(self):
        setting = ("model.layers=[flatten, dense: {units: 5, init: zeros}, relu,"
                   " dense: {units: 3, init: constant, value: 0.5}]")
        self.assertIn("model.layers[1]: all units", self.ask("job.yaml", "--set", setting)[0])
        _, _, err = self.talweg("run", "job.yaml", "--set", setting, "--set", "epochs=1")
        self.assertIn("model.layers[1]: all units", err)

    def test_what_does_not_fit_is_named_with_number_and_shape(self):
        for layers, words in (
                ("[conv2d: {channels: 2, kernel: 3}, dense: 3]", ["model.layers[1]", "[2, 2, 2]"]),
                ("[flatten, max_pool: 2, dense: 3]", ["model.layers[1]", "[16]"]),
                ("[max_pool: 2, conv2d: {channels: 1, kernel: 3}]",
                 ["model.layers[1]", "[3, 3]", "[1, 2, 2]"]),
                ("[flatten, maxout: 3, dense: 3]", ["model.layers[1]", "[16]"]),
                ("[flatten, dropout: 0, dense: 3]", ["model.layers[1].keep", "out of range"]),
                ("[conv2d: {channels: 2}, flatten, dense: 3]", ["model.layers[0]", "kernel"]),
                ("[skip, conv2d: {channels: 2, kernel: 2}, add, flatten, dense: 3]",
                 ["model.layers[2]", "[1, 4, 4]", "[2, 3, 3]"]),
                ("[flatten, skip, dense: 3]", ["model.layers[1]", "no add"]),
                ("[flatten, dense: 1]", ["model.loss", "at least 2 outputs", "[1]"])):
            for command in ("model", "run"):
                with self.subTest(layers=layers, command=command):
                    code, _, err = self.talweg(command, "job.yaml", "--set",
                                               "model.layers=" + layers)
                    self.assertEqual(code, 2)
                    for word in words:
                        self.assertIn(word, err)
        self.ask("nowhere.yaml", expected=2)


class Training(Case):
    def train(self, name, *arguments):
        code, out, err = self.talweg("run", "job.yaml", "--out", name, "--json", *arguments)
        self.assertEqual(code, 0, err)
        return json.loads(out.splitlines()[-1])

    def test_every_layer_gives_the_same_bits_on_1_2_and_4_workers_and_replays(self):
        same = ["--set", "model.layers=" + ALL, "--set", "slots=4", "--set", "epochs=2"]
        found = {workers: self.train(f"w{workers}", "--workers", str(workers), *same)
                 for workers in (1, 2, 4)}
        for workers in (2, 4):
            for key in ("model_sha256", "train_loss", "test_loss", "test_accuracy"):
                self.assertEqual(found[workers][key], found[1][key], key)
        other = self.train("other", *same, "--set", "seeds.dropout=2")
        self.assertNotEqual(other["model_sha256"], found[1]["model_sha256"])
        code, out, err = self.talweg("replay", "w2", "--json")
        self.assertEqual(code, 0, err)
        self.assertEqual(json.loads(out)["model_sha256"], found[1]["model_sha256"])

    def test_statistics_give_the_same_bits_on_1_2_and_4_workers_1_and_2_servers_and_replay(self):
        same = ["--set", "model.layers=" + NORMED, "--set", "slots=4", "--set", "epochs=2",
                "--set", "clip.norm=0.5", "--set", "weight_decay.l2=0.01"]
        found = {}
        for workers, servers in ((1, 1), (2, 2), (4, 1)):
            found[workers] = self.train(f"n{workers}", "--workers", str(workers), "--servers",
                                        str(servers), *same)
            for key in ("model_sha256", "train_loss", "test_loss", "test_accuracy"):
                self.assertEqual(found[workers][key], found[1][key], key)
        self.assertEqual(self.replayed("n2")["model_sha256"], found[1]["model_sha256"])
        self.assertEqual(self.replayed("n2")["test_loss"], found[1]["test_loss"])
        code, out, err = self.talweg("predict", "n2", "test", "--json")
        self.assertEqual(code, 0, err)
        self.assertEqual(json.loads(out.splitlines()[-1])["accuracy"],
                         found[1]["test_accuracy"])
        self.assertGreater(found[1]["test_accuracy"], 0.5)

    def replayed(self, run):
        code, out, err = self.talweg("replay", run, "--json")
        self.assertEqual(code, 0, err)
        return json.loads(out)

    def test_statistics_replay_in_async_and_with_short_gradients(self):
        for name, more in (("async", ["--mode", "async"]),
                           ("bf16", ["--set", "encoding={push: bf16, pull: bf16}"])):
            with self.subTest(name):
                run = self.train(name, "--set", "model.layers=" + NORMED, "--workers", "2",
                                 "--set", "epochs=2", "--set", "optimizer={name: lamb, lr: 0.01}",
                                 *more)
                self.assertEqual(self.replayed(name)["model_sha256"], run["model_sha256"])

    def test_crops_and_flips_give_the_same_bits_whoever_computes_and_replay(self):
        same = ["--set", "data.augment={crop: 1, flip: true}", "--set", "slots=4"]
        found = {workers: self.train(f"a{workers}", "--workers", str(workers), *same)
                 for workers in (1, 2, 4)}
        for workers in (2, 4):
            self.assertEqual(found[workers]["model_sha256"], found[1]["model_sha256"])
        self.assertEqual(self.replayed("a2")["model_sha256"], found[1]["model_sha256"])
        others = {self.train(f"b{i}", "--workers", "2", "--set", "slots=4",
                             *(word for setting in settings for word in ("--set", setting))
                             )["model_sha256"]
                  for i, settings in enumerate((
                      [], ["data.augment={crop: 1}"], ["data.augment={flip: true}"],
                      ["data.augment={crop: 1, flip: true}", "seeds.augment=2"]))}
        self.assertEqual(len(others - {found[1]["model_sha256"]}), 4)

    def test_an_embedding_learns_words(self):
        """Whether two of six words are of one kind is no sum over words."""
        words = "ash birch cedar trout perch eel".split()
        pairs = [(a, b) for a in words for b in words]
        for name, rows in (("train", pairs * 6), ("test", pairs)):
            self.write(name + ".csv", "one,two,same\n" + "".join(
                f"{a},{b},{'yes' if (a in words[:3]) == (b in words[:3]) else 'no'}\n"
                for a, b in rows))
        self.write("words.yaml", """\
model:
  input: [2]
  layers: [embedding: {entries: 6, size: 4}, flatten, dense: 16, relu, dense: 2]
  loss: softmax_cross_entropy
data:
  train: {file: train.csv, target: same, targets: classes, indices: [one, two]}
  test: {file: test.csv, target: same, targets: classes, indices: [one, two]}
batch: 24
epochs: 30
optimizer: {name: adam, lr: 1e-2}
slots: 4
""")
        found = {}
        for workers in 1, 2, 4:
            code, out, err = self.talweg("run", "words.yaml", "--out", f"e{workers}", "--json",
                                         "--workers", str(workers))
            self.assertEqual(code, 0, err)
            found[workers] = json.loads(out.splitlines()[-1])
            self.assertEqual(found[workers]["model_sha256"], found[1]["model_sha256"])
        self.assertEqual(found[1]["test_accuracy"], 1)
        self.assertEqual(self.replayed("e2")["model_sha256"], found[1]["model_sha256"])
        few = "model.layers=[embedding: {entries: 5, size: 4}, flatten, dense: 2]"
        code, _, err = self.talweg("run", "words.yaml", "--set", few)
        self.assertEqual(code, 2)
        self.assertIn("the model's embedding takes whole numbers from 0 to 4", err)

    def test_without_a_rule_the_mean_of_all_batches_is_that_of_the_data(self):
        """Ten epochs whose batches are all of the data, on weights that stay: the statistics of
        the inputs are those of the file, m / (m - 1) included."""
        self.train("stay", "--set", "model.layers=[flatten, batch_norm: {average: mean}, dense: 3]",
                   "--set", "optimizer=none", "--set", "batch=300", "--workers", "1",
                   "--set", "epochs=10")
        with gzip.open(self.path("train-images.gz"), "rb") as file:
            pixels = file.read()[16:]
        means = [statistics.fmean(pixels[i::16]) / 255 for i in range(16)]
        variances = [statistics.variance(pixels[i::16]) / 255 ** 2 for i in range(16)]
        found = self.tensors("stay")
        for name, expected in (("mean", means), ("variance", variances)):
            for x, y in zip(found["batch_norm1." + name], expected, strict=True):
                self.assertAlmostEqual(x, y, delta=2e-6)

    def tensors(self, run):
        with open(self.path(run, "model.safetensors"), "rb") as file:
            size, = struct.unpack("<Q", file.read(8))
            header, data = json.loads(file.read(size)), file.read()
        return {name: struct.unpack(f"<{(end - first) // 4}f", data[first:end])
                for name, (first, end) in ((name, entry["data_offsets"])
                                           for name, entry in header.items()
                                           if name != "__metadata__")}

    def test_a_slot_with_one_example_has_no_variance(self):
        code, _, err = self.talweg("run", "job.yaml", "--set", "batch=4", "--set", "slots=4",
                                   "--set", "model.layers=[flatten, dense: 4, batch_norm, dense: 3]")
        self.assertEqual(code, 2)
        self.assertIn("model.layers[2], batch_norm, takes at least 2 examples of each slot", err)
        self.assertIn("at least 8 would be right", err)

    def test_one_output_learns_two_classes(self):
        """Three kinds of images, of which two are made one: logistic regression."""
        for name in ("train-labels", "test-labels"):
            with open(self.path(name), "rb+") as file:
                labels = file.read()
                file.seek(8)
                file.write(bytes(min(label, 1) for label in labels[8:]))
        found = self.train("out", "--set", "model.layers=[flatten, dense: 1]",
                           "--set", "model.loss=binary_cross_entropy", "--set", "epochs=20")
        self.assertGreater(found["test_accuracy"], 0.95)


if __name__ == "__main__":
    unittest.main()
