//! Everything that is read was written by a stranger. Whatever the bytes are, opening, verifying
//! and decompressing end with an error or with the original; they never panic, never run away, and
//! never give other bytes than those that were compressed without saying so. A file cut short
//! anywhere, or with any bit flipped, is always noticed.
//!
//! Checksums stop accidents, not an adversary, who can write a checksum that fits. So a part of
//! the mutations here is signed again afterwards, to reach the checks behind the checksums.

use std::fs;
use std::path::Path;

use bantam::archive::original_header::Kept;
use bantam::archive::{
    Archive, Options, Preset, WeightSource, compress_file, decompress_file, original_header,
};
use bantam::codec::{Payload, checksum, encode};
use bantam::tensor::{Dtype, SafetensorsFile};

mod data;
use data::plain::{PlainFile, small_mixture};
use data::{Random, bf16_bytes};

const REPLACE: Options = Options { overwrite: true, preset: Preset::Small, lossy: None };

/// A file of which every byte is tried: only tensors whose payloads are small.
fn tiny() -> Vec<u8> {
    let ones = [0x80, 0x3f].repeat(64 * 16);
    packed(&PlainFile::default().weights("w", &[64, 48], 3).tensor("c", "BF16", &[64, 16], &ones))
}

fn packed(file: &PlainFile) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let [plain, packed] = ["plain", "packed"].map(|name| folder.path().join(name));
    file.write(&plain);
    compress_file(&plain, &packed, &REPLACE, &()).unwrap();
    fs::read(&packed).unwrap()
}

/// What a reader makes of a file.
#[derive(Debug, PartialEq)]
enum Outcome {
    Refused,
    Restored(Vec<u8>),
}

/// Reads `bytes` in every way there is, and checks that the ways agree.
fn read(bytes: &[u8], folder: &Path) -> Outcome {
    let (path, out) = (folder.join("damaged"), folder.join("restored"));
    fs::write(&path, bytes).unwrap();
    let restored = decompress_file(&path, &out, &REPLACE, &()).is_ok();
    let verified = match Archive::open(&path) {
        Ok(archive) => {
            assert!(archive.tensors().iter().all(|t| archive.payload(&t.name).is_ok()) || !restored);
            archive.verify(&()).unwrap().is_empty()
        }
        Err(_) => false,
    };
    assert_eq!(verified, restored, "verify and decompress disagree");
    // A model reader has no BLAKE3 to compare; it must only be safe.
    if let Ok(source) = WeightSource::open(&path) {
        source.weights().for_each(|weight| drop(weight.bytes()));
    }
    if restored { Outcome::Restored(fs::read(&out).unwrap()) } else { Outcome::Refused }
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    let bytes = tiny();
    let folder = tempfile::tempdir().unwrap();
    for len in 0..bytes.len() {
        assert_eq!(read(&bytes[..len], folder.path()), Outcome::Refused, "cut to {len} bytes");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(read(&longer, folder.path()), Outcome::Refused);
}

#[test]
fn a_flipped_bit_in_any_byte_is_noticed() {
    let bytes = tiny();
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::new(1);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << random.below(8);
        assert_eq!(read(&damaged, folder.path()), Outcome::Refused, "byte {at}");
    }
}

#[test]
fn thousands_of_mutations_of_a_mixture_are_noticed() {
    let bytes = packed(&small_mixture());
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::new(2);
    for round in 0..3000 {
        let mut damaged = bytes.clone();
        mutate(&mut damaged, &mut random);
        if damaged != bytes {
            assert_eq!(read(&damaged, folder.path()), Outcome::Refused, "round {round}");
        }
    }
}

/// One of: a flipped bit, a changed byte, a changed number, a block overwritten, moved or removed.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len());
    let len = (1 + random.below(600)).min(bytes.len() - at);
    match random.below(7) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next() as u8,
        2 => extreme_number(&mut bytes[at..], random),
        3 => bytes[at..at + len].fill(random.next() as u8),
        4 => {
            let from = random.below(bytes.len() - len + 1);
            bytes.copy_within(from..from + len, at);
        }
        5 => drop(bytes.drain(at..at + len)),
        _ => {
            let copy = bytes[at..at + len].to_vec();
            bytes.splice(at..at, copy);
        }
    }
}

/// Writes a number that lengths and offsets like least.
fn extreme_number(bytes: &mut [u8], random: &mut Random) {
    const NUMBERS: [u64; 10] =
        [0, 1, 255, 256, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 61, u64::MAX - 255, u64::MAX];
    let number = NUMBERS[random.below(NUMBERS.len())].to_le_bytes();
    let width = [2, 4, 8][random.below(3)].min(bytes.len());
    bytes[..width].copy_from_slice(&number[..width]);
}

/// Makes a payload's head checksum fit again.
fn sign_head(payload: &mut [u8]) {
    let len = u64::from_le_bytes(payload[16..24].try_into().unwrap()) as usize;
    if len <= payload.len() {
        payload[24..32].fill(0);
        let sum = checksum(&payload[..len]).to_le_bytes();
        payload[24..32].copy_from_slice(&sum);
    }
}

