//! Differences of tensors: of every type and many shapes, read in parts, damaged, and sized.

use bantam::codec::{CodecError, Delta, encode_delta};
use bantam::tensor::Dtype;
use proptest::prelude::*;

use crate::data::Random;

const FLOATS: [Dtype; 7] = [
    Dtype::BF16,
    Dtype::F16,
    Dtype::F32,
    Dtype::F8_E4M3,
    Dtype::F8_E5M2,
    Dtype::F8_E4M3FNUZ,
    Dtype::F8_E5M2FNUZ,
];

/// Any bytes.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).collect();
    bytes.truncate(len);
    bytes
}

/// The payload of a difference, however long it is.
fn encoded(dtype: Dtype, shape: &[usize], new: &[u8], base: &[u8]) -> Vec<u8> {
    within(dtype, shape, new, base, usize::MAX).unwrap().expect("a difference")
}

fn within(
    dtype: Dtype,
    shape: &[usize],
    new: &[u8],
    base: &[u8],
    limit: usize,
) -> Result<Option<Vec<u8>>, bantam::codec::EncodeError> {
    let payload = std::sync::Mutex::new(Vec::new());
    let put = |at: usize, bytes: &[u8]| {
        let mut payload = payload.lock().unwrap();
        let len = payload.len().max(at + bytes.len());
        payload.resize(len, 0);
        payload[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    };
    let len = encode_delta(dtype, shape, &new, (&base, blake3::hash(base)), limit, &put)?;
    Ok(len.map(|len| {
        let payload = payload.into_inner().unwrap();
        assert_eq!(payload.len(), len);
        payload
    }))
}

fn comes_back(dtype: Dtype, shape: &[usize], new: &[u8], base: &[u8]) -> usize {
    let payload = encoded(dtype, shape, new, base);
    let delta = Delta::parse(&payload).unwrap();
    delta.check().unwrap();
    assert_eq!((delta.dtype(), delta.original_len(), delta.base()), (dtype, new.len(), blake3::hash(base)));
    assert!(delta.decode(base).unwrap() == new, "{dtype:?} {shape:?}");
    payload.len()
}

/// Elements whose bits are any, each moved by up to `most` bit patterns in either direction.
fn moved(dtype: Dtype, elements: usize, most: u32, seed: u64) -> [Vec<u8>; 2] {
    let width = dtype.bitsize() / 8;
    let base = noise(elements * width, seed);
    let steps = noise(elements * 4, seed + 1);
    let new = base.chunks_exact(width).zip(steps.chunks_exact(4)).flat_map(|(bits, step)| {
        let step = u32::from_le_bytes(step.try_into().unwrap());
        let mut wide = [0; 4];
        wide[..width].copy_from_slice(bits);
        let moved = u32::from_le_bytes(wide).wrapping_add((step % (2 * most + 1)).wrapping_sub(most));
        moved.to_le_bytes()[..width].to_vec()
    });
    [new.collect(), base]
}

#[test]
fn differences_of_every_size_come_back() {
    for dtype in FLOATS {
        for most in [0, 1, 3, 7, 8, 100, 40_000, u32::MAX / 2 - 1] {
            let [new, base] = moved(dtype, 70 * 130, most, 5);
            comes_back(dtype, &[70, 130], &new, &base);
        }
    }
}

#[test]
fn all_pairs_of_exponents_and_signs_come_back() {
    // Each BF16 exponent and sign against each, with other mantissas.
    let all = || (0..512u16).map(|upper| upper << 7);
    let pairs: Vec<[u16; 2]> =
        all().flat_map(|a| all().map(move |b| [a | (b >> 7) & 127, b | (a >> 5) & 127])).collect();
    let bytes = |i: usize| pairs.iter().flat_map(|pair| pair[i].to_le_bytes()).collect::<Vec<u8>>();
    comes_back(Dtype::BF16, &[512, 512], &bytes(0), &bytes(1));
    // Every 16-bit pattern to some others: −0, infinities and NaNs among them.
    let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    for other in [0u16, 0x8000, 0x7f80, 0x7fff, 0xff80, 0xffff, 0x3f80] {
        let others = other.to_le_bytes().repeat(1 << 16);
        for dtype in [Dtype::BF16, Dtype::F16] {
            comes_back(dtype, &[256, 256], &all, &others);
            comes_back(dtype, &[256, 256], &others, &all);
        }
    }
}

#[test]
fn rows_that_are_the_bases_take_almost_nothing() {
    let [_, base] = moved(Dtype::BF16, 640 * 512, 0, 9);
    let head_alone = comes_back(Dtype::BF16, &[640, 512], &base, &base);
    assert!(head_alone <= 512, "{head_alone}");
    let mut new = base.clone();
    for row in [3, 64, 639] {
        new[row * 1024..][..1024].copy_from_slice(&noise(1024, row as u64));
    }
    let payload = encoded(Dtype::BF16, &[640, 512], &new, &base);
    assert_eq!(Delta::parse(&payload).unwrap().changed_rows(), 3);
    let len = comes_back(Dtype::BF16, &[640, 512], &new, &base);
    assert!(len < 1024 + 3 * 1200, "{len}");
}

#[test]
fn small_changes_of_weights_take_few_bits() {
    // Normally distributed weights, moved by a thousandth of their deviation: 1.4 bits a weight where only
    // the entropy counts.
    let normal = |seed| Random::new(seed).gaussian_f32(1 << 19);
    let (weights, updates) = (normal(1), normal(2));
    let bytes = |scale: f32| -> Vec<u8> {
        let new = weights.iter().zip(&updates).map(|(w, u)| half::bf16::from_f32(w + scale * u));
        new.flat_map(|weight| weight.to_le_bytes()).collect()
    };
    let base = bytes(0.0);
    for (scale, most) in [(0.001, 1.5), (0.01, 4.0), (0.1, 7.6)] {
        let len = comes_back(Dtype::BF16, &[512, 1024], &bytes(scale), &base);
        let bits = len as f64 * 8.0 / (1 << 19) as f64;
        assert!(bits < most, "{scale}: {bits}");
    }
}

#[test]
fn a_base_may_have_fewer_rows_or_more() {
    for dtype in FLOATS {
        let width = dtype.bitsize() / 8;
        let [new, base] = moved(dtype, 300 * 40, 5, 11);
        let of_rows = |rows: usize| &base[..rows * 40 * width];
        let whole = comes_back(dtype, &[300, 40], &new, &base);
        // Few rows were added, and cost what they are.
        let grown = comes_back(dtype, &[300, 40], &new, of_rows(290));
        assert!(grown < whole + 10 * 40 * width * 5 / 4 + 512, "{dtype:?}: {whole} {grown}");
        comes_back(dtype, &[300, 40], &new, of_rows(1));
        // Rows were taken away.
        let shrunk = comes_back(dtype, &[200, 40], &new[..200 * 40 * width], &base);
        assert!(shrunk < whole);
    }
}

#[test]
fn what_has_no_difference_is_told() {
    let none = |dtype, shape: &[usize], new: &[u8], base: &[u8]| {
        within(dtype, shape, new, base, usize::MAX).unwrap()
    };
    assert_eq!(none(Dtype::I32, &[2], &[1; 8], &[2; 8]), None);
    assert_eq!(none(Dtype::BF16, &[0, 7], &[], &[]), None);
    let [new, base] = moved(Dtype::BF16, 4096, 30_000, 3);
    assert_eq!(within(Dtype::BF16, &[64, 64], &new, &base, 4096).unwrap(), None);
    let error = within(Dtype::BF16, &[64, 64], &new[2..], &base, 4096).unwrap_err().to_string();
    assert_eq!(error, "BF16 of shape [64, 64] should be 8192 bytes, but 8190 were given");
    let error = within(Dtype::BF16, &[64, 64], &new, &base[1..], 4096).unwrap_err().to_string();
    assert_eq!(error, "a base of 8191 bytes does not consist of whole elements of BF16");
    assert_eq!(none(Dtype::BF16, &[64, 64], &new, &[]), None);
}

#[test]
fn another_base_is_refused_and_so_is_reading_without_one() {
    let [new, base] = moved(Dtype::F16, 64 * 20, 5, 4);
    let payload = encoded(Dtype::F16, &[64, 20], &new, &base);
    assert!(Delta::is_delta(&payload));
    let error = Delta::parse(&payload).unwrap().decode(&new).unwrap_err();
    let [expected, actual] = [&base, &new].map(|bytes| blake3::hash(bytes).to_hex().to_string());
    assert_eq!(error, CodecError::WrongBase { expected, actual });
    let error = bantam::codec::Payload::parse(&payload).unwrap_err();
    assert_eq!(error, CodecError::IsDelta);
    let alone = bantam::codec::encode(Dtype::F16, &[64, 20], &new).unwrap();
    assert!(!Delta::is_delta(&alone) && Delta::parse(&alone).is_err());
}

#[test]
fn payloads_do_not_depend_on_the_number_of_threads() {
    // More row blocks than are counted, in many groups: some symbols may not have been seen.
    let [new, mut base] = moved(Dtype::F8_E5M2, 3000 * 4096, 2, 6);
    base[12_000_000..12_000_100].fill(0x7b);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| encoded(Dtype::F8_E5M2, &[3000, 4096], &new, &base))
    };
    let payload = with(1);
    assert!(payload == with(3));
    assert!(Delta::parse(&payload).unwrap().decode(&base).unwrap() == new);
}

