// Compressed weights to uncompressed ones, as shared/raw.wgsl reads them, integers only.
//
// One workgroup widens a tile of one row block, or where the layout has no tiles, a span. One invocation widens ROWS
// rows of it.
//
// Bindings:
//   1  matrix   the shape of W (shared/matrix.wgsl); of each member where matrices are JOINED
//   2  payload  the weights as stored (shared/payload.wgsl)
//   3           the layout's table: `codes` (shared/stream.wgsl), `exceptions` (shared/fast.wgsl) or `tiers`
//              (shared/tiered.wgsl)
//   4  widened  [row blocks, columns / VECTOR_COLS, 64 lanes] vectors of weights of WIDE_BITS bits, 16 or 32; columns
//               are padded to a multiple of 32, with zeros or, from the tiered layout, with other finite numbers
//
// Workgroups: (tiles or spans side by side, row blocks of all members, gated ones among them).
//
// CARE: chunks with exceptions have code of their own.

// Invocations of a workgroup.
const INVOCATIONS: u32 = LANES;

#import matrix
#import members

@group(0) @binding(4) var<storage, read_write> widened: array<vec4<u32>>;

// Columns of a vector.
const VECTOR_COLS: u32 = 128u / WIDE_BITS;
// Vectors that a lane has of 32 columns.
const WIDE_VECTORS: u32 = 32u / VECTOR_COLS;

#ifdef DENSE
// Columns 4 i .. 4 i + 3 of row `r` of the chunk, in as many words as they take.
#ifdef WIDE_32
fn four(r: u32, i: u32) -> vec4<u32> {
    return valid_units(r, i);
}
#else
fn four(r: u32, i: u32) -> vec2<u32> {
    return valid_halves(r, i);
}
#endif

// Puts columns 8 i .. 8 i + 7 of row `r` of the chunk from vector `at` on.
fn put_eight(r: u32, i: u32, at: u32) {
    let a = four(r, 2u * i);
    let b = four(r, 2u * i + 1u);
#ifdef WIDE_32
    widened[at] = a;
    widened[at + 64u] = b;
#else
    widened[at] = vec4<u32>(a, b);
#endif
}

fn put_chunk(at: u32) {
    next_chunk();
#unroll i 2
#unroll r ROWS
    put_eight($ru, $iu, at + $ru * LANES + $iu * (8u / VECTOR_COLS) * 64u);
#end
#end
}

// What is missing of 32 columns behind the last chunk of a row block, which is zero.
fn put_end(at: u32, col_tile: u32) {
    if col_tile + 1u == matrix.col_tiles && (((matrix.cols + 15u) >> 4u) & 1u) == 1u {
#unroll r ROWS
        widened[at + $ru * LANES] = vec4<u32>(0u);
        widened[at + $ru * LANES + 64u] = vec4<u32>(0u);
#ifdef WIDE_32
        widened[at + $ru * LANES + 128u] = vec4<u32>(0u);
        widened[at + $ru * LANES + 192u] = vec4<u32>(0u);
#endif
#end
    }
}
#else
// Puts the eight columns that were loaded last.
fn put_loaded(at: u32) {
#unroll r ROWS
    widened[at + $ru * LANES] = loaded_pairs($ru);
#end
}

#ifdef CARE
fn put_chunk(at: u32) {
    let is_careful = needs_care();
    next_chunk();
    if is_careful {
#unroll i 4
        load_eight($iu);
        put_loaded(at + $iu * 64u);
#end
    } else {
#unroll i 3
        load_stored_eight_quickly($iu);
        put_loaded(at + $iu * 64u);
#end
        take_last_eight_quickly();
        put_loaded(at + 192u);
    }
}
#else
fn put_chunk(at: u32) {
    next_chunk();
#unroll i 4
    load_eight($iu);
    put_loaded(at + $iu * 64u);
#end
}
#endif

// Chunks have 32 columns.
fn put_end(at: u32, col_tile: u32) {}
#endif

fn widen_tile(lane: u32, row_block: u32, col_tile: u32) {
    open_rows(lane, row_block, col_tile);
    let cols = cols_in(col_tile);
    let of_row_blocks = row_block * ((matrix.cols + 31u) >> 5u) * WIDE_VECTORS;
    var at = matrix.wide_at + (of_row_blocks + col_tile * matrix.tile_cols / VECTOR_COLS) * 64u + lane;
    var col = 0u;
    // Ends at its bottom, as in matvec.
    loop {
        begin_chunk(cols - col);
        put_chunk(at);
        at += COLS / VECTOR_COLS * 64u;
        col += COLS;
        continuing {
            break if col >= cols;
        }
    }
    put_end(at, col_tile);
}

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let row_block = choose_member(group.y);
    open_matrix(invocation);
    widen_tile(invocation, row_block, group.x);
}
