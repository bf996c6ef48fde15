//! The fast checksum that finds damage early.

use std::hash::Hasher;

/// XXH3-64 of `bytes`: tens of gigabytes a second, so that it can be checked on every load. It
/// guards against accidents; the BLAKE3 in the file's index is what identifies content.
pub fn checksum(bytes: &[u8]) -> u64 {
    twox_hash::XxHash3_64::oneshot(bytes)
}

/// The [`checksum`] of bytes that come piece by piece.
#[derive(Default)]
pub struct Checksum(twox_hash::XxHash3_64);

impl Checksum {
    /// Goes on with `bytes`.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// The checksum of all there was.
    pub fn finish(&self) -> u64 {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_have_the_checksum_of_the_whole() {
        let bytes: Vec<u8> = (0..100_000u32).map(|i| (((i & 0xfff) * i) >> 5) as u8).collect();
        for piece in [1000, 1024, 65_536] {
            let mut pieces = Checksum::default();
            bytes.chunks(piece).for_each(|bytes| pieces.add(bytes));
            assert_eq!(pieces.finish(), checksum(&bytes));
        }
    }
}
