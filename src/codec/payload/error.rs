//! Errors of payloads.

use crate::tensor::Dtype;

/// Why a tensor could not be encoded, or a payload could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The data passed to the encoder does not match the type and shape.
    #[error("{dtype} of shape {shape:?} should be {expected} bytes, but {actual} were given")]
    WrongLength {
        /// Element type.
        dtype: Dtype,
        /// Shape.
        shape: Vec<usize>,
        /// Bytes that the type and shape require.
        expected: usize,
        /// Bytes given.
        actual: usize,
    },
    /// The memory passed to the encoder is too small.
    #[error("the output buffer must have room for a payload of {most} bytes")]
    NoRoom {
        /// The required length, as [`most_bytes`](crate::codec::most_bytes) returns it.
        most: usize,
    },
    /// The payload ends before its head does.
    #[error("the payload is truncated: it has {actual} bytes, but {needed} are needed")]
    Truncated {
        /// Bytes needed.
        needed: usize,
        /// Bytes present.
        actual: usize,
    },
    /// The bytes do not begin with the magic number of a payload.
    #[error("this is not a bantam tensor payload")]
    BadMagic,
    /// The payload was written by a later version.
    #[error("payload version {version} is newer than the one that this version of bantam reads ({newest}); a newer bantam may read it", newest = super::fixed_part::VERSION)]
    UnknownVersion {
        /// The version the payload names.
        version: u16,
    },
    /// A checksum does not match: the bytes were changed after they were written.
    #[error("checksum mismatch in the {section}{}", group.map(|g| format!(", group {g}")).unwrap_or_default())]
    Checksum {
        /// Head, coded plane, raw plane n, or data.
        section: String,
        /// The group of row blocks, if the section has several.
        group: Option<usize>,
    },
    /// The head contradicts itself.
    #[error("damaged head: {0}")]
    BadHead(&'static str),
    /// The payload holds the difference to another tensor, and was read without that.
    #[error(
        "the tensor is stored as the difference to another one, its base; decompress the file with its base"
    )]
    IsDelta,
    /// The base of a difference ends within an element.
    #[error("a base of {actual} bytes does not consist of whole elements of {dtype}")]
    BadBase {
        /// Element type.
        dtype: Dtype,
        /// Bytes of the base.
        actual: usize,
    },
    /// The tensor that a difference is added to is not that to which it was made.
    #[error("the base has BLAKE3 {actual}, but the difference was made to a tensor with BLAKE3 {expected}")]
    WrongBase {
        /// The hash of the base that it was made to, in hexadecimal.
        expected: String,
        /// That of the base that was given.
        actual: String,
    },
    /// A lane's stream does not end where the lane index says.
    #[error("row {row}: its code stream does not end where the lane index says")]
    BadStream {
        /// Row of the matrix.
        row: usize,
    },
    /// The output buffer does not have the tensor's size.
    #[error("the output is {actual} bytes, but the tensor has {expected}")]
    WrongOutput {
        /// Bytes of the tensor.
        expected: usize,
        /// Bytes of the buffer.
        actual: usize,
    },
    /// The decoded tensor does not fit in memory.
    #[error("out of memory for a tensor of {len} bytes")]
    OutOfMemory {
        /// Bytes of the tensor.
        len: usize,
    },
    /// The requested bytes are not in the tensor.
    #[error("bytes {start}..{end} were requested, but the tensor has {len}")]
    NoSuchBytes {
        /// First byte requested.
        start: usize,
        /// One past the last.
        end: usize,
        /// Bytes of the tensor.
        len: usize,
    },
    /// Elements are smaller than a byte, and the rows do not begin or end at a byte boundary.
    #[error("rows {start}..{end} do not begin and end with whole bytes")]
    RowsAreNotBytes {
        /// First row requested.
        start: usize,
        /// One past the last.
        end: usize,
    },
    /// Rows of a quantised tensor were requested.
    #[error("rows of a quantised tensor cannot be read separately; read all of it")]
    QuantizedRows,
    /// The requested rows are not in the tensor.
    #[error("rows {start}..{end} were requested, but the tensor has {rows}")]
    NoSuchRows {
        /// First row requested.
        start: usize,
        /// One past the last.
        end: usize,
        /// Rows of the tensor.
        rows: usize,
    },
}

impl CodecError {
    /// The error that a base has the hash `actual`, unless it is `expected`.
    pub(crate) fn unless_base(expected: blake3::Hash, actual: blake3::Hash) -> Result<(), Self> {
        let hex = |hash: blake3::Hash| hash.to_hex().to_string();
        match expected == actual {
            true => Ok(()),
            false => Err(Self::WrongBase { expected: hex(expected), actual: hex(actual) }),
        }
    }
}
