//! The header of a safetensors file, with errors that name tensors and count bytes.
//!
//! Format: <https://github.com/huggingface/safetensors#format>. The `safetensors` crate reads the same
//! format, but its errors give few details, and it keeps the last of two entries with the same name.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use serde::de::value::{Error as NoDtype, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::{Dtype, TensorEntry};

/// Maximum header length, which the format defines.
pub(crate) const MAX_HEADER_LEN: usize = 100_000_000;

/// Bytes of the header's length.
pub(super) const PREFIX: usize = 8;

const METADATA: &str = "__metadata__";

/// Why a header could not be used. Ranges are bytes of the data, counted from its start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The file is too short even for the header's length.
    #[error("the file is truncated: it has only {len} bytes; download it again")]
    TooShort {
        /// Bytes of the file.
        len: usize,
    },
    /// The header's length is more than the format allows.
    #[error(
        "header too large: the file states a length of {len} bytes, but at most {MAX_HEADER_LEN} are allowed"
    )]
    TooLong {
        /// The stated length.
        len: u64,
    },
    /// The file ends inside its header.
    #[error(
        "the file is truncated: it ends inside its header, and {missing} bytes or more are missing; download it again"
    )]
    Truncated {
        /// Missing bytes of the header.
        missing: usize,
    },
    /// The header is not valid JSON for safetensors.
    #[error("the header cannot be read: {0}")]
    Json(String),
    /// An element type that the format does not have.
    #[error(
        "tensor {tensor} has elements of type {dtype:?}, an unknown type; \
         a newer bantam may read it, or the file is damaged"
    )]
    UnknownDtype {
        /// The tensor.
        tensor: String,
        /// The type that the header names.
        dtype: String,
    },
    /// Two tensors have the same name.
    #[error("tensor {tensor} is described twice, as {first} and as {second}; write the file again")]
    Duplicate {
        /// The name.
        tensor: String,
        /// One description.
        first: String,
        /// The other.
        second: String,
    },
    /// The length of a tensor's data range does not match its type and shape.
    #[error("tensor {tensor}: {dtype} of shape {shape:?} takes {needed}, but its data range has {len} bytes")]
    Length {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: Dtype,
        /// Its dimensions, outermost first.
        shape: Vec<usize>,
        /// The length that these require, in words.
        needed: String,
        /// Length of its data range.
        len: usize,
    },
    /// A tensor ends before it begins.
    #[error("tensor {tensor} ends at byte {end}, before it begins at byte {start}")]
    Backwards {
        /// The tensor.
        tensor: String,
        /// The byte at which it begins.
        start: usize,
        /// The byte at which it ends.
        end: usize,
    },
    /// Two tensors share bytes.
    #[error("tensors {first} (bytes {first_range:?}) and {second} (bytes {second_range:?}) share bytes")]
    Overlap {
        /// One tensor.
        first: String,
        /// Its bytes.
        first_range: Range<usize>,
        /// The other.
        second: String,
        /// Its bytes.
        second_range: Range<usize>,
    },
    /// Bytes before a tensor belong to no tensor.
    #[error("bytes {gap:?}, before tensor {tensor}, belong to no tensor")]
    Gap {
        /// The bytes.
        gap: Range<usize>,
        /// The tensor after them.
        tensor: String,
    },
    /// The data extends beyond the end of the file.
    #[error(
        "the file is truncated: {missing} bytes are missing, it has {len} of {needed}; download it again"
    )]
    Short {
        /// Missing bytes.
        missing: usize,
        /// Bytes in the file.
        len: usize,
        /// Bytes required.
        needed: usize,
    },
    /// There are bytes after the last tensor.
    #[error(
        "the file has {more} bytes after the last tensor that the header does not describe; \
         it was written twice or is damaged: download it again"
    )]
    Long {
        /// Number of surplus bytes.
        more: usize,
    },
}

impl HeaderError {
    /// Whether the file shows no sign of a header, so that it may be of any other kind.
    pub(super) fn is_of_no_header(&self) -> bool {
        matches!(self, Self::TooShort { .. } | Self::TooLong { .. } | Self::Truncated { .. } | Self::Json(_))
    }
}

/// A header whose ranges have been checked against types, shapes and each other.
#[derive(Debug)]
pub(crate) struct Header {
    /// Offset of the data.
    pub data_start: usize,
    /// The tensors in file order; ranges count from the start of the file. Empty tensors share an offset with
    /// their neighbour, so those are ordered by name.
    pub tensors: Vec<TensorEntry>,
    /// The header's `__metadata__`.
    pub metadata: HashMap<String, String>,
    /// Bytes of all tensors.
    data_len: usize,
}

impl Header {
    /// Returns an error unless a file of `len` bytes has exactly the bytes that this header describes.
    pub fn require_len(&self, len: usize) -> Result<(), HeaderError> {
        let needed = self.data_start.saturating_add(self.data_len);
        match len.checked_sub(needed) {
            Some(0) => Ok(()),
            Some(more) => Err(HeaderError::Long { more }),
            None => Err(HeaderError::Short { missing: needed - len, len, needed }),
        }
    }
}

