#!/usr/bin/python3
"""`talweg optimizer`, and every update rule through a real cluster: trained, replayed to
the bit, and the same bits from more workers that share the slots, and from several servers."""
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import Case  # noqa: E402

# One line of options for each rule; `lr` is what the small net of these tests learns with.
RULES = {
    "sgd": "lr: 0.5",
    "momentum": "lr: 0.05",
    "nesterov": "lr: 0.05, nesterov: lookup",
    "adagrad": "lr: 0.05, lr_decay: 0.001",
    "rmsprop": "lr: 0.01, centered: true, momentum: 0.5, nesterov: lookup",
    "adadelta": "lr: 5",
    "adam": "lr: 0.01",
    "adamax": "lr: 0.02",
    "amsgrad": "lr: 0.01, form: vhat",
    "adamw": "lr: 0.01, weight_decay: 0.1",
    "nadam": "lr: 0.01",
    "radam": "lr: 0.05",
    "lion": "lr: 0.003",
    "ftrl-proximal": "alpha: 0.5, l1: 0.001",
    "lars": "lr: 5, trust: 0.02",
    "lamb": "lr: 0.02",
}

# From 60 digits of decimal arithmetic: lr .1, the moments' options as below, x after 5.
GOLDEN = {
    "sgd lr=.1": -.225,
    "momentum lr=.1 lr_at=inside": -.60471,
    "nesterov lr=.1": -.769239,
    "adagrad lr=.1 eps=.1 eps_at=inside": -.093292187588077,
    "rmsprop lr=.1 rho=.9 eps=.1": -.248421428975023,
    "adadelta rho=.95 eps=1e-6": -.006360358089516,
    "adam lr=.1 beta1=.9 beta2=.99 eps=.1": -.147973218703445,
    "adam lr=.1 beta1=.9 beta2=.99 eps=.1 bias=nopower eps_at=inside": -.210345178767157,
    "adamax lr=.1 beta1=.9 beta2=.99 eps=0 bias=none": -.025191803557460,
    "amsgrad lr=.1 beta1=.9 beta2=.99 eps=.1 form=vhat": -.138565947013232,
}


