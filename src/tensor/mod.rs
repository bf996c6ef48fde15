//! Tensors as they come from a model file: type, shape and bytes, read without copying.

mod bytes;
mod ggml_type;
mod gguf_file;
mod gguf_header;
mod mapped;
mod positional;
mod safetensors_file;
mod shape;
mod source_file;
mod zeroed;

pub use ggml_type::{GgmlType, Quantized};
pub use gguf_file::GgufFile;
pub use gguf_header::GgufError;
pub(crate) use gguf_header::GgufHeader;
pub use mapped::MappedFile;
pub use positional::FileReader;
pub use safetensors::Dtype;
pub(crate) use safetensors_file::{MAX_HEADER_LEN, entries, parse_header};
pub use safetensors_file::{ReadError, SafetensorsFile, TensorEntry};
pub use shape::Matrix;
pub use source_file::SourceFile;
pub use zeroed::Zeroed;
