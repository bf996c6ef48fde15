//! What the device decodes is what the CPU decodes, bit for bit, on every adapter of this machine.

use bantam::codec::encode::{encode_with_split, encode_with_top_bits};
use bantam::codec::head::{Kind, Tiled};
use bantam::codec::split::Split;
use bantam::codec::{Encoder, Lossy, Payload, checksum, encode};
use bantam::gpu::{Gpu, kernels};
use bantam::tensor::Dtype;
use proptest::prelude::{ProptestConfig, any};
use proptest::test_runner::TestRunner;

use crate::data::weights::{Likeness, rows_for};
use crate::data::{self, Random, bf16_bytes};
use crate::device;

/// Whether the payload was tiled, so that the device had something to decode.
fn check(gpu: &Gpu, shape: &[usize], values: &[u16]) -> bool {
    let data = bf16_bytes(values);
    check_payload(gpu, &encode(Dtype::BF16, shape, &data).unwrap(), &data)
}

fn check_payload(gpu: &Gpu, payload: &[u8], data: &[u8]) -> bool {
    let payload = Payload::parse(payload).unwrap();
    let decoded = pollster::block_on(kernels::decode::decode(gpu, &payload)).unwrap();
    assert_eq!(decoded.is_some(), matches!(payload.head().kind, Kind::Tiled(_)));
    if let Some(decoded) = &decoded {
        assert_eq!(decoded.len(), data.len());
        let wrong = decoded.iter().zip(data).position(|(a, b)| a != b);
        assert_eq!(wrong, None, "{} on {}", describe(&payload), gpu.name());
    }
    decoded.is_some()
}

fn describe(payload: &Payload) -> String {
    let tiled = tiled(payload);
    format!("{:?} of {:?}, escape {}", tiled.split, tiled.grid.matrix, tiled.code.escape)
}

fn tiled<'a>(payload: &'a Payload) -> &'a Tiled {
    let Kind::Tiled(tiled) = &payload.head().kind else { panic!("stored as it is") };
    tiled
}

/// Every split of `dtype`.
fn splits(dtype: Dtype) -> Vec<Split> {
    let bits = (0..4).flat_map(|t| (0..5).flat_map(move |b| (0..=16).map(move |clean| (t, b, clean))));
    bits.filter_map(|(t, b, clean)| Split::new(dtype, t, b, clean)).collect()
}

/// Weights that `split` suits, in rows of which one in five has every bit pattern in turn at every
/// other place, until there are no more patterns.
fn every_pattern(split: &Split, rows: usize, cols: usize) -> Vec<u8> {
    let like = Likeness { any_bits: 0, dirty_rows: 0, octaves: 0 };
    let mut bytes = rows_for(split, rows, cols, like, &mut Random::new(1));
    let width = split.unit_bytes();
    let mut patterns = 0..1u32 << (8 * width);
    for row in (0..rows).filter(|row| row % 5 != 0) {
        for col in (0..cols).step_by(2) {
            let Some(pattern) = patterns.next() else { return bytes };
            let at = width * (row * cols + col);
            bytes[at..at + width].copy_from_slice(&pattern.to_le_bytes()[..width]);
        }
    }
    panic!("more patterns than room");
}

#[test]
fn every_16_bit_pattern_is_decoded_with_every_split() {
    let all: Vec<Split> = [Dtype::BF16, Dtype::F16].into_iter().flat_map(splits).collect();
    assert_eq!(all.len(), 20 + 40);
    let gpus = device::every_gpu();
    for (i, split) in all.iter().enumerate() {
        let data = every_pattern(split, 1536, 272);
        let payload = encode_with_split(&[1536, 272], &data, *split).unwrap();
        let sparse = tiled(&Payload::parse(&payload).unwrap()).masks.iter().any(|mask| mask.count() < 64);
        assert_eq!(sparse, split.clean_bits > 0);
        // The first adapter decodes them all, and every adapter some.
        for gpu in gpus.iter().enumerate().filter(|(g, _)| *g == 0 || i % 4 == 0).map(|(_, gpu)| gpu) {
            assert!(check_payload(gpu, &payload, &data));
        }
    }
}

#[test]
fn every_bf16_pattern_is_decoded_on_every_adapter() {
    let split = Split::new(Dtype::BF16, 0, 0, 0).unwrap();
    let data = every_pattern(&split, 1536, 272);
    for gpu in device::every_gpu() {
        for top_bits in 0..=2 {
            let payload = encode_with_top_bits(Dtype::BF16, &[1536, 272], &data, top_bits).unwrap();
            assert!(check_payload(&gpu, &payload, &data), "{top_bits} bits do not pay");
        }
    }
}

