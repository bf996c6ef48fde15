//! One tensor, or rows of one, can be read alone: from a file of either form or a folder, and
//! touching nothing but its bytes. Files may come from a pipe, and results go to one.

use std::fs;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bantam::archive::{Archive, ArchiveError, Options, RowBlock, WeightSource, compress, compress_file};
use bantam::codec::Precision;
use bantam::codec::head::Kind;
use tempfile::TempDir;

use crate::data::plain::{PlainFile, small_mixture};
use crate::data::{Random, bf16_bytes};

const KEEP: Options = Options::DEFAULT;

/// Rows of `tall` have 1152 bytes, and 28 row blocks of 64 rows share a checksum.
const ROW: usize = 2 * 576;
const GROUP: usize = 28 * 64;

struct Files {
    folder: TempDir,
    tall: Vec<u8>,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tall = bf16_bytes(&Random::new(1).gaussian_bf16(3 * GROUP * ROW / 2));
        let numbers: Vec<u8> = (0..60).collect();
        let plain = small_mixture()
            .tensor("tall", "BF16", &[3 * GROUP, ROW / 2], &tall)
            .tensor("cube", "U8", &[5, 3, 4], &numbers)
            .tensor("a/b", "U8", &[2], &[1, 2])
            .tensor("halves", "F4", &[2, 3], &[1, 2, 3]);
        plain.write(&folder.path().join("a.safetensors"));
        let files = Self { folder, tall };
        compress_file(&files.plain(), &files.packed(), &KEEP, &()).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn plain(&self) -> PathBuf {
        self.path("a.safetensors")
    }

    fn packed(&self) -> PathBuf {
        self.path("a.bantam.safetensors")
    }
}

#[test]
fn rows_are_those_of_the_original() {
    let files = Files::new();
    let archive = Archive::open(&files.packed()).unwrap();
    assert!(archive.read_tensor("tall").unwrap() == files.tall);
    for rows in [0..0, 0..1, 63..65, 100..3000, GROUP - 1..GROUP + 1, 0..3 * GROUP] {
        let bytes = archive.read_rows("tall", rows.clone()).unwrap();
        assert!(bytes == files.tall[ROW * rows.start..ROW * rows.end], "{rows:?}");
    }
    assert_eq!(archive.read_rows("cube", 2..4).unwrap(), (24..48).collect::<Vec<u8>>());
    assert_eq!(archive.read_rows("model.norm", 1..2).unwrap(), (0.37f32 - 3.0).to_le_bytes());
    assert_eq!(archive.read_rows("halves", 0..2).unwrap(), [1, 2, 3]);
    let refused = |result: Result<Vec<u8>, ArchiveError>, text: &str| {
        let error = result.unwrap_err();
        let text_of = format!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string));
        assert!(text_of.contains(text), "{text_of}");
    };
    refused(archive.read_rows("cube", 4..6), "rows 4..6 were requested, but the tensor has 5");
    refused(archive.read_rows("halves", 0..1), "do not begin and end with whole bytes");
    refused(archive.read_rows("none", 0..1), "there is no tensor none");
    refused(archive.read_tensor("none"), "there is no tensor none");
}

