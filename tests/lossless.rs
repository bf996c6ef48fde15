//! What goes into the codec comes out again, bit for bit, whatever it is.

use bantam::codec::encode::encode_with_top_bits;
use bantam::codec::head::Kind;
use bantam::codec::{Payload, encode};
use bantam::tensor::{Dtype, Matrix};
use proptest::prelude::*;

mod data;
use data::{Random, bf16_bytes};

fn round_trip(dtype: Dtype, shape: &[usize], data: &[u8]) -> bool {
    let payload = encode(dtype, shape, data).unwrap();
    let payload = Payload::parse(&payload).unwrap();
    payload.check().unwrap();
    assert!(payload.decode().unwrap() == data, "{dtype} {shape:?} changed");
    matches!(payload.head().kind, Kind::Tiled(_))
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
    for value in [0u16, 0x3f80, 0x7fc1, 0xffff] {
        assert!(round_trip(Dtype::BF16, &[128, 512], &bf16_bytes(&vec![value; 128 * 512])));
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
fn other_types_are_stored_as_they_are() {
    for dtype in [Dtype::F32, Dtype::F16, Dtype::F8_E4M3, Dtype::I64, Dtype::BOOL, Dtype::C64] {
        let data: Vec<u8> = (0..130 * 257 * dtype.bitsize() / 8).map(|i| (i * 7 + i / 251) as u8).collect();
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
fn gaussian_weights_take_less_than_the_peers() {
    // reference: 10.67 bits a weight is the least of any GPU-resident format measured.
    let data = bf16_bytes(&Random::new(3).gaussian_bf16(1 << 22));
    let payload = encode(Dtype::BF16, &[1024, 4096], &data).unwrap();
    let bits = payload.len() as f64 * 8.0 / f64::from(1 << 22);
    assert!(bits < 10.60, "{bits} bits a weight");
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
