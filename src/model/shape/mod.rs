//! What follows from a configuration alone: tensors, strides of activations, what a session takes.

pub(crate) mod outputs;
pub(crate) mod session_bytes;
pub(crate) mod strides;
pub(crate) mod tensors;