#[test]
fn payloads_with_hostile_heads_do_no_harm() {
    let gaussian = bf16_bytes(&Random::new(4).gaussian_bf16(130 * 300));
    let payloads = [
        encode(Dtype::BF16, &[130, 300], &gaussian).unwrap(),
        encode(Dtype::BF16, &[64, 64], &[0x80, 0x3f].repeat(64 * 64)).unwrap(),
        encode(Dtype::F32, &[100], &[7; 400]).unwrap(),
    ];
    let mut random = Random::new(5);
    for round in 0..30_000 {
        let mut payload = payloads[round % payloads.len()].clone();
        let head_len = u64::from_le_bytes(payload[16..24].try_into().unwrap()) as usize;
        for _ in 0..=random.below(3) {
            let at = 4 + random.below(if round % 2 == 0 { 60 } else { head_len - 4 });
            match random.below(3) {
                0 => payload[at] ^= 1 << random.below(8),
                1 => payload[at] = random.next() as u8,
                _ => extreme_number(&mut payload[at..head_len.max(at + 1)], &mut random),
            }
        }
        sign_head(&mut payload);
        if let Ok(payload) = Payload::parse(&payload) {
            let _ = payload.check();
            let _ = payload.decode();
            let _ = payload.decode_rows(0..1);
            let (from, to) = (random.below(80_000), random.below(80_000));
            let _ = payload.check_bytes(from..to);
            let _ = payload.decode_bytes(from..to, &mut vec![0; to.saturating_sub(from)]);
        }
    }
}

#[test]
fn streams_of_noise_do_no_harm() {
    let gaussian = bf16_bytes(&Random::new(6).gaussian_bf16(70 * 100));
    let original = encode(Dtype::BF16, &[70, 100], &gaussian).unwrap();
    let head_len = u64::from_le_bytes(original[16..24].try_into().unwrap()) as usize;
    let mut random = Random::new(7);
    for _ in 0..3000 {
        let mut payload = original.clone();
        for _ in 0..=random.below(40) {
            let at = head_len + random.below(payload.len() - head_len);
            payload[at] = random.next() as u8;
        }
        let payload = Payload::parse(&payload).unwrap();
        if let Ok(decoded) = payload.decode() {
            assert_eq!(decoded.len(), gaussian.len());
        }
    }
}

#[test]
fn containers_with_hostile_headers_do_no_harm() {
    let bytes = packed(&small_mixture());
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::new(8);
    let original = small_mixture().bytes();
    let header_len = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let slot = Kept::new(original[..original_header_len(&original)].into()).tensor_len();
    let kept = original_header::read(&bytes[header_len..header_len + slot], &bytes[..header_len]).unwrap();
    let kept_len = kept.len();
    let mut tried = 0;
    for round in 0..3000 {
        let mut damaged = bytes.clone();
        let mut kept = kept.to_vec();
        // The kept header's length prefix is a number like any other.
        let text = match round % 4 {
            0 | 2 => &mut damaged[8..header_len],
            1 => &mut kept[8..],
            _ => &mut kept[..16],
        };
        for _ in 0..=random.below(3) {
            change_text(text, &mut random);
        }
        // Signed again, as somebody with bad intentions would.
        let kept = Kept::new(kept.into());
        if kept.tensor_len() != slot {
            continue;
        }
        tried += 1;
        let tensor = kept.write(&damaged[..header_len]);
        damaged[header_len..header_len + slot].copy_from_slice(&tensor);
        match read(&damaged, folder.path()) {
            Outcome::Refused => {}
            // Whoever signs a file may change what the original is said to be, but not the data.
            Outcome::Restored(restored) => {
                assert!(restored.ends_with(&original[kept_len..]));
                assert_eq!(restored.len(), original.len());
                assert!(safetensors::SafeTensors::deserialize(&restored).is_ok());
            }
        }
    }
    assert!(tried > 2000, "{tried}");
}

/// Bytes of a safetensors file's length prefix and header.
fn original_header_len(file: &[u8]) -> usize {
    8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize
}

/// Changes a digit, a letter, or any byte of JSON text.
fn change_text(text: &mut [u8], random: &mut Random) {
    let at = random.below(text.len());
    match random.below(3) {
        0 => {
            if let Some(digit) = text[at..].iter_mut().find(|b| b.is_ascii_digit()) {
                *digit = b'0' + random.below(10) as u8;
            }
        }
        1 => text[at] = b" \"{}[],:0aA\\"[random.below(12)],
        _ => text[at] = random.next() as u8,
    }
}

#[test]
fn plain_files_of_noise_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("noise");
    let original = small_mixture().bytes();
    let mut random = Random::new(9);
    for _ in 0..3000 {
        let mut damaged = original.clone();
        if random.below(2) == 0 {
            mutate(&mut damaged, &mut random);
        } else {
            change_text(&mut damaged[8..400], &mut random);
        }
        fs::write(&path, &damaged).unwrap();
        if let Ok(file) = SafetensorsFile::open(&path) {
            for t in file.tensors() {
                let bits = t.shape.iter().product::<usize>() * t.dtype.bitsize();
                assert_eq!(8 * file.data(t).len(), bits);
            }
            let _ = compress_file(&path, &folder.path().join("out"), &REPLACE, &());
        }
    }
}
