"""Runs all codecs on all data sets, in turn, and prints the table. `run` starts it."""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import data_sets

HERE = Path(__file__).resolve().parent
PEERS = ["zipnn", "openzl", "zstd"]
DIRECTIONS = ["compress", "decompress"]
LABELS = {
    "in memory": "bantam, in memory",
    "again": "bantam, to memory that it wrote before",
    "fast": "bantam, the same, preset fast",
    "file to file": "bantam, file to file",
    "zipnn": "ZipNN",
    "openzl": "OpenZL",
    "zstd": "zstd",
}


class Programs:
    """What cargo built, from its messages."""

    def __init__(self, messages):
        built = [json.loads(line) for line in messages.read_text().splitlines()]
        built = [m for m in built if m["reason"] == "compiler-artifact" and m["executable"]]
        self.paths = {(m["target"]["kind"][0], m["target"]["name"]): m["executable"] for m in built}
        self.command = self.paths["bin", "bantam"]
        self.in_memory = self.paths["bench", "peers"]


class Worker:
    """A process that repeats its codec once for each line it is sent; see worker.py."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def repeat(self):
        print(file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{' '.join(map(str, self.process.args))} ended with {self.process.wait()}")
        return json.loads(answer)

    def close(self):
        self.process.communicate()


class Command:
    """bantam as it is used: from a file to a file, hashes and all, and the start of the process."""

    def __init__(self, prefix, program, file, threads):
        self.file, self.packed, self.restored = file, file.with_suffix(".packed"), file.with_suffix(".restored")
        options = ["--jobs", str(threads), "--force", "--json", "-o"]
        self.compress = [*prefix, program, "compress", file, *options, self.packed]
        self.decompress = [*prefix, program, "decompress", self.packed, *options, self.restored]

    def repeat(self):
        seconds = {name: self.seconds(getattr(self, name)) for name in DIRECTIONS}
        exact = self.file.read_bytes() == self.restored.read_bytes()
        return {**seconds, "bytes": self.packed.stat().st_size, "exact": exact, "setting": "with hashes"}

    def seconds(self, command):
        began = time.perf_counter()
        # Without closing file handles, starting a process does not copy this one.
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, close_fds=False)
        return time.perf_counter() - began

    def close(self):
        for path in [self.packed, self.restored]:
            path.unlink()


def competitors(programs, data_set, file, cores, threads):
    """Those that take part with so many threads, by name."""
    prefix = ["taskset", "-c", ",".join(map(str, cores))]
    started = {
        "in memory": Worker([*prefix, programs.in_memory, file, str(threads), "new", "small"]),
        "again": Worker([*prefix, programs.in_memory, file, str(threads), "again", "small"]),
        "fast": Worker([*prefix, programs.in_memory, file, str(threads), "again", "fast"]),
        "file to file": Command(prefix, programs.command, file, threads),
    }
    for name in PEERS:
        # OpenZL has no threads: a second figure would be the same.
        if name != "openzl" or threads == 1:
            arguments = [name, data_set.dtype, file, str(threads)]
            started[name] = Worker([*prefix, sys.executable, HERE / "worker.py", *arguments])
    return started


def measure(programs, data_set, file, cores, threads, repeats):
    """Every run of every codec. They take turns, so that a busy machine slows all of them alike."""
    started = competitors(programs, data_set, file, cores, threads)
    runs = {name: [] for name in started}
    for round in range(repeats + 1):
        for name, competitor in started.items():
            run = competitor.repeat()
            if not run["exact"]:
                raise SystemExit(f"{LABELS[name]} does not give {data_set.name} back")
            # The first round warms caches up.
            if round > 0:
                runs[name].append(run)
    for competitor in started.values():
        competitor.close()
    return runs


def summary(data_set, file, one, all_cores, cores):
    """Ratios and medians of a data set, as they go into the record."""
    total, data = file.stat().st_size, data_sets.data_len(file)
    rows = {}
    for name, runs in one.items():
        row = rows[name] = {"setting": runs[0]["setting"], "runs": {"1": runs}}
        if name in all_cores:
            row["runs"][str(cores)] = all_cores[name]
        # Of bantam's file all that is not payloads; to the others' data the header is added.
        beside = one["file to file"][0]["bytes"] - one["again"][0]["bytes"] if name not in PEERS else total - data
        size = runs[0]["bytes"] + (0 if name == "file to file" else beside)
        row["ratio"] = size / total
        row["mb_per_s"] = {
            threads: {d: data / 1e6 / statistics.median(r[d] for r in runs) for d in DIRECTIONS}
            for threads, runs in row["runs"].items()
        }
    return {"name": data_set.name, "dtype": data_set.dtype, "bytes": total, "codecs": rows}


def table(result, cores):
    """A data set's rows. Speeds are followed by their ratio to ZipNN's."""
    columns = [("1", "one core"), (str(cores), f"{cores} cores")][: 1 if cores == 1 else 2]
    titles = [f"{direction}, {label}" for _, label in columns for direction in DIRECTIONS]
    lines = [
        f"\n**{result['name']}** ({result['bytes'] / 1e6:.1f} MB)\n",
        f"| codec | size | {' | '.join(titles)} |",
        "|---|---|" + "---|" * len(titles),
    ]
    zipnn = result["codecs"]["zipnn"]["mb_per_s"]
    for name, row in result["codecs"].items():
        cells = []
        for threads, _ in columns:
            for direction in DIRECTIONS:
                speed = row["mb_per_s"].get(threads, {}).get(direction)
                cells.append(f"{speed:.0f} ({speed / zipnn[threads][direction]:.2f})" if speed else "–")
        label = LABELS[name] + (f" ({row['setting']})" if name in ["openzl", "zstd"] else "")
        lines.append(f"| {label} | {row['ratio']:.4f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def machine(programs, cores):
    """Where and with what it was measured."""
    model = platform.processor()
    if os.path.exists("/proc/cpuinfo"):
        names = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
        model = names[0] if names else model
    version = subprocess.run([programs.command, "--version"], check=True, capture_output=True, text=True)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=HERE)
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": model,
        "cores": cores,
        "system": platform.platform(),
        "python": platform.python_version(),
        "bantam": f"{version.stdout.split()[-1]} {commit.stdout.strip()}".strip(),
        **{name: importlib.metadata.version(name) for name in ["zipnn", "openzl", "zstandard", "torch"]},
    }


def work_folder():
    """In memory where there is room for the largest data set and what is made of it."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 4 << 30
    return tempfile.TemporaryDirectory(prefix="bantam-peers-", dir=memory if roomy else None)


