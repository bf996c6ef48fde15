//! Tables of codes for writing streams.

use std::sync::OnceLock;

use crate::codec::payload::code::{Code, MAX_CODE_BITS};
use crate::codec::payload::split::ALPHABET;
use crate::codec::simd::joined_codes::{SMALL, SmallBook};

/// The writer's code table: `bits << 8 | length` by symbol.
pub(crate) struct Codebook {
    pub entries: Box<[u32; ALPHABET]>,
    /// For small alphabets, which most are.
    pub small: Option<Box<SmallBook>>,
    /// Made from `small` when first needed.
    pairs: OnceLock<PairBook>,
}

impl SmallBook {
    fn new(code: &Code, codes: &[u16]) -> Option<Self> {
        let mut entries = [Self::ESCAPED; SMALL];
        for ((entry, &bits), &len) in entries[..SMALL - 1].iter_mut().zip(codes).zip(&code.lengths) {
            if len > 0 || code.is_single() {
                *entry = u16::from(len) << MAX_CODE_BITS | bits;
            }
        }
        (code.lengths.len() < SMALL).then_some(Self { first: code.first, entries })
    }
}

/// The codes of any two symbols of a small alphabet, one after the other: `bits << 8 | length`, indexed by
/// both symbols; [`PairBook::ESCAPED`] if one has no code.
pub(crate) struct PairBook(pub Box<[u32; SMALL * SMALL]>);

impl PairBook {
    /// An impossible length, as a mark.
    pub const ESCAPED: u32 = 0x80;

    fn new(book: &SmallBook) -> Self {
        let mut pairs = Box::new([Self::ESCAPED; SMALL * SMALL]);
        let code = |entry: u16| {
            let bits = u32::from(entry) & ((1 << MAX_CODE_BITS) - 1);
            (entry < SmallBook::ESCAPED).then_some((bits, u32::from(entry >> MAX_CODE_BITS)))
        };
        for (pairs, &second) in pairs.chunks_exact_mut(SMALL).zip(&book.entries) {
            let Some((second, second_len)) = code(second) else { continue };
            for (pair, &first) in pairs.iter_mut().zip(&book.entries) {
                if let Some((first, len)) = code(first) {
                    *pair = (first | second << len) << 8 | (len + second_len);
                }
            }
        }
        Self(pairs)
    }
}

impl Codebook {
    /// The table for symbols of `symbol_bits` bits that are written with `code`.
    pub fn new(code: &Code, symbol_bits: u32) -> Self {
        let codes = code.codes();
        let escape = u32::from(codes[code.lengths.len()]);
        let escape_len = u32::from(code.escape);
        let mut entries = Box::new([0; ALPHABET]);
        for (symbol, entry) in entries.iter_mut().enumerate().take(1 << symbol_bits) {
            *entry = (escape | (symbol as u32) << escape_len) << 8 | (escape_len + symbol_bits);
        }
        for ((entry, &bits), &len) in
            entries[usize::from(code.first)..].iter_mut().zip(&codes).zip(&code.lengths)
        {
            if len > 0 || code.is_single() {
                *entry = u32::from(bits) << 8 | u32::from(len);
            }
        }
        Self { entries, small: SmallBook::new(code, &codes).map(Box::new), pairs: OnceLock::new() }
    }

    /// The codes of pairs of symbols of `small`, which must belong to this book.
    #[inline(always)]
    pub fn pairs(&self, small: &SmallBook) -> &PairBook {
        self.pairs.get_or_init(|| PairBook::new(small))
    }
}
