//! GGUF files: what went in comes out byte for byte, gaps and all; whatever a file claims, reading it
//! ends with an error or with exactly that file.

use std::fs;
use std::path::Path;
use std::process::Command;

use bantam::archive::original_header::OutsideBytes;
use bantam::archive::{
    Archive, ArchiveError, FileReport, Form, ModelFiles, Options, Preset, WeightSource, compress,
    compress_bytes, compress_file, decompress, decompress_bytes, decompress_file, original_header, verify,
};
use bantam::tensor::{Dtype, GgmlType, SourceFile};

use crate::data::Random;
use crate::data::gguf::{self, Gguf, array, mixture, text};
use crate::data::plain::small_mixture;

const REPLACE: Options = Options::REPLACE;
const KEEP: Options = Options::DEFAULT;

/// Compresses `bytes` and restores them; `Err` is what is said of a file that is refused.
fn there_and_back(folder: &Path, bytes: &[u8]) -> Result<(FileReport, Vec<u8>), String> {
    let [plain, packed, restored] = ["a.gguf", "packed", "restored"].map(|name| folder.join(name));
    fs::write(&plain, bytes).unwrap();
    let report = compress_file(&plain, &packed, &REPLACE, &()).map_err(|e| e.to_string())?;
    decompress_file(&packed, &restored, &REPLACE, &()).unwrap();
    assert!(fs::read(&restored).unwrap() == bytes, "another file was restored");
    let archive = Archive::open(&packed).unwrap();
    assert_eq!((archive.original_len(), archive.form()), (bytes.len() as u64, Form::Gguf));
    assert_eq!(archive.report().unwrap().tensors, report.tensors);
    assert!(archive.verify(&()).unwrap().is_empty());
    let packed = fs::read(&packed).unwrap();
    assert!(compress_bytes(bytes.to_vec(), Preset::Small, &()).unwrap() == packed);
    Ok((report, packed))
}

fn restored(file: &Gguf) -> FileReport {
    let folder = tempfile::tempdir().unwrap();
    there_and_back(folder.path(), &file.bytes()).unwrap().0
}

fn refused(bytes: &[u8], why: &str) {
    let folder = tempfile::tempdir().unwrap();
    let error = there_and_back(folder.path(), bytes).unwrap_err();
    assert!(error.contains(why), "{error}");
}

#[test]
fn a_mixture_is_restored_and_quantised_tensors_are_named() {
    let report = restored(&mixture());
    let seen: Vec<_> =
        report.tensors.iter().map(|t| (t.type_name(), t.weight_shape().to_vec(), t.dtype)).collect();
    let expected = [
        ("BF16", vec![128, 48], Dtype::BF16),
        ("F32", vec![40], Dtype::F32),
        ("F16", vec![96, 33], Dtype::F16),
        ("Q4_0", vec![3, 64], Dtype::U8),
        ("Q8_0", vec![1, 96], Dtype::U8),
        ("Q4_K", vec![2, 1, 512], Dtype::U8),
        ("BF16", vec![0, 8], Dtype::BF16),
        ("I8", vec![3], Dtype::I8),
    ];
    assert_eq!(seen, expected.map(|(name, shape, dtype)| (name.to_string(), shape, dtype)));
    assert_eq!(report.tensors[3].shape, [108]);
    assert_eq!(report.tensors[3].quantized.as_ref().unwrap().ggml_type, GgmlType(2));
    assert!(report.tensors[0].ratio().unwrap() < 0.9, "BF16 is compressed");
}

#[test]
fn every_alignment_padding_and_order_is_restored() {
    for alignment in [1, 8, 32, 64, 4096] {
        for fill in [0, 0xff] {
            for gap in [0, 5] {
                let mut file = mixture().aligned(alignment);
                (file.fill, file.gap, file.version) = (fill, gap, 2 + (gap as u32 & 1));
                (file.reversed, file.padded_end) = (gap > 0, fill == 0);
                restored(&file);
                file.trailing = b"what follows".to_vec();
                restored(&file);
            }
        }
    }
}

#[test]
fn files_of_nothing_are_restored() {
    restored(&Gguf::default());
    restored(&Gguf { padded_end: false, ..Gguf::default() });
    restored(&Gguf { padded_end: false, ..Gguf::default() }.aligned(4096));
    restored(&Gguf::default().tensor("scalar", gguf::F32, &[], &[1, 2, 3, 4]));
    restored(&Gguf::default().tensor("", gguf::Q4_K, &[0], &[]).tensor("b", gguf::F16, &[4, 0], &[]));
    restored(&Gguf { trailing: vec![7; 100], ..Gguf::default() });
}