def main():
    parser = argparse.ArgumentParser(prog="benches/peers/run", description="Compares bantam with other codecs.")
    parser.add_argument("--build", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--models", type=Path, default=os.environ["BANTAM_TEST_MODELS"], metavar="FOLDER")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="runs of which the median is taken")
    names = [s.name for s in data_sets.DATA_SETS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write all figures")
    arguments = parser.parse_args()
    programs = Programs(arguments.build)
    cores = sorted(os.sched_getaffinity(0))

    facts = machine(programs, len(cores))
    print("; ".join(f"{key} {value}" for key, value in facts.items()))
    print(
        f"\nSize is compressed ÷ original, headers included. Speeds are MB/s (10⁶ original bytes), medians of "
        f"{arguments.repeat}; in brackets as a ratio to ZipNN's. All in memory but the file-to-file row."
    )
    results = []
    for data_set in data_sets.found(arguments.models):
        if data_set.name not in arguments.only:
            continue
        with work_folder() as folder:
            file = Path(folder) / "original.safetensors"
            data_set.write(data_set.source and arguments.models / data_set.source, file)
            one = measure(programs, data_set, file, cores[-1:], 1, arguments.repeat)
            several = len(cores) > 1
            all_cores = measure(programs, data_set, file, cores, len(cores), arguments.repeat) if several else {}
            results.append(summary(data_set, file, one, all_cores, len(cores)))
        print(table(results[-1], len(cores)), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({**facts, "data_sets": results}, indent=1))


if __name__ == "__main__":
    main()
