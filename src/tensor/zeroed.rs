//! Large blocks of zeroed memory.

use std::io;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// Zeros to be overwritten, such as memory for a tensor that will be decoded.
///
/// Unlike a `Vec`, it requests large pages from the system for long blocks, if the system has them. The
/// system provides small pages one by one on first access, which takes nearly as long as decoding the data
/// that is written there.
///
/// ```
/// use bantam::tensor::Zeroed;
///
/// let mut bytes = Zeroed::new(10_000_000)?;
/// bytes[9_999_999] = 1;
/// assert_eq!(bytes.len(), 10_000_000);
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct Zeroed(Memory);

/// Minimum bytes that are requested from the system, in large pages. For smaller sizes, an allocator often
/// has free memory already (glibc's does up to this size).
const FROM_SYSTEM: usize = 32 << 20;

/// Length and alignment of large pages, on the processors that have AVX or NEON.
const LARGE_PAGE: usize = 2 << 20;

#[derive(Debug)]
enum Memory {
    Allocated(Vec<u8>),
    Mapped { map: MmapMut, start: usize, len: usize },
}

impl Zeroed {
    /// `len` zeros, or an error if the system does not have that much memory.
    pub fn new(len: usize) -> io::Result<Self> {
        if len < FROM_SYSTEM {
            return Ok(Self(Memory::Allocated(vec![0; len])));
        }
        // Enough for whole large pages, wherever the mapping begins.
        let whole = len.checked_next_multiple_of(LARGE_PAGE).and_then(|len| len.checked_add(LARGE_PAGE));
        let map = MmapMut::map_anon(whole.ok_or(io::ErrorKind::OutOfMemory)?)?;
        #[cfg(target_os = "linux")]
        if let Err(error) = map.advise(memmap2::Advice::HugePage) {
            log::debug!("cannot use large pages: {error}");
        }
        let start = map.as_ptr().addr().next_multiple_of(LARGE_PAGE) - map.as_ptr().addr();
        Ok(Self(Memory::Mapped { map, start, len }))
    }
}

impl Deref for Zeroed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Memory::Allocated(bytes) => bytes,
            Memory::Mapped { map, start, len } => &map[*start..][..*len],
        }
    }
}

impl DerefMut for Zeroed {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Memory::Allocated(bytes) => bytes,
            Memory::Mapped { map, start, len } => &mut map[*start..][..*len],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_is_zeros() {
        for len in [0, 1, 5_000_000, FROM_SYSTEM + 1] {
            let mut zeroed = Zeroed::new(len).unwrap();
            assert!(zeroed.len() == len && zeroed.iter().all(|&byte| byte == 0));
            zeroed.fill(7);
            assert!(zeroed.iter().all(|&byte| byte == 7));
        }
        assert!(Zeroed::new(usize::MAX).is_err());
    }

    #[test]
    fn many_bytes_begin_with_a_large_page() {
        let zeroed = Zeroed::new(FROM_SYSTEM).unwrap();
        assert_eq!(zeroed.as_ptr().addr() % LARGE_PAGE, 0);
    }
}
