//! Loops that are compiled for several kinds of processor, and the operations that they are made of.
//!
//! The loops are plain Rust, written so that the compiler can make vector instructions of them. They
//! are compiled once for every processor, and again for newer ones. All of them compute the same
//! integers.

use super::block::{BLOCK, Bits, unpack_bits};
use super::columns::{self, Column, Columns, Join, Rows};
use super::joined_codes::{JOINED, Joined, SmallBook};
use super::peek::PeekLevels;
use crate::codec::payload::grid::LANES;

/// A loop that is compiled for several kinds of processor.
pub(crate) trait Kernel {
    /// What it gives back.
    type Output;

    /// The loop. Must be `#[inline(always)]`, as must all that it calls: only what is inlined is
    /// compiled for the processor at hand.
    fn run<V: Vectors>(self, vectors: V) -> Self::Output;
}

/// What the compiler does not find by itself. A value of a type that implements it shows that the
/// processor has the instructions.
pub(crate) trait Vectors: Copy {
    /// Whether tiles are decoded faster by columns than by lanes.
    const BY_COLUMNS: bool = false;

    /// `W` (1, 2 or 4) bits of each field, `shift` bits up, side by side, 64 bits in each number;
    /// numbers after the first `W / 2`, rounded up, are 0.
    fn pack<const W: u32>(self, block: &[u16; BLOCK], shift: u8) -> [u64; 2];

    /// The inverse of [`Vectors::pack`]: adds `bits` of the fields to those of `block`.
    #[inline(always)]
    fn unpack<const W: u32>(self, packed: [u64; 2], bits: Bits, block: &mut [u16; BLOCK]) {
        unpack_bits::<W>(packed, bits, block);
    }

    /// As [`columns::read`].
    #[inline(always)]
    fn read_columns(self, levels: &PeekLevels, bytes: &[u8], at: &mut [u32; LANES], columns: &mut [Column]) {
        columns::read(levels, bytes, at, columns);
    }

    /// As [`columns::join`].
    #[inline(always)]
    fn join_columns(self, join: &Join, pieces: &[Column], columns: &mut Columns) {
        columns::join(join, pieces, columns);
    }

    /// As [`columns::transpose`].
    #[inline(always)]
    fn transpose(self, columns: &Columns, rows: &mut Rows) {
        columns::transpose(columns, rows);
    }

    /// The codes of `symbols`, joined; `None` where the processor is no faster at it than one by one.
    #[inline(always)]
    fn join_codes(self, book: &SmallBook, symbols: &[u16; JOINED]) -> Option<Joined> {
        let _ = (book, symbols);
        None
    }

    /// Runs `kernel` as a function of its own, so that its loop has all registers to itself.
    fn call<K: Kernel>(self, kernel: K) -> K::Output;
}
