//! What the device decodes is what the CPU decodes, bit for bit, on every adapter of this machine.

use bantam::codec::encode::encode_with_top_bits;
use bantam::codec::{Payload, encode};
use bantam::gpu::{Gpu, kernels};
use bantam::tensor::Dtype;

mod data;
mod device;
use data::{Random, bf16_bytes};

/// Whether the payload was tiled, so that the device had something to decode.
fn check(gpu: &Gpu, shape: &[usize], values: &[u16]) -> bool {
    let data = bf16_bytes(values);
    check_payload(gpu, &encode(Dtype::BF16, shape, &data).unwrap(), &data)
}

fn check_payload(gpu: &Gpu, payload: &[u8], data: &[u8]) -> bool {
    let payload = Payload::parse(payload).unwrap();
    let decoded = pollster::block_on(kernels::decode::decode(gpu, &payload)).unwrap();
    if let Some(decoded) = &decoded {
        let wrong = decoded.chunks(2).zip(data.chunks(2)).position(|(a, b)| a != b);
        assert_eq!(wrong, None, "{:?} on {}", payload.head(), gpu.name());
        assert_eq!(decoded.len(), data.len());
    }
    decoded.is_some()
}

#[test]
fn every_bf16_pattern_is_decoded_with_every_split() {
    // Among common values, so that coding pays.
    let mut values = Random::new(1).gaussian_bf16(1024 * 272);
    for pattern in 0..=u16::MAX {
        values[4 * usize::from(pattern) + usize::from(pattern) % 4] = pattern;
    }
    let data = bf16_bytes(&values);
    for gpu in device::every_gpu() {
        for top_bits in 0..=2 {
            let payload = encode_with_top_bits(Dtype::BF16, &[1024, 272], &data, top_bits).unwrap();
            assert!(check_payload(&gpu, &payload, &data), "{top_bits} bits do not pay");
        }
    }
}

#[test]
fn awkward_shapes_are_decoded() {
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
    let gpu = device::gpu();
    let mut random = Random::new(5);
    let mut values = vec![0x3c00u16; 640 * 300];
    assert!(check(&gpu, &[640, 300], &values));
    for value in &mut values[300 * 70..300 * 71] {
        *value = random.next() as u16;
    }
    assert!(check(&gpu, &[640, 300], &values));
}

#[test]
fn everything_is_given_back() {
    let gpu = device::gpu();
    check(&gpu, &[256, 256], &Random::new(1).gaussian_bf16(1 << 16));
    assert_eq!(gpu.memory().used(), 0);
    assert!(gpu.memory().peak() > 0);
}
