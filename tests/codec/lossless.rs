//! What goes into the codec comes out again, bit for bit, whatever it is.

use std::process::Command;

use bantam::codec::encode::encode_with_top_bits;
use bantam::codec::head::Kind;
use bantam::codec::split::Split;
use bantam::codec::{
    EncodeError, Encoder, Payload, Preset, encode, encode_with, most_bytes, vector_tier, vector_tiers,
};
use bantam::tensor::{Dtype, Matrix};
use proptest::prelude::*;

use crate::data::{self, Random, bf16_bytes};
use crate::left_out;

#[test]
fn all_of_this_holds_with_every_processors_instructions() {
    if let Ok(tier) = std::env::var("BANTAM_VECTORS") {
        assert_eq!(tier, vector_tier(), "it is not what runs");
        return;
    }
    for tier in ["portable", "avx2", "avx512"].into_iter().filter(|&tier| tier != vector_tier()) {
        if !vector_tiers().contains(&tier) {
            left_out::report("what is compiled for other processors", &format!("this one has no {tier}"));
            continue;
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = command.env("BANTAM_VECTORS", tier).arg("lossless::").output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{tier}: {printed}");
        let passed = printed.lines().filter(|line| line.ends_with("... ok")).count();
        assert!(passed > 15, "{tier}: {printed}");
    }
}

/// Encodes `data` with every preset, and decodes it. Whether the smallest is in tiles.
fn round_trip(dtype: Dtype, shape: &[usize], data: &[u8]) -> bool {
    let [small, fast] = [Preset::Small, Preset::Fast].map(|preset| {
        let payload = encode_with(dtype, shape, data, preset).unwrap();
        let payload = Payload::parse(&payload).unwrap();
        payload.check().unwrap();
        assert!(payload.decode().unwrap() == data, "{dtype} {shape:?} changed, {preset:?}");
        payload.head().kind.clone()
    });
    if let Kind::Tiled(tiled) = fast {
        let Split { top_bits, low_bits, .. } = tiled.split;
        assert!(dtype.bitsize() == 8 || (top_bits, low_bits) == (0, 0), "{dtype} {shape:?} {top_bits}");
    }
    matches!(small, Kind::Tiled(_))
}

#[test]
fn every_bf16_pattern_survives() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    // Alone the patterns are uniform and nothing can be gained; among common values they are coded.
    assert!(!round_trip(Dtype::BF16, &[256, 256], &bf16_bytes(&all)));
    let mut mixed = Random::new(1).gaussian_bf16(4 << 16);
    for (i, pattern) in all.into_iter().enumerate() {
        mixed[4 * i + i % 4] = pattern;
    }
    let data = bf16_bytes(&mixed);
    assert!(round_trip(Dtype::BF16, &[1024, 256], &data));
    for top_bits in 0..=2 {
        let payload = encode_with_top_bits(Dtype::BF16, &[1024, 256], &data, top_bits).unwrap();
        assert!(Payload::parse(&payload).unwrap().decode().unwrap() == data);
    }
}

/// Bits of every type as [`Random`] makes them, some of them common and some rare, so that they are
/// worth coding.
fn mixed_bytes(dtype: Dtype, elements: usize) -> Vec<u8> {
    let mut random = Random::new(elements as u64 + dtype.bitsize() as u64);
    let mut float = random.clone();
    let mut float = move || float.gaussian();
    let len = (elements * dtype.bitsize()).div_ceil(8);
    let width = (dtype.bitsize() / 8).max(1);
    let mut bytes = Vec::with_capacity(len + width);
    for i in 0..len.div_ceil(width) {
        let any = random.next();
        let element = match dtype {
            // A few of any pattern, which need escapes.
            _ if i % 97 == 0 => any,
            Dtype::F32 => u64::from(half::bf16::from_f32(float()).to_f32().to_bits()) | any & 0xffff,
            Dtype::F16 => u64::from(half::f16::from_f32(float() * 1.001).to_bits()),
            Dtype::BF16 => u64::from(half::bf16::from_f32(float()).to_bits()),
            // Small numbers with a sign, as in FP8 and integer weights.
            _ => u64::from(any.trailing_zeros()) << 1 | any >> 63,
        };
        bytes.extend(&element.to_le_bytes()[..width]);
    }
    bytes.truncate(len);
    bytes
}

