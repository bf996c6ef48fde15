//! Writing a model's folder, uncompressed, before it is compressed to its place.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::error::TrainError;
use crate::archive::ArchiveError;
use crate::tensor::Dtype;

/// The name of the state of a run in a checkpoint's folder, which does not describe the model.
pub(super) const STATE: &str = "trainer.json";

/// A folder for something that is written whole before it is put to `out`: beside it, where there is room for that.
pub(super) fn folder_beside(out: &Path) -> Result<TempDir, TrainError> {
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let io = ArchiveError::io("create a folder in", parent);
    Ok(tempfile::Builder::new().prefix(".bantam-train-").tempdir_in(parent).map_err(io)?)
}

/// Copies what describes the model in a folder: configuration, tokenizer, templates, licences.
pub(super) fn copy_description(model: &Path, to: &Path) -> Result<(), TrainError> {
    for entry in std::fs::read_dir(model).map_err(ArchiveError::io("list", model))? {
        let path = entry.map_err(ArchiveError::io("list", model))?.path();
        let Some(name) = path.file_name().filter(|_| path.is_file() && describes_a_model(&path)) else {
            continue;
        };
        std::fs::copy(&path, to.join(name)).map_err(ArchiveError::io("copy", &path))?;
    }
    Ok(())
}

/// Whether a file of a model's folder describes it, and is neither weights nor the state of a run.
fn describes_a_model(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
    let is_text = ["json", "jinja", "txt", "model", "md"].contains(&kind) || name.starts_with("LICENSE");
    is_text && !name.ends_with(".index.json") && name != STATE && !name.starts_with('.')
}

/// A tensor's place in a file that is written.
#[derive(Debug, Clone)]
pub(super) struct TensorShape {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
}

impl TensorShape {
    fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

/// Writes a safetensors file, tensor by tensor.
pub(super) struct TensorWriter {
    file: BufWriter<File>,
    path: PathBuf,
}

impl TensorWriter {
    /// Begins a file of these tensors, whose bytes follow in this order.
    pub fn create(path: &Path, tensors: &[TensorShape]) -> Result<Self, TrainError> {
        let mut header = serde_json::Map::new();
        header.insert("__metadata__".into(), serde_json::json!({"format": "pt"}));
        let mut at = 0;
        for tensor in tensors {
            let end = at + tensor.bytes();
            let TensorShape { name, dtype, shape } = tensor;
            let entry = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [at, end]});
            header.insert(name.clone(), entry);
            at = end;
        }
        let mut header = serde_json::Value::Object(header).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let file = File::create(path).map_err(ArchiveError::io("create", path))?;
        let mut writer = Self { file: BufWriter::new(file), path: path.into() };
        writer.write(&(header.len() as u64).to_le_bytes())?;
        writer.write(&header)?;
        Ok(writer)
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), TrainError> {
        Ok(self.file.write_all(bytes).map_err(ArchiveError::io("write", &self.path))?)
    }

    /// Ends the file.
    pub fn finish(mut self) -> Result<(), TrainError> {
        Ok(self.file.flush().map_err(ArchiveError::io("write", &self.path))?)
    }
}