#[test]
fn tensors_of_unknown_types_reach_to_the_next() {
    for ggml_type in [4, 9, 31, 38, 43, 1000, u32::MAX] {
        let mut file = Gguf::default()
            .weights("a", &[64, 48], 1)
            .noise("unknown", ggml_type, &[7, 13], 100)
            .weights("b", &[64, 48], 2)
            .noise("last", ggml_type, &[1], 77);
        file.trailing = vec![1, 2, 3];
        let report = restored(&file);
        let len = |i: usize| report.tensors[i].original_bytes;
        assert_eq!((len(1), len(3)), (128, 96 + 3));
        assert_eq!(report.tensors[1].type_name(), format!("type {ggml_type}"));
        assert_eq!(report.tensors[1].weight_shape(), [7, 13]);
    }
}

#[test]
fn the_container_has_a_version_that_older_readers_refuse() {
    let folder = tempfile::tempdir().unwrap();
    let (_, packed) = there_and_back(folder.path(), &mixture().bytes()).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&packed).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    assert_eq!((&metadata["bantam.format"][..], &metadata["bantam.original_form"][..]), ("2", "gguf"));

    let at = packed.windows(6).position(|w| w == br#""gguf""#).unwrap();
    let mut other = packed.clone();
    other[at + 1..at + 5].copy_from_slice(b"onnx");
    let path = folder.path().join("other");
    fs::write(&path, other).unwrap();
    let error = Archive::open(&path).unwrap_err().to_string();
    assert!(error.contains("onnx") && error.contains("a newer bantam may"), "{error}");
}

#[test]
fn what_is_no_gguf_of_these_versions_is_refused() {
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = mixture().bytes();
        change(&mut bytes);
        bytes
    };
    refused(&with(&|b| b[4] = 1), "GGUF version 1 is not supported");
    refused(&with(&|b| b[4] = 4), "GGUF version 4 is not supported");
    refused(&with(&|b| b[4..8].copy_from_slice(&3u32.to_be_bytes())), "big-endian");
    refused(b"GGUF", "ends inside the version");
    refused(&with(&|b| b[3] = b'G'), "does not begin with \"GGUF\"");
    let nothing = Gguf::default;
    refused(&nothing().aligned(32).aligned(64).bytes(), "general.alignment");
    refused(&nothing().pair("general.alignment", 4, &[0; 4]).bytes(), "general.alignment");
    refused(&nothing().pair("general.alignment", 4, &[24, 0, 0, 0]).bytes(), "general.alignment");
    refused(
        &nothing().pair("general.alignment", 10, &[32, 0, 0, 0, 0, 0, 0, 0]).bytes(),
        "general.alignment",
    );
    refused(&nothing().pair("key", 13, &[0; 8]).bytes(), "unknown type 13");
    let twice = nothing().tensor("a", gguf::I8, &[1], &[1]).tensor("a", gguf::I8, &[1], &[1]);
    refused(&twice.bytes(), "tensor a is described twice: one begins at byte");
    refused(&nothing().tensor("__metadata__", gguf::I8, &[1], &[1]).bytes(), "safetensors reserves it");
    refused(&nothing().tensor([0xff, 0xfe], gguf::I8, &[1], &[1]).bytes(), "not UTF-8");
    refused(&nothing().noise("a", gguf::Q4_0, &[2, 33], 36).bytes(), "Q4_0 of shape [2, 33] has no length");
    refused(&nothing().noise("a", gguf::F32, &[1 << 62, 4], 36).bytes(), "has no length");
    refused(&nothing().noise("a", 77, &[1 << 62, 4], 36).bytes(), "has no length");
    let beyond = nothing().noise("a", gguf::F32, &[1 << 50], 36).bytes();
    refused(&beyond, "tensor a reaches beyond the end");
}

#[test]
fn tensors_that_share_bytes_are_refused() {
    let bytes = Gguf::default().noise("a", gguf::F32, &[64], 256).noise("b", gguf::F32, &[64], 256).bytes();
    // The second description's last eight bytes are where its data begins.
    let at = bytes.windows(8).rposition(|w| w == 256u64.to_le_bytes()).unwrap();
    for start in [0u64, 4, 255] {
        let mut bytes = bytes.clone();
        bytes[at..at + 8].copy_from_slice(&start.to_le_bytes());
        refused(&bytes, "inside tensor ");
    }
    for start in [1 << 20, u64::MAX, u64::MAX - 255] {
        let mut bytes = bytes.clone();
        bytes[at..at + 8].copy_from_slice(&u64::to_le_bytes(start));
        refused(&bytes, "tensor b reaches beyond");
    }
}

