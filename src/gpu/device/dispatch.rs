//! Recording dispatches of kernels.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::buffer::Buffer;
use super::texture::TextureCopy;
use super::work::Work;
use crate::gpu::Kernel;

/// Maximum workgroups along a dimension that every device allows.
pub(in crate::gpu) const MAX_WORKGROUPS: u32 = 65_535;

/// Workgroups along one dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workgroups {
    /// A constant number.
    Fixed(u32),
    /// One per this many tokens of the batch.
    PerTokens(u32),
    /// One if the batch has more than this many tokens.
    Beyond(u32),
    /// One for each token whose logits are wanted.
    PerOutput,
}

impl Workgroups {
    fn count(self, batch: Batch) -> u32 {
        match self {
            Self::Fixed(count) => count,
            Self::PerTokens(each) => batch.tokens.div_ceil(each),
            Self::Beyond(tokens) => u32::from(batch.tokens > tokens),
            Self::PerOutput => batch.outputs,
        }
    }
}

/// The size of one submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Tokens.
    pub tokens: u32,
    /// How many of these, counted from the last, need logits.
    pub outputs: u32,
}

/// A kernel with its buffers, ready to be recorded any number of times.
#[derive(Debug)]
pub struct Dispatch {
    kernel: Arc<Kernel>,
    bind_group: wgpu::BindGroup,
    _params: Buffer,
    workgroups: [Workgroups; 2],
    stage: Option<usize>,
    work: Work,
    copy: Option<TextureCopy>,
    /// Whether the driver has compiled this dispatch for the kinds of resources that are bound.
    is_warm: AtomicBool,
}

impl Dispatch {
    /// A kernel with its bindings; `params` is kept alive with them.
    pub(super) fn new(
        kernel: Arc<Kernel>,
        bind_group: wgpu::BindGroup,
        params: Buffer,
        workgroups: [Workgroups; 2],
    ) -> Self {
        let (work, is_warm) = (Work::Little, AtomicBool::new(false));
        Self { kernel, bind_group, _params: params, workgroups, stage: None, work, copy: None, is_warm }
    }

    /// The same dispatch, with weights in the slot of the streamed stage `stage`.
    pub(in crate::gpu) fn at_stage(self, stage: Option<usize>) -> Self {
        Self { stage, ..self }
    }

    /// The same dispatch, with its amount of work.
    pub(in crate::gpu) fn with_work(self, work: Work) -> Self {
        Self { work, ..self }
    }

    /// The same dispatch, followed by a copy of what it wrote.
    pub(in crate::gpu) fn with_copy(self, copy: TextureCopy) -> Self {
        Self { copy: Some(copy), ..self }
    }

    /// The copy that follows it, if any.
    pub(super) fn copy(&self) -> Option<&TextureCopy> {
        self.copy.as_ref()
    }

    /// Its multiply-adds for `batch`, whose last token sees `positions` positions, itself included.
    pub fn work(&self, batch: Batch, positions: u32) -> u64 {
        let [x, y] = self.workgroups.map(|w| u64::from(w.count(batch)));
        self.work.of(x * y, positions)
    }

    /// The streamed stage that must be in its slot when this runs, if it reads one.
    pub fn stage(&self) -> Option<usize> {
        self.stage
    }

    /// The kernel's name, with the choices of its variant.
    pub fn label(&self) -> &str {
        &self.kernel.label
    }

    /// Records the dispatch for `batch`, without its copy.
    pub(super) fn record(&self, pass: &mut wgpu::ComputePass, batch: Batch) {
        let [x, y] = self.workgroups.map(|w| w.count(batch));
        if x == 0 || y == 0 {
            return;
        }
        pass.set_pipeline(&self.kernel.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(x, y, 1);
    }

    /// Whether it has workgroups for `batch`, but was never recorded for compiling.
    pub(in crate::gpu) fn is_cold(&self, batch: Batch) -> bool {
        !self.is_warm.load(Ordering::Relaxed) && self.workgroups.iter().all(|w| w.count(batch) > 0)
    }

    /// Records the dispatch without workgroups: the driver compiles it, and nothing is computed.
    pub(in crate::gpu) fn record_nothing(&self, pass: &mut wgpu::ComputePass) {
        pass.set_pipeline(&self.kernel.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(0, 1, 1);
    }

    /// Marks the dispatch as compiled.
    pub(in crate::gpu) fn set_warm(&self) {
        self.is_warm.store(true, Ordering::Relaxed);
    }
}
