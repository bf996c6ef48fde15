//! Neural-network weights, losslessly compressed on disk, in host memory and in GPU memory, and
//! computed from as they are.
#![deny(unsafe_code)]
#![warn(missing_docs)]

// Lengths and bit positions of large tensors need 64 bits; they are checked as `usize`.
#[cfg(not(target_pointer_width = "64"))]
compile_error!("bantam needs a 64-bit target");

pub mod archive;
#[cfg(feature = "runtime")]
pub mod bench;
pub mod codec;
#[cfg(feature = "gpu")]
pub mod gpu;
#[cfg(feature = "gpu")]
pub mod model;
#[cfg(feature = "runtime")]
pub mod runtime;
#[cfg(feature = "gpu")]
pub mod stream;
pub mod tensor;
#[cfg(feature = "runtime")]
pub mod text;
