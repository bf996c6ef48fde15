//! Everything that is read was written by a stranger. Whatever the bytes are, opening, verifying
//! and decompressing end with an error or with the original; they never panic, never run away, and
//! never give other bytes than those that were compressed without saying so. A file cut short
//! anywhere, or with any bit flipped, is always noticed.
//!
//! Checksums stop accidents, not an adversary, who can write a checksum that fits. So a part of
//! the mutations here is signed again afterwards, to reach the checks behind the checksums.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bantam::archive::original_header::OutsideBytes;
use bantam::archive::{
    Archive, ArchiveError, Limit, Options, Progress, RowBlock, Weight, WeightSource, compress,
    compress_bytes, compress_file, compress_opened, decompress, decompress_bytes, decompress_bytes_within,
    decompress_file, decompress_opened, decompress_to, original_header,
};
use bantam::codec::head::Kind;
use bantam::codec::{CodecError, Encoder, Lossy, Payload, Precision, RowDecoder, checksum, encode};
use bantam::tensor::{Dtype, SafetensorsFile, SourceFile};

use crate::data::gguf::Gguf;
use crate::data::plain::{PlainFile, small_mixture};
use crate::data::{Random, bf16_bytes};

const REPLACE: Options = Options::REPLACE;

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
        source.weights().for_each(|weight| read_by_position(&weight));
    }
    if restored { Outcome::Restored(fs::read(&out).unwrap()) } else { Outcome::Refused }
}

/// Reads a tensor as models do, which is what is read of it as a whole.
fn read_by_position(weight: &Weight) {
    let whole = weight.bytes();
    let Ok(reader) = weight.reader() else {
        assert!(whole.is_err());
        return;
    };
    let checked = reader.check(Precision::Lossless);
    let read = reader.read_all();
    assert!(checked.is_ok() || read.is_err());
    assert!(read.ok().as_deref() == whole.as_deref().ok(), "{}", weight.name);
    let (rows, len) = (reader.rows(), reader.row_bytes());
    let (read, mut memory) = (reader.read_matrix_rows(rows / 2..rows), RowBlock::default());
    let block = reader.read_row_block(0, Precision::Mantissa(3), &mut memory);
    if let Ok(whole) = whole.as_deref() {
        assert!(read.unwrap() == whole[rows / 2 * len..rows * len] && block.is_ok());
    }
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

/// Touching a mapped page behind a file's new end would end the process.
#[test]
fn a_file_cut_short_while_it_is_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let [plain, packed, out] = ["plain", "packed", "out"].map(|name| folder.path().join(name));
    let file = PlainFile::default().weights("a", &[300, 1000], 1).weights("b", &[64, 3000], 2);
    file.tensor(
        "noise",
        "U8",
        &[1 << 20],
        &(0..1 << 20).map(|i: u32| (i.wrapping_mul(i) >> 7) as u8).collect::<Vec<_>>(),
    )
    .write(&plain);
    compress_file(&plain, &packed, &REPLACE, &()).unwrap();
    let cut =
        |path: &Path, len: u64| fs::File::options().write(true).open(path).unwrap().set_len(len).unwrap();
    let says = |error: ArchiveError, path: &Path| {
        assert!(matches!(&error, ArchiveError::Changed { file } if file == path), "{error}");
    };
    // Just the headers, some of the first tensor, and all but the end of the last.
    let (whole, last) = (fs::read(&packed).unwrap(), Archive::open(&packed).unwrap().tensors()[2].clone());
    let lens = [fs::metadata(&packed).unwrap().len() - 5000, last.payload.start as u64 - 100_000, 8192];
    for len in lens {
        let opened = || {
            fs::write(&packed, &whole).unwrap();
            let source = WeightSource::open(&packed).unwrap();
            let archive = Archive::open(&packed).unwrap();
            cut(&packed, len);
            (source, archive)
        };
        let (source, archive) = opened();
        let failures = archive.verify(&()).unwrap();
        assert!(!failures.is_empty() && failures.iter().any(|f| f.tensor.as_deref() == Some("noise")));
        failures.into_iter().for_each(|failure| says(failure.error, &packed));
        says(decompress_opened(&archive, &out, &REPLACE, &()).unwrap_err(), &packed);
        let decode = |_: &str, payload: &Payload| Ok(payload.decode()?);
        assert!(!archive.verify_with(&decode, &()).unwrap().is_empty());
        says(archive.read_tensor("noise").unwrap_err(), &packed);
        let weight = source.require("noise").unwrap();
        says(weight.extract(0..1 << 20, &out, &REPLACE, &()).unwrap_err(), &packed);
    }
    // And before it is compressed, copied, or looked through.
    let whole = fs::read(&plain).unwrap();
    for len in [whole.len() as u64 - 5000, 8192] {
        fs::write(&plain, &whole).unwrap();
        let opened = SourceFile::open(&plain).unwrap();
        let source = WeightSource::open(&plain).unwrap();
        cut(&plain, len);
        says(compress_opened(&opened, &out, &REPLACE, &()).unwrap_err(), &plain);
        says(source.require("noise").unwrap().extract(0..1 << 20, &out, &REPLACE, &()).unwrap_err(), &plain);
    }
    assert!(!out.exists());
}

