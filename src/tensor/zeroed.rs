//! Memory for many bytes at once.

use std::io;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// Zeros to be overwritten, such as a tensor's bytes before it is decoded.
///
/// Unlike a `Vec` it asks the system for large pages, where there are any. Of fresh memory in small
/// pages the system hands out each one when it is first touched, and that takes nearly as long as
/// decoding what is written there.
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
pub struct Zeroed {
    map: MmapMut,
    len: usize,
}

impl Zeroed {
    /// `len` zeros. An error where the system has not so much memory to give.
    pub fn new(len: usize) -> io::Result<Self> {
        // There are no mappings of nothing.
        let map = MmapMut::map_anon(len.max(1))?;
        #[cfg(target_os = "linux")]
        if let Err(error) = map.advise(memmap2::Advice::HugePage) {
            log::debug!("no large pages: {error}");
        }
        Ok(Self { map, len })
    }
}

impl Deref for Zeroed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map[..self.len]
    }
}

impl DerefMut for Zeroed {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.map[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_is_zeros() {
        for len in [0, 1, 5_000_000] {
            let mut zeroed = Zeroed::new(len).unwrap();
            assert!(zeroed.len() == len && zeroed.iter().all(|&byte| byte == 0));
            zeroed.fill(7);
            assert!(zeroed.iter().all(|&byte| byte == 7));
        }
        assert!(Zeroed::new(usize::MAX).is_err());
    }
}
