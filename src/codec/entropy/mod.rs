//! Codes for symbols, and the bit streams that are written and read with them.
//!
//! [`huffman`] makes codes, `codebook` and `bit_writer` write with them, `stream` reads lanes and
//! `peek_levels` makes what columns are read with. Its loops run on operations of `simd`; the codes
//! themselves are described in `payload`.

pub(crate) mod bit_writer;
pub(crate) mod codebook;
pub mod huffman;
#[allow(unsafe_code)]
mod interleaved;
mod peek_levels;
pub(crate) mod stream;
