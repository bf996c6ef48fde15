// A lane's stream of symbols: a canonical Huffman code, in which an escape may stand for a symbol
// that has no code of its own.
//
// A symbol is handed out where it belongs in a unit that fills 32 bits from the top: exponent and top
// mantissa bits from bit SYMBOL_AT up, and below them LOW_BITS low mantissa bits from bit LOW_AT up.
//
// ESCAPE: the code has an escape. ESCAPE_LONG: the code before it, it and its symbol may be more than
// 32 bits. SHIFTS: something is added to the symbols of each row; for that,
// CARRY is set in every symbol, the bits between its two parts.

// For every window of as many bits as the longest code has: the symbol in its place, ESCAPED where
// it is to be read from the stream, and the code's length in the low four bits.
#ifdef UNIFORM_CODES
#ifdef JOINED
@group(0) @binding(3) var<uniform> codes: array<vec4<u32>, CODE_VECTORS * MEMBERS>;
#else
@group(0) @binding(3) var<uniform> codes: array<vec4<u32>, CODE_VECTORS>;
#endif

fn code_of(bits: u32) -> u32 {
    let i = window_entry(bits);
    return codes[i >> 2u][i & 3u];
}
#else
@group(0) @binding(3) var<storage, read> codes: array<u32>;

fn code_of(bits: u32) -> u32 {
    return codes[window_entry(bits)];
}
#endif

// Where the table has the window that begins with `bits`.
fn window_entry(bits: u32) -> u32 {
#ifdef JOINED
    return matrix.table_at + (bits & matrix.window_mask);
#else
    return bits & matrix.window_mask;
#endif
}

const LENGTH: u32 = 15u;
const ESCAPED: u32 = 16u;

// Each row's stream: `here` holds the bits from `bit` on, `ahead` the word after it.
var<private> here: array<u32, ROWS>;
var<private> ahead: array<u32, ROWS>;
var<private> bit: array<u32, ROWS>;
// Word that follows `ahead`.
var<private> word: array<u32, ROWS>;
#ifdef SHIFTS
// What is added to this row's symbols, in their place.
var<private> row_shift: array<u32, ROWS>;
#endif

// Bits of the streams before `lane`'s, from the tile's lane index of 8 bits a lane. Not with dot4U8Packed: DXC makes an
// invalid module of what it is translated to (https://github.com/microsoft/DirectXShaderCompiler/issues/7400).
fn narrow_offset(index: u32, base: u32, lane: u32) -> u32 {
    // Of every other byte, in the halves of a word: 32 of them are less than 65 536.
    var sums = 0u;
    var i = 0u;
    loop {
        let counted = clamp(lane, 4u * i, 4u * i + 4u) - 4u * i;
        let mask = select(0xffffffffu, (1u << (8u * (counted & 3u))) - 1u, counted < 4u);
        let four = payload_at(index + i) & mask;
        sums += (four & 0x00ff00ffu) + ((four >> 8u) & 0x00ff00ffu);
        i += 1u;
        continuing {
            break if i >= 16u;
        }
    }
    return lane * base + (sums & 0xffffu) + (sums >> 16u);
}

// The same for an index of 16 bits a lane.
fn wide_offset(index: u32, base: u32, lane: u32) -> u32 {
    var sum = lane * base;
    for (var i = 0u; i < 32u; i++) {
        let pair = payload_at(index + i);
        sum += select(0u, pair & 0xffffu, 2u * i < lane);
        sum += select(0u, pair >> 16u, 2u * i + 1u < lane);
    }
    return sum;
}

