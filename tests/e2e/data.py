#!/usr/bin/python3
"""Jobs on all kinds of data: real targets, made-up data, wrong data. Standard library only."""
import json
import os
import struct
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from talweg_by_hand import EPOCHS, ByHand, hold_back  # noqa: E402
from talweg_e2e import Case  # noqa: E402

EXAMPLES = os.path.join(HERE, "..", "..", "examples")


class Data(Case):
    def run_job(self, job, *arguments, code=0):
        """The result of a run, and what was said."""
        found, out, err = self.talweg("run", job, "--json", *arguments)
        self.assertEqual(found, code, err)
        return self.result(out), err

    def replay(self, run):
        code, out, err = self.talweg("replay", run, "--json")
        self.assertEqual(code, 0, err)
        return self.result(out)

    def assert_same(self, run, again):
        """A replay sees what its run saw, prepared in the same way."""
        for key in ("model_sha256", "test_loss", "test_accuracy", "train_loss", "train_accuracy"):
            self.assertEqual(run[key], again[key], key)

    def write_array(self, name, kind, shape, elements):
        """As numpy.save() writes it; `kind` is "<f4", ">f8" or "<i4"."""
        header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
        header += " " * (-(len(header) + 11) % 64) + "\n"
        code = kind[0] + str(len(elements)) + {"f4": "f", "f8": "d", "i4": "i"}[kind[1:]]
        with open(self.path(name), "wb") as file:
            file.write(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode())
            file.write(struct.pack(code, *elements))


class Regression(Data):
    def test_linear_regression_finds_what_lapack_finds(self):
        found, _ = self.run_job(os.path.join(EXAMPLES, "linear-regression.yaml"), "--out", "run")
        self.assertIsNone(found["train_accuracy"])
        self.assertIsNone(found["test_accuracy"])
        said = subprocess.run([os.environ["LEAST_SQUARES"], "run/job.yaml",
                               "run/model.safetensors"], cwd=self.folder, check=True,
                              capture_output=True, text=True).stdout
        self.assertEqual(json.loads(said)["samples"], 1000)
        self.assertLess(json.loads(said)["farthest"], 1e-5)
        # the noise has variance 0.25, which no model can explain
        self.assertAlmostEqual(found["test_loss"], 0.25, delta=0.05)
        self.assert_same(found, self.replay("run"))

    def test_logistic_regression(self):
        job = os.path.join(EXAMPLES, "logistic-regression.yaml")
        found, _ = self.run_job(job, "--out", "run")
        self.assertGreater(found["test_accuracy"], 0.9)
        self.assert_same(found, self.replay("run"))


MADE_UP = """\
model: {input: [3], layers: [dense: 8, tanh, dense: 2], loss: mean_squared_error}
data:
  train: {format: synthetic, kind: teacher, samples: 300, features: 3, outputs: 2}
  test: {format: synthetic, kind: teacher, samples: 100, features: 3, outputs: 2, first: 300}
  validation: 60
  standardise: true
batch: 24
epochs: 3
optimizer: {name: adam, lr: 0.01}
cluster: {workers: 2}
"""


class Parts(Data):
    def test_what_is_held_out_is_not_learned_from(self):
        self.write("made-up.yaml", MADE_UP)
        found, _ = self.run_job("made-up.yaml", "--out", "run")
        self.assertEqual((found["samples"], found["updates"]), (720, 30))
        self.assert_same(found, self.replay("run"))
        other, _ = self.run_job("made-up.yaml", "--set", "seeds.split=2")
        self.assertNotEqual(other["model_sha256"], found["model_sha256"])

    def test_preparation_matters(self):
        self.write("made-up.yaml", MADE_UP)
        found, _ = self.run_job("made-up.yaml")
        raw, _ = self.run_job("made-up.yaml", "--set", "data.standardise=false")
        self.assertNotEqual(raw["model_sha256"], found["model_sha256"])


TABLE = """\
model: {input: [4], layers: [dense: {units: 2, init: zeros}], loss: softmax_cross_entropy}
data:
  train: {file: train.csv, target: kind, targets: classes, categories: [town], missing: mean}
  test: {file: test.csv, target: kind, targets: classes, categories: [town], missing: mean}
  standardise: true
batch: 20
epochs: 20
optimizer: {name: sgd, lr: 0.5}
cluster: {workers: 2}
"""


