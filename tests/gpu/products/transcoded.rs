//! The layouts that are made on the device, and their exceptions.

use bantam::codec::Payload;
use bantam::codec::encode::{encode_with_split, encode_with_top_bits};
use bantam::codec::head::Kind;
use bantam::codec::split::Split;
use bantam::gpu::kernels::embed;
use bantam::gpu::weights::layouts::{Format, fast, tiered};
use bantam::gpu::weights::{DeviceMatrix, Words};
use bantam::gpu::{Gpu, Invocations, KernelChoices, Transcoded, download};
use bantam::tensor::Dtype;

use super::every_form::with_textures;
use super::forms::{fast_bytes, uploaded, uploaded_transcoded};
use super::joined::those_that_compile;
use super::{SHAPES, check_products, check_rows, same_bits};
use crate::data::weights::{Likeness, rows_for};
use crate::data::{Random, bf16_bytes};
use crate::device;
use crate::on_device::{read, run, step, storage, uniform};

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
    let words = |words: &Words| {
        let Words::Buffer(buffer) = words else { panic!("not a buffer") };
        let bytes = pollster::block_on(download(gpu, buffer, buffer.size())).unwrap();
        bytes.as_chunks().0.iter().map(|&b| u32::from_ne_bytes(b)).collect::<Vec<_>>()
    };
    assert!(words(&part.payload) == vectors.as_flattened(), "{} vectors of {rows} x {cols}", to.name());
    assert!(words(part.table.as_ref().unwrap()) == table, "{} table of {rows} x {cols}", to.name());
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

/// BF16 with the same exponent everywhere, and another one in columns `of` of the first `rows` rows.
pub(super) fn one_exponent_but(rows: usize, cols: usize, of: std::ops::Range<usize>) -> Vec<u8> {
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
