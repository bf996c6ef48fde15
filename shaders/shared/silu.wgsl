// silu(gate) · up (Shazeer, "GLU variants improve transformer", 2020).
//
// The quotient is made of an opaque number, and is one before it is multiplied: so it is the same bits beside a
// product and apart from it. `zero` is as in shared/opaque.wgsl.
fn silu_times(gate: f32, up: f32, zero: u32) -> f32 {
    let g = opaque(gate, zero);
    // Where exp would overflow the quotient is 0 to every bit that is kept.
    let quotient = opaque(g / (1.0 + exp(min(-g, 80.0))), zero);
    return opaque(quotient * up, zero);
}
