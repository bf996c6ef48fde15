//! The codec's parts on one thread, by element type. `cargo bench --bench codec [-- bf16/decode]`

use std::hint::black_box;
use std::time::Duration;

use bantam::codec::{Payload, checksum, encode};
use bantam::tensor::Dtype;
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};

#[path = "../tests/fixtures/data/mod.rs"]
mod data;

const SHAPE: [usize; 2] = [2048, 4096];
const ELEMENTS: usize = SHAPE[0] * SHAPE[1];

/// A type and the elements of [`SHAPE`] in it: Gaussian numbers, which all types get the same.
type Sample = (&'static str, Dtype, Vec<u8>);

fn samples() -> Vec<Sample> {
    let values = data::Random::new(1).gaussian_f32(ELEMENTS);
    // An eighth of the sigma of a quantised tensor's largest value is what scaling makes of it.
    let scaled = |largest: f32| values.iter().map(move |v| v / 0.02 * largest / 8.0);
    let bytes_of = |convert: fn(f32) -> u16| values.iter().flat_map(|&v| convert(v).to_le_bytes()).collect();
    vec![
        ("bf16", Dtype::BF16, bytes_of(|v| half::bf16::from_f32(v).to_bits())),
        ("f16", Dtype::F16, bytes_of(|v| half::f16::from_f32(v).to_bits())),
        ("f32", Dtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        ("e5m2", Dtype::F8_E5M2, scaled(57_344.0).map(e5m2).collect()),
        ("e4m3", Dtype::F8_E4M3, scaled(448.0).map(e4m3).collect()),
    ]
}

/// F16 without its lower byte, rounded towards zero.
fn e5m2(value: f32) -> u8 {
    (half::f16::from_f32(value).to_bits() >> 8) as u8
}

/// One exponent bit less than F16 and one mantissa bit more than [`e5m2`], rounded towards zero.
fn e4m3(value: f32) -> u8 {
    // The smaller bias, 7 instead of 15, as a power of two: subnormal numbers then come out right.
    let bits = half::f16::from_f32(value / 256.0).to_bits();
    (bits >> 8 & 0x80) as u8 | (bits >> 7 & 0x7f) as u8
}

fn codec(c: &mut Criterion) {
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1);
    one_thread.build_global().expect("nobody has used the pool yet");
    for (name, dtype, bytes) in samples() {
        let mut group = quick_group(c, name);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("encode", |b| b.iter(|| encode(dtype, &SHAPE, &bytes)));
        let payload = encode(dtype, &SHAPE, &bytes).expect("the length fits the shape");
        let payload = Payload::parse(&payload).expect("it was just written");
        let mut out = vec![0; bytes.len()];
        group.bench_function("decode", |b| b.iter(|| payload.decode_into(&mut out)));
        group.bench_function("check", |b| b.iter(|| payload.check()));
        rows(&mut group, &payload);
        group.finish();
        assert!(out == bytes);
    }
}

/// Single rows here and there, as a look-up of tokens in an embedding reads them.
fn rows(group: &mut BenchmarkGroup<WallTime>, payload: &Payload) {
    if payload.decode_rows(0..0).is_none() {
        return;
    }
    let mut random = data::Random::new(2);
    group.throughput(Throughput::Elements(1));
    group.bench_function("one row", |b| {
        let row = || random.below(SHAPE[0]);
        b.iter_batched(row, |row| payload.decode_rows(row..row + 1), BatchSize::SmallInput)
    });
}

/// What is done to bytes whatever they are.
fn bytes(c: &mut Criterion) {
    let (_, _, bytes) = &samples()[0];
    let mut group = quick_group(c, "bytes");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("xxh3", |b| b.iter(|| black_box(checksum(bytes))));
    group.bench_function("blake3", |b| b.iter(|| black_box(blake3::hash(bytes))));
    group.finish();
}

fn quick_group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group
}

criterion_group!(benches, codec, bytes);
criterion_main!(benches);