class Tables(Data):
    def write_table(self, name, count, seed):
        """Whether x + y is large, and where; some x are missing, and lines end as they like."""
        rows = ["x,town,kind,y"]
        for i in range(count):
            x, y = (i * seed) % 17, (i * 7 + seed) % 13
            town = ("Ulm", "Bonn")[i % 2]
            kind = "large" if x + y + 3 * (i % 2) > 14 else "small"
            rows.append(f'{"NA" if i % 10 == 9 else x},"{town}",{kind},{y}')
        with open(self.path(name), "w", newline="") as file:
            file.write("\r\n".join(rows))

    def test_words_numbers_and_holes(self):
        self.write("table.yaml", TABLE)
        self.write_table("train.csv", 200, 5)
        self.write_table("test.csv", 60, 11)
        found, _ = self.run_job("table.yaml", "--out", "run")
        self.assertGreater(found["test_accuracy"], 0.85)
        self.assert_same(found, self.replay("run"))

    def test_what_is_wrong_is_named_by_line_and_column(self):
        self.write("table.yaml", TABLE)
        self.write_table("train.csv", 200, 5)
        self.write_table("test.csv", 60, 11)
        with open(self.path("test.csv"), "a") as file:
            file.write("\r\n1,Rom,small,2")
        found, _ = self.run_job("table.yaml", code=2)
        self.assertIn("test.csv:62: column 2 (town): \"Rom\" does not occur in this column of the "
                      "training data", found["error"])

    def test_arrays(self):
        """The same numbers as float32, which stay in their file, and as float64, which do not."""
        rows = [(i * 37 % 101 - 50) / 32 for i in range(600)]
        targets = [rows[2 * i] - 2 * rows[2 * i + 1] + 0.5 for i in range(300)]
        hashes = set()
        for kind in ("<f4", ">f8"):
            self.write_array("x.npy", kind, (300, 2), rows)
            self.write_array("y.npy", kind, (300,), targets)
            self.write("arrays.yaml", "model: {input: [2], layers: [dense: 1], loss: huber}\n"
                       "data: {train: {samples: x.npy, targets: y.npy}}\nbatch: 30\nepochs: 40\n"
                       "optimizer: {name: sgd, lr: 0.3}\n")
            found, _ = self.run_job("arrays.yaml")
            self.assertLess(found["train_loss"], 1e-6)
            hashes.add(found["model_sha256"])
        self.assertEqual(len(hashes), 1)


class Sparse(Data):
    def write_rows(self, name, count, seed):
        """Class 1 where feature 2 stands, among 300."""
        with open(self.path(name), "w") as file:
            for i in range(count):
                chosen = sorted({(i * seed + k * k * 13) % 300 + 1 for k in range(6)} - {2}
                                | ({2} if i % 2 else set()))
                file.write(f"{'+1' if i % 2 else '-1'} "
                           + " ".join(f"{j}:{1 + j % 3}" for j in chosen) + "\n")

    def test_a_file_of_sparse_rows(self):
        self.write_rows("train.svm", 200, 7)
        self.write_rows("test.svm", 50, 11)
        self.write("sparse.yaml", "model: {input: [300], layers: [sparse_dense: {units: 1, init: "
                   "zeros}], loss: binary_cross_entropy}\ndata:\n  train: {file: train.svm, "
                   "features: 300}\n  test: {file: test.svm, features: 300}\nbatch: 20\nepochs: 10\n"
                   "optimizer: {name: sgd, lr: 0.2}\nslots: 4\n")
        found = []
        for workers in ("1", "2", "4"):
            run = "run" + workers
            found.append(self.run_job("sparse.yaml", "--workers", workers, "--out", run)[0])
            self.assert_same(found[-1], self.replay(run))
        self.assertGreater(found[0]["test_accuracy"], 0.95)
        # slots of one worker are summed where a gradient is never swept: the same bits all the same
        self.assertEqual(len({each["model_sha256"] for each in found}), 1)

    def test_a_million_features(self):
        found, _ = self.run_job(os.path.join(EXAMPLES, "sparse-logistic-regression.yaml"),
                                "--set", "data.train.samples=2000", "--set",
                                "data.test.samples=200", "--set", "epochs=1", "--out", "run")
        self.assertEqual((found["updates"], found["samples"]), (4, 2000))
        self.assertLess(found["train_loss"], 0.7)
        self.assert_same(found, self.replay("run"))

    def test_sparse_rows_stay_sparse(self):
        self.write_rows("train.svm", 20, 7)
        self.write("sparse.yaml", "model: {input: [300], layers: [dense: 1], loss: "
                   "binary_cross_entropy}\ndata:\n  train: {file: train.svm, features: 300}\n"
                   "batch: 20\nepochs: 10\noptimizer: {name: sgd, lr: 0.2}\n")
        found, _ = self.run_job("sparse.yaml", code=2)
        self.assertIn("its rows are sparse; let the model begin with sparse_dense", found["error"])
        found, _ = self.run_job("sparse.yaml", "--set", "model.layers=[sparse_dense: 1]", "--set",
                                "data.standardise=true", code=2)
        self.assertIn("data.standardise: sparse rows would be sparse no more", found["error"])


