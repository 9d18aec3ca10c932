#!/usr/bin/python3
"""`talweg timeline`: pictures and traces of real runs, against what their order log says."""
import json
import os
import sys
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import PATIENCE, Case  # noqa: E402

FIELDS = """status error run format out mode workers updates from to applied dropped spans arrows
staleness_mean begin seconds waiting receiving computing sending""".split()
SVG = "{http://www.w3.org/2000/svg}"
MODES = ["sync", "backup:1", "k-sync:2", "k-batch-sync:2", "async", "ssp:1", "k-async:2",
         "k-batch-async:3"]


class Timeline(Case):
    def train(self, *arguments, out="out", code=0):
        found, _, err = self.talweg("run", "job.yaml", "--workers", "4", "--out", out, *arguments)
        self.assertEqual(found, code, err)
        return out

    def draw(self, *arguments, code=0):
        """(the object of --json, stderr)"""
        found, out, err = self.talweg("timeline", *arguments, "--json")
        self.assertEqual(found, code, err)
        result = json.loads(out.splitlines()[-1])
        self.assertEqual(list(result), FIELDS)
        self.assertEqual(result["status"], "done" if code == 0 else "failed")
        self.assertEqual(result["error"] is None, code == 0)
        return result, err

    def commits(self, run, first, last):
        """{version: contributions} of a window, as the order log has them."""
        _, out, _ = self.talweg("log", run, "--json")
        records = map(json.loads, out.splitlines())
        return {record["version"]: record["contributions"] for record in records
                if record["record"] == "COMMIT" and first <= record["version"] <= last}

    def read(self, *names):
        with open(self.path(*names), encoding="utf-8") as file:
            return file.read()


