//! Computes one sequence with the weights of a model.

pub(crate) mod activations;
pub(crate) mod context;
pub(crate) mod layer;
pub(crate) mod pass;
pub(crate) mod products;
pub(crate) mod recorded;
pub(crate) mod session;