#[test]
fn lengths_that_no_file_has_are_refused() {
    for huge in [1 << 32, 1 << 60, 1 << 63, u64::MAX] {
        let huge = u64::to_le_bytes(huge);
        for at in [8, 16] {
            let mut bytes = mixture().bytes();
            bytes[at..at + 8].copy_from_slice(&huge);
            refused(&bytes, "ends inside");
        }
        let value = |value_type, value: &[u8]| Gguf::default().pair("key", value_type, value).bytes();
        refused(&value(8, &huge), "ends inside the metadata");
        for item_type in [0u32, 4, 8, 9, 12, 13] {
            refused(&value(9, &[&item_type.to_le_bytes()[..], &huge].concat()), "ends inside the metadata");
        }
        let mut rank = Gguf::default().tensor("a", gguf::I8, &[1], &[1]).bytes();
        rank[33..37].fill(0xff);
        refused(&rank, "ends inside the descriptions");
    }
}

#[test]
fn arrays_in_arrays_are_walked_to_a_depth() {
    let nested = |depth| {
        let value = (0..depth).fold(array(0, &[vec![1]]), |inner, _| array(9, &[inner]));
        Gguf::default().pair("key", 9, &value).bytes()
    };
    let folder = tempfile::tempdir().unwrap();
    there_and_back(folder.path(), &nested(7)).unwrap();
    refused(&nested(8), "nested");
    refused(&nested(2000), "nested");
}

#[test]
fn much_that_is_no_tensor_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gguf");
    let file = fs::File::create(&path).unwrap();
    std::io::Write::write_all(&mut &file, &mixture().bytes()).unwrap();
    // A hole, which takes no room on the disk.
    file.set_len(200_000_000).unwrap();
    let error = SourceFile::open(&path).unwrap_err().to_string();
    assert!(error.contains("belong to no tensor"), "{error}");
    // A text that goes on and on.
    let mut bytes = Gguf::default().pair("key", 8, &text("a")).bytes();
    bytes[39..47].copy_from_slice(&199_000_000u64.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(200_000_000).unwrap();
    let error = SourceFile::open(&path).unwrap_err().to_string();
    assert!(error.contains("header is longer"), "{error}");
}

/// A file of which every byte is tried.
fn tiny() -> Gguf {
    Gguf::default()
        .aligned(64)
        .pair("words", 9, &array(8, &[text("a"), text("b")]))
        .tensor("a", gguf::F32, &[2, 3], &[5; 24])
        .noise("q", gguf::Q8_0, &[1, 32], 34)
        .tensor("b", gguf::BF16, &[4], &[0x80, 0x3f, 0, 0, 1, 0, 2, 0])
}

#[test]
fn a_plain_file_cut_short_anywhere_is_refused_or_restored() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = tiny().bytes();
    let data_end = bytes.len() - (64 - 8);
    for len in 0..bytes.len() {
        let result = there_and_back(folder.path(), &bytes[..len]);
        // Only padding behind the last tensor may be missing.
        assert_eq!(result.is_ok(), len >= data_end, "cut to {len} bytes");
    }
}

#[test]
fn a_plain_file_with_any_bit_flipped_is_refused_or_restored() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = tiny().bytes();
    let mut random = Random::new(4);
    let mut refused = 0;
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << random.below(8);
        refused += there_and_back(folder.path(), &damaged).is_err() as usize;
    }
    assert!(refused > 24, "{refused}");
}

#[test]
fn plain_files_of_extreme_numbers_are_refused_or_restored() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = mixture().bytes();
    let mut random = Random::new(5);
    for _ in 0..1000 {
        let mut damaged = bytes.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(1200);
            let number = [0, 1, 32, 255, 1 << 31, 1 << 61, u64::MAX][random.below(7)].to_le_bytes();
            let width = [1, 4, 8][random.below(3)];
            damaged[at..at + width].copy_from_slice(&number[..width]);
        }
        let _ = there_and_back(folder.path(), &damaged);
    }
}

