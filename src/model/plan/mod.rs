//! Plans how much device memory a model takes, and which of its weights stay there.

pub(crate) mod economy;
pub(crate) mod needs;
pub(crate) mod options;
pub(crate) mod planned;
pub(crate) mod precisions;
pub(crate) mod taken;
