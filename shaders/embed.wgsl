// The embedding row of each token, looked up in the stored weights.
//
// One workgroup looks up one token's row. Invocation i reads every 64th tile of it, from tile i on.
//
// Bindings:
//   0  step       (shared/step.wgsl)
//   1  matrix     the shape of the weights (shared/matrix.wgsl), or of one part of them
//   2  payload    the weights as stored (shared/payload.wgsl)
//   3             the layout's table: `codes` (shared/stream.wgsl), `exceptions` (shared/fast.wgsl) or `tiers`
//              (shared/tiered.wgsl)
//   4  token_ids  [tokens], rows of the whole matrix
//   5  y          [tokens, y_stride / 4] vectors of four f32
//
// Workgroups: (tokens, 1).

#import step
#import matrix

@group(0) @binding(4) var<storage, read> token_ids: array<u32>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

// Writes a chunk's columns 8 i .. 8 i + 7, of which `valid` are the tile's.
fn store_eight(i: u32, at: u32, valid: u32) {
    load_eight(i);
    if valid > 0u {
        y[at] = first[0];
    }
    if valid > 4u {
        y[at + 1u] = second[0];
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let token = group.x;
    let id = token_ids[token];
    // The matrix may be one part of several: the others look up the rest.
    if id < matrix.first_row || id - matrix.first_row >= matrix.rows {
        return;
    }
    let row = id - matrix.first_row;
    for (var col_tile = invocation; col_tile < matrix.col_tiles; col_tile += 64u) {
        open_columns(row >> 6u, col_tile);
        open_tile(0u, row & 63u, row >> 6u, col_tile);
        let cols = cols_in(col_tile);
        var at = (token * matrix.y_stride + col_tile * matrix.tile_cols) >> 2u;
        for (var col = 0u; col < cols; col += COLS) {
            begin_chunk(cols - col);
            next_chunk();
#unroll i EIGHTS
            store_eight($iu, at + 2u * $iu, max(cols - col, 8u * $iu) - 8u * $iu);
#end
            at += COLS / 4u;
        }
    }
}