#[test]
fn every_pattern_of_a_byte_is_decoded_with_every_split() {
    let gpu = device::shared();
    let types = [
        Dtype::F8_E4M3,
        Dtype::F8_E5M2,
        Dtype::F8_E4M3FNUZ,
        Dtype::F8_E5M2FNUZ,
        Dtype::F8_E8M0,
        Dtype::I8,
        Dtype::U8,
    ];
    for dtype in types {
        for split in splits(dtype) {
            let data = every_pattern(&split, 500, 130);
            let payload = encode_with_split(&[500, 130], &data, split).unwrap();
            assert!(check_payload(&gpu, &payload, &data), "{split:?} does not pay");
        }
    }
}

#[test]
fn escapes_of_every_length_and_their_absence_are_decoded() {
    let gpu = device::shared();
    let like = Likeness { any_bits: 1000, dirty_rows: 0, octaves: 0 };
    for (dtype, t, b) in [(Dtype::BF16, 2, 0), (Dtype::F16, 3, 4), (Dtype::F32, 2, 0), (Dtype::F8_E4M3, 3, 0)]
    {
        let split = Split::new(dtype, t, b, 0).unwrap();
        for like in [like, Likeness { any_bits: 5, ..like }] {
            let data = rows_for(&split, 640, 300, like, &mut Random::new(4));
            let payload = encode_with_split(&[640, 300], &data, split).unwrap();
            if check_payload(&gpu, &payload, &data) {
                assert!(tiled(&Payload::parse(&payload).unwrap()).code.escape > 0);
            }
        }
    }
    // Few values, all of them known to the encoder.
    let values: Vec<u16> = (0..64 * 300u16).map(|i| 0x3c00 | (i % 7) << 5 | i << 15).collect();
    let payload = encode_with_top_bits(Dtype::BF16, &[64, 300], &bf16_bytes(&values), 2).unwrap();
    assert_eq!(tiled(&Payload::parse(&payload).unwrap()).code.escape, 0);
    assert!(check_payload(&gpu, &payload, &bf16_bytes(&values)));
}

#[test]
fn rows_of_very_different_scale_are_decoded() {
    for gpu in device::every_gpu() {
        let mut shifted = 0;
        for dtype in [Dtype::BF16, Dtype::F16, Dtype::F32, Dtype::F8_E4M3, Dtype::F8_E5M2] {
            let split = Split::new(dtype, 2, 0, 0).unwrap();
            let like = Likeness { any_bits: 500, dirty_rows: 0, octaves: 7 };
            let data = rows_for(&split, 450, 512, like, &mut Random::new(9));
            let payload = encode_with_split(&[450, 512], &data, split).unwrap();
            assert!(check_payload(&gpu, &payload, &data), "{dtype} does not pay");
            let rows = tiled(&Payload::parse(&payload).unwrap()).shifts.rows.len();
            shifted += usize::from(rows > 0);
        }
        assert!(shifted >= 3, "{shifted} types have row shifts");
    }
}

#[test]
fn any_f32_is_decoded() {
    // A decoded row block takes 64 · 704 · 4 bytes at the most.
    let gpus = [device::gpu_with_bindings_of(180_224), device::shared()];
    let all = splits(Dtype::F32);
    assert_eq!(all.len(), 12);
    let sizes = (0..all.len(), 64usize..400, 40usize..700, 0..gpus.len());
    let likeness = (0usize..40, 0usize..6, 20usize..2000, any::<u64>());
    let mut runner = TestRunner::new(ProptestConfig::with_cases(64));
    let check = |((split, rows, cols, gpu), (dirty_rows, octaves, any_bits, seed))| {
        let like = Likeness { any_bits, dirty_rows, octaves };
        let data = rows_for(&all[split], rows, cols, like, &mut Random::new(seed));
        let payload = encode_with_split(&[rows, cols], &data, all[split]).unwrap();
        check_payload(&gpus[gpu], &payload, &data);
        Ok(())
    };
    runner.run(&(sizes, likeness), check).unwrap();
}

