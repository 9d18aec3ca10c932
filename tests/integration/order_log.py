#!/usr/bin/python3
"""order.log as docs/order-log.md has it, read with the stock protobuf library of Python, and
beside it what `talweg log` prints."""
import csv
import importlib
import io
import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import Case  # noqa: E402

from google.protobuf.internal.decoder import _DecodeVarint32  # noqa: E402

PROTO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "proto")
EVALUATOR = 2**32 - 1
FIELDS = ("rank incarnation numerics slot step read staleness examples loss scalars rate "
          "mode divisor ratios reductions on chunks chunk_staleness chunk_staleness_max").split()


def compile_schema(folder):
    """protoc -> a module of message classes."""
    subprocess.run(["protoc", "-I", PROTO, "--python_out", folder, "order_log.proto"], check=True)
    sys.path.insert(0, folder)
    return importlib.import_module("order_log_pb2")


class Log(Case):
    @classmethod
    def setUpClass(cls):
        schema = tempfile.TemporaryDirectory(prefix="talweg-schema-")
        cls.addClassCleanup(schema.cleanup)
        cls.schema = compile_schema(schema.name)

    def records(self, run):
        with open(self.path(run, "order.log"), "rb") as file:
            data, at = file.read(), 0
        while at < len(data):
            size, at = _DecodeVarint32(data, at)
            yield self.schema.Record.FromString(data[at:at + size])
            at += size

    def train(self, out, *arguments):
        code, text, err = self.talweg("run", "job.yaml", "--json", "--out", out, *arguments)
        self.assertEqual(code, 0, err)
        return self.result(text)

    def follow(self, records, workers):
        """Checks each record against those before it; returns (version, examples, sum of
        staleness, loss of every commit)."""
        version = examples = staleness = 0
        read, settled, losses, position = {}, [0] * workers, [], 0
        for record in records:
            position += 1
            self.assertEqual(record.position, position)
            kind = record.WhichOneof("body")
            if kind == "commit":
                version += 1
                commit = record.commit
                slots = [c.slot for c in commit.contributions]
                self.assertEqual(slots, sorted(set(slots)))
                for c in commit.contributions:
                    at, of, step = read.pop(c.slot)
                    self.assertEqual((c.read, c.step, c.staleness), (at, step, version - 1 - of))
                    settled[c.slot] = step
                    staleness += c.staleness
                total = sum(c.examples for c in commit.contributions)
                self.assertEqual(commit.examples, total)
                self.assertAlmostEqual(commit.loss, sum(c.loss for c in commit.contributions))
                examples += total
                losses.append(commit.loss / total)
            elif kind == "release" and record.release.slot != EVALUATOR:
                slot = record.release.slot
                self.assertEqual(record.release.step, settled[slot] + 1)
                read[slot] = (position, version, record.release.step)
            self.assertEqual(record.version, version)
        return version, examples, staleness, losses

    def test_the_log_agrees_with_the_result(self):
        for mode, workers in ("sync", 2), ("async", 3):
            with self.subTest(mode=mode):
                found = self.train(mode, "--mode", mode, "--workers", str(workers))
                records = list(self.records(mode))
                version, examples, staleness, losses = self.follow(records, workers)
                self.assertEqual(version, found["updates"])
                self.assertEqual(examples, found["samples"])
                self.assertAlmostEqual(found["staleness_mean"] * sum(
                    len(r.commit.contributions) for r in records), staleness)
                self.assertLess(losses[-1], losses[0])

    def test_joins_name_ranks_and_numerics(self):
        self.train("out", "--workers", "3")
        joins = [r.join for r in self.records("out") if r.WhichOneof("body") == "join"]
        self.assertEqual(sorted(j.rank for j in joins), [0, 1, 2])
        for join in joins:
            self.assertEqual((join.incarnation, join.slot), (1, join.rank))
            self.assertRegex(join.numerics, r"^talweg \S+ openblas \S+ \S+$")

    def test_scalars_are_exact(self):
        self.train("out", "--set", "optimizer={name: sgd, lr: 0.3}")
        for record in self.records("out"):
            if record.WhichOneof("body") == "commit":
                self.assertEqual(list(record.commit.scalars), [0.3])
                self.assertEqual(record.commit.rate, 0.3)

    def test_the_evaluator_gets_a_release_for_each_epoch(self):
        self.train("out")
        steps = [r.release.step for r in self.records("out") if r.release.slot == EVALUATOR]
        self.assertEqual(steps, [1, 2, 3])

    # ---- talweg log ----

    def printed(self, *arguments):
        code, out, err = self.talweg("log", "out", *arguments)
        self.assertEqual((code, err), (0, ""))
        return out

    def test_json_lines_hold_everything(self):
        self.train("out", "--mode", "async", "--workers", "2")
        lines = [json.loads(line) for line in self.printed("--json").splitlines()]
        records = list(self.records("out"))
        self.assertEqual(len(lines), len(records))
        for line, record in zip(lines, records):
            kind = record.WhichOneof("body")
            self.assertEqual((line["position"], line["version"], line["record"]),
                             (record.position, record.version, kind.upper()))
            if kind == "commit":
                self.assertEqual(line["scalars"], list(record.commit.scalars))
                self.assertEqual(line["loss"], record.commit.loss)
                self.assertEqual(line["rate"], record.commit.rate)
                self.assertEqual([tuple(c.values()) for c in line["contributions"]],
                                 [(c.slot, c.step, c.read, c.staleness, c.examples, c.loss)
                                  for c in record.commit.contributions])
            elif kind == "release":
                slot = record.release.slot
                self.assertEqual(line["slot"], "evaluator" if slot == EVALUATOR else slot)
            elif kind == "join":
                self.assertEqual(line["numerics"], record.join.numerics)

    def test_csv_has_a_row_for_each_contribution(self):
        self.train("out")
        rows = list(csv.DictReader(io.StringIO(self.printed("--csv"))))
        self.assertEqual(list(rows[0]), ["position", "version", "record", *FIELDS])
        expected = []
        for record in self.records("out"):
            kind = record.WhichOneof("body")
            commit = record.commit
            expected += [("COMMIT", str(c.slot), repr(c.loss)) for c in commit.contributions]
            if kind == "join":
                expected.append(("JOIN", str(record.join.slot), ""))
            elif kind == "release":
                slot = record.release.slot
                expected.append(("RELEASE", "evaluator" if slot == EVALUATOR else str(slot), ""))
            elif kind != "commit":
                expected.append((kind.upper(), "", ""))
        self.assertEqual([(r["record"], r["slot"], r["loss"]) for r in rows], expected)
        for row in rows:
            self.assertNotIn(None, row)
            self.assertNotIn(None, row.values())

    def test_csv_has_chunks_of_updates_only(self):
        self.train("out")
        last = list(self.records("out"))[-1]
        verdict = self.schema.Record(position=last.position + 1, version=last.version)
        verdict.verdict.loss, verdict.verdict.best, verdict.verdict.reductions = 0.5, 0.25, 2
        data = verdict.SerializeToString()
        with open(self.path("out", "order.log"), "ab") as file:
            file.write(bytes([len(data)]) + data)
        row = list(csv.DictReader(io.StringIO(self.printed("--csv"))))[-1]
        fields = "record", "reductions", "chunks", "chunk_staleness", "chunk_staleness_max"
        self.assertEqual([row[field] for field in fields], ["VERDICT", "2", "", "", ""])

    def test_text_has_a_line_for_each_record(self):
        self.train("out")
        lines = self.printed().splitlines()
        self.assertEqual(len(lines), len(list(self.records("out"))))
        self.assertTrue(any("COMMIT" in line and "slot 1 step 3" in line for line in lines))
        self.assertTrue(any("RELEASE" in line and "evaluator" in line for line in lines))

    def test_a_cut_log_is_printed_up_to_there(self):
        self.train("out")
        with open(self.path("out", "order.log"), "r+b") as file:
            file.truncate(500)
        code, out, err = self.talweg("log", "out", "--json")
        self.assertEqual(code, 2)
        lines = [json.loads(line) for line in out.splitlines()]
        last = lines.pop()
        self.assertEqual([line["position"] for line in lines], list(range(1, len(lines) + 1)))
        self.assertEqual(last["status"], "failed")
        self.assertRegex(last["error"], rf"^out/order\.log: at byte \d+, after record {len(lines)}:"
                                        r" cut: \d+ bytes of a record of \d+ are there$")
        self.assertIn(last["error"], err)

    def test_no_run_directory(self):
        for run, words in ("nowhere", "No such file"), ("job.yaml", "is no directory"), \
                (".", "not the directory of a run"):
            code, out, err = self.talweg("log", run, "--json")
            self.assertEqual(code, 2)
            self.assertIn(words, err)
            self.assertIn(words, json.loads(out)["error"])

    def test_wrong_usage(self):
        for arguments in [], ["a", "b"], ["--csv", "--json", "a"], ["--set", "a=b", "c"]:
            code, out, err = self.talweg("log", *arguments)
            self.assertEqual(code, 2)
            self.assertIn("Try 'talweg log --help'", err)


if __name__ == "__main__":
    unittest.main()
