"""Measuring one thing beside another on a machine that drifts.

Used by the scripts in this folder. A row is a name and a function that runs the thing
once and returns a dictionary with its figures. All rows are run in turn, again and
again (A B A B ...), so that what the machine does meanwhile hits all of them; ratios
are taken within a round and only then reduced to a median. Nothing here knows what is
measured.
"""
import contextlib
import datetime
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Failed(Exception):
    """A thing that was to be measured did not run; the text says which and why."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def run_together(commands, environment=None):
    """stdout of commands that must all succeed. One that fails ends the others, which
    would wait for it."""
    with contextlib.ExitStack() as stack:
        files = [[stack.enter_context(tempfile.TemporaryFile("w+")) for _ in "oe"]
                 for _ in commands]
        running = [stack.enter_context(subprocess.Popen(command, env=environment, stdout=out,
                                                        stderr=errors))
                   for command, (out, errors) in zip(commands, files)]
        try:
            while any(process.poll() is None for process in running):
                if any(process.returncode for process in running):
                    break
                time.sleep(0.02)
        finally:
            for process in running:
                if process.poll() is None:
                    process.kill()
        texts = []
        for process, (out, errors) in zip(running, files):
            out.seek(0), errors.seek(0)
            if process.wait() > 0:
                raise Failed(f"{' '.join(process.args)}\nended with exit code "
                             f"{process.returncode}:\n{errors.read()[-2000:]}")
            texts.append(out.read())
        if any(process.returncode for process in running):
            raise Failed(f"{' '.join(running[0].args)}\nwas killed by a signal")
        return texts


def run(command, environment=None):
    """stdout of one command that must succeed."""
    return run_together([command], environment)[0]


def interleave(rows, rounds, figure):
    """Runs every (name, function) once per round; returns {name: [result, ...]}."""
    results = {name: [] for name, _ in rows}
    for number in range(1, rounds + 1):
        for name, measure in rows:
            result = measure(number)
            results[name].append(result)
            shown = f"{result[figure]:,.{0 if result[figure] >= 100 else 2}f}"
            say(f"round {number}/{rounds}  {name}: {shown}")
    return results


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratio(results, ours, theirs, figure):
    """ours / theirs within each round; None when one of them was not measured."""
    if ours not in results or theirs not in results:
        return None
    pairs = zip(results[ours], results[theirs])
    return spread([a[figure] / b[figure] for a, b in pairs])


# ---- where and when ----


def cpu_name():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        found = re.search(r"^model name\s*:\s*(.*)$", file.read(), re.MULTILINE)
    return found.group(1) if found else platform.machine()


def system_name():
    with open("/etc/os-release", encoding="utf-8") as file:
        return re.search(r'^PRETTY_NAME="?([^"\n]*)', file.read(), re.MULTILINE).group(1)


def commit():
    """The commit that was measured, with a word when the sources differ from it."""
    sources = ["common", "proto", "server", "worker", "cli", "cmake", "CMakeLists.txt",
               "examples", "bench"]
    try:
        name = run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"]).strip()
        changes = run(["git", "-C", ROOT, "status", "--porcelain", "--"] + sources)
        return f"commit {name}" + (" with changes" if changes else "")
    except (Failed, OSError):
        return "commit unknown"


def build_type(program):
    """CMake's, from the build folder that the program stands in; "" when unknown."""
    try:
        path = os.path.join(os.path.dirname(program), "CMakeCache.txt")
        with open(path, encoding="utf-8") as file:
            return re.search(r"^CMAKE_BUILD_TYPE:\w+=(.*)$", file.read(), re.MULTILINE).group(1)
    except (OSError, AttributeError):
        return ""


def machine():
    """[(what, text)] for the head of a table. Call it before anything is measured: the
    load is the one that others make."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    busy = " (others are at work: figures are low and drift)" if load > 0.5 else ""
    return [
        ("date", datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")),
        ("machine", f"{cpu_name()}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB"),
        ("system", f"{system_name()}, Linux {platform.release()}"),
        ("load before", f"{load:.1f}{busy}"),
    ]


# ---- text ----


def table(head, lines):
    """Columns as wide as they need; the first to the left, the others to the right.
    Reads well on a terminal and is a Markdown table."""
    widths = [max(len(line[i]) for line in [head] + lines) for i in range(len(head))]

    def one(cells):
        aligned = [cells[0].ljust(widths[0])]
        aligned += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:])]
        return "| " + " | ".join(aligned) + " |"

    rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]
    return "\n".join([one(head), one(rule)] + [one(line) for line in lines])


def put_into(path, name, text):
    """Replaces what stands between the marks of `name` in a Markdown file."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    with open(path, encoding="utf-8") as file:
        before = file.read()
    first, last = before.find(begin), before.find(end)
    if not 0 <= first < last:
        raise Failed(f"{path}: the lines \"{begin}\" and \"{end}\" are missing")
    with open(path, "w", encoding="utf-8") as file:
        file.write(before[:first + len(begin)] + "\n" + text + "\n" + before[last:])
