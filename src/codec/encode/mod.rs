//! Encoding a tensor's bytes to a payload.
//!
//! The encoder gets a plan from `plan`, splits the tensor's pieces with `simd`, writes their streams with
//! `entropy`, and outputs them with a head in the layout of `payload`.

mod coded_plane;
mod coder;
mod encoder;
mod error;
mod group;
mod payload_memory;
mod pieces;
mod put;
mod raw;
mod raw_planes;
mod spare;
mod tensor;
mod tiled;

pub(crate) use encoder::check_length;
pub use encoder::{Encoder, encode, encode_with, encode_with_split, encode_with_top_bits};
pub use error::EncodeError;
pub use put::{EncodedPayload, Put};
pub use raw::most_bytes;

pub use super::plan::Preset;
