//! Files and folders as people have them: compressed, restored, and refused.
#![cfg(feature = "cli")]

mod container;
mod deltas;
mod folders;
mod gguf;
mod odd_files;
mod special_files;

#[path = "../fixtures/data/mod.rs"]
mod data;
#[cfg(target_os = "linux")]
#[path = "../fixtures/patience/mod.rs"]
mod patience;
