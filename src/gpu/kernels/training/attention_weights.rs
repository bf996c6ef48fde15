//! Scores of attention to its weights: the softmax of each query's scores with the keys that it sees.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// Queries of a workgroup.
const QUERIES: u32 = 8;

/// `Seen` of `shaders/shared/seen.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct SeenParams {
    /// Queries, and keys, of a sequence.
    pub length: u32,
    /// Elements from one query to the next.
    pub row: u32,
    /// Elements from one matrix to the next.
    pub product: u32,
    /// How many positions back a query sees, itself included.
    pub window: u32,
    /// What scores are multiplied by.
    pub scale: f32,
    /// Zeros.
    pub unused: [u32; 3],
}

impl SeenParams {
    /// The keys that a query sees.
    pub(super) fn keys(&self, query: usize) -> std::ops::RangeInclusive<usize> {
        (query + 1).saturating_sub(self.window as usize)..=query
    }

    /// The workgroups for this many matrices.
    pub(super) fn workgroups(&self, products: usize) -> [Workgroups; 2] {
        [self.length.div_ceil(QUERIES), products as u32].map(Workgroups::Fixed)
    }
}

/// The kernel.
pub fn variant() -> Variant {
    Variant::new("attention_weights")
}

/// Makes weights of the scores of `products` matrices, where they are.
pub fn dispatch(
    gpu: &Gpu,
    params: &SeenParams,
    products: usize,
    scores: &Buffer,
) -> Result<Dispatch, GpuError> {
    gpu.kernel(variant())?.bind(gpu, params, &[(2, scores)], params.workgroups(products))
}

/// The twin.
pub fn cpu(params: &SeenParams, scores: &mut [f64]) {
    for scores in scores.chunks_mut(params.product as usize) {
        for (query, scores) in scores.chunks_mut(params.row as usize).take(params.length as usize).enumerate()
        {
            let keys = params.keys(query);
            let scale = f64::from(params.scale);
            let largest = scores[keys.clone()].iter().fold(f64::MIN, |most, &s| most.max(s * scale));
            for (key, score) in scores.iter_mut().enumerate() {
                *score = if keys.contains(&key) { (*score * scale - largest).exp() } else { 0.0 };
            }
            let sum: f64 = scores.iter().sum();
            scores.iter_mut().for_each(|weight| *weight /= sum);
        }
    }
}
