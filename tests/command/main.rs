//! The command as people use it.
#![cfg(feature = "cli")]

mod adapters;
mod bench;
mod deltas;
#[cfg(unix)]
mod prepare;
mod program;
#[cfg(unix)]
mod signals;
#[cfg(unix)]
mod terminal;
mod train;
mod usage;

#[path = "../fixtures/left_out/mod.rs"]
mod left_out;
#[path = "../fixtures/models/mod.rs"]
mod models;
#[cfg(unix)]
#[path = "../fixtures/patience/mod.rs"]
mod patience;
