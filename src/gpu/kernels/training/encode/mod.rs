//! Uncompressed BF16 to a compressed layout, and back, on the device alone: rows are measured, their places are added
//! up, and their words are written. So weights can be changed, and take as few bytes as before.
//!
//! A piece of a matrix has room for somewhat more exceptions and streams than it needs. How much it needs is written
//! down each time; where there is too little room, nothing else is written.

mod fast;
mod tiered;

use bytemuck::{Pod, Zeroable};

use crate::codec::grid::{Grid, LANES};
use crate::gpu::kernels::widen;
use crate::gpu::weights::layouts::raw;
use crate::gpu::weights::layouts::{FastFormat, Format, TieredFormat, Transcoded};
use crate::gpu::weights::matrix_params::MatrixParams;
use crate::gpu::weights::words::WEIGHTS;
use crate::gpu::weights::{DeviceMatrix, Part, Words};
use crate::gpu::{Bound, Buffer, Choice, Dispatch, Gpu, GpuError, Invocations, Variant, Workgroups};
use crate::tensor::{Dtype, Matrix};

/// What a piece needs beside the words at fixed places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Needs {
    /// Exceptions.
    pub exceptions: u32,
    /// Words of streams.
    pub stream_words: u32,
    /// The most exceptions of a row in the tiered layout, and of a row block in the fast layout.
    pub most: u32,
    /// Zero.
    pub unused: u32,
}

/// The layouts that the device writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Fast(FastFormat),
    Tiered(TieredFormat),
}

/// A piece of a matrix in a compressed layout.
#[derive(Debug)]
pub struct Encoded {
    encoding: Encoding,
    weights: DeviceMatrix,
    table: Buffer,
    /// What there is room for.
    room: Needs,
}

/// Memory between the dispatches that encode a piece.
#[derive(Debug)]
pub struct EncodeScratch {
    measured: Buffer,
    places: Buffer,
}

impl EncodeScratch {
    /// Enough for any piece of up to `rows` rows and `weights` weights.
    pub fn new(gpu: &Gpu, rows: usize, weights: usize) -> Result<Self, GpuError> {
        let [measured, places] = Self::bytes(rows, weights);
        Ok(Self {
            measured: gpu.buffer("measured", measured, WEIGHTS)?,
            places: gpu.buffer("places", places, WEIGHTS)?,
        })
    }

    /// Bytes of what is measured, and of rows' places.
    pub fn bytes(rows: usize, weights: usize) -> [u64; 2] {
        let (fast, tiered) = (fast::scratch_bytes(rows, weights), tiered::scratch_bytes(rows));
        [fast[0].max(tiered[0]), fast[1].max(tiered[1])]
    }
}

impl Needs {
    /// Room for this much and for some more, since weights change. `weights` is how many there are.
    pub fn with_slack(self, layout: Transcoded, weights: usize) -> Self {
        let weights = u32::try_from(weights).unwrap_or(u32::MAX);
        let slack = match layout {
            Transcoded::Fast => self.exceptions + weights / 1024,
            Transcoded::Tiered => self.exceptions / 4 + weights / 2048,
        };
        Self {
            exceptions: self.exceptions + slack + 64,
            stream_words: self.stream_words + self.stream_words / 16 + 64,
            ..self
        }
    }
}

impl Encoded {
    /// What a piece needs in a layout, and room for it: its rows have `cols` elements each. `None` if it had better not
    /// be compressed.
    pub fn needs(layout: Transcoded, cols: usize, bits: &[u16]) -> Option<(Format, Needs)> {
        let grid = Grid::for_matrix(Matrix { rows: bits.len() / cols.max(1), cols });
        match layout {
            Transcoded::Fast => fast::needs(&grid, bits),
            Transcoded::Tiered => tiered::needs(&grid, bits),
        }
    }

    /// Bytes in device memory of a piece, and of its table, with room for so much.
    pub fn bytes_with(layout: Transcoded, matrix: Matrix, room: &Needs) -> [u64; 2] {
        let grid = Grid::for_matrix(matrix);
        let mut params = MatrixParams::untiled(&grid, 0..grid.row_blocks);
        let [bytes, words] = match layout {
            Transcoded::Fast => fast::place(&mut params, &grid, room),
            Transcoded::Tiered => tiered::place(&mut params, &grid, room),
        };
        [Gpu::buffer_bytes(bytes), Gpu::buffer_bytes(4 * words)]
    }

    /// Makes room for a piece in a format that [`Encoded::needs`] gave.
    pub fn new(
        gpu: &Gpu,
        label: &str,
        matrix: Matrix,
        format: Format,
        room: Needs,
    ) -> Result<Self, GpuError> {
        let grid = Grid::for_matrix(matrix);
        let mut params = MatrixParams::untiled(&grid, 0..grid.row_blocks);
        let (encoding, [bytes, table_words]) = match format {
            Format::Fast(format) => (Encoding::Fast(format), fast::place(&mut params, &grid, &room)),
            Format::Tiered(format) => (Encoding::Tiered(format), tiered::place(&mut params, &grid, &room)),
            Format::Raw(_) | Format::Dense(_) => {
                return Err(GpuError::Validation(format!("{label}: the device does not write this layout")));
            }
        };
        let payload = Words::Buffer(gpu.buffer(label, bytes, WEIGHTS)?);
        let table = gpu.buffer(label, 4 * table_words, WEIGHTS)?;
        let parts = vec![Part { payload, table: None, stage: None, params }];
        let weights = DeviceMatrix { format, matrix, parts, codes: None, joined: None, grid };
        Ok(Self { encoding, weights, table, room })
    }

