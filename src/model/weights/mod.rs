//! A model's weights on a device.

pub(crate) mod layer_weights;
pub(crate) mod model;
pub(crate) mod rotations;
