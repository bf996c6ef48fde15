//! How a tensor is best coded, found out from some of its rows.

pub(crate) mod choosing;
pub(crate) mod levels;
mod sample;
mod scales;
pub(crate) mod source_rows;
pub(crate) mod tensor_source;

pub use choosing::Preset;
pub use tensor_source::TensorSource;
