//! Files at the edge of what is a safetensors file, and beyond: each is handled right, or refused with
//! a message that names it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bantam::archive::{
    Archive, ArchiveError, Options, Preset, Progress, WeightSource, compress, compress_bytes, compress_file,
    decompress_bytes, decompress_file, verify,
};
use tempfile::TempDir;

use crate::data;
use crate::data::plain::PlainFile;

const REPLACE: Options = Options::REPLACE;

/// A plain file with this header and so many bytes of data.
fn file_of(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data, 7);
    bytes
}

fn tensor(name: &str, dtype: &str, shape: &[usize], offsets: [usize; 2]) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":{offsets:?}}}"#)
}

struct Odd {
    folder: TempDir,
    path: PathBuf,
}

impl Odd {
    fn new(bytes: &[u8]) -> Self {
        Self::named("odd.safetensors", bytes)
    }

    fn named(name: &str, bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        Self { folder, path }
    }

    fn other(&self) -> PathBuf {
        self.folder.path().join("other")
    }

    /// Every operation refuses it, names the file and says `why`, and leaves nothing.
    fn is_refused(&self, why: &str) {
        let error_of = |result: Result<(), bantam::archive::ArchiveError>| {
            let error = result.expect_err(why).to_string();
            assert!(error.contains("odd.safetensors") && error.contains(why), "{error}");
        };
        error_of(compress_file(&self.path, &self.other(), &REPLACE, &()).map(drop));
        error_of(decompress_file(&self.path, &self.other(), &REPLACE, &()).map(drop));
        error_of(WeightSource::open(&self.path).map(drop));
        let failures = verify(&self.path, &()).unwrap().failures;
        error_of(Err(failures.into_iter().next().unwrap().error));
        for command in ["compress", "decompress", "inspect", "verify"] {
            let output = bantam(command, &self.path);
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{command}");
            assert!(stderr.starts_with("error: ") && stderr.contains("odd.safetensors"), "{stderr}");
        }
        assert_eq!(fs::read_dir(self.folder.path()).unwrap().count(), 1, "something was left");
    }

