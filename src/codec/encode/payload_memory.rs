//! A payload in memory that several threads write to.

use std::sync::{Mutex, PoisonError};

/// Bytes that one lock covers. Most pieces are larger, so threads seldom wait for each other.
const SHARE: usize = 256 << 10;

/// Memory for a payload of at most this many bytes.
pub(crate) struct PayloadMemory<'a> {
    shares: Vec<Mutex<&'a mut [u8]>>,
}

impl<'a> PayloadMemory<'a> {
    /// Writes to `bytes`.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { shares: bytes.chunks_mut(SHARE).map(Mutex::new).collect() }
    }

    /// Writes `bytes` at offset `at`, except bytes beyond the end.
    pub fn put(&self, at: usize, mut bytes: &[u8]) {
        let mut start = at % SHARE;
        for share in self.shares.iter().skip(at / SHARE) {
            if bytes.is_empty() {
                return;
            }
            let mut share = share.lock().unwrap_or_else(PoisonError::into_inner);
            let to = share.get_mut(start..).unwrap_or_default();
            let (now, later) = bytes.split_at(bytes.len().min(to.len()));
            to[..now.len()].copy_from_slice(now);
            (bytes, start) = (later, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_go_over_the_edges_of_shares() {
        let pattern: Vec<u8> = (0..3 * SHARE as u32 + 5).map(|i| (i * 7 / 8) as u8).collect();
        let mut bytes = vec![0; 2 * SHARE + 10];
        let memory = PayloadMemory::new(&mut bytes);
        for (i, piece) in pattern.chunks(SHARE - 3).enumerate().rev() {
            memory.put(i * (SHARE - 3), piece);
        }
        memory.put(7 * SHARE, &pattern);
        assert!(bytes == pattern[..bytes.len()]);
    }
}
