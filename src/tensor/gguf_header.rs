//! The header of a GGUF file: everything before the tensors' data.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. Metadata is skipped, because only the
//! key `general.alignment` affects the offsets of data. Lengths and counts are compared with the rest of the
//! file before they are used.

use std::collections::HashMap;

use super::{GgmlType, MAX_HEADER_LEN, Quantized, TensorEntry};
use crate::tensor::Dtype;

/// First bytes of every GGUF file. A safetensors file cannot begin with them: they would be a header length
/// that safetensors does not allow.
pub(crate) const GGUF_MAGIC: [u8; 4] = *b"GGUF";
const DEFAULT_ALIGNMENT: u32 = 32;
const ALIGNMENT_KEY: &[u8] = b"general.alignment";
/// Minimum bytes of a key with its value, and of a tensor's description.
const MIN_PAIR: usize = 8 + 4 + 1;
const MIN_TENSOR: usize = 8 + 4 + 4 + 8;
/// Maximum nesting of arrays; no known file has more than one level.
const MAX_NESTING: usize = 8;
/// Maximum bytes outside tensors, because they are kept in one piece.
const MAX_OUTSIDE: usize = MAX_HEADER_LEN;
/// The compressed form is a safetensors file, in which no tensor can have this name.
const RESERVED: &str = "__metadata__";

/// Why a file could not be read as GGUF.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The file does not begin with GGUF's magic number.
    #[error("the file does not begin with \"GGUF\"")]
    NoMagic,
    /// The file has an unsupported version.
    #[error(
        "GGUF version {version} is not supported, only 2 and 3 are; convert the file with a current tool"
    )]
    Version {
        /// The version that the file names.
        version: u32,
    },
    /// The file is big-endian.
    #[error("the file is big-endian, but bantam reads only little-endian files; convert it first")]
    BigEndian,
    /// The file ends too early.
    #[error("the file ends inside {part}: it is truncated or damaged; download it again")]
    Truncated {
        /// The part in which it ends.
        part: &'static str,
    },
    /// The header exceeds the maximum length.
    #[error("the header is longer than {MAX_HEADER_LEN} bytes")]
    HeaderTooLong,
    /// A metadata value has an unknown type.
    #[error("a metadata value has the unknown type {0}")]
    ValueType(u32),
    /// Metadata arrays are nested too deeply.
    #[error("metadata arrays are nested more than {MAX_NESTING} deep")]
    Nesting,
    /// The value of `general.alignment` is invalid.
    #[error("general.alignment must be a single 32-bit number that is a power of two")]
    Alignment,
    /// A tensor's name cannot be stored in safetensors.
    #[error("{name:?} cannot be a tensor's name: {why}")]
    Name {
        /// The name; bytes that are not UTF-8 are replaced.
        name: String,
        /// The reason.
        why: &'static str,
    },
    /// A tensor's dimensions give no valid length.
    #[error("tensor {tensor}: {ggml_type} of shape {shape:?} has no length in bytes")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its type.
        ggml_type: GgmlType,
        /// Its dimensions, outermost first.
        shape: Vec<usize>,
    },
    /// A tensor's data extends beyond the end of the file.
    #[error(
        "tensor {tensor} reaches beyond the end of the file: {missing} bytes are missing, the file is truncated or \
         damaged; download it again"
    )]
    Bounds {
        /// The tensor.
        tensor: String,
        /// Number of bytes of tensors that are missing.
        missing: usize,
    },
    /// Two tensors share bytes.
    #[error("tensor {tensor} begins at byte {start}, inside tensor {other}, which ends at byte {end}")]
    Overlap {
        /// The tensor.
        tensor: String,
        /// The byte at which it begins.
        start: usize,
        /// The tensor that it begins in.
        other: String,
        /// The byte at which that ends.
        end: usize,
    },
    /// Two tensors have the same name.
    #[error("tensor {tensor} is described twice: one begins at byte {first}, the other at byte {second}")]
    Duplicate {
        /// The name.
        tensor: String,
        /// The byte at which one begins.
        first: usize,
        /// The byte at which the other begins.
        second: usize,
    },
    /// Too many bytes belong to no tensor.
    #[error("{len} bytes belong to no tensor, more than {MAX_OUTSIDE}")]
    Outside {
        /// Bytes of the header, gaps, and the end of the file after the last tensor.
        len: usize,
    },
}

