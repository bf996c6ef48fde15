//! Codes for symbols, and the bit streams that are written and read with them.
//!
//! [`huffman`] makes codes, `codebook` and `bit_writer` write with them, `stream` reads lanes, and
//! `peek_levels` makes the tables for reading columns. The loops use operations of `simd`. `payload`
//! describes the codes.

pub(crate) mod bit_writer;
pub(crate) mod codebook;
mod frequencies;
pub mod huffman;
#[allow(unsafe_code)]
mod interleaved;
mod peek_levels;
pub(crate) mod stream;
pub(crate) mod tans;
