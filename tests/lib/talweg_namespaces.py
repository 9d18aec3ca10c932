"""Machines for tests: network namespaces with cables between them.

A test program calls enter() first. It starts itself again in namespaces of its own for
processes, mounts, users and network, in which it is root; whatever it makes there, also
processes that it forgets, vanishes with it. Standard library, iproute2 and util-linux."""
import os
import shutil
import subprocess
import sys

from talweg_by_hand import SKIPPED

MARK = "TALWEG_INSIDE_NAMESPACES"
OWN = ["--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
# As root, else as a user who is root only in there.
WAYS = [["unshare", *OWN], ["unshare", "--user", "--map-root-user", *OWN]]


def enter():
    """Returns inside; or ends the program, as skipped where there are no namespaces."""
    if os.environ.get(MARK) == "1":
        os.makedirs("/run/netns", exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run/netns"], check=True)
        ip("link", "set", "lo", "up")
        return
    missing = [name for name in ("ip", "unshare", "mount") if not shutil.which(name)]
    if missing:
        skip(f"{', '.join(missing)} not found (Debian packages iproute2, util-linux)")
    probe = ("mount -t tmpfs tmpfs /run/netns || exit 1; ip netns add probe && "
             "ip netns exec probe ip link set lo up")
    for way in WAYS:
        if subprocess.run([*way, "sh", "-c", probe], capture_output=True).returncode == 0:
            os.environ[MARK] = "1"
            os.execvp(way[0], [*way, sys.executable, *sys.argv])
    skip("no network namespaces here: they need root, or user namespaces")


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Machine:
    """A namespace. As `before` of start(), it runs a program there."""

    def __init__(self, name):
        self.name = name
        self.before = ["ip", "netns", "exec", name]
        ip("netns", "add", name)
        self.ip("link", "set", "lo", "up")

    def ip(self, *words):
        ip("-n", self.name, *words)

    def remove(self):
        ip("netns", "del", self.name)

    def cable_to(self, other, network):
        """A cable; we are `network`.1, the other is .2. Each end is named as the machine
        at the other one."""
        self.ip("link", "add", "name", other.name, "type", "veth", "peer", "name", self.name,
                "netns", other.name)
        for machine, end, host in (self, other.name, 1), (other, self.name, 2):
            machine.ip("addr", "add", f"{network}.{host}/24", "dev", end)
            machine.ip("link", "set", "dev", end, "up")

    def pull(self, other):
        """The cable to the other machine is pulled, at our end."""
        self.ip("link", "set", "dev", other.name, "down")

    def plug(self, other):
        self.ip("link", "set", "dev", other.name, "up")


__all__ = ["Machine", "enter", "ip"]
