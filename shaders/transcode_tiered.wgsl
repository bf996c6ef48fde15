// BF16 in dense tiles, or uncompressed (WIDE), to the tiered layout (shared/tiered.wgsl), integers only.
//
// One workgroup transcodes a row block. One invocation transcodes one row.
//
// Bindings:
//   1  matrix      the shape of the weights (shared/matrix.wgsl)
//   2  payload     the tiles (shared/payload.wgsl)
//   3  codes       the table of windows (shared/stream.wgsl)
//   4  tiers       the table of shared/tiered.wgsl, of which bases, where streams begin, and row blocks' first exceptions
//                  are there; in a buffer or in a texture, as the vectors are
//   5  transcoded  [row blocks, lane vectors, 64 lanes] vectors of four words, in a buffer or in a texture
//   6  row_places  the words of `tiers` that the table, the exceptions and the streams begin with; and for each row its
//                  base with where its stream begins, as the table has them, and its first exception of the part's
//
// Workgroups: (row blocks, 1).

// Invocations of a workgroup.
const INVOCATIONS: u32 = 64u;

#import matrix
#import transcoded

#ifdef TO_TEXTURE
// In rows of four times as many texels as the vectors have.
@group(0) @binding(4) var tiers: texture_storage_2d<r32uint, write>;

fn put_tiers(i: u32, word: u32) {
    textureStore(tiers, vec2<u32>(i & ((4u << TO_ROW_BITS) - 1u), i >> (TO_ROW_BITS + 2u)), vec4<u32>(word));
}
#else
@group(0) @binding(4) var<storage, read_write> tiers: array<u32>;

fn put_tiers(i: u32, word: u32) {
    tiers[i] = word;
}
#endif

struct RowPlaces {
    table: u32,
    exceptions: u32,
    streams: u32,
    // 1 where there is no room for the rows; 0 otherwise.
    is_too_large: u32,
    rows: array<vec2<u32>>,
}

@group(0) @binding(6) var<storage, read> row_places: RowPlaces;

// Tags of sixteen columns that the matrix does not have.
const NO_TAGS: u32 = 0x55555555u;

// Where the next exception goes, and the first bits of their numbers.
var<private> exception_at: u32;
var<private> lane_key: u32;
var<private> base: u32;
// Where the next word of the stream goes, the bits that are not yet there, and how many those are; all bits of the
// stream so far, and of the window.
var<private> stream_at: u32;
var<private> pending: u32;
var<private> pending_bits: u32;
var<private> row_bits: u32;
var<private> window_bits: u32;
// Sixteen columns: signs and mantissas, and tags.
var<private> signs: vec4<u32>;
var<private> tags: u32;
// Tags of two chunks.
var<private> four_tags: vec4<u32> = vec4<u32>(NO_TAGS);

// Puts three bits into the stream.
fn put_field(field: u32) {
    pending |= field << pending_bits;
    pending_bits += 3u;
    if pending_bits >= 32u {
        put_tiers(stream_at, pending);
        stream_at += 1u;
        pending_bits -= 32u;
        // As many bits of the field are left.
        pending = field >> (3u - pending_bits);
    }
    row_bits += 3u;
    window_bits += 3u;
}

// Puts a weight's exponent: column `col` of the row, of those that the window has the one at `i`.
fn put_exponent(i: u32, col: u32, exponent: u32) {
    var code = base + 2u - exponent;
#ifdef ZEROS
    let has_code = (exponent == 0u) | (code <= 9u);
    code = select(code, 10u, exponent == 0u);
#else
    let has_code = code <= 10u;
#endif
    let is_fixed = code - 2u < 3u;
    if has_code && (is_fixed || window_bits + 3u <= 31u) {
        // Tag 1 is there.
        tags ^= (1u ^ select(0u, code - 1u, is_fixed)) << (4u * (i & 7u) + 2u * (i >> 3u));
        if !is_fixed {
            put_field(select(code - 3u, code, code < 2u));
        }
    } else {
        put_tiers(exception_at, lane_key | (col << 8u) | exponent);
        exception_at += 1u;
    }
}

// Takes columns 4 i .. 4 i + 3 of sixteen, from column `col` of the row on.
fn take_four(i: u32, col: u32) -> vec4<u32> {
    let units = valid_units(0u, i);
    let exponents = (units >> vec4<u32>(23u)) & vec4<u32>(255u);
#unroll c 4
    if 4u * i + $cu < chunk_valid {
        put_exponent(4u * i + $cu, col + 4u * i + $cu, exponents[$c]);
    }
#end
    return units;
}

// Signs and mantissas of four weights, a word each, mantissas from bit 0 on.
fn lower_signs(units: vec4<u32>) -> vec4<u32> {
    return (units >> vec4<u32>(16u)) & vec4<u32>(0x807fu);
}

// The same, mantissas from bit 8 on.
fn upper_signs(units: vec4<u32>) -> vec4<u32> {
    return ((units >> vec4<u32>(8u)) & vec4<u32>(0x7f00u)) | ((units >> vec4<u32>(31u)) << vec4<u32>(7u));
}

// Takes sixteen columns, from column `col` of the row on.
fn take_half(col: u32) {
    next_chunk();
    tags = NO_TAGS;
    window_bits = 0u;
    let units0 = take_four(0u, col);
    let units1 = take_four(1u, col);
    signs = lower_signs(units0) | (lower_signs(units1) << vec4<u32>(16u));
    let units2 = take_four(2u, col);
    let units3 = take_four(3u, col);
    signs |= upper_signs(units2) | (upper_signs(units3) << vec4<u32>(16u));
}

// Puts the vectors of half chunk `half`, which was taken last. `at` is where the lane's vectors begin.
fn put_half(at: u32, half: u32, is_last: bool) {
    let two_chunks = at + 320u * (half >> 2u);
    let in_two = half & 3u;
    put_vector(two_chunks + 64u * (in_two + (in_two >> 1u)), signs);
    four_tags = select(four_tags, vec4<u32>(tags), vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(in_two));
    if in_two == 3u || is_last {
        put_vector(two_chunks + 128u, four_tags);
        four_tags = vec4<u32>(NO_TAGS);
    }
}

fn put_row(lane: u32, row_block: u32) {
    let chunks = (matrix.cols + 31u) >> 5u;
    let at = matrix.words_at + row_block * (2u * chunks + ((chunks + 1u) >> 1u)) * 64u + lane;
    let starts = row_places.table + row_block * matrix.spans * 64u + lane;
    // Columns gone through, and those with which the next span begins.
    var col = 0u;
    var span = 0u;
    for (var col_tile = 0u; col_tile < matrix.col_tiles; col_tile++) {
        open_tile(0u, lane, row_block, col_tile);
        let end = col + cols_in(col_tile);
        for (; col < end; col += COLS) {
            if col == span * matrix.span_cols {
                if span > 0u {
                    put_tiers(starts + 64u * span, row_bits);
                }
                span += 1u;
            }
            begin_chunk(end - col);
            take_half(col);
            put_half(at, col >> 4u, col + COLS >= matrix.cols);
        }
        col = end;
    }
    if pending_bits > 0u {
        put_tiers(stream_at, pending);
    }
}

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    open_matrix(lane);
    let row_block = group.x;
    let row = row_block * 64u + lane;
    if row >= matrix.rows {
        return;
    }
    if row_places.is_too_large != 0u {
        return;
    }
    let start = row_places.rows[row];
    base = start.x >> 24u;
    stream_at = row_places.streams + (start.x & 0xffffffu);
    exception_at = row_places.exceptions + start.y;
    lane_key = lane << 26u;
    put_row(lane, row_block);
}
