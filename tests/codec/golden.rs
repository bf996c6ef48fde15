//! The format does not change unnoticed: files written once are still read, still written byte for
//! byte the same, and read by a second decoder that shares no code with this one.
//!
//! If the encoder's choices are meant to change, `BANTAM_WRITE_GOLDEN=1 cargo test --test codec golden::`
//! writes `encoder.*` anew; the others stay, because old files must be read for ever. What is written
//! differently from then on is copied to a name of its own first.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bantam::archive::{
    Archive, Coding, Lossy, ModelFiles, Options, compress_bytes, compress_file, decompress_bytes,
    decompress_file, verify,
};
use bantam::codec::{vector_tier, vector_tiers};

use crate::data::gguf::{self, Gguf, mixture};
use crate::data::plain::PlainFile;
use crate::data::{Random, bf16_bytes};
use crate::left_out;

const REPLACE: Options = Options::REPLACE;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// All that the format has: each t, both forms of the lane index, one symbol, several row blocks
/// and tiles, partly filled ones, raw payloads, an empty tensor.
fn original() -> PlainFile {
    let mut random = Random::new(12);
    // Two exponents, and of the two top mantissa bits as many as `follow` go with the exponent: then
    // just these are worth coding.
    let mut elements = |follow: u16, count: usize| {
        let mut element = || {
            let [exponent, sign, noise] = [2, 2, 128].map(|n| random.below(n) as u16);
            let followed = 0x7f & !(0x7f >> follow);
            sign << 15 | (120 + exponent) << 7 | (exponent * followed) | (noise & !followed)
        };
        bf16_bytes(&(0..count).map(|_| element()).collect::<Vec<_>>())
    };
    let [t0, t1, t2] = [elements(0, 96 * 32), elements(1, 64 * 32), elements(2, 64 * 32)];
    // A row of rare symbols makes one lane much longer than the rest.
    let mut wide = vec![0x3f80u16; 64 * 64];
    for (i, value) in wide.iter_mut().enumerate().take(64) {
        *value = 0x3000 + 0x20 * (i % 50) as u16;
    }
    PlainFile::default()
        .member(r#""__metadata__": {"format": "pt"}"#)
        .tensor("t0", "BF16", &[96, 32], &t0)
        .tensor("t1", "BF16", &[64, 32], &t1)
        .tensor("t2", "BF16", &[64, 32], &t2)
        .tensor("wide", "BF16", &[64, 64], &bf16_bytes(&wide))
        .tensor("one symbol", "BF16", &[64, 2, 24], &[0x81, 0xbf].repeat(3072))
        .tensor("small", "F32", &[2], &[0, 0, 128, 63, 1, 2, 3, 4])
        .tensor("empty", "BF16", &[0], &[])
        .trailing("\n")
}

/// The same, and what came with version 2 of the payload: other types, escapes, row shifts, coded low
/// bits, clean rows, constants.
fn original_2() -> PlainFile {
    let mut random = Random::new(13);
    let mut floats = random.gaussian_f32(130 * 80);
    // Rows of very different scale, so that shifting them pays.
    floats.iter_mut().enumerate().for_each(|(i, f)| *f *= [1.0, 8.0, 0.1, 60.0][i / 80 % 4]);
    let f32s = |clean: fn(usize) -> u32| -> Vec<u8> {
        let bits = floats.iter().enumerate().map(|(i, f)| f.to_bits() & !((1 << clean(i / 80)) - 1));
        bits.flat_map(u32::to_le_bytes).collect()
    };
    let f16s = |mask: u16| -> Vec<u8> {
        floats.iter().flat_map(|&f| (half::f16::from_f32(f * 8.0).to_bits() & mask).to_le_bytes()).collect()
    };
    let bytes = |byte: Box<dyn FnMut(usize) -> u8>| (0..70 * 64).map(byte).collect::<Vec<u8>>();
    let mut more = Random::new(14);
    let skewed = move |i: usize| match i % 499 {
        0 => more.next() as u8,
        _ => (more.next().trailing_zeros() as u8) << 2 | (more.next() & 0x80) as u8,
    };
    let bf16: Vec<u16> = floats.iter().map(|&f| half::bf16::from_f32(f).to_bits()).collect();
    original()
        .tensor("f32", "F32", &[130, 80], &f32s(|_| 0))
        .tensor("f32 some from f16", "F32", &[130, 80], &f32s(|row| if row % 3 == 0 { 0 } else { 13 }))
        .tensor("f32 from bf16", "F32", &[130, 80], &f32s(|_| 16))
        .tensor("f16", "F16", &[130, 80], &f16s(!0))
        .tensor("f16 with low bits", "F16", &[130, 80], &f16s(!13))
        .tensor("shifted", "BF16", &[130, 80], &bf16_bytes(&bf16))
        .tensor("e4m3", "F8_E4M3", &[70, 64], &bytes(Box::new(skewed.clone())))
        .tensor("e5m2", "F8_E5M2", &[70, 64], &bytes(Box::new(skewed.clone())))
        .tensor("i8", "I8", &[70, 64], &bytes(Box::new(skewed)))
        .tensor("i64", "I64", &[512], &(0..512u64).flat_map(u64::to_le_bytes).collect::<Vec<u8>>())
        .tensor("ones", "F32", &[1000], &1f32.to_le_bytes().repeat(1000))
}

/// The same, and what came with version 3: BF16 that was FP8 once.
fn original_3() -> PlainFile {
    with_version_3(original_2())
}

/// Adds what came with version 3 of the payload.
fn with_version_3(file: PlainFile) -> PlainFile {
    let values: Vec<u16> =
        Random::new(15).gaussian_bf16(70 * 96).iter().map(|value| value >> 4 << 4).collect();
    let mut some = values.clone();
    some[5 * 96] |= 1;
    some[69 * 96 + 95] |= 7;
    let [values, some] = [values, some].map(|values| bf16_bytes(&values));
    file.tensor("from e4m3", "BF16", &[70, 96], &values).tensor("some from e4m3", "BF16", &[70, 96], &some)
}

/// Tensors of every type that has differences, and their bases: moved a little, not at all, in some rows, and
/// far.
fn version_4() -> [PlainFile; 2] {
    let mut random = Random::new(16);
    let mut files = [PlainFile::default(), PlainFile::default()];
    let shape = [70, 96];
    let (old, steps) = (random.gaussian_f32(70 * 96), random.gaussian_f32(70 * 96));
    for (name, dtype, by) in [
        ("bf16", "BF16", 0.01),
        ("bf16 far", "BF16", 0.5),
        ("bf16 same", "BF16", 0.0),
        ("f16", "F16", 0.001),
        ("f32", "F32", 0.0001),
        ("e5m2", "F8_E5M2", 0.2),
    ] {
        let bytes = |by: f32| -> Vec<u8> {
            let row = |i: usize| if (i / 96).is_multiple_of(5) { 0.0 } else { by };
            let new = old.iter().zip(&steps).enumerate().map(|(i, (w, s))| w + row(i) * s);
            match dtype {
                "BF16" => new.flat_map(|w| half::bf16::from_f32(w).to_le_bytes()).collect(),
                "F16" => new.flat_map(|w| half::f16::from_f32(w).to_le_bytes()).collect(),
                "F8_E5M2" => new.map(|w| (half::f16::from_f32(w).to_bits() >> 8) as u8).collect(),
                _ => new.flat_map(f32::to_le_bytes).collect(),
            }
        };
        for (file, by) in files.iter_mut().zip([by, 0.0]) {
            *file = std::mem::take(file).tensor(name, dtype, &shape, &bytes(by));
        }
    }
    files.map(|file| file.weights("a long row", &[1, 4000], 3))
}

#[test]
fn differences_are_read_and_written_as_ever() {
    let folder = tempfile::tempdir().unwrap();
    let [plain, base, packed, restored] =
        ["plain", "base.safetensors", "packed", "restored"].map(|name| folder.path().join(name));
    let [new, old] = version_4();
    let new = new.write(&plain);
    old.write(&base);
    let options = REPLACE.with_base(Some(ModelFiles::open(&base).unwrap()));
    let report = compress_file(&plain, &packed, &options, &()).unwrap();
    assert!(report.tensors.iter().all(|t| matches!(t.coding, Coding::Delta { .. })), "{report:?}");
    let path = golden("v4.bantam.safetensors");
    if std::env::var_os("BANTAM_WRITE_GOLDEN").is_some() && !path.exists() {
        fs::copy(&packed, &path).unwrap();
    }
    assert!(fs::read(&packed).unwrap() == fs::read(&path).unwrap(), "the encoder's output has changed");
    decompress_file(&path, &restored, &options, &()).unwrap();
    assert!(fs::read(&restored).unwrap() == new);
}

#[test]
fn the_encoder_still_writes_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let [plain, packed] = ["plain", "packed"].map(|name| folder.path().join(name));
    original_3().write(&plain);
    let report = compress_file(&plain, &packed, &REPLACE, &()).unwrap();
    let tops: Vec<Option<u8>> = report.tensors.iter().map(|t| top_bits(&t.coding)).collect();
    assert_eq!(tops[..7], [Some(0), Some(1), Some(2), Some(2), None, None, None]);
    let has = |wanted: fn(&Coding) -> bool| report.tensors.iter().any(|t| wanted(&t.coding));
    assert!(has(|c| matches!(c, Coding::Tiled { row_shifts: true, .. })), "{report:?}");
    assert!(has(|c| matches!(c, Coding::Tiled { clean_bits: 13, .. })), "{report:?}");
    assert!(has(|c| matches!(c, Coding::Tiled { clean_bits: 4, .. })), "{report:?}");
    assert!(has(|c| matches!(c, Coding::Tiled { low_bits: 1.., .. })), "{report:?}");
    assert!(has(|c| *c == Coding::Constant), "{report:?}");
    let path = golden("encoder.bantam.safetensors");
    if std::env::var_os("BANTAM_WRITE_GOLDEN").is_some() {
        fs::copy(&packed, &path).unwrap();
    }
    let differs = "the encoder's output has changed; if that is meant, see the top of this file";
    assert!(fs::read(&packed).unwrap() == fs::read(&path).unwrap(), "{differs}");
}

