//! Weights that are trained, on the device.

mod adapters;
mod loading;
mod matrix;
mod model;
mod stored;
mod vector;

pub(crate) use adapters::{TrainedAdapters, TrainedPair};
pub(crate) use loading::{Encoding, Loading, grown, pieces};
pub(crate) use matrix::{Piece, TrainedMatrix, wide_bytes};
pub(crate) use model::{TrainedLayer, TrainedModel};
pub(crate) use stored::Stored;
pub(crate) use vector::TrainedVector;
