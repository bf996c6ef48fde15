//! Building from a code the tables with which many streams read one symbol at a time.

use crate::codec::payload::code::Code;
use crate::codec::payload::split::MAX_SYMBOL_BITS;
use crate::codec::simd::peek::{LEVEL_LEN, PeekLevel, PeekLevels};

/// Maximum number of levels that are faster than one table.
const MOST_LEVELS: usize = 4;

impl PeekLevels {
    /// `None` if there is only one symbol.
    pub fn new(code: &Code, symbol_bits: u32) -> Option<Self> {
        if code.is_single() {
            return None;
        }
        let codes = ascending(code);
        let longest = code.longest();
        let (levels, windows) = match levels_of(&codes) {
            Some(levels) => (levels, Vec::new()),
            None => (Vec::new(), windows_of(&codes, longest)),
        };
        Some(Self { levels, windows, escape: u32::from(code.escape), symbol_bits, longest })
    }
}

/// Start, length and entry of each code, the escape's included, in ascending order.
fn ascending(code: &Code) -> Vec<(u16, u8, u16)> {
    let symbols = (0..code.lengths.len()).map(|i| code.first + i as u16);
    let entry = |(symbol, &len): (u16, &u8)| symbol | u16::from(len) << MAX_SYMBOL_BITS;
    let entries = symbols.zip(&code.lengths).map(entry).chain([0]);
    let lengths = code.lengths.iter().chain([&code.escape]);
    let starts = code.codes().into_iter().map(u16::reverse_bits);
    let codes = starts.zip(lengths).zip(entries).map(|((start, &len), entry)| (start, len, entry));
    let mut codes: Vec<_> = codes.filter(|&(_, len, _)| len > 0).collect();
    codes.sort_unstable();
    codes
}

fn levels_of(codes: &[(u16, u8, u16)]) -> Option<Vec<PeekLevel>> {
    let mut levels = Vec::new();
    let mut rest = codes;
    while !rest.is_empty() {
        let (level, held) = PeekLevel::of(rest);
        if held == 0 || levels.len() == MOST_LEVELS {
            return None;
        }
        levels.push(level);
        rest = &rest[held..];
    }
    Some(levels)
}

fn windows_of(codes: &[(u16, u8, u16)], longest: u32) -> Vec<u16> {
    let mut windows = Vec::with_capacity((1 << longest) + 1);
    for &(_, len, entry) in codes {
        windows.extend(std::iter::repeat_n(entry, 1 << (longest - u32::from(len))));
    }
    windows.push(0);
    windows
}

impl PeekLevel {
    /// The level that resolves the range of the ascending `codes` (start, length, entry), and how many of
    /// them it contains.
    fn of(codes: &[(u16, u8, u16)]) -> (Self, usize) {
        let start = codes[0].0;
        let span = (1 << 16) - u32::from(start);
        let shift =
            (0..16).find(|shift| span.div_ceil(1 << shift) <= LEVEL_LEN as u32).expect("64 KiB >> 10");
        let held = codes.iter().take_while(|&&(_, len, _)| u32::from(len) + shift <= 16).count();
        let mut entries = [0; LEVEL_LEN];
        for &(first, len, entry) in &codes[..held] {
            let at = usize::from((first - start) >> shift);
            entries[at..at + (1 << (16 - shift - u32::from(len)))].fill(entry);
        }
        (Self { start, shift: shift as u8, entries }, held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn codes_without_short_ones_have_a_table_of_windows() {
        let levels = |lengths: Vec<u8>| PeekLevels::new(&Code { first: 0, lengths, escape: 0 }, 8);
        assert!(levels(vec![0]).is_none());
        assert_eq!(levels(vec![6; 64]).map(|l| (l.levels.len(), l.windows.len())), Some((1, 0)));
        let flat = levels(vec![8; 256]).unwrap();
        assert_eq!((flat.levels.len(), flat.windows.len()), (0, 257));
        assert_eq!(flat.look_up(0x12ff), 0x8012);
    }

    proptest! {
        #[test]
        fn every_window_is_what_the_code_says(
            weights in prop::collection::vec(1u64..50_000, 2..256),
            steep: bool,
            open: bool,
        ) {
            let weight = |(i, &weight): (usize, &u64)| if steep { weight << (i % 24) } else { weight };
            let weights: Vec<u64> = weights.iter().enumerate().map(weight).collect();
            let code = Code::for_counts(&weights, 8, 11, open).unwrap();
            let levels = PeekLevels::new(&code, 8).unwrap();
            for (window, (symbol, len)) in code.peek_table().into_iter().enumerate() {
                let expected = symbol.map_or(0, |symbol| symbol | u16::from(len) << MAX_SYMBOL_BITS);
                prop_assert_eq!(levels.look_up((window as u16).reverse_bits()), expected);
            }
        }
    }
}
