"""The files that codecs are compared on, made from the test models."""

import json
import struct
from pathlib import Path
from typing import Callable, NamedTuple


class DataSet(NamedTuple):
    name: str
    """For the table."""
    dtype: str
    """Type of its weights, as safetensors calls it."""
    source: str | None
    """The model that it is made of, in the folder of test models; without one it is generated."""
    write: Callable
    """Writes it: from the path of the model to the path of the file."""


def copied(source, path):
    path.write_bytes(source.read_bytes())


def converted(dtype):
    """As another type; tensors that are no weights stay what they are."""

    def write(source, path):
        from safetensors.torch import load_file, save_file

        tensors = load_file(source)
        save_file({n: convert(t, dtype) if t.is_floating_point() else t for n, t in tensors.items()}, path)

    return write


def convert(tensor, dtype):
    import torch

    target = getattr(torch, dtype)
    if torch.finfo(target).bits > 8:
        return tensor.to(target)
    # As quantisers do it: each tensor is scaled so that its largest value is the largest there is.
    weights = tensor.to(torch.float32)
    return (weights / weights.abs().max() * torch.finfo(target).max).to(target)


def gaussian(_, path):
    """Two matrices of 4096 x 4096, sigma 0.02."""
    import torch
    from safetensors.torch import save_file

    random = torch.Generator().manual_seed(1)
    matrices = [torch.randn(4096, 4096, generator=random) * 0.02 for _ in range(2)]
    save_file({f"matrix.{i}": m.to(torch.bfloat16) for i, m in enumerate(matrices)}, path)


MINILM = "minilm/model.safetensors"

DATA_SETS = [
    DataSet("MiniLM BF16", "BF16", "minilm/bf16/model.safetensors", copied),
    DataSet("Gaussian BF16", "BF16", None, gaussian),
    DataSet("SmolLM2 BF16", "BF16", "smollm2/model.safetensors", copied),
    DataSet("MiniLM F32", "F32", MINILM, copied),
    DataSet("MiniLM F32 from BF16", "F32", "minilm/bf16/model.safetensors", converted("float32")),
    DataSet("WordLlama F16", "F16", "wordllama/model.safetensors", copied),
    DataSet("SmolLM2 F16", "F16", "smollm2/f16/model.safetensors", copied),
    DataSet("MiniLM E4M3", "F8_E4M3", MINILM, converted("float8_e4m3fn")),
    DataSet("MiniLM E5M2", "F8_E5M2", MINILM, converted("float8_e5m2")),
]


def found(models: Path):
    """The data sets whose models are there."""
    return [s for s in DATA_SETS if s.source is None or (models / s.source).is_file()]


def data_len(path: Path):
    """Bytes of the tensors of a safetensors file."""
    with open(path, "rb") as file:
        (header,) = struct.unpack("<Q", file.read(8))
        json.loads(file.read(header))
    return path.stat().st_size - 8 - header