#[test]
fn sparse_planes_of_a_matrix_in_parts_are_decoded() {
    let gpu = device::gpu_with_bindings_of(120_000);
    for (dtype, t, b, clean) in [(Dtype::F32, 1, 0, 16), (Dtype::F32, 2, 0, 13), (Dtype::F16, 1, 1, 3)] {
        let split = Split::new(dtype, t, b, clean).unwrap();
        for dirty_rows in [0, 3, 70, 200] {
            let like = Likeness { any_bits: 300, dirty_rows, octaves: 3 };
            let data = rows_for(&split, 1000, 300, like, &mut Random::new(dirty_rows as u64));
            let payload = encode_with_split(&[1000, 300], &data, split).unwrap();
            assert!(check_payload(&gpu, &payload, &data), "{split:?} does not pay");
        }
    }
}

/// As [`Likeness`] would have it for any type, multi-byte integers included.
fn any_type(dtype: Dtype, elements: usize) -> Vec<u8> {
    let mut random = Random::new(elements as u64 + dtype.bitsize() as u64);
    let element = |i: usize| {
        let float = random.gaussian();
        let any = random.next().to_le_bytes();
        let bits = match dtype {
            _ if i.is_multiple_of(97) => any,
            Dtype::F64 => f64::from(float).to_bits().to_le_bytes(),
            Dtype::F32 => u64::from(float.to_bits()).to_le_bytes(),
            Dtype::F16 => u64::from(half::f16::from_f32(float).to_bits()).to_le_bytes(),
            Dtype::BF16 => u64::from(half::bf16::from_f32(float).to_bits()).to_le_bytes(),
            _ => ((float * 200.0) as i64).to_le_bytes(),
        };
        bits[..dtype.bitsize() / 8].to_vec()
    };
    (0..elements).flat_map(element).collect()
}

#[test]
fn awkward_shapes_of_every_type_are_decoded() {
    use Dtype::*;
    let gpu = device::shared();
    for dtype in [BF16, F16, F32, F8_E4M3, F8_E5M2, U8, I16, I32, I64, F64] {
        let mut tiled = 0;
        for shape in data::AWKWARD_SHAPES.iter().chain(&[&[127, 515][..], &[700, 333]]) {
            let data = any_type(dtype, shape.iter().product());
            tiled += usize::from(check_payload(&gpu, &encode(dtype, shape, &data).unwrap(), &data));
        }
        assert!(tiled >= 5, "{dtype}: {tiled} tiled");
    }
}

#[test]
fn awkward_shapes_are_decoded_on_every_adapter() {
    for gpu in device::every_gpu() {
        for shape in data::AWKWARD_SHAPES {
            let elements = shape.iter().product();
            check(&gpu, shape, &Random::new(elements as u64).gaussian_bf16(elements));
        }
        for (rows, cols) in [(64, 256), (4096, 30), (1024, 100), (127, 1040), (127, 515)] {
            assert!(check(&gpu, &[rows, cols], &Random::new(7).gaussian_bf16(rows * cols)), "{rows}x{cols}");
        }
    }
}

#[test]
fn wide_lane_indices_and_single_symbols_are_decoded() {
    let gpu = device::shared();
    let mut random = Random::new(5);
    // One exponent, so that no symbol takes a bit.
    let mut values: Vec<u16> = (0..640 * 300).map(|_| 0x3c00 | random.next() as u16 & 0x807f).collect();
    let payload = encode_with_top_bits(Dtype::BF16, &[640, 300], &bf16_bytes(&values), 0).unwrap();
    assert!(check_payload(&gpu, &payload, &bf16_bytes(&values)));
    for value in &mut values[300 * 70..300 * 71] {
        *value = random.next() as u16;
    }
    assert!(check(&gpu, &[640, 300], &values));
}

#[test]
fn what_is_not_tiled_is_left_to_the_host() {
    let gpu = device::shared();
    let constant = [0x80, 0x3f].repeat(640 * 300);
    assert!(!check_payload(&gpu, &encode(Dtype::BF16, &[640, 300], &constant).unwrap(), &constant));
    // Row blocks of bytes that decode to more than the device may bind.
    let zeros_and_one = [vec![0; 99_999], vec![1]].concat();
    let payload = encode(Dtype::U8, &[1, 100_000], &zeros_and_one).unwrap();
    let payload = Payload::parse(&payload).unwrap();
    let small = device::gpu_with_bindings_of(1 << 20);
    assert!(tiled(&payload).grid.row_block_bytes(8) > 1 << 20);
    assert_eq!(pollster::block_on(kernels::decode::decode(&small, &payload)).unwrap(), None);
    assert_eq!(pollster::block_on(kernels::decode::decode(&gpu, &payload)).unwrap(), Some(zeros_and_one));
}

