//! Where the words of a lane lie in a raw plane.

/// Where the words of one lane lie in a row block of a plane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneWords {
    /// The lane's first word.
    pub start: usize,
    /// Distance from one word of the lane to its next: the number of lanes of the row block in this plane.
    pub stride: usize,
    /// Position of the first column's bit in the lane.
    pub first_bit: usize,
}
