// silu(gate) · up (Shazeer, "GLU variants improve transformer", 2020).
fn silu_times(gate: f32, up: f32) -> f32 {
    // Where exp would overflow the quotient is 0 to every bit that is kept.
    return gate / (1.0 + exp(min(-gate, 80.0))) * up;
}
