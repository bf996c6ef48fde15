//! A compressed file, whose header and index are checked when it is opened.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use super::form::VERSION_KEY;
use super::index::{BASE_KEY, INDEX_KEY, Index, IndexEntry, ORIGINAL_HEADER_KEY};
use super::original_layout::OriginalLayout;
use super::{ArchiveError, Coding, FileReport, Form, IN_MEMORY, TensorReport, original_header};
use crate::codec::grid::SECTION_ALIGN;
use crate::codec::head::{Head, Kind};
use crate::codec::split::unit_matrix;
use crate::codec::{DeltaHead, Lossy, Payload};
use crate::tensor::{Dtype, FileReader, Matrix, Quantized, SafetensorsFile, SourceFile, TensorEntry};

/// Whether `file` is a compressed file, perhaps a damaged one. It looks for two signs in different places, so
/// that a file in which only one is damaged is not taken for a plain file.
pub fn is_bantam(file: &SourceFile) -> bool {
    let SourceFile::Safetensors(file) = file else { return false };
    let by_metadata = file.metadata().keys().any(|key| key == VERSION_KEY || key == INDEX_KEY);
    let mut front = original_header::MAGIC.map(|_| 0);
    let mut read = || file.reader().read_exact_at(&mut front, file.header_bytes().len() as u64).is_ok();
    by_metadata || (read() && front == original_header::MAGIC)
}

/// One tensor of a compressed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedTensor {
    /// Its name, unique in the file.
    pub name: String,
    /// Element type of the original; U8 if `quantized` is set.
    pub dtype: Dtype,
    /// Dimensions of the original, outermost first; its number of bytes if `quantized` is set.
    pub shape: Vec<usize>,
    /// The original's quantised type, if it has no [`Dtype`].
    pub quantized: Option<Quantized>,
    /// Bytes of the original.
    pub original_len: usize,
    /// BLAKE3 of the original's bytes, or of the rounded bytes.
    pub blake3: blake3::Hash,
    /// How it was rounded; `None` if it decodes to the original.
    pub lossy: Option<Lossy>,
    /// The name of the base's tensor to which it is stored as the difference; `None` if it is stored alone.
    pub base: Option<String>,
    /// Byte range of its payload in the file. It is checked to be in bounds and to start at a multiple of
    /// 256.
    pub payload: Range<usize>,
    /// Byte offset of the tensor in the original file.
    pub start: usize,
    /// Range in the kept bytes of the gap between the previous tensor and this one.
    gap: Range<usize>,
}

/// A compressed file, mapped or in memory, whose header and index have been checked.
#[derive(Debug)]
pub struct Archive {
    file: SafetensorsFile,
    tensors: Vec<ArchivedTensor>,
    by_name: HashMap<String, usize>,
    form: Form,
    /// Byte range of the tensor that keeps the original's bytes outside tensors.
    kept: Range<usize>,
    /// Number of these bytes when unpacked.
    outside_len: usize,
    header_len: usize,
    trailing_start: usize,
}

/// An original's bytes that belong to no tensor: its header, its gaps, and any bytes after the last tensor.
#[derive(Debug)]
pub struct Outside {
    bytes: Vec<u8>,
    header_len: usize,
    trailing_start: usize,
}

impl Outside {
    /// All of them, in file order.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The original file's header, byte for byte, with its length prefix or padding: everything before
    /// the first tensor's gap.
    pub fn header(&self) -> &[u8] {
        &self.bytes[..self.header_len]
    }

    /// The bytes between the previous tensor, or the header, and `tensor`.
    pub fn before(&self, tensor: &ArchivedTensor) -> &[u8] {
        self.bytes.get(tensor.gap.clone()).unwrap_or_default()
    }

    /// The bytes after the last tensor.
    pub fn trailing(&self) -> &[u8] {
        &self.bytes[self.trailing_start..]
    }
}

