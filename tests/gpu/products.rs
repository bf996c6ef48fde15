//! Kernels that read weights compute what their twins on the CPU say, from every form of weights and for
//! awkward shapes.

use bantam::codec::encode::{encode_with_split, encode_with_top_bits};
use bantam::codec::head::Kind;
use bantam::codec::split::Split;
use bantam::codec::{Encoder, Lossy, Payload};
use bantam::gpu::kernels::matvec::Product;
use bantam::gpu::kernels::swiglu::SwigluParams;
use bantam::gpu::kernels::{decode, embed, matmul, matvec, swiglu, widen};
use bantam::gpu::weights::layouts::{Format, fast, raw, tiered};
use bantam::gpu::weights::{DeviceMatrix, Join, Tiles, TilesKey, Words};
use bantam::gpu::{
    Buffer, Dispatch, Gpu, GpuError, Invocations, KernelChoices, Target, Transcoded, Uploader, WideRoom,
    download,
};
use bantam::tensor::{Dtype, Matrix};
use wgpu::BufferUsages;

use crate::data::weights::{Likeness, rows_for};
use crate::data::{Random, bf16_bytes};
use crate::device;
use crate::on_device::{EPSILON, assert_close, normal, padded, read, run, step, storage, uniform};

/// Sizes around the edges of chunks (16), row blocks (64) and tiles (256 and more columns).
const SHAPES: [(usize, usize); 8] =
    [(100, 50), (64, 16), (130, 300), (1, 33), (63, 1), (65, 513), (70, 800), (200, 1040)];

/// Weights on the device, and what they are in F32.
struct Weights {
    device: DeviceMatrix,
    values: Vec<f32>,
    cols: usize,
    /// The same weights uncompressed, where `device` has them compressed.
    raw: Option<DeviceMatrix>,
}

