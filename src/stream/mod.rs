//! Models larger than their share of device memory: which weights stay there, and bringing the others
//! in time.
//!
//! A model is visited in *stages*, token after token: its layers, and then the output matrix in parts that
//! are about as large. As many as fit are *pinned*: they stay in device memory, compressed. The others are
//! *streamed* through a [`Ring`] of slots: while the device computes with one, the next one's compressed
//! bytes are read from the file into another, decoded on their way where a processor stands in for the device. Of
//! the embedding a token needs one row, which is decoded on the host ([`TokenRows`]) where the matrix itself does
//! not fit.
//! [`Plan`] says which is which, before anything is uploaded.

mod error;
pub(crate) mod panics;
mod passes;
mod plan;
mod pool;
mod reader;
mod ring;
mod rows;
mod stage;
mod stats;

pub use error::StreamError;
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub use passes::{Begun, Passes};
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub use plan::{Needs, StageNeeds};
pub use plan::{Plan, StageOf};
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub use ring::{Ring, Turn};
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub use rows::TokenRows;
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub use stage::StreamedStage;
pub use stats::StreamStats;