impl Archive {
    /// Maps and checks the file at `path`: the headers' checksums, and that the header, index and original
    /// header agree. Payloads are checked when they are read.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        Self::from_file(SourceFile::open(path)?)
    }

    /// Opens and checks a compressed file in memory.
    pub fn from_bytes(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Self, ArchiveError> {
        Self::from_file(SourceFile::from_bytes(Path::new(IN_MEMORY), bytes)?)
    }

    /// Checks a file that is already open.
    pub fn from_file(file: SourceFile) -> Result<Self, ArchiveError> {
        let file = match file {
            SourceFile::Safetensors(container) if is_bantam(&file) => container,
            _ => return Err(ArchiveError::NotCompressed { file: file.path().into() }),
        };
        let damaged = |what: String| ArchiveError::Damaged { file: file.path().into(), what };
        let form = form(&file)?;
        let kept = kept_header(&file).map_err(damaged)?;
        let bytes = file.reader().read(kept.range.clone()).map_err(ArchiveError::read_again(file.path()))?;
        let outside = original_header::read(&bytes, file.header_bytes()).map_err(damaged)?;
        let (header_len, tensors) = match_tensors(&file, &kept.name, form, &outside).map_err(damaged)?;
        let (kept, outside_len) = (kept.range.clone(), outside.len());
        let trailing_start = tensors.last().map_or(header_len, |t| t.gap.end);
        let by_name = tensors.iter().enumerate().map(|(i, t)| (t.name.clone(), i)).collect();
        drop(outside);
        Ok(Self { form, kept, outside_len, header_len, trailing_start, tensors, by_name, file })
    }

    /// Bytes of the tensors to which there are differences; `base_len_of` gives those of the tensor of a
    /// name.
    pub(super) fn base_len(&self, base_len_of: impl Fn(&str) -> Option<usize>) -> u64 {
        let len = |tensor: &ArchivedTensor| {
            Some(base_len_of(tensor.base.as_ref()?)?.min(tensor.original_len) as u64)
        };
        self.tensors.iter().filter_map(len).fold(0, u64::saturating_add)
    }

    /// What the file calls the model to which it holds differences; `None` if it holds none.
    pub fn base_name(&self) -> Option<&str> {
        self.file.metadata().get(BASE_KEY).map(|name| &name[..])
    }

    /// The error that `tensor`, a difference, cannot be read without its base.
    pub(super) fn needs_base(&self, tensor: &ArchivedTensor) -> ArchiveError {
        let base = self.base_name().unwrap_or_default().into();
        ArchiveError::NeedsBase { file: self.path().into(), tensor: tensor.name.clone(), base }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// A reader of this file by position, payload ranges included. It can outlive this archive.
    pub fn reader(&self) -> FileReader {
        self.file.reader()
    }

    /// All tensors, in the order of the original file.
    pub fn tensors(&self) -> &[ArchivedTensor] {
        &self.tensors
    }

    /// The tensor called `name`.
    pub fn tensor(&self, name: &str) -> Option<&ArchivedTensor> {
        self.by_name.get(name).map(|&i| &self.tensors[i])
    }

    /// The kind of the original file.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The original's bytes that belong to no tensor. Each call unpacks them, because keeping them could take
    /// much memory if many files are open.
    pub fn outside(&self) -> Result<Outside, ArchiveError> {
        let kept = self.reader().read(self.kept.clone()).map_err(ArchiveError::read_again(self.path()))?;
        let bytes = original_header::read(&kept, self.file.header_bytes());
        // The length was the same when the file was opened.
        let bytes = bytes.ok().filter(|bytes| bytes.len() == self.outside_len).map(Cow::into_owned);
        let bytes = bytes.ok_or_else(|| ArchiveError::Changed { file: self.path().into() })?;
        Ok(Outside { bytes, header_len: self.header_len, trailing_start: self.trailing_start })
    }

    /// Bytes of the compressed file.
    pub fn compressed_len(&self) -> u64 {
        self.file.bytes().len() as u64
    }

    /// This file's own length prefix and JSON header.
    pub(super) fn container_header(&self) -> &[u8] {
        self.file.header_bytes()
    }

    /// Bytes of the original file.
    pub fn original_len(&self) -> u64 {
        let tensors = self.tensors.iter().map(|t| t.original_len as u64);
        tensors.fold(self.outside_len as u64, u64::saturating_add)
    }

    /// The payload of the tensor called `name`. Its head is checked for consistency, also with the index;
    /// [`Payload::check`] checks the sections after the head.
    pub fn payload(&self, name: &str) -> Result<Payload<'_>, ArchiveError> {
        self.payload_of(self.require(name)?)
    }

    /// Like [`Archive::tensor`], but a missing tensor is an error that names the file.
    pub(super) fn require(&self, name: &str) -> Result<&ArchivedTensor, ArchiveError> {
        self.tensor(name)
            .ok_or_else(|| ArchiveError::NoSuchTensor { file: self.path().into(), tensor: name.into() })
    }

    /// Like [`Archive::payload`], for one of [`Archive::tensors`].
    pub fn payload_of(&self, tensor: &ArchivedTensor) -> Result<Payload<'_>, ArchiveError> {
        let bytes = self.file.bytes().get(tensor.payload.clone()).unwrap_or_default();
        let payload = Payload::parse(bytes).map_err(ArchiveError::tensor(self.path(), &tensor.name))?;
        self.check_head(tensor, payload.head())?;
        Ok(payload)
    }

    /// Returns an error if `head` belongs to another tensor than `tensor`.
    pub(super) fn check_head(&self, tensor: &ArchivedTensor, head: &Head) -> Result<(), ArchiveError> {
        let matrix = match &head.kind {
            Kind::Raw | Kind::Constant(_) => None,
            Kind::Tiled(tiled) => Some(tiled.grid.matrix),
        };
        let matrix_fits = matrix.is_none_or(|m| unit_matrix(tensor.dtype, &tensor.shape) == Some(m));
        let lossy = match &head.kind {
            Kind::Tiled(tiled) => tiled.lossy(),
            _ => None,
        };
        let fits = head.dtype == tensor.dtype && head.original_len == tensor.original_len && matrix_fits;
        if !fits || lossy != tensor.lossy {
            let rounded = |lossy: Option<Lossy>| lossy.map_or(String::new(), |lossy| format!(", {lossy}"));
            let matrix = matrix.map_or(String::new(), |m| format!(" as {} × {}", m.rows, m.cols));
            return Err(ArchiveError::WrongPayload {
                file: self.path().into(),
                tensor: tensor.name.clone(),
                expected: format!(
                    "{} bytes of {} {:?}{}",
                    tensor.original_len,
                    tensor.dtype,
                    tensor.shape,
                    rounded(tensor.lossy)
                ),
                found: format!("{} bytes of {}{matrix}{}", head.original_len, head.dtype, rounded(lossy)),
            });
        }
        Ok(())
    }

    /// Returns an error if `head` belongs to another tensor than `tensor`.
    pub(super) fn check_delta_head(
        &self,
        tensor: &ArchivedTensor,
        head: &DeltaHead,
    ) -> Result<(), ArchiveError> {
        let matrix = head.grid.matrix;
        // Short rows are joined.
        let rows_fit = |own: Matrix| own.len() == matrix.len() && matrix.cols.is_multiple_of(own.cols.max(1));
        let fits = head.dtype == tensor.dtype
            && head.original_len == tensor.original_len
            && unit_matrix(tensor.dtype, &tensor.shape).is_some_and(rows_fit);
        match fits {
            true => Ok(()),
            false => Err(ArchiveError::WrongPayload {
                file: self.path().into(),
                tensor: tensor.name.clone(),
                expected: format!("{} bytes of {} {:?}", tensor.original_len, tensor.dtype, tensor.shape),
                found: format!(
                    "{} bytes of {} as {} × {}",
                    head.original_len, head.dtype, matrix.rows, matrix.cols
                ),
            }),
        }
    }

    /// Sizes and codings of all tensors. Reads and checks every payload's head.
    pub fn report(&self) -> Result<FileReport, ArchiveError> {
        let report = |tensor: &ArchivedTensor| {
            let coding = match tensor.base {
                None => self.tensor_reader(tensor)?.head().map_or(Coding::Plain, Coding::of),
                Some(_) => Coding::of_delta(&DeltaHead::of(self, tensor)?),
            };
            Ok(TensorReport {
                name: tensor.name.clone(),
                dtype: tensor.dtype,
                shape: tensor.shape.clone(),
                quantized: tensor.quantized.clone(),
                original_bytes: tensor.original_len,
                stored_bytes: tensor.payload.len(),
                coding,
            })
        };
        Ok(FileReport {
            source: self.path().into(),
            output: self.path().into(),
            original_bytes: self.original_len(),
            compressed_bytes: self.compressed_len(),
            tensors: self.tensors.iter().map(report).collect::<Result<_, ArchiveError>>()?,
        })
    }
}

