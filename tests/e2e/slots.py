#!/usr/bin/python3
"""`slots: M`: 1, 2, 4, ..., M workers give the same bits in `sync`; and what is refused."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_by_hand import ByHand, hold_back  # noqa: E402
from talweg_e2e import JOB, Case  # noqa: E402

# 21 examples over 8 slots: five of them get 3, three get 2, and 300 samples over 8 slots
# neither. The second layer has more than a block, so that chunks count.
SLOTS_JOB = (JOB.replace("batch: 20", "batch: 21")
             .replace("dense: 8", "dense: 256\n    - relu\n    - dense: 80") + "slots: 8\n")


class SameBits(Case):
    def log_of(self, run):
        code, text, err = self.talweg("log", run)
        self.assertEqual(code, 0, err)
        return text

    def test_over_the_number_of_workers(self):
        self.write("job.yaml", SLOTS_JOB)
        alone = self.train("alone", "--workers", "1")
        same = ["status", "updates", "samples", "train_loss", "test_loss", "test_accuracy",
                "staleness_mean", "model_sha256"]
        for workers in "2", "4", "8":
            found = self.train("w" + workers, "--workers", workers)
            self.assertEqual(found["workers"], int(workers))
            for key in same:
                self.assertEqual(found[key], alone[key], (workers, key))
        # A run's own job has them, and gives the same once more.
        code, text, err = self.talweg("run", self.path("w4", "job.yaml"), "--json", "--out", "again")
        self.assertEqual(code, 0, err)
        self.assertEqual(self.result(text)["model_sha256"], alone["model_sha256"])
        # Eight workers without `slots` are the same eight slots.
        self.write("job.yaml", SLOTS_JOB.replace("slots: 8\n", ""))
        plain = self.train("plain", "--workers", "8")
        self.assertEqual(plain["model_sha256"], alone["model_sha256"])
        # And the number of slots does matter.
        four = self.train("four", "--workers", "2", "--set", "slots=4")
        self.assertNotEqual(four["model_sha256"], alone["model_sha256"])
        self.assertNotEqual(self.train("one", "--workers", "1")["model_sha256"],
                            alone["model_sha256"])

    def test_over_chunk_sizes_and_fixed_parts(self):
        self.write("job.yaml", SLOTS_JOB.replace("  test:", "  shard: fixed\n  test:"))
        found = {self.train(workers + chunk, "--workers", workers,
                            "--set", "chunk=" + chunk)["model_sha256"]
                 for workers, chunk in (("1", "64KiB"), ("2", "256KiB"), ("4", "64KiB"))}
        self.assertEqual(len(found), 1)

    def test_the_log_names_the_first_slot_of_each_worker(self):
        self.write("job.yaml", SLOTS_JOB)
        self.train("run", "--workers", "2")
        log = self.log_of("run")
        for words in "rank 1, incarnation 1, slot 4", "to slot 4, step 2", "; slot 4 step 2":
            self.assertIn(words, log)
        self.assertNotIn("slot 1 ", log)

    def test_async_with_one_slot_for_each_worker(self):
        self.write("job.yaml", JOB.replace("mode: sync", "mode: async") + "slots: 2\n")
        self.assertEqual(self.train("async")["status"], "done")


class Killed(ByHand):
    def test_a_killed_worker_s_block_is_taken_over(self):
        """Twice in the middle of training, of a job that never was disturbed otherwise."""
        with open(self.path("job.yaml")) as file:
            self.write("job.yaml", file.read() + "slots: 8\n")
        server, port = self.serve()
        hold_back(server)
        found = self.kill_and_replace(server, port, 5, 200)
        expected = self.undisturbed()
        self.assertEqual(found["model_sha256"], expected["model_sha256"], f"seed {self.seed}")
        self.assertEqual(found["train_loss"], expected["train_loss"])


class Refused(Case):
    def refuse(self, lines, words, *arguments):
        self.write("job.yaml", JOB + lines)
        code, _, err = self.talweg("run", "job.yaml", "--out", "run", *arguments)
        self.assertEqual(code, 2, err)
        self.assertIn(words, err)
        self.assertFalse(os.path.exists(self.path("run")))

    def test_what_does_not_fit(self):
        line = JOB.count("\n") + 1
        self.refuse("slots: 6\n", f"job.yaml:{line}: slots: 6 is no power of two; 4 or 8 would be")
        self.refuse("slots: 1\n", f"job.yaml:{line}: slots: 1 with cluster.workers: 2; with slots "
                    "there are at most as many workers")
        self.refuse("slots: 8\n", "--workers 3: cluster.workers: 3 workers with slots: 8; with "
                    "slots the number of workers must be a power of two too", "--workers", "3")
        self.refuse("slots: 32\n", f"job.yaml:{line}: slots: 32 slots share batch: 20")
        for mode in "async", "ssp:2", "backup:0":
            self.refuse("slots: 4\n", f"job.yaml:{line}: slots: 4 slots of 2 workers are for "
                        f'consistency.mode: sync, and the mode is "{mode}"', "--mode", mode)
        self.refuse("slots: 512\n", f"job.yaml:{line}: slots: 512 slots but only 300 training "
                    "samples", "--set", "batch=600")


if __name__ == "__main__":
    unittest.main()
