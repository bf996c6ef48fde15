//! A model's weights on a device.

pub(crate) mod model;
pub(crate) mod rotations;
