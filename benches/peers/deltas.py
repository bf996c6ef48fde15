"""Compares the sizes of differences to a base. `deltas` starts it."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import zstandard
from families import PAIRS, written


FEWEST = 4096
"""Elements of the smallest tensor that is counted."""


def tensors(path):
    """The bits of a file's BF16 tensors."""
    data = Path(path).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "BF16":
            start, end = entry["data_offsets"]
            yield name, np.frombuffer(data, np.uint16, (end - start) // 2, 8 + length + start)


def bitx(new, base):
    """ZipLLM's BitX: XOR, exponents apart from signs and mantissas, then zstd."""
    xor = new ^ base
    exponents, others = (xor >> 7).astype(np.uint8), (xor & 0x7F | xor >> 8 & 0x80).astype(np.uint8)
    return sum(len(zstandard.ZstdCompressor(level=3).compress(part.tobytes())) for part in [exponents, others])


def tensorx(new, base):
    """TensorDex's TensorX: XOR, planes of bytes, then zstd at level 1."""
    planes = (new ^ base).view(np.uint8).reshape(-1, 2)
    return sum(len(zstandard.ZstdCompressor(level=1).compress(planes[:, i].tobytes())) for i in range(2))


def fm_delta(new, base):
    """FM-Delta's split of ordered differences: the entropy of sign and octave, and the bits below. No coder is smaller."""

    def ordered(bits):
        signed = bits.astype(np.int64)
        return np.where(signed >> 15, ~signed & 0xFFFF, signed | 0x8000)

    difference = ordered(new) - ordered(base)
    octave = np.frexp(np.abs(difference).astype(np.float64))[1]
    _, counts = np.unique(np.sign(difference) * 64 + octave, return_counts=True)
    entropy = (counts * np.log2(len(new) / counts)).sum()
    return (entropy + np.maximum(octave - 1, 0).sum()) / 8


def run(command):
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(said)


def measured(pair, files, program):
    new, base = (dict(tensors(file)) for file in files)
    # Of smaller ones, the most is heads.
    names = [name for name, bits in new.items() if len(bits) >= FEWEST and len(base.get(name, [])) == len(bits)]
    both = [(new[name], base[name]) for name in names]
    weights = sum(len(bits) for bits, _ in both)
    out = files[0].with_suffix(".delta")
    report = run([program, "compress", files[0], "--base", files[1], "-o", out, "--force", "--json"])
    restored = files[0].with_suffix(".restored")
    run([program, "decompress", out, "--base", files[1], "-o", restored, "--force", "--json"])
    if restored.read_bytes() != files[0].read_bytes():
        sys.exit(f"{pair.name}: the restored file is another one")
    alone = run([program, "compress", files[0], "-o", out, "--force", "--json"])
    stored = lambda report: sum(t["compressed_bytes"] for t in report["tensors"] if t["name"] in names)

    bits = lambda size: 8 * size / weights
    return {
        "pair": pair.name,
        "weights": weights,
        "unchanged": float(np.mean(np.concatenate([new == base for new, base in both]))),
        "alone": bits(stored(alone)),
        "BitX": bits(sum(bitx(*pair) for pair in both)),
        "TensorX": bits(sum(tensorx(*pair) for pair in both)),
        "FM-Delta's split": bits(sum(fm_delta(*pair) for pair in both)),
        "bantam": bits(stored(report)),
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--bantam", required=True)
    arguments.add_argument("--folder", required=True, type=Path)
    arguments.add_argument("--json", type=Path)
    options = arguments.parse_args()
    rows = []
    for pair in PAIRS:
        files = written(pair, options.folder / "packages", options.folder)
        rows.append(measured(pair, files, options.bantam))
    names = ["alone", "BitX", "TensorX", "FM-Delta's split", "bantam"]
    print("| bits a weight | weights | unchanged |", " | ".join(names), "|")
    print("|---|---|---|" + "---|" * len(names))
    for row in rows:
        figures = " | ".join(f"{row[name]:.2f}" for name in names)
        print(f"| {row['pair']} | {row['weights']} | {row['unchanged']:.2f} | {figures} |")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
