#!/usr/bin/python3
"""`talweg theory`, and every command of docs/decks.md as written."""
import json
import os
import re
import sys
import unittest
import xml.etree.ElementTree as xml

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from talweg_e2e import Case  # noqa: E402

DECKS = os.path.join(HERE, "..", "..", "docs", "decks.md")


class Decks(Case):
    def test_every_command_draws_what_it_names(self):
        with open(DECKS, encoding="utf-8") as file:
            commands = re.findall(r"^talweg (.*)$", file.read(), re.M)
        self.assertGreater(len(commands), 25)
        os.symlink(os.path.join(HERE, "..", "..", "examples"), self.path("examples"))
        for command in commands:
            with self.subTest(command):
                code, out, err = self.talweg(*command.split(), "--json")
                self.assertEqual(code, 0, err)
                found = json.loads(out.splitlines()[-1])
                if command.split()[0] in ("run", "curves"):
                    self.assertEqual(found["status"], "done")
                    continue
                self.assertEqual(found["objective"], command.split()[1])
                if not command.startswith("landscape"):
                    continue
                for run in found["runs"]:
                    self.assertIsNone(run["diverged_at"])
                    self.assertIsNone(run["left_at"], run["label"])
                xml.parse(self.path("landscape.svg"))


class Theory(Case):
    def ask(self, *arguments, code=0):
        found, out, err = self.talweg("theory", *arguments)
        self.assertEqual(found, code, err)
        return out, err

    def test_a_ravine(self):
        found = json.loads(self.ask("ravine", "--json")[0])
        self.assertEqual((found["kind"], found["at"]), ("minimum", [0, 0]))
        self.assertAlmostEqual(found["spectrum"][0], 2, delta=1e-12)
        self.assertAlmostEqual(found["spectrum"][1], 100, delta=1e-12)
        rows = {row["name"]: (row["predicted"], row["measured"]) for row in found["rows"]}
        for name, exact in {"gd_limit": .02, "gd_lr": 2 / 102, "gd_rate": 49 / 51,
                            "gd_steps": 346, "hb_lr": .030702094441,
                            "hb_momentum": .565806816485, "hb_rate": .752201314,
                            "hb_steps": 64}.items():
            for value in rows[name]:
                self.assertAlmostEqual(value / exact, 1, delta=1e-6)

    def test_words_of_at_most_100_columns(self):
        for line in ("ravine", "rosenbrock", "cliff", "saddle", "quadratic spectrum=2,1,0",
                     "quadratic spectrum=" + ",".join(map(str, range(1, 65)))):
            out, _ = self.ask(*line.split())
            self.assertLessEqual(max(len(words) for words in out.splitlines()[1:]), 100)
        self.assertIn("1, 2, 3, 4, ..., 61, 62, 63, 64\n", out)
        self.assertIn("a saddle", self.ask("saddle")[0])
        found = json.loads(self.ask("quadratic", "spectrum=2,1,0", "--json")[0])
        self.assertEqual((found["kind"], found["condition"]), ("flat", None))

    def test_wrong_words_are_refused(self):
        for arguments, words in (([], "OBJECTIVE is missing"),
                                 (["bealle"], 'did you mean "beale"'),
                                 (["ravine", "c=x"], "is not a number"),
                                 (["ravine", "c"], "is not KEY=VALUE"),
                                 (["rosenbrock", "start=1,2,3"], "start"),
                                 (["quadratic"], "spectrum: missing")):
            out, err = self.ask(*arguments, code=2)
            self.assertEqual(out, "")
            self.assertIn(words, err)
            self.assertEqual(json.loads(self.ask(*arguments, "--json", code=2)[0])["status"],
                             "failed")


if __name__ == "__main__":
    unittest.main(verbosity=2)