OWN = """\
model: {input: [2], layers: [dense: 1], loss: mean_squared_error}
data:
  train: {file: "part-{slot}.csv", target: y}
  test: {file: test.csv, target: y}
  shard: own
batch: 16
epochs: 5
optimizer: {name: sgd, lr: 0.05}
slots: 4
cluster: {workers: 2}
"""


def write_own(case):
    for name, count in (("part-0", 40), ("part-1", 61), ("part-2", 3), ("part-3", 50),
                        ("test", 30)):
        rows = ["a,b,y"]
        for i in range(count):
            a, b = i * 37 % 19 / 10 - 1, (i * count + 5) % 23 / 10 - 1
            rows.append(f"{a},{b},{2 * a - b + 0.5}")
        case.write(name + ".csv", "\n".join(rows))


class OwnKilled(ByHand):
    def test_its_slots_are_taken_over_with_their_files(self):
        """Twice in the middle of training; the server never sees the files of the workers."""
        text = OWN.replace("batch: 16", "batch: 64").replace("lr: 0.05", "lr: 1e-4")
        text = text.replace("epochs: 5", f"epochs: {EPOCHS}")
        text = text.replace("  test: {file: test.csv, target: y}\n", "")
        write_own(self)
        self.write("job.yaml", text)
        expected = self.undisturbed()
        self.write("job.yaml", text.replace("shard: own", "shard: own\n  samples: 154"))
        for slot in range(4):
            os.rename(self.path(f"part-{slot}.csv"), self.path(f"away-{slot}.csv"))
        server, port = self.serve()
        hold_back(server)
        for slot in range(4):
            os.rename(self.path(f"away-{slot}.csv"), self.path(f"part-{slot}.csv"))
        found = self.kill_and_replace(server, port, 100, 500)
        for key in "model_sha256", "train_loss":
            self.assertEqual(found[key], expected[key], f"seed {self.seed}")