fn open_stream(r: u32, lane: u32, row_block: u32, col_tile: u32) {
    let entry = matrix.tiles_at + 2u * (row_block * matrix.col_tiles + col_tile);
    let index = matrix.coded_at + payload_at(entry);
    let shape = payload_at(entry + 1u);
    let base = shape & 0xffffu;
    var start: u32;
    if (shape >> 16u) == 0u {
        start = ((index + 16u) << 5u) + narrow_offset(index, base, lane);
    } else {
        start = ((index + 32u) << 5u) + wide_offset(index, base, lane);
    }
    bit[r] = start & 31u;
    let first_word = start >> 5u;
    here[r] = payload_at(first_word);
    ahead[r] = payload_at(first_word + 1u);
    word[r] = first_word + 2u;
#ifdef SHIFTS
    let eight = payload_at(matrix.shifts_at + 8u * row_block + (lane >> 3u));
    row_shift[r] = placed(((eight >> (4u * (lane & 7u))) & 15u) << matrix.shift_unit);
#endif
}

// The next 32 bits.
fn window(r: u32) -> u32 {
    return (here[r] >> bit[r]) | ((ahead[r] << 1u) << (31u - bit[r]));
}

// Goes on by up to 32 bits.
fn advance(r: u32, bits: u32) {
    bit[r] += bits;
    if bit[r] >= 32u {
        here[r] = ahead[r];
        ahead[r] = payload_at(word[r]);
        word[r] += 1u;
        bit[r] -= 32u;
    }
}

// A symbol in its place; bits above the symbol's are ignored.
fn placed(symbol: u32) -> u32 {
    let high = (symbol >> LOW_BITS) << SYMBOL_AT;
    let low = (symbol & ((1u << LOW_BITS) - 1u)) << LOW_AT;
    return (high | low) & SYMBOL;
}

#ifdef UNIFORM_CODES
// The next symbol, with something else in the other bits. Software drivers run both sides of a branch, lane
// by lane where it loads: here the word ahead is loaded whether it is needed or not.
fn one_symbol(r: u32) -> u32 {
    // A code is 12 bits at the most, and so is an escape's symbol.
    let bits = window(r);
    var symbol = code_of(bits);
    var used = symbol & LENGTH;
#ifdef ESCAPE
    let escaped = (symbol & ESCAPED) != 0u;
    symbol = select(symbol, placed(bits >> used) | CARRY, escaped);
    used += select(0u, SYMBOL_BITS, escaped);
#endif
    let next = payload_at(word[r]);
    let sum = bit[r] + used;
    let over = sum >= 32u;
    here[r] = select(here[r], ahead[r], over);
    ahead[r] = select(ahead[r], next, over);
    word[r] += sum >> 5u;
    bit[r] = sum & 31u;
    return symbol;
}

fn two_symbols(r: u32) -> vec2<u32> {
    let a = one_symbol(r);
    return vec2<u32>(a, one_symbol(r));
}

#else
// The next two symbols, with something else in the other bits.
fn two_symbols(r: u32) -> vec2<u32> {
    // Two codes are 24 bits at the most, and so is an escape with its symbol.
    var bits = window(r);
    var a = code_of(bits);
    var a_len = a & LENGTH;
#ifdef ESCAPE
    if (a & ESCAPED) != 0u {
        a = placed(bits >> a_len) | CARRY;
        advance(r, a_len + SYMBOL_BITS);
        bits = window(r);
        a_len = 0u;
    }
#endif
    var b = code_of(bits >> a_len);
    var used = a_len + (b & LENGTH);
#ifdef ESCAPE
    if (b & ESCAPED) != 0u {
#ifdef ESCAPE_LONG
        advance(r, used);
        bits = window(r);
        used = 0u;
#endif
        b = placed(bits >> used) | CARRY;
        used += SYMBOL_BITS;
    }
#endif
    advance(r, used);
    return vec2<u32>(a, b);
}
#endif

fn four_symbols(r: u32) -> vec4<u32> {
    let first = two_symbols(r);
    let four = vec4<u32>(first, two_symbols(r));
#ifdef SHIFTS
    return (four + vec4<u32>(row_shift[r])) & vec4<u32>(SYMBOL);
#else
    return four & vec4<u32>(SYMBOL);
#endif
}
