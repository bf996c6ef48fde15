//! Compressing a plain file into a container.
//!
//! The tensors of a batch are encoded in parallel. While a batch is encoded, the payloads of the previous one
//! are written; their offsets follow from their sizes. A tensor larger than a batch is written as it is
//! encoded. So the memory needed does not grow with the file, all threads are busy, and the output does not
//! depend on the number of threads.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::against::{BaseTensor, counterpart, is_candidate};
use super::index::{self, Contents, IndexEntry, LossyEntry};
use super::original_header::OutsideBytes;
use super::output::{OutputFile, reclaim, refuse_same};
use super::progress::{check, reported};
use super::read_tensor::ReadTensor;
use super::sink::Sink;
use super::unchanged::Unchanged;
use super::{ArchiveError, Coding, FileReport, Form, ModelFiles, Options, Progress, TensorReport, is_bantam};
use crate::codec::encode::Put;
use crate::codec::grid::{LANES, SECTION_ALIGN};
use crate::codec::head::{Kind, Tiled};
use crate::codec::{
    DeltaHead, EncodeError, Encoder, Lossy, Payload, TensorSource, encode_delta, encode_delta_in_memory,
};
use crate::tensor::{MAX_HEADER_LEN, SourceFile, TensorEntry};

/// Original bytes of a batch. Two batches are in memory at a time. They are small enough that payloads are
/// written while they are in the processor's cache, and that their memory is reused.
fn batch_bytes() -> usize {
    rayon::current_num_threads().clamp(2, 16) * (4 << 20)
}

/// How many bytes an empty tensor counts for in a batch: its payload's head and names.
const TENSOR_BYTES: usize = 4 << 10;

/// Tensors of fewer bytes are encoded alone, too, however small the difference is. Larger ones only if it is more
/// than three eighths of them: floats that take less alone are rare.
const FEW_BYTES: usize = 16 << 10;

/// Bytes that are hashed between two reports of progress and checks for cancellation.
const HASHED_BYTES: usize = 8 << 20;

