//! How a tensor is best coded, found out from some of its rows.
//!
//! A tensor comes from a [`TensorSource`], and a [`source_rows`] of it gives the rows that are coded, rounded
//! where that is asked for. A [`sample`] of them is counted, [`levels`] says how far rows are shifted, and
//! [`choosing`] takes the smallest of all splits with its code. It uses `payload`, `simd` and `entropy`.

pub(crate) mod choosing;
pub(crate) mod levels;
mod sample;
mod sampled_rows;
mod scales;
pub(crate) mod source_rows;
pub(crate) mod tensor_source;

pub use choosing::Preset;
pub use tensor_source::TensorSource;