/// A row block of such rows is larger than what is read at a time: it is read tile by tile.
#[test]
fn long_rows_are_read_by_position_tile_by_tile() {
    let folder = tempfile::tempdir().unwrap();
    let [plain, packed, out] = ["plain", "packed", "out"].map(|name| folder.path().join(name));
    PlainFile::default().weights("long", &[60, 530_001], 3).write(&plain);
    compress_file(&plain, &packed, &REPLACE, &()).unwrap();
    let source = WeightSource::open(&packed).unwrap();
    let archive = Archive::open(&packed).unwrap();
    assert!(matches!(archive.payload("long").unwrap().head().kind, Kind::Tiled(_)));
    decompress_opened(&archive, &out, &REPLACE, &()).unwrap();
    let whole = fs::read(&plain).unwrap();
    assert!(fs::read(&out).unwrap() == whole);
    let row = 2 * 530_001;
    let tensor = &whole[whole.len() - 60 * row..];
    assert!(archive.read_rows("long", 1..3).unwrap() == tensor[row..3 * row]);
    let weight = source.require("long").unwrap();
    for range in
        [0..1, 2 * row - 1..2 * row + 2, 77_777..2 * row + 5, 59 * row + 3..60 * row, 5 * row..5 * row]
    {
        weight.extract(range.clone(), &out, &REPLACE, &()).unwrap();
        assert!(fs::read(&out).unwrap() == tensor[range]);
    }
    fs::remove_file(&out).unwrap();
    fs::File::options().write(true).open(&packed).unwrap().set_len(2 << 20).unwrap();
    let is_changed = |error: ArchiveError| matches!(error, ArchiveError::Changed { .. });
    assert!(is_changed(decompress_opened(&archive, &out, &REPLACE, &()).unwrap_err()));
    assert!(is_changed(archive.read_rows("long", 58..60).unwrap_err()));
    assert!(is_changed(weight.extract(0..1, &out, &REPLACE, &()).unwrap_err()));
    assert!(!out.exists());
}

/// Cuts a file short as soon as some of it is done.
struct CutsShort(PathBuf);

impl Progress for CutsShort {
    fn begin(&self, _: u64, _: &str) {}
    fn finish(&self) {}
    fn advance(&self, _: u64) {
        fs::File::options().write(true).open(&self.0).unwrap().set_len(8192).unwrap();
    }
}

/// One tensor that is encoded with others, and one that is written as it is encoded.
#[test]
fn a_file_cut_short_while_it_is_compressed_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let [plain, out] = ["plain", "out"].map(|name| folder.path().join(name));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for (lossy, rows) in [(None, 1000), (None, 5000), (Some(Lossy::new(3, 32).unwrap()), 5000)] {
        PlainFile::default().weights("a", &[rows, 1024], 1).write(&plain);
        let options = REPLACE.with_lossy(lossy);
        let error =
            pool.install(|| compress_file(&plain, &out, &options, &CutsShort(plain.clone()))).unwrap_err();
        assert!(matches!(&error, ArchiveError::Changed { file } if *file == plain), "{rows} rows: {error}");
    }
    assert!(!out.exists());
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
    let payloads = payloads_of_every_kind();
    let mut random = Random::new(5);
    // Of each, how many changes got past the head's checksum, and how many past all that is checked of a
    // head.
    let mut past = vec![[0; 2]; payloads.len()];
    for round in 0..35_000 {
        let which = round % payloads.len();
        let mut payload = payloads[which].clone();
        let head_len = u64::from_le_bytes(payload[16..24].try_into().unwrap()) as usize;
        for _ in 0..=random.below(3) {
            let anywhere = round / payloads.len() % 2 == 1;
            let at = 4 + random.below(if anywhere { head_len - 4 } else { 60 });
            match random.below(3) {
                0 => payload[at] ^= 1 << random.below(8),
                1 => payload[at] = random.next() as u8,
                _ => extreme_number(&mut payload[at..head_len.max(at + 1)], &mut random),
            }
        }
        sign_head(&mut payload);
        if payload == payloads[which] {
            continue;
        }
        let parsed = Payload::parse(&payload);
        past[which][0] += usize::from(!matches!(parsed, Err(CodecError::Checksum { .. })));
        if let Ok(payload) = parsed {
            past[which][1] += 1;
            let _ = payload.check();
            let _ = payload.decode();
            let _ = payload.decode_rows(0..1);
            let (from, to) = (random.below(80_000), random.below(80_000));
            let _ = payload.check_bytes(from..to);
            let _ = payload.decode_bytes(from..to, &mut vec![0; to.saturating_sub(from)]);
            read_row_block(&payload, random.below(4));
        }
    }
    assert!(past.iter().all(|&[signed, read]| signed > 4000 && read > 200), "{past:?}");
}

