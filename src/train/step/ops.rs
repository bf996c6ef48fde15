//! What a step does, in order, and submitting it.

use std::sync::Arc;

use crate::gpu::{Batch, Buffer, Dispatch, Gpu, GpuError, Pace, Texture};

/// One thing to do.
#[derive(Debug)]
enum Op {
    Dispatch(Dispatch),
    /// Copies bytes of a buffer to another.
    Copy {
        from: wgpu::Buffer,
        from_byte: u64,
        to: wgpu::Buffer,
        to_byte: u64,
        len: u64,
    },
    /// Copies whole vectors of a buffer to a texture.
    CopyToTexture {
        from: wgpu::Buffer,
        to: Arc<Texture>,
        len: u64,
    },
    /// Makes a whole buffer zero.
    Clear(wgpu::Buffer),
}

/// Things to do until the host has to look whether what was encoded had room.
#[derive(Debug, Default)]
pub(crate) struct Segment {
    ops: Vec<Op>,
    /// Which of them encode weights. They may be repeated until the segment ends: what they read is still there.
    encoding: Vec<usize>,
}

/// Things to do, in order.
#[derive(Debug)]
pub(crate) struct Ops(Vec<Segment>);

impl Default for Ops {
    fn default() -> Self {
        Self(vec![Segment::default()])
    }
}

/// No dispatch of a trainer depends on it.
const BATCH: Batch = Batch { tokens: 1, outputs: 1 };

impl Ops {
    /// The segments.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    fn add(&mut self, op: Op) {
        if let Some(segment) = self.0.last_mut() {
            segment.ops.push(op);
        }
    }

    pub fn push(&mut self, dispatch: Dispatch) {
        self.add(Op::Dispatch(dispatch));
    }

    /// Copies a buffer to another of the same size.
    pub fn copy(&mut self, from: &Buffer, to: &Buffer) {
        debug_assert_eq!(from.size(), to.size());
        self.add(copy(from, 0, to, 0, from.size()));
    }

    /// Copies all of a buffer to byte `at` of another.
    pub fn copy_to(&mut self, from: &Buffer, to: &Buffer, at: u64) {
        self.add(copy(from, 0, to, at, from.size()));
    }

    /// Copies a buffer to a texture of vectors, but for elements behind its last whole vector.
    pub fn copy_to_texture(&mut self, from: &Buffer, to: &Arc<Texture>) {
        let len = from.size() / 16 * 16;
        self.add(Op::CopyToTexture { from: from.raw().clone(), to: to.clone(), len });
    }

    /// Makes a buffer zero.
    pub fn clear(&mut self, buffer: &Buffer) {
        self.add(Op::Clear(buffer.raw().clone()));
    }

    /// Encodes weights.
    pub fn encode(&mut self, dispatches: Vec<Dispatch>) {
        if let Some(segment) = self.0.last_mut() {
            let first = segment.ops.len();
            segment.ops.extend(dispatches.into_iter().map(Op::Dispatch));
            segment.encoding.extend(first..segment.ops.len());
        }
    }

    /// Stores weights uncompressed, from byte `at` of a buffer on.
    pub fn store(&mut self, from: &Buffer, at: u64, to: &Buffer) {
        if let Some(segment) = self.0.last_mut() {
            segment.encoding.push(segment.ops.len());
            segment.ops.push(copy(from, at, to, 0, to.size()));
        }
    }

    /// Here the host looks whether what was encoded had room.
    pub fn look(&mut self) {
        self.0.push(Segment::default());
    }
}

impl Segment {
    /// Whether it encodes weights.
    pub fn encodes(&self) -> bool {
        !self.encoding.is_empty()
    }
}

fn copy(from: &Buffer, from_byte: u64, to: &Buffer, to_byte: u64, len: u64) -> Op {
    Op::Copy { from: from.raw().clone(), from_byte, to: to.raw().clone(), to_byte, len }
}

impl Op {
    /// Records what is not a dispatch.
    fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        match self {
            Self::Copy { from, from_byte, to, to_byte, len } => {
                encoder.copy_buffer_to_buffer(from, *from_byte, to, *to_byte, Some(*len));
            }
            Self::CopyToTexture { from, to, len } => to.record_copy(encoder, from, 0, *len),
            Self::Clear(buffer) => encoder.clear_buffer(buffer, 0, None),
            Self::Dispatch(_) => {}
        }
    }

    fn dispatch(&self) -> Option<&Dispatch> {
        match self {
            Self::Dispatch(dispatch) => Some(dispatch),
            Self::Copy { .. } | Self::CopyToTexture { .. } | Self::Clear(_) => None,
        }
    }

    fn work(&self) -> u64 {
        match self {
            Self::Dispatch(dispatch) => dispatch.work(BATCH, 1),
            Self::Copy { .. } | Self::CopyToTexture { .. } | Self::Clear(_) => 0,
        }
    }
}

/// Submits what a step does, no more at a time than the device's limit.
#[derive(Debug)]
pub(crate) struct Runner<'a> {
    gpu: &'a Gpu,
    pace: Pace,
}

impl<'a> Runner<'a> {
    pub fn new(gpu: &'a Gpu) -> Self {
        Self { gpu, pace: Pace::default() }
    }

    /// Submits a segment.
    pub async fn run(&mut self, segment: &Segment) -> Result<(), GpuError> {
        self.submit(&segment.ops.iter().collect::<Vec<_>>()).await
    }

    /// Encodes the weights of a segment that was run once more.
    pub async fn encode_again(&mut self, segment: &Segment) -> Result<(), GpuError> {
        let ops: Vec<&Op> = segment.encoding.iter().filter_map(|&i| segment.ops.get(i)).collect();
        self.submit(&ops).await
    }

    async fn submit(&mut self, ops: &[&Op]) -> Result<(), GpuError> {
        let dispatches: Vec<&Dispatch> = ops.iter().filter_map(|op| op.dispatch()).collect();
        self.gpu.warm_up(&dispatches, BATCH).await?;
        let mut rest = ops;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.count(rest));
            self.pace.next(self.gpu).await?;
            self.gpu.submit("train", |encoder| record(now, encoder))?;
            rest = later;
        }
        Ok(())
    }

    /// How many of the first of `ops` are submitted together, at least one.
    fn count(&self, ops: &[&Op]) -> usize {
        let mut sum = 0u64;
        let fits = |op: &&&Op| {
            sum = sum.saturating_add(op.work());
            sum <= self.gpu.submission_work()
        };
        ops.iter().take_while(fits).count().max(1)
    }
}

fn record(ops: &[&Op], encoder: &mut wgpu::CommandEncoder) {
    for run in ops.chunk_by(|a, b| matches!((a, b), (Op::Dispatch(_), Op::Dispatch(_)))) {
        if !matches!(run, [Op::Dispatch(_), ..]) {
            run.iter().for_each(|op| op.record(encoder));
            continue;
        }
        Dispatch::record_all(encoder, run.iter().filter_map(|op| op.dispatch()), BATCH);
    }
}
