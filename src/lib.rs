//! Neural-network weights, losslessly compressed on disk, in host memory and in GPU memory, and
//! computed from as they are.
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod archive;
pub mod codec;
pub mod gpu;
pub mod model;
pub mod tensor;
pub mod text;
