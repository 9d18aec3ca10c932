"""Trains a job with Talweg and its model with torch, side by side: what bench/mlp and
bench/lenet do.

  Talweg, 1 worker + 1 server on two cores   beside   torch on one thread
  Talweg, 2 workers + 1 server on two cores  beside   torch DistributedDataParallel,
                                                      gloo, two processes, 2 x 64, and a
                                                      parameter server of torch.distributed.rpc,
                                                      one server, two trainers, 2 x 64
Every row is run once per round, in turn. The peers need python3-torch (Debian package);
without it only Talweg is measured. How to read the table: bench/README.md.
"""
import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import side_by_side as bench  # noqa: E402

PYTHON = "/usr/bin/python3"
DATA = "/usr/share/datasets/fashion-mnist"
PEERS = os.path.join(bench.ROOT, "bench", "peers")
FIGURE = "samples_per_second"

TALWEG_1 = "Talweg, 1 worker + 1 server"
TALWEG_2 = "Talweg, 2 workers + 1 server"
TORCH = "torch, 1 thread, data in memory"
TORCH_LOADER = "torch, 1 thread, DataLoader"
TORCH_DDP = "torch DDP, gloo, 2 processes"
TORCH_RPC = "torch RPC, 2 trainers + 1 server"
TUNED = ", tuned"


class Subject:
    """What is trained: a script's name, the job, torch's name of the model
    (peers/fashion.py), and what the project aims for."""

    def __init__(self, name, job, model, aim_1, aim_ddp, aim_rpc=None):
        self.name = name
        self.job = os.path.join(bench.ROOT, "examples", job)
        self.model = model
        # ours, theirs, aim
        self.ratios = [(TALWEG_1, TORCH, aim_1), (TALWEG_1, TORCH + TUNED, None),
                       (TALWEG_2, TORCH_DDP, aim_ddp), (TALWEG_2, TORCH_DDP + TUNED, None),
                       (TALWEG_2, TORCH_RPC, aim_rpc), (TALWEG_2, TORCH_RPC + TUNED, None)]


def read_arguments(subject, description):
    parser = argparse.ArgumentParser(description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="how often each row is run (5); round r has seed r")
    add("--epochs", type=int, default=5, help="of each run (5)")
    add("--cores", default="0,1", metavar="A,B", help="the two cores to run on (0,1)")
    add("--blas-core", metavar="CORE", help="OPENBLAS_CORETYPE for both sides, e.g. SkylakeX; "
        "default: what the environment says, else what OpenBLAS picks")
    add("--together", action="store_true", help="leave it to the kernel which of Talweg's "
        "processes runs on which of the two cores")
    add("--talweg", default=os.path.join(bench.ROOT, "build", "talweg"), metavar="PROGRAM",
        help="what to measure (build/talweg)")
    add("--only", default="", metavar="TEXT", help="only rows with this text in their name")
    add("--json", action="store_true", help="end stdout with all figures as one JSON object")
    add("--into", metavar="FILE", help="also put the table between the marks in this Markdown file")
    options = parser.parse_args()
    options.subject = subject
    options.cores = options.cores.split(",")
    if len(options.cores) != 2 or options.rounds < 1 or options.epochs < 1:
        parser.error("two cores, at least one round and one epoch are needed")
    return options


def environment(options):
    """The same for both sides: one BLAS thread per process, one kind of kernels."""
    out = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1",
               GLOO_SOCKET_IFNAME="lo", TP_SOCKET_IFNAME="lo")
    if options.blas_core:
        out["OPENBLAS_CORETYPE"] = options.blas_core
    return out


