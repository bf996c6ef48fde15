//! Weights on the device, in every form that they can be stored in.

use bantam::codec::encode::{encode_with_split, encode_with_top_bits};
use bantam::codec::head::Kind;
use bantam::codec::split::Split;
use bantam::codec::{Encoder, Lossy, Payload};
use bantam::gpu::weights::DeviceMatrix;
use bantam::gpu::weights::layouts::Format;
use bantam::gpu::{Gpu, Transcoded, Uploader};
use bantam::tensor::{Dtype, Matrix};

use crate::data::weights::{Likeness, rows_for};
use crate::data::{Random, bf16_bytes};

/// Weights on the device, and what they are in F32.
pub(super) struct Weights {
    pub device: DeviceMatrix,
    pub values: Vec<f32>,
    pub cols: usize,
    /// The same weights uncompressed, where `device` has them compressed.
    pub raw: Option<DeviceMatrix>,
}

/// How a test's weights are stored.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Raw(Dtype),
    /// BF16 with a code that need not have an escape.
    Bf16 {
        top_bits: u8,
    },
    /// With an escape.
    Tiled {
        dtype: Dtype,
        /// Top, low and clean bits.
        split: (u8, u8, u8),
        octaves: usize,
    },
    /// Rounded on purpose.
    Rounded {
        dtype: Dtype,
        bits: u8,
        block: usize,
    },
    /// BF16 in a layout that is made on the device.
    Transcoded {
        to: Transcoded,
        octaves: usize,
        /// One weight in so many has any bits, or is zero; none where this is 0.
        any_bits: usize,
        zeros: usize,
    },
}

impl Form {
    pub const ALL: [Self; 23] = [
        Self::Raw(Dtype::BF16),
        Self::Raw(Dtype::F16),
        Self::Raw(Dtype::F32),
        Self::Bf16 { top_bits: 0 },
        Self::Bf16 { top_bits: 1 },
        Self::Bf16 { top_bits: 2 },
        Self::Tiled { dtype: Dtype::BF16, split: (2, 0, 0), octaves: 6 },
        Self::Tiled { dtype: Dtype::F16, split: (2, 0, 0), octaves: 6 },
        Self::Tiled { dtype: Dtype::F16, split: (1, 1, 3), octaves: 0 },
        Self::Tiled { dtype: Dtype::F16, split: (3, 4, 0), octaves: 0 },
        Self::Tiled { dtype: Dtype::F32, split: (1, 0, 0), octaves: 0 },
        Self::Tiled { dtype: Dtype::F32, split: (2, 0, 8), octaves: 6 },
        Self::Tiled { dtype: Dtype::F32, split: (0, 0, 16), octaves: 0 },
        Self::Transcoded { to: Transcoded::Fast, octaves: 0, any_bits: 0, zeros: 0 },
        Self::Transcoded { to: Transcoded::Fast, octaves: 6, any_bits: 500, zeros: 0 },
        Self::Transcoded { to: Transcoded::Fast, octaves: 2, any_bits: 300, zeros: 20 },
        Self::Tiled { dtype: Dtype::BF16, split: (1, 0, 4), octaves: 0 },
        Self::Rounded { dtype: Dtype::BF16, bits: 3, block: 512 },
        Self::Rounded { dtype: Dtype::F16, bits: 2, block: 48 },
        Self::Rounded { dtype: Dtype::F32, bits: 5, block: 16 },
        Self::Rounded { dtype: Dtype::BF16, bits: 6, block: 32 },
        Self::Transcoded { to: Transcoded::Tiered, octaves: 6, any_bits: 500, zeros: 0 },
        Self::Transcoded { to: Transcoded::Tiered, octaves: 2, any_bits: 300, zeros: 20 },
    ];

    pub fn is_raw(self) -> bool {
        matches!(self, Self::Raw(_))
    }

    /// One of each type, raw and tiled.
    pub fn some() -> impl Iterator<Item = Self> {
        [0, 1, 2, 5, 6, 8, 11, 14, 15, 16, 17, 18, 19, 21, 22].into_iter().map(|i| Self::ALL[i])
    }

    /// One of each layout, and two of F32.
    pub fn few() -> impl Iterator<Item = Self> {
        [0, 2, 5, 11, 15, 17, 22].into_iter().map(|i| Self::ALL[i])
    }

    pub fn dtype(self) -> Dtype {
        match self {
            Self::Raw(dtype) | Self::Tiled { dtype, .. } | Self::Rounded { dtype, .. } => dtype,
            Self::Bf16 { .. } | Self::Transcoded { .. } => Dtype::BF16,
        }
    }

    /// The bytes of random weights that this form suits.
    pub fn bytes(self, rows: usize, cols: usize) -> Vec<u8> {
        let mut random = Random::new((rows * 10_000 + cols) as u64);
        match self {
            Self::Raw(dtype) => {
                let split = Split::new(dtype, 0, 0, 0).unwrap();
                let like = Likeness { any_bits: 0, dirty_rows: 0, octaves: 0 };
                rows_for(&split, rows, cols, like, &mut random)
            }
            Self::Bf16 { .. } => bf16_bytes(&compressible_bf16(&mut random, rows * cols)),
            Self::Transcoded { octaves, any_bits, zeros, .. } => {
                fast_bytes(&mut random, rows, cols, [octaves, any_bits, zeros])
            }
            Self::Rounded { dtype, .. } => {
                let split = Split::new(dtype, 0, 0, 0).unwrap();
                let like = Likeness { any_bits: 0, dirty_rows: 0, octaves: 3 };
                let bytes = rows_for(&split, rows, cols, like, &mut random);
                // As it is rounded, so that what is decoded is what there is.
                let Some(payload) = self.payload(rows, cols, &bytes) else { return bytes };
                Payload::parse(&payload).unwrap().decode().unwrap()
            }
            Self::Tiled { dtype, split: (t, b, clean), octaves } => {
                let split = Split::new(dtype, t, b, clean).unwrap();
                rows_for(&split, rows, cols, Likeness { any_bits: 0, dirty_rows: 5, octaves }, &mut random)
            }
        }
    }

