//! The tile format on the CPU: the reference for every shader.
//!
//! Each folder is a room. It uses only rooms above it in this table:
//!
//! | Room | What it holds |
//! |---|---|
//! | `payload` | The layout of a payload: [`grid`], [`split`], the [`code`] of the symbols, [`head`] with its reader and writer. |
//! | `simd` | Primitive operations of inner loops: portable, and for several sets of vector instructions. |
//! | `entropy` | Making [`huffman`] codes, and writing and reading bit streams with them. |
//! | `plan` | Choosing how a tensor is coded. |
//! | [`mod@encode`] | Encoding a tensor's bytes to a payload. |
//! | [`decode`] | Decoding a payload to the tensor's bytes. |
//! | `delta` | Encoding the difference of two tensors, and adding it again. |
//!
//! `encode` and `decode` do not use each other. `scripts/check_rooms` checks all of this.
//!
//! `docs/format.md` describes the format for readers without this source.

#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub mod decode;
mod delta;
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub mod encode;
mod entropy;
mod payload;
mod plan;
mod simd;

pub use decode::{Payload, RowDecoder};
pub(crate) use decode::{repeat, resize, zeros};
pub use delta::{Delta, encode_delta};
pub(crate) use delta::{DeltaDecoder, Run, encode_delta_in_memory, repeat_first};
pub use encode::{EncodeError, EncodedPayload, Encoder, Preset, encode, encode_with, most_bytes};
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub use entropy::huffman;
pub use payload::checksum::{Checksum, checksum};
pub(crate) use payload::delta_head::{DeltaHead, has_differences};
pub use payload::error::CodecError;
pub use payload::lossy::{Lossy, NoSuchLossy};
pub use payload::precision::{Kept, Precision};
pub(crate) use payload::unit_format::UnitFormat;
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub use payload::{code, grid, head, split};
pub use plan::TensorSource;
pub use simd::{vector_tier, vector_tiers};
