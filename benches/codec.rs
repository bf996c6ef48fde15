//! The codec on one thread, on 16 MiB of Gaussian BF16. `cargo bench --bench codec`

use std::hint::black_box;

use bantam::codec::{Payload, encode};
use bantam::tensor::Dtype;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[path = "../tests/data/mod.rs"]
mod data;

const SHAPE: [usize; 2] = [2048, 4096];

fn codec(c: &mut Criterion) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool of one thread");
    let bytes = data::bf16_bytes(&data::Random::new(1).gaussian_bf16(SHAPE[0] * SHAPE[1]));
    let payload = encode(Dtype::BF16, &SHAPE, &bytes).expect("the length fits the shape");
    let payload = Payload::parse(&payload).expect("it was just written");
    let mut out = vec![0; bytes.len()];

    let mut group = c.benchmark_group("codec");
    group.throughput(Throughput::Bytes(bytes.len() as u64)).sample_size(10);
    group.bench_function("encode", |b| b.iter(|| pool.install(|| encode(Dtype::BF16, &SHAPE, &bytes))));
    group.bench_function("decode", |b| b.iter(|| pool.install(|| payload.decode_into(&mut out))));
    group.bench_function("check", |b| b.iter(|| payload.check()));
    group.bench_function("blake3", |b| b.iter(|| black_box(blake3::hash(&bytes))));
    group.finish();
    assert!(out == bytes);
}

criterion_group!(benches, codec);
criterion_main!(benches);
