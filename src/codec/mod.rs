//! The tile format on the CPU: the oracle for every shader.
//!
//! Each folder is a room, which uses those above it and no others:
//!
//! | Room | What it holds |
//! |---|---|
//! | `payload` | What lies where: [`grid`], [`split`], the [`code`] of the symbols, [`head`] with its reader and writer. |
//! | `simd` | Primitive operations of inner loops: portable, and for each set of vector instructions. |
//! | `entropy` | Making [`huffman`] codes, and writing and reading bit streams with them. |
//! | `plan` | How a tensor is best coded. |
//! | [`mod@encode`] | From a tensor's bytes to its payload. |
//! | [`decode`] | From a payload back to the tensor's bytes. |
//!
//! `encode` and `decode` do not know each other. `scripts/check_rooms` checks all of this.
//!
//! `docs/format.md` describes the format for somebody without this source.

#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub mod decode;
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub mod encode;
mod entropy;
mod payload;
mod plan;
mod simd;

pub use decode::{Payload, RowDecoder};
pub(crate) use decode::{repeat, resize, zeros};
pub use encode::{EncodeError, EncodedPayload, Encoder, Preset, encode, encode_with, most_bytes};
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub use entropy::huffman;
pub use payload::checksum::{Checksum, checksum};
pub use payload::error::CodecError;
pub use payload::lossy::{Lossy, NoSuchLossy};
pub use payload::precision::{Kept, Precision};
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub use payload::{code, grid, head, split};
pub use plan::TensorSource;
pub use simd::{vector_tier, vector_tiers};
