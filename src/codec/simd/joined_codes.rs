//! Looking up the codes of neighbouring symbols and joining them: the types of input and result.

/// Maximum bits that are appended at once. Up to seven bits may be pending in the writer.
pub(crate) const APPEND_BITS: u64 = 56;

/// Symbols whose codes are joined before they are appended.
pub(crate) const JOINED: usize = 32;

/// Number of entries in a [`SmallBook`]; the last one is for all other symbols.
pub(crate) const SMALL: usize = 128;

/// The codes of a small alphabet, which fits into vectors.
pub(crate) struct SmallBook {
    /// The symbol that the first entry belongs to.
    pub first: u16,
    /// `length << 12 | bits` for a code; [`SmallBook::ESCAPED`] for a symbol without one. The last entry is
    /// for all symbols beyond.
    pub entries: [u16; SMALL],
}

impl SmallBook {
    /// Not a code, because lengths are 12 at most.
    pub const ESCAPED: u16 = 0xf000;
}

/// The codes of [`JOINED`] symbols, with neighbouring codes joined into one number.
#[repr(align(64))]
pub(crate) struct Joined {
    /// The bits of each piece.
    pub bits: [u64; JOINED / 4],
    /// The length of each piece in bits.
    pub lens: [u64; JOINED / 4],
    /// Whether each piece has eight symbols, and only even pieces are used; otherwise each piece has four.
    pub eights: bool,
    /// Bit `i` is set if symbol `i` has no code. A piece with such a symbol is meaningless.
    pub escaped: u32,
}
