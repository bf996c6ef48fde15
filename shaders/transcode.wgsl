// BF16 in dense tiles to the fast layout (shared/fast.wgsl), integers only. A workgroup transcodes a row
// block.

#import matrix

// The table of shared/fast.wgsl: lowest exponents and first exceptions are there, exceptions are written.
@group(0) @binding(4) var<storage, read_write> exceptions: array<u32>;
#ifdef TO_TEXTURE
// In rows of as many vectors as TO_ROW_BITS bits count.
@group(0) @binding(5) var transcoded: texture_storage_2d<rgba32uint, write>;

fn put_vector(i: u32, vector: vec4<u32>) {
    textureStore(transcoded, vec2<u32>(i & ((1u << TO_ROW_BITS) - 1u), i >> TO_ROW_BITS), vector);
}
#else
@group(0) @binding(5) var<storage, read_write> transcoded: array<vec4<u32>>;

fn put_vector(i: u32, vector: vec4<u32>) {
    transcoded[i] = vector;
}
#endif

// Exceptions of each lane in the chunk.
var<workgroup> counts: array<u32, 64>;

// The lane's row is one of the matrix's.
var<private> live: bool;
var<private> lowest: u32;
// Sixteen words of two weights: the chunk's 32 columns.
var<private> pairs: array<vec4<u32>, 4>;
// Which of its columns are exceptions, and all exponents, four a word.
var<private> exceptional: u32;
var<private> exponents: array<u32, 8>;

// Takes columns 4 i .. 4 i + 3 of sixteen, which are the first or second half of the chunk.
fn take_four(i: u32, second_half: u32) {
    let units = keep(four_units(0u, i), max(chunk_valid, 4u * i) - 4u * i);
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
    let rest = ((units >> vec4<u32>(16u)) & vec4<u32>(0x7fu)) | ((units >> vec4<u32>(31u)) << vec4<u32>(15u));
    let halves = rest | (code << vec4<u32>(7u));
    let quad = 4u * second_half + i;
    let two = vec2<u32>(halves.x | (halves.y << 16u), halves.z | (halves.w << 16u));
    if (i & 1u) == 0u {
        pairs[quad >> 1u] = vec4<u32>(two, 0u, 0u);
    } else {
        pairs[quad >> 1u] |= vec4<u32>(0u, 0u, two);
    }
    let mask = select(vec4<u32>(0u), vec4<u32>(1u, 2u, 4u, 8u), has_none);
    exceptional |= (mask.x | mask.y | mask.z | mask.w) << (4u * quad);
    exponents[quad] = all.x | (all.y << 8u) | (all.z << 16u) | (all.w << 24u);
}

// Writes the exceptions of eight columns from `start` on, in order of rows. Gives where the next belong.
fn put_exceptions(lane: u32, eight: u32, start: u32) -> u32 {
    let first_col = 8u * (eight & 3u);
    var mine = (exceptional >> first_col) & 255u;
    counts[lane] = countOneBits(mine);
    workgroupBarrier();
    var end = start;
    var to = start;
    for (var i = 0u; i < 64u; i++) {
        to += select(0u, counts[i], i < lane);
        end += counts[i];
    }
    workgroupBarrier();
    while mine != 0u {
        let col = countTrailingZeros(mine);
        mine &= mine - 1u;
        let exponent = (exponents[(first_col + col) >> 2u] >> (8u * (col & 3u))) & 255u;
        exceptions[to] = (eight << 17u) | (lane << 11u) | (col << 8u) | exponent;
        to += 1u;
    }
    return end;
}

// Writes the chunk, and its exceptions from `start` on in order of rows. Gives how many there are.
fn put_chunk(lane: u32, row_block: u32, chunk: u32, start: u32) -> u32 {
    let chunks = (matrix.cols + 31u) >> 5u;
    let at = matrix.words_at + (row_block * chunks + chunk) * 192u + lane;
    if live {
        let last = pairs[3];
        put_vector(at, pairs[0] | ((last & vec4<u32>(0x000f000fu)) << vec4<u32>(11u)));
        put_vector(at + 64u, pairs[1] | ((last & vec4<u32>(0x00f000f0u)) << vec4<u32>(7u)));
        let others = ((last & vec4<u32>(0x07000700u)) << vec4<u32>(3u)) | ((last & vec4<u32>(0x80008000u)) >> vec4<u32>(1u));
        put_vector(at + 128u, pairs[2] | others);
    } else {
        exceptional = 0u;
    }
    var to = start;
    for (var i = 0u; i < 4u; i++) {
        to = put_exceptions(lane, 4u * chunk + i, to);
    }
    exceptional = 0u;
    return to - start;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row_block = group.x;
    let row_blocks = (matrix.rows + 63u) >> 6u;
    live = row_block * 64u + lane < matrix.rows;
    lowest = (exceptions[16u * row_block + (lane >> 2u)] >> (8u * (lane & 3u))) & 255u;
    let starts = 16u * row_blocks;
    var to = starts + row_blocks + 1u + exceptions[starts + row_block];
    // Half chunks gone through.
    var half_chunks = 0u;
    for (var col_tile = 0u; col_tile < matrix.col_tiles; col_tile++) {
        open_tile(0u, lane, row_block, col_tile);
        let cols = cols_in(col_tile);
        for (var col = 0u; col < cols; col += COLS) {
            begin_chunk(cols - col);
            next_chunk();
            for (var i = 0u; i < 4u; i++) {
                take_four(i, half_chunks & 1u);
            }
            half_chunks += 1u;
            if (half_chunks & 1u) == 0u {
                to += put_chunk(lane, row_block, (half_chunks >> 1u) - 1u, to);
            }
        }
    }
    if (half_chunks & 1u) == 1u {
        pairs[2] = vec4<u32>(0u);
        pairs[3] = vec4<u32>(0u);
        put_chunk(lane, row_block, half_chunks >> 1u, to);
    }
}
