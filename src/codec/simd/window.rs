//! The next bits of a stream, from any position.

/// At least 57 bits from bit `at` on: eight bytes, shifted right to that bit.
#[inline(always)]
pub(crate) fn window(bytes: &[u8], at: usize) -> u64 {
    let word = match bytes.get(at / 8..).and_then(|rest| rest.first_chunk()) {
        Some(eight) => u64::from_le_bytes(*eight),
        None => last_word(bytes, at / 8),
    };
    word >> (at % 8)
}

/// The bytes of `bytes` from `at` on, fewer than eight, padded with zeros.
#[cold]
fn last_word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    let rest = bytes.get(at..).unwrap_or_default();
    word[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(word)
}
