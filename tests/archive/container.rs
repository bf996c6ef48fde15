//! The file: what went in comes out byte for byte, the container keeps its promises to other
//! readers, and no half-written file ever carries a final name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bantam::archive::{
    Archive, ArchiveError, Lossy, ModelFiles, Options, Preset, Progress, Stored, WeightSource, compress,
    compress_bytes, compress_file, decompress, decompress_bytes, decompress_file, verify,
};
use tempfile::TempDir;

use crate::data::plain::{PlainFile, small_mixture};
use crate::data::{self, Random};

const REPLACE: Options = Options::REPLACE;
const KEEP: Options = Options::DEFAULT;

/// So large that they are written as they are encoded: one in two passes, and one for which tiles were
/// tried and are then given up.
#[test]
fn large_tensors_are_restored() {
    let mut random = Random::new(21);
    let mut noise = |len: usize| (0..len / 8).flat_map(|_| random.next().to_le_bytes()).collect::<Vec<u8>>();
    let skewed: Vec<u8> = noise(66 << 20).into_iter().map(|byte| byte.trailing_zeros() as u8).collect();
    let original = PlainFile::default()
        .tensor("skewed", "I8", &[66 << 10, 1 << 10], &skewed)
        .tensor("noise", "U8", &[10 << 20], &noise(10 << 20))
        .tensor("small", "F32", &[2], &[0; 8])
        .tensor("more noise", "U8", &[10 << 20], &noise(10 << 20));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let packed = pool.install(|| there_and_back(&original));
    assert!(packed.len() < (66 << 20) / 3 + (21 << 20));
}

/// Compresses `original`, checks the promises, restores it, and returns the compressed bytes.
fn there_and_back(original: &PlainFile) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let [plain, packed, restored] =
        ["a.safetensors", "a.bantam.safetensors", "b.safetensors"].map(|n| folder.path().join(n));
    let bytes = original.write(&plain);
    let report = compress_file(&plain, &packed, &KEEP, &()).unwrap();
    let packed_bytes = fs::read(&packed).unwrap();
    assert_eq!(report.compressed_bytes, packed_bytes.len() as u64);
    assert_eq!(report.original_bytes, bytes.len() as u64);
    check_container(&packed_bytes);
    let verification = verify(&packed, &()).unwrap();
    assert!(verification.failures.is_empty(), "{verification:?}");
    assert_eq!(verification.tensors, report.tensors.len());
    decompress_file(&packed, &restored, &KEEP, &()).unwrap();
    assert!(fs::read(&restored).unwrap() == bytes);
    assert_eq!(Archive::open(&packed).unwrap().report().unwrap().tensors, report.tensors);
    packed_bytes
}

/// Other readers can read it, and payloads can be mapped and bound where they lie.
fn check_container(bytes: &[u8]) {
    let file = safetensors::SafeTensors::deserialize(bytes).unwrap();
    for (name, tensor) in file.iter() {
        assert_eq!(tensor.dtype(), safetensors::Dtype::U8);
        let offset = tensor.data().as_ptr() as usize - bytes.as_ptr() as usize;
        assert_eq!((offset % 256, tensor.data().len() % 256), (0, 0), "{name}");
    }
}

#[test]
fn a_mixture_of_tensors_is_restored() {
    let packed = there_and_back(&small_mixture());
    assert!(packed == there_and_back(&small_mixture()), "two runs differ");
}

