//! Chooses the kernel that multiplies.

use crate::gpu::kernels::matvec::Product;
use crate::gpu::kernels::{matmul, matvec, widen};
use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, WideRoom};

/// The kernel that multiplies.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Products<'a> {
    /// One token: `matvec`.
    Single,
    /// A batch: `matmul`.
    Batch,
    /// A batch of at least this many tokens: `matmul`, with `widen` before it if that is faster.
    Widened(usize, &'a WideRoom),
}

impl Products<'_> {
    /// The dispatches of one product.
    pub fn dispatches(
        self,
        gpu: &Gpu,
        step: &Buffer,
        product: &Product<'_>,
    ) -> Result<Vec<Dispatch>, GpuError> {
        match self {
            Self::Single => matvec::dispatches(gpu, product),
            Self::Widened(tokens, room) if gpu.choices().widens(product.weights.format, tokens) => {
                widen::dispatches(gpu, step, room, product)
            }
            Self::Batch | Self::Widened(..) => matmul::dispatches(gpu, step, product),
        }
    }
}
