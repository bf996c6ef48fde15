//! Payloads: encoded, decoded, read in parts, and damaged.

#[cfg(feature = "cli")]
mod damage;
mod delta;
mod golden;
mod lossless;
mod lossy;
#[cfg(feature = "cli")]
mod random_access;

#[path = "../fixtures/data/mod.rs"]
mod data;
#[path = "../fixtures/left_out/mod.rs"]
mod left_out;
