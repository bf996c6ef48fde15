//! bantam on the tensors of a file in memory, once for each line on standard input.
//!
//! `benches/peers/run` starts it as `peers FILE THREADS new` or `again` and takes the answers: one JSON
//! object a line, with the seconds of each direction, the payloads' bytes, and whether the original came
//! back. Encoding includes the checksums of every section, and decoding compares them. What is written
//! goes to `new` memory, as with the other codecs, or to the same memory `again`, as in a program that
//! keeps its buffers.

use std::io::BufRead;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use bantam::codec::{Payload, Preset, encode, encode_to};
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
    let mut kept = None;
    for _ in std::io::stdin().lock().lines() {
        let written = if memory == "again" { kept.take() } else { None };
        let (answer, written) = pool.install(|| repeat(&file, written));
        println!("{answer}");
        kept = (memory == "again").then_some(written);
    }
}

/// The payloads of all tensors, and the tensors that came back.
type Written = (Vec<Vec<u8>>, Zeroed);

fn repeat(file: &SafetensorsFile, before: Option<Written>) -> (serde_json::Value, Written) {
    let (payloads, restored) = before.unzip();
    let began = Instant::now();
    let payloads = match payloads {
        None => compress(file),
        Some(payloads) => compress_again(file, payloads),
    };
    let compress = began.elapsed();
    let began = Instant::now();
    let len = file.bytes().len() - file.header_bytes().len();
    let mut restored = restored.unwrap_or_else(|| Zeroed::new(len).expect("memory for the original"));
    decompress(file, &payloads, &mut restored);
    let decompress = began.elapsed();
    let answer = serde_json::json!({
        "compress": compress.as_secs_f64(),
        "decompress": decompress.as_secs_f64(),
        "bytes": payloads.iter().map(Vec::len).sum::<usize>(),
        "exact": restored[..] == file.bytes()[file.header_bytes().len()..],
        "setting": "in memory",
    });
    (answer, (payloads, restored))
}

fn compress(file: &SafetensorsFile) -> Vec<Vec<u8>> {
    let encode =
        |t: &TensorEntry| encode(t.dtype, &t.shape, file.data(t)).expect("the length fits the shape");
    file.tensors().par_iter().map(encode).collect()
}

/// Writes the same payloads over those that are there.
fn compress_again(file: &SafetensorsFile, mut payloads: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    file.tensors().par_iter().zip(&mut payloads).for_each(|(tensor, payload)| {
        let (len, payload) = (payload.len(), Mutex::new(payload));
        let put = |at: usize, bytes: &[u8]| {
            // What comes after the payload's end is of no meaning.
            let end = len.min(at + bytes.len());
            if at < end {
                payload.lock().expect("no thread has panicked")[at..end].copy_from_slice(&bytes[..end - at]);
            }
            Ok(())
        };
        encode_to(tensor.dtype, &tensor.shape, file.data(tensor), Preset::default(), &put)
            .expect("as before");
    });
    payloads
}

/// All tensors, one after the other, in one buffer.
fn decompress(file: &SafetensorsFile, payloads: &[Vec<u8>], restored: &mut [u8]) {
    let mut rest = restored;
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
}
