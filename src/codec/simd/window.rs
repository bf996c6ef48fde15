//! The next bits of a stream, from any place of it.

/// At least 57 bits from bit `at` on: eight bytes, less the bits before.
#[inline(always)]
pub(crate) fn window(bytes: &[u8], at: usize) -> u64 {
    let word = match bytes.get(at / 8..).and_then(|rest| rest.first_chunk()) {
        Some(eight) => u64::from_le_bytes(*eight),
        None => last_word(bytes, at / 8),
    };
    word >> (at % 8)
}

/// What is left of `bytes` from `at` on, less than eight of them, and zeros.
#[cold]
fn last_word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    let rest = bytes.get(at..).unwrap_or_default();
    word[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(word)
}
