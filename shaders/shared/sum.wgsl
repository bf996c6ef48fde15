// How every kernel adds products, whatever the weights are stored as and whoever has what is added: in
// registers, in workgroup memory, or in a result that is added to. Each addition stands between opaque numbers.

// A sum of nothing. That it is 0 no compiler knows, so that the first product is added like all others.
fn no_sum() -> f32 {
    return bitcast<f32>(zero());
}

fn add(sum: f32, number: f32) -> f32 {
    return opaque(sum + number, zero());
}

// What the four parts of a span's sum come to.
fn total(sum: vec4<f32>) -> f32 {
    let parts = bitcast<vec4<f32>>(bitcast<vec4<u32>>(sum) ^ vec4<u32>(zero()));
    return add(add(parts.x, parts.y), add(parts.z, parts.w));
}
