// y = W x for a batch of tokens. A workgroup multiplies one row block (64 rows) by sixteen tokens;
// each invocation owns a row, reads each of its weights once and keeps sixteen sums. A token's sum
// is made in the same order as matvec makes it, so both give the same bits.

#import step
#import matrix
#import chunk

@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
#ifdef BIAS
@group(0) @binding(6) var<storage, read> bias: array<f32>;
#endif

fn store(token: u32, row: u32, sum: vec4<f32>) {
    if token >= step.tokens || row >= matrix.rows {
        return;
    }
    var total = (sum.x + sum.y) + (sum.z + sum.w);
    let out = matrix.first_row + row;
#ifdef BIAS
    total += bias[out];
#endif
    let at = token * matrix.y_stride + out;
#ifdef ACCUMULATE
    total += y[at];
#endif
    y[at] = total;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row_block = group.x;
    let token = group.y * 16u;
    let stride = matrix.x_stride >> 2u;
#unroll m 16
    var sum$m = vec4<f32>(0.0);
#end
    for (var col_tile = 0u; col_tile < matrix.col_tiles; col_tile++) {
        open_tile(lane, row_block, col_tile);
        let cols = cols_in(col_tile);
        var at = token * stride + ((col_tile * matrix.tile_cols) >> 2u);
        for (var col = 0u; col < cols; col += 16u) {
            load_chunk(cols - col);
#unroll m 16
            sum$m = add_chunk(sum$m, at + $mu * stride);
#end
            at += 4u;
        }
    }
    let row = row_block * 64u + lane;
#unroll m 16
    store(token + $mu, row, sum$m);
#end
}