/// How a test's weights are stored.
#[derive(Debug, Clone, Copy)]
enum Form {
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
    const ALL: [Self; 23] = [
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

    fn is_raw(self) -> bool {
        matches!(self, Self::Raw(_))
    }

    /// One of each type, raw and tiled.
    fn some() -> impl Iterator<Item = Self> {
        [0, 1, 2, 5, 6, 8, 11, 14, 15, 16, 17, 18, 19, 21, 22].into_iter().map(|i| Self::ALL[i])
    }

    fn dtype(self) -> Dtype {
        match self {
            Self::Raw(dtype) | Self::Tiled { dtype, .. } | Self::Rounded { dtype, .. } => dtype,
            Self::Bf16 { .. } | Self::Transcoded { .. } => Dtype::BF16,
        }
    }

    /// The bytes of random weights that this form suits.
    fn bytes(self, rows: usize, cols: usize) -> Vec<u8> {
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

    fn payload(self, rows: usize, cols: usize, bytes: &[u8]) -> Option<Vec<u8>> {
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
fn weights(gpu: &Gpu, form: Form, rows: usize, cols: usize) -> Option<Weights> {
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

fn uploaded_transcoded(gpu: &Gpu, payload: &[u8], to: Transcoded) -> DeviceMatrix {
    let mut uploader = Uploader::new(gpu).unwrap();
    let payload = Payload::parse(payload).unwrap();
    let matrix = DeviceMatrix::upload_transcoded(gpu, &mut uploader, to.name(), &payload, to);
    pollster::block_on(matrix).unwrap().unwrap()
}

/// BF16 around 0.03, in rows between which there are so many octaves; one in so many has any finite bits,
/// and one in so many is zero.
fn fast_bytes(random: &mut Random, rows: usize, cols: usize, [octaves, any, zeros]: [usize; 3]) -> Vec<u8> {
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

fn uploaded(
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

fn widened(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    let halves = bytes.as_chunks().0.iter().map(|&b| u16::from_le_bytes(b));
    match dtype {
        Dtype::BF16 => halves.map(|h| half::bf16::from_bits(h).to_f32()).collect(),
        Dtype::F16 => halves.map(|h| half::f16::from_bits(h).to_f32()).collect(),
        _ => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
    }
}

/// Numbers around 0.03 with few exponents, so that even small matrices are worth tiling, and some
/// of any size.
fn compressible_bf16(random: &mut Random, count: usize) -> Vec<u16> {
    let one = |_| match random.below(50) {
        0 => half::bf16::from_f32(random.gaussian()).to_bits(),
        n => (random.below(2) << 15 | [0x3d00, 0x3d80][n % 2] | random.below(32)) as u16,
    };
    (0..count).map(one).collect()
}

/// What rounding may change in a sum of products: one rounding a step, in the device or its twin,
/// of partial sums that the sum of magnitudes bounds.
fn product_tolerance(weights: &Weights, x: &[f32], added: f32, row: usize) -> f64 {
    let row = &weights.values[row * weights.cols..][..weights.cols];
    let magnitudes: f64 = row.iter().zip(x).map(|(w, x)| f64::from((w * x).abs())).sum();
    (weights.cols + 4) as f64 * 2.0 * EPSILON * (magnitudes + f64::from(added.abs()))
}

/// Checks matvec and matmul of `weights` by `tokens` tokens, which must also give the same bits.
fn check_products(gpu: &Gpu, weights: &Weights, tokens: usize, with_bias: bool, accumulate: bool) {
    let Matrix { rows, cols } = weights.device.matrix;
    let what = format!(
        "{:?} {rows}x{cols}, {tokens} tokens, bias {with_bias}, accumulate {accumulate}",
        weights.device.format
    );
    let x_stride = weights.device.padded_cols() + 16;
    let y_stride = rows + 3;
    let room = tokens.next_multiple_of(16);
    let x = normal(1, tokens * cols);
    // What lies past the last token must not matter.
    let mut padded_x = padded(&x, cols, x_stride, 0.0);
    padded_x.resize(room * x_stride, f32::NAN);
    let bias = normal(2, rows);
    let before = normal(3, room * y_stride);

    let device_x = storage(gpu, &padded_x);
    let device_bias = storage(gpu, &bias);
    let step = uniform(gpu, step(tokens, 0));
    let multiply = |matrix: &DeviceMatrix, dispatches: &dyn Fn(&Product<'_>) -> Vec<Dispatch>| {
        let y = storage(gpu, &before);
        let product = Product {
            weights: matrix,
            x: &device_x,
            x_stride,
            y: &y,
            y_stride,
            bias: with_bias.then_some(&device_bias),
            accumulate,
        };
        run(gpu, &dispatches(&product), tokens);
        read(gpu, &y, room * y_stride)
    };

    let wanted =
        matmul::cpu(&weights.values, cols, weights.device.span_cols(), &x, with_bias.then_some(&bias[..]));
    let with_matmul = |product: &Product<'_>| matmul::dispatches(gpu, &step, product).unwrap();
    let with_matvec = |product: &Product<'_>| matvec::dispatches(gpu, product).unwrap();
    let by_matmul = multiply(&weights.device, &with_matmul);
    let by_matvec = multiply(&weights.device, &with_matvec);
    if let Some(raw) = &weights.raw {
        assert!(same_bits(&by_matmul, &multiply(raw, &with_matmul)), "matmul of {what} and of raw weights");
        assert!(same_bits(&by_matvec, &multiply(raw, &with_matvec)), "matvec of {what} and of raw weights");
        if tokens > 1 {
            check_widened(gpu, weights, &by_matmul, &what, |room| {
                let widened = |product: &Product<'_>| {
                    let dispatches = widen::dispatches(gpu, &step, room, product).unwrap();
                    // The least buffer is for nothing.
                    assert_eq!(dispatches[0].label().starts_with("widen"), room.bytes() > 16, "{what}");
                    dispatches
                };
                multiply(&weights.device, &widened)
            });
        }
    }
    for token in 0..tokens {
        let at = token * y_stride;
        let old = |row: usize| if accumulate { before[at + row] } else { 0.0 };
        let wanted: Vec<f32> = (0..rows).map(|row| wanted[token * rows + row] + old(row)).collect();
        let x = &x[token * cols..][..cols];
        let tolerance = |row: usize| {
            let added = old(row).abs() + if with_bias { bias[row].abs() } else { 0.0 };
            product_tolerance(weights, x, added, row)
        };
        assert_close(
            &by_matmul[at..at + rows],
            &wanted,
            tolerance,
            &format!("matmul of {what}, token {token}"),
        );
    }
    assert_eq!(by_matvec[..rows], by_matmul[..rows], "matvec and matmul of {what}");
    let span_cols = weights.device.span_cols();
    assert_eq!(
        matvec::cpu(&weights.values, span_cols, &x[..cols], None),
        matmul::cpu(&weights.values, cols, span_cols, &x[..cols], None)
    );
    // Nothing but the results was written.
    assert_eq!(by_matvec[rows..], before[rows..], "matvec of {what} wrote past its row");
    for (token, (got, before)) in by_matmul.chunks(y_stride).zip(before.chunks(y_stride)).enumerate() {
        let written = if token < tokens { rows } else { 0 };
        assert_eq!(got[written..], before[written..], "matmul of {what} wrote past token {token}");
    }
}

/// Checks that weights that are widened first give `wanted` too: with room for all, for two row blocks, and for none.
fn check_widened(
    gpu: &Gpu,
    weights: &Weights,
    wanted: &[f32],
    what: &str,
    multiply: impl Fn(&WideRoom) -> Vec<f32>,
) {
    let Matrix { rows, cols } = weights.device.matrix;
    let block = raw::row_block_bytes(weights.device.format.dtype(), cols) as u64;
    for blocks in [rows.div_ceil(64) as u64, 2, 0] {
        let room = WideRoom::new(gpu, (blocks * block).min(gpu.max_binding())).unwrap();
        assert!(same_bits(wanted, &multiply(&room)), "{what}, widened {blocks} row blocks at a time");
    }
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// One half of the forms, in all shapes. How many matrices were in tiles.
fn check_half_of_the_forms(half: usize) -> usize {
    let gpu = device::shared();
    let mut tiled = 0;
    for (i, (rows, cols)) in SHAPES.into_iter().enumerate() {
        // All forms in every second shape, and some in the others: each is a kernel to compile.
        let all = Form::ALL.into_iter().filter(|_| i % 2 == 0);
        let forms = all.chain(Form::some().filter(|_| i % 2 == 1));
        for form in forms.skip(half).step_by(2) {
            let Some(weights) = weights(&gpu, form, rows, cols) else { continue };
            tiled += usize::from(!form.is_raw());
            check_products(&gpu, &weights, 1, false, false);
            check_products(&gpu, &weights, 19, false, false);
        }
    }
    tiled
}

#[test]
fn products_are_those_of_the_twins_for_every_form_and_shape() {
    // Most of the time is that of compiling, which one thread does for one kernel.
    let halves = std::thread::scope(|scope| {
        [0, 1]
            .map(|half| scope.spawn(move || check_half_of_the_forms(half)))
            .map(|thread| thread.join().unwrap())
    });
    // Only the tiniest do not pay.
    let tiled: usize = halves.into_iter().sum();
    assert!(tiled >= 12 * 3, "{tiled} tiled matrices");
}

#[test]
fn products_add_biases_and_accumulate() {
    let gpu = device::shared();
    for (i, form) in Form::some().enumerate() {
        let weights = weights(&gpu, form, 130, 300).unwrap();
        // One of each layout alone, too; the others with both, since each is a kernel of its own.
        let alone = [(true, false), (false, true)].into_iter().filter(|_| [0, 2, 7].contains(&i));
        for (bias, accumulate) in alone.chain([(true, true)]) {
            check_products(&gpu, &weights, 1, bias, accumulate);
            check_products(&gpu, &weights, 37, bias, accumulate);
        }
    }
}

/// Whether a label has a choice of so many. One is usual, and not named.
fn has(label: &str, name: &str, count: u32) -> bool {
    if count == 1 { !label.contains(name) } else { label.contains(&format!("{name}{count}")) }
}

#[test]
fn any_number_of_invocations_gives_the_same_bits() {
    let gpu = device::shared();
    let forms = [
        Form::Raw(Dtype::BF16),
        Form::Bf16 { top_bits: 2 },
        Form::Transcoded { to: Transcoded::Fast, octaves: 6, any_bits: 500, zeros: 0 },
        Form::Transcoded { to: Transcoded::Fast, octaves: 2, any_bits: 300, zeros: 20 },
        Form::Rounded { dtype: Dtype::BF16, bits: 3, block: 512 },
    ];
    // A row of 800 columns is three tiles of 272: two of them make a span. Tiles of 512 reach across.
    for form in forms {
        let weights = weights(&gpu, form, 130, 800).unwrap();
        let mut results = Vec::new();
        for invocations in those_that_compile(&gpu, &Invocations::ALL) {
            let gpu = gpu.with_choices(KernelChoices::with_invocations(invocations));
            // As uniforms with as many as processors have that stand in for a device.
            let few =
                invocations == Invocations::EIGHT_ROWS_EACH || invocations == Invocations::TWO_ROWS_EACH;
            let uniform = few.then_some(BufferUsages::STORAGE | BufferUsages::UNIFORM);
            for usage in [BufferUsages::STORAGE].into_iter().chain(uniform) {
                let (result, labels) = products(&gpu, &weights.device, 19, usage);
                results.push((invocations, result));
                let rows = (64 / u32::from(invocations)).max(1);
                assert!(labels.iter().all(|label| has(label, "rows=", rows)), "{labels:?}");
                // As many as there are spans, or as are asked for.
                let most = if matches!(form, Form::Rounded { .. }) { 1 } else { 2 };
                let splits = (u32::from(invocations) / 64).clamp(1, most);
                assert!(has(&labels[0], "splits=", splits), "{labels:?}");
                let is_dense = matches!(weights.device.format, Format::Dense(_));
                let in_texture = matches!(weights.device.parts[0].payload, Words::Texture(_));
                let is_uniform = gpu.target() == Target::Llvmpipe
                    && (!is_dense || in_texture)
                    && usage.contains(BufferUsages::UNIFORM);
                assert_eq!(labels[0].contains("uniform_x"), is_uniform, "{labels:?}");
            }
        }
        for (invocations, result) in &results {
            let same = result.iter().zip(&results[0].1).all(|(a, b)| same_bits(a, b));
            assert!(same, "{form:?}, {invocations} invocations");
        }
    }
}

/// Five spans or more: four invocations that share a row have a whole round, and a last one that is not full.
#[test]
fn the_last_round_of_spans_need_not_be_full() {
    let gpu = device::shared();
    let forms = [
        Form::Raw(Dtype::BF16),
        Form::Raw(Dtype::F32),
        Form::Bf16 { top_bits: 2 },
        Form::Tiled { dtype: Dtype::F32, split: (2, 0, 8), octaves: 6 },
        Form::Transcoded { to: Transcoded::Fast, octaves: 6, any_bits: 500, zeros: 0 },
        Form::Transcoded { to: Transcoded::Tiered, octaves: 6, any_bits: 500, zeros: 0 },
    ];
    for form in forms {
        check_last_round(&gpu, form, 2900, 4);
    }
    // Up to 32 spans are summed from one barrier to the next.
    check_last_round(&gpu, Form::Raw(Dtype::BF16), 18_000, 32);
}

fn check_last_round(gpu: &Gpu, form: Form, cols: usize, least: usize) {
    let weights = weights(gpu, form, 70, cols).unwrap();
    let spans = cols.div_ceil(weights.device.span_cols());
    assert!(spans > least && !spans.is_multiple_of(4), "{spans} spans");
    let with = |many| gpu.with_choices(KernelChoices::with_invocations(many));
    let results = [Invocations::FOUR_A_ROW, Invocations::TWO_A_ROW, Invocations::ONE_ROW_EACH].map(|many| {
        let (result, labels) = products(&with(many), &weights.device, 3, BufferUsages::STORAGE);
        let splits = (u32::from(many) / 64).max(1);
        assert!(has(&labels[0], "splits=", splits), "{labels:?}");
        result
    });
    for other in &results[1..] {
        let same = results[0].iter().zip(other).all(|(a, b)| same_bits(a, b));
        assert!(same, "{form:?}");
    }
    check_products(&with(Invocations::FOUR_A_ROW), &weights, 3, true, true);
}

#[test]
fn activations_as_a_uniform_give_the_same_bits() {
    let gpu = device::shared();
    // As many tokens as fit 64 KiB, of sixteen, eight and four.
    for (cols, tokens) in [(1000, Some(16)), (1600, Some(8)), (3000, Some(4)), (5000, None)] {
        let weights = weights(&gpu, Form::Raw(Dtype::BF16), 70, cols).unwrap();
        let uniform = BufferUsages::STORAGE | BufferUsages::UNIFORM;
        let (result, labels) = products(&gpu, &weights.device, 19, uniform);
        let tokens = tokens.filter(|_| gpu.target() == Target::Llvmpipe);
        assert_eq!(labels[1].contains("uniform_x"), tokens.is_some(), "{labels:?}");
        assert!(labels[1].contains(&format!("tokens={}", tokens.unwrap_or(16))), "{labels:?}");
        let (expected, _) = products(&gpu, &weights.device, 19, BufferUsages::STORAGE);
        assert!(result.iter().zip(&expected).all(|(a, b)| same_bits(a, b)), "{cols} columns");
    }
}

/// What `matvec` and `matmul` make of `tokens` tokens, whose activations are in a buffer for `usage`, with
/// the kernels that `gpu` has; and the kernels' names.
fn products(
    gpu: &Gpu,
    weights: &DeviceMatrix,
    tokens: usize,
    usage: BufferUsages,
) -> ([Vec<f32>; 2], [String; 2]) {
    let (rows, x_stride) = (weights.matrix.rows, weights.padded_cols());
    let room = tokens.next_multiple_of(16);
    let x = normal(1, room * x_stride);
    let x = gpu.buffer_with("x", bytemuck::cast_slice(&x), usage).unwrap();
    let step = uniform(gpu, step(tokens, 0));
    let results = [false, true].map(|batch| {
        let y = storage(gpu, &vec![7f32; room * rows]);
        let product =
            Product { weights, x: &x, x_stride, y: &y, y_stride: rows, bias: None, accumulate: false };
        let dispatches = match batch {
            true => matmul::dispatches(gpu, &step, &product).unwrap(),
            false => matvec::dispatches(gpu, &product).unwrap(),
        };
        run(gpu, &dispatches, tokens);
        (read(gpu, &y, room * rows), dispatches[0].label().to_string())
    });
    let [(matvec, matvec_label), (matmul, matmul_label)] = results;
    ([matvec, matmul], [matvec_label, matmul_label])
}

#[test]
fn products_and_rows_of_a_matrix_in_parts_are_those_of_the_whole() {
    let gpu = device::gpu_with_bindings_of(90_000);
    for form in Form::some() {
        let weights = weights(&gpu, form, 700, 300).unwrap();
        let parts = weights.device.parts.len();
        let least = if matches!(form, Form::Rounded { .. }) { 2 } else { 3 };
        assert!(parts >= least, "{form:?}: {parts} parts");
        assert!(weights.device.parts.iter().all(|p| p.payload.size() <= 90_000));
        check_products(&gpu, &weights, 5, true, true);
        check_rows(&gpu, &weights);
    }
}

#[test]
fn a_matrix_in_parts_is_decoded() {
    let gpu = device::gpu_with_bindings_of(40_000);
    let bytes = bf16_bytes(&compressible_bf16(&mut Random::new(3), 450 * 200));
    let lossy = Lossy::new(3, 64).unwrap();
    let rounded = Encoder::default().rounding(Some(lossy)).encode(Dtype::BF16, &[450, 200], &bytes).unwrap();
    let exact = |top_bits| encode_with_top_bits(Dtype::BF16, &[450, 200], &bytes, top_bits).unwrap();
    for payload in [exact(0), exact(1), exact(2), rounded] {
        let payload = Payload::parse(&payload).unwrap();
        let mut uploader = Uploader::new(&gpu).unwrap();
        let tiled = pollster::block_on(DeviceMatrix::upload_tiled(&gpu, &mut uploader, "tiled", &payload));
        assert!(tiled.unwrap().unwrap().parts.len() >= 2);
        let decoded = pollster::block_on(decode::decode(&gpu, &payload)).unwrap().unwrap();
        assert!(decoded == payload.decode().unwrap());
    }
}

/// Looks up rows of `weights`; the bits must be those that are stored.
fn check_rows(gpu: &Gpu, weights: &Weights) {
    let Matrix { rows, cols } = weights.device.matrix;
    let edges = (0..rows as u32).rev().filter(|id| [0, 31, 63].contains(&(id % 64)));
    let ids: Vec<u32> = edges.chain([rows as u32 - 1, 0, 0, rows as u32 / 2]).collect();
    let stride = cols.next_multiple_of(16);
    let y = storage(gpu, &vec![7f32; (ids.len() + 1) * stride]);
    let token_ids = storage(gpu, &ids);
    let step = uniform(gpu, step(ids.len(), 0));
    let dispatches = embed::dispatches(gpu, &step, &weights.device, &token_ids, &y, stride).unwrap();
    run(gpu, &dispatches, ids.len());
    let got = read(gpu, &y, (ids.len() + 1) * stride);
    let wanted = embed::cpu(&weights.values, cols, &ids);
    let what = format!("{:?} {rows}x{cols}", weights.device.format);
    for (i, (got, wanted)) in got.chunks(stride).zip(wanted.chunks(cols)).enumerate() {
        let same = got.iter().zip(wanted).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "row {} of {what}: {:?}, not {wanted:?}", ids[i], &got[..cols]);
    }
    assert!(got[ids.len() * stride..].iter().all(|&v| v == 7.0), "{what}: a token too many");
}

#[test]
fn embedding_rows_are_exact_for_every_form_and_shape() {
    let gpu = device::shared();
    for (rows, cols) in SHAPES {
        for form in Form::ALL {
            if let Some(weights) = weights(&gpu, form, rows, cols) {
                check_rows(&gpu, &weights);
            }
        }
    }
}

/// The same device, with textures or without.
fn with_textures(gpu: &Gpu, textures: bool) -> Gpu {
    gpu.with_choices(KernelChoices { textures, ..*gpu.choices() })
}

#[test]
fn textures_and_buffers_give_the_same() {
    let gpu = device::shared();
    let textures = [false, true];
    let of_textures = textures.map(|textures| {
        let gpu = with_textures(&gpu, textures);
        for form in Form::some() {
            // In rows of a texture that are not whole, and in several.
            for (rows, cols) in [(3, 17), (130, 300)] {
                if let Some(weights) = weights(&gpu, form, rows, cols) {
                    check_products(&gpu, &weights, 3, true, false);
                    check_rows(&gpu, &weights);
                }
            }
        }
        weights(&gpu, Form::Raw(Dtype::BF16), 64, 64)
            .map(|w| matches!(w.device.parts[0].payload, Words::Texture(_)))
    });
    assert_eq!(of_textures, textures.map(Some));
}

/// Transcodes on the device and on the CPU; whether the result has the layout.
fn check_transcoded(gpu: &Gpu, to: Transcoded, [rows, cols]: [usize; 2], bytes: &[u8]) -> bool {
    let payload = encode_with_top_bits(Dtype::BF16, &[rows, cols], bytes, 2).unwrap();
    let parsed = Payload::parse(&payload).unwrap();
    let Kind::Tiled(tiled) = &parsed.head().kind else { return false };
    // Buffers can be read back.
    let gpu = &with_textures(gpu, false);
    let device = uploaded_transcoded(gpu, &payload, to);
    let bits: Vec<u16> = bytes.as_chunks().0.iter().map(|&b| u16::from_le_bytes(b)).collect();
    let wanted = match to {
        Transcoded::Fast => fast::transcode(&tiled.grid, &bits).map(|w| (w.zeros, w.weights, w.table)),
        Transcoded::Tiered => tiered::transcode(&tiled.grid, &bits).map(|w| (w.zeros, w.vectors, w.table)),
    };
    let zeros = match device.format {
        Format::Fast(format) => format.zeros,
        Format::Tiered(format) => format.zeros,
        _ => {
            assert_eq!(wanted, None, "{rows} x {cols} stayed dense");
            return false;
        }
    };
    let (wanted_zeros, vectors, table) = wanted.unwrap();
    assert_eq!(zeros, wanted_zeros);
    let [part] = &device.parts[..] else { panic!("{} parts", device.parts.len()) };
    let Words::Buffer(payload) = &part.payload else { panic!("not a buffer") };
    let words = |buffer: &Buffer| {
        let bytes = pollster::block_on(download(gpu, buffer, buffer.size())).unwrap();
        bytes.as_chunks().0.iter().map(|&b| u32::from_ne_bytes(b)).collect::<Vec<_>>()
    };
    assert!(words(payload) == vectors.as_flattened(), "{} vectors of {rows} x {cols}", to.name());
    assert!(words(part.exceptions.as_ref().unwrap()) == table, "{} table of {rows} x {cols}", to.name());
    true
}

#[test]
fn a_transcoded_layout_is_the_one_its_twin_makes() {
    let gpu = device::shared();
    for to in Transcoded::ALL {
        let mut count = 0;
        for (rows, cols) in SHAPES.into_iter().chain([(64, 1024), (257, 576)]) {
            for (octaves, any_bits, zeros) in [(0, 0, 0), (6, 400, 0), (0, 0, 10), (3, 500, 30), (0, 20, 0)] {
                let mut random = Random::new((rows + cols + octaves) as u64);
                let bytes = fast_bytes(&mut random, rows, cols, [octaves, any_bits, zeros]);
                count += usize::from(check_transcoded(&gpu, to, [rows, cols], &bytes));
            }
        }
        assert!(count >= 20, "{count} matrices were {}", to.name());
        // Weights that were FP8 once, all rows of them and some.
        for dirty in [usize::MAX, 70] {
            let mut bytes = fast_bytes(&mut Random::new(4), 257, 576, [0, 0, 0]);
            for row in (0..257).filter(|row| row % dirty != dirty - 1) {
                let low = bytes[2 * 576 * row..][..2 * 576].iter_mut().step_by(2);
                low.for_each(|byte| *byte &= 0xf0);
            }
            assert!(check_transcoded(&gpu, to, [257, 576], &bytes));
        }
    }
}

#[test]
fn every_bf16_pattern_comes_back_from_transcoded_layouts() {
    let gpu = device::shared();
    // Few rows have unusual weights, and these have all there are: infinities, NaNs, zeros, subnormals.
    let (rows, cols) = (20_000, 576);
    let mut bytes = fast_bytes(&mut Random::new(5), rows, cols, [0, 0, 0]);
    for pattern in 0..=u16::MAX {
        let i = 3 * cols + 7 + usize::from(pattern);
        bytes[2 * i..2 * i + 2].copy_from_slice(&pattern.to_le_bytes());
    }
    let payload = encode_with_top_bits(Dtype::BF16, &[rows, cols], &bytes, 2).unwrap();
    for to in Transcoded::ALL {
        assert!(check_transcoded(&gpu, to, [rows, cols], &bytes));
        let device = uploaded_transcoded(&gpu, &payload, to);
        let ids = (0..rows as u32).collect::<Vec<_>>();
        let (token_ids, step) = (storage(&gpu, &ids), uniform(&gpu, step(rows, 0)));
        let y = storage(&gpu, &vec![7f32; rows * cols]);
        run(&gpu, &embed::dispatches(&gpu, &step, &device, &token_ids, &y, cols).unwrap(), rows);
        // Not as numbers, which would make NaNs quiet.
        let wanted = bytes.as_chunks().0.iter().map(|&b| u32::from(u16::from_le_bytes(b)) << 16);
        let got = read(&gpu, &y, rows * cols);
        assert!(got.iter().map(|v| v.to_bits()).eq(wanted), "{}", to.name());
    }
}

#[test]
fn any_bits_are_looked_up_as_from_raw_weights() {
    let gpu = device::shared();
    let (rows, cols) = (1536, 272);
    for (dtype, t, b, clean) in [
        (Dtype::BF16, 2, 0, 0),
        (Dtype::BF16, 1, 0, 5),
        (Dtype::F16, 1, 0, 0),
        (Dtype::F16, 2, 1, 3),
        (Dtype::F32, 1, 0, 13),
    ] {
        let split = Split::new(dtype, t, b, clean).unwrap();
        let like = Likeness { any_bits: 0, dirty_rows: 2, octaves: 0 };
        let mut bytes = rows_for(&split, rows, cols, like, &mut Random::new(6));
        let width = split.unit_bytes();
        // Every upper half there is: zeros, subnormals, infinities, NaNs.
        for pattern in 0..=u16::MAX {
            let end = width * (3 * usize::from(pattern) + 1);
            bytes[end - 2..end].copy_from_slice(&pattern.to_le_bytes());
        }
        let payload = encode_with_split(&[rows, cols], &bytes, split).unwrap();
        let weights = uploaded(&gpu, dtype, rows, cols, &bytes, Some(&payload));
        let ids: Vec<u32> = (0..rows as u32).collect();
        let (token_ids, step) = (storage(&gpu, &ids), uniform(&gpu, step(rows, 0)));
        let look_up = |matrix: &DeviceMatrix| {
            let y = storage(&gpu, &vec![7f32; rows * cols]);
            run(&gpu, &embed::dispatches(&gpu, &step, matrix, &token_ids, &y, cols).unwrap(), rows);
            read(&gpu, &y, rows * cols)
        };
        let raw = look_up(weights.raw.as_ref().unwrap());
        assert!(same_bits(&look_up(&weights.device), &raw), "{split:?}");
    }
}

/// Matrices of so many rows and 800 columns in `form`, joined.
fn joined(gpu: &Gpu, form: Form, rows: &[usize], join: Join) -> (DeviceMatrix, Vec<Weights>) {
    let cols = 800;
    let apart: Vec<Weights> = rows.iter().map(|&rows| weights(gpu, form, rows, cols).unwrap()).collect();
    let bytes: Vec<Vec<u8>> = rows.iter().map(|&rows| form.bytes(rows, cols)).collect();
    let payloads: Vec<Vec<u8>> =
        rows.iter().zip(&bytes).filter_map(|(&rows, bytes)| form.payload(rows, cols, bytes)).collect();
    let payloads: Vec<Payload<'_>> =
        payloads.iter().map(|payload| Payload::parse(payload).unwrap()).collect();
    let first_row = |i: usize| if join == Join::Stacked { rows[..i].iter().sum() } else { 0 };
    let mut uploader = Uploader::new(gpu).unwrap();
    let joined = match form {
        Form::Raw(dtype) => {
            let matrices: Vec<_> =
                rows.iter().enumerate().map(|(i, &rows)| (Matrix { rows, cols }, first_row(i))).collect();
            let joined = DeviceMatrix::raw_joined(gpu, "joined", dtype, &matrices, join).unwrap().unwrap();
            let row_block = 64 * cols * dtype.bitsize() / 8;
            for (i, rows) in bytes.iter().flat_map(|bytes| bytes.chunks(row_block)).enumerate() {
                pollster::block_on(joined.write_raw(&mut uploader, i, rows)).unwrap();
            }
            joined
        }
        Form::Transcoded { to, .. } => {
            let upload = |payload| {
                let dense = DeviceMatrix::upload_tiled(gpu, &mut uploader, "dense", payload);
                pollster::block_on(dense).unwrap().unwrap()
            };
            let dense: Vec<DeviceMatrix> = payloads.iter().map(upload).collect();
            let dense = dense.into_iter().enumerate().map(|(i, dense)| (dense, first_row(i))).collect();
            let made = DeviceMatrix::into_transcoded_joined(gpu, &mut uploader, "joined", dense, join, to);
            let mut made = pollster::block_on(made).unwrap();
            assert_eq!(made.len(), 1, "{form:?}");
            made.remove(0)
        }
        _ => {
            let tiles: Vec<_> = payloads
                .iter()
                .map(|payload| Tiles::for_products(payload.head(), payload.precision()).unwrap())
                .enumerate()
                .map(|(i, tiles)| (tiles, first_row(i)))
                .collect();
            let key = |i: usize| TilesKey::of(gpu, &tiles[i].0);
            assert!((0..tiles.len()).all(|i| key(i) == key(0)), "{form:?}");
            let joined = DeviceMatrix::dense_joined(gpu, "joined", &tiles, join, None).unwrap();
            let (joined, pieces) = joined.unwrap();
            for (payload, pieces) in payloads.iter().zip(pieces) {
                for piece in pieces {
                    let write =
                        uploader.write(&joined.parts[0].payload, piece.at, &payload.bytes()[piece.payload]);
                    pollster::block_on(write).unwrap();
                }
            }
            joined
        }
    };
    (joined, apart)
}

/// Forms of which several can be joined, with and without tiles that reach across spans.
fn joinable() -> [Form; 6] {
    [
        Form::Raw(Dtype::BF16),
        Form::Raw(Dtype::F32),
        Form::Bf16 { top_bits: 2 },
        Form::Transcoded { to: Transcoded::Fast, octaves: 6, any_bits: 500, zeros: 0 },
        Form::Transcoded { to: Transcoded::Tiered, octaves: 6, any_bits: 500, zeros: 0 },
        Form::Rounded { dtype: Dtype::BF16, bits: 3, block: 512 },
    ]
}

/// Those of `invocations` that the driver's compiler gets done with, whatever kind of device kernels are chosen for.
fn those_that_compile(gpu: &Gpu, invocations: &[Invocations]) -> Vec<Invocations> {
    let driver = Target::of(&gpu.device().adapter_info());
    let all: Vec<_> = invocations.iter().copied().filter(|&one| driver.compiles(one)).collect();
    assert!(!all.is_empty());
    all
}

#[test]
fn products_of_stacked_matrices_are_those_of_each() {
    let gpu = device::shared();
    for form in joinable() {
        let rows = [130, 100, 70];
        let (joined, apart) = joined(&gpu, form, &rows, Join::Stacked);
        assert_eq!(joined.matrix, Matrix { rows: 300, cols: 800 });
        for invocations in those_that_compile(&gpu, &[Invocations::TWO_ROWS_EACH, Invocations::FOUR_A_ROW]) {
            let gpu = gpu.with_choices(KernelChoices::with_invocations(invocations));
            let (together, _) = products(&gpu, &joined, 19, BufferUsages::STORAGE);
            let mut first = 0;
            for weights in &apart {
                let (alone, _) = products(&gpu, &weights.device, 19, BufferUsages::STORAGE);
                let rows = weights.device.matrix.rows;
                for (what, together, alone, tokens) in
                    [("matvec", &together[0], &alone[0], 1), ("matmul", &together[1], &alone[1], 19)]
                {
                    for token in 0..tokens {
                        let together = &together[token * 300 + first..][..rows];
                        let alone = &alone[token * rows..][..rows];
                        let what = format!("{what}, {form:?}, {invocations} invocations, token {token}");
                        assert!(same_bits(together, alone), "{what}");
                    }
                }
                first += rows;
            }
        }
    }
}

#[test]
fn gated_products_are_those_of_the_twin_and_of_two_with_what_joins_them() {
    let gpu = device::shared();
    let tokens = 19;
    for form in joinable() {
        let (joined, apart) = joined(&gpu, form, &[130, 130], Join::Gated);
        let [gate, up] = &apart[..] else { panic!("two") };
        for invocations in those_that_compile(&gpu, &[Invocations::TWO_ROWS_EACH, Invocations::FOUR_A_ROW]) {
            let gpu = gpu.with_choices(KernelChoices::with_invocations(invocations));
            let what = format!("{form:?}, {invocations} invocations");
            let (gated, labels) = products(&gpu, &joined, tokens, BufferUsages::STORAGE);
            assert!(labels.iter().all(|label| label.contains("gated")), "{labels:?}");
            let [gates, ups] =
                [gate, up].map(|one| products(&gpu, &one.device, tokens, BufferUsages::STORAGE).0);
            for (batch, tokens) in [(0, 1), (1, tokens)] {
                let params = SwigluParams { len: 130, stride: 130, zeros: [0; 2] };
                let step = uniform(&gpu, step(tokens, 0));
                let [y, ups] = [&gates[batch], &ups[batch]].map(|values| storage(&gpu, values));
                run(&gpu, &[swiglu::dispatch(&gpu, &step, &params, [&y, &ups]).unwrap()], tokens);
                let expected = read(&gpu, &y, 130 * tokens);
                assert!(same_bits(&gated[batch][..130 * tokens], &expected), "{what}, {tokens} tokens");
            }
            // The activations are those of `products`.
            let x = &normal(1, tokens.next_multiple_of(16) * joined.padded_cols())[..800];
            let twin = matvec::cpu_gated([&gate.values, &up.values], joined.span_cols(), x);
            let [g, u] = [gate, up].map(|one| matvec::cpu(&one.values, joined.span_cols(), x, None));
            let tolerance = |row: usize| {
                let [of_gate, of_up] = [gate, up].map(|one| product_tolerance(one, x, 0.0, row));
                // What is off in either factor, and a few roundings of their own; exp and the division may be
                // off by more than a rounding.
                2.0 * (of_gate * f64::from(u[row].abs()) + of_up * f64::from(g[row].abs()))
                    + 128.0 * EPSILON * f64::from(twin[row].abs())
            };
            assert_close(&gated[0][..130], &twin, tolerance, &what);
        }
    }
}

/// BF16 with the same exponent everywhere, and another one in columns `of` of the first `rows` rows.
fn one_exponent_but(rows: usize, cols: usize, of: std::ops::Range<usize>) -> Vec<u8> {
    let mut random = Random::new((rows * cols + of.start) as u64);
    let mut one = |i: usize| {
        let has_other = i / cols < 64 && of.contains(&(i % cols));
        let exponent = if has_other { 0x2000 } else { 0x3d00 };
        (random.below(2) << 15 | exponent | random.below(32)) as u16
    };
    bf16_bytes(&(0..rows * cols).map(&mut one).collect::<Vec<_>>())
}

/// Eight columns of a row block are all the exceptions that a loop of the kernels has to mend at a time.
#[test]
fn exceptions_may_be_all_of_eight_columns() {
    let gpu = device::shared();
    let (rows, cols) = (128, 1024);
    for first in [0, cols - 8] {
        for zeros in [false, true] {
            let mut bytes = one_exponent_but(rows, cols, first..first + 8);
            if zeros {
                // So many that they have a code.
                let others = (0..rows * cols).filter(|i| !(first..first + 8).contains(&(i % cols)));
                others.step_by(20).for_each(|i| bytes[2 * i..2 * i + 2].fill(0));
            }
            let payload = encode_with_top_bits(Dtype::BF16, &[rows, cols], &bytes, 2).unwrap();
            let mut weights = uploaded(&gpu, Dtype::BF16, rows, cols, &bytes, Some(&payload));
            weights.device = uploaded_transcoded(&gpu, &payload, Transcoded::Fast);
            let Format::Fast(format) = weights.device.format else { panic!("stayed dense") };
            assert_eq!(format.zeros, zeros);
            for invocations in
                those_that_compile(&gpu, &[Invocations::EIGHT_ROWS_EACH, Invocations::FOUR_A_ROW])
            {
                let gpu = gpu.with_choices(KernelChoices::with_invocations(invocations));
                check_products(&gpu, &weights, 3, false, false);
            }
            check_rows(&gpu, &weights);
        }
    }
}

/// Exceptions are named by numbers of so many bits, and some drivers end loops after so many rounds. As wide as rows
/// may be: what is computed of them is right, or it is refused.
#[test]
fn products_with_very_long_rows_are_right_or_refused() {
    let gpu = device::shared();
    let (mut right, mut refused, mut transcoded) = (0, 0, 0);
    for cols in [50_000, 70_000, 131_072, 262_112, 262_144] {
        let bytes = one_exponent_but(64, cols, cols - 3..cols);
        let payload = encode_with_top_bits(Dtype::BF16, &[64, cols], &bytes, 2).unwrap();
        let weights = uploaded(&gpu, Dtype::BF16, 64, cols, &bytes, Some(&payload));
        let x = normal(1, weights.device.padded_cols());
        let wanted = matvec::cpu(&weights.values, weights.device.span_cols(), &x[..cols], None);
        let others = Transcoded::ALL.map(|to| uploaded_transcoded(&gpu, &payload, to));
        for matrix in &others {
            let is_dense = matches!(matrix.format, Format::Dense(_));
            transcoded += usize::from(!is_dense);
            assert!(cols < 262_113 || is_dense, "{cols} columns");
        }
        for matrix in [&weights.device, weights.raw.as_ref().unwrap()].into_iter().chain(&others) {
            for invocations in
                those_that_compile(&gpu, &[Invocations::EIGHT_ROWS_EACH, Invocations::ONE_ROW_EACH])
            {
                let gpu = gpu.with_choices(KernelChoices::with_invocations(invocations));
                for batch in [false, true] {
                    let what = format!("{:?}, {cols} columns, {invocations} invocations", matrix.format);
                    match one_product(&gpu, matrix, &x, batch) {
                        Ok(y) => {
                            right += 1;
                            let tolerance = |row: usize| product_tolerance(&weights, &x, 0.0, row);
                            assert_close(&y, &wanted, tolerance, &what);
                        }
                        Err(GpuError::TooManyRounds { .. }) => refused += 1,
                        Err(error) => panic!("{what}: {error}"),
                    }
                }
            }
        }
    }
    assert!(right >= 24 && transcoded >= 4, "{right} right, {refused} refused, {transcoded} transcoded");
    assert!(refused > 0 || !gpu.name().contains("llvmpipe"), "{right} right");
}

/// The product with one token, by `matmul` where it is to be a `batch`.
fn one_product(gpu: &Gpu, weights: &DeviceMatrix, x: &[f32], batch: bool) -> Result<Vec<f32>, GpuError> {
    let (rows, x_stride) = (weights.matrix.rows, weights.padded_cols());
    let x = storage(gpu, &[x, &vec![0f32; 15 * x_stride]].concat());
    let (y, step) = (storage(gpu, &vec![7f32; 16 * rows]), uniform(gpu, step(1, 0)));
    let product = Product { weights, x: &x, x_stride, y: &y, y_stride: rows, bias: None, accumulate: false };
    let dispatches = match batch {
        true => matmul::dispatches(gpu, &step, &product)?,
        false => matvec::dispatches(gpu, &product)?,
    };
    run(gpu, &dispatches, 1);
    Ok(read(gpu, &y, rows))
}
