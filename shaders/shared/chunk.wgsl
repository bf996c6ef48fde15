// The sixteen weights that the products multiply by, with zero past the tile's last column. The kernel
// declares the activations, `x`.

var<private> w0: vec4<f32>;
var<private> w1: vec4<f32>;
var<private> w2: vec4<f32>;
var<private> w3: vec4<f32>;

// Goes to the next chunk, of which `valid` columns are the tile's.
fn load_chunk(valid: u32) {
    next_chunk();
    var b0 = four_bits(0u);
    var b1 = four_bits(1u);
    var b2 = four_bits(2u);
    var b3 = four_bits(3u);
    if valid < 16u {
        b0 = keep(b0, valid);
        b1 = keep(b1, max(valid, 4u) - 4u);
        b2 = keep(b2, max(valid, 8u) - 8u);
        b3 = keep(b3, max(valid, 12u) - 12u);
    }
    w0 = bitcast<vec4<f32>>(b0);
    w1 = bitcast<vec4<f32>>(b1);
    w2 = bitcast<vec4<f32>>(b2);
    w3 = bitcast<vec4<f32>>(b3);
}

// `sum` plus the products of the chunk's weights with x from `at` on, in four parts by column
// modulo four.
fn add_chunk(sum: vec4<f32>, at: u32) -> vec4<f32> {
    var s = fma(w0, x[at], sum);
    s = fma(w1, x[at + 1u], s);
    s = fma(w2, x[at + 2u], s);
    return fma(w3, x[at + 3u], s);
}
