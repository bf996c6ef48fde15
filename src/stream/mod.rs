//! Models larger than their share of device memory: choosing the weights that stay there, and loading the
//! others in time.
//!
//! Each token visits a model's *stages* in order: its layers, and then the output matrix in parts of about
//! the same size. As many stages as fit are *pinned*: they stay in device memory, compressed. The others are
//! *streamed* through a [`Ring`] of slots. While the device computes with one slot, the next stage's
//! compressed bytes are read from the file into another; for a software device, they are decoded on the way.
//! A token needs only one row of the embedding, which the host decodes ([`TokenRows`]) if the whole matrix
//! does not fit. [`Plan`] makes these choices before anything is uploaded.

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