#[test]
fn row_blocks_are_decoded_one_by_one_in_any_precision() {
    let files = Files::new();
    let source = WeightSource::open(&files.packed()).unwrap();
    let reader = source.require("tall").unwrap().reader().unwrap();
    let mut memory = RowBlock::default();
    let blocks = 3 * GROUP / 64;
    let value = |unit: &[u8]| half::bf16::from_le_bytes([unit[0], unit[1]]).to_f32();
    let mut read = Vec::new();
    for precision in [Precision::Lossless, Precision::Mantissa(5), Precision::Mantissa(3)] {
        for block in [0, 1, blocks - 1] {
            let rows = reader.read_row_block(block, precision, &mut memory).unwrap();
            let original = &files.tall[64 * ROW * block..64 * ROW * (block + 1)];
            assert_eq!(rows == original, precision == Precision::Lossless);
            let wanted: Vec<f32> = reader.values(original, precision).collect();
            assert_eq!(rows.chunks(2).map(value).collect::<Vec<_>>(), wanted);
        }
        assert!(reader.read_row_block(blocks, precision, &mut memory).unwrap().is_empty());
        read.push(reader.row_blocks_len(0..blocks, precision));
    }
    assert!(read[0] > read[1] && read[1] > read[2], "{read:?}");
    assert_eq!(reader.row_blocks_len(3..5, Precision::Lossless), {
        let of = |block| reader.row_blocks_len(block..block + 1, Precision::Lossless);
        of(3) + of(4)
    });
    // A tensor that is not in tiles has no row blocks.
    let norm = source.require("model.norm").unwrap().reader().unwrap();
    assert!(norm.read_row_block(0, Precision::Lossless, &mut memory).unwrap().is_empty());
    assert_eq!(norm.row_blocks_len(0..1, Precision::Lossless), 0);
}

#[test]
fn a_row_block_that_cannot_be_decoded_is_an_error() {
    let files = Files::new();
    let coded = {
        let archive = Archive::open(&files.packed()).unwrap();
        let start = archive.tensor("tall").unwrap().payload.start;
        let payload = archive.payload("tall").unwrap();
        let Kind::Tiled(tiled) = &payload.head().kind else { panic!("not in tiles") };
        start + tiled.coded.start..start + tiled.coded.end
    };
    let mut bytes = fs::read(files.packed()).unwrap();
    bytes[coded].fill(0xff);
    fs::write(files.packed(), bytes).unwrap();
    let mut memory = RowBlock::default();
    let source = WeightSource::open(&files.packed()).unwrap();
    let reader = source.require("tall").unwrap().reader().unwrap();
    let mut read =
        || reader.read_row_block(1, Precision::Lossless, &mut memory).map(<[u8]>::len).unwrap_err();
    // It was so when the file was opened.
    let error = read();
    assert!(matches!(error, ArchiveError::Tensor { .. }), "{error}");
    // It was written to since, and nothing is known of what is there.
    fs::File::options().append(true).open(files.packed()).unwrap().write_all(&[0]).unwrap();
    let error = read();
    assert!(matches!(error, ArchiveError::Changed { .. }), "{error}");
}

#[test]
fn tensors_are_read_by_position_too() {
    let files = Files::new();
    for path in [files.plain(), files.packed()] {
        let source = WeightSource::open(&path).unwrap();
        let mut by_rows = 0;
        for weight in source.weights() {
            let reader = weight.reader().unwrap();
            let wanted = weight.bytes().unwrap();
            reader.check(Precision::Lossless).unwrap();
            assert!(reader.read_all().unwrap() == *wanted, "{}", weight.name);
            let (rows, row) = (reader.rows(), reader.row_bytes());
            // Of elements of less than a byte, rows need not begin with one.
            if rows * row != wanted.len() {
                continue;
            }
            by_rows += 1;
            for rows in [
                0..0,
                0..rows,
                rows.saturating_sub(1)..rows,
                rows / 3..rows / 2,
                rows / 2..(rows / 2 + 1).min(rows),
            ] {
                let read = reader.read_matrix_rows(rows.clone());
                assert!(
                    read.unwrap() == wanted[rows.start * row..rows.end * row],
                    "{} {rows:?}",
                    weight.name
                );
            }
            let beyond = reader.read_matrix_rows(0..rows + 1).unwrap_err();
            assert!(matches!(beyond, ArchiveError::Tensor { .. }), "{beyond}");
        }
        assert!(by_rows + 1 >= source.len(), "{by_rows} of {}", source.len());
    }
    // All but the last row block are there.
    let source = WeightSource::open(&files.packed()).unwrap();
    let weight = source.require("tall").unwrap();
    let reader = weight.reader().unwrap();
    let payload = Archive::open(&files.packed()).unwrap().tensor("tall").unwrap().payload.clone();
    let len = payload.end as u64;
    fs::File::options().write(true).open(files.packed()).unwrap().set_len(len - 1000).unwrap();
    for error in [
        reader.check(Precision::Lossless).unwrap_err(),
        reader.read_matrix_rows(3 * GROUP - 1..3 * GROUP).unwrap_err(),
        reader.read_all().unwrap_err(),
        reader.require_unchanged().unwrap_err(),
    ] {
        assert!(matches!(error, ArchiveError::Changed { .. }), "{error}");
    }
    assert!(reader.read_matrix_rows(0..1).unwrap() == files.tall[..ROW]);
}