/// All that there are, but for those that safetensors may add.
const DTYPES: [Dtype; 22] = [
    Dtype::BOOL,
    Dtype::F4,
    Dtype::F6_E2M3,
    Dtype::F6_E3M2,
    Dtype::U8,
    Dtype::I8,
    Dtype::F8_E5M2,
    Dtype::F8_E4M3,
    Dtype::F8_E8M0,
    Dtype::F8_E4M3FNUZ,
    Dtype::F8_E5M2FNUZ,
    Dtype::I16,
    Dtype::U16,
    Dtype::F16,
    Dtype::BF16,
    Dtype::I32,
    Dtype::U32,
    Dtype::F32,
    Dtype::C64,
    Dtype::F64,
    Dtype::I64,
    Dtype::U64,
];

#[test]
fn every_type_survives_in_awkward_shapes() {
    for dtype in DTYPES {
        for shape in data::AWKWARD_SHAPES {
            round_trip(dtype, shape, &mixed_bytes(dtype, shape.iter().product()));
        }
        // Large enough that only some rows are looked at for the plan.
        assert!(round_trip(dtype, &[700, 334], &mixed_bytes(dtype, 700 * 334)), "{dtype} was not coded");
        let zeros = vec![0; 96 * 72 * dtype.bitsize() / 8];
        let payload = encode(dtype, &[96, 72], &zeros).unwrap();
        let whole_bytes = dtype.bitsize() % 8 == 0;
        assert!(payload.len() == 256 || !whole_bytes, "{dtype}");
        assert!(Payload::parse(&payload).unwrap().decode().unwrap() == zeros);
    }
}

#[test]
fn every_f16_and_f8_pattern_survives() {
    for dtype in [Dtype::F16, Dtype::F8_E4M3, Dtype::F8_E5M2, Dtype::I8] {
        let width = dtype.bitsize() / 8;
        let mut bytes = mixed_bytes(dtype, 4 << 16);
        for pattern in 0..1usize << dtype.bitsize() {
            let at = width * (4 * pattern + pattern % 4);
            bytes[at..at + width].copy_from_slice(&(pattern as u16).to_le_bytes()[..width]);
        }
        assert!(round_trip(dtype, &[1024, 256], &bytes));
        for top_bits in 0..4 {
            let payload = encode_with_top_bits(dtype, &[1024, 256], &bytes, top_bits).unwrap();
            assert!(Payload::parse(&payload).unwrap().decode().unwrap() == bytes);
        }
    }
}

