//! Models: their logits, their texts, and the memory that they take, from every form of weights.
#![cfg(feature = "runtime")]

#[cfg(feature = "cli")]
mod configurations;
mod equal;
mod faults;
mod generation;
mod precision;
mod reference;
mod runtime;
#[cfg(feature = "cli")]
mod score;
mod stream;

#[path = "../fixtures/candle/mod.rs"]
mod candle;
#[path = "../fixtures/data/mod.rs"]
mod data;
#[path = "../fixtures/device/mod.rs"]
mod device;
#[path = "../fixtures/host/mod.rs"]
mod host;
#[path = "../fixtures/left_out/mod.rs"]
mod left_out;
#[path = "../fixtures/models/mod.rs"]
mod models;
#[path = "../fixtures/oracle/mod.rs"]
mod oracle;
#[path = "../fixtures/patience/mod.rs"]
mod patience;
#[path = "../fixtures/random_model/mod.rs"]
mod random_model;
