//! Measures products of matrices with vectors and with batches, from weights in every form.

use serde::Serialize;

use super::contender::{Contender, Copies};
use super::error::BenchError;
use super::form::{Form, Original};
use super::outcome::Outcome;
use super::timing::{Patience, Timing};
use super::{Bench, weights};
use crate::codec::{Payload, encode};
use crate::gpu::kernels::matvec::{self, Product};
use crate::gpu::kernels::{Step, matmul, widen};
use crate::gpu::weights::DeviceMatrix;
use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Uploader, WideRoom, download};
use crate::tensor::{Dtype, Matrix};

/// Tokens that `matmul` multiplies at a time.
const TOKENS: usize = 16;

/// Maximum copies of a matrix. More copies of a small one would make no difference.
const MOST_COPIES: u64 = 256;

/// The result of products with one matrix in one form.
#[derive(Debug, Clone, Serialize)]
pub struct ProductFigure {
    /// The form.
    pub form: &'static str,
    /// Bytes of the matrix on the device.
    pub weight_bytes: u64,
    /// Bits of a weight, including all overhead.
    pub bits_per_weight: f64,
    /// The time of one product.
    #[serde(flatten)]
    pub timing: Timing,
    /// 10⁹ bytes of stored weights read a second.
    pub gb_per_s: f64,
    /// The same rate in bytes of the uncompressed weights: 10⁹ bytes a second.
    pub original_gb_per_s: f64,
    /// 10⁹ multiplications and additions a second.
    pub gflop_per_s: f64,
    /// Ratio of the speed to the first form's.
    pub ratio: f64,
}

/// One matrix, multiplied with a vector or a batch.
#[derive(Debug, Clone, Serialize)]
pub struct ProductCase {
    /// Rows of the matrix.
    pub rows: usize,
    /// Columns of the matrix.
    pub cols: usize,
    /// Tokens of the batch.
    pub tokens: usize,
    /// The figures of all forms, or why there are none.
    #[serde(flatten)]
    pub outcome: Outcome<Vec<ProductFigure>>,
}

/// A kernel that multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernel {
    Matvec,
    /// For this many tokens.
    Matmul(usize),
}

impl Kernel {
    pub fn name(self) -> &'static str {
        match self {
            Self::Matvec => "matvec",
            Self::Matmul(_) => "matmul",
        }
    }

    pub fn tokens(self) -> usize {
        match self {
            Self::Matvec => 1,
            Self::Matmul(tokens) => tokens,
        }
    }

    /// Work of the kernel, up to a constant factor: a batch is rounded up to whole groups of tokens.
    fn work(self, [rows, cols]: [usize; 2]) -> f64 {
        let tokens = match self {
            Self::Matvec => 1,
            Self::Matmul(tokens) => tokens.next_multiple_of(TOKENS),
        };
        (rows * cols) as f64 * tokens as f64
    }
}

/// The slowest form's seconds for some work, to predict the time of more work.
#[derive(Debug, Default, Clone, Copy)]
struct Pace(Option<f64>);

impl Pace {
    fn seconds(self, work: f64) -> f64 {
        self.0.unwrap_or(0.0) * work
    }
}

