//! Matrices that do not fit one binding.

use bantam::codec::encode::encode_with_top_bits;
use bantam::codec::{Encoder, Lossy, Payload};
use bantam::gpu::Uploader;
use bantam::gpu::kernels::decode;
use bantam::gpu::weights::DeviceMatrix;
use bantam::tensor::Dtype;

use super::forms::{Form, compressible_bf16, weights};
use super::{check_products, check_rows};
use crate::data::{Random, bf16_bytes};
use crate::device;

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
