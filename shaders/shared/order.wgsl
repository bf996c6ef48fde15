// An integer with the order of the number that has these bits: the same on every device. A NaN is below all
// numbers, and both zeros are the same.
fn order_of(bits: u32) -> u32 {
    let magnitude = bits & 0x7fffffffu;
    if magnitude > 0x7f800000u {
        return 0u;
    }
    if bits != magnitude && magnitude > 0u {
        return ~bits;
    }
    return magnitude | 0x80000000u;
}
