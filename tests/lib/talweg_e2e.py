"""What the end-to-end tests share: a tiny data set and job, and a way to run the real
program and look at its processes. Standard library only.

The program is named by the environment variable TALWEG (CMake sets it).
"""
import gzip
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest

TALWEG = os.path.abspath(os.environ.get("TALWEG", "build/talweg"))

# No test may depend on how fast the machine is: whatever is waited for may take so many
# seconds. Only what hangs takes as long.
PATIENCE = 300

# A change is judged by the same dice each time; long campaigns throw others, and say which.
SEED = int(os.environ.get("TALWEG_SEED",
                          random.randrange(1 << 32) if os.environ.get("TALWEG_LONG") else 1))

FIELDS = """status error mode servers workers updates samples seconds samples_per_second
train_loss test_loss test_accuracy train_accuracy staleness_mean staleness_max not_finite stopped
model model_sha256 model_ema model_ema_sha256 run""".split()

JOB = """\
model:
  input: [1, 4, 4]
  layers:
    - flatten
    - dense: 8
    - relu
    - dense: 3
  loss: softmax_cross_entropy
data:
  train: {format: idx, images: train-images.gz, labels: train-labels}
  test: {format: idx, images: test-images, labels: test-labels}
batch: 20
epochs: 3
optimizer: {name: adam, lr: 1e-2}
consistency: {mode: sync}
cluster: {servers: 1, workers: 2}
seed: 1
"""

# 16 x 4000 and 4000 x 3 weights, 308 KiB: seven chunks of 64 KiB and less.
WIDE = JOB.replace("dense: 8", "dense: 4000")


def samples(count):
    """Three kinds of 4 x 4 images: light on the left, on top, or in the middle."""
    images, labels = bytearray(), bytearray()
    for i in range(count):
        kind = i * 7 % 3
        for y in range(4):
            for x in range(4):
                on = (x < 2, y < 2, 0 < x < 3 and 0 < y < 3)[kind]
                images.append((200 if on else 20) + (i * 31 + x * 7 + y * 13) % 50)
        labels.append(kind)
    return bytes(images), bytes(labels)


def write_data(folder, name, count):
    images, labels = samples(count)
    images = struct.pack(">IIII", 0x803, count, 4, 4) + images
    labels = struct.pack(">II", 0x801, count) + labels
    if name == "train":
        with gzip.open(os.path.join(folder, "train-images.gz"), "wb") as file:
            file.write(images)
    else:
        with open(os.path.join(folder, name + "-images"), "wb") as file:
            file.write(images)
    with open(os.path.join(folder, name + "-labels"), "wb") as file:
        file.write(labels)


def processes():
    """pid -> (parent, command line) of all that are not zombies."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")[:-1]
        except OSError:
            continue
        if state != "Z":
            found[int(pid)] = (int(parent), words)
    return found


def children_of(pid):
    return {p: words for p, (parent, words) in processes().items() if parent == pid}


MIB = 1 << 20


def most_memory(bound):
    """What a process may have that is built to need `bound` at most: a sanitizer needs an eighth
    of what is used, and some."""
    with open(TALWEG, "rb") as file:
        program = file.read()
    sanitized = b"__asan_init" in program or b"__tsan_init" in program
    return bound * 9 // 8 + 16 * MIB if sanitized else bound


class Run:
    """A program that was started; its stderr is read line by line. `before`: words that
    stand before it on the command line and end by executing it."""

    def __init__(self, folder, arguments, before=()):
        self.process = subprocess.Popen([*before, TALWEG, *arguments], cwd=folder, text=True,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self.pid = self.process.pid
        self.seen = ""

    def wait_for(self, word):
        """Reads stderr until a line holds `word`; returns that line."""
        for line in self.process.stderr:
            self.seen += line
            if word in line:
                return line
        raise AssertionError(f"it ended without {word!r}:\n{self.seen}")

    def end(self, seconds=PATIENCE):
        """Waits; returns (exit code, stdout, all of stderr)."""
        out, err = self.process.communicate(timeout=seconds)
        self.seen += err
        return self.process.returncode, out, self.seen

    def child(self, *words):
        """The pid of the child whose command line holds all words."""
        found = [pid for pid, line in children_of(self.pid).items()
                 if all(word in line for word in words)]
        assert len(found) == 1, (words, children_of(self.pid))
        return found[0]


class Case(unittest.TestCase):
    """A test with a folder of its own, which holds job.yaml and its data."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="talweg-e2e-")
        self.addCleanup(shutil.rmtree, self.folder)
        write_data(self.folder, "train", 300)
        write_data(self.folder, "test", 60)
        self.write("job.yaml", JOB)
        self.runs = []

    def tearDown(self):
        for run in self.runs:
            if run.process.poll() is None:
                run.process.kill()
                run.process.wait()
            run.process.stdout.close()
            run.process.stderr.close()

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)

    def start(self, *arguments, **more):
        run = Run(self.folder, arguments, **more)
        self.runs.append(run)
        return run

    def talweg(self, *arguments, **more):
        return self.start(*arguments, **more).end()

    def result(self, out):
        """The object on the last line of stdout: exactly the fields of the contract."""
        self.assertTrue(out.endswith("}\n"), out)
        found = json.loads(out.splitlines()[-1])
        self.assertEqual(list(found), FIELDS)
        return found

    def train(self, out, *arguments, job="job.yaml", code=0):
        """The result of a run, left in the directory `out`."""
        found, text, self.said = self.talweg("run", job, "--json", "--out", out, *arguments)
        self.assertEqual(found, code, self.said)
        return self.result(text)

    def train_with(self, out, *settings, more=(), **kinds):
        """The same, of a job with some settings KEY=VALUE."""
        return self.train(out, *(word for one in settings for word in ("--set", one)), *more,
                          **kinds)

    def replay(self, run, *arguments):
        code, text, err = self.talweg("replay", run, "--json", *arguments)
        self.assertEqual(code, 0, err)
        return self.result(text)

    def records(self, run, kind=None):
        """Those of the order log; of one kind only, if it is named."""
        code, text, err = self.talweg("log", run, "--json")
        self.assertEqual(code, 0, err)
        return [record for record in map(json.loads, text.splitlines())
                if kind in (None, record["record"])]

    def metrics(self, run):
        """The lines of metrics.jsonl."""
        with open(self.path(run, "metrics.jsonl")) as file:
            return [json.loads(line) for line in file]

    def assert_gone(self, pids, seconds=PATIENCE):
        """None of the pids lives, or will live after so many seconds."""
        deadline = time.monotonic() + seconds
        while True:
            left = set(pids) & set(processes())
            if not left:
                return
            self.assertLess(time.monotonic(), deadline, f"still alive: {left}")
            time.sleep(0.01)

    def assert_no_temporary_files(self):
        for folder, _, names in os.walk(self.folder):
            for name in names:
                self.assertFalse(name.endswith(".tmp"), os.path.join(folder, name))


__all__ = ["Case", "FIELDS", "JOB", "PATIENCE", "SEED", "TALWEG", "WIDE", "children_of", "processes", "signal", "time"]
