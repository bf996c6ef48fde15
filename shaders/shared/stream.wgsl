// A lane's stream of symbols: a canonical Huffman code, in which an escape may stand for a symbol
// that has no code of its own.
//
// A symbol belongs in the upper 16 bits of a unit that fills 32 bits from the top: exponent and top mantissa bits
// from bit SYMBOL_AT up, and below them LOW_BITS low mantissa bits from bit LOW_AT up. SYMBOL has these bits. Symbols of
// two columns are handed out as halves of a word, as shared/planes.wgsl has the other bits.
//
// ESCAPE: the code has an escape. SHIFTS: something is added to the symbols of each row; for that, CARRY is
// set in every symbol, the bits between its two parts.
//
// WORKGROUP_CODES: workgroup memory has the table for windows of CODE_WORDS entries, which are as many bits or more.

// For every window of as many bits as the longest code has: the symbol in its place, ESCAPED (the highest bit
// where that is free) where it is to be read from the stream, and the code's length in the low five bits, which
// is all that a shift looks at.
#ifdef UNIFORM_CODES
#ifdef JOINED
@group(0) @binding(3) var<uniform> codes: array<vec4<u32>, CODE_VECTORS * MEMBERS>;
#else
@group(0) @binding(3) var<uniform> codes: array<vec4<u32>, CODE_VECTORS>;
#endif

fn code_of(bits: u32) -> u32 {
    let i = first_code() + (bits & matrix.window_mask);
    return codes[i >> 2u][i & 3u];
}
#else
@group(0) @binding(3) var<storage, read> codes: array<u32>;

#ifdef WORKGROUP_CODES
var<workgroup> own_codes: array<u32, CODE_WORDS>;

fn open_matrix(invocation: u32) {
    // Until all have read what was there before.
    workgroupBarrier();
    for (var i = invocation; i < CODE_WORDS; i += INVOCATIONS) {
        own_codes[i] = codes[first_code() + (i & matrix.window_mask)];
    }
    workgroupBarrier();
}

fn code_of(bits: u32) -> u32 {
    return own_codes[bits & (CODE_WORDS - 1u)];
}
#else
fn code_of(bits: u32) -> u32 {
    return codes[first_code() + (bits & matrix.window_mask)];
}
#endif
#endif

// Where the matrix's table begins.
fn first_code() -> u32 {
#ifdef JOINED
    return matrix.table_at;
#else
    return 0u;
#endif
}

const LENGTH: u32 = 31u;

// Each row's stream: `here` holds the bits from `bit` on, `ahead` the word after it.
var<private> here: array<u32, ROWS>;
var<private> ahead: array<u32, ROWS>;
var<private> bit: array<u32, ROWS>;
// Word that follows `ahead`.
var<private> word: array<u32, ROWS>;
#ifdef SHIFTS
// What is added to two symbols of this row, in their places.
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
    let shift = placed(((eight >> (4u * (lane & 7u))) & 15u) << matrix.shift_unit);
    row_shift[r] = shift | (shift >> 16u);
#endif
}

// The next 32 bits.
fn window(r: u32) -> u32 {
    return (here[r] >> bit[r]) | ((ahead[r] << 1u) << (31u - bit[r]));
}

// Goes on by as many bits as the lowest six of `bits` say, 31 at the most.
fn advance(r: u32, bits: u32) {
    let sum = bit[r] + bits;
    bit[r] = sum & 31u;
    if (sum & 32u) != 0u {
        here[r] = ahead[r];
        ahead[r] = payload_at(word[r]);
        word[r] += 1u;
    }
}

// A symbol in its place; bits above the symbol's are ignored.
fn placed(symbol: u32) -> u32 {
    let high = (symbol >> LOW_BITS) << SYMBOL_AT;
    let low = (symbol & ((1u << LOW_BITS) - 1u)) << LOW_AT;
    return (high | low) & SYMBOL;
}

// A symbol of which `bits` begin with the window: with something else in the other bits. `used` is as many bits as it has.
fn symbol_of(bits: u32, used: ptr<function, u32>) -> u32 {
    var symbol = code_of(bits);
    *used = symbol & LENGTH;
#ifdef ESCAPE
    // A code is 12 bits at the most, and so is an escape's symbol.
    let escaped = (symbol & ESCAPED) != 0u;
    symbol = select(symbol, placed(bits >> *used) | CARRY, escaped);
    *used += select(0u, SYMBOL_BITS, escaped);
#endif
    return symbol;
}

#ifdef UNIFORM_CODES
// The next symbol, with something else in the other bits. Software drivers run both sides of a branch, lane
// by lane where it loads: here the word ahead is loaded whether it is needed or not.
fn one_symbol(r: u32) -> u32 {
    var used: u32;
    let symbol = symbol_of(window(r), &used);
    let next = payload_at(word[r]);
    let sum = bit[r] + used;
    let over = sum >= 32u;
    here[r] = select(here[r], ahead[r], over);
    ahead[r] = select(ahead[r], next, over);
    word[r] += sum >> 5u;
    bit[r] = sum & 31u;
    return symbol;
}

fn two_symbols(r: u32) -> u32 {
    let a = one_symbol(r);
    return halves_of(a, one_symbol(r));
}

#else
// The next two symbols, with something else in the other bits.
fn two_symbols(r: u32) -> u32 {
    // Two codes are 24 bits at the most.
    let bits = window(r);
    let a = code_of(bits);
    let b = code_of(bits >> (a & LENGTH));
#ifdef ESCAPE
    if ((a | b) & ESCAPED) != 0u {
        return two_of_which_one_escapes(r);
    }
#endif
    // Above the lengths are symbols, of which no bit is among the lowest six.
    advance(r, a + b);
    return halves_of(a, b);
}

#ifdef ESCAPE
// In a loop, and in one that compilers do not unroll, who do not know that it begins with a zero: this is rare, and less
// code compiles sooner.
fn two_of_which_one_escapes(r: u32) -> u32 {
    var two = 0u;
    var i = zero();
    loop {
        var used: u32;
        two = halves_of(two, symbol_of(window(r), &used));
        advance(r, used);
        i += 1u;
        continuing {
            break if i >= 2u;
        }
    }
    return two;
}
#endif
#endif

// Two symbols as halves of a word.
fn halves_of(a: u32, b: u32) -> u32 {
    return (a >> 16u) | (b & 0xffff0000u);
}

// SYMBOL in both halves.
const SYMBOLS: u32 = SYMBOL | (SYMBOL >> 16u);

fn four_symbols(r: u32) -> vec2<u32> {
    let first = two_symbols(r);
    let four = vec2<u32>(first, two_symbols(r));
#ifdef SHIFTS
    // Nothing is carried from one half to the other: bit 15 of a half is the sign's, or its lowest bits are nothing's.
    return (four + vec2<u32>(row_shift[r])) & vec2<u32>(SYMBOLS);
#else
    return four & vec2<u32>(SYMBOLS);
#endif
}
