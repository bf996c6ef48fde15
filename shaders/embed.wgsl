// Looks up the embedding row of each token, straight from the stored weights. A workgroup fetches
// one token's row: invocation i decodes every 64th tile of it, starting with tile i.

#import step
#import matrix

@group(0) @binding(4) var<storage, read> token_ids: array<u32>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

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
        open_tile(row & 63u, row >> 6u, col_tile);
        let cols = cols_in(col_tile);
        var at = (token * matrix.y_stride + col_tile * matrix.tile_cols) >> 2u;
        for (var col = 0u; col < cols; col += 16u) {
            next_chunk();
            for (var i = 0u; i < 4u; i++) {
                if col + 4u * i < cols {
                    y[at] = bitcast<vec4<f32>>(keep(four_bits(i), cols - (col + 4u * i)));
                }
                at += 1u;
            }
        }
    }
}
