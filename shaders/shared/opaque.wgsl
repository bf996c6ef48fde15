// `number`, behind what no compiler sees through: `zero` is 0, which only the host knows. WGSL allows a compiler to
// add in another order, and to merge a product with what it is added to; drivers compile with fast mathematics. Not
// across this: what `number` is made of is rounded as it stands, and what is made of it begins with it.
fn opaque(number: f32, zero: u32) -> f32 {
    return bitcast<f32>(bitcast<u32>(number) ^ zero);
}