def last_object(text, what):
    try:
        return json.loads(text.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise bench.Failed(f"{what}: its last line is no JSON object: {text[-300:]!r}") from None


# ---- Talweg ----


def children_of(pid):
    """{pid: arguments} of its children that have become another program."""
    found = {}
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            pids = [int(word) for word in file.read().split()]
        for child in pids:
            with open(f"/proc/{child}/cmdline", encoding="utf-8") as file:
                found[child] = file.read().split("\0")
    except OSError:
        pass
    return found


def place_of(arguments, workers, cores):
    """Worker r has core r. A server beside one worker has the other core; with two it
    shares both. The evaluator and the launcher go where there is room."""
    if arguments[1:2] == ["worker"] and "--evaluate" not in arguments:
        return cores[int(arguments[arguments.index("--rank") + 1])]
    if arguments[1:2] == ["server"] and workers == 1:
        return cores[1]
    return None


def place_processes(launcher, workers, cores):
    """Pins Talweg's processes as they appear, until all that get a core have one."""
    wanted = workers + (1 if workers == 1 else 0)
    placed = set()
    while len(placed) < wanted and launcher.poll() is None:
        for pid, arguments in children_of(launcher.pid).items():
            core = place_of(arguments, workers, cores)
            if core is not None and pid not in placed:
                subprocess.run(["taskset", "-acp", core, str(pid)], check=False,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                placed.add(pid)
        time.sleep(0.02)


def talweg(options, workers):
    def measure(number):
        with tempfile.TemporaryDirectory(prefix="talweg-bench-") as folder:
            command = ["taskset", "-c", ",".join(options.cores), options.talweg, "run",
                       options.subject.job,
                       "--servers", "1", "--workers", str(workers), "--set",
                       f"epochs={options.epochs}", "--set", f"seed={number}",
                       "--out", os.path.join(folder, "run"), "--json"]
            with tempfile.TemporaryFile("w+") as errors:
                with subprocess.Popen(command, env=environment(options), stdout=subprocess.PIPE,
                                      stderr=errors, text=True) as launcher:
                    if not options.together:
                        place_processes(launcher, workers, options.cores)
                    text = launcher.communicate()[0]
                errors.seek(0)
                if launcher.returncode != 0:
                    raise bench.Failed(f"{' '.join(command)}\n{errors.read()[-2000:]}")
        return last_object(text, "talweg run")
    return measure


# ---- torch ----


def peer_command(options, core, program, number, *more):
    return ["taskset", "-c", core, PYTHON, os.path.join(PEERS, program), "--data", DATA,
            "--epochs", str(options.epochs), "--seed", str(number), "--model",
            options.subject.model, *more]


def torch_single(options, *more):
    def measure(number):
        command = peer_command(options, options.cores[0], "torch_single.py", number, *more)
        return last_object(bench.run(command, environment(options)), "torch_single.py")
    return measure


def torch_together(options, program, cores, reporter, *more):
    """One process for each of `cores`, by rank; that of rank `reporter` says what all did."""
    def measure(number):
        with tempfile.TemporaryDirectory(prefix="talweg-bench-") as folder:
            meet = os.path.join(folder, "meet")
            commands = [peer_command(options, core, program, number, "--rank", str(rank),
                                     "--meet", meet, *more)
                        for rank, core in enumerate(cores)]
            text = bench.run_together(commands, environment(options))[reporter]
        return last_object(text, program)
    return measure


def torch_ddp(options, *more):
    return torch_together(options, "torch_ddp.py", options.cores, 0, *more)


def torch_rpc(options, *more):
    """As Talweg's: a trainer on each core, and the server, which is rank 0, where there is room."""
    cores = [",".join(options.cores)] + options.cores
    return torch_together(options, "torch_rpc.py", cores, 1, *more)


def torch_is_here():
    test = subprocess.run([PYTHON, "-c", "import torch"], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, check=False)
    return test.returncode == 0


# ---- the whole ----


def make_rows(options):
    rows = [(TALWEG_1, talweg(options, 1)), (TALWEG_2, talweg(options, 2))]
    if torch_is_here():
        rows = [(TORCH, torch_single(options)), rows[0],
                (TORCH + TUNED, torch_single(options, "--tuned")),
                (TORCH_DDP, torch_ddp(options)), rows[1],
                (TORCH_DDP + TUNED, torch_ddp(options, "--tuned")),
                (TORCH_RPC, torch_rpc(options)),
                (TORCH_RPC + TUNED, torch_rpc(options, "--tuned")),
                (TORCH_LOADER, torch_single(options, "--loader", "dataloader"))]
    else:
        bench.say(f"{options.subject.name}: torch is not installed (apt-get install python3-torch): "
                  "its rows are skipped")
    chosen = [row for row in rows if options.only.lower() in row[0].lower()]
    if not chosen:
        raise bench.Failed(f"no row has \"{options.only}\" in its name; the rows are: "
                           + "; ".join(name for name, _ in rows))
    return chosen


def check(options):
    if not os.access(options.talweg, os.X_OK):
        raise bench.Failed(f"{options.talweg} is not there; build it (deploy/quickstart) or name "
                           "another with --talweg")
    if not shutil.which("taskset"):
        raise bench.Failed("taskset is missing (Debian package util-linux)")
    if bench.build_type(options.talweg) not in ("", "Release"):
        bench.say(f"{options.subject.name}: {options.talweg} is no Release build: its figures "
                  "say nothing")


def facts_of(options, facts, results):
    versions = last_object(bench.run([options.talweg, "version", "--json"], environment(options)),
                           "talweg version")
    theirs = [row[0] for row in results.values() if "torch" in row[0]]
    cores = {versions["blas_core"]} | {row["blas_core"] for row in theirs}
    if len(cores) > 1:
        bench.say(f"{options.subject.name}: the two sides use different BLAS kernels: {cores}")
    of_torch = f", torch {theirs[0]['torch']}" if theirs else ""
    return facts + [
        ("versions", f"Talweg {versions['version']} ({bench.commit()}), OpenBLAS "
                     f"{versions['openblas']}{of_torch}"),
        ("BLAS kernels", f"{', '.join(str(core) for core in sorted(cores, key=str))}, both sides, "
                         "one thread per process"),
        ("command", shlex.join([options.subject.name] + shown_arguments())),
    ]


def shown_arguments():
    """Of the command line, what has an influence on the figures."""
    out, skip = [], False
    for word in sys.argv[1:]:
        name = word.partition("=")[0]
        if name in ("--talweg", "--into"):
            skip = "=" not in word
        elif not skip and name != "--json":
            out.append(word)
        else:
            skip = False
    return out


def describe(options, facts, results):
    lines = []
    for name, row in results.items():
        speed = bench.spread([one[FIGURE] for one in row])
        score = bench.spread([one["test_accuracy"] for one in row])
        lines.append([name, f"{speed['median']:,.0f}", f"{speed['min']:,.0f} - {speed['max']:,.0f}",
                      f"{score['median']:.4f}", f"{score['min']:.4f} - {score['max']:.4f}"])
    text = [f"- {what}: {value}" for what, value in facts] + ["", bench.table(
        ["", "samples/s", "lowest - highest", f"accuracy after {options.epochs}",
         "lowest - highest"], lines), ""]
    for ours, theirs, aim in options.subject.ratios:
        ratio = bench.ratio(results, ours, theirs, FIGURE)
        if ratio:
            text.append(f"- ({ours}) / ({theirs}): **{ratio['median']:.2f}** "
                        f"({ratio['min']:.2f} - {ratio['max']:.2f})"
                        + (f"; aim: {aim:g}" if aim else ""))
    return "\n".join(text).rstrip()


def measure(options):
    check(options)
    facts = bench.machine()
    rows = make_rows(options)
    results = bench.interleave(rows, options.rounds, FIGURE)
    facts = facts_of(options, facts, results)
    text = describe(options, facts, results)
    print(text)
    if options.into:
        kernels = f" {options.blas_core}" if options.blas_core else ""
        bench.put_into(options.into, options.subject.name + kernels, text)
    if options.json:
        ratios = [{"ours": ours, "theirs": theirs, "aim": aim,
                   **bench.ratio(results, ours, theirs, FIGURE)}
                  for ours, theirs, aim in options.subject.ratios if ours in results and theirs in results]
        print(json.dumps({**dict(facts), "epochs": options.epochs, "rounds": options.rounds,
                          "rows": results, "ratios": ratios}))


def main(subject, description):
    try:
        measure(read_arguments(subject, description))
    except bench.Failed as failure:
        sys.exit(f"{subject.name}: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
