//! Errors of writing a payload.

use crate::codec::payload::error::CodecError;

/// Why a payload could not be encoded and written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The tensor cannot be encoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The caller's writer failed.
    #[error("the payload could not be written")]
    Put(#[from] std::io::Error),
}
