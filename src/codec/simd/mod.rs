//! Primitive operations of inner loops: packing fields, taking symbols from streams, joining codes.
//!
//! Each operation has a portable form. A file for each instruction set has faster forms. [`Vectors`] names
//! the operations, a [`Kernel`] is a loop that uses them, and [`run()`] chooses the processor that it is
//! compiled for. This room uses only `payload`.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx512;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx512_codes;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx512_columns;
pub(crate) mod block;
pub(crate) mod columns;
pub(crate) mod fields;
pub(crate) mod joined_codes;
pub(crate) mod peek;
mod portable;
#[allow(unsafe_code)]
mod prefetch;
mod run;
mod tier;
mod vectors;
pub(crate) mod window;

#[cfg(test)]
pub(crate) use portable::Portable;
pub(crate) use prefetch::expect;
#[cfg(test)]
pub(crate) use run::each;
pub(crate) use run::run;
pub use tier::{vector_tier, vector_tiers};
pub(crate) use vectors::{Kernel, Vectors};