/// Decodes a row block from its bytes alone, which is what is decoded of it with the others.
fn read_row_block(payload: &Payload, row_block: usize) {
    let decoder = RowDecoder::new(payload.head().clone());
    let ranges = decoder.ranges(row_block);
    let Kind::Tiled(tiled) = &payload.head().kind else {
        assert!(ranges.is_empty());
        return;
    };
    if row_block >= tiled.grid.row_blocks {
        assert!(ranges.is_empty());
        return;
    }
    let bytes: Vec<u8> = ranges.into_iter().flat_map(|range| &payload.bytes()[range]).copied().collect();
    let rows = 64 * row_block..64 * row_block + tiled.grid.rows_in(row_block);
    let mut out = vec![0; rows.len() * tiled.row_bytes()];
    let read = decoder.decode(row_block, 0..rows.len(), &bytes, &mut out);
    let expected = payload.decode_rows(rows).unwrap();
    assert!(read.is_ok() == expected.is_ok() && expected.is_ok_and(|rows| rows == out) == read.is_ok());
}

/// Every kind of payload, and every table that a head can have.
fn payloads_of_every_kind() -> [Vec<u8>; 7] {
    let mut random = Random::new(4);
    let gaussian = random.gaussian_bf16(130 * 300);
    let loud = |i: usize| half::bf16::from_f32([1.0, 9.0, 0.1, 70.0][i / 300 % 4]);
    let scaled_rows = gaussian.iter().enumerate().map(|(i, &w)| half::bf16::from_bits(w) * loud(i));
    let scaled_rows: Vec<u8> = scaled_rows.flat_map(|w| w.to_le_bytes()).collect();
    let dirty = |i: usize| u32::from((i / 300).is_multiple_of(5)) * 0x1234;
    let mixed = gaussian.iter().enumerate().flat_map(|(i, &w)| (u32::from(w) << 16 | dirty(i)).to_le_bytes());
    let noise: Vec<u8> = (0..400).map(|_| random.next() as u8).collect();
    let rounding = Encoder::default().rounding(Some(Lossy::new(3, 32).unwrap()));
    let payloads = [
        encode(Dtype::BF16, &[130, 300], &bf16_bytes(&gaussian)).unwrap(),
        encode(Dtype::BF16, &[130, 300], &scaled_rows).unwrap(),
        encode(Dtype::F32, &[130, 300], &mixed.collect::<Vec<_>>()).unwrap(),
        rounding.encode(Dtype::BF16, &[130, 300], &bf16_bytes(&gaussian)).unwrap(),
        encode(Dtype::F32, &[100], &noise).unwrap(),
        encode(Dtype::BF16, &[64, 64], &[0x80, 0x3f].repeat(64 * 64)).unwrap(),
        encode(Dtype::F32, &[100], &[7; 400]).unwrap(),
    ];
    let [tiled, shifted, masked, scaled, raw, constant, bytes] =
        payloads.each_ref().map(|payload| Payload::parse(payload).unwrap().head().kind.clone());
    let in_tiles = |kind| match kind {
        Kind::Tiled(tiled) => tiled,
        _ => panic!("not in tiles"),
    };
    assert!(in_tiles(tiled).scaled.is_none());
    assert!(in_tiles(shifted).shifts.rows.iter().any(|&shift| shift > 0));
    let masked = in_tiles(masked).masks;
    assert!(masked.iter().any(|mask| mask.lanes != 0) && masked[1].before > 0);
    assert!(in_tiles(scaled).scaled.is_some() && raw == Kind::Raw);
    assert!([constant, bytes].iter().all(|kind| matches!(kind, Kind::Constant(_))));
    payloads
}

