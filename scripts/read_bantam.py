#!/usr/bin/env python3
"""Restores the original of a .bantam.safetensors file: python3 read_bantam.py SRC DST

A second decoder, written from docs/format.md and with nothing but Python's own library. It is there
to show that the format is described well enough, and so that files can be read where bantam cannot
be built. It is slow. Hashes are compared if the packages `blake3` and `xxhash` are installed.
"""

import json
import os
import struct
import sys

try:
    from blake3 import blake3
except ImportError:
    blake3 = None
try:
    from xxhash import xxh3_64_intdigest as xxh3
except ImportError:
    xxh3 = None

PLANES = {0: (4, 2, 2), 1: (1, 2, 2, 2), 2: (2, 2, 2)}
MAX_BITS = 12


def number(data, at, size):
    return int.from_bytes(data[at : at + size], "little")


def check(name, data, expected):
    if xxh3 is not None and xxh3(data) != expected:
        raise ValueError(f"checksum mismatch in {name}")


def without_checksum(block):
    return block[:24] + bytes(8) + block[32:]


def decode_table(first, lengths):
    """For every window of 12 bits, (symbol, length)."""
    if lengths == [0]:
        return [(first, 0)] * (1 << MAX_BITS)
    table = [None] * (1 << MAX_BITS)
    code, previous = 0, 0
    for length, index in sorted((n, i) for i, n in enumerate(lengths) if n):
        code <<= length - previous
        previous = length
        reversed_code = int(format(code, f"0{length}b")[::-1], 2)
        for window in range(reversed_code, 1 << MAX_BITS, 1 << length):
            table[window] = (first + index, length)
        code += 1
    if None in table:
        raise ValueError("the code is not complete")
    return table


