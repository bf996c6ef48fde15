//! Files of differences to another model: restored with it, refused without it or with another.

use std::fs;
use std::path::{Path, PathBuf};

use bantam::archive::{
    Archive, ArchiveError, Coding, Lossy, ModelFiles, Options, compress, compress_file, decompress,
    decompress_file, verify, verify_with_base,
};
use bantam::codec::CodecError;
use tempfile::TempDir;

use crate::data::plain::PlainFile;
use crate::data::{Random, bf16_bytes, gguf};

/// A model, moved a little from where it was if `moved`.
fn model(moved: bool) -> PlainFile {
    let mut random = Random::new(7);
    let mut weights = |count: usize, by: f32| -> Vec<u16> {
        let (old, step) = (random.gaussian_f32(count), random.gaussian_f32(count));
        let new = |(w, s): (&f32, &f32)| half::bf16::from_f32(w + if moved { by * s } else { 0.0 }).to_bits();
        old.iter().zip(&step).map(new).collect()
    };
    let (embed, norm, up, same) =
        (weights(300 * 96, 0.01), weights(96, 0.01), weights(96 * 160, 0.01), weights(64 * 64, 0.0));
    let noise = bf16_bytes(&Random::new(if moved { 1 } else { 2 }).gaussian_bf16(64 * 96));
    let steps: &[u8] = if moved { &[1, 0, 0, 0] } else { &[0; 4] };
    PlainFile::default()
        .tensor("embed", "BF16", &[300, 96], &bf16_bytes(&embed))
        .tensor("norm", "BF16", &[96], &bf16_bytes(&norm))
        .tensor("up", "BF16", &[160, 96], &bf16_bytes(&up))
        .tensor("same", "BF16", &[64, 64], &bf16_bytes(&same))
        .tensor("other", "BF16", &[64, 96], &noise)
        .tensor("steps", "I32", &[1], steps)
        .tensor("nothing", "BF16", &[0, 8], &[])
        .weights(if moved { "new" } else { "old" }, &[64, 80], 9)
}

/// A folder with a model and its base, plain and compressed.
struct Pair {
    folder: TempDir,
    new: Vec<u8>,
}

impl Pair {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let new = model(true).write(&at("new.safetensors"));
        model(false).write(&at("base.safetensors"));
        compress_file(&at("base.safetensors"), &at("base.bantam.safetensors"), &Options::DEFAULT, &())
            .unwrap();
        Self { folder, new }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Options with the file of this name as base.
    fn options(&self, base: &str) -> Options {
        Options::REPLACE.with_base(Some(ModelFiles::open(&self.at(base)).unwrap()))
    }

    /// Compresses the model, and gives the compressed file's path.
    fn compressed(&self, base: &str) -> PathBuf {
        let packed = self.at("new.bantam.safetensors");
        compress_file(&self.at("new.safetensors"), &packed, &self.options(base), &()).unwrap();
        packed
    }
}

#[test]
fn a_model_comes_back_with_its_base_plain_or_compressed() {
    let pair = Pair::new();
    let bases = ["base.safetensors", "base.bantam.safetensors"];
    let alone = pair.at("alone");
    let alone = compress_file(&pair.at("new.safetensors"), &alone, &Options::DEFAULT, &()).unwrap();
    for base in bases {
        let packed = pair.compressed(base);
        let report = Archive::open(&packed).unwrap().report().unwrap();
        assert!(report.compressed_bytes < alone.compressed_bytes * 2 / 3, "{report:?}");
        let coding =
            |name: &str| report.tensors.iter().find(|tensor| tensor.name == name).unwrap().coding.clone();
        assert!(matches!(coding("embed"), Coding::Delta { changed_rows, .. } if changed_rows > 0));
        assert!(matches!(coding("same"), Coding::Delta { changed_rows: 0, .. }));
        for name in ["other", "steps", "nothing", "new"] {
            assert!(!matches!(coding(name), Coding::Delta { .. }), "{name}");
        }
        for with in bases {
            let restored = pair.at("restored");
            decompress_file(&packed, &restored, &pair.options(with), &()).unwrap();
            assert!(fs::read(restored).unwrap() == pair.new);
            let base = ModelFiles::open(&pair.at(with)).unwrap();
            let verification = verify_with_base(&packed, Some(base), &()).unwrap();
            assert!(verification.failures.is_empty(), "{verification:?}");
        }
    }
}