#[test]
fn values_of_a_narrower_type_are_found() {
    let (rows, cols) = (300, 256);
    let weights = Random::new(8).gaussian_bf16(rows * cols);
    let narrow = round_trip_len(Dtype::BF16, rows, cols, &bf16_bytes(&weights));
    // F32 from BF16: the lower half is gone. Some rows are not clean: only they pay for it.
    let mut wide: Vec<u32> = weights.iter().map(|&w| u32::from(w) << 16).collect();
    let bytes = |wide: &[u32]| wide.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>();
    let clean = round_trip_len(Dtype::F32, rows, cols, &bytes(&wide));
    assert!(clean < narrow + 2048, "{clean} {narrow}");
    for row in [3, 64, 65, 299] {
        wide[row * cols + 7] |= 1;
    }
    let some = round_trip_len(Dtype::F32, rows, cols, &bytes(&wide));
    assert!(some < clean + 4 * 2 * cols + 512, "{some} {clean}");
    // F32 from F16, and F16 from BF16.
    let half: Vec<half::f16> =
        Random::new(9).gaussian_f32(rows * cols).into_iter().map(half::f16::from_f32).collect();
    let f16: Vec<u8> = half.iter().flat_map(|h| h.to_le_bytes()).collect();
    let f16_len = round_trip_len(Dtype::F16, rows, cols, &f16);
    let f32s: Vec<u8> = half.iter().flat_map(|h| h.to_f32().to_le_bytes()).collect();
    let f32_len = round_trip_len(Dtype::F32, rows, cols, &f32s);
    assert!(f32_len < f16_len + f16_len / 50, "{f32_len} {f16_len}");
    let normal = |w: u16| if half::bf16::from_bits(w).to_f32().abs() < 1e-3 { 0x3c00 } else { w };
    let as_f16 = |w: u16| half::f16::from_f32(half::bf16::from_bits(normal(w)).to_f32()).to_le_bytes();
    let from_bf16: Vec<u8> = weights.iter().flat_map(|&w| as_f16(w)).collect();
    let from_bf16_len = round_trip_len(Dtype::F16, rows, cols, &from_bf16);
    assert!(from_bf16_len < narrow + 2048, "{from_bf16_len} {narrow}");
    // BF16 from both kinds of FP8: about what these take themselves. A few rows are not clean.
    for (dtype, clean) in [(Dtype::F8_E4M3, 4), (Dtype::F8_E5M2, 5)] {
        let mut bf16: Vec<u16> = weights.iter().map(|w| w >> clean << clean).collect();
        let fp8: Vec<u8> = bf16.iter().map(|w| (w >> 8 & 0x80 | w >> clean & 0x7f) as u8).collect();
        let all = round_trip_len(Dtype::BF16, rows, cols, &bf16_bytes(&bf16));
        let fp8 = round_trip_len(dtype, rows, cols, &fp8);
        assert!(all < fp8 + fp8 / 50 + 2048, "{all} {fp8}");
        bf16[70 * cols + 3] |= 1;
        let some = encode(Dtype::BF16, &[rows, cols], &bf16_bytes(&bf16)).unwrap();
        assert!(some.len() < all + 1024, "{} {all}", some.len());
        // Decoders that do not know of it must refuse it.
        assert_eq!(some[4..6], [3, 0]);
    }
    // Zeros are clean in any number of bits, and no reason.
    let mut zeros = weights.clone();
    zeros[..rows / 4 * cols].fill(0);
    assert_eq!(encode(Dtype::BF16, &[rows, cols], &bf16_bytes(&zeros)).unwrap()[4..6], [2, 0]);
}

fn round_trip_len(dtype: Dtype, rows: usize, cols: usize, bytes: &[u8]) -> usize {
    assert!(round_trip(dtype, &[rows, cols], bytes));
    encode(dtype, &[rows, cols], bytes).unwrap().len()
}

#[test]
fn any_range_of_bytes_can_be_had_alone() {
    for dtype in [Dtype::BF16, Dtype::F32, Dtype::I64, Dtype::U8] {
        let (rows, cols) = (150, 70);
        let data = mixed_bytes(dtype, rows * cols);
        for preset in [Preset::Small, Preset::Fast] {
            check_ranges(&data, &encode_with(dtype, &[rows, cols], &data, preset).unwrap());
        }
    }
}

fn check_ranges(data: &[u8], payload: &[u8]) {
    let payload = Payload::parse(payload).unwrap();
    let mut random = Random::new(3);
    for _ in 0..200 {
        let [a, b] = [0, 0].map(|_| random.below(data.len() + 1));
        let range = a.min(b)..a.max(b);
        let mut out = vec![0; range.len()];
        payload.check_bytes(range.clone()).unwrap();
        payload.decode_bytes(range.clone(), &mut out).unwrap();
        assert!(out == data[range]);
    }
    assert!(payload.decode_bytes(1..data.len() + 1, &mut vec![0; data.len()]).is_err());
}

#[test]
fn awkward_shapes_survive() {
    for shape in data::AWKWARD_SHAPES {
        let elements = shape.iter().product();
        let data = Random::new(elements as u64).gaussian_bf16(elements);
        round_trip(Dtype::BF16, shape, &bf16_bytes(&data));
    }
}

