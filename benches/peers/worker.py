"""One codec on one file: compresses and restores its data once for each line on standard input.

    worker.py CODEC DTYPE FILE THREADS

Answers every line with a JSON object: seconds of each direction, compressed bytes, and whether the
original came back. CODEC is zipnn, openzl or zstd; DTYPE is that of the file's weights. The data
is what follows the file's header; it is in memory before anything is timed. Each codec allocates
what it returns.
"""

import json
import struct
import sys
import time
import warnings

WIDTHS = {"BF16": 2, "F16": 2, "F32": 4, "F8_E4M3": 1, "F8_E5M2": 1}


class Zstd:
    """Level 3. Only compression has threads."""

    def __init__(self, dtype, data, threads):
        import zstandard

        self.compressor = zstandard.ZstdCompressor(level=3, threads=threads if threads > 1 else 0)
        self.decompressor = zstandard.ZstdDecompressor()
        self.setting = "level 3"

    def compress(self, data):
        return self.compressor.compress(data)

    def decompress(self, compressed):
        return self.decompressor.decompress(compressed)


class ZipNN:
    """With its defaults for the type of the elements."""

    DTYPES = {
        "BF16": "bfloat16",
        "F16": "float16",
        "F32": "float32",
        "F8_E4M3": "float8_e4m3fn",
        "F8_E5M2": "float8_e5m2",
    }

    def __init__(self, dtype, data, threads):
        warnings.simplefilter("ignore")
        import zipnn

        self.setting = self.DTYPES[dtype]
        self.codec = zipnn.ZipNN(input_format="byte", bytearray_dtype=self.setting, threads=threads)

    def compress(self, data):
        return self.codec.compress(data)

    def decompress(self, compressed):
        return self.codec.decompress(compressed)


class OpenZL:
    """The graph that makes this data smallest; among those within a thousandth of it, the fastest.

    Its Python module has no threads, and holds the interpreter's lock while it works.
    """

    def __init__(self, dtype, data, threads):
        import numpy
        import openzl.ext

        self.numpy, self.zl = numpy, openzl.ext
        self.element = {1: numpy.uint8, 2: numpy.uint16, 4: numpy.uint32}[WIDTHS[dtype]]
        tried = []
        for name, build in self.graphs(dtype).items():
            try:
                tried.append(self.tried(name, build, data))
            except RuntimeError as error:
                # Some graphs are too large for a file of so many bytes ("temporary library limitation").
                print(f"OpenZL, {name}: {error}".splitlines()[0], file=sys.stderr)
        smallest = min(size for size, *_ in tried)
        _, _, self.setting, self.compressor = min(
            (t for t in tried if t[0] <= smallest * 1.001), key=lambda t: t[1]
        )

    def graphs(self, dtype):
        """Functions that build a graph in a compressor, by name."""
        graphs, nodes = self.zl.graphs, self.zl.nodes
        fse, huffman, store = graphs.Fse, graphs.Huffman, graphs.Store
        if WIDTHS[dtype] == 1:
            return {"fse": lambda c: fse()(c), "huffman": lambda c: huffman()(c)}
        parts = {
            "BF16": nodes.BFloat16Deconstruct,
            "F16": nodes.Float16Deconstruct,
            "F32": nodes.Float32Deconstruct,
        }[dtype]

        def planes(c, entropy):
            return nodes.TransposeSplit()(c, entropy()(c))

        return {
            "exponent fse, rest stored": lambda c: parts()(c, store()(c), fse()(c)),
            "exponent huffman, rest stored": lambda c: parts()(c, store()(c), huffman()(c)),
            "exponent fse, rest in bytes fse": lambda c: parts()(c, planes(c, fse), fse()(c)),
            "exponent huffman, rest in bytes huffman": lambda c: parts()(c, planes(c, huffman), huffman()(c)),
            "bytes fse": lambda c: nodes.ConvertNumToStructLE()(c, planes(c, fse)),
            "bytes huffman": lambda c: nodes.ConvertNumToStructLE()(c, planes(c, huffman)),
        }

    def tried(self, name, build, data):
        """Size, seconds, name and compressor of a graph: the better of two runs."""
        self.compressor = self.zl.Compressor()
        self.compressor.set_parameter(self.zl.CParam.FormatVersion, self.zl.MAX_FORMAT_VERSION)
        self.compressor.select_starting_graph(build(self.compressor))
        seconds = []
        for _ in range(2):
            began = time.perf_counter()
            compressed = self.compress(data)
            self.decompress(compressed)
            seconds.append(time.perf_counter() - began)
        return len(compressed), min(seconds), name, self.compressor

    def compress(self, data):
        context = self.zl.CCtx()
        context.ref_compressor(self.compressor)
        elements = self.numpy.frombuffer(data, self.element)
        return context.compress([self.zl.Input(self.zl.Type.Numeric, elements)])

    def decompress(self, compressed):
        (output,) = self.zl.DCtx().decompress(compressed)
        return output.content.as_nparray()


CODECS = {"zstd": Zstd, "zipnn": ZipNN, "openzl": OpenZL}


def repeat(codec, original):
    # ZipNN reorders bits in the buffer that it is given.
    data = bytes(bytearray(original))
    began = time.perf_counter()
    compressed = codec.compress(data)
    compress = time.perf_counter() - began
    del data
    began = time.perf_counter()
    restored = codec.decompress(compressed)
    decompress = time.perf_counter() - began
    exact = memoryview(restored).cast("B") == memoryview(original)
    return {
        "compress": compress,
        "decompress": decompress,
        "bytes": len(compressed),
        "exact": exact,
        "setting": codec.setting,
    }


def main():
    name, dtype, path, threads = sys.argv[1:]
    with open(path, "rb") as file:
        (header,) = struct.unpack("<Q", file.read(8))
        file.seek(8 + header)
        original = file.read()
    codec = CODECS[name](dtype, bytes(bytearray(original)), int(threads))
    for _ in sys.stdin:
        print(json.dumps(repeat(codec, original)), flush=True)


if __name__ == "__main__":
    main()
