//! Pieces, and the payloads that a store may have of them.

/// Three pieces, as bits.
pub type Pieces = u8;
pub const FIRST: Pieces = 0b001;
pub const SECOND: Pieces = 0b010;
pub const THIRD: Pieces = 0b100;
pub const BOTH: Pieces = FIRST | SECOND;

/// Payloads of pieces, as bits: of each piece the one that is stored alone, then differences.
pub type Copies = u8;
pub const ALONE: Copies = 0b111;

/// Which piece is stored as the difference to which other one.
pub const DIFFERENCES: [(Pieces, Pieces); 3] = [(FIRST, SECOND), (SECOND, FIRST), (THIRD, FIRST)];

/// The differences of `pieces`.
pub const fn differences(pieces: Pieces) -> Copies {
    pieces << 3
}

/// The bases of the differences that are among the payloads of `pieces`.
pub fn bases_of(pieces: Pieces, copies: Copies) -> Pieces {
    let is_there = |piece: Pieces| pieces & piece != 0 && copies & differences(piece) != 0;
    DIFFERENCES.iter().filter(|(piece, _)| is_there(*piece)).fold(0, |set, (_, base)| set | base)
}

/// The pieces that payloads decode to, where all that is needed for it is among them.
pub fn decoded(copies: Copies) -> Pieces {
    let has_base = |piece: Pieces| bases_of(piece, copies) & copies & ALONE != 0;
    DIFFERENCES
        .iter()
        .filter(|(piece, _)| has_base(*piece))
        .fold(copies & ALONE, |set, (piece, _)| set | piece)
}