/// Whether a container is taken for whole, and what it is restored to.
fn read(folder: &Path, packed: &[u8]) -> Option<Vec<u8>> {
    let [path, out] = ["damaged", "out"].map(|name| folder.join(name));
    fs::write(&path, packed).unwrap();
    let restored = decompress_file(&path, &out, &REPLACE, &()).is_ok();
    let verified = Archive::open(&path).is_ok_and(|archive| archive.verify(&()).unwrap().is_empty());
    assert_eq!(restored, verified, "verify and decompress disagree");
    let in_memory = decompress_bytes(packed.to_vec(), &()).ok();
    assert!(in_memory == restored.then(|| fs::read(&out).unwrap()), "file and memory disagree");
    in_memory
}

#[test]
fn a_shape_that_no_number_holds_is_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    // The length of a type that is not known is told by the index, whatever its shape is.
    let original = Gguf::default().noise("unknown", 1000, &[5, 7], 50);
    let (_, packed) = there_and_back(folder.path(), &original.bytes()).unwrap();
    let header_len = 8 + u64::from_le_bytes(packed[..8].try_into().unwrap()) as usize;
    let stored = u64::from_le_bytes(packed[header_len + 8..][..8].try_into().unwrap()) as usize;
    let slot = (64 + stored).next_multiple_of(256);
    let mut kept =
        original_header::read(&packed[header_len..][..slot], &packed[..header_len]).unwrap().into_owned();
    let shape = [7u64, 5].map(u64::to_le_bytes).concat();
    let at = kept.windows(16).position(|bytes| bytes == shape).unwrap();
    kept[at..at + 16].copy_from_slice(&[1u64 << 40; 2].map(u64::to_le_bytes).concat());
    let forms = [OutsideBytes::new((&kept).into()), OutsideBytes::as_it_is((&kept).into())];
    let kept = forms.into_iter().find(|form| form.tensor_len() == slot).unwrap().write(&packed[..header_len]);
    let hostile = [&packed[..header_len], &kept, &packed[header_len + slot..]].concat();
    let path = folder.path().join("hostile.bantam.safetensors");
    fs::write(&path, &hostile).unwrap();
    let report = Archive::open(&path).unwrap().report().unwrap();
    assert_eq!(report.tensors[0].weight_shape(), [1 << 40, 1 << 40]);
    assert_eq!(report.tensors[0].bits_per_weight(), None);
    for more in [&[][..], &["--json"]] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_bantam")).arg("inspect").arg(&path).args(more).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let command = Command::new(env!("CARGO_BIN_EXE_bantam")).arg("verify").arg(&path).output().unwrap();
    assert!(command.status.success());
    assert!(read(folder.path(), &hostile).unwrap() != original.bytes());
}

#[test]
fn a_damaged_container_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_, packed) = there_and_back(folder.path(), &tiny().bytes()).unwrap();
    for len in 0..packed.len() {
        assert_eq!(read(folder.path(), &packed[..len]), None, "cut to {len} bytes");
    }
    let mut random = Random::new(6);
    for at in 0..packed.len() {
        let mut damaged = packed.clone();
        damaged[at] ^= 1 << random.below(8);
        assert_eq!(read(folder.path(), &damaged), None, "byte {at}");
    }
}

#[test]
fn a_container_with_other_kept_bytes_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let original = tiny().bytes();
    let (_, packed) = there_and_back(folder.path(), &original).unwrap();
    let header_len = 8 + u64::from_le_bytes(packed[..8].try_into().unwrap()) as usize;
    let stored = u64::from_le_bytes(packed[header_len + 8..][..8].try_into().unwrap()) as usize;
    let slot = (64 + stored).next_multiple_of(256);
    let kept = original_header::read(&packed[header_len..][..slot], &packed[..header_len]).unwrap();
    let kept_len = kept.len();
    let mut random = Random::new(7);
    let (mut restored, mut tried) = (0, 0);
    for round in 0..kept_len + 2000 {
        let mut kept = kept.to_vec();
        let mut damaged = packed.clone();
        if round < kept_len {
            kept[round] ^= 1 << random.below(8);
        } else if round % 2 == 0 {
            let at = random.below(kept_len - 8);
            let number = [0, 1, 64, 1 << 40, 1 << 61, u64::MAX][random.below(6)].to_le_bytes();
            kept[at..at + 8].copy_from_slice(&number);
        } else {
            let at = 8 + random.below(header_len - 500);
            let digit = damaged[at..header_len].iter_mut().find(|b| b.is_ascii_digit());
            *digit.unwrap() = b'0' + random.below(10) as u8;
        }
        // Signed again, as somebody with bad intentions would.
        let kept = OutsideBytes::new(kept.into());
        if kept.tensor_len() != slot {
            continue;
        }
        tried += 1;
        let header = damaged[..header_len].to_vec();
        damaged[header_len..][..slot].copy_from_slice(&kept.write(&header));
        if let Some(bytes) = read(folder.path(), &damaged) {
            restored += 1;
            assert_eq!(bytes.len(), original.len());
        }
    }
    assert!(tried > 2000, "{tried}");
    assert!(restored > 0, "padding and keys may say anything");
}

