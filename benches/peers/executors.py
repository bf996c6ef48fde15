"""Runs bantam and llama.cpp on one model in turn, and prints the table. `llama_cpp` starts it."""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf_model

HERE = Path(__file__).resolve().parent
# What `bantam bench` takes.
PROMPT, GENERATED = 64, 16
TEXT, TEXT_TOKENS = "The history of the steam engine begins", 8
DIRECTIONS = {"prefill": "prefill_tokens_per_s", "generation": "tokens_per_s"}


def output(command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


class LlamaCpp:
    def __init__(self, file, threads, runs):
        # A prompt and its text fit where those of a run do.
        self.command = [sys.executable, HERE / "executor_worker.py", file, str(threads)]
        self.runs = str(runs)

    def round(self):
        return {"llama.cpp": json.loads(output([*self.command, str(PROMPT), str(GENERATED), self.runs]))}

    def text(self):
        return json.loads(output([*self.command, str(PROMPT), str(TEXT_TOKENS), "0", TEXT]))


class Bantam:
    """All forms in which `bantam bench` runs a model."""

    def __init__(self, program, model, record):
        self.program, self.model, self.record = program, model, record
        self.device = None

    def round(self):
        output([self.program, "bench", self.model, "--only", "model", "-o", self.record, "--force"])
        record = json.loads(self.record.read_text())
        self.device = f"{record['machine']['adapter']} ({record['machine']['backend']})"
        assert (record["model"]["prompt"], record["model"]["generated"]) == (PROMPT, GENERATED)
        measured = {form["form"]: form["measured"] for form in record["model"]["forms"] if "measured" in form}
        return {
            f"bantam, {form}": {direction: figures[key] for direction, key in DIRECTIONS.items()}
            for form, figures in measured.items()
        }

    def text(self):
        return json.loads(output([self.program, "run", self.model, "-p", TEXT, "-n", str(TEXT_TOKENS), "--json"]))


def medians(rounds):
    return {
        name: {direction: statistics.median(r[name][direction] for r in rounds) for direction in DIRECTIONS}
        for name in rounds[0]
    }


def table(rates):
    peer = rates["llama.cpp"]
    lines = [
        f"| | prompt of {PROMPT}, tokens/s | ÷ llama.cpp | one by one, tokens/s | ÷ llama.cpp |",
        "|---|---|---|---|---|",
    ]
    for name, rate in rates.items():
        cells = [f"{rate[d]:.1f} | {rate[d] / peer[d]:.4f}" for d in DIRECTIONS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(prog="benches/peers/llama_cpp", description="Compares bantam with llama.cpp.")
    parser.add_argument("--bantam", required=True, help=argparse.SUPPRESS)
    smollm2 = Path(os.environ["BANTAM_TEST_MODELS"], "smollm2")
    parser.add_argument("model", type=Path, nargs="?", default=smollm2, metavar="MODEL")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="rounds of which the median is taken")
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--threads", type=int, default=cores, metavar="N", help="threads of llama.cpp")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write all figures")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="bantam-peers-") as folder:
        folder = Path(folder)
        gguf_model.write(arguments.model, folder / "model.gguf")
        # Once for all rounds. Raw weights are uncompressed when they are loaded.
        output([arguments.bantam, "compress", arguments.model, "-o", folder / "compressed"])
        peer = LlamaCpp(folder / "model.gguf", arguments.threads, 5)
        ours = Bantam(arguments.bantam, folder / "compressed", folder / "record.json")
        texts = [peer.text(), ours.text()]
        if texts[0]["prompt_tokens"] != texts[1]["prompt_tokens"]:
            raise SystemExit(f"the tokenizers disagree about {TEXT!r}: {texts}")
        load = os.getloadavg()[0]
        rounds = [{**peer.round(), **ours.round()} for _ in range(arguments.repeat)]

    facts = {
        "date": datetime.date.today().isoformat(),
        "model": arguments.model.resolve().name,
        "llama-cpp-python": importlib.metadata.version("llama-cpp-python"),
        "threads": arguments.threads,
        "device": ours.device,
        "system": platform.platform(),
        # llama.cpp's threads wait for each other, and suffer most from what else there is to compute.
        "load before": load,
        "bantam": output([arguments.bantam, "--version"]).split()[-1],
        "texts": [text["text"] for text in texts],
    }
    print("; ".join(f"{key} {value}" for key, value in facts.items()))
    print(f"\nMedians of {arguments.repeat} rounds; llama.cpp computes on the CPU, both from BF16.\n")
    rates = medians(rounds)
    print(table(rates))
    if arguments.json:
        arguments.json.write_text(json.dumps({**facts, "rates": rates, "rounds": rounds}, indent=1))


if __name__ == "__main__":
    main()
