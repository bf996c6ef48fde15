//! bantam on the tensors of a file in memory, once for each line on standard input.
//!
//! `benches/peers/run` starts it as `peers FILE THREADS` and takes the answers: one JSON object a
//! line, with the seconds of each direction, the payloads' bytes, and whether the original came
//! back. Encoding includes the checksums of every section, and decoding compares them. Both are done
//! twice: to new memory, as the others do it, and to the same memory again, as a program does that keeps
//! its buffers.

use std::io::BufRead;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use bantam::codec::{Payload, Preset, encode, encode_to};
use bantam::tensor::{SafetensorsFile, TensorEntry, Zeroed};
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
    let mut payloads = compress(file);
    let compress_new = began.elapsed();
    let began = Instant::now();
    compress_again(file, &mut payloads);
    let compress_again = began.elapsed();
    let began = Instant::now();
    let mut restored =
        Zeroed::new(file.bytes().len() - file.header_bytes().len()).expect("memory for the original");
    decompress(file, &payloads, &mut restored);
    let decompress_new = began.elapsed();
    let began = Instant::now();
    decompress(file, &payloads, &mut restored);
    let decompress_again = began.elapsed();
    serde_json::json!({
        "compress": compress_new.as_secs_f64(),
        "decompress": decompress_new.as_secs_f64(),
        "compress again": compress_again.as_secs_f64(),
        "decompress again": decompress_again.as_secs_f64(),
        "bytes": payloads.iter().map(Vec::len).sum::<usize>(),
        "exact": restored[..] == file.bytes()[file.header_bytes().len()..],
        "setting": "in memory",
    })
}

fn compress(file: &SafetensorsFile) -> Vec<Vec<u8>> {
    let encode = |t| encode_tensor(file, t);
    file.tensors().par_iter().map(encode).collect()
}

fn encode_tensor(file: &SafetensorsFile, tensor: &TensorEntry) -> Vec<u8> {
    encode(tensor.dtype, &tensor.shape, file.data(tensor)).expect("the length fits the shape")
}

/// Writes the same payloads over those that are there.
fn compress_again(file: &SafetensorsFile, payloads: &mut [Vec<u8>]) {
    file.tensors().par_iter().zip(payloads).for_each(|(tensor, payload)| {
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
