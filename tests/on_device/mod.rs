//! Values on a device and back, and how close to others they must be.
#![allow(dead_code, reason = "each test binary uses its own part")]

use bantam::gpu::kernels::Step;
use bantam::gpu::{Batch, Buffer, Dispatch, Gpu, download};

use super::data::Random;

/// Rounding to F32, relative.
pub const EPSILON: f64 = f32::EPSILON as f64 / 2.0;

/// A batch of `tokens`, at `position`.
pub fn step(tokens: usize, position: usize) -> Step {
    Step { tokens: tokens as u32, position: position as u32, first_output: 0, rank: 0 }
}

pub fn uniform(gpu: &Gpu, step: Step) -> Buffer {
    gpu.buffer_with("step", bytemuck::bytes_of(&step), wgpu::BufferUsages::UNIFORM).unwrap()
}

pub fn storage<T: bytemuck::Pod>(gpu: &Gpu, values: &[T]) -> Buffer {
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    gpu.buffer_with("values", bytemuck::cast_slice(values), usage).unwrap()
}

pub fn run(gpu: &Gpu, dispatches: &[Dispatch], tokens: usize) {
    let batch = Batch { tokens: tokens as u32, outputs: tokens as u32 };
    gpu.submit("test", |encoder| {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        dispatches.iter().for_each(|d| d.record(&mut pass, batch));
    })
    .unwrap();
}

pub fn read(gpu: &Gpu, buffer: &Buffer, count: usize) -> Vec<f32> {
    let bytes = pollster::block_on(download(gpu, buffer, 4 * count as u64)).unwrap();
    bytes.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Numbers of about N(0, 1).
pub fn normal(seed: u64, count: usize) -> Vec<f32> {
    Random::new(seed).gaussian_f32(count).into_iter().map(|v| 50.0 * v).collect()
}

/// `values` in rows of `len`, each followed by `padding` up to a row of `stride`.
pub fn padded(values: &[f32], len: usize, stride: usize, padding: f32) -> Vec<f32> {
    values.chunks(len).flat_map(|row| [row, &vec![padding; stride - len]].concat()).collect()
}

#[track_caller]
pub fn assert_close(got: &[f32], wanted: &[f32], tolerance: impl Fn(usize) -> f64, what: &str) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    for (i, (&got, &wanted)) in got.iter().zip(wanted).enumerate() {
        let off = (f64::from(got) - f64::from(wanted)).abs();
        assert!(
            off <= tolerance(i),
            "{what}, element {i}: {got}, not {wanted}: off by {off:e} of {:e}",
            tolerance(i)
        );
    }
}