fn form(file: &SafetensorsFile) -> Result<Form, ArchiveError> {
    match file.metadata().get(VERSION_KEY) {
        Some(version) => Form::from_metadata(file.metadata(), version)
            .map_err(|version| ArchiveError::UnknownVersion { file: file.path().into(), version }),
        None => Err(ArchiveError::Damaged {
            file: file.path().into(),
            what: format!("the header has no {VERSION_KEY}"),
        }),
    }
}

/// The tensor that keeps the original header; it must be first in the data.
fn kept_header(file: &SafetensorsFile) -> Result<&TensorEntry, String> {
    let name =
        file.metadata().get(ORIGINAL_HEADER_KEY).ok_or("the metadata does not name the original header")?;
    file.tensors()
        .first()
        .filter(|t| &t.name == name && t.dtype == Dtype::U8)
        .ok_or_else(|| "the original header is not the first tensor".into())
}

/// Matches the container's tensors, the index, and the original's bytes `outside` its tensors. Returns the
/// length of the original's header.
fn match_tensors(
    file: &SafetensorsFile,
    kept: &str,
    form: Form,
    outside: &[u8],
) -> Result<(usize, Vec<ArchivedTensor>), String> {
    let index = file.metadata().get(INDEX_KEY).ok_or("there is no index")?;
    let index: Index = serde_json::from_str(index).map_err(|e| format!("the index is unreadable: {e}"))?;
    let OriginalLayout { prefix_len, tensors: original } = OriginalLayout::of(form, outside, &index)?;
    if index.values().any(|entry| entry.base.is_some()) != file.metadata().contains_key(BASE_KEY) {
        return Err("the index and the metadata disagree about a base".into());
    }
    if index.len() != original.len() || file.tensors().len() != original.len() + 1 {
        return Err(format!(
            "the original has {} tensors, the index {} and the file {}",
            original.len(),
            index.len(),
            file.tensors().len() - 1
        ));
    }
    let payloads: HashMap<&str, &TensorEntry> =
        file.tensors().iter().filter(|t| t.name != kept).map(|t| (&t.name[..], t)).collect();
    let mut gaps = Gaps { at: prefix_len, used: prefix_len, available: outside.len() };
    let tensors = original
        .into_iter()
        .map(|t| match_tensor(index.get(&t.name), payloads.get(&t.name[..]).copied(), gaps.before(&t)?, t))
        .collect::<Result<_, String>>()?;
    match (form, outside.len().checked_sub(gaps.used)) {
        (Form::Gguf, Some(_)) | (Form::Safetensors, Some(0)) => Ok((prefix_len, tensors)),
        _ => Err("the original header does not have the length that it states".into()),
    }
}

