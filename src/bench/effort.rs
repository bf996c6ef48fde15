//! How much is measured, and how long it may take.

use std::time::Duration;

/// What a bench measures, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Runs of which the median is taken; one before them is not counted.
    pub runs: usize,
    /// A kernel is repeated in a pass until this is filled, so that timing costs little of it.
    pub pass: Duration,
    /// No more runs are begun when those of one figure have taken so long.
    pub figure: Duration,
    /// What is expected to take longer than this for one run is left out.
    pub longest_run: Duration,
    /// No more runs of a model are begun when those of one form have taken so long.
    pub generation: Duration,
    /// Bytes of copies of the same weights that kernels go through in turn, so that they come from
    /// memory and not from a cache, as a whole model's do.
    pub rotation: u64,
    /// Bytes that are copied from buffer to buffer.
    pub copied: u64,
    /// Rows and columns of what is decoded.
    pub decoded: [usize; 2],
    /// Rows and columns of the matrices that vectors are multiplied with, from small to large.
    pub matvec: &'static [[usize; 2]],
    /// Rows and columns of the matrices that batches are multiplied with, from small to large.
    pub matmul: &'static [[usize; 2]],
    /// Tokens of these batches, from few to many.
    pub batches: &'static [usize],
    /// Tokens of a prompt.
    pub prompt: usize,
    /// Tokens that are computed one by one after it.
    pub generated: usize,
}

impl Effort {
    /// What is worth keeping.
    pub const FULL: Self = Self {
        runs: 9,
        pass: Duration::from_millis(20),
        figure: Duration::from_secs(4),
        longest_run: Duration::from_secs(5),
        generation: Duration::from_secs(20),
        rotation: 256 << 20,
        copied: 256 << 20,
        decoded: [4096, 4096],
        matvec: &[[576, 576], [1536, 576], [576, 1536], [2048, 2048], [4096, 4096], [14_336, 4096]],
        matmul: &[[2048, 2048], [4096, 4096]],
        batches: &[8, 64, 512],
        prompt: 64,
        generated: 16,
    };

    /// What shows that everything works.
    pub const QUICK: Self = Self {
        runs: 3,
        pass: Duration::from_millis(1),
        figure: Duration::from_millis(200),
        longest_run: Duration::from_secs(1),
        generation: Duration::from_millis(500),
        rotation: 4 << 20,
        copied: 16 << 20,
        decoded: [512, 512],
        matvec: &[[576, 576], [1536, 576]],
        matmul: &[[576, 576]],
        batches: &[8, 64],
        prompt: 64,
        generated: 4,
    };
}