#[test]
fn damage_is_named_and_harmless() {
    let [new, base] = moved(Dtype::BF16, 66 * 40, 60, 8);
    let payload = encoded(Dtype::BF16, &[66, 40], &new, &base);
    let mut damaged = payload.clone();
    for at in 0..payload.len() {
        damaged[at] ^= 1 << (at % 8);
        let found = Delta::parse(&damaged).and_then(|delta| delta.check());
        assert!(found.is_err(), "byte {at}");
        // Without the checksums' help: no panic, and the base's length is never exceeded.
        if let Ok(delta) = Delta::parse(&damaged) {
            let _ = delta.decode(&base);
        }
        damaged[at] = payload[at];
    }
    for len in 0..payload.len() {
        assert!(Delta::parse(&payload[..len]).is_err());
    }
}

proptest! {
    #[test]
    fn rows_are_read_alone(
        rows in 1usize..200,
        cols in 1usize..1500,
        dtype in prop::sample::select(&FLOATS[..]),
        most in prop::sample::select(&[0u32, 2, 50, 1 << 20][..]),
        seed: u32,
        cut in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let [mut new, base] = moved(dtype, rows * cols, most, seed.into());
        // Some rows are unchanged.
        let row_bytes = cols * dtype.bitsize() / 8;
        for row in (0..rows).filter(|row| (row * 7 + seed as usize).is_multiple_of(3)) {
            let row = row * row_bytes..(row + 1) * row_bytes;
            new[row.clone()].copy_from_slice(&base[row]);
        }
        let payload = encoded(dtype, &[rows, cols], &new, &base);
        let delta = Delta::parse(&payload).unwrap();
        let row_bytes = delta.row_bytes();
        let rows = new.len() / row_bytes;
        let (a, b) = (cut.0.index(rows + 1), cut.1.index(rows + 1));
        let part = a.min(b)..a.max(b);
        let bytes = part.start * row_bytes..part.end * row_bytes;
        let mut out = vec![0; bytes.len()];
        delta.decode_rows(part, &base[bytes.clone()], &mut out).unwrap();
        prop_assert!(out == new[bytes]);
        prop_assert!(delta.decode(&base).unwrap() == new);
    }
}
