//! What is rounded on purpose: as it should be, said to be so, and the same wherever it is decoded.

use bantam::archive::{Archive, ArchiveError, Options, Report, compress_bytes, decompress_bytes};
use bantam::codec::head::{Head, Kind, Tiled};
use bantam::codec::{Encoder, Lossy, Payload, Precision, Preset, RowDecoder};
use bantam::tensor::{Dtype, Matrix, SourceFile};
use proptest::prelude::*;

use crate::data::Random;
use crate::data::plain::PlainFile;

const FLOATS: [Dtype; 3] = [Dtype::BF16, Dtype::F16, Dtype::F32];

fn encode(dtype: Dtype, shape: &[usize], data: &[u8], lossy: Lossy) -> Vec<u8> {
    Encoder::new(Preset::Small).rounding(Some(lossy)).encode(dtype, shape, data).unwrap()
}

fn tiled(head: &Head) -> Option<&Tiled> {
    match &head.kind {
        Kind::Tiled(tiled) => Some(tiled),
        _ => None,
    }
}

fn lossy_of(payload: &Payload) -> Option<Lossy> {
    tiled(payload.head()).and_then(Tiled::lossy)
}

fn numbers(dtype: Dtype, bytes: &[u8]) -> Vec<f64> {
    let halves = || bytes.as_chunks().0.iter().map(|&half| u16::from_le_bytes(half));
    match dtype {
        Dtype::BF16 => halves().map(|bits| half::bf16::from_bits(bits).to_f64()).collect(),
        Dtype::F16 => halves().map(|bits| half::f16::from_bits(bits).to_f64()).collect(),
        _ => bytes.as_chunks().0.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes))).collect(),
    }
}

fn bytes_of(dtype: Dtype, numbers: impl Iterator<Item = f64>) -> Vec<u8> {
    let element = |number: f64| match dtype {
        Dtype::BF16 => half::bf16::from_f32(number as f32).to_le_bytes().to_vec(),
        Dtype::F16 => half::f16::from_f32(number as f32).to_le_bytes().to_vec(),
        _ => (number as f32).to_le_bytes().to_vec(),
    };
    numbers.flat_map(element).collect()
}

/// Weights as they are in models: rows of different scale, zeros, and one in a thousand much larger.
fn weights(dtype: Dtype, Matrix { rows, cols }: Matrix, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let one = |i: usize| {
        let scale = [1.0, 0.2, 3.0, 0.0001][i / cols % 4];
        let large = if random.below(1000) == 0 { 40.0 } else { 1.0 };
        if random.below(50) == 0 { 0.0 } else { f64::from(random.gaussian()) * scale * large }
    };
    bytes_of(dtype, (0..rows * cols).map(one))
}

/// What is to be decoded, element by element, in numbers that hold all of it.
fn rounded(dtype: Dtype, cols: usize, data: &[u8], lossy: Lossy) -> Vec<u8> {
    let mut all = Vec::new();
    for row in numbers(dtype, data).chunks(cols) {
        for block in row.chunks(lossy.block()) {
            let largest = block.iter().fold(0f64, |largest, element| largest.max(element.abs())) as f32;
            // A BF16 that is no larger.
            let scale = f64::from(f32::from_bits(largest.to_bits() >> 16 << 16));
            for &element in block {
                if element == 0.0 {
                    all.push(element);
                    continue;
                }
                // As an F32, so that this is rounded where the encoder does it.
                let exact = f64::from(element as f32 / scale as f32);
                let unit = 2f64.powi(exact.abs().log2().floor() as i32 - i32::from(lossy.mantissa_bits()));
                all.push((exact / unit).round_ties_even() * unit * scale);
            }
        }
    }
    bytes_of(dtype, all.into_iter())
}

