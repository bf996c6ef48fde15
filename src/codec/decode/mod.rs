//! Decoding a payload to the tensor's bytes.
//!
//! A [`Payload`] has all of its bytes in memory, a [`RowDecoder`] those of one row block. Both decode parts
//! of tiles: `entropy` reads the streams, and `simd` assembles the elements in the layout of `payload`.

mod by_columns;
mod by_lanes;
mod decode_part;
mod kernel;
mod part;
mod payload;
mod readers;
mod row_decoder;
mod tiles;
mod zeros;

pub use payload::Payload;
pub(crate) use payload::repeat;
pub use row_decoder::RowDecoder;
pub(crate) use zeros::{resize, zeros};