class Own(Data):
    """Each slot learns from a file of its own; they are of unlike length."""

    def write_own(self):
        self.write("own.yaml", OWN)
        write_own(self)

    def test_the_same_bits_whoever_computes(self):
        self.write_own()
        found, _ = self.run_job("own.yaml", "--out", "run")
        self.assertLess(found["test_loss"], 0.1)
        self.assertEqual(found["samples"], 784)  # 5 times 154, rounded up to whole updates
        for workers in "1", "4":
            self.assert_same(found, self.run_job("own.yaml", "--workers", workers)[0])
        with open(self.path("run", "worker1.log")) as file:
            log = file.read()
        self.assertIn("slot 2: 3 samples from ", log)
        self.assertNotIn("part-0", log)
        self.assert_same(found, self.replay("run"))
        code, out, err = self.talweg("sim", "own.yaml", "--json")
        self.assertEqual(code, 0, err)
        self.assert_same(found, self.result(out))

    def test_what_is_not_there_is_named(self):
        self.write_own()
        self.run_job("own.yaml", "--out", "run")
        with open(self.path("part-1.csv"), "a") as file:
            file.write("\n1,1,1")
        code, out, _ = self.talweg("replay", "run", "--json")
        self.assertEqual(code, 2)
        self.assertIn("the job says 154, but the files of its 4 slots have 155",
                      self.result(out)["error"])
        with open(self.path("part-1.csv")) as file:
            text = file.read()
        self.write("part-1.csv", text[:text.rindex("\n")].replace("0.1", "0.2", 1))
        code, out, _ = self.talweg("replay", "run", "--json")
        self.assertEqual(code, 2)
        self.assertIn("other training data than the job's", self.result(out)["error"])
        os.remove(self.path("part-3.csv"))
        for arguments in ("replay", "run"), ("run", "own.yaml"):
            code, out, _ = self.talweg(*arguments, "--json")
            self.assertEqual(code, 2)
            self.assertIn("part-3.csv: cannot open", self.result(out)["error"])
        code, _, err = self.talweg("predict", "run", "train")
        self.assertEqual(code, 2)
        self.assertIn("each worker had training data of its own", err)
        code, _, err = self.talweg("predict", "run", "test")
        self.assertEqual(code, 0, err)

    def test_what_would_need_all_samples_is_refused(self):
        self.write_own()
        for setting, why in (
                ("data.train.file=part-0.csv", "data.train: with data.shard: own all slots would "
                 "read the same files here; write {slot}"),
                ("data.train={format: synthetic, kind: blobs, samples: 90}",
                 "data.shard: synthetic has no files that could be each worker's own"),
                ("data.samples=155", "data.samples: the job says 155"),
                ("data.train.categories=a", "words are numbered by those of all training data"),
                ("data.validation=3", "data.validation: with data.shard: own nobody has all")):
            found, _ = self.run_job("own.yaml", "--set", setting, code=2)
            self.assertIn(why, found["error"])
        found, _ = self.run_job("own.yaml", "--set",
                                "data.test={file: test.csv, target: y, indices: [a]}", code=2)
        self.assertIn("words are numbered by those of all training data", found["error"])
        with open(self.path("part-2.csv"), "a") as file:
            file.write("\nNA,1,1")
        found, _ = self.run_job("own.yaml", "--set", "data.train.missing=mean", code=2)
        self.assertIn("part-2.csv: what is missing would get the mean", found["error"])


    def test_targets_of_two_kinds_are_refused(self):
        """Real targets here and classes there: the loss would take both."""
        for slot, kind in enumerate(("<f4", "<i4")):
            self.write_array(f"x-{slot}.npy", "<f4", (20,), [i / 20 for i in range(20)])
            self.write_array(f"y-{slot}.npy", kind, (20,), [i % 2 for i in range(20)])
        self.write("arrays.yaml", "model: {input: [1], layers: [dense: 1], "
                   "loss: binary_cross_entropy}\ndata: {shard: own, train: {samples: "
                   '"x-{slot}.npy", targets: "y-{slot}.npy"}}\nbatch: 4\nepochs: 1\n'
                   "optimizer: {name: sgd, lr: 0.3}\ncluster: {workers: 2}\n")
        found, _ = self.run_job("arrays.yaml", code=2)
        self.assertIn("y-1.npy has classes, but ", found["error"])
        self.assertIn("all files must have the same kind", found["error"])
        self.write_array("y-1.npy", "<f4", (20,), [i % 2 for i in range(20)])
        self.run_job("arrays.yaml")


class Wrong(Data):
    def refused(self, *arguments):
        self.write("made-up.yaml", MADE_UP)
        found, err = self.run_job("made-up.yaml", *arguments, code=2)
        self.assertEqual(found["status"], "failed")
        self.assertIn(found["error"], err.replace("\n", " "))
        return found["error"]

    def test_more_than_there_is(self):
        self.assertIn("data.validation: 300 samples are to be held out, but the training data has "
                      "only 300", self.refused("--set", "data.validation=300"))
        self.assertIn("batch: 241 examples of each update, but only 240 training samples",
                      self.refused("--set", "batch=241"))

    def test_targets_that_do_not_fit(self):
        self.assertIn("its targets are real numbers, but softmax_cross_entropy takes classes",
                      self.refused("--set", "model.loss=softmax_cross_entropy"))
        self.assertIn("a target has 1 number, but the model has 2 outputs",
                      self.refused("--set", "data.train.outputs=1"))

    def test_one_class_only(self):
        images, labels = self.path("images"), self.path("labels")
        with open(images, "wb") as file:
            file.write(bytes([0, 0, 8, 2, 0, 0, 0, 30, 0, 0, 0, 2]) + bytes(60))
        with open(labels, "wb") as file:
            file.write(bytes([0, 0, 8, 1, 0, 0, 0, 30]) + b"\1" * 30)
        self.write("one.yaml", "model: {input: [2], layers: [dense: 2], loss: "
                   "softmax_cross_entropy}\ndata: {train: {format: idx, images: images, labels: "
                   "labels}}\nbatch: 3\nepochs: 1\noptimizer: {name: sgd, lr: 1}\n")
        found, _ = self.run_job("one.yaml", code=2)
        self.assertIn("all 30 training samples have the label 1: with one class only there is "
                      "nothing to learn", found["error"])


if __name__ == "__main__":
    unittest.main()
