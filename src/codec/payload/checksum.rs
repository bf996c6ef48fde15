//! The fast checksum that detects damage early.

use std::hash::Hasher;

/// XXH3-64 of `bytes`. It hashes tens of gigabytes per second, so it can be compared on every load. It
/// detects accidental damage; the BLAKE3 in the file's index identifies the content.
pub fn checksum(bytes: &[u8]) -> u64 {
    twox_hash::XxHash3_64::oneshot(bytes)
}

/// The [`checksum`] of bytes that arrive piece by piece.
#[derive(Default)]
pub struct Checksum(twox_hash::XxHash3_64);

impl Checksum {
    /// Adds `bytes`.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// The checksum of all bytes added so far.
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