    pub fn payload(self, rows: usize, cols: usize, bytes: &[u8]) -> Option<Vec<u8>> {
        let payload = match self {
            Self::Raw(_) => return None,
            Self::Transcoded { .. } => encode_with_top_bits(Dtype::BF16, &[rows, cols], bytes, 2),
            Self::Bf16 { top_bits } => encode_with_top_bits(Dtype::BF16, &[rows, cols], bytes, top_bits),
            Self::Rounded { dtype, bits, block } => {
                let lossy = Lossy::new(bits, block).unwrap();
                Encoder::default().rounding(Some(lossy)).encode(dtype, &[rows, cols], bytes)
            }
            Self::Tiled { dtype, split: (t, b, clean), .. } => {
                encode_with_split(&[rows, cols], bytes, Split::new(dtype, t, b, clean).unwrap())
            }
        };
        let payload = payload.unwrap();
        let tiled = matches!(Payload::parse(&payload).unwrap().head().kind, Kind::Tiled(_));
        tiled.then_some(payload)
    }
}

/// Random weights in `form`; `None` where they would not be smaller than raw.
pub(super) fn weights(gpu: &Gpu, form: Form, rows: usize, cols: usize) -> Option<Weights> {
    let bytes = form.bytes(rows, cols);
    let payload = form.payload(rows, cols, &bytes);
    if payload.is_none() && !form.is_raw() {
        return None;
    }
    let mut weights = uploaded(gpu, form.dtype(), rows, cols, &bytes, payload.as_deref());
    if let (Form::Transcoded { to, .. }, Some(payload)) = (form, &payload) {
        weights.device = uploaded_transcoded(gpu, payload, to);
        let is_it = match to {
            Transcoded::Fast => matches!(weights.device.format, Format::Fast(_)),
            Transcoded::Tiered => matches!(weights.device.format, Format::Tiered(_)),
        };
        assert!(is_it, "{form:?}, {rows} x {cols}");
    }
    Some(weights)
}

pub(super) fn uploaded_transcoded(gpu: &Gpu, payload: &[u8], to: Transcoded) -> DeviceMatrix {
    let mut uploader = Uploader::new(gpu).unwrap();
    let payload = Payload::parse(payload).unwrap();
    let matrix = DeviceMatrix::upload_transcoded(gpu, &mut uploader, to.name(), &payload, to);
    pollster::block_on(matrix).unwrap().unwrap()
}

/// BF16 around 0.03, in rows between which there are so many octaves; one in so many has any finite bits,
/// and one in so many is zero.
pub(super) fn fast_bytes(
    random: &mut Random,
    rows: usize,
    cols: usize,
    [octaves, any, zeros]: [usize; 3],
) -> Vec<u8> {
    let one = |i: usize| {
        let quieter = (i / cols * 37 % (octaves + 1)) as u16;
        let usual = compressible_bf16(random, 1)[0] - (quieter << 7);
        match () {
            () if any > 0 && random.below(any) == 0 => random.next() as u16 & 0xbfff,
            () if zeros > 0 && random.below(zeros) == 0 => (random.next() as u16) & 0x8000,
            () => usual,
        }
    };
    bf16_bytes(&(0..rows * cols).map(one).collect::<Vec<_>>())
}

pub(super) fn uploaded(
    gpu: &Gpu,
    dtype: Dtype,
    rows: usize,
    cols: usize,
    bytes: &[u8],
    payload: Option<&[u8]>,
) -> Weights {
    let mut uploader = Uploader::new(gpu).unwrap();
    let matrix = Matrix { rows, cols };
    let raw = DeviceMatrix::upload_raw(gpu, &mut uploader, "raw", dtype, matrix, bytes);
    let raw = pollster::block_on(raw).unwrap().unwrap();
    let values = widened(dtype, bytes);
    let Some(payload) = payload else { return Weights { device: raw, values, cols, raw: None } };
    let payload = Payload::parse(payload).unwrap();
    let tiled = DeviceMatrix::upload_tiled(gpu, &mut uploader, "tiled", &payload);
    let device = pollster::block_on(tiled).unwrap().unwrap();
    Weights { device, values, cols, raw: Some(raw) }
}

pub(super) fn widened(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    let halves = bytes.as_chunks().0.iter().map(|&b| u16::from_le_bytes(b));
    match dtype {
        Dtype::BF16 => halves.map(|h| half::bf16::from_bits(h).to_f32()).collect(),
        Dtype::F16 => halves.map(|h| half::f16::from_bits(h).to_f32()).collect(),
        _ => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
    }
}

/// Numbers around 0.03 with few exponents, so that even small matrices are worth tiling, and some
/// of any size.
pub(super) fn compressible_bf16(random: &mut Random, count: usize) -> Vec<u16> {
    let one = |_| match random.below(50) {
        0 => half::bf16::from_f32(random.gaussian()).to_bits(),
        n => (random.below(2) << 15 | [0x3d00, 0x3d80][n % 2] | random.below(32)) as u16,
    };
    (0..count).map(one).collect()
}
