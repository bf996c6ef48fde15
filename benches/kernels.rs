//! Matrix products from raw and from compressed weights on one device, as medians and ratios.
//!
//! `cargo bench --bench kernels [-- ROWS COLS]`; `BANTAM_DEVICE` names the adapter.

use std::borrow::Borrow;
use std::time::Instant;

use bantam::codec::{Payload, encode, encode::encode_with_top_bits};
use bantam::gpu::kernels::matvec::{self, Product};
use bantam::gpu::kernels::{Step, matmul, widen};
use bantam::gpu::weights::DeviceMatrix;
use bantam::gpu::weights::layouts::Format;
use bantam::gpu::{
    Batch, Dispatch, Gpu, GpuOptions, KernelChoices, Transcoded, Uploader, WideRoom, WidenFrom, download,
};
use bantam::tensor::{Dtype, Matrix};

#[path = "../tests/fixtures/data/mod.rs"]
mod data;

const RUNS: usize = 9;
const TOKENS: u32 = 64;

fn main() {
    let sizes: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let [rows, cols] = sizes[..] else { return run(4096, 4096) };
    run(rows, cols)
}

fn run(rows: usize, cols: usize) {
    let options = GpuOptions { device: std::env::var("BANTAM_DEVICE").ok(), ..GpuOptions::default() };
    let gpu = pollster::block_on(Gpu::open(&options)).unwrap();
    println!("{rows} x {cols} on {}", gpu.name());
    let values = data::Random::new(1).gaussian_f32(rows * cols);
    let bf16: Vec<u8> = values.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect();
    let f16: Vec<u8> = values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect();
    let encode_bf16 = |t| encode_with_top_bits(Dtype::BF16, &[rows, cols], &bf16, t).unwrap();
    measure(
        &gpu,
        Dtype::BF16,
        [rows, cols],
        &bf16,
        (0..=2).map(|t| (format!("t={t}"), encode_bf16(t))).collect(),
    );
    for (dtype, bytes) in [(Dtype::F16, &f16[..]), (Dtype::F32, bytemuck::cast_slice(&values))] {
        let payload = encode(dtype, &[rows, cols], bytes).unwrap();
        measure(&gpu, dtype, [rows, cols], bytes, vec![("smallest".into(), payload)]);
    }
}

/// Times products of weights of `dtype`, raw and as in each of `payloads`.
fn measure(
    gpu: &Gpu,
    dtype: Dtype,
    [rows, cols]: [usize; 2],
    bytes: &[u8],
    payloads: Vec<(String, Vec<u8>)>,
) {
    let mut uploader = Uploader::new(gpu).unwrap();
    let matrix = Matrix { rows, cols };
    let raw = DeviceMatrix::upload_raw(gpu, &mut uploader, "raw", dtype, matrix, bytes);
    let mut stored = vec![(format!("{dtype} raw"), pollster::block_on(raw).unwrap().unwrap())];
    for (name, payload) in payloads {
        let bits = payload.len() as f64 * 8.0 / (rows * cols) as f64;
        let payload = Payload::parse(&payload).unwrap();
        let dense = pollster::block_on(DeviceMatrix::upload_tiled(gpu, &mut uploader, "dense", &payload));
        stored.push((format!("{dtype} {name}, {bits:.2} bits"), dense.unwrap().unwrap()));
        for layout in [Transcoded::Fast, Transcoded::Tiered] {
            let upload = DeviceMatrix::upload_transcoded(gpu, &mut uploader, "transcoded", &payload, layout);
            let weights = pollster::block_on(upload).unwrap().unwrap();
            if !matches!(weights.format, Format::Dense(_)) && stored.len() < 4 {
                let bits = weights.bytes() as f64 * 8.0 / (rows * cols) as f64;
                stored.push((format!("{dtype} {layout:?}, {bits:.2} bits").to_lowercase(), weights));
            }
        }
    }

    let stride = cols.next_multiple_of(32);
    let x: Vec<f32> = data::Random::new(2).gaussian_f32(stride * TOKENS as usize);
    let x = gpu.buffer_with("x", bytemuck::cast_slice(&x), wgpu::BufferUsages::STORAGE).unwrap();
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let y = gpu.buffer("y", (rows * 4) as u64 * u64::from(TOKENS), usage).unwrap();
    let step = Step { tokens: TOKENS, position: 0, first_output: 0, rank: 0 };
    let step = gpu.buffer_with("step", bytemuck::bytes_of(&step), wgpu::BufferUsages::UNIFORM).unwrap();
    let mut first = [const { None }; 3];
    let widening = KernelChoices { widen_from: WidenFrom { dense: 2, fast: 2, tiered: 2 }, ..*gpu.choices() };
    let widening = gpu.with_choices(widening);
    for (name, weights) in &stored {
        let product = Product {
            weights,
            x: &x,
            x_stride: stride,
            y: &y,
            y_stride: rows,
            bias: None,
            accumulate: false,
        };
        let room = WideRoom::new(&widening, WideRoom::wanted(&widening, TOKENS as usize, [weights])).unwrap();
        let kernels = [
            matvec::dispatches(gpu, &product),
            matmul::dispatches(gpu, &step, &product),
            widen::dispatches(&widening, &step, &room, &product),
        ];
        for (i, dispatches) in kernels.into_iter().enumerate() {
            let dispatches = dispatches.unwrap();
            let seconds = median(gpu, &dispatches);
            let tokens = if i == 0 { 1 } else { TOKENS as usize };
            let out = pollster::block_on(download(gpu, &y, (rows * tokens * 4) as u64)).unwrap();
            let (raw_seconds, raw_out) = first[i].get_or_insert((seconds, out.clone()));
            assert!(*raw_out == out, "{name} gives different bits than raw weights");
            let weights = (rows * cols) as f64;
            println!(
                "{:<26} {:<6} {:8.3} ms  {:7.3} Gweights/s  {:.3} x raw",
                name,
                ["matvec", "matmul", "widen"][i],
                seconds * 1e3,
                weights * tokens as f64 / seconds / 1e9,
                *raw_seconds / seconds,
            );
            let widening = dispatches.iter().filter(|dispatch| dispatch.label().starts_with("widen"));
            let widening: Vec<_> = widening.collect();
            if !widening.is_empty() {
                println!("{:33} {:8.3} ms for widening alone", "", median(gpu, &widening) * 1e3);
            }
        }
    }
}

/// Seconds that the dispatches take together.
fn median(gpu: &Gpu, dispatches: &[impl Borrow<Dispatch>]) -> f64 {
    let mut times: Vec<f64> = (0..RUNS + 1)
        .map(|_| {
            let start = Instant::now();
            gpu.submit("bench", |encoder| {
                let dispatches = dispatches.iter().map(Borrow::borrow);
                Dispatch::record_all(encoder, dispatches, Batch { tokens: TOKENS, outputs: 1 });
            })
            .unwrap();
            gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
            start.elapsed().as_secs_f64()
        })
        .skip(1)
        .collect();
    times.sort_by(f64::total_cmp);
    times[RUNS / 2]
}