#[test]
fn one_value_takes_no_code_bits() {
    for value in [0u16, 0x3f80, 0x7f80] {
        // The same exponent everywhere, and all signs and mantissas.
        let data: Vec<u16> = (0..128 * 512u32).map(|i| value | (i & 0x7f | (i & 0x80) << 8) as u16).collect();
        let payload = encode_with_top_bits(Dtype::BF16, &[128, 512], &bf16_bytes(&data), 0).unwrap();
        assert!(payload.len() < 128 * 512 + 1024);
        assert!(Payload::parse(&payload).unwrap().decode().unwrap() == bf16_bytes(&data));
    }
}

#[test]
fn lanes_of_very_different_length_survive() {
    // One row of rare symbols among constant ones: the lane index needs its 16-bit form.
    let mut random = Random::new(5);
    let mut data = vec![0x3c00u16; 640 * 300];
    for value in &mut data[300 * 70..300 * 71] {
        *value = random.next() as u16;
    }
    assert!(round_trip(Dtype::BF16, &[640, 300], &bf16_bytes(&data)));
}

#[test]
fn rows_that_begin_with_something_rare_survive() {
    // Rows are read four at a time, and three of their zeros with a look-up. Where one row waits at
    // something rare, another has just come to its end; what it is followed by is not its own.
    let (rows, cols) = (640, 48);
    let mut random = Random::new(9);
    let common = |i: usize, drawn: u64| if i < 64 * cols { 0 } else { drawn.trailing_zeros() as u8 };
    let mut bytes: Vec<u8> = (0..rows * cols).map(|i| common(i, random.next())).collect();
    for row in (0..64).step_by(8) {
        bytes[(row + 1) * cols + 45] = 100 + row as u8;
        bytes[(row + 4) * cols] = 104 + row as u8;
    }
    assert!(round_trip(Dtype::U8, &[rows, cols], &bytes));
}

#[test]
fn what_does_not_shrink_is_stored_as_it_is() {
    for dtype in [Dtype::F32, Dtype::F16, Dtype::F8_E4M3, Dtype::I64, Dtype::U8, Dtype::C64] {
        let mut random = Random::new(2);
        let data: Vec<u8> = (0..130 * 257 * dtype.bitsize() / 8).map(|_| random.next() as u8).collect();
        assert!(!round_trip(dtype, &[130, 257], &data));
    }
}

#[test]
fn rows_can_be_decoded_alone() {
    let data = bf16_bytes(&Random::new(9).gaussian_bf16(200 * 700));
    let payload = encode(Dtype::BF16, &[200, 700], &data).unwrap();
    let payload = Payload::parse(&payload).unwrap();
    for rows in [0..0, 0..1, 63..64, 63..65, 1..200, 199..200] {
        let bytes = payload.decode_rows(rows.clone()).unwrap().unwrap();
        assert!(bytes == data[1400 * rows.start..1400 * rows.end], "{rows:?}");
    }
    assert!(payload.decode_rows(100..201).unwrap().is_err());
}

#[test]
fn any_bytes_can_be_decoded_and_checked_alone() {
    let mut random = Random::new(10);
    for (dtype, shape) in [
        (Dtype::BF16, &[200, 700][..]),
        (Dtype::BF16, &[1, 70_000]),
        (Dtype::BF16, &[130, 5000]),
        (Dtype::BF16, &[90_000]),
        (Dtype::F32, &[600, 1100]),
        (Dtype::BF16, &[0, 3]),
    ] {
        let elements: usize = shape.iter().product();
        let data = bf16_bytes(&random.gaussian_bf16(elements * dtype.bitsize() / 16));
        let payload = encode(dtype, shape, &data).unwrap();
        let payload = Payload::parse(&payload).unwrap();
        assert!(payload.band_bytes() > 0);
        let mut some: Vec<_> = (0..60).map(|_| random.below(data.len() + 1)).collect();
        some.extend([0, data.len(), payload.band_bytes().min(data.len())]);
        for pair in some.windows(2) {
            let range = pair[0].min(pair[1])..pair[0].max(pair[1]);
            let mut out = vec![0xaa; range.len()];
            payload.check_bytes(range.clone()).unwrap();
            payload.decode_bytes(range.clone(), &mut out).unwrap();
            assert!(out == data[range.clone()], "{dtype} {shape:?} {range:?}");
        }
        assert!(payload.decode_bytes(0..data.len() + 1, &mut vec![0; data.len() + 1]).is_err());
        assert!(payload.check_bytes(data.len() + 1..data.len() + 1).is_err());
        assert!(payload.decode_bytes(0..0, &mut [0]).is_err());
    }
}

