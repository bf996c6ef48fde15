// Reader of uncompressed BF16 as shared/raw.wgsl has them, for kernels that measure and transcode: one row an
// invocation, in units of 32 bits that a weight fills from the top. They begin with vector `wide_at`.

const COLS: u32 = 16u;

// Columns of the chunk that are the tile's, and perhaps more.
var<private> chunk_valid: u32;
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

fn begin_chunk(valid: u32) {
    chunk_valid = valid;
}

fn next_chunk() {
    eight0 = payload_at(cursor);
    eight1 = payload_at(cursor + 64u);
    cursor += 128u;
}

// The units of columns 4 i .. 4 i + 3 of the chunk, with zeros for columns that are not the tile's.
fn valid_units(r: u32, i: u32) -> vec4<u32> {
    let eight = select(eight0, eight1, vec4<bool>(i >= 2u));
    let four = select(eight.xy, eight.zw, vec2<bool>((i & 1u) == 1u));
    let units = vec4<u32>(four.x << 16u, four.x & 0xffff0000u, four.y << 16u, four.y & 0xffff0000u);
    let valid = max(chunk_valid, 4u * i) - 4u * i;
    return select(vec4<u32>(0u), units, vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(valid));
}