#[test]
fn nothing_but_the_bytes_of_the_rows_is_touched() {
    let files = Files::new();
    let mut bytes = fs::read(files.packed()).unwrap();
    // All that belongs to the last two checksum groups of `tall`, and all other tensors, is noise.
    let archive = Archive::open(&files.packed()).unwrap();
    for tensor in archive.tensors() {
        let payload = archive.payload(&tensor.name).unwrap();
        let damaged: Vec<Range<usize>> = match &payload.head().kind {
            Kind::Tiled(tiled) if tensor.name == "tall" => {
                let planes = (0..tiled.planes.len()).map(|p| tiled.plane_of(p, 28..3 * 28));
                planes.chain([tiled.coded_of(28..3 * 28)]).collect()
            }
            _ => std::iter::once(0..tensor.payload.len()).collect(),
        };
        for range in damaged {
            bytes[tensor.payload.start + range.start..tensor.payload.start + range.end].fill(0x5a);
        }
    }
    let damaged = files.path("damaged");
    fs::write(&damaged, bytes).unwrap();
    let archive = Archive::open(&damaged).unwrap();
    for rows in [0..GROUP, GROUP - 1..GROUP, 5..6] {
        let read = archive.read_rows("tall", rows.clone()).unwrap();
        assert!(read == files.tall[ROW * rows.start..ROW * rows.end]);
    }
    assert!(archive.read_rows("tall", GROUP - 1..GROUP + 1).is_err());
    assert!(archive.read_rows("tall", 2 * GROUP..2 * GROUP + 1).is_err());
    assert!(archive.read_tensor("tall").is_err() && archive.read_tensor("cube").is_err());

    let source = WeightSource::open(&damaged).unwrap();
    let weight = source.require("tall").unwrap();
    let out = files.path("out");
    weight.extract(0..ROW * GROUP, &out, &KEEP, &()).unwrap();
    assert!(fs::read(&out).unwrap() == files.tall[..ROW * GROUP]);
    let whole = files.path("whole");
    assert!(weight.extract(0..weight.original_len, &whole, &KEEP, &()).is_err());
    assert!(!whole.exists(), "what is not checked has a final name");
}

fn bantam(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bantam"));
    command.current_dir(folder).args(args);
    command
}

