//! From a plain file to a compressed one.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::index::{self, Contents, IndexEntry};
use super::output::{OutputFile, refuse_same};
use super::progress::{check, reported};
use super::{
    ArchiveError, Coding, FileReport, Form, Options, Progress, TensorReport, is_bantam, original_header,
};
use crate::codec::{Payload, encode};
use crate::tensor::{MAX_HEADER_LEN, SourceFile, TensorEntry};

/// Compresses the safetensors or GGUF file `src` to `dst`.
///
/// Tensors are handled one by one in file order, so that the memory needed is a small multiple of
/// the largest. The output is the same whatever the number of threads.
pub fn compress_file(
    src: &Path,
    dst: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<FileReport, ArchiveError> {
    let file = SourceFile::open(src)?;
    reported(progress, file.bytes().len() as u64, "compressing", || {
        compress_open(&file, dst, options, progress)
    })
}

/// Compresses an open file; the caller has begun the progress.
pub(super) fn compress_open(
    file: &SourceFile,
    dst: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<FileReport, ArchiveError> {
    if is_bantam(file) {
        return Err(ArchiveError::AlreadyCompressed { file: file.path().into() });
    }
    refuse_same(file.path(), dst)?;
    let mut writer = Writer::begin(file, dst, options)?;
    progress.advance(writer.outside.len() as u64);
    for tensor in file.tensors() {
        check(progress)?;
        writer.put(tensor)?;
        progress.advance(tensor.range.len() as u64);
    }
    writer.finish()
}

/// A container that is being written: payloads first, and the headers into the room left for them.
struct Writer<'a> {
    file: &'a SourceFile,
    /// The original's bytes that belong to no tensor.
    outside: Cow<'a, [u8]>,
    output: OutputFile,
    dst: PathBuf,
    original_header_name: String,
    header_len: usize,
    entries: Vec<(String, IndexEntry, usize)>,
    reports: Vec<TensorReport>,
    len: u64,
}

impl<'a> Writer<'a> {
    fn begin(file: &'a SourceFile, dst: &Path, options: &Options) -> Result<Self, ArchiveError> {
        let mut writer = Self {
            file,
            outside: file.outside(),
            output: OutputFile::create(dst, options)?,
            dst: dst.into(),
            original_header_name: index::original_header_name(file.tensors().iter().map(|t| &t.name[..])),
            header_len: 0,
            entries: Vec::new(),
            reports: Vec::new(),
            len: 0,
        };
        let no_hash = "0".repeat(2 * blake3::OUT_LEN);
        let expected: Vec<_> = file.tensors().iter().map(|t| entry(t, no_hash.clone(), 0)).collect();
        // Payloads that do not shrink are stored as they are, with a head of 8 bytes for each
        // started MiB, and padding: this much more is plenty.
        let len = file.bytes().len();
        let data_end = len + len / 256 + 1024 * (2 + expected.len()) + writer.outside.len();
        writer.header_len = writer.contents(&expected).room(data_end);
        if writer.header_len - 8 > MAX_HEADER_LEN {
            return Err(ArchiveError::HeaderTooLong { file: file.path().into(), len: writer.header_len });
        }
        writer.len = (writer.header_len + original_header::tensor_len(writer.outside.len())) as u64;
        writer.output.seek(writer.len)?;
        Ok(writer)
    }

    fn contents<'b>(&'b self, tensors: &'b [(String, IndexEntry, usize)]) -> Contents<'b> {
        Contents {
            form: Form::of(self.file),
            framework: framework(self.file),
            original_header: (&self.original_header_name, original_header::tensor_len(self.outside.len())),
            tensors,
        }
    }

    fn put(&mut self, tensor: &TensorEntry) -> Result<(), ArchiveError> {
        let data = self.file.data(tensor);
        let (hash, payload) =
            rayon::join(|| blake3::hash(data), || encode(tensor.dtype, &tensor.shape, data));
        let wrong = || ArchiveError::tensor(self.file.path(), &tensor.name);
        let payload = payload.map_err(wrong())?;
        let coding = Coding::of(Payload::parse(&payload).map_err(wrong())?.head());
        self.output.write(&payload)?;
        self.len += payload.len() as u64;
        self.entries.push(entry(tensor, hash.to_hex().to_string(), payload.len()));
        self.reports.push(TensorReport {
            name: tensor.name.clone(),
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
            quantized: tensor.quantized.clone(),
            original_bytes: data.len(),
            stored_bytes: payload.len(),
            coding,
        });
        Ok(())
    }

    fn finish(mut self) -> Result<FileReport, ArchiveError> {
        let header = self.contents(&self.entries).header(self.header_len).ok_or_else(|| {
            ArchiveError::HeaderTooLong { file: self.file.path().into(), len: self.header_len }
        })?;
        self.output.seek(0)?;
        self.output.write(&header)?;
        self.output.write(&original_header::write(&self.outside, &header))?;
        self.output.publish()?;
        Ok(FileReport {
            source: self.file.path().into(),
            output: self.dst,
            original_bytes: self.file.bytes().len() as u64,
            compressed_bytes: self.len,
            tensors: self.reports,
        })
    }
}

/// The `format` that the file's metadata names.
fn framework(file: &SourceFile) -> Option<&str> {
    match file {
        SourceFile::Safetensors(file) => file.metadata().get("format").map(|format| &format[..]),
        SourceFile::Gguf(_) => None,
    }
}

fn entry(tensor: &TensorEntry, blake3: String, payload_len: usize) -> (String, IndexEntry, usize) {
    let entry =
        IndexEntry { dtype: tensor.dtype, shape: tensor.shape.clone(), bytes: tensor.range.len(), blake3 };
    (tensor.name.clone(), entry, payload_len)
}
