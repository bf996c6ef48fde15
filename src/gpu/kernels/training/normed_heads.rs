//! Where query or key heads are before and after their norms.

use bytemuck::{Pod, Zeroable};

/// `NormedHeads` of `shaders/shared/normed_heads.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct NormedHeads {
    /// How many.
    pub heads: u32,
    /// Elements of each.
    pub dim: u32,
    /// Elements from one token to the next, before the norm.
    pub x_stride: u32,
    /// The same after it.
    pub y_stride: u32,
    /// The first element of the first head in each token, before and after.
    pub first: u32,
    /// Added to the mean square.
    pub epsilon: f32,
    /// Zero.
    pub unused: [u32; 2],
}

impl NormedHeads {
    /// The query heads and the key heads of tokens that have both side by side, `strides` elements from one token to the
    /// next before the norms and after them.
    pub fn of_queries_and_keys(
        [heads, kv_heads]: [usize; 2],
        dim: usize,
        strides: [usize; 2],
        epsilon: f32,
    ) -> [Self; 2] {
        let [x_stride, y_stride] = strides.map(|stride| stride as u32);
        [(heads, 0), (kv_heads, heads * dim)].map(|(count, first)| Self {
            heads: count as u32,
            dim: dim as u32,
            x_stride,
            y_stride,
            first: first as u32,
            epsilon,
            unused: [0; 2],
        })
    }

    fn len(&self) -> usize {
        (self.heads * self.dim) as usize
    }

    /// Of each token its heads before the norm, side by side.
    pub(super) fn before<'a>(&self, x: &'a [f64]) -> impl Iterator<Item = &'a [f64]> {
        let (first, len) = (self.first as usize, self.len());
        x.chunks(self.x_stride as usize).map(move |token| &token[first..][..len])
    }

    /// Of each token its heads after the norm, side by side.
    pub(super) fn after<'a>(&self, y: &'a mut [f64]) -> impl Iterator<Item = &'a mut [f64]> {
        let (first, len) = (self.first as usize, self.len());
        y.chunks_mut(self.y_stride as usize).map(move |token| &mut token[first..][..len])
    }
}
