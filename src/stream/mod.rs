//! Models larger than their share of device memory: which layers stay there, and bringing the others
//! in time.
//!
//! Layers are visited one after the other, token after token. So as many as fit are *pinned*: they stay
//! in device memory, compressed. The others are *streamed* through a [`Ring`] of slots: while the device
//! computes with one, the next one's compressed bytes are read from the file into another.
//! [`Plan`] says which is which, before anything is uploaded.

mod error;
mod plan;
mod reader;
mod ring;
mod stats;

pub use error::StreamError;
pub use plan::{LayerNeeds, Needs, Plan};
pub use ring::{Ring, StreamedLayer, Turn};
pub use stats::StreamStats;