#[test]
fn every_processors_instructions_write_and_read_the_same() {
    if let Ok(tier) = std::env::var("BANTAM_VECTORS") {
        assert_eq!(tier, vector_tier(), "it is not what runs");
        return;
    }
    for tier in vector_tiers().into_iter().filter(|&tier| tier != vector_tier()) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env("BANTAM_VECTORS", tier).args(["golden::", "--skip", "a_second_decoder_reads_the_same"]);
        let output = command.output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success()
                && printed.contains("test golden::the_encoder_still_writes_the_same ... ok"),
            "{printed}"
        );
    }
}

fn top_bits(coding: &Coding) -> Option<u8> {
    match coding {
        Coding::Tiled { top_bits, .. } => Some(*top_bits),
        _ => None,
    }
}

#[test]
fn old_files_are_still_read() {
    let folder = tempfile::tempdir().unwrap();
    let restored = folder.path().join("restored");
    let v3 = golden("v3.bantam.safetensors");
    if std::env::var_os("BANTAM_WRITE_GOLDEN").is_some() && !v3.exists() {
        let packed = compress_bytes(with_version_3(PlainFile::default()).bytes(), REPLACE, &()).unwrap();
        fs::write(&v3, packed).unwrap();
    }
    for tensor in Archive::open(&v3).unwrap().tensors() {
        assert_eq!(fs::read(&v3).unwrap()[tensor.payload.clone()][4..6], [3, 0], "version 3 of the payload");
    }
    let v3 = with_version_3(PlainFile::default());
    for (name, original) in [("v1", original()), ("v2", original_2()), ("v3", v3), ("encoder", original_3())]
    {
        decompress_file(&golden(&format!("{name}.bantam.safetensors")), &restored, &REPLACE, &()).unwrap();
        assert!(fs::read(&restored).unwrap() == original.bytes(), "{name}");
    }
}