fn check(dtype: Dtype, shape: &[usize], data: &[u8], lossy: Lossy) -> bool {
    let payload = encode(dtype, shape, data, lossy);
    let payload = Payload::parse(&payload).unwrap();
    payload.check().unwrap();
    let decoded = payload.decode().unwrap();
    let Some(tiled) = tiled(payload.head()).filter(|tiled| tiled.lossy().is_some()) else {
        assert!(decoded == data, "{dtype} {shape:?} is not lossy, and not the same");
        return false;
    };
    assert_eq!((tiled.lossy(), payload.head().dtype), (Some(lossy), dtype));
    // Nothing more is dropped where less precision is asked for.
    let kept = tiled.kept(Precision::Mantissa(1));
    assert_eq!((kept, kept.mantissa_bits), (tiled.kept(Precision::Lossless), None));
    let cols = tiled.grid.matrix.cols;
    let wanted = rounded(dtype, cols, data, lossy);
    let wrong = decoded.iter().zip(&wanted).position(|(a, b)| a != b);
    assert_eq!(wrong, None, "{dtype} {shape:?} {lossy}");
    // Whoever has the original and the head knows what is decoded.
    let width = dtype.bitsize() / 8;
    let from = tiled.grid.matrix.rows / 3;
    let start = from * cols * width;
    assert!(*tiled.restored(from, &data[start..]) == decoded[start..]);
    // Any bytes alone, and any row from its row block alone.
    for (start, end) in [(0, 1), (1, decoded.len()), (width * cols - 1, width * cols + 1)] {
        let (start, end) = (start.min(decoded.len()), end.min(decoded.len()));
        let mut part = vec![0; end - start];
        payload.decode_bytes(start..end, &mut part).unwrap();
        assert!(part == decoded[start..end]);
    }
    let rows = RowDecoder::new(payload.head().clone());
    for row in [0, tiled.grid.matrix.rows / 2, tiled.grid.matrix.rows - 1] {
        let bytes: Vec<u8> =
            rows.ranges(row / 64).into_iter().flat_map(|range| payload.bytes()[range].to_vec()).collect();
        let mut out = vec![0; width * cols];
        rows.decode(row / 64, row % 64..row % 64 + 1, &bytes, &mut out).unwrap();
        assert!(out == decoded[row * width * cols..][..width * cols], "row {row}");
    }
    true
}

#[test]
fn every_number_of_bits_rounds_as_it_should() {
    for dtype in FLOATS {
        for bits in 1..=6 {
            for (rows, cols, block) in [(130, 1040, 512), (200, 96, 32), (128, 515, 16), (64, 2048, 1024)] {
                let lossy = Lossy::new(bits, block).unwrap();
                let data = weights(dtype, Matrix { rows, cols }, 7);
                assert!(check(dtype, &[rows, cols], &data, lossy), "{dtype} {rows} x {cols}: {lossy}");
            }
        }
    }
}

#[test]
fn what_is_no_matrix_of_finite_floats_stays_as_it_is() {
    let lossy = Lossy::new(2, 64).unwrap();
    let matrix = Matrix { rows: 100, cols: 128 };
    let mut random = Random::new(3);
    for dtype in FLOATS {
        let data = weights(dtype, matrix, 1);
        assert!(!check(dtype, &[matrix.len()], &data, lossy), "a vector");
        assert!(check(dtype, &[matrix.rows, matrix.cols], &data, lossy));
        assert!(check(dtype, &[2, 50, 2, 64], &data, lossy), "more dimensions");
        for strange in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            let mut data = data.clone();
            let at = random.below(matrix.len()) * (dtype.bitsize() / 8);
            let strange = bytes_of(dtype, [strange].into_iter());
            data[at..at + strange.len()].copy_from_slice(&strange);
            assert!(!check(dtype, &[matrix.rows, matrix.cols], &data, lossy));
        }
        // All alike: one element stands for them, and it is exact.
        assert!(!check(dtype, &[100, 128], &bytes_of(dtype, [0.3; 12_800].into_iter()), lossy));
    }
    let bytes: Vec<u8> = (0..12_800).map(|_| random.next().trailing_zeros() as u8).collect();
    for dtype in [Dtype::F8_E4M3, Dtype::I8, Dtype::U8] {
        assert!(!check(dtype, &[100, 128], &bytes, lossy), "{dtype}");
    }
}