/// Assigns the kept bytes to the gaps between tensors, in file order.
struct Gaps {
    /// Offset in the original after the tensors so far.
    at: usize,
    /// Kept bytes that lie before this offset.
    used: usize,
    available: usize,
}

impl Gaps {
    /// The range in the kept bytes of the gap before `tensor`, which must be the next tensor.
    fn before(&mut self, tensor: &TensorEntry) -> Result<Range<usize>, String> {
        let end = tensor.range.start.checked_sub(self.at).and_then(|len| self.used.checked_add(len));
        let end = end
            .filter(|&end| end <= self.available)
            .ok_or_else(|| format!("the bytes before tensor {} are missing", tensor.name))?;
        let gap = self.used..end;
        (self.at, self.used) = (tensor.range.end, end);
        Ok(gap)
    }
}

fn match_tensor(
    index: Option<&IndexEntry>,
    payload: Option<&TensorEntry>,
    gap: Range<usize>,
    original: TensorEntry,
) -> Result<ArchivedTensor, String> {
    let name = &original.name;
    let index = index.ok_or_else(|| format!("tensor {name} is not in the index"))?;
    let payload = payload.ok_or_else(|| format!("tensor {name} has no payload"))?;
    if index.dtype != original.dtype || index.shape != original.shape || index.bytes != original.range.len() {
        return Err(format!("index and original header disagree about tensor {name}"));
    }
    if payload.dtype != Dtype::U8
        || payload.range.start % SECTION_ALIGN != 0
        || payload.range.len() % SECTION_ALIGN != 0
    {
        return Err(format!("the payload of tensor {name} is not aligned, or its type is not U8"));
    }
    let blake3 = blake3::Hash::from_hex(&index.blake3)
        .map_err(|_| format!("the index has no valid BLAKE3 hash for tensor {name}"))?;
    let lossy = index.lossy.map(Lossy::try_from).transpose();
    let lossy =
        lossy.map_err(|error| format!("the index has no valid rounding for tensor {name}: {error}"))?;
    Ok(ArchivedTensor {
        base: index.base.clone(),
        lossy,
        dtype: original.dtype,
        shape: original.shape,
        quantized: original.quantized,
        original_len: index.bytes,
        start: original.range.start,
        blake3,
        gap,
        payload: payload.range.clone(),
        name: original.name,
    })
}