/// Weights to be rounded, in tiles that are full and others that are not, and a vector that is not rounded.
fn original_lossy() -> PlainFile {
    let mut random = Random::new(16);
    let mut weights = |count: usize| -> Vec<f32> {
        let one = |(i, weight): (usize, f32)| if i % 97 == 0 { 0.0 } else { weight * (1 + i % 5) as f32 };
        random.gaussian_f32(count).into_iter().enumerate().map(one).collect()
    };
    let [bf16, f16, f32, vector] = [130 * 80, 70 * 100, 64 * 96, 200].map(&mut weights);
    let halves = |weights: &[f32]| -> Vec<u8> {
        weights.iter().flat_map(|&weight| half::bf16::from_f32(weight).to_le_bytes()).collect()
    };
    PlainFile::default()
        .tensor("bf16", "BF16", &[130, 80], &halves(&bf16))
        .tensor(
            "f16",
            "F16",
            &[70, 100],
            &f16.iter().flat_map(|&w| half::f16::from_f32(w).to_le_bytes()).collect::<Vec<_>>(),
        )
        .tensor("f32", "F32", &[64, 96], &f32.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>())
        .tensor("vector", "BF16", &[200], &halves(&vector))
}

#[test]
fn what_was_rounded_is_read_and_written_as_ever() {
    let lossy = Some(Lossy::new(3, 32).unwrap());
    let packed = compress_bytes(original_lossy().bytes(), Options::DEFAULT.with_lossy(lossy), &()).unwrap();
    let path = golden("lossy.bantam.safetensors");
    if std::env::var_os("BANTAM_WRITE_GOLDEN").is_some() && !path.exists() {
        fs::write(&path, &packed).unwrap();
    }
    let old = fs::read(&path).unwrap();
    assert!(packed == old, "what is rounded is written differently");
    // The hashes that are compared are those of what was decoded then.
    assert!(decompress_bytes(old, &()).unwrap() != original_lossy().bytes());
    let verification = verify(&path, &()).unwrap();
    assert_eq!((verification.rounded, verification.failures.len()), (3, 0));
}