#[test]
fn every_pattern_is_rounded_or_kept() {
    for (dtype, infinite) in [(Dtype::BF16, 0x7f80), (Dtype::F16, 0x7c00)] {
        let all: Vec<u16> = (0..=u16::MAX).filter(|bits| bits & 0x7fff < infinite).collect();
        // Among usual weights, so that they are worth coding.
        let mut data = weights(dtype, Matrix { rows: 1024, cols: 256 }, 2);
        for (i, bits) in all.iter().enumerate() {
            data[8 * i..8 * i + 2].copy_from_slice(&bits.to_le_bytes());
        }
        for lossy in [(3, 512), (1, 16), (6, 128)].map(|(bits, block)| Lossy::new(bits, block).unwrap()) {
            let payload = encode(dtype, &[1024, 256], &data, lossy);
            let payload = Payload::parse(&payload).unwrap();
            assert_eq!(lossy_of(&payload), Some(lossy), "{dtype}");
            let decoded = payload.decode().unwrap();
            // What is decoded is near, or nothing beside the largest of its block.
            let (before, after) = (numbers(dtype, &data), numbers(dtype, &decoded));
            for (before, after) in
                before.chunks(256.min(lossy.block())).zip(after.chunks(256.min(lossy.block())))
            {
                let largest = before.iter().fold(0f64, |largest, element| largest.max(element.abs()));
                let relative = 0.5f64.powi(i32::from(lossy.mantissa_bits()) + 1) + 1.0 / 128.0;
                for (before, after) in before.iter().zip(after) {
                    assert_eq!(before.is_sign_negative(), after.is_sign_negative());
                    // Half of the smallest F16.
                    let smallest = if dtype == Dtype::F16 { 2f64.powi(-25) } else { 0.0 };
                    let nothing = smallest + 2f64.powi(-126) * largest.max(1.0);
                    let near = (before - after).abs() <= before.abs() * relative + nothing;
                    assert!(near, "{before} became {after} in {dtype}, {lossy}");
                }
            }
        }
    }
}

#[test]
fn a_payload_does_not_depend_on_threads_nor_on_pieces() {
    let lossy = Lossy::new(3, 512).unwrap();
    // More than is encoded in one pass, and than is looked at for the plan.
    let shape = [6000, 1100];
    let data = weights(Dtype::BF16, Matrix { rows: shape[0], cols: shape[1] }, 4);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| encode(Dtype::BF16, &shape, &data, lossy))
    };
    let payload = with(1);
    assert!(payload == with(3));
    assert!(payload.len() * 2 < data.len(), "{}", payload.len());
    assert!(check(Dtype::BF16, &shape, &data, lossy));
}

fn options(lossy: Lossy) -> Options {
    Options::DEFAULT.with_lossy(Some(lossy))
}

