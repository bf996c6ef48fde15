//! The tile format on the CPU: the oracle for every shader.
//!
//! What both sides must agree on stands apart from either side: [`grid`] (how a matrix is cut into
//! tiles), [`split`] (which bits of an element are coded and which are raw), [`huffman`] (the
//! canonical code), [`head`] (what is written about a tensor). [`mod@encode`] and [`decode`] are the
//! two sides. `docs/format.md` describes the same for somebody without this source.

mod bit_writer;
mod checksum;
mod columns;
pub mod decode;
mod decode_columns;
mod decode_rows;
pub mod encode;
mod encode_group;
mod encode_tiled;
mod error;
mod fields;
pub mod grid;
pub mod head;
mod head_reader;
mod head_writer;
pub mod huffman;
mod levels;
mod lossy;
mod payload_memory;
mod peek_levels;
mod plan;
mod precision;
mod row_decoder;
mod sample;
mod scaled;
mod source_rows;
mod spare;
pub mod split;
mod stream;
mod tensor_source;
mod unit_halves;
mod vector;
mod zeros;

pub use checksum::{Checksum, checksum};
pub use decode::Payload;
pub use encode::{EncodedPayload, Encoder, Preset, encode, encode_with, most_bytes};
pub use error::{CodecError, EncodeError};
pub use lossy::{Lossy, NoSuchLossy};
pub use precision::{Kept, Precision};
pub use row_decoder::RowDecoder;
pub use tensor_source::TensorSource;
pub use vector::{vector_tier, vector_tiers};
pub(crate) use zeros::{resize, zeros};
