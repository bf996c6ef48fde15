//! The primitive operations of inner loops, each with a portable form and faster ones for newer processors.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx512_codes;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx512_columns;
pub(crate) mod columns;
pub(crate) mod fields;
mod tier;
mod vectors;

pub use tier::{vector_tier, vector_tiers};
#[cfg(test)]
pub(crate) use vectors::Portable;
pub(crate) use vectors::{Kernel, Vectors, expect, run};
