#!/usr/bin/python3
"""talweg curves: the losses that are drawn are those of the log and of metrics.jsonl."""
import json
import math
import os
import sys
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import Case  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"


class Curves(Case):
    def draw(self, *arguments):
        code, text, err = self.talweg("curves", *arguments, "--json")
        self.assertEqual(code, 0, err)
        result = json.loads(text.splitlines()[-1])
        return result, xml.parse(self.path(result["out"])).getroot()

    def refused(self, why, *arguments):
        code, text, err = self.talweg("curves", *arguments, "--json")
        self.assertEqual(code, 2, err)
        self.assertIn(why, err)
        self.assertEqual(json.loads(text)["status"], "failed")

    def commits(self, run):
        code, text, _ = self.talweg("log", run, "--json")
        self.assertEqual(code, 0)
        return [r for r in map(json.loads, text.splitlines()) if r["record"] == "COMMIT"]

    def words(self, picture):
        return [text.text for text in picture.iter(SVG + "text")]

    def test_full_batch_minibatch_and_single_example(self):
        batches = {"full": 300, "mini": 20, "single": 1}
        for name, batch in batches.items():
            self.train_with(name, f"batch={batch}", "cluster.workers=1",
                            "optimizer={name: sgd, lr: 0.05}")
        result, picture = self.draw(*batches, "--by", "epochs", "--panels")
        self.assertEqual(result["out"], "curves.svg")
        for run, name in zip(result["runs"], batches):
            commits = self.commits(name)
            self.assertEqual(run["losses"], len(commits))
            self.assertEqual(run["losses"], 3 * 300 // batches[name])
            # where the last update begins; 900 losses share 150 bins of 6
            self.assertLess(abs(run["end"] - (3 - batches[name] / 300)), 3 * 3 / 900)
            self.assertIn(name, self.words(picture))
        mini = [c["loss"] / c["examples"] for c in self.commits("mini")]
        self.assertTrue(math.isclose(result["runs"][1]["first"], mini[0], rel_tol=1e-12))
        self.assertTrue(math.isclose(result["runs"][1]["last"], mini[-1], rel_tol=1e-12))
        # 900 single examples share 150 bins: a shade from the least to the largest of each
        paths = [p for p in picture.iter(SVG + "path")]
        self.assertEqual(len(paths), 4)
        self.assertEqual(self.words(picture).count("epochs"), 3)

    def test_the_loss_of_the_test_data_and_the_seconds(self):
        self.train_with("out")
        for arguments, key, end in ((("--of", "test"), "test_loss", "updates"),
                                    (("--by", "seconds"), "train_loss", "seconds"),
                                    (("--of", "test", "--by", "epochs"), "test_loss", "epoch")):
            result, _ = self.draw("out", *arguments, "--out", "x.svg")
            lines = self.metrics("out")
            (run,) = result["runs"]
            self.assertEqual(run["losses"], len(lines))
            self.assertEqual((run["first"], run["last"]), (lines[0][key], lines[-1][key]))
            self.assertEqual(run["end"], lines[-1][end])

    def test_an_objective_has_updates_only(self):
        self.write("objective.yaml", "model: {objective: rosenbrock}\nupdates: 50\n"
                                     "optimizer: {name: sgd, lr: 1e-3}\n")
        code, _, err = self.talweg("run", "objective.yaml", "--out", "out")
        self.assertEqual(code, 0, err)
        result, _ = self.draw("out", "--most", "10")
        self.assertEqual(result["runs"][0]["losses"], 50)
        self.refused("try --by updates", "out", "--by", "epochs")
        self.refused("no test loss in it yet", "out", "--of", "test")

    def test_what_cannot_be_is_named(self):
        self.refused("a RUN is missing")
        self.refused("nowhere", "nowhere")
        self.refused("--by hours: is not known", "out", "--by", "hours")
        self.refused("--of all: is not known", "out", "--of", "all")
        self.refused("--most 0: is no loss above 0", "out", "--most", "0")
        self.refused("more than 16 runs", *["out"] * 17)


if __name__ == "__main__":
    unittest.main()