class Command(Case):
    def ask(self, *arguments, code=0):
        found, out, err = self.talweg("optimizer", *arguments)
        self.assertEqual(found, code, err)
        return out, err

    def steps(self, line, gradients, *more):
        out, _ = self.ask(*line.split(), "--gradients", gradients, "--json", *more)
        self.assertEqual(out.count("\n"), 1)
        found = json.loads(out)
        self.assertEqual(list(found), ["optimizer", "steps"])
        self.assertEqual(found["optimizer"], line.split()[0])
        return found["steps"]

    def test_lists_every_rule_in_lines_of_100_columns(self):
        out, _ = self.ask()
        self.assertLessEqual(max(map(len, out.splitlines())), 100)
        names = [line for line in out.splitlines() if line and not line.startswith(" ")]
        self.assertEqual(names, [*RULES, "none"])
        listed = json.loads(self.ask("--json")[0])["optimizers"]
        self.assertEqual([rule["name"] for rule in listed], names)
        for rule in listed:
            self.assertTrue(rule["formula"] and rule["source"])
            self.assertEqual(rule["options"] == [], rule["name"] == "none")
            for option in rule["options"]:
                self.assertTrue(option["text"])
                if "values" in option:
                    self.assertIn(option["default"], option["values"])

    def test_describes_the_form_that_options_choose(self):
        rule, = json.loads(self.ask("rmsprop", "centered=true", "--json")[0])["optimizers"]
        self.assertEqual(rule["states"], ["r", "m"])
        self.assertIn("r - m^2", rule["formula"])

    def test_golden_vectors(self):
        for line, x in GOLDEN.items():
            steps = self.steps(line, "1,-2,3,.5,-.25")
            self.assertEqual([step["t"] for step in steps], [1, 2, 3, 4, 5])
            self.assertEqual([step["gradient"] for step in steps], [1, -2, 3, .5, -.25])
            self.assertAlmostEqual(steps[4]["x"], x, delta=1e-12, msg=line)

    def test_steps_from_anywhere(self):
        first, second = self.steps("momentum lr=.5", "2,-1", "--x0", "-3")
        self.assertEqual(first, {"t": 1, "gradient": 2, "x": -4, "update": -1, "state": {"v": 2}})
        self.assertEqual(second["state"], {"v": .9 * 2 - 1})
        self.assertEqual(second["x"], -4 - .5 * (.9 * 2 - 1))

    def test_the_table_has_17_digits(self):
        out, _ = self.ask("adam", "lr=.1", "--gradients", "1,-2,3")
        head, *rows = out.splitlines()
        self.assertEqual(head.split(), "t gradient m v update x".split())
        steps = self.steps("adam lr=.1", "1,-2,3")
        for row, step in zip(rows, steps):
            found = list(map(float, row.split()))
            self.assertEqual(found, [step["t"], step["gradient"], *step["state"].values(),
                                     step["update"], step["x"]])

    def test_layer_wise_rules_show_the_ratio(self):
        """The one weight is a tensor of its own."""
        step, = self.steps("lars lr=1 momentum=0 trust=.01 weight_decay=0", "5", "--x0", "-2")
        self.assertAlmostEqual(step["ratio"], .01 * 2 / 5, delta=1e-16)
        self.assertAlmostEqual(step["x"], -2 - .01 * 2, delta=1e-15)
        out, _ = self.ask("lamb", "--x0", "3", "--gradients", "1")
        self.assertRegex(out, r"^   t +gradient +m +v +ratio +update +x\n")

    def test_what_is_not_finite_is_null(self):
        step, = self.steps("adagrad eps=0", "0")
        self.assertIsNone(step["x"])

    def assert_refused(self, arguments, *words):
        out, err = self.ask(*arguments, code=2)
        self.assertEqual(out, "")
        for word in words:
            self.assertIn(word, err)
        out, _ = self.ask(*arguments, "--json", code=2)
        found = json.loads(out)
        self.assertEqual(found["status"], "failed")
        self.assertIn(words[0], found["error"])

    def test_wrong_words_are_refused(self):
        self.assert_refused(["adma"], 'did you mean "adam"', "known: sgd")
        self.assert_refused(["lasr"], "unknown optimizer")
        self.assert_refused(["lars"], "lr")
        self.assert_refused(["adam", "bata1=.9"], 'did you mean "beta1"')
        self.assert_refused(["adam", "lr"], "lr: is not KEY=VALUE")
        self.assert_refused(["adam", "lr=1", "lr=2"], "lr is given twice")
        self.assert_refused(["--gradients", "1"], "of which rule")
        self.assert_refused(["adam", "--x0", "1"], "--x0 needs --gradients")
        self.assert_refused(["adam", "--gradient", "1", "--gradeints", "2"], "--gradients")
        self.assert_refused(["amsgrad", "form=orig"], "torch, paper, vhat")

    def test_wrong_numbers_are_refused(self):
        for option in ("lr=0", "lr=-1", "lr=nan", "lr=inf", "lr=", "beta1=1", "beta1=-.1",
                       "beta2=1.5", "beta2=nan", "eps=-1e-9"):
            self.assert_refused(["adam", option], f"{option}: {option.split('=')[0]}:")
        self.assert_refused(["sgd"], "lr: missing")
        for gradients in ("", "1,", "1,x", "1,nan", "1;2", "1e999"):
            self.assert_refused(["adam", "--gradients", gradients], "--gradients")
        self.assert_refused(["adam", "--gradients", "1", "--x0", "here"], '--x0: "here"')


class Cluster(Case):
    def test_every_rule_trains_and_replays(self):
        for name, options in RULES.items():
            with self.subTest(rule=name):
                rule = ["--set", f"optimizer={{name: {name}, {options}}}", "--set", "updates=40",
                        "--set", "slots=2"]
                two = self.train(name, "--workers", "2", *rule)
                self.assertEqual(two["updates"], 40)
                self.assertLess(two["train_loss"], 1.05)  # log 3 = 1.0986 knows nothing
                one = self.train(name + "-1", "--workers", "1", *rule)
                self.assertEqual(one["model_sha256"], two["model_sha256"])
                servers = self.train(name + "-s", "--servers", "2", "--set", "chunk=64KiB", *rule)
                self.assertEqual(servers["model_sha256"], two["model_sha256"])
                code, text, err = self.talweg("replay", name, "--json")
                self.assertEqual(code, 0, err)
                self.assertEqual(self.result(text)["model_sha256"], two["model_sha256"])


if __name__ == "__main__":
    unittest.main()
