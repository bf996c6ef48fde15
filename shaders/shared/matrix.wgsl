// A weight matrix (or the part of one that fits a binding) and how to read it.
//
// Lane = row: row block `b` has rows 64 b to 64 b + 63. An invocation reads ROWS of them side by side, a
// chunk of COLS columns at a time, in column order. Every reader gives the same weights in the same
// order, so that a kernel written against this interface computes the same bits from raw and from
// compressed weights.
//
//   open_matrix(invocation)                   what the workgroup reads the matrix with is made ready; all
//                                             its INVOCATIONS call it, before any of them reads
//   open_columns(row_block, col_tile)         the columns of a tile come next
//   open_tile(r, lane, row_block, col_tile)   row r goes to the start of the tile
//   begin_chunk(valid)                        the next chunk has so many columns, or more
//   next_chunk()                              all rows go to the next chunk
//   load_eight(i)                             columns 8 i .. 8 i + 7 of the chunk, for all rows, to
//                                             `first` and `second`; to be called for all i in order
//
// Tiles of a row block are read from any on, in ascending order or not. A layout without tiles has spans for them; SEEK:
// it has fewer columns.
// JOINED: there are MEMBERS matrices in the same buffers, with as many columns each, and `matrix` is set to
// one of them before it is read.
//
// A chunk has EIGHTS times eight columns. Columns that the matrix does not have are zeros.

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
    // Columns that are summed as one span, a multiple of 32, and spans side by side. They are the same
    // columns however the weights are stored.
    span_cols: u32,
    spans: u32,
    // The token of a batch that its first one is, where not all of them are multiplied at once.
    first_token: u32,
    // Word offset of the table of scales.
    scales_at: u32,
    // Where matrices are joined: the vector of the payload that this one begins with, where the layout has
    // vectors; the word of the table beside the payload; the row blocks of those before.
    words_at: u32,
    table_at: u32,
    first_block: u32,
    // The vector that uncompressed weights made of it begin with.
    wide_at: u32,
    // As in shared/opaque.wgsl.
    zero: u32,
    unused0: u32,
}

#ifdef JOINED
@group(0) @binding(1) var<uniform> members: array<Matrix, MEMBERS>;
// The one that is being read.
var<private> matrix: Matrix;
#else
@group(0) @binding(1) var<uniform> matrix: Matrix;
#endif
#import payload

// The weights that were loaded last, by row: four columns each.
var<private> first: array<vec4<f32>, ROWS>;
var<private> second: array<vec4<f32>, ROWS>;

// Spans of a row.
fn row_spans() -> u32 {
#ifdef JOINED
    return members[0].spans;
#else
    return matrix.spans;
#endif
}

#import opaque

// As in shared/opaque.wgsl.
fn zero() -> u32 {
#ifdef JOINED
    return members[0].zero;
#else
    return matrix.zero;
#endif
}

// All rows of `lane` go to the start of a tile.
fn open_rows(lane: u32, row_block: u32, col_tile: u32) {
    open_columns(row_block, col_tile);
#unroll r ROWS
    open_tile($ru, lane + $ru * LANES, row_block, col_tile);
#end
}

// Columns of tile `col_tile`.
fn cols_in(col_tile: u32) -> u32 {
    return min(matrix.tile_cols, matrix.cols - col_tile * matrix.tile_cols);
}

#ifdef WORKGROUP_CODES
#else
fn open_matrix(invocation: u32) {}
#endif

#ifdef DENSE
#import dense
#else
#ifdef FAST
#import fast
#else
#ifdef TIERED
#import tiered
#else
#ifdef WIDE
#import wide
#else
#import raw
#endif
#endif
#endif
#endif
