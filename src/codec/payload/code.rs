//! The canonical code of a tensor's symbols, as its head describes it.
//!
//! Codes are assigned in order of (length, symbol), as in RFC 1951 §3.2.2, and written bit-reversed, so that
//! a reader uses the low bits of its window first.

/// Maximum code length in a file; codes that are written now are shorter. A table of 2¹² entries stays in a
/// first-level cache, and would fit the 16 KiB of workgroup memory that every adapter has.
pub const MAX_CODE_BITS: u32 = 12;

/// Entries of a peek table.
pub const TABLE_LEN: usize = 1 << MAX_CODE_BITS;

/// A canonical code for a range of symbols, with an escape for all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// The symbol that `lengths[0]` belongs to.
    pub first: u16,
    /// Code lengths from `first` on; 0 for a symbol without a code. A single length of 0 means an alphabet of
    /// one symbol.
    pub lengths: Vec<u8>,
    /// Length of the escape's code; 0 if there is none. The escape comes after all symbols in canonical
    /// order. In a stream, the symbol's own bits follow it, lowest first.
    pub escape: u8,
}

impl Code {
    /// Whether there is only one symbol, which takes no bits.
    pub fn is_single(&self) -> bool {
        self.lengths == [0] && self.escape == 0
    }

    /// Length of the longest code.
    pub fn longest(&self) -> u32 {
        self.lengths.iter().chain([&self.escape]).map(|&l| u32::from(l)).max().unwrap_or(0)
    }

    /// Whether every 12-bit window decodes to exactly one symbol, so that a decoder needs no error path.
    pub fn is_usable(&self) -> bool {
        let room = |&l: &u8| match u32::from(l) {
            0 => 0,
            l if l <= MAX_CODE_BITS => TABLE_LEN >> l,
            _ => TABLE_LEN + 1,
        };
        self.is_single() || self.lengths.iter().chain([&self.escape]).map(room).sum::<usize>() == TABLE_LEN
    }

    /// The codes of `lengths`, then that of the escape, bit-reversed. Absent codes are 0.
    pub fn codes(&self) -> Vec<u16> {
        let all: Vec<u8> = self.lengths.iter().copied().chain([self.escape]).collect();
        canonical_codes(&all)
    }

    /// For every window of 12 bits: the symbol, or `None` for the escape, and the code's length.
    ///
    /// For an alphabet of one symbol, every entry is that symbol with length 0.
    pub fn peek_table(&self) -> Vec<(Option<u16>, u8)> {
        let mut table = vec![(Some(self.first), 0); TABLE_LEN];
        let codes = self.codes();
        let symbols = (0..self.lengths.len()).map(|i| Some(self.first + i as u16)).chain([None]);
        let lengths = self.lengths.iter().chain([&self.escape]);
        for ((symbol, &length), code) in symbols.zip(lengths).zip(codes).filter(|((_, l), _)| **l > 0) {
            for slot in table[usize::from(code)..].iter_mut().step_by(1 << length) {
                *slot = (symbol, length);
            }
        }
        table
    }
}

/// The codes of `lengths`, bit-reversed. Symbols without a code get 0.
fn canonical_codes(lengths: &[u8]) -> Vec<u16> {
    let mut codes = vec![0; lengths.len()];
    let mut next = 0u32;
    for length in 1..=MAX_CODE_BITS {
        for (symbol, _) in lengths.iter().enumerate().filter(|&(_, &l)| u32::from(l) == length) {
            codes[symbol] = (next.reverse_bits() >> (32 - length)) as u16;
            next += 1;
        }
        next <<= 1;
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_canonical_and_bit_reversed() {
        // Canonical: 0, 10, 110, 1110, 1111, each read from the lowest bit.
        assert_eq!(canonical_codes(&[1, 2, 3, 4, 4]), [0, 0b01, 0b011, 0b0111, 0b1111]);
    }
}