    /// Every operation handles it.
    fn is_handled(&self, tensors: usize) {
        let bytes = fs::read(&self.path).unwrap();
        assert_eq!(WeightSource::open(&self.path).unwrap().len(), tensors);
        let report = compress_file(&self.path, &self.other(), &REPLACE, &()).unwrap();
        assert_eq!(report.tensors.len(), tensors);
        let packed = fs::read(self.other()).unwrap();
        assert!(compress_bytes(bytes.clone(), Preset::Small, &()).unwrap() == packed);
        assert!(verify(&self.other(), &()).unwrap().failures.is_empty());
        let archive = Archive::open(&self.other()).unwrap();
        assert_eq!(archive.report().unwrap().tensors, report.tensors);
        for tensor in archive.tensors() {
            assert_eq!(archive.read_tensor(&tensor.name).unwrap().len(), tensor.original_len);
        }
        assert!(decompress_bytes(packed, &()).unwrap() == bytes);
        let restored = self.folder.path().join("restored");
        decompress_file(&self.other(), &restored, &REPLACE, &()).unwrap();
        assert!(fs::read(restored).unwrap() == bytes);
        for (command, path) in
            [("inspect", &self.path), ("inspect", &self.other()), ("verify", &self.other())]
        {
            let output = bantam(command, path);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

fn bantam(command: &str, path: &Path) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_bantam")).arg(command).arg(path).output().unwrap()
}

#[test]
fn files_that_are_too_short_are_refused() {
    Odd::new(b"").is_refused("the file is empty; download it again");
    Odd::new(&[2, 0, 0]).is_refused("it has only 3 bytes");
    Odd::new(&[2, 0, 0, 0, 0, 0, 0, 0, b'{'])
        .is_refused("ends inside its header, and 1 bytes or more are missing");
    let one = tensor("a", "U8", &[4], [0, 4]);
    let whole = file_of(&format!("{{{one}}}"), 4);
    Odd::new(&file_of(&format!("{{{one}}}"), 1)).is_refused(&format!(
        "3 bytes are missing, it has {} of {}; download it again",
        whole.len() - 3,
        whole.len()
    ));
    Odd::new(&file_of(&format!("{{{one}}}"), 21)).is_refused("17 bytes after the last tensor");
}

#[test]
fn files_without_tensors_or_elements_are_handled() {
    Odd::new(&file_of("{}", 0)).is_handled(0);
    Odd::new(&file_of(r#"{"__metadata__":{"a":"b"}}"#, 0)).is_handled(0);
    let empty = [tensor("a", "BF16", &[0], [0, 0]), tensor("b", "F32", &[3, 0, 5], [0, 0])].join(",");
    Odd::new(&file_of(&format!("{{{empty}}}"), 0)).is_handled(2);
    let between =
        [tensor("a", "U8", &[1], [0, 1]), tensor("b", "BF16", &[0], [1, 1]), tensor("c", "U8", &[1], [1, 2])];
    Odd::new(&file_of(&format!("{{{}}}", between.join(",")), 2)).is_handled(3);
}

#[test]
fn tensors_at_odd_addresses_are_handled() {
    for spaces in 0..9 {
        let two = [tensor("a", "U8", &[3], [0, 3]), tensor("b", "BF16", &[64, 64], [3, 8195])].join(",");
        let odd = Odd::new(&file_of(&format!("{{{two}}}{}", " ".repeat(spaces)), 8195));
        if spaces == 8 {
            odd.is_handled(2);
        }
        assert!(compress_file(&odd.path, &odd.other(), &REPLACE, &()).is_ok());
        assert!(
            decompress_bytes(fs::read(odd.other()).unwrap(), &()).unwrap() == fs::read(&odd.path).unwrap()
        );
    }
}

#[test]
fn overlaps_gaps_and_wrong_lengths_are_refused() {
    let of = |tensors: &[String], data| Odd::new(&file_of(&format!("{{{}}}", tensors.join(",")), data));
    let bytes =
        |name, offsets: [usize; 2]| tensor(name, "U8", &[offsets[1].wrapping_sub(offsets[0])], offsets);
    let share = "tensors a (bytes 0..4) and b (bytes 0..4) share bytes";
    of(&[bytes("a", [0, 4]), bytes("b", [0, 4])], 4).is_refused(share);
    let share = "tensors a (bytes 0..4) and b (bytes 2..6) share bytes";
    of(&[bytes("b", [2, 6]), bytes("a", [0, 4])], 6).is_refused(share);
    of(&[bytes("a", [0, 4]), bytes("b", [5, 8])], 8).is_refused("bytes 4..5, before tensor b, belong to");
    of(&[bytes("a", [4, 8])], 8).is_refused("bytes 0..4, before tensor a, belong to no tensor");
    of(&[tensor("a", "U8", &[4], [4, 0])], 4)
        .is_refused("tensor a ends at byte 0, before it begins at byte 4");
    of(&[tensor("a", "F32", &[4], [0, 4])], 4).is_refused("tensor a: F32 of shape [4] takes 16 bytes");
    of(&[tensor("a", "F4", &[3], [0, 2])], 2).is_refused("tensor a: F4 of shape [3] takes 12 bits");
    of(&[tensor("a", "U8", &[usize::MAX, 2], [0, 4])], 4)
        .is_refused("takes more bytes than any file can have");
    of(&[tensor("a", "U8", &[4], [0, usize::MAX])], 4).is_refused("tensor a: U8 of shape [4] takes 4 bytes");
    of(&[tensor("a", "U8", &[usize::MAX], [0, usize::MAX])], 4).is_refused("tensor a: U8");
    of(&[r#""a":{"dtype":"U8","shape":[4]}"#.into()], 4).is_refused("tensor a: missing field `data_offsets`");
    of(&[r#""a":7"#.into()], 4).is_refused("tensor a: invalid type");
}

#[test]
fn two_tensors_of_one_name_are_refused_with_both() {
    let of = |tensors: &[String], data| Odd::new(&file_of(&format!("{{{}}}", tensors.join(",")), data));
    let [one, other] = [[0, 4], [4, 8]].map(|offsets| tensor("a", "U8", &[4], offsets));
    of(&[one.clone(), other], 8)
        .is_refused("a is described twice, as U8 [4] in bytes 0..4 and as U8 [4] in bytes 4..8");
    // Even where the bytes are the same.
    let other = tensor("a", "F32", &[1], [0, 4]);
    of(&[one, other], 4).is_refused("tensor a is described twice, as U8 [4] in bytes 0..4 and as F32 [1] in");
    let metadata = r#""__metadata__":{}"#.to_string();
    of(&[metadata.clone(), metadata], 0).is_refused("duplicate field `__metadata__`");
}

#[test]
fn what_is_no_file_of_tensors_is_said_to_be_what_it_is() {
    let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 988097824\n";
    let pickle = [&b"\x80\x02}q\x00(X\x0f\x00\x00\x00"[..], &[7; 200]].concat();
    // A header of half a megabyte, as far as its first bytes go.
    let gzip = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0][..], &[0x55; 700_000]].concat();
    let kinds: [(&[u8], &str); 10] = [
        (
            lfs.as_bytes(),
            "a Git LFS pointer, not the file itself, which has 988097824 bytes; run `git lfs pull`",
        ),
        (b"<!DOCTYPE html>\n<html><head><title>Sign in</title>", "a web page (HTML)"),
        (b"\n  <HTML lang=en><body>", "a web page (HTML)"),
        (br#"{"error":"Repository not found"}"#, r#"a text that begins with "{\"error\":\"Repository"#),
        (b"PK\x03\x04\x00\x00\x08\x08\x00\x00archive/data.pkl", "a zip archive, as PyTorch's .bin"),
        (&pickle, "a Python pickle"),
        (&gzip, "a gzip archive; unpack it first"),
        (&[0; 4096], "begins with zeros: a download that was not finished"),
        (b"\x89HDF\r\n\x1a\n\0\0\0\0", "weights in the format of HDF5"),
        (b"FUGG\0\0\0\x03\0\0\0\0", "a big-endian GGUF file"),
    ];
    for (bytes, what) in kinds {
        Odd::new(bytes).is_refused(what);
        Odd::named("odd.safetensors.gguf", bytes).is_refused(what);
    }
    Odd::named("odd.safetensors.gguf", &[0xff; 64]).is_refused("does not begin with \"GGUF\"");
    Odd::new(&[0xff; 64]).is_refused("header too large");
}

#[test]
fn a_tensor_named_twice_for_the_same_bytes_is_handled() {
    let one = tensor("a", "U8", &[4], [0, 4]);
    Odd::new(&file_of(&format!("{{{one},{one}}}"), 4)).is_handled(1);
}

#[test]
fn types_that_are_not_known_are_refused_by_name() {
    for dtype in ["F128", "Q4_0", "bf16", ""] {
        let one = tensor("a", dtype, &[4], [0, 4]);
        let why = format!("tensor a has elements of type {dtype:?}, an unknown type");
        Odd::new(&file_of(&format!("{{{one}}}"), 4)).is_refused(&why);
    }
}

/// A header of exactly `len` bytes.
fn long_header(len: usize) -> Vec<u8> {
    let tensors = tensor("a", "U8", &[4], [0, 4]);
    let fixed = format!(r#"{{{tensors},"__metadata__":{{"long":""}}}}"#);
    let text = "x".repeat(len - fixed.len());
    file_of(&format!(r#"{{{tensors},"__metadata__":{{"long":"{text}"}}}}"#), 4)
}

#[test]
fn the_longest_header_is_handled_and_a_longer_one_refused() {
    let limit = 100_000_000;
    let odd = Odd::new(&long_header(limit));
    compress_file(&odd.path, &odd.other(), &REPLACE, &()).unwrap();
    assert!(verify(&odd.other(), &()).unwrap().failures.is_empty());
    let restored = odd.folder.path().join("restored");
    decompress_file(&odd.other(), &restored, &REPLACE, &()).unwrap();
    assert!(fs::read(restored).unwrap() == fs::read(&odd.path).unwrap());
    assert!(bantam("inspect", &odd.other()).status.success());
    Odd::new(&long_header(limit + 1)).is_refused("header too large");
    let mut claims = PlainFile::default().tensor("a", "U8", &[1], &[1]).bytes();
    claims[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    Odd::new(&claims).is_refused("header too large");
}

#[test]
fn a_header_that_would_grow_too_long_is_refused() {
    // The compressed form's header has the names twice, once with all that is escaped escaped again.
    let name = r#"\""#.repeat(1000);
    let tensors: Vec<String> =
        (0..20_000).map(|i| tensor(&format!("{name}{i}"), "U8", &[0], [0, 0])).collect();
    let bytes = file_of(&format!("{{{}}}", tensors.join(",")), 0);
    assert!(bytes.len() < 100_000_000);
    let odd = Odd::new(&bytes);
    assert_eq!(WeightSource::open(&odd.path).unwrap().len(), 20_000);
    let error = compress_file(&odd.path, &odd.other(), &REPLACE, &()).map(drop).unwrap_err().to_string();
    assert!(error.contains("odd.safetensors") && error.contains("that safetensors allows"), "{error}");
    assert!(!odd.other().exists());
}

/// A file of `count` tensors that are a number each, with names that have `name_len` letters.
fn numbers(count: usize, name_len: usize) -> Vec<u8> {
    let tensors = (0..count).map(|i| tensor(&format!("{i:0name_len$}"), "F32", &[], [4 * i, 4 * i + 4]));
    let header = format!("{{{}}}", tensors.collect::<Vec<_>>().join(","));
    let mut bytes = file_of(&header, 0);
    bytes.extend((0..count as u32).flat_map(u32::to_le_bytes));
    bytes
}

#[test]
fn an_output_that_is_larger_than_its_input_is_said_so() {
    let odd = Odd::new(&numbers(11_520, 40));
    let output = bantam("compress", &odd.path);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    for part in ["warning: ", "11520 tensors are too small", "larger than the input", "odd.safetensors: "] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let packed = odd.path.with_file_name("odd.bantam.safetensors");
    let [before, after] = [&odd.path, &packed].map(|path| fs::metadata(path).unwrap().len());
    assert!(after > 2 * before);
    decompress_file(&packed, &odd.other(), &REPLACE, &()).unwrap();
    assert!(fs::read(odd.other()).unwrap() == fs::read(&odd.path).unwrap());
    let json = |path: &Path| -> serde_json::Value {
        let output = Command::new(env!("CARGO_BIN_EXE_bantam"))
            .args(["compress", "--json", "--force"])
            .arg(path)
            .output()
            .unwrap();
        let quiet = !String::from_utf8(output.stderr).unwrap().contains("larger");
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(quiet, json["larger"].as_array().unwrap().is_empty());
        json
    };
    assert_eq!(json(&odd.path)["larger"], serde_json::json!([odd.path.to_str().unwrap()]));
    // Noise does not shrink, and its heads are in the way.
    let noise = odd.folder.path().join("noise.safetensors");
    let mut random = data::Random::new(1);
    let bytes: Vec<u8> = (0..100_000).map(|_| random.next() as u8).collect();
    PlainFile::default().tensor("noise", "U8", &[100_000], &bytes).write(&noise);
    assert_eq!(json(&noise)["larger"].as_array().unwrap().len(), 1);
    PlainFile::default().weights("w", &[256, 256], 1).write(&noise);
    assert!(json(&noise)["larger"].as_array().unwrap().is_empty());
}

/// Is never told of anything.
struct Untouched;

impl Progress for Untouched {
    fn begin(&self, _: u64, _: &str) {}
    fn advance(&self, _: u64) {
        panic!("something was done");
    }
    fn finish(&self) {}
}

#[test]
fn more_tensors_than_a_header_has_room_for_are_refused_before_anything_is_done() {
    let odd = Odd::new(&numbers(170_000, 200));
    let others = odd.folder.path().join("model");
    fs::create_dir(&others).unwrap();
    fs::rename(&odd.path, others.join("odd.safetensors")).unwrap();
    PlainFile::default().weights("w", &[64, 64], 1).write(&others.join("first.safetensors"));
    for src in [others.join("odd.safetensors"), others] {
        let error = compress(&src, Some(&odd.other()), &REPLACE, &Untouched).unwrap_err();
        assert!(matches!(error, ArchiveError::HeaderTooLong { tensors: 170_000, .. }), "{error}");
        let error = error.to_string();
        assert!(
            error.contains("odd.safetensors: its 170000 tensors") && error.contains("join small"),
            "{error}"
        );
    }
    assert_eq!(fs::read_dir(odd.folder.path()).unwrap().count(), 1);
}
