//! The layout of a payload: everything that a writer and a reader must agree on.
//!
//! It defines how a matrix is divided into tiles ([`grid`]), which bits of an element are coded and which are
//! raw ([`split`]), the [`code`] of the symbols, the description of a tensor ([`head`]), the meaning of
//! rounding and reduced precision, and the checksum. Nothing here reads or writes a bit stream. It uses no
//! other room of the codec.

pub(crate) mod checksum;
pub mod code;
pub(crate) mod delta_head;
pub(crate) mod error;
pub(crate) mod fixed_part;
pub(crate) mod frequencies;
pub mod grid;
pub(crate) mod groups;
pub mod head;
mod head_reader;
pub(crate) mod head_writer;
pub(crate) mod lane_words;
pub(crate) mod lossy;
pub(crate) mod masks;
pub(crate) mod nibbles;
pub(crate) mod precision;
pub(crate) mod quotient;
pub(crate) mod row_tables;
pub(crate) mod scaled;
pub mod split;
mod tables_reader;
pub(crate) mod tiled;
pub(crate) mod unit_format;
pub(crate) mod unit_halves;
