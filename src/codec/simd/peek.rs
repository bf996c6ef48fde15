//! Tables through which many streams take one symbol each at a time, small enough for vector registers.
//!
//! In canonical order, left-justified codes are ascending numbers, and longer codes are the greater
//! ones. So a table that resolves six bits knows all codes up to that length, and what is above them
//! is a short range, which a second table of as many entries resolves more finely, and so on. Codes that
//! this does not suit have one table of all windows instead.

/// Entries of a level: as many 16-bit numbers as two of the widest registers hold.
pub(crate) const LEVEL_LEN: usize = 64;

/// Codes that begin at or above `start`, up to a length.
#[derive(Debug, Clone)]
pub(crate) struct PeekLevel {
    /// The first window, of 16 bits, first bit highest, that it is for.
    pub start: u16,
    /// How far what a window is above `start` is shifted down to an index.
    pub shift: u8,
    /// As [`PeekLevels::look_up`] returns.
    pub entries: [u16; LEVEL_LEN],
}

/// What columns of symbols are read with.
#[derive(Debug, Clone)]
pub(crate) struct PeekLevels {
    /// Each is for all windows from its `start` on that no later one is for. None where they would be too
    /// many.
    pub levels: Vec<PeekLevel>,
    /// For each window of the longest code's bits, what [`PeekLevels::look_up`] returns, and one entry
    /// more. Empty where there are levels.
    pub windows: Vec<u16>,
    /// Length of the escape's code.
    pub escape: u32,
    pub symbol_bits: u32,
    /// Length of the longest code.
    pub longest: u32,
}

impl PeekLevels {
    /// The symbol whose code `window` begins with, first bit highest, and above it the code's length.
    /// 0 for the escape.
    pub fn look_up(&self, window: u16) -> u16 {
        if self.levels.is_empty() {
            return self.windows[usize::from(window) >> (16 - self.longest)];
        }
        let level =
            self.levels.iter().rev().find(|level| level.start <= window).expect("the first starts at 0");
        level.entries[usize::from((window - level.start) >> level.shift)]
    }
}
