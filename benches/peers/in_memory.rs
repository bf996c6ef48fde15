//! bantam on the tensors of a file in memory, once for each line on standard input.
//!
//! `benches/peers/run` starts it as `peers FILE THREADS` and takes the answers: one JSON object a
//! line, with the seconds of each direction, the payloads' bytes, and whether the original came
//! back. Encoding includes the checksums of every section, and decoding compares them.

use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use bantam::codec::{Payload, encode};
use bantam::tensor::{SafetensorsFile, Zeroed};
use rayon::prelude::*;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let [path, threads] = &arguments[..] else {
        return println!("benches/peers/run compares bantam with other codecs");
    };
    let file = SafetensorsFile::open(Path::new(path)).expect("a safetensors file");
    let threads = threads.parse().expect("a number of threads");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
    for _ in std::io::stdin().lock().lines() {
        println!("{}", pool.install(|| repeat(&file)));
    }
}

fn repeat(file: &SafetensorsFile) -> serde_json::Value {
    let began = Instant::now();
    let payloads = compress(file);
    let compress = began.elapsed();
    let began = Instant::now();
    let restored = decompress(file, &payloads);
    let decompress = began.elapsed();
    serde_json::json!({
        "compress": compress.as_secs_f64(),
        "decompress": decompress.as_secs_f64(),
        "bytes": payloads.iter().map(Vec::len).sum::<usize>(),
        "exact": restored[..] == file.bytes()[file.header_bytes().len()..],
        "setting": "in memory",
    })
}

fn compress(file: &SafetensorsFile) -> Vec<Vec<u8>> {
    let encode = |t| encode_tensor(file, t);
    file.tensors().par_iter().map(encode).collect()
}

fn encode_tensor(file: &SafetensorsFile, tensor: &bantam::tensor::TensorEntry) -> Vec<u8> {
    encode(tensor.dtype, &tensor.shape, file.data(tensor)).expect("the length fits the shape")
}

/// All tensors, one after the other, in one new buffer.
fn decompress(file: &SafetensorsFile, payloads: &[Vec<u8>]) -> Zeroed {
    let len = file.bytes().len() - file.header_bytes().len();
    let mut restored = Zeroed::new(len).expect("memory for the original");
    let mut rest = &mut restored[..];
    let mut outputs = Vec::new();
    for tensor in file.tensors() {
        let (output, after) = rest.split_at_mut(tensor.range.len());
        outputs.push(output);
        rest = after;
    }
    payloads.par_iter().zip(outputs).for_each(|(payload, output)| {
        let payload = Payload::parse(payload).expect("it was just written");
        payload.check().expect("it was just written");
        payload.decode_into(output).expect("it was just written");
    });
    restored
}
