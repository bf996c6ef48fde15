"""Scores a model's weights in every precision, and rounded to integers."""

import argparse
import json
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np

BLOCK = 32
"""Weights that share a scale of 16 bits, as in GGUF's Q8_0 and Q4_0."""


def read(path):
    """Header and bytes of a safetensors file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    return header, data[8 + length :]


def write_rounded(source, target, bits):
    """Copies a model with its matrices rounded to integers of so many bits, as F32: no further rounding."""
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        if (source / name).exists():
            shutil.copy(source / name, target / name)
    header, data = read(source / "model.safetensors")
    entries, parts, at = {}, [], 0
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        if entry["dtype"] != "BF16":
            raise SystemExit(f"{name} is {entry['dtype']}, not BF16")
        values = (np.frombuffer(data[start:end], "<u2").astype("<u4") << 16).view("<f4")
        if len(entry["shape"]) == 2:
            values = rounded(values, bits)
        entries[name] = {"dtype": "F32", "shape": entry["shape"], "data_offsets": [at, at + values.nbytes]}
        parts.append(values.astype("<f4").tobytes())
        at += values.nbytes
    text = json.dumps(entries).encode()
    with open(target / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(parts))


def rounded(values, bits):
    """To the nearest integer multiple of each block's scale: its largest magnitude is the largest integer."""
    most = 2 ** (bits - 1) - 1
    blocks = np.pad(values, (0, -len(values) % BLOCK)).reshape(-1, BLOCK)
    scale = (np.abs(blocks).max(axis=1, keepdims=True) / most).astype("<f2").astype("<f4")
    scale[scale == 0] = 1
    return (np.clip(np.round(blocks / scale), -most - 1, most) * scale).astype("<f4").reshape(-1)[: len(values)]


def score(bantam, model, text, *arguments):
    command = [bantam, "score", model, text, "--json", *arguments]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["nll"]


def plan_bytes(bantam, model, precision):
    """Bytes of the weights in device memory."""
    command = [bantam, "plan", model, "--json", "--layout", "dense", "--precision", precision]
    plan = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return plan["fixed"] + plan["resident_stage_bytes"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bantam", type=Path, required=True)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "compressed"
        subprocess.run([args.bantam, "compress", args.model, "-o", small], check=True, stdout=subprocess.DEVNULL)
        for precision in ("lossless", "k5", "k3"):
            nll = score(args.bantam, small, args.text, "--precision", precision, "--layout", "dense")
            rows.append((precision, plan_bytes(args.bantam, small, precision), nll))
        header, _ = read(args.model / "model.safetensors")
        weights = sum(int(np.prod(entry["shape"])) for entry in header.values() if len(entry["shape"]) == 2)
        for bits in (8, 6, 5, 4):
            copy = Path(folder) / f"int{bits}"
            copy.mkdir()
            write_rounded(args.model, copy, bits)
            nll = score(args.bantam, copy, args.text)
            rows.append((f"int{bits}, blocks of {BLOCK}", weights * (bits + 16 / BLOCK) / 8, nll))
            shutil.rmtree(copy)
    exact = rows[0]
    print("| weights | MB | of lossless | perplexity | more |")
    print("|---|---|---|---|---|")
    for name, size, nll in rows:
        more = 100 * (np.exp(nll - exact[2]) - 1)
        print(f"| {name} | {size / 1e6:.1f} | {size / exact[1]:.3f} | {np.exp(nll):.3f} | {more:+.1f} % |")
    if args.json:
        results = [{"weights": name, "bytes": size, "nll": nll} for name, size, nll in rows]
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
