//! Which rows of a matrix a kernel works on.

use bytemuck::{Pod, Zeroable};

/// `MatrixPart` of `shaders/shared/matrix_part.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct MatrixPart {
    /// How many.
    pub rows: u32,
    /// Their columns.
    pub columns: u32,
    /// The first of them in the matrix.
    pub first_row: u32,
    /// Zero.
    pub unused: u32,
}

impl MatrixPart {
    /// These rows of a matrix with so many columns.
    pub fn new(rows: std::ops::Range<usize>, columns: usize) -> Self {
        Self { rows: rows.len() as u32, columns: columns as u32, first_row: rows.start as u32, unused: 0 }
    }
}