/// One tensor as the header describes it.
#[derive(Debug)]
struct Description {
    name: String,
    ggml_type: GgmlType,
    /// Outermost first, in reverse order of the file.
    shape: Vec<usize>,
    /// Offset of its data in the file.
    start: usize,
    /// Bytes of its data; `None` if its type is unknown, or before the length is computed.
    len: Option<usize>,
}

/// A GGUF file's header.
#[derive(Debug)]
pub(crate) struct GgufHeader {
    /// Offset in the file at which the first tensor may begin.
    data_start: usize,
    /// Sorted by the offsets of their data.
    tensors: Vec<Description>,
}

impl GgufHeader {
    /// Reads the header of a file of `file_len` bytes that begins with `front`. [`GgufHeader::entries`]
    /// checks whether the tensors are in the file. Returns [`GgufError::Truncated`] if `front` does not
    /// contain the whole header.
    pub fn of_file(front: &[u8], file_len: usize) -> Result<Self, GgufError> {
        Self::parse(front, file_len)?.measured(|tensor| tensor.expected_len())
    }

    /// Reads a header that was kept when its file was compressed. `quantized_len` gives the lengths of
    /// quantised tensors, by name, that were used then, so that later versions can know more types.
    pub fn of_kept(bytes: &[u8], quantized_len: impl Fn(&str) -> Option<usize>) -> Result<Self, GgufError> {
        Self::parse(bytes, bytes.len())?.measured(|tensor| match tensor.ggml_type.dtype() {
            Some(_) => tensor.expected_len(),
            None => Ok(quantized_len(&tensor.name)),
        })
    }

    /// The header with the lengths of its tensors, in file order.
    fn measured(
        mut self,
        len: impl Fn(&Description) -> Result<Option<usize>, GgufError>,
    ) -> Result<Self, GgufError> {
        for tensor in &mut self.tensors {
            tensor.len = len(tensor)?;
        }
        // Empty tensors come before a tensor that begins at the same offset.
        let key = |t: &Description| (t.start, t.len.unwrap_or(usize::MAX));
        self.tensors.sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name)));
        Ok(self)
    }

    fn parse(front: &[u8], file_len: usize) -> Result<Self, GgufError> {
        let mut cursor = Cursor::new(front, file_len);
        if cursor.take(4, "the magic number")? != GGUF_MAGIC {
            return Err(GgufError::NoMagic);
        }
        match cursor.u32("the version")? {
            2 | 3 => {}
            version if version != 0 && version & 0xffff == 0 => return Err(GgufError::BigEndian),
            version => return Err(GgufError::Version { version }),
        }
        let tensor_count = cursor.u64("the number of tensors")?;
        let pairs = cursor.count(MIN_PAIR, "the metadata")?;
        let mut alignment = None;
        for _ in 0..pairs {
            cursor.pair(&mut alignment)?;
        }
        let tensor_count = cursor.fitting(tensor_count, MIN_TENSOR, "the descriptions of tensors")?;
        let mut tensors = Vec::new();
        for _ in 0..tensor_count {
            tensors.push(cursor.description()?);
        }
        let data_start = cursor.at.next_multiple_of(alignment.unwrap_or(DEFAULT_ALIGNMENT) as usize);
        for tensor in &mut tensors {
            let start = data_start.checked_add(tensor.start);
            tensor.start = start
                .ok_or_else(|| GgufError::Bounds { tensor: tensor.name.clone(), missing: usize::MAX })?;
        }
        refuse_equal_names(&tensors)?;
        Ok(Self { data_start, tensors })
    }

    /// Bytes before the data, in a file of `file_len` bytes. A file without tensors may end before its
    /// header's padding does.
    pub fn prefix_len(&self, file_len: usize) -> usize {
        self.data_start.min(file_len)
    }

    /// The tensors of a file of `file_len` bytes, in file order. They are in bounds and do not overlap. There
    /// may be other bytes between them and after the last.
    ///
    /// A tensor of an unknown type ends where the next one begins, or at the end of the file.
    pub fn entries(&self, file_len: usize) -> Result<Vec<TensorEntry>, GgufError> {
        let mut entries: Vec<TensorEntry> = Vec::new();
        let mut covered = 0;
        for (i, tensor) in self.tensors.iter().enumerate() {
            let next = self.tensors.get(i + 1).map_or(file_len, |next| next.start);
            let end = tensor.len.map_or(Some(next), |len| tensor.start.checked_add(len));
            let end = end
                .filter(|&end| tensor.start <= end && end <= file_len)
                .ok_or_else(|| self.out_of_bounds(tensor, file_len))?;
            if let Some(last) = entries.last().filter(|last| last.range.end > tensor.start) {
                let (other, end) = (last.name.clone(), last.range.end);
                return Err(GgufError::Overlap {
                    tensor: tensor.name.clone(),
                    start: tensor.start,
                    other,
                    end,
                });
            }
            covered += end - tensor.start;
            entries.push(tensor.entry(end));
        }
        match file_len - covered {
            0..=MAX_OUTSIDE => Ok(entries),
            len => Err(GgufError::Outside { len }),
        }
    }

    fn out_of_bounds(&self, tensor: &Description, file_len: usize) -> GgufError {
        let ends = self.tensors.iter().map(|tensor| tensor.start.saturating_add(tensor.len.unwrap_or(0)));
        let needed = ends.max().unwrap_or(0);
        GgufError::Bounds { tensor: tensor.name.clone(), missing: needed.saturating_sub(file_len) }
    }
}

