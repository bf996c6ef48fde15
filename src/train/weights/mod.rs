//! Weights that are trained, on the device.

mod adapters;
mod encoding;
mod loading;
mod matrix;
mod model;
mod moments;
mod stored;
mod vector;
mod wide;

pub(crate) use adapters::{TrainedAdapters, TrainedPair};
pub(crate) use encoding::{Encoding, grown, store};
pub(crate) use loading::{Loading, matrices, pieces};
pub(crate) use matrix::{Piece, TrainedMatrix};
pub(crate) use model::{TrainedLayer, TrainedModel};
pub(crate) use moments::{Kept, OptimizerState, PieceMoments};
pub(crate) use stored::Stored;
pub(crate) use vector::TrainedVector;
pub(crate) use wide::wide_bytes;