#[test]
fn streams_of_noise_do_no_harm() {
    // Of fewer rows in the second row block it would be stored as it is, and nothing could go wrong.
    let gaussian = bf16_bytes(&Random::new(6).gaussian_bf16(120 * 100));
    let original = encode(Dtype::BF16, &[120, 100], &gaussian).unwrap();
    assert!(matches!(Payload::parse(&original).unwrap().head().kind, Kind::Tiled(_)));
    let head_len = u64::from_le_bytes(original[16..24].try_into().unwrap()) as usize;
    let mut random = Random::new(7);
    let mut decoded = 0;
    for _ in 0..3000 {
        let mut payload = original.clone();
        for _ in 0..=random.below(40) {
            let at = head_len + random.below(payload.len() - head_len);
            payload[at] = random.next() as u8;
        }
        let payload = Payload::parse(&payload).unwrap();
        if let Ok(bytes) = payload.decode() {
            assert_eq!(bytes.len(), gaussian.len());
            decoded += 1;
        }
    }
    // Nothing but streams that end elsewhere tells that there is noise.
    assert!((100..2900).contains(&decoded), "{decoded}");
}

#[test]
fn containers_with_hostile_headers_do_no_harm() {
    let bytes = packed(&small_mixture());
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::new(8);
    let original = small_mixture().bytes();
    let header_len = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let slot = OutsideBytes::new(original[..original_header_len(&original)].into()).tensor_len();
    let kept = original_header::read(&bytes[header_len..header_len + slot], &bytes[..header_len]).unwrap();
    let kept_len = kept.len();
    let (mut tried, mut accepted) = (0, 0);
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
        let kept = OutsideBytes::new(kept.into());
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
                accepted += 1;
                assert!(restored.ends_with(&original[kept_len..]));
                assert_eq!(restored.len(), original.len());
                assert!(safetensors::SafeTensors::deserialize(&restored).is_ok());
            }
        }
    }
    assert!(tried > 2000 && accepted > 100, "{tried} {accepted}");
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
    let mut compressed = 0;
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
            compressed +=
                usize::from(compress_file(&path, &folder.path().join("out"), &REPLACE, &()).is_ok());
        }
    }
    assert!((300..2900).contains(&compressed), "{compressed}");
}

/// A file of a few hundred bytes a tensor that says, and truly, that it has `count` tensors of [`LARGE`]
/// zeros.
fn bomb(count: usize) -> Vec<u8> {
    let zeros = vec![0; LARGE];
    let payload = encode(Dtype::U8, &[LARGE], &zeros).unwrap();
    let hash = blake3::hash(&zeros).to_hex().to_string();
    let description = |shape: usize, start: usize, len: usize| serde_json::json!({ "dtype": "U8", "shape": [shape], "data_offsets": [start, start + len] });
    let mut original = serde_json::Map::new();
    let mut index = serde_json::Map::new();
    for i in 0..count {
        original.insert(format!("{i}"), description(LARGE, LARGE * i, LARGE));
        let entry = serde_json::json!({ "dtype": "U8", "shape": [LARGE], "bytes": LARGE, "blake3": hash });
        index.insert(format!("{i}"), entry);
    }
    let kept = OutsideBytes::new(with_len(&serde_json::Value::Object(original).to_string()).into());
    let mut header = serde_json::Map::new();
    let index = serde_json::Value::Object(index).to_string();
    let metadata = [("bantam.format", "1"), ("bantam.original_header", "kept"), ("bantam.index", &index)];
    header.insert("__metadata__".into(), serde_json::json!(std::collections::BTreeMap::from(metadata)));
    header.insert("kept".into(), description(kept.tensor_len(), 0, kept.tensor_len()));
    for i in 0..count {
        let start = kept.tensor_len() + payload.len() * i;
        header.insert(format!("{i}"), description(payload.len(), start, payload.len()));
    }
    let mut json = serde_json::Value::Object(header).to_string();
    json += &" ".repeat((8 + json.len()).next_multiple_of(256) - 8 - json.len());
    let header = with_len(&json);
    [&header[..], &kept.write(&header), &payload.repeat(count)].concat()
}

/// Bytes that 256 stand for.
const LARGE: usize = 16 << 20;