impl Description {
    /// Bytes required by its type and shape; `None` if the type is unknown.
    fn expected_len(&self) -> Result<Option<usize>, GgufError> {
        len_of(self.ggml_type, &self.shape).ok_or_else(|| GgufError::Shape {
            tensor: self.name.clone(),
            ggml_type: self.ggml_type,
            shape: self.shape.clone(),
        })
    }

    fn entry(&self, end: usize) -> TensorEntry {
        let range = self.start..end;
        let name = self.name.clone();
        match self.ggml_type.dtype() {
            Some(dtype) => TensorEntry { name, dtype, shape: self.shape.clone(), quantized: None, range },
            None => {
                let quantized = Some(Quantized { ggml_type: self.ggml_type, shape: self.shape.clone() });
                TensorEntry { name, dtype: Dtype::U8, shape: vec![range.len()], quantized, range }
            }
        }
    }
}

fn refuse_equal_names(tensors: &[Description]) -> Result<(), GgufError> {
    let mut starts = HashMap::new();
    for tensor in tensors {
        if let Some(first) = starts.insert(&tensor.name, tensor.start) {
            return Err(GgufError::Duplicate { tensor: tensor.name.clone(), first, second: tensor.start });
        }
    }
    Ok(())
}

/// Bytes of a tensor; `Some(None)` if its type is unknown, `None` if there is no valid length.
fn len_of(ggml_type: GgmlType, shape: &[usize]) -> Option<Option<usize>> {
    let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
    if elements == 0 {
        return Some(Some(0));
    }
    let Some((weights, bytes)) = ggml_type.block() else { return Some(None) };
    // Blocks do not cross from one row to the next.
    let row = shape.last().copied().unwrap_or(1);
    if row % weights != 0 {
        return None;
    }
    Some(Some((elements / weights).checked_mul(bytes)?))
}

/// A position in the header.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether running out of bytes means that the header is too long, and not that the file is truncated.
    is_longest: bool,
}

impl<'a> Cursor<'a> {
    fn new(front: &'a [u8], file_len: usize) -> Self {
        let len = front.len().min(MAX_HEADER_LEN);
        Self { bytes: &front[..len], at: 0, is_longest: len == MAX_HEADER_LEN && len < file_len }
    }

