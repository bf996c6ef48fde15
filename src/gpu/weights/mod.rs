//! A matrix on a device: its possible layouts, its parts, and where they are.
//!
//! It uses `kernel` and `device`, and no other room of `gpu`.

mod dense_tiles;
mod device_matrix;
mod in_slot;
pub(in crate::gpu) mod joined;
pub(in crate::gpu) mod joining;
pub mod layouts;
mod matrix_bytes;
pub(in crate::gpu) mod matrix_params;
mod parts;
mod slot;
pub(in crate::gpu) mod tiles;
mod uncompressed;
mod wide_room;
pub(in crate::gpu) mod words;

pub use device_matrix::{DeviceMatrix, Part};
pub use joined::{Join, Joined};
pub use joining::{TilesKey, transcoded_fit_together};
pub use matrix_bytes::MatrixBytes;
pub use matrix_params::WIDE_CHUNK;
pub use parts::{Piece, RowBlocks};
pub use slot::{Room, Slot, SlotKind, SlotPlace, SlotWords, Writing};
pub use tiles::Tiles;
pub use wide_room::WideRoom;
#[cfg(feature = "runtime")]
pub(crate) use words::WEIGHTS;
pub use words::Words;
