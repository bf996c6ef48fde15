//! Looking up the codes of neighbours and joining them: what that takes and what it gives.

/// Most bits that are appended at once: fewer than eight may wait for a byte to be full.
pub(crate) const APPEND_BITS: u64 = 56;

/// Symbols whose codes are joined before they are appended.
pub(crate) const JOINED: usize = 32;

/// Symbols that a [`SmallBook`] has room for, and the entry for all others.
pub(crate) const SMALL: usize = 128;

/// The codes of a small alphabet, which vectors can hold.
pub(crate) struct SmallBook {
    /// The symbol that the first entry belongs to.
    pub first: u16,
    /// `length << 12 | bits` for a code, [`SmallBook::ESCAPED`] for what has none. The last entry
    /// stands for all symbols beyond.
    pub entries: [u16; SMALL],
}

impl SmallBook {
    /// What is no code: lengths are 12 at the most.
    pub const ESCAPED: u16 = 0xf000;
}

/// The codes of [`JOINED`] symbols, those of neighbours joined to one number.
#[repr(align(64))]
pub(crate) struct Joined {
    /// Of each piece its bits.
    pub bits: [u64; JOINED / 4],
    /// And how many they are.
    pub lens: [u64; JOINED / 4],
    /// Whether there is a piece for every eight symbols, at the even places, or else one for every four.
    pub eights: bool,
    /// Bit `i` for each symbol that has no code. A piece with such a symbol is of no meaning.
    pub escaped: u32,
}