#[test]
fn nonsense_with_the_right_checksums_does_no_harm() {
    let gpu = device::shared();
    let mut random = Random::new(77);
    for (dtype, t, b, clean) in [(Dtype::BF16, 2, 0, 0), (Dtype::F16, 1, 1, 3), (Dtype::F32, 2, 0, 13)] {
        let split = Split::new(dtype, t, b, clean).unwrap();
        let like = Likeness { any_bits: 300, dirty_rows: 9, octaves: 6 };
        let data = rows_for(&split, 300, 270, like, &mut random);
        let good = encode_with_split(&[300, 270], &data, split).unwrap();
        let (tables, sections) = {
            let payload = Payload::parse(&good).unwrap();
            let tiled = tiled(&payload);
            (tiled.tables.clone(), payload.head().len)
        };
        for round in 0..12 {
            let mut bad = good.clone();
            // Streams and planes, lengths of lanes, shifts: all that parsing cannot know to be wrong.
            bad[sections..].iter_mut().filter(|_| random.below(4) == 0).for_each(|b| *b = filling(round));
            for tile in bad[tables.tiles.clone()].chunks_exact_mut(8) {
                tile[4..6].copy_from_slice(&[0xff, filling(round)]);
            }
            bad[tables.shifts.clone()].fill(0x5a);
            bad[24..32].fill(0);
            let sum = checksum(&bad[..sections]);
            bad[24..32].copy_from_slice(&sum.to_le_bytes());
            let payload = Payload::parse(&bad).unwrap();
            let decoded = pollster::block_on(kernels::decode::decode(&gpu, &payload)).unwrap().unwrap();
            assert_eq!(decoded.len(), data.len());
        }
        // The device is none the worse.
        assert!(check_payload(&gpu, &good, &data));
    }
}

fn filling(round: usize) -> u8 {
    (round * 23) as u8 ^ 0xff
}

#[test]
fn everything_is_given_back() {
    let gpu = device::shared();
    check(&gpu, &[256, 256], &Random::new(1).gaussian_bf16(1 << 16));
    assert_eq!(gpu.memory().used(), 0);
    assert!(gpu.memory().peak() > 0);
}

#[test]
fn what_was_rounded_is_decoded_to_the_same_bits() {
    // All finite patterns, subnormal ones too, beside weights.
    for (dtype, infinite) in [(Dtype::BF16, 0x7f80), (Dtype::F16, 0x7c00), (Dtype::F32, 0x7f80)] {
        let split = Split::new(dtype, 0, 0, 0).unwrap();
        let width = split.unit_bytes();
        let mut data = every_pattern_of_upper_halves(&split, infinite);
        let lossy =
            [(1, 16), (3, 512), (4, 272), (6, 48)].map(|(bits, block)| Lossy::new(bits, block).unwrap());
        for (i, gpu) in device::every_gpu().iter().enumerate() {
            for lossy in lossy.iter().filter(|lossy| i == 0 || lossy.block() == 512) {
                for (rows, cols) in [(1536, 272), (1000, 417)] {
                    let data = &data[..width * rows * cols.min(data.len() / width / rows)];
                    let cols = data.len() / width / rows;
                    let encoder = Encoder::default().rounding(Some(*lossy));
                    let payload = encoder.encode(dtype, &[rows, cols], data).unwrap();
                    let parsed = Payload::parse(&payload).unwrap();
                    assert_eq!(tiled(&parsed).lossy(), Some(*lossy), "{dtype}");
                    assert!(check_payload(gpu, &payload, &parsed.decode().unwrap()));
                }
            }
        }
        // Where nothing is said of the last columns, what lies there is no number.
        data.truncate(width * 64 * 100);
        let encoder = Encoder::default().rounding(Some(Lossy::new(2, 112).unwrap()));
        let payload = encoder.encode(dtype, &[64, 100], &data).unwrap();
        check_payload(&device::shared(), &payload, &Payload::parse(&payload).unwrap().decode().unwrap());
    }
}

/// Weights, with every upper half below `infinite` of either sign at every sixth place.
fn every_pattern_of_upper_halves(split: &Split, infinite: u16) -> Vec<u8> {
    let like = Likeness { any_bits: 0, dirty_rows: 0, octaves: 4 };
    let mut bytes = rows_for(split, 1536, 272, like, &mut Random::new(8));
    let width = split.unit_bytes();
    let finite = (0..=u16::MAX).filter(|bits| bits & 0x7fff < infinite);
    for (i, bits) in finite.enumerate() {
        let end = width * (6 * i + 1);
        bytes[end - 2..end].copy_from_slice(&bits.to_le_bytes());
    }
    bytes
}
