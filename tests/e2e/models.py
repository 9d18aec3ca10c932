#!/usr/bin/python3
"""Models beyond the perceptron: what `talweg model` says of them, and that a cluster trains them
to the same bits whoever computes, and replays them."""
import json
import os
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
