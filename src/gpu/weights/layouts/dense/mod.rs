//! Dense tiles, with the layout of files. `shaders/shared/dense.wgsl` reads them.

mod format;
mod samples;
pub(in crate::gpu) mod sections;
mod unit_places;

pub use self::format::{DenseFormat, Table};
pub(in crate::gpu) use self::format::{STREAM_ROUNDS, TABLE_ROUNDS, TEXEL};
pub(super) use self::samples::samples;
pub(in crate::gpu) use self::samples::scaled;
