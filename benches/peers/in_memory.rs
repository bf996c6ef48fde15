//! bantam on the tensors of a file in memory, once for each line on standard input.
//!
//! `benches/peers/run` starts it as `peers FILE THREADS new` or `again` and takes the answers: one JSON
//! object a line, with the seconds of each direction, the payloads' bytes, and whether the original came
//! back. Encoding includes the checksums of every section, and decoding compares them. What is written
//! goes to `new` memory, as with the other codecs, or to the same memory `again`, as in a program that
//! keeps its buffers. The encoder keeps what it needs on the way, as it does from tensor to tensor.

use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use bantam::codec::{Encoder, Payload, most_bytes};
use bantam::tensor::{SafetensorsFile, TensorEntry, Zeroed};
use rayon::prelude::*;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let [path, threads, memory] = &arguments[..] else {
        return println!("benches/peers/run compares bantam with other codecs");
    };
    let file = SafetensorsFile::open(Path::new(path)).expect("a safetensors file");
    let threads = threads.parse().expect("a number of threads");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
    let encoder = Encoder::default();
    let mut written = Written::default();
    for _ in std::io::stdin().lock().lines() {
        if memory != "again" {
            written = Written::default();
        }
        println!("{}", pool.install(|| repeat(&file, &encoder, &mut written)));
    }
}

/// What is written.
#[derive(Default)]
struct Written {
    payloads: Vec<Output>,
    /// The tensors that came back.
    restored: Option<Zeroed>,
}

/// A payload, and how much of its memory it takes.
struct Output {
    memory: Zeroed,
    len: usize,
}

fn repeat(file: &SafetensorsFile, encoder: &Encoder, written: &mut Written) -> serde_json::Value {
    let began = Instant::now();
    compress(file, encoder, &mut written.payloads);
    let compress = began.elapsed();
    let began = Instant::now();
    let len = file.bytes().len() - file.header_bytes().len();
    let restored = written.restored.get_or_insert_with(|| zeroed(len));
    decompress(file, &written.payloads, restored);
    let decompress = began.elapsed();
    serde_json::json!({
        "compress": compress.as_secs_f64(),
        "decompress": decompress.as_secs_f64(),
        "bytes": written.payloads.iter().map(|payload| payload.len).sum::<usize>(),
        "exact": restored[..] == file.bytes()[file.header_bytes().len()..],
        "setting": "in memory",
    })
}

fn zeroed(len: usize) -> Zeroed {
    Zeroed::new(len).expect("memory for what is written")
}

fn compress(file: &SafetensorsFile, encoder: &Encoder, payloads: &mut Vec<Output>) {
    if payloads.is_empty() {
        let output = |tensor: &TensorEntry| Output { memory: zeroed(most_bytes(tensor.range.len())), len: 0 };
        payloads.extend(file.tensors().iter().map(output));
    }
    file.tensors().par_iter().zip(payloads).for_each(|(tensor, payload)| {
        payload.len = encoder
            .encode_into(tensor.dtype, &tensor.shape, file.data(tensor), &mut payload.memory)
            .expect("the length fits the shape");
    });
}

/// All tensors, one after the other, in one buffer.
fn decompress(file: &SafetensorsFile, payloads: &[Output], restored: &mut [u8]) {
    let mut rest = restored;
    let mut outputs = Vec::new();
    for tensor in file.tensors() {
        let (output, after) = rest.split_at_mut(tensor.range.len());
        outputs.push(output);
        rest = after;
    }
    payloads.par_iter().zip(outputs).for_each(|(payload, output)| {
        let payload = Payload::parse(&payload.memory[..payload.len]).expect("it was just written");
        payload.check().expect("it was just written");
        payload.decode_into(output).expect("it was just written");
    });
}
