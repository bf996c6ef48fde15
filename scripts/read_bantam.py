#!/usr/bin/env python3
"""Restores the original of a .bantam.safetensors file: python3 read_bantam.py SRC DST [BASE]

BASE is the safetensors file, compressed or not, to which SRC holds differences.

A second decoder, written from docs/format.md and with nothing but Python's own library. It is there
to show that the format is described well enough, and so that files can be read where bantam cannot
be built. It is slow. Hashes are compared if the packages `blake3` and `xxhash` are installed.
"""

import json
import os
import struct
import sys
import zlib

try:
    from blake3 import blake3
except ImportError:
    blake3 = None
try:
    from xxhash import xxh3_64_intdigest as xxh3
except ImportError:
    xxh3 = None

MAX_BITS = 12


def number(data, at, size):
    return int.from_bytes(data[at : at + size], "little")


def check(name, data, expected):
    if xxh3 is not None and xxh3(data) != expected:
        raise ValueError(f"checksum mismatch in {name}")


def without_checksum(block):
    return block[:24] + bytes(8) + block[32:]


def decode_table(first, lengths, escape):
    """For every window of 12 bits, (symbol, length); the escape's symbol is None."""
    if lengths == [0] and not escape:
        return [(first, 0)] * (1 << MAX_BITS)
    table = [None] * (1 << MAX_BITS)
    code, previous = 0, 0
    for length, index in sorted((n, i) for i, n in enumerate(lengths + [escape]) if n):
        code <<= length - previous
        previous = length
        reversed_code = int(format(code, f"0{length}b")[::-1], 2)
        for window in range(reversed_code, 1 << MAX_BITS, 1 << length):
            table[window] = (first + index if index < len(lengths) else None, length)
        code += 1
    if None in table:
        raise ValueError("the code is not complete")
    return table


