// Whether these are the bits of an infinity or a NaN. Of bits, because compilers may take it that there are none.
fn is_not_finite(bits: u32) -> bool {
    return (bits & 0x7f800000u) == 0x7f800000u;
}
