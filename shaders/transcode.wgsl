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

#import matrix
#import transcoded

@group(0) @binding(4) var<storage, read> exceptions: array<u32>;

@group(0) @binding(6) var<storage, read_write> found: array<u32>;

// The lane's row is one of the matrix's.
var<private> live: bool;
var<private> lowest: u32;
// Sixteen words of two weights: the chunk's 32 columns.
#unroll v 4
var<private> pairs$v: vec4<u32>;
#end
// Which of its columns are exceptions, and all exponents, four a word.
var<private> exceptional: u32;
var<private> exponents: array<u32, 8>;
// Where the lane's next exception belongs, and where those of the next row do.
var<private> next_found: u32;
var<private> end_found: u32;

// Takes columns 4 i .. 4 i + 3 of sixteen, which are the second half of the chunk. Gives their words.
fn take_four(i: u32) -> vec2<u32> {
    let units = valid_units(0u, i);
    let is_col = vec4<u32>(0u, 1u, 2u, 3u) + vec4<u32>(4u * i) < vec4<u32>(chunk_valid);
    let all = (units >> vec4<u32>(23u)) & vec4<u32>(255u);
#ifdef ZEROS
    let has_none = is_col & (all != vec4<u32>(0u)) & (all - vec4<u32>(lowest + 1u) > vec4<u32>(14u));
    let has_zero = has_none | (all == vec4<u32>(0u));
#else
    let has_none = is_col & (all - vec4<u32>(lowest) > vec4<u32>(15u));
    let has_zero = has_none | !is_col;
#endif
    let code = select(all - vec4<u32>(lowest), vec4<u32>(0u), has_zero);
    let rest = (units >> vec4<u32>(16u)) & vec4<u32>(0x807fu);
    let halves = rest | (code << vec4<u32>(7u));
    let mask = select(vec4<u32>(0u), vec4<u32>(1u, 2u, 4u, 8u), has_none);
    exceptional |= (mask.x | mask.y | mask.z | mask.w) << (16u + 4u * i);
    exponents[4u + i] = all.x | (all.y << 8u) | (all.z << 16u) | (all.w << 24u);
    return vec2<u32>(halves.x | (halves.y << 16u), halves.z | (halves.w << 16u));
}

// Moves the chunk's second half to its first.
fn move_half() {
    pairs0 = pairs2;
    pairs1 = pairs3;
#unroll i 4
    exponents[$i] = exponents[4 + $i];
#end
    exceptional >>= 16u;
}

// Takes sixteen columns.
fn take_half() {
    next_chunk();
    move_half();
    let first_four = take_four(0u);
    pairs2 = vec4<u32>(first_four, take_four(1u));
    let third_four = take_four(2u);
    pairs3 = vec4<u32>(third_four, take_four(3u));
}

// Notes the lane's exceptions of the chunk.
fn note_exceptions(lane: u32, chunk: u32) {
    var mine = exceptional;
    // A bit less each time: 32 at the most.
    while mine != 0u && next_found < end_found {
        let col = countTrailingZeros(mine);
        mine &= mine - 1u;
        let exponent = (exponents[col >> 2u] >> (8u * (col & 3u))) & 255u;
        let eight = 4u * chunk + (col >> 3u);
        found[next_found] = (eight << 17u) | (lane << 11u) | ((col & 7u) << 8u) | exponent;
        next_found += 1u;
    }
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
    note_exceptions(lane, chunk);
}

fn put_row(lane: u32, row_block: u32) {
    // Half chunks gone through.
    var half_chunks = 0u;
    for (var col_tile = 0u; col_tile < matrix.col_tiles; col_tile++) {
        open_tile(0u, lane, row_block, col_tile);
        let cols = cols_in(col_tile);
        for (var col = 0u; col < cols; col += COLS) {
            begin_chunk(cols - col);
            take_half();
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

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row_block = group.x;
    let row = row_block * 64u + lane;
    if found[matrix.rows] == NO_ROOM {
        return;
    }
    live = row < matrix.rows;
    lowest = (exceptions[16u * row_block + (lane >> 2u)] >> (8u * (lane & 3u))) & 255u;
    next_found = first_found(row);
    end_found = first_found(row + 1u);
    put_row(lane, row_block);
}
