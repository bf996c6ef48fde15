//! Tensors of a model file: type, shape and bytes.

mod bytes;
mod entry;
mod error;
mod foreign;
mod ggml_type;
mod gguf_file;
mod gguf_header;
mod mapped;
mod positional;
mod safetensors_file;
mod safetensors_header;
mod shape;
mod source_file;
mod special;
mod zeroed;

pub use entry::TensorEntry;
pub use error::ReadError;
pub use foreign::Foreign;
pub use ggml_type::{GgmlType, Quantized};
pub use gguf_file::GgufFile;
pub use gguf_header::GgufError;
pub(crate) use gguf_header::GgufHeader;
pub use mapped::MappedFile;
pub use positional::FileReader;
pub use safetensors::Dtype;
pub use safetensors_file::SafetensorsFile;
pub use safetensors_header::HeaderError;
pub(crate) use safetensors_header::{MAX_HEADER_LEN, parse_header};
pub use shape::Matrix;
pub use source_file::SourceFile;
pub use special::SpecialFile;
pub use zeroed::Zeroed;