#[test]
fn only_the_bytes_that_are_wanted_are_checked() {
    // Several checksum groups of 28 row blocks; damage in the third is seen only from there.
    let (rows, cols) = (64 * 28 * 4, 576);
    let data = bf16_bytes(&Random::new(11).gaussian_bf16(rows * cols));
    let mut bytes = encode(Dtype::BF16, &[rows, cols], &data).unwrap();
    let end = bytes.len();
    let Kind::Tiled(tiled) = Payload::parse(&bytes).unwrap().head().kind.clone() else { panic!("not tiled") };
    assert_eq!((tiled.groups(), tiled.row_block_bytes()), (4, 64 * 2 * cols));
    let group = 28 * tiled.row_block_bytes();
    for at in [tiled.coded_of(tiled.group(2)).start, tiled.plane_of(1, tiled.group(2)).end - 1] {
        assert!(at < end);
        bytes[at] ^= 4;
        let payload = Payload::parse(&bytes).unwrap();
        payload.check_bytes(0..2 * group).unwrap();
        payload.check_bytes(3 * group..4 * group).unwrap();
        payload.check_bytes(2 * group..2 * group).unwrap();
        for range in [0..2 * group + 1, 2 * group..2 * group + 1, 3 * group - 1..3 * group, 0..4 * group] {
            assert!(payload.check_bytes(range.clone()).is_err(), "{range:?}");
        }
        bytes[at] ^= 4;
    }
}

#[test]
fn a_payload_may_be_handed_over_in_pieces() {
    // The raw planes of the last are made in a second pass.
    for (dtype, shape) in
        [(Dtype::BF16, [3000, 1500]), (Dtype::F32, [1500, 1500]), (Dtype::F32, [2000, 3000])]
    {
        let data = bf16_bytes(&Random::new(12).gaussian_bf16(shape[0] * shape[1] * dtype.bitsize() / 16));
        let whole = encode(dtype, &shape, &data).unwrap();
        let pieces = std::sync::Mutex::new(vec![None; whole.len()]);
        let put = |offset: usize, piece: &[u8]| {
            for (place, byte) in pieces.lock().unwrap()[offset..offset + piece.len()].iter_mut().zip(piece) {
                assert!(place.replace(*byte).is_none(), "handed over twice");
            }
            Ok(())
        };
        let encoder = Encoder::default();
        let encoded = encoder.encode_to(dtype, &shape, &data, &put).unwrap();
        let collected: Option<Vec<u8>> = pieces.into_inner().unwrap().into_iter().collect();
        assert!(collected.is_some_and(|bytes| bytes == whole));
        assert_eq!(encoded.len, whole.len());
        assert_eq!(&encoded.head, Payload::parse(&whole).unwrap().head());
        let full = |_: usize, _: &[u8]| Err(std::io::ErrorKind::StorageFull.into());
        assert!(matches!(encoder.encode_to(dtype, &shape, &data, &full), Err(EncodeError::Put(_))));
        // What is left of that does no harm.
        let mut again = vec![0xaa; most_bytes(data.len())];
        let len = encoder.encode_into(dtype, &shape, &data, &mut again).unwrap();
        assert!(again[..len] == whole);
        let error = encoder.encode_into(dtype, &shape, &data, &mut again[1..]).unwrap_err();
        let most = again.len();
        assert_eq!(
            error.to_string(),
            format!("the output buffer must have room for a payload of {most} bytes")
        );
    }
}

