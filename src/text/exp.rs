//! The exponential function, the same on every platform.
//!
//! The `exp` of two systems may differ in the last bit. That is enough to make a sampler with the same seed
//! choose another token. Sums, products and quotients are the same to the bit everywhere, so this code uses
//! nothing else.

/// `e^x` for `x` ≤ 0, to within a few units in the last place; 0 if the result is too small, NaN for NaN.
pub(super) fn exp_of_negative(x: f64) -> f64 {
    // Below this, the result is less than the smallest normal number. Such a token would never be drawn.
    if x < -708.0 {
        return 0.0;
    }
    // x = n ln 2 + r, |r| ≤ ln 2 / 2. ln 2 is split into two parts, so that n * LN2_HIGH is exact.
    const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let n = (x * std::f64::consts::LOG2_E).round();
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    // Taylor series. The first omitted term, r^14 / 14!, is below 2^-56.
    let series = (1..=13).rev().fold(1.0, |sum, k| 1.0 + sum * r / f64::from(k));
    series * f64::from_bits(((1023 + n as i64) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::exp_of_negative;

    #[test]
    fn agrees_with_the_system() {
        for i in 0..70_800 {
            let x = -f64::from(i) / 100.0;
            let relative = exp_of_negative(x) / x.exp() - 1.0;
            assert!(relative.abs() < 1e-15, "{x}: {relative:e}");
        }
    }

    #[test]
    fn ends_of_the_range() {
        assert_eq!(exp_of_negative(0.0), 1.0);
        assert_eq!(exp_of_negative(-0.0), 1.0);
        assert_eq!(exp_of_negative(-1e300), 0.0);
        assert_eq!(exp_of_negative(f64::NEG_INFINITY), 0.0);
    }

    #[test]
    fn bits_are_pinned() {
        assert_eq!(exp_of_negative(-1.0).to_bits(), 0x3fd7_8b56_362c_ef38);
    }
}