impl Bench<'_> {
    /// Measures products with vectors, the main work of computing one token.
    pub async fn matvec(&mut self) -> Result<Vec<ProductCase>, BenchError> {
        let (mut all, mut pace) = (Vec::new(), Pace::default());
        for &shape in self.effort.matvec {
            all.extend(self.shape(shape, &[Kernel::Matvec], &mut pace).await?);
        }
        Ok(all)
    }

    /// Measures products with batches, the main work of a prefill.
    pub async fn matmul(&mut self) -> Result<Vec<ProductCase>, BenchError> {
        let kernels: Vec<Kernel> = self.effort.batches.iter().map(|&tokens| Kernel::Matmul(tokens)).collect();
        let (mut all, mut pace) = (Vec::new(), Pace::default());
        for &shape in self.effort.matmul {
            all.extend(self.shape(shape, &kernels, &mut pace).await?);
        }
        Ok(all)
    }

    /// Measures some kernels with one matrix. Skips what does not fit the device or would take too long.
    async fn shape(
        &mut self,
        [rows, cols]: [usize; 2],
        kernels: &[Kernel],
        pace: &mut Pace,
    ) -> Result<Vec<ProductCase>, BenchError> {
        let case = |kernel: &Kernel, outcome| ProductCase { rows, cols, tokens: kernel.tokens(), outcome };
        let longest = self.effort.longest_run.as_secs_f64();
        let too_long = |kernel: &Kernel, pace: Pace| {
            let seconds = pace.seconds(kernel.work([rows, cols]));
            (seconds > longest).then(|| format!("one run would take about {seconds:.0} s"))
        };
        if let Some(why) = kernels.first().and_then(|kernel| too_long(kernel, *pace)) {
            return Ok(kernels.iter().map(|kernel| case(kernel, Outcome::skipped(&why))).collect());
        }
        let copies = match self.copies([rows, cols]).await {
            Err(error) if error.is_too_large() => {
                return Ok(kernels.iter().map(|kernel| case(kernel, Outcome::skipped(&error))).collect());
            }
            copies => copies?,
        };
        let mut all = Vec::new();
        for kernel in kernels {
            let outcome = match too_long(kernel, *pace) {
                Some(why) => Outcome::skipped(&why),
                None => match self.compare(*kernel, &copies, [rows, cols]).await {
                    Err(error) if error.is_too_large() => Outcome::skipped(&error),
                    figures => Outcome::Measured(figures?),
                },
            };
            if let Outcome::Measured(figures) = &outcome {
                let slowest = figures.iter().map(|f| f.timing.seconds).fold(0.0, f64::max);
                pace.0 = Some(slowest / kernel.work([rows, cols]));
            }
            all.push(case(kernel, outcome));
        }
        Ok(all)
    }

    /// A matrix in all forms, each in as many copies as are read in turn.
    async fn copies(&mut self, [rows, cols]: [usize; 2]) -> Result<Vec<Copies>, BenchError> {
        let bytes = weights::gaussian(Dtype::BF16, rows * cols, 1);
        let payload = encode(Dtype::BF16, &[rows, cols], &bytes)?;
        let payload = Payload::parse(&payload)?;
        let matrix = Matrix { rows, cols };
        let original = Original { dtype: Dtype::BF16, matrix, bytes: &bytes, payload: &payload };
        let count = (self.effort.rotation / bytes.len() as u64).clamp(1, MOST_COPIES) as usize;
        let mut uploader = Uploader::new(&self.gpu)?;
        let mut all = Vec::new();
        for form in Form::ALL {
            self.check()?;
            all.extend(Copies::upload(&self.gpu, &mut uploader, form, &original, count).await?);
        }
        Ok(all)
    }

    /// Measures one kernel with all forms, in turn.
    async fn compare(
        &mut self,
        kernel: Kernel,
        copies: &[Copies],
        shape: [usize; 2],
    ) -> Result<Vec<ProductFigure>, BenchError> {
        let operands = Operands::new(&self.gpu, shape, kernel.tokens())?;
        let pass = self.effort.pass;
        let contender =
            |copies| Contender::new(copies, pass, |weights| operands.dispatches(&self.gpu, kernel, weights));
        let mut contenders = copies.iter().map(contender).collect::<Result<Vec<_>, _>>()?;
        let mut first = None;
        for contender in &mut contenders {
            operands.clear(&self.gpu)?;
            contender.run(&mut self.clock, kernel.tokens()).await?;
            let results = download(&self.gpu, &operands.y, operands.results).await?;
            let (form, expected) = &*first.get_or_insert_with(|| (contender.form.name(), results.clone()));
            if *expected != results {
                let what = format!("{} of {} x {}", kernel.name(), shape[0], shape[1]);
                return Err(BenchError::Different { what, form: contender.form.name(), first: form });
            }
        }
        let patience = Patience::new(self.effort.runs, self.effort.figure);
        let mut rounds = 0;
        while patience.another(rounds) {
            self.check()?;
            for contender in &mut contenders {
                contender.run(&mut self.clock, kernel.tokens()).await?;
            }
            rounds += 1;
        }
        Ok(figures(contenders, kernel, shape))
    }
}

