#!/usr/bin/python3
"""Two machines by hand: a server and its workers in network namespaces of their own, with
a cable between them. Needs root for the namespaces; skipped without."""
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import Case  # noqa: E402


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


def have_namespaces():
    name = f"tw-probe-{os.getpid()}"
    try:
        ip("netns", "add", name)
        ip("netns", "del", name)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


@unittest.skipUnless(have_namespaces(), "network namespaces need root and iproute2")
class TwoMachines(Case):
    def setUp(self):
        super().setUp()
        self.machines = [f"tw-{os.getpid()}-{side}" for side in "ab"]
        for name in self.machines:
            ip("netns", "add", name)
            self.addCleanup(ip, "netns", "del", name)
        a, b = self.machines
        ip("-n", a, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", b)
        for name, address in (a, "10.77.0.1/24"), (b, "10.77.0.2/24"):
            ip("-n", name, "addr", "add", address, "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
            ip("-n", name, "link", "set", "lo", "up")
        self.write("secret", "a secret that both machines know\n")
        os.chmod(self.path("secret"), 0o600)

    def on(self, machine, *arguments):
        """Like start(), on machine 0 or 1. `ip netns exec` becomes the program."""
        return self.start(*arguments, before=["ip", "netns", "exec", self.machines[machine]])

    def test_training(self):
        code, out, err = self.talweg("run", "job.yaml", "--json")
        self.assertEqual(code, 0, err)
        server = self.on(0, "server", "job.yaml", "--listen", "10.77.0.1:0", "--out", "out",
                         "--token-file", "secret", "--json")
        port = re.search(r"port (\d+)", server.wait_for("listening on")).group(1)
        there = ["worker", "job.yaml", "--server", f"10.77.0.1:{port}", "--token-file", "secret"]
        workers = [self.on(1, *there), self.on(0, *there)]
        for worker in workers:
            code, _, err = worker.end()
            self.assertEqual(code, 0, err)
        code, by_hand, err = server.end()
        self.assertEqual(code, 0, err)
        self.assertIn("joined from 10.77.0.2:", err)
        self.assertEqual(self.result(by_hand)["model_sha256"], self.result(out)["model_sha256"])

    def test_nothing_but_loopback_without_a_secret(self):
        code, _, err = self.on(0, "server", "job.yaml", "--listen", "10.77.0.1:0", "--out",
                               "out").end()
        self.assertEqual(code, 2)
        self.assertIn("--insecure", err)

    def test_insecure_is_a_word_of_consent(self):
        server = self.on(0, "server", "job.yaml", "--listen", "10.77.0.1:0", "--out", "out",
                         "--insecure")
        server.wait_for("listening on")
        server.process.terminate()
        self.assertEqual(server.end()[0], 130)


if __name__ == "__main__":
    unittest.main()
