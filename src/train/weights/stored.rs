//! How the weights of a piece are stored between the dispatches that work on them.

use crate::gpu::Buffer;
use crate::gpu::kernels::training::encode::Encoded;

/// The weights of a piece.
#[derive(Debug)]
pub(crate) enum Stored {
    /// Uncompressed, and worked on where they are.
    Raw(Buffer),
    /// Uncompressed, in a model whose other pieces are compressed: they are copied to where those are worked on.
    Copied(Buffer),
    /// Compressed.
    Encoded(Box<Encoded>),
}

impl Stored {
    /// Bytes in device memory.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Raw(words) | Self::Copied(words) => words.size(),
            Self::Encoded(encoded) => encoded.bytes(),
        }
    }
}
