#!/usr/bin/python3
"""docs/two-machines.md does what it says: each of its commands is run as it is written,
on machines that are network namespaces."""
import os
import re
import shutil
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from talweg_by_hand import LONG_JOB, wait_until  # noqa: E402
from talweg_e2e import PATIENCE, TALWEG, Case  # noqa: E402
from talweg_namespaces import Machine, enter  # noqa: E402

PAGE = os.path.join(HERE, "..", "..", "docs", "two-machines.md")


def page():
    with open(PAGE) as file:
        return file.read()


def blocks_by_address():
    """[(address of the machine, commands)], in order: the machine is the last one of
    which the text before the commands says `On 10.0.0.1:`."""
    found = []
    address = None
    for text, commands in re.findall(r"(.*?)^```sh\n(.*?)^```$", page(), re.S | re.M):
        named = re.findall(r"\bon (10\.0\.0\.\d):\s*$", text, re.M | re.I)
        address = named[-1] if named else address
        found.append((address, commands))
    return found


class Page(Case):
    def setUp(self):
        super().setUp()
        self.write("job.yaml", LONG_JOB)
        self.environment = dict(os.environ, PATH=f"{os.path.dirname(TALWEG)}:{os.environ['PATH']}")

    def folder_of(self, address):
        """Each machine has files of its own."""
        folder = self.path(address)
        if not os.path.isdir(folder):
            os.mkdir(folder)
            for name in os.listdir(self.folder):
                if os.path.isfile(self.path(name)):
                    shutil.copy(self.path(name), folder)
        return folder

    def begin(self, block):
        """Runs the commands on their machine; what they say goes to a file."""
        address, commands = block
        folder = self.folder_of(address)
        said = os.path.join(folder, f"said{len(os.listdir(folder))}")
        with open(said, "w") as file:
            process = subprocess.Popen([*self.machine[address].before, "bash", "-ec", commands],
                                       cwd=folder, env=self.environment, stdout=file,
                                       stderr=subprocess.STDOUT)
        return process, said

    @staticmethod
    def has_said(started, words):
        with open(started[1]) as file:
            return words in file.read()

    def expected(self):
        code, out, err = self.talweg("run", "job.yaml", "--json", "--out", "expected")
        self.assertEqual(code, 0, err)
        return self.content("expected")

    def content(self, *folder):
        with open(self.path(*folder, "model.safetensors"), "rb") as file:
            return file.read()

    def assert_done(self, started):
        process, said = started
        code = process.wait(timeout=PATIENCE)
        with open(said) as file:
            text = file.read()
        self.assertEqual(code, 0, text[-2000:])
        return text

    def test_two_machines(self):
        secret, server, one, others, look = blocks_by_address()
        self.assertEqual([address for address, _ in (secret, server, one, others, look)],
                         ["10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.1"])
        self.machine = {f"10.0.0.{i}": Machine(f"page{i}") for i in (1, 2)}
        for machine in self.machine.values():
            self.addCleanup(machine.remove)
        self.machine["10.0.0.1"].cable_to(self.machine["10.0.0.2"], "10.0.0")

        self.assert_done(self.begin(secret))
        shutil.copy2(self.path("10.0.0.1", "secret"), self.folder_of("10.0.0.2"))
        # Any order will do, if the evaluator is not to come when all is over.
        helpers, serving = [self.begin(others)], self.begin(server)
        wait_until(lambda: self.has_said(serving, "the evaluator has joined"), "an evaluator")
        helpers.append(self.begin(one))
        for helper in helpers:
            self.assert_done(helper)
        said = self.assert_done(serving)
        self.assertIn("listening on 10.0.0.1 port 7070", said)
        self.assertIn("test accuracy", said)
        self.assertIn("model.safetensors", self.assert_done(self.begin(look)))
        self.assertEqual(self.content("10.0.0.1", "first"), self.expected())

    def test_rehearsal(self):
        commands, = re.findall(r"^```bash\n(.*?)^```$", page(), re.S | re.M)
        run = subprocess.run(["bash", "-e"], input=commands, text=True, cwd=self.folder,
                             env=self.environment, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, timeout=PATIENCE)
        self.assertEqual(run.returncode, 0, run.stdout)
        self.assertEqual(self.content("rehearsal"), self.expected(), run.stdout)


if __name__ == "__main__":
    enter()
    unittest.main()
