//! Reading the bit streams of symbols, several symbols at a time.

use super::interleaved::{Entries, NARROW, WIDE, can_read};
pub(crate) use super::interleaved::{INTERLEAVED, NO_SYMBOLS, Symbols};
use crate::codec::payload::code::Code;
use crate::codec::payload::split::MAX_SYMBOL_BITS;
use crate::codec::simd::window::window;

/// The reader's table.
pub(crate) struct PeekTable {
    entries: Entries,
    /// Length of the escape's code.
    escape: u32,
    symbol_bits: u32,
    /// Whether the alphabet is a single symbol, which takes no bits.
    single: Option<u16>,
}

impl PeekTable {
    pub fn new(code: &Code, symbol_bits: u32) -> Self {
        let single = code.is_single().then_some(code.first);
        Self { entries: Entries::new(code), escape: u32::from(code.escape), symbol_bits, single }
    }

    /// Reads `count` symbols of each of four streams that start at the bits `at`, and moves `at` to their
    /// ends. It reads zeros past the end of `bytes`, so any `at` is safe.
    ///
    /// Above its 12 bits, each symbol read has the length of its code.
    #[inline(always)]
    pub fn read(
        &self,
        bytes: &[u8],
        at: &mut [usize; INTERLEAVED],
        count: usize,
        symbols: &mut [Symbols; INTERLEAVED],
    ) {
        if let Some(symbol) = self.single {
            symbols.iter_mut().for_each(|symbols| symbols[..count].fill(symbol));
            return;
        }
        let mut done = [0; INTERLEAVED];
        // In a payload's last tile, some streams are too close to the payload's end for this.
        while can_read(bytes, at) && done.iter().any(|done| *done < count) {
            match self.entries.bits() {
                NARROW => self.entries.read::<NARROW, 5>(bytes, at, count, &mut done, symbols),
                _ => self.entries.read::<WIDE, 4>(bytes, at, count, &mut done, symbols),
            }
            if !self.read_escaped(bytes, at, count, &mut done, symbols) {
                break;
            }
        }
        for i in 0..INTERLEAVED {
            // Symbols read beyond `count` are given back, because they belong to another stream.
            let beyond = symbols[i][count..done[i].max(count)].iter();
            at[i] -= beyond.map(|symbol| usize::from(symbol >> MAX_SYMBOL_BITS)).sum::<usize>();
            self.read_one_by_one(bytes, &mut at[i], &mut symbols[i][done[i].min(count)..count]);
        }
    }

    /// Reads a symbol of each stream that is at an escape; `false` if none is.
    #[cold]
    fn read_escaped(
        &self,
        bytes: &[u8],
        at: &mut [usize; INTERLEAVED],
        count: usize,
        done: &mut [usize; INTERLEAVED],
        symbols: &mut [Symbols; INTERLEAVED],
    ) -> bool {
        let mut any = false;
        for i in 0..INTERLEAVED {
            // The bits after a finished stream belong to another one.
            if done[i] < count && self.entries.of(window(bytes, at[i])) == 0 {
                self.read_one_by_one(bytes, &mut at[i], &mut symbols[i][done[i]..=done[i]]);
                done[i] += 1;
                any = true;
            }
        }
        any
    }

    /// Fills `symbols` from the stream at bit `at`.
    #[inline(always)]
    fn read_one_by_one(&self, bytes: &[u8], at: &mut usize, symbols: &mut [u16]) {
        for some in symbols.chunks_mut(2) {
            let mut window = window(bytes, *at);
            for symbol in some {
                let entry = self.entries.of(window);
                *symbol = (entry >> 16) as u16;
                let mut len = u32::from(*symbol >> MAX_SYMBOL_BITS);
                if entry == 0 {
                    *symbol = (window >> self.escape) as u16 & ((1 << self.symbol_bits) - 1);
                    len = self.escape + self.symbol_bits;
                }
                window >>= len;
                *at += len as usize;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bit_writer::BitWriter;
    use super::super::codebook::Codebook;
    use super::*;
    use crate::codec::simd::Portable;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn streams_come_back_and_end_where_they_ended(
            weights in prop::collection::vec(1u64..50_000, 1..80),
            picks in prop::collection::vec(any::<u16>(), 4 * 90),
            open: bool,
            at_end: bool,
            cols in 1usize..90,
        ) {
            let symbol_bits = 8;
            let code = Code::for_counts(&weights, symbol_bits, 11, open).unwrap();
            let escaped = |pick: u16| code.escape > 0 && pick.is_multiple_of(7);
            let symbols: Vec<u16> = picks
                .iter()
                .map(|&p| if escaped(p) { p >> 8 } else { code.first + p % code.lengths.len() as u16 })
                .collect();
            let missing = |s: &u16| code.escape == 0 && code.lengths[usize::from(s - code.first)] == 0;
            prop_assume!(code.is_single() || !symbols.iter().any(missing));
            let book = Codebook::new(&code, symbol_bits);
            let mut writer = BitWriter::new(symbols.len());
            let mut ends = [0; 4];
            for (end, lane) in ends.iter_mut().zip(symbols.chunks(90)) {
                writer.put(Portable, &book, &lane[..cols]);
                *end = writer.len();
            }
            let mut bytes = writer.finish().to_vec();
            if !at_end {
                // With padding, streams can be read side by side.
                bytes.resize(bytes.len() + (1 << 13), 0x5a);
                prop_assert!(can_read(&bytes, &ends));
            }
            let table = PeekTable::new(&code, symbol_bits);
            let mut at = [0, ends[0], ends[1], ends[2]];
            let mut read = [NO_SYMBOLS; 4];
            table.read(&bytes, &mut at, cols, &mut read);
            prop_assert_eq!(at, ends);
            for (read, lane) in read.iter().zip(symbols.chunks(90)) {
                let read: Vec<u16> = read[..cols].iter().map(|symbol| symbol & ((1 << MAX_SYMBOL_BITS) - 1)).collect();
                prop_assert_eq!(&read[..], &lane[..cols]);
            }
        }
    }
}