/// The same of a GGUF file: gaps that are not zeros, tensors described in another order, a type that
/// is not known, bytes behind the last tensor.
fn original_gguf() -> Gguf {
    let mut file = mixture().aligned(64).noise("unknown", 1000, &[5], 50).weights("last", &[64, 64], 9);
    (file.fill, file.gap, file.reversed, file.trailing) = (0xaa, 70, true, b"behind".to_vec());
    file
}

#[test]
fn an_old_file_made_from_gguf_is_still_read() {
    let folder = tempfile::tempdir().unwrap();
    let [plain, packed, restored] = ["plain", "packed", "restored"].map(|name| folder.path().join(name));
    let path = golden("v2.gguf.bantam.safetensors");
    if std::env::var_os("BANTAM_WRITE_GOLDEN").is_some() && !path.exists() {
        original_gguf().write(&plain);
        compress_file(&plain, &packed, &REPLACE, &()).unwrap();
        fs::copy(&packed, &path).unwrap();
    }
    decompress_file(&path, &restored, &REPLACE, &()).unwrap();
    assert!(fs::read(&restored).unwrap() == original_gguf().bytes());
}

#[test]
fn a_second_decoder_reads_the_same() {
    if !Command::new("python3").arg("--version").output().is_ok_and(|o| o.status.success()) {
        left_out::report(
            "the second decoder of the format, which nothing else checks",
            "there is no python3",
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/read_bantam.py");
    let second = |src: &Path, name: &str| {
        let dst = folder.path().join(name);
        let output = Command::new("python3").args([&script, src, &dst]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read(dst).unwrap()
    };
    assert!(second(&golden("v1.bantam.safetensors"), "golden") == original().bytes());
    assert!(second(&golden("v2.bantam.safetensors"), "golden 2") == original_2().bytes());
    let v3 = with_version_3(PlainFile::default()).bytes();
    assert!(second(&golden("v3.bantam.safetensors"), "golden 3") == v3);
    assert!(second(&golden("encoder.bantam.safetensors"), "encoder") == original_3().bytes());
    assert!(second(&golden("v2.gguf.bantam.safetensors"), "golden gguf") == original_gguf().bytes());

    let lossy = decompress_bytes(fs::read(golden("lossy.bantam.safetensors")).unwrap(), &()).unwrap();
    assert!(second(&golden("lossy.bantam.safetensors"), "golden lossy") == lossy);

    let [new, old] = version_4();
    let base = folder.path().join("base.safetensors");
    old.write(&base);
    let paths = [&script, &golden("v4.bantam.safetensors"), &folder.path().join("golden 4"), &base];
    let output = Command::new("python3").args(paths).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(fs::read(folder.path().join("golden 4")).unwrap() == new.bytes());

    // Partly filled tiles side by side and below each other.
    let [plain, packed] = ["plain", "packed"].map(|name| folder.path().join(name));
    let bytes = PlainFile::default()
        .weights("w", &[130, 530], 1)
        .weights("conv", &[128, 64, 3], 2)
        .weights("vector", &[70_000], 3)
        .write(&plain);
    let report = compress_file(&plain, &packed, &REPLACE, &()).unwrap();
    assert!(report.tensors.iter().all(|t| top_bits(&t.coding).is_some()));
    assert!(second(&packed, "restored") == bytes);

    let files = [
        Gguf::default(),
        Gguf { padded_end: false, ..Gguf::default() },
        mixture(),
        Gguf { padded_end: false, ..mixture() },
        Gguf::default().tensor("a", gguf::F32, &[], &[1, 2, 3, 4]).noise("b", 9, &[3], 40),
    ];
    for (i, file) in files.iter().enumerate() {
        let bytes = file.write(&plain);
        compress_file(&plain, &packed, &REPLACE, &()).unwrap();
        assert!(second(&packed, &format!("gguf {i}")) == bytes);
    }
}
