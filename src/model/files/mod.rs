//! A model's files: whether bantam can run them, which tensors they have, and the thread that reads them.

pub(crate) mod inventory;
pub(crate) mod reading;
pub(crate) mod require;
pub(crate) mod runnable;