#[test]
fn names_of_outputs_follow_from_inputs() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("m");
    fs::create_dir(&folder).unwrap();
    let gguf = mixture().write(&folder.join("model.gguf"));
    let safetensors = small_mixture().write(&folder.join("model.safetensors"));
    let packed = compress(&folder.join("model.gguf"), None, &KEEP, &()).unwrap();
    assert_eq!(packed.output, folder.join("model.gguf.bantam.safetensors"));
    assert_eq!(packed.quantized(), (3, 108 + 102 + 576));
    let wrong = decompress(&folder.join("model.gguf"), Some(&root.path().join("x")), &KEEP, &());
    assert!(matches!(wrong, Err(ArchiveError::NotCompressed { .. })));
    assert!(verify(&packed.output, &()).unwrap().failures.is_empty());

    // Under a name that says nothing of GGUF, the original's has to be given.
    let renamed = root.path().join("a.bantam.safetensors");
    fs::rename(&packed.output, &renamed).unwrap();
    assert!(matches!(decompress(&renamed, None, &KEEP, &()), Err(ArchiveError::NoDefaultName { .. })));
    decompress(&renamed, Some(&root.path().join("b")), &KEEP, &()).unwrap();
    assert!(fs::read(root.path().join("b")).unwrap() == gguf);

    let packed = compress(&folder, None, &KEEP, &()).unwrap().output;
    let model = ModelFiles::open(&packed).unwrap();
    assert_eq!(model.sources().len(), 1, "the model is the safetensors file");
    decompress(&packed, Some(&root.path().join("restored")), &KEEP, &()).unwrap();
    assert!(fs::read(root.path().join("restored/model.gguf")).unwrap() == gguf);
    assert!(fs::read(root.path().join("restored/model.safetensors")).unwrap() == safetensors);
    fs::remove_file(folder.join("model.safetensors")).unwrap();
    assert!(ModelFiles::open(&folder).unwrap_err().to_string().contains("no safetensors file"));
}

#[test]
fn tensors_read_the_same_in_either_form() {
    let folder = tempfile::tempdir().unwrap();
    there_and_back(folder.path(), &mixture().bytes()).unwrap();
    let [plain, packed] =
        ["a.gguf", "packed"].map(|name| WeightSource::open(&folder.path().join(name)).unwrap());
    assert!(matches!((&plain, &packed), (WeightSource::Plain(_), WeightSource::Compressed(_))));
    for (a, b) in plain.weights().zip(packed.weights()) {
        assert_eq!((a.name, a.dtype, a.shape, a.original_len), (b.name, b.dtype, b.shape, b.original_len));
        assert!(a.bytes().unwrap() == b.bytes().unwrap());
        assert_eq!((a.quantized, a.bytes_of_rows(0..0).is_err()), (b.quantized, b.quantized.is_some()));
    }
    assert_eq!((plain.len(), packed.len()), (8, 8));
}

#[test]
fn the_command_says_what_does_not_compress() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("a.gguf");
    mixture().write(&plain);
    let bantam = |args: &[&str], path: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_bantam")).args(args).arg(path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    let [json, remark] = bantam(&["compress", "--json"], &plain);
    assert!(remark.contains("3 quantised tensors (786 bytes) are coded byte by byte"), "{remark}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["quantized"], serde_json::json!({ "tensors": 3, "bytes": 786 }));
    assert_eq!(json["tensors"][5]["dtype"], "Q4_K");
    assert_eq!(json["tensors"][5]["shape"], serde_json::json!([2, 1, 512]));
    let packed = folder.path().join("a.gguf.bantam.safetensors");
    for path in [&plain, &packed] {
        let [table, _] = bantam(&["inspect"], path);
        assert!(table.contains("Q8_0") && table.contains("[1, 96]"), "{table}");
    }
    bantam(&["verify"], &packed);
}
