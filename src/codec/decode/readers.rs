//! Tables for reading streams.

use std::sync::OnceLock;

use crate::codec::entropy::stream::PeekTable;
use crate::codec::payload::code::Code;
use crate::codec::simd::peek::PeekLevels;

/// Tables for reading streams, each made when it is first needed.
#[derive(Default)]
pub(crate) struct Readers {
    peek: OnceLock<PeekTable>,
    levels: OnceLock<Option<PeekLevels>>,
}

impl Readers {
    /// The table for reading a few lanes at a time.
    pub fn peek(&self, code: &Code, symbol_bits: u32) -> &PeekTable {
        self.peek.get_or_init(|| PeekTable::new(code, symbol_bits))
    }

    /// The tables for reading by columns; `None` if there is only one symbol.
    pub fn levels(&self, code: &Code, symbol_bits: u32) -> Option<&PeekLevels> {
        self.levels.get_or_init(|| PeekLevels::new(code, symbol_bits)).as_ref()
    }
}
