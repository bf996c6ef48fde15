//! bantam on the tensors of a file in memory, once for each line on standard input.
//!
//! Started as `peers FILE BASE THREADS`, it makes differences to the tensors of another file, and adds them
//! again.
//!
//! `benches/peers/run` starts it as `peers FILE THREADS MEMORY PRESET`, where MEMORY is `new` or `again` and
//! PRESET is `small` or `fast`, and takes the answers: one JSON object a line, with the seconds of each
//! direction, the payloads' bytes, and whether the original came back. Encoding includes the checksums of
//! every section, and decoding compares them. What is written goes to `new` memory, as with the other codecs,
//! or to the same memory `again`, as in a program that keeps its buffers. The encoder keeps what it needs on
//! the way, as it does from tensor to tensor.

use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use bantam::codec::{Delta, Encoder, Payload, Preset, encode_delta, most_bytes};
use bantam::tensor::{SafetensorsFile, TensorEntry, Zeroed};
use rayon::prelude::*;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    if let [path, base, threads] = &arguments[..] {
        return against_base(path, base, threads.parse().expect("a number of threads"));
    }
    let [path, threads, memory, preset] = &arguments[..] else {
        return println!("benches/peers/run compares bantam with other codecs");
    };
    let file = SafetensorsFile::open(Path::new(path)).expect("a safetensors file");
    let threads = threads.parse().expect("a number of threads");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
    let encoder = Encoder::new(if preset == "fast" { Preset::Fast } else { Preset::Small });
    let mut written = Written::default();
    for _ in std::io::stdin().lock().lines() {
        if memory != "again" {
            written = Written::default();
        }
        let mut answer = pool.install(|| repeat(&file, &encoder, &mut written));
        answer["setting"] = preset.as_str().into();
        println!("{answer}");
    }
}

/// Tensors of the one file as differences to those of the other.
fn against_base(path: &str, base: &str, threads: usize) {
    let open = |path| SafetensorsFile::open(Path::new(path)).expect("a safetensors file");
    let (file, base) = (open(path), open(base));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
    let tensors = file.tensors().iter().filter_map(|new| {
        let old = base.tensors().iter().find(|old| (&old.name, &old.shape) == (&new.name, &new.shape))?;
        Some((new, base.data(old), blake3::hash(base.data(old))))
    });
    let tensors: Vec<_> = tensors.collect();
    let len = tensors.iter().map(|(new, ..)| new.range.len()).sum();
    let (mut payloads, mut restored) = (zeroed(2 * len + (1 << 20)), zeroed(len));
    for _ in std::io::stdin().lock().lines() {
        let began = Instant::now();
        let mut at = 0;
        let mut ends = vec![0];
        for (new, base, hash) in &tensors {
            let room = std::sync::Mutex::new(&mut payloads[at..]);
            let put = |at: usize, piece: &[u8]| {
                room.lock().expect("no panic")[at..at + piece.len()].copy_from_slice(piece);
                Ok(())
            };
            let data = file.data(new);
            let encode = || encode_delta(new.dtype, &new.shape, &data, (base, *hash), usize::MAX, &put);
            at += pool.install(encode).expect("the length fits the shape").expect("floats");
            ends.push(at);
        }
        let compress = began.elapsed();
        let began = Instant::now();
        let mut rest = &mut restored[..];
        for ((new, base, _), ends) in tensors.iter().zip(ends.windows(2)) {
            let out = rest.split_off_mut(..new.range.len()).expect("room for all");
            let delta = Delta::parse(&payloads[ends[0]..ends[1]]).expect("it was just written");
            delta.check().expect("it was just written");
            let rows = 0..out.len() / delta.row_bytes();
            pool.install(|| delta.decode_rows(rows, base, out)).expect("it was just written");
        }
        let decompress = began.elapsed();
        let mut restored = &restored[..];
        let exact = tensors.iter().all(|(new, ..)| {
            let here = restored.split_off(..new.range.len()).expect("room for all");
            here == file.data(new)
        });
        let (compress, decompress) = (compress.as_secs_f64(), decompress.as_secs_f64());
        let answer = serde_json::json!({
            "compress": compress, "decompress": decompress, "bytes": at, "original": len, "exact": exact,
        });
        println!("{answer}");
    }
}

/// What is written. All of it is in one piece of memory, which the system gives in large pages.
#[derive(Default)]
struct Written {
    /// Room for the payload of each tensor.
    payloads: Option<Zeroed>,
    /// Bytes of each payload.
    lens: Vec<usize>,
    /// The tensors that came back.
    restored: Option<Zeroed>,
}

fn repeat(file: &SafetensorsFile, encoder: &Encoder, written: &mut Written) -> serde_json::Value {
    let rooms: Vec<usize> = file.tensors().iter().map(|tensor| most_bytes(tensor.range.len())).collect();
    let began = Instant::now();
    let payloads = written.payloads.get_or_insert_with(|| zeroed(rooms.iter().sum()));
    written.lens = compress(file, encoder, split(payloads, &rooms));
    let compress = began.elapsed();
    let began = Instant::now();
    let len = file.bytes().len() - file.header_bytes().len();
    let restored = written.restored.get_or_insert_with(|| zeroed(len));
    let payloads = split(payloads, &rooms).into_iter().zip(&written.lens).map(|(room, &len)| &room[..len]);
    decompress(file, &payloads.collect::<Vec<_>>(), restored);
    let decompress = began.elapsed();
    serde_json::json!({
        "compress": compress.as_secs_f64(),
        "decompress": decompress.as_secs_f64(),
        "bytes": written.lens.iter().sum::<usize>(),
        "exact": restored[..] == file.bytes()[file.header_bytes().len()..],
    })
}

fn zeroed(len: usize) -> Zeroed {
    Zeroed::new(len).expect("memory for what is written")
}

/// Pieces of these lengths, one after the other.
fn split<'a>(mut rest: &'a mut [u8], lens: &[usize]) -> Vec<&'a mut [u8]> {
    let piece = |&len: &usize| rest.split_off_mut(..len).expect("there is room for all");
    lens.iter().map(piece).collect()
}

fn compress(file: &SafetensorsFile, encoder: &Encoder, payloads: Vec<&mut [u8]>) -> Vec<usize> {
    let encode = |(tensor, payload): (&TensorEntry, &mut [u8])| {
        encoder
            .encode_into(tensor.dtype, &tensor.shape, file.data(tensor), payload)
            .expect("the length fits the shape")
    };
    file.tensors().par_iter().zip(payloads).map(encode).collect()
}

/// All tensors, one after the other, in one buffer.
fn decompress(file: &SafetensorsFile, payloads: &[&[u8]], restored: &mut [u8]) {
    let lens: Vec<usize> = file.tensors().iter().map(|tensor| tensor.range.len()).collect();
    payloads.par_iter().zip(split(restored, &lens)).for_each(|(payload, output)| {
        let payload = Payload::parse(payload).expect("it was just written");
        payload.check().expect("it was just written");
        payload.decode_into(output).expect("it was just written");
    });
}