class Pictures(Timeline):
    def assert_good_picture(self, text):
        """It parses, stands alone, and its shapes are on it."""
        picture = xml.fromstring(text)
        self.assertEqual(picture.tag, SVG + "svg")
        width, height = (float(picture.get(key)) for key in ("width", "height"))
        for rect in picture.iter(SVG + "rect"):
            x, y, w, h = (float(rect.get(key)) for key in ("x", "y", "width", "height"))
            self.assertTrue(0 <= x and x + w <= width + 0.5 and 0 <= y and y + h <= height + 0.5)
        for element in picture.iter():
            for name in element.attrib:
                self.assertNotIn("href", name)
        return picture

    def arrows_in(self, picture):
        titles = [path.findtext(SVG + "title") for path in picture.iter(SVG + "path")]
        return [title for title in titles if title and "applied by update" in title]

    def test_every_mode(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                run = self.train("--mode", mode, "--straggler", "3:3", out=mode)
                found, _ = self.draw(run)
                self.assertEqual((found["mode"], found["workers"]), (mode, 4))
                commits = self.commits(run, found["from"], found["to"])
                given = [c for contributions in commits.values() for c in contributions]
                self.assertEqual(len(commits), found["to"] - found["from"] + 1)
                self.assertEqual(found["arrows"], len(given))
                self.assertEqual(found["applied"], len(given))
                self.assertAlmostEqual(found["staleness_mean"],
                                       sum(c["staleness"] for c in given) / len(given))
                picture = self.assert_good_picture(self.read(run, "timeline.svg"))
                told = self.arrows_in(picture)
                self.assertEqual(sorted(told), sorted(
                    f"worker {c['slot']}, step {c['step']}: read version "
                    f"{version - 1 - c['staleness']}, applied by update {version}, "
                    f"staleness {c['staleness']}"
                    for version, contributions in commits.items() for c in contributions))
                shares = sum(found[key] for key in ("waiting", "receiving", "computing",
                                                    "sending"))
                self.assertTrue(0 < shares < 1.0001, found)

    def test_windows(self):
        run = self.train("--mode", "async")
        last = self.draw(run)[0]["updates"]
        for words, first, end in [
                (["--from", "3", "--to", "5"], 3, 5), (["--from", "1", "--to", "1"], 1, 1),
                (["--from", str(last), "--to", str(last)], last, last),
                (["--from", "1", "--to", str(last)], 1, last)]:
            found, _ = self.draw(run, *words)
            self.assertEqual((found["from"], found["to"], found["arrows"]),
                             (first, end, end - first + 1))
        whole = self.draw(run, "--from", "2", "--to", str(last))[0]["seconds"]
        found, _ = self.draw(run, "--from", "2", "--seconds", str(whole))
        self.assertEqual((found["from"], found["to"]), (2, last))
        half, _ = self.draw(run, "--seconds", str(whole / 2))
        self.assertTrue(1 <= half["from"] <= half["to"] <= last, half)
        self.assertLess(half["to"] - half["from"], last - 1)
        end, _ = self.draw(run, "--to", str(last), "--seconds", str(whole / 2))
        self.assertEqual(end["to"], last)
        self.assertGreater(end["from"], 1)

    def test_arrows(self):
        run = self.train("--mode", "ssp:0")
        everything = self.draw(run)[0]
        commits = self.commits(run, everything["from"], everything["to"])
        late = [c for contributions in commits.values() for c in contributions if c["staleness"]]
        for which, count in [("all", everything["arrows"]), ("late", len(late)), ("none", 0)]:
            code, out, err = self.talweg("timeline", run, "--arrows", which, "--out", "-")
            self.assertEqual(code, 0, err)
            self.assertEqual(len(self.arrows_in(self.assert_good_picture(out))), count)
        self.assertLess(len(late), everything["arrows"])

    def test_slots(self):
        run = self.train("--set", "slots=8")
        found, _ = self.draw(run)
        self.assertEqual(found["workers"], 4)
        picture = self.assert_good_picture(self.read(run, "timeline.svg"))
        self.assertEqual(len(self.arrows_in(picture)),
                         4 * (found["to"] - found["from"] + 1))
        self.assertIn("worker 3", [text.text for text in picture.iter(SVG + "text")])


class Traces(Timeline):
    def events(self, run, *arguments):
        found, _ = self.draw(run, "--chrome", *arguments)
        trace = json.loads(self.read(run, "timeline.json"))
        self.assertEqual(trace["displayTimeUnit"], "ms")
        by_phase = {}
        for event in trace["traceEvents"]:
            by_phase.setdefault(event["ph"], []).append(event)
        self.assertEqual(set(by_phase), {"M", "X", "s", "t", "f"})
        self.assertEqual(found["spans"], len(by_phase["X"]))
        return found, by_phase

    def assert_no_overlap(self, spans, seconds):
        """On each track, and all within the run. Half a nanosecond for the last digit."""
        tracks = {}
        for span in spans:
            tracks.setdefault((span["pid"], span["tid"]), []).append(span)
        for track in tracks.values():
            end = 0
            for span in sorted(track, key=lambda span: (span["ts"], span["dur"])):
                self.assertGreaterEqual(span["ts"] + 0.0005, end)
                self.assertGreaterEqual(span["dur"], 0)
                end = span["ts"] + span["dur"]
            self.assertLess(end, seconds * 1e6)
        return tracks

    def test_every_mode(self):
        for mode in "sync", "k-sync:2", "async", "k-batch-async:2":
            with self.subTest(mode=mode):
                run = self.train("--mode", mode, "--straggler", "3:3", out=mode)
                found, events = self.events(run)
                commits = self.commits(run, 1, found["updates"])
                self.assertEqual((found["from"], found["to"]), (1, len(commits)))
                given = sum(map(len, commits.values()))
                self.assertEqual(found["arrows"], given)
                # Spans of steps that are still open at the end may lie behind the last update.
                seconds = found["begin"] + found["seconds"] + PATIENCE
                tracks = self.assert_no_overlap(events["X"], seconds)
                computing = [span for span in events["X"] if span["name"] == "computing"]
                self.assertLessEqual({c["slot"] for given in commits.values() for c in given},
                                     {span["tid"] for span in computing})
                applied = [span for span in computing if span["args"]["gradient"] == "applied"]
                self.assertEqual(len(applied), given)
                for phase in "s", "f":
                    self.assertEqual(len({event["id"] for event in events[phase]}), given)
                    self.assertEqual(len(events[phase]), given)
                self.assert_bound(events, tracks)
                names = {event["args"]["name"] for event in events["M"]}
                self.assertLessEqual({"server", "workers", "worker 0", "worker 3"}, names)

    def assert_bound(self, events, tracks):
        """Each end of an arrow lies in a span of its track."""
        for event in events["s"] + events["t"] + events["f"]:
            spans = tracks[event["pid"], event["tid"]]
            self.assertTrue(any(span["ts"] - 0.0005 <= event["ts"]
                                <= span["ts"] + span["dur"] + 0.0005 for span in spans), event)

    def test_a_window(self):
        run = self.train("--mode", "async")
        found, events = self.events(run, "--from", "4", "--to", "9")
        self.assertEqual(len(events["f"]), 6)
        self.assertEqual(found["arrows"], 6)


class Wrong(Timeline):
    def refuse(self, *arguments):
        code, out, err = self.talweg("timeline", *arguments, "--json")
        self.assertEqual(code, 2, err)
        result = json.loads(out.splitlines()[-1])
        self.assertEqual((result["status"], result["out"]), ("failed", None))
        self.assertIn(result["error"], err)
        return err

    def test_no_run(self):
        self.assertIn("nowhere", self.refuse("nowhere"))
        self.assertIn("no directory", self.refuse("job.yaml"))
        self.assertIn("is not the directory of a run", self.refuse(self.folder))

    def test_no_trace(self):
        run = self.train("--set", "trace.on=false")
        err = self.refuse(run)
        self.assertIn("has no trace.log", err)
        self.assertIn("--set trace.on=true", err)

    def test_command_lines(self):
        run = self.train()
        for words, said in [
                (["--from", "0"], "the first is 1"), (["--to", "x"], "not the number of an update"),
                (["--from", "1", "--to", "2", "--seconds", "1"], "two of them"),
                (["--from", "3", "--to", "2"], "ends before it begins"),
                (["--from", "100000"], "there is no update 100000"),
                (["--seconds", "-1"], "is not a time"), (["--arrows", "some"], "all, late or none"),
                (["--format", "png"], "svg or chrome"), (["--out", ""], "name of a file"),
                (["--out", "-"], "both have stdout"), ([run], "is enough")]:
            with self.subTest(words=words):
                self.assertIn(said, self.refuse(run, *words))

    def test_a_folder_that_cannot_be_written(self):
        run = self.train()
        code, _, err = self.talweg("timeline", run, "--out", "nowhere/x.svg")
        self.assertEqual(code, 1)
        self.assertIn("nowhere", err)

    @staticmethod
    def cut(path):
        """Behind the first byte of a message in the last third."""
        with open(path, "rb") as file:
            data = file.read()
        at = 0
        while at < len(data) * 2 // 3:
            size, shift = 0, 0
            while True:
                byte, at = data[at], at + 1
                size |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            at += size
        with open(path, "wb") as file:
            file.write(data[:at + 1])

    def test_logs_that_are_cut(self):
        run = self.train("--mode", "async")
        whole = self.draw(run)[0]["updates"]
        for name in "trace.log", "order.log":
            self.cut(self.path(run, name))
            found, err = self.draw(run, code=1)
            self.assertIn(name, err)
            self.assertIn("drawn up to there", err)
            self.assertLess(found["to"], whole)
            self.assertGreater(found["arrows"], 0)
            text = self.read(run, "timeline.svg")
            xml.fromstring(text)
            self.assertIn("a log ends early", text)

    def test_logs_with_nothing(self):
        run = self.train()
        with open(self.path(run, "order.log"), "wb"):
            pass
        self.assertIn("made no update", self.refuse(run))
        for trace in b"", b"\x04nope":
            with open(self.path(run, "trace.log"), "wb") as file:
                file.write(trace)
            self.assertIn("trace.log" if trace else "made no update", self.refuse(run))


if __name__ == "__main__":
    unittest.main()
