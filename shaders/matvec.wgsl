// y = W x for one token. A workgroup multiplies one row block (64 rows) by the whole of x; each
// invocation keeps one row's sum, in four parts by column modulo four.
//
// BIAS adds a bias; ACCUMULATE adds to what y holds.

#import matrix
#import chunk

@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
#ifdef BIAS
@group(0) @binding(6) var<storage, read> bias: array<f32>;
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row_block = group.x;
    var sum = vec4<f32>(0.0);
    for (var col_tile = 0u; col_tile < matrix.col_tiles; col_tile++) {
        open_tile(lane, row_block, col_tile);
        let cols = cols_in(col_tile);
        var at = (col_tile * matrix.tile_cols) >> 2u;
        for (var col = 0u; col < cols; col += 16u) {
            load_chunk(cols - col);
            sum = add_chunk(sum, at);
            at += 4u;
        }
    }
    let row = row_block * 64u + lane;
    if row < matrix.rows {
        var total = (sum.x + sum.y) + (sum.z + sum.w);
        let out = matrix.first_row + row;
#ifdef BIAS
        total += bias[out];
#endif
#ifdef ACCUMULATE
        total += y[out];
#endif
        y[out] = total;
    }
}
