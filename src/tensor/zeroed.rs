//! Memory for many bytes at once.

use std::io;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// Zeros to be overwritten, such as a tensor's bytes before it is decoded.
///
/// Unlike a `Vec` it asks the system for large pages, where there are any and the bytes are many. Of
/// fresh memory in small pages the system hands out each one when it is first touched, and that takes
/// nearly as long as decoding what is written there.
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

/// From so many bytes on memory comes from the system, in large pages. What is smaller an allocator often
/// has at hand from what was freed before (that of glibc up to this size).
const FROM_SYSTEM: usize = 32 << 20;

/// Length and alignment of large pages, on the processors that have AVX or NEON.
const LARGE_PAGE: usize = 2 << 20;

#[derive(Debug)]
enum Memory {
    Allocated(Vec<u8>),
    Mapped { map: MmapMut, start: usize, len: usize },
}

impl Zeroed {
    /// `len` zeros. An error where the system has not so much memory to give.
    pub fn new(len: usize) -> io::Result<Self> {
        if len < FROM_SYSTEM {
            return Ok(Self(Memory::Allocated(vec![0; len])));
        }
        // Whole large pages, at whatever small page the mapping begins.
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
