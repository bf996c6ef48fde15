//! What can be wrong with a payload.

use crate::tensor::Dtype;

/// Why a tensor could not be encoded, or a payload not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The data handed to the encoder is not what type and shape ask for.
    #[error("{dtype} of shape {shape:?} should be {expected} bytes, but {actual} were given")]
    WrongLength {
        /// Element type.
        dtype: Dtype,
        /// Shape.
        shape: Vec<usize>,
        /// Bytes that type and shape ask for.
        expected: usize,
        /// Bytes given.
        actual: usize,
    },
    /// The memory handed to the encoder is too small.
    #[error("there must be room for a payload of {most} bytes")]
    NoRoom {
        /// What [`most_bytes`](super::most_bytes) says.
        most: usize,
    },
    /// The payload ends before its head does.
    #[error("the payload is {actual} bytes, but {needed} are needed; the file was cut short")]
    Truncated {
        /// Bytes needed.
        needed: usize,
        /// Bytes there.
        actual: usize,
    },
    /// The payload does not begin as one.
    #[error("this is not a bantam tensor payload")]
    BadMagic,
    /// Written by a later version.
    #[error("payload version {version} is newer than the one this program reads ({newest}); a newer bantam may", newest = super::head::VERSION)]
    UnknownVersion {
        /// The version the payload names.
        version: u16,
    },
    /// A checksum does not match: the bytes were changed after they were written.
    #[error("checksum mismatch in the {section}{}", group.map(|g| format!(", group {g}")).unwrap_or_default())]
    Checksum {
        /// Head, coded plane, raw plane n, or data.
        section: String,
        /// Which group of row blocks, where the section has several.
        group: Option<usize>,
    },
    /// The head contradicts itself.
    #[error("damaged head: {0}")]
    BadHead(&'static str),
    /// A lane's stream does not end where the index says.
    #[error("row {row}: its code stream does not end where the lane index says")]
    BadStream {
        /// Row of the matrix.
        row: usize,
    },
    /// A buffer of another size than the tensor was given to decode into.
    #[error("the output is {actual} bytes, but the tensor has {expected}")]
    WrongOutput {
        /// Bytes of the tensor.
        expected: usize,
        /// Bytes of the buffer.
        actual: usize,
    },
    /// The decoded tensor does not fit the memory.
    #[error("there is no memory for a tensor of {len} bytes")]
    OutOfMemory {
        /// Bytes of the tensor.
        len: usize,
    },
    /// Bytes were asked for that the tensor does not have.
    #[error("bytes {start}..{end} were asked for, but there are {len}")]
    NoSuchBytes {
        /// First byte asked for.
        start: usize,
        /// One past the last.
        end: usize,
        /// Bytes there are.
        len: usize,
    },
    /// Rows of elements smaller than a byte do not begin or end with one.
    #[error("rows {start}..{end} do not begin and end with whole bytes")]
    RowsAreNotBytes {
        /// First row asked for.
        start: usize,
        /// One past the last.
        end: usize,
    },
    /// Rows were asked for of a quantised tensor.
    #[error("rows of a quantised tensor cannot be told apart; take all of it")]
    QuantizedRows,
    /// Rows were asked for that the tensor does not have.
    #[error("rows {start}..{end} were asked for, but there are {rows}")]
    NoSuchRows {
        /// First row asked for.
        start: usize,
        /// One past the last.
        end: usize,
        /// Rows there are.
        rows: usize,
    },
}

/// Why a payload could not be handed over.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The tensor cannot be encoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Who was to take the payload did not.
    #[error("the payload could not be handed over")]
    Put(#[from] std::io::Error),
}
