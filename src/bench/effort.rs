//! What to measure, and for how long.

use std::time::Duration;

/// What a benchmark measures, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Number of runs. Their median is reported; one more run before them is not counted.
    pub runs: usize,
    /// Target time of a pass. A kernel is repeated to fill it, so that timing costs little of it.
    pub pass: Duration,
    /// Time limit for the runs of one figure. No run starts after it.
    pub figure: Duration,
    /// A measurement is skipped if one run of it is expected to take longer than this.
    pub longest_run: Duration,
    /// Time limit for the runs of a model in one form. No run starts after it.
    pub generation: Duration,
    /// Bytes of all copies of the same weights that kernels read in turn, so that the weights come from
    /// memory and not from a cache, as those of a whole model do.
    pub rotation: u64,
    /// Bytes to copy from buffer to buffer.
    pub copied: u64,
    /// Rows and columns of the tensors to decode.
    pub decoded: [usize; 2],
    /// Rows and columns of the matrices to multiply with vectors, from small to large.
    pub matvec: &'static [[usize; 2]],
    /// Rows and columns of the matrices to multiply with batches, from small to large.
    pub matmul: &'static [[usize; 2]],
    /// Tokens of these batches, ascending.
    pub batches: &'static [usize],
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Tokens computed one by one after the prompt.
    pub generated: usize,
}

impl Effort {
    /// Measures well enough for figures worth keeping.
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

    /// Shows only that everything works.
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