fn output(folder: &Path, args: &[&str]) -> Output {
    let output = bantam(folder, args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn the_command_extracts_from_files_and_folders() {
    let files = Files::new();
    let folder = files.folder.path();
    for src in ["a.safetensors", "a.bantam.safetensors"] {
        output(folder, &["extract", src, "tall", "--force"]);
        assert!(fs::read(files.path("tall.bin")).unwrap() == files.tall);
        let json =
            output(folder, &["extract", src, "cube", "--rows", "1..3", "-o", "c", "--force", "--json"]);
        let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!((&json["dtype"], &json["shape"]), (&"U8".into(), &serde_json::json!([2, 3, 4])));
        assert_eq!(fs::read(files.path("c")).unwrap(), (12..36).collect::<Vec<u8>>());
        let piped = output(folder, &["extract", src, "cube", "--rows", "4..", "-o", "-", "--json"]);
        assert_eq!(piped.stdout, (48..60).collect::<Vec<u8>>());
        assert!(String::from_utf8(piped.stderr).unwrap().contains(r#""bytes":12"#));
        let refused = |args: &[&str], text: &str| {
            let output = bantam(folder, &[&["extract", src], args].concat()).output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success() && stderr.contains(text), "{stderr}");
        };
        refused(&["cube", "-o", "c"], "exists already");
        refused(&["a/b"], "name an output");
        refused(&["../x"], "name an output");
        refused(&["x"], "there is no tensor x");
        refused(&["cube", "--rows", "7..9"], "the tensor has 5");
        refused(&["cube", "--rows", "7"], "A..B");
    }
}

#[test]
fn a_folder_is_read_through_its_index() {
    let root = tempfile::tempdir().unwrap();
    let model = root.path().join("m");
    fs::create_dir(&model).unwrap();
    for (i, name) in ["one", "two"].iter().enumerate() {
        let file = PlainFile::default().tensor(name, "U8", &[2, 2], &[i as u8; 4]);
        file.write(&model.join(format!("{name}.safetensors")));
    }
    let index = r#"{"weight_map":{"one":"one.safetensors","two":"two.safetensors"}}"#;
    fs::write(model.join("model.safetensors.index.json"), index).unwrap();
    let packed = compress(&model, None, &KEEP, &()).unwrap().output;
    // No other file is touched: it might as well be no model at all.
    for (folder, other) in [(&model, "one.safetensors"), (&packed, "one.bantam.safetensors")] {
        fs::write(folder.join(other), "noise").unwrap();
        let extracted = output(folder, &["extract", ".", "two", "--rows", "1..2", "-o", "-"]);
        assert_eq!(extracted.stdout, [1, 1]);
        assert!(WeightSource::holding(folder, "one").is_err());
        assert!(matches!(WeightSource::holding(folder, "three"), Err(ArchiveError::NoSuchTensor { .. })));
    }
}

fn piped(folder: &Path, args: &[&str], input: &[u8]) -> Output {
    let mut command = bantam(folder, args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    // Whoever refuses its input may end before it has read all.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

#[test]
fn files_go_through_pipes() {
    let files = Files::new();
    let folder = files.folder.path();
    let (plain, packed) = (fs::read(files.plain()).unwrap(), fs::read(files.packed()).unwrap());
    let compressed = piped(folder, &["compress", "-", "-o", "-"], &plain);
    assert!(compressed.status.success() && compressed.stdout == packed);
    assert!(String::from_utf8(compressed.stderr).unwrap().contains("MB/s"));
    let restored = piped(folder, &["decompress", "-", "-o", "-", "--json"], &packed);
    assert!(restored.status.success() && restored.stdout == plain);
    assert!(String::from_utf8(restored.stderr).unwrap().contains("\"original_bytes\""));
    assert!(piped(folder, &["compress", "-", "-o", "b"], &plain).status.success());
    assert!(fs::read(files.path("b")).unwrap() == packed);
    assert!(output(folder, &["decompress", "b", "-o", "-"]).stdout == plain);
    let rows = piped(folder, &["extract", "-", "cube", "--rows", "..1", "-o", "-"], &packed);
    assert_eq!(rows.stdout, (0..12).collect::<Vec<u8>>());

    let refused = |args: &[&str], input: &[u8], text: &str| {
        let output = piped(folder, args, input);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{stderr}");
        assert!(stderr.contains(text), "{stderr}");
    };
    refused(&["compress", "-"], &plain, "name one (-o)");
    refused(&["compress", "-", "-o", "-"], &packed, "(standard input) is compressed already");
    refused(&["decompress", "-", "-o", "-"], &plain, "(standard input) is not compressed");
    refused(
        &["compress", "-", "-o", "-"],
        b"",
        "(standard input): neither a safetensors nor a GGUF file: the file is empty",
    );
    let mut damaged = packed.clone();
    let at = damaged.len() - 10_000;
    damaged[at] ^= 1;
    refused(&["decompress", "-", "-o", "-"], &damaged, "checksum mismatch");
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let files = Files::new();
    for args in [["compress", "a.safetensors", "-o", "-"], ["decompress", "a.bantam.safetensors", "-o", "-"]]
    {
        let mut command = bantam(files.folder.path(), &args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        // As for a program that the signal ended, and without a word.
        assert_eq!((output.status.code(), &stderr[..]), (Some(141), ""));
    }
}
