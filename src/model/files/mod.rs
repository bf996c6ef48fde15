//! A model's files: whether they can be run, what is in them, and the thread that reads them.

pub(crate) mod inventory;
pub(crate) mod reading;
pub(crate) mod require;
pub(crate) mod runnable;
