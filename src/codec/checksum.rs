//! The fast checksum that finds damage early.

/// XXH3-64 of `bytes`: tens of gigabytes a second, so that it can be checked on every load. It
/// guards against accidents; the BLAKE3 in the file's index is what identifies content.
pub fn checksum(bytes: &[u8]) -> u64 {
    twox_hash::XxHash3_64::oneshot(bytes)
}
