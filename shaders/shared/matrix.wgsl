// A weight matrix (or the part of one that fits a binding) and how to read it.
//
// Lane = row: invocation `lane` of row block `b` owns row 64 b + lane. A reader is opened on one
// lane of one tile and hands out its weights sixteen columns (a chunk) at a time, in column order.
// Every reader gives the same weights in the same order, so that a kernel written against this
// interface computes the same bits from raw and from compressed weights.
//
//   open_tile(lane, row_block, col_tile)    go to the start of a tile
//   next_chunk()                            go to the next sixteen columns
//   four_bits(i)                            columns 4 i .. 4 i + 3 of the chunk, as bits of an f32

struct Matrix {
    // Rows of this part, and columns.
    rows: u32,
    cols: u32,
    // Columns of a tile, and tiles side by side.
    tile_cols: u32,
    col_tiles: u32,
    // Row of the whole matrix that this part begins with.
    first_row: u32,
    // Elements from one row of the activations to the next.
    x_stride: u32,
    y_stride: u32,
    // Word offsets in the payload of the tile table, of what tile offsets count from, of the raw
    // planes, and of the tables of row shifts and of row masks.
    tiles_at: u32,
    coded_at: u32,
#unroll p 9
    plane$p_at: u32,
#end
    shifts_at: u32,
    masks_at: u32,
    // How far row shifts are moved up.
    shift_unit: u32,
    // Bits of a window that are looked up.
    window_mask: u32,
    unused0: u32,
    unused1: u32,
}

@group(0) @binding(1) var<uniform> matrix: Matrix;
@group(0) @binding(2) var<storage, read> payload: array<u32>;

// Columns of tile `col_tile`.
fn cols_in(col_tile: u32) -> u32 {
    return min(matrix.tile_cols, matrix.cols - col_tile * matrix.tile_cols);
}

// Words that a lane has in one row block of a plane of `width` bits.
fn lane_words(width: u32) -> u32 {
    return (((matrix.cols + 15u) & ~15u) * width + 31u) >> 5u;
}

#ifdef DENSE
#import dense
#else
#import raw
#endif

// `bits`, with zero for all but the first `valid` columns. What a lane reads past its last column is
// some other lane's.
fn keep(bits: vec4<u32>, valid: u32) -> vec4<u32> {
    return select(vec4<u32>(0u), bits, vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(valid));
}