/// Compresses the safetensors or GGUF file `src` to `dst`.
///
/// The memory needed does not grow with the file, and the output does not depend on the number of
/// threads.
pub fn compress_file(
    src: &Path,
    dst: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<FileReport, ArchiveError> {
    compress_opened(&SourceFile::open(src)?, dst, options, progress)
}

/// Like [`compress_file`], for a file that is already open.
pub fn compress_opened(
    file: &SourceFile,
    dst: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<FileReport, ArchiveError> {
    reported(progress, file.bytes().len() as u64, "compressing", || {
        compress_begun(file, dst, options, progress)
    })
}

/// Compresses an open file; the caller has begun the progress.
pub(super) fn compress_begun(
    file: &SourceFile,
    dst: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<FileReport, ArchiveError> {
    refuse_compressed(file)?;
    refuse_same(file.path(), dst)?;
    reclaim(dst);
    let output = OutputFile::create(dst, options, Some(file.path()))?;
    let mut report = write_container(file, output.sink(), options, progress)?;
    output.publish()?;
    report.output = dst.into();
    Ok(report)
}

fn refuse_compressed(file: &SourceFile) -> Result<(), ArchiveError> {
    match is_bantam(file) {
        true => Err(ArchiveError::AlreadyCompressed { file: file.path().into() }),
        false => Ok(()),
    }
}

/// Writes the compressed form of `file` to `sink`. Returns an error if the file changes meanwhile. The report
/// names no output.
pub(super) fn write_container(
    file: &SourceFile,
    sink: Sink,
    options: &Options,
    progress: &dyn Progress,
) -> Result<FileReport, ArchiveError> {
    refuse_compressed(file)?;
    let unchanged = Unchanged::begin(file, progress)?;
    let mut writer = Writer::begin(file, sink, options, progress)?;
    progress.advance(writer.kept_len as u64);
    let mut encoded = Vec::new();
    for batch in batches(file.tensors()) {
        check(progress)?;
        let (written, next) =
            rayon::join(|| writer.write(&encoded), || writer.encode_batch(batch, writer.len));
        written?;
        encoded = next?;
        writer.place(&mut encoded);
    }
    writer.write(&encoded)?;
    let report = writer.finish()?;
    unchanged.check(progress)?;
    Ok(report)
}

/// Divides tensors into batches; a tensor larger than a batch gets one of its own.
fn batches(tensors: &[TensorEntry]) -> Vec<&[TensorEntry]> {
    let most = batch_bytes();
    let mut bytes = 0usize;
    let mut batches = Vec::new();
    let mut start = 0;
    for (i, tensor) in tensors.iter().enumerate() {
        let more = tensor.range.len().saturating_add(TENSOR_BYTES);
        bytes = bytes.saturating_add(more);
        if bytes > most && i > start {
            batches.push(&tensors[start..i]);
            (start, bytes) = (i, more);
        }
    }
    if start < tensors.len() {
        batches.push(&tensors[start..]);
    }
    batches
}

/// A tensor whose payload has been encoded.
struct Encoded<'a> {
    tensor: &'a TensorEntry,
    hash: blake3::Hash,
    coding: Coding,
    payload_len: usize,
    /// Whether it is the difference to the tensor of the same name in the base.
    is_delta: bool,
    /// Empty if it has been written already.
    payload: Vec<u8>,
    /// The payload's offset in the file.
    offset: u64,
}

/// A container that is being written: payloads first, then the headers into the space reserved for them.
struct Writer<'a> {
    file: &'a SourceFile,
    /// The original's bytes that belong to no tensor.
    kept: OutsideBytes<'a>,
    kept_len: usize,
    sink: Sink<'a>,
    encoder: Encoder,
    /// How tensors are rounded, if their type allows it.
    lossy: Option<Lossy>,
    /// The model to which tensors are stored as differences.
    base: Option<&'a ModelFiles>,
    progress: &'a dyn Progress,
    original_header_name: String,
    header_len: usize,
    entries: Vec<(String, IndexEntry, usize)>,
    reports: Vec<TensorReport>,
    len: u64,
}

impl<'a> Writer<'a> {
    fn begin(
        file: &'a SourceFile,
        sink: Sink<'a>,
        options: &'a Options,
        progress: &'a dyn Progress,
    ) -> Result<Self, ArchiveError> {
        let original_header_name = index::original_header_name(file.tensors().iter().map(|t| &t.name[..]));
        // This comes first, because compressing the kept bytes of so many tensors takes a while too.
        let header_len = header_len(file, &original_header_name, options)?;
        let outside = file.outside();
        let kept_len = outside.len();
        let mut writer = Self {
            file,
            kept: OutsideBytes::new(outside.into()),
            kept_len,
            sink,
            encoder: Encoder::new(options.preset).rounding(options.lossy),
            lossy: options.lossy,
            base: options.base.as_ref(),
            progress,
            original_header_name,
            header_len,
            entries: Vec::new(),
            reports: Vec::new(),
            len: 0,
        };
        writer.len = (writer.header_len + writer.kept.tensor_len()) as u64;
        let least = writer.len + (SECTION_ALIGN * file.tensors().len()) as u64;
        if least > file.bytes().len() as u64 {
            let (file, tensors) = (file.path().display(), file.tensors().len());
            log::warn!(
                "{file}: the output is larger, because the {tensors} tensors are too small to compress"
            );
        }
        Ok(writer)
    }

    /// Encodes the tensors of a batch in parallel, or writes the payload of a large one to `offset`.
    fn encode_batch(&self, batch: &'a [TensorEntry], offset: u64) -> Result<Vec<Encoded<'a>>, ArchiveError> {
        match batch {
            [tensor] if tensor.range.len() > batch_bytes() => Ok(vec![self.encode_large(tensor, offset)?]),
            _ => batch.par_iter().map(|tensor| self.encode(tensor)).collect(),
        }
    }

    /// Encodes a tensor alone or as the difference to its counterpart, whichever is smaller.
    fn encode(&self, tensor: &'a TensorEntry) -> Result<Encoded<'a>, ArchiveError> {
        check(self.progress)?;
        let data = self.file.reader().read(tensor.range.clone());
        let data = &data.map_err(ArchiveError::read_again(self.file.path()))?[..];
        let delta = self.encode_delta(tensor, data)?;
        let len = delta.as_ref().map_or(usize::MAX, |delta| delta.payload_len);
        let encoded = match delta {
            Some(delta) if data.len() >= FEW_BYTES && len <= data.len() / 8 * 3 => delta,
            delta => {
                let alone = self.encode_alone(tensor, data)?;
                delta.filter(|_| len < alone.payload_len).unwrap_or(alone)
            }
        };
        self.progress.advance(data.len() as u64);
        Ok(encoded)
    }

    fn encode_alone(&self, tensor: &'a TensorEntry, data: &[u8]) -> Result<Encoded<'a>, ArchiveError> {
        let exact = self.lossy.is_none();
        let (hash, payload) = rayon::join(
            || exact.then(|| blake3::hash(data)),
            || self.encoder.encode(tensor.dtype, &tensor.shape, data),
        );
        let wrong = || ArchiveError::tensor(self.file.path(), &tensor.name);
        let payload = payload.map_err(wrong())?;
        let parsed = Payload::parse(&payload).map_err(wrong())?;
        let coding = Coding::of(parsed.head());
        // For a rounded tensor, hash the bytes that decoding will return.
        let hash = match hash {
            Some(hash) => hash,
            None if coding.lossy().is_some() => blake3::hash(&parsed.decode().map_err(wrong())?),
            None => blake3::hash(data),
        };
        Ok(Encoded { tensor, hash, coding, payload_len: payload.len(), is_delta: false, payload, offset: 0 })
    }

    /// The difference of `tensor`, whose bytes are `data`, to its counterpart in the base; `None` if there is
    /// none.
    fn encode_delta(
        &self,
        tensor: &'a TensorEntry,
        data: &[u8],
    ) -> Result<Option<Encoded<'a>>, ArchiveError> {
        let Some(base) = self.counterpart(tensor)? else { return Ok(None) };
        let (base, base_hash) = base.read_all()?;
        let wrong = || ArchiveError::tensor(self.file.path(), &tensor.name);
        let (hash, payload) = rayon::join(
            || blake3::hash(data),
            || encode_delta_in_memory(tensor.dtype, &tensor.shape, data, (&base, base_hash)),
        );
        let Some(payload) = payload.map_err(wrong())? else { return Ok(None) };
        let coding = Coding::of_delta(&DeltaHead::parse(&payload).map_err(wrong())?);
        Ok(Some(Encoded {
            tensor,
            hash,
            coding,
            payload_len: payload.len(),
            is_delta: true,
            payload,
            offset: 0,
        }))
    }

    /// The tensor of the base to which `tensor` could be stored as the difference.
    fn counterpart(&self, tensor: &TensorEntry) -> Result<Option<BaseTensor>, ArchiveError> {
        match self.base.filter(|_| self.lossy.is_none()) {
            Some(base) => counterpart(base, tensor),
            None => Ok(None),
        }
    }

    fn encode_large(&self, tensor: &'a TensorEntry, offset: u64) -> Result<Encoded<'a>, ArchiveError> {
        let data = &ReadTensor::new(self.file.reader(), tensor.range.clone());
        let told = Told { progress: self.progress, len: data.size() as u64, told: 0.into() };
        let put = |at: usize, piece: &[u8]| {
            if self.progress.cancelled() || data.has_failed() {
                return Err(std::io::ErrorKind::Interrupted.into());
            }
            self.sink.try_put(offset + at as u64, piece)?;
            told.advance(piece.len() as u64);
            Ok(())
        };
        if let Some(base) = self.counterpart(tensor)?
            && let Some(encoded) = self.encode_large_delta(tensor, data, &base, &told, &put)?
        {
            return Ok(encoded);
        }
        let exact = self.lossy.is_none();
        let (hash, encoded) = rayon::join(
            || exact.then(|| self.hash_large(data, &told)).transpose(),
            || self.encoder.encode_from(tensor.dtype, &tensor.shape, data, &put),
        );
        let unreadable = || {
            let error = data.error();
            error.map_or(Ok(()), |error| Err(ArchiveError::read_again(self.file.path())(error)))
        };
        unreadable()?;
        let encoded = encoded.map_err(|error| self.not_encoded(tensor, error))?;
        let hash = match (hash?, &encoded.head.kind) {
            (Some(hash), _) => hash,
            (None, Kind::Tiled(tiled)) => self.hash_restored(tiled, data)?,
            (None, _) => self.hash_large(data, &told)?,
        };
        unreadable()?;
        told.advance(data.size() as u64);
        let coding = Coding::of(&encoded.head);
        let payload_len = encoded.len;
        Ok(Encoded { tensor, hash, coding, payload_len, is_delta: false, payload: Vec::new(), offset: 0 })
    }

    /// Writes the difference of a large tensor to its counterpart, if it is less than floats take alone;
    /// otherwise `None`, whatever was written.
    fn encode_large_delta(
        &self,
        tensor: &'a TensorEntry,
        data: &ReadTensor,
        base: &BaseTensor,
        told: &Told,
        put: &Put<'_>,
    ) -> Result<Option<Encoded<'a>>, ArchiveError> {
        let base_hash = base.hash(HASHED_BYTES)?;
        let head = Mutex::new(Vec::new());
        let put = |at: usize, piece: &[u8]| {
            if at == 0 {
                *head.lock().unwrap_or_else(|e| e.into_inner()) = piece.to_vec();
            }
            put(at, piece)
        };
        let limit = data.size() / 8 * 5;
        let encoded = encode_delta(tensor.dtype, &tensor.shape, data, (base, base_hash), limit, &put);
        if let Some(error) = base.error() {
            return Err(error);
        }
        if let Some(error) = data.error() {
            return Err(ArchiveError::read_again(self.file.path())(error));
        }
        let Some(payload_len) = encoded.map_err(|error| self.not_encoded(tensor, error))? else {
            return Ok(None);
        };
        let hash = self.hash_large(data, told)?;
        told.advance(data.size() as u64);
        let head = head.into_inner().unwrap_or_else(|e| e.into_inner());
        let head = DeltaHead::parse_front(&head, payload_len);
        let head = head.map_err(ArchiveError::tensor(self.file.path(), &tensor.name))?;
        let coding = Coding::of_delta(&head);
        Ok(Some(Encoded {
            tensor,
            hash,
            coding,
            payload_len,
            is_delta: true,
            payload: Vec::new(),
            offset: 0,
        }))
    }

    fn not_encoded(&self, tensor: &TensorEntry, error: EncodeError) -> ArchiveError {
        match error {
            EncodeError::Codec(error) => ArchiveError::tensor(self.file.path(), &tensor.name)(error),
            EncodeError::Put(_) if self.progress.cancelled() => ArchiveError::Cancelled,
            EncodeError::Put(error) => self.sink.refused(error),
        }
    }

    /// The hash of the bytes that decoding will return, computed a few row blocks at a time.
    fn hash_restored(&self, tiled: &Tiled, data: &ReadTensor) -> Result<blake3::Hash, ArchiveError> {
        let mut hasher = blake3::Hasher::new();
        let (each, len) = (tiled.row_block_bytes(), data.size());
        let (blocks, at_once) = (len.div_ceil(each), (HASHED_BYTES / each).max(1));
        for first in (0..blocks).step_by(at_once) {
            check(self.progress)?;
            let restored = |block: usize| {
                let rows = data.bytes(block * each..len.min((block + 1) * each));
                tiled.restored(block * LANES, &rows).into_owned()
            };
            let here = first..blocks.min(first + at_once);
            let restored: Vec<_> = here.into_par_iter().map(restored).collect();
            restored.iter().for_each(|rows| {
                hasher.update_rayon(rows);
            });
        }
        Ok(hasher.finalize())
    }

    fn hash_large(&self, data: &ReadTensor, told: &Told) -> Result<blake3::Hash, ArchiveError> {
        let mut hasher = blake3::Hasher::new();
        for at in (0..data.size()).step_by(HASHED_BYTES) {
            check(self.progress)?;
            let piece = data.bytes(at..data.size().min(at + HASHED_BYTES));
            hasher.update_rayon(&piece);
            // A payload is about two thirds of its tensor, so hashing counts as the remaining third. Then
            // progress is even.
            told.advance(piece.len() as u64 / 3);
        }
        Ok(hasher.finalize())
    }

    /// Assigns every payload its offset: payloads follow each other in the order of the tensors.
    fn place(&mut self, encoded: &mut [Encoded]) {
        for Encoded { tensor, hash, coding, payload_len, is_delta, offset, .. } in encoded {
            *offset = self.len;
            self.len += *payload_len as u64;
            let lossy = coding.lossy().map(Into::into);
            self.entries.push(entry(tensor, *hash, *payload_len, lossy, *is_delta));
            self.reports.push(TensorReport {
                name: tensor.name.clone(),
                dtype: tensor.dtype,
                shape: tensor.shape.clone(),
                quantized: tensor.quantized.clone(),
                original_bytes: tensor.range.len(),
                stored_bytes: *payload_len,
                coding: coding.clone(),
            });
        }
    }

    fn write(&self, encoded: &[Encoded]) -> Result<(), ArchiveError> {
        encoded.par_iter().try_for_each(|e| self.sink.put(e.offset, &e.payload))
    }

    fn finish(self) -> Result<FileReport, ArchiveError> {
        let base = self.base.map(name_of);
        let contents = Contents {
            form: Form::of(self.file),
            framework: framework(self.file),
            original_header: (&self.original_header_name, self.kept.tensor_len()),
            lossy: self.entries.iter().find_map(|(_, entry, _)| entry.lossy),
            base: base.as_deref().filter(|_| self.entries.iter().any(|(_, entry, _)| entry.base.is_some())),
            tensors: &|show| self.entries.iter().try_for_each(|(name, entry, len)| show(name, entry, *len)),
        };
        let header = contents.header(self.header_len);
        let header = header.ok_or_else(|| header_too_long(self.file, self.header_len))?;
        self.sink.put(0, &header)?;
        self.sink.put(header.len() as u64, &self.kept.write(&header))?;
        self.sink.cut(self.len)?;
        Ok(FileReport {
            source: self.file.path().into(),
            output: Default::default(),
            original_bytes: self.file.bytes().len() as u64,
            compressed_bytes: self.len,
            tensors: self.reports,
        })
    }
}

/// Length of the header of the compressed form of `file`; an error if it exceeds what safetensors allows.
fn header_len(
    file: &SourceFile,
    original_header_name: &str,
    options: &Options,
) -> Result<usize, ArchiveError> {
    let no_hash = blake3::Hash::from_bytes([0; blake3::OUT_LEN]);
    let lossy = |t: &TensorEntry| {
        options.lossy.filter(|lossy| lossy.applies(t.dtype, &t.shape)).map(LossyEntry::from)
    };
    let base = options.base.as_ref().filter(|_| options.lossy.is_none());
    let name = base.map(name_of);
    let contents = Contents {
        form: Form::of(file),
        framework: framework(file),
        original_header: (original_header_name, 0),
        lossy: file.tensors().iter().find_map(lossy),
        base: name.as_deref(),
        tensors: &|show| {
            file.tensors().iter().try_for_each(|t| {
                let (name, entry, len) = entry(t, no_hash, 0, lossy(t), base.is_some() && is_candidate(t));
                show(&name, &entry, len)
            })
        },
    };
    // Incompressible payloads are stored raw, with a head of 8 bytes for each started MiB, and padding. This
    // margin is enough for them.
    let (len, kept_len) = (file.bytes().len(), file.outside().len());
    let data_end = len + len / 256 + 1024 * (2 + file.tensors().len()) + kept_len;
    match contents.room(data_end) {
        len if len - 8 > MAX_HEADER_LEN => Err(header_too_long(file, len)),
        len => Ok(len),
    }
}

/// Returns an error if `file` has too many tensors to be compressed. It reads none of them.
pub(super) fn refuse_too_many(file: &SourceFile, options: &Options) -> Result<(), ArchiveError> {
    let name = index::original_header_name(file.tensors().iter().map(|t| &t.name[..]));
    header_len(file, &name, options).map(drop)
}

fn header_too_long(file: &SourceFile, len: usize) -> ArchiveError {
    ArchiveError::HeaderTooLong { file: file.path().into(), tensors: file.tensors().len(), len }
}

/// What a file calls the model `base`: the name of its file or folder.
fn name_of(base: &ModelFiles) -> String {
    let path = std::fs::canonicalize(base.path()).unwrap_or_else(|_| base.path().into());
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Progress of one tensor, reported by several steps that each know only their own part. Together they report
/// at most the tensor's bytes.
struct Told<'a> {
    progress: &'a dyn Progress,
    len: u64,
    told: AtomicU64,
}

impl Told<'_> {
    fn advance(&self, bytes: u64) {
        let before = self.told.fetch_add(bytes, Ordering::Relaxed).min(self.len);
        self.progress.advance((before + bytes).min(self.len) - before);
    }
}

/// The `format` that the file's metadata names.
fn framework(file: &SourceFile) -> Option<&str> {
    match file {
        SourceFile::Safetensors(file) => file.metadata().get("format").map(|format| &format[..]),
        SourceFile::Gguf(_) => None,
    }
}

fn entry(
    tensor: &TensorEntry,
    hash: blake3::Hash,
    payload_len: usize,
    lossy: Option<LossyEntry>,
    is_delta: bool,
) -> (String, IndexEntry, usize) {
    let blake3 = hash.to_hex().to_string();
    let (shape, bytes) = (tensor.shape.clone(), tensor.range.len());
    let entry = IndexEntry {
        dtype: tensor.dtype,
        shape,
        bytes,
        blake3,
        lossy,
        base: is_delta.then(|| tensor.name.clone()),
    };
    (tensor.name.clone(), entry, payload_len)
}
