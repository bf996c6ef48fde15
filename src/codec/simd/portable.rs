//! Vector operations for any processor.

use super::block::{BLOCK, pack_bits};
use super::vectors::{Kernel, Vectors};

/// Any processor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

impl Vectors for Portable {
    #[inline(always)]
    fn pack<const W: u32>(self, block: &[u16; BLOCK], shift: u8) -> [u64; 2] {
        pack_bits::<W>(block, shift)
    }

    #[inline(never)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
}
