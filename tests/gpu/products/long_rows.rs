//! Rows so long that some drivers end the loops over them.

use bantam::codec::encode::encode_with_top_bits;
use bantam::gpu::kernels::matvec::Product;
use bantam::gpu::kernels::{matmul, matvec};
use bantam::gpu::weights::DeviceMatrix;
use bantam::gpu::weights::layouts::Format;
use bantam::gpu::{Gpu, GpuError, Invocations, KernelChoices, Transcoded};
use bantam::tensor::Dtype;

use super::forms::{uploaded, uploaded_transcoded};
use super::joined::those_that_compile;
use super::product_tolerance;
use super::transcoded::one_exponent_but;
use crate::device;
use crate::on_device::{assert_close, normal, read, run, step, storage, uniform};

/// Exceptions are named by numbers of so many bits, and some drivers end loops after so many rounds. As wide as rows
/// may be: what is computed of them is right, or it is refused.
#[test]
fn products_with_very_long_rows_are_right_or_refused() {
    let gpu = device::shared();
    let (mut right, mut refused, mut transcoded) = (0, 0, 0);
    for cols in [24_000, 50_000, 70_000, 262_112, 262_144] {
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
    let counts_rounds = gpu.name().contains("llvmpipe");
    // A GPU's kernels have loops for escapes, which that driver would count.
    let (least, least_transcoded) = if counts_rounds && !gpu.target().is_cpu() { (16, 2) } else { (32, 6) };
    let counts = format!("{right} right, {refused} refused, {transcoded} transcoded");
    assert!(right >= least && transcoded >= least_transcoded, "{counts}");
    assert!(refused > 0 || !counts_rounds, "{counts}");
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