#[test]
fn a_file_says_what_was_rounded_and_is_whole_in_itself() {
    let lossy = Lossy::new(3, 512).unwrap();
    // The first is written while it is encoded, the others are small.
    let shapes: [(&str, Dtype, &[usize]); 4] = [
        ("large", Dtype::BF16, &[6000, 1100]),
        ("half", Dtype::F16, &[300, 640]),
        ("float", Dtype::F32, &[3, 100, 64]),
        ("norm", Dtype::BF16, &[4096]),
    ];
    let (mut file, mut rounded) = (PlainFile::default(), PlainFile::default());
    for (name, dtype, shape) in shapes {
        let cols = *shape.last().unwrap();
        let matrix = Matrix { rows: shape.iter().product::<usize>() / cols, cols };
        let data = weights(dtype, matrix, 9);
        let payload = encode(dtype, shape, &data, lossy);
        let decoded = Payload::parse(&payload).unwrap().decode().unwrap();
        assert_eq!(decoded == data, name == "norm");
        file = file.tensor(name, &dtype.to_string(), shape, &data);
        rounded = rounded.tensor(name, &dtype.to_string(), shape, &decoded);
    }
    let packed = compress_bytes(file.bytes(), options(lossy), &()).unwrap();
    let archive = Archive::from_bytes(packed.clone()).unwrap();
    for tensor in archive.tensors() {
        assert_eq!(tensor.lossy, (tensor.name != "norm").then_some(lossy), "{}", tensor.name);
    }
    let report = archive.report().unwrap();
    let report = Report { files: vec![report], ..Report::default() };
    assert_eq!(report.rounded(), Some((lossy, 3, 2 * 6000 * 1100 + 2 * 300 * 640 + 4 * 3 * 100 * 64)));
    assert!(archive.verify(&()).unwrap().is_empty());
    // Any reader of safetensors sees it.
    let parsed = SourceFile::from_bytes("packed".as_ref(), packed.clone()).unwrap();
    let SourceFile::Safetensors(container) = parsed else { panic!("it is one") };
    assert!(container.metadata()["bantam.lossy"].contains("not the original"));
    // All of it, and rows.
    assert!(decompress_bytes(packed.clone(), &()).unwrap() == rounded.bytes());
    let wanted = SourceFile::from_bytes("rounded".as_ref(), rounded.bytes()).unwrap();
    let large = wanted.data(&wanted.tensors()[0]);
    assert!(archive.read_rows("large", 4000..4100).unwrap() == large[2 * 1100 * 4000..2 * 1100 * 4100]);
    // Nothing is lost twice, and nothing is said of a file that lost nothing.
    let again = compress_bytes(rounded.bytes(), Preset::Small, &()).unwrap();
    let again = Archive::from_bytes(again).unwrap();
    assert!(again.tensors().iter().all(|tensor| tensor.lossy.is_none()));
}

#[test]
fn who_says_that_nothing_was_lost_is_not_believed() {
    let lossy = Lossy::new(3, 64).unwrap();
    let data = weights(Dtype::BF16, Matrix { rows: 128, cols: 128 }, 5);
    let file = PlainFile::default().tensor("w", "BF16", &[128, 128], &data);
    let packed = compress_bytes(file.bytes(), options(lossy), &()).unwrap();
    let archive = Archive::from_bytes(packed).unwrap();
    let mut tensor = archive.tensors()[0].clone();
    assert!(archive.payload_of(&tensor).is_ok());
    for lie in [None, Some(Lossy::new(4, 64).unwrap()), Some(Lossy::new(3, 128).unwrap())] {
        tensor.lossy = lie;
        assert!(matches!(archive.payload_of(&tensor), Err(ArchiveError::WrongPayload { .. })));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_shape_and_block(
        rows in 1usize..200,
        cols in 1usize..700,
        sixteens in 1usize..64,
        bits in 1u8..7,
        which in 0usize..3,
        seed in any::<u64>(),
    ) {
        let lossy = Lossy::new(bits, 16 * sixteens).unwrap();
        let dtype = FLOATS[which];
        check(dtype, &[rows, cols], &weights(dtype, Matrix { rows, cols }, seed), lossy);
    }

    #[test]
    fn damage_is_harmless(at in 0usize..1 << 20, byte in any::<u8>(), fixed in any::<bool>()) {
        let lossy = Lossy::new(3, 32).unwrap();
        let data = weights(Dtype::F16, Matrix { rows: 70, cols: 80 }, 1);
        let mut payload = encode(Dtype::F16, &[70, 80], &data, lossy);
        let head_len = u64::from_le_bytes(payload[16..24].try_into().unwrap()) as usize;
        let at = if fixed { at % 128 } else { at % payload.len() };
        payload[at] = byte;
        if at < head_len && !(16..32).contains(&at) {
            // As somebody does it who means it.
            payload[24..32].fill(0);
            let sum = bantam::codec::checksum(&payload[..head_len]);
            payload[24..32].copy_from_slice(&sum.to_le_bytes());
        }
        if let Ok(payload) = Payload::parse(&payload) {
            let _ = payload.check();
            let _ = payload.decode();
        }
    }
}