/// Length of the header and its length prefix, in a file of `file_len` bytes that begins with `prefix`.
pub(super) fn header_len(prefix: &[u8], file_len: usize) -> Result<usize, HeaderError> {
    let prefix = prefix.first_chunk().ok_or(HeaderError::TooShort { len: prefix.len() })?;
    let said = u64::from_le_bytes(*prefix);
    let len = usize::try_from(said).ok().filter(|&len| len <= MAX_HEADER_LEN);
    let end = PREFIX + len.ok_or(HeaderError::TooLong { len: said })?;
    match end.checked_sub(file_len) {
        None | Some(0) => Ok(end),
        Some(missing) => Err(HeaderError::Truncated { missing }),
    }
}

/// Reads the header at the start of `bytes`. [`Header::require_len`] checks the length of the data.
pub(crate) fn parse_header(bytes: &[u8]) -> Result<Header, HeaderError> {
    let data_start = header_len(&bytes[..bytes.len().min(PREFIX)], bytes.len())?;
    let json = |error: &dyn fmt::Display| HeaderError::Json(error.to_string());
    let text = std::str::from_utf8(&bytes[PREFIX..data_start]).map_err(|error| json(&error))?;
    let written: Written = serde_json::from_str(text).map_err(|error| json(&error))?;
    let mut tensors = once_each(written.tensors)?
        .into_iter()
        .map(|(name, description)| description.entry(name))
        .collect::<Result<Vec<_>, _>>()?;
    tensors.sort_by(|a, b| (a.range.start, a.range.end, &a.name).cmp(&(b.range.start, b.range.end, &b.name)));
    let data_len = refuse_overlaps_and_gaps(&tensors)?;
    let at = |offset: usize| data_start.saturating_add(offset);
    tensors.iter_mut().for_each(|tensor| tensor.range = at(tensor.range.start)..at(tensor.range.end));
    Ok(Header { data_start, tensors, metadata: written.metadata.unwrap_or_default(), data_len })
}

/// Entries by name. Identical entries count once; different entries with one name are an error.
fn once_each(entries: Vec<(String, Description)>) -> Result<HashMap<String, Description>, HeaderError> {
    let mut once: HashMap<String, Description> = HashMap::with_capacity(entries.len());
    for (tensor, second) in entries {
        if let Some(first) = once.get(&tensor) {
            if *first != second {
                let (first, second) = (first.to_string(), second.to_string());
                return Err(HeaderError::Duplicate { tensor, first, second });
            }
        } else {
            once.insert(tensor, second);
        }
    }
    Ok(once)
}

/// Total bytes of `tensors`, which must be sorted. Overlaps and gaps are errors.
fn refuse_overlaps_and_gaps(tensors: &[TensorEntry]) -> Result<usize, HeaderError> {
    let mut last: Option<&TensorEntry> = None;
    for tensor in tensors {
        let end = last.map_or(0, |last| last.range.end);
        let name = tensor.name.clone();
        match last {
            Some(last) if tensor.range.start < end => {
                return Err(HeaderError::Overlap {
                    first: last.name.clone(),
                    first_range: last.range.clone(),
                    second: name,
                    second_range: tensor.range.clone(),
                });
            }
            _ if tensor.range.start > end => {
                return Err(HeaderError::Gap { gap: end..tensor.range.start, tensor: name });
            }
            _ => last = Some(tensor),
        }
    }
    Ok(last.map_or(0, |last| last.range.end))
}

/// The parsed JSON.
struct Written {
    metadata: Option<HashMap<String, String>>,
    tensors: Vec<(String, Description)>,
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(WrittenVisitor)
    }
}

struct WrittenVisitor;

impl<'de> Visitor<'de> for WrittenVisitor {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object that describes tensors")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Written, M::Error> {
        let mut metadata = None;
        let mut tensors = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA {
                if metadata.is_some() {
                    return Err(M::Error::duplicate_field(METADATA));
                }
                metadata = Some(map.next_value::<Option<HashMap<String, String>>>()?);
                continue;
            }
            let description = map.next_value::<Description>();
            let description = description.map_err(|e| M::Error::custom(format!("tensor {name}: {e}")))?;
            tensors.push((name, description));
        }
        Ok(Written { metadata: metadata.flatten(), tensors })
    }
}

/// A tensor as the header describes it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
struct Description {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (start, end) = self.data_offsets;
        write!(f, "{} {:?} in bytes {start}..{end}", self.dtype, self.shape)
    }
}

impl Description {
    /// The tensor, with its range as in the header.
    fn entry(self, name: String) -> Result<TensorEntry, HeaderError> {
        let Self { dtype: dtype_name, shape, data_offsets: (start, end) } = self;
        let Ok(dtype) = Dtype::deserialize(StrDeserializer::<NoDtype>::new(&dtype_name)) else {
            return Err(HeaderError::UnknownDtype { tensor: name, dtype: dtype_name });
        };
        let Some(len) = end.checked_sub(start) else {
            return Err(HeaderError::Backwards { tensor: name, start, end });
        };
        let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let bits = elements.and_then(|n| n.checked_mul(dtype.bitsize()));
        let needed = match bits {
            Some(bits) if bits == len.saturating_mul(8) => {
                return Ok(TensorEntry { name, dtype, shape, quantized: None, range: start..end });
            }
            Some(bits) if bits % 8 == 0 => format!("{} bytes", bits / 8),
            Some(bits) => format!("{bits} bits, which is not a whole number of bytes"),
            None => "more bytes than any file can have".into(),
        };
        Err(HeaderError::Length { tensor: name, dtype, shape, needed, len })
    }
}
