//! Tensors as they come from a model file: type, shape and bytes, read without copying.

mod mapped;
mod safetensors_file;
mod shape;

pub use mapped::MappedFile;
pub use safetensors::Dtype;
pub(crate) use safetensors_file::{MAX_HEADER_LEN, entries, parse_header};
pub use safetensors_file::{ReadError, SafetensorsFile, TensorEntry};
pub use shape::Matrix;
