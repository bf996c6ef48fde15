// y = W x for one token. A workgroup multiplies one row block (64 rows) by the whole of x; each
// invocation keeps one row's sum, in four parts by column modulo four.
//
// BIAS adds a bias; ACCUMULATE adds to what y holds.

#import matrix

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
            next_chunk();
            var w0 = four_bits(0u);
            var w1 = four_bits(1u);
            var w2 = four_bits(2u);
            var w3 = four_bits(3u);
            let valid = cols - col;
            if valid < 16u {
                w0 = keep(w0, valid);
                w1 = keep(w1, max(valid, 4u) - 4u);
                w2 = keep(w2, max(valid, 8u) - 8u);
                w3 = keep(w3, max(valid, 12u) - 12u);
            }
            sum = fma(bitcast<vec4<f32>>(w0), x[at], sum);
            sum = fma(bitcast<vec4<f32>>(w1), x[at + 1u], sum);
            sum = fma(bitcast<vec4<f32>>(w2), x[at + 2u], sum);
            sum = fma(bitcast<vec4<f32>>(w3), x[at + 3u], sum);
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
