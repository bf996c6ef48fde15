//! Where the words of a lane lie in a raw plane.

/// Where the words of one lane lie in a row block of a plane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneWords {
    /// The lane's first word.
    pub start: usize,
    /// From one word of the lane to its next: the lanes that the row block has in this plane.
    pub stride: usize,
    /// The first column's bit, counted along the lane.
    pub first_bit: usize,
}
