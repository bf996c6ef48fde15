// Reader of uncompressed BF16 as shared/raw.wgsl has them, for kernels that measure and transcode: one row an
// invocation, as shared/dense.wgsl has them. They begin with vector `wide_at`.

#import halves

const COLS: u32 = 16u;

var<private> cursor: u32;
// Columns 8 h .. 8 h + 7 of the chunk.
#unroll h 2
var<private> eight$h: vec4<u32>;
#end

fn open_columns(row_block: u32, col_tile: u32) {}

fn open_tile(r: u32, lane: u32, row_block: u32, col_tile: u32) {
    let row_vectors = ((matrix.cols + 31u) >> 5u) * 4u;
    cursor = matrix.wide_at + (row_block * row_vectors + ((col_tile * matrix.tile_cols) >> 3u)) * 64u + lane;
}

fn next_chunk() {
    eight0 = payload_at(cursor);
    eight1 = payload_at(cursor + 64u);
    cursor += 128u;
}

// Columns 4 i .. 4 i + 3 of the chunk, two side by side in a word, with zeros for columns that are not the tile's.
fn valid_halves(r: u32, i: u32) -> vec2<u32> {
    let eight = select(eight0, eight1, vec4<bool>(i >= 2u));
    let four = select(eight.xy, eight.zw, vec2<bool>((i & 1u) == 1u));
    return valid_of(four, i);
}

// The same, each in a word from bit 31 down.
fn valid_units(r: u32, i: u32) -> vec4<u32> {
    return units_of(valid_halves(r, i));
}