#[test]
fn without_its_base_nothing_of_a_difference_is_read() {
    let pair = Pair::new();
    let packed = pair.compressed("base.safetensors");
    assert_eq!(Archive::open(&packed).unwrap().base_name(), Some("base.safetensors"));
    let restored = pair.at("restored");
    let error = decompress_file(&packed, &restored, &Options::DEFAULT, &()).unwrap_err();
    let expected = format!(
        "{}: tensor embed is stored as the difference to that of base.safetensors; name that model with --base",
        packed.display()
    );
    assert_eq!(error.to_string(), expected);
    assert!(!restored.exists());
    let failures = verify(&packed, &()).unwrap().failures;
    assert!(failures.iter().all(|failure| matches!(failure.error, ArchiveError::NeedsBase { .. })));
    assert_eq!(failures.len(), 4);
    // Readers of single tensors, and models, know no bases.
    let is_refused =
        |error: ArchiveError| matches!(error, ArchiveError::Tensor { source: CodecError::IsDelta, .. });
    let files = ModelFiles::open(&packed).unwrap();
    let weight = files.weight("embed").unwrap();
    assert!(is_refused(weight.bytes().unwrap_err()));
    assert!(is_refused(weight.reader().unwrap_err()));
    assert!(is_refused(Archive::open(&packed).unwrap().payload("embed").unwrap_err()));
    files.weight("other").unwrap().bytes().unwrap();
    // So it is no base itself, and says which tensor it is.
    let options = Options::REPLACE.with_base(Some(files));
    let error = compress_file(&pair.at("new.safetensors"), &pair.at("again"), &options, &()).unwrap_err();
    assert!(is_refused(error));
}

#[test]
fn another_base_is_refused_by_its_hash() {
    let pair = Pair::new();
    let packed = pair.compressed("base.safetensors");
    let wrong = pair.at("wrong.safetensors");
    let mut bytes = fs::read(pair.at("base.safetensors")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&wrong, bytes).unwrap();
    compress_file(&wrong, &pair.at("wrong.bantam.safetensors"), &Options::DEFAULT, &()).unwrap();
    for wrong in ["wrong.safetensors", "wrong.bantam.safetensors"] {
        let error = decompress_file(&packed, &pair.at("restored"), &pair.options(wrong), &()).unwrap_err();
        assert!(
            matches!(error, ArchiveError::Tensor { source: CodecError::WrongBase { .. }, .. }),
            "{wrong}: {error:?}"
        );
        assert!(!pair.at("restored").exists());
    }
    // A tensor is missing.
    let smaller = PlainFile::default().weights("embed", &[300, 96], 7);
    smaller.write(&pair.at("smaller.safetensors"));
    let error = decompress_file(&packed, &pair.at("restored"), &pair.options("smaller.safetensors"), &());
    assert!(error.is_err());
    let failures = verify_with_base(&packed, pair.options("smaller.safetensors").base, &()).unwrap().failures;
    // The other one's weights are those of the base.
    assert_eq!(failures.len(), 3);
}

