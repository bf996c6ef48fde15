//! Turns tensors in files into weights on a device.

mod adapter;
pub(crate) mod joining;
pub(crate) mod layer;
pub(crate) mod load;
pub(crate) mod loader;
pub(crate) mod model;
pub(crate) mod streaming;
