//! The tile format on the CPU: the oracle for every shader.
//!
//! Each room has a folder, and uses only rooms above it:
//!
//! | Room | What it holds |
//! |---|---|
//! | `payload` | What lies where in a payload: [`grid`], [`split`], [`head`], the code of the symbols. |
//! | `simd` | Primitive operations of inner loops, portable and for the processor's vectors. |
//! | `entropy` | [`huffman`] codes, and the bit streams that are written and read with them. |
//! | `plan` | How a tensor is best coded. |
//! | [`mod@encode`] | From a tensor's bytes to its payload. |
//! | [`decode`] | From a payload back to the tensor's bytes. |
//!
//! `docs/format.md` describes the format for somebody without this source.

pub mod decode;
pub mod encode;
mod entropy;
mod payload;
mod plan;
mod simd;

pub use decode::{Payload, RowDecoder};
pub(crate) use decode::{resize, zeros};
pub use encode::{EncodeError, EncodedPayload, Encoder, Preset, encode, encode_with, most_bytes};
pub use entropy::huffman;
pub use payload::checksum::{Checksum, checksum};
pub use payload::error::CodecError;
pub use payload::lossy::{Lossy, NoSuchLossy};
pub use payload::precision::{Kept, Precision};
pub use payload::{code, grid, head, split};
pub use plan::TensorSource;
pub use simd::{vector_tier, vector_tiers};
