//! From a payload back to the tensor's bytes.

mod by_columns;
pub(crate) mod by_lanes;
mod payload;
mod row_decoder;
mod zeros;

pub use payload::Payload;
pub use row_decoder::RowDecoder;
pub(crate) use zeros::{resize, zeros};
