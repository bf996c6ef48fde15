//! Loops that are compiled for several kinds of processor, and the operations that they use.
//!
//! The loops are plain Rust, written so that the compiler can vectorise them. They are compiled once for
//! every processor, and again for newer ones. All versions compute the same integers.

use super::block::{BLOCK, Bits, unpack_bits};
use super::columns::{self, Column, Columns, Join, Rows};
use super::joined_codes::{JOINED, Joined, SmallBook};
use super::peek::PeekLevels;
use crate::codec::payload::grid::LANES;

/// A loop that is compiled for several kinds of processor.
pub(crate) trait Kernel {
    /// The result type.
    type Output;

    /// The loop. It and everything that it calls must be `#[inline(always)]`, because only inlined code is
    /// compiled for the processor in use.
    fn run<V: Vectors>(self, vectors: V) -> Self::Output;
}

/// Operations that the compiler does not vectorise well by itself. A value of a type that implements this
/// trait proves that the processor has the instructions.
pub(crate) trait Vectors: Copy {
    /// Whether tiles are decoded faster by columns than by lanes.
    const BY_COLUMNS: bool = false;

    /// `W` (1, 2 or 4) bits of each field from bit `shift` on, side by side, 64 bits in each number. Numbers
    /// after the first `W / 2`, rounded up, are 0.
    fn pack<const W: u32>(self, block: &[u16; BLOCK], shift: u8) -> [u64; 2];

    /// The inverse of [`Vectors::pack`]: adds `bits` of the fields to those of `block`.
    #[inline(always)]
    fn unpack<const W: u32>(self, packed: [u64; 2], bits: Bits, block: &mut [u16; BLOCK]) {
        unpack_bits::<W>(packed, bits, block);
    }

    /// Like [`columns::read`].
    #[inline(always)]
    fn read_columns(self, levels: &PeekLevels, bytes: &[u8], at: &mut [u32; LANES], columns: &mut [Column]) {
        columns::read(levels, bytes, at, columns);
    }

    /// Like [`columns::join`].
    #[inline(always)]
    fn join_columns(self, join: &Join, pieces: &[Column], columns: &mut Columns) {
        columns::join(join, pieces, columns);
    }

    /// Like [`columns::transpose`].
    #[inline(always)]
    fn transpose(self, columns: &Columns, rows: &mut Rows) {
        columns::transpose(columns, rows);
    }

    /// The codes of `symbols`, joined; `None` if the processor is no faster at that than one by one.
    #[inline(always)]
    fn join_codes(self, book: &SmallBook, symbols: &[u16; JOINED]) -> Option<Joined> {
        let _ = (book, symbols);
        None
    }

    /// Runs `kernel` as a separate function, so that its loop has all registers.
    fn call<K: Kernel>(self, kernel: K) -> K::Output;
}
