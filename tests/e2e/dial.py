#!/usr/bin/python3
"""The dial is turned while real runs go on, by the job and by hand, and they replay to the bit."""
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import Case  # noqa: E402


class Dial(Case):
    def assert_replays(self, run, found):
        code, text, err = self.talweg("replay", run, "--json")
        self.assertEqual(code, 0, err)
        replayed = self.result(text)
        for key in "updates", "samples", "train_loss", "staleness_mean", "staleness_max", \
                "model_sha256":
            self.assertEqual(replayed[key], found[key], key)

    def test_by_the_job(self):
        turns = "[{update: 30, mode: async}, {update: 60, mode: 'k-batch-async:2'}, " \
                "{update: 90, mode: 'ssp:1'}]"
        code, text, err = self.talweg("run", "job.yaml", "--json", "--workers", "3", "--out", "out",
                                      "--mode", "sync", "--set", f"consistency.turns={turns}",
                                      "--set", "updates=120", "--set", "epochs=1000")
        self.assertEqual(code, 0, err)
        found = self.result(text)
        self.assertEqual(found["updates"], 120)
        records = self.records("out")
        dials = [(r["version"], r["mode"]) for r in records if r["record"] == "DIAL"]
        self.assertEqual(dials, [(30, "async"), (60, "k-batch-async:2"), (90, "ssp:1")])
        for before, record in zip(records, records[1:]):
            if record["record"] == "DIAL":  # right after its update
                self.assertEqual((before["record"], before["version"]),
                                 ("COMMIT", record["version"]))
        gathers = {r["version"]: len(r["contributions"])
                   for r in records if r["record"] == "COMMIT"}
        self.assertEqual([gathers[v] for v in (30, 31, 60, 61, 90, 91)], [3, 1, 1, 2, 2, 1])
        self.assert_replays("out", found)

    def test_by_hand(self):
        run = self.start("run", "job.yaml", "--json", "--workers", "2", "--out", "out", "--mode",
                         "async", "--set", "epochs=100000")
        run.wait_for("epoch")
        code, text, err = self.talweg("dial", "out", "--mode", "ssp:2", "--json")
        self.assertEqual(code, 0, err)
        turned = json.loads(text)
        self.assertEqual((turned["status"], turned["mode"]), ("done", "ssp:2"))
        for mode, words in (("asinc", "did you mean \"async\"?"), ("k-sync:3", "from 1 to 2"),
                            ("ssp:2", "already")):
            code, text, err = self.talweg("dial", "out", "--mode", mode)
            self.assertEqual(code, 1)
            self.assertIn(words, err)
        code, text, err = self.talweg("dial", "out", "--mode", "sync")
        self.assertEqual(code, 0, err)
        self.assertIn("the dial is turned to sync after update ", err)
        run.process.terminate()
        code, text, err = run.end()
        found = self.result(text)
        self.assertEqual((code, found["status"]), (130, "interrupted"))
        dials = [r for r in self.records("out") if r["record"] == "DIAL"]
        self.assertEqual([r["mode"] for r in dials], ["ssp:2", "sync"])
        self.assertEqual((dials[0]["version"], dials[0]["position"]),
                         (turned["updates"], turned["position"]))
        self.assert_replays("out", found)
        code, text, err = self.talweg("dial", "out", "--mode", "async")
        self.assertEqual(code, 1)
        self.assertIn("over", err)

    def test_what_cannot_be(self):
        for turns, words in (
                ("[{update: 5, mode: asinc}]", "consistency.turns[0].mode: unknown mode"),
                ("[{update: 5, mode: async}, {update: 5, mode: sync}]", "does not come after"),
                ("[{update: 5, mode: sync}]", "is the mode already"),
                ("[{update: 5}]", "mode: missing"),
                ("[{mode: async}]", "update: missing"),
                ("[]", "empty"),
                ("async", "turns")):
            code, text, err = self.talweg("run", "job.yaml", "--mode", "sync", "--set",
                                          f"consistency.turns={turns}")
            self.assertEqual(code, 2, turns)
            self.assertIn(words, err)
        code, text, err = self.talweg("dial", "nowhere", "--mode", "async")
        self.assertEqual(code, 2)
        code, text, err = self.talweg("dial", "nowhere")
        self.assertEqual(code, 2)
        self.assertIn("--mode is missing", err)


if __name__ == "__main__":
    unittest.main()
