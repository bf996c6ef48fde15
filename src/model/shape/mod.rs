//! Facts that follow from a configuration alone: tensors, strides of activations, memory of a session.

pub(crate) mod outputs;
pub(crate) mod session_bytes;
pub(crate) mod strides;
pub(crate) mod tensors;
