//! Choosing how a tensor is coded, from a sample of its rows.
//!
//! A tensor comes from a [`TensorSource`]. Its [`source_rows`] are the rows that are coded, rounded on
//! request. A [`sample`] of them is counted, [`levels`] determines the row shifts, and [`choosing`] takes the
//! smallest of all splits with its code. It uses `payload`, `simd` and `entropy`.

pub(crate) mod choosing;
pub(crate) mod levels;
mod sample;
mod sampled_rows;
mod scales;
pub(crate) mod source_rows;
pub(crate) mod tensor_source;

pub use choosing::Preset;
pub use tensor_source::TensorSource;
