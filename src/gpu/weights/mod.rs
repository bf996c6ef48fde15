//! A matrix on a device: the layouts that it can have, the parts that it is cut into, and where they are.

mod device_matrix;
pub(in crate::gpu) mod join;
pub mod layouts;
mod matrix_bytes;
pub(in crate::gpu) mod matrix_params;
mod parts;
mod slot;
pub(in crate::gpu) mod tiles;
mod wide_room;
pub(in crate::gpu) mod words;

pub use device_matrix::{DeviceMatrix, Part};
pub use join::{Join, Joined, TilesKey, fast_fit_together};
pub use matrix_bytes::MatrixBytes;
pub use parts::{Piece, RowBlocks};
pub use slot::{Room, Slot, SlotKind, SlotPlace, SlotWords, Writing};
pub use tiles::Tiles;
pub use wide_room::WideRoom;
pub use words::{Texel, Texture, Words};
