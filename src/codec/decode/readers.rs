//! What streams are read with.

use std::sync::OnceLock;

use crate::codec::entropy::stream::PeekTable;
use crate::codec::payload::code::Code;
use crate::codec::simd::peek::PeekLevels;

/// What streams are read with, each made when it is first needed.
#[derive(Default)]
pub(crate) struct Readers {
    peek: OnceLock<PeekTable>,
    levels: OnceLock<Option<PeekLevels>>,
}

impl Readers {
    /// What lanes are read with, a few at a time.
    pub fn peek(&self, code: &Code, symbol_bits: u32) -> &PeekTable {
        self.peek.get_or_init(|| PeekTable::new(code, symbol_bits))
    }

    /// What columns are read with; `None` where there is but one symbol.
    pub fn levels(&self, code: &Code, symbol_bits: u32) -> Option<&PeekLevels> {
        self.levels.get_or_init(|| PeekLevels::new(code, symbol_bits)).as_ref()
    }
}
