//! How weights are laid out in device memory, one file for each layout.

mod choosing;
pub mod fast;
pub(in crate::gpu) mod format;
pub mod raw;

pub use format::{DenseFormat, Escape, FastFormat, Format, Table, WIDE_CHUNK};
