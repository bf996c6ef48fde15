//! Options for loading a model.

use std::sync::Arc;

use crate::model::adapter::Adapter;
use crate::model::plan::precisions::Precisions;

/// Options for loading a model.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct LoadOptions {
    /// Decompress all weights while loading and compute from them, to compare with compressed runs.
    pub raw: bool,
    /// Layout of compressed weights in device memory.
    pub layout: Layout,
    /// Precision at which compressed weights are loaded. Bits beyond it are neither read nor uploaded.
    pub precision: Precisions,
    /// Maximum bytes of device memory for all buffers of this model and its sessions; allocations beyond it
    /// fail. If the device has a budget too, the model also gets no more than what is left of that. Weights
    /// that do not fit are streamed from their file, which must not change while the model is in use. Only
    /// compressed weights can be streamed.
    ///
    /// Without either limit, all weights stay in device memory.
    pub budget: Option<u64>,
    /// Bytes of the budget to reserve for sessions: the sum of [`Session::device_bytes`] over all sessions
    /// that will exist at the same time. The default is one session of 1024 positions, or what the model was
    /// made for if that is less, that computes the last token's logits.
    ///
    /// [`Session::device_bytes`]: crate::model::Session::device_bytes
    pub working_set: Option<u64>,
    /// An adapter whose products are added to those of the weights. It stays in device memory, and counts as part of the
    /// working set.
    pub adapter: Option<Arc<Adapter>>,
}

setters! {
    LoadOptions {
        raw: bool => with_raw,
        layout: Layout => with_layout,
        precision: Precisions => with_precision,
        budget: Option<u64> => with_budget,
        working_set: Option<u64> => with_working_set,
        adapter: Option<Arc<Adapter>> => with_adapter,
    }
}

/// The default context length, in positions, for which a model leaves memory.
pub const USUAL_CONTEXT: usize = 1024;

/// Layout of compressed weights in device memory. All layouts give the same bits.
///
/// Streamed weights are always dense tiles, with one exception: if a CPU acts as the device, they are decoded
/// while they are streamed, unless memory is too small for that or [`Layout::Dense`] is requested.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// As in the file: the smallest layout, about 10.6 bits for each BF16.
    Dense,
    /// BF16 takes about 12 bits and is read faster than from dense tiles; other types as [`Layout::Dense`].
    Fast,
    /// BF16 takes about 11 bits and is read faster than from dense tiles, but slower than in the fast layout;
    /// other types as [`Layout::Dense`].
    Tiered,
    /// Fast if the device's [choices](crate::gpu::KernelChoices) say that it is faster and if all of it fits (if a
    /// CPU acts as the device, also if it does not fit). Otherwise tiered if all of that fits, and else dense.
    #[default]
    Auto,
}
