#!/usr/bin/python3
"""model.init: a run that starts from a model, all of it or some tensors, on any number of servers; its
replay; and models that do not fit."""
import json
import os
import struct
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import Case  # noqa: E402


class Inits(Case):
    def tensors(self, path):
        with open(self.path(path), "rb") as file:
            data = file.read()
        size = 8 + struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8:size])
        found = {}
        for name, about in header.items():
            if name != "__metadata__":
                first, end = (size + at for at in about["data_offsets"])
                values = struct.unpack(f"<{(end - first) // 4}f", data[first:end])
                found[name] = [round(value, 20) for value in values]
        return found

    # With next to no learning rate, what a run ends with is what it started with.
    STILL = ("optimizer={name: sgd, lr: 1e-30}", "updates=1")

    def test_all_of_a_model(self):
        first = self.train_with("first", "epochs=1")
        for number, init in enumerate(("first", "first/model.safetensors")):
            found = self.train_with(f"again{number}", f"model.init={init}", *self.STILL)
            self.assertEqual(found["model_sha256"], first["model_sha256"])
            self.assertAlmostEqual(found["test_loss"], first["test_loss"], places=12)

    def test_some_tensors_and_several_servers(self):
        wide = "model.layers=[flatten, dense: 2000, relu, dense: 3]"
        self.train_with("first", wide, "epochs=1")
        old = self.tensors("first/model.safetensors")
        self.train_with("fresh", wide, "seed=9", *self.STILL)
        new = self.tensors("fresh/model.safetensors")
        init = "model.init={file: first, tensors: 'dense1.*'}"
        found = self.train_with("mixed", wide, "seed=9", init, *self.STILL, "chunk=64KiB",
                                more=("--servers", "2"))
        mixed = self.tensors("mixed/model.safetensors")
        for name in old:
            self.assertEqual(mixed[name], (old if name.startswith("dense1.") else new)[name], name)
        self.assertEqual(found["status"], "done")

    def test_a_checkpoint_and_a_rule_whose_state_starts_as_the_weights(self):
        self.train_with("first", "checkpoint={every: 20, keep: 9}")
        (name, *_) = sorted(os.listdir(self.path("first", "checkpoints")))
        found = self.train_with("next", f"model.init=first/checkpoints/{name}", "epochs=1",
                                "optimizer={name: nesterov, lr: 0.01, nesterov: lookup}",
                                "average={ema: 0.9}")
        code, text, err = self.talweg("replay", "next", "--json")
        self.assertEqual(code, 0, err)
        again = self.result(text)
        for field in "updates", "train_loss", "model_sha256", "model_ema_sha256":
            self.assertEqual(again[field], found[field], field)
        self.assertIn("the same bits as", err)
        plain = self.train_with("plain", "epochs=1", "average={ema: 0.9}",
                                "optimizer={name: nesterov, lr: 0.01, nesterov: lookup}")
        self.assertNotEqual(plain["model_sha256"], found["model_sha256"])

    def test_the_job_of_the_run_says_which_weights_they_were(self):
        self.train_with("first", "epochs=1")
        self.train_with("next", "model.init=first", "epochs=1")
        with open(self.path("next", "job.yaml")) as file:
            self.assertRegex(file.read(), 'init: {file: ".*/first", tensors: "[*]", sha256: '
                                          '"[0-9a-f]{64}"}')
        with open(self.path("first", "model.safetensors"), "r+b") as file:
            file.seek(-4, os.SEEK_END)
            file.write(struct.pack("<f", 7))
        code, _, err = self.talweg("replay", "next")
        self.assertEqual(code, 2)
        self.assertIn("model.init.sha256: other weights than the job's", err)
        code, _, err = self.talweg("replay", "next", "--set",
                                   "model.init=" + self.path("first"))
        self.assertEqual(code, 0, err)  # another start: another run

    def test_what_does_not_fit_is_named(self):
        self.train_with("first", "epochs=1")
        with open(self.path("first", "model.safetensors"), "rb") as file:
            data = file.read()
        with open(self.path("cut.safetensors"), "wb") as file:
            file.write(data[:-3])
        with open(self.path("nan.safetensors"), "wb") as file:
            file.write(data[:-4] + struct.pack("<f", float("nan")))
        for init, layers, why in (
                ("first", "[flatten, dense: 9, relu, dense: 3]",
                 'tensor "dense1.weight" is [16, 8], the model\'s is [16, 9]'),
                ("first", "[flatten, dense: 8, relu, dense: 8, relu, dense: 3]",
                 'tensor "dense2.weight" is [8, 3], the model\'s is [8, 8]'),
                ("{file: first, tensors: 'conv*'}", None, '"conv*" fits none of the 4 tensors'),
                ("gone.safetensors", None, "gone.safetensors"),
                ("cut.safetensors", None, "cut.safetensors"),
                ("nan.safetensors", None, "is not finite"),
                ("{tensors: a}", None, "model.init.file: missing"),
                ("{file: first, name: a}", None, "unknown key"),
                ("{file: first, sha256: abc}", None, "is no SHA-256")):
            words = ["--set", f"model.init={init}"]
            words += ["--set", f"model.layers={layers}"] if layers else []
            code, _, err = self.talweg("run", "job.yaml", *words)
            self.assertEqual(code, 2, init)
            self.assertIn(why, err)


if __name__ == "__main__":
    unittest.main()
