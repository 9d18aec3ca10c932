#!/usr/bin/python3
"""`talweg landscape`: the table's golden values, the picture, and what it refuses."""
import json
import os
import shutil
import sys
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import Case  # noqa: E402

ROSENBROCK = {
    "sgd:lr=1e-3": .0037609231,
    "momentum:lr=1e-4": .0035826819,
    "nesterov:lr=1e-4,nesterov=lookup": .0036568934,
    "adagrad:lr=.1,eps=1e-8,eps_at=inside": .0199075754,
    "adam:lr=.01": 4.7238e-10,
}


class Landscape(Case):
    def ask(self, *arguments, code=0):
        found, out, err = self.talweg("landscape", *arguments)
        self.assertEqual(found, code, err)
        return out, err

    def result(self, *arguments):
        out, _ = self.ask(*arguments, "--json")
        self.assertEqual(out.count("\n"), 1)
        found = json.loads(out)
        self.assertEqual(list(found), ["status", "error", "objective", "picture", "png", "runs"])
        self.assertEqual(found["status"], "done")
        return found

    def picture(self, name):
        return xml.parse(self.path(name)).getroot()

    def words(self, name):
        return " ".join(e.text for e in self.picture(name).iter() if e.text)

    def test_rosenbrock_after_5000_steps(self):
        runs = self.result("rosenbrock", "--optimizers", ",".join(ROSENBROCK),
                           "--steps", "5000")["runs"]
        for run, f in zip(runs, ROSENBROCK.values(), strict=True):
            self.assertAlmostEqual(run["f"] / f, 1, delta=1e-4 if f < 1e-6 else 1e-7)
            self.assertEqual(run["table"][0], {"step": 0, "f": 24.2, "x": [-1.2, 1]} |
                             {"f": run["table"][0]["f"]})
            self.assertEqual(run["table"][-1]["step"], 5000)
            self.assertEqual(run["table"][-1]["f"], run["f"])
        self.assertIn("f = 0.01991 after 5,000 steps", self.words("landscape.svg"))

    def test_every_rule_at_every_rate_for_every_count(self):
        out, err = self.ask("ravine", "c=10", "--optimizers", "sgd,adam:lr=.1,beta1=.8,momentum",
                            "--lr", ".01,.02", "--steps", "5,20", "--panels", "--out", "p.svg")
        labels = [line[4:].split("  f =")[0].strip() for line in out.splitlines()[:10]]
        self.assertEqual(labels, 2 * [
            "sgd  lr=.01", "sgd  lr=.02", "adam  lr=.1, beta1=.8", "momentum  lr=.01",
            "momentum  lr=.02"])
        self.assertEqual([line.split("after ")[1] for line in out.splitlines()[:10]],
                         5 * ["5 steps"] + 5 * ["20 steps"])
        rows = [line.split() for line in out.splitlines()[12:]]
        self.assertEqual([row[0] for row in rows], ["0", "1", "2", "5", "10", "20"])
        self.assertEqual([len(row) for row in rows], [11, 11, 11, 11, 6, 6])
        self.assertAlmostEqual(float(rows[1][1]), (4 * .98)**2 + 10 * (.5 * .8)**2, delta=1e-7)
        self.assertIn("p.svg", err)
        self.assertEqual(self.words("p.svg").count("x₁ "), 10)

    def test_the_same_bytes_again(self):
        for name in ("a.svg", "b.svg"):
            self.ask("beale", "--optimizers", "adam", "--lr", ".05", "--out", name)
        with open(self.path("a.svg"), "rb") as a, open(self.path("b.svg"), "rb") as b:
            self.assertEqual(a.read(), b.read())

    def test_every_objective_can_be_drawn(self):
        for objective in ("quadratic spectrum=10,1 rotation=30", "ravine", "rosenbrock", "saddle",
                          "beale", "plateau", "cliff", "ravine c=-1", "ravine noise=.5",
                          "quadratic spectrum=0,0"):
            found = self.result(*objective.split(), "--optimizers", "sgd:lr=.01", "--steps", "20")
            self.assertEqual(found["objective"], objective.split()[0])
            self.assertEqual(self.picture("landscape.svg").tag, "{http://www.w3.org/2000/svg}svg")

    def test_divergence_is_said(self):
        run, = self.result("ravine", "--optimizers", "sgd:lr=1", "--steps", "1000")["runs"]
        self.assertEqual((run["diverged_at"], run["left_at"]), (77, 1))
        self.assertIn("diverges: no number any more at step 77", self.words("landscape.svg"))
        out, _ = self.ask("ravine", "--optimizers", "sgd:lr=1", "--steps", "1000")
        self.assertEqual(out.split()[-1], "diverged")

    def test_start_and_view(self):
        run, = self.result("ravine", "--optimizers", "sgd:lr=.01", "--start", "-3,.25", "--view",
                           "-1,1,-1,1")["runs"]
        self.assertEqual(run["table"][0]["x"], [-3, .25])
        self.assertEqual(run["left_at"], 1)

    def assert_refused(self, arguments, *words):
        out, err = self.ask(*arguments, code=2)
        self.assertEqual(out, "")
        for word in words:
            self.assertIn(word, err)
        found = json.loads(self.ask(*arguments, "--json", code=2)[0])
        self.assertEqual(found["status"], "failed")
        self.assertFalse(os.path.exists(self.path("landscape.svg")))

    def test_wrong_words_are_refused(self):
        sgd = ("--optimizers", "sgd:lr=.1")
        self.assert_refused([], "OBJECTIVE is missing")
        self.assert_refused(["ravine"], "--optimizers is missing")
        self.assert_refused(["ravin", *sgd], "unknown objective", 'did you mean "ravine"')
        self.assert_refused(["ravine", "d=1", *sgd], "d: unknown key")
        self.assert_refused(["ravine", "c", *sgd], "c: is not KEY=VALUE")
        self.assert_refused(["quadratic", *sgd], "spectrum: missing")
        self.assert_refused(["quadratic", "spectrum=1,2,3", *sgd], "has 3 coordinates")
        self.assert_refused(["ravine", "--optimizers", "sdg", "--lr", ".1"], 'did you mean "sgd"')
        self.assert_refused(["ravine", "--optimizers", "sgd:rl=.1"], 'did you mean "lr"')
        self.assert_refused(["ravine", "--optimizers", "sgd:lr"], "is not KEY=VALUE")
        self.assert_refused(["ravine", "--optimizers", "lr=.1"], "of which rule?")
        self.assert_refused(["ravine", "--optimizers", "sgd,"], "behind a comma")
        self.assert_refused(["ravine", "--optimizers", ",sgd"], "before a comma")
        self.assert_refused(["ravine", "--optimizers", "sgd:lr=1,lr=2"], "lr is given twice")
        self.assert_refused(["ravine", "--optimizers", "sgd"], "lr: missing")

    def test_wrong_numbers_are_refused(self):
        for lr in ("0", "-1", "nan", "inf", "x", "1e999"):
            self.assert_refused(["ravine", "--optimizers", "sgd", "--lr", lr], "--lr")
            self.assert_refused(["ravine", "--optimizers", f"sgd:lr={lr}"], "--optimizers")
        for steps in ("0", "-5", "1.5", "x", "1000001", "10,0"):
            self.assert_refused(["ravine", "--optimizers", "sgd:lr=.1", "--steps", steps],
                                "--steps")
        self.assert_refused(["ravine", "--optimizers", "sgd:lr=.1", "--steps",
                             ",".join(5 * ["1000000"])], "more than 4000000 steps")
        for start in ("1", "1,2,3", "1,x", "nan,1"):
            self.assert_refused(["ravine", "--optimizers", "sgd:lr=.1", "--start", start],
                                "--start")
        for view in ("1,2", "1,1,0,1", "2,1,0,1"):
            self.assert_refused(["ravine", "--optimizers", "sgd:lr=.1", "--view", view], "--view")
        self.assert_refused(["ravine", "--optimizers", "sgd", "--lr",
                             ",".join(37 * [".1"])], "more than 36 paths")

    def test_png_where_there_is_a_converter(self):
        there = shutil.which("rsvg-convert") is not None
        _, err = self.ask("ravine", "--optimizers", "sgd:lr=.1", "--png", "--out", "a.b.svg",
                          code=0 if there else 1)
        self.assertTrue(os.path.exists(self.path("a.b.svg")))
        if not there:
            self.assertIn("librsvg2-bin", err)
            return
        with open(self.path("a.b.png"), "rb") as file:
            self.assertEqual(file.read(8), b"\x89PNG\r\n\x1a\n")

    def test_a_picture_that_cannot_be_written(self):
        self.ask("ravine", "--optimizers", "sgd:lr=.1", "--out", "no/such/folder.svg", code=1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