#[test]
fn folders_and_large_tensors_come_back() {
    // Ten million bytes are written as they are encoded.
    let pair = tempfile::tempdir().unwrap();
    let (rows, cols) = (2500, 2048);
    let old = Random::new(5).gaussian_bf16(rows * cols);
    let mut random = Random::new(6);
    let new: Vec<u16> = old.iter().map(|&w| w.wrapping_add((random.next() % 3) as u16)).collect();
    let file = |weights: &[u16], seed| {
        PlainFile::default().tensor("large", "BF16", &[rows, cols], &bf16_bytes(weights)).weights(
            "unlike",
            &[rows, cols],
            seed,
        )
    };
    let at = |name: &str| pair.path().join(name);
    for (folder, weights, seed) in [("old", &old, 1), ("new", &new, 2)] {
        fs::create_dir(at(folder)).unwrap();
        file(weights, seed).write(&at(folder).join("model.safetensors"));
        fs::write(at(folder).join("config.json"), "{}").unwrap();
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    pool.install(|| {
        let options = Options::DEFAULT.with_base(Some(ModelFiles::open(&at("old")).unwrap()));
        let report = compress(&at("new"), Some(&at("packed")), &options, &()).unwrap();
        let tensors = &report.files[0].tensors;
        assert!(matches!(tensors[0].coding, Coding::Delta { .. }), "{tensors:?}");
        assert!(matches!(tensors[1].coding, Coding::Tiled { .. }), "{tensors:?}");
        assert!(tensors[0].stored_bytes < rows * cols / 10 * 3);
        decompress(&at("packed"), Some(&at("restored")), &options, &()).unwrap();
        let read = |folder: &str| fs::read(at(folder).join("model.safetensors")).unwrap();
        assert!(read("restored") == read("new"));
        assert!(
            decompress(&at("packed"), Some(&at("not")), &Options::DEFAULT, &()).is_err()
                && !at("not").exists()
        );
        let verification = verify_with_base(&at("packed"), options.base.clone(), &()).unwrap();
        assert!(verification.failures.is_empty());
    });
}

#[test]
fn vocabularies_may_have_grown_or_shrunk() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let weights = Random::new(8).gaussian_bf16(260 * 64);
    let file = |rows: usize| {
        PlainFile::default().tensor("embed", "BF16", &[rows, 64], &bf16_bytes(&weights[..rows * 64]))
    };
    for (new, old) in [(260, 250), (250, 260), (260, 3)] {
        let bytes = file(new).write(&at("new.safetensors"));
        file(old).write(&at("old.safetensors"));
        for compressed in [false, true] {
            let mut base = at("old.safetensors");
            if compressed {
                compress_file(&base, &at("old.bantam.safetensors"), &Options::REPLACE, &()).unwrap();
                base = at("old.bantam.safetensors");
            }
            let options = Options::REPLACE.with_base(Some(ModelFiles::open(&base).unwrap()));
            let report = compress_file(&at("new.safetensors"), &at("packed"), &options, &()).unwrap();
            // Three rows are no base of 260.
            let is_delta = matches!(report.tensors[0].coding, Coding::Delta { .. });
            assert_eq!(is_delta, old > 3, "{report:?}");
            decompress_file(&at("packed"), &at("restored"), &options, &()).unwrap();
            assert!(fs::read(at("restored")).unwrap() == bytes);
        }
    }
}

#[test]
fn gguf_files_have_differences_too() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let f16 = |seed: u64, by: f32| -> Vec<u8> {
        let (old, steps) = (Random::new(4).gaussian_f32(128 * 64), Random::new(seed).gaussian_f32(128 * 64));
        old.iter().zip(steps).flat_map(|(w, s)| half::f16::from_f32(w + by * s).to_le_bytes()).collect()
    };
    let file = |by| gguf::Gguf::default().tensor("blk.0.up", 1, &[64, 128], &f16(9, by));
    let new = file(0.01).write(&at("new.gguf"));
    file(0.0).write(&at("old.gguf"));
    let options = Options::DEFAULT.with_base(Some(ModelFiles::open(&at("old.gguf")).unwrap()));
    let report = compress_file(&at("new.gguf"), &at("packed"), &options, &()).unwrap();
    assert!(matches!(report.tensors[0].coding, Coding::Delta { .. }));
    decompress_file(&at("packed"), &at("restored"), &options, &()).unwrap();
    assert!(fs::read(at("restored")).unwrap() == new);
}

#[test]
fn rounded_tensors_are_stored_alone() {
    let pair = Pair::new();
    let options = pair.options("base.safetensors").with_lossy(Some(Lossy::new(3, 64).unwrap()));
    let report = compress_file(&pair.at("new.safetensors"), &pair.at("packed"), &options, &()).unwrap();
    assert!(!report.tensors.iter().any(|tensor| matches!(tensor.coding, Coding::Delta { .. })));
    assert_eq!(Archive::open(&pair.at("packed")).unwrap().base_name(), None);
    decompress_file(&pair.at("packed"), &pair.at("restored"), &Options::DEFAULT, &()).unwrap();
}

#[test]
fn damage_of_every_byte_is_found() {
    let pair = Pair::new();
    let packed = pair.compressed("base.safetensors");
    let bytes = fs::read(&packed).unwrap();
    let damaged = pair.at("damaged.bantam.safetensors");
    let base = pair.options("base.safetensors").base;
    let is_whole = |path: &Path| {
        let verification = verify_with_base(path, base.clone(), &());
        verification.is_ok_and(|verification| verification.failures.is_empty())
    };
    assert!(is_whole(&packed));
    // Each byte of the header, and some of each payload.
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for at in (0..header).step_by(3).chain((header..bytes.len()).step_by(41)) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&damaged, bytes).unwrap();
        assert!(!is_whole(&damaged), "byte {at}");
    }
}