    fn ended(&self, part: &'static str) -> GgufError {
        if self.is_longest { GgufError::HeaderTooLong } else { GgufError::Truncated { part } }
    }

    fn take(&mut self, len: usize, part: &'static str) -> Result<&'a [u8], GgufError> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| self.ended(part))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn u32(&mut self, part: &'static str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.take(4, part)?.try_into().expect("four bytes")))
    }

    fn u64(&mut self, part: &'static str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.take(8, part)?.try_into().expect("eight bytes")))
    }

    /// Reads a length or an offset. A value that exceeds `usize` exceeds every file.
    fn size(&mut self, part: &'static str) -> Result<usize, GgufError> {
        Ok(usize::try_from(self.u64(part)?).unwrap_or(usize::MAX))
    }

    /// Reads a number of items of at least `min` bytes each.
    fn count(&mut self, min: usize, part: &'static str) -> Result<usize, GgufError> {
        let count = self.u64(part)?;
        self.fitting(count, min, part)
    }

    /// Returns `count` if that many items of at least `min` bytes fit into the rest.
    fn fitting(&self, count: u64, min: usize, part: &'static str) -> Result<usize, GgufError> {
        let most = (self.bytes.len() - self.at) / min;
        usize::try_from(count).ok().filter(|&count| count <= most).ok_or_else(|| self.ended(part))
    }

    fn text(&mut self, part: &'static str) -> Result<&'a [u8], GgufError> {
        let len = self.count(1, part)?;
        self.take(len, part)
    }

    /// Skips a key and its value.
    fn pair(&mut self, alignment: &mut Option<u32>) -> Result<(), GgufError> {
        const PART: &str = "the metadata";
        let key = self.text(PART)?;
        let value_type = self.u32(PART)?;
        if key != ALIGNMENT_KEY {
            return self.skip(value_type, 0);
        }
        if value_type != 4 || alignment.is_some() {
            return Err(GgufError::Alignment);
        }
        let value = self.u32(PART)?;
        *alignment = Some(value).filter(|a| a.is_power_of_two());
        if alignment.is_some() { Ok(()) } else { Err(GgufError::Alignment) }
    }

    /// Skips a value inside `depth` arrays.
    fn skip(&mut self, value_type: u32, depth: usize) -> Result<(), GgufError> {
        const PART: &str = "the metadata";
        if let Some(len) = fixed_len(value_type) {
            return self.take(len, PART).map(|_| ());
        }
        match value_type {
            8 => self.text(PART).map(|_| ()),
            9 if depth == MAX_NESTING => Err(GgufError::Nesting),
            9 => {
                let item_type = self.u32(PART)?;
                match fixed_len(item_type) {
                    Some(len) => {
                        let count = self.count(len, PART)?;
                        self.take(count * len, PART).map(|_| ())
                    }
                    None => {
                        let count = self.count(8, PART)?;
                        (0..count).try_for_each(|_| self.skip(item_type, depth + 1))
                    }
                }
            }
            unknown => Err(GgufError::ValueType(unknown)),
        }
    }

    /// Reads a tensor's description. Its start is as in the file: relative to the start of the data.
    fn description(&mut self) -> Result<Description, GgufError> {
        const PART: &str = "the descriptions of tensors";
        let name = self.text(PART)?;
        let wrong = |why| GgufError::Name { name: String::from_utf8_lossy(name).into(), why };
        let text = std::str::from_utf8(name).map_err(|_| wrong("it is not UTF-8"))?;
        if text == RESERVED {
            return Err(wrong("safetensors reserves it"));
        }
        let rank = self.u32(PART)? as u64;
        let mut shape = Vec::new();
        for _ in 0..self.fitting(rank, 8, PART)? {
            shape.push(self.size(PART)?);
        }
        shape.reverse();
        let ggml_type = GgmlType(self.u32(PART)?);
        let start = self.size(PART)?;
        Ok(Description { name: text.into(), ggml_type, shape, start, len: None })
    }
}

/// Bytes of a metadata value; `None` for strings, arrays and unknown types.
fn fixed_len(value_type: u32) -> Option<usize> {
    match value_type {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}
