//! From a tensor's bytes to its payload.

mod encoder;
mod group;
mod payload_memory;
mod spare;
mod tiled;

pub use crate::codec::plan::Preset;
pub use encoder::{
    EncodedPayload, Encoder, Put, encode, encode_with, encode_with_split, encode_with_top_bits, most_bytes,
};