    /// Room for a piece of BF16 that begins as zeros, and may become anything: in the fast layout, whose windows are found
    /// anew each time.
    pub fn zeros(gpu: &Gpu, label: &str, matrix: Matrix) -> Result<Self, GpuError> {
        let format = Format::Fast(FastFormat { zeros: true });
        Self::new(gpu, label, matrix, format, Self::room_for_zeros(matrix))
    }

    /// Bytes in device memory of such a piece, and of its table.
    pub fn zeros_bytes(matrix: Matrix) -> [u64; 2] {
        Self::bytes_with(Transcoded::Fast, matrix, &Self::room_for_zeros(matrix))
    }

    /// What moments of a first step need: most matrices of SmolLM2 have less than one exception in 250.
    fn room_for_zeros(matrix: Matrix) -> Needs {
        let weights = matrix.rows * matrix.cols;
        let needs = Needs { exceptions: (weights / 256) as u32, ..Needs::default() };
        needs.with_slack(Transcoded::Fast, weights)
    }

    /// Bytes in device memory.
    pub fn bytes(&self) -> u64 {
        self.weights.bytes() + self.table.size()
    }

    /// The format of the weights.
    pub fn format(&self) -> Format {
        self.weights.format
    }

    /// Whether there is room for so much.
    pub fn holds(&self, needs: &Needs) -> bool {
        let most = match self.encoding {
            Encoding::Fast(_) => fast::MOST_OF_ROW_BLOCK,
            Encoding::Tiered(_) => tiered::MOST_OF_ROW,
        };
        needs.exceptions <= self.room.exceptions
            && needs.stream_words <= self.room.stream_words
            && needs.most <= most
    }

    /// Whether there would be with more memory, and less than without compression.
    pub fn could_hold(&self, needs: &Needs) -> bool {
        let (matrix, weights) = (self.weights.matrix, self.weights.matrix.rows * self.weights.matrix.cols);
        let room = needs.with_slack(self.layout(), weights);
        let most = match self.encoding {
            Encoding::Fast(_) => fast::most(weights),
            Encoding::Tiered(_) => tiered::most(),
        };
        let more = 4 * (u64::from(room.exceptions) + u64::from(room.stream_words));
        let fixed = self.weights.bytes();
        let uncompressed = (raw::row_block_bytes(Dtype::BF16, matrix.cols) * row_blocks(matrix.rows)) as u64;
        needs.most <= most.most && room.exceptions <= most.exceptions && fixed + more <= uncompressed
    }

    /// The layout.
    pub fn layout(&self) -> Transcoded {
        match self.encoding {
            Encoding::Fast(_) => Transcoded::Fast,
            Encoding::Tiered(_) => Transcoded::Tiered,
        }
    }

    /// The words at fixed places, and the table.
    pub fn words(&self) -> [&Buffer; 2] {
        match &self.weights.parts[..] {
            [Part { payload: Words::Buffer(payload), .. }, ..] => [payload, &self.table],
            _ => [&self.table; 2],
        }
    }

    /// Writes the weights to `to`, uncompressed.
    pub fn widen(&self, gpu: &Gpu, to: Bound<'_>) -> Result<Dispatch, GpuError> {
        widen::whole(gpu, &self.weights, (&self.table).into(), to)
    }

    /// Reads the weights from `from`, uncompressed, and writes what the piece needs to place `piece` of `needs`.
    pub fn encode(
        &self,
        gpu: &Gpu,
        from: Bound<'_>,
        scratch: &EncodeScratch,
        (needs, piece): (&Buffer, u32),
    ) -> Result<Vec<Dispatch>, GpuError> {
        let encode = Encode { gpu, encoded: self, from, scratch, needs, piece };
        match self.encoding {
            Encoding::Fast(format) => fast::encode(&encode, format),
            Encoding::Tiered(format) => tiered::encode(&encode, format),
        }
    }
}

/// What a piece is encoded with.
struct Encode<'a> {
    gpu: &'a Gpu,
    encoded: &'a Encoded,
    from: Bound<'a>,
    scratch: &'a EncodeScratch,
    needs: &'a Buffer,
    piece: u32,
}

impl Encode<'_> {
    fn params(&self) -> MatrixParams {
        let params = self.encoded.weights.parts.first().map(|part| part.params);
        let mut params = params.unwrap_or(Zeroable::zeroed());
        // Rows are read from the first column to the last.
        (params.tile_cols, params.col_tiles) = (params.cols, 1);
        params
    }

    fn row_blocks(&self) -> [Workgroups; 2] {
        [self.params().row_blocks(), 1].map(Workgroups::Fixed)
    }

    /// A kernel that reads uncompressed rows.
    fn reads_rows(&self, variant: Variant, others: &[(u32, Bound<'_>)]) -> Result<Dispatch, GpuError> {
        let mut buffers = vec![(2, self.from)];
        buffers.extend_from_slice(others);
        self.gpu.kernel(variant)?.bind(self.gpu, &self.params(), &buffers, self.row_blocks())
    }
}

/// A kernel that reads uncompressed rows.
fn from_wide(kernel: &'static str, zeros: bool) -> Variant {
    Invocations::ONE_ROW_EACH.apply(Variant::new(kernel).choose(Choice::Wide)).choose_if(zeros, Choice::Zeros)
}

/// Row blocks of so many rows.
fn row_blocks(rows: usize) -> usize {
    rows.div_ceil(LANES)
}

/// All variants.
pub(super) fn variants() -> Vec<Variant> {
    let mut all = fast::variants();
    all.extend(tiered::variants());
    all
}
