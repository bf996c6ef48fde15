//! From a payload back to the tensor's bytes.
//!
//! A [`Payload`] has all of its bytes at hand, a [`RowDecoder`] those of a row block. Both decode parts of
//! tiles: streams are read with `entropy`, and elements put together with `simd`, as `payload` says.

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