def plane_rows(payload, start, width, rows, cols, masks):
    """Yields for each row its fields in one raw plane; zeros for rows that have no part in it."""
    lane_words = (-(-cols // 16) * 16 * width + 31) // 32
    mask = (1 << width) - 1
    for row in range(rows):
        block, lane = divmod(row, 64)
        lanes, before = masks[block] if masks else (~0, 64 * block)
        stride = bin(lanes).count("1") if masks else 64
        if not lanes >> lane & 1:
            yield [0] * cols
            continue
        place = bin(lanes & ((1 << lane) - 1)).count("1") if masks else lane
        base = start + 4 * (before * lane_words + place)
        words = [number(payload, base + 4 * stride * i, 4) for i in range(lane_words)]
        yield [words[c * width // 32] >> (c * width % 32) & mask for c in range(cols)]


def symbols(payload, head_len, tile_table, tile_cols, table, symbol_bits, rows, cols):
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
                    mine >>= length
                    used += length
                    if symbol is None:
                        symbol = mine & ((1 << symbol_bits) - 1)
                        mine >>= symbol_bits
                        used += symbol_bits
                    out[lane].append(symbol)
                if used != bits[lane]:
                    raise ValueError(f"row {first_row + lane} does not end where it should")
        yield from out


# Element type: bytes, exponent bits, mantissa bits in the upper half. Others are single bytes.
FLOATS = {12: (4, 8, 7), 9: (2, 8, 7), 8: (2, 5, 10), 5: (1, 4, 3), 20: (1, 4, 3), 4: (1, 5, 2), 21: (1, 5, 2)}


def widths(bits):
    """A number of bits as different powers of two, ascending."""
    return [1 << i for i in range(5) if bits >> i & 1]


def raw_widths(sign, exponent, t, middle):
    """The widths of the raw field's planes."""
    if exponent != 8 or not sign:
        return widths(sign + middle)
    ends = [1 + min(kept, t + middle) - t for kept in (3, 5, 7)]
    return [width for above, end in zip([0] + ends, ends) for width in widths(end - above)]


def decode(payload, base=None):
    """A tensor's bytes from its payload, and from its base's if it is a delta."""
    version = number(payload, 4, 2)
    if payload[:4] != b"BTM\0" or version not in (1, 2, 3, 4):
        raise ValueError("not a payload of version 1 to 4")
    kind, length, head_len = payload[7], number(payload, 8, 8), number(payload, 16, 8)
    if length != len(payload):
        raise ValueError("the payload is truncated")
    check("head", without_checksum(payload[:head_len]), number(payload, 24, 8))
    original_len = number(payload, 32, 8)
    if kind == 0:
        return payload[head_len : head_len + original_len]
    if kind == 2 and version >= 2:
        size = number(payload, 40, 2)
        return payload[64 : 64 + size] * (original_len // size)
    if kind == 4 and version >= 4:
        return decode_delta(payload, base, head_len)
    if kind != 1 and not (kind == 3 and version >= 3):
        raise ValueError("unknown kind of payload")
    return decode_tiled(payload, version, length, head_len)


class Numbers:
    """Numbers in pieces of 4 bits."""

    def __init__(self, data, at):
        self.pieces = (piece for byte in data[at:] for piece in (byte & 15, byte >> 4))
        self.read = 0

    def piece(self):
        self.read += 1
        return next(self.pieces)

    def number(self):
        first = self.piece()
        if first < 12:
            return first
        if first < 15:
            return 12 + 16 * (first - 12) + self.piece()
        return 60 + self.piece() + 16 * self.piece()

    def frequencies(self, symbols):
        """Those of a context's symbols; the escape's is the last."""
        escape, count = self.number(), self.number()
        listed = [self.number() for _ in range(count)]
        if count and not escape and not any(listed):
            listed[-1] = 256
        return listed + [0] * (symbols - count) + [escape]


def state_table(frequencies):
    """For every state its symbol, its number of bits, and the state behind it without them."""
    if not any(frequencies):
        return None
    if sum(frequencies) != 256:
        raise ValueError("the frequencies are not those of all states")
    states, at = [None] * 256, 0
    for symbol, frequency in enumerate(frequencies):
        for _ in range(frequency):
            states[at], at = symbol, (at + 163) % 256
    numbers, table = list(frequencies), []
    for symbol in states:
        bits = 9 - numbers[symbol].bit_length()
        table.append((symbol, bits, (numbers[symbol] << bits) - 256))
        numbers[symbol] += 1
    return table


def difference(symbol, take):
    """The difference that a symbol stands for; `take` returns the bits behind it."""
    if symbol < 15:
        magnitude = (symbol + 1) // 2
        return -magnitude if symbol % 2 == 0 else magnitude
    octave, rest = 3 + (symbol - 15) // 4, (symbol - 15) % 4
    more = take(octave - 1)
    if rest % 2:
        more ^= (1 << (octave - 1)) - 1
    magnitude = (2 + rest // 2 << (octave - 1)) + more
    return -magnitude if rest % 2 else magnitude


def decode_delta(payload, base, head_len):
    """The bytes of a tensor that is stored as the difference to `base`."""
    if base is None:
        raise ValueError("this is the difference to another file, which was not given")
    if blake3 is not None and blake3(base).digest() != payload[64:96]:
        raise ValueError("the base is another one")
    rows, cols, tile_cols, top = struct.unpack_from("<IIHB", payload, 40)
    size, exponent, _ = FLOATS[payload[6]]
    width, sign = 8 * size, 1 << (8 * size - 1)
    symbols = 15 + 4 * (width - 3)
    if len(base) != number(payload, 96, 8):
        raise ValueError("the base has another length")
    numbers, tables = Numbers(payload, 104), []
    for _ in range(8):
        tables.append(tables[-1] if numbers.number() else state_table(numbers.frequencies(symbols)))
    at = 104 + -(-((numbers.read + 1) // 2) // 8) * 8
    row_blocks, col_tiles = -(-rows // 64), -(-cols // tile_cols)
    masks = [struct.unpack_from("<Q", payload, at + 16 * block)[0] for block in range(row_blocks)]
    at += 16 * row_blocks
    length = number(payload, 32, 8)
    out = bytearray((base * -(-length // len(base)))[:length])
    for tile in range(row_blocks * col_tiles):
        start, shape = struct.unpack_from("<II", payload, at + 8 * tile)
        shortest, wide = shape & 0xFFFF, 2 if shape >> 16 & 1 else 1
        block, col_tile = divmod(tile, col_tiles)
        lanes = [lane for lane in range(64) if masks[block] >> lane & 1]
        index = head_len + 4 * start
        states = payload[index : index + len(lanes)]
        lengths = [shortest + number(payload, index + len(lanes) + wide * i, wide) for i in range(len(lanes))]
        stream = index + -(-len(lanes) * (1 + wide) // 4) * 4
        window = number(payload, stream, (sum(lengths) + 7) // 8)
        for lane, state, bits_of_lane in zip(lanes, states, lengths):
            used = 0

            def take(bits):
                nonlocal window, used
                taken = window & ((1 << bits) - 1)
                window >>= bits
                used += bits
                return taken

            first = (64 * block + lane) * cols + col_tile * tile_cols
            for place in range(first, first + min(tile_cols, cols - col_tile * tile_cols)):
                old = number(out, size * place, size)
                context = min(max(top + 1 - (old >> (width - 1 - exponent) & ((1 << exponent) - 1)), 0), 7)
                symbol, bits, behind = tables[context][state]
                state = behind + take(bits)
                if symbol == symbols:
                    symbol = take(8)
                ordered = old ^ (sign - 1) if old & sign else old
                ordered = (ordered + difference(symbol, take)) & (2 * sign - 1)
                new = ordered ^ (sign - 1) if ordered & sign else ordered
                out[size * place : size * (place + 1)] = new.to_bytes(size, "little")
            if used != bits_of_lane or state:
                raise ValueError(f"row {64 * block + lane} does not end where it should")
    return bytes(out)


def element_of(element_type, quotient, scale):
    """The bytes of an element from the bits of its quotient and its scale, both BF16."""
    quotient, scale = (struct.unpack("<f", struct.pack("<I", bits << 16))[0] for bits in (quotient, scale))
    product = quotient * scale
    if element_type == 8:
        return struct.pack("<e", product)
    exact = struct.pack("<f", product)
    if element_type == 12:
        return exact
    bits = number(exact, 0, 4)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 & 0xFFFF).to_bytes(2, "little")


def decode_tiled(payload, version, length, head_len):
    rows, cols, tile_cols, t, b, first, count = struct.unpack_from("<IIHBBHH", payload, 40)
    clean, escape, shifted, shift_unit = payload[60:64]
    if version == 1:
        b = clean = escape = shifted = 0
    # The units of scaled tiles are quotients, which are BF16.
    scaled = payload[7] == 3
    unit = 9 if scaled else payload[6]
    size, exponent, mantissa = FLOATS.get(unit, (1, 8, 0))
    sign = 1 if unit in FLOATS else 0
    row_blocks = -(-rows // 64)

    at = 64
    packed = payload[at : at + (count + 1) // 2]
    lengths = [n for byte in packed for n in (byte & 15, byte >> 4)][:count]
    at += -(-((count + 1) // 2) // 8) * 8
    shifts = [0] * rows
    if shifted:
        packed = payload[at : at + 32 * row_blocks]
        shifts = [n << shift_unit for byte in packed for n in (byte & 15, byte >> 4)]
        at += 32 * row_blocks
    masks = []
    if clean:
        masks = [struct.unpack_from("<QQ", payload, at + 16 * block) for block in range(row_blocks)]
        at += 16 * row_blocks
    col_tiles = -(-cols // tile_cols)
    scales = []
    if scaled:
        scales = struct.unpack_from(f"<{64 * row_blocks * col_tiles}H", payload, at)
        at += 128 * row_blocks * col_tiles
    tile_table = at

    clean_in_upper = clean if size == 2 else 0
    middle = mantissa - t - b - clean_in_upper
    upper = raw_widths(sign, exponent, t, middle)
    lower = widths(16 - clean) if size == 4 else []
    kinds = [("raw", w) for w in upper] + [("lower", w) for w in lower] + [("clean", w) for w in widths(clean)]
    sparse_lanes = sum(bin(lanes).count("1") for lanes, _ in masks)
    end, planes = length, []
    for source, width in reversed(kinds):
        lane_words = (-(-cols // 16) * 16 * width + 31) // 32
        lanes = sparse_lanes if source == "clean" else 64 * row_blocks
        end -= -(-4 * lanes * lane_words // 256) * 256
        planes.insert(0, plane_rows(payload, end, width, rows, cols, masks if source == "clean" else None))

    symbol_bits = exponent + t + b
    table = decode_table(first, lengths, escape)
    coded = symbols(payload, head_len, tile_table, tile_cols, table, symbol_bits, rows, cols)
    out = bytearray()
    for row, row_symbols in enumerate(coded):
        parts = {"raw": [0] * cols, "lower": [0] * cols, "clean": [0] * cols}
        for (source, width), plane in zip(kinds, planes):
            parts[source] = [part << width | field for part, field in zip(parts[source], next(plane))]
        units = zip(row_symbols, parts["raw"], parts["lower"], parts["clean"])
        for col, (symbol, raw, low, rest) in enumerate(units):
            symbol = (symbol + shifts[row]) & ((1 << symbol_bits) - 1)
            element = symbol >> b << (mantissa - t)
            element |= (symbol & ((1 << b) - 1)) << clean_in_upper
            element |= (raw & ((1 << middle) - 1)) << (b + clean_in_upper)
            element |= raw >> middle << (exponent + mantissa)
            if size == 4:
                element = element << 16 | low << clean | rest
            elif size == 2:
                element |= rest
            if scaled:
                tile = row // 64 * col_tiles + col // tile_cols
                out += element_of(payload[6], element, scales[64 * tile + row % 64])
            else:
                out += element.to_bytes(size, "little")
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
            raise ValueError("the original header is truncated")
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


def plain_tensors(file):
    """The tensors of a plain safetensors file, by name."""
    header_len = 8 + number(file, 0, 8)
    header = json.loads(file[8:header_len])
    header.pop("__metadata__", None)
    places = {name: info["data_offsets"] for name, info in header.items()}
    return {name: file[header_len + start : header_len + end] for name, (start, end) in places.items()}


def read(file, base=None):
    """The original file's bytes. Differences are to the tensors of `base`, the bytes of a plain safetensors file."""
    header_len = 8 + number(file, 0, 8)
    header = json.loads(file[8:header_len])
    metadata = header.pop("__metadata__")
    form = metadata.get("bantam.original_form")
    forms = {"1": "safetensors", "2": form, "3": form or "safetensors"}
    form = forms.get(metadata["bantam.format"])
    if form not in ("safetensors", "gguf"):
        raise ValueError("not a bantam file of version 1 to 3, or made from an unknown kind of file")
    index = json.loads(metadata["bantam.index"])
    data = {
        name: file[header_len + info["data_offsets"][0] : header_len + info["data_offsets"][1]]
        for name, info in header.items()
    }
    kept = data.pop(metadata["bantam.original_header"])
    check("the kept header", without_checksum(kept), number(kept, 24, 8))
    check("the container's header", file[:header_len], number(kept, 16, 8))
    outside = kept[64 : 64 + number(kept, 8, 8)]
    if number(kept, 4, 2) == 2:
        outside = zlib.decompress(outside)
    used, tensors = original_layout(form, outside, {name: entry["bytes"] for name, entry in index.items()})

    bases = plain_tensors(base) if base is not None else {}
    out = bytearray(outside[:used])
    for name, start in tensors:
        gap = start - len(out)
        if gap < 0 or used + gap > len(outside):
            raise ValueError(f"{name} is not where the original header says")
        out += outside[used : used + gap]
        used += gap
        of = index[name].get("base")
        tensor = decode(data[name], None if of is None or base is None else bases[of])
        if len(tensor) != index[name]["bytes"]:
            raise ValueError(f"{name} has another length than the index says")
        if blake3 is not None and blake3(tensor).hexdigest() != index[name]["blake3"]:
            raise ValueError(f"{name} is not what was compressed")
        out += tensor
    return bytes(out + outside[used:])


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    base = None
    if len(sys.argv) == 4:
        with open(sys.argv[3], "rb") as src:
            base = src.read()
        if b'"bantam.format"' in base[: 8 + number(base, 0, 8)]:
            base = read(base)
    with open(sys.argv[1], "rb") as src:
        restored = read(src.read(), base)
    # Under its own name only when it is whole.
    partial = sys.argv[2] + ".partial"
    with open(partial, "xb") as dst:
        dst.write(restored)
    os.replace(partial, sys.argv[2])