def matrix_rows_of_plane(payload, start, width, rows, cols):
    """Yields for each row the row's fields of one raw plane."""
    lane_words = (-(-cols // 16) * 16 * width + 31) // 32
    mask = (1 << width) - 1
    for row in range(rows):
        block, lane = divmod(row, 64)
        base = start + 4 * block * 64 * lane_words
        at = [base + 4 * (64 * i + lane) for i in range(lane_words)]
        words = [number(payload, a, 4) for a in at]
        yield [words[c * width // 32] >> (c * width % 32) & mask for c in range(cols)]


def symbols(payload, head_len, tile_table, tile_cols, table, rows, cols):
    """Yields for each row its symbols."""
    col_tiles = -(-cols // tile_cols)
    for first_row in range(0, rows, 64):
        lanes = min(64, rows - first_row)
        out = [[] for _ in range(lanes)]
        for col_tile in range(col_tiles):
            entry = tile_table + 8 * (first_row // 64 * col_tiles + col_tile)
            start, shape = struct.unpack_from("<II", payload, entry)
            base, size = shape & 0xFFFF, 2 if shape >> 16 & 1 else 1
            index = head_len + 4 * start
            bits = [base + number(payload, index + size * lane, size) for lane in range(lanes)]
            stream = index + 64 * size
            # One big number: bit i of it is bit i of the tile's streams.
            window = number(payload, stream, (sum(bits) + 7) // 8)
            for lane in range(lanes):
                mine = window & ((1 << bits[lane]) - 1)
                window >>= bits[lane]
                used = 0
                for _ in range(min(tile_cols, cols - col_tile * tile_cols)):
                    symbol, length = table[mine & 0xFFF]
                    out[lane].append(symbol)
                    mine >>= length
                    used += length
                if used != bits[lane]:
                    raise ValueError(f"row {first_row + lane} does not end where it should")
        yield from out


def decode(payload):
    """A tensor's bytes from its payload."""
    if payload[:4] != b"BTM\0" or number(payload, 4, 2) != 1:
        raise ValueError("not a payload of version 1")
    kind, length, head_len = payload[7], number(payload, 8, 8), number(payload, 16, 8)
    if length != len(payload):
        raise ValueError("the payload is cut short")
    check("head", without_checksum(payload[:head_len]), number(payload, 24, 8))
    original_len = number(payload, 32, 8)
    if kind == 0:
        return payload[head_len : head_len + original_len]
    if kind != 1 or payload[6] != 9:
        raise ValueError("unknown kind of payload")
    rows, cols, tile_cols, t = struct.unpack_from("<IIHB", payload, 40)
    first, count = struct.unpack_from("<HH", payload, 52)
    packed = payload[64 : 64 + (count + 1) // 2]
    lengths = [n for byte in packed for n in (byte & 15, byte >> 4)][:count]
    tile_table = 64 + -(-((count + 1) // 2) // 8) * 8

    row_blocks = -(-rows // 64)
    end, planes = length, []
    for width in reversed(PLANES[t]):
        lane_words = (-(-cols // 16) * 16 * width + 31) // 32
        end -= row_blocks * 64 * lane_words * 4
        planes.insert(0, matrix_rows_of_plane(payload, end, width, rows, cols))

    low = 7 - t
    mask = (1 << low) - 1
    out = bytearray()
    table = decode_table(first, lengths)
    coded = symbols(payload, head_len, tile_table, tile_cols, table, rows, cols)
    for row_symbols, *fields in zip(coded, *planes):
        raws = [0] * cols
        for width, field in zip(PLANES[t], fields):
            raws = [raw << width | f for raw, f in zip(raws, field)]
        elements = [(r >> low) << 15 | s << low | r & mask for r, s in zip(raws, row_symbols)]
        out += struct.pack(f"<{cols}H", *elements)
    return bytes(out)


# Bytes of GGUF's metadata values that are neither texts (8) nor arrays (9).
GGUF_VALUES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


class GgufHeader:
    """Where the tensors of a GGUF file begin, from the bytes that it begins with."""

    def __init__(self, data):
        self.data, self.at = data, 8
        if data[:4] != b"GGUF" or number(data, 4, 4) not in (2, 3):
            raise ValueError("not a GGUF file of version 2 or 3")
        tensors, pairs = self.number(8), self.number(8)
        alignment = 32
        for _ in range(pairs):
            key, kind = self.text(), self.number(4)
            if key == b"general.alignment":
                alignment = number(data, self.at, 4)
            self.skip(kind)
        starts = [self.tensor() for _ in range(tensors)]
        self.end = -(-self.at // alignment) * alignment
        self.starts = {name: self.end + start for name, start in starts}

    def number(self, size):
        self.at += size
        if self.at > len(self.data):
            raise ValueError("the original header is cut short")
        return number(self.data, self.at - size, size)

    def text(self):
        length = self.number(8)
        self.at += length
        return self.data[self.at - length : self.at]

    def skip(self, kind):
        if kind == 8:
            self.text()
        elif kind == 9:
            kind, count = self.number(4), self.number(8)
            if kind in GGUF_VALUES:
                self.at += count * GGUF_VALUES[kind]
            else:
                for _ in range(count):
                    self.skip(kind)
        else:
            self.at += GGUF_VALUES[kind]

    def tensor(self):
        name = self.text().decode()
        rank = self.number(4)
        self.at += 8 * rank + 4  # dimensions, type
        return name, self.number(8)


def original_layout(form, outside, sizes):
    """The length of the original's header, and name and start of its tensors in file order."""
    if form == "gguf":
        header = GgufHeader(outside)
        length, starts = min(header.end, len(outside)), header.starts
    else:
        tensors = json.loads(outside[8:])
        tensors.pop("__metadata__", None)
        length = len(outside)
        starts = {name: length + info["data_offsets"][0] for name, info in tensors.items()}
    return length, sorted(starts.items(), key=lambda item: (item[1], sizes[item[0]]))


def read(file):
    """The original file's bytes."""
    header_len = 8 + number(file, 0, 8)
    header = json.loads(file[8:header_len])
    metadata = header.pop("__metadata__")
    forms = {"1": "safetensors", "2": metadata.get("bantam.original_form")}
    form = forms.get(metadata["bantam.format"])
    if form not in ("safetensors", "gguf"):
        raise ValueError("not a bantam file of version 1 or 2, or made from an unknown kind of file")
    index = json.loads(metadata["bantam.index"])
    data = {
        name: file[header_len + info["data_offsets"][0] : header_len + info["data_offsets"][1]]
        for name, info in header.items()
    }
    kept = data.pop(metadata["bantam.original_header"])
    check("the kept header", without_checksum(kept), number(kept, 24, 8))
    check("the container's header", file[:header_len], number(kept, 16, 8))
    outside = kept[64 : 64 + number(kept, 8, 8)]
    used, tensors = original_layout(form, outside, {name: entry["bytes"] for name, entry in index.items()})

    out = bytearray(outside[:used])
    for name, start in tensors:
        gap = start - len(out)
        if gap < 0 or used + gap > len(outside):
            raise ValueError(f"{name} lies elsewhere than the original header says")
        out += outside[used : used + gap]
        used += gap
        tensor = decode(data[name])
        if len(tensor) != index[name]["bytes"]:
            raise ValueError(f"{name} has another length than the index says")
        if blake3 is not None and blake3(tensor).hexdigest() != index[name]["blake3"]:
            raise ValueError(f"{name} is not what was compressed")
        out += tensor
    return bytes(out + outside[used:])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], "rb") as src:
        restored = read(src.read())
    # Under its own name only when it is whole.
    partial = sys.argv[2] + ".partial"
    with open(partial, "xb") as dst:
        dst.write(restored)
    os.replace(partial, sys.argv[2])