#[test]
fn unaligned_headers_and_unusual_whitespace_are_restored() {
    for trailing in ["", " ", "  ", "   \n", "\t\r\n   "] {
        there_and_back(&small_mixture().trailing(trailing).separator(" \n\t "));
    }
    // Members in another order than the data, escapes, metadata in the middle.
    let file = PlainFile::default()
        .member(r#""z":{"data_offsets":[6,8],"shape":[1],"dtype":"BF16"}"#)
        .tensor("a", "U8", &[2, 3], &[1, 2, 3, 4, 5, 6])
        .member(r#""__metadata__":{"k":"\u0041 \ud83d\ude00"}"#);
    let mut bytes = file.bytes();
    bytes.extend([0x80, 0x3f]);
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("a.safetensors");
    fs::write(&plain, &bytes).unwrap();
    let packed = compress(&plain, None, &KEEP, &()).unwrap().output;
    let restored = folder.path().join("b");
    decompress(&packed, Some(&restored), &KEEP, &()).unwrap();
    assert!(fs::read(restored).unwrap() == bytes);
}

#[test]
fn files_of_nothing_are_restored() {
    there_and_back(&PlainFile::default());
    there_and_back(&PlainFile::default().member(r#""__metadata__":{}"#));
    there_and_back(&PlainFile::default().tensor("a", "F32", &[0], &[]).tensor("b", "BF16", &[4, 0], &[]));
    there_and_back(&PlainFile::default().tensor("scalar", "BF16", &[], &[1, 2]));
}

#[test]
fn awkward_shapes_and_types_are_restored() {
    let mut file = PlainFile::default();
    for (i, shape) in data::AWKWARD_SHAPES.iter().enumerate() {
        file = file.weights(&format!("w{i}"), shape, i as u64);
    }
    for dtype in ["F4", "F8_E4M3", "F16", "F32", "F64", "I64", "BOOL", "C64"] {
        let bits = match dtype {
            "F4" => 4,
            "F8_E4M3" | "BOOL" => 8,
            "F16" => 16,
            "F32" => 32,
            _ => 64,
        };
        file = file.tensor(dtype, dtype, &[2, 5], &vec![1; 10 * bits / 8]);
    }
    there_and_back(&file);
}

#[test]
fn a_tensor_may_have_the_name_of_the_kept_header() {
    let file = PlainFile::default().tensor("bantam.original_header", "U8", &[3], b"abc").tensor(
        "bantam.original_header_",
        "U8",
        &[3],
        b"def",
    );
    there_and_back(&file);
}

#[test]
fn output_does_not_depend_on_the_number_of_threads() {
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| there_and_back(&PlainFile::default().weights("w", &[700, 900], 3)))
    };
    assert!(on(1) == on(4));
}

#[test]
fn existing_outputs_and_wrong_inputs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("a.safetensors");
    let bytes = small_mixture().write(&plain);
    let packed = compress(&plain, None, &KEEP, &()).unwrap().output;
    let packed_bytes = fs::read(&packed).unwrap();
    assert_eq!(packed, folder.path().join("a.bantam.safetensors"));
    let refused = |result: Result<_, ArchiveError>, text: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    refused(compress(&plain, None, &KEEP, &()), "exists already");
    refused(decompress(&packed, None, &KEEP, &()), "exists already");
    refused(compress(&plain, Some(&plain), &REPLACE, &()), "both input and output");
    refused(decompress(&packed, Some(&packed), &REPLACE, &()), "both input and output");
    refused(compress(&packed, Some(&folder.path().join("x")), &KEEP, &()), "compressed already");
    refused(decompress(&plain, Some(&folder.path().join("x")), &KEEP, &()), "not compressed");
    assert!(matches!(verify(&plain, &()).unwrap().failures[0].error, ArchiveError::NotCompressed { .. }));
    assert!(fs::read(&plain).unwrap() == bytes && fs::read(&packed).unwrap() == packed_bytes);
    compress(&plain, None, &REPLACE, &()).unwrap();
    decompress(&packed, None, &REPLACE, &()).unwrap();
    assert!(fs::read(&plain).unwrap() == bytes && fs::read(&packed).unwrap() == packed_bytes);
    assert_eq!(names_in(folder.path()).len(), 2, "temporary files were left");
}

#[test]
fn a_later_version_is_named_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bantam.safetensors");
    let bytes = there_and_back(&small_mixture());
    let at = bytes.windows(19).position(|w| w == br#""bantam.format":"1""#).unwrap();
    let mut later = bytes.clone();
    later[at + 17] = b'4';
    fs::write(&path, later).unwrap();
    let error = Archive::open(&path).unwrap_err();
    assert!(error.to_string().contains("version 4, but this version reads only 1, 2 and 3"), "{error}");
}

/// A sharded model of two files with what usually lies beside them.
fn sharded_model() -> (TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let model = root.path().join("m");
    fs::create_dir_all(model.join("onnx")).unwrap();
    fs::write(model.join("config.json"), "{}").unwrap();
    fs::write(model.join("onnx/model.onnx"), "a graph").unwrap();
    let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    small_mixture().write(&model.join(shards[0]));
    PlainFile::default().weights("lm_head", &[100, 64], 5).write(&model.join(shards[1]));
    let index = format!(
        r#"{{"metadata":{{"total_size":1}},"weight_map":{{"model.embed":"{}","lm_head":"{}"}}}}"#,
        shards[0], shards[1]
    );
    fs::write(model.join("model.safetensors.index.json"), index).unwrap();
    (root, model)
}

/// Bytes that are handled when the second shard is begun: files that are copied come first.
fn bytes_into_second_shard(model: &Path) -> u64 {
    let handled = [
        "config.json",
        "onnx/model.onnx",
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
    ];
    handled.map(|name| fs::metadata(model.join(name)).unwrap().len()).iter().sum::<u64>() + 1
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_sharded_folder_is_restored() {
    let (root, model) = sharded_model();
    let report = compress(&model, None, &KEEP, &()).unwrap();
    let packed = root.path().join("m-bantam");
    assert_eq!(report.output, packed);
    assert!(report.left_out.is_empty());
    let expected = [
        "config.json",
        "model-00001-of-00002.bantam.safetensors",
        "model-00002-of-00002.bantam.safetensors",
        "model.safetensors.index.json",
        "onnx",
    ];
    assert_eq!(names_in(&packed), expected);
    assert!(verify(&packed, &()).unwrap().failures.is_empty());

    assert!(matches!(decompress(&packed, None, &KEEP, &()), Err(ArchiveError::Exists { .. })));
    let restored = root.path().join("restored");
    decompress(&packed, Some(&restored), &KEEP, &()).unwrap();
    same_files(&restored, &model);
    assert_eq!(names_in(root.path()), ["m", "m-bantam", "restored"]);

    fs::remove_file(packed.join(expected[2])).unwrap();
    let failures = verify(&packed, &()).unwrap().failures;
    assert!(failures[0].error.to_string().contains("model-00002-of-00002.safetensors, which is not"));
}

#[test]
fn a_model_reads_the_same_in_either_form() {
    let (_root, model) = sharded_model();
    let packed = compress(&model, None, &KEEP, &()).unwrap().output;
    let (plain, packed) = (ModelFiles::open(&model).unwrap(), ModelFiles::open(&packed).unwrap());
    assert!(plain.sources().iter().all(|s| matches!(s, WeightSource::Plain(_))));
    assert!(packed.sources().iter().all(|s| matches!(s, WeightSource::Compressed(_))));
    assert_eq!(plain.weights().count(), 6);
    for (a, b) in plain.weights().zip(packed.weights()) {
        assert_eq!((a.name, a.dtype, a.shape, a.original_len), (b.name, b.dtype, b.shape, b.original_len));
        assert!(a.bytes().unwrap() == b.bytes().unwrap());
        assert!(matches!(packed.weight(a.name).unwrap().stored().unwrap(), Stored::Compressed(_)));
    }
    assert!(plain.require("nothing").unwrap_err().to_string().contains("no tensor nothing"));
}

#[test]
fn a_shard_index_cannot_lead_out_of_the_folder() {
    for name in ["../x.safetensors", "/etc/passwd", "a/b.safetensors", "..", ""] {
        let (_root, model) = sharded_model();
        let json = format!(r#"{{"weight_map":{{"a":"{name}"}}}}"#);
        fs::write(model.join("model.safetensors.index.json"), json).unwrap();
        let error = ModelFiles::open(&model).unwrap_err().to_string();
        assert!(error.contains("is not the name of a file"), "{error}");
    }
}

/// Cancels when so many bytes have been handled.
struct Cancel {
    after: u64,
    handled: std::sync::atomic::AtomicU64,
}

impl Cancel {
    fn after(after: u64) -> Self {
        Self { after, handled: 0.into() }
    }
}

impl Progress for Cancel {
    fn begin(&self, _: u64, _: &str) {}
    fn advance(&self, bytes: u64) {
        self.handled.fetch_add(bytes, Ordering::Relaxed);
    }
    fn finish(&self) {}
    fn cancelled(&self) -> bool {
        self.handled.load(Ordering::Relaxed) >= self.after
    }
}

#[test]
fn a_cancelled_operation_leaves_nothing() {
    let (root, model) = sharded_model();
    let cancelled = compress(&model, None, &KEEP, &Cancel::after(1));
    assert!(matches!(cancelled, Err(ArchiveError::Cancelled)));
    let packed = compress(&model, None, &KEEP, &()).unwrap().output;
    fs::remove_dir_all(&model).unwrap();
    let cancelled = decompress(&packed, None, &KEEP, &Cancel::after(1));
    assert!(matches!(cancelled, Err(ArchiveError::Cancelled)));
    assert_eq!(names_in(root.path()), ["m-bantam"]);
}

#[test]
fn an_interrupted_folder_is_gone_on_with_where_it_stopped() {
    let (root, model) = sharded_model();
    let [whole, packed, restored] = ["whole", "m-bantam", "restored"].map(|n| root.path().join(n));
    compress(&model, Some(&whole), &KEEP, &()).unwrap();
    let into_second = bytes_into_second_shard(&model);
    assert!(matches!(
        compress(&model, None, &KEEP, &Cancel::after(into_second)),
        Err(ArchiveError::Cancelled)
    ));
    assert_eq!(names_in(root.path()), [".m-bantam.bantam-partial", "m", "whole"]);
    // A process that is killed leaves a temporary file too.
    fs::write(root.path().join(".m-bantam.bantam-partial/.x.partial"), "half").unwrap();
    let report = compress(&model, None, &KEEP, &()).unwrap();
    assert_eq!((report.finished, report.files.len()), (1, 2));
    same_files(&packed, &whole);

    let cancelled = decompress(&packed, Some(&restored), &KEEP, &Cancel::after(into_second));
    assert!(matches!(cancelled, Err(ArchiveError::Cancelled)));
    let report = decompress(&packed, Some(&restored), &KEEP, &()).unwrap();
    assert_eq!((report.finished, report.files.len()), (1, 2));
    same_files(&restored, &model);
    assert_eq!(names_in(root.path()), ["m", "m-bantam", "restored", "whole"]);
}

#[test]
fn a_folder_is_compressed_as_its_options_say() {
    let (root, model) = sharded_model();
    let fast = KEEP.with_preset(Preset::Fast);
    let [small_out, fast_out, out] = ["small", "fast", "out"].map(|name| root.path().join(name));
    compress(&model, Some(&small_out), &KEEP, &()).unwrap();
    compress(&model, Some(&fast_out), &fast, &()).unwrap();
    let first = "model-00001-of-00002";
    let name = format!("{first}.bantam.safetensors");
    let alone = root.path().join("alone.bantam.safetensors");
    compress(&model.join(format!("{first}.safetensors")), Some(&alone), &fast, &()).unwrap();
    let [small_file, fast_file] = [&small_out, &fast_out].map(|folder| fs::read(folder.join(&name)).unwrap());
    assert!(fast_file != small_file && fast_file == fs::read(alone).unwrap());
    // What was begun with one preset is not gone on with in another.
    let into_second = bytes_into_second_shard(&model);
    assert!(compress(&model, Some(&out), &KEEP, &Cancel::after(into_second)).is_err());
    assert_eq!(compress(&model, Some(&out), &fast, &()).unwrap().finished, 0);
    same_files(&out, &fast_out);
    // Nor with what is lossless, where something is to be rounded.
    let [out, lossy_out] = ["out of lossy", "lossy"].map(|name| root.path().join(name));
    let lossy = KEEP.with_lossy(Some(Lossy::new(3, 512).unwrap()));
    compress(&model, Some(&lossy_out), &lossy, &()).unwrap();
    assert!(compress(&model, Some(&out), &KEEP, &Cancel::after(into_second)).is_err());
    assert_eq!(compress(&model, Some(&out), &lossy, &()).unwrap().finished, 0);
    same_files(&out, &lossy_out);
    assert!(verify(&out, &()).unwrap().rounded > 0 && verify(&fast_out, &()).unwrap().rounded == 0);
}

/// Both folders have the same files.
fn same_files(a: &Path, b: &Path) {
    assert_eq!(names_in(a), names_in(b));
    for name in names_in(a) {
        match a.join(&name).is_dir() {
            true => same_files(&a.join(&name), &b.join(&name)),
            false => {
                assert!(fs::read(a.join(&name)).unwrap() == fs::read(b.join(&name)).unwrap(), "{name}")
            }
        }
    }
}

#[test]
fn a_source_that_has_changed_is_not_mixed_with_what_was_finished() {
    let (root, model) = sharded_model();
    let shard = model.join("model-00001-of-00002.safetensors");
    let into_second = bytes_into_second_shard(&model);
    let interrupt = |from: &Path| {
        let cancelled = compress(from, Some(&root.path().join("out")), &KEEP, &Cancel::after(into_second));
        assert!(matches!(cancelled, Err(ArchiveError::Cancelled)));
    };
    interrupt(&model);
    // The same header and length, other weights.
    let mut bytes = fs::read(&shard).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&shard, &bytes).unwrap();
    let touched = fs::metadata(&shard).unwrap().modified().unwrap() + Duration::from_secs(1);
    fs::File::options().write(true).open(&shard).unwrap().set_modified(touched).unwrap();
    interrupt(&model);
    // Another folder with the same files, as far as lengths and headers go.
    let other = root.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::create_dir(other.join("onnx")).unwrap();
    for name in names_in(&model).iter().filter(|name| *name != "onnx") {
        fs::copy(model.join(name), other.join(name)).unwrap();
    }
    fs::copy(model.join("onnx/model.onnx"), other.join("onnx/model.onnx")).unwrap();
    let report = compress(&other, Some(&root.path().join("out")), &KEEP, &()).unwrap();
    assert_eq!(report.finished, 0);
    let restored = root.path().join("restored");
    decompress(&root.path().join("out"), Some(&restored), &KEEP, &()).unwrap();
    same_files(&restored, &other);
    // What has a final name and is not what it should be is made again.
    fs::remove_dir_all(root.path().join("out")).unwrap();
    interrupt(&model);
    let finished = root.path().join(".out.bantam-partial/model-00001-of-00002.bantam.safetensors");
    let len = fs::metadata(&finished).unwrap().len();
    fs::File::options().write(true).open(&finished).unwrap().set_len(len / 2).unwrap();
    assert_eq!(compress(&model, Some(&root.path().join("out")), &KEEP, &()).unwrap().finished, 0);
    assert!(verify(&root.path().join("out"), &()).unwrap().failures.is_empty());
}

#[test]
fn two_processes_cannot_write_the_same_folder() {
    let (root, model) = sharded_model();
    let partial = root.path().join(".m-bantam.bantam-partial");
    fs::create_dir(&partial).unwrap();
    let lock = fs::File::create(partial.join(".bantam-lock")).unwrap();
    lock.lock().unwrap();
    assert!(matches!(compress(&model, None, &KEEP, &()), Err(ArchiveError::Busy { .. })));
    drop(lock);
    compress(&model, None, &KEEP, &()).unwrap();
    assert_eq!(names_in(root.path()), ["m", "m-bantam"]);
}

#[test]
fn files_in_memory_are_compressed_as_those_on_disk() {
    let bytes = small_mixture().weights("large", &[900, 1000], 9).bytes();
    let packed = compress_bytes(bytes.clone(), Preset::Small, &()).unwrap();
    assert!(packed == there_and_back(&small_mixture().weights("large", &[900, 1000], 9)));
    assert!(decompress_bytes(packed.clone(), &()).unwrap() == bytes);
    let archive = Archive::from_bytes(packed.clone()).unwrap();
    assert!(archive.verify(&()).unwrap().is_empty());
    let error = decompress_bytes(bytes, &()).unwrap_err().to_string();
    assert!(error.contains("(in memory) is not compressed"), "{error}");
    let mut damaged = packed;
    let at = damaged.len() - 100_000;
    damaged[at] ^= 1;
    assert!(matches!(decompress_bytes(damaged, &()), Err(ArchiveError::Tensor { .. })));
}

fn bantam() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bantam"))
}

/// Begins to compress a file that takes a while, and waits until the output is being written.
fn begin_to_compress(folder: &Path) -> std::process::Child {
    let mut random = data::Random::new(1);
    let block: Vec<u8> = (0..1 << 20).flat_map(|_| ((random.next() >> 53) as u16).to_le_bytes()).collect();
    let mut file = PlainFile::default();
    for i in 0..48 {
        file = file.tensor(&format!("w{i}"), "BF16", &[1024, 1024], &block);
    }
    file.write(&folder.join("a.safetensors"));
    let mut command = bantam();
    command.arg("compress").arg(folder.join("a.safetensors")).args(["--jobs", "1"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let is_written = || {
        let unfinished = names_in(folder).into_iter().find(|name| name.ends_with(".bantam-partial"));
        unfinished.is_some_and(|name| fs::metadata(folder.join(name)).is_ok_and(|meta| meta.len() > 0))
    };
    while !is_written() {
        assert!(Instant::now() < deadline, "nothing was written: {:?}", names_in(folder));
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

#[test]
fn a_killed_compress_leaves_no_file_under_the_final_name_and_the_next_removes_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = begin_to_compress(folder.path());
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "it was not killed in time");
    let names = names_in(folder.path());
    let [left, plain] = &names[..] else { panic!("{names:?}") };
    assert!(left.starts_with(".a.bantam.safetensors.") && left.ends_with(".bantam-partial"), "{left}");
    assert_eq!(plain, "a.safetensors");
    // A folder with such a file in it is compressed without.
    let packed = folder.path().join("of the folder");
    compress(folder.path(), Some(&packed), &KEEP, &()).unwrap();
    assert_eq!(names_in(&packed), ["a.bantam.safetensors"]);
    fs::remove_dir_all(&packed).unwrap();
    // One that somebody is at is left alone; so are files of other names.
    let live = folder.path().join(".a.bantam.safetensors.live00.bantam-partial");
    let held = fs::File::create(&live).unwrap();
    held.lock().unwrap();
    let others = [".b.bantam.safetensors.x1.bantam-partial", ".a.bantam.safetensors.x.1.bantam-partial"];
    others.iter().for_each(|name| fs::write(folder.path().join(name), "x").unwrap());
    compress(&folder.path().join(plain), None, &KEEP, &()).unwrap();
    let mut expected = vec!["a.bantam.safetensors", "a.safetensors"];
    expected.extend(others);
    expected.push(".a.bantam.safetensors.live00.bantam-partial");
    expected.sort();
    assert_eq!(names_in(folder.path()), expected);
}

#[test]
#[cfg(unix)]
fn an_interrupted_compress_leaves_no_file_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = begin_to_compress(folder.path());
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(names_in(folder.path()), ["a.safetensors"]);
}

#[test]
fn the_command_prints_one_json_object_and_fails_by_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("a.safetensors");
    small_mixture().write(&plain);
    let packed = folder.path().join("a.bantam.safetensors");
    let json = |args: &[&str], path: &Path, code: i32| -> serde_json::Value {
        let output = bantam().args(args).arg(path).arg("--json").output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let compressed = json(&["compress"], &plain, 0);
    assert_eq!(compressed["compressed_bytes"], fs::metadata(&packed).unwrap().len());
    assert_eq!(compressed["tensors"][0]["shape"], serde_json::json!([128, 48]));
    assert_eq!(json(&["inspect"], &packed, 0)["tensors"][0]["coding"]["kind"], "tiled");
    assert_eq!(json(&["inspect"], &plain, 0)["compressed"], false);
    assert_eq!(json(&["verify"], &packed, 0)["ok"], true);
    assert_eq!(json(&["decompress", "--force"], &packed, 0)["ratio"], compressed["ratio"]);

    let mut bytes = fs::read(&packed).unwrap();
    let last = bytes.len() - 1000;
    bytes[last] ^= 1;
    fs::write(&packed, bytes).unwrap();
    let failed = json(&["verify"], &packed, 1);
    assert_eq!((&failed["ok"], failed["failures"].as_array().unwrap().len()), (&false.into(), 1));
    let output = bantam().arg("verify").arg(folder.path().join("none")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("error: "));
}
