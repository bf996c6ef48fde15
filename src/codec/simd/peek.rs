//! Tables with which many streams read one symbol at a time, small enough for vector registers.
//!
//! In canonical order, left-justified codes ascend, and longer codes are greater. So a table that resolves
//! six bits contains all codes up to that length. The windows above them form a short range, which a second
//! table of the same size resolves more finely, and so on. Codes that need too many levels have one table of
//! all windows instead.

/// Entries of a level: the number of 16-bit numbers in two of the widest registers.
pub(crate) const LEVEL_LEN: usize = 64;

/// Codes from `start` on, up to a certain length.
#[derive(Debug, Clone)]
pub(crate) struct PeekLevel {
    /// The first 16-bit window that the level is for, first bit highest.
    pub start: u16,
    /// How far the difference between a window and `start` is shifted right to give an index.
    pub shift: u8,
    /// Results of [`PeekLevels::look_up`].
    pub entries: [u16; LEVEL_LEN],
}

/// The tables for reading columns of symbols.
#[derive(Debug, Clone)]
pub(crate) struct PeekLevels {
    /// Each level is for all windows from its `start` up to the next level's. Empty if there would be too
    /// many levels.
    pub levels: Vec<PeekLevel>,
    /// The result of [`PeekLevels::look_up`] for each window of the longest code's bits, and one entry more.
    /// Empty if there are levels.
    pub windows: Vec<u16>,
    /// Length of the escape's code.
    pub escape: u32,
    pub symbol_bits: u32,
    /// Length of the longest code.
    pub longest: u32,
}

impl PeekLevels {
    /// The symbol whose code `window` begins with, first bit highest, and above it the code's length. 0 for
    /// the escape.
    pub fn look_up(&self, window: u16) -> u16 {
        if self.levels.is_empty() {
            return self.windows[usize::from(window) >> (16 - self.longest)];
        }
        let level =
            self.levels.iter().rev().find(|level| level.start <= window).expect("the first starts at 0");
        level.entries[usize::from((window - level.start) >> level.shift)]
    }
}
