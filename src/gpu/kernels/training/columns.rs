//! Which columns of every token a kernel adds up, or adds to.

use bytemuck::{Pod, Zeroable};

/// `Columns` of `shaders/shared/columns.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Columns {
    /// How many.
    pub columns: u32,
    /// Of how many tokens.
    pub tokens: u32,
    /// Elements from one token to the next.
    pub stride: u32,
    /// The first of them.
    pub first: u32,
}

impl Columns {
    /// Of each token its elements, in order.
    pub(super) fn of<'a>(&self, tokens: &'a [f64]) -> impl Iterator<Item = &'a [f64]> {
        let (first, count) = (self.first as usize, self.columns as usize);
        tokens
            .chunks(self.stride as usize)
            .take(self.tokens as usize)
            .map(move |token| &token[first..][..count])
    }
}
