//! Codes for symbols, and the bit streams that are written and read with them.

pub(crate) mod bit_writer;
pub mod huffman;
#[allow(unsafe_code)]
mod interleaved;
pub(crate) mod peek_levels;
pub(crate) mod stream;
