// BF16 in dense tiles, or uncompressed (WIDE), to the fast layout (shared/fast.wgsl), integers only. The exceptions are
// found row by row, and are not yet in order.
//
// One workgroup transcodes a row block. One invocation transcodes one row.
//
// Bindings:
//   1  matrix      the shape of the weights (shared/matrix.wgsl)
//   2  payload     the tiles (shared/payload.wgsl)
//   3  codes       the table of windows (shared/stream.wgsl)
//   4  exceptions  the table of shared/fast.wgsl, of which the lowest exponents are read, a byte a row
//   5  transcoded  [row blocks, chunks, 3, 64 lanes] vectors of four words, in a buffer or in a texture
//   6  found       [rows + 1] where each row's exceptions begin among the part's, and their end; behind that, room for
//                  as many, as shared/fast.wgsl lists them
//
// Workgroups: (row blocks, 1).

// Invocations of a workgroup.
const INVOCATIONS: u32 = 64u;

#import matrix
#import transcoded

@group(0) @binding(4) var<storage, read> exceptions: array<u32>;

@group(0) @binding(6) var<storage, read_write> found: array<u32>;

// The lane's row is one of the matrix's.
var<private> live: bool;
var<private> this_lane: u32;
// The lowest exponent, where two weights side by side have theirs.
var<private> lowest: u32;
// Sixteen words of two weights: the chunk's 32 columns.
#unroll v 4
var<private> pairs$v: vec4<u32>;
#end
// Where the lane's next exception belongs, and where those of the next row do.
var<private> next_found: u32;
var<private> end_found: u32;

// Of two weights side by side: the signs, the exponents, the codes, and the bits that are too large for a code.
const SIGNS: vec2<u32> = vec2<u32>(0x80008000u);
const EXPONENTS: vec2<u32> = vec2<u32>(0x7f807f80u);
const CODES: vec2<u32> = vec2<u32>(0x07800780u);
const TOO_LARGE: vec2<u32> = vec2<u32>(0xf800f800u);

// Takes columns 4 i .. 4 i + 3 of sixteen, from column `col` of the row on. Gives their words.
fn take_four(i: u32, col: u32) -> vec2<u32> {
    let halves = valid_halves(0u, i);
#ifdef ZEROS
    // Nothing is carried or borrowed from one weight by the other, here and below: bit 15 is set first, or unset.
    let has_exponent = ((halves & EXPONENTS) + EXPONENTS) & SIGNS;
    let less = vec2<u32>(lowest) & (has_exponent - (has_exponent >> vec2<u32>(15u)));
#else
    let less = vec2<u32>(lowest);
#endif
    // Without signs, but for exponents that are below the lowest.
    let codes = ((halves | SIGNS) - less) ^ SIGNS;
    var wrong = codes & TOO_LARGE;
#ifdef ZEROS
    // Code 0 is not for the lowest exponent.
    let has_code = ((codes & CODES) + CODES) & vec2<u32>(0x08000800u);
    wrong |= (has_exponent >> vec2<u32>(4u)) & ~has_code;
#endif
    let words = codes | (halves & SIGNS);
    if (wrong.x | wrong.y) != 0u {
        return without_codes(Four(halves, wrong, words), i, col);
    }
    return words;
}

struct Four {
    halves: vec2<u32>,
    // Not zero in the halves of exceptions, and perhaps of columns that the matrix does not have.
    wrong: vec2<u32>,
    words: vec2<u32>,
}

// Four weights' words with code 0 where they are exceptions, which are noted.
fn without_codes(taken: Four, i: u32, col: u32) -> vec2<u32> {
    var words = taken.words;
    var wrong = taken.wrong;
    // One less each time.
    while (wrong.x | wrong.y) != 0u {
        let is_second = wrong.x == 0u;
        let first_left = select(wrong.x, wrong.y, is_second);
        let at = countTrailingZeros(first_left) & 16u;
        let half = select(taken.halves.x, taken.halves.y, is_second) >> at;
        let is_word = vec2<bool>(!is_second, is_second);
        wrong = select(wrong, vec2<u32>(first_left & ~(0xffffu << at)), is_word);
        // Its sign, which the difference took, and its mantissa.
        let changed = (words & vec2<u32>(~(0xff80u << at))) | vec2<u32>((half & 0x8000u) << at);
        words = select(words, changed, is_word);
        let c = select(0u, 2u, is_second) + (at >> 4u);
        if 4u * i + c < chunk_valid {
            note_exception(col + 4u * i + c, (half >> 7u) & 255u);
        }
    }
    return words;
}

fn note_exception(col: u32, exponent: u32) {
    if next_found < end_found {
        found[next_found] = ((col >> 3u) << 17u) | (this_lane << 11u) | ((col & 7u) << 8u) | exponent;
        next_found += 1u;
    }
}

// Moves the chunk's second half to its first.
fn move_half() {
    pairs0 = pairs2;
    pairs1 = pairs3;
}

// Takes sixteen columns, from column `col` of the row on.
fn take_half(col: u32) {
    next_chunk();
    move_half();
    let first_four = take_four(0u, col);
    pairs2 = vec4<u32>(first_four, take_four(1u, col));
    let third_four = take_four(2u, col);
    pairs3 = vec4<u32>(third_four, take_four(3u, col));
}

fn put_chunk(lane: u32, row_block: u32, chunk: u32) {
    if !live {
        return;
    }
    let chunks = (matrix.cols + 31u) >> 5u;
    let at = matrix.words_at + (row_block * chunks + chunk) * 192u + lane;
    put_vector(at, pairs0 | ((pairs3 & vec4<u32>(0x000f000fu)) << vec4<u32>(11u)));
    put_vector(at + 64u, pairs1 | ((pairs3 & vec4<u32>(0x00f000f0u)) << vec4<u32>(7u)));
    let others = ((pairs3 & vec4<u32>(0x07000700u)) << vec4<u32>(3u)) | ((pairs3 & vec4<u32>(0x80008000u)) >> vec4<u32>(1u));
    put_vector(at + 128u, pairs2 | others);
}

fn put_row(lane: u32, row_block: u32) {
    // Half chunks gone through.
    var half_chunks = 0u;
    for (var col_tile = 0u; col_tile < matrix.col_tiles; col_tile++) {
        open_tile(0u, lane, row_block, col_tile);
        let cols = cols_in(col_tile);
        for (var col = 0u; col < cols; col += COLS) {
            begin_chunk(cols - col);
            take_half(16u * half_chunks);
            half_chunks += 1u;
            if (half_chunks & 1u) == 0u {
                put_chunk(lane, row_block, (half_chunks >> 1u) - 1u);
            }
        }
    }
    if (half_chunks & 1u) == 1u {
        move_half();
        pairs2 = vec4<u32>(0u);
        pairs3 = vec4<u32>(0u);
        put_chunk(lane, row_block, half_chunks >> 1u);
    }
}

// The end of the exceptions where there is no room for them.
const NO_ROOM: u32 = 0xffffffffu;

// Where the first exception of a row of the part is kept when it is found.
fn first_found(row: u32) -> u32 {
    return matrix.rows + 1u + found[min(row, matrix.rows)];
}

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    open_matrix(lane);
    let row_block = group.x;
    let row = row_block * 64u + lane;
    if found[matrix.rows] == NO_ROOM {
        return;
    }
    live = row < matrix.rows;
    this_lane = lane;
    lowest = ((exceptions[16u * row_block + (lane >> 2u)] >> (8u * (lane & 3u))) & 255u) * 0x00800080u;
    next_found = first_found(row);
    end_found = first_found(row + 1u);
    put_row(lane, row_block);
}