#[test]
fn long_rows_are_encoded_in_pieces() {
    // One group each, or two; of types with and without planes, with words of planes that two tiles share.
    let of = |dtype: Dtype, shape: [usize; 2]| mixed_bytes(dtype, shape[0] * shape[1]);
    let mut random = Random::new(14);
    let mut dirty = |i: usize| if (i / 80_003).is_multiple_of(3) { random.next() as u32 & 0xffff } else { 0 };
    let halves = Random::new(15).gaussian_bf16(70 * 80_003);
    let clean = halves.iter().enumerate().flat_map(|(i, &w)| (u32::from(w) << 16 | dirty(i)).to_le_bytes());
    for (dtype, shape, data, is_tiled) in [
        (Dtype::U8, [1, 16 << 20], of(Dtype::U8, [1, 16 << 20]), true),
        (Dtype::I8, [3, 4_000_001], of(Dtype::I8, [3, 4_000_001]), true),
        (Dtype::BF16, [64, 100_003], of(Dtype::BF16, [64, 100_003]), true),
        (Dtype::F32, [70, 80_003], clean.collect(), true),
        // There are planes for 64 rows.
        (Dtype::BF16, [1, 5_000_003], of(Dtype::BF16, [1, 5_000_003]), false),
    ] {
        assert_eq!(round_trip(dtype, &shape, &data), is_tiled, "{dtype} {shape:?}");
        let most = std::sync::atomic::AtomicUsize::new(0);
        let put = |_: usize, piece: &[u8]| {
            most.fetch_max(piece.len(), std::sync::atomic::Ordering::Relaxed);
            Ok(())
        };
        let encoded = Encoder::default().encode_to(dtype, &shape, &data, &put).unwrap();
        let most = most.into_inner();
        let Kind::Tiled(tiled) = &encoded.head.kind else {
            assert!(most <= 1 << 20, "{most}");
            continue;
        };
        let sections = (0..tiled.planes.len()).map(|plane| tiled.plane_of(plane, 0..1).len());
        let largest = sections.chain([tiled.coded_of(0..1).len()]).max().unwrap();
        assert!(most < 5 << 20 && most < largest, "{most} {largest} {shape:?}");
    }
    let data = of(Dtype::BF16, [64, 100_003]);
    for top_bits in 0..=2 {
        let payload = encode_with_top_bits(Dtype::BF16, &[64, 100_003], &data, top_bits).unwrap();
        let payload = Payload::parse(&payload).unwrap();
        payload.check().unwrap();
        assert!(payload.decode().unwrap() == data);
    }
}

#[test]
fn gaussian_weights_take_less_than_the_peers() {
    // reference: 10.67 bits a weight is the least of any GPU-resident format measured.
    let data = bf16_bytes(&Random::new(3).gaussian_bf16(1 << 22));
    let payload = encode(Dtype::BF16, &[1024, 4096], &data).unwrap();
    let bits = payload.len() as f64 * 8.0 / f64::from(1 << 22);
    assert!(bits < 10.60, "{bits} bits a weight");
    let fast = encode_with(Dtype::BF16, &[1024, 4096], &data, Preset::Fast).unwrap();
    assert!(payload.len() < fast.len() && fast.len() < payload.len() + payload.len() / 50);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_matrix_survives(rows in 1usize..200, cols in 1usize..700, seed: u64, spread in 0u32..16) {
        let mut random = Random::new(seed);
        let data: Vec<u16> = (0..rows * cols).map(|_| (random.next() >> 48) as u16 >> spread).collect();
        round_trip(Dtype::BF16, &[rows, cols], &bf16_bytes(&data));
        prop_assert_eq!(Matrix::of_shape(&[rows, cols]).unwrap().len(), rows * cols);
    }
}