fn with_len(json: &str) -> Vec<u8> {
    [&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat()
}

#[test]
fn what_a_file_grows_to_has_a_limit_in_sum() {
    let folder = tempfile::tempdir().unwrap();
    let [path, out] = ["b.bantam.safetensors", "out"].map(|name| folder.path().join(name));
    // All that it says is true, and every tensor alone is allowed.
    let small = bomb(3);
    assert!(decompress_bytes(small.clone(), &()).unwrap().ends_with(&[0; 3 * LARGE]));
    let bytes = bomb(2000);
    fs::write(&path, &bytes).unwrap();
    let archive = Archive::open(&path).unwrap();
    let (len, most) = (archive.original_len(), Limit::default().bytes(bytes.len() as u64));
    assert!(len > 2000 << 24 && most == 1 << 30 && bytes.len() < 2 << 20, "{len} {most} {}", bytes.len());
    let errors = [
        decompress_bytes(bytes.clone(), &()).unwrap_err(),
        decompress_file(&path, &out, &REPLACE, &()).unwrap_err(),
        decompress(&path, Some(&out), &REPLACE, &()).unwrap_err(),
        decompress_to(&archive, &mut Vec::new(), &Options::DEFAULT, &()).unwrap_err(),
        decompress_bytes_within(small.clone(), Limit::Bytes(3 << 24), &()).unwrap_err(),
    ];
    for error in &errors {
        assert!(matches!(error, ArchiveError::TooLarge { .. }), "{error}");
    }
    assert!(!out.exists());
    // The header comes to that.
    let enough = Limit::Bytes(Archive::from_bytes(small.clone()).unwrap().original_len());
    assert!(decompress_bytes_within(small, enough, &()).unwrap().len() > 3 << 24);
}

#[test]
fn what_a_folder_grows_to_has_a_limit_in_sum() {
    let root = tempfile::tempdir().unwrap();
    let (model, out) = (root.path().join("m"), root.path().join("out"));
    fs::create_dir(&model).unwrap();
    // Each alone would be allowed.
    for name in ["a", "b"] {
        fs::write(model.join(format!("{name}.bantam.safetensors")), bomb(40)).unwrap();
    }
    let error = decompress(&model, Some(&out), &REPLACE, &()).unwrap_err();
    assert!(
        matches!(error, ArchiveError::TooLarge { len, most, .. } if len > 80 << 24 && most == 1 << 30),
        "{error}"
    );
    let command = |size: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bantam"));
        command.arg("decompress").arg(&model).arg("-o").arg(&out).args(["--max-size", size]).output().unwrap()
    };
    let refused = command("1GB");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && said.contains("more than the 1000000000"), "{said}");
    assert!(said.contains("--max-size 13") && fs::read_dir(root.path()).unwrap().count() == 1, "{said}");
}

/// In a process of its own, which the system allows few addresses. No memory is used for this.
#[cfg(target_os = "linux")]
#[test]
fn memory_that_is_not_there_is_an_error_and_many_open_files_need_none() {
    const IS_CHILD: &str = "BANTAM_TEST_FEW_ADDRESSES";
    if std::env::var_os(IS_CHILD).is_none() {
        let name = "damage::memory_that_is_not_there_is_an_error_and_many_open_files_need_none";
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -v 2000000; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
        command.args([name, "--exact"]).env(IS_CHILD, "").env("RAYON_NUM_THREADS", "2");
        let output = command.output().unwrap();
        let (printed, said) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && printed.contains("1 passed"), "{printed} {said}");
        return;
    }
    let error = decompress_bytes_within(bomb(500), Limit::NONE, &()).unwrap_err();
    assert!(matches!(error, ArchiveError::OutOfMemory { len: 8_000_000_000.., .. }), "{error}");
    // What is behind the last tensor is zeros, and packed.
    let plain = Gguf { trailing: vec![0; 40 << 20], ..Gguf::default() }.weights("w", &[64, 64], 1).bytes();
    let packed = compress_bytes(plain, Options::DEFAULT, &()).unwrap();
    assert!(packed.len() < 1 << 20);
    let archives: Vec<_> = (0..60).map(|_| Archive::from_bytes(packed.clone()).unwrap()).collect();
    for archive in &archives[..2] {
        assert_eq!(archive.outside().unwrap().trailing().len() >> 20, 40);
    }
}

#[test]
fn an_output_in_a_folder_that_is_not_there_names_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let [plain, packed] = ["plain.safetensors", "packed"].map(|name| folder.path().join(name));
    small_mixture().write(&plain);
    compress_file(&plain, &packed, &REPLACE, &()).unwrap();
    let missing = folder.path().join("missing");
    let out = missing.join("out");
    let source = WeightSource::open(&packed).unwrap();
    let weight = source.weights().next().unwrap();
    for error in [
        compress_file(&plain, &out, &REPLACE, &()).unwrap_err(),
        decompress_file(&packed, &out, &REPLACE, &()).unwrap_err(),
        weight.extract(0..weight.original_len, &out, &REPLACE, &()).unwrap_err(),
        compress(folder.path(), Some(&out), &Options::DEFAULT, &()).unwrap_err(),
    ] {
        assert!(matches!(&error, ArchiveError::NoFolder { folder, .. } if *folder == missing), "{error}");
    }
}