/// Turns measurements into figures. The first form is the reference.
fn figures(contenders: Vec<Contender>, kernel: Kernel, [rows, cols]: [usize; 2]) -> Vec<ProductFigure> {
    let elements = (rows * cols) as f64;
    let mut first = None;
    let figure = |contender: Contender| {
        let timing = Timing::of(contender.samples);
        ProductFigure {
            form: contender.form.name(),
            weight_bytes: contender.weight_bytes,
            bits_per_weight: contender.weight_bytes as f64 * 8.0 / elements,
            timing,
            gb_per_s: timing.rate(contender.weight_bytes as f64) / 1e9,
            original_gb_per_s: timing.rate(2.0 * elements) / 1e9,
            gflop_per_s: timing.rate(2.0 * elements * kernel.tokens() as f64) / 1e9,
            ratio: *first.get_or_insert(timing.seconds) / timing.seconds,
        }
    };
    contenders.into_iter().map(figure).collect()
}

/// The activations, and a buffer for results.
pub(super) struct Operands {
    x: Buffer,
    x_stride: usize,
    pub y: Buffer,
    y_stride: usize,
    /// Bytes of results in `y`.
    pub results: u64,
    step: Buffer,
}

impl Operands {
    pub fn new(gpu: &Gpu, [rows, cols]: [usize; 2], tokens: usize) -> Result<Self, GpuError> {
        let padded = tokens.next_multiple_of(TOKENS);
        let x_stride = cols.next_multiple_of(16);
        let x = weights::gaussian(Dtype::F32, x_stride * padded, 2);
        let copied = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let usage = wgpu::BufferUsages::STORAGE | copied;
        let step = Step { tokens: tokens as u32, position: 0, first_output: 0, rank: 0 };
        Ok(Self {
            x: gpu.buffer_with("x", &x, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::UNIFORM)?,
            x_stride,
            y: gpu.buffer("y", (rows * padded * 4) as u64, usage)?,
            y_stride: rows,
            results: (rows * tokens * 4) as u64,
            step: gpu.buffer_with("step", bytemuck::bytes_of(&step), wgpu::BufferUsages::UNIFORM)?,
        })
    }

    /// Clears the results of the kernel before, so that a kernel that writes nothing is found out.
    pub fn clear(&self, gpu: &Gpu) -> Result<(), GpuError> {
        gpu.submit("clear", |encoder| encoder.clear_buffer(self.y.raw(), 0, None))
    }

    pub fn dispatches(
        &self,
        gpu: &Gpu,
        kernel: Kernel,
        weights: &DeviceMatrix,
    ) -> Result<Vec<Dispatch>, GpuError> {
        let product = self.product(weights);
        match kernel {
            Kernel::Matvec => matvec::dispatches(gpu, &product),
            Kernel::Matmul(_) => matmul::dispatches(gpu, &self.step, &product),
        }
    }

    /// The same dispatches for a batch, with weights that are widened first.
    pub fn widened(
        &self,
        gpu: &Gpu,
        room: &WideRoom,
        weights: &DeviceMatrix,
    ) -> Result<Vec<Dispatch>, GpuError> {
        widen::dispatches(gpu, &self.step, room, &self.product(weights))
    }

    fn product<'a>(&'a self, weights: &'a DeviceMatrix) -> Product<'a> {
        Product {
            weights,
            x: &self.x,
            x_stride: self.x_stride,
            y: &self.y,
            y_stride: self.y_stride,
            bias: None,
            accumulate: false,
        }
    }
}
