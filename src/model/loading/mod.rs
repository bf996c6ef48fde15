//! From tensors in files to weights on a device.

pub(crate) mod joining;
pub(crate) mod loader;
