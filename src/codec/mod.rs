//! The tile format on the CPU: the oracle for every shader.
//!
//! What both sides must agree on stands apart from either side: [`grid`] (how a matrix is cut into
//! tiles), [`split`] (which bits of an element are coded and which are raw), [`huffman`] (the
//! canonical code), [`head`] (what is written about a tensor). [`mod@encode`] and [`decode`] are the
//! two sides. `docs/format.md` describes the same for somebody without this source.

mod checksum;
pub mod decode;
pub mod encode;
mod error;
pub mod grid;
pub mod head;
pub mod huffman;
pub mod plan;
pub mod split;
mod spread;

pub use checksum::checksum;
pub use decode::Payload;
pub use encode::{EncodedPayload, encode, encode_to};
pub use error::{CodecError, EncodeError};
