// Units of a matrix that was rounded: products of quotients and their blocks' scales. A lane of a tile is a
// block. Quotients and scales have so few bits that products are exact, and none of them is subnormal.
//
// SCALED_BF16 and SCALED_F16 say which type products are rounded to, as they are where they are decoded for
// good, so that a model gives the same bits either way. Without either it is F32.

// The scale of each row's block.
var<private> scale: array<f32, ROWS>;

// The table has a half word for each lane of each tile.
fn open_scale(r: u32, lane: u32, row_block: u32, col_tile: u32) {
    let tile = row_block * matrix.col_tiles + col_tile;
    let pair = payload_at(matrix.scales_at + 32u * tile + (lane >> 1u));
    scale[r] = bitcast<f32>(select(pair << 16u, pair & 0xffff0000u, (lane & 1u) != 0u));
}

#ifdef SCALED_BF16
// The nearest BF16, to an even one where two are as near.
fn nearest_bf16(bits: vec4<u32>) -> vec4<u32> {
    let even = (bits >> vec4<u32>(16u)) & vec4<u32>(1u);
    return (bits + vec4<u32>(0x7fffu) + even) & vec4<u32>(0xffff0000u);
}
#endif
#ifdef SCALED_F16
// `bits` without the lowest `dropped`, to an even number where two are as near.
fn round_to_even(bits: vec4<u32>, dropped: vec4<u32>) -> vec4<u32> {
    let below = (vec4<u32>(1u) << (dropped - vec4<u32>(1u))) - vec4<u32>(1u);
    return (bits + below + ((bits >> dropped) & vec4<u32>(1u))) >> dropped;
}

// The nearest F16, in the upper halves.
fn nearest_f16(bits: vec4<u32>) -> vec4<u32> {
    let sign = bits & vec4<u32>(0x80000000u);
    let magnitude = bits & vec4<u32>(0x7fffffffu);
    // Exponents of an F16 are less by 112.
    let normal = round_to_even(magnitude, vec4<u32>(13u)) - vec4<u32>(112u << 10u);
    // In units of 2^-24, which is what a subnormal F16 counts. Beyond 25 bits there is nothing left.
    let exponent = min(magnitude >> vec4<u32>(23u), vec4<u32>(112u));
    let full = (magnitude & vec4<u32>(0x7fffffu)) | vec4<u32>(0x800000u);
    let subnormal = round_to_even(full, min(vec4<u32>(126u) - exponent, vec4<u32>(25u)));
    let is_normal = magnitude >= vec4<u32>(113u << 23u);
    let rounded = select(subnormal, min(normal, vec4<u32>(0x7c00u)), is_normal);
    return sign | (rounded << vec4<u32>(16u));
}
#endif

// The units that four quotients of row `r` stand for, each from bit 31 down.
fn products(r: u32, quotients: vec4<u32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(bitcast<vec4<f32>>(quotients) * scale[r]);
#ifdef SCALED_BF16
    return nearest_bf16(bits);
#else
#ifdef SCALED_F16
    return nearest_f16(bits);
#else
    // Or a product with the weight could become one with the scale.
    return bits ^ vec4<u32>(zero());
#endif
#endif
}
